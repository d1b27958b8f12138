//! What the manual of OTP's supervisor says and its test suite checks, as tables. Cases carry the names they have there.

use std::time::Duration;

use noex_actors::ExitReason;

use super::{
    bench::{Bench, crash, rule, settings},
    *,
};
use crate::options::{AutoShutdown, Restart, RestartIntensity, Shutdown, Strategy};

fn of(strategy: Strategy, rules: Vec<Rule>) -> Bench {
    Bench::running_with(Settings { strategy, ..settings(Scope::Local) }, rules)
}

fn three() -> Vec<Rule> {
    ["a", "b", "c"].map(rule).into()
}

/// Groups `normal_termination`, `shutdown_termination`, `abnormal_termination`.
#[test]
fn the_restart_type_and_the_reason_decide_whether_a_child_comes_back() {
    let error = || ExitReason::Error("abnormal".into());
    for (case, restart, reason, comes_back) in [
        ("permanent_normal", Restart::Permanent, ExitReason::Normal, true),
        ("transient_normal", Restart::Transient, ExitReason::Normal, false),
        ("temporary_normal", Restart::Temporary, ExitReason::Normal, false),
        ("permanent_shutdown", Restart::Permanent, ExitReason::Shutdown, true),
        ("transient_shutdown", Restart::Transient, ExitReason::Shutdown, false),
        ("temporary_shutdown", Restart::Temporary, ExitReason::Shutdown, false),
        ("permanent_abnormal", Restart::Permanent, error(), true),
        ("transient_abnormal", Restart::Transient, error(), true),
        ("temporary_abnormal", Restart::Temporary, error(), false),
        ("permanent killed", Restart::Permanent, ExitReason::Killed, true),
        ("transient killed", Restart::Transient, ExitReason::Killed, true),
        ("temporary killed", Restart::Temporary, ExitReason::Killed, false),
        ("transient noproc", Restart::Transient, ExitReason::NoProc, true),
    ] {
        for strategy in Strategy::ALL {
            let mut bench = of(*strategy, vec![Rule { restart, ..rule("a") }]);
            bench.exit("a", reason.clone());
            let expected = if comes_back { "+a" } else { "" };
            assert_eq!(bench.obey(), expected, "{case} {strategy}");
            assert_eq!(bench.machine.child_count(), usize::from(comes_back), "{case} {strategy}");
            assert!(bench.ended().is_none());
        }
    }
}

/// `one_for_one`, `one_for_all`, `rest_for_one`, `simple_one_for_one`.
#[test]
fn the_strategy_decides_who_is_stopped_and_started_and_in_which_order() {
    for (strategy, dies, steps) in [
        (Strategy::OneForOne, "a", "+a"),
        (Strategy::OneForOne, "c", "+c"),
        (Strategy::SimpleOneForOne, "b", "+b"),
        (Strategy::OneForAll, "a", "-c -b +a +b +c"),
        (Strategy::OneForAll, "b", "-c -a +a +b +c"),
        (Strategy::OneForAll, "c", "-b -a +a +b +c"),
        (Strategy::RestForOne, "a", "-c -b +a +b +c"),
        (Strategy::RestForOne, "b", "-c +b +c"),
        (Strategy::RestForOne, "c", "+c"),
    ] {
        let mut bench = of(strategy, three());
        bench.exit(dies, crash());
        assert_eq!(bench.obey(), steps, "{strategy} {dies}");
        assert_eq!(bench.alive(), "abc");
        let counts = ["a", "b", "c"].map(|id| bench.restarts(id));
        assert_eq!(counts, ["a", "b", "c"].map(|id| u32::from(id == dies)), "only the one that ended counts");
        assert_eq!(bench.machine.totals().restarts, 1);
    }
}

/// `one_for_one_escalation` and its like: one more than allowed, and everything is stopped, last one first.
#[test]
fn over_the_limit_everything_is_stopped_whatever_the_strategy() {
    for (strategy, left) in [
        (Strategy::OneForOne, "-c -a"),
        (Strategy::OneForAll, "-c -a"),
        (Strategy::RestForOne, "-c -a"),
        (Strategy::SimpleOneForOne, "-c -a"),
    ] {
        let intensity = RestartIntensity { max_restarts: 1, within: Duration::from_secs(3600) };
        let mut bench =
            Bench::running_with(Settings { strategy, intensity, ..settings(Scope::Local) }, three());
        bench.exit("b", crash());
        bench.obey();
        assert_eq!(bench.alive(), "abc");
        bench.exit("b", crash());
        assert_eq!(bench.obey(), left, "{strategy}");
        assert_eq!(bench.ended(), Some(&Ending::MaxRestartsExceeded));
        assert_eq!(bench.machine.child_count(), 0);
    }
}

/// `multiple_restarts`: the window slides.
#[test]
fn restarts_that_lie_further_apart_than_the_window_go_on_for_ever() {
    let intensity = RestartIntensity { max_restarts: 2, within: Duration::from_secs(3) };
    for strategy in Strategy::ALL {
        let mut bench = Bench::running_with(
            Settings { strategy: *strategy, intensity, ..settings(Scope::Local) },
            three(),
        );
        for _ in 0..20 {
            bench.exit("b", crash());
            bench.obey();
            bench.now = bench.now.plus(Duration::from_millis(1501));
        }
        assert!(bench.ended().is_none());
        bench.exit("b", crash());
        bench.obey();
        bench.exit("b", crash());
        assert!(bench.ended().is_none() || bench.machine.child_count() == 0);
        bench.obey();
        assert_eq!(bench.ended(), Some(&Ending::MaxRestartsExceeded), "three in less than three seconds");
    }
}

/// `one_for_all_other_child_fails_restart`: the sibling that had started again is stopped before the next attempt.
#[test]
fn one_for_all_other_child_fails_restart() {
    let mut bench = of(Strategy::OneForAll, vec![rule("a"), rule("b")]);
    bench.exit("a", crash());
    assert_eq!(bench.stops(), [("b".to_owned(), Stop::Ask)]);
    bench.exit("b", ExitReason::Shutdown);
    bench.start_next("a").unwrap();
    assert_eq!(bench.fail_next(Failure::Refused("no".into())), "b");
    assert_eq!(bench.obey(), "-a", "nothing is started before the backoff is over");
    bench.after(Duration::from_millis(100));
    assert_eq!(bench.obey(), "+a +b");
    assert_eq!((bench.restarts("a"), bench.restarts("b")), (1, 0));
}

/// `rest_for_one_other_child_fails_restart`: what stands before the one that fails runs on.
#[test]
fn rest_for_one_other_child_fails_restart() {
    let mut bench = of(Strategy::RestForOne, three());
    bench.exit("a", crash());
    assert_eq!(bench.stops(), [("c".to_owned(), Stop::Ask)]);
    bench.exit("c", ExitReason::Shutdown);
    assert_eq!(bench.stops(), [("b".to_owned(), Stop::Ask)]);
    bench.exit("b", ExitReason::Shutdown);
    bench.start_next("a").unwrap();
    assert_eq!(bench.fail_next(Failure::Refused("no".into())), "b");
    assert_eq!(bench.obey(), "");
    assert_eq!(bench.alive(), "a");
    bench.after(Duration::from_millis(100));
    assert_eq!(bench.obey(), "+b +c");
}

/// `temporary_bystander`: a temporary child that is stopped with its siblings does not come back.
#[test]
fn temporary_bystander() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let bystander = Rule { restart: Restart::Temporary, ..rule("b") };
        let mut bench = of(strategy, vec![rule("a"), bystander, rule("c")]);
        bench.exit("a", crash());
        assert_eq!(bench.obey(), "-c -b +a +c", "{strategy}");
        let stopped = Report::Stopped { child: "b".into(), reason: ExitReason::Shutdown };
        assert!(bench.reports().contains(&stopped));
        assert_eq!(bench.alive(), "ac");
    }
}

/// A transient sibling comes back, even if it was done when its turn to be stopped came.
#[test]
fn transient_bystanders_come_back() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let transient = Rule { restart: Restart::Transient, ..rule("b") };
        let mut bench = of(strategy, vec![rule("a"), transient, rule("c")]);
        bench.exit("a", crash());
        bench.exit("b", ExitReason::Normal);
        assert_eq!(bench.obey(), "-c +a +b +c", "{strategy}");
        assert_eq!(bench.alive(), "abc");
    }
}

/// Groups `sup_stop` and `simple_one_for_one_shutdown`.
#[test]
fn a_stop_uses_each_childs_own_way_in_reverse_order() {
    let rules = || {
        vec![
            Rule { shutdown: Shutdown::Infinity, ..rule("a") },
            Rule { shutdown: Shutdown::BrutalKill, ..rule("b") },
            rule("c"),
        ]
    };
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        let mut bench = of(strategy, rules());
        bench.fact(Input::StopRequested { reason: ExitReason::Shutdown });
        assert_eq!(bench.stops(), [("c".to_owned(), Stop::Ask)], "one at a time");
        bench.after(Duration::from_secs(5));
        assert_eq!(bench.obey(), "!c !b -a");
        assert_eq!(bench.ended(), Some(&Ending::Stopped(ExitReason::Shutdown)));
    }
    let mut bench = of(Strategy::SimpleOneForOne, rules());
    bench.fact(Input::StopRequested { reason: ExitReason::Shutdown });
    assert_eq!(bench.stops().len(), 3, "all at once");
    for id in ["b", "a", "c"] {
        assert!(bench.ended().is_none());
        bench.exit(id, ExitReason::Shutdown);
    }
    assert_eq!(bench.ended(), Some(&Ending::Stopped(ExitReason::Shutdown)));
}

/// `hanging_restart_loop` and its like: a child that never starts again keeps nobody from being asked or stopped.
#[test]
fn a_restart_loop_answers_requests_and_can_be_stopped() {
    for strategy in Strategy::ALL {
        let intensity = RestartIntensity { max_restarts: 1000, within: Duration::from_secs(3600) };
        let mut bench = Bench::running_with(
            Settings { strategy: *strategy, intensity, ..settings(Scope::Local) },
            three(),
        );
        bench.exit("c", crash());
        for round in 0..10 {
            while let Some(step) = bench.next_step() {
                match step {
                    Output::Start { child, generation, .. } if child == "c" => {
                        let failure = Failure::Refused("hanging".into());
                        bench.fact(Input::StartFailed { child, generation, node: None, failure });
                    }
                    other => {
                        bench.out.push_front(other);
                        bench.start_or_stop();
                    }
                }
            }
            assert_eq!(bench.machine.child_count(), 3, "count_restarting_children");
            assert!(bench.machine.child("c").unwrap().attempt == round + 2);
            bench.after(Duration::from_secs(30));
        }
        bench.fact(Input::RestartRequested { request: 7, child: "nobody".into() });
        assert!(bench.has(&Output::Reply { request: 7, answer: Answer::NotFound }));
        bench.fact(Input::StopRequested { reason: ExitReason::Shutdown });
        bench.fail_if_started("c");
        bench.obey();
        assert_eq!(bench.ended(), Some(&Ending::Stopped(ExitReason::Shutdown)), "{strategy}");
    }
}

/// Group `auto_shutdown`; what differs from OTP is marked.
#[test]
fn the_removal_of_significant_children_ends_the_supervisor() {
    #[derive(Clone, Copy)]
    enum Does {
        Exits(&'static str, bool),
        IsTerminated(&'static str),
    }
    use AutoShutdown::{AllSignificant, AnySignificant, Never};
    use Does::{Exits, IsTerminated};
    let significant = |id: &str, restart| Rule { restart, significant: true, ..rule(id) };
    for (case, auto_shutdown, restart, does, ends_by) in [
        ("never", Never, Restart::Temporary, vec![Exits("a", false), Exits("b", true)], None),
        ("any, the first", AnySignificant, Restart::Temporary, vec![Exits("a", false)], Some("a")),
        ("any, crashed", AnySignificant, Restart::Temporary, vec![Exits("b", true)], Some("b")),
        ("any, not one of them", AnySignificant, Restart::Temporary, vec![Exits("c", false)], None),
        ("any, restarted", AnySignificant, Restart::Transient, vec![Exits("a", true)], None),
        ("any, done", AnySignificant, Restart::Transient, vec![Exits("a", false)], Some("a")),
        ("all, one", AllSignificant, Restart::Temporary, vec![Exits("a", false)], None),
        ("all", AllSignificant, Restart::Temporary, vec![Exits("b", true), Exits("a", false)], Some("a")),
        (
            "all, restarted",
            AllSignificant,
            Restart::Transient,
            vec![Exits("a", false), Exits("b", true)],
            None,
        ),
        // OTP: permanent children cannot be significant.
        ("any, permanent", AnySignificant, Restart::Permanent, vec![Exits("a", false)], None),
        // OTP: termination by hand does not count.
        ("any, by hand", AnySignificant, Restart::Permanent, vec![IsTerminated("b")], Some("b")),
        (
            "all, by hand",
            AllSignificant,
            Restart::Permanent,
            vec![IsTerminated("b"), IsTerminated("a")],
            Some("a"),
        ),
    ] {
        let plain = Rule { restart: Restart::Temporary, ..rule("c") };
        let rules = vec![significant("a", restart), significant("b", restart), plain];
        let mut bench = Bench::running_with(Settings { auto_shutdown, ..settings(Scope::Local) }, rules);
        for does in does {
            match does {
                Exits(id, crashed) => bench.exit(id, if crashed { crash() } else { ExitReason::Normal }),
                IsTerminated(id) => {
                    bench.fact(Input::TerminateRequested { request: 1, child: id.into() });
                }
            }
            bench.obey();
        }
        let expected = ends_by.map(|id| Ending::AutoShutdown { child: id.to_owned() });
        assert_eq!(bench.ended(), expected.as_ref(), "{case}");
        assert_eq!(bench.machine.child_count() == 0, ends_by.is_some(), "{case}: nobody is left");
    }
}

/// OTP: a temporary significant child that is stopped with its siblings does not count there.
#[test]
fn a_significant_bystander_that_is_removed_ends_the_supervisor() {
    let bystander = Rule { restart: Restart::Temporary, significant: true, ..rule("b") };
    let settings = Settings {
        strategy: Strategy::OneForAll,
        auto_shutdown: AutoShutdown::AnySignificant,
        ..settings(Scope::Local)
    };
    let mut bench = Bench::running_with(settings, vec![rule("a"), bystander, rule("c")]);
    bench.exit("a", crash());
    assert_eq!(bench.obey(), "-c -b");
    assert_eq!(bench.ended(), Some(&Ending::AutoShutdown { child: "b".into() }));
}

/// A supervisor over its limit says so, also when the child that was one too many is significant.
#[test]
fn the_limit_goes_before_the_automatic_shutdown() {
    let intensity = RestartIntensity { max_restarts: 0, within: Duration::from_secs(5) };
    let auto_shutdown = AutoShutdown::AnySignificant;
    let significant = Rule { significant: true, ..rule("a") };
    let settings = Settings { intensity, auto_shutdown, ..settings(Scope::Local) };
    let mut bench = Bench::running_with(settings, vec![significant]);
    bench.exit("a", crash());
    assert_eq!(bench.ended(), Some(&Ending::MaxRestartsExceeded));
}
