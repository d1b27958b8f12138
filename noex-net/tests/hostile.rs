//! What holes a predecessor of noex had, S1 to S11 here and S12 to S16 in `hostile_access.rs`, and that noex does not have them. docs/hardening.md has the list; what is not
//! here is shown by a test named there.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use noex_actors::{Incarnation, NodeDownReason, Ref};
use noex_net::{Cluster, ClusterEvent, NodeStatus, ProtocolError, RefusedReason};
use serde_bytes::ByteBuf;
use support::{
    Box_, Res, builder, config, id, pair,
    raw::{self, RawPeer, WireUpdate, control, word},
    until, within,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A node whose peers may be silent for the length of a test.
async fn patient(name: &str) -> Res<Cluster> {
    Ok(builder(config(name).heartbeat_interval(Duration::from_secs(60)))?.start().await?)
}

fn broken(cluster: &Cluster, error: ProtocolError) -> u64 {
    cluster.stats().protocol_errors_total[&error]
}

/// Waits until this error was counted as often, and nothing else was.
async fn counted(cluster: &Cluster, error: ProtocolError, times: u64) {
    until(10, error.as_str(), || broken(cluster, error) >= times).await;
    let counts = cluster.stats().protocol_errors_total;
    assert!(counts.iter().all(|(kind, n)| *n == if *kind == error { times } else { 0 }), "{counts:?}");
}

async fn box_on(node: &Cluster) -> Res<Ref<Box_>> {
    Ok(node.spawn::<Box_>(0).await?)
}

#[actix_rt::test]
async fn s2_whatever_an_authenticated_peer_breaks_ends_its_session_and_is_counted() -> Res {
    let a = patient("a").await?;
    let there = box_on(&a).await?;
    let long = 300_000_u32.to_le_bytes().to_vec();
    let short = 15_u32.to_le_bytes().to_vec();
    let raw = |bytes: Vec<u8>| move |_: &mut RawPeer| bytes.clone();
    type Make = Box<dyn Fn(&mut RawPeer) -> Vec<u8>>;
    let sealed = |frames: Vec<u8>| move |peer: &mut RawPeer| peer.sealed(&frames);
    let cases: Vec<(ProtocolError, Make)> = vec![
        (ProtocolError::Length, Box::new(raw(vec![0xFF; 4]))),
        (ProtocolError::Length, Box::new(raw(long))),
        (ProtocolError::Length, Box::new(raw(short))),
        (ProtocolError::Forged, Box::new(raw([&20_u32.to_le_bytes()[..], &[0; 20]].concat()))),
        (ProtocolError::Frame, Box::new(sealed(vec![0]))),
        (ProtocolError::Frame, Box::new(sealed(vec![9, 0, 0, 1]))),
        (ProtocolError::Frame, Box::new(sealed(raw::frame(99, b"no such kind")))),
        (ProtocolError::Frame, Box::new(sealed(raw::frame(raw::NEXT, &[0, 2])))),
        (ProtocolError::Control, Box::new(sealed(raw::frame(raw::CONTROL, b"\xc1")))),
    ];
    let mut expected: BTreeMap<ProtocolError, u64> = BTreeMap::new();
    for (round, (error, make)) in cases.into_iter().enumerate() {
        let mut peer = RawPeer::join(&a, &format!("z{round}@127.0.0.1:1")).await?;
        let bytes = make(&mut peer);
        peer.socket.write_all(&bytes).await?;
        peer.until_closed().await;
        *expected.entry(error).or_insert(0) += 1;
        until(10, "it was counted", || broken(&a, error) == expected[&error]).await;
        until(10, "the peer is down", || a.connected_node_count() == 0).await;
        assert_eq!(there.add(1).await?, i64::try_from(round)? + 1, "the node works");
    }
    let downs = a.stats().node_down_total;
    assert_eq!(downs[&NodeDownReason::ConnectionClosed], 9, "{downs:?}");
    assert_eq!(a.stats().protocol_errors_total[&ProtocolError::Limit], 0);
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn s3_a_control_message_that_is_not_one_ends_the_session_and_nothing_else() -> Res {
    let a = patient("a").await?;
    let bad_id = |id: &str| control("Hints", &[(id.to_owned(), 1_u64)]);
    let cases = [
        word("NoSuchMessage"),
        control("NoSuchMessage", &(1_u64,)),
        control("Heartbeat", &(0_u64,)),
        control("Heartbeat", &("many", 0_u64, 0_f32, 0_u64, false, None::<[String; 0]>)),
        control("Monitor", &(1_u64,)),
        control("Exit", &(1_u64, 1_u64, "no such reason")),
        control("Names", &(0, 1, true, "not a list")),
        control("Request", &(1_u64, "NoSuchRequest")),
        bad_id("no id"),
        bad_id("x@h:00080"),
        bad_id(&format!("{}@h:1", "x".repeat(100_000))),
        raw::frame(raw::CONTROL, &[]),
        raw::frame(raw::CONTROL, &[0x91; 4000]),
    ];
    let total = u64::try_from(cases.len())?;
    for (round, frames) in cases.into_iter().enumerate() {
        let mut peer = RawPeer::join(&a, &format!("z{round}@127.0.0.1:1")).await?;
        peer.send(&frames).await?;
        peer.until_closed().await;
    }
    counted(&a, ProtocolError::Control, total).await;
    assert_eq!(box_on(&a).await?.add(1).await?, 1);
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn s4_and_s6_nothing_of_a_batch_takes_effect_before_its_tag_verified_and_own_batches_do_not() -> Res {
    let a = patient("a").await?;
    let there = box_on(&a).await?;
    let kill = control("Kill", &(there.pid().number(),));
    let mut peer = RawPeer::join(&a, "y@127.0.0.1:1").await?;
    let mut batch = peer.sealed(&kill);
    batch[4] ^= 1;
    // What comes behind it is in order, and must not be taken either.
    batch.extend(peer.sealed(&kill));
    peer.socket.write_all(&batch).await?;
    peer.until_closed().await;
    // A batch of the node itself, sent back to it.
    let mut peer = RawPeer::join(&a, "z@127.0.0.1:1").await?;
    peer.send(&control("Ping", &(1_u64,))).await?;
    let own = peer.read_batch().await?;
    let reflected = [&u32::try_from(own.len())?.to_le_bytes()[..], &own].concat();
    peer.socket.write_all(&reflected).await?;
    // Its own end closes at the first batch that it did not read in order.
    within(10, "it is cut off", async { while peer.read_batch().await.is_ok() {} }).await;
    counted(&a, ProtocolError::Forged, 2).await;
    assert_eq!(there.add(1).await?, 1, "it was not killed");
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn s5_a_batch_is_taken_once_and_not_in_another_session() -> Res {
    let a = patient("a").await?;
    let there = box_on(&a).await?;
    let mut peer = RawPeer::join(&a, "y@127.0.0.1:1").await?;
    let see = raw::cast(&raw::named("box"), there.pid().number(), &BTreeMap::from([("See", (7_i64,))]));
    let batch = peer.sealed(&see);
    peer.socket.write_all(&batch).await?;
    peer.settled().await?;
    assert_eq!(there.seen().await?, [0, 7]);
    peer.socket.write_all(&batch).await?;
    peer.until_closed().await;
    let mut other = RawPeer::join(&a, "z@127.0.0.1:1").await?;
    other.socket.write_all(&batch).await?;
    other.until_closed().await;
    counted(&a, ProtocolError::Forged, 2).await;
    assert_eq!(there.seen().await?, [0, 7], "once");
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn s7_who_claims_the_id_of_a_connected_node_has_no_say_in_its_name() -> Res {
    let (a, b) = pair().await?;
    let bid = id(&b);
    assert!(a.peer_has_behavior(&bid, "box"));
    // The secret alone lets it claim the id, with the same life: the one that is up answers, and the newcomer goes.
    for life in [b.local_node_info().incarnation, Incarnation(1)] {
        let mut twin = RawPeer::connect(&a, bid.as_str(), life.0).await?;
        let _ = twin.send(&[word("Draining"), control("Behaviors", &[(1_u32, "none")])].concat()).await;
        let _ = twin.send(&word("Goodbye")).await;
        let _ = within(10, "it is closed", async { while twin.read_batch().await.is_ok() {} }).await;
    }
    assert!(a.peer_has_behavior(&bid, "box") && !a.is_draining(&bid));
    assert_eq!((a.stats().node_up_total, a.connected_node_count()), (1, 1));
    assert!(a.stats().node_down_total.values().all(|n| *n == 0));
    b.stop().await;
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn s8_who_is_dialled_proves_itself_first_or_hears_nothing_more() -> Res {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let a = builder(config("a").seed(format!("127.0.0.1:{port}")))?.start().await?;
    let (mut socket, _) = within(10, "it dials", listener.accept()).await?;
    let hello = raw::read_handshake(&mut socket).await?;
    assert!(!hello.windows(raw::SECRET.len()).any(|part| part == raw::SECRET.as_bytes()));
    let nonce = ByteBuf::from([1; 32]);
    let proof = ByteBuf::from([2; 32]);
    let fields: raw::Challenge = (
        1,
        format!("x@127.0.0.1:{port}"),
        1,
        nonce,
        Some("default".to_owned()),
        0,
        "hmac-sha256-128".to_owned(),
        proof,
    );
    raw::write_handshake(&mut socket, &raw::message("challenge", &fields)).await?;
    let answer = raw::read_handshake(&mut socket).await?;
    assert_eq!(answer, raw::message("refused", &("wrong_secret",)), "no proof for a stranger");
    assert_eq!(socket.read(&mut [0; 16]).await?, 0);
    let refused = || a.stats().refused_total[&RefusedReason::WrongSecret];
    until(10, "it is counted", || refused() >= 1).await;
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn s9_nobody_speaks_for_the_names_of_another_node() -> Res {
    let (a, b) = pair().await?;
    let there = box_on(&b).await?;
    b.global().register("bank", &there)?;
    until(5, "a knows the name", || a.global().whereis::<Box_>("bank").is_some()).await;
    let (of_b, life) = (id(&b).to_string(), b.local_node_info().incarnation.0);
    for (round, held) in [Some(((of_b, life, 1), None)), Some((("z9@127.0.0.1:1".to_owned(), 2, 1), None))]
        .into_iter()
        .enumerate()
    {
        let mut thief = RawPeer::join(&a, &format!("z{round}@127.0.0.1:1")).await?;
        let update: WireUpdate = ("bank".to_owned(), 99, held);
        let frames = match round {
            0 => control("Names", &(0, 1, false, [update])),
            _ => control("Names", &(0, 0, true, [update])),
        };
        thief.send(&frames).await?;
        thief.until_closed().await;
    }
    counted(&a, ProtocolError::Control, 2).await;
    // A full list of nothing takes away what is the sender's: nothing.
    let mut thief = RawPeer::join(&a, "z@127.0.0.1:1").await?;
    thief.send(&control("Names", &(0, 0, true, [] as [WireUpdate; 0]))).await?;
    thief.settled().await?;
    assert_eq!(
        a.global().whereis::<Box_>("bank").map(|found| found.pid().clone()).as_ref(),
        Some(there.pid())
    );
    b.stop().await;
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn s10_nobody_declares_another_node_down() -> Res {
    let (a, b) = pair().await?;
    let mut events = a.events();
    let mut peer = RawPeer::join(&a, "z@127.0.0.1:1").await?;
    let frames = [
        control("Hints", &[] as &[(String, u64); 0]),
        word("Draining"),
        control("Down", &(1_u64, "noconnection")),
        control("Broken", &(1_u64, 1_u64, "noconnection")),
        word("Goodbye"),
    ];
    peer.send(&frames.concat()).await?;
    let gone = within(10, "one goes", async {
        loop {
            match events.recv().await {
                Some(ClusterEvent::NodeDown { node, reason, .. }) => return (node, reason),
                Some(_) => {}
                None => panic!("no more events"),
            }
        }
    });
    drop(peer);
    assert_eq!(
        gone.await,
        ("z@127.0.0.1:1".parse()?, NodeDownReason::GracefulShutdown),
        "who said so, itself"
    );
    assert!(a.is_node_connected(&id(&b)) && !a.is_draining(&id(&b)));
    b.stop().await;
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn s11_hints_are_a_reason_to_dial_a_few_and_nothing_else() -> Res {
    let a = patient("a").await?;
    let dialled = Arc::new(Mutex::new(0_usize));
    let seen = Arc::clone(&dialled);
    let count = move |event: &ClusterEvent| {
        if matches!(event, ClusterEvent::DialFailed { .. }) {
            *seen.lock().unwrap() += 1;
        }
    };
    let _listening = a.on_event(count);
    let mut peer = RawPeer::join(&a, "z@127.0.0.1:1").await?;
    // Nobody listens on port 1: each dial ends at once.
    let bogus: Vec<(String, u64)> = (0..2000).map(|n| (format!("bogus{n}@127.0.0.1:1"), 1)).collect();
    for part in bogus.chunks(500) {
        peer.send(&control("Hints", &part)).await?;
    }
    peer.settled().await?;
    until(10, "some are dialled", || *dialled.lock().unwrap() > 0).await;
    // A spawn and a call later the manager has taken all four.
    assert_eq!(box_on(&a).await?.add(1).await?, 1);
    assert!(*dialled.lock().unwrap() <= 64, "{} dials", dialled.lock().unwrap());
    let bogus: Vec<_> = a.nodes().into_iter().filter(|node| node.id.name().starts_with("bogus")).collect();
    assert!(bogus.len() <= 64, "{} of them are known", bogus.len());
    assert!(bogus.iter().all(|node| node.status != NodeStatus::Connected) && a.connected_node_count() == 1);
    a.stop().await;
    Ok(())
}
