//! Distributed supervisors over nodes that are processes of the operating system: killed, stopped and continued.
//!
//! The test program starts itself again as a node: `node_main` is that node's main function. A node prints the instances
//! that live on it whenever it is asked with a line on its standard input.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod os_node;

use std::time::{Duration, Instant};

use noex_actors::{NodeDownReason, NodeId};
use noex_net::{Cluster, ClusterEvent};
use noex_supervisor::{
    ChildInfo, ChildState, DistributedChildSpec, DistributedSupervisor, DistributedSupervisorEvent as Event,
    NodeSelector, StartSupervisorError, SupervisorView,
};

use self::os_node::{Counter, Instances, Node, alive, answer_questions, settle, start};

const CHILDREN: usize = 12;

fn builder() -> noex_supervisor::DistributedSupervisorBuilder {
    DistributedSupervisor::builder()
        .name("workers")
        .node_selector(NodeSelector::RoundRobin)
        .children((1..=CHILDREN).map(|n| DistributedChildSpec::new::<Counter>(format!("counter-{n}"), 0)))
}

/// The main function of a node; nothing when the tests are run.
#[test]
fn node_main() {
    let Ok(name) = std::env::var("TEST_NODE") else { return };
    let seed = std::env::var("TEST_SEED").ok();
    let standby = std::env::var("TEST_STANDBY").ok().map(|nodes| nodes.parse().unwrap());
    actix_rt::System::new().block_on(async move {
        let cluster = start(&name, seed.as_deref()).await;
        answer_questions(&cluster);
        if let Some(nodes) = standby {
            cluster.wait_for_nodes(nodes).await.unwrap();
            loop {
                match builder().start(&cluster).await {
                    Ok(sup) => drop(sup.wait().await),
                    Err(StartSupervisorError::AlreadyRunning(_)) => {}
                    Err(error) => println!("\nerror {error}"),
                }
                actix_rt::time::sleep(Duration::from_millis(50)).await;
            }
        }
        std::future::pending::<()>().await;
    });
}

/// Waits until the owner says that all run, and that they are the ones that live.
async fn settle_owned(cluster: &Cluster, nodes: &mut [&mut Node]) -> (SupervisorView, Instances) {
    let began = Instant::now();
    loop {
        let all = settle("at first", cluster, nodes, CHILDREN).await;
        let views = DistributedSupervisor::views(cluster, Duration::from_secs(5)).await;
        let is_it = |child: &ChildInfo| {
            child.state == ChildState::Running
                && all.get(&child.id).is_some_and(|alive| *alive == [child.generation.0])
        };
        let fits = |view: &SupervisorView| view.children.len() == CHILDREN && view.children.iter().all(is_it);
        match views.into_iter().next() {
            Some((view, false)) if fits(&view) => return (view, all),
            other => assert!(began.elapsed() < Duration::from_secs(20), "{other:?}"),
        }
        actix_rt::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn next_down(cluster: &mut noex_actors::Events<ClusterEvent>) -> NodeDownReason {
    let down = async {
        loop {
            if let Some(ClusterEvent::NodeDown { reason, .. }) = cluster.recv().await {
                return reason;
            }
        }
    };
    actix_rt::time::timeout(Duration::from_secs(10), down).await.expect("a node goes down")
}

#[actix_rt::test]
async fn a_killed_node_costs_one_restart_and_its_children_run_elsewhere_once() {
    let a = start("a", None).await;
    let seed = a.local_node_id().to_string();
    let (mut b, c) = (Node::start("b", &seed, None), Node::start("c", &seed, None));
    a.wait_for_nodes(3).await.unwrap();
    let sup = builder().restart_intensity(1, Duration::from_secs(60)).start(&a).await.unwrap();
    let (mut events, mut downs) = (DistributedSupervisor::lifecycle_events(&a), a.events());
    for n in 1..=CHILDREN {
        sup.child::<Counter>(&format!("counter-{n}")).await.unwrap().add(5).await.unwrap();
    }
    let lost_id = c.id.clone();
    c.signal("-KILL");
    let killed = Instant::now();
    next_down(&mut downs).await;
    assert!(
        killed.elapsed() < Duration::from_millis(500),
        "the socket tells at once: {:?}",
        killed.elapsed()
    );
    let detected = Instant::now();
    settle("after the kill", &a, &mut [&mut b], CHILDREN).await;
    assert!(detected.elapsed() < Duration::from_secs(2), "{:?}", detected.elapsed());
    let mut migrated = 0;
    while migrated < 4 {
        match actix_rt::time::timeout(Duration::from_secs(5), events.recv()).await.unwrap().unwrap() {
            Event::NodeFailureDetected { node_id, affected_children, .. } => {
                assert_eq!((node_id.as_str(), affected_children.len()), (lost_id.as_str(), 4));
            }
            Event::ChildMigrated { from_node, .. } if from_node.as_str() == lost_id => migrated += 1,
            other => panic!("{other:?}"),
        }
    }
    let stats = sup.stats().await.unwrap();
    assert_eq!((stats.total_restarts, stats.node_failure_restarts, stats.child_count), (4, 4, CHILDREN));
    assert_eq!(DistributedSupervisor::totals(&a).failovers, 1);
    for n in 1..=CHILDREN {
        sup.child::<Counter>(&format!("counter-{n}")).await.unwrap().add(1).await.unwrap();
    }
    sup.stop().await.unwrap();
    assert!(alive(&a, &mut [&mut b]).is_empty());
    a.stop().await;
}

#[actix_rt::test]
async fn after_a_freeze_no_child_runs_twice_for_long() {
    let a = start("a", None).await;
    let seed = a.local_node_id().to_string();
    let (mut b, mut c) = (Node::start("b", &seed, None), Node::start("c", &seed, None));
    a.wait_for_nodes(3).await.unwrap();
    let sup = builder().start(&a).await.unwrap();
    let mut downs = a.events();
    c.freeze();
    assert_eq!(next_down(&mut downs).await, NodeDownReason::HeartbeatTimeout);
    settle("while it is frozen", &a, &mut [&mut b], CHILDREN).await;
    c.signal("-CONT");
    let thawed = Instant::now();
    settle("after the thaw", &a, &mut [&mut b, &mut c], CHILDREN).await;
    assert!(thawed.elapsed() < Duration::from_secs(2), "{:?}", thawed.elapsed());
    assert_eq!(sup.stats().await.unwrap().total_restarts, 4);
    sup.stop().await.unwrap();
    assert!(alive(&a, &mut [&mut b, &mut c]).is_empty());
    a.stop().await;
}

#[actix_rt::test]
async fn a_frozen_owner_does_not_move_the_cluster_onto_itself() {
    let a = start("a", None).await;
    let seed = a.local_node_id().to_string();
    // Neither a nor c starts a supervisor: b is the owner, and comes back to what it left.
    let mut c = Node::start("c", &seed, None);
    let mut b = Node::start("b", &seed, Some(3));
    a.wait_for_nodes(3).await.unwrap();
    let (_, before) = settle_owned(&a, &mut [&mut b, &mut c]).await;
    let mut downs = a.events();
    b.freeze();
    next_down(&mut downs).await;
    actix_rt::time::sleep(Duration::from_secs(2)).await;
    b.signal("-CONT");
    a.wait_for_nodes(3).await.unwrap();
    let mut calm = 0;
    while calm < 20 {
        let now = settle("after the thaw", &a, &mut [&mut b, &mut c], CHILDREN).await;
        assert_eq!(now, before, "nothing was restarted");
        calm += 1;
        actix_rt::time::sleep(Duration::from_millis(50)).await;
    }
    a.stop().await;
}

#[actix_rt::test]
async fn when_a_frozen_owner_comes_back_to_its_successor_one_of_each_remains() {
    let a = start("a", None).await;
    let seed = a.local_node_id().to_string();
    let mut nodes = ["b", "c", "d"].map(|name| Node::start(name, &seed, Some(4)));
    a.wait_for_nodes(4).await.unwrap();
    let [b, c, d] = &mut nodes;
    let (view, _) = settle_owned(&a, &mut [b, c, d]).await;
    let owner = nodes.iter().position(|node| node.id == view.owner.as_str()).expect("one of them owns it");
    let lives_there = |id: &str| {
        view.children.iter().any(|child| child.id == id && child.node_id.as_ref() == Some(&view.owner))
    };
    let mut downs = a.events();
    nodes[owner].freeze();
    next_down(&mut downs).await;
    let [b, c, d] = &mut nodes;
    let mut others: Vec<&mut Node> = Vec::new();
    for (at, node) in [b, c, d].into_iter().enumerate() {
        if at != owner {
            others.push(node);
        }
    }
    let taken_over = settle("without the owner", &a, &mut others, CHILDREN).await;
    drop(others);
    let stale = DistributedSupervisor::views(&a, Duration::from_millis(300)).await;
    assert_ne!(stale[0].0.owner, view.owner, "the successor answers");
    for child in view.children.iter().filter(|child| !lives_there(&child.id)) {
        assert_eq!(taken_over[&child.id], [child.generation.0], "{} was alive elsewhere", child.id);
    }
    nodes[owner].signal("-CONT");
    let [b, c, d] = &mut nodes;
    let mut calm = 0;
    let thawed = Instant::now();
    while calm < 20 {
        let now = settle("after the thaw", &a, &mut [b, c, d], CHILDREN).await;
        if now == taken_over {
            calm += 1;
        } else {
            assert!(thawed.elapsed() < Duration::from_secs(3), "{now:?} is not {taken_over:?}");
        }
        actix_rt::time::sleep(Duration::from_millis(20)).await;
    }
    a.stop().await;
}

#[actix_rt::test]
async fn when_the_owner_is_killed_the_standby_adopts_what_lives() {
    let a = start("a", None).await;
    let seed = a.local_node_id().to_string();
    let mut b = Node::start("b", &seed, Some(3));
    let mut c = Node::start("c", &seed, None);
    a.wait_for_nodes(3).await.unwrap();
    settle_owned(&a, &mut [&mut b, &mut c]).await;
    let mut kept = alive(&a, &mut [&mut c]);
    assert_eq!(kept.len(), 8);
    let mut downs = a.events();
    b.signal("-KILL");
    next_down(&mut downs).await;
    let sup = loop {
        match builder().start(&a).await {
            Ok(sup) => break sup,
            Err(StartSupervisorError::AlreadyRunning(_)) => actix_rt::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    let now = settle("after the takeover", &a, &mut [&mut c], CHILDREN).await;
    kept.retain(|child, generations| now[child] != *generations);
    assert!(kept.is_empty(), "restarted although alive: {kept:?}");
    assert_eq!(sup.count_children().await.unwrap(), CHILDREN);
    sup.stop().await.unwrap();
    assert!(alive(&a, &mut [&mut c]).is_empty());
    a.stop().await;
}

#[actix_rt::test]
async fn a_pinned_child_of_a_killed_node_waits_and_returns_with_it_and_counts_once() {
    let a = start("a", None).await;
    let seed = a.local_node_id().to_string();
    let b = Node::start("b", &seed, None);
    a.wait_for_nodes(2).await.unwrap();
    let there = NodeId::parse(&b.id).unwrap();
    let pinned = DistributedChildSpec::new::<Counter>("pinned", 0).node_selector(there.clone());
    let builder =
        DistributedSupervisor::builder().name("workers").restart_intensity(1, Duration::from_secs(60));
    let free = DistributedChildSpec::new::<Counter>("free", 0);
    let sup = builder.children([pinned, free]).start(&a).await.unwrap();
    let mut events = sup.events();
    let mut next = async |kind: &str| {
        let event = async {
            loop {
                let event = events.recv().await.expect("an event");
                if event.kind() == kind {
                    return event;
                }
            }
        };
        actix_rt::time::timeout(Duration::from_secs(20), event).await.expect(kind)
    };
    let before = settle("at first", &a, &mut [], 1).await;
    drop(b);
    next("node_failure_detected").await;
    next("child_pending").await;
    assert_eq!(alive(&a, &mut []), before, "it runs nowhere else, and nobody else is concerned");
    let mut b = Node::start_at("b", there.port(), &seed, None);
    assert_eq!(b.id, there.as_str());
    let Event::ChildMigrated { to_node, .. } = next("child_migrated").await else { panic!("of this kind") };
    assert_eq!(to_node, there);
    let after = settle("it is back", &a, &mut [&mut b], 2).await;
    assert_eq!(after["free"], before["free"]);
    assert_eq!(b.alive().len(), 1);
    // Waiting counted nothing: over the limit of one it would have ended.
    assert_eq!(sup.stats().await.unwrap().node_failure_restarts, 1);
    sup.stop().await.unwrap();
    a.stop().await;
}
