//! One child: what is known of it, and where it stands.

use std::{
    collections::BTreeSet,
    ops::{Bound, RangeBounds},
};

use noex_actors::{Generation, Monotonic, NodeId, Owner, Pid};

use crate::{
    machine::{generation::Rank, policy::Stop},
    options::{Restart, Shutdown},
};

/// What a supervisor must know of a child to decide about it.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) id: String,
    pub(crate) restart: Restart,
    pub(crate) shutdown: Shutdown,
    /// Bound to one node: waits for it instead of failing.
    pub(crate) pinned: bool,
    /// Whether its removal may end the supervisor.
    pub(crate) significant: bool,
}

/// Why an instance is started; decides what is reported and counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The supervisor starts.
    Initial,
    /// `start_child`.
    Added,
    /// The last instance ended.
    Exit,
    /// The last instance was stopped because of another child, as the strategy says.
    Sibling,
    /// The node of the last instance was lost.
    NodeLoss { from: NodeId },
    /// The node of the last instance is leaving.
    Leaving { from: NodeId },
    /// `restart_child`.
    Manual,
}

/// What follows a stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Remove,
    /// It is not stopped: another supervisor will find it. Only for a start in flight.
    Leave,
    Restart,
    /// It waits for its turn in the plan.
    Queue,
    Migrate {
        from: NodeId,
    },
}

/// Where a child stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Not yet started for the first time.
    Fresh,
    /// A start is in flight.
    Starting,
    Running {
        pid: Pid,
    },
    /// Waits for a time: backoff, or its turn.
    Waiting {
        until: Monotonic,
    },
    /// Waits for a node.
    Pending,
    /// Waits for its turn in the plan.
    Queued,
    /// Being stopped, last told so by `how`; `pid` is absent while the start that it overtook is still in flight.
    Stopping {
        pid: Option<Pid>,
        how: Stop,
        kill_at: Option<Monotonic>,
        then: Then,
    },
}

/// One child.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) rule: Rule,
    pub(crate) state: State,
    /// Of the instance, or of the start in flight, or of the last one.
    pub(crate) generation: Generation,
    /// Who started it.
    pub(crate) owner: Option<Owner>,
    /// From where on an instance may still be alive somewhere while none is known.
    pub(crate) may_live: Bound<Rank>,
    /// False while nobody knows whether the node of the instance is lost.
    pub(crate) confirmed: bool,
    /// It was told to go a second time, after it was out of reach: with the reason by which else a rival is known.
    pub(crate) reached: bool,
    pub(crate) why: Why,
    /// Which attempt of this round is in flight or next, from 1.
    pub(crate) attempt: u32,
    /// The cause that counted, while its restart is not done.
    pub(crate) round: Option<u64>,
    pub(crate) restarts: u32,
    pub(crate) excluded: BTreeSet<NodeId>,
    /// Where it is to move.
    pub(crate) target: Option<NodeId>,
    pub(crate) started_at: Option<Monotonic>,
    pub(crate) pending_reported: bool,
    /// How many nodes had come when it was last started.
    pub(crate) arrivals: u64,
    /// Requests answered by the next outcome of a start.
    pub(crate) start_waiters: Vec<u64>,
    /// Requests answered when the child is gone.
    pub(crate) stop_waiters: Vec<u64>,
}

impl Child {
    pub(super) fn new(rule: Rule, why: Why) -> Self {
        Self {
            rule,
            state: State::Fresh,
            generation: Generation::default(),
            owner: None,
            may_live: Bound::Unbounded,
            confirmed: true,
            reached: false,
            why,
            attempt: 1,
            round: None,
            restarts: 0,
            excluded: BTreeSet::new(),
            target: None,
            started_at: None,
            pending_reported: false,
            arrivals: 0,
            start_waiters: Vec::new(),
            stop_waiters: Vec::new(),
        }
    }

    /// How late the instance is, or the start in flight, or the last one.
    pub(crate) fn rank(&self) -> Rank {
        Rank { generation: self.generation, owner: self.owner.clone() }
    }

    /// Its instance is over: no earlier one is taken for it.
    pub(super) fn note_end(&mut self) {
        self.may_live = Bound::Excluded(self.rank());
    }

    /// Whether that instance may be its own.
    pub(super) fn may_be(&self, rank: &Rank) -> bool {
        (self.may_live.as_ref(), Bound::Unbounded).contains(rank)
    }

    /// The living instance, as far as is known.
    pub(crate) fn pid(&self) -> Option<&Pid> {
        match &self.state {
            State::Running { pid } | State::Stopping { pid: Some(pid), .. } => Some(pid),
            State::Fresh
            | State::Starting
            | State::Waiting { .. }
            | State::Pending
            | State::Queued
            | State::Stopping { pid: None, .. } => None,
        }
    }

    /// When it acts by itself.
    pub(crate) fn due(&self) -> Option<Monotonic> {
        match &self.state {
            State::Waiting { until } => Some(*until),
            State::Stopping { pid: Some(_), kill_at, .. } => *kill_at,
            State::Fresh
            | State::Starting
            | State::Running { .. }
            | State::Pending
            | State::Queued
            | State::Stopping { pid: None, .. } => None,
        }
    }
}
