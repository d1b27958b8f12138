//! Ten thousand processes and watches that come and go over one connection: exact figures at both ends, and nothing left.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use futures_util::{StreamExt, TryStreamExt, future::join_all, stream};
use noex_actors::{ExitReason, Ref};
use noex_net::Cluster;
use support::{Box_, Res, id, patient_pair, stop_all, until, within};

const MANY: usize = 10_000;
/// Spawns that are under way at a time.
const AT_ONCE: usize = 200;

async fn spawn_there(a: &Cluster, b: &Cluster, count: usize) -> Res<Vec<Ref<Box_>>> {
    let spawns = stream::iter(0..count).map(|_| async { a.spawn_on::<Box_>(&id(b), 0).await });
    Ok(within(60, "all are started", spawns.buffered(AT_ONCE).try_collect()).await?)
}

#[actix_rt::test]
async fn ten_thousand_spawns_and_watches_leave_exact_figures_and_nothing_else() -> Res {
    let (a, b) = patient_pair().await?;
    let many = u64::try_from(MANY)?;
    let there = spawn_there(&a, &b, MANY).await?;
    assert_eq!(b.process_count(), MANY);
    let spawns = a.remote_spawn_stats();
    assert_eq!(
        (spawns.total_initiated, spawns.total_resolved, spawns.total_rejected, spawns.pending_count),
        (many, many, 0, 0)
    );
    // One more than a peer may have; places come back with the ends of the others.
    assert!(a.spawn_on::<Box_>(&id(&b), 0).await.is_err());

    // Each is watched once, and every second one once more by a watch that is given up.
    let watches: Vec<_> = there.iter().map(Ref::monitor).collect();
    let brief: Vec<_> = there.iter().step_by(2).map(Ref::monitor).collect();
    until(20, "b watches for a", || {
        b.remote_monitor_stats().active_incoming_count == many + many / 2
            && a.remote_monitor_stats().active_outgoing_count == many + many / 2
    })
    .await;
    drop(brief);
    until(20, "what was given up is gone at both ends", || {
        b.remote_monitor_stats().active_incoming_count == many
            && a.remote_monitor_stats().active_outgoing_count == many
    })
    .await;

    there.iter().for_each(Ref::kill);
    let downs = within(60, "every watch tells", join_all(watches)).await;
    for (down, process) in downs.iter().zip(&there) {
        assert_eq!((&down.pid, &down.reason), (process.pid(), &ExitReason::Killed));
    }
    until(20, "nobody is left", || b.process_count() == 0).await;
    let (mine, theirs) = (a.remote_monitor_stats(), b.remote_monitor_stats());
    assert_eq!((mine.active_outgoing_count, theirs.active_incoming_count), (0, 0));
    assert_eq!((mine.total_initiated, mine.total_demonitored), (many + many / 2, many / 2));
    assert_eq!((mine.total_process_down_received, theirs.total_process_down_sent), (many, many));

    // The places are free again, and a lost node ends what is left: each watch once.
    let there = spawn_there(&a, &b, 100).await?;
    let watches: Vec<_> = there.iter().map(Ref::monitor).collect();
    there[99].seen().await?;
    b.stop().await;
    let downs = within(20, "every watch tells", join_all(watches)).await;
    assert!(
        downs.iter().all(|down| down.reason == ExitReason::Shutdown),
        "a node that leaves stops its processes"
    );
    until(10, "no watch is left", || a.remote_monitor_stats().active_outgoing_count == 0).await;
    stop_all(&[&a]).await;
    Ok(())
}
