//! What a study of the original found wrong with its processes, each turned into what must hold here (L1 to L3, L9 and L11;
//! L4 to L8 and L10 concern supervisors and are tested there).

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use noex_actors::{CallError, Caller, Context, Delivery, ExitReason, Node, Pid, Ref, SpawnOptions, behavior};
use tokio::sync::oneshot;

struct Counter {
    n: u64,
    held: Vec<Caller<()>>,
}

#[behavior]
impl Counter {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Counter { n: 0, held: vec![] })
    }
    #[cast]
    fn count(&mut self) {
        self.n += 1;
    }
    #[call]
    fn counted(&mut self) -> u64 {
        self.n += 1;
        self.n
    }
    #[call]
    async fn gate(&mut self, open: oneshot::Receiver<()>) {
        let _ = open.await;
    }
    #[call]
    async fn who(&mut self, turns: u32, cx: &mut Context<Self>) -> Vec<Pid> {
        let mut seen = Vec::new();
        for _ in 0..turns {
            seen.push(cx.pid().clone());
            tokio::task::yield_now().await;
        }
        seen
    }
    #[call]
    fn hold(&mut self, from: Caller<()>) {
        self.held.push(from);
    }
}

async fn counter(node: &Node) -> Ref<Counter> {
    node.spawn::<Counter>(()).await.unwrap()
}

/// A process that waits behind its gate, and the key.
async fn busy(node: &Node) -> (Ref<Counter>, oneshot::Sender<()>) {
    let counter = counter(node).await;
    let (key, gate) = oneshot::channel();
    let waiting = counter.clone();
    actix_rt::spawn(async move { waiting.gate(gate).timeout(Duration::from_secs(60)).await });
    while node.process(counter.pid()).unwrap().message_count == 0 {
        tokio::task::yield_now().await;
    }
    (counter, key)
}

/// L1: a call that timed out in the queue ran all the same.
#[actix_rt::test]
async fn a_call_that_timed_out_in_the_queue_never_runs() {
    let node = Node::start().await.unwrap();
    let (counter, key) = busy(&node).await;
    let error = counter.counted().timeout(Duration::from_millis(10)).await.unwrap_err();
    assert_eq!(error.delivery(), Delivery::Never);
    key.send(()).unwrap();
    assert_eq!(counter.counted().await, Ok(1));
    node.stop().await;
}

/// L2: of two stops of a busy process the second never ended.
#[actix_rt::test]
async fn every_stop_of_a_busy_process_ends() {
    let node = Node::start().await.unwrap();
    let (counter, key) = busy(&node).await;
    let stops: Vec<_> = (0..3).map(|_| counter.stop(ExitReason::Normal)).collect();
    key.send(()).unwrap();
    for stop in stops {
        stop.await.unwrap();
    }
    counter.stop(ExitReason::Normal).await.unwrap();
    assert_eq!(node.process_count(), 0);
    node.stop().await;
}

/// L3: calls queued behind a stop waited for their own timeout.
#[actix_rt::test]
async fn calls_behind_a_stop_and_calls_held_by_the_process_fail_when_it_ends() {
    let node = Node::start().await.unwrap();
    let (counter, key) = busy(&node).await;
    let held = counter.hold();
    let stop = async {
        let stop = counter.stop(ExitReason::Normal);
        key.send(()).unwrap();
        stop.await
    };
    let behind = async {
        tokio::task::yield_now().await;
        counter.counted().await
    };
    let (held, stop, behind) = tokio::join!(held, stop, behind);
    stop.unwrap();
    assert!(matches!(held, Err(CallError::Exited { reason: ExitReason::Normal, .. })), "{held:?}");
    let error = behind.unwrap_err();
    assert!(matches!(error, CallError::Exited { .. } | CallError::NoProc(_)), "{error:?}");
    assert_eq!(error.delivery(), Delivery::Never);
    node.stop().await;
}

/// L9: a mailbox grew without bound, and took longer the longer it was.
#[actix_rt::test]
async fn a_mailbox_is_bounded_and_a_long_one_is_emptied_message_by_message() {
    let node = Node::start().await.unwrap();
    let options = SpawnOptions::new().mailbox_capacity(200_000);
    let counter = node.spawn::<Counter>(()).options(options).await.unwrap();
    let mut sent = 0;
    while counter.count().is_ok() {
        sent += 1;
    }
    assert_eq!(sent, 200_000, "nothing of it ran meanwhile: sender and process share this thread");
    tokio::task::yield_now().await;
    loop {
        match counter.counted().timeout(Duration::from_secs(60)).await {
            Ok(n) => break assert!(n > sent),
            Err(CallError::Overloaded(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
    let info = node.process(counter.pid()).unwrap();
    assert_eq!((info.mailbox_len, info.mailbox_high_water), (0, 200_000));
    node.stop().await;
}

/// L11: the "current process" was one variable for all, wrong after an await.
#[actix_rt::test]
async fn each_process_knows_itself_whatever_runs_between_its_awaits() {
    let node = Node::start().await.unwrap();
    let (a, b) = (counter(&node).await, counter(&node).await);
    let (seen_a, seen_b) = tokio::join!(a.who(100), b.who(100));
    assert!(seen_a.unwrap().iter().all(|pid| pid == a.pid()));
    assert!(seen_b.unwrap().iter().all(|pid| pid == b.pid()));
    node.stop().await;
}

/// actix drains a mailbox without a pause: a flood of one actor starved its arbiter.
#[actix_rt::test]
async fn a_flooded_process_lets_its_neighbours_have_their_turns() {
    let node = Node::start().await.unwrap();
    let (flooded, neighbour) = (counter(&node).await, counter(&node).await);
    for _ in 0..60_000 {
        flooded.count().unwrap();
    }
    let (caller, watched, pid) = (neighbour.clone(), node.clone(), flooded.pid().clone());
    // The caller is a task like the others: what `block_on` runs has its turn after 61 of theirs.
    let calls = actix_rt::spawn(async move {
        for calls in 1..=100_u64 {
            caller.counted().await.unwrap();
            let handled = watched.process(&pid).unwrap().message_count;
            assert!(handled <= 64 * calls, "{handled} messages of the flood went before {calls} calls");
        }
    });
    calls.await.unwrap();
    assert!(node.process(flooded.pid()).unwrap().mailbox_len > 0, "the flood is not over yet");
    node.stop().await;
}
