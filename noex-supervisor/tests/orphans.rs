//! Instances that stop themselves when their supervisor is out of reach, in processes of the operating system.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod os_node;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use noex_actors::{ExitReason, behavior};
use noex_net::{Cluster, ClusterConfig, ClusterEvent};
use noex_supervisor::{DistributedChildSpec, DistributedSupervisor, NodeSelector, OrphanPolicy};
use os_node::Node;

const CHILDREN: usize = 6;
const SECRET: &str = "a secret for the tests";
/// How long they run on.
const GRACE: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_secs(30);

struct Counter(i64);

#[behavior(name = "counter")]
impl Counter {
    #[init]
    fn new(start: i64) -> Result<Self, ExitReason> {
        Ok(Counter(start))
    }
    #[call]
    fn add(&mut self, n: i64) -> i64 {
        self.0 += n;
        self.0
    }
}

async fn start(name: &str, seed: Option<&str>) -> Cluster {
    let mut config = ClusterConfig::test(name).secret(SECRET);
    if let Some(seed) = seed {
        config = config.seed(seed);
    }
    Cluster::builder(config.build().unwrap()).behavior::<Counter>().arbiters(1).start().await.unwrap()
}

async fn supervise(cluster: &Cluster) -> DistributedSupervisor {
    let child = |n| {
        let child = DistributedChildSpec::new::<Counter>(format!("counter-{n}"), 0);
        child.orphan(OrphanPolicy::StopAfter(GRACE))
    };
    let builder = DistributedSupervisor::builder().name("workers").node_selector(NodeSelector::RoundRobin);
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
        println!("\nid {}", cluster.local_node_id());
        let asked = cluster.clone();
        std::thread::spawn(move || {
            for line in std::io::stdin().lines() {
                let Ok(line) = line else { break };
                let of =
                    |p: &noex_actors::SupervisedProcess| format!("{}={}", p.token.child, p.token.generation);
                let alive: Vec<_> = asked.supervised().iter().map(of).collect();
                println!("\nalive {line} {}", alive.join(","));
            }
            std::process::exit(0);
        });
        let _supervisor = match owner {
            Some(nodes) => {
                cluster.wait_for_nodes(nodes).await.unwrap();
                Some(supervise(&cluster).await)
            }
            None => None,
        };
        std::future::pending::<()>().await;
    });
}

type Instances = BTreeMap<String, Vec<u64>>;

/// What lives on this node and those.
fn alive(cluster: &Cluster, nodes: &mut [&mut Node]) -> Instances {
    let mut all = Instances::new();
    for process in cluster.supervised() {
        all.entry(process.token.child).or_default().push(process.token.generation.0);
    }
    for (child, generation) in nodes.iter_mut().flat_map(|node| node.alive()) {
        all.entry(child).or_default().push(generation);
    }
    all
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

/// Waits until each lives once.
async fn settled(cluster: &Cluster, node: &mut Node) -> Instances {
    let began = Instant::now();
    loop {
        let now = alive(cluster, &mut [&mut *node]);
        if now.len() == CHILDREN && now.values().all(|generations| generations.len() == 1) {
            return now;
        }
        assert!(began.elapsed() < LONG, "one of each: {now:?}");
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
    b.freeze();
    next_down(&mut events).await;
    let lost = Instant::now();
    until("all run here", &cluster, &mut [], |now| now.len() == CHILDREN).await;
    assert!(lost.elapsed() >= GRACE, "not before those there are over: {:?}", lost.elapsed());
    b.signal("-CONT");
    // Its instances take no message from here on (`noex-actors/tests/lease.rs`), and are gone when its node has looked.
    let after = settled(&cluster, &mut b).await;
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
