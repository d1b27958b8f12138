//! Instances that stop themselves when their supervisor is out of reach, in processes of the operating system.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod os_node;

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use noex_net::{Cluster, ClusterEvent};
use noex_supervisor::{DistributedChildSpec, DistributedSupervisor, NodeSelector, OrphanPolicy};
use os_node::{BEATING, Counter, Instances, Node, alive, answer_questions, settle, start};

const CHILDREN: usize = 6;
/// How long they run on.
const GRACE: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_secs(30);

async fn supervise(cluster: &Cluster) -> DistributedSupervisor {
    let child = |n| {
        let child = DistributedChildSpec::new::<Counter>(format!("counter-{n}"), 0);
        child.orphan(OrphanPolicy::StopAfter(GRACE))
    };
    let builder = DistributedSupervisor::builder().name("workers").node_selector(NodeSelector::RoundRobin);
    builder.children((1..=CHILDREN).map(child)).start(cluster).await.unwrap()
}

/// Without a name, and without a word about orphans.
async fn supervise_alone(cluster: &Cluster) -> DistributedSupervisor {
    let child = |n| DistributedChildSpec::new::<Counter>(format!("counter-{n}"), 0);
    let builder = DistributedSupervisor::builder().node_selector(NodeSelector::RoundRobin);
    builder.children((1..=CHILDREN).map(child)).start(cluster).await.unwrap()
}

/// The main function of a node; nothing when the tests are run.
#[test]
fn node_main() {
    let Ok(name) = std::env::var("TEST_NODE") else { return };
    let seed = std::env::var("TEST_SEED").ok();
    let owner = std::env::var("TEST_STANDBY").ok().map(|nodes| nodes.parse().unwrap());
    actix_rt::System::new().block_on(async move {
        let cluster = start(&name, seed.as_deref()).await;
        BEATING.store(true, Ordering::Relaxed);
        answer_questions(&cluster);
        let _supervisor = match owner {
            Some(nodes) => {
                cluster.wait_for_nodes(nodes).await.unwrap();
                let alone = name.starts_with("alone");
                Some(if alone { supervise_alone(&cluster).await } else { supervise(&cluster).await })
            }
            None => None,
        };
        std::future::pending::<()>().await;
    });
}

/// Looks until it is so. Whoever lives twice meanwhile fails the test.
async fn until(
    what: &str,
    cluster: &Cluster,
    nodes: &mut [&mut Node],
    so: impl Fn(&Instances) -> bool,
) -> Instances {
    let began = Instant::now();
    loop {
        let now = alive(cluster, nodes);
        let twice = now.iter().find(|(_, generations)| generations.len() > 1);
        assert_eq!(twice, None, "{what}");
        if so(&now) {
            return now;
        }
        assert!(began.elapsed() < LONG, "{what}: {now:?}");
        actix_rt::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn next_down(events: &mut noex_actors::Events<ClusterEvent>) {
    let down = async {
        loop {
            match events.recv().await {
                Some(ClusterEvent::NodeDown { .. }) => return,
                Some(_) => {}
                None => panic!("no more events"),
            }
        }
    };
    actix_rt::time::timeout(LONG, down).await.unwrap();
}

#[actix_rt::test]
async fn a_frozen_node_does_nothing_more_with_instances_that_were_replaced() {
    let cluster = start("a", None).await;
    let seed = cluster.local_node_id().to_string();
    let mut b = Node::start("b", &seed, None);
    cluster.wait_for_nodes(2).await.unwrap();
    let _supervisor = supervise(&cluster).await;
    let before = until("all run", &cluster, &mut [&mut b], |now| now.len() == CHILDREN).await;
    let mut events = cluster.events();
    let began = Instant::now();
    while b.beats().is_empty() {
        assert!(began.elapsed() < LONG, "they work");
        actix_rt::task::yield_now().await;
    }
    b.freeze();
    next_down(&mut events).await;
    let lost = Instant::now();
    until("all run here", &cluster, &mut [], |now| now.len() == CHILDREN).await;
    assert!(lost.elapsed() >= GRACE, "not before those there are over: {:?}", lost.elapsed());
    drop(b.beats());
    b.signal("-CONT");
    // They are gone when their node has looked, and until then take no message.
    let after = settle("one of each", &cluster, &mut [&mut b], CHILDREN).await;
    let beats = b.beats();
    assert!(beats.len() <= 1, "one may have been under way: {beats:?}");
    let moved = after.iter().filter(|(child, generations)| before[*child] != **generations).count();
    assert_eq!(moved, CHILDREN / 2, "who was in reach was not restarted");
    cluster.stop().await;
}

#[actix_rt::test]
async fn orphans_of_a_killed_owner_stop_after_their_time() {
    let cluster = start("a", None).await;
    let seed = cluster.local_node_id().to_string();
    let owner = Node::start("b", &seed, Some(2));
    cluster.wait_for_nodes(2).await.unwrap();
    let here = |now: &Instances| now.len() == CHILDREN / 2;
    until("half of them run here", &cluster, &mut [], here).await;
    let mut events = cluster.events();
    drop(owner);
    next_down(&mut events).await;
    let lost = Instant::now();
    until("they stop", &cluster, &mut [], Instances::is_empty).await;
    assert!(lost.elapsed() + Duration::from_millis(150) >= GRACE, "not at once: {:?}", lost.elapsed());
    cluster.stop().await;
}

/// They ran for ever, with their global names, and nobody could ever take them over.
#[actix_rt::test]
async fn what_a_supervisor_without_a_name_leaves_stops_when_its_node_is_killed_and_when_it_is_stopped() {
    let cluster = start("a", None).await;
    let seed = cluster.local_node_id().to_string();
    let here = |now: &Instances| now.len() == CHILDREN / 2;
    let owner = Node::start("alone-b", &seed, Some(2));
    cluster.wait_for_nodes(2).await.unwrap();
    until("half of them run here", &cluster, &mut [], here).await;
    drop(owner);
    until("they stop", &cluster, &mut [], Instances::is_empty).await;
    assert_eq!(cluster.global().count(), 0, "no name of them stays");

    let other = start("c", Some(&seed)).await;
    cluster.wait_for_nodes(2).await.unwrap();
    let _supervisor = supervise_alone(&other).await;
    until("half of them run here", &cluster, &mut [], here).await;
    other.stop().await;
    assert_eq!(alive(&cluster, &mut []), Instances::new(), "all are stopped, and none has moved here");
    cluster.stop().await;
}
