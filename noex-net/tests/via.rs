//! Names of processes on other nodes: asked for, and sent to, over real TCP.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::{cell::Cell, time::Duration};

use noex_actors::{
    CallError, CastError, Delivery, ExitReason, Incarnation, NodeId, Ref, SpawnOptions, behavior,
};
use noex_net::Cluster;
use support::{
    Box_, Res, config, id, pair, pair_of, patient_pair,
    raw::{self, RawPeer},
    stop_all, until, within,
};
use tokio::join;

/// Another behavior than that of the box.
struct Other;

#[behavior(name = "other")]
impl Other {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Other)
    }
    #[call]
    fn hello(&self) -> u8 {
        1
    }
    #[cast]
    fn nod(&mut self) {}
}

/// A process of `b` with a name there.
async fn named(b: &Cluster, name: &str) -> Res<Ref<Box_>> {
    Ok(b.spawn::<Box_>(0).options(SpawnOptions::new().name(name)).await?)
}

#[actix_rt::test]
async fn messages_to_a_name_on_another_node_arrive_in_their_order_with_one_round_trip_each() -> Res {
    let (a, b) = pair().await?;
    let there = named(&b, "box").await?;
    let via = a.via::<Box_>(&id(&b), "box");
    for n in 1..=3000 {
        via.see(n)?;
        if n % 1000 == 0 {
            let seen = via.seen().await?;
            assert!(seen.iter().copied().eq(0..=n), "{n}");
        }
    }
    let stats = a.remote_call_stats();
    assert_eq!((stats.total_casts, stats.total_calls, stats.total_resolved), (3000, 3, 3));
    // A cast to nobody is lost, as one to a process that ended is; a call says so.
    a.via::<Box_>(&id(&b), "nobody").see(1)?;
    assert_eq!(via.resolve().await.as_ref(), Some(&a.resolve(there.pid())));
    // On its own node it is the same.
    let own = b.via::<Box_>(&id(&b), "box");
    own.see(3001)?;
    assert_eq!(own.seen().await?.len(), 3002);
    assert_eq!(own.resolve().await, Some(there));
    assert_eq!(format!("{via:?}"), format!("Via(box on {})", id(&b)));
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn what_is_wrong_with_a_name_on_another_node_is_an_error_that_says_so() -> Res {
    let (a, b) = pair().await?;
    let (there, own) = (id(&b), id(&a));
    named(&b, "box").await?;
    a.spawn::<Box_>(0).options(SpawnOptions::new().name("box")).await?;
    let is = |error: CallError, expected: &str| {
        let text = format!("{error:?}");
        assert!(text.starts_with(expected), "{expected}: {text}");
        assert_eq!(error.delivery(), Delivery::Never, "{text}");
    };
    // Here and there alike.
    for node in [&there, &own] {
        is(a.via::<Box_>(node, "nobody").seen().await.unwrap_err(), "NoName(\"nobody\")");
        is(a.via::<Box_>(node, &"x".repeat(300)).seen().await.unwrap_err(), "NoName");
        is(a.via::<Other>(node, "box").hello().await.unwrap_err(), "WrongBehavior");
        is(a.lookup_on::<Box_>(node, "nobody").await.unwrap_err(), "NoName(\"nobody\")");
        is(a.lookup_on::<Other>(node, "box").await.unwrap_err(), "WrongBehavior");
        is(a.lookup_any_on(node, &"x".repeat(300)).await.unwrap_err(), "NoName");
        assert!(a.via::<Other>(node, "box").resolve().await.is_none());
        let any = a.lookup_any_on(node, "box").await?;
        assert_eq!((any.behavior(), any.pid().node_id()), ("box", node));
        assert_eq!(a.lookup_on::<Box_>(node, "box").await?.seen().await?, [0]);
    }
    let unknown = NodeId::new("x", "127.0.0.1", 9)?;
    is(a.via::<Box_>(&unknown, "box").seen().await.unwrap_err(), "NoConnection");
    is(a.lookup_on::<Box_>(&unknown, "box").await.unwrap_err(), "NoConnection");
    assert!(matches!(a.via::<Box_>(&unknown, "box").see(1), Err(CastError::NoConnection(_))));
    let via = a.via::<Box_>(&there, "box");
    within(10, "b stops", b.stop()).await;
    until(5, "b is gone", || !a.is_node_connected(&there)).await;
    is(via.seen().await.unwrap_err(), "NoConnection");
    assert!(via.resolve().await.is_none());
    within(10, "a stops", a.stop()).await;
    is(via.seen().await.unwrap_err(), "NotRunning");
    is(a.lookup_on::<Box_>(&there, "box").await.unwrap_err(), "NotRunning");
    assert!(matches!(via.see(1), Err(CastError::NotRunning)));
    Ok(())
}

/// The name is taken from one and given to the other all the time: each message goes to one of them, or to nobody, and says so.
#[actix_rt::test]
async fn a_name_that_moves_loses_no_message_and_none_runs_twice() -> Res {
    let (a, b) = pair().await?;
    let (one, other) = (b.spawn::<Box_>(0).await?, b.spawn::<Box_>(0).await?);
    b.register("box", &one)?;
    let via = a.via::<Box_>(&id(&b), "box");
    let done = Cell::new(false);
    let calls = async {
        let (mut ran, mut nobody) = (0, 0);
        while ran < 300 || nobody < 20 {
            match via.add(1).await {
                Ok(_) => ran += 1,
                Err(error @ CallError::NoName(_)) => {
                    assert_eq!(error.delivery(), Delivery::Never);
                    nobody += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
        done.set(true);
        ran
    };
    let moves = async {
        for holder in [&other, &one].into_iter().cycle() {
            b.unregister("box");
            tokio::task::yield_now().await;
            b.register("box", holder)?;
            tokio::task::yield_now().await;
            if done.get() {
                return Ok::<_, noex_actors::NameError>(());
            }
        }
        Ok(())
    };
    let (ran, moved) = within(60, "they are called often enough", async { join!(calls, moves) }).await;
    moved?;
    let (first, second) = (one.add(0).await?, other.add(0).await?);
    assert_eq!(first + second, ran);
    assert!(first > 0 && second > 0, "{first} and {second}");
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn a_name_outlives_its_process_and_the_life_of_its_node() -> Res {
    let a = support::start(config("a")).await?;
    let life = |n, port| {
        let config = config("b").port(port).seed(id(&a).to_string());
        support::builder(config).map(|builder| builder.incarnation(Incarnation(n)).start())
    };
    let b = life(1000, 0)?.await?;
    support::connected(&[&a, &b]).await;
    let (there, port) = (id(&b), b.local_node_id().port());
    let via = a.via::<Box_>(&there, "box");
    named(&b, "box").await?;
    assert_eq!(via.add(5).await?, 5);
    // The process that has it next.
    b.whereis::<Box_>("box").ok_or("it has it")?.stop(ExitReason::Normal).await?;
    assert!(matches!(via.add(1).await, Err(CallError::NoName(_))));
    named(&b, "box").await?;
    assert_eq!(via.add(6).await?, 6);
    // The next life of the node.
    b.stop().await;
    until(5, "it left", || a.connected_node_count() == 0).await;
    let b = life(1001, port)?.await?;
    support::connected(&[&a, &b]).await;
    named(&b, "box").await?;
    assert_eq!((id(&b), via.add(7).await?), (there, 7));
    stop_all(&[&a, &b]).await;
    Ok(())
}

#[actix_rt::test]
async fn long_messages_to_a_name_keep_their_order_and_a_call_that_is_given_up_does_not_run() -> Res {
    let (a, b) = patient_pair().await?;
    let there = named(&b, "box").await?;
    let via = a.via::<Box_>(&id(&b), "box");
    let long = "x".repeat(3 << 20);
    via.see(1)?;
    via.swallow(long.clone())?;
    via.see(2)?;
    assert_eq!(via.echo(long.clone()).timeout(Duration::from_secs(60)).await?.len(), long.len());
    assert_eq!(via.seen().await?, [0, 1, 2]);
    let busy = || b.process(there.pid()).is_some_and(|info| info.message_count == 6);
    let (nap, ()) = join!(via.nap(300), async {
        until(5, "it naps", busy).await;
        let given_up = actix_rt::time::timeout(Duration::from_millis(30), via.add(100)).await;
        assert!(given_up.is_err());
    });
    nap?;
    assert_eq!(via.add(1).await?, 1, "the call that was given up did not run");
    let stats = b.peer_stats(&id(&a)).ok_or("it is connected")?;
    assert_eq!((stats.cancels_received, stats.calls_not_started), (1, 1));
    stop_all(&[a, b]).await;
    Ok(())
}

/// What a sender does not count against its credit, its receiver must not count either.
#[actix_rt::test]
async fn messages_to_names_and_groups_use_up_no_credit() -> Res {
    let least = 64 << 10;
    let (a, b) = pair_of(|name| config(name).credit_bytes(least).max_message_bytes(least)).await?;
    let there = named(&b, "box").await?;
    b.groups().join("boxes", &there)?;
    until(5, "the member is known", || a.groups().members::<Box_>("boxes").len() == 1).await;
    let via = a.via::<Box_>(&id(&b), "box");
    // Ten times what may wait, by the least that a message counts as.
    for n in 0..4000 {
        let sent = a.groups().broadcast::<Box_>("boxes", support::Box_Cast::See { n });
        assert_eq!((sent.sent, sent.failed.len()), (1, 0));
        via.see(n)?;
        if n % 100 == 0 {
            via.add(0).await?;
        }
    }
    assert_eq!(via.seen().await?.len(), 8001);
    assert_eq!((a.stats().node_up_total, b.stats().node_up_total), (1, 1), "the session is the first one");
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn a_peer_may_name_anything() -> Res {
    let b = support::start(config("b")).await?;
    let there = named(&b, "box").await?;
    let mut peer = RawPeer::join(&b, "z@127.0.0.1:1").await?;
    let target = 1 << 63 | 7;
    let to = |name: &[u8], len: usize, message: &str| {
        let len = raw::varint(u64::try_from(len).unwrap());
        [&len, name, &rmp_serde::to_vec(message).unwrap()[..]].concat()
    };
    let call = |id: u64, body: Vec<u8>| {
        let head = [raw::varint(id), raw::named("box"), raw::varint(target), raw::varint(5000)].concat();
        raw::frame(raw::CALL, &[head, body].concat())
    };
    let long = vec![b'x'; 70_000];
    let bad: [Vec<u8>; 7] = [
        to(b"nobody", 6, "Seen"),
        to(b"", 0, "Seen"),
        to(b"box", 200, "Seen"),
        to(b"\xff\xfe", 2, "Seen"),
        to(&long, long.len(), "Seen"),
        raw::varint(u64::MAX),
        Vec::new(),
    ];
    let wanted = rmp_serde::to_vec("NoProc")?;
    for (at, body) in (1..).zip(bad) {
        peer.send_all(call(at, body.clone())).await?;
        let failed = peer
            .until_frame(|kind, fields| {
                let (id, why) = (kind == raw::FAILURE).then(|| raw::split_varint(fields))?;
                (id == at).then(|| why.to_vec())
            })
            .await?;
        assert_eq!(failed, wanted, "{at}");
        let cast = [raw::named("box"), raw::varint(target), body].concat();
        peer.send_all(raw::frame(raw::CAST, &cast)).await?;
    }
    // Cancels and marks of what never was.
    peer.send(&[raw::cancel(99, target), raw::mark(target, 5)].concat()).await?;
    peer.send(&call(50, to(b"box", 3, "Seen"))).await?;
    let reply = peer.until_frame(|kind, fields| (kind == raw::REPLY).then(|| fields.to_vec())).await?;
    assert_eq!(reply, [&raw::varint(50)[..], &raw::message("Seen", &[0_i64])].concat());
    let ask = |id: u64, name: &str| {
        let body = std::collections::BTreeMap::from([("WhereIs", [name])]);
        raw::control("Request", &(id, body))
    };
    peer.send_all([ask(1, &"x".repeat(100_000)), ask(2, ""), ask(3, "box")].concat()).await?;
    for (id, found) in [(1, None), (2, None), (3, Some((there.pid().number(), "box")))] {
        let response = peer.until_control("Response").await?;
        assert_eq!(response, serde_json::json!([id, { "Holder": found }]));
    }
    assert!(b.stats().protocol_errors_total.values().all(|count| *count == 0));
    b.stop().await;
    Ok(())
}
