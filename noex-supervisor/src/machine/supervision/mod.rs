//! Supervision: decides what is started, stopped and restarted. One machine for local and distributed supervisors.
//!
//! ```text
//!            start                 success            exit, restart_child
//!  Fresh ───────────▶ Starting ──────────────▶ Running ─────────────────▶ Starting
//!                      │    ▲ ▲                   │ terminate, leaving node
//!              failure │    │ └── Pending         ▼
//!                      ▼    │ (no node)        Stopping ──▶ removed, or Starting
//!                    Waiting ┘
//! ```
//!
//! Invariants: 1. at most one start in flight per child; 2. every start has a generation of its own, higher than all
//! before it, and a fact that names another generation than the child's changes nothing, but an instance that nobody
//! expects is stopped; 3. intensity counts rounds, one per cause; 4. after `End` there is no child and no stray, and
//! nothing but a late instance is acted on; 5. a connection that was lost never restarts anything, only
//! [`Input::NodeLost`] and [`Input::InstancesTold`] do.
//!
//! Source: OTP `supervisor`; the design's rules on failover, generations, leaving and intensity.

pub(crate) mod children;
mod ends;
mod nodes;
mod report;
mod starts;
mod stops;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use noex_actors::{ExitReason, Generation, Monotonic, NodeId, Pid};

use self::children::Children;
pub(crate) use self::{
    children::{Child, Rule, State, Why},
    report::{Answer, Ending, Report, Totals},
};
use super::{Found, generation::Generations, intensity::Intensity, policy::Stop};
use crate::options::{Backoff, RestartIntensity};

/// Settings that do not change while it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
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

/// Facts.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// Everything that is alive of other supervisors of this name is known, and none of them has the name: the children
    /// may be started. Said at the start, and after doubt.
    Begun {
        found: Vec<Found>,
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
    /// Another supervisor has, or may have, the name: nothing is started any more.
    Superseded,
    /// It ends, but these children are left running for another supervisor.
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
    /// Start it, on another node than the excluded ones if there is one; answered by exactly one fact.
    Start {
        child: String,
        generation: Generation,
        attempt: u32,
        excluded: BTreeSet<NodeId>,
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
    },
    Reply {
        request: u64,
        answer: Answer,
    },
    Report(Report),
    /// There is an instance of a later term: somebody else has, or had, the name.
    DoubtName,
    /// Every child was started once.
    Ready,
    /// Nothing is left.
    End(Ending),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    StartingUp,
    Running,
    Ending(Ending),
    Ended,
}

/// An instance that should not be, on its way out.
#[derive(Debug)]
struct Stray {
    child: String,
    generation: Generation,
    kill_at: Option<Monotonic>,
}

/// The machine.
#[derive(Debug)]
pub(crate) struct Supervision {
    settings: Settings,
    phase: Phase,
    children: Children,
    strays: BTreeMap<Pid, Stray>,
    intensity: Intensity,
    /// Waves of retries already counted, by round.
    rounds: BTreeMap<u64, u32>,
    next_round: u64,
    generations: Generations,
    draining: BTreeSet<NodeId>,
    /// Whether another supervisor may have the name.
    superseded: bool,
    /// How many times a node came.
    arrivals: u64,
    next_slot: Monotonic,
    totals: Totals,
}

type Outputs = VecDeque<Output>;

impl Supervision {
    /// A supervisor over `rules`, which nothing is done about until [`Input::Begun`]. Ids must be unique: a rule with
    /// the id of an earlier one is left out.
    pub(crate) fn new(settings: Settings, rules: impl IntoIterator<Item = Rule>) -> Self {
        let mut children = Children::default();
        for rule in rules {
            let added = children.add(rule, Why::Initial);
            debug_assert!(added, "ids are checked before");
        }
        Self {
            settings,
            phase: Phase::Idle,
            children,
            strays: BTreeMap::new(),
            intensity: Intensity::new(settings.intensity),
            rounds: BTreeMap::new(),
            next_round: 0,
            generations: Generations::begin(None, settings.unix_seconds),
            draining: BTreeSet::new(),
            superseded: false,
            arrivals: 0,
            next_slot: Monotonic::ZERO,
            totals: Totals::default(),
        }
    }

    /// Takes a fact.
    pub(crate) fn handle(&mut self, input: Input, now: Monotonic, entropy: u64, out: &mut Outputs) {
        match input {
            Input::Begun { found } => self.begin(found, now, out),
            Input::StartSucceeded { child, generation, pid } => {
                self.start_succeeded(child, generation, pid, now, out);
            }
            Input::StartFailed { child, generation, node, failure } => {
                self.start_failed(&child, generation, (node, failure), (now, entropy), out);
            }
            Input::ChildExited { child, pid, reason } => {
                self.exited(&child, &pid, reason, now, out);
            }
            Input::AddRequested { request, rule } => self.add(request, rule, out),
            Input::TerminateRequested { request, child } => self.terminate(request, &child, now, out),
            Input::RestartRequested { request, child } => self.restart(request, &child, now, out),
            Input::StopRequested { reason } => self.begin_end(Ending::Stopped(reason), now, out),
            Input::Superseded => self.superseded = true,
            Input::HandedOver { keep, reason } => self.hand_over(&keep, reason, now, out),
            Input::NodeSuspected { node } => self.suspect(&node),
            Input::NodeLost { node, loss } => self.node_lost(&node, loss, now, out),
            Input::NodeAvailable => self.node_available(now, out),
            Input::NodeDraining { node } => self.drain(node, now, out),
            Input::InstancesTold { node, purpose, found } => {
                self.told(&node, purpose, found, now, out);
            }
            Input::DeadlineReached => self.deadline_reached(now, out),
        }
        self.advance(now, out);
    }

    /// When [`Input::DeadlineReached`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Monotonic> {
        let children = self.children.iter().filter_map(Child::due);
        let strays = self.strays.values().filter_map(|stray| stray.kill_at);
        children.chain(strays).min()
    }

    /// The children in start order.
    pub(crate) fn children(&self) -> impl Iterator<Item = &Child> {
        self.children.iter()
    }

    pub(crate) fn child(&self, id: &str) -> Option<&Child> {
        self.children.get(id)
    }

    /// The instances of children, and those on their way out.
    pub(crate) fn instances(&self) -> BTreeSet<Pid> {
        self.strays.keys().chain(self.children.iter().filter_map(Child::pid)).cloned().collect()
    }

    /// Whether a start is in flight.
    pub(crate) fn is_starting(&self) -> bool {
        self.children.iter().any(|child| child.state == State::Starting)
    }

    pub(crate) fn child_count(&self) -> usize {
        self.children.len()
    }

    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// Whether it may start anything at all.
    fn is_in_charge(&self) -> bool {
        self.is_open() && !self.superseded
    }

    /// Whether it has not begun to end.
    fn is_open(&self) -> bool {
        match self.phase {
            Phase::Idle | Phase::StartingUp | Phase::Running => true,
            Phase::Ending(_) | Phase::Ended => false,
        }
    }

    /// The next step of a start-up or an end that no single child drives.
    fn advance(&mut self, now: Monotonic, out: &mut Outputs) {
        match self.phase {
            Phase::Idle | Phase::Running | Phase::Ended => {}
            Phase::StartingUp if self.superseded => {}
            Phase::StartingUp => self.advance_start_up(out),
            Phase::Ending(_) => self.advance_end(now, out),
        }
    }

    fn deadline_reached(&mut self, now: Monotonic, out: &mut Outputs) {
        let due = self.children.ids(|child| child.due().is_some_and(|at| at <= now));
        for id in due {
            self.child_due(&id, out);
        }
        for (pid, stray) in &mut self.strays {
            if stray.kill_at.is_some_and(|at| at <= now) {
                stray.kill_at = None;
                let (child, pid, generation) = (stray.child.clone(), pid.clone(), stray.generation);
                out.push_back(Output::Stop { child, generation, pid, how: Stop::Kill });
            }
        }
    }

    fn child_due(&mut self, id: &str, out: &mut Outputs) {
        let Some(child) = self.children.get_mut(id) else { return };
        match &mut child.state {
            State::Waiting { .. } => self.start(id, out),
            State::Stopping { pid: Some(pid), how, kill_at, .. } => {
                (*how, *kill_at) = (Stop::Kill, None);
                let (child, pid, generation) = (id.to_owned(), pid.clone(), child.generation);
                out.push_back(Output::Stop { child, generation, pid, how: Stop::Kill });
            }
            State::Fresh
            | State::Starting
            | State::Running { .. }
            | State::Pending
            | State::Stopping { pid: None, .. } => {}
        }
    }
}
