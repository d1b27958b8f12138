//! Who is connected with whom, and how often that is said.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::{
    lab::{Lab, Node, SOON, Setup},
    wait,
};

#[test]
fn a_node_restarted_ten_times_is_down_and_up_once_per_restart() {
    let (killed, stopped) = restart_ten_times(|c| c.sees(2));
    assert_eq!((killed, stopped), (5, 5), "and each is told for what it was");
}

#[test]
fn a_node_restarted_as_soon_as_it_is_seen_is_down_and_up_once_per_restart() {
    let (killed, stopped) = restart_ten_times(|_| {});
    assert_eq!(killed + stopped, 10);
}

/// Every other end is a kill. How many ends one of the peers told as `connection_closed`, and as `graceful_shutdown`.
#[track_caller]
fn restart_ten_times(before_the_end: impl Fn(&Node)) -> (u64, u64) {
    let lab = Lab::new();
    let a = lab.node("a").start();
    let b = lab.node("b").seed(&a.id).start();
    let setup = lab.node("c").seed(&a.id);
    let mut c = setup.start();
    for node in [&a, &b, &c] {
        node.sees(2);
    }
    let told = |node: &Node| (node.metric_sum("noex_node_down_total"), node.metric("noex_node_up_total"));
    let start = [told(&a), told(&b)];
    assert_eq!(start, [(0, 2), (0, 2)]);
    for restart in 1..=10 {
        before_the_end(&c);
        if restart % 2 == 0 {
            c.kill();
        } else {
            c.signal(Signal::TERM);
            assert_eq!(c.exit_code(SOON), Some(0));
        }
        c = setup.start();
        for node in [&a, &b] {
            wait::until(SOON, "one down and one up", || match told(node) {
                (down, up) if (down, up) == (restart, restart + 2) => Ok(()),
                seen => Err(format!("{seen:?} at restart {restart}")),
            });
        }
    }
    wait::throughout(Duration::from_secs(2), "nothing more is told", || {
        let seen = [told(&a), told(&b)];
        if seen == [(10, 12), (10, 12)] { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    let downs = |reason| a.metric(&format!("noex_node_down_total{{reason=\"{reason}\"}}"));
    (downs("connection_closed"), downs("graceful_shutdown"))
}

#[test]
fn nodes_that_list_each_other_join_in_any_order_also_with_one_that_comes_late() {
    let lab = Lab::new();
    let setups: Vec<Setup> = ["a", "b", "c", "d"].map(|name| lab.node(name)).into();
    let setups: Vec<Setup> = setups
        .iter()
        .map(|setup| {
            let others: Vec<String> =
                setups.iter().filter(|other| other.name != setup.name).map(Setup::id).collect();
            setup.clone().seed(&others.join(","))
        })
        .collect();
    let mut nodes: Vec<Node> = [2, 0, 1].iter().map(|&at: &usize| setups[at].spawn()).collect();
    for node in &nodes {
        running(node);
        node.sees(2);
    }
    wait::rest(Duration::from_secs(5));
    nodes.push(setups[3].start());
    for node in &nodes {
        node.sees(3);
        assert_eq!(node.metric_sum("noex_node_down_total"), 0, "{}", node.id);
    }
}

#[test]
#[ignore = "soak: cargo test --features web --test blackbox -- --ignored"]
fn eight_nodes_started_at_once_are_a_mesh_within_5_s_and_stay_one() {
    let lab = Lab::new();
    let seed = lab.node("n0").var("HEARTBEAT_INTERVAL_MS", 500);
    let mut setups = vec![seed.clone()];
    setups.extend(
        (1..8).map(|i| lab.node(&format!("n{i}")).var("HEARTBEAT_INTERVAL_MS", 500).seed(&seed.id())),
    );
    let start = Instant::now();
    let nodes: Vec<Node> = setups.iter().map(Setup::spawn).collect();
    for node in &nodes {
        running(node);
        node.sees(7);
    }
    let meshed = start.elapsed();
    assert!(meshed < Duration::from_secs(5), "{meshed:?}");
    wait::throughout(Duration::from_secs(30), "no node goes down", || {
        wait::rest(Duration::from_millis(480));
        let downs: Vec<u64> = nodes.iter().map(|node| node.metric_sum("noex_node_down_total")).collect();
        if downs.iter().all(|&n| n == 0) { Ok(()) } else { Err(format!("{downs:?}")) }
    });
    for node in &nodes {
        assert_eq!(node.metric("noex_node_up_total"), 7, "{}", node.id);
    }
}

#[track_caller]
fn running(node: &Node) {
    wait::until(SOON, "it runs", || match node.get("/health") {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(format!("{other:?}")),
    });
}
