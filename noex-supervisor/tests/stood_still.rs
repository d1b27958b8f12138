//! A supervisor whose own thread stood still: others may have taken its node for dead meanwhile.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod cluster;

use std::{sync::mpsc, time::Duration};

use cluster::{each_once, ids, nodes, stop_all, within, worker};
use noex_supervisor::{ChildState, DistributedSupervisor};

/// Longer than a node of these tests is waited for: its interval and its threshold are 200 ms and 3.
const STANDSTILL: Duration = Duration::from_millis(700);

#[actix_rt::test]
async fn before_it_starts_anything_it_makes_sure_that_it_has_its_name() {
    let ([a], log) = nodes(["a"]).await;
    // It runs on the thread of whoever starts it: on this one.
    let sup = DistributedSupervisor::builder().name("s").child(worker("x")).start(&a).await.unwrap();
    let (_never, nothing) = mpsc::channel::<()>();
    nothing.recv_timeout(STANDSTILL).unwrap_err();
    // One after the other in its mailbox.
    let (start, seen) = (sup.start_child(worker("y")), sup.children());
    let (started, seen) = within("it goes on", futures_util::future::join(start, seen)).await;
    started.unwrap();
    let states = seen.unwrap().into_iter().map(|child| (child.id, child.state));
    let expected = [("x", ChildState::Running), ("y", ChildState::Pending)];
    assert_eq!(states.collect::<Vec<_>>(), expected.map(|(id, state)| (id.to_owned(), state)));
    // Nobody else has it: what ran was not touched.
    each_once(&[&a], "s", 2);
    assert_eq!(ids(&log.take()), "+x +y");
    within("stop", sup.stop()).await.unwrap();
    stop_all(&[&a]).await;
}
