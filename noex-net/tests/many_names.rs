//! A hundred thousand global names between two real nodes: in turns, and of what is known nothing again.

#![allow(clippy::panic, clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod support;

#[path = "support/cable.rs"]
mod cable;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use actix_rt::ArbiterHandle;
use cable::Cable;
use noex_actors::{ExitReason, Placement, Ref, behavior};
use noex_net::{Cluster, ClusterConfigBuilder};
use rustix::time::{ClockId, clock_gettime};
use support::{Res, config, connected, stop_all, until, within};

const MANY: usize = 100_000;
/// The most names of a turn.
const TURN: usize = 250;
/// How long nobody else may have a turn, also in a debug build.
const NOT_LONGER: Duration = Duration::from_millis(50);
/// How often to look: a turn is measured this much too long at most.
const OFTEN: Duration = Duration::from_millis(2);

/// Has names, and looks how long its arbiter is with others.
struct Holder;

#[behavior(name = "holder")]
impl Holder {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Holder)
    }
    /// The longest time until its turn came again.
    #[call]
    async fn longest_turn(&self, rounds: Duration) -> Duration {
        let (begin, mut last, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
        while begin.elapsed() < rounds {
            tokio::task::yield_now().await;
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        longest
    }
}

/// One that bears with the others: a debug build on a busy machine takes its time.
async fn start(config: ClusterConfigBuilder) -> Res<Cluster> {
    let config = config.heartbeat_miss_threshold(100);
    Ok(support::builder(config)?.behavior::<Holder>().start().await?)
}

fn name(n: usize) -> String {
    format!("name-{n:06}")
}

fn register_all(node: &Cluster, holder: &Ref<Holder>) -> Res {
    (0..MANY).try_for_each(|n| node.global().register(&name(n), holder))?;
    Ok(())
}

fn turns_are_bounded(nodes: &[&Cluster]) {
    for node in nodes {
        let turn = node.global().stats().largest_turn;
        assert!((TURN / 4..=TURN).contains(&turn), "{turn} names at once");
    }
}

#[actix_rt::test]
async fn a_hundred_thousand_names_are_told_in_turns_and_once() -> Res {
    let a = start(config("a")).await?;
    let (holder, other) = (a.spawn::<Holder>(()).await?, a.spawn::<Holder>(()).await?);
    register_all(&a, &holder)?;
    let cable = Cable::to(a.local_node_id().port()).await?;
    let b = start(config("b").seed(format!("127.0.0.1:{}", cable.port))).await?;
    let mut watch = b.global().watch(&name(7));
    assert_eq!(within(5, "now", watch.recv()).await, Some(None));
    connected(&[&a, &b]).await;
    until(120, "b knows all", || b.global().count() == MANY).await;
    assert_eq!(within(10, "it is told", watch.recv()).await, Some(Some(holder.pid().clone())));
    until(10, "that was all", || b.global().stats().sync_operations == 1).await;
    let first = b.global().stats();
    assert_eq!((first.updates_received, first.updates_refused), (u64::try_from(MANY)?, 0));
    turns_are_bounded(&[&a, &b]);

    // The connection breaks, and they find each other again: what b knew comes back without a word.
    cable.cut();
    a.global().unregister(&name(1))?;
    a.global().unregister(&name(2))?;
    a.global().register(&name(2), &other)?;
    a.global().register("new", &other)?;
    let again = || b.global().stats().sync_operations == 2 && b.global().is_registered("new");
    until(60, "they are connected again", again).await;
    until(120, "b knows all again", || b.global().count() == MANY).await;
    let more = b.global().stats().updates_received - first.updates_received;
    assert!((3..=4).contains(&more), "{more} updates for three changed names");
    let expected: BTreeMap<_, _> = a.global().entries_for_node(a.local_node_id()).into_iter().collect();
    let seen: BTreeMap<_, _> = b.global().entries_for_node(a.local_node_id()).into_iter().collect();
    assert!(expected.len() == MANY && seen == expected, "one view");
    assert_eq!(seen.get(&name(2)), Some(other.pid()));

    // All but two end with their process.
    holder.kill();
    until(120, "they are gone", || a.global().count() == 2 && b.global().count() == 2).await;
    turns_are_bounded(&[&a, &b]);
    // A node takes its names along, and another life of it brings its own.
    let (id, port) = (a.local_node_id().clone(), a.local_node_id().port());
    a.stop().await;
    until(10, "nobody has a name", || b.global().count() == 0).await;
    let a = start(config("a").port(port)).await?;
    assert_eq!(*a.local_node_id(), id);
    let holder = a.spawn::<Holder>(()).await?;
    a.global().register("new", &holder)?;
    until(60, "it is back", || b.global().pid("new").as_ref() == Some(holder.pid())).await;
    assert_eq!(b.global().count(), 1);
    stop_all(&[&a, &b]).await;
    Ok(())
}

/// Looks how long the thread of an arbiter works until others have their turn, timers among them. Only that counts for which it has a processor: others
/// may keep the machine busy.
struct Probe(Arc<AtomicU64>);

impl Probe {
    fn on(arbiter: &ArbiterHandle) -> Self {
        let longest = Arc::new(AtomicU64::new(0));
        let probing = Arc::downgrade(&longest);
        arbiter.spawn(async move {
            let mut last = worked();
            while let Some(longest) = probing.upgrade() {
                let now = worked();
                longest.fetch_max(now - last, Ordering::Relaxed);
                last = now;
                drop(longest);
                actix_rt::time::sleep(OFTEN).await;
            }
        });
        Self(longest)
    }

    /// The longest turn since this was asked last.
    fn longest(&self) -> Duration {
        Duration::from_nanos(self.0.swap(0, Ordering::Relaxed))
    }
}

/// For how long this thread has had a processor, in ns.
fn worked() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap()
}

/// The one arbiter for processes and connections of each node, and that of its control.
fn probes<'a>(nodes: &[(&'static str, &'a Cluster)]) -> Vec<(String, Probe)> {
    let arbiters = |(name, node): &(&str, &'a Cluster)| {
        [("pool", node.next_arbiter()), ("control", node.control().clone())]
            .map(|(which, arbiter)| (format!("{which} of {name}"), Probe::on(&arbiter)))
    };
    nodes.iter().flat_map(arbiters).collect()
}

fn nobody_blocks(probes: &[(String, Probe)], what: &str) {
    let longest = probes.iter().map(|(of, probe)| (probe.longest(), of)).max().unwrap();
    assert!(longest.0 < NOT_LONGER, "{what}: {longest:?}");
    // It measures: some turn had something to do.
    assert!(longest.0 > Duration::ZERO, "{what}");
}

#[actix_rt::test]
async fn a_hundred_thousand_names_block_no_arbiter() -> Res {
    let a = start(config("a")).await?;
    let holder = a.spawn::<Holder>(()).placement(Placement::Pinned(0)).await?;
    register_all(&a, &holder)?;
    let cable = Cable::to(a.local_node_id().port()).await?;
    let b = start(config("b").seed(format!("127.0.0.1:{}", cable.port))).await?;
    let probes = probes(&[("a", &a), ("b", &b)]);
    until(120, "b knows all", || b.global().count() == MANY).await;
    nobody_blocks(&probes, "they are told");
    // Their node is lost, and back.
    cable.cut();
    let again = || b.global().stats().sync_operations == 2 && b.global().count() == MANY;
    until(120, "b knows all again", again).await;
    nobody_blocks(&probes, "their node is lost and back");
    // All end with their process.
    holder.kill();
    until(120, "they are gone", || a.global().count() + b.global().count() == 0).await;
    nobody_blocks(&probes, "they end");
    drop(probes);
    stop_all(&[&a, &b]).await;
    Ok(())
}

/// Two nodes have the same names when they meet.
#[actix_rt::test]
async fn many_conflicts_block_no_arbiter_and_end_with_one_view() -> Res {
    const DISPUTED: usize = 20_000;
    let a = start(config("a")).await?;
    let b = start(config("b")).await?;
    let mut holders = Vec::new();
    for node in [&a, &b] {
        let holder = node.spawn::<Holder>(()).placement(Placement::Pinned(0)).await?;
        (0..DISPUTED).try_for_each(|n| node.global().register(&name(n), &holder))?;
        holders.push(holder);
    }
    let probes = probes(&[("a", &a), ("b", &b)]);
    // Both are told of each other by a third.
    let c = start(config("c").seed(a.local_node_id()).seed(b.local_node_id())).await?;
    connected(&[&a, &b, &c]).await;
    let view = |node: &Cluster| -> BTreeMap<_, _> {
        [&a, &b].iter().flat_map(|owner| node.global().entries_for_node(owner.local_node_id())).collect()
    };
    let one = || {
        let counted = [&a, &b, &c].map(|node| node.global().count());
        counted == [DISPUTED; 3] && view(&a) == view(&c) && view(&b) == view(&c)
    };
    until(120, "one view", || view(&c).len() == DISPUTED && one()).await;
    nobody_blocks(&probes, "they meet");
    let conflicts: u64 = [&a, &b, &c].iter().map(|node| node.global().stats().conflicts_resolved).sum();
    assert!(conflicts >= u64::try_from(DISPUTED)?, "{conflicts}");
    let owners: BTreeSet<_> = view(&c).into_values().collect();
    assert!(owners.iter().all(|owner| holders.iter().any(|holder| holder.pid() == owner)), "{owners:?}");
    drop(probes);
    stop_all(&[&a, &b, &c]).await;
    Ok(())
}

/// `cargo test --release -p noex-net --test many_names -- --ignored --nocapture`
#[actix_rt::test]
#[ignore = "measures: how long an arbiter is with a hundred thousand names"]
async fn measure_of_the_longest_turn() -> Res {
    let a = start(config("a")).await?;
    let here = a.spawn::<Holder>(()).await?;
    let begin = Instant::now();
    register_all(&a, &here)?;
    println!("{MANY} registered in {:?}", begin.elapsed());
    let cable = Cable::to(a.local_node_id().port()).await?;
    cable.silence();
    let b = start(config("b").seed(format!("127.0.0.1:{}", cable.port))).await?;
    let there = b.spawn::<Holder>(()).await?;
    let both = vec![(here, "the owner"), (there.clone(), "the other")];
    let measure = |what: &'static str, of: Vec<(Ref<Holder>, &'static str)>| {
        let calls = of.into_iter().map(|(process, whose)| async move {
            let call = process.longest_turn(Duration::from_secs(8));
            (whose, call.timeout(Duration::from_secs(60)).await)
        });
        async move {
            for (whose, longest) in futures_util::future::join_all(calls).await {
                println!("{what}: the longest turn of {whose}: {longest:?}");
            }
        }
    };
    measure("nothing", both.clone()).await;
    let begin = Instant::now();
    let join = async {
        cable.speak_slowly(Duration::ZERO);
        until(60, "b knows all", || b.global().count() == MANY).await;
        println!("told in {:?}", begin.elapsed());
    };
    futures_util::future::join(measure("join", both), join).await;
    let begin = Instant::now();
    let end = async {
        b.global().unregister(&name(0)).unwrap();
        a.stop().await;
        until(60, "they are gone", || b.global().count() == 0).await;
        println!("gone in {:?}", begin.elapsed());
    };
    // Not of the owner: it does not leave before that call is answered.
    futures_util::future::join(measure("leave", vec![(there, "the other")]), end).await;
    b.stop().await;
    Ok(())
}
