//! Stopping: by request, by the end of the supervisor, and what should not be there.

use std::collections::BTreeSet;

use noex_actors::{ExitReason, Generation, Monotonic};

use super::{
    Answer, Ending, Failure, Found, Output, Outputs, Phase, Report, Stray, Supervision,
    children::{State, Then, Why},
};
use crate::machine::policy::{DUPLICATE_GRACE, Stop, first_step};

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
        let open = self.is_in_charge();
        let Some(child) = self.children.get_mut(id).filter(|_| open) else {
            return out.push_back(Output::Reply { request, answer: Answer::NotFound });
        };
        match &child.state {
            State::Stopping { then: Then::Remove, .. } => {
                out.push_back(Output::Reply { request, answer: Answer::NotFound });
            }
            // One is on its way already.
            State::Fresh | State::Starting | State::Stopping { .. } => child.start_waiters.push(request),
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

    /// Stops a child whatever its state; `then` follows when it is gone. `Remove` overrides what was to follow.
    pub(super) fn stop_child(&mut self, id: &str, then: Then, now: Monotonic, out: &mut Outputs) {
        let Some(child) = self.children.get_mut(id) else { return };
        match &mut child.state {
            State::Starting => {
                child.state = State::Stopping { pid: None, how: Stop::Ask, kill_at: None, then }
            }
            State::Running { pid } => {
                let (how, kill_at) = first_step(child.rule.shutdown, now);
                let (generation, pid) = (child.generation, pid.clone());
                child.state = State::Stopping { pid: Some(pid.clone()), how, kill_at, then };
                out.push_back(Output::Stop { child: id.to_owned(), generation, pid, how });
            }
            State::Stopping { then: planned, .. } => {
                if then == Then::Remove {
                    *planned = then;
                }
            }
            State::Fresh | State::Waiting { .. } | State::Pending => match then {
                Then::Remove => self.remove(id, Some(ExitReason::Shutdown), out),
                Then::Restart => self.start_because(id, Why::Manual, None, out),
                Then::Migrate { .. } => {}
            },
        }
    }

    /// A child that was being stopped is gone.
    pub(super) fn stopped(&mut self, id: &str, reason: ExitReason, out: &mut Outputs) {
        let open = self.is_open();
        let Some(child) = self.children.get_mut(id) else { return };
        let State::Stopping { then, .. } = &child.state else { return };
        let then = then.clone();
        child.may_live = Generation(child.generation.0 + 1);
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
            Then::Remove | Then::Restart | Then::Migrate { .. } => self.remove(id, Some(reason), out),
        }
    }

    /// Takes a child out of the table; with a reason, reports that it stopped.
    pub(super) fn remove(&mut self, id: &str, reason: Option<ExitReason>, out: &mut Outputs) {
        self.leave_round(id);
        let Some(child) = self.children.remove(id) else { return };
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
    }

    /// Stops an instance that no child stands for.
    pub(super) fn stop_stray(&mut self, found: Found, now: Monotonic, out: &mut Outputs) {
        let Found { child, generation, pid } = found;
        let known = self.strays.contains_key(&pid);
        out.push_back(Output::Watch { child: child.clone(), generation, pid: pid.clone() });
        let kill_at = (!known).then(|| now.plus(DUPLICATE_GRACE));
        let how = if known { Stop::Kill } else { Stop::Ask };
        self.strays.insert(pid.clone(), Stray { child: child.clone(), generation, kill_at });
        out.push_back(Output::Stop { child, generation, pid, how });
    }

    /// Ends without touching the children that another supervisor has, or will have.
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
        for id in self.children.ids(|child| keep.contains(&child.rule.id)) {
            self.remove(&id, None, out);
        }
        self.strays.clear();
        self.begin_end(Ending::Stopped(reason), now, out);
    }

    /// Stops everything, last child first, and ends. A second ending does not replace the first.
    pub(super) fn begin_end(&mut self, ending: Ending, now: Monotonic, out: &mut Outputs) {
        if self.is_open() {
            self.phase = Phase::Ending(ending);
            self.advance_end(now, out);
        }
    }

    /// Stops the last child, if it is not being stopped already; with none left it ends.
    pub(super) fn advance_end(&mut self, now: Monotonic, out: &mut Outputs) {
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
