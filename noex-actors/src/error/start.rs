//! Why a process did not start.

use std::time::Duration;

use super::{NameError, Overload};
use crate::{Delivery, ExitReason, NodeId};

/// Why a process did not start.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// `init` failed or panicked. It ran.
    #[error("init failed: {0}")]
    Init(ExitReason),
    /// `init` took too long and was killed. It ran in part.
    #[error("init did not end within {0:?}")]
    InitTimeout(Duration),
    /// The name is not to be had. `init` did not run.
    #[error(transparent)]
    Name(NameError),
    /// This node is stopping. `init` did not run.
    #[error("this node is not running")]
    NotRunning,
}

impl StartError {
    /// Did `init` run?
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        match self {
            Self::Init(_) => Delivery::Done,
            Self::InitTimeout(_) => Delivery::Unknown,
            Self::Name(_) | Self::NotRunning => Delivery::Never,
        }
    }
}

/// Why a process did not start on a node given by its id.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The node tried.
    #[error(transparent)]
    Start(StartError),
    /// The node is not connected.
    #[error("no connection to {0}")]
    NoConnection(NodeId),
    /// The connection was lost while waiting; if the process started, it was killed at the end of the session.
    #[error("the connection to {0} was lost")]
    ConnectionLost(NodeId),
    /// No answer in time; no orphan stays.
    #[error("{node} did not start {behavior} within {after:?}")]
    Timeout {
        /// Wire name of the behavior.
        behavior: String,
        /// The node.
        node: NodeId,
        /// The time that was given.
        after: Duration,
    },
    /// The node does not know the behavior: register it there before the cluster starts.
    #[error("behavior {behavior} is not registered on {node}")]
    BehaviorNotFound {
        /// Wire name of the behavior.
        behavior: String,
        /// The node.
        node: NodeId,
    },
    /// The arguments do not fit: the nodes run different versions of the behavior.
    #[error("behavior {behavior} on {node} does not take these arguments: {reason}")]
    Incompatible {
        /// Wire name of the behavior.
        behavior: String,
        /// The node.
        node: NodeId,
        /// What the decoder said.
        reason: String,
    },
    /// The global name was free and was not to be had any more once `init` had run. The process was killed.
    #[error("its global name went while it started: {0}")]
    NameLost(NameError),
    /// This node may not start the behavior there: its registration there says which may (`spawn_from`).
    #[error("{node} does not let this node start {behavior}")]
    Forbidden {
        /// Wire name of the behavior.
        behavior: String,
        /// The node.
        node: NodeId,
    },
    /// As many as its registration there allows (`max_instances`) are alive already.
    #[error("{node} runs {max} of {behavior} for other nodes already, the most it allows")]
    Quota {
        /// Wire name of the behavior.
        behavior: String,
        /// The node.
        node: NodeId,
        /// How many it allows.
        max: usize,
    },
    /// A bound was reached on the way there.
    #[error("overloaded: the {0} is full")]
    Overloaded(Overload),
}

impl SpawnError {
    /// Did `init` run?
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        match self {
            Self::Start(error) => error.delivery(),
            Self::NameLost(_) => Delivery::Done,
            Self::ConnectionLost(_) | Self::Timeout { .. } => Delivery::Unknown,
            Self::NoConnection(_)
            | Self::BehaviorNotFound { .. }
            | Self::Incompatible { .. }
            | Self::Forbidden { .. }
            | Self::Quota { .. }
            | Self::Overloaded(_) => Delivery::Never,
        }
    }
}

impl From<StartError> for SpawnError {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}
