//! What a node counts of a peer, over real TCP.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    future::{Future, IntoFuture},
    task::{Context, Waker},
    time::{Duration, SystemTime},
};

use noex_actors::{Ref, SpawnOptions};
use noex_net::ClusterEvent;
use support::{Box_, Res, id, node, pair, patient_pair, until, within};

/// Times are of a clock that is read a tick of the kernel late, and was compared with that of the wall when the node started.
const LATE: Duration = Duration::from_millis(500);

#[actix_rt::test]
async fn the_figures_of_a_peer_are_measured_and_go_on() -> Res {
    let (a, b) = pair().await?;
    let figures = || b.peer_stats(&id(&a)).unwrap();
    until(10, "a heartbeat was answered", || figures().rtt.is_some()).await;
    let before = figures();
    assert!(before.rtt.unwrap() < Duration::from_secs(5), "{before:?}");
    assert!(before.last_sent_at.unwrap() >= before.connected_at, "{before:?}");
    assert_eq!(before.reconnect_attempts, 0, "only its seed was dialled, not yet its id");

    let there: Ref<Box_> = b.spawn_on(&id(&a), 0).await?;
    for n in 0..10 {
        there.see(n)?;
    }
    assert_eq!(there.seen().await?.len(), 11);
    let after = figures();
    assert_eq!(after.messages_sent - before.messages_sent, 11);
    assert!(after.messages_received > before.messages_received, "{after:?}");
    assert!(after.batches_sent > before.batches_sent && after.batches_received > before.batches_received);
    assert!(after.bytes_sent > before.bytes_sent && after.bytes_received > before.bytes_received);
    assert!(after.outbox_high_water > 0);

    // A mailbox of four takes four while its process naps; the fifth is refused there, and counted there.
    let small: Ref<Box_> = b.spawn_on(&id(&a), 0).options(SpawnOptions::new().mailbox_capacity(4)).await?;
    small.nap(0).await?;
    let nap = small.nap(300);
    let casts = async {
        for n in 0..9 {
            small.see(n).unwrap();
        }
        until(10, "casts were refused", || a.peer_stats(&id(&b)).is_some_and(|peer| peer.casts_refused > 0))
            .await;
    };
    let (napped, ()) = futures_util::future::join(nap, casts).await;
    napped?;
    assert_eq!(a.stats().casts_refused_total, a.peer_stats(&id(&b)).unwrap().casts_refused);
    a.stop().await;
    b.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn the_time_of_the_last_receipt_is_that_of_what_came_and_goes_on_with_heartbeats() -> Res {
    let (a, b) = pair().await?;
    let figures = || b.peer_stats(&id(&a)).unwrap();
    let received = || figures().last_received_at.unwrap();
    let (first, began) = (received(), SystemTime::now());
    assert!(first >= figures().connected_at - LATE && first <= began + LATE, "{first:?} {began:?}");
    // Nothing is sent but heartbeats.
    until(10, "a heartbeat came", || received() > first).await;
    let there: Ref<Box_> = b.spawn_on(&id(&a), 0).await?;
    let (before, asked) = (figures(), SystemTime::now());
    there.seen().await?;
    let after = figures();
    assert!(after.bytes_received > before.bytes_received);
    assert!(received() >= asked - LATE && received() <= SystemTime::now() + LATE, "{asked:?} {after:?}");
    a.stop().await;
    b.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_group_of_calls_does_not_wait_for_its_end() -> Res {
    let (a, b) = patient_pair().await?;
    let there: Ref<Box_> = b.spawn_on(&id(&a), 0).await?;
    there.see(1)?;
    assert_eq!(there.seen().await?.len(), 2);
    let sent = || b.peer_stats(&id(&a)).unwrap().batches_sent;
    // Two ends that have one processor between them gain nothing by it.
    let in_portions = std::thread::available_parallelism()?.get() > 1;
    for (calls, at_once) in [(8, false), (64, in_portions)] {
        let mut group: Vec<_> = (0..calls).map(|_| Box::pin(there.seen().into_future())).collect();
        let before = sent();
        let mut cx = Context::from_waker(Waker::noop());
        // Nothing else of this arbiter has a turn meanwhile.
        assert!(group.iter_mut().all(|call| call.as_mut().poll(&mut cx).is_pending()));
        assert_eq!(sent() > before, at_once, "{calls} calls");
        for call in group {
            assert_eq!(within(20, "the reply", call).await?.len(), 2);
        }
    }
    a.stop().await;
    b.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_node_that_comes_back_was_dialled() -> Res {
    let (a, b) = pair().await?;
    let (port, back) = (id(&b).port(), id(&b));
    b.stop().await;
    until(10, "b left", || a.connected_node_count() == 0).await;
    let config = support::config("b").port(port).seed(id(&a).to_string());
    let b = support::builder(config)?.start().await?;
    until(10, "b is back", || a.is_node_connected(&back)).await;
    assert_eq!(a.peer_stats(&back).unwrap().reconnect_attempts, 0, "it dialled by itself");
    a.stop().await;
    until(10, "a left", || b.connected_node_count() == 0).await;
    assert!(b.peer_stats(&id(&a)).is_none());
    b.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn the_event_of_a_node_up_has_the_load_of_its_first_heartbeat() -> Res {
    let (a, b) = pair().await?;
    let _there: Ref<Box_> = b.spawn_on(&id(&a), 0).await?;
    let c = node("c", &[]).await?;
    let mut events = c.events();
    let d = node("d", &[&a, &c]).await?; // tells a and c of each other
    let info = within(10, "a is up at c", async {
        loop {
            match events.recv().await.unwrap() {
                ClusterEvent::NodeUp(info) if info.id == id(&a) => break info,
                _ => {}
            }
        }
    })
    .await;
    assert_eq!(info.process_count, 1);
    for cluster in [a, b, c, d] {
        cluster.stop().await;
    }
    Ok(())
}
