//! Stopping: by request, by the end of the supervisor, and what should not be there.

use std::collections::BTreeSet;

use noex_actors::{ExitReason, Monotonic};

use super::{
    Answer, Cause, Child, Ending, Failure, Found, Output, Outputs, Phase, Report, Stray, Supervision,
    child::{State, Then, Why},
};
use crate::{
    machine::policy::{DUPLICATE_GRACE, Stop, first_step},
    options::{AutoShutdown, Strategy},
};

impl Supervision {
    pub(super) fn terminate(&mut self, request: u64, id: &str, now: Monotonic, out: &mut Outputs) {
        match self.children.get_mut(id) {
            Some(child) => {
                child.stop_waiters.push(request);
                self.stop_child(id, Then::Remove, now, out);
            }
            None => out.push_back(Output::Reply { request, answer: Answer::NotFound }),
        }
    }

    pub(super) fn restart(&mut self, request: u64, id: &str, now: Monotonic, out: &mut Outputs) {
        let open = self.is_open() && !self.beaten;
        // In doubt about its name it stops nothing: see `restart_asked`.
        let waits = self.is_to_stop(id) || self.superseded;
        let Some(child) = self.children.get_mut(id).filter(|_| open) else {
            return out.push_back(Output::Reply { request, answer: Answer::NotFound });
        };
        match &child.state {
            State::Stopping { then: Then::Remove, .. } => {
                out.push_back(Output::Reply { request, answer: Answer::NotFound });
            }
            // One is on its way already.
            State::Fresh | State::Starting | State::Stopping { .. } => child.start_waiters.push(request),
            State::Running { .. } if waits => child.start_waiters.push(request),
            State::Queued => {
                child.start_waiters.push(request);
                if let Some(plan) = &mut self.plan {
                    plan.go_on();
                }
            }
            State::Running { .. } => {
                child.start_waiters.push(request);
                self.stop_child(id, Then::Restart, now, out);
            }
            State::Waiting { .. } | State::Pending => {
                child.start_waiters.push(request);
                child.pending_reported = false;
                self.start_because(id, Why::Manual, None, out);
            }
        }
    }

    /// It is sure of its name: what was asked to be started again in the meantime is.
    pub(super) fn restart_asked(&mut self, now: Monotonic, out: &mut Outputs) {
        let asked =
            |child: &&Child| matches!(child.state, State::Running { .. }) && !child.start_waiters.is_empty();
        let ids: Vec<_> = self.children.iter().filter(asked).map(|child| child.rule.id.clone()).collect();
        for id in ids {
            if !self.is_to_stop(&id) {
                self.stop_child(&id, Then::Restart, now, out);
            }
        }
    }

    /// Stops a child whatever its state; `then` follows when it is gone. `Remove` overrides what was to follow.
    pub(super) fn stop_child(&mut self, id: &str, then: Then, now: Monotonic, out: &mut Outputs) {
        let cause = self.cause_of(&then);
        let Some(child) = self.children.get_mut(id) else { return };
        match &mut child.state {
            State::Starting => {
                child.state = State::Stopping { pid: None, how: Stop::Ask, kill_at: None, then }
            }
            State::Running { pid } => {
                let (how, kill_at) = first_step(child.rule.shutdown, now);
                let (generation, pid) = (child.generation, pid.clone());
                child.state = State::Stopping { pid: Some(pid.clone()), how, kill_at, then };
                out.push_back(Output::Stop { child: id.to_owned(), generation, pid, how, cause });
            }
            State::Stopping { then: planned, .. } => {
                if then == Then::Remove && *planned != Then::Leave {
                    *planned = then;
                }
            }
            State::Fresh | State::Waiting { .. } | State::Pending | State::Queued => match then {
                Then::Remove => self.remove(id, Some(ExitReason::Shutdown), out),
                Then::Restart => self.start_because(id, Why::Manual, None, out),
                Then::Leave | Then::Queue | Then::Migrate { .. } => {}
            },
        }
    }

    /// Why an instance is stopped of which that follows.
    pub(super) fn cause_of(&self, then: &Then) -> Cause {
        match then {
            Then::Remove | Then::Leave if self.is_open() => Cause::Terminated,
            Then::Remove | Then::Leave => Cause::End,
            Then::Restart => Cause::Restarted,
            Then::Queue => Cause::Sibling,
            Then::Migrate { .. } => Cause::Moves,
        }
    }

    /// A child that was being stopped is gone.
    pub(super) fn stopped(&mut self, id: &str, reason: ExitReason, out: &mut Outputs) {
        let open = self.is_open();
        let Some(child) = self.children.get_mut(id) else { return };
        let State::Stopping { then, .. } = &child.state else { return };
        let then = then.clone();
        child.note_end();
        match then {
            Then::Restart if open => {
                child.state = State::Pending;
                self.start_because(id, Why::Manual, None, out);
            }
            Then::Migrate { from } if open => {
                child.state = State::Pending;
                child.excluded.insert(from.clone());
                self.start_because(id, Why::Leaving { from }, None, out);
            }
            Then::Queue if open => self.made_way(id, reason, out),
            Then::Leave => self.remove(id, None, out),
            Then::Remove | Then::Restart | Then::Queue | Then::Migrate { .. } => {
                self.remove(id, Some(reason), out);
            }
        }
    }

    /// Takes a child out of the table; with a reason, reports that it stopped.
    pub(super) fn remove(&mut self, id: &str, reason: Option<ExitReason>, out: &mut Outputs) {
        self.leave_round(id);
        let Some(child) = self.take_out(id) else { return };
        if let Some(reason) = reason.filter(|_| child.started_at.is_some()) {
            out.push_back(Output::Report(Report::Stopped { child: id.to_owned(), reason }));
        }
        for request in child.start_waiters {
            let answer = Answer::Failed { generation: child.generation, failure: Failure::GivenUp };
            out.push_back(Output::Reply { request, answer });
        }
        for request in child.stop_waiters {
            out.push_back(Output::Reply { request, answer: Answer::Removed });
        }
        out.push_back(Output::Forget { child: id.to_owned() });
        if child.rule.significant && self.is_open() {
            self.after_significant(id);
        }
    }

    /// Takes a child out of the table and the plan.
    pub(super) fn take_out(&mut self, id: &str) -> Option<Child> {
        if let Some((plan, key)) = self.plan.as_mut().zip(self.children.key(id)) {
            plan.leave(key);
        }
        self.children.remove(id)
    }

    /// A significant child was removed.
    ///
    /// OTP: only the end of a significant child by itself counts there, not its termination by hand or with siblings.
    fn after_significant(&mut self, id: &str) {
        let over = match self.settings.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => true,
            AutoShutdown::AllSignificant => self.children.significant() == 0,
        };
        if over && self.superseded {
            self.owed_end = Some(id.to_owned());
        } else if over {
            self.begin_end(Ending::AutoShutdown { child: id.to_owned() });
        }
    }

    /// Stops an instance that no child stands for, unless another supervisor has it, or may have it.
    pub(super) fn stop_stray(&mut self, found: Found, cause: Cause, now: Monotonic, out: &mut Outputs) {
        if self.handed_over || (self.superseded && self.is_open()) {
            return;
        }
        let Found { child, generation, pid, .. } = found;
        let known = self.strays.contains_key(&pid);
        out.push_back(Output::Watch { child: child.clone(), generation, pid: pid.clone() });
        let kill_at = (!known).then(|| now.plus(DUPLICATE_GRACE));
        let how = if known { Stop::Kill } else { Stop::Ask };
        self.strays.insert(pid.clone(), Stray { child: child.clone(), generation, kill_at, again: known });
        out.push_back(Output::Stop { child, generation, pid, how, cause });
    }

    /// It is to end. What it had belongs to the supervisor that has its name, if it is known that there is one; children
    /// of a template are nobody else's.
    pub(super) fn stop_all(&mut self, reason: ExitReason, now: Monotonic, out: &mut Outputs) {
        if !self.beaten {
            return self.begin_end(Ending::Stopped(reason));
        }
        let keep = match self.settings.strategy {
            Strategy::SimpleOneForOne => BTreeSet::new(),
            Strategy::OneForOne | Strategy::OneForAll | Strategy::RestForOne => {
                self.children.iter().map(|child| child.rule.id.clone()).collect()
            }
        };
        self.hand_over(&keep, reason, now, out);
    }

    /// Ends without touching the children that another supervisor has, or will have. A start in flight is waited for, so
    /// that nobody takes its instance for an orphan; so is, for a moment, what was told to go, so that its end is told of.
    pub(super) fn hand_over(
        &mut self,
        keep: &BTreeSet<String>,
        reason: ExitReason,
        now: Monotonic,
        out: &mut Outputs,
    ) {
        if !self.is_open() {
            return;
        }
        self.begin_end(Ending::Stopped(reason));
        self.handed_over = true;
        for id in keep {
            match self.children.get_mut(id) {
                Some(child) if matches!(child.state, State::Starting | State::Stopping { pid: None, .. }) => {
                    let then = Then::Leave;
                    child.state = State::Stopping { pid: None, how: Stop::Ask, kill_at: None, then };
                }
                Some(_) => self.remove(id, None, out),
                None => {}
            }
        }
        for stray in self.strays.values_mut() {
            stray.kill_at = Some(now.plus(DUPLICATE_GRACE));
        }
    }

    /// From now on everything is stopped, last child first, and then it ends. A second ending does not replace the first.
    pub(super) fn begin_end(&mut self, ending: Ending) {
        if self.is_open() {
            self.phase = Phase::Ending(ending);
            self.plan = None;
        }
    }

    /// Stops the last child, if it is not being stopped already; with none left it ends. The children of a template are
    /// not in any order: all are told at once, as in OTP.
    pub(super) fn advance_end(&mut self, now: Monotonic, out: &mut Outputs) {
        let at_once = self.settings.strategy == Strategy::SimpleOneForOne;
        if at_once && !std::mem::replace(&mut self.all_told, true) {
            let all: Vec<String> = self.children.iter().map(|child| child.rule.id.clone()).collect();
            for id in all.iter().rev() {
                self.stop_child(id, Then::Remove, now, out);
            }
        }
        if at_once && self.child_count() > 0 {
            return;
        }
        while let Some(id) = self.children.last_id() {
            self.stop_child(&id, Then::Remove, now, out);
            if self.children.get(&id).is_some() {
                return;
            }
        }
        if !self.strays.is_empty() {
            return;
        }
        if let Phase::Ending(ending) = std::mem::replace(&mut self.phase, Phase::Ended) {
            out.push_back(Output::End(ending));
        }
    }
}
