//! Churn: nodes are killed, stopped, started again and frozen, at random. At the end all views agree, and the nodes that
//! lived through it hold no more than before.

use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    dice::Dice,
    lab::{DETECTION, Lab, Node, SOON, Setup},
    wait,
};

/// What the operating system knows a node to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    /// Sockets, files, timers of the kernel.
    descriptors: usize,
    threads: usize,
    /// Processes of noex.
    processes: u64,
    pending_calls: u64,
}

fn held(node: &Node) -> Held {
    let count = |what| fs::read_dir(format!("/proc/{}/{what}", node.pid())).unwrap().count();
    Held {
        descriptors: count("fd"),
        threads: count("task"),
        processes: node.metric("noex_processes"),
        pending_calls: node.metric("noex_remote_calls_pending"),
    }
}

fn resident(node: &Node) -> u64 {
    node.metric("process_resident_memory_bytes")
}

/// Every node is connected to exactly the others.
#[track_caller]
fn all_agree(nodes: &[&Node]) {
    for node in nodes {
        let mut others: Vec<&str> =
            nodes.iter().map(|other| other.id.as_str()).filter(|id| *id != node.id).collect();
        others.sort_unstable();
        wait::until(SOON * 2, &format!("{} is connected to all others", node.id), || {
            let view = node.view();
            let all = view["nodes"].as_array().unwrap().iter();
            let connected = all.filter(|other| other["status"] == "connected");
            let mut seen: Vec<&str> = connected.map(|other| other["id"].as_str().unwrap()).collect();
            seen.sort_unstable();
            if seen == others { Ok(()) } else { Err(format!("{seen:?}, not {others:?}")) }
        });
    }
}

/// Whoever lives on has told one down more or less than ups of every other node.
#[track_caller]
fn ups_and_downs_add_up(survivors: &[&Node], others: u64) {
    for node in survivors {
        let (ups, downs) = (node.metric("noex_node_up_total"), node.metric_sum("noex_node_down_total"));
        assert_eq!(ups, downs + others, "{}: every down follows an up", node.id);
    }
}

/// What one churn does.
#[derive(Default, Debug)]
struct Done {
    killed: usize,
    stopped: usize,
    frozen_shortly: usize,
    frozen_for_dead: usize,
}

/// `mortal` nodes are churned for so long; two more live through it.
fn churn(mortal: usize, time: Duration) {
    let lab = Lab::new();
    let mut dice = Dice::from_env(20_261_125);
    let first = lab.node("s1");
    let second = lab.node("s2").seed(&first.id());
    let seeds = format!("{},{}", first.id(), second.id());
    // Children and their monitors cross the nodes all the time: they are placed on all, and restarted when theirs dies.
    let workers = |setup: Setup| {
        setup.var("WORKERS", 8).var("MIN_NODES", 2).var("MAX_RESTARTS", 1_000_000).var("WITHIN_MS", 1000)
    };
    let survivors = [workers(first).start(), second.start()];
    let setups: Vec<Setup> = (0..mortal).map(|n| lab.node(&format!("m{n}")).seed(&seeds)).collect();
    let mut nodes: Vec<Node> = setups.iter().map(Setup::start).collect();
    let others = u64::try_from(mortal + 1).unwrap();

    let mut step = |nodes: &mut Vec<Node>, done: &mut Done| {
        let at = dice.draw(mortal);
        match dice.draw(6) {
            0 | 1 => {
                nodes[at].kill();
                done.killed += 1;
                nodes[at] = setups[at].spawn();
            }
            2 | 3 => {
                nodes[at].signal(Signal::TERM);
                // A supervisor on a frozen peer may hold it back; its end is not the matter here.
                wait::until(SOON * 2, "it stops", || nodes[at].exited().ok_or_else(|| "it runs".to_owned()));
                done.stopped += 1;
                nodes[at] = setups[at].spawn();
            }
            4 => {
                nodes[at].freeze();
                wait::rest(DETECTION / 3);
                nodes[at].thaw();
                done.frozen_shortly += 1;
            }
            _ => {
                let survivor = dice.draw(4) == 0;
                let frozen = if survivor { &survivors[1] } else { &nodes[at] };
                frozen.freeze();
                wait::rest(DETECTION * 2);
                frozen.thaw();
                done.frozen_for_dead += 1;
            }
        }
        wait::rest(Duration::from_millis(50 * u64::try_from(dice.draw(10)).unwrap()));
    };
    let quiet = |nodes: &[Node]| {
        let all: Vec<&Node> = survivors.iter().chain(nodes).collect();
        all_agree(&all);
        lab.placed(8, &all);
        ups_and_downs_add_up(&[&survivors[0], &survivors[1]], others);
    };

    // What is kept for good, such as threads for names to resolve, is there after a few rounds.
    let mut done = Done::default();
    for _ in 0..6 {
        step(&mut nodes, &mut done);
    }
    quiet(&nodes);
    let before: Vec<u64> = survivors.iter().map(resident).collect();

    let began = Instant::now();
    while began.elapsed() < time {
        step(&mut nodes, &mut done);
    }
    quiet(&nodes);
    println!("{:?} of churn over {} nodes: {done:?}; all views agree", began.elapsed(), mortal + 2);
    for (node, before) in survivors.iter().zip(before) {
        let (ups, downs) = (node.metric("noex_node_up_total"), node.metric_sum("noex_node_down_total"));
        println!(
            "{}: {ups} ups, {downs} downs, {} KiB resident, {} before",
            node.id,
            resident(node) >> 10,
            before >> 10
        );
    }
    no_more_than_newcomers(&lab, &survivors, nodes);
}

/// Alone again, the two survivors hold as much as two new nodes in their place would.
#[track_caller]
fn no_more_than_newcomers(lab: &Lab, survivors: &[Node; 2], mut nodes: Vec<Node>) {
    for node in &mut nodes {
        node.kill();
    }
    let [one, other] = survivors;
    all_agree(&[one, other]);
    lab.placed(8, &[one, other]);
    // As they were before anything happened: one of them with the supervisor, both with half of its children.
    let first = lab.node("f1").var("WORKERS", 8).var("MIN_NODES", 2).start();
    let second = lab.node("f2").seed(&first.id).start();
    wait::until(SOON, "the new ones run", || match first.metric("noex_connected_nodes") {
        1 => Ok(()),
        n => Err(format!("{n}")),
    });
    let sum = |some: [&Node; 2]| {
        let [a, b] = some.map(held);
        Held {
            descriptors: a.descriptors + b.descriptors,
            threads: a.threads + b.threads,
            processes: a.processes + b.processes,
            pending_calls: a.pending_calls + b.pending_calls,
        }
    };
    wait::until(SOON, "the survivors hold what new nodes hold", || {
        let [old, new] = [sum([one, other]), sum([&first, &second])];
        // A pool of threads for blocking work empties after ten idle seconds; it is bounded, and no matter here.
        let same = Held { threads: 0, ..old } == Held { threads: 0, ..new };
        if same && old.threads <= new.threads + 4 { Ok(()) } else { Err(format!("{old:?}, not {new:?}")) }
    });
    // The supervisor watches the children that live on the other node: eight at most, and its own name.
    let monitors: Vec<u64> =
        survivors.iter().map(|node| node.metric("noex_remote_monitors_active")).collect();
    assert!(monitors.iter().sum::<u64>() <= 9, "{monitors:?}");
}

#[test]
fn nodes_that_are_killed_stopped_and_frozen_at_random_leave_nothing_behind() {
    churn(3, Duration::from_secs(8));
}

#[test]
#[ignore = "soak: cargo test --features web --test blackbox churn -- --ignored --nocapture"]
fn ten_minutes_of_churn_over_eight_nodes_leave_nothing_behind() {
    churn(6, Duration::from_secs(600));
}

#[test]
fn a_node_frozen_for_less_than_it_takes_to_lose_it_is_not_lost() {
    let lab = Lab::new();
    let setups = ["a", "b", "c"].map(|name| lab.node(name).var("HEARTBEAT_MISS_THRESHOLD", 15));
    let a = setups[0].start();
    let nodes = [setups[1].clone().seed(&a.id).start(), setups[2].clone().seed(&a.id).start()];
    let nodes: Vec<&Node> = std::iter::once(&a).chain(&nodes).collect();
    all_agree(&nodes);
    // Two seconds of three that kill.
    for node in &nodes {
        node.freeze();
        wait::rest(Duration::from_secs(2));
        node.thaw();
        wait::rest(Duration::from_millis(500));
    }
    for node in &nodes {
        assert_eq!((node.metric("noex_node_up_total"), node.metric_sum("noex_node_down_total")), (2, 0));
    }
}
