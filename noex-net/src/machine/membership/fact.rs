//! What membership is told, what it commands, and what it keeps of a node.

use std::time::Duration;

use noex_actors::{Incarnation, Monotonic, NodeDownReason, NodeId};

use super::{DialOutcome, Target, gossip::View};
use crate::config::Seed;

/// Where a node stands, as seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeStatus {
    /// This life of it is known, and dialled, and was not connected yet.
    Connecting,
    /// A session is up.
    Connected,
    /// It was connected and is not any more.
    Disconnected,
}

noex_actors::__vocabulary!(NodeStatus {
    Connecting = "connecting",
    Connected = "connected",
    Disconnected = "disconnected",
});

/// What a node says of itself in its heartbeats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Load {
    /// Processes that run there.
    pub(crate) process_count: u64,
    /// Messages that wait there.
    pub(crate) mailbox_len: u64,
    /// Use of its processors, 0 to 1.
    pub(crate) cpu: f32,
    /// When it was received; the beginning of time for that of the first heartbeat.
    pub(crate) received: Monotonic,
}

/// A node that is known.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Member {
    pub(crate) incarnation: Incarnation,
    pub(crate) status: NodeStatus,
    pub(crate) load: Load,
    pub(crate) last_heartbeat: Option<Monotonic>,
    /// When the session came up that is up, or was the last.
    pub(crate) up_since: Option<Monotonic>,
    /// When the last session ended, while none is up.
    pub(crate) down_since: Option<Monotonic>,
    /// It said goodbye.
    pub(crate) left: bool,
    /// Dials since this node is known, those that were answered included.
    pub(crate) dials: u32,
    pub(super) fingerprint: u64,
    pub(super) forget_at: Option<Monotonic>,
}

impl Member {
    /// Of a life that was not up yet.
    pub(super) fn hinted(incarnation: Incarnation, fingerprint: u64) -> Self {
        Self {
            incarnation,
            status: NodeStatus::Connecting,
            load: Load::default(),
            last_heartbeat: None,
            up_since: None,
            down_since: None,
            left: false,
            dials: 0,
            fingerprint,
            forget_at: None,
        }
    }

    /// How long its session is up, or was.
    pub(crate) fn uptime(&self, now: Monotonic) -> Duration {
        let until = self.down_since.unwrap_or(now);
        self.up_since.map_or(Duration::ZERO, |since| until.since(since))
    }
}

/// Facts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Input {
    /// The node runs: seeds may be dialled. More seeds may come later.
    SeedsKnown { seeds: Vec<Seed> },
    /// A dialled connection passed its handshake.
    DialAnswered { target: Target, peer: NodeId },
    /// A dial came to nothing.
    DialEnded { target: Target, outcome: DialOutcome },
    /// The sessions say: up. `view` is that of the peer's first heartbeat.
    SessionUp { peer: NodeId, incarnation: Incarnation, view: View },
    /// The sessions say: down.
    SessionDown { peer: NodeId, incarnation: Incarnation, reason: NodeDownReason },
    /// A heartbeat came over the session of a peer.
    HeartbeatReceived { peer: NodeId, load: Load, view: View },
    /// A peer names nodes that it is connected to.
    HintReceived { from: NodeId, nodes: Vec<(NodeId, Incarnation)> },
    /// A peer asks who is connected here beyond those that it knows, by their fingerprints.
    Asked { by: NodeId, known: Vec<u64> },
    /// The time of [`Membership::deadline`] has come.
    DeadlineReached,
}

/// Commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Dial `target.address()`, expect `target.expected()`; answer with `DialAnswered` or `DialEnded`.
    Dial { target: Target },
    /// Tell a connected peer of nodes that are connected here.
    SendHint { to: NodeId, nodes: Vec<(NodeId, Incarnation)> },
    /// Ask a connected peer for those that it is connected to, beyond these.
    Ask { peer: NodeId, known: Vec<u64> },
    /// Tell the program.
    NodeUp { node: NodeId, incarnation: Incarnation },
    /// Tell the program.
    NodeDown { node: NodeId, incarnation: Incarnation, reason: NodeDownReason },
    /// The node is not known any more: drop what is kept about it.
    Forgotten { node: NodeId },
}
