//! `PartitionPolicy::Majority` of configured voters, over real TCP.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod cluster;

use cluster::{Event, alive, come_back, each_once, event, join, nodes, stop_all, within, worker};
use noex_actors::NodeId;
use noex_supervisor::{DistributedSupervisor, PartitionPolicy};

#[actix_rt::test]
async fn two_of_three_voters_run_the_children_and_one_waits_for_another() {
    let ([a, b], log) = nodes(["a", "b"]).await;
    let never_seen = NodeId::new("c", "127.0.0.1", 1).unwrap();
    let voters = [a.local_node_id().clone(), b.local_node_id().clone(), never_seen];
    let builder = DistributedSupervisor::builder().name("s").partition_policy(PartitionPolicy::Majority);
    let children = ["x", "y"].map(worker);
    let sup = within("start", builder.voters(voters).children(children).start(&a)).await.unwrap();
    each_once(&[&a, &b], "s", 2);
    assert!(
        !sup.stats().await.unwrap().waits_for_majority,
        "two of three are more than half, though one was never seen"
    );
    // One more that has no vote changes nothing.
    let more = join("d", Some(a.local_node_id().as_str()), &log).await;
    within("d is up", a.wait_for_nodes(3)).await.unwrap();

    let mut events = sup.events();
    let was = b.local_node_id().clone();
    within("stop", b.stop()).await;
    let Event::MajorityLost { reachable, .. } = event(&mut events, "majority_lost").await else {
        panic!("the event of this kind")
    };
    assert!(reachable.contains(a.local_node_id()) && !reachable.contains(&was), "{reachable:?}");
    assert!(sup.stats().await.unwrap().waits_for_majority);

    let b = come_back(&was, a.local_node_id().as_str(), &log).await;
    event(&mut events, "majority_regained").await;
    assert!(!sup.stats().await.unwrap().waits_for_majority);
    within("each child runs", async {
        while alive(&[&a, &b, &more], "s").len() < 2 {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
    each_once(&[&a, &b, &more], "s", 2);
    within("stop", sup.stop()).await.unwrap();
    stop_all(&[&a, &b, &more]).await;
}
