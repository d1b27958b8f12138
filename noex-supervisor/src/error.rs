//! Errors of supervisors: one enum per operation.

use noex_actors::{CallError, EncodeError, NameError, NodeId, SpawnError, WrongBehavior};

use crate::{distributed::DistributedSupervisor, info::ChildState};

/// What is wrong with a child specification. Nothing was started.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// The supervisor has a child with this id. Choose another id, or restart that child.
    #[error("there is a child \"{0}\" already")]
    DuplicateChild(String),
    /// The id breaks the rule of ids: 1 to 255 bytes, no control characters.
    #[error("invalid child id \"{id}\": {reason}")]
    InvalidId {
        /// The id.
        id: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// The strategy is `simple_one_for_one`, and there is no template to make children from.
    #[error("simple_one_for_one needs a child template")]
    MissingChildTemplate,
    /// Children of `simple_one_for_one` come from a template, those of other strategies from specifications.
    #[error("{reason}")]
    InvalidSimpleOneForOne {
        /// What does not go together.
        reason: &'static str,
    },
    /// The arguments could not be encoded.
    #[error("the arguments of \"{id}\" cannot be sent")]
    Args {
        /// Id of the child.
        id: String,
        /// What their `Serialize` said.
        source: EncodeError,
    },
}

/// Why an operation on a child failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ChildError {
    /// The specification is wrong. Nothing was started.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// There is no child with this id (any more). Nothing happened.
    #[error("no child \"{0}\"")]
    NotFound(String),
    /// No node that is up, stays, and knows the behavior fits the selector. A new child is not kept; a child that was
    /// there waits as pending.
    #[error("no node for child \"{child_id}\" by {selector}")]
    NoAvailableNode {
        /// Id of the child.
        child_id: String,
        /// The selector, as text.
        selector: String,
    },
    /// It did not start. A new child is not kept; a child that was there is tried again with backoff.
    #[error("child \"{child_id}\" did not start")]
    Spawn {
        /// Id of the child.
        child_id: String,
        /// Why.
        source: SpawnError,
    },
    /// The child has no instance at this moment. Ask again, or use its name.
    #[error("child \"{child_id}\" is {state}")]
    NotRunning {
        /// Id of the child.
        child_id: String,
        /// Where it stands.
        state: ChildState,
    },
    /// The supervisor that was asked lost its name, and its children, to that of another node, which it had not heard of. Ask
    /// that one: [`DistributedSupervisor::lookup`] finds it; a handle stays with its supervisor.
    #[error("the supervisor on {owner} has the name and the children now")]
    Claimed {
        /// The node.
        owner: NodeId,
    },
    /// The child is of another behavior.
    #[error(transparent)]
    WrongBehavior(WrongBehavior),
    /// The supervisor could not be asked, or ended before it answered; its `delivery` says whether it was told.
    #[error("the supervisor cannot be asked")]
    Unreachable(#[source] CallError),
}

impl From<CallError> for ChildError {
    fn from(error: CallError) -> Self {
        Self::Unreachable(error)
    }
}

impl From<WrongBehavior> for ChildError {
    fn from(error: WrongBehavior) -> Self {
        Self::WrongBehavior(error)
    }
}

/// Why a supervisor did not start. What had started is stopped again.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartSupervisorError {
    /// A specification is wrong.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Its name is not to be had.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A supervisor of that name runs, here or elsewhere.
    #[error("supervisor \"{}\" is running already", .0.id())]
    AlreadyRunning(DistributedSupervisor),
    /// A child did not start.
    #[error("child \"{id}\" did not start")]
    Child {
        /// Id of the child.
        id: String,
        /// Why.
        #[source]
        source: ChildError,
    },
    /// The node is stopping or stopped.
    #[error("this node is not running")]
    NotRunning,
}
