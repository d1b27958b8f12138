//! Nodes that are connected in memory: who finds whom, what is bounded, and what faults do. That they do all that nodes over
//! TCP do is in `conformance.rs`.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    io::{self, ErrorKind},
    time::Duration,
};

use futures_util::StreamExt;
use noex_actors::{CallError, CastError, NodeDownReason, NodeId, Overload, Ref};
use noex_net::{
    Cluster, ClusterConfigBuilder, ClusterEvent, ClusterStartError, DialError, MemoryNetwork, RefusedReason,
};
use support::{Box_, Res, connected, id, plain, stop_all, until, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A node at home at `{name}.example`, which no resolver knows.
fn config(name: &str) -> ClusterConfigBuilder {
    plain(name).advertise_host(format!("{name}.example")).port(4369).heartbeat_miss_threshold(100)
}

async fn start(network: &MemoryNetwork, config: ClusterConfigBuilder) -> Res<Cluster> {
    Ok(support::builder(config)?.network(network).start().await?)
}

async fn two(network: &MemoryNetwork) -> Res<(Cluster, Cluster)> {
    let a = start(network, config("a")).await?;
    let b = start(network, config("b").seed("a.example:4369")).await?;
    connected(&[&a, &b]).await;
    Ok((a, b))
}

fn downs(of: &Cluster, reason: NodeDownReason) -> u64 {
    of.stats().node_down_total.get(&reason).copied().unwrap_or(0)
}

/// The next failure of a dial.
async fn dial_failed(node: &Cluster) -> DialError {
    let mut events = node.events();
    within(10, "a dial fails", async {
        loop {
            if let Some(ClusterEvent::DialFailed { reason, .. }) = events.next().await {
                return reason;
            }
        }
    })
    .await
}

#[actix_rt::test]
async fn three_nodes_find_each_other_under_hosts_that_exist_nowhere_else() -> Res {
    let network = MemoryNetwork::new();
    let a = start(&network, config("a")).await?;
    let b = start(&network, config("b").seed("a@A.Example:4369")).await?;
    let c = start(&network, config("c").seed("b.example:4369")).await?;
    connected(&[&a, &b, &c]).await;
    assert_eq!(c.local_node_id().to_string(), "c@c.example:4369");
    let there = a.spawn_on::<Box_>(c.local_node_id(), 1).await?;
    assert_eq!(there.add(2).await?, 3);
    let text = "x".repeat(50_000);
    assert!(there.echo(text.clone()).await? == text);
    // A writer counts behind its write, so the reader may be ahead.
    until(10, "both ends count it", || {
        let (near, far) = (a.peer_stats(&id(&c)).unwrap(), c.peer_stats(&id(&a)).unwrap());
        let counts = [near.bytes_sent, far.bytes_received, far.bytes_sent, near.bytes_received];
        counts.iter().all(|bytes| (50_000..80_000).contains(bytes))
    })
    .await;
    stop_all(&[a, b, c]).await;
    Ok(())
}

#[actix_rt::test]
async fn a_place_is_taken_once_and_free_after_a_stop() -> Res {
    let network = MemoryNetwork::new();
    let a = start(&network, config("a")).await?;
    let same_place = || config("other").advertise_host("a.example").build().unwrap();
    let taken = Cluster::builder(same_place()).network(&network).start().await.unwrap_err();
    let text = taken.to_string();
    assert_eq!(text, "cannot listen on a.example:4369: another node of the memory network listens there");
    let ClusterStartError::Bind { source, .. } = taken else { panic!("{taken:?}") };
    assert_eq!(source.kind(), ErrorKind::AddrInUse);

    let elsewhere = Cluster::builder(same_place()).network(&MemoryNetwork::new()).start().await?;
    stop_all(&[elsewhere, a]).await;
    let other = Cluster::builder(same_place()).network(&network).start().await?;
    stop_all(&[other]).await;

    let wildcard = |name| plain(name).host("::");
    let nodes = [start(&network, wildcard("a")).await?, start(&network, wildcard("b")).await?];
    let places: Vec<_> =
        nodes.iter().map(|node| (node.local_node_id().host(), node.local_node_id().port())).collect();
    assert!(places[0].0 == "127.0.0.1" && places[1].0 == "127.0.0.1", "{places:?}");
    assert_ne!(places[0].1, places[1].1);
    stop_all(&nodes).await;
    Ok(())
}

#[actix_rt::test]
async fn where_nobody_listens_a_dial_is_refused_also_if_somebody_does_on_another_network() -> Res {
    let (network, other) = (MemoryNetwork::new(), MemoryNetwork::new());
    let nobody = NodeId::parse("nobody@nowhere.example:1")?;
    assert_eq!(network.connect(&nobody).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let a = start(&other, config("a")).await?;
    let b = start(&network, config("b").seed(a.local_node_id())).await?;
    assert_eq!(dial_failed(&b).await, DialError::ConnectionRefused);
    assert_eq!((a.connected_node_count(), b.connected_node_count()), (0, 0));
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn who_is_no_node_is_refused_and_both_see_the_end() -> Res {
    let network = MemoryNetwork::with_buffer(16);
    let a = start(&network, config("a")).await?;
    let refused = |reason| a.stats().refused_total.get(&reason).copied().unwrap_or(0);
    let mut silent = network.connect(a.local_node_id()).await?;
    assert_eq!(silent.peer_addr().port(), 4369);
    silent.shutdown().await?;
    let mut answer = Vec::new();
    within(10, "it is closed", silent.read_to_end(&mut answer)).await?;
    assert!(answer.is_empty());
    until(10, "its end was seen", || refused(RefusedReason::Eof) == 1).await;

    // Longer than the buffer, and than any handshake: the rest is not taken.
    let mut noise = network.connect(a.local_node_id()).await?;
    let written = within(10, "it is refused", noise.write_all(&[0xFF; 65_536])).await;
    assert_eq!(written.unwrap_err().kind(), ErrorKind::BrokenPipe);
    until(10, "it was counted", || refused(RefusedReason::TooLong) == 1).await;

    drop(network.connect(a.local_node_id()).await?);
    until(10, "who goes at once was seen", || refused(RefusedReason::Eof) == 2).await;
    stop_all(&[a]).await;
    Ok(())
}

#[actix_rt::test]
async fn a_cut_is_seen_at_once_and_lasts_until_it_is_healed() -> Res {
    let network = MemoryNetwork::new();
    let (a, b) = two(&network).await?;
    let c = start(&network, config("c").seed(a.local_node_id())).await?;
    connected(&[&a, &b, &c]).await;
    let there = a.spawn_on::<Box_>(b.local_node_id(), 1).await?;
    let received = || b.peer_stats(&id(&a)).unwrap().messages_received;
    let before = received();
    let (held, ()) = futures_util::future::join(there.held().timeout(Duration::from_secs(60)), async {
        until(10, "the call is there", || received() > before).await;
        network.cut(&id(&a), &id(&b));
    })
    .await;
    assert!(matches!(held, Err(CallError::ConnectionLost(_))), "{held:?}");
    for (node, other) in [(&a, &b), (&b, &a)] {
        until(10, "it is down", || !node.is_node_connected(&id(other))).await;
        assert_eq!(downs(node, NodeDownReason::ConnectionClosed), 1);
    }
    assert_eq!(dial_failed(&a).await, DialError::ConnectionRefused);
    assert!(matches!(there.forget(), Err(CastError::NoConnection(_))));
    assert_eq!(c.connected_node_count(), 2, "others are not concerned");

    network.heal(&id(&b), &id(&a));
    connected(&[&a, &b, &c]).await;
    assert_eq!(there.add(1).await?, 2);
    stop_all(&[a, b, c]).await;
    Ok(())
}

#[actix_rt::test]
async fn after_a_reset_nodes_connect_again_by_themselves() -> Res {
    let network = MemoryNetwork::new();
    let (a, b) = two(&network).await?;
    network.reset(&id(&a), &id(&b));
    until(10, "both come again", || [&a, &b].iter().all(|node| node.stats().node_up_total == 2)).await;
    connected(&[&a, &b]).await;
    assert_eq!(downs(&a, NodeDownReason::ConnectionClosed), 1);
    stop_all(&[a, b]).await;
    Ok(())
}

/// Casts until it is refused; how many were taken.
fn fill(there: &Ref<Box_>) -> i64 {
    for n in 0.. {
        match there.see(n) {
            Ok(()) => {}
            Err(CastError::Overloaded(Overload::Outbox)) => return n,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("it ends")
}

#[actix_rt::test]
async fn who_is_not_read_is_told_and_what_was_taken_arrives_in_order_once_it_is() -> Res {
    let network = MemoryNetwork::with_buffer(1000);
    let small = |name| config(name).outbox_bytes(64 * 1024);
    let a = start(&network, small("a")).await?;
    let b = start(&network, small("b").seed(a.local_node_id())).await?;
    connected(&[&a, &b]).await;
    let there = a.spawn_on::<Box_>(b.local_node_id(), 0).await?;
    network.silence(&id(&a), &id(&b));
    let sent = fill(&there);
    let stats = a.peer_stats(&id(&b)).unwrap();
    assert!(stats.outbox_bytes >= 64 * 1024 - 1000, "it waits in the outbox: {stats:?}");
    assert!((a.is_node_connected(&id(&b)), b.is_node_connected(&id(&a))) == (true, true), "nobody was told");

    network.heal(&id(&a), &id(&b));
    let seen = within(10, "all arrive", async {
        loop {
            // Until there is room, calls are refused as well.
            match there.seen().await {
                Ok(seen) if i64::try_from(seen.len()).unwrap() > sent => return seen,
                Ok(_) | Err(CallError::Overloaded(_)) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await;
    assert!(seen[1..].iter().copied().eq(0..sent), "in order, none twice");
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn a_message_much_longer_than_the_buffer_comes_whole() -> Res {
    let network = MemoryNetwork::with_buffer(7);
    let (a, b) = two(&network).await?;
    let there = a.spawn_on::<Box_>(b.local_node_id(), 0).await?;
    let text: String = (0..20_000).map(|n| char::from(b'a' + u8::try_from(n % 26).unwrap())).collect();
    assert!(there.echo(text.clone()).timeout(Duration::from_secs(60)).await? == text);
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn silence_is_found_by_the_heartbeats_and_dials_wait_in_it() -> Res {
    let network = MemoryNetwork::new();
    let quick = |name| {
        let config = config(name).heartbeat_interval(Duration::from_millis(200)).heartbeat_miss_threshold(3);
        config.connect_timeout(Duration::from_millis(300))
    };
    let a = start(&network, quick("a")).await?;
    let b = start(&network, quick("b").seed(a.local_node_id())).await?;
    connected(&[&a, &b]).await;
    network.silence(&id(&a), &id(&b));
    for node in [&a, &b] {
        until(20, "it is down", || downs(node, NodeDownReason::HeartbeatTimeout) == 1).await;
    }
    assert_eq!(dial_failed(&b).await, DialError::Timeout);
    network.heal_all();
    connected(&[&a, &b]).await;
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn in_one_direction_only_the_other_end_still_hears() -> Res {
    let network = MemoryNetwork::new();
    let (a, b) = two(&network).await?;
    let there = a.spawn_on::<Box_>(b.local_node_id(), 0).await?;
    let back = b.spawn_on::<Box_>(a.local_node_id(), 0).await?;
    network.silence_one_way(&id(&b), &id(&a));
    let late = there.add(1).timeout(Duration::from_millis(300)).await;
    assert!(matches!(late, Err(CallError::Timeout { .. })), "{late:?}");
    until(10, "it came all the same", || b.peer_stats(&id(&a)).unwrap().cancels_received == 1).await;
    back.see(7)?;
    network.heal(&id(&a), &id(&b));
    assert_eq!(there.add(1).await?, 2, "the call that timed out was handled");
    assert_eq!(back.seen().await?, [0, 7]);
    assert_eq!(a.stats().node_up_total, 1, "all of it in one session");
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn a_node_that_starts_again_in_a_silence_is_met_after_it() -> Res {
    let network = MemoryNetwork::new();
    let (a, b) = two(&network).await?;
    network.silence(&id(&a), &id(&b));
    stop_all(&[b]).await;
    let b = start(&network, config("b").seed(a.local_node_id())).await?;
    assert!(a.is_node_connected(&id(&b)), "it has not heard that the earlier life is over");
    network.heal(&id(&a), &id(&b));
    until(10, "it meets the new one", || a.stats().node_up_total == 2 && b.connected_node_count() == 1).await;
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn many_strangers_at_once_wait_until_they_are_accepted() -> Res {
    let network = MemoryNetwork::new();
    let a = start(&network, config("a").max_unauthenticated(1000)).await?;
    let strangers = (0..500).map(|_| network.connect(a.local_node_id()));
    let strangers: io::Result<Vec<_>> = futures_util::future::join_all(strangers).await.into_iter().collect();
    drop(strangers?);
    until(10, "all are counted", || a.stats().refused_total.get(&RefusedReason::Eof) == Some(&500)).await;
    stop_all(&[a]).await;
    Ok(())
}
