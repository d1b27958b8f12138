//! What the frames say: numbers of behaviors.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::{collections::BTreeMap, time::Duration};

use noex_actors::{
    ExitReason, Incarnation, Pid, Ref, behavior,
    schema::{Schema, Shape, Variant},
};
use noex_net::{Cluster, ProtocolError};
use support::{
    Box_, Res, config, pair,
    raw::{self, RawPeer, control},
    start, until,
};

const RAW: &str = "z@127.0.0.1:1";

/// A node whose peers may be silent for the length of a test.
async fn patient(name: &str) -> Res<Cluster> {
    start(config(name).heartbeat_interval(Duration::from_secs(60))).await
}

/// A behavior that a node comes to know while it runs.
struct Late;

#[behavior(name = "late")]
impl Late {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Late)
    }
    #[call]
    fn double(&mut self, n: i64) -> i64 {
        2 * n
    }
}

#[actix_rt::test]
async fn frames_name_a_behavior_by_its_number_once_the_receiver_announced_it() -> Res {
    let a = patient("a").await?;
    let mut peer = RawPeer::join_granting(&a, RAW, 0).await?;
    let there: Ref<Box_> = a.resolve(&Pid::new(RAW.parse()?, Incarnation(1), 7));
    let see = rmp_serde::to_vec(&BTreeMap::from([("See", (5_i64,))]))?;
    let cast = |kind: u8, body: &[u8]| (kind == raw::CAST).then(|| body.to_vec());
    there.see(5)?;
    let target = &[7];
    assert_eq!(peer.until_frame(cast).await?, [&raw::named("box"), &target[..], &see].concat());
    peer.send(&control("Behaviors", &[(300_u32, "box"), (1, "late")])).await?;
    peer.settled().await?;
    for _ in 0..2 {
        there.see(5)?;
        assert_eq!(peer.until_frame(cast).await?, [&raw::numbered(300), &target[..], &see].concat());
    }
    // Calls are short, too: kind, number of the call, behavior, target, budget.
    let held: Vec<_> = (0..200).map(|_| there.add(1)).collect();
    let calls = futures_util::future::join_all(held);
    let answer = async {
        for _ in 0..200 {
            let body = peer.until_frame(|kind, body| (kind == raw::CALL).then(|| body.to_vec())).await?;
            let (id, rest) = raw::split_varint(&body);
            assert!(body.len() - rest.len() <= 3, "{id}");
            let one = rmp_serde::to_vec(&BTreeMap::from([("Add", (1_i64,))]))?;
            assert_eq!(rest[2..], [target, &raw::varint(5000)[..], &one].concat(), "{id}");
            let reply = [raw::varint(id), rmp_serde::to_vec(&BTreeMap::from([("Add", 1_i64)]))?].concat();
            peer.send(&raw::frame(raw::REPLY, &reply)).await?;
        }
        Res::Ok(())
    };
    let (replies, answered) = futures_util::future::join(calls, answer).await;
    answered?;
    assert!(replies.into_iter().all(|reply| reply.is_ok_and(|n| n == 1)));
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn messages_go_by_number_where_the_receiver_has_them_in_the_same_place() -> Res {
    let a = patient("a").await?;
    let mut peer = RawPeer::join_granting(&a, RAW, 0).await?;
    let mut schema = Schema::of::<Box_>();
    let Shape::Enum(casts) = &mut schema.cast else { panic!("casts are an enum: {:?}", schema.cast) };
    let place = casts.iter().position(|cast| cast.name == "See").ok_or("there is no such cast")?;
    let cast = |kind: u8, body: &[u8]| (kind == raw::CAST).then(|| body.to_vec());
    let by_number = [&[u8::try_from(place)?][..], &rmp_serde::to_vec(&(5_i64,))?].concat();
    let by_name = rmp_serde::to_vec(&BTreeMap::from([("See", (5_i64,))]))?;
    // The same; then with one before it that this node does not have.
    let mut moved = schema.clone();
    let Shape::Enum(casts) = &mut moved.cast else { panic!("casts are an enum") };
    casts.insert(place, Variant { name: "New".to_owned(), shape: Shape::Unit });
    for (number, (schema, body)) in (7..).zip([(&schema, &by_number), (&moved, &by_name)]) {
        let schema = serde_bytes::ByteBuf::from(schema.to_bytes());
        peer.send(&control("Behaviors", &[(300_u32, "box", schema)])).await?;
        peer.settled().await?;
        let there: Ref<Box_> = a.resolve(&Pid::new(RAW.parse()?, Incarnation(1), number));
        there.see(5)?;
        let head = [&raw::numbered(300)[..], &raw::varint(number)].concat();
        assert_eq!(peer.until_frame(cast).await?, [&head, &body[..]].concat());
    }
    // What comes by number is read, whatever was announced.
    let own = a.spawn::<Box_>(0).await?;
    peer.send(&raw::frame(
        raw::CAST,
        &[&raw::named("box"), &raw::varint(own.pid().number())[..], &by_number].concat(),
    ))
    .await?;
    peer.settled().await?;
    assert_eq!(own.seen().await?, [0, 5]);
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_link_taken_away_is_numbered_where_the_peer_answers_and_what_it_said_before_is_passed_over() -> Res
{
    let a = patient("a").await?;
    let links = || a.remote_link_stats().active_link_count;
    let own = a.spawn::<Box_>(0).await?;
    let (near, far) = (own.pid().number(), Pid::new(RAW.parse()?, Incarnation(1), 7));
    for numbered in [true, false] {
        let capability = if numbered { raw::NUMBERED_UNLINKS } else { 0 };
        let mut peer = RawPeer::join_unknown(&a, RAW, capability).await?;
        a.link(&own, &far);
        assert_eq!(peer.until_control_of::<(u64, u64)>("Link").await?, (near, 7));
        a.unlink(&own, &far);
        let (from, to, number) = peer.until_control_of::<(u64, u64, u64)>("Unlink").await?;
        assert_eq!((from, to, number != 0), (near, 7, numbered));
        // As if it had been said before the other was heard.
        peer.send(&control("Link", &(7, near))).await?;
        peer.settled().await?;
        assert_eq!(links(), u64::from(!numbered));
        // An answer to another one changes nothing; the right one ends it, and what follows counts.
        for (answer, linked) in [(number + 1, 0), (number, 1)] {
            peer.send(&control("Unlinked", &(7, near, answer))).await?;
            peer.send(&control("Link", &(7, near))).await?;
            peer.settled().await?;
            assert_eq!(links(), linked.max(u64::from(!numbered)), "{numbered} {answer}");
        }
        // The other way round: this node answers who numbers, whether there is a link or not, and nobody else.
        for _ in 0..2 {
            peer.send(&control("Unlink", &(7, near))).await?;
            peer.send(&control("Unlink", &(7, near, 300))).await?;
            assert_eq!(peer.until_control_of::<(u64, u64, u64)>("Unlinked").await?, (near, 7, 300));
            assert_eq!(links(), 0);
        }
        drop(peer);
        until(10, "it is gone", || a.connected_nodes().is_empty()).await;
    }
    assert!(own.is_alive().await?, "nobody ended it");
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn replies_go_by_number_where_the_caller_has_them_in_the_same_place() -> Res {
    let a = patient("a").await?;
    let mut peer = RawPeer::join_unknown(&a, RAW, raw::NUMBERED_REPLIES).await?;
    let schema = Schema::of::<Box_>();
    let Shape::Enum(replies) = &schema.reply else { panic!("replies are an enum: {:?}", schema.reply) };
    let place = replies.iter().position(|reply| reply.name == "Add").ok_or("there is no such reply")?;
    let by_number = [&[u8::try_from(place)?][..], &rmp_serde::to_vec(&1_i64)?].concat();
    let by_name = rmp_serde::to_vec(&BTreeMap::from([("Add", 1_i64)]))?;
    let with = |change: &dyn Fn(&mut Vec<Variant>)| {
        let mut replies = replies.clone();
        change(&mut replies);
        Schema { reply: Shape::Enum(replies), ..schema.clone() }
    };
    // The same; fewer, the same ones first; one before the others that this node does not have.
    let new = || Variant { name: "New".to_owned(), shape: Shape::Unit };
    let announced = [
        (with(&|_| {}), true),
        (with(&|replies| replies.truncate(place + 1)), true),
        (with(&|replies| replies.insert(0, new())), false),
    ];
    for (number, (schema, numbered)) in (7..).zip(announced) {
        let schema = serde_bytes::ByteBuf::from(schema.to_bytes());
        peer.send(&control("Behaviors", &[(300_u32, "box", schema)])).await?;
        peer.settled().await?;
        let there: Ref<Box_> = a.resolve(&Pid::new(RAW.parse()?, Incarnation(1), number));
        for answer in [&by_number, &by_name] {
            let answering = async {
                let call = |kind: u8, body: &[u8]| {
                    (kind & !raw::NUMBERED == raw::CALL).then(|| (kind, body.to_vec()))
                };
                let (kind, body) = peer.until_frame(call).await?;
                assert_eq!(kind & raw::NUMBERED != 0, numbered, "{number}");
                let id = raw::varint(raw::split_varint(&body).0);
                peer.send(&raw::frame(raw::REPLY, &[id, answer.clone()].concat())).await?;
                Res::Ok(())
            };
            let (reply, answered) = futures_util::future::join(there.add(1), answering).await;
            answered?;
            assert_eq!(reply?, 1, "both forms are read");
        }
    }
    // And as it is asked.
    let own = a.spawn::<Box_>(0).await?;
    let add = rmp_serde::to_vec(&BTreeMap::from([("Add", (1_i64,))]))?;
    for (kind, total, by) in [(raw::CALL, 1, by_name), (raw::CALL | raw::NUMBERED, 2, by_number)] {
        let fields = [&[9][..], &raw::named("box"), &raw::varint(own.pid().number()), &raw::varint(5000)];
        peer.send(&raw::frame(kind, &[&fields.concat()[..], &add].concat())).await?;
        let reply = peer.until_frame(|kind, body| (kind == raw::REPLY).then(|| body.to_vec())).await?;
        let counted = [&by[..by.len() - 1], &[total]].concat();
        assert_eq!(reply, [&[9][..], &counted].concat());
    }
    // A peer that has not agreed upon it is not asked so, and may not ask.
    let mut other = RawPeer::join_unknown(&a, "y@127.0.0.1:1", 0).await?;
    let same = serde_bytes::ByteBuf::from(schema.to_bytes());
    other.send(&control("Behaviors", &[(300_u32, "box", same)])).await?;
    other.settled().await?;
    let there: Ref<Box_> = a.resolve(&Pid::new("y@127.0.0.1:1".parse()?, Incarnation(1), 7));
    let asked = other.until_frame(|kind, _| (kind & !raw::NUMBERED == raw::CALL).then_some(kind));
    let (asked, gone) =
        futures_util::future::join(asked, there.add(1).timeout(Duration::from_millis(50))).await;
    assert_eq!(asked?, raw::CALL);
    assert!(gone.is_err());
    let fields = [&[9][..], &raw::named("box"), &raw::varint(own.pid().number()), &raw::varint(5000)];
    other.send(&raw::frame(raw::CALL | raw::NUMBERED, &[&fields.concat()[..], &add].concat())).await?;
    other.until_closed().await;
    assert_eq!(a.stats().protocol_errors_total[&ProtocolError::Frame], 1);
    a.stop().await;
    Ok(())
}

/// A heartbeat.
type Beat = (u64, u64, f32, u64, bool, Option<Vec<Said>>, (u32, u64), u64, u64);
/// A behavior as it is announced: number, name, schema.
type Said = (u32, String, serde_bytes::ByteBuf);

/// Numbers and names; each comes with a schema.
fn told(all: Vec<Said>) -> Vec<(u32, String)> {
    let told = all.into_iter().map(|(number, name, schema)| {
        let calls = Schema::from_bytes(&schema).map(|schema| schema.call.variants().count());
        assert!(calls > Some(0), "{name}");
        (number, name)
    });
    told.collect()
}

#[actix_rt::test]
async fn what_a_node_comes_to_know_while_it_runs_is_announced_under_numbers_that_stay() -> Res {
    let a = patient("a").await?;
    let mut peer = RawPeer::join(&a, "z@127.0.0.1:1").await?;
    let first: Beat = peer.until_control_of("Heartbeat").await?;
    assert_eq!(told(first.5.unwrap_or_default()), [(1, "box".to_owned())]);
    a.behaviors().register::<Late>()?;
    assert_eq!(
        told(peer.until_control_of("Behaviors").await?),
        [(1, "box".to_owned()), (2, "late".to_owned())]
    );
    let late = a.spawn::<Late>(()).await?;
    let double = BTreeMap::from([("Double", (4_i64,))]);
    peer.send(&raw::call(1, &raw::numbered(2), late.pid().number(), &double)).await?;
    let reply = peer.until_frame(|kind, body| (kind == raw::REPLY).then(|| body.to_vec())).await?;
    assert_eq!(reply, [vec![1], rmp_serde::to_vec(&BTreeMap::from([("Double", 8_i64)]))?].concat());
    assert!(a.behaviors().unregister("box"));
    assert_eq!(told(peer.until_control_of("Behaviors").await?), [(2, "late".to_owned())]);
    a.behaviors().register::<Box_>()?;
    assert_eq!(
        told(peer.until_control_of("Behaviors").await?),
        [(1, "box".to_owned()), (2, "late".to_owned())]
    );
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_process_is_reached_whose_behavior_was_registered_while_the_nodes_were_connected() -> Res {
    let (a, b) = pair().await?;
    assert!(!b.peer_has_behavior(a.local_node_id(), "late"));
    a.behaviors().register::<Late>()?;
    // At once, and when it is announced.
    let late: Ref<Late> = b.resolve(a.spawn::<Late>(()).await?.pid());
    assert_eq!(late.double(4).await?, 8);
    until(5, "it is announced", || b.peer_has_behavior(a.local_node_id(), "late")).await;
    assert_eq!(late.double(5).await?, 10);
    let there = b.spawn_on::<Late>(a.local_node_id(), ()).await?;
    assert_eq!(there.double(6).await?, 12);
    b.stop().await;
    a.stop().await;
    Ok(())
}
