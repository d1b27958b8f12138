//! What is left of a node that comes and goes: nothing. A program of its own, as descriptors, threads and bytes are
//! counted of the whole program.
//!
//! The long form is a soak test (CONTRIBUTING.md has the table):
//! `cargo test -p noex-net --test leaks -- --ignored --nocapture`

#![allow(clippy::panic, clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

#[path = "support/cable.rs"]
mod cable;
mod support;

use std::time::Duration;

use cable::Cable;
use futures_util::future::join_all;
use noex_actors::Ref;
use noex_net::Cluster;
use peak_alloc::PeakAlloc;
use support::{Box_, Res, builder, config, id, node, ports::free_port, until, within};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What this program holds: descriptors (sockets among them) and threads. Zeros where there is no `/proc`.
fn held() -> (usize, usize) {
    let count = |what| std::fs::read_dir(format!("/proc/self/{what}")).map_or(0, Iterator::count);
    (count("fd"), count("task"))
}

/// One node that comes and goes, over cables that can be cut: a processes of it are watched, linked and called from the
/// two that stay, and theirs from it, when it goes.
async fn come_and_go(stay: &[Cluster; 2], port: u16, round: usize) -> Res {
    let [one, other] = stay;
    let cables =
        [Cable::to(one.local_node_id().port()).await?, Cable::to(other.local_node_id().port()).await?];
    let seeds = cables.iter().map(|cable| format!("127.0.0.1:{}", cable.port));
    let guest = builder(config("guest").port(port).seeds(seeds))?.start().await?;
    until(10, "the guest is connected", || {
        guest.connected_node_count() == 2 && stay.iter().all(|node| node.connected_node_count() == 2)
    })
    .await;
    let mut held = Vec::new();
    for node in stay {
        let there = node.spawn_on::<Box_>(&id(&guest), 0).await?;
        let back = guest.spawn_on::<Box_>(&id(node), 0).await?;
        let watcher = node.spawn::<Box_>(0).await?;
        watcher.watch(there.clone())?;
        let _link = back.link(&guest.spawn::<Box_>(0).await?);
        node.global().register(&format!("of {}", node.local_node_id().name()), &watcher)?;
        guest.global().register(&format!("at {}", node.local_node_id().name()), &there)?;
        there.blob(vec![7; 70_000]).await?;
        for process in [there.clone(), back.clone()] {
            held.push(actix_rt::spawn(async move {
                process.held().timeout(Duration::from_secs(600)).await.map_err(drop)
            }));
        }
        watcher.seen().await?;
    }
    if round.is_multiple_of(2) {
        cables.iter().for_each(Cable::cut);
    }
    within(10, "the guest stops", guest.stop()).await;
    for outcome in within(10, "what waits on it ends", join_all(held)).await {
        assert_eq!(outcome?, Err(()), "a call that is never answered");
    }
    for node in stay {
        let name = format!("of {}", node.local_node_id().name());
        let ended: Option<Ref<Box_>> = node.global().whereis(&name);
        ended.ok_or("it has its name")?.kill();
        until(10, "the guest's processes are gone, and what they were linked to", || {
            node.connected_node_count() == 1 && node.stats().connections == 1
        })
        .await;
        for process in node.processes() {
            node.resolve_any(&process.pid, None).kill();
        }
    }
    until(10, "nobody is left", || stay.iter().all(|node| node.process_count() == 0)).await;
    until(10, "no name is left", || stay.iter().all(|node| node.global().count() == 0)).await;
    Ok(())
}

/// That many bytes of growth per round are noise: buffers that grow to the size of what passed.
const NOISE: usize = 512;

/// A guest comes and goes; the two nodes that stay must hold after many rounds what they held after a few.
async fn visits(rounds: usize) -> Res {
    let one = node("one", &[]).await?;
    let stay = [one.clone(), node("other", &[&one]).await?];
    until(10, "two nodes", || stay.iter().all(|node| node.connected_node_count() == 1)).await;
    let port = free_port();
    for round in 0..8 {
        come_and_go(&stay, port, round).await?;
    }
    let (bytes, kernel) = (ALLOCATOR.current_usage(), held());
    for round in 0..rounds {
        come_and_go(&stay, port, round).await?;
    }
    let most = bytes + rounds * NOISE;
    // Tasks that have ended leave a moment later.
    println!("{rounds} visits: {kernel:?} descriptors and threads before, {:?} after", held());
    until(20, "descriptors are given back", || held().0 <= kernel.0).await;
    until(20, "threads are given back", || held().1 <= kernel.1).await;
    until(20, "bytes are given back", || ALLOCATOR.current_usage() <= most).await;
    println!("{rounds} visits: {bytes} bytes in use before, {} after", ALLOCATOR.current_usage());
    for node in &stay {
        let stats = node.stats();
        assert_eq!((stats.connections, node.connected_node_count()), (1, 1));
        assert_eq!((stats.calls.pending_calls, stats.spawns.pending_count), (0, 0));
        assert_eq!((stats.monitors.active_outgoing_count, stats.monitors.active_incoming_count), (0, 0));
        assert_eq!((stats.links.active_link_count, node.process_count()), (0, 0));
    }
    for node in &stay {
        within(10, "a node stops", node.stop()).await;
    }
    Ok(())
}

/// A node stops as soon as it is connected, again and again. One stop in fifty once kept all of the node: its actors were
/// gone before they had heard that the session was over.
async fn stops(rounds: usize) -> Res {
    let stays = node("stays", &[]).await?;
    let mut before = None;
    for _ in 0..rounds {
        let guest = node("guest", &[&stays]).await?;
        until(10, "two nodes", || stays.connected_node_count() == 1 && guest.connected_node_count() == 1)
            .await;
        within(10, "the guest stops", guest.stop()).await;
        until(10, "it is gone", || stays.stats().connections == 0).await;
        before = before.or_else(|| Some(held()));
    }
    let before = before.ok_or("no rounds")?;
    until(20, "descriptors are given back", || held().0 <= before.0).await;
    within(10, "a node stops", stays.stop()).await;
    Ok(())
}

#[actix_rt::test]
async fn a_node_that_comes_and_goes_leaves_no_connection_task_or_byte_behind() -> Res {
    visits(16).await?;
    stops(150).await
}

#[actix_rt::test]
#[ignore = "soak: cargo test -p noex-net --test leaks -- --ignored --nocapture"]
async fn a_thousand_visits_leave_no_connection_task_or_byte_behind() -> Res {
    visits(1000).await
}
