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
        /// How many restarts of this child there were, this one included. A restart because of a sibling is not counted:
        /// then it is the number that there was before.
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
            | Report::DuplicateStopped { .. }
            | Report::MajorityLost { .. }
            | Report::MajorityRegained => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use noex_actors::{Incarnation, NodeId};
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_spelled_as_they_are_called_with_camel_case_fields() {
        let pid = Pid::new(NodeId::nonode(), Incarnation(1), 7);
        let (supervisor_id, child_id, generation) = ("s".to_owned(), "c".to_owned(), Generation::new(1, 2));
        let shown_pid = serde_json::to_value(&pid).unwrap();
        let child = |report| SupervisorEvent::of("s", report).unwrap();
        let of = |child: &str| child.to_owned();
        for (event, expected) in [
            (
                SupervisorEvent::SupervisorStarted { supervisor_id: supervisor_id.clone(), pid: pid.clone() },
                json!({"type": "supervisor_started", "supervisorId": "s", "pid": shown_pid}),
            ),
            (
                SupervisorEvent::SupervisorStopped {
                    supervisor_id,
                    reason: SupervisorExit::AutoShutdown { child_id },
                },
                json!({"type": "supervisor_stopped", "supervisorId": "s", "reason": "auto_shutdown"}),
            ),
            (
                child(Report::Started { child: of("c"), pid: pid.clone(), generation }),
                json!({"type": "child_started", "supervisorId": "s", "childId": "c", "pid": shown_pid,
                    "generation": generation.0}),
            ),
            (
                child(Report::Stopped { child: of("c"), reason: ExitReason::Error("x".into()) }),
                json!({"type": "child_stopped", "supervisorId": "s", "childId": "c", "reason": "error: x"}),
            ),
            (
                child(Report::Restarted { child: of("c"), pid, attempt: 3, generation }),
                json!({"type": "child_restarted", "supervisorId": "s", "childId": "c", "pid": shown_pid,
                    "attempt": 3, "generation": generation.0}),
            ),
            (
                child(Report::StartFailed { child: of("c"), node: None, attempt: 2, error: "e".into() }),
                json!({"type": "child_start_failed", "supervisorId": "s", "childId": "c", "attempt": 2,
                    "error": "e"}),
            ),
        ] {
            assert_eq!(serde_json::to_value(&event).unwrap(), expected);
            assert_eq!(expected["type"], event.kind());
            assert_eq!(event.supervisor_id(), "s");
        }
    }
}
