//! A trace goes with the messages that belong to it, from node to node, and with no other.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::{collections::BTreeMap, time::Duration};

use noex_actors::{
    CallError, ExitReason, Incarnation, Pid, Ref, Via, behavior,
    trace::{self, TraceContext},
};
use noex_net::{Cluster, ClusterConfigBuilder, ProtocolError};
use support::{
    Box_, Res, builder, config, connected,
    raw::{self, RawPeer},
    start, stop_all,
};

const RAW: &str = "z@127.0.0.1:1";
/// Capability bit 1.
const TRACES: u64 = 2;
const KIND: u8 = 0x80;

/// Tells in which trace it works.
struct Relay {
    noted: Vec<Option<String>>,
}

/// The trace of now, as text.
fn here() -> Option<String> {
    trace::current().map(|context| format!("{context} {}", context.state()))
}

#[behavior(name = "relay")]
impl Relay {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Relay { noted: vec![here()] })
    }
    #[call]
    fn here(&self) -> Option<String> {
        here()
    }
    #[call]
    async fn through(&mut self, other: Ref<Relay>) -> Option<String> {
        actix_rt::task::yield_now().await;
        other.here().await.ok().flatten()
    }
    #[call]
    fn long(&self, text: String) -> Option<String> {
        here().filter(|_| text.len() > 100_000)
    }
    #[cast]
    fn note(&mut self) {
        self.noted.push(here());
    }
    #[cast]
    fn tell(&mut self, other: Ref<Relay>) {
        other.note().unwrap();
    }
    #[call]
    fn noted(&self) -> Vec<Option<String>> {
        self.noted.clone()
    }
}

fn context() -> TraceContext {
    TraceContext::new(1 << 100, 7, 1).unwrap().with_state("shop=1").unwrap()
}

fn text() -> Option<String> {
    Some(format!("{} shop=1", context()))
}

async fn node(config: ClusterConfigBuilder) -> Res<Cluster> {
    Ok(builder(config)?.behavior::<Relay>().start().await?)
}

#[actix_rt::test]
async fn calls_and_casts_belong_to_the_trace_in_which_they_are_sent_on_all_nodes() -> Res {
    let a = node(config("a")).await?;
    let b = node(config("b").seed(a.local_node_id())).await?;
    connected(&[&a, &b]).await;
    let near = a.spawn::<Relay>(()).await?;
    let far = b.spawn::<Relay>(()).await?;
    let far_from_a: Ref<Relay> = a.resolve(far.pid());
    assert_eq!(far_from_a.here().await?, None, "no trace");
    let traced = async {
        assert_eq!(near.here().await?, text(), "on the same node");
        assert_eq!(far_from_a.here().await?, text(), "on another");
        assert_eq!(far_from_a.through(near.clone()).await?, text(), "and back again");
        assert_eq!(far_from_a.long("x".repeat(200_000)).await?, text(), "in chunks");
        far_from_a.note()?;
        far_from_a.tell(near.clone())?;
        Res::Ok(far_from_a.noted().await?)
    };
    assert_eq!(context().scope(traced).await?, [None, text()], "casts as well; not what began before");
    far_from_a.note()?;
    far_from_a.tell(near.clone())?;
    assert_eq!(far_from_a.noted().await?, [None, text(), None], "what comes after it does not");
    // Behind the casts of `tell`, which went the same way.
    assert_eq!(far_from_a.through(near.clone()).await?, None);
    assert_eq!(near.noted().await?, [None, text(), None]);
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn what_goes_to_whoever_has_a_name_belongs_to_its_trace_too() -> Res {
    let a = node(config("a")).await?;
    let b = node(config("b").seed(a.local_node_id())).await?;
    connected(&[&a, &b]).await;
    let far = b.spawn::<Relay>(()).name("relay").await?;
    let near = a.spawn::<Relay>(()).await?;
    let by_name: Via<Relay> = a.via(b.local_node_id(), "relay");
    let nobody: Via<Relay> = a.via(b.local_node_id(), "nobody");
    assert_eq!(by_name.here().await?, None, "no trace");
    let traced = async {
        assert_eq!(by_name.here().await?, text());
        assert_eq!(by_name.through(near.clone()).await?, text(), "and back again");
        by_name.note()?;
        nobody.note()?;
        assert!(matches!(nobody.here().await, Err(CallError::NoProc(_) | CallError::NoName(_))));
        Res::Ok(by_name.noted().await?)
    };
    assert_eq!(context().scope(traced).await?, [None, text()], "casts as well");
    // The trace of what found nobody is not that of the next.
    let _ = context().in_scope(|| nobody.note());
    by_name.note()?;
    assert_eq!(by_name.here().await?, None, "what comes after it does not");
    assert_eq!(by_name.noted().await?, [None, text(), None]);
    assert_eq!(far.noted().await?.len(), 3);
    stop_all(&[a, b]).await;
    Ok(())
}

/// What comes for a traced cast at a peer of these capabilities: its kind, and what stands between fields and body.
async fn cast_to(capabilities: u64) -> Res<(u8, Vec<u8>)> {
    let a = start(config("a").heartbeat_interval(Duration::from_secs(60))).await?;
    let mut peer = RawPeer::join_as(&a, RAW, capabilities).await?;
    let there: Ref<Box_> = a.resolve(&Pid::new(RAW.parse()?, Incarnation(1), 7));
    context().in_scope(|| there.see(5))?;
    let cast = |kind: u8, body: &[u8]| (kind & !KIND == raw::CAST).then(|| (kind, body.to_vec()));
    let (kind, frame) = peer.until_frame(cast).await?;
    let fields = [&raw::numbered(1)[..], &[7]].concat();
    let body = rmp_serde::to_vec(&BTreeMap::from([("See", (5_i64,))]))?;
    let between = frame.strip_prefix(&fields[..]).and_then(|rest| rest.strip_suffix(&body[..]));
    let between = between.ok_or_else(|| format!("{frame:?}"))?.to_vec();
    a.stop().await;
    Ok((kind, between))
}

#[actix_rt::test]
async fn a_peer_is_told_of_traces_if_it_knows_of_them() -> Res {
    let ids = [&[0, 0, 0, 0x10][..], &[0; 12], &[0, 0, 0, 0, 0, 0, 0, 7], &[1]].concat();
    let expected = [&ids[..], &[6], b"shop=1"].concat();
    assert_eq!(cast_to(TRACES).await?, (raw::CAST | KIND, expected));
    assert_eq!(cast_to(0).await?, (raw::CAST, vec![]));
    Ok(())
}

#[actix_rt::test]
async fn a_trace_that_was_not_agreed_upon_or_is_none_ends_the_session() -> Res {
    let a = start(config("a").heartbeat_interval(Duration::from_secs(60))).await?;
    let there = a.spawn::<Box_>(0).await?;
    let see = rmp_serde::to_vec(&BTreeMap::from([("See", (5_i64,))]))?;
    let cast = |trace: &[u8]| {
        let number = raw::varint(there.pid().number());
        raw::frame(raw::CAST | KIND, &[&raw::named("box"), &number[..], trace, &see].concat())
    };
    let good = [&[1; 25][..], &[0]].concat();
    let no_trace = [&[0; 16][..], &[1; 9], &[0]].concat();
    let mut agreed = RawPeer::join_as(&a, RAW, TRACES).await?;
    agreed.send(&cast(&good)).await?;
    agreed.settled().await?;
    assert_eq!(there.seen().await?, [0, 5]);
    agreed.send(&cast(&no_trace)).await?;
    agreed.until_closed().await;
    let mut other = RawPeer::join_as(&a, "y@127.0.0.1:1", 0).await?;
    other.send(&cast(&good)).await?;
    other.until_closed().await;
    assert_eq!(there.seen().await?, [0, 5]);
    assert_eq!(a.stats().protocol_errors_total[&ProtocolError::Frame], 2);
    a.stop().await;
    Ok(())
}
