//! A cluster over real TCP: it forms, holds, and refuses.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use noex_actors::{Incarnation, NodeDownReason, NodeId};
use noex_net::{Cluster, ClusterConfig, ClusterEvent, ClusterStatus, DialError, NodeStatus, RefusedReason};
use support::{
    Res, builder, config, id, node, pair, plain,
    ports::free_port,
    raw::{self, RawPeer},
    start, stop_all, until, within,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Ups and downs as one node sees them.
fn record(cluster: &Cluster) -> Arc<Mutex<Vec<(NodeId, bool)>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (up, down) = (Arc::clone(&seen), Arc::clone(&seen));
    cluster.on_node_up(move |node| up.lock().unwrap().push((node.id.clone(), true))).detach();
    cluster.on_node_down(move |node, _| down.lock().unwrap().push((node.clone(), false))).detach();
    seen
}

fn connections(clusters: &[Cluster]) -> usize {
    clusters.iter().map(|cluster| cluster.stats().connections).sum()
}

#[actix_rt::test]
async fn eight_nodes_started_at_once_with_one_seed_form_a_full_mesh_that_stays() -> Res {
    // Six heartbeats of quiet; the soak test waits for thirty seconds.
    eight_nodes(Duration::from_secs(3)).await
}

#[actix_rt::test]
#[ignore = "soak: cargo test -p noex-net --test cluster -- --ignored"]
async fn eight_nodes_stay_connected_for_thirty_seconds() -> Res {
    eight_nodes(Duration::from_secs(30)).await
}

async fn eight_nodes(quiet: Duration) -> Res {
    let seed = builder(config("n0").heartbeat_interval(Duration::from_millis(500)))?.start().await?;
    let address = seed.local_node_id().to_string();
    let starts = (1..8).map(|n| {
        let config = config(&format!("n{n}")).heartbeat_interval(Duration::from_millis(500)).seed(&address);
        async move { Ok::<_, Box<dyn std::error::Error + Send + Sync>>(builder(config)?.start().await?) }
    });
    let mut nodes = vec![seed];
    nodes.extend(futures_util::future::try_join_all(starts).await?);
    let records: Vec<_> = nodes.iter().map(record).collect();
    until(5, "full mesh", || nodes.iter().all(|node| node.connected_node_count() == 7)).await;
    until(5, "one connection per pair", || connections(&nodes) == 8 * 7).await;
    actix_rt::time::timeout(quiet, std::future::pending::<()>()).await.unwrap_err();
    for (node, record) in nodes.iter().zip(&records) {
        assert!(record.lock().unwrap().iter().all(|(_, up)| *up), "{node:?} saw a node go down");
        assert_eq!(node.stats().node_up_total, 7, "{node:?}");
    }
    stop_all(&nodes).await;
    Ok(())
}

#[actix_rt::test]
async fn every_node_may_list_every_other_as_a_seed_and_one_may_come_late() -> Res {
    let ports = [(); 4].map(|()| free_port());
    let start = |n: usize| {
        let others = ports.iter().enumerate().filter(|(other, _)| *other != n);
        let seeds: Vec<String> = others.map(|(other, port)| format!("n{other}@127.0.0.1:{port}")).collect();
        builder(config(&format!("n{n}")).port(ports[n]).seeds(seeds))
    };
    let mut nodes = Vec::new();
    for n in [2, 0, 3] {
        nodes.push(start(n)?.start().await?);
    }
    until(5, "three are connected", || nodes.iter().all(|node| node.connected_node_count() == 2)).await;
    assert_eq!(nodes[0].configured_seed_count(), 3);
    nodes.push(start(1)?.start().await?);
    until(5, "the late one too", || nodes.iter().all(|node| node.connected_node_count() == 3)).await;
    until(5, "one connection per pair", || connections(&nodes) == 4 * 3).await;
    stop_all(&nodes).await;
    Ok(())
}

#[actix_rt::test]
async fn simultaneous_dials_leave_one_connection_and_one_node_up_each() -> Res {
    for round in 0..20 {
        let ports = [(); 2].map(|()| free_port());
        let start = |n: usize| {
            let other = format!("n{}@127.0.0.1:{}", 1 - n, ports[1 - n]);
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(
                builder(config(&format!("n{n}")).port(ports[n]).seed(other))?.start(),
            )
        };
        let (a, b) = tokio::join!(start(0)?, start(1)?);
        let nodes = vec![a?, b?];
        until(5, "both are up", || nodes.iter().all(|node| node.connected_node_count() == 1)).await;
        until(5, "one connection", || connections(&nodes) == 2).await;
        for node in &nodes {
            assert_eq!(node.stats().node_up_total, 1, "round {round}");
            assert!(node.stats().refused_total.values().all(|n| *n == 0), "a duplicate is no refusal");
        }
        stop_all(&nodes).await;
    }
    Ok(())
}

#[actix_rt::test]
async fn a_node_restarted_ten_times_is_one_down_and_one_up_each_time() -> Res {
    let (a, b) = (node("a", &[]).await?, node("b", &[]).await?);
    let observer = node("c", &[&a, &b]).await?;
    until(5, "three nodes", || [&a, &b, &observer].iter().all(|n| n.connected_node_count() == 2)).await;
    let (seen_a, seen_c) = (record(&a), record(&observer));
    let port = b.local_node_id().port();
    let bid = id(&b);
    let mut b = b;
    for round in 0..10 {
        b.stop().await;
        let config = config("b").port(port).seed(a.local_node_id().to_string());
        b = within(
            5,
            "b starts again",
            builder(config)?.incarnation(Incarnation(u64::MAX / 2_000_000 + round)).start(),
        )
        .await?;
        let ups = |seen: &Arc<Mutex<Vec<(NodeId, bool)>>>| {
            seen.lock().unwrap().iter().filter(|(_, up)| *up).count()
        };
        let wanted = usize::try_from(round)? + 1;
        until(10, "b is up again", || ups(&seen_a) == wanted && ups(&seen_c) == wanted).await;
    }
    for seen in [seen_a, seen_c] {
        let seen = seen.lock().unwrap().clone();
        let expected: Vec<_> = (0..20).map(|n| (bid.clone(), n % 2 == 1)).collect();
        assert_eq!(seen, expected);
    }
    stop_all(&[a, observer, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn statuses_reasons_and_events_are_those_of_the_documents() -> Res {
    let statuses = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&statuses);
    let a = builder(config("a"))?
        .on_status_change(move |status| told.lock().unwrap().push(status))
        .start()
        .await?;
    let mut events = a.events();
    let b = node("b", &[&a]).await?;
    let up = within(5, "node up", async {
        loop {
            match events.recv().await {
                Some(ClusterEvent::NodeUp(node)) => return node,
                Some(_) => {}
                None => panic!("no more events"),
            }
        }
    })
    .await;
    assert_eq!((up.id, up.status), (id(&b), NodeStatus::Connected));
    until(5, "a heartbeat", || a.node(&id(&b)).is_some_and(|node| node.last_heartbeat_at.is_some())).await;
    assert!(a.peer_has_behavior(&id(&b), "box") && !a.peer_has_behavior(&id(&b), "nobody"));
    b.stop().await;
    let down = within(5, "node down", async {
        loop {
            if let Some(ClusterEvent::NodeDown { reason, .. }) = events.recv().await {
                return reason;
            }
        }
    })
    .await;
    assert_eq!(down, NodeDownReason::GracefulShutdown);
    assert_eq!(a.node(&id(&b)).map(|node| node.status), Some(NodeStatus::Disconnected));
    assert_eq!((b.status(), b.nodes().len()), (ClusterStatus::Stopped, 0));
    a.stop().await;
    a.stop().await;
    use ClusterStatus as S;
    assert_eq!(*statuses.lock().unwrap(), [S::Starting, S::Running, S::Stopping, S::Stopped]);
    assert!(Cluster::of(&a).is_none());
    Ok(())
}

/// The arbiter of a pair is up with the first heartbeat of the other end, which may leave before it has heard one itself.
#[actix_rt::test]
async fn a_node_that_leaves_says_goodbye_to_whom_its_first_heartbeat_was_sent() -> Res {
    let node = start(plain("z")).await?;
    let mut arbiter = RawPeer::connect(&node, "a@127.0.0.1:1", 1).await?;
    arbiter.send(&raw::word("Welcome")).await?;
    arbiter.until_control("Heartbeat").await?;
    let (stopped, heard) = futures_util::future::join(node.stop(), arbiter.until_closed()).await;
    let () = stopped;
    let goodbye = rmp_serde::to_vec("Goodbye")?;
    assert!(heard.iter().any(|(kind, body)| *kind == raw::CONTROL && *body == goodbye), "{heard:?}");
    Ok(())
}

async fn refusals(cluster: &Cluster, reason: RefusedReason, count: u64) {
    until(10, reason.as_str(), || cluster.stats().refused_total.get(&reason) >= Some(&count)).await;
}

#[actix_rt::test]
async fn a_wrong_or_missing_secret_is_refused_and_counted_at_both_ends() -> Res {
    let a = node("a", &[]).await?;
    let seed = a.local_node_id().to_string();
    let wrong = builder(config("w").seed(&seed).secret("another secret altogether"))?.start().await?;
    refusals(&a, RefusedReason::WrongSecret, 1).await;
    refusals(&wrong, RefusedReason::WrongSecret, 1).await;
    let none = builder(config("n").seed(&seed).secret(None::<String>))?.start().await?;
    refusals(&a, RefusedReason::NoSecret, 1).await;
    refusals(&none, RefusedReason::NoSecret, 1).await;
    assert_eq!(
        (a.connected_node_count(), wrong.connected_node_count(), none.connected_node_count()),
        (0, 0, 0)
    );
    let right = node("r", &[&a]).await?;
    until(5, "the right one is let in", || a.connected_node_count() == 1).await;
    stop_all(&[a, wrong, none, right]).await;
    Ok(())
}

#[actix_rt::test]
async fn garbage_is_refused_and_nobody_notices() -> Res {
    let (a, b) = pair().await?;
    let there = b.spawn_on::<support::Box_>(&id(&a), 0).await?;
    let port = a.local_node_id().port();
    let connect = || tokio::net::TcpStream::connect(("127.0.0.1", port));
    let (long, bad, second) = match support::over_tls() {
        false => (RefusedReason::TooLong, RefusedReason::BadFrame, 1),
        true => (RefusedReason::Tls, RefusedReason::Tls, 2),
    };
    connect().await?.write_all(&[0xFF; 4]).await?;
    refusals(&a, long, 1).await;
    connect().await?.write_all(b"\x10\0\0\0GET / HTTP/1.1\r\n").await?;
    refusals(&a, bad, second).await;
    drop(connect().await?);
    refusals(&a, RefusedReason::Eof, 1).await;
    let mut quiet = connect().await?;
    refusals(&a, RefusedReason::Timeout, 1).await;
    assert_eq!(quiet.read(&mut [0; 64]).await?, 0, "closed");
    assert_eq!(there.add(1).await?, 1);
    assert_eq!(a.stats().node_up_total, 1);
    stop_all(&[a, b]).await;
    Ok(())
}

/// Passes bytes on between a client and a server, and shows both streams to `touch`.
async fn proxy(to: u16, touch: impl Fn(bool, &mut Vec<u8>) + Clone + 'static) -> std::io::Result<u16> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    actix_rt::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = tokio::net::TcpStream::connect(("127.0.0.1", to)).await else { continue };
            let (client_read, client_write) = client.into_split();
            let (server_read, server_write) = server.into_split();
            actix_rt::spawn(pump(client_read, server_write, true, touch.clone()));
            actix_rt::spawn(pump(server_read, client_write, false, touch.clone()));
        }
    });
    Ok(port)
}

async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    outward: bool,
    touch: impl Fn(bool, &mut Vec<u8>),
) {
    let mut buffer = vec![0; 65_536];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        let mut bytes = buffer[..n].to_vec();
        touch(outward, &mut bytes);
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

#[actix_rt::test]
async fn a_recorded_session_played_again_is_refused() -> Res {
    let a = node("a", &[]).await?;
    let tape = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&tape);
    let touch = move |outward: bool, bytes: &mut Vec<u8>| {
        if outward {
            record.lock().unwrap().extend_from_slice(bytes);
        }
    };
    let port = proxy(a.local_node_id().port(), touch).await?;
    let b = builder(config("b").seed(format!("127.0.0.1:{port}")))?.start().await?;
    until(5, "both are up", || a.connected_node_count() == 1 && b.connected_node_count() == 1).await;
    let there = b.spawn_on::<support::Box_>(&id(&a), 0).await?;
    assert_eq!(there.add(1).await?, 1);
    b.stop().await;
    until(5, "b left", || a.connected_node_count() == 0).await;
    let (ups, processes) = (a.stats().node_up_total, a.process_count());
    let recorded = tape.lock().unwrap().clone();
    for _ in 0..10 {
        let mut replay = tokio::net::TcpStream::connect(("127.0.0.1", a.local_node_id().port())).await?;
        let _ = replay.write_all(&recorded).await;
        let mut answer = Vec::new();
        let _ = within(10, "the replay is cut off", replay.read_to_end(&mut answer)).await;
    }
    let reason = if support::over_tls() { RefusedReason::Tls } else { RefusedReason::WrongSecret };
    refusals(&a, reason, 10).await;
    assert_eq!((a.stats().node_up_total, a.process_count()), (ups, processes));
    assert_eq!(there.pid().node_id(), a.local_node_id());
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn one_flipped_bit_ends_the_session_and_it_is_made_anew() -> Res {
    let a = node("a", &[]).await?;
    let flip = Arc::new(Mutex::new(false));
    let armed = Arc::clone(&flip);
    let touch = move |_: bool, bytes: &mut Vec<u8>| {
        if std::mem::take(&mut *armed.lock().unwrap()) {
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
        }
    };
    let port = proxy(a.local_node_id().port(), touch).await?;
    let b = builder(config("b").seed(format!("127.0.0.1:{port}")))?.start().await?;
    until(5, "both are up", || a.connected_node_count() == 1 && b.connected_node_count() == 1).await;
    *flip.lock().unwrap() = true;
    until(10, "the session ended and came again", || {
        a.stats().node_up_total >= 2 && b.connected_node_count() == 1
    })
    .await;
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn a_port_in_use_and_a_bad_name_are_errors_that_say_so() -> Res {
    let a = node("a", &[]).await?;
    let taken = builder(config("b").port(a.local_node_id().port()))?.start().await.unwrap_err();
    assert!(taken.to_string().contains(&a.local_node_id().port().to_string()), "{taken}");
    let bad = ClusterConfig::builder("1bad").build().unwrap_err();
    assert_eq!(bad.field, "node_name");
    let mut downs: BTreeMap<NodeDownReason, u64> = a.stats().node_down_total;
    assert_eq!(downs.len(), 4, "every reason is there from the start");
    downs.retain(|_, n| *n > 0);
    assert!(downs.is_empty());
    a.stop().await;
    let again = builder(config("a").port(taken_port(&a)))?.start().await?;
    again.stop().await;
    Ok(())
}

fn taken_port(cluster: &Cluster) -> u16 {
    cluster.local_node_id().port()
}

/// A node-down only follows a node-up: whoever refuses a connection is told of by another event.
#[actix_rt::test]
async fn a_refused_dial_is_an_event_of_its_own_and_no_node_down() -> Res {
    let port = free_port();
    let a = start(config("a").seed(format!("b@127.0.0.1:{port}"))).await?;
    let mut events = a.events();
    let refused = async |events: &mut noex_actors::Events<ClusterEvent>| {
        let mut downs = 0;
        loop {
            match events.recv().await {
                Some(ClusterEvent::NodeDown { .. }) => downs += 1,
                Some(ClusterEvent::DialFailed { reason: DialError::ConnectionRefused, .. }) => return downs,
                Some(_) => {}
                None => panic!("the events end"),
            }
        }
    };
    // It never was there: dialled, refused, and not down.
    assert_eq!(within(10, "a dial is refused", refused(&mut events)).await, 0);
    let b = start(config("b").port(port)).await?;
    until(10, "it is connected", || a.connected_node_count() == 1).await;
    b.stop().await;
    until(10, "it is down", || a.connected_node_count() == 0).await;
    within(10, "and refuses again", async { while refused(&mut events).await == 0 {} }).await;
    assert_eq!(a.stats().node_down_total.get(&NodeDownReason::ConnectionRefused).copied().unwrap_or(0), 0);
    assert_eq!(a.stats().node_down_total.values().sum::<u64>(), 1);
    a.stop().await;
    Ok(())
}
