use std::time::Duration;

use noex_actors::{ExitReason, NodeId};

use super::{
    bench::{Bench, crash, node, pid, rule},
    *,
};
use crate::options::{PartitionDecision, PartitionView, Restart, Shutdown};

#[test]
fn children_start_one_after_the_other_in_order() {
    let mut bench = Bench::of(Scope::Local, vec![rule("x"), rule("y")]);
    bench.fact(Input::Begun { found: Vec::new() });
    let (first, generation) = bench.next_start().unwrap();
    assert_eq!((first.as_str(), generation), ("x", Generation::new(1000, 1)));
    assert!(bench.next_start().is_none(), "y waits for x");
    bench.fact(Input::StartSucceeded { child: first, generation, pid: pid("a", 1) });
    assert_eq!(bench.start_next("a").unwrap().0, "y");
    assert!(bench.has(&Output::Ready));
}

#[test]
fn a_failed_first_start_stops_what_had_started_and_ends() {
    let mut bench = Bench::of(Scope::Local, vec![rule("x"), rule("y"), rule("z")]);
    bench.fact(Input::Begun { found: Vec::new() });
    bench.start_next("a");
    bench.fail_next(Failure::Refused("no".into()));
    assert_eq!(bench.stops(), [("x".to_owned(), Stop::Ask)]);
    assert!(bench.ended().is_none());
    bench.exit("x", ExitReason::Shutdown);
    assert!(matches!(bench.ended(), Some(Ending::StartFailed { child, .. }) if child == "y"));
}

#[test]
fn a_crash_restarts_that_child_alone_in_a_higher_generation() {
    let mut bench = Bench::running(Scope::Local, vec![rule("x"), rule("y")]);
    let before = bench.machine.child("x").unwrap().generation;
    bench.exit("x", crash());
    let (child, generation, _) = bench.start_next("a").unwrap();
    assert_eq!(child, "x");
    assert!(generation > before && bench.next_start().is_none());
    assert!(matches!(bench.reports()[..], [Report::Restarted { attempt: 1, .. }]));
    assert_eq!(bench.machine.totals().restarts, 1);
}

#[test]
fn the_fourth_crash_in_five_seconds_ends_it_last_child_first() {
    let mut bench = Bench::running(Scope::Local, vec![rule("x"), rule("y"), rule("z")]);
    for _ in 0..3 {
        bench.exit("y", crash());
        bench.start_next("a").unwrap();
    }
    bench.out.clear();
    bench.exit("y", crash());
    assert_eq!(bench.stops(), [("z".to_owned(), Stop::Ask)]);
    bench.exit("z", ExitReason::Shutdown);
    assert_eq!(bench.stops(), [("x".to_owned(), Stop::Ask)]);
    bench.exit("x", ExitReason::Shutdown);
    assert_eq!(bench.ended(), Some(&Ending::MaxRestartsExceeded));
    assert!(bench.next_start().is_none() && bench.machine.child_count() == 0);
}

#[test]
fn a_transient_child_that_is_done_is_removed() {
    let mut transient = rule("x");
    transient.restart = Restart::Transient;
    let mut bench = Bench::running(Scope::Local, vec![transient]);
    bench.exit("x", ExitReason::Normal);
    assert!(matches!(&bench.reports()[..], [Report::Stopped { reason: ExitReason::Normal, .. }]));
    assert_eq!(bench.machine.child_count(), 0);
}

#[test]
fn a_restart_that_fails_is_tried_again_later_and_each_wave_counts_once() {
    let mut bench = Bench::running(Scope::Local, vec![rule("x")]);
    bench.exit("x", crash());
    for _ in 0..2 {
        bench.fail_next(Failure::Refused("no".into()));
        assert!(bench.next_start().is_none(), "not at once");
        bench.after(Duration::from_millis(400));
    }
    bench.fail_next(Failure::Refused("no".into()));
    assert_eq!(bench.ended(), Some(&Ending::MaxRestartsExceeded), "one crash and three waves");
}

#[test]
fn the_loss_of_a_node_is_one_restart_however_many_children_it_had() {
    let rules = (0..12).map(|n| rule(&format!("c{n}"))).collect();
    let mut bench = Bench::running(Scope::Cluster, rules);
    bench.fact(Input::NodeLost { node: node("a"), loss: Loss::Crash });
    let mut moved = 0;
    while moved < 12 {
        while bench.start_next("b").is_some() {
            moved += 1;
        }
        bench.after(Duration::from_millis(10));
    }
    let reports = bench.reports();
    assert!(matches!(&reports[0], Report::NodeFailure { affected, .. } if affected.len() == 12));
    assert_eq!(reports.iter().filter(|report| matches!(report, Report::Migrated { .. })).count(), 12);
    assert_eq!(bench.machine.totals(), Totals { restarts: 12, node_failure_restarts: 12, failovers: 1 });
    for _ in 0..2 {
        bench.exit("c0", crash());
        bench.start_next("b").unwrap();
    }
    assert!(bench.ended().is_none(), "two more are allowed: the loss counted once");
    bench.exit("c0", crash());
    assert!(bench.next_start().is_none());
}

#[test]
fn restarts_of_one_loss_keep_the_pace_and_do_not_wait_for_each_other() {
    let rules = (0..12).map(|n| rule(&format!("c{n}"))).collect();
    let mut bench = Bench::running(Scope::Cluster, rules);
    bench.fact(Input::NodeLost { node: node("a"), loss: Loss::Crash });
    let mut under_way = Vec::new();
    let per_pace: Vec<usize> = (0..15)
        .map(|_| {
            let before = under_way.len();
            under_way.extend(std::iter::from_fn(|| bench.next_start()));
            // Half a pace brings nothing.
            bench.after(Duration::from_millis(5));
            assert!(bench.next_start().is_none());
            bench.after(Duration::from_millis(5));
            under_way.len() - before
        })
        .collect();
    assert!(per_pace.iter().all(|starts| *starts <= 1), "one in 10 ms: {per_pace:?}");
    assert_eq!(under_way.len(), 12, "none was answered, and all are under way: {per_pace:?}");
    let children: std::collections::BTreeSet<_> = under_way.iter().map(|(child, _)| child).collect();
    assert_eq!(children.len(), 12, "each once");
}

#[test]
fn twelve_failed_restarts_of_one_loss_are_one_wave() {
    let rules = (0..12).map(|n| rule(&format!("c{n}"))).collect();
    let mut bench = Bench::running(Scope::Cluster, rules);
    bench.fact(Input::NodeLost { node: node("a"), loss: Loss::Crash });
    for _ in 0..12 {
        bench.fail_next(Failure::Refused("not yet".into()));
        bench.after(Duration::from_millis(10));
    }
    assert!(bench.ended().is_none(), "the loss and one wave");
    bench.after(Duration::from_millis(100));
    let mut started = 0;
    while bench.start_next("b").is_some() {
        started += 1;
    }
    assert_eq!(started, 12);
}

#[test]
fn a_lost_connection_restarts_nothing() {
    let mut bench = Bench::running(Scope::Cluster, vec![rule("x")]);
    bench.fact(Input::NodeSuspected { node: node("a") });
    bench.exit("x", ExitReason::NoConnection);
    assert!(bench.next_start().is_none());
    let found = Found {
        child: "x".into(),
        generation: bench.machine.child("x").unwrap().generation,
        owner: None,
        pid: bench.pid_of("x"),
    };
    bench.fact(Input::InstancesTold { node: node("a"), purpose: Purpose::Readopt, found: vec![found] });
    assert!(matches!(bench.out.make_contiguous(), [Output::Watch { .. }]));
    assert_eq!(bench.machine.totals().restarts, 0);
}

#[test]
fn what_is_missing_after_a_reset_is_lost_and_what_is_there_stays() {
    let mut bench = Bench::running(Scope::Cluster, vec![rule("x"), rule("y")]);
    bench.fact(Input::NodeSuspected { node: node("a") });
    let found = Found {
        child: "y".into(),
        generation: bench.machine.child("y").unwrap().generation,
        owner: None,
        pid: bench.pid_of("y"),
    };
    bench.fact(Input::InstancesTold { node: node("a"), purpose: Purpose::Readopt, found: vec![found] });
    assert_eq!(bench.start_next("b").unwrap().0, "x");
    assert!(bench.next_start().is_none());
}

#[test]
fn a_pinned_child_waits_for_its_node_and_is_taken_back_alive() {
    let mut pinned = rule("x");
    pinned.pinned = true;
    let mut bench = Bench::running(Scope::Cluster, vec![pinned]);
    let (generation, pid) = (bench.machine.child("x").unwrap().generation, bench.pid_of("x"));
    bench.fact(Input::NodeLost { node: node("a"), loss: Loss::Crash });
    bench.fail_next(Failure::NoNode);
    assert_eq!(bench.machine.child("x").unwrap().state, State::Pending);
    let found = vec![Found { child: "x".into(), generation, owner: None, pid }];
    bench.fact(Input::InstancesTold { node: node("a"), purpose: Purpose::Reconcile, found });
    bench.fact(Input::NodeAvailable);
    assert!(bench.next_start().is_none(), "it never died");
    assert_eq!(bench.machine.child("x").unwrap().generation, generation);
}

#[test]
fn waiting_for_a_node_counts_nothing() {
    let mut pinned = rule("x");
    pinned.pinned = true;
    let mut bench = Bench::of(Scope::Cluster, vec![pinned]);
    bench.fact(Input::Begun { found: Vec::new() });
    for _ in 0..20 {
        bench.fail_next(Failure::NoNode);
        bench.fact(Input::NodeAvailable);
        bench.after(Duration::from_millis(10));
    }
    bench.fail_next(Failure::NoNode);
    let pending = bench.reports().iter().filter(|report| matches!(report, Report::Pending { .. })).count();
    assert_eq!(pending, 1, "said once");
    assert!(bench.ended().is_none());
}

#[test]
fn children_of_a_leaving_node_move_without_being_counted() {
    let rules = (0..12).map(|n| rule(&format!("c{n}"))).collect();
    let mut bench = Bench::running(Scope::Cluster, rules);
    bench.fact(Input::NodeDraining { node: node("a") });
    assert_eq!(bench.stops().len(), 12);
    assert!(bench.next_start().is_none(), "the old is stopped before the new is started");
    for n in 0..12 {
        bench.exit(&format!("c{n}"), ExitReason::Shutdown);
        bench.start_next("b").unwrap();
    }
    bench.fact(Input::NodeLost { node: node("a"), loss: Loss::Goodbye });
    let reports = bench.reports();
    assert_eq!(reports.iter().filter(|report| matches!(report, Report::Migrated { .. })).count(), 12);
    assert_eq!(bench.machine.totals().failovers, 0);
    for _ in 0..3 {
        bench.exit("c0", crash());
        bench.start_next("b").unwrap();
    }
    assert!(bench.ended().is_none(), "all three restarts are still there");
}

#[test]
fn a_start_adopts_the_highest_and_stops_the_rest() {
    let mut bench = Bench::of(Scope::Cluster, vec![rule("x"), rule("y")]);
    let instance = |child: &str, term, number| Found {
        child: child.into(),
        generation: Generation::new(term, 1),
        owner: None,
        pid: pid("b", number),
    };
    let found = vec![instance("x", 2000, 1), instance("x", 1999, 2), instance("old", 1990, 3)];
    bench.fact(Input::Begun { found });
    assert_eq!(bench.pid_of("x"), pid("b", 1));
    assert_eq!(bench.stops().len(), 2);
    let (child, generation, _) = bench.start_next("a").unwrap();
    assert_eq!((child.as_str(), generation), ("y", Generation::new(2001, 1)));
    bench.after(Duration::from_millis(300));
    assert!(bench.stops().iter().all(|(_, how)| *how == Stop::Kill));
    bench.fact(Input::ChildExited { child: "x".into(), pid: pid("b", 2), reason: ExitReason::Killed });
    assert!(matches!(&bench.reports()[..], [.., Report::DuplicateStopped { child, .. }] if child == "x"));
}

#[test]
fn a_late_success_of_a_start_that_nobody_waits_for_is_stopped() {
    let mut bench = Bench::running(Scope::Cluster, vec![rule("x")]);
    let old = Generation::new(999, 7);
    bench.fact(Input::StartSucceeded { child: "x".into(), generation: old, pid: pid("b", 77) });
    assert_eq!(bench.stops(), [("x".to_owned(), Stop::Ask)]);
    assert_ne!(bench.pid_of("x"), pid("b", 77));
}

#[test]
fn a_stop_during_a_start_waits_for_it_and_stops_what_came_of_it() {
    let mut bench = Bench::of(Scope::Local, vec![rule("x")]);
    bench.fact(Input::Begun { found: Vec::new() });
    let (child, generation) = bench.next_start().unwrap();
    bench.fact(Input::StopRequested { reason: ExitReason::Shutdown });
    assert!(bench.ended().is_none());
    bench.fact(Input::StartSucceeded { child, generation, pid: pid("a", 1) });
    assert_eq!(bench.stops(), [("x".to_owned(), Stop::Ask)]);
    bench.exit("x", ExitReason::Shutdown);
    assert_eq!(bench.ended(), Some(&Ending::Stopped(ExitReason::Shutdown)));
}

#[test]
fn a_child_that_does_not_stop_in_time_is_killed() {
    let mut bench = Bench::running(Scope::Local, vec![rule("x")]);
    bench.fact(Input::TerminateRequested { request: 1, child: "x".into() });
    assert_eq!(bench.stops(), [("x".to_owned(), Stop::Ask)]);
    bench.after(Duration::from_millis(4999));
    assert_eq!(bench.stops(), []);
    bench.after(Duration::from_millis(1));
    assert_eq!(bench.stops(), [("x".to_owned(), Stop::Kill)]);
    bench.exit("x", ExitReason::Killed);
    assert!(bench.has(&Output::Reply { request: 1, answer: Answer::Removed }));
}

#[test]
fn brutal_kill_kills_at_once_and_infinity_never_does() {
    let (mut brutal, mut patient) = (rule("x"), rule("y"));
    brutal.shutdown = Shutdown::BrutalKill;
    patient.shutdown = Shutdown::Infinity;
    let mut bench = Bench::running(Scope::Local, vec![brutal, patient]);
    bench.fact(Input::TerminateRequested { request: 1, child: "x".into() });
    assert_eq!(bench.stops(), [("x".to_owned(), Stop::Kill)]);
    bench.fact(Input::TerminateRequested { request: 2, child: "y".into() });
    assert_eq!(bench.stops(), [("y".to_owned(), Stop::Ask)]);
    assert_eq!(bench.machine.deadline(), None);
}

#[test]
fn requests_are_answered_with_what_came_of_them() {
    let mut bench = Bench::running(Scope::Local, vec![rule("x")]);
    bench.fact(Input::AddRequested { request: 1, rule: rule("x") });
    assert!(bench.has(&Output::Reply { request: 1, answer: Answer::Duplicate }));
    bench.fact(Input::AddRequested { request: 2, rule: rule("y") });
    let (_, _, pid) = bench.start_next("a").unwrap();
    assert!(bench.has(&Output::Reply { request: 2, answer: Answer::Started { pid } }));
    bench.fact(Input::AddRequested { request: 3, rule: rule("z") });
    bench.fail_next(Failure::Refused("no".into()));
    assert!(bench.machine.child("z").is_none(), "a child that did not start is not kept");
    bench.fact(Input::RestartRequested { request: 4, child: "z".into() });
    assert!(bench.has(&Output::Reply { request: 4, answer: Answer::NotFound }));
    for _ in 0..10 {
        bench.fact(Input::RestartRequested { request: 5, child: "x".into() });
        bench.exit("x", ExitReason::Shutdown);
        bench.start_next("a").unwrap();
    }
    assert!(bench.ended().is_none(), "restarts by hand do not count");
}

#[test]
fn a_lost_temporary_child_is_removed() {
    let mut temporary = rule("x");
    temporary.restart = Restart::Temporary;
    let mut bench = Bench::running(Scope::Cluster, vec![temporary]);
    bench.fact(Input::NodeLost { node: node("a"), loss: Loss::Crash });
    assert!(bench.next_start().is_none());
    let reason = ExitReason::NoConnection;
    assert!(bench.has(&Output::Report(Report::Stopped { child: "x".into(), reason })));
}

#[test]
fn a_start_whose_node_went_away_is_tried_elsewhere_at_once() {
    let mut bench = Bench::running(Scope::Cluster, vec![rule("x")]);
    bench.exit("x", crash());
    bench.fail_next(Failure::NodeGone);
    let next = bench.out.iter().find_map(|output| match output {
        Output::Start { excluded, .. } => Some(excluded.clone()),
        _ => None,
    });
    assert_eq!(next, Some(BTreeSet::from([node("b")])));
    bench.fail_next(Failure::NodeGone);
    assert!(bench.next_start().is_none(), "the second time it waits");
    bench.after(Duration::from_millis(100));
    assert!(bench.next_start().is_some());
}

#[test]
fn a_supervisor_in_doubt_about_its_name_starts_nothing_until_it_is_sure() {
    let mut bench = Bench::running(Scope::Cluster, vec![rule("x"), rule("y")]);
    let later =
        Found { child: "x".into(), generation: Generation::new(1007, 3), owner: None, pid: pid("b", 50) };
    let told = |found: &Found| Input::InstancesTold {
        node: node("b"),
        purpose: Purpose::Reconcile,
        found: vec![found.clone()],
    };
    bench.fact(told(&later));
    assert!(bench.has(&Output::DoubtName));
    assert!(bench.stops().is_empty());
    // The other supervisor stops what is left of this one's.
    bench.exit("x", ExitReason::Shutdown);
    bench.exit("y", ExitReason::Shutdown);
    bench.fact(Input::NodeAvailable);
    assert!(bench.next_start().is_none() && bench.ended().is_none());
    bench.fact(Input::Begun { found: vec![later.clone()] });
    assert_eq!(bench.pid_of("x"), later.pid, "what the other left is taken over");
    let (child, generation, _) = bench.start_next("b").unwrap();
    assert_eq!(child, "y");
    assert!(generation > later.generation, "beyond all that was seen");
}

#[test]
fn a_supervisor_that_lost_its_name_leaves_what_the_other_has() {
    let mut bench = Bench::running(Scope::Cluster, vec![rule("x"), rule("y")]);
    bench.fact(Input::Superseded);
    bench.exit("x", crash());
    let keep = BTreeSet::from(["x".to_owned()]);
    bench.fact(Input::HandedOver { keep, reason: ExitReason::Error("name_lost".into()) });
    assert_eq!(bench.stops(), [("y".to_owned(), Stop::Ask)]);
    bench.exit("y", ExitReason::Shutdown);
    assert!(matches!(bench.ended(), Some(Ending::Stopped(_))));
}

#[test]
fn a_temporary_child_that_is_stopped_because_too_much_is_out_of_reach_is_removed() {
    let mut bench =
        Bench::running(Scope::Cluster, vec![rule("x"), Rule { restart: Restart::Temporary, ..rule("once") }]);
    let view = |lost: Vec<NodeId>| PartitionView { reachable: vec![node("a")], lost, largest: 2 };
    bench.fact(Input::Standing { decision: PartitionDecision::StopChildren, view: view(vec![node("b")]) });
    assert_eq!(bench.stops().len(), 2);
    for child in ["once", "x"] {
        bench.exit(child, ExitReason::Shutdown);
    }
    bench.fact(Input::Standing { decision: PartitionDecision::Failover, view: view(Vec::new()) });
    assert_eq!(bench.obey(), "+x");
    assert!(bench.machine.child("once").is_none());
}
