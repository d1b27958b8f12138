//! Each figure of calls, spawns, watches, links and names, as exact numbers at both ends of real nodes.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

#[path = "support/cable.rs"]
mod cable;
mod support;

use std::time::Duration;

use cable::Cable;
use noex_actors::{CallError, Context, ExitReason, Info, Pid, Placement, Ref, behavior};
use noex_net::{
    Cluster, GlobalRegistryStats, RemoteCallStats, RemoteLinkStats, RemoteMonitorStats, RemoteSpawnStats,
};
use support::{Box_, Res, builder, config, connected, id, pair, stop_all, until, within};

/// Waits for figures, and shows those that came instead.
async fn reach<T: PartialEq + std::fmt::Debug>(what: &str, figures: impl Fn() -> T, wanted: T) {
    for _ in 0..2000 {
        if figures() == wanted {
            return;
        }
        actix_rt::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(figures(), wanted, "{what}");
}

fn calls(cluster: &Cluster) -> [u64; 8] {
    let RemoteCallStats {
        pending_calls,
        total_calls,
        total_resolved,
        total_rejected,
        total_timed_out,
        total_cancelled,
        total_not_started,
        total_casts,
        ..
    } = cluster.remote_call_stats();
    [
        pending_calls,
        total_calls,
        total_resolved,
        total_rejected,
        total_timed_out,
        total_cancelled,
        total_not_started,
        total_casts,
    ]
}

#[actix_rt::test]
async fn calls_and_casts() -> Res {
    let (a, b) = pair().await?;
    let there: Ref<Box_> = a.spawn_on(&id(&b), 0).await?;
    let gone: Ref<Box_> = a.spawn_on(&id(&b), 0).await?;
    gone.stop(ExitReason::Normal).await?;
    let before = calls(&a);
    let since = |now: [u64; 8]| std::array::from_fn::<u64, 8, _>(|at| now[at] - before[at]);

    for n in 0..5 {
        there.see(n)?; // casts
    }
    there.seen().await?; // resolved
    there.add(1).await?; // resolved
    assert!(matches!(gone.seen().await, Err(CallError::NoProc(_)))); // rejected
    let late = there.held().timeout(Duration::from_millis(500)).await; // timed out
    assert!(matches!(late, Err(CallError::Timeout { .. })));
    let (napping, queued) = (there.clone(), there.clone());
    let nap = actix_rt::spawn(async move { napping.nap(1500).await }); // resolved
    until(5, "it naps", || since(calls(&a))[0] == 1).await;
    // One more, which waits behind that one, and is given up meanwhile.
    let queued = actix_rt::spawn(async move { queued.add(1).await }); // cancelled, and not started there
    until(5, "both wait", || since(calls(&a))[0] == 2).await;
    queued.abort();
    nap.await??;
    until(5, "it was not started", || b.remote_call_stats().total_not_started == 1).await;
    //                        pending, calls, resolved, rejected, timed out, cancelled, not started, casts
    reach("the caller", || since(calls(&a)), [0, 6, 3, 1, 1, 1, 0, 5]).await;
    reach("the called", || calls(&b), [0, 0, 0, 0, 0, 0, 1, 0]).await;

    let waiting = there.clone();
    let held = actix_rt::spawn(async move { waiting.held().await });
    reach("one waits", || since(calls(&a)), [1, 7, 3, 1, 1, 1, 0, 5]).await;
    b.stop().await;
    assert!(within(10, "it fails", held).await?.is_err());
    reach("what the session counted is kept", || since(calls(&a)), [0, 7, 3, 2, 1, 1, 0, 5]).await;
    assert_eq!(a.stats().calls, a.remote_call_stats());
    a.stop().await;
    Ok(())
}

/// Takes its time to begin.
struct Slow;

#[behavior(name = "slow")]
impl Slow {
    #[init]
    async fn new(millis: u64) -> Result<Self, ExitReason> {
        actix_rt::time::sleep(Duration::from_millis(millis)).await;
        Ok(Slow)
    }
    #[call]
    fn awake(&self) -> bool {
        true
    }
}

fn spawns(cluster: &Cluster) -> [u64; 5] {
    let RemoteSpawnStats {
        pending_count,
        total_initiated,
        total_resolved,
        total_rejected,
        total_timed_out,
        ..
    } = cluster.remote_spawn_stats();
    [pending_count, total_initiated, total_resolved, total_rejected, total_timed_out]
}

#[actix_rt::test]
async fn spawns_on_other_nodes() -> Res {
    let start = async |name: &str, seed: Option<&Cluster>| -> Res<Cluster> {
        let config = seed.map_or_else(|| config(name), |seed| config(name).seed(id(seed)));
        Ok(builder(config)?.behavior::<Slow>().start().await?)
    };
    let a = start("a", None).await?;
    let b = start("b", Some(&a)).await?;
    connected(&[&a, &b]).await;
    let first = a.spawn_on::<Slow>(&id(&b), 0).await?; // resolved
    assert!(first.awake().await?);
    assert!(a.spawn_on::<Box_>(&id(&b), -1).await.is_err()); // rejected: its init says no
    let nowhere = "nobody@127.0.0.1:1".parse()?;
    assert!(a.spawn_on::<Slow>(&nowhere, 0).await.is_err()); // rejected: no such node
    let late = a.spawn_on::<Slow>(&id(&b), 60_000).timeout(Duration::from_millis(50)).await; // timed out
    assert!(late.is_err());
    reach("four are over", || spawns(&a), [0, 4, 1, 2, 1]).await;

    let (asking, at) = (a.clone(), id(&b));
    let pending = actix_rt::spawn(async move { asking.spawn_on::<Slow>(&at, 60_000).await });
    reach("one is pending", || spawns(&a), [1, 5, 1, 2, 1]).await;
    b.stop().await;
    assert!(within(10, "it fails", pending).await?.is_err());
    reach("none is", || spawns(&a), [0, 5, 1, 3, 1]).await;
    assert_eq!((spawns(&b), a.stats().spawns), ([0; 5], a.remote_spawn_stats()));
    a.stop().await;
    Ok(())
}

/// Watches and links as it is told.
struct Tied;

#[behavior(name = "tied")]
impl Tied {
    #[init]
    fn new(cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        cx.trap_exit();
        Ok(Tied)
    }
    #[call]
    fn watch(&mut self, other: Pid, cx: &mut Context<Self>) {
        cx.monitor(&other);
    }
    #[call]
    fn signal(&mut self, other: Pid, cx: &mut Context<Self>) {
        cx.exit(&other, ExitReason::error("a signal"));
    }
    #[info]
    fn info(&mut self, _info: Info) {}
}

/// Two nodes, and the cable by which they are connected.
async fn tied_pair() -> Res<(Cluster, Cluster, Cable)> {
    let a = builder(config("a"))?.behavior::<Tied>().start().await?;
    let cable = Cable::to(id(&a).port()).await?;
    let seed = format!("127.0.0.1:{}", cable.port);
    let b = builder(config("b").seed(seed))?.behavior::<Tied>().start().await?;
    connected(&[&a, &b]).await;
    Ok((a, b, cable))
}

async fn tied_there(a: &Cluster, b: &Cluster) -> Res<Ref<Tied>> {
    Ok(a.spawn_on::<Tied>(&id(b), ()).await?)
}

/// All figures of watches, in the order in which they are documented.
fn monitors(cluster: &Cluster) -> [u64; 17] {
    let RemoteMonitorStats {
        pending_count,
        active_outgoing_count,
        active_incoming_count,
        total_initiated,
        total_established,
        total_timed_out,
        total_demonitored,
        total_process_down_received,
        total_process_down_sent,
        total_monitor_requests,
        successful_monitors,
        noproc_responses,
        total_demonitor_requests,
        total_added,
        total_removed,
        node_disconnect_removals,
        process_termination_removals,
        ..
    } = cluster.remote_monitor_stats();
    [
        pending_count,
        active_outgoing_count,
        active_incoming_count,
        total_initiated,
        total_established,
        total_timed_out,
        total_demonitored,
        total_process_down_received,
        total_process_down_sent,
        total_monitor_requests,
        successful_monitors,
        noproc_responses,
        total_demonitor_requests,
        total_added,
        total_removed,
        node_disconnect_removals,
        process_termination_removals,
    ]
}

#[actix_rt::test]
async fn watches_on_other_nodes() -> Res {
    let (a, b, cable) = tied_pair().await?;
    let watcher = a.spawn::<Tied>(()).placement(Placement::Pinned(0)).await?;
    let [ends, kept, given_up, last] = [(); 4].map(|()| tied_there(&a, &b));
    let (ends, kept, given_up, last) = (ends.await?, kept.await?, given_up.await?, last.await?);
    let before = (monitors(&a), monitors(&b));
    assert_eq!(before, ([0; 17], [0; 17]), "nothing is watched by itself");

    watcher.watch(ends.pid().clone()).await?;
    watcher.watch(kept.pid().clone()).await?;
    let brief = given_up.monitor();
    //  pending, outgoing, incoming | initiated, established, timed out, demonitored, down received, down sent
    //  | requests, successful, noproc, demonitor requests | added, removed, by disconnect, by an end
    reach("three", || monitors(&a), [0, 3, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0]).await;
    reach("of a", || monitors(&b), [0, 0, 3, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 3, 0, 0, 0]).await;

    drop(brief);
    reach("one given up", || monitors(&a), [0, 2, 0, 3, 3, 0, 1, 0, 0, 0, 0, 0, 0, 3, 1, 0, 0]).await;
    reach("by a", || monitors(&b), [0, 0, 2, 0, 0, 0, 0, 0, 0, 3, 3, 0, 1, 3, 1, 0, 0]).await;

    ends.kill(); // to wait for its end is to watch it
    reach("one ended", || monitors(&a), [0, 1, 0, 3, 3, 0, 1, 1, 0, 0, 0, 0, 0, 3, 2, 0, 1]).await;
    reach("and told", || monitors(&b), [0, 0, 1, 0, 0, 0, 0, 0, 1, 3, 3, 0, 1, 3, 2, 0, 1]).await;

    // Nobody is there: asked for, and answered.
    watcher.watch(ends.pid().clone()).await?;
    reach("noproc", || monitors(&a), [0, 1, 0, 4, 4, 0, 1, 2, 0, 0, 0, 0, 0, 4, 3, 0, 2]).await;
    reach("told", || monitors(&b), [0, 0, 1, 0, 0, 0, 0, 0, 1, 4, 3, 1, 1, 3, 2, 0, 1]).await;

    // No such node: asked for, and no more than that.
    let stranger = builder(config("c"))?.behavior::<Tied>().start().await?;
    let nowhere: Ref<Tied> = a.resolve(stranger.spawn::<Tied>(()).await?.pid());
    assert_eq!(nowhere.monitor().await.reason, ExitReason::NoConnection);
    stranger.stop().await;
    reach("noconnection", || monitors(&a), [0, 1, 0, 5, 4, 0, 1, 2, 0, 0, 0, 0, 0, 4, 3, 0, 2]).await;

    // The end of the watching process takes its watches along.
    watcher.watch(last.pid().clone()).await?;
    reach("two", || monitors(&b)[2], 2).await;
    watcher.stop(ExitReason::Normal).await?;
    reach("its end", || monitors(&a), [0, 0, 0, 6, 5, 0, 3, 2, 0, 0, 0, 0, 0, 5, 5, 0, 2]).await;
    reach("at b", || monitors(&b), [0, 0, 0, 0, 0, 0, 0, 0, 1, 5, 4, 1, 3, 4, 4, 0, 1]).await;

    // The session ends with a watch in each direction.
    let here: Ref<Tied> = tied_there(&b, &a).await?;
    let (near, far) = (kept.monitor(), here.monitor());
    reach(
        "each",
        || (monitors(&a), monitors(&b)),
        (
            [0, 1, 1, 7, 6, 0, 3, 2, 0, 1, 1, 0, 0, 7, 5, 0, 2],
            [0, 1, 1, 1, 1, 0, 0, 0, 1, 6, 5, 1, 3, 6, 4, 0, 1],
        ),
    )
    .await;
    cable.cut();
    assert_eq!(near.await.reason, ExitReason::NoConnection);
    assert_eq!(far.await.reason, ExitReason::NoConnection);
    reach(
        "the session is over",
        || (monitors(&a), monitors(&b)),
        (
            [0, 0, 0, 7, 6, 0, 3, 2, 0, 1, 1, 0, 0, 7, 7, 2, 2],
            [0, 0, 0, 1, 1, 0, 0, 0, 1, 6, 5, 1, 3, 6, 6, 2, 1],
        ),
    )
    .await;
    assert_eq!(a.stats().monitors, a.remote_monitor_stats());
    stop_all(&[&a, &b]).await;
    Ok(())
}

fn links(cluster: &Cluster) -> [u64; 8] {
    let RemoteLinkStats {
        pending_count,
        active_link_count,
        total_initiated,
        total_established,
        total_timed_out,
        total_unlinked,
        total_exit_signals_received,
        total_exit_signals_sent,
        ..
    } = cluster.remote_link_stats();
    [
        pending_count,
        active_link_count,
        total_initiated,
        total_established,
        total_timed_out,
        total_unlinked,
        total_exit_signals_received,
        total_exit_signals_sent,
    ]
}

#[actix_rt::test]
async fn links_to_other_nodes() -> Res {
    let (a, b, cable) = tied_pair().await?;
    let near = a.spawn::<Tied>(()).await?;
    let [first, second, third] = [(); 3].map(|()| tied_there(&a, &b));
    let (first, second, third) = (first.await?, second.await?, third.await?);
    for far in [&first, &second, &third, &third] {
        near.link(far); // the second time is nothing new
    }
    //             pending, active, initiated, established, timed out, unlinked, exits received, exits sent
    reach("three at a", || links(&a), [0, 3, 3, 3, 0, 0, 0, 0]).await;
    reach("three at b", || links(&b), [0, 3, 0, 3, 0, 0, 0, 0]).await;
    near.unlink(&third);
    reach("one taken away", || (links(&a), links(&b)), ([0, 2, 3, 3, 0, 1, 0, 0], [0, 2, 0, 3, 0, 0, 0, 0]))
        .await;
    first.stop(ExitReason::error("its own")).await?;
    reach("one broken", || (links(&a), links(&b)), ([0, 1, 3, 3, 0, 1, 1, 0], [0, 1, 0, 3, 0, 0, 0, 1]))
        .await;
    near.signal(second.pid().clone()).await?;
    reach(
        "a signal by hand",
        || (links(&a), links(&b)),
        ([0, 1, 3, 3, 0, 1, 1, 1], [0, 1, 0, 3, 0, 0, 1, 1]),
    )
    .await;
    // Nobody is there: told by an exit signal as well.
    near.link(&first);
    reach("noproc", || (links(&a), links(&b)), ([0, 1, 4, 4, 0, 1, 2, 1], [0, 1, 0, 3, 0, 0, 1, 2])).await;
    cable.cut();
    reach(
        "the session is over",
        || (links(&a), links(&b)),
        ([0, 0, 4, 4, 0, 1, 2, 1], [0, 0, 0, 3, 0, 0, 1, 2]),
    )
    .await;
    assert_eq!(a.stats().links, a.remote_link_stats());
    stop_all(&[&a, &b]).await;
    Ok(())
}

fn names(cluster: &Cluster) -> [u64; 5] {
    let GlobalRegistryStats {
        total_registrations,
        local_registrations,
        remote_registrations,
        sync_operations,
        conflicts_resolved,
        ..
    } = cluster.global().stats();
    let wide = |n: usize| u64::try_from(n).unwrap();
    [
        wide(total_registrations),
        wide(local_registrations),
        wide(remote_registrations),
        sync_operations,
        conflicts_resolved,
    ]
}

#[actix_rt::test]
async fn names_of_the_whole_cluster() -> Res {
    // Each has a name of its own, and both have one name, before they know of each other.
    let a = builder(config("a"))?.start().await?;
    let b = builder(config("b"))?.start().await?;
    for (node, own) in [(&a, "of-a"), (&b, "of-b")] {
        for name in [own, "disputed"] {
            let process: Ref<Box_> = node.spawn::<Box_>(0).await?;
            node.global().register(name, &process)?;
        }
    }
    //                  total, local, remote, syncs, conflicts
    assert_eq!((names(&a), names(&b)), ([2, 2, 0, 0, 0], [2, 2, 0, 0, 0]));
    let c = builder(config("c").seed(id(&a)).seed(id(&b)))?.start().await?;
    connected(&[&a, &b, &c]).await;
    let holder = async || {
        until(10, "all agree", || {
            let held = [&a, &b, &c].map(|node| node.global().pid("disputed"));
            held[0].is_some() && held[0] == held[1] && held[1] == held[2]
        })
        .await;
        a.global().pid("disputed").map(|pid| pid.node_id().clone())
    };
    let a_wins = holder().await == Some(id(&a));
    let (of_a, of_b) = if a_wins { (2, 1) } else { (1, 2) };
    reach("a", || names(&a), [3, of_a, of_b, 2, 1]).await;
    reach("b", || names(&b), [3, of_b, of_a, 2, 1]).await;
    reach("c", || names(&c), [3, 0, 3, 2, 1]).await;
    stop_all(&[&a, &b, &c]).await;
    Ok(())
}
