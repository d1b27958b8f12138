//! Children that move while all is well.

use noex_actors::ExitReason;

use super::{
    bench::{Bench, crash, node, rule, settings},
    *,
};
use crate::options::{Restart, RestartIntensity, Strategy};

fn of(strategy: Strategy, children: usize) -> Bench {
    let intensity = RestartIntensity { max_restarts: 0, ..RestartIntensity::default() };
    let rules = (0..children).map(|n| rule(&format!("c{n:02}"))).collect();
    Bench::running_with(Settings { strategy, intensity, ..settings(Scope::Cluster) }, rules)
}

/// From `a`, where all of them are.
fn to(on: &str, children: &[&str]) -> Input {
    let step = |child: &&str| Move { child: (*child).to_owned(), from: node("a"), to: node(on) };
    Input::RebalanceRequested { moves: children.iter().map(step).collect() }
}

/// The start in flight: whose, and where it is to be.
fn target(bench: &Bench) -> Option<(String, Option<NodeId>)> {
    bench.out.iter().find_map(|output| match output {
        Output::Start { child, target, .. } => Some((child.clone(), target.clone())),
        _ => None,
    })
}

#[test]
fn the_old_instance_is_gone_before_the_new_one_is_started_and_nothing_is_counted() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        let mut bench = of(strategy, 3);
        bench.fact(to("b", &["c01"]));
        assert_eq!(target(&bench), None);
        assert_eq!(bench.stops(), [("c01".to_owned(), Stop::Ask)], "{strategy}: no sibling");
        bench.exit("c01", ExitReason::Shutdown);
        assert_eq!(target(&bench), Some(("c01".to_owned(), Some(node("b")))));
        let (_, generation, _) = bench.start_next("b").unwrap();
        let (from, to) = (node("a"), node("b"));
        let child = "c01".to_owned();
        assert!(bench.has(&Output::Report(Report::Migrated { child, from, to, generation })));
        assert_eq!((bench.machine.counted(), bench.obey().as_str()), (0, ""));
        assert_eq!(bench.machine.child("c01").unwrap().target, None);
    }
}

#[test]
fn only_so_many_are_on_their_way_and_the_next_goes_when_one_is_there() {
    let mut bench = of(Strategy::OneForOne, 20);
    let all: Vec<String> = (0..20).map(|n| format!("c{n:02}")).collect();
    bench.fact(to("b", &all.iter().map(String::as_str).collect::<Vec<_>>()));
    assert_eq!(bench.stops().len(), 8);
    bench.exit("c03", ExitReason::Shutdown);
    assert_eq!(bench.stops(), [], "it does not run yet");
    bench.start_next("b").unwrap();
    assert_eq!(bench.stops(), [("c08".to_owned(), Stop::Ask)]);
    // One that does not start keeps its place while it is tried again.
    bench.exit("c00", ExitReason::Shutdown);
    let (child, generation) = bench.next_start().unwrap();
    let failure = Failure::NoNode;
    bench.fact(Input::StartFailed { child, generation, node: None, failure });
    assert_eq!(bench.stops(), [("c09".to_owned(), Stop::Ask)], "one that waits for a node does not");
}

#[test]
fn who_is_not_there_any_more_does_not_move() {
    let mut bench = Bench::running(Scope::Cluster, vec![rule("c00"), rule("c01"), rule("c02")]);
    bench.exit("c00", crash());
    bench.fact(to("b", &["c00", "c01"]));
    assert_eq!(bench.stops(), [("c01".to_owned(), Stop::Ask)]);
    bench.exit("c01", ExitReason::Shutdown);
    bench.start_next("b").unwrap();
    bench.start_next("b").unwrap();
    bench.fact(to("b", &["c00", "c01"]));
    assert_eq!(bench.stops(), [], "both are there");
}

#[test]
fn pinned_and_temporary_children_do_not_move() {
    let rules = vec![
        Rule { pinned: true, ..rule("pinned") },
        Rule { restart: Restart::Temporary, ..rule("temporary") },
    ];
    let mut bench = Bench::running(Scope::Cluster, rules);
    bench.fact(to("b", &["pinned", "temporary"]));
    assert_eq!(bench.stops(), []);
}

#[test]
fn nobody_moves_while_another_supervisor_may_have_the_name_or_the_end_has_begun() {
    let mut bench = of(Strategy::OneForOne, 2);
    bench.fact(Input::Superseded);
    bench.fact(to("b", &["c00"]));
    assert_eq!(bench.stops(), []);
    let mut bench = of(Strategy::OneForOne, 2);
    bench.fact(Input::StopRequested { reason: ExitReason::Shutdown });
    bench.fact(to("b", &["c00"]));
    assert_eq!(bench.stops(), [("c01".to_owned(), Stop::Ask)], "the last one first");
}

#[test]
fn who_is_stopped_by_its_strategy_meanwhile_is_started_with_its_siblings() {
    let mut bench = Bench::running_with(
        Settings { strategy: Strategy::OneForAll, ..settings(Scope::Cluster) },
        vec![rule("c00"), rule("c01"), rule("c02")],
    );
    bench.fact(to("b", &["c01"]));
    assert_eq!(bench.stops(), [("c01".to_owned(), Stop::Ask)]);
    bench.exit("c02", crash());
    bench.exit("c01", ExitReason::Shutdown);
    assert_eq!(bench.obey(), "-c00 +c00 +c01 +c02");
    assert_eq!(bench.machine.counted(), 1);
}
