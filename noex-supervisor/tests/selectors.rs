//! Where children start: the selectors that other tests do not concern.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod cluster;

use std::collections::BTreeMap;

use cluster::{alive, each_once, event, nodes, ports::free_port, stop_all, within, worker};
use noex_net::{Cluster, ClusterConfig};
use noex_supervisor::{DistributedSupervisor, NodeSelector};

#[actix_rt::test]
async fn random_uses_every_node_and_no_order() {
    let ([a, b, c], _log) = nodes(["a", "b", "c"]).await;
    let children = (0..90).map(|n| worker(&format!("w{n:02}")));
    let builder = DistributedSupervisor::builder().name("s").node_selector(NodeSelector::Random);
    let sup = within("start", builder.children(children).start(&a)).await.unwrap();
    each_once(&[&a, &b, &c], "s", 90);
    let places: Vec<String> = alive(&[&a, &b, &c], "s").into_values().flatten().collect();
    let mut shares = BTreeMap::<&str, usize>::new();
    for place in &places {
        *shares.entry(place).or_default() += 1;
    }
    // Fewer than eight of ninety on one of three: once in some millions.
    assert!(shares.len() == 3 && shares.values().all(|share| *share >= 8), "{shares:?}");
    let turns = places.windows(4).all(|four| four[0] == four[3]);
    assert!(!turns, "they take no turns");
    within("stop", sup.stop()).await.unwrap();
    stop_all(&[&c, &b, &a]).await;
}

#[actix_rt::test]
async fn local_first_takes_another_node_where_its_own_cannot_run_the_child() {
    let ([b, c], _log) = nodes(["b", "c"]).await;
    // It knows of no worker.
    let config = ClusterConfig::test("a").port(free_port()).secret("a secret for the tests");
    let config = config.seed(b.local_node_id().to_string()).build().unwrap();
    let a = Cluster::builder(config).arbiters(1).start().await.unwrap();
    for node in [&a, &b, &c] {
        within("full mesh", node.wait_for_nodes(3)).await.unwrap();
    }
    let builder = DistributedSupervisor::builder().name("s").node_selector(NodeSelector::LocalFirst);
    let sup = within("start", builder.children(["x", "y"].map(worker)).start(&a)).await.unwrap();
    let all_on = |node: &Cluster| {
        let places: Vec<_> = alive(&[&a, &b, &c], "s").into_values().flatten().collect();
        places == [node.local_node_id().as_str(); 2]
    };
    assert!(all_on(&b), "the first of the others");
    let mut events = sup.events();
    within("b leaves", b.stop()).await;
    for _ in 0..2 {
        event(&mut events, "child_migrated").await;
    }
    assert!(all_on(&c));
    within("stop", sup.stop()).await.unwrap();
    stop_all(&[&c, &a]).await;
}
