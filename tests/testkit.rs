//! The test kit through the facade, and a supervisor in virtual time: an hour of backoff in no time.
#![cfg(feature = "testkit")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use noex::{
    prelude::*,
    testkit::{self, Probe, Recorder},
};

#[test]
fn an_hour_of_a_tree_passes_in_virtual_time() {
    testkit::run(1, |sim| async move {
        let node = sim.node().await;
        let tries = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&tries);
        // Starts at the first and at the fifth try.
        let child = ChildSpec::with("flaky", move |node: Node| {
            let counted = Arc::clone(&counted);
            async move {
                match counted.fetch_add(1, Ordering::SeqCst) {
                    0 | 4 => Ok(node.spawn::<Recorder>(()).await?.erase()),
                    _ => Err(StartError::Init(ExitReason::error("not yet"))),
                }
            }
        });
        let hour = Duration::from_secs(3600);
        let sup = Supervisor::builder()
            .child(child)
            .restart_intensity(10, hour)
            .backoff(Backoff { initial: Duration::from_secs(60), max: hour })
            .start(&node)
            .await
            .unwrap();
        let first = sup.child::<Recorder>("flaky").await.unwrap();
        let mut probe = Probe::start(&node).await;
        probe.monitor(&first);
        first.crash("boom".to_owned()).unwrap();
        probe.expect_down(&first, Duration::from_secs(1)).await;
        sim.advance(hour).await;
        assert_eq!(tries.load(Ordering::SeqCst), 5);
        assert_ne!(sup.child::<Recorder>("flaky").await.unwrap().pid(), first.pid());
        assert_eq!(sup.child_info("flaky").await.unwrap().restart_count, 1);
        sup.stop().await.unwrap();
        probe.expect_nothing(hour).await;
    });
}
