//! Messages between the handle of a distributed supervisor and its process, as they travel between nodes.
//!
//! Errors do not travel as they are: each has a form here that does.

use std::time::Duration;

use noex_actors::{
    AnyRef, CallError, Delivery, EncodeError, ExitReason, NameError, NodeId, Overload, Pid, SpawnError,
    StartError, WrongBehavior,
};
use serde::{Deserialize, Serialize};

use crate::{
    child_spec::{FROM_TEMPLATE, NO_TEMPLATE},
    distributed::{DistributedChildSpec, DistributedSupervisorStats, SupervisorView},
    error::{ChildError, SpecError},
    info::{ChildState, SupervisorExit},
};

/// Requests.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Call {
    StartChild(Box<DistributedChildSpec>),
    TerminateChild(String),
    RestartChild(String),
    Instance(String),
    View,
    Stats,
    /// Answered at the end.
    Wait,
    /// Behavior and arguments are the caller's, the rest is the template's.
    StartInstance(Box<DistributedChildSpec>),
    Rebalance,
}

/// Their answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Instance(Result<AnyRef, ChildFailure>),
    Removed(Result<(), ChildFailure>),
    View(SupervisorView),
    Stats(Box<DistributedSupervisorStats>),
    Exit(Exit),
    /// How many children are moved.
    Rebalanced(usize),
}

/// What needs no answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Cast {
    /// Stop the children with yourself.
    StopTree,
    /// A supervisor of your name gave up for you: see what it left.
    RivalGone,
}

/// [`SupervisorExit`], as it travels.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Exit {
    Stopped(ExitReason),
    MaxRestartsExceeded(u32, Duration),
    AutoShutdown(String),
    StartFailed(ExitReason),
}

impl From<SupervisorExit> for Exit {
    fn from(exit: SupervisorExit) -> Self {
        match exit {
            SupervisorExit::Stopped(reason) => Self::Stopped(reason),
            SupervisorExit::MaxRestartsExceeded { max_restarts, within } => {
                Self::MaxRestartsExceeded(max_restarts, within)
            }
            SupervisorExit::AutoShutdown { child_id } => Self::AutoShutdown(child_id),
            SupervisorExit::StartFailed(reason) => Self::StartFailed(reason),
        }
    }
}

impl From<Exit> for SupervisorExit {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Stopped(reason) => Self::Stopped(reason),
            Exit::MaxRestartsExceeded(max_restarts, within) => {
                Self::MaxRestartsExceeded { max_restarts, within }
            }
            Exit::AutoShutdown(child_id) => Self::AutoShutdown { child_id },
            Exit::StartFailed(reason) => Self::StartFailed(reason),
        }
    }
}

/// [`ChildError`], as it travels.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum ChildFailure {
    Duplicate(String),
    InvalidId(String),
    Args(String, String),
    MissingTemplate,
    /// Of a strategy that the other version does not have.
    InvalidTemplate,
    NotFound(String),
    NoAvailableNode(String, String),
    NotRunning(String, ChildState),
    Spawn(String, SpawnFailure),
    /// The supervisor ends.
    Ended,
    /// `start_child` of a supervisor with a template.
    FromTemplate,
    /// `start_instance` of one without.
    NoTemplate,
    /// What was expected, and what the template has.
    WrongBehavior(String, String),
    /// The supervisor of that node has the name now.
    Claimed(NodeId),
}

/// [`SpawnError`], as it travels.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum SpawnFailure {
    Init(ExitReason),
    InitTimeout(Duration),
    NameTaken(String, Pid),
    NotRunning,
    NoConnection(NodeId),
    ConnectionLost(NodeId),
    Timeout { behavior: String, node: NodeId, after: Duration },
    BehaviorNotFound(String, NodeId),
    Incompatible { behavior: String, node: NodeId, reason: String },
    Overloaded(Overload),
    Other(String),
    Forbidden(String, NodeId),
    Quota { behavior: String, node: NodeId, max: usize },
    NameLost(String, Pid),
}

impl From<SpecError> for ChildFailure {
    fn from(error: SpecError) -> Self {
        match error {
            SpecError::DuplicateChild(id) => Self::Duplicate(id),
            SpecError::InvalidId { id, .. } => Self::InvalidId(id),
            SpecError::Args { id, source } => Self::Args(id, source.to_string()),
            SpecError::MissingChildTemplate => Self::MissingTemplate,
            SpecError::InvalidSimpleOneForOne { .. } => Self::InvalidTemplate,
        }
    }
}

impl From<SpawnError> for SpawnFailure {
    fn from(error: SpawnError) -> Self {
        match error {
            SpawnError::Start(StartError::Init(reason)) => Self::Init(reason),
            SpawnError::Start(StartError::InitTimeout(after)) => Self::InitTimeout(after),
            SpawnError::Start(StartError::Name(NameError::Taken { name, holder })) => {
                Self::NameTaken(name, holder)
            }
            SpawnError::NameLost(NameError::Taken { name, holder }) => Self::NameLost(name, holder),
            SpawnError::Start(StartError::NotRunning) => Self::NotRunning,
            SpawnError::NoConnection(node) => Self::NoConnection(node),
            SpawnError::ConnectionLost(node) => Self::ConnectionLost(node),
            SpawnError::Timeout { behavior, node, after } => Self::Timeout { behavior, node, after },
            SpawnError::BehaviorNotFound { behavior, node } => Self::BehaviorNotFound(behavior, node),
            SpawnError::Incompatible { behavior, node, reason } => {
                Self::Incompatible { behavior, node, reason }
            }
            SpawnError::Overloaded(what) => Self::Overloaded(what),
            SpawnError::Forbidden { behavior, node } => Self::Forbidden(behavior, node),
            SpawnError::Quota { behavior, node, max } => Self::Quota { behavior, node, max },
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<SpawnFailure> for SpawnError {
    fn from(failure: SpawnFailure) -> Self {
        match failure {
            SpawnFailure::Init(reason) => StartError::Init(reason).into(),
            SpawnFailure::InitTimeout(after) => StartError::InitTimeout(after).into(),
            SpawnFailure::NameTaken(name, holder) => {
                StartError::Name(NameError::Taken { name, holder }).into()
            }
            SpawnFailure::NameLost(name, holder) => Self::NameLost(NameError::Taken { name, holder }),
            SpawnFailure::NotRunning => StartError::NotRunning.into(),
            SpawnFailure::NoConnection(node) => Self::NoConnection(node),
            SpawnFailure::ConnectionLost(node) => Self::ConnectionLost(node),
            SpawnFailure::Timeout { behavior, node, after } => Self::Timeout { behavior, node, after },
            SpawnFailure::BehaviorNotFound(behavior, node) => Self::BehaviorNotFound { behavior, node },
            SpawnFailure::Incompatible { behavior, node, reason } => {
                Self::Incompatible { behavior, node, reason }
            }
            SpawnFailure::Overloaded(what) => Self::Overloaded(what),
            SpawnFailure::Forbidden(behavior, node) => Self::Forbidden { behavior, node },
            SpawnFailure::Quota { behavior, node, max } => Self::Quota { behavior, node, max },
            SpawnFailure::Other(text) => StartError::Init(ExitReason::Error(text)).into(),
        }
    }
}

impl ChildFailure {
    /// The error that the caller of the supervisor `pid` sees.
    pub(crate) fn into_error(self, pid: &Pid) -> ChildError {
        match self {
            Self::Duplicate(id) => SpecError::DuplicateChild(id).into(),
            Self::InvalidId(id) => match crate::child_spec::check_id(&id) {
                Err(error) => error.into(),
                Ok(()) => {
                    SpecError::InvalidId { id, reason: "the supervisor's node does not accept it" }.into()
                }
            },
            Self::Args(id, text) => SpecError::Args { id, source: EncodeError::new(text) }.into(),
            Self::MissingTemplate => SpecError::MissingChildTemplate.into(),
            Self::InvalidTemplate => {
                SpecError::InvalidSimpleOneForOne { reason: "the supervisor does not accept it" }.into()
            }
            Self::FromTemplate => SpecError::InvalidSimpleOneForOne { reason: FROM_TEMPLATE }.into(),
            Self::NoTemplate => SpecError::InvalidSimpleOneForOne { reason: NO_TEMPLATE }.into(),
            Self::WrongBehavior(expected, found) => WrongBehavior::new(&expected, &found).into(),
            Self::Claimed(owner) => ChildError::Claimed { owner },
            Self::NotFound(id) => ChildError::NotFound(id),
            Self::NoAvailableNode(child_id, selector) => ChildError::NoAvailableNode { child_id, selector },
            Self::NotRunning(child_id, state) => ChildError::NotRunning { child_id, state },
            Self::Spawn(child_id, failure) => ChildError::Spawn { child_id, source: failure.into() },
            Self::Ended => ChildError::Unreachable(CallError::Exited {
                pid: pid.clone(),
                reason: ExitReason::Shutdown,
                delivery: Delivery::Unknown,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use noex_actors::{Delivery, Incarnation};

    use super::*;

    #[test]
    fn a_name_that_went_while_init_ran_is_told_as_that_and_by_whom_it_is_held() {
        let holder = Pid::new(NodeId::new("b", "127.0.0.1", 2).unwrap(), Incarnation(5), 300);
        let error = SpawnError::NameLost(NameError::Taken { name: "n".to_owned(), holder });
        let told = SpawnError::from(SpawnFailure::from(error.clone()));
        assert_eq!((&told, told.delivery()), (&error, Delivery::Done));
    }
}
