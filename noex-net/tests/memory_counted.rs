//! What nodes that are flooded, a connection at rest, and half a batch hold, by every allocation. Alone in its program: it counts
//! all of them, and so its tests run one after the other.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use noex_actors::{CastError, Overload, Ref};
use noex_net::{Cluster, ClusterConfigBuilder, Compression};
use peak_alloc::PeakAlloc;
use support::{
    Box_, Res, config, id,
    ports::free_port,
    raw::{self, RawPeer},
    start, stop_all, until,
};
use tokio::{
    io::{AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::{Mutex, MutexGuard},
};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// Nobody else allocates.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

const KIB: usize = 1024;
/// Processes of each node that do nothing.
const BUSY: usize = 10;
const MESSAGES: usize = 20_000;

/// What a connection is made of beside TCP.
#[derive(Clone, Copy, Debug)]
struct Way {
    compression: Compression,
    #[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "there is none"))]
    tls: bool,
}

const PLAIN: Way = Way { compression: Compression::Off, tls: false };
const LZ4: Way = Way { compression: Compression::Lz4, tls: false };
#[cfg(feature = "tls")]
const TLS: Way = Way { compression: Compression::Off, tls: true };
#[cfg(feature = "tls")]
const BOTH: Way = Way { compression: Compression::Lz4, tls: true };

/// Small settings, and patience.
fn small(name: &str, way: Way) -> ClusterConfigBuilder {
    let config = config(name).heartbeat_interval(Duration::from_secs(60)).compression(way.compression);
    #[cfg(feature = "tls")]
    let config = if way.tls { config.tls(support::ca().tls(name)) } else { config };
    config.outbox_bytes(256 * KIB).credit_bytes(64 * KIB).max_message_bytes(128 * KIB)
}

/// Processes of one node that never come to their messages, as the other sees them.
async fn busy(here: &Cluster, from: &Cluster) -> Res<Vec<Ref<Box_>>> {
    let mut processes = Vec::new();
    for _ in 0..BUSY {
        let process = here.spawn::<Box_>(0).await?;
        let (napping, pid) = (process.clone(), process.pid().clone());
        actix_rt::spawn(async move { napping.nap(600_000).timeout(Duration::from_secs(600)).await });
        until(5, "it is busy", || here.process(&pid).is_some_and(|info| info.message_count == 1)).await;
        processes.push(from.resolve(&pid));
    }
    Ok(processes)
}

/// Texts of many lengths, up to the longest message; four fifths are short.
fn text(n: usize) -> String {
    "x".repeat([1, 300, 1, 5000, 1, 20 * KIB, 300, 1, 5000, 127 * KIB][n % 10])
}

async fn flood_each_other(way: Way) -> Res {
    let _alone = alone().await;
    let memory = small("a", way).build()?.memory_per_peer();
    let a = start(small("a", way)).await?;
    let b = start(small("b", way).seed(id(&a))).await?;
    until(10, "both are up", || a.connected_node_count() == 1 && b.connected_node_count() == 1).await;
    let (there, here) = (busy(&b, &a).await?, busy(&a, &b).await?);
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let (mut poured, mut refused) = (0, 0);
    for n in 0..MESSAGES {
        for processes in [&there, &here] {
            let text = text(n / processes.len());
            poured += text.len();
            match processes[n % processes.len()].swallow(text) {
                Ok(()) => {}
                Err(CastError::Overloaded(Overload::Credits | Overload::Outbox)) => refused += 1,
                Err(error) => return Err(error.into()),
            }
        }
        if n % 16 == 0 {
            actix_rt::task::yield_now().await;
        }
    }
    let sent =
        |node: &Cluster, peer: &Cluster| node.peer_stats(&id(peer)).is_some_and(|s| s.outbox_bytes == 0);
    until(20, "all is there", || sent(&a, &b) && sent(&b, &a)).await;
    let waits = |node: &Cluster, process: &Ref<Box_>| {
        node.process(process.pid()).map_or(0, |info| info.mailbox_bytes)
    };
    let waiting =
        || there.iter().map(|there| waits(&b, there)).chain(here.iter().map(|here| waits(&a, here)));
    let window = u64::try_from(64 * KIB)?;
    until(20, "each window is half full", || waiting().all(|bytes| bytes > window / 2)).await;
    let (held, most) = (ALLOCATED.current_usage() - before, ALLOCATED.peak_usage() - before);
    let sum = 2 * memory.total(BUSY);
    assert!(most <= sum, "{most} bytes were allocated, {sum} is what the settings allow");
    let kept = 2 * (BUSY * memory.per_process + memory.reading + memory.spare);
    assert!(held <= kept, "{held} bytes are held when all is there, {kept} is what the settings allow");
    assert!(
        poured > 10 * sum && refused > MESSAGES,
        "it is the bound that holds: {poured} bytes, {refused} refused"
    );
    for process in there.iter().chain(&here) {
        process.kill();
    }
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn two_nodes_that_flood_each_other_allocate_no_more_than_the_sum() -> Res {
    flood_each_other(PLAIN).await
}

#[actix_rt::test]
async fn two_nodes_that_flood_each_other_by_compressed_batches_allocate_no_more_than_the_sum() -> Res {
    flood_each_other(LZ4).await
}

#[cfg(feature = "tls")]
#[actix_rt::test]
async fn two_nodes_that_flood_each_other_within_tls_allocate_no_more_than_the_sum() -> Res {
    flood_each_other(TLS).await?;
    flood_each_other(BOTH).await
}

const RAW: &str = "z@127.0.0.1:1";
/// The longest batch, its tag included.
const BATCH: usize = 256 * KIB;
const READ_BUFFER: usize = 64 * KIB;
/// What a connection has beside its read buffers.
const REST: usize = 60 * KIB;

#[actix_rt::test]
async fn a_batch_of_which_the_end_is_missing_is_held_within_the_sum_and_fills_it() -> Res {
    let _alone = alone().await;
    for way in [PLAIN, LZ4] {
        let reading = small("a", way).build()?.memory_per_peer().reading;
        let a = start(small("a", way)).await?;
        let mut peer = RawPeer::join_as(&a, RAW, 1).await?;
        peer.settled().await?;
        let nobody = raw::cast(&raw::named("box"), 1 << 40, &"x".repeat(65_400)).repeat(4);
        let longest = peer.sealed_as_is(&if peer.marked {
            let len = u32::try_from(nobody.len())?.to_le_bytes();
            [&[1][..], &len, &lz4_flex::block::compress(&nobody)].concat()
        } else {
            nobody
        });
        let cut = [&u32::try_from(BATCH)?.to_le_bytes()[..], &vec![7; BATCH - 1]].concat();
        let before = ALLOCATED.current_usage();
        let held = || READ_BUFFER + ALLOCATED.current_usage().saturating_sub(before);
        peer.socket.write_all(&longest).await?;
        peer.settled().await?;
        peer.socket.write_all(&cut).await?;
        // The buffer grows to what the batch says, and has so much more only if another one stood before it.
        let least = reading - READ_BUFFER - 8 * KIB;
        until(10, "the sum is no larger than it must be", || held() >= least).await;
        // What the peer is answered is in the outbox, which is another part of the sum.
        let most = reading + KIB;
        assert!(held() <= most, "{way:?}: {} bytes are held, {most} is the sum", held());
        drop((longest, cut, peer));
        a.stop().await;
    }
    Ok(())
}

/// What the two ends of a connection at rest hold that were not connected before.
async fn two_ends_at_rest(way: Way) -> Res<usize> {
    let (a, port) = (start(small("a", way)).await?, free_port());
    let b = start(small("b", way).seed(format!("127.0.0.1:{port}"))).await?;
    let before = ALLOCATED.current_usage();
    let (listener, to) = (TcpListener::bind(("127.0.0.1", port)).await?, a.local_node_id().port());
    let between = actix_rt::spawn(async move {
        let (mut near, _) = listener.accept().await?;
        copy_bidirectional(&mut near, &mut TcpStream::connect(("127.0.0.1", to)).await?).await
    });
    until(10, "both are up", || a.connected_node_count() == 1 && b.connected_node_count() == 1).await;
    let ping = a.resolve::<Box_>(b.spawn::<Box_>(0).await?.pid());
    ping.add(1).await?;
    let held = ALLOCATED.current_usage().saturating_sub(before);
    stop_all(&[a, b]).await;
    between.abort();
    Ok(held)
}

#[actix_rt::test]
async fn a_connection_at_rest_takes_its_read_buffers_and_little_more() -> Res {
    let _alone = alone().await;
    let ways = [
        (PLAIN, READ_BUFFER),
        (LZ4, READ_BUFFER),
        #[cfg(feature = "tls")]
        (TLS, 2 * READ_BUFFER),
        #[cfg(feature = "tls")]
        (BOTH, 2 * READ_BUFFER),
    ];
    // What is made once in a program is not counted.
    two_ends_at_rest(ways[ways.len() - 1].0).await?;
    for (way, buffers) in ways {
        let held = two_ends_at_rest(way).await? / 2;
        assert!((buffers..buffers + REST).contains(&held), "{way:?}: {held} bytes for {buffers}");
    }
    Ok(())
}
