//! Credits: what a slow process has not handled is bounded at both ends, and harms nobody else.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

#[path = "support/cable.rs"]
mod cable;

use std::{
    collections::BTreeMap,
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context as TaskContext, Waker},
    time::Duration,
};

use cable::Cable;
use noex_actors::{CallError, CastError, Context, ExitReason, Incarnation, Overload, Pid, Ref, behavior};
use noex_net::{Cluster, ClusterConfigBuilder, PeerStats, ProtocolError};
use support::{
    Box_, Res, config,
    gate::{self, Gate},
    id,
    raw::{self, RawPeer},
    stop_all, until, within,
};

/// The smallest window: 128 of the shortest messages.
const WINDOW: usize = 64 << 10;
const LEAST: u64 = 512;
const RAW: &str = "z@127.0.0.1:1";

/// A process that works only while the gate of its node is open.
struct Slow {
    gate: Arc<Gate>,
    next: u64,
}

#[behavior(name = "slow")]
impl Slow {
    #[init]
    fn new(cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Slow { gate: Gate::of(cx)?, next: 0 })
    }
    #[cast]
    async fn work(&mut self, n: u64) {
        self.gate.pass().await;
        assert_eq!(n, self.next, "in order, and nothing is left out");
        self.next += 1;
        self.gate.note(n);
    }
    #[call]
    fn next(&self) -> u64 {
        self.next
    }
    #[call]
    fn long(&self, bytes: Vec<u8>) -> usize {
        bytes.len()
    }
}

async fn start(config: ClusterConfigBuilder) -> Res<(Cluster, Arc<Gate>)> {
    gate::start::<Slow>(config.credit_bytes(WINDOW)).await
}

async fn slow_pair() -> Res<(Cluster, Cluster, Ref<Slow>, Arc<Gate>)> {
    gate::slow_pair(|name| config(name).credit_bytes(WINDOW)).await
}

fn stats(of: &Cluster, peer: &Cluster) -> PeerStats {
    of.peer_stats(&id(peer)).unwrap()
}

/// Casts numbers from `from` on until there is no credit; gives the next one.
fn fill(there: &Ref<Slow>, from: u64) -> u64 {
    for n in from.. {
        match there.work(n) {
            Ok(()) => {}
            Err(CastError::Overloaded(Overload::Credits)) => return n,
            Err(error) => panic!("{n}: {error}"),
        }
    }
    unreachable!()
}

fn is_pending<F: Future>(future: std::pin::Pin<&mut F>) -> bool {
    future.poll(&mut TaskContext::from_waker(Waker::noop())).is_pending()
}

#[actix_rt::test]
async fn a_process_that_does_not_keep_up_costs_its_senders_overloaded_and_nobody_else_anything() -> Res {
    let (a, b, there, gate) = slow_pair().await?;
    let quick = a.spawn_on::<Box_>(&id(&b), 0).await?;
    assert_eq!(fill(&there, 0), 129, "the window, and one more");
    assert_eq!(there.next().await, Err(CallError::Overloaded(Overload::Credits)));
    let mut waiting = pin!(there.cast_wait(SlowCast::Work { n: 129 }));
    assert!(is_pending(waiting.as_mut()));
    for n in 1..=1000 {
        assert_eq!(quick.add(1).await?, n);
    }
    let mailbox = || b.process(there.pid()).map_or(0, |info| info.mailbox_len);
    assert!(mailbox() <= 131, "and two marks: {}", mailbox());
    assert!(is_pending(waiting.as_mut()), "others do not make room");
    let sent = stats(&a, &b);
    assert_eq!((sent.credit_refused, sent.credits_received), (3, 15), "credits for the quick one");
    assert!(sent.credit_used >= 129 * LEAST, "{}", sent.credit_used);
    assert_eq!(sent.outbox_bytes, 0);
    gate.open();
    within(5, "it is sent when there is credit", waiting).await?;
    for n in 130..10_000 {
        within(5, "there is credit again", there.cast_wait(SlowCast::Work { n })).await?;
    }
    until(5, "all of them ran", || gate.count() == 10_000).await;
    assert_eq!(there.next().await?, 10_000);
    let (sent, taken) = (stats(&a, &b), stats(&b, &a));
    assert_eq!(sent.marks_sent, sent.credits_received);
    assert_eq!(taken.credits_sent, sent.marks_sent);
    assert!((168..175).contains(&sent.marks_sent), "one each half window: {}", sent.marks_sent);
    assert_eq!((taken.casts_refused, b.stats().protocol_errors_total[&ProtocolError::Credit]), (0, 0));
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn a_process_that_keeps_up_with_little_costs_no_frame() -> Res {
    let (a, b, there, gate) = slow_pair().await?;
    gate.open();
    for n in 0..60 {
        there.work(n)?;
    }
    assert_eq!(there.next().await?, 60);
    let sent = stats(&a, &b);
    assert_eq!((sent.marks_sent, sent.credits_received, sent.messages_sent), (0, 0, 61));
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn who_waits_for_each_reply_is_never_refused() -> Res {
    let (a, b, there, _gate) = slow_pair().await?;
    for n in 0..100 {
        // Each is longer than the window.
        assert_eq!(within(5, "a reply", there.long(vec![7; 100_000 + n])).await?, 100_000 + n);
    }
    assert_eq!(stats(&a, &b).credit_refused, 0);
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn a_cast_that_waits_and_is_dropped_is_not_sent_and_the_next_has_its_turn() -> Res {
    let (a, b, there, gate) = slow_pair().await?;
    let next = fill(&there, 0);
    {
        let mut dropped = pin!(there.cast_wait(SlowCast::Work { n: 1_000_000 }));
        assert!(is_pending(dropped.as_mut()));
    }
    let many = (next..next + 50).map(|n| there.cast_wait(SlowCast::Work { n }));
    let mut many = pin!(futures_util::future::join_all(many));
    assert!(is_pending(many.as_mut()));
    gate.open();
    assert!(within(5, "all are sent", many).await.iter().all(Result::is_ok));
    until(5, "all ran", || gate.count() == next + 50).await;
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn a_process_that_ends_gives_back_what_it_did_not_handle() -> Res {
    let (a, b, there, _gate) = slow_pair().await?;
    let next = fill(&there, 0);
    let waiting = there.cast_wait(SlowCast::Work { n: next });
    b.resolve::<Slow>(there.pid()).kill();
    within(5, "whoever waits goes on", waiting).await?;
    until(5, "it is gone", || b.process(there.pid()).is_none()).await;
    // What is sent to nobody is lost, as ever; it does not use up credit for good.
    for n in 0..2000 {
        within(5, "there is credit", there.cast_wait(SlowCast::Work { n })).await?;
    }
    assert!(matches!(there.next().await, Err(CallError::NoProc(_))));
    until(5, "the marks are back", || {
        let sent = stats(&a, &b);
        sent.marks_sent == sent.credits_received
    })
    .await;
    assert!(stats(&a, &b).credit_used < 64 * LEAST + LEAST, "less than half a window is not marked");
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn the_end_of_the_session_ends_the_waiting_and_the_next_one_begins_with_all_credit() -> Res {
    let (a, _) = start(config("a").advertise_host("127.0.0.8")).await?;
    let port = id(&a).port();
    let cable = Cable::to(port).await?;
    // Nobody is at their addresses: the cable is the only way between them.
    let behind = config("b").advertise_host("127.0.0.9").seed(format!("127.0.0.1:{}", cable.port));
    let (b, gate) = start(behind).await?;
    until(5, "b is up", || a.is_node_connected(&id(&b))).await;
    let there = a.spawn_on::<Slow>(&id(&b), ()).await?;
    let next = fill(&there, 0);
    let mut waiting = pin!(there.cast_wait(SlowCast::Work { n: next }));
    assert!(is_pending(waiting.as_mut()));
    // Not by a stop: that waits for what the process is doing.
    cable.cut();
    drop(cable);
    let error = within(5, "it ends", waiting).await.unwrap_err();
    assert!(matches!(error, CastError::NoConnection(_)), "{error}");
    gate.open();
    let (c, gate) = start(config("c").seed(format!("127.0.0.1:{port}"))).await?;
    until(5, "c is up", || a.is_node_connected(&id(&c))).await;
    let there = a.spawn_on::<Slow>(&id(&c), ()).await?;
    assert_eq!(fill(&there, 0), 129);
    // A node that stops lets its processes end what they do.
    gate.open();
    stop_all(&[a, b, c]).await;
    Ok(())
}

#[actix_rt::test]
async fn processes_that_come_and_go_leave_nothing() -> Res {
    let (a, b, _there, _gate) = slow_pair().await?;
    let mut most = 0;
    for round in 0..60 {
        let mut all = Vec::new();
        for _ in 0..100 {
            all.push(b.spawn::<Box_>(0).await?);
        }
        for here in &all {
            a.resolve::<Box_>(here.pid()).see(round)?;
        }
        for here in all {
            if round % 2 == 0 {
                let seen = a.resolve::<Box_>(here.pid()).seen().await?;
                assert_eq!(seen, [0, round]);
            }
            here.kill();
        }
        most = most.max(stats(&a, &b).credit_targets);
    }
    assert!(most < 2000, "{most} accounts for 6000 processes");
    stop_all(&[a, b]).await;
    Ok(())
}

/// A node with a slow process, and a raw peer that is up.
async fn beside_a_raw_peer() -> Res<(Cluster, Ref<Slow>, Arc<Gate>, RawPeer)> {
    let patient = config("a").heartbeat_interval(Duration::from_secs(60)).max_message_bytes(64 << 10);
    let (a, gate) = start(patient).await?;
    let here = a.spawn::<Slow>(()).await?;
    let peer = RawPeer::join(&a, RAW).await?;
    Ok((a, here, gate, peer))
}

/// Waits until the peer was cut off for its credits, once.
async fn cut_off(peer: &mut RawPeer, from: &Cluster) {
    peer.until_closed().await;
    until(10, "the session is over", || from.connected_node_count() == 0).await;
    let counts = from.stats().protocol_errors_total;
    assert!(counts.iter().all(|(kind, n)| *n == u64::from(*kind == ProtocolError::Credit)), "{counts:?}");
}

fn work(number: u64, n: u64) -> Vec<u8> {
    raw::cast(&raw::named("slow"), number, &BTreeMap::from([("Work", (n,))]))
}

#[actix_rt::test]
async fn who_sends_beyond_its_credit_is_cut_off() -> Res {
    let (a, here, gate, mut peer) = beside_a_raw_peer().await?;
    let number = here.pid().number();
    // The window, and two of the longest messages.
    let most = 3 * 128;
    peer.flood((0..most).map(|n| work(number, n))).await;
    peer.settled().await?;
    assert_eq!(a.connected_node_count(), 1);
    peer.send(&work(number, most)).await?;
    cut_off(&mut peer, &a).await;
    let waiting = a.process(here.pid()).ok_or("it lives")?.mailbox_len;
    assert!(waiting <= 386, "{waiting}");
    // What was taken is handled.
    gate.open();
    until(5, "it ran", || gate.count() >= most).await;
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn who_sends_beyond_its_credit_by_turns_is_cut_off_as_well() -> Res {
    let (a, here, gate, mut peer) = beside_a_raw_peer().await?;
    let mut others = Vec::new();
    for _ in 0..40 {
        others.push(a.spawn::<Box_>(0).await?);
    }
    let see = |n: u64| {
        let other = &others[usize::try_from(n).unwrap() % others.len()];
        raw::cast(&raw::named("box"), other.pid().number(), &BTreeMap::from([("See", (1_i64,))]))
    };
    // More processes than are remembered at a time, so that the slow one is forgotten again and again.
    let number = here.pid().number();
    let flood = (0..400).map(|n| [work(number, n), (0..40).flat_map(see).collect()].concat());
    peer.flood(flood).await;
    cut_off(&mut peer, &a).await;
    gate.open();
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn marks_beyond_reason_and_forged_credits_cost_the_session() -> Res {
    let (a, here, gate, mut peer) = beside_a_raw_peer().await?;
    let number = here.pid().number();
    peer.send(&[work(number, 0), (1..=8).flat_map(|n| raw::mark(number, n)).collect()].concat()).await?;
    peer.settled().await?;
    assert_eq!(a.connected_node_count(), 1, "eight may wait");
    peer.send(&raw::mark(number, 9)).await?;
    cut_off(&mut peer, &a).await;
    gate.open();
    a.stop().await;
    for credit in [raw::credit(7, 1), raw::credit(u64::MAX, u64::MAX)] {
        let (a, _, _, mut peer) = beside_a_raw_peer().await?;
        peer.send(&raw::credit(7, 0)).await?;
        peer.settled().await?;
        peer.send(&credit).await?;
        cut_off(&mut peer, &a).await;
        a.stop().await;
    }
    Ok(())
}

#[actix_rt::test]
async fn marks_for_nobody_come_back_at_once_and_who_does_not_read_them_is_cut_off() -> Res {
    let patient = config("a").heartbeat_interval(Duration::from_secs(60)).outbox_bytes(64 << 10);
    let (a, _) = start(patient).await?;
    let mut peer = RawPeer::join(&a, RAW).await?;
    peer.send(&raw::mark(1_000_000, 300)).await?;
    let credit = |kind: u8, body: &[u8]| (kind == raw::CREDIT).then(|| body.to_vec());
    assert_eq!(peer.until_frame(credit).await?, [raw::varint(1_000_000), raw::varint(300)].concat());
    within(60, "the node closes", peer.flood((0..8_000_000).map(|n| raw::mark(1_000_000 + n, n)))).await;
    until(10, "it is cut off", || a.connected_node_count() == 0).await;
    assert_eq!(a.stats().protocol_errors_total[&ProtocolError::Limit], 1);
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_sender_keeps_to_what_the_receiver_grants() -> Res {
    let (a, _) = start(config("a").heartbeat_interval(Duration::from_secs(60))).await?;
    let mut peer = RawPeer::join_granting(&a, RAW, 10 * LEAST).await?;
    let pid = |number| Pid::new(RAW.parse().unwrap(), Incarnation(1), number);
    let (there, other): (Ref<Slow>, Ref<Slow>) = (a.resolve(&pid(7)), a.resolve(&pid(300)));
    assert_eq!(fill(&there, 0), 11);
    other.work(0)?;
    // Five casts, a mark, and so on.
    let wanted = |kind: u8, body: &[u8]| matches!(kind, raw::CAST | raw::MARK).then(|| (kind, body.to_vec()));
    let mut kinds = Vec::new();
    for _ in 0..14 {
        let (kind, body) = peer.until_frame(wanted).await?;
        if kind == raw::MARK {
            let position = if kinds.len() == 5 { 5 * LEAST } else { 10 * LEAST };
            assert_eq!(body, [raw::varint(7), raw::varint(position)].concat());
        }
        kinds.push(kind);
    }
    let (cast, mark) = ([raw::CAST; 5], [raw::MARK]);
    assert_eq!(kinds, [&cast[..], &mark, &cast, &mark, &cast[..2]].concat());
    // The same credit twice is worth it once.
    peer.send(&[raw::credit(7, 5 * LEAST), raw::credit(7, 5 * LEAST)].concat()).await?;
    peer.settled().await?;
    assert_eq!(fill(&there, 11), 16);
    peer.send(&raw::credit(7, 10 * LEAST)).await?;
    within(5, "room", there.cast_wait(SlowCast::Work { n: 16 })).await?;
    let stats = a.peer_stats(&RAW.parse()?).unwrap();
    assert_eq!((stats.marks_sent, stats.credits_received, stats.credit_targets), (3, 3, 2));
    assert_eq!(a.connected_node_count(), 1);
    a.stop().await;
    Ok(())
}
