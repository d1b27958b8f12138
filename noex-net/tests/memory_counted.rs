//! What two nodes that flood each other hold, by every allocation. Alone in its program: it counts all of them.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use noex_actors::{CastError, Overload, Ref};
use noex_net::{Cluster, ClusterConfigBuilder};
use peak_alloc::PeakAlloc;
use support::{Box_, Res, config, id, start, stop_all, until};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

const KIB: usize = 1024;
/// Processes of each node that do nothing.
const BUSY: usize = 10;
const MESSAGES: usize = 20_000;

/// Small settings, and patience.
fn small(name: &str) -> ClusterConfigBuilder {
    let config = config(name).heartbeat_interval(Duration::from_secs(60));
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

#[actix_rt::test]
async fn two_nodes_that_flood_each_other_allocate_no_more_than_the_sum() -> Res {
    let memory = small("a").build()?.memory_per_peer();
    let a = start(small("a")).await?;
    let b = start(small("b").seed(id(&a))).await?;
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
