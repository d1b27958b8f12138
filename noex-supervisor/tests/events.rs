//! Who hears of what distributed supervisors do, and until when.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod cluster;

use std::time::Duration;

use cluster::{Worker, event, nodes, stop_all, within, worker};
use noex_actors::ExitReason;
use noex_supervisor::{DistributedSupervisor, SupervisorExit};

#[actix_rt::test]
async fn a_closure_hears_of_every_supervisor_of_its_node_until_it_is_given_up() {
    let ([a, b], _log) = nodes(["a", "b"]).await;
    let (tell, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let subscription = DistributedSupervisor::on_lifecycle_event(&a, move |event| {
        let _ = tell.send((event.supervisor_id().to_owned(), event.kind()));
    });
    let builder =
        |name: &str| DistributedSupervisor::builder().name(name).child(worker(&format!("of-{name}")));
    let elsewhere = builder("elsewhere").start(&b).await.unwrap();
    for name in ["first", "second"] {
        let sup = builder(name).start(&a).await.unwrap();
        within("stop", sup.stop()).await.unwrap();
        for kind in ["child_started", "supervisor_started", "child_stopped", "supervisor_stopped"] {
            assert_eq!(within(kind, heard.recv()).await, Some((name.to_owned(), kind)));
        }
    }
    drop(subscription);
    assert_eq!(within("it is given up", heard.recv()).await, None);
    within("stop", elsewhere.stop()).await.unwrap();
    stop_all(&[&a, &b]).await;
}

#[actix_rt::test]
async fn events_of_a_supervisor_that_has_ended_are_over_also_for_who_asks_then() {
    let ([a], _log) = nodes(["a"]).await;
    let builder = || DistributedSupervisor::builder().name("s").child(worker("x"));
    let sup = builder().start(&a).await.unwrap();
    within("stop", sup.stop()).await.unwrap();
    assert_eq!(sup.wait().await, SupervisorExit::Stopped(ExitReason::Shutdown));
    let mut late = sup.events();
    assert_eq!(within("they are over", late.recv()).await, None);
    // The next one of the name has its own.
    let next = builder().start(&a).await.unwrap();
    let mut events = next.events();
    next.child::<Worker>("x").await.unwrap().explode().unwrap();
    event(&mut events, "child_restarted").await;
    assert_eq!(within("they stay over", late.recv()).await, None);
    within("stop", next.stop()).await.unwrap();
    stop_all(&[&a]).await;
}

#[actix_rt::test]
async fn who_asks_late_how_a_supervisor_ended_is_not_told_of_another_of_its_name() {
    let ([a], _log) = nodes(["a"]).await;
    let builder = || DistributedSupervisor::builder().name("s").child(worker("x"));
    let first = builder().restart_intensity(0, Duration::from_secs(5)).start(&a).await.unwrap();
    first.child::<Worker>("x").await.unwrap().explode().unwrap();
    let over_its_limit = within("the first ends", first.wait()).await;
    assert_ne!(over_its_limit, SupervisorExit::Stopped(ExitReason::Shutdown));
    let next = builder().start(&a).await.unwrap();
    assert_eq!(within("asked beside the next", first.wait()).await, over_its_limit);
    assert_eq!(within("its events are over", first.events().recv()).await, None);
    within("stop", next.stop()).await.unwrap();
    assert_eq!(within("of the next", next.wait()).await, SupervisorExit::Stopped(ExitReason::Shutdown));
    assert_eq!(within("asked after the next", first.wait()).await, over_its_limit);
    stop_all(&[&a]).await;
}
