//! What the sessions are told, and what they command.

use noex_actors::{Incarnation, NodeDownReason, NodeId};

/// One TCP connection, numbered by the shell; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnId(pub(crate) u64);

/// Why this node closes a connection; the peer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum CloseReason {
    /// Another connection of the same pair is alive. Silent: not a refusal, not a failure.
    Duplicate,
    /// A later life of the peer is connected and answers: the peer must stop its cluster. A refusal.
    Superseded,
    /// A newer connection of the pair takes its place.
    Replaced,
    /// No welcome or no first heartbeat came in time.
    NoWelcome,
    /// Nothing came for interval × threshold.
    HeartbeatTimeout,
    /// The key that it was authenticated with is not to be used any more.
    KeyRetired,
}

noex_actors::__vocabulary!(CloseReason {
    Duplicate = "duplicate",
    Superseded = "superseded",
    Replaced = "replaced",
    NoWelcome = "no_welcome",
    HeartbeatTimeout = "heartbeat_timeout",
    KeyRetired = "key_retired",
});

/// Facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// The handshake of a connection went well, at this end.
    Authenticated { conn: ConnId, peer: NodeId, incarnation: Incarnation },
    /// The arbiter's welcome came.
    WelcomeReceived { conn: ConnId },
    /// The first heartbeat came.
    FirstHeartbeat { conn: ConnId },
    /// An answer to a ping came.
    PongReceived { conn: ConnId, nonce: u64 },
    /// The peer said goodbye: it leaves in good order.
    GoodbyeReceived { conn: ConnId },
    /// The failure detector gave the connection up.
    TimedOut { conn: ConnId },
    /// The key of the connection was retired, and its sessions are to end with it.
    KeyRetired { conn: ConnId },
    /// The connection has ended and its reader is drained. `told` is the reason that the peer gave, if any.
    Closed { conn: ConnId, told: Option<CloseReason> },
    /// The time of [`Sessions::deadline`](super::Sessions::deadline) has come.
    DeadlineReached,
}

/// Commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Send the welcome.
    SendWelcome { conn: ConnId },
    /// Send the first heartbeat: the welcome was sent, or accepted.
    SendHeartbeat { conn: ConnId },
    /// Send a ping that asks for this nonce.
    SendPing { conn: ConnId, nonce: u64 },
    /// Tell the peer why and close; `Closed` must follow.
    Close { conn: ConnId, reason: CloseReason },
    /// The connection is the session with that peer now.
    SessionUp { conn: ConnId, peer: NodeId, incarnation: Incarnation },
    /// The session is over: end every monitor, link and call of it.
    SessionDown { conn: ConnId, peer: NodeId, incarnation: Incarnation, reason: NodeDownReason },
    /// A later life of this very node is in the cluster: this one must stop.
    SupersededByOther { by: NodeId },
}
