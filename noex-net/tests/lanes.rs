//! Long messages beside everything else: what must keep its order keeps it, and everything else passes.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    cell::Cell,
    collections::BTreeMap,
    future::{Future, IntoFuture},
    pin::Pin,
    task::{Context as TaskContext, Waker},
    time::Duration,
};

use futures_util::future::join_all;
use noex_actors::{CallError, Context, ExitReason, Incarnation, Pid, Ref, behavior};
use noex_net::{Cluster, ClusterConfigBuilder};
use serde_bytes::ByteBuf;
use support::{
    Box_, Res, config, id,
    raw::{self, RawPeer},
    start, stop_all, until, within,
};
use tokio::sync::oneshot;

const MIB: usize = 1 << 20;
/// Bytes of a chunk at most.
const PIECE: usize = 64 << 10;
const LONG: Duration = Duration::from_secs(60);
const RAW: &str = "z@127.0.0.1:1";

/// Notes of each sender whether its messages come in order.
#[derive(Default)]
struct Sink {
    next: BTreeMap<u64, u64>,
    wrong: Vec<(u64, u64)>,
    bytes: u64,
}

impl Sink {
    fn note(&mut self, sender: u64, n: u64, payload: &[u8]) {
        let next = self.next.entry(sender).or_default();
        if *next != n || payload.iter().any(|byte| u64::from(*byte) != n % 256) {
            self.wrong.push((sender, n));
        }
        *next = n + 1;
        self.bytes += u64::try_from(payload.len()).unwrap();
    }
}

#[behavior(name = "sink")]
impl Sink {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Sink::default())
    }
    #[cast]
    fn put(&mut self, sender: u64, n: u64, payload: ByteBuf) {
        self.note(sender, n, &payload);
    }
    /// The reply is as long as the call.
    #[call]
    fn ask(&mut self, sender: u64, n: u64, payload: ByteBuf) -> ByteBuf {
        self.note(sender, n, &payload);
        payload
    }
    #[call]
    fn found(&self) -> (BTreeMap<u64, u64>, Vec<(u64, u64)>, u64) {
        (self.next.clone(), self.wrong.clone(), self.bytes)
    }
}

/// Says something and ends.
struct Speaker;

#[behavior(name = "speaker")]
impl Speaker {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Speaker)
    }
    #[cast]
    fn last_words(&mut self, to: Pid, words: String, cx: &mut Context<Self>) {
        let _ = cx.node().resolve::<Box_>(&to).swallow(words);
        cx.stop(ExitReason::Normal);
    }
}

async fn several_arbiters(config: ClusterConfigBuilder) -> Res<Cluster> {
    let config =
        config.outbox_bytes(256 * MIB).credit_bytes(256 * MIB).heartbeat_miss_threshold(100).build()?;
    Ok(Cluster::builder(config).behavior::<Sink>().arbiters(3).start().await?)
}

/// The lengths of a sender's messages: most are small, some long.
fn lengths(seed: u64) -> impl Iterator<Item = usize> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let draw = usize::try_from(state >> 33).unwrap();
        match draw % 16 {
            0 => 1_000_000 + draw % 300_000,
            1 => 60_000 + draw % 20_000,
            2 | 3 => 15_000 + draw % 3000,
            _ => draw % 200,
        }
    })
}

#[actix_rt::test]
async fn messages_of_one_sender_to_one_target_keep_their_order_whatever_their_lengths() -> Res {
    const MESSAGES: u64 = 120;
    let a = several_arbiters(config("a")).await?;
    let b = several_arbiters(config("b").seed(id(&a))).await?;
    within(5, "both are up", async { a.wait_for_nodes(2).await.and(b.wait_for_nodes(2).await) }).await?;
    let mut sinks = Vec::new();
    for _ in 0..3 {
        sinks.push(a.spawn_on::<Sink>(&id(&b), ()).await?);
    }
    let mut ends = Vec::new();
    for sender in 0..4_u64 {
        let (ended, end) = oneshot::channel();
        let sinks = sinks.clone();
        a.next_arbiter().spawn(async move {
            let mut calls = Vec::new();
            let mut numbers = [0_u64; 3];
            for (n, len) in (0..3 * MESSAGES).zip(lengths(sender)) {
                let at = usize::try_from(n % 3).unwrap();
                let n = numbers[at];
                numbers[at] += 1;
                let payload = ByteBuf::from(vec![n.to_le_bytes()[0]; len]);
                if n % 4 == 1 {
                    let call = sinks[at].ask(sender, n, payload).timeout(LONG);
                    let mut call = Box::pin(call.into_future());
                    let polled = call.as_mut().poll(&mut TaskContext::from_waker(Waker::noop()));
                    assert!(polled.is_pending(), "{polled:?}");
                    calls.push(async move { call.await.map(|reply| reply.len() == len) });
                } else {
                    sinks[at].put(sender, n, payload).unwrap();
                }
                if n % 16 == 0 {
                    actix_rt::task::yield_now().await;
                }
            }
            let _ = ended.send(join_all(calls).await);
        });
        ends.push(end);
    }
    for end in ends {
        let replies = within(60, "all calls are answered", end).await?;
        assert!(replies.iter().all(|reply| *reply == Ok(true)), "{replies:?}");
    }
    for sink in sinks {
        let (next, wrong, _) = sink.found().timeout(LONG).await?;
        assert_eq!(wrong, []);
        assert_eq!(next, (0..4).map(|sender| (sender, MESSAGES)).collect());
    }
    stop_all(&[a, b]).await;
    Ok(())
}

/// A node, a peer that is none, and processes of it.
async fn node_and_peer() -> Res<(Cluster, RawPeer)> {
    let config = config("a").heartbeat_interval(LONG).build()?;
    let a = Cluster::builder(config).behavior::<Box_>().behavior::<Speaker>().arbiters(1).start().await?;
    let peer = RawPeer::join(&a, RAW).await?;
    Ok((a, peer))
}

fn there(a: &Cluster, number: u64) -> Ref<Box_> {
    a.resolve(&Pid::new(RAW.parse().unwrap(), Incarnation(1), number))
}

type Calling<T> = Pin<Box<dyn Future<Output = Result<T, CallError>>>>;

/// A call that is sent.
fn echo(to: &Ref<Box_>, text: String) -> Calling<String> {
    let to = to.clone();
    let mut call: Calling<String> = Box::pin(async move { to.echo(text).timeout(LONG).await });
    assert!(call.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())).is_pending());
    call
}

/// The next frame of this kind, and how many bytes of chunks came before it.
async fn after_chunks(peer: &mut RawPeer, wanted: u8) -> Res<(Vec<u8>, usize)> {
    let chunks = Cell::new(0);
    let found = peer.until_frame(|kind, body| {
        if [raw::FIRST, raw::NEXT].contains(&kind) {
            chunks.set(chunks.get() + body.len());
        }
        (kind == wanted).then(|| body.to_vec())
    });
    Ok((found.await?, chunks.get()))
}

#[actix_rt::test]
async fn a_small_call_passes_what_is_long_and_what_goes_to_the_same_target_does_not() -> Res {
    let (a, mut peer) = node_and_peer().await?;
    there(&a, 300).swallow("x".repeat(8 * MIB))?;
    let behind = echo(&there(&a, 300), "behind".to_owned());
    let passes = echo(&there(&a, 301), "passes".to_owned());
    let (call, before) = after_chunks(&mut peer, raw::CALL).await?;
    assert!(call.ends_with(b"passes"), "the first that comes");
    assert!(before <= 2 * PIECE, "{before} bytes went before it");
    let (call, between) = after_chunks(&mut peer, raw::CALL).await?;
    assert!(call.ends_with(b"behind") && before + between > 8 * MIB, "all of the long one went before");
    drop((behind, passes));
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_sign_of_life_passes_what_is_long_though_nobody_reads_for_a_while() -> Res {
    let (a, mut peer) = node_and_peer().await?;
    for number in 300..303 {
        there(&a, number).swallow("x".repeat(15 * MIB / 2))?;
    }
    let (_, before) = after_chunks(&mut peer, raw::FIRST).await?;
    let chunks = Cell::new(before);
    peer.send(&raw::control("Ping", &(7_u64,))).await?;
    let pong = raw::message("Pong", &(7_u64,));
    peer.until_frame(|kind, body| {
        chunks.set(chunks.get() + if kind == raw::NEXT { body.len() } else { 0 });
        (kind == raw::CONTROL && body == pong).then_some(())
    })
    .await?;
    // The kernel's buffers at both ends were full before it.
    assert!(chunks.get() < 15 * MIB, "{} bytes went before it", chunks.get());
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn long_messages_to_several_targets_come_by_turns() -> Res {
    let (a, mut peer) = node_and_peer().await?;
    for number in 300..304 {
        there(&a, number).swallow("x".repeat(MIB))?;
    }
    let (mut left, mut since_all) = (BTreeMap::new(), BTreeMap::new());
    while since_all.len() < 4 || left.values().all(|left| *left > 0) {
        let (kind, body) = peer.until_frame(|kind, body| Some((kind, body.to_vec()))).await?;
        let (stream, mut rest) = raw::split_varint(&body);
        if kind == raw::FIRST {
            let (total, piece) = raw::split_varint(rest);
            left.insert(stream, usize::try_from(total)?);
            rest = piece;
        }
        if let raw::FIRST | raw::NEXT = kind {
            *left.get_mut(&stream).unwrap() -= rest.len();
            // The first one may have begun before the others were there.
            if left.len() == 4 {
                *since_all.entry(stream).or_insert(0) += rest.len();
            }
        }
        if since_all.len() == 4 {
            let (least, most) = (since_all.values().min().unwrap(), since_all.values().max().unwrap());
            assert!(most - least <= 2 * PIECE, "{since_all:?}");
        }
    }
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn the_rest_of_a_call_whose_caller_gave_up_does_not_come() -> Res {
    let (a, mut peer) = node_and_peer().await?;
    let outbox = |a: &Cluster| a.peer_stats(&RAW.parse().unwrap()).unwrap().outbox_bytes;
    let (begun, waits) = (echo(&there(&a, 300), "x".repeat(15 * MIB)), there(&a, 300));
    let waits = echo(&waits, "y".repeat(300_000));
    let first = |kind: u8, body: &[u8]| (kind == raw::FIRST).then(|| raw::split_varint(body).0);
    let stream = peer.until_frame(first).await?;
    drop((waits, begun));
    assert!(outbox(&a) < MIB, "what nobody wants is not kept");
    let last = echo(&there(&a, 300), "last".to_owned());
    // Neither the one that waited, nor cancels of what never came whole.
    let (mut others, mut chunks) = (Vec::new(), 0);
    while others.len() < 2 {
        let (kind, body) = peer.until_frame(|kind, body| Some((kind, body.to_vec()))).await?;
        match kind {
            raw::NEXT => chunks += body.len(),
            raw::DROPPED => others.push((kind, body == raw::varint(stream))),
            _ => others.push((kind, body.ends_with(b"last"))),
        }
    }
    others.sort_unstable();
    assert_eq!(others, [(raw::CALL, true), (raw::DROPPED, true)]);
    assert!(chunks < 14 * MIB, "{chunks}");
    until(5, "nothing is left", || outbox(&a) == 0).await;
    drop(last);
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn the_rest_of_a_reply_that_nobody_waits_for_does_not_come() -> Res {
    let (a, mut peer) = node_and_peer().await?;
    let here = a.spawn::<Box_>(0).await?;
    let number = here.pid().number();
    let body = BTreeMap::from([("Echo", ("x".repeat(15 * MIB),))]);
    peer.send_all(raw::call(9, &raw::named("box"), number, &body)).await?;
    let first = |kind: u8, body: &[u8]| (kind == raw::FIRST).then(|| raw::split_varint(body).0);
    let stream = peer.until_frame(first).await?;
    peer.send(&raw::cancel(9, number)).await?;
    let (dropped, before) = after_chunks(&mut peer, raw::DROPPED).await?;
    assert_eq!(dropped, raw::varint(stream));
    assert!(before < 14 * MIB, "{before}");
    assert_eq!(here.add(1).await?, 1);
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_process_ends_behind_its_last_words_however_long_they_are() -> Res {
    let (a, mut peer) = node_and_peer().await?;
    let speaker = a.spawn::<Speaker>(()).await?;
    peer.send(&raw::control("Monitor", &(5_u64, speaker.pid().number()))).await?;
    peer.settled().await?;
    speaker.last_words(there(&a, 300).pid().clone(), "x".repeat(2 * MIB))?;
    let chunks = Cell::new(0);
    peer.until_frame(|kind, body| {
        chunks.set(chunks.get() + if [raw::FIRST, raw::NEXT].contains(&kind) { body.len() } else { 0 });
        let down = raw::message("Down", &(5_u64, "normal"));
        (kind == raw::CONTROL && body == down).then_some(())
    })
    .await?;
    assert!(chunks.get() > 2 * MIB, "{}", chunks.get());
    a.stop().await;
    Ok(())
}

/// Of a behavior that peers may not address.
struct Own;

#[behavior(name = "own")]
impl Own {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Own)
    }
}

/// What the peer had asked for was refused behind everything, and what this node asked for passed that: one end was linked.
#[actix_rt::test]
async fn the_answer_to_a_link_that_is_refused_comes_before_a_link_from_here() -> Res {
    let (a, mut peer) = node_and_peer().await?;
    let own = a.spawn::<Own>(()).await?;
    there(&a, 300).swallow("x".repeat(4 * MIB))?;
    peer.send(&raw::control("Link", &(301_u64, own.pid().number()))).await?;
    until(5, "it is refused", || a.remote_link_stats().total_exit_signals_sent == 1).await;
    a.link(&own, &there(&a, 301));
    let number = own.pid().number();
    let (broken, link) =
        (raw::message("Broken", &(number, 301_u64, "noproc")), raw::message("Link", &(number, 301_u64)));
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.push(
            peer.until_frame(|_, body| [&broken, &link].into_iter().find(|wanted| *wanted == body).cloned())
                .await?,
        );
    }
    assert_eq!(seen, [broken, link]);
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_stop_stays_behind_a_long_cast_to_its_process() -> Res {
    let (a, mut peer) = node_and_peer().await?;
    there(&a, 300).swallow("x".repeat(MIB))?;
    there(&a, 300).stop(ExitReason::Normal);
    there(&a, 301).stop(ExitReason::Normal);
    let mut chunks = 0;
    let mut stops = Vec::new();
    while stops.len() < 2 {
        let (kind, body) = peer.until_frame(|kind, body| Some((kind, body.to_vec()))).await?;
        match kind {
            raw::FIRST | raw::NEXT => chunks += body.len(),
            _ if body == raw::message("Stop", &(300_u64, "normal")) => stops.push((300, chunks > MIB)),
            _ if body == raw::message("Stop", &(301_u64, "normal")) => stops.push((301, chunks > MIB)),
            _ => {}
        }
    }
    assert_eq!(stops, [(301, false), (300, true)]);
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_call_that_waits_in_a_lane_when_the_session_ends_was_never_sent() -> Res {
    let (a, mut peer) = node_and_peer().await?;
    let begun = echo(&there(&a, 300), "x".repeat(15 * MIB));
    let (first, _) = after_chunks(&mut peer, raw::FIRST).await?;
    assert_eq!(raw::split_varint(&first).0, 0);
    let waits = echo(&there(&a, 300), "behind it".to_owned());
    let passed = echo(&there(&a, 301), "passes".to_owned());
    after_chunks(&mut peer, raw::CALL).await?;
    drop(peer);
    let delivery = |outcome: Result<String, CallError>| outcome.unwrap_err().delivery();
    use noex_actors::Delivery::{Never, Unknown};
    let found = [within(5, "it ends", begun).await, within(5, "it ends", waits).await, passed.await];
    assert_eq!(found.map(delivery), [Unknown, Never, Unknown]);
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_node_takes_mixed_chunks_of_several_messages() -> Res {
    let a = start(config("a").heartbeat_interval(LONG)).await?;
    let here = a.spawn::<Box_>(0).await?;
    let mut peer = RawPeer::join(&a, RAW).await?;
    let content = |n: u64| {
        let body = rmp_serde::to_vec(&BTreeMap::from([("Blob", (vec![1_u8; 90_000],))])).unwrap();
        let head = [&[raw::CALL][..], &raw::varint(n), &raw::named("box")];
        [&head.concat()[..], &raw::varint(here.pid().number()), &raw::varint(5000), &body].concat()
    };
    let streams: Vec<Vec<Vec<u8>>> = (0..5).map(|n| raw::chunks(n, &content(n))).collect();
    for at in 0..2 {
        for (n, chunks) in streams.iter().enumerate() {
            // The last one is never finished.
            if n < 4 || at == 0 {
                peer.send(&chunks[at]).await?;
            }
        }
    }
    for _ in 0..4 {
        peer.until_frame(|kind, _| (kind == raw::REPLY).then_some(())).await?;
    }
    peer.send(&raw::dropped(4)).await?;
    peer.settled().await?;
    assert_eq!(a.connected_node_count(), 1);
    a.stop().await;
    Ok(())
}
