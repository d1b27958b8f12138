//! How nodes hear of each other, over real TCP.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use noex_net::Cluster;
use support::{Res, builder, config, id, until};
use tokio::net::{TcpListener, TcpStream};

/// A node that nobody can dial yet: it listens on one address of this machine and is known by another.
async fn hidden(name: &str, advertised: &str, seed: &Cluster) -> Res<Cluster> {
    let config = config(name)
        .advertise_host(advertised)
        .heartbeat_interval(Duration::from_millis(200))
        .forget_after(Duration::from_millis(300))
        .seed(seed.local_node_id());
    Ok(builder(config)?.start().await?)
}

/// Passes connections to a node's advertised address on to where it listens.
async fn reveal(node: &Cluster) -> Res {
    let id = node.local_node_id();
    let listener = TcpListener::bind((id.host(), id.port())).await?;
    let to = SocketAddr::from(([127, 0, 0, 1], id.port()));
    actix_rt::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            actix_rt::spawn(async move {
                if let Ok(mut server) = TcpStream::connect(to).await {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    Ok(())
}

#[actix_rt::test]
async fn two_nodes_that_forgot_each_other_meet_again_by_the_views_in_heartbeats() -> Res {
    let hub = builder(config("hub").heartbeat_interval(Duration::from_millis(200)))?.start().await?;
    let b = hidden("b", "127.0.0.2", &hub).await?;
    let c = hidden("c", "127.0.0.3", &hub).await?;
    until(10, "both are connected to the hub", || hub.connected_node_count() == 2).await;
    until(10, "b has heard of c", || b.node(&id(&c)).is_some()).await;
    until(10, "b has forgotten c", || b.node(&id(&c)).is_none()).await;
    until(10, "c has forgotten b", || c.node(&id(&b)).is_none()).await;
    // Now they could reach each other; nothing but the heartbeats of the hub says that they exist.
    reveal(&b).await?;
    reveal(&c).await?;
    until(20, "b and c meet", || b.is_node_connected(&id(&c)) && c.is_node_connected(&id(&b))).await;
    for node in [hub, b, c] {
        node.stop().await;
    }
    Ok(())
}

#[actix_rt::test]
async fn a_heartbeat_costs_the_same_in_a_cluster_of_two_and_of_twelve() -> Res {
    let a = support::node("a", &[]).await?;
    let b = support::node("b", &[&a]).await?;
    until(10, "two", || a.connected_node_count() == 1 && b.connected_node_count() == 1).await;
    let per_batch = |from: &Cluster, to: &Cluster, batches: u64| {
        let (from, to) = (from.clone(), id(to));
        async move {
            let read = || from.peer_stats(&to).map_or((0, 0), |stats| (stats.bytes_sent, stats.batches_sent));
            let before = read();
            until(20, "heartbeats", || read().1 >= before.1 + batches).await;
            let after = read();
            (after.0 - before.0) / (after.1 - before.1)
        }
    };
    let alone = per_batch(&a, &b, 4).await;
    let mut more = Vec::new();
    for n in 0..10 {
        more.push(support::node(&format!("n{n}"), &[&a]).await?);
    }
    until(20, "twelve", || more.iter().chain([&a, &b]).all(|node| node.connected_node_count() == 11)).await;
    let among_many = per_batch(&a, &b, 4).await;
    // A batch is a heartbeat with a ping, or the answer to a ping: the mean of a few lies between the two, 50 bytes apart.
    // The names of ten nodes would be 200 bytes more.
    assert!(among_many <= alone + 100, "{alone} bytes per batch alone, {among_many} among twelve");
    for node in more.into_iter().chain([a, b]) {
        node.stop().await;
    }
    Ok(())
}

#[actix_rt::test]
async fn a_seed_provider_is_asked_until_it_names_one_and_what_is_no_seed_does_no_harm() -> Res {
    let a = support::node("a", &[]).await?;
    let (asked, seed) = (Arc::new(AtomicUsize::new(0)), id(&a).to_string());
    let asks = Arc::clone(&asked);
    let b = builder(config("b"))?
        .seed_provider(move || {
            let (round, seed) = (asks.fetch_add(1, Ordering::Relaxed), seed.clone());
            async move {
                match round {
                    0 => Err("the database is not there yet".into()),
                    1 => Ok(vec!["no seed".to_owned()]),
                    _ => Ok(vec![String::new(), seed]),
                }
            }
        })
        .start()
        .await?;
    until(10, "they meet", || a.is_node_connected(&id(&b)) && b.is_node_connected(&id(&a))).await;
    assert!(asked.load(Ordering::Relaxed) >= 3);
    assert_eq!(b.configured_seed_count(), 1, "what was named is a seed like any other");
    b.stop().await;
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_host_name_is_a_seed_and_every_address_of_it_is_tried() -> Res {
    // `localhost` is ::1 as well on most machines, where nobody listens.
    let a = support::node("a", &[]).await?;
    let b = builder(config("b").seed(format!("localhost:{}", id(&a).port())))?.start().await?;
    until(10, "they meet", || a.is_node_connected(&id(&b)) && b.is_node_connected(&id(&a))).await;
    b.stop().await;
    a.stop().await;
    Ok(())
}
