//! A supervisor machine to which anything happens, in any order.

use std::{collections::BTreeSet, time::Duration};

use noex_actors::ExitReason;
use proptest::prelude::{any, prop, proptest};

use super::{
    bench::{Bench, crash, rule, settings},
    *,
};
use crate::options::{AutoShutdown, Restart, RestartIntensity, Shutdown, Strategy};

/// What happens; the number picks whom it happens to.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Obeyed,
    StartFails,
    Exit(usize, bool),
    Terminate(usize),
    Restart(usize),
    Add,
    TimePasses(u64),
}

fn happens() -> impl proptest::strategy::Strategy<Value = Happens> {
    use proptest::strategy::{Just, Strategy};
    proptest::prop_oneof![
        6 => Just(Happens::Obeyed),
        1 => Just(Happens::StartFails),
        3 => (any::<usize>(), any::<bool>()).prop_map(|(who, crashed)| Happens::Exit(who, crashed)),
        1 => any::<usize>().prop_map(Happens::Terminate),
        1 => any::<usize>().prop_map(Happens::Restart),
        1 => Just(Happens::Add),
        1 => (0u64..6000).prop_map(Happens::TimePasses),
    ]
}

/// Requests that were made and those that were answered, and what may never be.
struct Watch {
    bench: Bench,
    made: BTreeSet<u64>,
    answered: BTreeSet<u64>,
    strategy: Strategy,
}

impl Watch {
    fn child(&self, who: usize) -> Option<String> {
        let ids: Vec<_> = self.bench.machine.children().map(|child| child.rule.id.clone()).collect();
        who.checked_rem(ids.len()).map(|at| ids[at].clone())
    }

    fn request(&mut self) -> u64 {
        let number = self.made.len() as u64;
        self.made.insert(number);
        number
    }

    fn happen(&mut self, what: Happens) {
        match what {
            Happens::Obeyed => drop(self.bench.start_or_stop()),
            Happens::StartFails => {
                if let Some((child, generation)) = self.bench.next_start() {
                    let failure = Failure::Refused("no".into());
                    self.bench.fact(Input::StartFailed { child, generation, node: None, failure });
                }
            }
            Happens::Exit(who, crashed) => {
                let pids = self.bench.machine.children().filter(|child| child.pid().is_some());
                let ids: Vec<_> = pids.map(|child| child.rule.id.clone()).collect();
                if let Some(at) = who.checked_rem(ids.len()) {
                    let id = &ids[at];
                    // A stop that was asked for finds nobody then.
                    self.bench.out.retain(|o| !matches!(o, Output::Stop { child, .. } if child == id));
                    self.bench.exit(id, if crashed { crash() } else { ExitReason::Normal });
                }
            }
            Happens::Terminate(who) => {
                let child = self.child(who).unwrap_or_default();
                let request = self.request();
                self.bench.fact(Input::TerminateRequested { request, child });
            }
            Happens::Restart(who) => {
                let child = self.child(who).unwrap_or_default();
                let request = self.request();
                self.bench.fact(Input::RestartRequested { request, child });
            }
            Happens::Add => {
                let request = self.request();
                let rule = rule(&format!("added-{request}"));
                self.bench.fact(Input::AddRequested { request, rule });
            }
            Happens::TimePasses(millis) => self.bench.after(Duration::from_millis(millis)),
        }
        self.check();
    }

    fn check(&mut self) {
        let machine = &self.bench.machine;
        let mut starts: Vec<&str> = Vec::new();
        for output in &self.bench.out {
            if let Output::Start { child, .. } = output {
                assert!(!starts.contains(&child.as_str()), "two starts of {child} in flight");
                starts.push(child);
            }
        }
        self.bench.out.retain(|output| match output {
            Output::Reply { request, .. } => {
                assert!(self.answered.insert(*request), "answered twice");
                false
            }
            Output::Report(_) | Output::Forget { .. } | Output::Watch { .. } => false,
            _ => true,
        });
        // The indexes say what looking at everybody would say.
        let due = machine.children().filter_map(Child::due).min();
        assert_eq!(machine.deadline(), due.into_iter().chain(machine.plan_due()).min());
        let starting = machine.children().filter(|child| child.state == State::Starting).count();
        assert_eq!(machine.is_starting(), starting > 0);
        if matches!(machine.phase, Phase::Ending(_) | Phase::Ended) {
            assert!(machine.plan.is_none());
        }
        // Nobody waits for a turn that does not come.
        let queued = machine.children().any(|child| child.state == State::Queued);
        assert!(!queued || machine.plan.is_some() || !machine.is_open());
        if matches!(self.strategy, Strategy::OneForOne | Strategy::SimpleOneForOne) {
            assert!(machine.plan.is_none());
        }
    }

    /// Everything that is asked is done and nothing else happens, until it is quiet.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            self.check();
            if self.bench.start_or_stop().is_none() {
                if self.bench.machine.deadline().is_none() {
                    return;
                }
                self.bench.after(Duration::from_secs(60));
            }
        }
        panic!("it does not come to rest");
    }
}

proptest! {
    #[test]
    fn whatever_happens_everybody_runs_in_the_end_or_nobody_is_left(
        strategy in prop::sample::select(Strategy::ALL),
        auto_shutdown in prop::sample::select(AutoShutdown::ALL),
        restarts in prop::collection::vec((prop::sample::select(Restart::ALL), any::<bool>(), any::<bool>()), 0..6),
        max_restarts in prop::sample::select(&[1u32, 4, 1000][..]),
        events in prop::collection::vec(happens(), 0..60),
        stopped in any::<bool>(),
    ) {
        let rules = restarts.into_iter().enumerate().map(|(n, (restart, significant, brutal))| Rule {
            restart,
            significant,
            shutdown: if brutal { Shutdown::BrutalKill } else { Shutdown::default() },
            ..rule(&format!("c{n}"))
        });
        let intensity = RestartIntensity { max_restarts, within: Duration::from_secs(5) };
        let settings = Settings { strategy, auto_shutdown, intensity, ..settings(Scope::Local) };
        let mut bench = Bench::with(settings, rules.collect());
        bench.fact(Input::Begun { found: Vec::new() });
        let mut watch = Watch { bench, made: BTreeSet::new(), answered: BTreeSet::new(), strategy };
        for event in events {
            watch.happen(event);
        }
        if stopped {
            watch.bench.fact(Input::StopRequested { reason: ExitReason::Shutdown });
        }
        watch.settle();
        let machine = &watch.bench.machine;
        assert_eq!(&watch.made, &watch.answered, "every request is answered");
        let ended = watch.bench.ended().is_some();
        assert!(ended || !stopped);
        if ended {
            assert_eq!(machine.child_count(), 0);
        } else {
            assert!(machine.children().all(|child| matches!(child.state, State::Running { .. })));
            assert!(machine.plan.is_none() && machine.rounds.is_empty());
        }
    }
}
