//! Facts, commands and verdicts of the failover.

use std::time::Duration;

use noex_actors::{Incarnation, NodeDownReason, NodeId};

use crate::{
    machine::{
        Found,
        supervision::{Loss, Purpose},
    },
    options::{PartitionDecision, PartitionView},
};

/// Facts.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// The supervisor starts among these nodes, itself included.
    Started {
        nodes: Vec<(NodeId, Incarnation)>,
        /// Those that were lost before.
        missing: Vec<NodeId>,
    },
    NodeUp {
        node: NodeId,
        incarnation: Incarnation,
    },
    NodeDown {
        node: NodeId,
        incarnation: Incarnation,
        reason: NodeDownReason,
    },
    DialRefused {
        node: NodeId,
    },
    /// `None`: it did not answer.
    Answered {
        node: NodeId,
        query: u64,
        found: Option<Vec<Found>>,
    },
    /// Another supervisor of this name gave up: all nodes are asked.
    RivalGone,
    /// No other supervisor has the name, whatever was seen: all nodes are asked as at the start.
    DoubtSettled,
    DeadlineReached,
}

/// Commands and verdicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Ask the node for the instances of this supervisor; comes back as `Answered`.
    Query {
        node: NodeId,
        query: u64,
        timeout: Duration,
    },
    /// All that were asked have answered, or had their time.
    Adopt {
        found: Vec<Found>,
    },
    Suspect {
        node: NodeId,
    },
    Lost {
        node: NodeId,
        loss: Loss,
    },
    Told {
        node: NodeId,
        purpose: Purpose,
        found: Vec<Found>,
    },
    /// What may be done while a part of the cluster is out of reach.
    Standing {
        decision: PartitionDecision,
        view: PartitionView,
    },
    /// The node may be given children that wait for it.
    Available,
}
