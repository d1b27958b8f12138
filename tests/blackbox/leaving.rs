//! Nodes that leave in good order.

use std::time::Duration;

use rustix::process::Signal;

use crate::{
    http,
    lab::{Lab, SOON},
    wait,
    witness::generations,
};

const N: usize = 12;

#[test]
fn children_of_a_node_that_is_told_to_stop_migrate_and_the_supervisor_lives() {
    let lab = Lab::new();
    let [a, mut b, c] = lab.three(N);
    let before = lab.alive();
    let left_behind = generations(&before, b.pid());
    assert_eq!(left_behind.len(), 4, "{before:?}");

    b.signal(Signal::TERM);
    let mut twice = None;
    let code = wait::until(SOON, "b ends", || {
        let alive = lab.alive();
        twice = twice.take().or_else(|| alive.into_iter().find(|(_, instances)| instances.len() > 1));
        b.exited().ok_or_else(|| "it runs".to_owned())
    });
    assert_eq!(code.code(), Some(0), "{}", b.err.text());
    assert_eq!(twice, None, "the old one ends before the new one starts");
    let after = lab.each_once(SOON, N, &[&a, &c]);
    for (child, generation) in left_behind {
        assert!(after[&child][0].generation > generation, "{child}");
    }
    for node in [&a, &c] {
        let (graceful, all) = ("noex_node_down_total{reason=\"graceful_shutdown\"}", "noex_node_down_total");
        wait::until(SOON, "its goodbye is counted", || match (node.metric(graceful), node.metric_sum(all)) {
            (1, 1) => Ok(()),
            downs => Err(format!("{downs:?}")),
        });
    }
    assert_eq!(a.metric("noex_failovers_total"), 0, "leaving is no failure");
    let view = c.view();
    let supervisor = &view["supervisors"][0];
    assert_eq!(
        (&supervisor["owner"], &supervisor["stale"]),
        (&a.id.clone().into(), &serde_json::Value::Null)
    );
    c.calls_all(N);
    assert_eq!(std::fs::read_dir(&lab.dir).unwrap().count(), N, "b removed its files");
}

#[test]
fn a_supervisor_that_leaves_with_its_node_restarts_nothing_elsewhere() {
    let lab = Lab::new();
    let a = lab.node("a").var("WORKERS", N).var("MIN_NODES", 3).start();
    let b = lab.node("b").var("WORKERS", N).var("MIN_NODES", 3).seed(&a.id).start();
    let c = lab.node("c").seed(&a.id).start();
    let before = lab.placed(N, &[&a, &b, &c]);
    let owner = lab.owner(&c);
    let (mut owner, heir) = if owner == a.id { (a, b) } else { (b, a) };

    owner.signal(Signal::TERM);
    assert_eq!(owner.exit_code(SOON), Some(0), "{}", owner.err.text());
    let after = lab.each_once(SOON, N, &[&heir, &c]);
    for node in [&heir, &c] {
        let now = generations(&after, node.pid());
        for (child, generation) in generations(&before, node.pid()) {
            assert_eq!(now.get(&child), Some(&generation), "{child} lives on: {after:?}");
        }
    }
    c.calls_all(N);
}

#[test]
fn the_whole_cluster_can_be_stopped_in_any_order() {
    let lab = Lab::new();
    let [mut a, mut b, mut c] = lab.three(N);
    a.signal(Signal::TERM);
    assert_eq!(a.exit_code(SOON), Some(0), "the supervisor's own node: {}", a.err.text());
    c.signal(Signal::INT);
    b.signal(Signal::TERM);
    assert_eq!((b.exit_code(SOON), c.exit_code(SOON)), (Some(0), Some(0)));
    assert!(lab.alive().is_empty());
}

#[test]
fn a_call_in_flight_is_answered_and_no_new_one_is_taken_while_the_node_stops() {
    let lab = Lab::new();
    let mut node = lab.node("a").var("WORKERS", 1).start();
    lab.each_once(SOON, 1, &[&node]);
    node.calls_all(1);
    node.signal(Signal::TERM);
    // Until it is gone, whatever answers says no.
    wait::until(SOON, "it ends", || {
        if let Ok(ready) = node.get("/ready") {
            assert!(ready.status == 503 || node.exited().is_none(), "{ready:?}");
        }
        if let Ok(call) = http::ask(node.health, "GET", "/noex/api/call/counter-1/get") {
            assert!([200, 404, 502, 503].contains(&call.status), "{call:?}");
        }
        node.exited().ok_or_else(|| "it runs".to_owned())
    });
    assert_eq!(node.exit_code(SOON), Some(0));
}

#[test]
fn a_node_that_waits_for_its_nodes_can_be_stopped() {
    let lab = Lab::new();
    let mut node = lab.node("a").var("WORKERS", N).var("MIN_NODES", 9).start();
    assert!(lab.alive().is_empty(), "not before there are nine");
    node.signal(Signal::TERM);
    assert_eq!(node.exit_code(SOON), Some(0), "{}", node.err.text());
}

#[test]
fn a_second_signal_ends_the_node_at_once() {
    let lab = Lab::new();
    let a = lab.node("a").var("WORKERS", N).var("MIN_NODES", 2).start();
    let mut b = lab.node("b").seed(&a.id).start();
    lab.placed(N, &[&a, &b]);
    // A supervisor that does not answer holds the leaving node back.
    a.freeze();
    b.signal(Signal::TERM);
    wait::until(SOON, "it stops", || match b.out.text() {
        text if text.contains("graceful shutdown") => Ok(()),
        text => Err(text),
    });
    b.signal(Signal::TERM);
    let code = b.exit_code(Duration::from_secs(2));
    a.thaw();
    assert!([Some(0), Some(1)].contains(&code), "1, or 0 if it was done before the second: {code:?}");
}
