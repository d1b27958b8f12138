//! Facts and commands of supervision, and its settings.

use std::{collections::BTreeSet, time::Duration};

use noex_actors::{ExitReason, Generation, NodeId, Pid};

use super::{
    child::Rule,
    report::{Answer, Ending, Report},
};
use crate::{
    machine::{
        Found,
        policy::{Stop, superseded},
        rebalance::Move,
    },
    options::{AutoShutdown, Backoff, PartitionDecision, PartitionView, RestartIntensity, Strategy},
};

/// Settings that do not change while it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) strategy: Strategy,
    pub(crate) auto_shutdown: AutoShutdown,
    pub(crate) intensity: RestartIntensity,
    pub(crate) backoff: Backoff,
    /// Time between two starts that a node's loss caused.
    pub(crate) pace: Duration,
    /// Whether `noconnection` is left to the failover.
    pub(crate) scope: Scope,
    /// Seconds since 1970 at the start: the least term.
    pub(crate) unix_seconds: u64,
}

/// Who finds out that children are out of reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Their exits say all: `noconnection` is an end like another.
    Local,
    /// The failover does: `noconnection` says nothing about them.
    Cluster,
}

/// Why a start failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No node to start it on.
    NoNode,
    /// The node went away meanwhile.
    NodeGone,
    /// It was tried, and refused or ended.
    Refused(String),
    /// The child was given up, or the supervisor ends.
    GivenUp,
}

/// How a node was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    Crash,
    Goodbye,
}

/// Whether an answer must name every instance that is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The connection was lost and is back: what is missing is lost.
    Readopt,
    /// Look for what should not be there.
    Reconcile,
}

/// Why an instance is stopped, for logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The child is terminated by hand.
    Terminated,
    /// The child is started anew: by hand, or above an instance that must not be taken over.
    Restarted,
    /// The strategy: it is concerned by the end of a sibling.
    Sibling,
    /// Its node is leaving, or another one is to have it.
    Moves,
    /// The supervisor ends.
    End,
    /// It did not stop in time.
    Overdue,
    /// Another instance of the child has a higher generation.
    Duplicate,
    /// No child of this supervisor has its id.
    NoChild,
    /// Its start was given up meanwhile.
    Late,
    /// It was told to before it was out of reach. Another supervisor that has taken it over since has nothing to count.
    Reached,
}

impl Cause {
    /// As it is logged.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Terminated => "terminated",
            Self::Restarted => "restarted",
            Self::Sibling => "sibling",
            Self::Moves => "moves",
            Self::End => "supervisor ends",
            Self::Overdue => "overdue",
            Self::Duplicate => "duplicate",
            Self::NoChild => "no child",
            Self::Late => "late start",
            Self::Reached => "in reach again",
        }
    }

    /// What the instance is asked to stop with.
    pub(crate) fn reason(self) -> ExitReason {
        match self {
            Self::Duplicate | Self::NoChild | Self::Late | Self::Reached => superseded(),
            Self::Terminated | Self::Restarted | Self::Sibling | Self::Moves | Self::End | Self::Overdue => {
                ExitReason::Shutdown
            }
        }
    }
}

/// Facts.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// Everything that is alive of other supervisors of this name is known, and none of them has the name: the children
    /// may be started. Said at the start, and after doubt.
    Begun {
        found: Vec<Found>,
    },
    /// A node has heard of a supervisor of this name with that term.
    Seen {
        term: u64,
    },
    StartSucceeded {
        child: String,
        generation: Generation,
        pid: Pid,
    },
    StartFailed {
        child: String,
        generation: Generation,
        node: Option<NodeId>,
        failure: Failure,
    },
    ChildExited {
        child: String,
        pid: Pid,
        reason: ExitReason,
    },
    AddRequested {
        request: u64,
        rule: Rule,
    },
    TerminateRequested {
        request: u64,
        child: String,
    },
    RestartRequested {
        request: u64,
        child: String,
    },
    StopRequested {
        reason: ExitReason,
    },
    /// It stood still itself, for so long that another supervisor may have taken its place.
    StoodStill,
    /// Another supervisor has the name: nothing is started any more.
    Superseded,
    /// It ends, but these children are left running for another supervisor. Nothing else is stopped than the other
    /// children's instances that it knows.
    HandedOver {
        keep: BTreeSet<String>,
        reason: ExitReason,
    },
    NodeSuspected {
        node: NodeId,
    },
    NodeLost {
        node: NodeId,
        loss: Loss,
    },
    NodeAvailable,
    NodeDraining {
        node: NodeId,
    },
    /// These are to move, in turn.
    RebalanceRequested {
        moves: Vec<Move>,
    },
    /// What may be done while a part of the cluster is out of reach.
    Standing {
        decision: PartitionDecision,
        view: PartitionView,
    },
    InstancesTold {
        node: NodeId,
        purpose: Purpose,
        found: Vec<Found>,
    },
    DeadlineReached,
}

/// Commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Start it, on the target if that can run it and is not excluded, else where the selector says, on another node than the
    /// excluded ones if there is one; answered by exactly one fact.
    Start {
        child: String,
        generation: Generation,
        attempt: u32,
        excluded: BTreeSet<NodeId>,
        target: Option<NodeId>,
    },
    /// Monitor it; its end is a `ChildExited`. Replaces an earlier monitor of the same instance.
    Watch {
        child: String,
        generation: Generation,
        pid: Pid,
    },
    Stop {
        child: String,
        generation: Generation,
        pid: Pid,
        how: Stop,
        cause: Cause,
    },
    Reply {
        request: u64,
        answer: Answer,
    },
    Report(Report),
    /// It is no child any more: whatever is kept for it can go.
    Forget {
        child: String,
    },
    /// There is an instance of a later term, or an instance of its own was stopped by another supervisor: somebody else has, or
    /// had, the name.
    DoubtName,
    /// Every child was started once.
    Ready,
    /// Nothing is left.
    End(Ending),
}
