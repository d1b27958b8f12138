//! Children whose work is done before their supervisor has heard that they run: their end is heard as it was.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../../noex-net/tests/support/ports.rs"]
mod ports;

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use noex_actors::{Context, ExitReason, Node, Placement, SpawnOptions, behavior};
use noex_net::{Cluster, ClusterConfig};
use noex_supervisor::{
    ChildTemplate, DistributedChildTemplate, DistributedSupervisor, NodeSelector, Restart, Strategy,
    Supervisor,
};

const JOBS: usize = 300;
const LONG: Duration = Duration::from_secs(20);

/// How often jobs of each kind have begun.
static BEGUN: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

/// Its work takes no time.
struct Job;

#[behavior(name = "job")]
impl Job {
    #[init]
    fn new(kind: usize, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        BEGUN[kind].fetch_add(1, Ordering::Relaxed);
        cx.continue_with(());
        Ok(Job)
    }
    #[options]
    fn options() -> SpawnOptions {
        SpawnOptions::new().placement(Placement::RoundRobin)
    }
    #[continued]
    fn over(&mut self, (): (), cx: &mut Context<Self>) {
        cx.stop(ExitReason::Normal);
    }
}

async fn within<F: Future>(what: &str, future: F) -> F::Output {
    actix_rt::time::timeout(LONG, future).await.unwrap_or_else(|_| panic!("{what}: not in time"))
}

#[actix_rt::test]
async fn a_job_of_a_local_supervisor_that_is_done_at_once_is_not_done_again() {
    let node = Node::builder().arbiters(2).start().await.unwrap();
    let template = ChildTemplate::new::<Job>().restart(Restart::Transient);
    let sup = Supervisor::builder().strategy(Strategy::SimpleOneForOne).child_template(template);
    let sup = sup.start(&node).await.unwrap();
    for _ in 0..JOBS {
        within("start", sup.start_instance::<Job>(0)).await.unwrap();
    }
    let all_are_gone = async {
        while !sup.children().await.unwrap().is_empty() {
            actix_rt::task::yield_now().await;
        }
    };
    within("the last end", all_are_gone).await;
    assert_eq!(sup.stats().await.unwrap().total_restarts, 0);
    assert_eq!(BEGUN[0].load(Ordering::Relaxed), JOBS);
    sup.stop().await.unwrap();
    node.stop().await;
}

#[actix_rt::test]
async fn a_job_of_a_distributed_supervisor_that_is_done_at_once_is_not_done_again() {
    let mut nodes: Vec<Cluster> = Vec::new();
    for name in ["a", "b"] {
        let mut config = ClusterConfig::test(name).port(ports::free_port()).secret("a secret for the tests");
        if let Some(seed) = nodes.first() {
            config = config.seed(seed.local_node_id().as_str());
        }
        let builder = Cluster::builder(config.build().unwrap()).behavior::<Job>().arbiters(1);
        nodes.push(builder.start().await.unwrap());
    }
    for node in &nodes {
        within("both", node.wait_for_nodes(2)).await.unwrap();
    }
    let template = DistributedChildTemplate::new::<Job>().restart(Restart::Transient);
    let sup = DistributedSupervisor::builder()
        .name("jobs")
        .strategy(Strategy::SimpleOneForOne)
        .node_selector(NodeSelector::RoundRobin)
        .child_template(template)
        .start(&nodes[0])
        .await
        .unwrap();
    for _ in 0..JOBS {
        within("start", sup.start_instance::<Job>(1)).await.unwrap();
    }
    let all_are_gone = async {
        while sup.stats().await.unwrap().child_count > 0 {
            actix_rt::task::yield_now().await;
        }
    };
    within("the last end", all_are_gone).await;
    assert_eq!(sup.stats().await.unwrap().total_restarts, 0);
    assert_eq!(BEGUN[1].load(Ordering::Relaxed), JOBS);
    within("stop", sup.stop()).await.unwrap();
    for node in &nodes {
        within("stop", node.stop()).await;
    }
}
