//! The ring of secrets over real TCP: it changes under load, and whoever is out of it stays out.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    cell::{Cell, RefCell},
    net::{IpAddr, Ipv4Addr},
    rc::Rc,
};

use futures_util::future::join_all;
use noex_actors::{NodeDownReason, Ref};
use noex_net::{Cluster, RefusedReason, SecretError, Secrets};
use support::{Box_, Res, builder, config, connected, id, stop_all, until, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
};

const OLD: (&str, &str) = ("old", "the secret of before");
const NEW: (&str, &str) = ("new", "a new secret of our own");

/// A node with these secrets, the first of which signs.
async fn node(name: &str, seeds: &[&Cluster], secrets: &[(&str, &str)]) -> Res<Cluster> {
    let config = config(name)
        .secret(Secrets::several(secrets.iter().copied())?)
        .seeds(seeds.iter().map(|seed| seed.local_node_id()));
    Ok(builder(config)?.start().await?)
}

fn refused(cluster: &Cluster, reason: RefusedReason) -> u64 {
    cluster.stats().refused_total.get(&reason).copied().unwrap_or_default()
}

/// The key of the session with a peer.
fn key(cluster: &Cluster, peer: &Cluster) -> Option<String> {
    cluster.peer_stats(&id(peer)).and_then(|stats| stats.key_id)
}

fn downs(cluster: &Cluster) -> u64 {
    cluster.stats().node_down_total.values().sum()
}

/// Callers that never pause: how many calls were answered, and what went wrong.
#[derive(Default)]
struct Load {
    answered: Cell<u64>,
    failed: RefCell<Vec<String>>,
    over: Cell<bool>,
}

/// Calls from every node to a process on every other node.
async fn load(clusters: &[Cluster]) -> Res<(Rc<Load>, Vec<actix_rt::task::JoinHandle<()>>)> {
    let load = Rc::new(Load::default());
    let mut callers = Vec::new();
    for from in clusters {
        for to in clusters.iter().filter(|to| id(to) != id(from)) {
            let there: Ref<Box_> = from.spawn_on::<Box_>(&id(to), 0).await?;
            let load = Rc::clone(&load);
            callers.push(actix_rt::spawn(async move {
                let mut expected = 0;
                while !load.over.get() {
                    expected += 1;
                    match there.add(1).await {
                        Ok(sum) if sum == expected => load.answered.set(load.answered.get() + 1),
                        other => load.failed.borrow_mut().push(format!("{other:?}, not {expected}")),
                    }
                }
            }));
        }
    }
    Ok((load, callers))
}

/// Waits for some hundred more answers: a step is taken in the middle of the load.
async fn work(load: &Load) {
    let from = load.answered.get();
    until(20, "calls go on", || load.answered.get() > from + 200).await;
}

#[actix_rt::test]
async fn the_secret_of_five_nodes_under_load_is_changed_one_by_one_without_a_lost_call() -> Res {
    let mut nodes = vec![node("n0", &[], &[OLD]).await?];
    for n in 1..5 {
        nodes.push(node(&format!("n{n}"), &[&nodes[0]], &[OLD]).await?);
    }
    connected(&nodes).await;
    let (load, callers) = load(&nodes).await?;
    work(&load).await;

    for node in &nodes {
        node.secrets().add(NEW.0, NEW.1)?;
        work(&load).await;
    }
    let early = node("early", &[&nodes[0]], &[NEW]).await?;
    until(10, "who has only the new one is let in already", || early.connected_node_count() == 5).await;
    for node in &nodes {
        node.secrets().activate(NEW.0)?;
        work(&load).await;
    }
    let late = node("late", &[&nodes[1]], &[OLD]).await?;
    until(10, "who has only the old one is let in still", || {
        nodes.iter().all(|n| n.is_node_connected(&id(&late)))
    })
    .await;
    stop_all(&[late, early]).await;
    for node in &nodes {
        node.secrets().retire(OLD.0)?;
        work(&load).await;
    }
    load.over.set(true);
    join_all(callers).await;

    assert_eq!(*load.failed.borrow(), Vec::<String>::new());
    for cluster in &nodes {
        let unexpected = cluster.stats().node_down_total.into_iter().filter(|(reason, _)| {
            *reason != NodeDownReason::GracefulShutdown // of the two guests
        });
        assert_eq!(unexpected.map(|(_, n)| n).sum::<u64>(), 0, "{cluster:?}");
        assert_eq!(cluster.secrets().ids(), [NEW.0]);
        for other in nodes.iter().filter(|other| id(other) != id(cluster)) {
            assert_eq!(key(cluster, other).as_deref(), Some(OLD.0), "the sessions are those of before");
        }
    }
    let out = node("out", &[&nodes[2]], &[OLD]).await?;
    until(10, "the old one is refused at both ends", || {
        refused(&nodes[2], RefusedReason::NoCommonKey) > 0 && refused(&out, RefusedReason::NoCommonKey) > 0
    })
    .await;
    let inside = node("in", &[&nodes[3]], &[NEW]).await?;
    until(10, "the new one is let in", || inside.connected_node_count() == 5).await;
    assert_eq!(key(&inside, &nodes[0]).as_deref(), Some(NEW.0));
    assert_eq!(out.connected_node_count(), 0);
    stop_all(&nodes).await;
    stop_all(&[out, inside]).await;
    Ok(())
}

#[actix_rt::test]
async fn retire_and_close_ends_the_sessions_of_that_key_and_no_others() -> Res {
    let hub = node("hub", &[], &[OLD, NEW]).await?;
    let old = [node("o1", &[&hub], &[OLD]).await?, node("o2", &[&hub], &[OLD]).await?];
    let new = [node("n1", &[&hub], &[NEW]).await?, node("n2", &[&hub], &[NEW]).await?];
    until(10, "all four are connected", || hub.connected_node_count() == 4).await;
    for (peers, expected) in [(&old, OLD.0), (&new, NEW.0)] {
        for peer in peers {
            assert_eq!(key(&hub, peer).as_deref(), Some(expected));
            until(10, "both ends know the key", || key(peer, &hub).as_deref() == Some(expected)).await;
        }
    }
    let secrets = hub.secrets();
    assert_eq!(secrets.retire_and_close(OLD.0), Err(SecretError::RetireActive(OLD.0.into())));
    assert_eq!(secrets.retire_and_close("none"), Err(SecretError::Unknown("none".into())));
    secrets.activate(NEW.0)?;
    secrets.retire(OLD.0)?;
    assert_eq!((secrets.ids(), secrets.active()), (vec![NEW.0.to_owned()], Some(NEW.0.to_owned())));
    assert_eq!((hub.connected_node_count(), downs(&hub)), (4, 0), "retiring alone ends nothing");

    // Also of a key that was retired earlier.
    secrets.retire_and_close(OLD.0)?;
    until(10, "those with the old key are out, at both ends", || {
        hub.connected_node_count() == 2 && old.iter().all(|peer| !peer.is_node_connected(&id(&hub)))
    })
    .await;
    for peer in &old {
        until(10, "they are refused", || refused(peer, RefusedReason::NoCommonKey) > 0).await;
        assert_eq!(peer.stats().node_down_total[&NodeDownReason::ConnectionClosed], 1);
    }
    for peer in &new {
        assert!(hub.is_node_connected(&id(peer)));
        assert_eq!((downs(peer), peer.stats().node_up_total >= 1), (0, true));
    }
    assert_eq!(hub.stats().node_down_total[&NodeDownReason::ConnectionClosed], 2);
    assert_eq!(secrets.retire_and_close(OLD.0), Err(SecretError::Unknown(OLD.0.into())), "nothing is left");

    old[0].secrets().add(NEW.0, NEW.1)?;
    until(10, "with the new key it comes back", || hub.is_node_connected(&id(&old[0]))).await;
    assert_eq!(key(&hub, &old[0]).as_deref(), Some(NEW.0));
    assert!(!hub.is_node_connected(&id(&old[1])));
    stop_all(&old).await;
    stop_all(&new).await;
    hub.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn two_rings_without_a_common_key_refuse_each_other_and_both_count_it() -> Res {
    let a = node("a", &[], &[OLD]).await?;
    let b = node("b", &[&a], &[NEW]).await?;
    for node in [&a, &b] {
        until(10, "it is counted", || refused(node, RefusedReason::NoCommonKey) > 0).await;
        let others = node
            .stats()
            .refused_total
            .into_iter()
            .filter(|(reason, _)| *reason != RefusedReason::NoCommonKey);
        assert_eq!(others.map(|(_, n)| n).sum::<u64>(), 0);
        assert_eq!(node.connected_node_count(), 0);
    }
    b.secrets().add(OLD.0, OLD.1)?;
    until(10, "one key in common is enough", || a.connected_node_count() == 1).await;
    assert_eq!(key(&a, &b).as_deref(), Some(OLD.0));
    // The same id with other bytes is no common key.
    let c = node("c", &[&a], &[(OLD.0, "something else altogether")]).await?;
    until(10, "it is refused", || refused(&c, RefusedReason::WrongSecret) > 0).await;
    stop_all(&[a, b, c]).await;
    Ok(())
}

#[actix_rt::test]
async fn a_ring_is_filled_from_empty_replaced_and_emptied() -> Res {
    let (a, b) = (node("a", &[], &[]).await?, node("b", &[], &[]).await?);
    let seed = |seeds: &[&Cluster]| {
        config("c").secret(Secrets::none()).seeds(seeds.iter().map(|n| n.local_node_id()))
    };
    let c = builder(seed(&[&a, &b]))?.start().await?;
    let nodes = [a, b, c];
    until(10, "they meet on loopback", || nodes[2].connected_node_count() == 2).await;
    assert_eq!((key(&nodes[2], &nodes[0]), nodes[0].secrets().active()), (None, None));

    for node in &nodes {
        node.secrets().add(OLD.0, OLD.1)?;
    }
    assert_eq!(nodes.iter().map(downs).sum::<u64>(), 0, "sessions stay");
    let open = node("open", &[&nodes[0]], &[]).await?;
    until(10, "nobody comes without a secret any more", || {
        refused(&nodes[0], RefusedReason::NoSecret) > 0 && refused(&open, RefusedReason::NoSecret) > 0
    })
    .await;

    // One side ends what has no key; everything comes back with one.
    nodes[2].secrets().replace_and_close(Secrets::several([NEW, OLD])?);
    until(10, "again, with a key", || {
        nodes[..2].iter().all(|peer| key(&nodes[2], peer).is_some_and(|key| key == OLD.0))
    })
    .await;
    assert_eq!(nodes[2].stats().node_down_total[&NodeDownReason::ConnectionClosed], 2);

    // A replacement ends nothing of itself, also where the key of a session goes.
    let before: Vec<u64> = nodes.iter().map(downs).collect();
    for node in &nodes {
        node.secrets().replace(Secrets::several([NEW])?);
    }
    let probe = node("probe", &[&nodes[0], &nodes[1], &nodes[2]], &[NEW]).await?;
    until(10, "the new ring holds", || probe.connected_node_count() == 3).await;
    assert_eq!(nodes.iter().map(downs).collect::<Vec<_>>(), before);

    for node in &nodes {
        node.secrets().replace(Secrets::none());
        assert_eq!((node.secrets().ids(), node.secrets().active()), (vec![], None));
    }
    until(10, "without a secret, loopback gets in", || open.connected_node_count() >= 1).await;
    assert!(probe.connected_node_count() == 3, "who is in stays in");
    stop_all(&nodes).await;
    stop_all(&[open, probe]).await;
    Ok(())
}

/// An address of this machine that others could reach. Nothing is sent to find it.
fn routable() -> Option<Ipv4Addr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(ip) if !ip.is_loopback() && !ip.is_unspecified() => Some(ip),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

#[actix_rt::test]
async fn a_node_is_in_protected_mode_exactly_while_its_ring_is_empty() -> Res {
    let Some(from) = routable() else {
        tracing::warn!("skipped: this machine has no address but loopback, so there is nobody to refuse");
        return Ok(());
    };
    let a = node("a", &[], &[OLD]).await?;
    // Seen from 127.0.0.1, a peer with that address is not of this machine.
    let knock = async || -> std::io::Result<()> {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        let mut socket = socket.connect((Ipv4Addr::LOCALHOST, a.local_node_id().port()).into()).await?;
        socket.shutdown().await?;
        socket.read_to_end(&mut Vec::new()).await.map(|_| ())
    };
    let counts = || (refused(&a, RefusedReason::Eof), refused(&a, RefusedReason::InsecurePeer));
    let _ = knock().await;
    until(10, "with a secret it is waited for", || counts() == (1, 0)).await;
    a.secrets().replace(Secrets::none());
    let _ = knock().await;
    until(10, "without one it is not", || counts() == (1, 1)).await;
    a.secrets().add(NEW.0, NEW.1)?;
    let _ = knock().await;
    until(10, "and with one again", || counts() == (2, 1)).await;
    a.stop().await;
    Ok(())
}

/// Forwards one connection to a node, and keeps the second frame of the client, its proof, until it is told.
struct Gate {
    port: u16,
    held: Rc<Notify>,
    open: Rc<Notify>,
}

async fn gate(to: &Cluster) -> Res<Gate> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let (port, server) = (listener.local_addr()?.port(), to.local_node_id().port());
    let gate = Gate { port, held: Rc::default(), open: Rc::default() };
    let (held, open) = (Rc::clone(&gate.held), Rc::clone(&gate.open));
    actix_rt::spawn(async move {
        let Ok((mut client, _)) = listener.accept().await else { return };
        let Ok(mut server) = tokio::net::TcpStream::connect(("127.0.0.1", server)).await else { return };
        let (mut client_read, mut client_write) = client.split();
        let (mut server_read, mut server_write) = server.split();
        let upward = async {
            let mut frames = 0;
            let mut buffer = vec![0; 65_536];
            while let Ok(n @ 1..) = client_read.read(&mut buffer).await {
                frames += 1;
                if frames == 2 {
                    held.notify_one();
                    open.notified().await;
                }
                if server_write.write_all(&buffer[..n]).await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::join!(upward, tokio::io::copy(&mut server_read, &mut client_write));
    });
    Ok(gate)
}

/// A node dials another, whose secrets change when it has everything but the last word of the handshake.
async fn meet(
    a: &[(&str, &str)],
    b: &[(&str, &str)],
    change: impl FnOnce(&Cluster) -> Res,
) -> Res<[Cluster; 2]> {
    let a = node("a", &[], a).await?;
    let gate = gate(&a).await?;
    let seed = format!("127.0.0.1:{}", gate.port);
    let b = builder(config("b").secret(Secrets::several(b.iter().copied())?).seed(seed))?.start().await?;
    within(10, "the proof is on its way", gate.held.notified()).await;
    change(&a)?;
    gate.open.notify_one();
    Ok([a, b])
}

#[actix_rt::test]
async fn no_session_begins_with_a_key_that_was_retired_in_the_middle_of_its_handshake() -> Res {
    let nodes = meet(&[NEW, OLD], &[OLD], |a| Ok(a.secrets().retire_and_close(OLD.0)?)).await?;
    until(10, "it is refused", || refused(&nodes[0], RefusedReason::NoCommonKey) == 1).await;
    assert_eq!((nodes[0].stats().node_up_total, nodes[0].stats().connections), (0, 0));
    until(10, "the other end hears the end of it", || nodes[1].stats().connections == 0).await;
    assert_eq!(nodes[1].stats().node_up_total, 0);
    stop_all(&nodes).await;

    let nodes = meet(&[], &[], |a| Ok(a.secrets().add(OLD.0, OLD.1)?)).await?;
    until(10, "nor one without a key", || refused(&nodes[0], RefusedReason::NoSecret) == 1).await;
    assert_eq!(nodes[0].stats().node_up_total, 0);
    stop_all(&nodes).await;

    // The id alone does not make it the same key.
    let same_id = |a: &Cluster| {
        a.secrets().retire(OLD.0)?;
        Ok(a.secrets().add(OLD.0, "something else altogether")?)
    };
    let nodes = meet(&[NEW, OLD], &[OLD], same_id).await?;
    until(10, "it is refused", || refused(&nodes[0], RefusedReason::NoCommonKey) == 1).await;
    assert_eq!(nodes[0].stats().node_up_total, 0);
    stop_all(&nodes).await;
    Ok(())
}

#[actix_rt::test]
async fn a_change_that_leaves_the_key_of_a_handshake_does_not_disturb_it() -> Res {
    let change = |a: &Cluster| {
        a.secrets().add("third", "and one more of them")?;
        a.secrets().activate("third")?;
        a.secrets().replace(Secrets::several([OLD, ("third", "and one more of them")])?);
        Ok(a.secrets().retire("third")?)
    };
    let nodes = meet(&[NEW, OLD], &[OLD], change).await?;
    connected(&nodes).await;
    assert_eq!(nodes[0].stats().refused_total.values().sum::<u64>(), 0);
    assert_eq!(key(&nodes[0], &nodes[1]).as_deref(), Some(OLD.0));
    stop_all(&nodes).await;
    Ok(())
}
