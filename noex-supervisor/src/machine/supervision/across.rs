//! What strategies make of nodes that are lost or leave, and of instances that somebody else started.

use std::time::Duration;

use noex_actors::ExitReason;

use super::{
    bench::{Bench, crash, node, pid, rule, settings},
    *,
};
use crate::options::{Restart, RestartIntensity, Strategy};

fn setup(strategy: Strategy, max_restarts: u32) -> Settings {
    let intensity = RestartIntensity { max_restarts, within: Duration::from_secs(3600) };
    Settings { strategy, intensity, ..settings(Scope::Cluster) }
}

/// Running children, each on the node after the colon.
fn placed(strategy: Strategy, max_restarts: u32, children: &[&str]) -> Bench {
    let places: Vec<(&str, &str)> = children.iter().filter_map(|child| child.split_once(':')).collect();
    let rules = places.iter().map(|(id, _)| rule(id)).collect();
    let mut bench = Bench::with(setup(strategy, max_restarts), rules);
    bench.fact(Input::Begun { found: Vec::new() });
    for (_, on) in places {
        bench.start_next(on).expect("a start");
    }
    bench.out.clear();
    bench
}

fn found(child: &str, generation: Generation, on: &str, number: u64) -> Found {
    Found { child: child.into(), generation, owner: None, pid: pid(on, number) }
}

fn told(on: &str, found: Vec<Found>) -> Input {
    Input::InstancesTold { node: node(on), purpose: Purpose::Reconcile, found }
}

/// An instance is found that another supervisor started.
fn doubt(bench: &mut Bench) {
    bench.fact(told("z", vec![found("d", Generation::new(5000, 1), "z", 90)]));
}

fn lost(on: &str) -> Input {
    Input::NodeLost { node: node(on), loss: Loss::Crash }
}

fn generations(bench: &Bench) -> Vec<Generation> {
    bench.machine.children().map(|child| child.generation).collect()
}

#[test]
fn a_node_lost_in_a_round_takes_along_who_was_to_be_stopped_there_and_counts_for_who_was_not() {
    // b is the cause; a and c are to be stopped, and c is being stopped when its node goes: nothing more to count.
    let mut bench = placed(Strategy::OneForAll, 1, &["a:x", "b:x", "c:y"]);
    bench.exit("b", crash());
    assert_eq!(bench.stops(), [("c".to_owned(), Stop::Ask)]);
    bench.fact(lost("y"));
    assert_eq!(bench.obey(), "-a +a +b +c");
    assert_eq!(bench.machine.counted(), 1);
    assert_eq!(bench.machine.totals(), Totals { restarts: 1, node_failure_restarts: 0, failovers: 0 });

    // a was started again, on the node that is lost while b starts: that is another cause.
    let mut bench = placed(Strategy::OneForAll, 2, &["a:x", "b:x"]);
    bench.exit("b", crash());
    for step in ["-a", "+a"] {
        assert_eq!(bench.start_or_stop().as_deref(), Some(step));
    }
    bench.fact(lost("a"));
    assert_eq!(bench.obey(), "+b -b +a +b");
    assert_eq!(bench.machine.counted(), 2);
    assert_eq!(bench.alive(), "ab");
}

#[test]
fn a_start_of_a_round_that_reaches_a_lost_node_is_made_elsewhere_and_not_counted() {
    let mut bench = placed(Strategy::RestForOne, 1, &["a:x", "b:y"]);
    bench.exit("a", crash());
    assert_eq!(bench.start_or_stop().as_deref(), Some("-b"));
    assert_eq!(bench.fail_next(Failure::NodeGone), "a");
    assert_eq!(bench.obey(), "+a +b");
    assert_eq!(bench.machine.counted(), 1);
}

#[test]
fn a_second_node_lost_while_its_children_are_on_their_way_out_anyway_counts_nothing() {
    let mut bench = placed(Strategy::OneForAll, 1, &["a:x", "b:y", "c:z"]);
    bench.fact(lost("x"));
    bench.fact(lost("y"));
    assert_eq!(bench.obey(), "-c +a +b +c");
    assert_eq!(bench.machine.counted(), 1);
    // Whom the first loss does not concern is another cause.
    let mut bench = placed(Strategy::RestForOne, 2, &["a:x", "b:y", "c:z"]);
    bench.fact(lost("y"));
    bench.fact(lost("x"));
    assert_eq!(bench.obey(), "-c +a +b +c");
    assert_eq!(bench.machine.counted(), 2);
}

#[test]
fn a_lost_temporary_child_concerns_nobody() {
    let rules = vec![rule("a"), Rule { restart: Restart::Temporary, ..rule("b") }];
    let mut bench = Bench::with(setup(Strategy::OneForAll, 0), rules);
    bench.fact(Input::Begun { found: Vec::new() });
    for on in ["x", "y"] {
        bench.start_next(on);
    }
    bench.fact(lost("y"));
    assert_eq!((bench.obey().as_str(), bench.alive().as_str()), ("", "a"));
}

#[test]
fn a_migration_concerns_no_siblings() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let mut bench = placed(strategy, 0, &["a:x", "b:y", "c:z"]);
        bench.fact(Input::NodeDraining { node: node("x") });
        assert_eq!(bench.obey(), "-a +a");
        // One that was not fast enough is lost with the goodbye, or ended by its node before it was asked.
        bench.fact(Input::NodeLost { node: node("y"), loss: Loss::Goodbye });
        assert_eq!(bench.obey(), "+b");
        bench.fact(Input::NodeDraining { node: node("z") });
        bench.stops();
        bench.exit("c", ExitReason::Shutdown);
        assert_eq!(bench.obey(), "+c");
        assert_eq!((bench.alive().as_str(), bench.machine.counted()), ("abc", 0), "{strategy}");
    }
}

#[test]
fn what_a_round_stops_on_a_leaving_node_waits_for_its_turn_to_start() {
    let mut bench = placed(Strategy::OneForAll, 1, &["a:x", "b:x", "c:y"]);
    bench.exit("c", crash());
    assert_eq!(bench.stops(), [("b".to_owned(), Stop::Ask)]);
    bench.fact(Input::NodeDraining { node: node("x") });
    bench.exit("b", ExitReason::Shutdown);
    assert_eq!(bench.obey(), "-a +a +b +c");
    assert_eq!(bench.machine.counted(), 1);
}

#[test]
fn a_child_on_its_move_that_a_round_concerns_is_started_in_its_turn() {
    let mut bench = placed(Strategy::OneForAll, 1, &["a:x", "b:y", "c:y"]);
    bench.fact(Input::NodeDraining { node: node("x") });
    assert_eq!(bench.stops(), [("a".to_owned(), Stop::Ask)]);
    bench.exit("b", crash());
    assert_eq!(bench.start_or_stop().as_deref(), Some("-c"));
    assert_eq!(bench.start_or_stop(), None, "a is on its way out already");
    bench.exit("a", ExitReason::Shutdown);
    assert_eq!(bench.obey(), "+a +b +c");
}

/// A supervisor that begins and finds these instances, each of a higher generation than the one before. `?`: temporary.
fn left(strategy: Strategy, rules: &[&str], left: &[&str]) -> Bench {
    let rules = rules.iter().map(|id| match id.strip_suffix('?') {
        Some(id) => Rule { restart: Restart::Temporary, ..rule(id) },
        None => rule(id),
    });
    let mut bench = Bench::with(setup(strategy, 0), rules.collect());
    let generation = |n: usize| Generation::new(2000, n as u64);
    let found = left.iter().enumerate().map(|(n, id)| found(id, generation(n), "x", n as u64 + 100));
    bench.fact(Input::Begun { found: found.collect() });
    bench
}

#[test]
fn children_that_are_all_there_are_taken_over_under_every_strategy_that_can() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        let mut bench = left(strategy, &["a", "b", "c"], &["c", "a", "b"]);
        assert!(bench.has(&Output::Ready));
        assert_eq!((bench.obey().as_str(), bench.alive().as_str()), ("", "abc"), "{strategy}");
    }
}

#[test]
fn whom_a_missing_child_concerns_is_stopped_and_started_in_order_with_it() {
    for (strategy, there, expected) in [
        (Strategy::OneForOne, &["a", "c"], "+b"),
        (Strategy::OneForAll, &["a", "c"], "-c -a +a +b +c"),
        (Strategy::RestForOne, &["a", "c"], "-c +b +c"),
        (Strategy::RestForOne, &["b", "c"], "-c -b +a +b +c"),
        (Strategy::RestForOne, &["a", "b"], "+c"),
    ] {
        let mut bench = left(strategy, &["a", "b", "c"], there);
        assert_eq!(bench.obey(), expected, "{strategy} {there:?}");
        assert!(bench.has(&Output::Ready));
        assert_eq!(bench.machine.counted(), 0, "a start counts nothing");
        assert_eq!(bench.machine.totals(), Totals::default());
        let started = |report: &&Report| matches!(report, Report::Started { .. });
        assert_eq!(bench.reports().iter().filter(started).count(), expected.matches('+').count());
    }
}

#[test]
fn a_missing_temporary_child_concerns_nobody_and_is_started() {
    let mut bench = left(Strategy::OneForAll, &["a", "b?", "c"], &["a", "c"]);
    assert_eq!(bench.obey(), "+b");
    // One crashes meanwhile: d, which was there, starts behind c, which was not. b was a temporary sibling.
    let mut bench = left(Strategy::OneForAll, &["a", "b?", "c?", "d"], &["a", "d"]);
    bench.machine.intensity = Intensity::new(setup(Strategy::OneForAll, 1).intensity);
    bench.exit("a", crash());
    assert_eq!(bench.obey(), "+b -d -b +a +c +d");
    assert!(bench.has(&Output::Ready));
}

#[test]
fn a_child_that_ends_while_it_is_stopped_for_a_missing_one_is_no_cause() {
    let mut bench = left(Strategy::OneForAll, &["a", "b", "c"], &["a", "c"]);
    assert_eq!(bench.stops(), [("c".to_owned(), Stop::Ask)]);
    bench.exit("a", crash());
    bench.exit("c", crash());
    assert_eq!(bench.obey(), "+a +b +c");
    assert_eq!(bench.machine.counted(), 0);
}

#[test]
fn of_two_instances_that_were_left_the_lower_is_stopped_whatever_the_strategy() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        let mut bench = left(strategy, &["a", "b"], &["a", "b", "a"]);
        assert_eq!(bench.stops(), [("a".to_owned(), Stop::Ask)], "{strategy}");
        assert_eq!(bench.pid_of("a"), pid("x", 102));
        assert!(bench.next_start().is_none());
    }
}

#[test]
fn a_lower_duplicate_is_stopped_and_concerns_nobody() {
    for strategy in Strategy::ALL.iter().copied() {
        let mut bench = placed(strategy, 0, &["a:x", "b:y"]);
        let lower = found("b", Generation(generations(&bench)[1].0 - 1), "z", 50);
        bench.fact(told("z", vec![lower]));
        assert_eq!(bench.obey(), "-b", "{strategy}");
        assert!(bench.reports().iter().any(|report| matches!(report, Report::DuplicateStopped { .. })));
        assert_eq!((bench.alive().as_str(), bench.machine.counted()), ("ab", 0));
    }
}

#[test]
fn a_higher_duplicate_is_taken_over_or_exceeded_by_the_strategys_rule() {
    for (strategy, expected, alive_there) in [
        (Strategy::OneForOne, "-b", true),
        (Strategy::OneForAll, "-b -c -b -a +a +b +c", false),
        (Strategy::RestForOne, "-b -c -b +b +c", false),
        (Strategy::SimpleOneForOne, "-b -b +b", false),
    ] {
        let mut bench = placed(strategy, 0, &["a:x", "b:y", "c:z"]);
        let higher = found("b", Generation(generations(&bench)[1].0 + 7), "z", 50);
        bench.fact(told("z", vec![higher.clone()]));
        assert_eq!(bench.obey(), expected, "{strategy}");
        let child = bench.machine.child("b").unwrap();
        assert_eq!(child.pid() == Some(&higher.pid), alive_there, "{strategy}");
        assert!(child.generation >= higher.generation, "{strategy}: higher generations win");
        assert_eq!((bench.alive().as_str(), bench.machine.counted()), ("abc", 0), "{strategy}");
    }
}

#[test]
fn an_instance_that_comes_back_during_or_after_its_round_does_not_join_the_new_ones() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let mut bench = placed(strategy, 1, &["a:x", "b:y"]);
        let old = found("a", generations(&bench)[0], "x", 1);
        bench.fact(lost("x"));
        assert_eq!(bench.stops(), [("b".to_owned(), Stop::Ask)]);
        bench.fact(told("x", vec![old.clone()]));
        assert_eq!(bench.stops(), [("a".to_owned(), Stop::Ask)], "it is a duplicate by now");
        bench.exit("b", ExitReason::Shutdown);
        assert_eq!(bench.obey(), "+a +b");
        assert!(generations(&bench).iter().all(|generation| *generation > old.generation));
    }
    // One that waits for its node: the others run again, and do not know it.
    let mut bench = placed(Strategy::OneForAll, 1, &["a:x", "b:y"]);
    let old = found("a", generations(&bench)[0], "x", 1);
    bench.fact(lost("x"));
    assert_eq!(bench.start_or_stop().as_deref(), Some("-b"));
    assert_eq!(bench.fail_next(Failure::NoNode), "a");
    assert_eq!(bench.obey(), "+b");
    bench.fact(told("x", vec![old]));
    bench.fact(Input::NodeAvailable);
    assert_eq!(bench.obey(), "-a +a");
    assert_eq!(bench.machine.counted(), 1);
}

#[test]
fn in_doubt_about_its_name_a_round_stands_still_and_goes_on_when_it_is_sure() {
    let mut bench = placed(Strategy::OneForAll, 5, &["a:x", "b:y", "c:z"]);
    bench.exit("b", crash());
    assert_eq!(bench.stops(), [("c".to_owned(), Stop::Ask)]);
    doubt(&mut bench);
    bench.exit("c", ExitReason::Shutdown);
    assert_eq!(bench.obey(), "", "somebody else may have them");
    assert_eq!(bench.machine.deadline(), None);
    bench.fact(Input::Begun { found: Vec::new() });
    assert_eq!(bench.obey(), "-a +a +b +c");
    assert_eq!(bench.machine.counted(), 1);
}

#[test]
fn what_ends_while_it_is_in_doubt_concerns_siblings_when_it_is_sure() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let expected = if strategy == Strategy::OneForAll { "-c -a +a +b +c" } else { "-c +b +c" };
        for by_loss in [false, true] {
            let mut bench = placed(strategy, 5, &["a:x", "b:y", "c:z"]);
            doubt(&mut bench);
            if by_loss {
                bench.fact(lost("y"));
            } else {
                bench.exit("b", crash());
            }
            assert_eq!(bench.obey(), "");
            bench.fact(Input::Begun { found: Vec::new() });
            assert_eq!(bench.obey(), expected, "{strategy}, by loss: {by_loss}");
            assert_eq!(bench.machine.counted(), 0, "not its to count, as long as it does not know");
        }
    }
}

#[test]
fn instances_of_a_rival_that_is_gone_are_exceeded_when_it_is_sure() {
    let mut bench = placed(Strategy::OneForAll, 0, &["a:x", "b:y"]);
    let theirs = found("b", Generation::new(5000, 3), "z", 50);
    bench.fact(told("z", vec![theirs.clone()]));
    assert!(bench.has(&Output::DoubtName));
    assert_eq!(bench.obey(), "");
    bench.fact(Input::Begun { found: vec![theirs.clone()] });
    assert_eq!(bench.obey(), "-b -b -a +a +b");
    assert!(generations(&bench).iter().all(|generation| *generation > theirs.generation));
}

#[test]
fn children_of_a_template_that_were_left_are_stopped_and_later_ones_outrank_them() {
    let mut bench = left(Strategy::SimpleOneForOne, &[], &["child_1", "child_2"]);
    assert_eq!(bench.obey(), "-child_2 -child_1");
    assert!(bench.has(&Output::Ready));
    bench.fact(Input::AddRequested { request: 1, rule: rule("child_3") });
    assert_eq!(bench.obey(), "+child_3");
    assert!(generations(&bench)[0] > Generation::new(2000, 2));
}

#[test]
fn a_child_that_is_asked_for_before_it_is_known_what_was_left_starts_last() {
    let mut bench = Bench::with(setup(Strategy::OneForAll, 0), ["a", "b"].map(rule).into());
    bench.fact(Input::AddRequested { request: 1, rule: rule("c") });
    assert!(bench.out.is_empty());
    bench.fact(Input::Begun { found: vec![found("a", Generation::new(3000, 4), "x", 1)] });
    assert_eq!(bench.obey(), "-a +a +b +c");
    assert!(generations(&bench).iter().all(|generation| *generation > Generation::new(3000, 4)));
    let pid = bench.pid_of("c");
    assert!(bench.has(&Output::Reply { request: 1, answer: Answer::Started { pid } }));
}

#[test]
fn a_child_that_waited_for_its_node_since_the_start_may_fail_to_start_like_any_other() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll] {
        let rules = vec![Rule { pinned: true, ..rule("a") }, rule("b")];
        let mut bench = Bench::with(setup(strategy, 5), rules);
        bench.fact(Input::Begun { found: Vec::new() });
        bench.fail_next(Failure::NoNode);
        assert_eq!(bench.obey(), "+b");
        bench.fact(Input::NodeAvailable);
        bench.fail_next(Failure::Refused("no".into()));
        bench.after(Duration::from_secs(1));
        assert_eq!(bench.obey(), "+a", "{strategy}");
        assert_eq!(bench.alive(), "ab");
        assert_eq!(bench.machine.counted(), 1);
    }
}
