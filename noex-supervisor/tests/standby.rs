//! Nodes that wait to be the owner of a supervisor.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "cluster/mod.rs"]
mod cluster;

use std::collections::BTreeMap;

use cluster::{Event, Worker, each_once, event, nodes, stop_all, within, worker};
use noex_actors::{Events, ExitReason};
use noex_net::Cluster;
use noex_supervisor::{
    DistributedSupervisor, DistributedSupervisorBuilder, NodeSelector, SpecError, Standby, StandbyState,
    SupervisorExit,
};

const CHILDREN: usize = 6;

fn builder() -> DistributedSupervisorBuilder {
    let children = (0..CHILDREN).map(|n| worker(&format!("w{n}")));
    DistributedSupervisor::builder().name("s").node_selector(NodeSelector::RoundRobin).children(children)
}

/// Waits until it knows that the supervisor runs on that node.
async fn waits_for(standby: &mut Standby, owner: &Cluster) {
    let wait = async {
        loop {
            let state = standby.state();
            if matches!(&state, StandbyState::Waiting(node) if node == owner.local_node_id()) {
                return;
            }
            assert!(!matches!(state, StandbyState::Ended(_)));
            standby.changed().await;
        }
    };
    within("it waits", wait).await;
}

/// The first that the new owner tells, behind its start.
async fn owner_changed(events: &mut Events<Event>, from: &Cluster, to: &Cluster) {
    event(events, "supervisor_started").await;
    let next = within("an event", events.recv()).await;
    let (from_node, to_node) = (from.local_node_id().clone(), to.local_node_id().clone());
    assert_eq!(next, Some(Event::OwnerChanged { supervisor_id: "s".to_owned(), from_node, to_node }));
}

/// The instances, by child.
fn instances(nodes: &[&Cluster]) -> BTreeMap<String, String> {
    let all = nodes.iter().flat_map(|node| node.supervised());
    all.map(|process| (process.token.child.clone(), process.any.pid().to_string())).collect()
}

#[actix_rt::test]
async fn of_three_that_wait_one_owns_and_another_takes_over_without_a_restart() {
    let ([a, b, c], _) = nodes(["a", "b", "c"]).await;
    let on_a = builder().standby(&a).unwrap();
    let first = within("a owns", on_a.owned()).await.unwrap();
    assert_eq!(first.pid().node_id(), a.local_node_id());
    let (mut on_b, mut on_c) = (builder().standby(&b).unwrap(), builder().standby(&c).unwrap());
    waits_for(&mut on_b, &a).await;
    waits_for(&mut on_c, &a).await;
    each_once(&[&a, &b, &c], "s", CHILDREN);
    let before = instances(&[&a, &b, &c]);
    let mut events = [&b, &c].map(DistributedSupervisor::lifecycle_events);
    // Whoever is dropped waits no longer, and leaves what runs.
    drop(on_a);
    first.erase().kill();
    let (second, was_b) = within("another owns", async {
        tokio::select! {
            second = on_b.owned() => (second.unwrap(), true),
            second = on_c.owned() => (second.unwrap(), false),
        }
    })
    .await;
    assert_eq!(instances(&[&a, &b, &c]), before, "nothing was restarted");
    let (owner, mut waiting, node) = if was_b { (on_b, on_c, &b) } else { (on_c, on_b, &c) };
    owner_changed(&mut events[usize::from(!was_b)], &a, node).await;
    waits_for(&mut waiting, node).await;
    assert!(second.child::<Worker>("w0").await.unwrap().arg().await.is_ok());
    assert_eq!(within("the other waits no more", waiting.stop()).await, None);
    let exit = within("the owner stops", owner.stop()).await;
    assert_eq!(exit, Some(SupervisorExit::Stopped(ExitReason::Shutdown)));
    assert_eq!(instances(&[&a, &b, &c]).len(), 0);
    assert!(owner.owned().await.is_none());
    stop_all(&[&c, &b, &a]).await;
}

#[actix_rt::test]
async fn the_owner_s_node_leaves_and_the_next_one_takes_over() {
    let ([a, b, c], _) = nodes(["a", "b", "c"]).await;
    let on_a = builder().standby(&a).unwrap();
    within("a owns", on_a.owned()).await.unwrap();
    let (on_b, mut events) = (builder().standby(&b).unwrap(), DistributedSupervisor::lifecycle_events(&b));
    within("a leaves", a.stop()).await;
    let second = within("b owns", on_b.owned()).await.unwrap();
    assert_eq!(second.pid().node_id(), b.local_node_id());
    owner_changed(&mut events, &a, &b).await;
    each_once(&[&b, &c], "s", CHILDREN);
    let exit = within("it is over on a", on_a.wait()).await;
    assert_eq!(exit, Some(SupervisorExit::Stopped(ExitReason::Shutdown)), "with a handover, not killed");
    within("stop", on_b.stop()).await;
    stop_all(&[&c, &b]).await;
}

#[actix_rt::test]
async fn nobody_waits_for_what_has_no_name() {
    let ([a], _) = nodes(["a"]).await;
    let nameless = DistributedSupervisor::builder().standby(&a);
    assert!(matches!(nameless, Err(SpecError::InvalidId { .. })), "{nameless:?}");
    stop_all(&[&a]).await;
}
