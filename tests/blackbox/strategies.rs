//! The strategies of siblings, across nodes that die: whom the loss concerns starts anew, and nobody else.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    failover::{MIGRATED, N, on, stays},
    lab::{Lab, SOON},
    wait,
};

/// `counter-7` → 7.
fn number(child: &str) -> usize {
    child.rsplit('-').next().unwrap().parse().unwrap()
}

/// Kills the node `b`, and says which children were started anew: all of them once, and as one restart of the one that is
/// allowed in a minute.
#[track_caller]
fn started_anew_after_the_kill_of_b(strategy: &str) -> Vec<usize> {
    let lab = Lab::new();
    let a = lab.node("a").var("STRATEGY", strategy).var("MAX_RESTARTS", 1).var("WITHIN_MS", 60_000);
    let [a, mut b, c] = lab.three_of(a, N);
    let before = lab.alive();
    let lost = on(&before, &[&b]);
    let numbers = |children: &BTreeMap<String, u64>| {
        let mut numbers: Vec<usize> = children.keys().map(|child| number(child)).collect();
        numbers.sort_unstable();
        numbers
    };
    assert_eq!(numbers(&lost), [2, 5, 8, 11], "round robin: {before:?}");

    b.kill();
    let after = lab.each_once(MIGRATED, N, &[&a, &c]);
    let (before, after_it) = (on(&before, &[&a, &b, &c]), on(&after, &[&a, &c]));
    let anew: BTreeMap<String, u64> =
        after_it.into_iter().filter(|(child, generation)| before[child] != *generation).collect();
    for (child, generation) in &anew {
        assert!(*generation > before[child], "{child}: a new instance has a higher generation");
    }
    // Generations count starts: everybody of them was started once, in start order.
    let mut starts: Vec<(u64, usize)> =
        anew.iter().map(|(child, generation)| (*generation, number(child))).collect();
    starts.sort_unstable();
    let order: Vec<usize> = starts.iter().map(|(_, child)| *child).collect();
    assert_eq!(order, numbers(&anew), "in start order");
    c.calls_all(N);
    assert_eq!(a.metric("noex_failovers_total"), 1);
    assert_eq!(a.metric("noex_supervisor_restarts_total"), 4, "siblings are not counted");
    stays(&lab, &after, Duration::from_secs(2));
    numbers(&anew)
}

#[test]
fn after_the_kill_of_a_node_one_for_all_starts_every_child_anew_once() {
    assert_eq!(started_anew_after_the_kill_of_b("one_for_all"), (1..=N).collect::<Vec<_>>());
}

#[test]
fn after_the_kill_of_a_node_rest_for_one_starts_its_first_child_and_those_behind_it_anew() {
    assert_eq!(started_anew_after_the_kill_of_b("rest_for_one"), (2..=N).collect::<Vec<_>>());
}

#[test]
fn copies_on_a_frozen_node_do_not_join_their_new_siblings_when_it_thaws() {
    let lab = Lab::new();
    let [a, b, c] = lab.three_of(lab.node("a").var("STRATEGY", "one_for_all"), N);
    let before = lab.alive();
    b.freeze();
    wait::until(SOON, "all are started anew on the other nodes", || {
        let alive = lab.alive();
        let elsewhere = on(&alive, &[&a, &c]);
        let old = on(&before, &[&a, &c]);
        let anew =
            old.iter().all(|(child, generation)| elsewhere.get(child).is_some_and(|now| now > generation));
        if anew && elsewhere.len() == N { Ok(()) } else { Err(format!("{alive:?}")) }
    });
    let failed_over = on(&lab.alive(), &[&a, &c]);
    b.thaw();
    let after = lab.each_once(SOON, N, &[&a, &b, &c]);
    assert_eq!(on(&after, &[&a, &c]), failed_over, "the new ones stay as they are");
    b.sees(2);
    b.calls_all(N);
    stays(&lab, &after, Duration::from_secs(2));
}

#[test]
fn a_freeze_of_the_supervisors_node_concerns_no_siblings() {
    let lab = Lab::new();
    let [a, b, c] = lab.three_of(lab.node("a").var("STRATEGY", "one_for_all"), N);
    let before = lab.alive();
    a.freeze();
    wait::rest(Duration::from_secs(2));
    a.thaw();
    for node in [&a, &b, &c] {
        node.sees(2);
    }
    stays(&lab, &before, Duration::from_secs(3));
    c.calls_all(N);
}

#[test]
fn the_next_supervisor_with_one_for_all_starts_all_anew_since_some_are_lost() {
    let lab = Lab::new();
    let setup = |name| lab.node(name).var("WORKERS", N).var("MIN_NODES", 3).var("STRATEGY", "one_for_all");
    let a = setup("a").start();
    let b = setup("b").seed(&a.id).start();
    let c = lab.node("c").seed(&a.id).start();
    let before = lab.placed(N, &[&a, &b, &c]);
    let owner = lab.owner(&c);
    let (mut owner, heir) = if owner == a.id { (a, b) } else { (b, a) };
    let left = on(&before, &[&heir, &c]);
    owner.kill();
    let after = wait::until(SOON, "every child lives again, none of them the old one", || {
        let alive = lab.alive();
        let now = on(&alive, &[&heir, &c]);
        let anew = left.iter().all(|(child, generation)| now.get(child).is_some_and(|n| n > generation));
        if anew && now.len() == N { Ok(alive) } else { Err(format!("{alive:?}")) }
    });
    assert_eq!(lab.each_once(SOON, N, &[&heir, &c]), after);
    c.calls_all(N);
    assert_eq!(heir.metric("noex_supervisor_restarts_total"), 0, "that was its start");
    stays(&lab, &after, Duration::from_secs(2));
}
