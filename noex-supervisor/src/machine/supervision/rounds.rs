//! Rounds in which siblings are stopped and started with a child that ended.
//!
//! | What happens meanwhile | What follows |
//! |---|---|
//! | a sibling that is to be stopped ends by itself | it was on its way out anyway: nothing is counted |
//! | a child that already runs again, or that the round does not concern, ends | another cause: counted, and the round grows |
//! | a start fails | counted; as if that child had ended: who it concerns is stopped, and after a backoff all are started |
//! | a temporary sibling is stopped | it is removed |
//! | a child is terminated by hand | it is removed, and the round goes on without it |
//! | a child is restarted by hand | the answer is what comes of its start in the round; a backoff is cut short |
//! | a child is added | it is started when its turn comes, which is last |
//! | the supervisor is stopped, or over its limit | the round is dropped, and what is alive is stopped |
//!
//! Source: OTP `supervisor:restart/2`, `try_again_restart`. // OTP: it has no backoff, and answers no request meanwhile.

use std::ops::RangeFrom;

use noex_actors::{ExitReason, Monotonic};

use super::{
    Outputs, Phase, Supervision,
    child::{State, Then, Why},
};
use crate::{
    machine::{
        intensity::Allowance,
        plan::{Needs, Step, concerned},
    },
    options::Restart,
};

impl Supervision {
    /// When the plan goes on by itself.
    pub(super) fn plan_due(&self) -> Option<Monotonic> {
        self.plan.as_ref().and_then(|plan| plan.due())
    }

    /// A child that ended and was counted is started again, with those whom that concerns. It waits as `Pending`.
    pub(super) fn start_with_siblings(&mut self, id: &str, why: Why, out: &mut Outputs) {
        let Some(key) = self.children.key(id) else { return };
        match concerned(self.settings.strategy, key) {
            None => {
                let round = self.new_round();
                self.start_because(id, why, Some(round), out);
            }
            Some(range) => {
                self.plan(id, why, None);
                self.join(range);
            }
        }
    }

    /// Takes everybody in that range into the plan: what lives is stopped first.
    pub(super) fn join(&mut self, range: RangeFrom<u64>) {
        let mut plan = self.plan.take().unwrap_or_default();
        plan.go_on();
        let mut behind_fresh = false;
        for key in self.children.keys(range) {
            let Some(child) = self.children.at_mut(key) else { continue };
            if behind_fresh {
                (child.why, child.attempt) = (Why::Initial, 1);
            }
            let needs = match &mut child.state {
                // The start-up comes to it later, and then to those behind it.
                State::Fresh => {
                    behind_fresh = true;
                    continue;
                }
                State::Running { .. } if behind_fresh => Needs::Stop,
                State::Running { .. } => {
                    (child.why, child.attempt) = (Why::Sibling, 1);
                    Needs::Both
                }
                State::Starting => Needs::Both,
                State::Stopping { then: Then::Remove, .. } => Needs::Stop,
                State::Stopping { then, .. } => {
                    if *then != Then::Queue && !behind_fresh {
                        (child.why, child.attempt) = (Why::Sibling, 1);
                    }
                    *then = Then::Queue;
                    Needs::Both
                }
                State::Waiting { .. } | State::Pending | State::Queued if behind_fresh => {
                    child.state = State::Fresh;
                    plan.leave(key);
                    let round = child.round.take();
                    self.forget_round(round);
                    continue;
                }
                State::Waiting { .. } | State::Pending | State::Queued => {
                    child.state = State::Queued;
                    Needs::Start
                }
            };
            let round = child.round.take();
            plan.join(key, needs);
            self.forget_round(round);
        }
        self.plan = Some(plan);
    }

    /// Takes the next step of the plan, if it can be taken now.
    pub(super) fn advance_plan(&mut self, now: Monotonic, out: &mut Outputs) {
        loop {
            // Somebody else may have the name, or nothing may be started: it stands still as it is.
            let stands = self.stands_still();
            let Some(plan) = self.plan.as_mut().filter(|_| !stands) else { return };
            match plan.next() {
                Step::Done => self.plan = None,
                Step::Wait(until) if until > now => return,
                Step::Wait(_) => plan.go_on(),
                Step::Stop(key) => match self.children.at_mut(key) {
                    Some(child) => match child.state {
                        State::Running { .. } | State::Starting => {
                            if matches!(child.state, State::Running { .. }) && plan.is_to_start(key) {
                                child.why = Why::Sibling;
                            }
                            let id = child.rule.id.clone();
                            return self.stop_child(&id, Then::Queue, now, out);
                        }
                        State::Stopping { .. } => return,
                        State::Fresh | State::Waiting { .. } | State::Pending | State::Queued => {
                            plan.stopped(key);
                        }
                    },
                    None => plan.leave(key),
                },
                Step::Start(key) => match self.children.at(key) {
                    Some(child) => match child.state {
                        State::Queued => {
                            let id = child.rule.id.clone();
                            self.start(&id, out);
                        }
                        State::Starting | State::Waiting { .. } | State::Stopping { .. } => return,
                        // Waiting for a node, it keeps nobody waiting.
                        State::Fresh | State::Running { .. } | State::Pending => plan.started(key),
                    },
                    None => plan.leave(key),
                },
            }
        }
    }

    /// Whether the plan has it on the list of those to be stopped.
    pub(super) fn is_to_stop(&self, id: &str) -> bool {
        let plan = self.plan.as_ref().zip(self.children.key(id));
        plan.is_some_and(|(plan, key)| plan.is_to_stop(key))
    }

    /// Whether it is of the plan.
    pub(super) fn is_planned(&self, id: &str) -> bool {
        let plan = self.plan.as_ref().zip(self.children.key(id));
        plan.is_some_and(|(plan, key)| plan.contains(key))
    }

    /// It runs: the plan is done with it.
    pub(super) fn planned_start_done(&mut self, id: &str) {
        if let Some((plan, key)) = self.plan.as_mut().zip(self.children.key(id)) {
            plan.started(key);
        }
    }

    /// A child that the plan stops is gone, by itself or not.
    pub(super) fn made_way(&mut self, id: &str, reason: ExitReason, out: &mut Outputs) {
        let Some(key) = self.children.key(id) else { return };
        let Some(child) = self.children.at_mut(key) else { return };
        child.note_end();
        match child.why {
            // Its first start was cut short, or it is to start behind one that has not: the start-up does it.
            Why::Initial if self.phase == Phase::StartingUp => {
                child.state = State::Fresh;
                if let Some(plan) = &mut self.plan {
                    plan.leave(key);
                }
            }
            Why::Exit | Why::Sibling | Why::NodeLoss { .. } | Why::Leaving { .. } | Why::Manual
                if child.rule.restart == Restart::Temporary =>
            {
                self.remove(id, Some(reason), out);
            }
            Why::Initial
            | Why::Added
            | Why::Exit
            | Why::Sibling
            | Why::NodeLoss { .. }
            | Why::Leaving { .. }
            | Why::Manual => {
                child.state = State::Queued;
                if let Some(plan) = &mut self.plan {
                    plan.stopped(key);
                }
            }
        }
    }

    /// A start of the plan failed: as if that child had ended.
    pub(super) fn planned_start_failed(&mut self, id: &str, until: Monotonic, now: Monotonic) {
        let Some(key) = self.children.key(id) else { return };
        if let Some(child) = self.children.at_mut(key) {
            child.state = State::Queued;
        }
        if !self.superseded && self.count(now) == Allowance::Exceeded {
            return;
        }
        if let Some(range) = concerned(self.settings.strategy, key) {
            self.join(range);
        }
        if let Some(plan) = &mut self.plan {
            plan.hold(until);
        }
    }
}
