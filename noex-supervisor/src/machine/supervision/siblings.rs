//! What happens while siblings are being stopped and started.

use std::time::Duration;

use noex_actors::ExitReason;

use super::{
    bench::{Bench, crash, node, rule, settings},
    *,
};
use crate::options::{AutoShutdown, Restart, RestartIntensity, Shutdown, Strategy};

fn of(strategy: Strategy, ids: &[&str]) -> Bench {
    let rules = ids.iter().map(|id| rule(id)).collect();
    Bench::running_with(Settings { strategy, ..settings(Scope::Local) }, rules)
}

fn limited(strategy: Strategy, max_restarts: u32, ids: &[&str]) -> Bench {
    let intensity = RestartIntensity { max_restarts, within: Duration::from_secs(3600) };
    let rules = ids.iter().map(|id| rule(id)).collect();
    Bench::running_with(Settings { strategy, intensity, ..settings(Scope::Local) }, rules)
}

#[test]
fn one_is_stopped_or_started_at_a_time() {
    let mut bench = of(Strategy::OneForAll, &["a", "b", "c"]);
    bench.exit("a", crash());
    for step in ["-c", "-b", "+a", "+b", "+c"] {
        assert_eq!(
            bench.out.iter().filter(|o| matches!(o, Output::Start { .. } | Output::Stop { .. })).count(),
            1
        );
        assert_eq!(bench.start_or_stop().as_deref(), Some(step));
    }
    assert_eq!(bench.start_or_stop(), None);
}

#[test]
fn siblings_that_end_by_themselves_while_they_are_stopped_are_one_cause_with_the_first() {
    let mut bench = limited(Strategy::OneForAll, 1, &["a", "b", "c"]);
    // All at once: the news of the others come while the last is told to stop.
    for id in ["b", "a", "c"] {
        bench.exit(id, crash());
    }
    bench.stops();
    assert_eq!(bench.obey(), "+a +b +c");
    assert_eq!(["a", "b", "c"].map(|id| bench.restarts(id)), [0, 1, 0]);
    bench.exit("a", crash());
    bench.obey();
    assert_eq!(bench.ended(), Some(&Ending::MaxRestartsExceeded), "that was the second cause");
}

#[test]
fn a_child_that_ends_again_before_the_round_is_over_is_another_cause_and_all_begins_anew() {
    let mut bench = limited(Strategy::OneForAll, 2, &["a", "b", "c"]);
    bench.exit("b", crash());
    for step in ["-c", "-a", "+a"] {
        assert_eq!(bench.start_or_stop().as_deref(), Some(step));
    }
    // b is being started.
    bench.exit("a", crash());
    let (child, generation) = bench.next_start().unwrap();
    let pid = bench::pid("a", 99);
    bench.fact(Input::StartSucceeded { child, generation, pid });
    assert_eq!(bench.obey(), "-b +a +b +c", "what came of the start is stopped first");
    assert_eq!(["a", "b", "c"].map(|id| bench.restarts(id)), [1, 1, 0]);
    bench.exit("c", crash());
    bench.obey();
    assert_eq!(bench.ended(), Some(&Ending::MaxRestartsExceeded), "the third cause");
}

#[test]
fn an_earlier_child_that_ends_during_a_round_widens_it() {
    let mut bench = limited(Strategy::RestForOne, 2, &["a", "b", "c", "d"]);
    bench.exit("c", crash());
    assert_eq!(bench.stops(), [("d".to_owned(), Stop::Ask)]);
    bench.exit("a", crash());
    assert!(bench.stops().is_empty(), "d has been told");
    bench.exit("d", ExitReason::Shutdown);
    assert_eq!(bench.obey(), "-b +a +b +c +d");
    assert_eq!(["a", "b", "c", "d"].map(|id| bench.restarts(id)), [1, 0, 1, 0], "two causes");
}

#[test]
fn an_earlier_child_that_ends_during_a_start_has_that_start_undone() {
    let mut bench = of(Strategy::RestForOne, &["a", "b", "c"]);
    bench.exit("b", crash());
    bench.start_or_stop();
    let (started, generation) = bench.next_start().unwrap();
    assert_eq!(started, "b");
    bench.exit("a", crash());
    assert!(bench.next_start().is_none(), "not before b is out of the way");
    bench.fact(Input::StartFailed {
        child: started,
        generation,
        node: None,
        failure: Failure::Refused("no".into()),
    });
    assert_eq!(bench.obey(), "+a +b +c");
    assert!(!bench.reports().iter().any(|report| matches!(report, Report::StartFailed { .. })));
}

#[test]
fn every_failed_start_of_a_round_is_one_more_entry() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let mut bench = limited(strategy, 3, &["a", "b", "c"]);
        bench.exit("a", crash());
        let mut failures = 0;
        while bench.ended().is_none() {
            match bench.next_step() {
                Some(Output::Start { child, generation, .. }) if child == "b" => {
                    failures += 1;
                    let failure = Failure::Refused("no".into());
                    bench.fact(Input::StartFailed { child, generation, node: None, failure });
                }
                Some(step) => {
                    bench.out.push_front(step);
                    bench.start_or_stop();
                }
                None => bench.after(Duration::from_secs(30)),
            }
        }
        assert_eq!(failures, 3, "{strategy}: the crash and three failures are one too many");
        assert_eq!(bench.ended(), Some(&Ending::MaxRestartsExceeded));
    }
}

#[test]
fn the_backoff_grows_with_the_failures_of_a_round_and_is_exact() {
    let mut bench = limited(Strategy::RestForOne, 1000, &["a", "b"]);
    bench.exit("a", crash());
    bench.start_or_stop();
    let mut waits = Vec::new();
    for _ in 0..4 {
        bench.fail_next(Failure::Refused("no".into()));
        let at = bench.machine.deadline().expect("it is tried again");
        waits.push(at.since(bench.now).as_millis());
        bench.after(at.since(bench.now) - Duration::from_nanos(1));
        assert!(bench.next_start().is_none(), "not a nanosecond early");
        bench.after(Duration::from_nanos(1));
    }
    let entropy_of_one: Vec<u128> = [100, 200, 400, 800].iter().map(|step| step / 2).collect();
    assert_eq!(waits, entropy_of_one);
    assert_eq!(bench.obey(), "+a +b");
    assert_eq!(bench.machine.deadline(), None);
}

#[test]
fn a_crash_during_the_backoff_of_another_does_not_wait_for_it() {
    let mut bench = limited(Strategy::RestForOne, 1000, &["a", "b"]);
    bench.exit("b", crash());
    bench.fail_next(Failure::Refused("no".into()));
    assert!(bench.next_start().is_none());
    bench.exit("a", crash());
    assert_eq!(bench.obey(), "+a +b");
    assert_eq!((bench.restarts("a"), bench.restarts("b")), (1, 1));
}

#[test]
fn a_child_terminated_by_hand_in_a_round_is_removed_and_the_round_goes_on() {
    // While it is still to be stopped.
    let mut bench = of(Strategy::OneForAll, &["a", "b", "c"]);
    bench.exit("a", crash());
    bench.fact(Input::TerminateRequested { request: 1, child: "b".into() });
    assert_eq!(bench.obey(), "-c -b +a +c");
    assert!(bench.has(&Output::Reply { request: 1, answer: Answer::Removed }));
    // While it is being stopped.
    let mut bench = of(Strategy::OneForAll, &["a", "b"]);
    bench.exit("a", crash());
    bench.fact(Input::TerminateRequested { request: 1, child: "b".into() });
    assert_eq!(bench.obey(), "-b +a");
    // While it waits for its turn to start.
    let mut bench = of(Strategy::OneForAll, &["a", "b"]);
    bench.exit("a", crash());
    bench.start_or_stop();
    bench.fact(Input::TerminateRequested { request: 1, child: "b".into() });
    assert!(bench.has(&Output::Reply { request: 1, answer: Answer::Removed }), "at once");
    assert_eq!(bench.obey(), "+a");
    // While it starts.
    let mut bench = of(Strategy::OneForAll, &["a", "b"]);
    bench.exit("a", crash());
    bench.start_or_stop();
    bench.fact(Input::TerminateRequested { request: 1, child: "a".into() });
    assert_eq!(bench.obey(), "+a -a +b", "what comes of the start is stopped");
    assert!(bench.has(&Output::Reply { request: 1, answer: Answer::Removed }));
    assert_eq!(bench.alive(), "b");
}

#[test]
fn the_child_that_ended_may_be_terminated_during_its_backoff() {
    let mut bench = of(Strategy::OneForAll, &["a", "b"]);
    bench.exit("b", crash());
    bench.start_or_stop();
    bench.start_or_stop();
    bench.fail_next(Failure::Refused("no".into()));
    bench.start_or_stop();
    assert_eq!(bench.alive(), "");
    bench.fact(Input::TerminateRequested { request: 1, child: "b".into() });
    bench.after(Duration::from_secs(1));
    assert_eq!(bench.obey(), "+a");
    assert_eq!(bench.machine.deadline(), None);
}

#[test]
fn a_child_restarted_by_hand_in_a_round_is_started_once_and_answered() {
    let mut bench = of(Strategy::OneForAll, &["a", "b", "c"]);
    bench.exit("a", crash());
    for (request, child) in [(1, "a"), (2, "b"), (3, "c")] {
        bench.fact(Input::RestartRequested { request, child: child.into() });
    }
    assert_eq!(bench.obey(), "-c -b +a +b +c");
    for (request, child) in [(1, "a"), (2, "b"), (3, "c")] {
        let pid = bench.pid_of(child);
        assert!(bench.has(&Output::Reply { request, answer: Answer::Started { pid } }), "{child}");
    }
}

#[test]
fn a_restart_by_hand_cuts_the_backoff_short() {
    let mut bench = of(Strategy::OneForAll, &["a", "b"]);
    bench.exit("a", crash());
    bench.start_or_stop();
    bench.fail_next(Failure::Refused("no".into()));
    assert_eq!(bench.start_or_stop(), None);
    bench.fact(Input::RestartRequested { request: 1, child: "b".into() });
    assert_eq!(bench.obey(), "+a +b");
    let pid = bench.pid_of("b");
    assert!(bench.has(&Output::Reply { request: 1, answer: Answer::Started { pid } }));
}

#[test]
fn a_restart_by_hand_concerns_no_siblings_until_a_round_takes_it_in() {
    let mut bench = of(Strategy::OneForAll, &["a", "b", "c"]);
    bench.fact(Input::RestartRequested { request: 1, child: "b".into() });
    assert_eq!(bench.stops(), [("b".to_owned(), Stop::Ask)]);
    bench.exit("a", crash());
    assert_eq!(bench.start_or_stop().as_deref(), Some("-c"));
    assert!(bench.start_or_stop().is_none(), "b is on its way out already");
    bench.exit("b", ExitReason::Shutdown);
    assert_eq!(bench.obey(), "+a +b +c");
    let pid = bench.pid_of("b");
    assert!(bench.has(&Output::Reply { request: 1, answer: Answer::Started { pid } }));
    assert_eq!(bench.restarts("b"), 0, "it came back as a sibling");
}

#[test]
fn a_child_added_during_a_round_starts_when_its_turn_comes() {
    let mut bench = of(Strategy::RestForOne, &["a", "b"]);
    bench.exit("a", crash());
    bench.fact(Input::AddRequested { request: 1, rule: rule("c") });
    assert_eq!(bench.obey(), "-b +a +b +c");
    let pid = bench.pid_of("c");
    assert!(bench.has(&Output::Reply { request: 1, answer: Answer::Started { pid } }));
    // One that does not start is not kept, and is no failure of the round.
    bench.exit("a", crash());
    bench.fact(Input::AddRequested { request: 2, rule: rule("d") });
    for _ in 0..5 {
        bench.start_or_stop();
    }
    assert_eq!(bench.fail_next(Failure::Refused("no".into())), "d");
    assert_eq!(bench.obey(), "");
    assert_eq!(bench.alive(), "abc");
    assert!(bench.machine.child("d").is_none() && bench.machine.deadline().is_none());
}

#[test]
fn a_child_that_was_being_added_when_the_round_began_is_started_again_and_answered() {
    let mut temporary = rule("c");
    temporary.restart = Restart::Temporary;
    let mut bench = of(Strategy::OneForAll, &["a", "b"]);
    bench.fact(Input::AddRequested { request: 1, rule: temporary });
    bench.exit("a", crash());
    assert_eq!(bench.obey(), "+c -c -b +a +b +c");
    let pid = bench.pid_of("c");
    assert!(bench.has(&Output::Reply { request: 1, answer: Answer::Started { pid } }));
}

#[test]
fn the_stop_of_the_supervisor_ends_a_round_wherever_it_is() {
    // Steps of the round before the stop, and what is left to do then.
    for (steps, left) in [(0, "-c -b"), (1, "-b"), (2, "+a -a"), (3, "+b -b -a"), (4, "+c -c -b -a")] {
        let mut bench = of(Strategy::OneForAll, &["a", "b", "c"]);
        bench.exit("a", crash());
        for _ in 0..steps {
            bench.start_or_stop();
        }
        bench.fact(Input::StopRequested { reason: ExitReason::Shutdown });
        assert_eq!(bench.obey(), left, "after {steps} steps");
        assert_eq!(bench.ended(), Some(&Ending::Stopped(ExitReason::Shutdown)));
        assert_eq!((bench.machine.child_count(), bench.machine.deadline()), (0, None));
    }
}

#[test]
fn a_stop_during_the_backoff_of_a_round_ends_at_once() {
    let mut bench = of(Strategy::OneForAll, &["a", "b"]);
    bench.exit("b", crash());
    bench.start_or_stop();
    bench.fail_next(Failure::Refused("no".into()));
    assert_eq!(bench.obey(), "");
    bench.fact(Input::StopRequested { reason: ExitReason::Shutdown });
    assert_eq!(bench.ended(), Some(&Ending::Stopped(ExitReason::Shutdown)));
    assert_eq!(bench.machine.deadline(), None);
}

#[test]
fn siblings_are_stopped_each_in_its_own_way_and_killed_when_they_take_too_long() {
    let mut bench = Bench::running_with(
        Settings { strategy: Strategy::OneForAll, ..settings(Scope::Local) },
        vec![
            Rule { shutdown: Shutdown::Timeout(Duration::from_millis(70)), ..rule("a") },
            Rule { shutdown: Shutdown::BrutalKill, ..rule("b") },
            rule("c"),
        ],
    );
    bench.exit("c", crash());
    assert_eq!(bench.start_or_stop().as_deref(), Some("!b"));
    assert_eq!(bench.stops(), [("a".to_owned(), Stop::Ask)]);
    assert_eq!(bench.machine.deadline(), Some(bench.now.plus(Duration::from_millis(70))));
    bench.after(Duration::from_millis(70));
    assert_eq!(bench.obey(), "!a +a +b +c");
}

#[test]
fn a_crash_during_the_start_up_restarts_what_had_started_and_the_start_up_goes_on() {
    let rules = ["a", "b", "c"].map(rule).into();
    let mut bench = Bench::with(Settings { strategy: Strategy::OneForAll, ..settings(Scope::Local) }, rules);
    bench.fact(Input::Begun { found: Vec::new() });
    bench.start_or_stop();
    // b is being started.
    bench.exit("a", crash());
    assert_eq!(bench.obey(), "+b -b +a +b +c");
    assert!(bench.has(&Output::Ready));
    let started = bench.reports().iter().filter(|report| matches!(report, Report::Started { .. })).count();
    assert_eq!(started, 3, "each is started for the first time once");
}

#[test]
fn a_first_start_that_fails_after_a_crash_ends_the_start_up() {
    let rules = ["a", "b"].map(rule).into();
    let mut bench = Bench::with(Settings { strategy: Strategy::OneForAll, ..settings(Scope::Local) }, rules);
    bench.fact(Input::Begun { found: Vec::new() });
    bench.start_or_stop();
    bench.exit("a", crash());
    bench.fail_next(Failure::Refused("cut short".into()));
    assert_eq!(bench.start_or_stop().as_deref(), Some("+a"));
    bench.fail_next(Failure::Refused("no".into()));
    assert_eq!(bench.obey(), "-a");
    assert!(matches!(bench.ended(), Some(Ending::StartFailed { child, .. }) if child == "b"));
}

#[test]
fn an_automatic_shutdown_in_a_round_drops_the_round() {
    let significant = Rule { significant: true, ..rule("b") };
    let auto_shutdown = AutoShutdown::AllSignificant;
    let settings = Settings { strategy: Strategy::OneForAll, auto_shutdown, ..settings(Scope::Local) };
    let mut bench = Bench::running_with(settings, vec![rule("a"), significant, rule("c")]);
    bench.exit("a", crash());
    for _ in 0..2 {
        bench.start_or_stop();
    }
    bench.fact(Input::TerminateRequested { request: 1, child: "b".into() });
    assert_eq!(bench.obey(), "+a -a");
    assert_eq!(bench.ended(), Some(&Ending::AutoShutdown { child: "b".into() }));
}

#[test]
fn the_loss_of_a_node_concerns_siblings_elsewhere_too() {
    let rules = ["a", "b", "c"].map(rule).into();
    let mut bench =
        Bench::with(Settings { strategy: Strategy::RestForOne, ..settings(Scope::Cluster) }, rules);
    bench.fact(Input::Begun { found: Vec::new() });
    for on in ["a", "b", "a"] {
        bench.start_next(on).unwrap();
    }
    bench.fact(Input::NodeLost { node: node("b"), loss: Loss::Crash });
    assert_eq!(bench.obey(), "-c +b +c");
    assert_eq!(bench.machine.totals(), Totals { restarts: 1, node_failure_restarts: 1, failovers: 1 });
}

#[test]
fn a_child_that_leaves_is_forgotten_once_and_last() {
    let mut bench = of(Strategy::OneForAll, &["a", "b"]);
    bench.fact(Input::TerminateRequested { request: 1, child: "b".into() });
    bench.obey();
    assert_eq!(bench.out.pop_back(), Some(Output::Forget { child: "b".into() }));
    assert!(!bench.out.iter().any(|output| matches!(output, Output::Forget { .. })));
    bench.fact(Input::AddRequested { request: 2, rule: rule("c") });
    bench.fail_next(Failure::Refused("no".into()));
    assert_eq!(bench.out.pop_back(), Some(Output::Forget { child: "c".into() }));
}

/// With a hundred thousand of them this test takes as many times longer as there are more.
#[test]
fn no_fact_costs_more_the_more_children_there_are() {
    const MANY: u64 = 20_000;
    let intensity = RestartIntensity { max_restarts: u32::MAX, within: Duration::from_secs(5) };
    let settings = Settings { strategy: Strategy::SimpleOneForOne, intensity, ..settings(Scope::Local) };
    let mut bench = Bench::running_with(settings, Vec::new());
    let id = |n: u64| format!("child_{n}");
    for n in 0..MANY {
        bench.fact(Input::AddRequested { request: n, rule: rule(&id(n)) });
        bench.start_or_stop();
        bench.out.clear();
    }
    // In an order that has nothing to do with theirs; every third fails to start at first.
    for n in 0..MANY {
        bench.exit(&id(n * 7919 % MANY), crash());
        if n % 3 == 0 {
            bench.fail_next(Failure::Refused("no".into()));
            assert!(bench.machine.deadline().is_some());
        } else {
            bench.start_or_stop();
        }
        assert!(!bench.machine.is_starting());
        bench.out.clear();
    }
    bench.after(Duration::from_millis(100));
    bench.obey();
    assert_eq!(bench.machine.totals().restarts, MANY);
    for n in 0..MANY / 2 {
        bench.fact(Input::TerminateRequested { request: n, child: id(n) });
        bench.start_or_stop();
        bench.out.clear();
    }
    assert_eq!(bench.machine.children.walked(), 0, "nobody was looked for by looking at everybody");
    bench.fact(Input::StopRequested { reason: ExitReason::Shutdown });
    bench.obey();
    assert!(bench.ended().is_some());
    assert_eq!(bench.machine.children.walked(), MANY / 2, "once, to tell them all");
}
