//! S12 to S16: who may address what, what a stranger may take up, and whose data and ends are whose. The rest is in `hostile.rs`.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::{collections::BTreeMap, time::Duration};

use noex_actors::{Context, ExitReason, Ref, behavior};
use noex_net::{Cluster, RefusedReason};
use serde_bytes::ByteBuf;
use support::{
    Box_, Res, builder, config, id, node,
    raw::{self, RawPeer, control},
    until,
};
use tokio::io::AsyncWriteExt;

/// A node whose peers may be silent for the length of a test.
async fn patient(name: &str) -> Res<Cluster> {
    Ok(builder(config(name).heartbeat_interval(Duration::from_secs(60)))?.start().await?)
}

async fn box_on(node: &Cluster) -> Res<Ref<Box_>> {
    Ok(node.spawn::<Box_>(0).await?)
}

/// Of no registered name: for its own node alone.
struct Private(i64);

#[behavior]
impl Private {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Private(0))
    }
    #[call]
    fn touched(&mut self) -> i64 {
        self.0
    }
    #[cast]
    fn touch(&mut self, _cx: &mut Context<Self>) {
        self.0 += 1;
    }
}

#[actix_rt::test]
async fn s12_only_registered_behaviors_are_addressed_or_spawned() -> Res {
    let a = patient("a").await?;
    let private = a.spawn::<Private>(()).await?;
    let number = private.pid().number();
    let mut peer = RawPeer::join(&a, "z@127.0.0.1:1").await?;
    let numbers = [1, 2, u64::from(u32::MAX)].map(raw::numbered);
    let named = ["box", "private", ""].map(raw::named);
    for (id, behavior) in numbers.iter().chain(&named).enumerate() {
        let id = u64::try_from(id)? << (7 * id);
        peer.send(&raw::cast(behavior, number, &"Touch")).await?;
        peer.send(&raw::call(id, behavior, number, &"Touched")).await?;
        let failure = peer.until_frame(|kind, body| (kind == raw::FAILURE).then(|| body.to_vec())).await?;
        let (answered, failure) = raw::split_varint(&failure);
        assert_eq!(answered, id);
        let failure: serde_json::Value = rmp_serde::from_slice(failure)?;
        assert!(failure.get("WrongBehavior").is_some(), "{failure}");
    }
    for frames in [
        control("Kill", &(number,)),
        control("Stop", &(number, "shutdown")),
        control("Exit", &(1_u64, number, "killed")),
        control("Link", &(1_u64, number)),
        control("Monitor", &(5_u64, number)),
    ] {
        peer.send(&frames).await?;
    }
    let broken = peer.until_control("Broken").await?;
    assert_eq!(broken[2], "noproc", "{broken}");
    let down = peer.until_control("Down").await?;
    assert_eq!(down, serde_json::json!([5, "noproc"]), "as if it were not there");
    let order = ("private", ByteBuf::new(), None::<String>, "none", 1000_u64, 10_u64, None::<()>);
    peer.send(&control("Request", &(1_u64, BTreeMap::from([("Spawn", order)])))).await?;
    let response = peer.until_control("Response").await?;
    assert_eq!(response[1], serde_json::json!({"Spawned": {"Err": "BehaviorNotFound"}}));
    assert_eq!(private.touched().await?, 0);
    assert_eq!(a.process_count(), 1);
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn s13_unauthenticated_sockets_are_few_and_a_friend_comes_in_beside_them() -> Res {
    let a = builder(config("a").max_unauthenticated(8).handshake_timeout(Duration::from_secs(60)))?;
    let a = a.start().await?;
    let port = a.local_node_id().port();
    let mut silent = Vec::new();
    for n in 0..40_u8 {
        let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        // Half of them begin a frame of the longest length, and do not end it.
        if n % 2 == 0 {
            socket.write_all(&[0, 0x10, 0, 0, n]).await?;
        }
        silent.push(socket);
    }
    let evicted = || a.stats().refused_total[&RefusedReason::Evicted];
    until(10, "all but eight had to go", || evicted() == 32).await;
    let b = node("b", &[&a]).await?;
    until(10, "a friend comes in", || a.connected_node_count() == 1).await;
    let refused = a.stats().refused_total;
    assert_eq!(
        refused.values().sum::<u64>(),
        33,
        "its connection took one more place for a moment: {refused:?}"
    );
    drop(silent);
    b.stop().await;
    a.stop().await;
    Ok(())
}

/// Keeps what it is given, whatever its keys are called.
struct Keeper;

#[behavior(name = "keeper")]
impl Keeper {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Keeper)
    }
    #[call]
    fn echo(
        &self,
        value: BTreeMap<String, BTreeMap<String, String>>,
    ) -> BTreeMap<String, BTreeMap<String, String>> {
        value
    }
}

#[actix_rt::test]
async fn s15_data_of_users_arrives_as_it_is_whatever_its_keys() -> Res {
    let a = builder(config("a"))?.behavior::<Keeper>().start().await?;
    let config = config("b").seed(a.local_node_id().to_string());
    let b = builder(config)?.behavior::<Keeper>().start().await?;
    until(5, "both are up", || a.connected_node_count() == 1 && b.connected_node_count() == 1).await;
    let there = b.spawn_on::<Keeper>(&id(&a), ()).await?;
    let keys = ["__noex_type__", "__proto__", "constructor", "type", "Kill", "hello", "", "\0", "pid", "ä"];
    let inner: BTreeMap<String, String> =
        keys.iter().flat_map(|key| [(key.to_string(), "Map".to_owned())]).collect();
    let value: BTreeMap<_, _> = keys.iter().map(|key| (key.to_string(), inner.clone())).collect();
    assert_eq!(there.echo(value.clone()).await?, value);
    b.stop().await;
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn s16_an_end_is_told_to_the_session_that_asked() -> Res {
    let a = patient("a").await?;
    let there = box_on(&a).await?;
    let number = there.pid().number();
    let (mut y, mut z) =
        (RawPeer::join(&a, "y@127.0.0.1:1").await?, RawPeer::join(&a, "z@127.0.0.1:1").await?);
    let mut quiet = RawPeer::join(&a, "x@127.0.0.1:1").await?;
    for peer in [&mut y, &mut z] {
        peer.send(&control("Monitor", &(7_u64, number))).await?;
        peer.settled().await?;
    }
    // Neither takes the watch of the other away, nor answers for it, though the numbers are the same.
    z.send(&[control("Monitor", &(8_u64, number)), control("Demonitor", &(7_u64,))].concat()).await?;
    z.send(&control("Down", &(7_u64, "normal"))).await?;
    z.settled().await?;
    there.kill();
    assert_eq!(y.until_control("Down").await?, serde_json::json!([7, "killed"]));
    assert_eq!(z.until_control("Down").await?, serde_json::json!([8, "killed"]));
    quiet.settled().await?;
    a.stop().await;
    let told = quiet.until_closed().await;
    let down = raw::message("Down", &(7_u64, "killed"));
    assert!(told.iter().all(|(_, body)| *body != down), "who did not ask hears nothing");
    Ok(())
}
