//! Many nodes, for long: a mesh from one seed, and dials from both sides at once.
//!
//! Each runs in a short form by default and in a long one as a soak test (CONTRIBUTING.md has the table):
//! `cargo test -p noex-net --test soak -- --ignored --nocapture --test-threads=1`

#![allow(clippy::panic, clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

#[path = "support/cable.rs"]
mod cable;
mod support;

use std::time::{Duration, Instant};

use cable::Cable;
use noex_net::{Cluster, ClusterConfig, RefusedReason};
use support::{Box_, Res, builder, config, id, ports::free_port, stop_all, until};

fn downs(cluster: &Cluster) -> u64 {
    cluster.stats().node_down_total.values().sum()
}

/// Starts that many nodes from one seed at once, and watches them.
async fn mesh(count: usize, quiet: Duration) -> Res {
    // Reconnects as by default.
    let config = |name: String| {
        let config = ClusterConfig::builder(name).host("127.0.0.1").port(0).secret("a secret of the tests");
        config.heartbeat_interval(Duration::from_millis(500))
    };
    let seed = builder(config("n0".to_owned()))?.start().await?;
    let address = seed.local_node_id().to_string();
    let began = Instant::now();
    let starts = (1..count).map(|n| {
        let config = config(format!("n{n}")).seed(&address);
        async move { Ok::<_, Box<dyn std::error::Error + Send + Sync>>(builder(config)?.start().await?) }
    });
    let mut nodes = vec![seed];
    nodes.extend(futures_util::future::try_join_all(starts).await?);
    until(10, "full mesh", || nodes.iter().all(|node| node.connected_node_count() == count - 1)).await;
    let meshed = began.elapsed();
    until(10, "one connection per pair", || {
        nodes.iter().map(|node| node.stats().connections).sum::<usize>() == count * (count - 1)
    })
    .await;
    println!("{count} nodes from one seed at once: full mesh after {meshed:?}");
    actix_rt::time::timeout(quiet, std::future::pending::<()>()).await.unwrap_err();
    for node in &nodes {
        let ups = u64::try_from(count - 1)?;
        assert_eq!((downs(node), node.stats().node_up_total), (0, ups), "{node:?} after {quiet:?}");
    }
    println!("{count} nodes for {quiet:?}: no node down");
    stop_all(&nodes).await;
    Ok(())
}

#[actix_rt::test]
async fn twenty_nodes_at_once_from_one_seed_are_a_mesh_within_10_s_that_stays() -> Res {
    // Twenty heartbeats of quiet.
    mesh(20, Duration::from_secs(10)).await
}

#[actix_rt::test]
#[ignore = "soak: cargo test -p noex-net --test soak -- --ignored --nocapture --test-threads=1"]
async fn twenty_nodes_at_once_from_one_seed_stay_a_mesh_for_60_s() -> Res {
    mesh(20, Duration::from_secs(60)).await
}

/// As soon as the peer is up: a process there, and casts to it, of which none may be lost.
async fn use_it(near: &Cluster, far: &Cluster) -> Res {
    let there = near.spawn_on::<Box_>(&id(far), 0).await?;
    for n in 1..50 {
        there.see(n)?;
    }
    let seen = there.seen().await?;
    assert!(seen.iter().copied().eq(0..50), "{seen:?}");
    there.kill();
    Ok(())
}

/// Both ends of a pair after the `ups`-th up: usable from the first moment on, with one connection when all is said.
async fn both_up(nodes: &[Cluster; 2], ups: u64, round: usize) -> Res {
    let [a, b] = nodes;
    let one = |near: &Cluster, far: &Cluster| {
        let (near, far) = (near.clone(), far.clone());
        async move {
            until(20, "a node is up", || {
                near.stats().node_up_total == ups && near.connected_node_count() == 1
            })
            .await;
            use_it(&near, &far).await
        }
    };
    let (there, back) = tokio::join!(one(a, b), one(b, a));
    there?;
    back?;
    until(10, "one connection", || nodes.iter().all(|node| node.stats().connections == 1)).await;
    for node in nodes {
        let stats = node.stats();
        assert_eq!((stats.node_up_total, downs(node)), (ups, ups - 1), "{node:?} in round {round}");
        let refused: u64 = stats.refused_total.values().sum();
        let cut_off = stats.refused_total.get(&RefusedReason::Eof).copied().unwrap_or(0);
        assert_eq!(refused, cut_off, "a duplicate is no refusal: {:?} in round {round}", stats.refused_total);
    }
    Ok(())
}

/// Pairs of new nodes, which dial each other at the same moment; then their connection is cut, and they do it again.
async fn mutual_dials(pairs: usize) -> Res {
    let began = Instant::now();
    for round in 0..pairs {
        let ports = [(); 2].map(|()| free_port());
        // The first dials of both pass at once; who is the pair's arbiter changes from round to round.
        let cables = Cable::crossed([ports[1], ports[0]]).await?;
        let names = if round.is_multiple_of(2) { ["n0", "n1"] } else { ["n1", "n0"] };
        let start = |n: usize| {
            let other = format!("{}@127.0.0.1:{}", names[1 - n], cables[n].port);
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(
                builder(config(names[n]).port(ports[n]).seed(other))?.start(),
            )
        };
        let (a, b) = tokio::join!(start(0)?, start(1)?);
        let nodes = [a?, b?];
        both_up(&nodes, 1, round).await?;
        cables.iter().for_each(Cable::cut);
        both_up(&nodes, 2, round).await?;
        stop_all(&nodes).await;
    }
    println!("{} mutual dials in {:?}: one connection each", 2 * pairs, began.elapsed());
    Ok(())
}

#[actix_rt::test]
async fn nodes_that_dial_each_other_at_once_have_one_connection_and_lose_nothing() -> Res {
    mutual_dials(40).await
}

#[actix_rt::test]
#[ignore = "soak: cargo test -p noex-net --test soak -- --ignored --nocapture --test-threads=1"]
async fn a_thousand_mutual_dials_leave_one_connection_each_time() -> Res {
    mutual_dials(500).await
}
