//! What happens to distributed supervisors, as events.

use noex_actors::{ExitReason, Generation, NodeId, Pid};
use serde::Serialize;

use crate::{info::SupervisorExit, machine::supervision::Report};

/// An event of a [`DistributedSupervisor`](crate::DistributedSupervisor), told on the node where it runs. In JSON with
/// `"type": "child_started"` and camelCase fields.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum DistributedSupervisorEvent {
    /// Every child was started, adopted, or waits for its node.
    SupervisorStarted {
        /// Id of the supervisor.
        supervisor_id: String,
        /// Its process.
        pid: Pid,
    },
    /// It ended.
    SupervisorStopped {
        /// Id of the supervisor.
        supervisor_id: String,
        /// How it ended.
        reason: SupervisorExit,
    },
    /// A child was started for the first time.
    ChildStarted {
        /// Id of the supervisor.
        supervisor_id: String,
        /// Id of the child.
        child_id: String,
        /// Where it runs.
        node_id: NodeId,
        /// Generation of the instance.
        generation: Generation,
    },
    /// A child ended and is not started again.
    ChildStopped {
        /// Id of the supervisor.
        supervisor_id: String,
        /// Id of the child.
        child_id: String,
        /// Why; `noconnection` for a temporary child on a lost node.
        reason: ExitReason,
    },
    /// Another instance took the place of one that ended.
    ChildRestarted {
        /// Id of the supervisor.
        supervisor_id: String,
        /// Id of the child.
        child_id: String,
        /// Where the new instance runs.
        node_id: NodeId,
        /// How many restarts of this child there were, this one included. A restart because of a sibling is not counted:
        /// then it is the number that there was before.
        attempt: u32,
        /// Generation of the new instance.
        generation: Generation,
    },
    /// Another instance took the place of one on a node that was lost, or is leaving, or had more than its share.
    ChildMigrated {
        /// Id of the supervisor.
        supervisor_id: String,
        /// Id of the child.
        child_id: String,
        /// Where it was.
        from_node: NodeId,
        /// Where it is.
        to_node: NodeId,
        /// Generation of the new instance.
        generation: Generation,
    },
    /// A node with children was lost. Said once, before anything is done about it.
    NodeFailureDetected {
        /// Id of the supervisor.
        supervisor_id: String,
        /// The node.
        node_id: NodeId,
        /// Ids of the children that it had.
        affected_children: Vec<String>,
    },
    /// There is no node for a child: it waits for one.
    ChildPending {
        /// Id of the supervisor.
        supervisor_id: String,
        /// Id of the child.
        child_id: String,
        /// Its selector.
        selector: String,
    },
    /// A start failed.
    ChildStartFailed {
        /// Id of the supervisor.
        supervisor_id: String,
        /// Id of the child.
        child_id: String,
        /// Where it was tried.
        node_id: Option<NodeId>,
        /// Which attempt of this round it was, from 1.
        attempt: u32,
        /// Why.
        error: String,
    },
    /// An instance that should not have been was found and stopped. It was asked to, with `error: noex: superseded`.
    ChildDuplicateStopped {
        /// Id of the supervisor.
        supervisor_id: String,
        /// Id of the child.
        child_id: String,
        /// Where it ran.
        node_id: NodeId,
        /// Its generation.
        generation: Generation,
    },
    /// Too much of the cluster is out of reach: nothing is started from now on.
    MajorityLost {
        /// Id of the supervisor.
        supervisor_id: String,
        /// Members in reach, its own node included.
        reachable: Vec<NodeId>,
        /// Members out of reach.
        lost: Vec<NodeId>,
    },
    /// Enough of the cluster is in reach again: what waits is started.
    MajorityRegained {
        /// Id of the supervisor.
        supervisor_id: String,
    },
    /// The supervisor of another node has the name after this one, or this one after that. Told by the one that gives way, and
    /// by the one that begins, behind `SupervisorStarted`.
    OwnerChanged {
        /// Id of the supervisor.
        supervisor_id: String,
        /// Where it was.
        from_node: NodeId,
        /// Where it is.
        to_node: NodeId,
    },
}

impl DistributedSupervisorEvent {
    /// The word of this kind of event, as in JSON: `"child_started"`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::SupervisorStarted { .. } => "supervisor_started",
            Self::SupervisorStopped { .. } => "supervisor_stopped",
            Self::ChildStarted { .. } => "child_started",
            Self::ChildStopped { .. } => "child_stopped",
            Self::ChildRestarted { .. } => "child_restarted",
            Self::ChildMigrated { .. } => "child_migrated",
            Self::NodeFailureDetected { .. } => "node_failure_detected",
            Self::ChildPending { .. } => "child_pending",
            Self::ChildStartFailed { .. } => "child_start_failed",
            Self::ChildDuplicateStopped { .. } => "child_duplicate_stopped",
            Self::MajorityLost { .. } => "majority_lost",
            Self::MajorityRegained { .. } => "majority_regained",
            Self::OwnerChanged { .. } => "owner_changed",
        }
    }

    /// Whose event it is.
    #[must_use]
    pub fn supervisor_id(&self) -> &str {
        match self {
            Self::SupervisorStarted { supervisor_id, .. }
            | Self::SupervisorStopped { supervisor_id, .. }
            | Self::ChildStarted { supervisor_id, .. }
            | Self::ChildStopped { supervisor_id, .. }
            | Self::ChildRestarted { supervisor_id, .. }
            | Self::ChildMigrated { supervisor_id, .. }
            | Self::NodeFailureDetected { supervisor_id, .. }
            | Self::ChildPending { supervisor_id, .. }
            | Self::ChildStartFailed { supervisor_id, .. }
            | Self::ChildDuplicateStopped { supervisor_id, .. }
            | Self::MajorityLost { supervisor_id, .. }
            | Self::OwnerChanged { supervisor_id, .. }
            | Self::MajorityRegained { supervisor_id } => supervisor_id,
        }
    }

    /// The event of a report; `selector` is that of the child it is about.
    pub(crate) fn of(supervisor_id: &str, report: Report, selector: impl FnOnce(&str) -> String) -> Self {
        let supervisor_id = supervisor_id.to_owned();
        match report {
            Report::Started { child, pid, generation } => {
                let node_id = pid.node_id().clone();
                Self::ChildStarted { supervisor_id, child_id: child, node_id, generation }
            }
            Report::Stopped { child, reason } => {
                Self::ChildStopped { supervisor_id, child_id: child, reason }
            }
            Report::Restarted { child, pid, attempt, generation } => {
                let node_id = pid.node_id().clone();
                Self::ChildRestarted { supervisor_id, child_id: child, node_id, attempt, generation }
            }
            Report::Migrated { child, from, to, generation } => Self::ChildMigrated {
                supervisor_id,
                child_id: child,
                from_node: from,
                to_node: to,
                generation,
            },
            Report::NodeFailure { node, affected } => {
                Self::NodeFailureDetected { supervisor_id, node_id: node, affected_children: affected }
            }
            Report::Pending { child } => {
                let selector = selector(&child);
                Self::ChildPending { supervisor_id, child_id: child, selector }
            }
            Report::StartFailed { child, node, attempt, error } => {
                Self::ChildStartFailed { supervisor_id, child_id: child, node_id: node, attempt, error }
            }
            Report::MajorityLost { view } => {
                Self::MajorityLost { supervisor_id, reachable: view.reachable, lost: view.lost }
            }
            Report::MajorityRegained => Self::MajorityRegained { supervisor_id },
            Report::DuplicateStopped { child, node, generation } => {
                Self::ChildDuplicateStopped { supervisor_id, child_id: child, node_id: node, generation }
            }
        }
    }
}
