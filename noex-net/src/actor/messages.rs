//! What actors of this crate say to each other.

use std::{net::SocketAddr, sync::Arc};

use actix::{Addr, Message};
use noex_actors::{Incarnation, NodeId};
use tokio::sync::oneshot;

use super::peer_connection::PeerConnection;
use crate::{
    config::Seed,
    event::DialError,
    link::Link,
    machine::{
        handshake::RefusedReason,
        membership::{DialOutcome, Load, Target, View},
        sessions::{self, CloseReason, ConnId},
    },
    wire::control::Heartbeat,
};

/// Facts for the `ClusterManager`.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum Fact {
    /// More seeds.
    Seeds(Vec<Seed>),
    /// A connection passed its handshake. `target`: what was dialled, if this end did.
    Authenticated { link: Arc<Link>, connection: Addr<PeerConnection>, target: Option<Target> },
    /// A fact for the sessions machine alone.
    Session(sessions::Input),
    /// The first heartbeat; `up` is answered when the node is up, dropped when it will not be.
    FirstHeartbeat { conn: ConnId, heartbeat: Heartbeat, up: oneshot::Sender<()> },
    /// A heartbeat.
    Heartbeat { peer: NodeId, load: Load, view: View },
    /// Nodes to which a peer is connected.
    Hints { from: NodeId, nodes: Vec<(NodeId, Incarnation)> },
    /// A peer asks for nodes beyond those whose fingerprints it names.
    Asked { by: NodeId, known: Vec<u64> },
    /// An authenticated connection has ended and is drained.
    Closed { conn: ConnId, told: Option<String> },
    /// A dial came to nothing.
    DialEnded { target: Target, outcome: DialOutcome, error: Option<DialError> },
    /// A connection was refused.
    Refused { addr: SocketAddr, reason: RefusedReason, detail: String },
    /// The behaviors of this node changed.
    BehaviorsChanged,
    /// The node leaves: dial nobody any more.
    Leaving,
}

/// Ends a connection; the peer is told why.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct CloseConnection(pub(crate) CloseReason);

/// Ends a connection that is not authenticated yet: its place is needed.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Evict;

/// An incoming connection is authenticated, or over: its place is free.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Admitted(pub(crate) ConnId);

/// Watch a session, or do not watch it any more.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum Watch {
    Begin(ConnId),
    End(ConnId),
}

/// Accept nobody any more.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct StopListening;
