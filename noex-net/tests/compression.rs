//! Batches that are compressed, where both ends want it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::{collections::BTreeMap, time::Duration};

use noex_net::{Cluster, Compression, PeerStats, ProtocolError};
use support::{
    Box_, Res, config, id, plain,
    raw::{self, RawPeer},
    start, stop_all, until, within,
};
use tokio::io::AsyncWriteExt;

const RAW: &str = "z@127.0.0.1:1";
const LONG: Duration = Duration::from_secs(60);

async fn two(a: Compression, b: Compression) -> Res<(Cluster, Cluster)> {
    let a = start(config("a").compression(a).heartbeat_miss_threshold(100)).await?;
    let b = start(config("b").compression(b).heartbeat_miss_threshold(100).seed(id(&a))).await?;
    within(5, "both are up", async { a.wait_for_nodes(2).await.and(b.wait_for_nodes(2).await) }).await?;
    Ok((a, b))
}

fn stats(of: &Cluster, peer: &Cluster) -> PeerStats {
    of.peer_stats(&id(peer)).unwrap()
}

/// Text that does not repeat itself.
fn noise(len: usize) -> String {
    let mut state = 7_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + u8::try_from((state >> 33) % 90).unwrap())
    };
    std::iter::repeat_with(next).take(len).collect()
}

#[actix_rt::test]
async fn what_repeats_itself_is_shorter_on_its_way_and_comes_as_it_was() -> Res {
    let (a, b) = two(Compression::Lz4, Compression::Lz4).await?;
    let there = a.spawn_on::<Box_>(&id(&b), 0).await?;
    let before = stats(&a, &b);
    assert_eq!((before.compression, stats(&b, &a).compression), (Compression::Lz4, Compression::Lz4));
    let text = "the same words again and again, ".repeat(64 << 10);
    for len in [100, 10_000, 60_000, 300_000, text.len()] {
        assert_eq!(there.echo(text[..len].to_owned()).timeout(LONG).await?, text[..len]);
    }
    let after = stats(&a, &b);
    let sent = after.bytes_sent - before.bytes_sent;
    assert!(sent < 400_000, "{sent} bytes were sent of more than two million");
    assert!(
        after.bytes_before_compression > 2_000_000 && after.bytes_after_compression < 400_000,
        "{after:?}"
    );
    // What does not, goes as it is; in between, chunk by chunk.
    let mixed = [noise(200_000), "x".repeat(200_000), noise(200_000)].concat();
    assert_eq!(there.echo(mixed.clone()).timeout(LONG).await?, mixed);
    let sent = stats(&a, &b).bytes_sent - after.bytes_sent;
    assert!((350_000..500_000).contains(&sent), "{sent}");
    until(5, "nothing waits", || stats(&a, &b).outbox_bytes == 0 && stats(&b, &a).outbox_bytes == 0).await;
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn nothing_is_compressed_unless_both_want_it() -> Res {
    for (one, other) in [(Compression::Lz4, Compression::Off), (Compression::Off, Compression::Lz4)] {
        let (a, b) = two(one, other).await?;
        let there = a.spawn_on::<Box_>(&id(&b), 0).await?;
        let text = "x".repeat(300_000);
        assert_eq!(there.echo(text.clone()).await?, text);
        let both = || [stats(&a, &b), stats(&b, &a)];
        // What the other end has is counted a moment later.
        until(5, "all is sent as it is", || both().iter().all(|stats| stats.bytes_sent > 300_000)).await;
        for stats in both() {
            assert_eq!((stats.compression, stats.bytes_before_compression), (Compression::Off, 0));
        }
        stop_all(&[a, b]).await;
    }
    Ok(())
}

#[actix_rt::test]
async fn a_peer_that_compresses_is_understood_and_one_that_lies_is_cut_off() -> Res {
    let a = start(plain("a").compression(Compression::Lz4).heartbeat_interval(LONG)).await?;
    let here = a.spawn::<Box_>(0).await?;
    let body = BTreeMap::from([("Echo", ("x".repeat(50_000),))]);
    let call = raw::call(5, &raw::named("box"), here.pid().number(), &body);
    let compressed = |len: usize, frames: &[u8]| {
        let len = u32::try_from(len).unwrap().to_le_bytes();
        [&[1][..], &len, &lz4_flex::block::compress(frames)].concat()
    };
    let mut peer = RawPeer::join_as(&a, RAW, 1).await?;
    assert!(peer.marked);
    let batch = peer.sealed_as_is(&compressed(call.len(), &call));
    peer.socket.write_all(&batch).await?;
    let reply = peer.until_frame(|kind, body| (kind == raw::REPLY).then_some(body.len())).await?;
    assert!(reply > 50_000, "{reply}");
    let bomb = vec![0; 300_000];
    drop(peer);
    for (round, (what, body)) in [
        ("longer than it says", compressed(call.len() - 1, &call)),
        ("shorter than it says", compressed(call.len() + 1, &call)),
        ("a bomb", compressed(bomb.len(), &bomb)),
        ("more than can be in it", compressed(200_000, b"abc")),
        ("no block", vec![1, 9, 0, 0, 0]),
        ("no length", vec![1, 9]),
        ("no such way", vec![2, 0, 0, 0, 0]),
    ]
    .into_iter()
    .enumerate()
    {
        until(10, "the last one is gone", || a.connected_node_count() == 0).await;
        let mut peer = RawPeer::join_as(&a, RAW, 1).await?;
        let batch = peer.sealed_as_is(&body);
        peer.socket.write_all(&batch).await?;
        peer.until_closed().await;
        let broken = || a.stats().protocol_errors_total[&ProtocolError::Frame];
        until(10, what, || broken() == u64::try_from(round).unwrap() + 1).await;
    }
    assert_eq!(here.add(1).await?, 1, "the node works");
    a.stop().await;
    Ok(())
}
