//! Instances that this supervisor did not start: what an earlier one of its name left, and what a rival has.
//!
//! | Strategy | As it starts | Later |
//! |---|---|---|
//! | `one_for_one` | the highest of each child is taken over | the same; a higher one replaces its own |
//! | `one_for_all`, `rest_for_one` | the same, but whom a missing child concerns is stopped, to be started with it | stopped |
//! | `simple_one_for_one` | stopped: nobody knows the arguments that they were started with | stopped |
//!
//! Invariants: 1. of a child that must not be taken over, the next instance is higher than every one that was met; a
//! living one that is lower is replaced, by the strategy's rule, which counts nothing; 2. children that belong together
//! are those of one supervisor: no instance of another joins them once it has begun; 3. an instance of a later supervisor,
//! by term or by owner, is never stopped, and while it is not known who has the name no other instance is either;
//! 4. what was told to go is never taken over; 5. what another supervisor stopped is not started again before it is known who
//! has the name.
//!
//! Source: the design's rules "Generation" and "One name, one supervisor".

use noex_actors::{Generation, Monotonic};

use super::{
    Answer, Cause, Ending, Found, Output, Outputs, Phase, Supervision,
    child::{State, Then},
};
use crate::{
    machine::{
        generation::Rank,
        plan::{Needs, Plan, concerned},
    },
    options::{Restart, Strategy},
};

impl Supervision {
    /// Takes over the highest instance of each child, stops the others, and starts what is missing.
    pub(super) fn begin(&mut self, mut found: Vec<Found>, now: Monotonic, out: &mut Outputs) {
        if self.phase != Phase::Idle {
            return self.reinstate(found, now, out);
        }
        let highest = found.iter().map(|instance| instance.generation).max();
        self.generations.begin(highest);
        found.sort_by_key(|instance| std::cmp::Reverse(instance.rank()));
        for instance in found {
            self.meet(instance, now, out);
        }
        self.phase = Phase::StartingUp;
        self.stop_whom_the_missing_concern();
    }

    /// Who is not there has ended. Those whom that concerns are stopped, last one first; the start-up does the rest.
    /// A temporary child concerns nobody: its end would have had no consequence.
    fn stop_whom_the_missing_concern(&mut self) {
        if concerned(self.settings.strategy, 0).is_none() {
            return;
        }
        let is_missing = |state: &State, restart| *state == State::Fresh && restart != Restart::Temporary;
        let missing = self.children.iter().find(|child| is_missing(&child.state, child.rule.restart));
        let missing = missing.and_then(|child| self.children.key(&child.rule.id));
        let Some(range) = missing.and_then(|key| concerned(self.settings.strategy, key)) else { return };
        let mut plan = Plan::default();
        for key in self.children.keys(range) {
            if self.children.at(key).is_some_and(|child| matches!(child.state, State::Running { .. })) {
                plan.join(key, Needs::Stop);
            }
        }
        self.plan = Some(plan);
    }

    /// A supervisor of that term was somewhere. One that began after this one may be there still.
    pub(super) fn seen(&mut self, term: u64, out: &mut Outputs) {
        let rank = Rank { generation: Generation::new(term, 0), owner: None };
        let later = self.generations.is_later(&rank);
        self.generations.doubt(rank);
        if later && self.is_open() && self.phase != Phase::Idle {
            self.doubt(out);
        }
    }

    /// Whether an instance that it did not start may become a child's own.
    fn takes_over(&self) -> bool {
        match self.settings.strategy {
            Strategy::OneForOne => self.is_open(),
            Strategy::OneForAll | Strategy::RestForOne => self.phase == Phase::Idle,
            Strategy::SimpleOneForOne => false,
        }
    }

    /// Weighs an instance that a node told of against the table: the higher generation stays.
    pub(super) fn meet(&mut self, found: Found, now: Monotonic, out: &mut Outputs) {
        let (open, takes_over) = (self.is_open(), self.takes_over());
        let rank = found.rank();
        if self.generations.is_later(&rank) {
            // Started by a supervisor that came after this one. Whoever has the name now decides about it.
            if open {
                self.generations.doubt(rank);
                self.doubt(out);
            }
            return;
        }
        if self.phase == Phase::Ended {
            return;
        }
        let Some(child) = self.children.get_mut(&found.child) else {
            return self.stop_stray(found, Cause::NoChild, now, out);
        };
        let (current, own) = (child.generation, child.rank());
        // One that was told to go is never taken over, however long it takes.
        let takes_over = takes_over && !self.strays.contains_key(&found.pid);
        match child.state.clone() {
            State::Running { pid } if found.pid == pid => {
                if std::mem::replace(&mut child.confirmed, true) {
                    return;
                }
                // The connection was lost, and the watch with it.
                out.push_back(Output::Watch { child: found.child, generation: current, pid });
            }
            // It was told to stop, and may not have heard of it. Whoever came later may have taken it over meanwhile: it is told of
            // again.
            State::Stopping { pid: Some(pid), .. } if found.pid == pid && self.superseded && open => {}
            State::Stopping { pid: Some(pid), how, then, .. } if found.pid == pid => {
                if std::mem::replace(&mut child.confirmed, true) {
                    return;
                }
                let id = found.child;
                out.push_back(Output::Watch { child: id.clone(), generation: current, pid: pid.clone() });
                child.reached = then == Then::Restart;
                let cause = if child.reached { Cause::Reached } else { self.cause_of(&then) };
                out.push_back(Output::Stop { child: id, generation: current, pid, how, cause });
            }
            // Its success is on the way.
            State::Starting | State::Stopping { pid: None, .. } if rank == own => {}
            State::Fresh | State::Waiting { .. } | State::Pending | State::Queued
                if takes_over && child.may_be(&rank) =>
            {
                self.adopt(found, now, out);
            }
            // Another supervisor may have the name, and one of the two: it is told of again.
            State::Running { .. } if self.superseded && open => {}
            // Not ours, and higher: it wins.
            State::Running { pid } if takes_over && rank > own => {
                let old = Found { child: found.child.clone(), generation: current, owner: own.owner, pid };
                self.stop_stray(old, Cause::Duplicate, now, out);
                self.adopt(found, now, out);
            }
            State::Starting if takes_over && rank > own => self.adopt(found, now, out),
            State::Fresh
            | State::Starting
            | State::Running { .. }
            | State::Waiting { .. }
            | State::Pending
            | State::Queued
            | State::Stopping { .. } => {
                if open && !self.superseded {
                    self.outdo(&found, now, out);
                }
                self.stop_stray(found, Cause::Duplicate, now, out);
            }
        }
    }

    /// The next instance of the child will be higher than this one, which is to be stopped. One that lives and is lower
    /// makes way for it.
    fn outdo(&mut self, found: &Found, now: Monotonic, out: &mut Outputs) {
        self.generations.observe(found.generation);
        let Some(key) = self.children.key(&found.child) else { return };
        let Some(child) = self.children.at(key) else { return };
        let lives = matches!(child.state, State::Running { .. } | State::Starting);
        if !lives || found.rank() <= child.rank() {
            return;
        }
        match concerned(self.settings.strategy, key) {
            Some(range) => self.join(range),
            None => self.stop_child(&found.child, Then::Restart, now, out),
        }
    }

    /// The strategy is to be applied to the end of this child, once it is known who has the name.
    pub(super) fn owe(&mut self, id: &str) {
        let owed = self.owed.into_iter().chain(self.children.key(id));
        self.owed = owed.min();
    }

    /// There is a sign of another supervisor of the name. Until it is known who has it nothing is started.
    pub(super) fn doubt(&mut self, out: &mut Outputs) {
        self.superseded = true;
        if !self.beaten {
            out.push_back(Output::DoubtName);
        }
    }

    /// It has the name after all: goes beyond every term, so that what is higher is its own to adopt.
    pub(super) fn reinstate(&mut self, mut found: Vec<Found>, now: Monotonic, out: &mut Outputs) {
        // What was asked in doubt may be answered when it knows already that another one has the name.
        if !self.superseded || self.beaten {
            return;
        }
        self.superseded = false;
        for instance in &found {
            self.generations.doubt(instance.rank());
        }
        self.generations.outlive();
        found.sort_by_key(|instance| std::cmp::Reverse(instance.rank()));
        for instance in found {
            self.meet(instance, now, out);
        }
        if let Some(range) = self.owed.take().and_then(|key| concerned(self.settings.strategy, key)) {
            self.join(range);
        }
        if let Some(child) = self.owed_end.take() {
            self.begin_end(Ending::AutoShutdown { child });
        }
        self.restart_asked(now, out);
        self.node_available(now, out);
    }

    /// Takes a living instance as the child's own.
    fn adopt(&mut self, found: Found, now: Monotonic, out: &mut Outputs) {
        self.generations.observe(found.generation);
        self.leave_round(&found.child);
        let Some(child) = self.children.get_mut(&found.child) else { return };
        (child.generation, child.owner) = (found.generation, found.owner);
        (child.state, child.confirmed) = (State::Running { pid: found.pid.clone() }, true);
        child.started_at = child.started_at.or(Some(now));
        child.attempt = 1;
        child.excluded.clear();
        child.pending_reported = false;
        for request in child.start_waiters.drain(..) {
            let answer = Answer::Started { pid: found.pid.clone() };
            out.push_back(Output::Reply { request, answer });
        }
        let Found { child, generation, pid, .. } = found;
        out.push_back(Output::Watch { child, generation, pid });
    }
}
