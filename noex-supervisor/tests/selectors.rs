//! Where children start: the selectors that other tests do not concern.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod cluster;

use std::{collections::BTreeMap, sync::Arc};

use cluster::{alive, each_once, event, nodes, ports::free_port, stop_all, within, worker};
use noex_actors::NodeId;
use noex_net::{Cluster, ClusterConfig, NodeInfo};
use noex_supervisor::{ChildError, DistributedSupervisor, NodeSelector};
use parking_lot::Mutex;

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

/// Where a function says, over a loss as well; where it names nobody, or nobody that could, the child waits; a panic of it is no end.
#[actix_rt::test]
async fn a_function_says_where_children_start_and_may_name_nobody_for_a_while() {
    let ([a, b, c], log) = nodes(["a", "b", "c"]).await;
    let says = Arc::new(Mutex::new("c"));
    let asked = Arc::clone(&says);
    let selector = NodeSelector::custom(move |nodes: &[NodeInfo], child: &str| {
        let says = *asked.lock();
        assert!(says != "panic" || child == "calm", "a function that panics");
        if says == "somewhere else" {
            return NodeId::new("nobody", "127.0.0.1", 9).ok();
        }
        nodes.iter().find(|node| node.id.name() == says).map(|node| node.id.clone())
    });
    let builder = DistributedSupervisor::builder().name("s").node_selector(selector);
    let sup = within("start", builder.children(["x", "y"].map(worker)).start(&a)).await.unwrap();
    let on = |node: &Cluster| alive(&[node], "s").into_keys().collect::<Vec<_>>();
    assert_eq!(on(&c), ["x", "y"]);
    for nobody in ["z", "somewhere else", "panic"] {
        *says.lock() = nobody;
        match within("an answer", sup.start_child(worker("new"))).await.unwrap_err() {
            ChildError::NoAvailableNode { child_id, selector } => {
                assert_eq!((child_id.as_str(), selector.as_str()), ("new", "custom"), "{nobody}");
            }
            other => panic!("{nobody}: {other:?}"),
        }
    }
    // What is lost waits until there is an answer.
    let mut events = sup.events();
    within("c goes", c.stop()).await;
    for _ in 0..2 {
        event(&mut events, "child_pending").await;
    }
    each_once(&[&a, &b], "s", 0);
    *says.lock() = "d";
    let d = cluster::join("d", Some(a.local_node_id().as_str()), &log).await;
    let all = async {
        while on(&d) != ["x", "y"] {
            actix_rt::task::yield_now().await;
        }
    };
    within("they start on the node that is named", all).await;
    each_once(&[&a, &b, &d], "s", 2);
    within("stop", sup.stop()).await.unwrap();
    stop_all(&[&d, &b, &a]).await;
}
