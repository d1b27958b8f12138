//! What a flooded node holds, against the sum of its settings; and what a peer that does not read costs the others.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

#[path = "support/cable.rs"]
mod cable;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cable::Cable;
use noex_actors::{CastError, Overload, Ref};
use noex_net::{Cluster, ClusterConfigBuilder, PeerMemory};
use support::{
    Box_, Box_Cast, Res, config, id,
    raw::{self, RawPeer},
    start, stop_all, until, within,
};

const KIB: usize = 1024;

/// Small settings, and patience.
fn small(name: &str) -> ClusterConfigBuilder {
    let config = config(name).heartbeat_interval(Duration::from_secs(60));
    config.outbox_bytes(256 * KIB).credit_bytes(64 * KIB).max_message_bytes(128 * KIB)
}

fn memory() -> Res<PeerMemory> {
    Ok(small("a").build()?.memory_per_peer())
}

/// Texts of many lengths, up to the longest message.
fn text(n: usize) -> String {
    "x".repeat([1, 300, 5000, 20 * KIB, 127 * KIB][n % 5])
}

#[actix_rt::test]
async fn a_flooded_node_holds_no_more_than_the_sum() -> Res {
    let memory = memory()?;
    let a = start(small("a")).await?;
    let b = start(small("b").seed(id(&a))).await?;
    until(10, "both are up", || a.connected_node_count() == 1 && b.connected_node_count() == 1).await;
    let mut processes = Vec::new();
    for _ in 0..10 {
        let here = b.spawn::<Box_>(0).await?;
        let there: Ref<Box_> = a.resolve(here.pid());
        let busy = here.clone();
        actix_rt::spawn(async move { busy.nap(600_000).timeout(Duration::from_secs(600)).await });
        until(5, "it is busy", || b.process(here.pid()).is_some_and(|info| info.message_count == 1)).await;
        processes.push((here, there));
    }
    let mut refused = 0;
    for n in 0..20_000 {
        let (_, there) = &processes[n % processes.len()];
        match there.swallow(text(n / processes.len())) {
            Ok(()) => {}
            Err(CastError::Overloaded(Overload::Credits)) => refused += 1,
            Err(CastError::Overloaded(Overload::Outbox)) => actix_rt::task::yield_now().await,
            Err(error) => return Err(error.into()),
        }
    }
    assert!(refused > 10_000, "{refused}");
    until(20, "all is there", || a.peer_stats(&id(&b)).is_some_and(|stats| stats.outbox_bytes == 0)).await;
    let waits = |here: &Ref<Box_>| b.process(here.pid()).map_or(0, |info| info.mailbox_bytes);
    let settled = || processes.iter().map(|(here, _)| waits(here)).sum::<u64>();
    let least = u64::try_from(processes.len() * 64 * KIB)?;
    until(20, "the windows are full", || settled() > least / 2).await;
    let per_process = u64::try_from(memory.per_process)?;
    for (here, _) in &processes {
        assert!(waits(here) <= per_process, "{} of {per_process} bytes wait", waits(here));
    }
    let sent = a.peer_stats(&id(&b)).ok_or("it is up")?;
    assert_eq!((sent.credit_targets, b.stats().casts_refused_total), (10, 0));
    assert!(sent.credit_used <= 10 * per_process && sent.outbox_high_water <= memory.outbox, "{sent:?}");
    // A quiet node: everything comes back.
    processes.iter().for_each(|(here, _)| here.kill());
    until(20, "less than half a window each is left", || {
        a.peer_stats(&id(&b)).is_some_and(|stats| stats.credit_used < 10 * 32 * 1024)
    })
    .await;
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn a_peer_that_reads_nothing_costs_its_sender_the_outbox_and_others_nothing() -> Res {
    let memory = memory()?;
    let a = start(small("a").advertise_host("127.0.0.8")).await?;
    let port = a.local_node_id().port();
    let cable = Cable::delayed(port, Duration::ZERO).await?;
    // Nobody is at their addresses. The cable is the only way between the two: over another session the waiting would go on, and end well.
    let behind = small("b").advertise_host("127.0.0.9").seed(format!("127.0.0.1:{}", cable.port));
    let deaf = start(behind).await?;
    until(10, "it is up", || a.connected_node_count() == 1 && deaf.connected_node_count() == 1).await;
    let c = start(small("c").seed(format!("127.0.0.1:{port}"))).await?;
    until(10, "the third is up", || a.is_node_connected(&id(&c)) && c.is_node_connected(&id(&a))).await;
    let other = a.spawn_on::<Box_>(&id(&c), 0).await?;
    let mut processes = Vec::new();
    for _ in 0..40 {
        processes.push(a.resolve::<Box_>(deaf.spawn::<Box_>(0).await?.pid()));
    }
    cable.silence();
    let (mut outbox, mut credits, mut calls) = (0, 0, 0);
    for n in 0.. {
        match processes[n % processes.len()].swallow(text(n / processes.len())) {
            Ok(()) => {}
            Err(CastError::Overloaded(Overload::Outbox)) => outbox += 1,
            Err(CastError::Overloaded(Overload::Credits)) => credits += 1,
            Err(error) => return Err(error.into()),
        }
        if n % 20 == 0 {
            calls += 1;
            assert_eq!(within(5, "a reply of the third", other.add(1)).await?, calls);
        }
        if outbox > 5000 {
            break;
        }
    }
    let mut waiting = std::pin::pin!(processes[0].cast_wait(Box_Cast::Swallow { text: text(0) }));
    let waker = std::task::Waker::noop();
    assert!(waiting.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
    assert!(calls > 200, "{calls} calls, {credits} without credit");
    let stats = a.peer_stats(&id(&deaf)).ok_or("it is up")?;
    assert!(stats.outbox_high_water <= memory.outbox, "{} of {}", stats.outbox_high_water, memory.outbox);
    assert!(stats.outbox_high_water > 256 * KIB, "it was full");
    let to_c = a.peer_stats(&id(&c)).ok_or("it is up")?;
    assert!(to_c.outbox_high_water < 16 * KIB, "{to_c:?}");
    cable.cut();
    drop(cable);
    let ended = within(10, "the end of the session ends the waiting", waiting).await;
    assert!(matches!(ended, Err(CastError::NoConnection(_))), "{ended:?}");
    assert_eq!(other.add(1).await?, calls + 1);
    for node in [deaf, c, a] {
        within(10, "a node stops", node.stop()).await;
    }
    Ok(())
}

#[actix_rt::test]
async fn answers_to_a_peer_that_reads_nothing_are_bounded_what_has_no_room_is_dropped_and_others_are_served()
-> Res {
    // It may ask as much as it likes.
    let settings = |name| small(name).credit_bytes(1 << 30);
    let memory = settings("a").build()?.memory_per_peer();
    let a = start(settings("a")).await?;
    let b = start(settings("b").seed(id(&a))).await?;
    until(10, "it is up", || a.connected_node_count() == 1 && b.connected_node_count() == 1).await;
    let here = a.spawn::<Box_>(0).await?;
    let beside: Ref<Box_> = b.resolve(here.pid());
    let mut peer = RawPeer::join(&a, "z@127.0.0.1:1").await?;
    let raw = peer.id.parse()?;
    let high = |a: &Cluster| a.peer_stats(&raw).map_or(0, |stats| stats.outbox_high_water);
    let echo = BTreeMap::from([("Echo", ("x".repeat(32 * KIB),))]);
    for round in 0..40 {
        let calls = (0..20).flat_map(|n| {
            let whole = raw::call(20 * round + n, &raw::named("box"), here.pid().number(), &echo);
            [whole]
        });
        peer.flood(calls).await;
        assert_eq!(within(20, "the other is served", beside.add(1)).await?, i64::try_from(round)? + 1);
    }
    until(20, "all ran", || a.process(here.pid()).is_some_and(|info| info.message_count == 840)).await;
    // Answers have twice the limit, and the last one of them may pass it.
    let answers = memory.outbox + 256 * KIB;
    assert!(high(&a) > 512 * KIB && high(&a) <= answers, "{} of {answers}", high(&a));
    assert_eq!(a.connected_node_count(), 2, "it broke nothing");
    // Who reads at last finds what had room, each answer whole and once, and nothing of the others.
    let waits = |a: &Cluster| a.peer_stats(&raw).map_or(0, |stats| stats.outbox_bytes);
    let (last, mut answered) = (5000, Vec::new());
    let mut asked = false;
    while answered.last() != Some(&last) {
        if !asked && waits(&a) == 0 {
            asked = true;
            peer.send(&raw::call(last, &raw::named("box"), here.pid().number(), &echo)).await?;
        }
        let (kind, id, len) = peer
            .until_frame(|kind, body| {
                let (id, rest) = raw::split_varint(body);
                Some((kind, id, rest.len()))
            })
            .await?;
        assert_ne!(kind, raw::FAILURE, "a dropped answer is no failure");
        if kind == raw::REPLY {
            assert!(len > 32 * KIB, "{len} bytes");
            answered.push(id);
        }
    }
    let of_flood = answered.len() - 1;
    assert!(of_flood > 512 / 33 && of_flood < 800, "{of_flood} of 800 answered");
    assert_eq!(answered.iter().collect::<BTreeSet<_>>().len(), answered.len(), "each once");
    drop(peer);
    stop_all(&[a, b]).await;
    Ok(())
}
