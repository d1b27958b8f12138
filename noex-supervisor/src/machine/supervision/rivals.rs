//! What a supervisor leaves alone because another one of its name has it, or may have it.

use std::time::Duration;

use noex_actors::ExitReason;

use super::{
    bench::{Bench, crash, node, pid, rule, settings},
    *,
};
use crate::options::{AutoShutdown, PartitionDecision, PartitionView, Restart, Strategy};

fn found(child: &str, generation: Generation, number: u64) -> Found {
    Found { child: child.into(), generation, owner: None, pid: pid("b", number) }
}

fn told(found: Vec<Found>) -> Input {
    Input::InstancesTold { node: node("b"), purpose: Purpose::Reconcile, found }
}

/// Of the supervisor that came after, and before.
fn later(n: u64) -> Generation {
    Generation::new(1007, n)
}

fn earlier(n: u64) -> Generation {
    Generation::new(999, n)
}

fn hand_over(bench: &mut Bench, keep: &[&str]) {
    let keep = keep.iter().map(|id| (*id).to_owned()).collect();
    bench.fact(Input::HandedOver { keep, reason: ExitReason::Error("name_lost".into()) });
}

#[test]
fn once_it_handed_over_it_stops_nothing_that_a_node_tells_of() {
    for keep in [&["x", "y"][..], &["x"], &[]] {
        let mut bench = Bench::running(Scope::Cluster, vec![rule("x"), rule("y")]);
        bench.fact(Input::Superseded);
        hand_over(&mut bench, keep);
        bench.stops();
        // The question was asked before. The other one has these children now, and others.
        bench.fact(told(vec![
            found("x", earlier(1), 50),
            found("y", later(2), 51),
            found("z", later(3), 52),
        ]));
        assert_eq!(bench.stops(), [], "left to the other: {keep:?}");
    }
}

#[test]
fn what_is_found_a_second_time_on_its_way_out_is_told_of_although_the_second_watch_comes_late() {
    for again in [false, true] {
        let mut bench = Bench::running(Scope::Cluster, vec![rule("x")]);
        let lower = || told(vec![found("x", earlier(1), 50)]);
        bench.fact(lower());
        if again {
            bench.fact(lower());
        }
        let reason = ExitReason::NoProc;
        bench.fact(Input::ChildExited { child: "x".into(), pid: pid("b", 50), reason });
        let stopped = |report: &Report| matches!(report, Report::DuplicateStopped { .. });
        assert_eq!(bench.reports().iter().any(stopped), again, "dead when it was found, it was none");
    }
}

#[test]
fn what_it_told_to_go_before_it_handed_over_is_waited_for_a_moment_and_told_of_but_never_killed() {
    for stubborn in [false, true] {
        let mut bench = Bench::running(Scope::Cluster, vec![rule("x")]);
        bench.fact(told(vec![found("x", earlier(1), 50)]));
        assert_eq!(bench.stops(), [("x".to_owned(), Stop::Ask)]);
        bench.fact(Input::Superseded);
        bench.after(Duration::from_millis(100));
        hand_over(&mut bench, &["x"]);
        assert!(bench.ended().is_none());
        if stubborn {
            bench.after(Duration::from_millis(249));
            assert!(bench.ended().is_none());
            bench.after(Duration::from_millis(1));
        } else {
            let reason = policy::superseded();
            bench.fact(Input::ChildExited { child: "x".into(), pid: pid("b", 50), reason });
        }
        assert!(matches!(bench.ended(), Some(Ending::Stopped(_))));
        assert_eq!(bench.stops(), [], "another supervisor may have it");
        let told = |report: &Report| matches!(report, Report::DuplicateStopped { .. });
        assert_eq!(bench.reports().iter().any(told), !stubborn);
    }
}

#[test]
fn once_it_ended_it_stops_nothing_that_a_node_tells_of() {
    let mut bench = Bench::running(Scope::Cluster, vec![rule("x")]);
    bench.fact(Input::StopRequested { reason: ExitReason::Shutdown });
    bench.fact(told(vec![found("x", later(1), 50)]));
    assert_eq!(bench.stops(), [("x".to_owned(), Stop::Ask)], "its own, not that of a later supervisor");
    bench.exit("x", ExitReason::Shutdown);
    assert!(bench.ended().is_some());
    bench.fact(told(vec![found("x", earlier(1), 51)]));
    assert_eq!(bench.stops(), []);
}

#[test]
fn one_in_doubt_about_its_name_stops_no_duplicates_until_it_is_sure() {
    let mut bench = Bench::running(Scope::Cluster, vec![rule("x"), rule("y")]);
    let all = vec![found("x", earlier(1), 50), found("gone", earlier(2), 51), found("y", later(1), 52)];
    bench.fact(told(all.clone()));
    assert!(bench.has(&Output::DoubtName));
    assert_eq!(bench.stops(), [], "the order in the answer says nothing");
    bench.fact(told(all.clone()));
    let old = bench.pid_of("x");
    bench.fact(Input::StartSucceeded { child: "x".into(), generation: earlier(3), pid: pid("b", 53) });
    assert_eq!(bench.stops(), []);
    bench.fact(Input::Begun { found: all });
    let mut stops: Vec<String> = bench.stops().into_iter().map(|(child, _)| child).collect();
    stops.sort();
    assert_eq!(stops, ["gone", "x", "y"], "now it is");
    assert_eq!(bench.pid_of("x"), old);
}

#[test]
fn a_start_in_flight_when_it_hands_over_is_waited_for_and_left_alone() {
    let mut bench = Bench::running(Scope::Cluster, vec![rule("x"), rule("y")]);
    bench.exit("x", crash());
    bench.exit("y", crash());
    let (x, y) = (bench.next_start().unwrap(), bench.next_start().unwrap());
    bench.fact(Input::Superseded);
    hand_over(&mut bench, &["x"]);
    assert!(bench.ended().is_none());
    bench.fact(Input::StartSucceeded { child: x.0, generation: x.1, pid: pid("a", 50) });
    bench.fact(Input::StartSucceeded { child: y.0, generation: y.1, pid: pid("a", 51) });
    assert_eq!(bench.stops(), [("y".to_owned(), Stop::Ask)], "which the other does not have");
    bench.exit("y", ExitReason::Shutdown);
    assert!(matches!(bench.ended(), Some(Ending::Stopped(_))));
}

#[test]
fn one_that_is_stopped_after_it_lost_its_name_leaves_its_children_to_the_other() {
    let mut bench = Bench::running(Scope::Cluster, vec![rule("x"), rule("y")]);
    bench.fact(Input::Superseded);
    bench.fact(Input::StopRequested { reason: ExitReason::Shutdown });
    assert_eq!(bench.stops(), []);
    assert_eq!(bench.ended(), Some(&Ending::Stopped(ExitReason::Shutdown)));
    // Children of a template are nobody else's.
    let settings = Settings { strategy: Strategy::SimpleOneForOne, ..settings(Scope::Cluster) };
    let mut bench = Bench::running_with(settings, Vec::new());
    bench.fact(Input::AddRequested { request: 1, rule: rule("x") });
    bench.start_next("a").unwrap();
    bench.fact(Input::Superseded);
    bench.fact(Input::StopRequested { reason: ExitReason::Shutdown });
    assert_eq!(bench.stops(), [("x".to_owned(), Stop::Ask)]);
}

#[test]
fn a_first_start_that_fails_while_another_may_have_the_name_ends_nothing() {
    for failure in [Failure::NoNode, Failure::Refused("no".into())] {
        let mut bench = Bench::of(Scope::Cluster, vec![rule("x"), rule("y")]);
        bench.fact(Input::Begun { found: vec![found("x", earlier(1), 50)] });
        let later = found("x", later(1), 51);
        bench.fact(told(vec![later.clone()]));
        assert_eq!(bench.fail_next(failure.clone()), "y");
        assert!(bench.stops().is_empty() && bench.ended().is_none(), "{failure:?}");
        bench.fact(Input::Begun { found: vec![later] });
        assert_eq!(bench.start_next("a").unwrap().0, "y", "it is sure now");
        assert!(bench.has(&Output::Ready));
    }
}

#[test]
fn the_end_of_a_significant_child_ends_the_supervisor_only_once_it_is_sure_of_its_name() {
    let significant = || Rule { significant: true, restart: Restart::Transient, ..rule("x") };
    let settings = Settings { auto_shutdown: AutoShutdown::AnySignificant, ..settings(Scope::Cluster) };
    let mut bench = Bench::running_with(settings, vec![significant(), rule("y")]);
    bench.fact(told(vec![found("y", later(1), 50)]));
    bench.exit("x", ExitReason::Normal);
    assert!(bench.stops().is_empty() && bench.ended().is_none());
    bench.fact(Input::Begun { found: Vec::new() });
    assert_eq!(bench.stops(), [("y".to_owned(), Stop::Ask)]);
    bench.exit("y", ExitReason::Shutdown);
    assert_eq!(bench.ended(), Some(&Ending::AutoShutdown { child: "x".into() }));
}

#[test]
fn what_a_rival_stops_is_started_again_once_it_is_sure_and_counts_nothing() {
    let transient = || Rule { restart: Restart::Transient, ..rule("x") };
    let mut bench = Bench::running(Scope::Cluster, vec![transient(), rule("y")]);
    for _ in 0..10 {
        bench.exit("x", policy::superseded());
        assert!(bench.has(&Output::DoubtName));
        bench.exit("y", policy::superseded());
        assert_eq!(bench.obey(), "", "another one may have both");
        assert_eq!(bench.machine.deadline(), None);
        bench.after(Duration::from_secs(1));
        bench.fact(Input::Begun { found: Vec::new() });
        assert_eq!(bench.start_next("a").unwrap().0, "x", "nobody said that it is to end");
        bench.after(Duration::from_secs(1));
        assert_eq!(bench.start_next("a").unwrap().0, "y");
        bench.out.clear();
    }
    assert_eq!((bench.machine.counted(), bench.alive().as_str()), (0, "xy"));
    // On one node nobody else has children of this supervisor.
    let mut bench = Bench::running(Scope::Local, vec![rule("x")]);
    bench.exit("x", policy::superseded());
    assert!(!bench.has(&Output::DoubtName));
    assert_eq!((bench.machine.counted(), bench.obey().as_str()), (1, "+x"));
}

#[test]
fn what_a_rival_stops_concerns_siblings_by_the_strategys_rule_once_it_is_sure() {
    for (strategy, expected) in [
        (Strategy::OneForAll, "-z -x +x +y +z"),
        (Strategy::RestForOne, "-z +y +z"),
        (Strategy::OneForOne, "+y"),
    ] {
        let settings = Settings { strategy, ..settings(Scope::Cluster) };
        let mut bench = Bench::running_with(settings, vec![rule("x"), rule("y"), rule("z")]);
        bench.exit("y", policy::superseded());
        assert_eq!(bench.obey(), "", "{strategy}");
        bench.fact(Input::Begun { found: Vec::new() });
        assert_eq!(bench.obey(), expected, "{strategy}");
        assert_eq!((bench.machine.counted(), bench.alive().as_str()), (0, "xyz"));
        // In a round that is on its way: it stands still, and goes on.
        bench.exit("y", crash());
        bench.exit("x", policy::superseded());
        assert_eq!(bench.obey(), if strategy == Strategy::OneForOne { "+y" } else { "-z" }, "on its way");
        bench.after(Duration::from_secs(1));
        bench.fact(Input::Begun { found: Vec::new() });
        bench.obey();
        assert_eq!((bench.machine.counted(), bench.alive().as_str()), (1, "xyz"), "{strategy}");
        assert_eq!(bench.machine.deadline(), None, "{strategy}");
    }
}

#[test]
fn a_rival_that_is_faster_than_its_own_stop_is_noticed() {
    for request in [true, false] {
        let mut bench = Bench::running(Scope::Cluster, vec![rule("x")]);
        if request {
            bench.fact(Input::RestartRequested { request: 7, child: "x".into() });
        } else {
            bench.fact(Input::NodeDraining { node: node("a") });
        }
        assert_eq!(bench.stops(), [("x".to_owned(), Stop::Ask)]);
        bench.exit("x", policy::superseded());
        assert!(bench.has(&Output::DoubtName));
        assert_eq!(bench.obey(), "");
        bench.fact(Input::Begun { found: Vec::new() });
        assert_eq!(bench.start_next("b").unwrap().0, "x");
        assert_eq!((bench.obey().as_str(), bench.machine.counted()), ("", 0));
    }
}

#[test]
fn what_a_rival_stopped_is_left_to_it_when_it_has_the_name() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        let settings = Settings { strategy, ..settings(Scope::Cluster) };
        let mut bench = Bench::running_with(settings, vec![rule("x"), rule("y")]);
        bench.exit("x", policy::superseded());
        assert!(bench.has(&Output::DoubtName));
        bench.fact(Input::Superseded);
        bench.out.clear();
        bench.exit("y", policy::superseded());
        assert!(!bench.has(&Output::DoubtName), "it knows");
        hand_over(&mut bench, &["x", "y"]);
        assert_eq!(bench.obey(), "", "{strategy}");
        assert!(matches!(bench.ended(), Some(Ending::Stopped(_))));
    }
}

#[test]
fn an_answer_to_what_it_asked_in_doubt_changes_nothing_once_another_one_has_the_name() {
    let mut bench = Bench::running(Scope::Cluster, vec![rule("x"), rule("y")]);
    bench.exit("x", policy::superseded());
    bench.fact(Input::Superseded);
    bench.fact(Input::Begun { found: vec![found("y", earlier(1), 50)] });
    bench.after(Duration::from_secs(1));
    assert_eq!(bench.obey(), "", "the winner's");
    hand_over(&mut bench, &["x", "y"]);
    assert!(matches!(bench.ended(), Some(Ending::Stopped(_))));
}

#[test]
fn a_temporary_child_that_a_rival_stops_is_over_and_what_it_tells_is_heard() {
    let temporary = Rule { restart: Restart::Temporary, ..rule("x") };
    let mut bench = Bench::running(Scope::Cluster, vec![temporary, rule("y")]);
    bench.exit("x", policy::superseded());
    assert!(bench.has(&Output::DoubtName));
    bench.exit("y", crash());
    bench.fact(Input::Begun { found: Vec::new() });
    assert_eq!((bench.obey().as_str(), bench.alive().as_str()), ("+y", "y"));
}

#[test]
fn what_was_told_to_go_is_never_taken_over() {
    let mut bench = Bench::running(Scope::Cluster, vec![rule("x")]);
    bench.exit("x", crash());
    let told = |instance: &Found| Input::InstancesTold {
        node: node("b"),
        purpose: Purpose::Reconcile,
        found: vec![instance.clone()],
    };
    // While a start is in flight, and then none: nobody can be started anywhere.
    let (child, generation) = bench.next_start().unwrap();
    let late = Found { child, generation, owner: None, pid: pid("b", 50) };
    bench.fail_if_started("x");
    bench.after(Duration::from_secs(1));
    let (child, generation) = bench.next_start().unwrap();
    bench.fact(told(&late));
    assert_eq!(bench.stops(), [("x".to_owned(), Stop::Ask)]);
    bench.fact(Input::StartFailed { child, generation, node: None, failure: Failure::NoNode });
    bench.fact(told(&late));
    assert_eq!(bench.stops(), [("x".to_owned(), Stop::Kill)], "not its own, although it has none");
    bench.fact(Input::ChildExited { child: "x".into(), pid: late.pid, reason: ExitReason::Killed });
    assert_eq!(bench.machine.counted(), 2, "its end is no cause");
    bench.fact(Input::NodeAvailable);
    assert_eq!(bench.start_next("a").unwrap().0, "x");
}

#[test]
fn what_it_stopped_before_it_was_out_of_reach_it_stops_again_only_once_it_is_sure_and_nobody_counts_that() {
    let mut bench = Bench::running(Scope::Cluster, vec![rule("x"), rule("y")]);
    let both: Vec<Found> = bench
        .machine
        .children()
        .map(|child| Found {
            child: child.rule.id.clone(),
            generation: child.generation,
            owner: None,
            pid: child.pid().cloned().unwrap(),
        })
        .collect();
    let on = both[0].pid.node_id().clone();
    let view = PartitionView { reachable: vec![on.clone()], lost: vec![node("c")], largest: 3 };
    bench.fact(Input::Standing { decision: PartitionDecision::StopChildren, view });
    let stops = [("y".to_owned(), Stop::Ask), ("x".to_owned(), Stop::Ask)];
    assert_eq!(bench.stops(), stops);
    // In truth that node was out of reach, too: another supervisor took over what it never stopped.
    bench.fact(Input::NodeSuspected { node: on.clone() });
    let told = |more: &[Found]| Input::InstancesTold {
        node: on.clone(),
        purpose: Purpose::Readopt,
        found: [&both[..], more].concat(),
    };
    bench.fact(told(&[found("y", later(1), 50)]));
    assert!(bench.has(&Output::DoubtName));
    assert_eq!(bench.stops(), [], "they may be another's by now");
    bench.fact(Input::Begun { found: both.clone() });
    let is_stopped = |output: &Output| match output {
        Output::Stop { child, cause, .. } => Some((child.clone(), cause.reason())),
        _ => None,
    };
    let mut stopped: Vec<_> = bench.out.iter().filter_map(is_stopped).collect();
    stopped.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(stopped, ["x", "y"].map(|child| (child.to_owned(), policy::superseded())));
    // By its own word: that is nobody else's.
    bench.out.clear();
    bench.fact(Input::Standing {
        decision: PartitionDecision::Failover,
        view: PartitionView { reachable: vec![on], lost: Vec::new(), largest: 3 },
    });
    bench.exit("x", policy::superseded());
    assert!(!bench.has(&Output::DoubtName));
    assert_eq!(bench.start_next("a").unwrap().0, "x");
    // Of the next instance it would be.
    bench.exit("x", policy::superseded());
    assert!(bench.has(&Output::DoubtName));
}

#[test]
fn the_first_start_is_above_every_term_that_a_node_has_heard_of() {
    for (seen, first) in [(999, 1000), (1000, 1001), (5000, 5001)] {
        let mut bench = Bench::of(Scope::Cluster, vec![rule("x")]);
        bench.fact(Input::Seen { term: seen });
        assert!(!bench.has(&Output::DoubtName), "it has not begun");
        bench.fact(Input::Begun { found: vec![found("old", earlier(1), 50)] });
        assert_eq!(bench.start_next("b").unwrap().1, Generation::new(first, 1));
    }
}

#[test]
fn a_later_term_that_a_node_has_heard_of_is_a_sign_of_another_supervisor_and_is_exceeded() {
    let mut bench = Bench::running(Scope::Cluster, vec![rule("x")]);
    bench.fact(Input::Seen { term: 1000 });
    assert!(!bench.has(&Output::DoubtName), "its own");
    bench.fact(Input::Seen { term: 1007 });
    assert!(bench.has(&Output::DoubtName));
    bench.exit("x", crash());
    assert!(bench.next_start().is_none());
    bench.fact(Input::Begun { found: Vec::new() });
    assert_eq!(bench.start_next("b").unwrap().1, Generation::new(1008, 1));
    bench.out.clear();
    bench.fact(Input::Seen { term: 1008 });
    assert!(!bench.has(&Output::DoubtName), "its own again");
}

#[test]
fn what_is_to_be_restarted_after_a_standstill_is_when_it_is_sure_or_given_up_when_it_is_beaten() {
    for beaten in [false, true] {
        let mut bench = Bench::running(Scope::Cluster, vec![rule("x"), rule("y")]);
        let answered = |bench: &Bench, request: u64| {
            bench.out.iter().find_map(|output| match output {
                Output::Reply { request: found, answer } if *found == request => Some(answer.clone()),
                _ => None,
            })
        };
        bench.fact(Input::StoodStill);
        bench.fact(Input::RestartRequested { request: 1, child: "x".into() });
        bench.exit("y", crash());
        bench.fact(Input::RestartRequested { request: 2, child: "y".into() });
        bench.fact(Input::RestartRequested { request: 3, child: "nobody".into() });
        assert_eq!(bench.obey(), "", "somebody else may have them");
        assert_eq!(answered(&bench, 3), Some(Answer::NotFound));
        assert_eq!((answered(&bench, 1), answered(&bench, 2)), (None, None));
        if beaten {
            bench.fact(Input::Superseded);
            hand_over(&mut bench, &["x"]);
            for request in [1, 2] {
                assert!(matches!(answered(&bench, request), Some(Answer::Failed { .. })), "{request}");
            }
            assert!(bench.ended().is_some());
            bench.fact(Input::RestartRequested { request: 4, child: "x".into() });
            assert_eq!(answered(&bench, 4), Some(Answer::NotFound));
        } else {
            bench.fact(Input::Begun { found: Vec::new() });
            bench.obey();
            bench.after(Duration::from_secs(1));
            bench.obey();
            for request in [1, 2] {
                assert!(matches!(answered(&bench, request), Some(Answer::Started { .. })), "{request}");
            }
            assert_eq!(bench.machine.counted(), 0, "neither what ended in doubt nor what was asked for");
        }
    }
}

#[test]
fn what_is_added_after_a_standstill_is_started_when_it_is_sure_or_given_up_when_it_is_beaten() {
    for beaten in [false, true] {
        let mut bench = Bench::running(Scope::Cluster, vec![rule("x")]);
        bench.fact(Input::StoodStill);
        assert!(bench.has(&Output::DoubtName));
        bench.fact(Input::AddRequested { request: 1, rule: rule("y") });
        bench.exit("x", crash());
        assert_eq!(bench.obey(), "", "somebody else may have them");
        if beaten {
            bench.fact(Input::Superseded);
            hand_over(&mut bench, &["x"]);
            let given_up = |output: &Output| {
                matches!(output, Output::Reply { request: 1, answer: Answer::Failed { .. } })
            };
            assert!(bench.out.iter().any(given_up) && bench.ended().is_some());
        } else {
            bench.fact(Input::Begun { found: Vec::new() });
            assert_eq!(bench.obey(), "+x");
            bench.after(Duration::from_secs(1));
            assert_eq!(bench.obey(), "+y", "at the pace of restarts");
        }
    }
}
