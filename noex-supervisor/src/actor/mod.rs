//! The performing half: processes around the machines. They keep handles, monitors and one timer; they decide nothing.

pub(crate) mod alarm;
pub(crate) mod distributed;
pub(crate) mod instances;
pub(crate) mod local;
pub(crate) mod starter;

use noex_actors::{ExitReason, Generation};

use crate::{
    child_spec::chain,
    error::{ChildError, StartSupervisorError},
    info::SupervisorExit,
    machine::supervision::{Ending, Failure},
    options::RestartIntensity,
};

/// How a supervisor ended, and if it was while it started, what its starter is told; `why` knows how a start failed.
pub(crate) fn end_of(
    ending: Ending,
    limit: RestartIntensity,
    why: impl FnOnce(&str, Generation, Failure) -> ChildError,
) -> (SupervisorExit, Option<StartSupervisorError>) {
    match ending {
        Ending::Stopped(reason) => (SupervisorExit::Stopped(reason), None),
        Ending::MaxRestartsExceeded => {
            let RestartIntensity { max_restarts, within } = limit;
            (SupervisorExit::MaxRestartsExceeded { max_restarts, within }, None)
        }
        Ending::AutoShutdown { child } => (SupervisorExit::AutoShutdown { child_id: child }, None),
        Ending::StartFailed { child, generation, failure } => {
            let source = why(&child, generation, failure);
            let error = StartSupervisorError::Child { id: child, source };
            (SupervisorExit::StartFailed(ExitReason::error(chain(&error))), Some(error))
        }
    }
}

/// Eight random bytes, for what should differ from run to run.
pub(crate) fn entropy() -> u64 {
    getrandom::u64().unwrap_or_default()
}
