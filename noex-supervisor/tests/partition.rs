//! A partition between nodes of one program, connected in memory: who stops himself, when, and where he runs then.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod cluster;

use std::time::{Duration, Instant};

use cluster::{Log, Worker, alive, each_once, event, stop_all, within, worker};
use noex_net::{Cluster, ClusterConfig, ClusterEvent, MemoryNetwork};
use noex_supervisor::{
    DistributedSupervisor, DistributedSupervisorBuilder, NodeSelector, OrphanPolicy, PartitionPolicy,
};

const INTERVAL: Duration = Duration::from_millis(200);
const GRACE: Duration = Duration::from_millis(500);
/// Of a machine that is busy.
const SLACK: Duration = Duration::from_secs(3);

async fn nodes<const N: usize>(names: [&str; N], network: &MemoryNetwork) -> [Cluster; N] {
    let mut all: Vec<Cluster> = Vec::new();
    for name in names {
        let mut config = ClusterConfig::test(name).advertise_host(format!("{name}.test")).port(4369);
        config = config.heartbeat_interval(INTERVAL).heartbeat_miss_threshold(3);
        if let Some(seed) = all.first() {
            config = config.seed(seed.local_node_id().to_string());
        }
        let builder = Cluster::builder(config.build().unwrap()).network(network).behavior::<Worker>();
        all.push(builder.data(Log::default()).arbiters(1).start().await.unwrap());
    }
    for node in &all {
        within("full mesh", node.wait_for_nodes(N)).await.unwrap();
    }
    all.try_into().unwrap()
}

/// On that node if it can be reached, else on any.
fn rather_on(node: &Cluster) -> NodeSelector {
    let there = node.local_node_id().clone();
    NodeSelector::custom(move |nodes, _| {
        let ids = || nodes.iter().map(|node| node.id.clone());
        ids().find(|id| *id == there).or_else(|| ids().next())
    })
}

/// Looks until so many run on these nodes. Whoever lives twice anywhere meanwhile fails the test.
async fn until(n: usize, on: &[&Cluster], everywhere: &[&Cluster]) {
    within("so many run", async {
        while alive(on, "s").len() != n {
            let twice = alive(everywhere, "s").into_iter().find(|(_, places)| places.len() > 1);
            assert_eq!(twice, None);
            actix_rt::task::yield_now().await;
        }
    })
    .await;
}

#[actix_rt::test]
async fn an_orphan_runs_on_for_its_time_and_is_gone_soon_after_it_and_only_then_started_elsewhere() {
    let network = MemoryNetwork::new();
    let [a, b] = nodes(["a", "b"], &network).await;
    let children =
        ["x", "y"].map(|id| worker(id).node_selector(rather_on(&b)).orphan(OrphanPolicy::StopAfter(GRACE)));
    let sup = DistributedSupervisor::builder().name("s").children(children).start(&a).await.unwrap();
    assert_eq!(alive(&[&b], "s").len(), 2);
    let mut downs = b.events();
    let cut = Instant::now();
    network.cut(a.local_node_id(), b.local_node_id());
    within("b notices", async {
        while !matches!(downs.recv().await, Some(ClusterEvent::NodeDown { .. })) {}
    })
    .await;
    until(0, &[&b], &[&a, &b]).await;
    let gone = cut.elapsed();
    // It looks every quarter of an interval, and kills what is not gone in half of one.
    assert!(gone >= GRACE, "not before its time: {gone:?}");
    assert!(gone <= GRACE + INTERVAL + SLACK, "{gone:?}");
    until(2, &[&a], &[&a, &b]).await;
    let started = cut.elapsed();
    // The other end may have noticed by silence only: three intervals, its time, and one more to stop.
    assert!(started >= INTERVAL * 3 + GRACE + INTERVAL, "{started:?}");
    let before = alive(&[&a], "s");
    network.heal_all();
    within("b is back", a.wait_for_nodes(2)).await.unwrap();
    each_once(&[&a, &b], "s", 2);
    assert_eq!(alive(&[&a, &b], "s"), before, "what runs stays");
    within("stop", sup.stop()).await.unwrap();
    stop_all(&[&b, &a]).await;
}

fn by_majority(children_on: &Cluster, voters: &[&Cluster]) -> DistributedSupervisorBuilder {
    let voters = voters.iter().map(|node| node.local_node_id().clone());
    let children = ["x", "y"].map(|id| worker(id).node_selector(rather_on(children_on)));
    let builder = DistributedSupervisor::builder().name("s").children(children).voters(voters);
    builder.partition_policy(PartitionPolicy::Majority).restart_intensity(1, Duration::from_secs(60))
}

#[actix_rt::test]
async fn the_larger_side_with_the_supervisor_and_without_a_child_starts_all_when_the_other_side_has_stopped_them()
 {
    let network = MemoryNetwork::new();
    let [a, b, c] = nodes(["a", "b", "c"], &network).await;
    let all = [&a, &b, &c];
    let sup = by_majority(&c, &all).start(&a).await.unwrap();
    assert_eq!(alive(&[&c], "s").len(), 2);
    for node in [&a, &b] {
        network.cut(node.local_node_id(), c.local_node_id());
    }
    until(0, &[&c], &all).await;
    until(2, &[&a, &b], &all).await;
    assert!(!sup.stats().await.unwrap().waits_for_majority);
    let before = alive(&all, "s");
    network.heal_all();
    within("c is back", a.wait_for_nodes(3)).await.unwrap();
    assert_eq!(alive(&all, "s"), before, "what runs stays, and the other side has nothing");
    within("stop", sup.stop()).await.unwrap();
    stop_all(&[&c, &b, &a]).await;
}

#[actix_rt::test]
async fn the_larger_side_without_the_supervisor_and_without_a_child_gets_both() {
    let network = MemoryNetwork::new();
    let [a, b, c] = nodes(["a", "b", "c"], &network).await;
    let all = [&a, &b, &c];
    let smaller = by_majority(&c, &all).start(&c).await.unwrap();
    let mut events = smaller.events();
    let next = by_majority(&c, &all).standby(&a).unwrap();
    assert_eq!(alive(&[&c], "s").len(), 2);
    for node in [&a, &b] {
        network.cut(node.local_node_id(), c.local_node_id());
    }
    event(&mut events, "majority_lost").await;
    until(0, &[&c], &all).await;
    until(2, &[&a, &b], &all).await;
    let before = alive(&all, "s");
    network.heal_all();
    within("the one there gives way", smaller.wait()).await;
    within("c is back", a.wait_for_nodes(3)).await.unwrap();
    assert_eq!(alive(&all, "s"), before, "what runs stays");
    within("stop", next.stop()).await;
    stop_all(&[&c, &b, &a]).await;
}

#[actix_rt::test]
async fn under_majority_a_child_that_may_run_on_does_so_on_the_smaller_side_and_one_of_it_stays() {
    let network = MemoryNetwork::new();
    let [a, b, c] = nodes(["a", "b", "c"], &network).await;
    let all = [&a, &b, &c];
    let runs_on = worker("on").node_selector(rather_on(&c)).orphan(OrphanPolicy::RunOn);
    let sup = by_majority(&c, &all).child(runs_on).start(&a).await.unwrap();
    assert_eq!(alive(&[&c], "s").len(), 3);
    // Behind the last message of its start: an instance that is not confirmed ends with the session.
    sup.child::<Worker>("on").await.unwrap().arg().await.unwrap();
    for node in [&a, &b] {
        network.cut(node.local_node_id(), c.local_node_id());
    }
    within("the larger side has all", async {
        while alive(&[&a, &b], "s").len() < 3 {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(alive(&[&c], "s").into_keys().collect::<Vec<_>>(), ["on"], "the others stopped themselves");
    let before = alive(&[&a, &b], "s");
    let mut events = sup.events();
    network.heal_all();
    event(&mut events, "child_duplicate_stopped").await;
    assert_eq!(alive(&all, "s"), before, "the older one is gone, and what runs stays");
    within("stop", sup.stop()).await.unwrap();
    stop_all(&[&c, &b, &a]).await;
}
