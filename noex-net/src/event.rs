//! What happens to a cluster, as its user hears it.

use std::net::SocketAddr;

use noex_actors::{BlockedArbiter, Incarnation, NodeDownReason, NodeFailure, NodeId};

use crate::{ClusterStatus, NodeInfo, machine::handshake::RefusedReason};

/// Something happened to the cluster.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClusterEvent {
    /// A node is connected. One per life of a node and session, before its `NodeDown`.
    NodeUp(NodeInfo),
    /// A node is not connected any more; every `Down` of its processes came before.
    NodeDown {
        /// The node.
        node: NodeId,
        /// Which of its lives.
        incarnation: Incarnation,
        /// Why.
        reason: NodeDownReason,
    },
    /// A node announced that it leaves: nothing new is placed there.
    NodeDraining(NodeId),
    /// This node's status changed.
    StatusChange(ClusterStatus),
    /// noex itself panicked, and this node stops: [`Node::failure`](noex_actors::Node::failure). The status `stopped` follows at once, though
    /// processes may end a little later.
    Failed(NodeFailure),
    /// Somebody's code blocks the thread of an arbiter of this node. Its heartbeats go on; whatever lives there does not. To be
    /// read as a stream: a closure may be called on the arbiter that is blocked.
    ArbiterBlocked(BlockedArbiter),
    /// An arbiter that was told to be blocked is not any more.
    ArbiterFreed(BlockedArbiter),
    /// A connection was refused before it was a session.
    PeerRefused {
        /// Its other end.
        addr: SocketAddr,
        /// Why.
        reason: RefusedReason,
    },
    /// A node could not be connected.
    DialFailed {
        /// The node, if it was dialled by its id.
        node: Option<NodeId>,
        /// What was dialled.
        target: String,
        /// Why.
        reason: DialError,
    },
}

/// Why a node could not be connected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// Nobody listens there.
    #[error("connection_refused")]
    ConnectionRefused,
    /// No answer in time.
    #[error("timeout")]
    Timeout,
    /// The host name has no address.
    #[error("dns: {0}")]
    Dns(String),
    /// One of the two ends refused the other.
    #[error("refused: {0}")]
    Refused(RefusedReason),
    /// The connection ended in the middle.
    #[error("closed")]
    Closed,
    /// Another error of the network.
    #[error("{0}")]
    Other(String),
}
