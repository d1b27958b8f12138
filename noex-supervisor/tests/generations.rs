//! Generations rise from supervisor to supervisor of one name, also where nothing lives that the one before has started and the clock
//! is behind.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod cluster;

use cluster::{nodes, stop_all, within, worker};
use noex_actors::Generation;
use noex_net::Cluster;
use noex_supervisor::{DistributedSupervisor, NodeSelector};

/// Far ahead of every clock.
const AHEAD: u64 = 5_000_000_000;

fn generation(node: &Cluster) -> Generation {
    let all = node.supervised();
    assert_eq!(all.len(), 1);
    all[0].token.generation
}

async fn start(on: &Cluster, unix_seconds: u64) -> DistributedSupervisor {
    let here = NodeSelector::Node(on.local_node_id().clone());
    let builder = DistributedSupervisor::builder().name("s").child(worker("x").node_selector(here));
    within("it starts", builder.__unix_seconds(unix_seconds).start(on)).await.unwrap()
}

#[actix_rt::test]
async fn the_next_supervisor_begins_above_one_whose_children_are_gone_whatever_its_clock_says() {
    let ([a, b, c], _log) = nodes(["a", "b", "c"]).await;
    let first = start(&a, AHEAD).await;
    let before = generation(&a);
    assert_eq!(before.term(), AHEAD);
    within("stop", first.stop()).await.unwrap();
    assert!(a.supervised().is_empty());
    // On its own node, and on one that never had a child of it, after that node is gone.
    let second = start(&a, 7).await;
    assert!(generation(&a) > before && generation(&a).n() == 1);
    let before = generation(&a);
    within("stop", second.stop()).await.unwrap();
    stop_all(&[&a]).await;
    for (node, gone) in [(&b, false), (&c, true)] {
        if gone {
            stop_all(&[&b]).await;
        }
        let next = start(node, 7).await;
        assert!(generation(node) > before && generation(node).n() == 1);
        within("stop", next.stop()).await.unwrap();
    }
    stop_all(&[&c]).await;
}
