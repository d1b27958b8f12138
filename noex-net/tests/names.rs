//! Names and groups of the whole cluster, across real nodes.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

#[path = "support/cable.rs"]
mod cable;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use cable::Cable;
use noex_actors::{
    CastError, Events, ExitReason, MailboxPolicy, NameError, Overload, Pid, Ref, SpawnOptions, behavior,
};
use noex_net::{Broadcast, Cluster, ClusterConfigBuilder, GroupEvent};
use serde::{Deserialize, Serialize, Serializer, ser::Error as _};
use support::{
    Res, config, connected, id,
    raw::{RawPeer, control},
    seeded, stop_all, until, within,
};

/// Cannot be written.
#[derive(Deserialize)]
struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("no"))
    }
}

/// Counts how often it is encoded.
#[derive(Deserialize)]
struct Counted;

static ENCODED: AtomicU64 = AtomicU64::new(0);

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ENCODED.fetch_add(1, Ordering::Relaxed);
        serializer.serialize_unit()
    }
}

/// A member of groups: remembers what it saw.
struct Member(Vec<i64>);

#[behavior(name = "member")]
impl Member {
    #[init]
    fn new(start: i64) -> Result<Self, ExitReason> {
        Ok(Member(vec![start]))
    }
    #[cast]
    fn see(&mut self, n: i64) {
        self.0.push(n);
    }
    #[cast]
    fn note(&mut self, n: i64, text: String) {
        drop(text);
        self.0.push(n);
    }
    #[cast]
    fn counted(&mut self, counted: Counted) {
        let Counted = counted;
        self.0.push(9);
    }
    #[cast]
    fn bad(&mut self, cast: Unwritable) {
        let Unwritable = cast;
    }
    #[call]
    fn seen(&self) -> Vec<i64> {
        self.0.clone()
    }
    #[call]
    async fn nap(&self) {
        std::future::pending::<()>().await;
    }
}

async fn start(config: ClusterConfigBuilder) -> Res<Cluster> {
    Ok(support::builder(config)?.behavior::<Member>().start().await?)
}

async fn node(name: &str, seeds: &[&Cluster]) -> Res<Cluster> {
    start(seeded(name, seeds)).await
}

async fn pair() -> Res<(Cluster, Cluster)> {
    let a = node("a", &[]).await?;
    let b = node("b", &[&a]).await?;
    connected(&[&a, &b]).await;
    Ok((a, b))
}

fn members(node: &Cluster, group: &str) -> Vec<Pid> {
    node.groups().members::<Member>(group).iter().map(|member| member.pid().clone()).collect()
}

/// What a watch heard so far.
async fn heard(watch: &mut Events<GroupEvent>, count: usize) -> Vec<GroupEvent> {
    let mut heard = Vec::new();
    while heard.len() < count {
        heard.push(within(5, "an event of the group", watch.recv()).await.expect("the node lives"));
    }
    heard
}

#[actix_rt::test]
async fn a_group_has_one_view_on_both_nodes_and_loses_who_ends() -> Res {
    let (a, b) = pair().await?;
    let (here, there) = (a.spawn::<Member>(1).await?, b.spawn::<Member>(2).await?);
    let mut watch = a.groups().watch("g");
    a.groups().join("g", &here)?;
    a.groups().join("g", &here)?;
    b.groups().join("g", &there)?;
    let all = vec![here.pid().clone(), here.pid().clone(), there.pid().clone()];
    until(5, "both see all", || members(&a, "g") == all && members(&b, "g") == all).await;
    assert_eq!(a.groups().local_members::<Member>("g"), [here.clone(), here.clone()]);
    assert_eq!((a.groups().groups(), b.groups().groups()), (vec!["g".to_owned()], vec!["g".to_owned()]));
    assert_eq!(
        heard(&mut watch, 2).await,
        [GroupEvent::Joined(here.pid().clone()), GroupEvent::Joined(there.pid().clone())]
    );

    // Only the node of a process lets it join or leave.
    assert_eq!(a.groups().join("g", &there), Err(NameError::NoProc(there.pid().clone())));
    assert!(!a.groups().leave("g", &there));
    assert!(matches!(a.groups().join("", &here), Err(NameError::Invalid { .. })));

    assert!(a.groups().leave("g", &here));
    until(5, "it is a member still", || members(&b, "g").len() == 2).await;
    assert!(a.groups().leave("g", &here) && !a.groups().leave("g", &here));
    assert_eq!(heard(&mut watch, 1).await, [GroupEvent::Left(here.pid().clone())]);
    a.groups().join("g", &here)?;
    a.groups().join("h", &here)?;
    until(5, "b sees it in both", || b.groups().groups() == ["g", "h"]).await;
    here.kill();
    until(5, "who ends leaves everything", || b.groups().groups() == ["g"] && members(&b, "g").len() == 1)
        .await;
    let (joined, left) = (GroupEvent::Joined(here.pid().clone()), GroupEvent::Left(here.pid().clone()));
    assert_eq!(heard(&mut watch, 2).await, [joined, left], "once");
    let gone = a.groups().join("g", &here);
    assert_eq!(gone, Err(NameError::NoProc(here.pid().clone())), "the dead do not join");

    b.stop().await;
    assert_eq!(heard(&mut watch, 1).await, [GroupEvent::Left(there.pid().clone())]);
    until(5, "nothing is left", || a.groups().groups().is_empty()).await;
    a.stop().await;
    assert_eq!(within(5, "the stream ends", watch.recv()).await, None);
    Ok(())
}

#[actix_rt::test]
async fn a_broadcast_is_sent_once_to_each_node_and_reaches_each_member_once() -> Res {
    let (a, b) = pair().await?;
    let mut all = Vec::new();
    for n in 0..40_i64 {
        let node = if n % 4 == 0 { &a } else { &b };
        let member = node.spawn::<Member>(n).await?;
        node.groups().join("g", &member)?;
        if n < 4 {
            node.groups().join("g", &member)?;
        }
        all.push(member);
    }
    until(5, "a sees all", || members(&a, "g").len() == 44).await;
    let frames = |node: &Cluster| node.peer_stats(&id(&b)).map_or(0, |stats| stats.messages_sent);
    let before = frames(&a);
    let outcome = a.groups().broadcast::<Member>("g", MemberCast::See { n: 100 });
    assert_eq!((outcome.sent, outcome.failed), (40, vec![]));
    assert_eq!(frames(&a), before + 1, "one frame for thirty members");
    for (n, member) in (0_i64..).zip(&all) {
        // Over the connection: behind the broadcast.
        assert_eq!(a.resolve::<Member>(member.pid()).seen().await?, [n, 100]);
    }
    // The bytes as well: twenty megabytes, were it one copy for each.
    let bytes = |node: &Cluster| node.peer_stats(&id(&b)).map_or(0, |stats| stats.bytes_sent);
    let before = bytes(&a);
    let text = "x".repeat(700_000);
    assert_eq!(a.groups().broadcast::<Member>("g", MemberCast::Note { n: 1, text }).sent, 40);
    a.resolve::<Member>(all[1].pid()).seen().await?;
    assert!((700_000..1_400_000).contains(&(bytes(&a) - before)), "{}", bytes(&a) - before);

    let stats = (a.groups().stats(), b.groups().stats());
    assert_eq!((stats.0.broadcasts_sent, stats.1.broadcasts_received), (2, 2));
    assert_eq!((stats.0.total_groups, stats.0.total_memberships, stats.0.local_memberships), (1, 44, 11));
    assert_eq!(a.groups().broadcast::<Member>("nobody", MemberCast::See { n: 1 }), Broadcast::default());
    stop_all(&[&a, &b]).await;
    Ok(())
}

#[actix_rt::test]
async fn a_broadcast_keeps_its_place_among_the_casts_of_its_sender() -> Res {
    let (a, b) = pair().await?;
    let here = a.spawn::<Member>(0).await?;
    let there = b.spawn::<Member>(0).await?;
    a.groups().join("g", &here)?;
    b.groups().join("g", &there)?;
    until(5, "a sees both", || members(&a, "g").len() == 2).await;
    let there: Ref<Member> = a.resolve(there.pid());
    let long = "x".repeat(300_000);
    for n in 0..300_i64 {
        match n % 3 {
            0 => [&here, &there].iter().try_for_each(|member| member.see(n))?,
            1 => assert_eq!(a.groups().broadcast::<Member>("g", MemberCast::See { n }).sent, 2),
            // In chunks: what comes behind it does not pass it.
            _ if n % 30 == 2 => {
                let text = long.clone();
                assert_eq!(a.groups().broadcast::<Member>("g", MemberCast::Note { n, text }).sent, 2);
            }
            _ => [&here, &there].iter().try_for_each(|member| member.note(n, long[..9].to_owned()))?,
        }
    }
    let in_order: Vec<i64> = std::iter::once(0).chain(0..300).collect();
    assert_eq!(here.seen().await?, in_order);
    assert_eq!(there.seen().await?, in_order);
    stop_all(&[&a, &b]).await;
    Ok(())
}

#[actix_rt::test]
async fn what_a_broadcast_could_not_do_is_told_process_by_process() -> Res {
    let a = node("a", &[]).await?;
    let b = start(config("b").seed(id(&a).to_string()).outbox_bytes(64 << 10)).await?;
    connected(&[&a, &b]).await;
    let (here, there) = (a.spawn::<Member>(0).await?, a.spawn::<Member>(0).await?);
    let small = SpawnOptions::new().mailbox(MailboxPolicy::Reject, 1);
    let full = b.spawn::<Member>(0).options(small).await?;
    let napping = full.clone();
    let napping = actix_rt::spawn(async move { napping.nap().timeout(Duration::from_secs(60)).await });
    until(5, "it is busy", || b.process(full.pid()).is_some_and(|info| info.message_count == 1)).await;
    full.see(1)?;
    a.groups().join("g", &here)?;
    a.groups().join("g", &there)?;
    b.groups().join("g", &full)?;
    until(5, "b sees all", || members(&b, "g").len() == 3).await;
    // Its own member has a full mailbox.
    let outcome = b.groups().broadcast::<Member>("g", MemberCast::See { n: 1 });
    assert_eq!(outcome.sent, 2);
    assert_eq!(outcome.failed, [(full.pid().clone(), CastError::Overloaded(Overload::Mailbox))]);
    // The outbox is full: each member behind it.
    let text = "x".repeat(1 << 20);
    let mut failed = Vec::new();
    for _ in 0..200 {
        let outcome = b.groups().broadcast::<Member>("g", MemberCast::Note { n: 1, text: text.clone() });
        failed = outcome.failed;
        if failed.len() == 3 {
            break;
        }
    }
    let outbox = CastError::Overloaded(Overload::Outbox);
    let expected = [(here.pid().clone(), outbox.clone()), (there.pid().clone(), outbox)];
    assert_eq!(failed[..2], expected);
    // One that cannot be written reaches nobody.
    let outcome = a.groups().broadcast::<Member>("g", MemberCast::Bad { cast: Unwritable });
    assert!(outcome.sent == 0 && outcome.failed.len() == 3, "{outcome:?}");
    let all = outcome.failed.iter().all(|(_, error)| matches!(error, CastError::Encode(_)));
    assert!(all, "{outcome:?}");
    full.kill();
    assert!(napping.await?.is_err());
    stop_all(&[&a, &b]).await;
    Ok(())
}

async fn until_seen(member: &Ref<Member>, count: usize) -> Res {
    within(10, "it saw all", async {
        while member.seen().await?.len() < count {
            actix_rt::task::yield_now().await;
        }
        Ok(())
    })
    .await
}

#[actix_rt::test]
async fn five_nodes_have_one_view_of_a_group_and_a_lost_node_takes_its_members_along() -> Res {
    let a = node("a", &[]).await?;
    let mut nodes = vec![a.clone()];
    for name in ["b", "c", "d", "e"] {
        nodes.push(node(name, &[&a]).await?);
    }
    connected(&nodes).await;
    let mut all = Vec::new();
    for node in &nodes {
        for n in 0..10 {
            let member = node.spawn::<Member>(n).await?;
            node.groups().join("g", &member)?;
            all.push(member.pid().clone());
        }
    }
    all.sort();
    until(10, "all see all", || nodes.iter().all(|node| members(node, "g") == all)).await;
    for node in &nodes {
        assert_eq!(node.groups().broadcast::<Member>("g", MemberCast::See { n: 7 }).sent, 50);
    }
    assert_eq!(a.groups().broadcast::<Member>("g", MemberCast::Counted { counted: Counted }).sent, 50);
    assert_eq!(ENCODED.load(Ordering::Relaxed), 1, "once for all four other nodes");
    for pid in &all {
        let member: Ref<Member> = a.resolve(pid);
        until_seen(&member, 2 + nodes.len()).await?;
    }
    let mut watches: Vec<_> = nodes.iter().map(|node| node.groups().watch("g")).collect();
    let lost = nodes.pop().ok_or("five")?;
    watches.pop();
    lost.stop().await;
    all.retain(|pid| pid.node_id() != lost.local_node_id());
    for (node, watch) in nodes.iter().zip(&mut watches) {
        let left = heard(watch, 10).await;
        assert!(
            left.iter().all(|event| matches!(event, GroupEvent::Left(pid) if pid.node_id() == &id(&lost)))
        );
        assert_eq!(members(node, "g"), all);
    }
    // One who comes late hears of all of them.
    let late = node("f", &[&a]).await?;
    until(10, "it sees all", || members(&late, "g") == all).await;
    nodes.push(late);
    stop_all(&nodes).await;
    Ok(())
}

#[actix_rt::test]
async fn a_partition_that_heals_leaves_one_view() -> Res {
    let a = node("a", &[]).await?;
    let cable = Cable::to(a.local_node_id().port()).await?;
    let b = start(config("b").seed(format!("127.0.0.1:{}", cable.port))).await?;
    connected(&[&a, &b]).await;
    let mut there = Vec::new();
    // More than go into one piece.
    for n in 0..1200 {
        let member = b.spawn::<Member>(n).await?;
        b.groups().join(["g", "h", "i", "j"][usize::try_from(n % 4)?], &member)?;
        there.push(member);
    }
    let here = a.spawn::<Member>(0).await?;
    a.groups().join("g", &here)?;
    let count = |node: &Cluster| node.groups().stats().total_memberships;
    until(10, "all is told", || count(&a) == 1201 && count(&b) == 1201).await;
    let mut watch = a.groups().watch("g");
    let ups = b.stats().node_up_total;
    cable.cut();
    until(10, "another session", || b.stats().node_up_total > ups && b.connected_node_count() == 1).await;
    until(10, "all is told again", || count(&a) == 1201 && count(&b) == 1201).await;
    let events = heard(&mut watch, 600).await;
    let (left, joined): (Vec<_>, Vec<_>) =
        events.into_iter().partition(|event| matches!(event, GroupEvent::Left(_)));
    assert_eq!((left.len(), joined.len()), (300, 300));
    for member in &there[..600] {
        member.kill();
    }
    until(10, "who ended is no member", || count(&a) == 601).await;
    assert_eq!((members(&a, "g"), members(&a, "h")), (members(&b, "g"), members(&b, "h")));
    stop_all(&[&a, &b]).await;
    Ok(())
}

#[actix_rt::test]
async fn memberships_that_are_none_or_too_many_are_left_out_and_counted() -> Res {
    let a = start(config("a").heartbeat_interval(Duration::from_secs(60))).await?;
    let here = a.spawn::<Member>(0).await?;
    a.groups().join("g", &here)?;
    let mut peer = RawPeer::join(&a, "z@127.0.0.1:1").await?;
    let said: [(String, u64, u32); 6] = [
        (String::new(), 1, 1),
        ("two\nlines".to_owned(), 1, 1),
        ("x".repeat(256), 1, 1),
        ("too often".to_owned(), 1, u32::MAX),
        ("x".repeat(255), 1, 1),
        // A number that is one of this node's processes means one of the peer's.
        ("g".to_owned(), here.pid().number(), 0),
    ];
    peer.send(&control("Groups", &said)).await?;
    peer.settled().await?;
    let stats = a.groups().stats();
    assert_eq!((stats.total_memberships, stats.updates_refused), (2, 4));
    let many = (0..101_u64).map(|k| {
        let said: Vec<_> = (0..1000_u64).map(|n| (format!("g{n}"), k, 1_u32)).collect();
        control("Groups", &said)
    });
    peer.flood(many).await;
    peer.settled().await?;
    let stats = a.groups().stats();
    assert_eq!((stats.total_memberships, stats.updates_refused), (100_001, 4 + 1001));
    // Broadcasts to nobody, of no behavior, and of no message.
    let number = noex_actors::behavior_number("member");
    for (group, behavior, body) in
        [("no such group", number, vec![0xC0]), ("g", 7, vec![0xC0]), ("g", number, vec![1])]
    {
        peer.send(&control("Broadcast", &(group, behavior, serde_bytes::ByteBuf::from(body)))).await?;
    }
    peer.settled().await?;
    assert_eq!((a.stats().casts_refused_total, here.seen().await?), (2, vec![0]));
    // A list that is too long ends the session; its members go with it.
    let said: Vec<_> = (0..1001_u64).map(|n| ("g", n, 1_u32)).collect();
    peer.send(&control("Groups", &said)).await?;
    peer.until_closed().await;
    until(20, "they go with their node", || a.groups().stats().total_memberships == 1).await;
    assert_eq!(members(&a, "g"), [here.pid().clone()]);
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_process_that_comes_and_goes_leaves_one_watch_behind_and_no_membership() -> Res {
    let (a, b) = pair().await?;
    let here = a.spawn::<Member>(0).await?;
    for _ in 0..200 {
        a.groups().join("g", &here)?;
        assert!(a.groups().leave("g", &here));
    }
    assert_eq!(a.process(here.pid()).ok_or("it lives")?.monitors, 1);
    for _ in 0..200 {
        let brief = b.spawn::<Member>(0).await?;
        b.groups().join("g", &brief)?;
        brief.stop(ExitReason::Normal).await?;
    }
    until(10, "nothing is left", || [&a, &b].iter().all(|node| node.groups().stats().total_memberships == 0))
        .await;
    stop_all(&[&a, &b]).await;
    Ok(())
}
