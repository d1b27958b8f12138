//! Supervision: decides what is started, stopped and restarted. One machine for local and distributed supervisors.
//!
//! ```text
//!            start                 success            exit, restart_child
//!  Fresh ───────────▶ Starting ──────────────▶ Running ─────────────────▶ Starting
//!                      │    ▲ ▲                   │ terminate, leaving node, a sibling's end
//!              failure │    │ └── Pending         ▼
//!                      ▼    │ (no node)        Stopping ──▶ removed, Starting, or Queued
//!                    Waiting ┘
//! ```
//!
//! Where the strategy concerns siblings, there is a plan ([`Plan`](super::plan)): they are stopped one after the other, wait
//! as `Queued`, and are started one after the other.
//!
//! Invariants: 1. at most one start in flight per child; 2. every start has a generation of its own, higher than all
//! before it, and a fact that names another generation than the child's changes nothing, but an instance that nobody
//! expects is stopped; 3. intensity counts rounds, one per cause; 4. after `End` there is no child and no stray, and
//! nothing but a late instance of its own is acted on; while another supervisor may have the name, or what lives was left
//! to one, no instance is stopped that is not the child's own; 5. a connection that was lost never restarts anything, only
//! [`Input::NodeLost`] and [`Input::InstancesTold`] do; 6. no fact about one child costs more the more children there are.
//!
//! Source: OTP `supervisor`; the design's rules on failover, generations, leaving and intensity.

mod adoption;
pub(crate) mod child;
mod children;
mod ends;
mod facts;
mod moves;
mod nodes;
mod report;
mod rounds;
mod starts;
mod stops;

#[cfg(test)]
mod across;
#[cfg(test)]
mod bench;
#[cfg(test)]
mod moving;
#[cfg(test)]
mod otp;
#[cfg(test)]
mod props;
#[cfg(test)]
mod rivals;
#[cfg(test)]
mod siblings;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use noex_actors::{Generation, Monotonic, NodeId, Owner, Pid};

use self::children::Children;
pub(crate) use self::{
    child::{Child, Rule, State, Why},
    facts::{Cause, Failure, Input, Loss, Output, Purpose, Scope, Settings},
    report::{Answer, Ending, Report, Totals},
};
#[cfg(test)]
use super::policy;
use super::{
    Found, generation::Generations, intensity::Intensity, plan::Plan, policy::Stop, rebalance::Move,
};

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
    /// Its node told of it again after it was told to go: it was alive then.
    again: bool,
}

/// The machine.
#[derive(Debug)]
pub(crate) struct Supervision {
    settings: Settings,
    phase: Phase,
    children: Children,
    strays: BTreeMap<Pid, Stray>,
    /// Siblings that are stopped and started together.
    plan: Option<Plan>,
    intensity: Intensity,
    /// Waves of retries already counted, by round.
    rounds: BTreeMap<u64, u32>,
    next_round: u64,
    generations: Generations,
    draining: BTreeSet<NodeId>,
    /// Children that are to move, in turn.
    moves: VecDeque<Move>,
    /// Children on their way.
    moving: BTreeSet<String>,
    /// Whether nothing may be started, because too much of the cluster is out of reach.
    paused: bool,
    /// How long an instance may be alive on a node that is lost.
    hold: Duration,
    /// Whether another supervisor may have the name.
    superseded: bool,
    /// Whether another supervisor has it.
    beaten: bool,
    /// It leaves what lives to another supervisor.
    handed_over: bool,
    /// The significant child whose end waits to end the supervisor, until it is known who has the name.
    owed_end: Option<String>,
    /// The first child whose end waits for the strategy to be applied, until it is known who has the name.
    owed: Option<u64>,
    /// How many times a node came.
    arrivals: u64,
    next_slot: Monotonic,
    /// Whether all were told to go at once.
    all_told: bool,
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
        children.settle();
        Self {
            settings,
            phase: Phase::Idle,
            children,
            strays: BTreeMap::new(),
            plan: None,
            intensity: Intensity::new(settings.intensity),
            rounds: BTreeMap::new(),
            next_round: 0,
            generations: Generations::new(None, settings.unix_seconds),
            draining: BTreeSet::new(),
            moves: VecDeque::new(),
            moving: BTreeSet::new(),
            paused: false,
            hold: Duration::ZERO,
            superseded: false,
            beaten: false,
            handed_over: false,
            owed_end: None,
            owed: None,
            arrivals: 0,
            next_slot: Monotonic::ZERO,
            all_told: false,
            totals: Totals::default(),
        }
    }

    /// The same, for that supervisor among those of its name.
    pub(crate) fn owned_by(mut self, owner: Owner) -> Self {
        self.generations = Generations::new(Some(owner), self.settings.unix_seconds);
        self
    }

    /// Takes a fact.
    pub(crate) fn handle(&mut self, input: Input, now: Monotonic, entropy: u64, out: &mut Outputs) {
        match input {
            Input::Begun { found } => self.begin(found, now, out),
            Input::Seen { term } => self.seen(term, out),
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
            Input::StopRequested { reason } => self.stop_all(reason, now, out),
            Input::StoodStill if matches!(self.phase, Phase::StartingUp | Phase::Running) => self.doubt(out),
            Input::StoodStill => {}
            Input::Superseded => (self.superseded, self.beaten) = (true, true),
            Input::HandedOver { keep, reason } => self.hand_over(&keep, reason, now, out),
            Input::NodeSuspected { node } => self.suspect(&node),
            Input::NodeLost { node, loss } => self.node_lost(&node, loss, now, out),
            Input::NodeAvailable => self.node_available(now, out),
            Input::NodeDraining { node } => self.drain(node, now, out),
            Input::RebalanceRequested { moves } => self.rebalance(moves),
            Input::Standing { decision, view } => self.stand(decision, view, now, out),
            Input::InstancesTold { node, purpose, found } => {
                self.told(&node, purpose, found, now, out);
            }
            Input::DeadlineReached => self.deadline_reached(now, out),
        }
        self.advance(now, out);
        self.advance_moves(now, out);
        self.children.settle();
    }

    /// When [`Input::DeadlineReached`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Monotonic> {
        let strays = self.strays.values().filter_map(|stray| stray.kill_at);
        self.children.next_due().into_iter().chain(self.plan_due()).chain(strays).min()
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
        self.children.starting() > 0
    }

    /// Whether a start is in flight, or siblings are being stopped and started.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_starting() || (self.plan.is_some() && self.is_in_charge())
    }

    /// An instance may be alive for so long on a node that is lost.
    pub(crate) fn set_hold(&mut self, hold: Duration) {
        self.hold = hold;
    }

    /// How many children wait for a node.
    pub(crate) fn pending_count(&self) -> usize {
        self.children.pending_count()
    }

    /// Whether nothing is started, because too much of the cluster is out of reach.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused
    }

    /// The term of the next start, as far as is known.
    pub(crate) fn term(&self) -> u64 {
        self.generations.term()
    }

    pub(crate) fn child_count(&self) -> usize {
        self.children.len()
    }

    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// Nothing is started: somebody else may have the name, or too much of the cluster is out of reach.
    fn stands_still(&self) -> bool {
        self.superseded || self.paused
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

    /// The next step of a start-up, a plan or an end, which no single child drives.
    fn advance(&mut self, now: Monotonic, out: &mut Outputs) {
        match self.phase {
            Phase::Idle | Phase::Ended => {}
            Phase::Running => self.advance_plan(now, out),
            Phase::StartingUp => {
                self.advance_plan(now, out);
                if self.plan.is_none() && !self.stands_still() {
                    self.advance_start_up(out);
                }
            }
            Phase::Ending(_) => self.advance_end(now, out),
        }
    }

    fn deadline_reached(&mut self, now: Monotonic, out: &mut Outputs) {
        for id in self.children.due_at(now) {
            self.child_due(&id, out);
        }
        if let Some(plan) = self.plan.as_mut().filter(|plan| plan.is_due(now)) {
            plan.go_on();
        }
        if self.handed_over {
            // What was told to go had its time. Whoever has it now does what is to be done.
            self.strays.retain(|_, stray| stray.kill_at.is_some_and(|at| at > now));
        }
        for (pid, stray) in &mut self.strays {
            if stray.kill_at.is_some_and(|at| at <= now) {
                stray.kill_at = None;
                let (child, pid, generation) = (stray.child.clone(), pid.clone(), stray.generation);
                out.push_back(Output::Stop {
                    child,
                    generation,
                    pid,
                    how: Stop::Kill,
                    cause: Cause::Overdue,
                });
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
                out.push_back(Output::Stop {
                    child,
                    generation,
                    pid,
                    how: Stop::Kill,
                    cause: Cause::Overdue,
                });
            }
            State::Fresh
            | State::Starting
            | State::Running { .. }
            | State::Pending
            | State::Queued
            | State::Stopping { pid: None, .. } => {}
        }
    }
}
