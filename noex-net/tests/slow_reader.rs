//! What a peer that does not read, and a process that does not work, cost: memory by every allocation, and everybody else
//! nothing, by what they get done. Alone in its program: it counts all allocations, and so its tests run one after the other.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

#[path = "support/cable.rs"]
mod cable;
mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use cable::Cable;
use noex_actors::{CastError, Context, ExitReason, Overload, Ref, behavior};
use noex_net::{Cluster, ClusterConfigBuilder};
use peak_alloc::PeakAlloc;
use support::{
    Box_, Res, config,
    gate::{Gate, slow_pair},
    id, start, stop_all, until, within,
};
use tokio::sync::{Mutex, MutexGuard};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

const KIB: usize = 1024;

/// Nobody else allocates.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

/// Of the node that sends: it bears with the one that does not read.
fn sender(name: &str) -> ClusterConfigBuilder {
    let config = config(name).heartbeat_interval(Duration::from_millis(200)).heartbeat_miss_threshold(1000);
    config.outbox_bytes(4096 * KIB).credit_bytes(1024 * KIB).max_message_bytes(128 * KIB)
}

/// Of the node beside it, which does not: eight heartbeats of the sender that do not come in time, and it is lost.
fn neighbour(name: &str) -> ClusterConfigBuilder {
    sender(name).heartbeat_miss_threshold(8)
}

/// A node that sends, one that does not read what it sends from now on, and one beside that.
struct Three {
    sender: Cluster,
    deaf: Cluster,
    beside: Cluster,
    cable: Cable,
    /// Processes of the one that does not read.
    flooded: Vec<Ref<Box_>>,
    /// One of the other.
    other: Ref<Box_>,
}

impl Three {
    async fn start() -> Res<Self> {
        // Nobody is at the addresses of these two: the cable is the only way between them.
        let sender = start(sender("a").advertise_host("127.0.0.8")).await?;
        let port = sender.local_node_id().port();
        let cable = Cable::to(port).await?;
        let by_cable =
            self::sender("b").advertise_host("127.0.0.9").seed(format!("127.0.0.1:{}", cable.port));
        let deaf = start(by_cable).await?;
        until(10, "it is up", || sender.connected_node_count() == 1 && deaf.connected_node_count() == 1)
            .await;
        let beside = start(neighbour("c").seed(format!("127.0.0.1:{port}"))).await?;
        let met = || sender.is_node_connected(&id(&beside)) && beside.is_node_connected(&id(&sender));
        until(10, "the third is up", met).await;
        let other = sender.spawn_on::<Box_>(&id(&beside), 0).await?;
        let mut flooded = Vec::new();
        for _ in 0..40 {
            flooded.push(sender.resolve::<Box_>(deaf.spawn::<Box_>(0).await?.pid()));
        }
        Ok(Self { sender, deaf, beside, cable, flooded, other })
    }

    /// A cast to the one that does not read. True if there was room.
    fn cast(&self, n: usize, text: &str) -> Res<bool> {
        match self.flooded[n % self.flooded.len()].swallow(text.to_owned()) {
            Ok(()) => Ok(true),
            Err(CastError::Overloaded(Overload::Outbox | Overload::Credits)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The last heartbeat of the sender that the neighbour heard.
    fn heartbeat(&self) -> Option<SystemTime> {
        self.beside.node(&id(&self.sender)).and_then(|node| node.last_heartbeat_at)
    }

    /// Calls of the neighbour that are answered during so many heartbeats, each beside so many casts to the other.
    async fn calls_during(&self, heartbeats: usize, casts: usize) -> Res<u32> {
        let (mut calls, mut beats, mut last) = (0, 0, self.heartbeat());
        let text = "x".repeat(300);
        while beats < heartbeats {
            for n in 0..casts {
                self.cast(n, &text)?;
            }
            within(10, "a reply of the neighbour", self.other.add(1)).await?;
            calls += 1;
            let heartbeat = self.heartbeat();
            beats += usize::from(heartbeat != last);
            last = heartbeat;
        }
        Ok(calls)
    }

    /// What the neighbour thought of the sender: that it was there all the time.
    fn never_lost(&self) {
        let downs = |node: &Cluster| node.stats().node_down_total.values().sum::<u64>();
        assert_eq!((downs(&self.beside), downs(&self.sender)), (0, 0));
    }

    async fn stop(self) {
        self.cable.cut();
        drop(self.cable);
        stop_all(&[self.sender, self.beside, self.deaf]).await;
    }
}

/// What the sum leaves out: room that vectors have beyond what is in them, the two other nodes, the cable, and this test.
const BESIDE: usize = 1024 * KIB;

#[actix_rt::test]
async fn a_peer_that_reads_nothing_costs_its_sender_no_more_than_the_outbox_by_every_allocation() -> Res {
    let _alone = alone().await;
    let memory = sender("a").build()?.memory_per_peer();
    let three = Three::start().await?;
    let texts = [1, 300, 5000, 20 * KIB, 127 * KIB].map(|len| "x".repeat(len));
    three.cable.silence();
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let (mut refused, mut poured) = (0, 0);
    for n in 0.. {
        let text = &texts[n / 40 % texts.len()];
        poured += text.len();
        refused += usize::from(!three.cast(n, text)?);
        if n % 100 == 0 {
            actix_rt::task::yield_now().await;
        }
        if refused > 50_000 {
            break;
        }
    }
    let most = ALLOCATED.peak_usage() - before;
    let stats = three.sender.peer_stats(&id(&three.deaf)).ok_or("it is up")?;
    assert!(stats.outbox_high_water > 4096 * KIB, "it was full: {stats:?}");
    let bound = memory.outbox + memory.spare + BESIDE;
    assert!(most <= bound, "{most} bytes were allocated, {bound} is the bound");
    assert!(poured > 50 * bound, "{poured} bytes were poured");
    three.never_lost();
    three.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_peer_that_reads_nothing_slows_nobody_else() -> Res {
    let _alone = alone().await;
    let three = Three::start().await?;
    three.cable.silence();
    for n in 0.. {
        if !three.cast(n, &"x".repeat(20 * KIB))? && n > 1000 {
            break;
        }
    }
    let (mut quiet, mut flooded) = (0, 0);
    for _ in 0..4 {
        quiet += three.calls_during(3, 0).await?;
        flooded += three.calls_during(3, 20).await?;
    }
    assert!(4 * flooded > quiet, "{flooded} calls beside the flood, {quiet} without");
    three.never_lost();
    let waits = three.sender.peer_stats(&id(&three.deaf)).ok_or("it is up")?.outbox_bytes;
    assert!(waits > 4096 * KIB - 128 * KIB, "{waits} bytes wait for the one that does not read");
    three.stop().await;
    Ok(())
}

/// From so many messages in a mailbox on the reader gives way.
const CROWDED: usize = 4096;

/// Takes casts while the gate of its node is open, and notes how many more wait.
struct Slow {
    gate: Arc<Gate>,
    most: AtomicUsize,
}

#[behavior(name = "slow")]
impl Slow {
    #[init]
    fn new(cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Slow { gate: Gate::of(cx)?, most: AtomicUsize::new(0) })
    }
    #[cast]
    async fn put(&mut self, n: u64, text: String, cx: &mut Context<Self>) {
        drop(text);
        self.gate.pass().await;
        self.gate.note(n);
        let waits = cx.node().process(cx.pid()).map_or(0, |info| info.mailbox_len);
        self.most.fetch_max(waits, Ordering::Relaxed);
    }
    #[call]
    fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }
}

#[actix_rt::test]
async fn a_process_with_thousands_of_messages_holds_up_no_other_of_its_connection() -> Res {
    const CASTS: u64 = 25_000;
    let _alone = alone().await;
    let (a, b, slow, gate) = slow_pair::<Slow>(config).await?;
    let other = a.spawn_on::<Box_>(&id(&b), 0).await?;
    let stats = || a.peer_stats(&id(&b)).unwrap();
    let waits = || b.process(slow.pid()).map_or(0, |info| info.mailbox_len);
    let text = "x".repeat(200);
    let (mut answered, mut crowded) = (0, 0);
    for n in 0..CASTS {
        slow.put(n, text.clone())?;
        // Together they are more than the reader takes for no flood.
        if n % 200 == 199 {
            // They come alone: the reader gives way to them before it reads the call.
            until(20, "they are sent", || stats().outbox_bytes == 0).await;
            answered += 1;
            assert_eq!(within(20, "a reply of the other", other.add(1)).await?, answered);
            crowded += usize::from(waits() > CROWDED);
        }
    }
    assert!(crowded > 90, "{crowded} replies came beside a crowded mailbox");
    assert!(gate.ran().is_empty() && waits() > 5 * CROWDED, "{} wait", waits());
    gate.open();
    until(60, "all of it is taken", || gate.count() == CASTS).await;
    assert!(gate.ran().is_sorted(), "in its order");
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn a_flood_waits_in_the_socket_while_its_process_works() -> Res {
    const CASTS: u64 = 100_000;
    let _alone = alone().await;
    let (a, b, works, gate) = slow_pair::<Slow>(config).await?;
    gate.open();
    let text = "x".repeat(20);
    for n in 0..CASTS {
        works.cast_wait(SlowCast::Put { n, text: text.clone() }).await?;
    }
    let most = works.most().timeout(Duration::from_secs(60)).await?;
    assert_eq!(gate.count(), CASTS);
    // What one read brings comes on top. By its credit it would be 32 768.
    assert!(most < 3 * CROWDED, "{most} waited");
    stop_all(&[a, b]).await;
    Ok(())
}
