//! What every way of connecting two nodes must do, over each of them: TCP, memory, and TLS over both, without a secret and with
//! each kind of tag. And what two nodes agree upon in the handshake: how batches are tagged.

#![allow(clippy::panic, clippy::unwrap_used, unreachable_pub, reason = "tests")]

mod support;

use std::{
    future::{Future, IntoFuture},
    pin::pin,
    sync::OnceLock,
    task::{Context as TaskContext, Waker},
    time::Duration,
};

use futures_util::future::Either;
use noex_actors::{
    CallError, Caller, CastError, Context, Delivery, ExitReason, Incarnation, Info, NodeDownReason, Overload,
    Pid, Ref, behavior,
    trace::{self, TraceContext},
};
use noex_net::{Cluster, ClusterConfigBuilder, Compression, MemoryNetwork, RefusedReason, TagAlgorithm};
use support::{Res, config, id, plain, start, stop_all, until, within};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

const SECRET: &str = "a secret of the tests";

fn tag(of: &Cluster, to: &Cluster) -> Option<TagAlgorithm> {
    of.peer_stats(&id(to)).and_then(|stats| stats.tag)
}

#[actix_rt::test]
async fn a_node_that_knows_one_tag_meets_one_that_knows_several_whoever_dials() -> Res {
    use TagAlgorithm::{Aes256Gcm, Blake3, HmacSha256};
    for (dialled, dialling, expected) in [
        (&[Blake3, HmacSha256][..], &[Blake3, HmacSha256][..], Blake3),
        (&[HmacSha256], &[Blake3, HmacSha256], HmacSha256),
        (&[Blake3, HmacSha256], &[HmacSha256], HmacSha256),
        (&[HmacSha256, Blake3], &[Blake3, HmacSha256], HmacSha256),
        (&[Aes256Gcm, Blake3], &[Blake3, Aes256Gcm], Aes256Gcm),
        (&[HmacSha256, Blake3], &[Aes256Gcm, Blake3], Blake3),
    ] {
        let with = |name, tags: &[TagAlgorithm]| config(name).secret(SECRET).tags(tags.iter().copied());
        let a = start(with("a", dialled)).await?;
        let b = start(with("b", dialling).seed(a.local_node_id())).await?;
        until(10, "they meet", || a.is_node_connected(&id(&b)) && b.is_node_connected(&id(&a))).await;
        assert_eq!((tag(&a, &b), tag(&b, &a)), (Some(expected), Some(expected)));
        stop_all(&[a, b]).await;
    }
    Ok(())
}

#[actix_rt::test]
async fn nodes_without_a_tag_in_common_refuse_each_other() -> Res {
    let a = start(config("a").secret(SECRET).tags([TagAlgorithm::HmacSha256])).await?;
    let tags = [TagAlgorithm::Blake3];
    let b = start(config("b").secret(SECRET).tags(tags).seed(a.local_node_id())).await?;
    let refused = |node: &Cluster| node.stats().refused_total.get(&RefusedReason::Version).copied();
    for node in [&a, &b] {
        until(10, "it is counted", || refused(node) > Some(0)).await;
        assert_eq!(node.connected_node_count(), 0);
    }
    stop_all(&[a, b]).await;
    Ok(())
}

/// A process that shows what reaches it.
struct Probe {
    seen: Vec<String>,
    held: Vec<Caller<u64>>,
}

#[behavior(name = "probe")]
impl Probe {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Probe { seen: vec![], held: vec![] })
    }
    #[cast]
    fn note(&mut self, text: String) {
        self.seen.push(text);
    }
    #[call]
    fn noted(&mut self, text: String) -> usize {
        self.seen.push(text);
        self.seen.len()
    }
    #[call]
    fn seen(&self) -> Vec<String> {
        self.seen.clone()
    }
    #[call]
    fn back(&self, bytes: serde_bytes::ByteBuf) -> serde_bytes::ByteBuf {
        bytes
    }
    /// Answered by `let_go`.
    #[call]
    fn hold(&mut self, from: Caller<u64>) {
        self.held.push(from);
    }
    #[cast]
    fn let_go(&mut self) {
        self.held.drain(..).for_each(|from| from.reply(1));
    }
    /// Takes nothing else until its peer lets it.
    #[call]
    async fn wait_for(&mut self, other: Ref<Probe>) -> bool {
        other.hold().await.is_ok()
    }
    #[call]
    fn tie(&mut self, to: Pid, cx: &mut Context<Self>) {
        cx.link(&to);
    }
    #[call]
    fn watch(&mut self, it: Pid, cx: &mut Context<Self>) {
        cx.monitor(&it);
    }
    /// In which trace it runs.
    #[call]
    fn trace(&self) -> Option<String> {
        trace::current().map(|context| context.to_string())
    }
    #[info]
    fn info(&mut self, info: Info) {
        self.seen.push(match info {
            Info::Exit(exit) => format!("exit {}", exit.reason),
            Info::Down(down) => format!("down {}", down.reason),
            other => other.kind().to_owned(),
        });
    }
}

/// Another behavior of that name, as one end knows it.
mod misfit {
    use noex_actors::{ExitReason, behavior};

    pub struct Probe;

    #[behavior(name = "probe")]
    impl Probe {
        #[init]
        fn new() -> Result<Self, ExitReason> {
            Ok(Probe)
        }
        #[call]
        fn noted(&mut self, number: u64) -> u64 {
            number
        }
        #[cast]
        fn note(&mut self, number: u64) {
            let _ = number;
        }
    }
}

/// What connects two nodes.
#[derive(Clone, Copy)]
enum Over {
    Tcp,
    Memory,
}

/// How two nodes are connected: over what, and how a node of that name is configured.
type Way = (Over, fn(&str) -> ClusterConfigBuilder);

/// The network of all nodes in memory, as the loopback is that of all others.
fn network() -> &'static MemoryNetwork {
    static NETWORK: OnceLock<MemoryNetwork> = OnceLock::new();
    NETWORK.get_or_init(MemoryNetwork::new)
}

async fn node(
    (over, config): Way,
    more: impl FnOnce(ClusterConfigBuilder) -> ClusterConfigBuilder,
    name: &str,
) -> Res<Cluster> {
    let builder = support::builder(more(config(name)))?.behavior::<Probe>();
    Ok(match over {
        Over::Tcp => builder.start().await?,
        Over::Memory => builder.network(network()).start().await?,
    })
}

/// Says that to a node which did not say who it is, and reads until it closes.
async fn say(mut socket: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) {
    // It may be closed before all of it left.
    let _ = socket.write_all(bytes).await;
    let _ = socket.shutdown().await;
    let mut answer = Vec::new();
    let _ = within(10, "it is closed", socket.take(4096).read_to_end(&mut answer)).await;
}

/// Two connected nodes.
async fn meet(way: Way) -> Res<(Cluster, Cluster)> {
    meet_with(way, |config| config).await
}

/// Both with these settings.
async fn meet_with(
    way: Way,
    more: impl Fn(ClusterConfigBuilder) -> ClusterConfigBuilder,
) -> Res<(Cluster, Cluster)> {
    let patient = |config: ClusterConfigBuilder| more(config.heartbeat_miss_threshold(100));
    let a = node(way, patient, "a").await?;
    let b = node(way, |config| patient(config).seed(a.local_node_id()), "b").await?;
    support::connected(&[&a, &b]).await;
    Ok((a, b))
}

/// And a process of the second, as the first sees it.
async fn meet_one(way: Way) -> Res<(Cluster, Cluster, Ref<Probe>)> {
    let (a, b) = meet(way).await?;
    let there = a.spawn_on::<Probe>(b.local_node_id(), ()).await?;
    Ok((a, b, there))
}

/// Waits until a process has seen that many things.
async fn seen(probe: &Ref<Probe>, count: usize) -> Vec<String> {
    within(10, "it is seen", async {
        loop {
            match probe.seen().await.unwrap() {
                seen if seen.len() >= count => return seen,
                _ => tokio::task::yield_now().await,
            }
        }
    })
    .await
}

/// Sends it.
fn poll_once(call: std::pin::Pin<&mut impl Future<Output = Result<usize, CallError>>>) {
    assert!(call.poll(&mut TaskContext::from_waker(Waker::noop())).is_pending());
}

/// The list: each of them over each way.
mod scenario {
    use super::*;

    pub async fn nodes_meet_once_whoever_dials(way: Way) -> Res {
        let (a, b) = meet(way).await?;
        assert_eq!((a.stats().connections, b.stats().connections), (1, 1));
        assert_eq!((a.stats().node_up_total, b.stats().node_up_total), (1, 1));
        stop_all(&[a, b]).await;
        Ok(())
    }

    pub async fn a_call_is_answered_or_says_why_not(way: Way) -> Res {
        let (a, b, there) = meet_one(way).await?;
        assert_eq!(there.noted("one".to_owned()).await?, 1);
        let nobody: Ref<Probe> = a.resolve(&Pid::new(id(&b), there.pid().incarnation(), 1 << 40));
        let none = nobody.seen().await.unwrap_err();
        assert!(matches!(none, CallError::NoProc(_)), "{none}");
        let earlier: Ref<Probe> = a.resolve(&Pid::new(id(&b), Incarnation(1), 1));
        assert_eq!(earlier.seen().await.unwrap_err().delivery(), Delivery::Never);
        stop_all(&[a, b]).await;
        Ok(())
    }

    pub async fn casts_and_calls_of_one_sender_keep_their_order(way: Way) -> Res {
        let (a, b, there) = meet_one(way).await?;
        let text = |n: usize| if n % 50 == 7 { n.to_string().repeat(30_000) } else { n.to_string() };
        for n in 0..300 {
            there.cast_wait(ProbeCast::Note { text: text(n) }).await?;
            if n % 100 == 99 {
                assert_eq!(there.noted("call".to_owned()).await?, n + 2 + n / 100);
            }
        }
        let mut seen = there.seen().await?;
        seen.retain(|text| text != "call");
        assert!(seen.into_iter().eq((0..300).map(text)), "in order");
        stop_all(&[a, b]).await;
        Ok(())
    }

    pub async fn long_payloads_come_whole_both_ways(way: Way) -> Res {
        let (a, b, there) = meet_one(way).await?;
        for len in [0, 1, 16 * 1024, 65_530, 65_540, 300_000, 3_000_000] {
            let bytes: Vec<u8> = (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let back = there.back(serde_bytes::ByteBuf::from(bytes.clone())).timeout(Duration::from_secs(60));
            assert!(back.await? == bytes, "{len}");
        }
        stop_all(&[a, b]).await;
        Ok(())
    }

    pub async fn a_call_that_was_given_up_does_not_run(way: Way) -> Res {
        let (a, b, there) = meet_one(way).await?;
        let gate = b.spawn::<Probe>(()).await?;
        let waiting = there.wait_for(gate.clone()).timeout(Duration::from_secs(60));
        let (opened, ()) = futures_util::future::join(waiting, async {
            let queued = || b.process(there.pid()).map_or(0, |info| info.mailbox_len);
            {
                let mut given_up =
                    pin!(there.noted("given up".to_owned()).timeout(Duration::from_secs(60)).into_future());
                poll_once(given_up.as_mut());
                until(10, "it is queued", || queued() > 0).await;
            }
            until(10, "it was told", || b.peer_stats(&id(&a)).unwrap().cancels_received == 1).await;
            within(10, "the gate is held", async {
                while b.remote_call_stats().total_not_started == 0 {
                    gate.let_go().unwrap();
                    tokio::task::yield_now().await;
                }
            })
            .await;
        })
        .await;
        assert!(opened?);
        assert_eq!(there.seen().await?, Vec::<String>::new());
        stop_all(&[a, b]).await;
        Ok(())
    }

    pub async fn a_flood_ends_in_a_word_and_goes_on_when_it_was_handled(way: Way) -> Res {
        let (a, b) = meet_with(way, |config| config.credit_bytes(64 << 10)).await?;
        let there = a.spawn_on::<Probe>(&id(&b), ()).await?;
        let gate = b.spawn::<Probe>(()).await?;
        let waiting = there.wait_for(gate.clone()).timeout(Duration::from_secs(60));
        let (opened, flooded) = futures_util::future::join(waiting, async {
            let queued = || b.process(there.pid()).map_or(0, |info| info.message_count);
            until(10, "it waits", || queued() == 1).await;
            // A message counts as 512 bytes at least, and two may be beyond the window; the call is one of them.
            let mut taken = 0;
            let refused = loop {
                match there.note(taken.to_string()) {
                    Ok(()) => taken += 1,
                    Err(refused) => break refused,
                }
            };
            let waits = there.cast_wait(ProbeCast::Note { text: "waited".to_owned() });
            let let_go = async {
                within(10, "the gate is held", async {
                    while b.process(there.pid()).is_none_or(|info| info.message_count == 1) {
                        gate.let_go().unwrap();
                        tokio::task::yield_now().await;
                    }
                })
                .await;
            };
            let (waited, ()) =
                futures_util::future::join(within(10, "there is credit again", waits), let_go).await;
            (taken, refused, waited)
        })
        .await;
        let (taken, refused, waited) = flooded;
        assert!(opened?);
        waited?;
        assert_eq!(refused, CastError::Overloaded(Overload::Credits));
        assert!((126..=130).contains(&taken), "{taken}");
        let expected = (0..taken).map(|n| n.to_string()).chain(["waited".to_owned()]);
        assert!(seen(&there, taken + 1).await.into_iter().eq(expected), "in order, and nothing is lost");
        stop_all(&[a, b]).await;
        Ok(())
    }

    pub async fn a_short_call_passes_a_long_one(way: Way) -> Res {
        let (a, b, there) = meet_one(way).await?;
        let other = a.spawn_on::<Probe>(&id(&b), ()).await?;
        let bytes = serde_bytes::ByteBuf::from(vec![7; 12_000_000]);
        let mut long = pin!(there.back(bytes).timeout(Duration::from_secs(60)).into_future());
        assert!(long.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())).is_pending());
        let short = pin!(other.noted("short".to_owned()).into_future());
        match futures_util::future::select(short, long).await {
            Either::Left((short, long)) => {
                assert_eq!(short?, 1);
                assert_eq!(long.await?.len(), 12_000_000);
            }
            Either::Right(_) => panic!("the long call was first"),
        }
        stop_all(&[a, b]).await;
        Ok(())
    }

    pub async fn batches_are_compressed_where_both_want_it(way: Way) -> Res {
        let lz4 = |config: ClusterConfigBuilder| config.compression(Compression::Lz4);
        let (a, b) = meet_with(way, lz4).await?;
        let there = a.spawn_on::<Probe>(&id(&b), ()).await?;
        let bytes = serde_bytes::ByteBuf::from("the same words again and again, ".repeat(30_000));
        assert_eq!(there.back(bytes.clone()).timeout(Duration::from_secs(60)).await?, bytes);
        for (of, to) in [(&a, &b), (&b, &a)] {
            let stats = || of.peer_stats(&id(to)).unwrap();
            assert_eq!(stats().compression, Compression::Lz4);
            until(10, "all is sent", || stats().bytes_before_compression > 900_000).await;
            assert!(stats().bytes_sent < 90_000, "{:?}", stats());
        }
        stop_all(&[a, b]).await;
        Ok(())
    }

    pub async fn a_trace_goes_with_what_belongs_to_it(way: Way) -> Res {
        let (a, b, there) = meet_one(way).await?;
        let context = TraceContext::new(1 << 100, 7, 1).unwrap();
        assert_eq!(context.clone().scope(there.trace().into_future()).await?, Some(context.to_string()));
        assert_eq!(there.trace().await?, None, "and with nothing else");
        stop_all(&[a, b]).await;
        Ok(())
    }

    pub async fn messages_of_another_kind_are_refused_before_they_are_sent(way: Way) -> Res {
        let (a, b) = meet(way).await?;
        let probe = b.spawn::<Probe>(()).await?;
        let misfit: Ref<misfit::Probe> = a.resolve(probe.pid());
        let sent = || a.peer_stats(&id(&b)).unwrap().messages_sent;
        let before = sent();
        let refused = misfit.noted(1).await.unwrap_err();
        assert!(matches!(&refused, CallError::BehaviorIncompatible(_)), "{refused}");
        assert_eq!(refused.delivery(), Delivery::Never);
        assert!(matches!(misfit.note(1), Err(CastError::BehaviorIncompatible(_))));
        assert_eq!((sent(), a.stats().incompatible_total), (before, 2));
        assert_eq!(probe.seen().await?, Vec::<String>::new());
        stop_all(&[a, b]).await;
        Ok(())
    }

    pub async fn a_deadline_ends_a_call(way: Way) -> Res {
        let (a, b, there) = meet_one(way).await?;
        let late = there.hold().timeout(Duration::from_millis(50)).await.unwrap_err();
        assert!(matches!(late, CallError::Timeout { .. }), "{late}");
        assert_eq!(there.seen().await?, Vec::<String>::new(), "nothing else is concerned");
        stop_all(&[a, b]).await;
        Ok(())
    }

    pub async fn a_monitor_hears_of_an_end_once(way: Way) -> Res {
        let (a, b, there) = meet_one(way).await?;
        let watcher = a.spawn::<Probe>(()).await?;
        watcher.watch(there.pid().clone()).await?;
        let other = b.spawn::<Probe>(()).await?;
        watcher.watch(other.pid().clone()).await?;
        there.stop(ExitReason::error("x")).await?;
        assert_eq!(seen(&watcher, 1).await, ["down error: x"]);
        b.stop().await;
        assert_eq!(seen(&watcher, 2).await[1..], ["down shutdown"]);
        stop_all(&[a]).await;
        Ok(())
    }

    pub async fn a_link_breaks_at_both_ends(way: Way) -> Res {
        let (a, b, there) = meet_one(way).await?;
        let trapping = noex_actors::SpawnOptions::new().trap_exit();
        let here = a.spawn::<Probe>(()).options(trapping).await?;
        here.tie(there.pid().clone()).await?;
        there.stop(ExitReason::error("x")).await?;
        assert_eq!(seen(&here, 1).await, ["exit error: x"]);
        let far = a.spawn_on::<Probe>(b.local_node_id(), ()).await?;
        here.tie(far.pid().clone()).await?;
        let end = far.monitor();
        here.kill();
        assert_eq!(within(10, "the link breaks", end).await.reason, ExitReason::Killed);
        stop_all(&[a, b]).await;
        Ok(())
    }

    pub async fn a_broadcast_reaches_the_members_on_both_nodes(way: Way) -> Res {
        let (a, b) = meet(way).await?;
        let (here, there) = (a.spawn::<Probe>(()).await?, b.spawn::<Probe>(()).await?);
        a.groups().join("g", &here)?;
        b.groups().join("g", &there)?;
        until(10, "a knows both", || a.groups().members::<Probe>("g").len() == 2).await;
        for text in ["one", "two"] {
            drop(a.groups().broadcast::<Probe>("g", ProbeCast::Note { text: text.to_owned() }));
        }
        for member in [here, there] {
            assert_eq!(seen(&member, 2).await, ["one", "two"]);
        }
        stop_all(&[a, b]).await;
        Ok(())
    }

    pub async fn a_node_that_leaves_ends_what_waits_for_it(way: Way) -> Res {
        let (a, b, there) = meet_one(way).await?;
        let before = b.peer_stats(&id(&a)).unwrap().messages_received;
        let (held, ()) = futures_util::future::join(there.hold().timeout(Duration::from_secs(60)), async {
            until(10, "it came", || b.peer_stats(&id(&a)).unwrap().messages_received > before).await;
            b.stop().await;
        })
        .await;
        assert!(held.is_err());
        until(10, "it is down", || a.connected_node_count() == 0).await;
        let downs = a.stats().node_down_total;
        assert_eq!(downs.get(&NodeDownReason::GracefulShutdown), Some(&1), "{downs:?}");
        assert_eq!(there.seen().await.unwrap_err().delivery(), Delivery::Never);
        stop_all(&[a]).await;
        Ok(())
    }

    pub async fn another_secret_is_refused(way: Way) -> Res {
        let a = node(way, |config| config, "a").await?;
        let other = |config: ClusterConfigBuilder| config.secret("quite another secret");
        let b = node(way, |config| other(config).seed(a.local_node_id()), "b").await?;
        let refused = |node: &Cluster| node.stats().refused_total.values().sum::<u64>();
        until(10, "both count it", || refused(&a) > 0 && refused(&b) > 0).await;
        assert_eq!((a.connected_node_count(), b.connected_node_count()), (0, 0));
        stop_all(&[a, b]).await;
        Ok(())
    }

    pub async fn hostile_bytes_end_their_connection_and_no_other(way: Way) -> Res {
        let (a, b, there) = meet_one(way).await?;
        let attempts =
            [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xFF; 4096], &[0; 64], &[4, 0, 0, 0, 0xC1, 0xC1, 0xC1, 0xC1]];
        for bytes in attempts {
            match way.0 {
                Over::Tcp => {
                    say(TcpStream::connect(("127.0.0.1", a.local_node_id().port())).await?, bytes).await;
                }
                Over::Memory => {
                    say(network().connect(a.local_node_id()).await?, bytes).await;
                }
            }
        }
        until(10, "all are counted", || a.stats().refused_total.values().sum::<u64>() >= 4).await;
        assert_eq!(there.noted("still".to_owned()).await?, 1);
        assert_eq!((a.stats().node_up_total, a.connected_node_count()), (1, 1));
        stop_all(&[a, b]).await;
        Ok(())
    }
}

/// All scenarios over one way.
macro_rules! over {
    ($($module:ident: $way:expr),* $(,)?) => {
        $(mod $module {
            use super::*;
            const WAY: Way = $way;
            scenarios! {
                nodes_meet_once_whoever_dials,
                a_call_is_answered_or_says_why_not,
                casts_and_calls_of_one_sender_keep_their_order,
                long_payloads_come_whole_both_ways,
                a_call_that_was_given_up_does_not_run,
                a_flood_ends_in_a_word_and_goes_on_when_it_was_handled,
                a_short_call_passes_a_long_one,
                batches_are_compressed_where_both_want_it,
                a_trace_goes_with_what_belongs_to_it,
                messages_of_another_kind_are_refused_before_they_are_sent,
                a_deadline_ends_a_call,
                a_monitor_hears_of_an_end_once,
                a_link_breaks_at_both_ends,
                a_broadcast_reaches_the_members_on_both_nodes,
                a_node_that_leaves_ends_what_waits_for_it,
                another_secret_is_refused,
                hostile_bytes_end_their_connection_and_no_other,
            }
        })*
    };
}

macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        $(#[actix_rt::test]
        async fn $name() -> Res {
            scenario::$name(WAY).await
        })*
    };
}

over! {
    tcp_without_a_secret: (Over::Tcp, |name| plain(name).secret(None::<String>)),
    tcp_with_hmac: (Over::Tcp, |name| plain(name).tags([TagAlgorithm::HmacSha256])),
    tcp_with_blake3: (Over::Tcp, |name| plain(name).tags([TagAlgorithm::Blake3])),
    tcp_with_aes: (Over::Tcp, |name| plain(name).tags([TagAlgorithm::Aes256Gcm])),
    memory_without_a_secret: (Over::Memory, |name| plain(name).secret(None::<String>)),
    memory_with_hmac: (Over::Memory, |name| plain(name).tags([TagAlgorithm::HmacSha256])),
    memory_with_blake3: (Over::Memory, |name| plain(name).tags([TagAlgorithm::Blake3])),
    memory_with_aes: (Over::Memory, |name| plain(name).tags([TagAlgorithm::Aes256Gcm])),
}

#[cfg(feature = "tls")]
over! {
    tls_with_a_secret: (Over::Tcp, |name| plain(name).tls(support::ca().tls(name))),
    tls_without_a_secret: (Over::Tcp, |name| plain(name).secret(None::<String>).tls(support::ca().tls(name))),
    memory_with_tls: (Over::Memory, |name| plain(name).tls(support::ca().tls(name))),
}
