//! Starting: the first start, later ones, their success and their failure.

use noex_actors::{Generation, Monotonic, NodeId, Pid};

use super::{
    Answer, Cause, Ending, Failure, Found, Input, Output, Outputs, Phase, Report, Supervision,
    child::{Rule, State, Then, Why},
};
use crate::machine::{
    intensity::Allowance,
    plan::Needs,
    policy::{Verdict, after_node_loss},
};

impl Supervision {
    /// Starts the next child that was never started; in start order, one after the other.
    pub(super) fn advance_start_up(&mut self, out: &mut Outputs) {
        if self.children.has_first_start() {
            return;
        }
        match self.children.next_fresh() {
            Some(id) => self.start(&id, out),
            None => {
                self.phase = Phase::Running;
                out.push_back(Output::Ready);
            }
        }
    }

    /// Puts a start in flight.
    pub(super) fn start(&mut self, id: &str, out: &mut Outputs) {
        let stands = self.stands_still();
        let Some(child) = self.children.get_mut(id) else { return };
        debug_assert!(child.state != State::Starting, "one start in flight per child");
        if stands {
            child.state = State::Pending;
            return;
        }
        child.generation = self.generations.next();
        child.owner = self.generations.owner().cloned();
        child.arrivals = self.arrivals;
        child.reached = false;
        child.state = State::Starting;
        out.push_back(Output::Start {
            child: id.to_owned(),
            generation: child.generation,
            attempt: child.attempt,
            excluded: child.excluded.clone(),
            target: child.target.clone(),
        });
    }

    /// Begins a new round of starts of a child.
    pub(super) fn start_because(&mut self, id: &str, why: Why, round: Option<u64>, out: &mut Outputs) {
        self.plan(id, why, round);
        self.start(id, out);
    }

    /// What the next start of a child is for.
    pub(super) fn plan(&mut self, id: &str, why: Why, round: Option<u64>) {
        self.leave_round(id);
        if let Some(child) = self.children.get_mut(id) {
            child.why = why;
            child.attempt = 1;
            child.round = round;
        }
    }

    pub(super) fn start_succeeded(
        &mut self,
        id: String,
        generation: Generation,
        pid: Pid,
        now: Monotonic,
        out: &mut Outputs,
    ) {
        let Some(child) = self.children.get_mut(&id).filter(|child| child.generation == generation) else {
            return self.stop_stray(self.started(id, generation, pid), Cause::Late, now, out);
        };
        match child.state.clone() {
            State::Starting => {
                out.push_back(Output::Watch { child: id.clone(), generation, pid: pid.clone() });
                let leaving = self.draining.contains(pid.node_id())
                    && !child.rule.pinned
                    && after_node_loss(child.rule.restart) == Verdict::Restart;
                self.running(&id, pid.clone(), now, out);
                if leaving {
                    self.stop_child(&id, Then::Migrate { from: pid.node_id().clone() }, now, out);
                }
            }
            State::Stopping { pid: None, then: Then::Leave, .. } => self.remove(&id, None, out),
            State::Stopping { pid: None, then, .. } => {
                out.push_back(Output::Watch { child: id.clone(), generation, pid: pid.clone() });
                (child.state, child.confirmed) = (State::Running { pid }, true);
                child.started_at = Some(now);
                self.stop_child(&id, then, now, out);
            }
            // Told before already, by its node.
            State::Running { .. } | State::Stopping { pid: Some(_), .. } => {}
            State::Fresh | State::Waiting { .. } | State::Pending | State::Queued => {
                self.stop_stray(self.started(id, generation, pid), Cause::Late, now, out);
            }
        }
    }

    /// An instance that it started itself.
    fn started(&self, child: String, generation: Generation, pid: Pid) -> Found {
        Found { child, generation, owner: self.generations.owner().cloned(), pid }
    }

    /// A start has become an instance: counts, reports, answers.
    fn running(&mut self, id: &str, pid: Pid, now: Monotonic, out: &mut Outputs) {
        let Some(child) = self.children.get_mut(id) else { return };
        (child.state, child.confirmed) = (State::Running { pid: pid.clone() }, true);
        child.started_at = Some(now);
        child.attempt = 1;
        child.excluded.clear();
        child.target = None;
        child.pending_reported = false;
        let (generation, to) = (child.generation, pid.node_id().clone());
        for request in child.start_waiters.drain(..) {
            out.push_back(Output::Reply { request, answer: Answer::Started { pid: pid.clone() } });
        }
        let child_id = id.to_owned();
        if !matches!(child.why, Why::Initial | Why::Added | Why::Sibling) {
            child.restarts = child.restarts.saturating_add(1);
            self.totals.restarts += 1;
        }
        let report = match child.why.clone() {
            Why::Initial | Why::Added => Report::Started { child: child_id, pid, generation },
            Why::Exit | Why::Sibling | Why::Manual => {
                Report::Restarted { child: child_id, pid, attempt: child.restarts, generation }
            }
            Why::NodeLoss { from } => {
                self.totals.node_failure_restarts += 1;
                Report::Migrated { child: child_id, from, to, generation }
            }
            Why::Leaving { from } => Report::Migrated { child: child_id, from, to, generation },
        };
        out.push_back(Output::Report(report));
        self.leave_round(id);
        self.planned_start_done(id);
    }

    /// The child's restart is done, or given up: its round is forgotten with its last child.
    pub(super) fn leave_round(&mut self, id: &str) {
        let round = self.children.get_mut(id).and_then(|child| child.round.take());
        self.forget_round(round);
    }

    /// A child left that round.
    pub(super) fn forget_round(&mut self, round: Option<u64>) {
        if let Some(round) = round
            && !self.children.has_round(round)
        {
            self.rounds.remove(&round);
        }
    }

    pub(super) fn start_failed(
        &mut self,
        id: &str,
        generation: Generation,
        (node, failure): (Option<NodeId>, Failure),
        (now, entropy): (Monotonic, u64),
        out: &mut Outputs,
    ) {
        let Some(child) = self.children.get_mut(id).filter(|child| child.generation == generation) else {
            return;
        };
        match child.state {
            State::Starting => {}
            State::Stopping { pid: None, .. } => {
                return self.stopped(id, noex_actors::ExitReason::Shutdown, out);
            }
            State::Fresh
            | State::Running { .. }
            | State::Waiting { .. }
            | State::Pending
            | State::Queued
            | State::Stopping { pid: Some(_), .. } => return,
        }
        match failure {
            Failure::NodeGone => self.node_gone_meanwhile(id, node, now, out),
            Failure::NoNode => self.no_node(id, out),
            Failure::Refused(_) | Failure::GivenUp => {
                self.refused(id, node, failure, (now, entropy), out);
            }
        }
    }

    /// The target was lost during the start: elsewhere at once, or, if it may have an instance that stops itself, after
    /// that; and nothing is counted.
    fn node_gone_meanwhile(&mut self, id: &str, node: Option<NodeId>, now: Monotonic, out: &mut Outputs) {
        let Some(child) = self.children.get_mut(id) else { return };
        let may_live_there = node.is_some() && !self.hold.is_zero();
        let is_new = node.is_some_and(|node| child.excluded.insert(node));
        if may_live_there {
            child.state = State::Waiting { until: now.plus(self.hold) };
        } else if is_new {
            child.state = State::Pending;
            self.start(id, out);
        } else {
            child.state = State::Waiting { until: now.plus(self.settings.backoff.initial) };
        }
    }

    /// There is no node for it. Waits if it may, and fails if somebody asked for it to start now.
    fn no_node(&mut self, id: &str, out: &mut Outputs) {
        let Some(child) = self.children.get_mut(id) else { return };
        let generation = child.generation;
        match child.why {
            Why::Added => return self.forget_unstarted(id, Failure::NoNode, out),
            Why::Initial if self.superseded => return self.put_off(id),
            Why::Initial if !child.rule.pinned => {
                let ending =
                    Ending::StartFailed { child: id.to_owned(), generation, failure: Failure::NoNode };
                self.forget_unstarted(id, Failure::NoNode, out);
                return self.begin_end(ending);
            }
            Why::Initial
            | Why::Exit
            | Why::Sibling
            | Why::NodeLoss { .. }
            | Why::Leaving { .. }
            | Why::Manual => {}
        }
        child.state = State::Pending;
        child.excluded.clear();
        if child.arrivals != self.arrivals {
            // One came while it looked for one.
            return self.start(id, out);
        }
        for request in child.start_waiters.drain(..) {
            let answer = Answer::Failed { generation, failure: Failure::NoNode };
            out.push_back(Output::Reply { request, answer });
        }
        if !std::mem::replace(&mut child.pending_reported, true) {
            out.push_back(Output::Report(Report::Pending { child: id.to_owned() }));
        }
    }

    /// It was tried and did not start: the next wave after a backoff, one more entry for the intensity.
    fn refused(
        &mut self,
        id: &str,
        node: Option<NodeId>,
        failure: Failure,
        (now, entropy): (Monotonic, u64),
        out: &mut Outputs,
    ) {
        let Some(child) = self.children.get_mut(id) else { return };
        let (generation, attempt) = (child.generation, child.attempt);
        let error = match &failure {
            Failure::Refused(error) => error.clone(),
            Failure::NoNode | Failure::NodeGone | Failure::GivenUp => String::new(),
        };
        out.push_back(Output::Report(Report::StartFailed {
            child: id.to_owned(),
            node: node.clone(),
            attempt,
            error,
        }));
        match child.why {
            Why::Initial if self.superseded => return self.put_off(id),
            // One that waited for its node after the others had started is like any other by then.
            Why::Initial if self.phase == Phase::StartingUp => {
                let ending =
                    Ending::StartFailed { child: id.to_owned(), generation, failure: failure.clone() };
                self.forget_unstarted(id, failure, out);
                return self.begin_end(ending);
            }
            Why::Added => return self.forget_unstarted(id, failure, out),
            Why::Initial
            | Why::Exit
            | Why::Sibling
            | Why::NodeLoss { .. }
            | Why::Leaving { .. }
            | Why::Manual => {}
        }
        for request in child.start_waiters.drain(..) {
            let answer = Answer::Failed { generation, failure: failure.clone() };
            out.push_back(Output::Reply { request, answer });
        }
        child.attempt = attempt.saturating_add(1);
        child.excluded = node.into_iter().collect();
        let until = now.plus(self.settings.backoff.delay(attempt, entropy));
        child.state = State::Waiting { until };
        if self.is_planned(id) {
            return self.planned_start_failed(id, until, now);
        }
        let Some(child) = self.children.get_mut(id) else { return };
        let round = *child.round.get_or_insert(self.next_round);
        self.next_round = self.next_round.max(round + 1);
        let counted = self.rounds.entry(round).or_insert(0);
        if *counted < attempt && !self.superseded {
            *counted = attempt;
            self.count(now);
        }
    }

    /// A first start failed while another supervisor may have the name: if none has, the start-up comes to it again.
    fn put_off(&mut self, id: &str) {
        if let Some((plan, key)) = self.plan.as_mut().zip(self.children.key(id)) {
            plan.leave(key);
        }
        if let Some(child) = self.children.get_mut(id) {
            child.state = match self.phase {
                Phase::Idle | Phase::StartingUp => State::Fresh,
                Phase::Running | Phase::Ending(_) | Phase::Ended => State::Pending,
            };
        }
    }

    /// Counts one round; over the limit it is the end.
    pub(super) fn count(&mut self, now: Monotonic) -> Allowance {
        let allowance = self.intensity.count(now);
        if allowance == Allowance::Exceeded {
            self.begin_end(Ending::MaxRestartsExceeded);
        }
        allowance
    }

    /// A new cause.
    pub(super) fn new_round(&mut self) -> u64 {
        let round = self.next_round;
        self.next_round += 1;
        round
    }

    /// Removes a child that never ran, and says so to who waits.
    fn forget_unstarted(&mut self, id: &str, failure: Failure, out: &mut Outputs) {
        self.leave_round(id);
        let Some(child) = self.take_out(id) else { return };
        for request in child.start_waiters {
            let answer = Answer::Failed { generation: child.generation, failure: failure.clone() };
            out.push_back(Output::Reply { request, answer });
        }
        for request in child.stop_waiters {
            out.push_back(Output::Reply { request, answer: Answer::Removed });
        }
        out.push_back(Output::Forget { child: id.to_owned() });
    }

    pub(super) fn add(&mut self, request: u64, rule: Rule, out: &mut Outputs) {
        let id = rule.id.clone();
        // In doubt about its name it starts it later.
        if !self.is_open() || self.beaten {
            let answer = Answer::Failed { generation: Generation::default(), failure: Failure::GivenUp };
            out.push_back(Output::Reply { request, answer });
            if self.children.get(&id).is_none() {
                out.push_back(Output::Forget { child: id });
            }
        } else if self.children.add(rule, Why::Added) {
            let Some(key) = self.children.key(&id) else { return };
            let Some(child) = self.children.at_mut(key) else { return };
            child.start_waiters.push(request);
            match (&mut self.plan, &self.phase) {
                // It may need those before it.
                (Some(plan), Phase::Running) => {
                    child.state = State::Queued;
                    plan.join(key, Needs::Start);
                }
                (None, Phase::Running) => self.start(&id, out),
                // The start-up comes to it last.
                (_, Phase::Idle | Phase::StartingUp | Phase::Ending(_) | Phase::Ended) => {}
            }
        } else {
            out.push_back(Output::Reply { request, answer: Answer::Duplicate });
        }
    }

    /// Used by the coordinator: a start that reached a node which is no longer what it was.
    pub(crate) fn late_start(child: String, generation: Generation, pid: &Pid) -> Input {
        let node = Some(pid.node_id().clone());
        Input::StartFailed { child, generation, node, failure: Failure::NodeGone }
    }
}
