//! What a process promises, on one node.

#![allow(clippy::panic, reason = "tests, and processes that must panic")]

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use noex_actors::{
    CallError, Caller, CastError, Context, Delivery, Down, ExitReason, Info, Node, Placement, SpawnOptions,
    StartError, behavior,
};

type Res = Result<(), Box<dyn std::error::Error>>;

/// Counts how many instances live.
struct Alive(Arc<AtomicUsize>);
impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Worker {
    seen: Rc<Vec<i64>>,
    held: Vec<Caller<i64>>,
    downs: Vec<ExitReason>,
    _alive: Option<Alive>,
    drop_bomb: Bomb,
}

#[derive(Default)]
struct Bomb(bool);
impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.0, "the bomb went off in drop");
    }
}

#[behavior]
impl Worker {
    #[init]
    async fn new(alive: Option<Arc<AtomicUsize>>) -> Result<Self, ExitReason> {
        let alive = alive.map(|count| {
            count.fetch_add(1, Ordering::SeqCst);
            Alive(count)
        });
        Ok(Worker {
            seen: Rc::new(vec![]),
            held: vec![],
            downs: vec![],
            _alive: alive,
            drop_bomb: Bomb::default(),
        })
    }
    #[cast]
    fn see(&mut self, n: i64) {
        let mut seen = (*self.seen).clone();
        seen.push(n);
        self.seen = Rc::new(seen);
    }
    #[call]
    fn seen(&self) -> Vec<i64> {
        (*self.seen).clone()
    }
    #[call]
    fn held(&mut self, from: Caller<i64>) {
        self.held.push(from);
    }
    #[cast]
    fn answer(&mut self, n: i64) {
        self.held.drain(..).for_each(|caller| caller.reply(n));
    }
    #[cast]
    fn forget(&mut self) {
        self.held.clear();
    }
    #[cast]
    fn explode(&mut self) {
        panic!("boom");
    }
    #[call]
    fn explode_in_call(&mut self) -> i64 {
        panic!("boom in call")
    }
    #[cast]
    fn arm(&mut self) {
        self.drop_bomb.0 = true;
    }
    #[call]
    async fn nap(&mut self, millis: u64) -> u64 {
        actix_rt::time::sleep(Duration::from_millis(millis)).await;
        millis
    }
    #[cast]
    fn leave(&mut self, cx: &mut Context<Self>) {
        cx.stop(ExitReason::Normal);
    }
    #[cast]
    fn watch(&mut self, pid: noex_actors::Pid, cx: &mut Context<Self>) {
        cx.monitor(&pid);
    }
    #[call]
    fn downs(&self) -> Vec<ExitReason> {
        self.downs.clone()
    }
    #[info]
    fn info(&mut self, info: Info<()>) {
        if let Info::Down(Down { reason, .. }) = info {
            self.downs.push(reason);
        }
    }
}

fn boom() -> ExitReason {
    ExitReason::Panic("boom".into())
}

async fn worker(node: &Node) -> Result<noex_actors::Ref<Worker>, StartError> {
    node.spawn::<Worker>(None).await
}

#[actix_rt::test]
async fn casts_and_calls_of_one_sender_keep_their_order() -> Res {
    let node = Node::start().await?;
    let w = node.spawn::<Worker>(None).placement(Placement::RoundRobin).await?;
    for n in 0..1000 {
        w.see(n)?;
    }
    assert_eq!(w.seen().await?, (0..1000).collect::<Vec<_>>());
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_panic_is_an_exit_and_everybody_who_waits_learns_it() -> Res {
    let node = Node::start().await?;
    let alive = Arc::new(AtomicUsize::new(0));
    let w = node.spawn::<Worker>(Some(Arc::clone(&alive))).await?;
    let neighbour = worker(&node).await?;
    let down = w.monitor();
    let waiting = {
        let w = w.clone();
        actix_rt::spawn(async move { w.held().await })
    };
    while w.seen().await.is_ok() && node.process(w.pid()).is_some_and(|p| p.message_count < 2) {}
    w.explode()?;
    let down = down.await;
    assert_eq!(down.reason, ExitReason::Panic("boom".into()));
    assert_eq!(alive.load(Ordering::SeqCst), 0, "the state is gone before watchers hear of it");
    match waiting.await? {
        Err(CallError::Exited { reason, delivery: Delivery::Unknown, .. }) => {
            assert_eq!(reason, ExitReason::Panic("boom".into()));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(w.see(1), Err(CastError::NoProc(_))));
    assert_eq!(w.seen().await.unwrap_err().delivery(), Delivery::Never);
    assert_eq!(neighbour.seen().await?, []);
    assert_eq!(w.monitor().await.reason, ExitReason::NoProc);
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_call_whose_handler_panics_learns_the_text() -> Res {
    let node = Node::start().await?;
    let w = worker(&node).await?;
    match w.explode_in_call().await {
        Err(CallError::Exited { reason: ExitReason::Panic(text), delivery: Delivery::Unknown, .. }) => {
            assert_eq!(text, "boom in call");
        }
        other => panic!("{other:?}"),
    }
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn calls_queued_behind_a_stop_fail_at_once_and_never_ran() -> Res {
    let node = Node::start().await?;
    let w = worker(&node).await?;
    let napping = {
        let w = w.clone();
        actix_rt::spawn(async move { w.nap(50).await })
    };
    while node.process(w.pid()).is_some_and(|p| p.message_count < 1) {
        tokio::task::yield_now().await;
    }
    let stop = w.stop(ExitReason::Shutdown);
    let second = w.stop(ExitReason::Normal);
    let behind = w.seen();
    let (napped, stopped, again, refused) = tokio::join!(napping, stop, second, behind);
    assert_eq!(napped??, 50);
    stopped?;
    again?;
    let refused = refused.unwrap_err();
    assert_eq!(refused.delivery(), Delivery::Never);
    assert!(matches!(refused, CallError::Exited { reason: ExitReason::Shutdown, .. }), "{refused:?}");
    assert!(w.stop(ExitReason::Normal).await.is_ok(), "stopping what is gone is fine");
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_call_that_timed_out_in_the_queue_does_not_run() -> Res {
    struct Slow(Arc<AtomicUsize>);
    #[behavior]
    impl Slow {
        #[init]
        fn new(ran: Arc<AtomicUsize>) -> Result<Self, ExitReason> {
            Ok(Slow(ran))
        }
        #[call]
        async fn gate(&mut self, open: tokio::sync::oneshot::Receiver<()>) {
            let _ = open.await;
        }
        #[call]
        fn count(&mut self) -> usize {
            self.0.fetch_add(1, Ordering::SeqCst) + 1
        }
    }
    let node = Node::start().await?;
    let ran = Arc::new(AtomicUsize::new(0));
    let slow = node.spawn::<Slow>(Arc::clone(&ran)).await?;
    let (open, gate) = tokio::sync::oneshot::channel();
    let gated = {
        let slow = slow.clone();
        actix_rt::spawn(async move { slow.gate(gate).await })
    };
    while node.process(slow.pid()).is_some_and(|p| p.message_count < 1) {
        tokio::task::yield_now().await;
    }
    let error = slow.count().timeout(Duration::from_millis(10)).await.unwrap_err();
    assert!(matches!(error, CallError::Timeout { delivery: Delivery::Never, .. }), "{error:?}");
    open.send(()).map_err(|()| "nobody waits")?;
    gated.await??;
    assert_eq!(slow.count().await?, 1, "the one that timed out did not run");
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_deferred_reply_comes_later_and_a_forgotten_one_fails_at_once() -> Res {
    let node = Node::start().await?;
    let w = worker(&node).await?;
    let asker = w.clone();
    let waiting = actix_rt::spawn(async move { asker.held().await });
    while node.process(w.pid()).is_some_and(|p| p.message_count < 1) {
        tokio::task::yield_now().await;
    }
    w.answer(7)?;
    assert_eq!(waiting.await??, 7);
    let asker = w.clone();
    let waiting = actix_rt::spawn(async move { asker.held().await });
    while node.process(w.pid()).is_some_and(|p| p.message_count < 3) {
        tokio::task::yield_now().await;
    }
    w.forget()?;
    let error = waiting.await?.unwrap_err();
    assert!(matches!(error, CallError::NoReply(_)) && error.delivery() == Delivery::Done, "{error:?}");
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_kill_ends_a_process_in_the_middle_of_a_handler() -> Res {
    let node = Node::start().await?;
    let alive = Arc::new(AtomicUsize::new(0));
    let w = node.spawn::<Worker>(Some(Arc::clone(&alive))).placement(Placement::RoundRobin).await?;
    let asker = w.clone();
    let waiting = actix_rt::spawn(async move { asker.nap(60_000).await });
    while node.process(w.pid()).is_some_and(|p| p.message_count < 1) {
        tokio::task::yield_now().await;
    }
    let down = w.monitor();
    w.kill();
    assert_eq!(down.await.reason, ExitReason::Killed);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
    assert!(matches!(waiting.await?, Err(CallError::Exited { reason: ExitReason::Killed, .. })));
    assert_eq!(node.process_count(), 0);
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_panicking_drop_is_contained() -> Res {
    let node = Node::start().await?;
    for end in 0..3 {
        let w = worker(&node).await?;
        w.arm()?;
        let down = w.monitor();
        match end {
            0 => w.explode()?,
            1 => w.leave()?,
            _ => {
                assert_eq!(w.seen().await?, []);
                w.kill();
            }
        }
        let reason = down.await.reason;
        let expected = [ExitReason::Panic("boom".into()), ExitReason::Normal, ExitReason::Killed];
        assert_eq!(reason, expected[end]);
    }
    assert_eq!(node.process_count(), 0);
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn names_have_one_holder_and_end_with_the_process() -> Res {
    let node = Node::start().await?;
    let w = node.spawn::<Worker>(None).name("w").await?;
    let taken = node.spawn::<Worker>(None).name("w").await.unwrap_err();
    assert!(matches!(taken, StartError::Name(_)) && taken.delivery() == Delivery::Never);
    assert_eq!(node.whereis::<Worker>("w"), Some(w.clone()));
    let down = w.monitor();
    w.leave()?;
    down.await;
    assert!(!node.is_registered("w") && node.registered().is_empty());
    assert!(node.spawn::<Worker>(None).name("w").await.is_ok());
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_watcher_hears_of_each_end_once_in_its_mailbox() -> Res {
    let node = Node::start().await?;
    let (watcher, watched) = (worker(&node).await?, worker(&node).await?);
    watcher.watch(watched.pid().clone())?;
    watcher.watch(watched.pid().clone())?;
    assert_eq!(watcher.downs().await?, []);
    let down = watched.monitor();
    watched.explode()?;
    down.await;
    while watcher.downs().await?.len() < 2 {}
    watcher.watch(watched.pid().clone())?;
    while watcher.downs().await?.len() < 3 {}
    assert_eq!(watcher.downs().await?, [boom(), boom(), ExitReason::NoProc]);
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_failing_or_slow_init_leaves_nothing() -> Res {
    struct Fails;
    #[behavior]
    impl Fails {
        #[init]
        async fn new(how: u8) -> Result<Self, ExitReason> {
            match how {
                0 => Err(ExitReason::error("no luck")),
                1 => panic!("init exploded"),
                _ => std::future::pending().await,
            }
        }
    }
    let node = Node::start().await?;
    let error = node.spawn::<Fails>(0).await.unwrap_err();
    assert_eq!(error, StartError::Init(ExitReason::Error("no luck".into())));
    assert_eq!(node.process_count(), 0);
    let error = node.spawn::<Fails>(1).await.unwrap_err();
    assert_eq!(error, StartError::Init(ExitReason::Panic("init exploded".into())));
    let slow = SpawnOptions::new().init_timeout(Duration::from_millis(20));
    let error = node.spawn::<Fails>(2).options(slow).await.unwrap_err();
    assert_eq!(error, StartError::InitTimeout(Duration::from_millis(20)));
    assert_eq!(node.process_count(), 0);
    drop(tokio::time::timeout(Duration::from_millis(20), node.spawn::<Fails>(2).into_future()).await);
    while node.process_count() > 0 {
        tokio::task::yield_now().await;
    }
    node.stop().await;
    Ok(())
}

#[tokio::test]
async fn without_a_system_the_node_brings_its_own() -> Res {
    let node = Node::start().await?;
    let w = node.spawn::<Worker>(None).await?;
    w.see(1)?;
    assert_eq!(w.seen().await?, [1]);
    node.stop().await;
    assert!(matches!(w.seen().await, Err(CallError::NoProc(_))));
    assert!(matches!(node.spawn::<Worker>(None).await, Err(StartError::NotRunning)));
    Ok(())
}

#[actix_rt::test]
async fn two_nodes_of_one_program_share_nothing() -> Res {
    let (a, b) = (Node::start().await?, Node::start().await?);
    let of_a = a.spawn::<Worker>(None).name("w").await?;
    assert!(b.whereis::<Worker>("w").is_none());
    assert!(b.spawn::<Worker>(None).name("w").await.is_ok());
    b.stop().await;
    assert_eq!(of_a.seen().await?, []);
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_caller_dropped_by_the_panic_of_somebody_else_fails_at_once() -> Res {
    struct Giver;
    #[behavior]
    impl Giver {
        #[init]
        fn new() -> Result<Self, ExitReason> {
            Ok(Giver)
        }
        #[call]
        fn give(&mut self, from: Caller<i64>) {
            // Another task takes it and panics with it; this process lives on.
            actix_rt::spawn(async move {
                let _held = from;
                panic!("somebody else");
            });
        }
        #[call]
        fn lives(&self) -> bool {
            true
        }
    }
    let node = Node::start().await?;
    let giver = node.spawn::<Giver>(()).await?;
    let error = giver.give().await.unwrap_err();
    assert!(matches!(error, CallError::NoReply(_)), "{error:?}");
    assert!(giver.lives().await?);
    node.stop().await;
    Ok(())
}
