//! Nodes that die, freeze and come back: each child lives exactly once, and nobody is restarted for nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::{
    lab::{DETECTION, INTERVAL, Lab, Node, SOON},
    proxy::Proxy,
    wait,
    witness::{Alive, exactly_once, generations},
};

pub(crate) const N: usize = 12;
/// From the detection of a loss until every child runs again.
pub(crate) const MIGRATED: Duration = Duration::from_secs(2);

/// Generations of what lives on these nodes.
pub(crate) fn on(alive: &Alive, nodes: &[&Node]) -> BTreeMap<String, u64> {
    nodes.iter().flat_map(|node| generations(alive, node.pid())).collect()
}

#[test]
fn after_the_kill_of_a_node_every_child_runs_elsewhere_exactly_once() {
    let lab = Lab::new();
    let [a, mut b, c] = lab.three(N);
    let before = lab.alive();
    let untouched = on(&before, &[&a, &c]);
    assert_eq!(on(&before, &[&b]).len(), 4, "round robin: {before:?}");

    let killed = Instant::now();
    b.kill();
    wait::until(SOON, "the loss is noticed", || match a.metric_sum("noex_node_down_total") {
        0 => Err("no node down".to_owned()),
        _ => Ok(()),
    });
    let noticed = killed.elapsed();
    assert!(noticed < DETECTION, "a closed socket is seen at once, not by the heartbeat: {noticed:?}");
    let after = lab.each_once(MIGRATED, N, &[&a, &c]);

    let now = on(&after, &[&a, &c]);
    for (child, generation) in &untouched {
        assert_eq!(now.get(child), Some(generation), "{child} was not on the lost node");
    }
    for (child, generation) in on(&before, &[&b]) {
        assert!(now[&child] > generation, "{child}: a new instance has a higher generation");
    }
    c.calls_all(N);
    assert_eq!(a.metric("noex_failovers_total"), 1);
    assert_eq!(a.metric("noex_supervisor_restarts_total"), 4);
    assert_eq!(a.metric("noex_node_down_total{reason=\"connection_closed\"}"), 1);
    assert_eq!(c.metric("noex_node_down_total{reason=\"connection_closed\"}"), 1);
    stays(&lab, &after, Duration::from_secs(2));
}

#[test]
fn a_frozen_node_is_failed_over_and_its_copies_end_when_it_thaws() {
    let lab = Lab::new();
    let [a, b, c] = lab.three(N);
    let before = lab.alive();

    let frozen = Instant::now();
    b.freeze();
    wait::until(SOON, "the silence is noticed", || match a.metric_sum("noex_node_down_total") {
        0 => Err("no node down".to_owned()),
        _ => Ok(()),
    });
    let noticed = frozen.elapsed();
    assert!(noticed + INTERVAL >= DETECTION, "not before its time: {noticed:?}");
    assert!(noticed < DETECTION * 2 + INTERVAL, "interval × threshold, not {noticed:?}");
    assert_eq!(a.metric("noex_node_down_total{reason=\"heartbeat_timeout\"}"), 1);
    wait::until(MIGRATED, "every child lives on another node", || {
        let alive = lab.alive();
        let elsewhere = on(&alive, &[&a, &c]);
        if elsewhere.len() == N { Ok(()) } else { Err(format!("{alive:?}")) }
    });
    c.calls_all(N);

    let failed_over = on(&lab.alive(), &[&a, &c]);
    let thawed = Instant::now();
    b.thaw();
    let after = lab.each_once(SOON, N, &[&a, &b, &c]);
    let twice = thawed.elapsed();
    assert!(twice <= DETECTION, "a child ran twice for {twice:?}");
    assert_eq!(on(&after, &[&a, &c]), failed_over, "the higher generation stays");
    let old: BTreeSet<(String, u64)> = on(&before, &[&b]).into_iter().collect();
    wait::until(SOON, "an event for each duplicate", || {
        let told = a.events("child_duplicate_stopped").into_iter();
        let told: Vec<_> = told
            .map(|event| {
                (event["childId"].as_str().unwrap().to_owned(), event["generation"].as_u64().unwrap())
            })
            .collect();
        assert!(told.len() <= old.len(), "once each: {told:?}");
        if told.iter().cloned().collect::<BTreeSet<_>>() == old { Ok(()) } else { Err(format!("{told:?}")) }
    });
    for (child, generation) in on(&before, &[&a, &c]) {
        assert_eq!(failed_over.get(&child), Some(&generation), "{child} was never touched");
    }
    b.sees(2);
    b.calls_all(N);
    stays(&lab, &after, Duration::from_secs(2));
}

#[test]
fn a_freeze_of_the_supervisors_node_restarts_nothing() {
    let lab = Lab::new();
    let [a, b, c] = lab.three(N);
    let before = lab.alive();
    let elsewhere = on(&before, &[&b, &c]);
    assert_eq!(elsewhere.len(), 8, "{before:?}");

    a.freeze();
    wait::rest(Duration::from_secs(2));
    a.thaw();
    for node in [&a, &b, &c] {
        node.sees(2);
    }
    let after = lab.each_once(SOON, N, &[&a, &b, &c]);
    assert_eq!(on(&after, &[&b, &c]), elsewhere, "what was alive elsewhere lives on");
    stays(&lab, &after, Duration::from_secs(3));
    assert_eq!(after, before);
    b.calls_all(N);
}

#[test]
fn a_reset_of_one_connection_restarts_nothing() {
    let lab = Lab::new();
    let a = lab.node("a").var("WORKERS", N).var("MIN_NODES", 3).start();
    let proxy = Proxy::to(a.cluster);
    let b = lab.node("b").seed(&format!("127.0.0.1:{}", proxy.port)).start();
    b.sees(1);
    let c = lab.node("c").seed(&a.id).start();
    for node in [&a, &b, &c] {
        node.sees(2);
    }
    let before = lab.placed(N, &[&a, &b, &c]);
    assert_eq!(proxy.reset(), 1, "b is connected through the proxy");
    wait::until(SOON, "both ends see it", || {
        match (a.metric_sum("noex_node_down_total"), b.metric_sum("noex_node_down_total")) {
            (1, 1) => Ok(()),
            downs => Err(format!("{downs:?}")),
        }
    });
    for node in [&a, &b, &c] {
        node.sees(2);
    }
    stays(&lab, &before, Duration::from_secs(3));
    c.calls_all(N);
    assert_eq!(a.metric_sum("noex_node_down_total"), 1);
    assert_eq!(c.metric_sum("noex_node_down_total"), 0);
}

#[test]
fn the_next_supervisor_of_the_name_adopts_what_the_lost_one_left() {
    let lab = Lab::new();
    let a = lab.node("a").var("WORKERS", N).var("MIN_NODES", 3).start();
    let b = lab.node("b").var("WORKERS", N).var("MIN_NODES", 3).seed(&a.id).start();
    let c = lab.node("c").seed(&a.id).start();
    let before = lab.placed(N, &[&a, &b, &c]);
    let owner = lab.owner(&c);
    let (mut owner, heir) = if owner == a.id { (a, b) } else { (b, a) };
    let left = on(&before, &[&heir, &c]);
    let lost = on(&before, &[&owner]);

    owner.kill();
    let after = lab.each_once(SOON, N, &[&heir, &c]);
    let now = on(&after, &[&heir, &c]);
    for (child, generation) in &left {
        assert_eq!(now.get(child), Some(generation), "{child} was adopted");
    }
    for (child, generation) in &lost {
        assert!(now[child] > *generation, "{child}: started again, with a higher generation");
    }
    wait::until(SOON, "the new owner is known", || match lab.owner(&c) {
        owner if owner == heir.id => Ok(()),
        other => Err(other),
    });
    c.calls_all(N);
    stays(&lab, &after, Duration::from_secs(2));
}

/// Those that run on do so for as long as there is no supervisor, and are adopted by the next one; those that are to stop do
/// that after their time, and are started again.
#[test]
fn what_a_killed_supervisor_left_does_what_its_policy_says_until_it_is_started_again() {
    const GRACE: Duration = Duration::from_millis(900);
    let lab = Lab::new();
    let setup = lab.node("a").var("ORPHAN_POLICY", format!("stop_after:{}", GRACE.as_millis()));
    let setup = setup.var("WORKERS", N).var("MIN_NODES", 3);
    let mut a = setup.start();
    let [b, c] = ["b", "c"].map(|name| lab.node(name).seed(&a.id).start());
    for node in [&a, &b, &c] {
        node.sees(2);
    }
    let before = lab.placed(N, &[&a, &b, &c]);
    let stops = |child: &str| child.rsplit('-').next().unwrap().parse::<u64>().unwrap() % 2 == 1;
    let mut left = before.clone();
    left.retain(|_, instances| instances.iter().all(|instance| instance.pid != a.pid()));
    let mut run_on = left.clone();
    run_on.retain(|child, _| !stops(child));
    assert!(!run_on.is_empty() && run_on.len() < left.len(), "of each kind: {left:?}");

    a.kill();
    // A socket that was closed is seen at once, and their time begins.
    let began = wait::until(SOON, "only what is elsewhere lives", || match lab.alive() {
        alive if alive.len() <= left.len() => Ok(Instant::now()),
        alive => Err(format!("{alive:?}")),
    });
    wait::until(SOON, "those that stop are gone", || match lab.alive() {
        alive if alive == run_on => Ok(()),
        alive => {
            assert!(
                alive.iter().all(|(child, all)| left.get(child) == Some(all)),
                "nobody starts: {alive:?}"
            );
            Err(format!("{alive:?}"))
        }
    });
    let took = began.elapsed();
    assert!(took + Duration::from_millis(100) >= GRACE, "not before their time: {took:?}");
    assert!(took < GRACE + DETECTION, "nor much later: {took:?}");
    wait::throughout(3 * DETECTION, "those that run on do", || match lab.alive() {
        alive if alive == run_on => Ok(()),
        alive => Err(format!("{alive:?} instead of {run_on:?}")),
    });

    let a = setup.start();
    let after = lab.placed(N, &[&a, &b, &c]);
    for (child, all) in &before {
        if run_on.contains_key(child) {
            assert_eq!(after[child], *all, "{child} was adopted");
        } else {
            assert!(after[child][0].generation > all[0].generation, "{child} was started again");
        }
    }
    c.calls_all(N);
    stays(&lab, &after, Duration::from_secs(1));
}

/// Nothing starts and nothing ends for a while.
#[track_caller]
pub(crate) fn stays(lab: &Lab, alive: &Alive, time: Duration) {
    wait::throughout(time, "the same instances live", || {
        let now = lab.alive();
        if now == *alive { Ok(()) } else { Err(format!("{now:?} instead of {alive:?}")) }
    });
    let pids: Vec<u32> = alive.values().flatten().map(|instance| instance.pid).collect();
    exactly_once(alive, alive.len(), &pids).unwrap();
}
