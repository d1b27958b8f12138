//! What a supervisor answers, reports and ends with.

use noex_actors::{ExitReason, Generation, NodeId, Pid};

use super::Failure;
use crate::options::PartitionView;

/// What a request comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Started { pid: Pid },
    Failed { generation: Generation, failure: Failure },
    Removed,
    Duplicate,
    NotFound,
}

/// What happened, for subscribers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    Started { child: String, pid: Pid, generation: Generation },
    Stopped { child: String, reason: ExitReason },
    Restarted { child: String, pid: Pid, attempt: u32, generation: Generation },
    Migrated { child: String, from: NodeId, to: NodeId, generation: Generation },
    NodeFailure { node: NodeId, affected: Vec<String> },
    Pending { child: String },
    StartFailed { child: String, node: Option<NodeId>, attempt: u32, error: String },
    DuplicateStopped { child: String, node: NodeId, generation: Generation },
    MajorityLost { view: PartitionView },
    MajorityRegained,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Stopped(ExitReason),
    MaxRestartsExceeded,
    AutoShutdown { child: String },
    StartFailed { child: String, generation: Generation, failure: Failure },
}

/// Totals since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Instances started in place of an earlier one, but for those that were stopped because of another child.
    pub(crate) restarts: u64,
    /// Of those, the ones that a node's loss caused.
    pub(crate) node_failure_restarts: u64,
    /// Nodes lost that had children.
    pub(crate) failovers: u64,
}
