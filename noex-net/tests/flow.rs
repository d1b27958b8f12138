//! What is sent to a process that cannot take it: calls that nobody waits for any more, and casts beyond what it has room for.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

#[path = "support/cable.rs"]
mod cable;
mod support;

use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Waker},
    time::Duration,
};

use cable::Cable;
use noex_actors::{CallError, Caller, Context, ExitReason, Pid, Ref, behavior};
use noex_net::Cluster;
use support::{
    Res, config,
    gate::{Gate, slow_pair, start},
    id,
    raw::{self, RawPeer},
    stop_all, until, within,
};

/// A process that works only while the gate of its node is open.
struct Slow {
    gate: Arc<Gate>,
    kept: Vec<Caller<u64>>,
}

#[behavior(name = "slow")]
impl Slow {
    #[init]
    fn new(cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Slow { gate: Gate::of(cx)?, kept: vec![] })
    }
    #[call]
    async fn work(&mut self, n: u64) -> u64 {
        self.gate.note(n);
        self.gate.pass().await;
        n
    }
    #[call]
    fn keep(&mut self, from: Caller<u64>) {
        self.kept.push(from);
    }
    #[call]
    fn waiting(&self) -> Vec<bool> {
        self.kept.iter().map(Caller::is_waiting).collect()
    }
}

fn mailbox_len(node: &Cluster, pid: &Pid) -> usize {
    node.process(pid).map_or(0, |info| info.mailbox_len)
}

type Working<'a> = Pin<Box<dyn Future<Output = Result<u64, CallError>> + 'a>>;

/// A call that is sent.
fn work(there: &Ref<Slow>, n: u64, timeout: Duration) -> Working<'_> {
    let mut call: Working<'_> = Box::pin(there.work(n).timeout(timeout).into_future());
    assert!(call.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())).is_pending());
    call
}

const LONG: Duration = Duration::from_secs(60);

#[actix_rt::test]
async fn calls_whose_futures_are_dropped_do_not_run_over_there() -> Res {
    let (a, b, there, gate) = slow_pair::<Slow>(config).await?;
    let running = work(&there, 0, LONG);
    until(5, "the first runs", || gate.ran() == [0]).await;
    let mut queued: Vec<_> = (1..=100).map(|n| Some(work(&there, n, LONG))).collect();
    until(5, "the others are queued", || mailbox_len(&b, there.pid()) == 100).await;
    for (n, call) in queued.iter_mut().enumerate() {
        if n % 10 != 3 {
            *call = None;
        }
    }
    until(5, "it was told", || b.peer_stats(&id(&a)).is_some_and(|stats| stats.cancels_received == 90)).await;
    gate.open();
    assert_eq!(within(5, "the one that ran is answered", running).await?, 0);
    let mut expected = vec![0];
    for call in queued.into_iter().flatten() {
        expected.push(within(5, "a call that was kept is answered", call).await?);
    }
    assert_eq!(expected, [0, 4, 14, 24, 34, 44, 54, 64, 74, 84, 94]);
    assert_eq!(there.work(200).await?, 200);
    expected.push(200);
    assert_eq!(gate.ran(), expected, "exactly these");
    assert_eq!(b.peer_stats(&id(&a)).unwrap().calls_not_started, 90);
    assert_eq!(b.remote_call_stats().total_not_started, 90);
    let calls = a.remote_call_stats();
    assert_eq!((calls.total_cancelled, calls.total_timed_out, calls.pending_calls), (90, 0, 0));
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn a_call_on_this_node_whose_future_is_dropped_does_not_run() -> Res {
    let (a, gate) = start::<Slow>(config("a")).await?;
    let here = a.spawn::<Slow>(()).await?;
    let running = work(&here, 0, LONG);
    until(5, "the first runs", || gate.ran() == [0]).await;
    let (dropped, kept) = (work(&here, 1, LONG), work(&here, 2, LONG));
    drop(dropped);
    gate.open();
    assert_eq!((running.await?, kept.await?), (0, 2));
    assert_eq!(gate.ran(), [0, 2]);
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_handler_learns_that_its_caller_over_there_gave_up() -> Res {
    let (a, b, there, _gate) = slow_pair::<Slow>(config).await?;
    let mut kept: Vec<_> = (0..3).map(|_| Box::pin(there.keep().into_future())).collect();
    for call in &mut kept {
        assert!(call.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())).is_pending());
    }
    assert_eq!(there.waiting().await?, [true, true, true]);
    drop(kept.remove(1));
    assert_eq!(there.waiting().await?, [true, false, true], "it is told in order");
    assert_eq!(b.peer_stats(&id(&a)).unwrap().calls_not_started, 0, "they had begun");
    // The end of the session is the end of all who wait.
    let here: Ref<Slow> = b.resolve(there.pid());
    a.stop().await;
    until(5, "a is gone", || b.connected_node_count() == 0).await;
    assert_eq!(here.waiting().await?, [false, false, false]);
    b.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_timeout_is_told_to_the_other_end_behind_the_call() -> Res {
    let (a, _) = start::<Slow>(config("a").heartbeat_interval(LONG)).await?;
    let mut peer = RawPeer::join(&a, "z@127.0.0.1:1").await?;
    let nobody = Pid::new("z@127.0.0.1:1".parse()?, noex_actors::Incarnation(1), 300);
    let there: Ref<Slow> = a.resolve(&nobody);
    let call = there.work(1).timeout(Duration::from_millis(50));
    assert!(matches!(call.await, Err(CallError::Timeout { .. })));
    let number_of = |wanted: u8| {
        move |kind: u8, body: &[u8]| (kind == wanted).then(|| raw::varint(raw::split_varint(body).0))
    };
    let called = peer.until_frame(number_of(raw::CALL)).await?;
    let cancelled = peer.until_frame(|kind, body| (kind == raw::CANCEL).then(|| body.to_vec())).await?;
    assert_eq!(cancelled, [&called[..], &raw::varint(300)].concat());
    assert_eq!(a.peer_stats(&"z@127.0.0.1:1".parse()?).unwrap().cancels_sent, 1);
    // One that was answered is not cancelled.
    drop(work(&there, 2, LONG));
    let mut answered = work(&there, 3, LONG);
    let number = peer.until_frame(number_of(raw::CALL)).await?;
    let second = peer.until_frame(number_of(raw::CANCEL)).await?;
    assert_eq!(number, second);
    let number = peer.until_frame(number_of(raw::CALL)).await?;
    peer.send(&raw::frame(raw::REPLY, &[&number[..], b"\xc1"].concat())).await?;
    assert!(matches!(answered.as_mut().await, Err(CallError::Decode(_))));
    drop(answered);
    peer.settled().await?;
    assert_eq!(a.peer_stats(&"z@127.0.0.1:1".parse()?).unwrap().cancels_sent, 2);
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_call_whose_time_is_over_when_its_turn_comes_does_not_run_over_there() -> Res {
    let (a, gate) = start::<Slow>(config("a").heartbeat_interval(LONG)).await?;
    let here = a.spawn::<Slow>(()).await?;
    let running = work(&here, 0, LONG);
    until(5, "the first runs", || gate.ran() == [0]).await;
    // Somebody who never cancels: the budget alone must do.
    let mut peer = RawPeer::join(&a, "z@127.0.0.1:1").await?;
    let call = |n: u64, budget_ms: u64| {
        let body = std::collections::BTreeMap::from([("Work", (n,))]);
        raw::call_within(budget_ms, n, &raw::named("slow"), here.pid().number(), &body)
    };
    peer.send(&[call(1, 1), call(2, 60_000), call(3, 20)].concat()).await?;
    peer.settled().await?;
    assert_eq!(mailbox_len(&a, here.pid()), 3);
    // A call of this node that ends after both: their time is over, too.
    assert!(here.work(4).timeout(Duration::from_millis(50)).await.is_err());
    gate.open();
    assert_eq!(running.await?, 0);
    let second = |kind: u8, body: &[u8]| (kind == raw::REPLY && raw::split_varint(body).0 == 2).then_some(());
    peer.until_frame(second).await?;
    assert_eq!(here.work(5).await?, 5);
    assert_eq!(gate.ran(), [0, 2, 5]);
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_call_of_another_node_whose_time_is_over_does_not_run_though_nobody_can_cancel_it() -> Res {
    // Silence alone loses nobody.
    let (b, gate) = start::<Slow>(config("b").heartbeat_interval(LONG)).await?;
    let cable = Cable::to(id(&b).port()).await?;
    let seed = format!("127.0.0.1:{}", cable.port);
    let (a, _) = start::<Slow>(config("a").heartbeat_interval(LONG).seed(seed)).await?;
    within(5, "both are up", async { a.wait_for_nodes(2).await.and(b.wait_for_nodes(2).await) }).await?;
    let there = a.spawn_on::<Slow>(&id(&b), ()).await?;
    let running = work(&there, 0, LONG);
    until(5, "the first runs", || gate.ran() == [0]).await;
    let (late, kept) = (work(&there, 1, Duration::from_millis(100)), work(&there, 2, LONG));
    until(5, "the others are queued", || mailbox_len(&b, there.pid()) == 2).await;
    cable.silence();
    let late = within(5, "its deadline", late).await;
    assert!(matches!(late, Err(CallError::Timeout { .. })), "{late:?}");
    // One of that node that ends later: the time of the other is over there, too.
    let here: Ref<Slow> = b.resolve(there.pid());
    assert!(here.work(3).timeout(Duration::from_millis(200)).await.is_err());
    gate.open();
    assert_eq!(within(5, "the next", here.work(4).into_future()).await?, 4);
    assert_eq!(gate.ran(), [0, 2, 4]);
    let stats = b.peer_stats(&id(&a)).unwrap();
    assert_eq!((stats.calls_not_started, stats.cancels_received), (1, 0));
    cable.speak_slowly(Duration::ZERO);
    assert_eq!((within(5, "the replies", running).await?, within(5, "the replies", kept).await?), (0, 2));
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn cancels_of_what_is_not_queued_are_ignored_and_bounded() -> Res {
    let (a, gate) = start::<Slow>(config("a").heartbeat_interval(LONG)).await?;
    let here = a.spawn::<Slow>(()).await?;
    let target = here.pid().number();
    let behavior = raw::named("slow");
    let call = |n: u64| raw::call(n, &behavior, target, &std::collections::BTreeMap::from([("Work", (n,))]));
    let mut one = RawPeer::join(&a, "y@127.0.0.1:1").await?;
    let mut two = RawPeer::join(&a, "z@127.0.0.1:1").await?;
    // Both use the same numbers; the first ends while it runs.
    one.send(&call(1)).await?;
    until(5, "the first runs", || gate.ran() == [1]).await;
    for n in [2, 3, 4] {
        one.send(&call(n)).await?;
        one.settled().await?;
        two.send(&call(n)).await?;
        two.settled().await?;
    }
    // One that counts, twice, and of what runs for another. Then of nobody, of no process, of what was never sent.
    two.send(&[raw::cancel(1, target), raw::cancel(3, target), raw::cancel(3, target)].concat()).await?;
    let targets = [target, 0, u64::MAX];
    two.flood((0..200_000_u64).map(|n| raw::cancel(n + 1000, targets[usize::try_from(n % 3).unwrap()])))
        .await;
    two.settled().await?;
    gate.open();
    let wanted = |n: u64| {
        move |kind: u8, body: &[u8]| (kind == raw::REPLY && raw::split_varint(body).0 == n).then_some(())
    };
    for n in [1, 2, 3, 4] {
        one.until_frame(wanted(n)).await?;
    }
    two.until_frame(wanted(2)).await?;
    two.until_frame(wanted(4)).await?;
    assert_eq!(gate.ran(), [1, 2, 2, 3, 4, 4], "the first 3, not the second");
    // A number may be used again, and a cancel that comes late is of the past.
    two.send(&[raw::cancel(4, target), call(4), call(3)].concat()).await?;
    two.until_frame(wanted(4)).await?;
    two.until_frame(wanted(3)).await?;
    let stats = a.peer_stats(&"z@127.0.0.1:1".parse()?).unwrap();
    assert_eq!((stats.calls_not_started, stats.cancels_received), (1, 200_004));
    assert_eq!(a.connected_node_count(), 2);
    assert!(a.stats().protocol_errors_total.values().all(|n| *n == 0));
    a.stop().await;
    Ok(())
}
