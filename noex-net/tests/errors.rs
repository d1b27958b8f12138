//! Every error of `docs/errors.md`, brought about between two nodes over TCP: its kind, and whether it says rightly that the message ran.

#![allow(clippy::panic, clippy::unwrap_used, unreachable_pub, reason = "tests")]

#[path = "support/cable.rs"]
mod cable;
mod support;

use std::{collections::BTreeSet, fmt::Debug, future::IntoFuture, time::Duration};

use cable::Cable;
use noex_actors::{
    BehaviorOptions, CallError, Caller, CastError, Context, Delivery, ExitReason, Incarnation, MailboxPolicy,
    NodeId, Payload, Peers, Pid, Ref, Registration, SpawnError, SpawnOptions, behavior,
};
use noex_net::{Cluster, ClusterConfigBuilder};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use support::{
    Box_, Res, config, id,
    raw::{self, RawPeer},
    stop_all, until, within,
};
use tokio::{join, sync::Notify};

const PAGE: &str = include_str!("../../docs/errors.md");
/// The smallest that there are: of the outbox, of the credit for one process, of a message.
const LEAST: usize = 64 << 10;

/// A byte that is not written if it is 0, and not read if it is 9.
struct Bad(u8);

impl Serialize for Bad {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == 0 {
            Err(ser::Error::custom("0 is not written"))
        } else {
            serializer.serialize_u8(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Bad {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            9 => Err(de::Error::custom("9 is not read")),
            n => Ok(Bad(n)),
        }
    }
}

/// A process that goes wrong in every way.
struct Odd(Vec<Caller<u64>>);

#[behavior(name = "odd")]
impl Odd {
    #[init]
    async fn new(how: u8, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        match how {
            1 => return Err(ExitReason::error("one")),
            2 => std::future::pending().await,
            3 => cx.node().data::<Notify>().unwrap().notified().await,
            _ => {}
        }
        Ok(Odd(Vec::new()))
    }
    #[call]
    fn take(&self, bad: Bad) -> u8 {
        bad.0
    }
    #[call]
    fn give(&self, bad: u8) -> Bad {
        Bad(bad)
    }
    #[call]
    fn grow(&self, len: usize) -> String {
        "x".repeat(len)
    }
    #[call]
    fn measure(&self, text: String) -> usize {
        text.len()
    }
    #[call]
    async fn nap(&self, millis: u64) {
        actix_rt::time::sleep(Duration::from_millis(millis)).await;
    }
    #[call]
    fn hold(&mut self, from: Caller<u64>) {
        self.0.push(from);
    }
    #[cast]
    fn forget(&mut self) {
        self.0.clear();
    }
    #[cast]
    fn drop_it(&mut self, text: String) {
        drop(text);
    }
    #[cast]
    fn keep(&mut self, bad: Bad) {
        self.0.truncate(usize::from(bad.0));
    }
}

/// Behaviors as the second node has them.
mod there {
    use noex_actors::{ExitReason, behavior};

    pub struct Shop;

    #[behavior(name = "shop")]
    impl Shop {
        #[init]
        fn new() -> Result<Self, ExitReason> {
            Ok(Shop)
        }
        #[call]
        fn count(&self, of: u64) -> u64 {
            of
        }
    }

    pub struct Stall;

    #[behavior(name = "stall")]
    impl Stall {
        #[init]
        fn new() -> Result<Self, ExitReason> {
            Ok(Stall)
        }
        #[call]
        fn count(&self, of: u64) -> u64 {
            of
        }
        #[cast]
        fn note(&mut self, what: u64) {
            let _ = what;
        }
    }
}

/// The same as the first node has them: one with a method more, and one that does not fit.
mod here {
    use noex_actors::{ExitReason, behavior};

    pub struct Shop;

    #[behavior(name = "shop")]
    impl Shop {
        #[init]
        fn new() -> Result<Self, ExitReason> {
            Ok(Shop)
        }
        #[call]
        fn count(&self, of: u64) -> u64 {
            of
        }
        #[call]
        fn close(&self) -> bool {
            true
        }
    }

    pub struct Stall;

    #[behavior(name = "stall")]
    impl Stall {
        #[init]
        fn new() -> Result<Self, ExitReason> {
            Ok(Stall)
        }
        #[call]
        fn count(&self, of: String) -> usize {
            of.len()
        }
        #[cast]
        fn note(&mut self, what: String) {
            drop(what);
        }
    }
}

#[track_caller]
fn failed<T, E>(outcome: Result<T, E>, expected: &str) -> E {
    outcome.err().unwrap_or_else(|| panic!("{expected}: it succeeded"))
}

/// Casts until one is refused.
fn until_refused(cast: impl Fn() -> Result<(), CastError>) -> Result<(), CastError> {
    loop {
        cast()?;
    }
}

/// What was seen: operation, error, delivery.
#[derive(Default)]
struct Seen(BTreeSet<(String, String, String)>);

impl Seen {
    #[track_caller]
    fn note(&mut self, operation: &str, error: &impl Debug, delivery: Delivery, expected: &str) {
        let text = format!("{error:?}");
        let mut words = text.split(['(', ' ', '{']).filter(|word| !word.is_empty());
        let mut label = words.next().unwrap_or_default().to_owned();
        if ["Overloaded", "Start"].contains(&label.as_str()) {
            label = format!("{label}({})", words.next().unwrap_or_default().trim_end_matches(')'));
        }
        assert_eq!(format!("{label} {delivery}"), expected, "{operation}: {text}");
        self.0.insert((operation.to_owned(), label, delivery.to_string()));
    }

    #[track_caller]
    fn call<T>(&mut self, outcome: Result<T, CallError>, expected: &str) {
        let error = failed(outcome, expected);
        self.note("call", &error, error.delivery(), expected);
    }

    #[track_caller]
    fn cast(&mut self, outcome: Result<(), CastError>, expected: &str) {
        let error = failed(outcome, expected);
        self.note("cast", &error, error.delivery(), expected);
        // As a call it says the same.
        assert_eq!(CallError::from(error.clone()).delivery(), error.delivery());
    }

    #[track_caller]
    fn spawn<T>(&mut self, outcome: Result<T, SpawnError>, expected: &str) {
        let error = failed(outcome, expected);
        self.note("spawn", &error, error.delivery(), expected);
    }

    #[track_caller]
    fn ask<T>(&mut self, outcome: Result<T, CallError>, expected: &str) {
        let error = failed(outcome, expected);
        self.note("stop", &error, error.delivery(), expected);
    }
}

/// The rows of the page.
fn promised() -> BTreeSet<(String, String, String)> {
    let mut all = BTreeSet::new();
    for section in PAGE.split("\n## `").skip(1) {
        let (operation, rest) = section.split_once('`').unwrap();
        for row in rest.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = row.split(" | ").map(|cell| cell.trim_matches(['|', ' ', '`'])).collect();
            all.insert((operation.to_owned(), cells[0].to_owned(), cells[2].to_owned()));
        }
    }
    all
}

async fn node(config: ClusterConfigBuilder) -> Res<Cluster> {
    let config = config.outbox_bytes(LEAST).credit_bytes(LEAST).max_message_bytes(LEAST);
    let node =
        support::builder(config)?.behavior::<Odd>().behavior::<there::Shop>().behavior::<there::Stall>();
    Ok(node.data(Notify::new()).start().await?)
}

/// A process of `b`, as `a` knows it.
async fn far<B: noex_actors::RemoteBehavior>(a: &Cluster, b: &Cluster, args: B::Args) -> Res<Ref<B>> {
    Ok(a.resolve(b.spawn::<B>(args).await?.pid()))
}

/// Waits until it has taken so many messages out of its mailbox.
async fn taken(node: &Cluster, process: &Pid, count: u64) {
    until(5, "it is busy", || node.process(process).is_some_and(|info| info.message_count >= count)).await;
}

/// What a call says of the process over there.
async fn calls(seen: &mut Seen, a: &Cluster, b: &Cluster) -> Res {
    let odd = far::<Odd>(a, b, 0).await?;
    let gone = far::<Odd>(a, b, 0).await?;
    gone.stop(ExitReason::Normal).await?;
    seen.call(gone.nap(0).await, "NoProc never");
    seen.call(a.global().via::<Odd>("nobody").nap(0).await, "NoName never");
    seen.call(a.via::<Odd>(&id(b), "nobody").nap(0).await, "NoName never");
    seen.ask(a.lookup_on::<Odd>(&id(b), "nobody").await, "NoName never");
    b.register("odd", &b.resolve::<Odd>(odd.pid()))?;
    seen.ask(a.lookup_on::<Box_>(&id(b), "odd").await, "WrongBehavior never");
    seen.call(a.via::<Box_>(&id(b), "odd").seen().await, "WrongBehavior never");
    seen.call(a.resolve::<Box_>(odd.pid()).seen().await, "WrongBehavior never");
    seen.call(odd.nap(10_000).timeout(Duration::from_millis(30)).await, "Timeout unknown");
    odd.kill();

    let odd = far::<Odd>(a, b, 0).await?;
    let (held, ()) = join!(odd.hold(), async {
        taken(b, odd.pid(), 1).await;
        odd.forget().unwrap();
    });
    seen.call(held, "NoReply done");

    // One runs, and one waits behind a stop.
    let stop = async { odd.stop(ExitReason::Normal).await };
    let (_, stopped, queued) = join!(odd.nap(100), stop, odd.nap(0));
    stopped?;
    seen.call(queued, "Exited never");
    let odd = far::<Odd>(a, b, 0).await?;
    let (killed, ()) = join!(odd.nap(60_000), async {
        taken(b, odd.pid(), 1).await;
        odd.kill();
    });
    seen.call(killed, "Exited unknown");

    let unknown = a.resolve::<Odd>(&Pid::new(NodeId::new("x", "127.0.0.1", 9)?, odd.pid().incarnation(), 1));
    seen.call(unknown.nap(0).await, "NoConnection never");
    seen.cast(unknown.forget(), "NoConnection never");
    seen.ask(unknown.is_alive().await, "NoConnection never");
    seen.ask(unknown.stop(ExitReason::Normal).await, "ConnectionLost unknown");
    Ok(())
}

/// What becomes of bytes that are too many, or not what they should be.
async fn bytes(seen: &mut Seen, a: &Cluster, b: &Cluster) -> Res {
    let odd = far::<Odd>(a, b, 0).await?;
    let long = || "x".repeat(LEAST + 1);
    seen.call(odd.measure(long()).await, "TooLarge never");
    seen.cast(odd.drop_it(long()), "TooLarge never");
    seen.call(odd.take(Bad(0)).await, "Encode never");
    seen.cast(odd.keep(Bad(0)), "Encode never");
    seen.call(odd.take(Bad(9)).await, "Decode never");
    seen.call(odd.give(9).await, "Decode done");
    seen.call(odd.grow(LEAST + 1).await, "ReplyTooLarge done");
    seen.call(odd.give(0).await, "ReplyEncode done");
    assert_eq!((odd.take(Bad(1)).await?, odd.give(2).await?.0), (1, 2), "none of it harms the others");

    let newer: Ref<here::Shop> = a.resolve(b.spawn::<there::Shop>(()).await?.pid());
    seen.call(newer.close().await, "Decode never");
    assert_eq!(newer.count(7).await?, 7);
    let other: Ref<here::Stall> = a.resolve(b.spawn::<there::Stall>(()).await?.pid());
    seen.call(other.count(String::new()).await, "BehaviorIncompatible never");
    seen.cast(other.note(String::new()), "BehaviorIncompatible never");
    Ok(())
}

/// What is too much.
async fn overload(seen: &mut Seen, a: &Cluster, b: &Cluster) -> Res {
    let small = SpawnOptions::new().mailbox(MailboxPolicy::Reject, 1);
    let odd: Ref<Odd> = a.resolve(b.spawn::<Odd>(0).options(small).await?.pid());
    let queued = || b.process(odd.pid()).is_some_and(|info| info.mailbox_len == 1);
    let (_, ()) = join!(odd.nap(60_000), async {
        taken(b, odd.pid(), 1).await;
        let (_, ()) = join!(odd.nap(0), async {
            until(5, "one is queued", queued).await;
            seen.call(odd.nap(0).await, "Overloaded(Mailbox) never");
            odd.kill();
        });
    });

    let busy = far::<Odd>(a, b, 0).await?;
    let (_, ()) = join!(busy.nap(60_000), async {
        taken(b, busy.pid(), 1).await;
        seen.cast(until_refused(|| busy.forget()), "Overloaded(Credits) never");
        seen.call(busy.nap(0).await, "Overloaded(Credits) never");
        busy.kill();
    });

    let odd = far::<Odd>(a, b, 0).await?;
    let other = far::<Odd>(a, b, 0).await?;
    // Nothing leaves before this task has its next rest.
    odd.drop_it("x".repeat(LEAST - 100))?;
    odd.drop_it("x".repeat(LEAST - 100))?;
    seen.cast(other.forget(), "Overloaded(Outbox) never");
    seen.call(other.nap(0).await, "Overloaded(Outbox) never");
    let waits = || a.peer_stats(&id(b)).is_some_and(|peer| peer.outbox_bytes > 0);
    until(5, "all of it leaves", || !waits()).await;
    odd.nap(0).await?;
    Ok(())
}

/// What a process of this node says, where that is more.
async fn near(seen: &mut Seen, b: &Cluster) -> Res {
    let odd = b.spawn::<Odd>(0).await?;
    let (_, ()) = join!(odd.nap(60_000), async {
        taken(b, odd.pid(), 1).await;
        seen.call(odd.nap(0).timeout(Duration::from_millis(20)).await, "Timeout never");
        odd.kill();
    });
    let odd = b.spawn::<Odd>(0).options(SpawnOptions::new().mailbox(MailboxPolicy::Reject, 1)).await?;
    let (_, ()) = join!(odd.nap(60_000), async {
        taken(b, odd.pid(), 1).await;
        seen.cast(until_refused(|| odd.forget()), "Overloaded(Mailbox) never");
        odd.kill();
    });
    seen.cast(b.global().via::<Odd>("nobody").forget(), "NoName never");
    within(5, "it is gone", odd.monitor()).await;
    seen.cast(odd.forget(), "NoProc never");
    let boxed = b.spawn::<Box_>(0).await?;
    seen.cast(b.resolve::<Odd>(boxed.pid()).forget(), "WrongBehavior never");
    Ok(())
}

async fn spawns(seen: &mut Seen, a: &Cluster, b: &Cluster) -> Res {
    let to = id(b);
    seen.spawn(a.spawn_on::<Odd>(&to, 1).await, "Start(Init) done");
    let soon = SpawnOptions::new().init_timeout(Duration::from_millis(30));
    seen.spawn(a.spawn_on::<Odd>(&to, 2).options(soon).await, "Start(InitTimeout) unknown");
    let named = a.spawn_on::<Odd>(&to, 0).name("n").await?;
    seen.spawn(a.spawn_on::<Odd>(&to, 0).name("n").await, "Start(Name) never");
    seen.spawn(a.spawn_on::<Odd>(&to, 0).name("x".repeat(256)).await, "Start(Name) never");
    named.stop(ExitReason::Normal).await?;
    let rival = b.spawn::<Box_>(0).await?;
    let (before, started) = (b.process_count(), a.spawn_on::<Odd>(&to, 3).name("n"));
    let (lost, begun) = join!(started.register(Registration::Global).into_future(), async {
        until(5, "init runs", || b.process_count() > before).await;
        b.global().register("n", &rival)?;
        b.data::<Notify>().unwrap().notify_one();
        Res::Ok(())
    });
    begun?;
    seen.spawn(lost, "NameLost done");
    rival.stop(ExitReason::Normal).await?;
    let short = Duration::from_millis(30);
    seen.spawn(a.spawn_on::<Odd>(&to, 2).timeout(short).await, "Timeout unknown");
    let nobody = a.spawn_named(&to, "nobody", Payload::encode(&())?).await;
    seen.spawn(nobody, "BehaviorNotFound never");
    seen.spawn(a.spawn_named(&to, "odd", Payload::encode(&"text")?).await, "Incompatible never");
    seen.spawn(a.spawn_on::<here::Stall>(&to, ()).await, "Incompatible never");
    let nowhere = NodeId::new("x", "127.0.0.1", 9)?;
    seen.spawn(a.spawn_on::<Odd>(&nowhere, 0).await, "NoConnection never");

    let options = |peers, most| BehaviorOptions::new().spawn_from(peers).max_instances(most);
    b.behaviors().register_with::<Box_>(options(Peers::None, 1))?;
    seen.spawn(a.spawn_on::<Box_>(&to, 0).await, "Forbidden never");
    b.behaviors().register_with::<Box_>(options(Peers::All, 1))?;
    let one = a.spawn_on::<Box_>(&to, 0).await?;
    seen.spawn(a.spawn_on::<Box_>(&to, 0).await, "Quota never");
    one.stop(ExitReason::Normal).await?;

    let mut children = Vec::new();
    let refused = loop {
        match a.spawn_on::<Odd>(&to, 0).await {
            Ok(child) => children.push(child),
            refused => break refused,
        }
    };
    seen.spawn(refused, "Overloaded(Quota) never");
    for child in children {
        child.stop(ExitReason::Normal).await?;
    }
    Ok(())
}

/// The session ends.
async fn loss(seen: &mut Seen, a: &Cluster, b: &Cluster, cable: &Cable) -> Res {
    let odd = far::<Odd>(a, b, 0).await?;
    let (before, to) = (b.process_count(), id(b));
    let stop = async {
        let soon = odd.stop(ExitReason::Normal).timeout(Duration::from_millis(30)).await;
        (soon, odd.stop(ExitReason::Normal).await)
    };
    let spawn = async { a.spawn_on::<Odd>(&to, 2).await };
    let (called, spawned, (soon, stopped), ()) = join!(odd.nap(60_000), spawn, stop, async {
        taken(b, odd.pid(), 1).await;
        until(5, "the other one begins", || b.process_count() > before).await;
        // Longer than the first wait for the end.
        let _ = odd.nap(0).timeout(Duration::from_millis(60)).await;
        cable.cut();
    });
    seen.call(called, "ConnectionLost unknown");
    seen.spawn(spawned, "ConnectionLost unknown");
    seen.ask(soon, "Timeout unknown");
    seen.ask(stopped, "ConnectionLost unknown");
    b.resolve::<Odd>(odd.pid()).kill();
    Ok(())
}

/// A node of a later version.
async fn newer(seen: &mut Seen, a: &Cluster) -> Res {
    let mut peer = RawPeer::join(a, "z@127.0.0.1:1").await?;
    let odd: Ref<Odd> = a.resolve(&Pid::new(peer.id.parse()?, Incarnation(peer.incarnation), 7));
    for said in ["Other", "Unheard"] {
        let (failed, answered) = join!(odd.nap(0), async {
            let is_call = |kind, fields: &[u8]| (kind == raw::CALL).then(|| raw::split_varint(fields).0);
            let call = peer.until_frame(is_call).await?;
            let failure = raw::message(said, &(7_u16, "why"));
            peer.send(&raw::frame(raw::FAILURE, &[raw::varint(call), failure].concat())).await
        });
        answered?;
        seen.call(failed, "Other unknown");
    }
    // An earlier life of it.
    let before: Ref<Odd> = a.resolve(&Pid::new(peer.id.parse()?, Incarnation(0), 7));
    seen.cast(before.forget(), "NoProc never");
    seen.call(before.nap(0).await, "NoProc never");
    Ok(())
}

#[actix_rt::test]
async fn every_error_of_the_page_comes_as_it_says_and_no_other() -> Res {
    let seen = &mut Seen::default();
    let a = node(config("a")).await?;
    let cable = Cable::to(a.local_node_id().port()).await?;
    let seed = format!("127.0.0.1:{}", cable.port);
    let b = node(config("b").seed(seed).max_spawned_per_peer(8)).await?;
    support::connected(&[&a, &b]).await;
    calls(seen, &a, &b).await?;
    bytes(seen, &a, &b).await?;
    overload(seen, &a, &b).await?;
    near(seen, &b).await?;
    spawns(seen, &a, &b).await?;
    newer(seen, &a).await?;
    loss(seen, &a, &b, &cable).await?;
    let odd = far::<Odd>(&a, &b, 0).await?;
    stop_all(&[&a, &b]).await;
    seen.call(odd.nap(0).await, "NotRunning never");
    seen.cast(odd.forget(), "NotRunning never");
    seen.ask(odd.is_alive().await, "NotRunning never");
    seen.spawn(a.spawn_on::<Odd>(&id(&a), 0).await, "Start(NotRunning) never");

    let promised = promised();
    let missing: Vec<_> = promised.difference(&seen.0).collect();
    let more: Vec<_> = seen.0.difference(&promised).collect();
    assert!(missing.is_empty() && more.is_empty(), "not seen: {missing:#?}, not on the page: {more:#?}");
    Ok(())
}
