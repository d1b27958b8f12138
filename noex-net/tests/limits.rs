//! What one authenticated peer may make a node hold or do, and that more than that costs the peer its session, or an error that
//! says so.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::{collections::BTreeMap, time::Duration};

use noex_actors::{
    BehaviorOptions, Context, ExitReason, Overload, Peers, Placement, SpawnError, SpawnOptions, behavior,
};
use noex_net::{Cluster, ClusterConfigBuilder, ProtocolError};
use serde_bytes::ByteBuf;
use support::{
    Box_, Res, config, id,
    raw::{self, RawPeer, WireUpdate, control},
    start, until, within,
};
use tokio::sync::Notify;

const MIB: usize = 1 << 20;

/// Settings of a node whose peers may be silent for the length of a test.
fn patient(name: &str) -> ClusterConfigBuilder {
    config(name).heartbeat_interval(Duration::from_secs(60))
}

/// Waits until the peer was cut off for this, once.
async fn cut_off(peer: &mut RawPeer, from: &Cluster, error: ProtocolError) {
    peer.until_closed().await;
    until(10, "the session is over", || from.connected_node_count() == 0).await;
    let counts = from.stats().protocol_errors_total;
    assert!(counts.iter().all(|(kind, n)| *n == u64::from(*kind == error)), "{counts:?}");
}

#[actix_rt::test]
async fn messages_in_chunks_are_bounded_by_what_they_announce() -> Res {
    // Longer than a message may be; or all together, though hardly anything of them has come.
    let floods = [vec![raw::first(0, 2 * MIB, b"x")], (0..8).map(|n| raw::first(n, MIB, b"x")).collect()];
    for flood in floods {
        let a = start(patient("a").max_message_bytes(MIB)).await?;
        let mut peer = RawPeer::join(&a, "z@127.0.0.1:1").await?;
        peer.send(&(0..5).flat_map(|n| raw::first(100 + n, MIB, b"x")).collect::<Vec<_>>()).await?;
        peer.settled().await?;
        peer.send(&(0..5).flat_map(|n| raw::dropped(100 + n)).collect::<Vec<_>>()).await?;
        peer.flood(flood.into_iter()).await;
        cut_off(&mut peer, &a, ProtocolError::Limit).await;
        a.stop().await;
    }
    Ok(())
}

#[actix_rt::test]
async fn sixteen_messages_in_chunks_may_be_open_and_no_more() -> Res {
    let a = start(patient("a")).await?;
    let mut peer = RawPeer::join(&a, "z@127.0.0.1:1").await?;
    peer.flood((0..16).map(|n| raw::first(n, 100, b"begun"))).await;
    peer.settled().await?;
    peer.send(&[raw::dropped(7), raw::first(16, 100, b"begun")].concat()).await?;
    peer.settled().await?;
    peer.send(&raw::first(17, 100, b"begun")).await?;
    cut_off(&mut peer, &a, ProtocolError::Limit).await;
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn chunks_that_do_not_fit_together_end_the_session() -> Res {
    let whole = raw::first(1, 6, b"\0abc");
    for (what, chunks) in [
        ("one that was not begun", raw::next(1, b"x")),
        ("one that was not begun is dropped", raw::dropped(1)),
        ("it begins twice", [whole.clone(), whole.clone()].concat()),
        ("longer than it said", [whole.clone(), raw::next(1, b"abc")].concat()),
        ("longer than it said at once", raw::first(1, 3, b"\0abc")),
        ("nothing in it", [whole.clone(), raw::next(1, b"")].concat()),
        ("nothing to come", raw::first(1, 0, b"")),
        ("it goes on after its end", [raw::first(1, 3, b"\x06\x01\x01"), raw::next(1, b"a")].concat()),
        ("it goes on though it was dropped", [whole, raw::dropped(1), raw::next(1, b"ab")].concat()),
    ] {
        let a = start(patient("a")).await?;
        let mut peer = RawPeer::join(&a, "z@127.0.0.1:1").await?;
        peer.send(&chunks).await?;
        within(10, what, cut_off(&mut peer, &a, ProtocolError::Frame)).await;
        a.stop().await;
    }
    Ok(())
}

#[actix_rt::test]
async fn one_node_has_eight_connections_at_a_time() -> Res {
    // Ids before that of the node: it waits for their word which of the connections it is to be.
    let a = start(patient("m").handshake_timeout(Duration::from_secs(60))).await?;
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(RawPeer::connect(&a, "b@127.0.0.1:1", 1).await?);
    }
    until(10, "the others are closed", || a.stats().connections == 8).await;
    let other = RawPeer::connect(&a, "c@127.0.0.1:1", 1).await?;
    until(10, "another node is not concerned", || a.stats().connections == 9).await;
    assert!(a.stats().refused_total.values().all(|n| *n == 0), "a duplicate is no refusal");
    drop((held, other));
    until(10, "they are gone", || a.stats().connections == 0).await;
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_chunk_holds_no_chunk() -> Res {
    let a = start(patient("a")).await?;
    let mut peer = RawPeer::join(&a, "z@127.0.0.1:1").await?;
    let inner = raw::first(1, 6, b"deeper").split_off(2);
    peer.send(&raw::first(0, inner.len(), &inner)).await?;
    cut_off(&mut peer, &a, ProtocolError::Frame).await;
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn who_floods_the_manager_is_cut_off() -> Res {
    let hints: Vec<(String, u64)> = vec![("z@127.0.0.1:1".to_owned(), 1); 1024];
    let floods: [(&str, Vec<u8>, usize); 4] = [
        ("heartbeats", raw::heartbeat(), 3000),
        ("pongs", control("Pong", &(1_u64,)), 3000),
        ("welcomes", raw::word("Welcome"), 3000),
        ("hints", control("Hints", &hints), 60),
    ];
    for (what, frame, count) in floods {
        let a = start(patient("a")).await?;
        let mut peer = RawPeer::join(&a, "z@127.0.0.1:1").await?;
        // More than one second's worth: the count may begin anew in the middle.
        peer.flood(std::iter::repeat_n(frame, count)).await;
        within(10, what, cut_off(&mut peer, &a, ProtocolError::Limit)).await;
        a.stop().await;
    }
    Ok(())
}

#[actix_rt::test]
async fn lists_have_a_length_whatever_the_message_has() -> Res {
    let empty = String::new();
    let behaviors = vec![empty.clone(); 10_001];
    let updates: Vec<WireUpdate> = (0..251).map(|n| (n.to_string(), 1, None)).collect();
    let hints: Vec<(String, u64)> = vec![("z@127.0.0.1:1".to_owned(), 1); 16_385];
    let instances = vec![(empty.clone(), 1_u64, 1_u64, empty); 100_001];
    for (what, message) in [
        ("behaviors", raw::message("Behaviors", &behaviors)),
        ("names", raw::message("Names", &(0, 1, true, &updates))),
        ("hints", raw::message("Hints", &hints)),
        ("instances", raw::message("Response", &(1_u64, BTreeMap::from([("Instances", instances)])))),
    ] {
        let a = start(patient("a")).await?;
        let mut peer = RawPeer::join(&a, "z@127.0.0.1:1").await?;
        let whole = [&[raw::CONTROL][..], &message].concat();
        peer.flood(raw::chunks(1, &whole).into_iter()).await;
        within(10, what, cut_off(&mut peer, &a, ProtocolError::Control)).await;
        a.stop().await;
    }
    Ok(())
}

#[actix_rt::test]
async fn names_that_are_none_or_too_many_are_left_out_and_counted() -> Res {
    let a = start(patient("a")).await?;
    let mut peer = RawPeer::join(&a, "z@127.0.0.1:1").await?;
    let held = |token: Option<(String, String, u64)>| Some((("z@127.0.0.1:1".to_owned(), 1, 7), token));
    let long_token = Some(("s".repeat(2000), "c".to_owned(), 1));
    let updates: [WireUpdate; 7] = [
        (String::new(), 1, held(None)),
        ("two\nlines".to_owned(), 1, held(None)),
        ("x".repeat(256), 1, held(None)),
        ("too late a version".to_owned(), u64::MAX, held(None)),
        ("a long token".to_owned(), 1, held(long_token)),
        ("x".repeat(255), 1, held(None)),
        ("good".to_owned(), 1, held(Some(("s".to_owned(), "c".to_owned(), 1)))),
    ];
    peer.send(&control("Names", &(0, 7, true, &updates))).await?;
    peer.settled().await?;
    let stats = a.global().stats();
    assert_eq!((stats.remote_registrations, stats.updates_refused), (2, 5));
    // 100 000 of one peer; the last few of these find no room.
    let many = (0..100_010_u64)
        .map(|n| control("Names", &(7 + n, 8 + n, true, [(format!("n{n}"), 1_u64, held(None))])));
    peer.flood(many).await;
    peer.settled().await?;
    let stats = a.global().stats();
    assert_eq!((stats.remote_registrations, stats.updates_refused), (100_000, 5 + 12));
    drop(peer);
    until(20, "they go with their node", || a.global().stats().remote_registrations == 0).await;
    a.stop().await;
    Ok(())
}

/// A peer that sends 180 MiB of signals to a busy process is cut off when 80 MiB wait there.
async fn cut_off_for_signals(options: SpawnOptions, signal: impl Fn(u64) -> Vec<u8>) -> Res {
    let a = start(patient("a")).await?;
    let there = a.spawn::<Box_>(0).options(options).await?;
    let busy = there.clone();
    let busy = actix_rt::spawn(async move { busy.nap(600_000).timeout(Duration::from_secs(600)).await });
    until(5, "it is busy", || a.process(there.pid()).is_some_and(|info| info.message_count == 1)).await;
    let mut peer = RawPeer::join(&a, "z@127.0.0.1:1").await?;
    peer.flood(std::iter::repeat_n(signal(there.pid().number()), 3000)).await;
    cut_off(&mut peer, &a, ProtocolError::Limit).await;
    let waiting = a.process(there.pid()).ok_or("it lives")?.mailbox_len;
    assert!((100..1500).contains(&waiting), "80 MiB of signals wait, and not 180: {waiting}");
    there.kill();
    assert!(busy.await?.is_err());
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn signals_are_never_refused_so_who_sends_too_many_is_cut_off() -> Res {
    let reason = format!("error: {}", "x".repeat(60_000));
    cut_off_for_signals(SpawnOptions::new(), |number| control("Stop", &(number, &reason))).await
}

#[actix_rt::test]
#[ignore = "soak: cargo test -p noex-net --test limits -- --ignored a_million_watches"]
async fn a_million_watches_of_one_peer_and_no_more() -> Res {
    let a = start(patient("a")).await?;
    let number = a.spawn::<Box_>(0).await?.pid().number();
    let mut peer = RawPeer::join(&a, "z@127.0.0.1:1").await?;
    peer.flood((0..1_000_000_u64).map(|id| control("Monitor", &(id, number)))).await;
    peer.settled().await?;
    assert_eq!(a.remote_monitor_stats().active_incoming_count, 1_000_000);
    peer.send(&control("Monitor", &(1_000_000_u64, number))).await?;
    cut_off(&mut peer, &a, ProtocolError::Limit).await;
    assert_eq!(a.remote_monitor_stats().active_incoming_count, 0);
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn who_asks_and_does_not_read_the_answers_is_cut_off() -> Res {
    let a = start(patient("a").outbox_bytes(64 << 10)).await?;
    let mut peer = RawPeer::join(&a, "z@127.0.0.1:1").await?;
    let asked =
        (0..2_000_000_u64).map(|id| control("Request", &(id, BTreeMap::from([("IsAlive", (1_u64,))]))));
    // Whatever the kernel holds for it: it never reads.
    within(60, "the node closes", peer.flood(asked)).await;
    until(10, "it is cut off", || a.connected_node_count() == 0).await;
    assert_eq!(a.stats().protocol_errors_total[&ProtocolError::Limit], 1);
    a.stop().await;
    Ok(())
}

fn order(args: &impl serde::Serialize) -> impl serde::Serialize {
    let args = ByteBuf::from(rmp_serde::to_vec(args).unwrap());
    BTreeMap::from([(
        "Spawn",
        ("box", args, None::<String>, "none", 1000_u64, 10_u64, None::<()>, "reject", false),
    )])
}

#[actix_rt::test]
async fn a_peer_has_so_many_processes_started_and_is_told_when_there_are_too_many() -> Res {
    let a = start(config("a").max_spawned_per_peer(3)).await?;
    let b = start(config("b").seed(a.local_node_id().to_string())).await?;
    until(5, "both are up", || a.connected_node_count() == 1 && b.connected_node_count() == 1).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(b.spawn_on::<Box_>(&id(&a), 0).await?);
    }
    let full = b.spawn_on::<Box_>(&id(&a), 0).await.unwrap_err();
    assert_eq!(full, SpawnError::Overloaded(Overload::Quota));
    // One that fails to start, or ends, gives its place back; another peer has its own.
    held.pop().unwrap().stop(ExitReason::Normal).await?;
    until(5, "it ended", || a.process_count() == 2).await;
    assert!(b.spawn_on::<Box_>(&id(&a), -1).await.is_err());
    held.push(b.spawn_on::<Box_>(&id(&a), 0).await?);
    let mut other = RawPeer::join(&a, "z@127.0.0.1:1").await?;
    for request in 0..4_u64 {
        other.send(&control("Request", &(request, order(&0)))).await?;
        let response = other.until_control("Response").await?;
        let spawned = &response[1]["Spawned"];
        match request {
            3 => assert_eq!(spawned["Err"], "TooMany"),
            _ => assert!(spawned["Ok"].is_u64(), "{response}"),
        }
    }
    assert_eq!(a.process_count(), 6);
    drop(other);
    until(10, "what it never confirmed is gone", || a.process_count() == 3).await;
    b.stop().await;
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_process_that_its_peer_never_confirms_is_killed_though_the_session_goes_on() -> Res {
    unconfirmed(1).await
}

#[actix_rt::test]
#[ignore = "soak: cargo test -p noex-net --test limits -- --ignored unconfirmed_processes"]
async fn unconfirmed_processes_are_killed_as_often_as_there_are_some() -> Res {
    unconfirmed(4).await
}

async fn unconfirmed(rounds: u64) -> Res {
    let a = start(patient("a")).await?;
    let mut peer = RawPeer::join(&a, "z@127.0.0.1:1").await?;
    for round in 0..rounds {
        for request in 0..3 {
            peer.send(&control("Request", &(10 * round + request, order(&0)))).await?;
            peer.until_control("Response").await?;
        }
        peer.send(&control("Confirm", &(10 * round,))).await?;
        peer.settled().await?;
        let confirmed = usize::try_from(round)? + 1;
        assert_eq!(a.process_count(), confirmed + 2);
        until(20, "two of three are killed", || a.process_count() == confirmed).await;
    }
    assert_eq!(a.connected_node_count(), 1);
    a.stop().await;
    Ok(())
}

/// Ends of links are signals, too, and had no bound.
#[actix_rt::test]
async fn ends_of_links_are_never_refused_so_who_sends_too_many_is_cut_off() -> Res {
    let reason = format!("error: {}", "x".repeat(60_000));
    cut_off_for_signals(SpawnOptions::new().trap_exit(), |number| {
        [control("Link", &(7_u64, number)), control("Broken", &(7_u64, number, &reason))].concat()
    })
    .await
}

/// Keeps its arbiter from everything else.
struct Blocking;

#[behavior(name = "blocking")]
impl Blocking {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Blocking)
    }
    #[cast]
    fn block(&mut self, time: Duration, cx: &mut Context<Self>) {
        cx.node().data::<Notify>().unwrap().notify_one();
        #[expect(clippy::disallowed_methods, reason = "what is tested")]
        std::thread::sleep(time);
    }
    #[call]
    fn done(&mut self) {}
}

/// A start that was answered, and confirmed while its node read nothing, ended by a kill.
#[actix_rt::test]
async fn a_process_confirmed_while_its_node_could_not_read_lives() -> Res {
    let builder = Cluster::builder(patient("a").build()?).behavior::<Box_>().behavior::<Blocking>();
    let a = builder.data(Notify::new()).arbiters(1).start().await?;
    let mut peer = RawPeer::join(&a, "z@127.0.0.1:1").await?;
    peer.send(&control("Request", &(0, order(&0)))).await?;
    peer.until_control("Response").await?;
    // Where the connection is read, and not here.
    let there = SpawnOptions::new().placement(Placement::RoundRobin);
    let blocking = a.spawn::<Blocking>(()).options(there).await?;
    // For longer than a process waits to be confirmed.
    blocking.block(Duration::from_millis(12_500))?;
    within(5, "it is blocked", a.data::<Notify>().unwrap().notified()).await;
    peer.send(&control("Confirm", &(0,))).await?;
    within(30, "it goes on", blocking.done().timeout(Duration::from_secs(30))).await?;
    peer.settled().await?;
    assert_eq!(a.process_count(), 2);
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_request_number_used_twice_leaves_no_orphan() -> Res {
    let a = start(patient("a")).await?;
    let mut peer = RawPeer::join(&a, "z@127.0.0.1:1").await?;
    for _ in 0..10 {
        peer.send(&control("Request", &(5_u64, order(&0)))).await?;
    }
    let confirmed = [control("Confirm", &(5_u64,)), control("Confirm", &(6_u64,))].concat();
    peer.settled().await?;
    until(5, "one is held at most", || a.process_count() <= 1).await;
    peer.send(&confirmed).await?;
    drop(peer);
    until(10, "the session is over", || a.connected_node_count() == 0).await;
    until(10, "at most the confirmed one stays", || a.process_count() <= 1).await;
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn what_a_peer_asks_for_ends_with_its_session() -> Res {
    let a = start(patient("a")).await?;
    let there = a.spawn::<Box_>(0).await?;
    let number = there.pid().number();
    let mut peer = RawPeer::join(&a, "z@127.0.0.1:1").await?;
    peer.flood((0..5000_u64).map(|id| control("Monitor", &(id, number)))).await;
    peer.flood((0..5000_u64).map(|from| control("Link", &(from + 1, number)))).await;
    peer.settled().await?;
    let (monitors, links) = (a.remote_monitor_stats(), a.remote_link_stats());
    assert_eq!((monitors.active_incoming_count, links.active_link_count), (5000, 5000));
    // Calls that nobody answers while the session lasts.
    let held = |n: u64| raw::call(n, &raw::named("box"), number, &"Held");
    peer.flood((0..100).map(held)).await;
    peer.settled().await?;
    drop(peer);
    until(10, "the session is over", || a.connected_node_count() == 0).await;
    until(10, "the links took the process along", || a.process(there.pid()).is_none()).await;
    let (monitors, links) = (a.remote_monitor_stats(), a.remote_link_stats());
    assert_eq!((monitors.active_incoming_count, links.active_link_count), (0, 0));
    assert!(a.stats().protocol_errors_total.values().all(|n| *n == 0));
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_behavior_says_which_nodes_may_start_it_and_how_often() -> Res {
    let (a, b) = support::pair().await?;
    let allow = |peers, most| BehaviorOptions::new().spawn_from(peers).max_instances(most);
    a.behaviors().register_with::<Box_>(allow(Peers::None, 1))?;
    let (behavior, node) = ("box".to_owned(), id(&a));
    let forbidden = SpawnError::Forbidden { behavior: behavior.clone(), node: node.clone() };
    assert_eq!(b.spawn_on::<Box_>(&id(&a), 0).await.unwrap_err(), forbidden);
    assert_eq!(forbidden.delivery(), noex_actors::Delivery::Never);
    a.behaviors().register_with::<Box_>(allow(Peers::Names(vec!["b*".to_owned()]), 1))?;
    let there = b.spawn_on::<Box_>(&id(&a), 0).await?;
    let full = SpawnError::Quota { behavior, node, max: 1 };
    assert_eq!(b.spawn_on::<Box_>(&id(&a), 0).await.unwrap_err(), full);
    // What the node starts itself is not concerned, and an end gives the place back.
    let own = a.spawn::<Box_>(0).await?;
    there.stop(ExitReason::Normal).await?;
    until(5, "it ended", || a.process_count() == 1).await;
    let there = b.spawn_on::<Box_>(&id(&a), 0).await?;
    assert_eq!(there.seen().await?, [0]);
    own.stop(ExitReason::Normal).await?;
    support::stop_all(&[a, b]).await;
    Ok(())
}
