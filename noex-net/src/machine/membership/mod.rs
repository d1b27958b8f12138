//! Membership: which nodes are known, in which status, and who is told about whom.
//!
//! ```text
//! hint, dial ──► Connecting ──► Connected ◄──► Disconnected ── forget_after ──► forgotten
//! ```
//!
//! Status, load, up and down come from the own session with a node and from nothing else. A hint (an id and its
//! life, from a node that is connected to it) is only a reason to dial. When a session comes up, the peer is told
//! of everybody who is connected here, and everybody else of the peer.
//!
//! Invariants: 1. `NodeUp` and `NodeDown` of a node alternate; 2. at most [`HINTS_PER_INTERVAL`] new nodes per peer
//! and interval are taken from hints, the rest waits; 3. a forgotten life is not dialled from hints for as long
//! again; 4. every table is bounded, whatever peers say.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use noex_actors::{Incarnation, Monotonic, NodeDownReason, NodeId};

pub(crate) use super::dialer::{DialOutcome, Target};
use super::{
    backoff::{Backoff, Entropy},
    dialer::Dialer,
};
use crate::config::{ClusterConfig, Seed};

/// Where a node stands, as seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeStatus {
    /// Known, and dialled for the first time.
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

/// New nodes that are taken from one peer's hints per heartbeat interval.
pub(crate) const HINTS_PER_INTERVAL: usize = 64;
/// Hints of one peer that may wait for their interval.
const MAX_WAITING_HINTS: usize = 1024;
/// Nodes that are known at a time; beyond it hints are ignored.
const MAX_KNOWN: usize = 4096;

/// What a node says of itself in its heartbeats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Load {
    /// Processes that run there.
    pub(crate) process_count: u64,
    /// Messages that wait there.
    pub(crate) mailbox_len: u64,
    /// Use of its processors, 0 to 1.
    pub(crate) cpu: f32,
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
    /// It said goodbye.
    pub(crate) left: bool,
    forget_at: Option<Monotonic>,
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
    /// The sessions say: up.
    SessionUp { peer: NodeId, incarnation: Incarnation },
    /// The sessions say: down.
    SessionDown { peer: NodeId, incarnation: Incarnation, reason: NodeDownReason },
    /// A heartbeat came over the session of a peer.
    HeartbeatReceived { peer: NodeId, load: Load },
    /// A peer names nodes that it is connected to.
    HintReceived { from: NodeId, nodes: Vec<(NodeId, Incarnation)> },
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
    /// Tell the program.
    NodeUp { node: NodeId, incarnation: Incarnation },
    /// Tell the program.
    NodeDown { node: NodeId, incarnation: Incarnation, reason: NodeDownReason },
    /// The node is not known any more: drop what is kept about it.
    Forgotten { node: NodeId },
}

#[derive(Debug)]
struct Hints {
    window: Monotonic,
    taken: usize,
    waiting: VecDeque<(NodeId, Incarnation)>,
}

/// The nodes that one node knows.
#[derive(Debug)]
pub(crate) struct Membership {
    local: NodeId,
    interval: Duration,
    forget_after: Duration,
    dialer: Dialer,
    members: BTreeMap<NodeId, Member>,
    forgotten: BTreeMap<NodeId, (Incarnation, Monotonic)>,
    hints: BTreeMap<NodeId, Hints>,
}

impl Membership {
    /// Knows nobody yet. `entropy` is one random number, for jitter.
    pub(crate) fn new(local: NodeId, config: &ClusterConfig, entropy: u64) -> Self {
        let backoff = Backoff::new(config.reconnect_base_delay(), config.reconnect_max_delay());
        Self {
            dialer: Dialer::new(local.clone(), backoff, Entropy::new(entropy)),
            local,
            interval: config.heartbeat_interval(),
            forget_after: config.forget_after(),
            members: BTreeMap::new(),
            forgotten: BTreeMap::new(),
            hints: BTreeMap::new(),
        }
    }

    /// All known nodes, but this one.
    pub(crate) fn members(&self) -> &BTreeMap<NodeId, Member> {
        &self.members
    }

    /// The connected ones, with their lives.
    pub(crate) fn connected(&self) -> impl Iterator<Item = (&NodeId, Incarnation)> {
        let up = self.members.iter().filter(|(_, member)| member.status == NodeStatus::Connected);
        up.map(|(id, member)| (id, member.incarnation))
    }

    /// How many seeds are not this node itself.
    pub(crate) fn configured_seeds(&self) -> usize {
        self.dialer.configured_seeds()
    }

    /// When [`Input::DeadlineReached`] is due.
    pub(crate) fn deadline(&self) -> Option<Monotonic> {
        let forget = self.members.values().filter_map(|member| member.forget_at);
        let waiting = self.hints.values().filter(|hints| !hints.waiting.is_empty());
        forget
            .chain(waiting.map(|hints| hints.window.plus(self.interval)))
            .chain(self.dialer.deadline())
            .min()
    }

    /// Takes a fact.
    pub(crate) fn handle(&mut self, input: Input, now: Monotonic, out: &mut VecDeque<Output>) {
        match input {
            Input::SeedsKnown { seeds } => self.dialer.add_seeds(seeds, now),
            Input::DialAnswered { target, peer } => self.dialer.answered(&target, &peer, now),
            Input::DialEnded { target, outcome } => self.dialer.ended(&target, outcome, now),
            Input::SessionUp { peer, incarnation } => self.up(peer, incarnation, now, out),
            Input::SessionDown { peer, incarnation, reason } => {
                self.down(peer, incarnation, reason, now, out);
            }
            Input::HeartbeatReceived { peer, load } => {
                let member = self.members.get_mut(&peer);
                if let Some(member) = member.filter(|member| member.status == NodeStatus::Connected) {
                    member.load = load;
                    member.last_heartbeat = Some(now);
                }
            }
            Input::HintReceived { from, nodes } => self.hinted(&from, nodes, now),
            Input::DeadlineReached => self.deadline_reached(now, out),
        }
        out.extend(self.dialer.due(now).into_iter().map(|target| Output::Dial { target }));
    }

    fn up(&mut self, peer: NodeId, incarnation: Incarnation, now: Monotonic, out: &mut VecDeque<Output>) {
        let others: Vec<_> =
            self.connected().filter(|(id, _)| **id != peer).map(|(id, life)| (id.clone(), life)).collect();
        for (other, _) in &others {
            out.push_back(Output::SendHint { to: other.clone(), nodes: vec![(peer.clone(), incarnation)] });
        }
        if !others.is_empty() {
            out.push_back(Output::SendHint { to: peer.clone(), nodes: others });
        }
        let member = Member {
            incarnation,
            status: NodeStatus::Connected,
            load: Load::default(),
            last_heartbeat: Some(now), // node-up is the receipt of one
            up_since: Some(now),
            left: false,
            forget_at: None,
        };
        self.members.insert(peer.clone(), member);
        self.forgotten.remove(&peer);
        self.dialer.connected(&peer);
        out.push_back(Output::NodeUp { node: peer, incarnation });
    }

    fn down(
        &mut self,
        peer: NodeId,
        incarnation: Incarnation,
        reason: NodeDownReason,
        now: Monotonic,
        out: &mut VecDeque<Output>,
    ) {
        let Some(member) = self.members.get_mut(&peer) else { return };
        if member.status != NodeStatus::Connected || member.incarnation != incarnation {
            return;
        }
        member.status = NodeStatus::Disconnected;
        member.left = reason == NodeDownReason::GracefulShutdown;
        member.forget_at = Some(now.plus(self.forget_after));
        let lived = member.up_since.map_or(Duration::ZERO, |since| now.since(since));
        if member.left {
            self.dialer.left(&peer, now);
        } else {
            self.dialer.lost(&peer, lived, now);
        }
        self.hints.remove(&peer);
        out.push_back(Output::NodeDown { node: peer, incarnation, reason });
    }

    fn hinted(&mut self, from: &NodeId, nodes: Vec<(NodeId, Incarnation)>, now: Monotonic) {
        // SECURITY: only a connected peer hints, and not faster than its allowance.
        if self.members.get(from).is_none_or(|member| member.status != NodeStatus::Connected) {
            return;
        }
        let fresh = Hints { window: now, taken: 0, waiting: VecDeque::new() };
        let hints = self.hints.entry(from.clone()).or_insert(fresh);
        let room = MAX_WAITING_HINTS.saturating_sub(hints.waiting.len());
        hints.waiting.extend(nodes.into_iter().take(room));
        self.take_hints(now);
    }

    /// Takes what each peer's allowance permits. Names that are nothing new cost nothing.
    fn take_hints(&mut self, now: Monotonic) {
        let mut hints = std::mem::take(&mut self.hints);
        for hint in hints.values_mut() {
            if now.since(hint.window) >= self.interval {
                (hint.window, hint.taken) = (now, 0);
            }
            while let Some((id, incarnation)) = hint.waiting.front().cloned() {
                if self.is_new(&id, incarnation, now) {
                    if hint.taken == HINTS_PER_INTERVAL {
                        break;
                    }
                    hint.taken += 1;
                    self.learn(&id, incarnation, now);
                }
                hint.waiting.pop_front();
            }
        }
        self.hints = hints;
    }

    fn is_new(&self, id: &NodeId, incarnation: Incarnation, now: Monotonic) -> bool {
        if *id == self.local {
            return false;
        }
        if self.forgotten.get(id).is_some_and(|(life, until)| *until > now && incarnation <= *life) {
            return false;
        }
        match self.members.get(id) {
            None => self.members.len() < MAX_KNOWN,
            Some(member) => member.status != NodeStatus::Connected && incarnation > member.incarnation,
        }
    }

    fn learn(&mut self, id: &NodeId, incarnation: Incarnation, now: Monotonic) {
        let member = self.members.entry(id.clone()).or_insert(Member {
            incarnation,
            status: NodeStatus::Connecting,
            load: Load::default(),
            last_heartbeat: None,
            up_since: None,
            left: false,
            forget_at: None,
        });
        member.incarnation = incarnation;
        member.left = false;
        member.forget_at = Some(now.plus(self.forget_after));
        self.dialer.dial_node(id, now);
    }

    fn deadline_reached(&mut self, now: Monotonic, out: &mut VecDeque<Output>) {
        self.take_hints(now);
        let gone: Vec<NodeId> = self
            .members
            .iter()
            .filter(|(_, member)| member.forget_at.is_some_and(|at| at <= now))
            .map(|(id, _)| id.clone())
            .collect();
        self.forgotten.retain(|_, (_, until)| *until > now);
        for node in gone {
            if let Some(member) = self.members.remove(&node) {
                self.remember_as_forgotten(&node, member.incarnation, now);
            }
            self.dialer.forget_node(&node);
            out.push_back(Output::Forgotten { node });
        }
    }

    fn remember_as_forgotten(&mut self, node: &NodeId, incarnation: Incarnation, now: Monotonic) {
        if self.forgotten.len() >= MAX_KNOWN {
            let first = self.forgotten.iter().min_by_key(|(_, (_, until))| *until).map(|(id, _)| id.clone());
            first.and_then(|id| self.forgotten.remove(&id));
        }
        self.forgotten.insert(node.clone(), (incarnation, now.plus(self.forget_after)));
    }
}

#[cfg(test)]
mod tests;
