//! Processes of another node, over real TCP: the same code, the same errors.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    future::IntoFuture,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use noex_actors::{
    AnyRef, CallError, CastError, Context, Delivery, ExitReason, NameError, Payload, Ref, Registration,
    SpawnError, StartError, behavior,
};
use noex_net::Cluster;
use support::{
    Box_, Box_Cast, Res, builder, config, connected, id, pair, pair_of, patient_pair, stop_all, until, within,
};
use tokio::sync::Notify;

#[actix_rt::test]
async fn calls_and_casts_of_one_sender_keep_their_order_across_nodes() -> Res {
    let (a, b) = pair().await?;
    let there = a.spawn_on::<Box_>(&id(&b), 7).await?;
    assert_eq!(there.pid().node_id(), b.local_node_id());
    for n in 0..10_000 {
        there.see(n)?;
    }
    let seen = there.seen().await?;
    assert_eq!(seen.len(), 10_001);
    assert!(seen[1..].iter().copied().eq(0..10_000));
    assert_eq!(there.add(35).await?, 42);
    assert!(there.is_alive().await?);
    let stats = a.remote_call_stats();
    assert_eq!(
        (stats.total_casts, stats.total_calls, stats.total_resolved, stats.pending_calls),
        (10_000, 2, 2, 0)
    );
    b.stop().await;
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn many_callers_get_each_their_own_reply() -> Res {
    let (a, b) = pair().await?;
    let there = Arc::new(a.spawn_on::<Box_>(&id(&b), 0).await?);
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let there = Arc::clone(&there);
            actix_rt::spawn(async move {
                for _ in 0..50 {
                    there.add(1).await?;
                }
                Ok::<(), CallError>(())
            })
        })
        .collect();
    for caller in callers {
        caller.await??;
    }
    assert_eq!(there.add(0).await?, 10_000);
    b.stop().await;
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn long_messages_go_in_chunks_and_too_long_ones_are_refused_here() -> Res {
    let (a, b) = patient_pair().await?;
    let there = a.spawn_on::<Box_>(&id(&b), 0).await?;
    for len in [0, 1, 60_000, 65_536, 70_000, 300_000, 5_000_000] {
        assert_eq!(there.blob(vec![7; len]).timeout(Duration::from_secs(60)).await?, len);
    }
    match there.blob(vec![7; 20_000_000]).await {
        Err(error @ CallError::TooLarge { .. }) => assert_eq!(error.delivery(), Delivery::Never),
        other => panic!("{other:?}"),
    }
    assert_eq!(there.add(1).await?, 1, "the connection goes on");
    b.stop().await;
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_panic_over_there_fails_calls_and_fires_watches_here() -> Res {
    let (a, b) = pair().await?;
    let there = a.spawn_on::<Box_>(&id(&b), 0).await?;
    let watcher = a.spawn::<Box_>(0).await?;
    watcher.watch(there.clone())?;
    let monitor = there.monitor();
    let asker = there.clone();
    let held = actix_rt::spawn(async move { asker.held().await });
    until(5, "the call is held", || b.process(there.pid()).is_some_and(|p| p.message_count > 0)).await;
    there.explode()?;
    assert_eq!(within(5, "down", monitor).await.reason, ExitReason::Panic("boom".into()));
    match held.await? {
        Err(CallError::Exited { reason: ExitReason::Panic(text), delivery: Delivery::Unknown, .. }) => {
            assert_eq!(text, "boom");
        }
        other => panic!("{other:?}"),
    }
    while watcher.downs().await?.is_empty() {}
    assert_eq!(watcher.downs().await?, [(there.pid().clone(), ExitReason::Panic("boom".into()))]);
    assert!(matches!(there.add(1).await, Err(CallError::NoProc(_))));
    assert_eq!(there.monitor().await.reason, ExitReason::NoProc);
    assert!(!there.is_alive().await?);
    let stats = (a.remote_monitor_stats(), b.remote_monitor_stats());
    assert_eq!((stats.0.active_outgoing_count, stats.1.active_incoming_count), (0, 0));
    b.stop().await;
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_forgotten_caller_fails_and_a_deadline_ends_a_call() -> Res {
    let (a, b) = pair().await?;
    let there = a.spawn_on::<Box_>(&id(&b), 0).await?;
    let asker = there.clone();
    let held = actix_rt::spawn(async move { asker.held().await });
    until(5, "the call is held", || b.process(there.pid()).is_some_and(|p| p.message_count > 0)).await;
    there.forget()?;
    assert!(matches!(held.await?, Err(CallError::NoReply(_))));
    let napping = there.clone();
    let nap = actix_rt::spawn(async move { napping.nap(300).await });
    until(5, "it naps", || b.process(there.pid()).is_some_and(|p| p.message_count > 2)).await;
    let error = there.add(1).timeout(Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error, CallError::Timeout { .. }), "{error:?}");
    nap.await??;
    assert_eq!(there.add(0).await?, 0, "the call that timed out in the queue over there did not run");
    b.stop().await;
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn references_travel_in_messages() -> Res {
    let (a, b) = pair().await?;
    let (here, there) = (a.spawn::<Box_>(1).await?, a.spawn_on::<Box_>(&id(&b), 2).await?);
    assert_eq!(there.ask(here.clone()).await?, Some(vec![1]), "there asks here");
    let back: Ref<Box_> = there.me().await?;
    assert_eq!(back, there);
    assert_eq!(back.seen().await?, [2]);
    let any: AnyRef = there.erase();
    assert_eq!(any.typed::<Box_>()?.seen().await?, [2]);
    b.stop().await;
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn spawning_over_there_fails_with_the_reason() -> Res {
    let (a, b) = pair().await?;
    match a.spawn_on::<Box_>(&id(&b), -1).await {
        Err(SpawnError::Start(StartError::Init(reason))) => {
            assert_eq!(reason, ExitReason::Error("negative".into()));
        }
        other => panic!("{other:?}"),
    }
    let unknown = a.spawn_named(&id(&b), "nobody", Payload::encode(&())?).await;
    assert!(matches!(unknown, Err(SpawnError::BehaviorNotFound { .. })), "{unknown:?}");
    let wrong = a.spawn_named(&id(&b), "box", Payload::encode(&"text")?).await;
    assert!(matches!(wrong, Err(SpawnError::Incompatible { .. })), "{wrong:?}");
    let named = a.spawn_on::<Box_>(&id(&b), 1).name("n").register(Registration::Global).await?;
    let taken = a.spawn_on::<Box_>(&id(&b), 1).name("n").register(Registration::Global).await;
    assert!(matches!(taken, Err(SpawnError::Start(StartError::Name(_)))), "{taken:?}");
    until(5, "the name is known here", || a.global().is_registered("n")).await;
    assert_eq!(a.global().whereis::<Box_>("n"), Some(named.clone()));
    assert_eq!(a.global().via::<Box_>("n").seen().await?, [1]);
    assert_eq!(b.process_count(), 1, "what failed left nothing");
    named.stop(ExitReason::Normal).await?;
    until(5, "the name went with its process", || !a.global().is_registered("n")).await;
    assert!(matches!(a.global().via::<Box_>("n").seen().await, Err(CallError::NoName(_))));
    let nowhere = a.spawn_on::<Box_>(&noex_actors::NodeId::new("x", "127.0.0.1", 9)?, 1).await;
    assert!(matches!(nowhere, Err(SpawnError::NoConnection(_))));
    b.stop().await;
    a.stop().await;
    Ok(())
}

/// Counts how often it was begun.
struct Begun;

#[behavior(name = "begun")]
impl Begun {
    #[init]
    async fn new(fails: bool, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        let begun = cx.node().data::<AtomicUsize>().ok_or_else(|| ExitReason::error("no count"))?;
        begun.fetch_add(1, Ordering::Relaxed);
        if fails { Err(ExitReason::error("on purpose")) } else { Ok(Begun) }
    }
}

/// Begins, and goes on when it is told to.
struct Gated;

#[derive(Default)]
struct Gate {
    begun: Notify,
    open: Notify,
}

#[behavior(name = "gated")]
impl Gated {
    #[init]
    async fn new(cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        let gate = cx.node().data::<Gate>().ok_or_else(|| ExitReason::error("no gate"))?;
        gate.begun.notify_one();
        gate.open.notified().await;
        Ok(Gated)
    }
}

#[actix_rt::test]
async fn a_global_name_that_goes_while_init_runs_ends_a_spawn_that_says_that_init_ran() -> Res {
    let knowing = |config| Res::Ok(builder(config)?.behavior::<Gated>());
    let a = knowing(config("a"))?.start().await?;
    let b = knowing(config("b").seed(a.local_node_id()))?.data(Gate::default()).start().await?;
    connected(&[&a, &b]).await;
    let gate = b.data::<Gate>().ok_or("no gate")?;
    for from in [&a, &b] {
        let rival = b.spawn::<Box_>(0).await?;
        let started = from.spawn_on::<Gated>(&id(&b), ()).name("n").register(Registration::Global);
        let started = actix_rt::spawn(started.into_future());
        within(5, "init begins", gate.begun.notified()).await;
        b.global().register("n", &rival)?;
        gate.open.notify_one();
        match within(5, "the start", started).await? {
            Err(error @ SpawnError::NameLost(_)) => {
                assert_eq!(error.delivery(), Delivery::Done);
                assert_eq!(
                    error.to_string(),
                    format!("its global name went while it started: {}", {
                        NameError::Taken { name: "n".to_owned(), holder: rival.pid().clone() }
                    })
                );
            }
            other => panic!("{other:?}"),
        }
        rival.stop(ExitReason::Normal).await?;
        until(5, "nothing stays", || b.process_count() == 0 && !a.global().is_registered("n")).await;
    }
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn a_start_on_the_own_node_is_waited_for_as_long_as_it_says_and_leaves_no_orphan() -> Res {
    let gated = builder(config("a"))?.behavior::<Gated>().data(Gate::default());
    let a = gated.start().await?;
    let after = Duration::from_millis(200);
    let start = a.spawn_on::<Gated>(&id(&a), ()).timeout(after).await;
    let expected = SpawnError::Timeout { behavior: "gated".to_owned(), node: id(&a), after };
    assert_eq!(start.map(drop), Err(expected));
    assert_eq!(a.process_count(), 0, "no orphan stays");
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_name_that_is_taken_ends_a_spawn_before_it_begins_and_a_failed_one_takes_none() -> Res {
    let knowing = |config| Res::Ok(builder(config)?.behavior::<Begun>());
    let a = knowing(config("a"))?.data(AtomicUsize::new(0)).start().await?;
    let b = knowing(config("b").seed(a.local_node_id()))?.data(AtomicUsize::new(0)).start().await?;
    connected(&[&a, &b]).await;
    let inits = |node: &Cluster| node.data::<AtomicUsize>().map_or(0, |count| count.load(Ordering::Relaxed));
    for registration in [Registration::Local, Registration::Global] {
        let name = registration.to_string();
        let spawn = |on: &Cluster, fails| {
            a.spawn_on::<Begun>(&id(on), fails).name(name.clone()).register(registration)
        };
        let before = inits(&b);
        let failed = spawn(&b, true).await;
        assert!(matches!(failed, Err(SpawnError::Start(StartError::Init(_)))), "{failed:?}");
        let holder = spawn(&b, false).await?;
        assert_eq!(inits(&b) - before, 2, "what failed did not keep the name");
        let taken = spawn(&b, false).await;
        match taken {
            Err(SpawnError::Start(StartError::Name(NameError::Taken { name: found, holder: by }))) => {
                assert_eq!((found, &by), (name.clone(), holder.pid()));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!((inits(&b) - before, b.process_count()), (2, 1), "nothing began");
        if registration == Registration::Global {
            until(5, "the name is known here", || a.global().is_registered(&name)).await;
            assert!(matches!(spawn(&a, false).await, Err(SpawnError::Start(StartError::Name(_)))));
            assert_eq!(inits(&a), 0, "held on another node");
        }
        holder.stop(ExitReason::Normal).await?;
        until(5, "its end", || b.process_count() == 0).await;
    }
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn the_end_of_a_session_is_told_to_everybody_who_waits_on_it() -> Res {
    let (a, b) = pair().await?;
    let there = a.spawn_on::<Box_>(&id(&b), 0).await?;
    let asker = there.clone();
    let held = actix_rt::spawn(async move { asker.held().await });
    let monitor = there.monitor();
    until(5, "the call is held", || b.process(there.pid()).is_some_and(|p| p.message_count > 0)).await;
    there.kill();
    assert_eq!(within(5, "down", monitor).await.reason, ExitReason::Killed);
    assert!(matches!(held.await?, Err(CallError::Exited { reason: ExitReason::Killed, .. })));
    let there = a.spawn_on::<Box_>(&id(&b), 0).await?;
    let monitor = there.monitor();
    assert_eq!(there.seen().await?, [0], "behind the watch, so it stands");
    b.stop().await;
    let reason = within(5, "down", monitor).await.reason;
    assert_eq!(reason, ExitReason::Shutdown, "a node that leaves stops its processes first");
    until(5, "b is gone", || !a.is_node_connected(&id(&b))).await;
    let error = there.add(1).await.unwrap_err();
    assert!(matches!(error, CallError::NoConnection(_)) && error.delivery() == Delivery::Never, "{error:?}");
    assert!(matches!(there.see(1), Err(CastError::NoConnection(_))));
    assert_eq!(there.monitor().await.reason, ExitReason::NoConnection);
    a.stop().await;
    assert!(matches!(there.add(1).await, Err(CallError::NotRunning)));
    Ok(())
}

/// A value whose encoding or decoding goes wrong on purpose.
#[derive(Debug)]
struct Bad(u8);

impl serde::Serialize for Bad {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            0 => Err(serde::ser::Error::custom("will not be encoded")),
            1 => panic!("encoding panics"),
            n => serializer.serialize_u8(n),
        }
    }
}

impl<'de> serde::Deserialize<'de> for Bad {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            2 => panic!("decoding panics"),
            n => Ok(Bad(n)),
        }
    }
}

struct Picky;

#[noex_actors::behavior(name = "picky")]
impl Picky {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Picky)
    }
    #[call]
    fn take(&self, bad: Bad) -> u8 {
        bad.0
    }
    #[call]
    async fn never(&self) {
        std::future::pending::<()>().await;
    }
}

#[actix_rt::test]
async fn a_message_that_panics_in_serde_harms_nobody_and_deadlines_still_come() -> Res {
    let a = support::builder(support::config("a"))?.start().await?;
    let b =
        support::builder(support::config("b").seed(id(&a).to_string()))?.behavior::<Picky>().start().await?;
    within(5, "both are up", async {
        let _ = a.wait_for_nodes(2).await;
        let _ = b.wait_for_nodes(2).await;
    })
    .await;
    let pid = a.spawn_named(&id(&b), "picky", Payload::encode(&())?).await?.pid().clone();
    let picky: Ref<Picky> = a.resolve(&pid);
    let (first, second) = (picky.take(Bad(0)).await, picky.take(Bad(3)).await?);
    assert!(matches!(first, Err(CallError::Encode(_))), "{first:?}");
    assert_eq!(second, 3);
    let caller = picky.clone();
    let panicked = actix_rt::spawn(async move { caller.take(Bad(1)).await }).await;
    assert!(panicked.is_err_and(|error| error.is_panic()), "the caller's own panic");
    let decoded = picky.take(Bad(2)).await;
    assert!(
        matches!(&decoded, Err(error @ CallError::Decode(_)) if error.delivery() == Delivery::Never),
        "{decoded:?}"
    );
    // The first call of the session failed to encode; the alarm for deadlines works all the same.
    let error =
        within(5, "the deadline", picky.never().timeout(Duration::from_millis(50))).await.unwrap_err();
    assert!(matches!(error, CallError::Timeout { .. }), "{error:?}");
    assert_eq!((a.stats().node_up_total, a.remote_call_stats().pending_calls), (1, 0));
    // It waits for ever in its handler: only a kill ends it at once.
    picky.kill();
    b.stop().await;
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_mailbox_takes_so_many_bytes_from_other_nodes_and_no_more() -> Res {
    // One peer has credit for more than a mailbox takes.
    let generous = |name: &str| config(name).heartbeat_miss_threshold(100).credit_bytes(256 << 20);
    let (a, b) = pair_of(generous).await?;
    let there = a.spawn_on::<Box_>(&id(&b), 0).await?;
    let local: Ref<Box_> = b.resolve(there.pid());
    let gate = local.clone();
    let busy = actix_rt::spawn(async move { gate.nap(600_000).timeout(Duration::from_secs(600)).await });
    until(5, "the process is busy", || b.process(local.pid()).is_some_and(|info| info.message_count == 1))
        .await;
    let mib = 1024 * 1024;
    for _ in 0..80 {
        within(60, "room in the outbox", there.cast_wait(Box_Cast::Swallow { text: "x".repeat(mib) }))
            .await?;
    }
    until(60, "all arrived", || {
        b.stats().casts_refused_total > 0 && {
            let info = b.process(local.pid());
            info.is_some_and(|info| {
                u64::try_from(info.mailbox_len).unwrap() + b.stats().casts_refused_total == 80
            })
        }
    })
    .await;
    let taken = u64::try_from(b.process(local.pid()).ok_or("it lives")?.mailbox_len)?;
    assert!(taken > 0 && taken * u64::try_from(mib)? <= noex_actors::MAX_WIRE_BYTES, "{taken} MiB wait");
    // What is local is not concerned.
    local.see(1)?;
    local.kill();
    assert!(busy.await?.is_err());
    b.stop().await;
    a.stop().await;
    Ok(())
}
