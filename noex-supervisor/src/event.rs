//! What happens to a local supervisor, as events.

use noex_actors::{ExitReason, Generation, Pid};
use serde::Serialize;

use crate::{info::SupervisorExit, machine::supervision::Report};

/// An event of a [`Supervisor`](crate::Supervisor). In JSON with `"type": "child_started"` and camelCase fields.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum SupervisorEvent {
    /// Every child was started.
    SupervisorStarted {
        /// Id of the supervisor.
        supervisor_id: String,
        /// Its process.
        pid: Pid,
    },
    /// It ended; none of its children is left.
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
        /// The instance.
        pid: Pid,
        /// Its generation.
        generation: Generation,
    },
    /// A child ended and is not started again.
    ChildStopped {
        /// Id of the supervisor.
        supervisor_id: String,
        /// Id of the child.
        child_id: String,
        /// Why.
        reason: ExitReason,
    },
    /// Another instance took the place of one that ended.
    ChildRestarted {
        /// Id of the supervisor.
        supervisor_id: String,
        /// Id of the child.
        child_id: String,
        /// The new instance.
        pid: Pid,
        /// How many restarts of this child there were, this one included.
        attempt: u32,
        /// Generation of the new instance.
        generation: Generation,
    },
    /// A start failed.
    ChildStartFailed {
        /// Id of the supervisor.
        supervisor_id: String,
        /// Id of the child.
        child_id: String,
        /// Which attempt of this round it was, from 1.
        attempt: u32,
        /// Why.
        error: String,
    },
}

impl SupervisorEvent {
    /// The word of this kind of event, as in JSON: `"child_started"`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::SupervisorStarted { .. } => "supervisor_started",
            Self::SupervisorStopped { .. } => "supervisor_stopped",
            Self::ChildStarted { .. } => "child_started",
            Self::ChildStopped { .. } => "child_stopped",
            Self::ChildRestarted { .. } => "child_restarted",
            Self::ChildStartFailed { .. } => "child_start_failed",
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
            | Self::ChildStartFailed { supervisor_id, .. } => supervisor_id,
        }
    }

    /// The event of a report; none of what only concerns nodes.
    pub(crate) fn of(supervisor_id: &str, report: Report) -> Option<Self> {
        let supervisor_id = supervisor_id.to_owned();
        Some(match report {
            Report::Started { child, pid, generation } => {
                Self::ChildStarted { supervisor_id, child_id: child, pid, generation }
            }
            Report::Stopped { child, reason } => {
                Self::ChildStopped { supervisor_id, child_id: child, reason }
            }
            Report::Restarted { child, pid, attempt, generation } => {
                Self::ChildRestarted { supervisor_id, child_id: child, pid, attempt, generation }
            }
            Report::StartFailed { child, attempt, error, .. } => {
                Self::ChildStartFailed { supervisor_id, child_id: child, attempt, error }
            }
            Report::Migrated { .. }
            | Report::NodeFailure { .. }
            | Report::Pending { .. }
            | Report::DuplicateStopped { .. } => return None,
        })
    }
}
