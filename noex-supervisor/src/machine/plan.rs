//! The strategy plan: decides whom the end of a child concerns, and in which order they are stopped and started.
//!
//! | Strategy | Stopped, last one first | Started, first one first |
//! |---|---|---|
//! | `one_for_one`, `simple_one_for_one` | nobody | the child alone, without a plan |
//! | `one_for_all` | every other child | every child |
//! | `rest_for_one` | the children behind it | the child and those behind it |
//!
//! Children are numbers here, in start order. A plan grows while it is carried out, when another child ends; it is never
//! replaced. Invariants: 1. nobody is started while somebody is to be stopped; 2. of those to be stopped the last comes
//! first, of those to be started the first; 3. whoever is to be started is started once, after it was stopped.
//!
//! Source: OTP `supervisor:restart/3`, `restart_multiple_children/3`.

use std::{collections::BTreeSet, ops::RangeFrom};

use noex_actors::Monotonic;

use crate::options::Strategy;

/// Whom the end of `child` concerns; `None`: itself alone.
pub(crate) fn concerned(strategy: Strategy, child: u64) -> Option<RangeFrom<u64>> {
    match strategy {
        Strategy::OneForOne | Strategy::SimpleOneForOne => None,
        Strategy::OneForAll => Some(0..),
        Strategy::RestForOne => Some(child..),
    }
}

/// What a child of a plan needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// To be stopped, then started.
    Both,
    /// It is on its way out for good: nobody is started before it is gone.
    Stop,
    /// It is gone already.
    Start,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Stop(u64),
    Start(u64),
    /// Nothing before this time.
    Wait(Monotonic),
    Done,
}

/// The plan.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    to_stop: BTreeSet<u64>,
    to_start: BTreeSet<u64>,
    /// A start failed: nobody is started before.
    until: Option<Monotonic>,
}

impl Plan {
    /// Takes a child in, or changes what it needs.
    pub(crate) fn join(&mut self, child: u64, needs: Needs) {
        self.leave(child);
        if matches!(needs, Needs::Both | Needs::Stop) {
            self.to_stop.insert(child);
        }
        if matches!(needs, Needs::Both | Needs::Start) {
            self.to_start.insert(child);
        }
    }

    /// It is gone, and waits for its turn.
    pub(crate) fn stopped(&mut self, child: u64) {
        self.to_stop.remove(&child);
    }

    /// It runs again, or waits for something that is not of the plan. Says nothing about one that is to be stopped.
    pub(crate) fn started(&mut self, child: u64) {
        if !self.is_to_stop(child) {
            self.to_start.remove(&child);
        }
    }

    /// It is no child any more.
    pub(crate) fn leave(&mut self, child: u64) {
        self.to_stop.remove(&child);
        self.to_start.remove(&child);
    }

    /// A start failed: the next is not before that.
    pub(crate) fn hold(&mut self, until: Monotonic) {
        self.until = Some(until);
    }

    /// When it goes on by itself.
    pub(crate) fn due(&self) -> Option<Monotonic> {
        match self.next() {
            Step::Wait(until) => Some(until),
            Step::Stop(_) | Step::Start(_) | Step::Done => None,
        }
    }

    /// Whether its wait is over.
    pub(crate) fn is_due(&self, now: Monotonic) -> bool {
        self.due().is_some_and(|at| at <= now)
    }

    /// There is no reason to wait any more.
    pub(crate) fn go_on(&mut self) {
        self.until = None;
    }

    pub(crate) fn is_to_stop(&self, child: u64) -> bool {
        self.to_stop.contains(&child)
    }

    pub(crate) fn is_to_start(&self, child: u64) -> bool {
        self.to_start.contains(&child)
    }

    pub(crate) fn contains(&self, child: u64) -> bool {
        self.is_to_stop(child) || self.is_to_start(child)
    }

    pub(crate) fn next(&self) -> Step {
        match (self.to_stop.last(), self.until, self.to_start.first()) {
            (Some(child), ..) => Step::Stop(*child),
            (None, _, None) => Step::Done,
            (None, Some(until), Some(_)) => Step::Wait(until),
            (None, None, Some(child)) => Step::Start(*child),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;

    /// Carries a plan out and writes down what was done.
    fn carry_out(plan: &mut Plan) -> (Vec<u64>, Vec<u64>) {
        let (mut stopped, mut started) = (Vec::new(), Vec::new());
        loop {
            match plan.next() {
                Step::Stop(child) => {
                    stopped.push(child);
                    plan.stopped(child);
                }
                Step::Start(child) => {
                    started.push(child);
                    plan.started(child);
                }
                Step::Wait(_) => plan.go_on(),
                Step::Done => return (stopped, started),
            }
        }
    }

    fn of(strategy: Strategy, children: u64, dead: u64) -> Plan {
        let mut plan = Plan::default();
        if let Some(range) = concerned(strategy, dead) {
            for child in range.take_while(|child| *child < children) {
                plan.join(child, if child == dead { Needs::Start } else { Needs::Both });
            }
        }
        plan
    }

    #[test]
    fn the_strategy_says_who_is_stopped_and_started() {
        for (strategy, stopped, started) in [
            (Strategy::OneForOne, vec![], vec![]),
            (Strategy::SimpleOneForOne, vec![], vec![]),
            (Strategy::OneForAll, vec![3, 2, 0], vec![0, 1, 2, 3]),
            (Strategy::RestForOne, vec![3, 2], vec![1, 2, 3]),
        ] {
            assert_eq!(carry_out(&mut of(strategy, 4, 1)), (stopped, started), "{strategy}");
        }
    }

    #[test]
    fn a_failed_start_holds_the_starts_and_not_the_stops() {
        let mut plan = of(Strategy::OneForAll, 3, 0);
        let at = Monotonic::from_millis(7);
        plan.hold(at);
        assert_eq!(plan.next(), Step::Stop(2));
        plan.stopped(2);
        plan.stopped(1);
        assert_eq!(plan.next(), Step::Wait(at));
        plan.go_on();
        assert_eq!(plan.next(), Step::Start(0));
    }

    proptest! {
        #[test]
        fn stops_reverse_the_start_order_and_starts_are_a_permutation(
            one_for_all in any::<bool>(), children in 1u64..40, dead in any::<prop::sample::Index>()
        ) {
            let dead = dead.index(usize::try_from(children).unwrap()) as u64;
            let strategy = if one_for_all { Strategy::OneForAll } else { Strategy::RestForOne };
            let (stopped, started) = carry_out(&mut of(strategy, children, dead));
            let first = if one_for_all { 0 } else { dead };
            prop_assert_eq!(&started, &(first..children).collect::<Vec<_>>());
            let mut expected: Vec<u64> = started.into_iter().filter(|child| *child != dead).collect();
            expected.reverse();
            prop_assert_eq!(stopped, expected);
        }

        #[test]
        fn whatever_joins_and_leaves_nobody_starts_before_all_are_stopped_and_everybody_starts_once(
            steps in proptest::collection::vec((0u64..12, 0u8..6), 1..80)
        ) {
            let mut plan = Plan::default();
            let mut alive: BTreeSet<u64> = (0..12).collect();
            let mut here = alive.clone();
            for (child, what) in steps {
                match what {
                    // It ends, with everybody behind it.
                    0 if here.contains(&child) => {
                        alive.remove(&child);
                        for other in here.range(child..).copied().collect::<Vec<_>>() {
                            plan.join(other, if alive.contains(&other) { Needs::Both } else { Needs::Start });
                        }
                    }
                    1 => {
                        here.remove(&child);
                        alive.remove(&child);
                        plan.leave(child);
                    }
                    _ => match plan.next() {
                        Step::Stop(next) => {
                            prop_assert!(alive.remove(&next), "only what lives is stopped");
                            plan.stopped(next);
                        }
                        Step::Start(next) => {
                            prop_assert!(alive.insert(next), "only what is gone is started");
                            plan.started(next);
                        }
                        Step::Wait(_) | Step::Done => {}
                    },
                }
            }
            let (stopped, started) = carry_out(&mut plan);
            prop_assert!(stopped.windows(2).all(|pair| pair[0] > pair[1]));
            prop_assert!(started.windows(2).all(|pair| pair[0] < pair[1]));
            for child in stopped {
                alive.remove(&child);
            }
            alive.extend(started);
            prop_assert_eq!(alive, here, "everybody who is a child runs");
        }
    }
}
