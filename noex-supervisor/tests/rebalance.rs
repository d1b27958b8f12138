//! Children that move to give every node its share, over real nodes on loopback.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod cluster;

use std::{collections::BTreeMap, time::Duration};

use cluster::{Event, Log, Worker, alive, each_once, event, join, nodes, stop_all, within, worker};
use noex_actors::Events;
use noex_net::Cluster;
use noex_supervisor::{DistributedSupervisor, NodeSelector, Restart, Strategy};

fn children(n: usize) -> impl Iterator<Item = noex_supervisor::DistributedChildSpec> {
    (0..n).map(|n| worker(&format!("w{n}")))
}

/// A further node, known to all.
async fn another(name: &str, all: &[&Cluster], log: &Log) -> Cluster {
    let new = join(name, Some(all[0].local_node_id().as_str()), log).await;
    for node in all.iter().copied().chain([&new]) {
        within("full mesh", node.wait_for_nodes(all.len() + 1)).await.unwrap();
    }
    new
}

/// Waits for so many moves, and says which.
async fn moved(events: &mut Events<Event>, n: usize) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    for _ in 0..n {
        match event(events, "child_migrated").await {
            Event::ChildMigrated { child_id, from_node, to_node, .. } => {
                all.push((child_id, from_node.name().to_owned(), to_node.name().to_owned()));
            }
            other => panic!("{other:?}"),
        }
    }
    all
}

/// Moves what is to be moved, as soon as the supervisor has heard that the node is there; how many.
async fn rebalanced(sup: &DistributedSupervisor) -> usize {
    within("it hears of the node", async {
        loop {
            match sup.rebalance().await.unwrap() {
                0 => actix_rt::task::yield_now().await,
                count => return count,
            }
        }
    })
    .await
}

async fn shares(sup: &DistributedSupervisor) -> Vec<usize> {
    sup.stats().await.unwrap().children_by_node.into_values().collect()
}

#[actix_rt::test]
async fn a_node_that_came_later_gets_its_share_with_as_few_moves_as_it_takes() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        let ([a, b], log) = nodes(["a", "b"]).await;
        let builder = DistributedSupervisor::builder()
            .name("tree")
            .strategy(strategy)
            .restart_intensity(0, Duration::from_secs(5));
        let sup =
            builder.node_selector(NodeSelector::RoundRobin).children(children(30)).start(&a).await.unwrap();
        assert_eq!(shares(&sup).await, [15, 15]);
        let c = another("c", &[&a, &b], &log).await;
        let before: BTreeMap<_, _> =
            sup.children().await.unwrap().into_iter().map(|child| (child.id.clone(), child)).collect();
        log.take();
        let mut events = sup.events();
        // From whichever node.
        let from_c = within("its name", async {
            loop {
                match DistributedSupervisor::whereis(&c, "tree") {
                    Some(sup) => return sup,
                    None => actix_rt::task::yield_now().await,
                }
            }
        })
        .await;
        assert_eq!(rebalanced(&from_c).await, 10, "{strategy}");
        let moves = moved(&mut events, 10).await;
        assert!(moves.iter().all(|(_, from, to)| from != "c" && to == "c"), "{moves:?}");
        assert_eq!(shares(&sup).await, [10, 10, 10]);
        each_once(&[&a, &b, &c], "tree", 30);
        let log = log.take();
        assert_eq!(log.len(), 20, "nobody else was touched: {log:?}");
        for (child, from, _) in &moves {
            let at = |line: String| log.iter().position(|other| *other == line).expect("it was written");
            assert!(at(format!("-{child}@{from}")) < at(format!("+{child}@c")), "old before new: {log:?}");
        }
        for child in sup.children().await.unwrap() {
            let moved = moves.iter().any(|(id, ..)| *id == child.id);
            assert_eq!(child.generation > before[&child.id].generation, moved, "{}", child.id);
            let arg = sup.child::<Worker>(&child.id).await.unwrap().arg().await.unwrap();
            assert_eq!(arg, format!("for {}", child.id));
        }
        assert_eq!(sup.rebalance().await.unwrap(), 0, "it is even");
        within("stop", sup.stop()).await.unwrap();
        assert!(alive(&[&a, &b, &c], "tree").is_empty());
        stop_all(&[&a, &b, &c]).await;
    }
}

#[actix_rt::test]
async fn whoever_is_told_where_to_be_and_temporary_children_stay() {
    let ([a], log) = nodes(["a"]).await;
    let of = |id: &str, selector: NodeSelector| worker(id).node_selector(selector);
    let sup = DistributedSupervisor::builder()
        .name("tree")
        .child(of("local", NodeSelector::LocalFirst))
        .child(of("pinned", NodeSelector::Node(a.local_node_id().clone())))
        .child(of("chosen", NodeSelector::custom(|nodes, _| nodes.first().map(|node| node.id.clone()))))
        .child(of("temporary", NodeSelector::RoundRobin).restart(Restart::Temporary))
        .child(of("free", NodeSelector::RoundRobin))
        .start(&a)
        .await
        .unwrap();
    let b = another("b", &[&a], &log).await;
    let mut events = sup.events();
    assert_eq!(rebalanced(&sup).await, 1);
    assert_eq!(moved(&mut events, 1).await, [("free".to_owned(), "a".to_owned(), "b".to_owned())]);
    assert_eq!(sup.rebalance().await.unwrap(), 0);
    each_once(&[&a, &b], "tree", 5);
    stop_all(&[&a, &b]).await;
}

#[actix_rt::test]
async fn least_loaded_children_move_to_where_there_are_fewer_processes() {
    let ([a], log) = nodes(["a"]).await;
    let sup = DistributedSupervisor::builder()
        .name("tree")
        .node_selector(NodeSelector::LeastLoaded)
        .children(children(20))
        .start(&a)
        .await
        .unwrap();
    // Nobody's children, which count as well, and stay.
    for _ in 0..6 {
        a.spawn::<Worker>(String::new()).await.unwrap();
    }
    let b = another("b", &[&a], &log).await;
    let mut events = sup.events();
    let count = rebalanced(&sup).await;
    // The supervisor is a process too: of 27, half.
    assert!((13..=14).contains(&count), "{count}");
    moved(&mut events, count).await;
    let spread = a.processes().len().abs_diff(b.processes().len());
    assert!(spread <= 1, "{} and {}", a.processes().len(), b.processes().len());
    each_once(&[&a, &b], "tree", 20);
    stop_all(&[&a, &b]).await;
}

#[actix_rt::test]
async fn a_burst_of_starts_is_spread_over_the_least_loaded() {
    let ([a, b, c], _log) = nodes(["a", "b", "c"]).await;
    let builder = DistributedSupervisor::builder().name("tree").node_selector(NodeSelector::LeastLoaded);
    let sup = builder.start(&a).await.unwrap();
    // All at once, faster than nodes tell their load.
    let specs: Vec<_> = children(30).collect();
    let starts = specs.into_iter().map(|spec| {
        let sup = sup.clone();
        actix_rt::spawn(async move { sup.start_child(spec).await.unwrap() })
    });
    for start in starts.collect::<Vec<_>>() {
        within("a start", start).await.unwrap();
    }
    let shares = shares(&sup).await;
    let (most, least) = (shares.iter().max().unwrap(), shares.iter().min().unwrap());
    // The supervisor is a process too.
    assert!(shares.len() == 3 && most - least <= 2, "{shares:?}");
    stop_all(&[&a, &b, &c]).await;
}
