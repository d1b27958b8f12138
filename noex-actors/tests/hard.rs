//! What went wrong once, or nearly: races, hostile wakers, panicking drops, ends in the middle of everything.

#![allow(clippy::panic, reason = "tests, and processes that must panic")]

use std::{
    collections::BTreeSet,
    future::{Future, IntoFuture, pending},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc as std_mpsc,
    },
    task::{Context as Task, Poll, Wake, Waker},
    thread::ThreadId,
    time::Duration,
};

use noex_actors::{
    CallError, Caller, CastError, Context, Delivery, Exit, ExitReason, Info, MailboxPolicy, Node, Pid,
    Placement, Ref, SpawnError, SpawnOptions, StartError, behavior, testkit,
};
use tokio::sync::{Notify, mpsc, oneshot};

type Res = Result<(), Box<dyn std::error::Error>>;
type Log = mpsc::UnboundedSender<u32>;
type Free = Box<dyn FnOnce() + Send>;

const LONG: Duration = Duration::from_secs(20);

async fn soon<F: IntoFuture>(what: F) -> F::Output {
    tokio::time::timeout(LONG, what.into_future()).await.expect("it comes within 20 s")
}

/// Runs what may hang its thread on a thread of its own: hanging fails.
fn bounded<F: Future<Output = ()>>(f: impl FnOnce() -> F + Send + 'static) {
    let (tell, told) = std_mpsc::channel();
    let thread = std::thread::spawn(move || {
        actix_rt::System::new().block_on(f());
        let _ = tell.send(());
    });
    match told.recv_timeout(LONG) {
        Ok(()) => thread.join().expect("it ended well"),
        Err(std_mpsc::RecvTimeoutError::Disconnected) => {
            std::panic::resume_unwind(thread.join().expect_err("it panicked"))
        }
        Err(std_mpsc::RecvTimeoutError::Timeout) => panic!("the thread hangs"),
    }
}

/// Answers, keeps, hangs, explodes: whatever a test needs.
struct Work {
    log: Log,
    kept: Vec<Caller<u32>>,
}

/// A message that explodes when it is dropped.
#[derive(Debug)]
struct Bomb(bool);

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.0, "a bomb went off");
    }
}

#[behavior]
impl Work {
    #[init]
    fn new(log: Log) -> Result<Self, ExitReason> {
        Ok(Work { log, kept: Vec::new() })
    }
    #[cast]
    fn note(&mut self, n: u32) {
        let _ = self.log.send(n);
    }
    #[call]
    fn echo(&self, n: u32) -> u32 {
        n
    }
    #[call]
    fn keep(&mut self, from: Caller<u32>) {
        self.kept.push(from);
    }
    #[call]
    fn lend(&mut self, to: std_mpsc::Sender<Caller<u32>>, from: Caller<u32>) {
        let _ = to.send(from);
    }
    #[call]
    async fn hang(&mut self, running: oneshot::Sender<()>) -> u32 {
        let _ = running.send(());
        pending().await
    }
    #[cast]
    async fn close(&mut self, closed: oneshot::Sender<()>, open: oneshot::Receiver<()>) {
        let _ = closed.send(());
        let _ = open.await;
    }
    #[cast]
    fn carry(&mut self, bomb: Bomb) {
        let mut bomb = bomb;
        bomb.0 = false;
    }
    #[cast]
    fn explode(&mut self) {
        panic!("boom");
    }
    #[cast]
    fn leave_by_signal(&mut self, reason: ExitReason, cx: &mut Context<Self>) {
        cx.exit(cx.me(), reason);
    }
    #[call]
    fn fumble(&mut self, from: Caller<u32>) {
        let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _held = from;
            panic!("caught by the handler itself");
        }));
        assert!(dropped.is_err());
    }
    #[info]
    fn info(&mut self, info: Info<u32>) {
        let _ = match info {
            Info::User(n) => self.log.send(n),
            Info::Timeout => self.log.send(u32::MAX),
            Info::Exit(exit) => self.log.send(if exit.reason == ExitReason::Killed { 1000 } else { 1001 }),
            _ => Ok(()),
        };
    }
    #[call]
    fn raise(&mut self, to: std_mpsc::Sender<Start>, cx: &mut Context<Self>) {
        let (own, beside) = (cx.node().id().clone(), SpawnOptions::new().placement(Placement::RoundRobin));
        let start = cx.spawn_link_on::<Kept>(&own, ()).options(beside.name("kept"));
        let _ = to.send(start.into_future());
    }
    #[call]
    fn idle_after(&mut self, after: Duration, cx: &mut Context<Self>) {
        cx.set_idle_timeout(Some(after));
    }
}

/// What is started by the name of its behavior.
struct Kept(Vec<Caller<u32>>);

#[behavior(name = "kept")]
impl Kept {
    #[init]
    async fn new(cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        cx.node().data::<Notify>().expect("it is told to go on").notified().await;
        Ok(Kept(Vec::new()))
    }
    #[call]
    fn keep(&mut self, from: Caller<u32>) {
        self.0.push(from);
    }
    #[call]
    fn count(&self) -> usize {
        self.0.len()
    }
}

type Start = Pin<Box<dyn Future<Output = Result<Ref<Kept>, SpawnError>> + Send>>;

async fn work(node: &Node) -> Result<(Ref<Work>, mpsc::UnboundedReceiver<u32>), StartError> {
    work_with(node, SpawnOptions::new()).await
}

async fn work_with(
    node: &Node,
    options: SpawnOptions,
) -> Result<(Ref<Work>, mpsc::UnboundedReceiver<u32>), StartError> {
    let (log, seen) = mpsc::unbounded_channel();
    let options = options.placement(Placement::RoundRobin);
    Ok((node.spawn::<Work>(log).options(options).await?, seen))
}

/// Closes the gate of a process: it handles nothing until that is opened.
async fn closed(work: &Ref<Work>) -> Result<oneshot::Sender<()>, Box<dyn std::error::Error>> {
    let ((tell, is_closed), (open, gate)) = (oneshot::channel(), oneshot::channel());
    work.close(tell, gate)?;
    soon(is_closed).await?;
    Ok(open)
}

/// A waker that runs code when it is woken and when it goes.
struct Hostile {
    woken: Mutex<Option<Free>>,
    dropped: Mutex<Option<Free>>,
}

fn run(what: &Mutex<Option<Free>>) {
    let what = what.lock().expect("nobody panicked").take();
    if let Some(what) = what {
        what();
    }
}

impl Wake for Hostile {
    fn wake(self: Arc<Self>) {
        run(&self.woken);
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        run(&self.dropped);
    }
}

fn when_dropped(what: impl FnOnce() + Send + 'static) -> Waker {
    let hostile = Hostile { woken: Mutex::new(None), dropped: Mutex::new(Some(Box::new(what))) };
    Waker::from(Arc::new(hostile))
}

fn when_woken(what: impl FnOnce() + Send + 'static) -> Waker {
    let hostile = Hostile { woken: Mutex::new(Some(Box::new(what))), dropped: Mutex::new(None) };
    Waker::from(Arc::new(hostile))
}

fn poll_once<F: Future + ?Sized>(future: std::pin::Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Task::from_waker(waker))
}

#[test]
fn a_waker_that_is_replaced_may_send_to_the_process_when_it_goes() {
    bounded(|| async {
        let node = Node::start().await.expect("a node");
        let (work, mut seen) = work(&node).await.expect("a process");
        let mut call = pin!(work.keep().into_future());
        let sender = work.clone();
        assert!(poll_once(call.as_mut(), &when_dropped(move || sender.note(1).expect("room"))).is_pending());
        assert!(poll_once(call.as_mut(), Waker::noop()).is_pending());
        assert_eq!(soon(seen.recv()).await, Some(1));
        node.stop().await;
    });
}

#[test]
fn a_waker_in_the_line_for_room_may_send_to_the_process_when_it_goes() {
    bounded(|| async {
        let node = Node::start().await.expect("a node");
        let options = SpawnOptions::new().mailbox(MailboxPolicy::Block, 1);
        let (work, _seen) = work_with(&node, options).await.expect("a process");
        let open = closed(&work).await.expect("it closes");
        work.note(1).expect("room for one");
        let hostile = |work: &Ref<Work>| {
            let sender = work.clone();
            when_dropped(move || assert!(sender.note(9).is_err(), "it is full"))
        };
        {
            let mut cast = pin!(work.cast_wait(WorkCast::Note { n: 2 }));
            assert!(poll_once(cast.as_mut(), &hostile(&work)).is_pending());
            assert!(poll_once(cast.as_mut(), &hostile(&work)).is_pending());
            // And now it is dropped while it stands in the line.
        }
        open.send(()).expect("it waits");
        node.stop().await;
    });
}

#[test]
fn whoever_is_woken_for_room_may_send_to_the_process_at_once() {
    bounded(|| async {
        let node = Node::start().await.expect("a node");
        for _ in 0..50 {
            let options = SpawnOptions::new().mailbox(MailboxPolicy::Block, 1);
            let (work, mut seen) = work_with(&node, options).await.expect("a process");
            let open = closed(&work).await.expect("it closes");
            work.note(1).expect("room for one");
            let mut call = pin!(work.echo(2).into_future());
            let sender = work.clone();
            let (tell, woken) = oneshot::channel();
            let waker = when_woken(move || {
                let _ = tell.send(sender.note(3));
            });
            assert!(poll_once(call.as_mut(), &waker).is_pending());
            open.send(()).expect("it waits");
            assert_eq!(soon(seen.recv()).await, Some(1));
            assert_eq!(soon(woken).await, Ok(Ok(())), "there was room, and no lock in the way");
            assert_eq!(soon(seen.recv()).await, Some(3));
        }
        node.stop().await;
    });
}

#[test]
fn a_waker_of_a_start_may_look_at_the_process_when_it_goes() {
    struct Slow;
    #[behavior]
    impl Slow {
        #[init]
        async fn new(go: oneshot::Receiver<()>) -> Result<Self, ExitReason> {
            let _ = go.await;
            Ok(Slow)
        }
    }
    bounded(|| async {
        let node = Node::start().await.expect("a node");
        let (go, gate) = oneshot::channel();
        let mut start = pin!(node.spawn::<Slow>(gate).name("slow").into_future());
        let (tell, told) = oneshot::channel();
        let looker = node.clone();
        let waker = when_dropped(move || {
            let links = looker.processes().iter().map(|process| process.links).sum::<usize>();
            let _ = tell.send(links);
        });
        assert!(poll_once(start.as_mut(), &waker).is_pending());
        drop(waker);
        assert!(poll_once(start.as_mut(), Waker::noop()).is_pending());
        assert_eq!(soon(told).await, Ok(0));
        go.send(()).expect("it waits");
        assert!(soon(start).await.is_ok());
        node.stop().await;
    });
}

#[actix_rt::test]
async fn a_call_whose_caller_was_lent_to_somebody_else_fails_with_the_process() -> Res {
    let node = Node::start().await?;
    for end in 0..4 {
        let (work, _seen) = work(&node).await?;
        let (lend, lent) = std_mpsc::channel();
        let asker = work.clone();
        let waiting = actix_rt::spawn(async move { asker.lend(lend).timeout(Duration::MAX).await });
        assert_eq!(soon(work.echo(1)).await?, 1);
        let caller = lent.recv()?;
        let expected = match end {
            0 => {
                work.kill();
                ExitReason::Killed
            }
            1 => {
                work.explode()?;
                ExitReason::Panic("boom".into())
            }
            2 => {
                drop(work.stop(ExitReason::Shutdown));
                ExitReason::Shutdown
            }
            _ => {
                node.exit(&work, ExitReason::error("out"));
                ExitReason::error("out")
            }
        };
        match soon(waiting).await? {
            Err(CallError::Exited { reason, delivery: Delivery::Unknown, .. }) => {
                assert_eq!(reason, expected);
            }
            other => panic!("{other:?}"),
        }
        assert!(!caller.is_waiting());
        caller.reply(7);
    }
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_call_whose_handler_is_given_up_by_an_exit_signal_learns_the_reason() -> Res {
    let node = Node::start().await?;
    let (work, _seen) = work(&node).await?;
    let (tell, running) = oneshot::channel();
    let asker = work.clone();
    let waiting = actix_rt::spawn(async move { asker.hang(tell).await });
    soon(running).await?;
    node.exit(&work, ExitReason::error("enough"));
    match soon(waiting).await? {
        Err(CallError::Exited { reason, delivery: Delivery::Unknown, .. }) => {
            assert_eq!(reason, ExitReason::error("enough"));
        }
        other => panic!("{other:?}"),
    }
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_caller_dropped_by_a_panic_that_the_handler_catches_fails_at_once() -> Res {
    let node = Node::start().await?;
    let (work, _seen) = work(&node).await?;
    let error = soon(work.fumble().timeout(Duration::MAX)).await.unwrap_err();
    assert!(matches!(error, CallError::NoReply(_)), "{error:?}");
    assert_eq!(soon(work.echo(1)).await?, 1, "it lives");
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn queued_messages_that_panic_when_they_are_dropped_harm_nobody() -> Res {
    let node = Node::start().await?;
    for end in 0..3 {
        let (work, _seen) = work(&node).await?;
        let down = work.monitor();
        let open = closed(&work).await?;
        if end == 1 {
            work.explode()?;
        }
        for _ in 0..3 {
            work.carry(Bomb(true))?;
        }
        let asker = work.clone();
        let mut waiting = Box::pin(async move { asker.echo(1).timeout(Duration::MAX).await });
        assert!(poll_once(waiting.as_mut(), Waker::noop()).is_pending());
        for _ in 0..3 {
            work.carry(Bomb(true))?;
        }
        let expected = match end {
            0 => {
                work.kill();
                ExitReason::Killed
            }
            1 => ExitReason::Panic("boom".into()),
            _ => {
                node.exit(&work, ExitReason::Shutdown);
                ExitReason::Shutdown
            }
        };
        let _ = open.send(());
        assert_eq!(soon(down).await.reason, expected);
        match soon(waiting).await {
            Err(CallError::Exited { reason, delivery: Delivery::Never, .. }) => assert_eq!(reason, expected),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(node.process_count(), 0);
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn what_is_queued_behind_an_exit_or_a_kill_of_oneself_does_not_run() -> Res {
    let node = Node::start().await?;
    for reason in [ExitReason::Normal, ExitReason::Shutdown, ExitReason::Killed] {
        let (work, mut seen) = work(&node).await?;
        let open = closed(&work).await?;
        work.note(1)?;
        work.leave_by_signal(reason.clone())?;
        (2..6).try_for_each(|n| work.note(n))?;
        let down = work.monitor();
        open.send(()).map_err(|()| "it waits")?;
        assert_eq!(soon(down).await.reason, reason);
        drop(work);
        assert_eq!((seen.recv().await, seen.recv().await), (Some(1), None), "after {reason}");
    }
    node.stop().await;
    Ok(())
}

/// Continues for ever, without a wait.
struct Restless;

#[behavior]
impl Restless {
    #[init]
    fn new(cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        cx.continue_with(());
        Ok(Restless)
    }
    #[info]
    fn info(&mut self, _: Info<()>, cx: &mut Context<Self>) {
        cx.continue_with(());
    }
}

#[actix_rt::test]
async fn a_process_that_continues_for_ever_leaves_its_neighbours_their_turn_and_can_be_killed() -> Res {
    let node = Node::builder().arbiters(1).start().await?;
    let pinned = || SpawnOptions::new().placement(Placement::Pinned(0));
    let restless = node.spawn::<Restless>(()).options(pinned()).await?;
    let (log, _seen) = mpsc::unbounded_channel();
    let neighbour = soon(node.spawn::<Work>(log).options(pinned())).await?;
    assert_eq!(soon(neighbour.echo(1)).await?, 1);
    let down = restless.monitor();
    restless.kill();
    assert_eq!(soon(down).await.reason, ExitReason::Killed);
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn the_longest_time_is_no_overflow() -> Res {
    let node = Node::start().await?;
    let (work, _seen) = work(&node).await?;
    assert_eq!(soon(work.echo(1).timeout(Duration::MAX)).await?, 1);
    assert_eq!(soon(work.echo(1).timeout(Duration::from_secs(60))).await?, 1);
    let none = soon(work.keep().timeout(Duration::ZERO)).await.unwrap_err();
    assert!(matches!(none, CallError::Timeout { .. }), "{none:?}");
    soon(work.stop(ExitReason::Normal).timeout(Duration::MAX)).await?;
    node.stop().await;
    Ok(())
}

/// Runs a future on an arbiter of its own.
fn on(arbiter: &actix_rt::Arbiter, future: impl Future<Output = ()> + Send + 'static) {
    assert!(arbiter.spawn(future), "the arbiter lives");
}

/// Begins starts on an arbiter that stops before it turns to them.
async fn lost(
    node: &Node,
    arbiter: &actix_rt::Arbiter,
    begin: impl FnOnce(&Node, &Waker) -> Vec<Free> + Send + 'static,
) -> (oneshot::Receiver<()>, std_mpsc::Sender<()>) {
    let ((tell, begun), (go, gate)) = (oneshot::channel(), std_mpsc::channel::<()>());
    let node = node.clone();
    on(arbiter, async move {
        let kept = begin(&node, Waker::noop());
        let _ = tell.send(());
        let _ = gate.recv_timeout(LONG);
        actix_rt::Arbiter::current().stop();
        // Not dropped here: that would kill what was begun.
        let _kept: Vec<_> = kept.into_iter().map(Box::leak).collect();
    });
    (begun, go)
}

#[actix_rt::test]
async fn a_process_that_could_not_start_fails_whoever_called_it_by_its_name() -> Res {
    let node = Node::start().await?;
    let arbiter = actix_rt::Arbiter::new();
    let (begun, go) = lost(&node, &arbiter, |node, waker| {
        let (log, _seen) = mpsc::unbounded_channel();
        let mut start = Box::pin(node.spawn::<Work>(log).name("lost").into_future());
        assert!(poll_once(start.as_mut(), waker).is_pending());
        vec![Box::new(move || drop(start))]
    })
    .await;
    soon(begun).await?;
    let work = node.whereis::<Work>("lost").ok_or("it has its name")?;
    work.note(1)?;
    let mut waiting = pin!(work.echo(1).timeout(Duration::MAX).into_future());
    assert!(poll_once(waiting.as_mut(), Waker::noop()).is_pending());
    let down = work.monitor();
    go.send(())?;
    assert_eq!(soon(down).await.reason, ExitReason::Killed);
    let error = soon(waiting).await.unwrap_err();
    assert!(matches!(error, CallError::Exited { delivery: Delivery::Never, .. }), "{error:?}");
    assert!(matches!(work.note(2), Err(CastError::NoProc(_))));
    node.stop().await;
    Ok(())
}

struct Heavy;

#[behavior]
impl Heavy {
    #[init]
    fn new(bomb: Bomb) -> Result<Self, ExitReason> {
        let mut bomb = bomb;
        bomb.0 = false;
        Ok(Heavy)
    }
}

#[actix_rt::test]
async fn arguments_that_panic_when_they_are_dropped_do_not_lose_the_other_starts() -> Res {
    let node = Node::start().await?;
    let arbiter = actix_rt::Arbiter::new();
    let (begun, go) = lost(&node, &arbiter, |node, waker| {
        let start = |bomb: bool, name: &str| {
            let mut start = Box::pin(node.spawn::<Heavy>(Bomb(bomb)).name(name).into_future());
            assert!(poll_once(start.as_mut(), waker).is_pending());
            Box::new(move || drop(start)) as Free
        };
        vec![start(true, "a"), start(true, "b"), start(false, "c")]
    })
    .await;
    soon(begun).await?;
    let downs = ["a", "b", "c"].map(|name| node.whereis::<Heavy>(name).map(|heavy| heavy.monitor()));
    go.send(())?;
    for down in downs {
        assert_eq!(soon(down.ok_or("it has its name")?).await.reason, ExitReason::Killed);
    }
    assert_eq!(node.process_count(), 0);
    node.stop().await;
    Ok(())
}

/// Starts a linked child, from an arbiter of its own, which stops before the child begins.
struct Parent {
    tell: mpsc::UnboundedSender<Result<(), StartError>>,
}

#[behavior]
impl Parent {
    #[init]
    fn new(tell: mpsc::UnboundedSender<Result<(), StartError>>) -> Result<Self, ExitReason> {
        Ok(Parent { tell })
    }
    #[cast]
    fn begin(&mut self, arbiter: actix_rt::ArbiterHandle, cx: &mut Context<Self>) {
        let start = cx.spawn_link::<Heavy>(Bomb(false)).into_future();
        let tell = self.tell.clone();
        arbiter.spawn(async move {
            let mut start = Box::pin(start);
            let begun = poll_once(start.as_mut(), Waker::noop());
            assert!(begun.is_pending());
            actix_rt::Arbiter::current().stop();
            // Awaited elsewhere: this arbiter goes.
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
                let _ = tell.send(runtime.block_on(start).map(drop));
            });
        });
    }
    #[call]
    fn lives(&self) -> bool {
        true
    }
}

#[actix_rt::test]
async fn a_linked_child_that_could_not_start_is_an_error_and_no_signal() -> Res {
    let node = Node::start().await?;
    let (tell, mut told) = mpsc::unbounded_channel();
    let parent = node.spawn::<Parent>(tell).await?;
    let arbiter = actix_rt::Arbiter::new();
    parent.begin(arbiter.handle())?;
    assert_eq!(soon(told.recv()).await, Some(Err(StartError::NotRunning)));
    assert!(soon(parent.lives()).await?, "the parent lives");
    node.stop().await;
    Ok(())
}

struct Blocking;

#[behavior]
impl Blocking {
    #[init]
    fn new(tell: std_mpsc::Sender<ThreadId>) -> Result<Self, ExitReason> {
        let _ = tell.send(std::thread::current().id());
        Ok(Blocking)
    }
    #[cast]
    fn block(&mut self, until: std_mpsc::Receiver<()>) {
        let _ = until.recv_timeout(LONG);
    }
}

async fn dedicated_keeps_to_few_threads(node: Node) -> Res {
    let (tell, told) = std_mpsc::channel();
    let start = |name: Option<&str>| {
        let options = SpawnOptions::new().placement(Placement::Dedicated);
        let options = name.map_or(options.clone(), |name| options.name(name));
        node.spawn::<Blocking>(tell.clone()).options(options).into_future()
    };
    // Alone: while one blocks, the pool runs.
    let (one, two) = (soon(start(Some("one"))).await?, soon(start(None)).await?);
    let (go, gate) = std_mpsc::channel();
    one.block(gate)?;
    let (log, _seen) = mpsc::unbounded_channel();
    let pinned = SpawnOptions::new().placement(Placement::Pinned(0));
    let neighbour = soon(node.spawn::<Work>(log).options(pinned)).await?;
    assert_eq!(soon(neighbour.echo(1)).await?, 1);
    go.send(())?;
    // And none stays for each that ever was, nor for those that could not start.
    for _ in 0..50 {
        let third = soon(start(None)).await?;
        assert!(matches!(soon(start(Some("one"))).await, Err(StartError::Name(_))));
        soon(third.stop(ExitReason::Normal)).await?;
    }
    let threads: BTreeSet<_> = told.try_iter().map(|id| format!("{id:?}")).collect();
    assert_eq!(threads.len(), 3, "one for each that lives at once");
    drop((one, two));
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_dedicated_process_has_a_thread_of_its_own_and_leaves_it_to_the_next() -> Res {
    dedicated_keeps_to_few_threads(Node::builder().arbiters(1).start().await?).await
}

#[tokio::test]
async fn a_dedicated_process_has_a_thread_of_its_own_without_a_system_too() -> Res {
    dedicated_keeps_to_few_threads(Node::builder().arbiters(1).start().await?).await
}

#[actix_rt::test]
async fn a_cancelled_timer_lets_go_of_its_message() -> Res {
    struct Holder;
    #[behavior]
    impl Holder {
        #[init]
        fn new() -> Result<Self, ExitReason> {
            Ok(Holder)
        }
        #[cast]
        fn hold(&mut self, told: oneshot::Sender<()>) {
            let _ = told.send(());
        }
    }
    let node = Node::start().await?;
    let holder = node.spawn::<Holder>(()).await?;
    for _ in 0..20 {
        let (tell, told) = oneshot::channel();
        let timer = holder.cast_after(Duration::from_secs(86_400), HolderCast::Hold { told: tell });
        assert!(timer.cancel());
        assert!(soon(told).await.is_err(), "dropped, not delivered");
    }
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_name_taken_and_given_up_from_two_threads_is_free_after_the_end() -> Res {
    let node = Node::start().await?;
    for _ in 0..30 {
        let (work, _seen) = work(&node).await?;
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (node, work) = (node.clone(), work.clone());
                std::thread::spawn(move || {
                    for _ in 0..300 {
                        let _ = node.register("contested", &work);
                        node.unregister("contested");
                        let _ = node.register("contested", &work);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().map_err(|_panic| "a thread panicked")?;
        }
        let down = work.monitor();
        work.kill();
        soon(down).await;
        assert!(!node.is_registered("contested"));
    }
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn whoever_is_found_by_name_can_be_found_by_address() -> Res {
    let node = Node::start().await?;
    let (done, lost) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let looker = std::thread::spawn({
        let (node, done, lost) = (node.clone(), Arc::clone(&done), Arc::clone(&lost));
        move || {
            while !done.load(Ordering::SeqCst) {
                if let Some(found) = node.whereis::<Work>("here")
                    && node.process(found.pid()).is_none()
                    && node.whereis::<Work>("here").as_ref() == Some(&found)
                    && node.process(found.pid()).is_some()
                {
                    lost.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
    });
    for _ in 0..3000 {
        let (work, _seen) = work_with(&node, SpawnOptions::new().name("here")).await?;
        let down = work.monitor();
        work.kill();
        soon(down).await;
    }
    done.store(true, Ordering::SeqCst);
    looker.join().map_err(|_panic| "the looker panicked")?;
    assert_eq!(lost.load(Ordering::SeqCst), 0);
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_race_of_link_and_unlink_leaves_both_ends_linked_or_none() -> Res {
    let node = Node::start().await?;
    let ((a, _), (b, _)) = (work(&node).await?, work(&node).await?);
    let links = |pid: &Pid| node.process(pid).map(|info| info.links);
    let start = Arc::new(std::sync::Barrier::new(2));
    let unlinker = std::thread::spawn({
        let (node, a, b, start) = (node.clone(), a.clone(), b.clone(), Arc::clone(&start));
        move || {
            for _ in 0..20_000 {
                start.wait();
                node.unlink(&a, &b);
                start.wait();
            }
        }
    });
    for round in 0..20_000 {
        start.wait();
        if round % 2 == 0 {
            node.link(&a, &b)
        } else {
            node.link(&b, &a)
        };
        start.wait();
        assert_eq!(links(a.pid()), links(b.pid()), "round {round}");
        node.unlink(&a, &b);
        assert_eq!((links(a.pid()), links(b.pid())), (Some(0), Some(0)), "round {round}");
    }
    unlinker.join().map_err(|_panic| "a thread panicked")?;
    node.stop().await;
    Ok(())
}

/// A child that was on its way out when it was linked to whoever had started it was `noproc`, and took that along.
#[actix_rt::test]
async fn a_child_that_ends_well_while_it_is_linked_takes_nobody_along() -> Res {
    let node = Node::builder().behavior::<Kept>().data(Notify::new()).arbiters(2).start().await?;
    let ((parent, _seen), (to, started)) = (work(&node).await?, std_mpsc::channel());
    parent.raise(to).await?;
    let mut start = started.recv_timeout(LONG)?;
    assert!(poll_once(start.as_mut(), Waker::noop()).is_pending());
    node.data::<Notify>().ok_or("it is there")?.notify_one();
    let child = node.lookup::<Kept>("kept")?;
    let ((leaves, left), (open, gate)) = (std_mpsc::channel(), std_mpsc::channel::<()>());
    let waker = when_woken(move || {
        let _ = leaves.send(());
        let _ = gate.recv_timeout(LONG);
    });
    let mut call = pin!(child.keep().into_future());
    assert!(poll_once(call.as_mut(), &waker).is_pending());
    assert_eq!(soon(child.count()).await?, 1);
    let stopped = actix_rt::spawn(child.stop(ExitReason::Normal).into_future());
    left.recv_timeout(LONG)?;
    assert!(node.process(child.pid()).is_none(), "out of the table, and its links are not broken yet");
    assert!(matches!(poll_once(start.as_mut(), Waker::noop()), Poll::Ready(Ok(_))));
    open.send(())?;
    soon(stopped).await??;
    assert_eq!(soon(parent.echo(1)).await?, 1, "it lives");
    node.stop().await;
    Ok(())
}

/// Whoever was linked, and was linked again while the other one ended, heard of it twice.
#[actix_rt::test]
async fn an_end_is_told_once_though_the_two_are_linked_again_on_the_way() -> Res {
    let node = Node::start().await?;
    let (keeper, mut seen) = work_with(&node, SpawnOptions::new().trap_exit()).await?;
    let (other, _) = work(&node).await?;
    node.link(&keeper, &other);
    let linked_again = Arc::new(AtomicUsize::new(0));
    let waker = when_woken({
        let (node, keeper, other) = (node.clone(), keeper.pid().clone(), other.pid().clone());
        let linked_again = Arc::clone(&linked_again);
        move || {
            assert!(node.process(&other).is_none(), "it is on its way out");
            node.link(&keeper, &other);
            linked_again.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut call = pin!(other.keep().into_future());
    assert!(call.as_mut().poll(&mut Task::from_waker(&waker)).is_pending());
    // Behind it: it is kept.
    soon(other.echo(1)).await?;
    other.kill();
    assert_eq!(soon(seen.recv()).await, Some(1000));
    soon(keeper.echo(1)).await?;
    assert_eq!((linked_again.load(Ordering::SeqCst), seen.try_recv().ok()), (1, None), "once");
    node.stop().await;
    Ok(())
}

#[test]
fn an_idle_timeout_of_nothing_comes_behind_what_is_queued() {
    testkit::run(1, |sim| async move {
        let node = sim.node().await;
        let (log, mut seen) = mpsc::unbounded_channel();
        let work = node.spawn::<Work>(log).await.expect("a process");
        work.idle_after(Duration::ZERO).await.expect("it answers");
        let open = closed(&work).await.expect("it closes");
        while seen.try_recv().is_ok() {}
        (0..40).for_each(|n| work.note(n).expect("room"));
        open.send(()).expect("it waits");
        for n in 0..40 {
            assert_eq!(seen.recv().await, Some(n));
        }
        work.kill();
    });
}

#[test]
fn a_thread_whose_system_ended_starts_processes_in_the_pool() {
    let (tell, told) = std_mpsc::channel();
    std::thread::spawn(move || {
        actix_rt::System::new().block_on(async {});
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let node = Node::start().await.expect("a node");
            let (log, _seen) = mpsc::unbounded_channel();
            let started = node.spawn::<Work>(log).await.map(drop);
            node.stop().await;
            let _ = tell.send(started);
        });
    });
    assert_eq!(told.recv_timeout(LONG), Ok(Ok(())));
}

#[actix_rt::test]
async fn stopping_a_process_that_goes_for_a_lost_connection_of_another_is_no_error() -> Res {
    let node = Node::start().await?;
    let (work, _seen) = work(&node).await?;
    soon(work.stop(ExitReason::NoConnection)).await?;
    node.stop().await;
    Ok(())
}

/// A waker that panics.
fn grenade() -> Waker {
    when_woken(|| panic!("a waker that panics"))
}

#[actix_rt::test]
async fn a_waker_that_panics_keeps_no_other_watcher_and_no_other_caller_waiting() -> Res {
    let node = Node::start().await?;
    let options = SpawnOptions::new().mailbox(MailboxPolicy::Block, 1);
    let (work, _seen) = work_with(&node, options).await?;
    let bystander = work_with(&node, SpawnOptions::new().trap_exit()).await?.0;
    let open = closed(&work).await?;
    work.note(1)?;
    let mut in_line = pin!(work.echo(1).timeout(Duration::MAX).into_future());
    let mut watches: Vec<_> = (0..2).map(|_| Box::pin(work.monitor())).collect();
    assert!(poll_once(in_line.as_mut(), &grenade()).is_pending());
    assert!(watches.iter_mut().all(|watch| poll_once(watch.as_mut(), &grenade()).is_pending()));
    let (behind, down) = (work.clone(), work.monitor());
    let waiting = actix_rt::spawn(async move { behind.cast_wait(WorkCast::Note { n: 2 }).await });
    tokio::task::yield_now().await;
    node.link(&work, &bystander);
    work.kill();
    drop(open);
    assert_eq!(soon(down).await.reason, ExitReason::Killed);
    assert!(matches!(soon(waiting).await?, Err(CastError::NoProc(_))));
    assert_eq!(node.process(bystander.pid()).map(|info| info.links), Some(0));
    // Nor does it end the task that keeps everybody's deadlines.
    let (work, _seen) = work_with(&node, SpawnOptions::new()).await?;
    let mut call = pin!(work.keep().timeout(Duration::from_millis(5)).into_future());
    assert!(poll_once(call.as_mut(), &grenade()).is_pending());
    for _ in 0..3 {
        let late = soon(work.keep().timeout(Duration::from_millis(20))).await.unwrap_err();
        assert!(matches!(late, CallError::Timeout { .. }), "{late:?}");
    }
    node.stop().await;
    Ok(())
}

/// Calls with all kinds of timeouts, dropped at all kinds of moments, against processes that are killed meanwhile.
#[actix_rt::test]
async fn every_call_ends_whatever_happens_to_its_process() -> Res {
    let node = Node::builder().arbiters(2).start().await?;
    for round in 0..60_u64 {
        let policy =
            [MailboxPolicy::Reject, MailboxPolicy::Block, MailboxPolicy::DropOldest][round as usize % 3];
        let options = SpawnOptions::new().mailbox(policy, 1 + round as usize % 3);
        let (work, _seen) = work_with(&node, options).await?;
        let killer = std::thread::spawn({
            let (node, work) = (node.clone(), work.clone());
            move || {
                (0..round * 20).for_each(|_| std::hint::spin_loop());
                match round % 4 {
                    0 => work.kill(),
                    1 => node.exit(&work, ExitReason::Shutdown),
                    2 => drop(work.explode()),
                    _ => drop(work.stop(ExitReason::Normal)),
                }
            }
        });
        let calls = (0..40_u32).map(|n| {
            let work = work.clone();
            async move {
                let timeout = match n % 4 {
                    0 => Duration::ZERO,
                    1 => Duration::from_millis(u64::from(n % 7)),
                    2 => Duration::from_secs(3),
                    _ => Duration::MAX,
                };
                if n % 5 == 0 {
                    let mut call = pin!(work.echo(n).timeout(timeout).into_future());
                    let _ = poll_once(call.as_mut(), Waker::noop());
                } else if n % 2 == 0 {
                    let _ = work.cast_wait(WorkCast::Note { n }).await;
                } else if let Ok(got) = work.echo(n).timeout(timeout).await {
                    assert_eq!(got, n);
                }
            }
        });
        soon(futures_util::future::join_all(calls)).await;
        killer.join().map_err(|_panic| "the killer panicked")?;
        let down = work.monitor();
        work.kill();
        soon(down).await;
    }
    assert_eq!(node.process_count(), 0);
    node.stop().await;
    Ok(())
}

/// Starts that are given up at every moment leave no process and no name.
#[actix_rt::test]
async fn a_start_given_up_at_any_moment_leaves_nothing() -> Res {
    let node = Node::builder().arbiters(2).start().await?;
    for round in 0..400_u32 {
        let (log, _seen) = mpsc::unbounded_channel();
        let options = SpawnOptions::new().placement(Placement::RoundRobin).name("fleeting");
        let mut start = Box::pin(node.spawn::<Work>(log).options(options).into_future());
        let begun = poll_once(start.as_mut(), Waker::noop());
        (0..round).for_each(|_| std::hint::spin_loop());
        if let Poll::Ready(started) = begun {
            started?.kill();
        } else {
            drop(start);
        }
        soon(async {
            while node.process_count() > 0 || node.is_registered("fleeting") {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    node.stop().await;
    Ok(())
}

/// A node stops while others start processes on it: every start has an outcome, and nothing stays.
#[actix_rt::test]
async fn starts_during_a_stop_of_the_node_all_end() -> Res {
    for round in 0..20_u32 {
        let node = Node::builder().arbiters(2).start().await?;
        let starters: Vec<_> = (0..2)
            .map(|_| {
                let node = node.clone();
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
                    runtime.block_on(async {
                        loop {
                            let (log, _seen) = mpsc::unbounded_channel();
                            match node.spawn::<Work>(log).await {
                                Ok(work) => {
                                    let _ = work.echo(1).await;
                                }
                                Err(StartError::NotRunning) => return,
                                Err(other) => panic!("{other:?}"),
                            }
                        }
                    });
                })
            })
            .collect();
        (0..round * 1000).for_each(|_| std::hint::spin_loop());
        soon(node.stop()).await;
        let joined = actix_rt::task::spawn_blocking(move || {
            starters.into_iter().try_for_each(std::thread::JoinHandle::join).is_ok()
        });
        assert!(soon(joined).await?);
        assert_eq!(node.process_count(), 0);
    }
    Ok(())
}

/// A parent that dies at any moment of the start of its linked child takes it along.
#[actix_rt::test]
async fn a_parent_that_dies_during_the_init_of_its_child_takes_it_along() -> Res {
    struct Opener(mpsc::UnboundedSender<()>);
    #[behavior]
    impl Opener {
        #[init]
        fn new(tell: mpsc::UnboundedSender<()>) -> Result<Self, ExitReason> {
            Ok(Opener(tell))
        }
        #[cast]
        async fn open(&mut self, naps: u32, cx: &mut Context<Self>) {
            let _ = self.0.send(());
            let _ = cx.spawn_link::<Napping>(naps).placement(Placement::RoundRobin).await;
            pending::<()>().await;
        }
    }
    struct Napping;
    #[behavior]
    impl Napping {
        #[init]
        async fn new(naps: u32, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
            if naps.is_multiple_of(2) {
                cx.trap_exit();
            }
            for _ in 0..naps {
                tokio::task::yield_now().await;
            }
            Ok(Napping)
        }
        #[info]
        fn info(&mut self, info: Info) {
            if let Info::Exit(Exit { reason, .. }) = info {
                panic!("the parent's end is not for this process to decide about: {reason}");
            }
        }
    }
    let node = Node::builder().arbiters(2).start().await?;
    for round in 0..300_u32 {
        let (tell, mut told) = mpsc::unbounded_channel();
        let options = SpawnOptions::new().placement(Placement::RoundRobin);
        let opener = node.spawn::<Opener>(tell).options(options).await?;
        opener.open(round % 20)?;
        soon(told.recv()).await;
        (0..round * 10).for_each(|_| std::hint::spin_loop());
        match round % 3 {
            0 => opener.kill(),
            1 => node.exit(&opener, ExitReason::error("out")),
            _ => node.exit(&opener, ExitReason::Shutdown),
        }
        soon(async {
            while node.process_count() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    node.stop().await;
    Ok(())
}

/// Holds something that explodes when it is dropped: in its state, and in its handler.
struct Mined(Bomb);

#[behavior]
impl Mined {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Mined(Bomb(true)))
    }
    #[cast]
    async fn hang(&mut self, running: oneshot::Sender<()>) {
        let _held = Bomb(self.0.0);
        let _ = running.send(());
        pending::<()>().await;
    }
}

#[actix_rt::test]
async fn a_handler_and_a_state_that_both_panic_when_they_are_dropped_end_their_process_alone() -> Res {
    let node = Node::start().await?;
    for reason in [ExitReason::Killed, ExitReason::Shutdown] {
        let mined = node.spawn::<Mined>(()).placement(Placement::RoundRobin).await?;
        let (tell, running) = oneshot::channel();
        mined.hang(tell)?;
        soon(running).await?;
        let down = mined.monitor();
        node.exit(&mined, reason.clone());
        assert_eq!(soon(down).await.reason, reason);
    }
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_message_that_is_pushed_out_and_panics_is_not_the_senders_panic() -> Res {
    let node = Node::start().await?;
    let options = SpawnOptions::new().mailbox(MailboxPolicy::DropOldest, 1);
    let (work, mut seen) = work_with(&node, options).await?;
    let open = closed(&work).await?;
    work.carry(Bomb(true))?;
    work.note(1)?;
    open.send(()).map_err(|()| "it waits")?;
    assert_eq!(soon(seen.recv()).await, Some(1));
    node.stop().await;
    Ok(())
}

/// Gives the start of a linked child up when its `init` is over, before it hears of that.
struct Fickle;

#[behavior]
impl Fickle {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Fickle)
    }
    #[call]
    async fn begin_and_give_up(&mut self, cx: &mut Context<Self>) -> Pid {
        let (log, _seen) = mpsc::unbounded_channel();
        let node = cx.node().clone();
        // On this arbiter: it does not begin before this waits.
        let options = SpawnOptions::new().name("given up");
        let mut start = Box::pin(cx.spawn_link::<Work>(log).options(options).into_future());
        assert!(poll_once(start.as_mut(), Waker::noop()).is_pending());
        let child = node.whereis::<Work>("given up").expect("it has its name");
        soon(child.echo(1)).await.expect("it runs");
        child.pid().clone()
    }
    #[call]
    fn lives(&self) -> bool {
        true
    }
}

#[actix_rt::test]
async fn a_start_of_a_linked_child_that_is_given_up_does_not_kill_who_gives_it_up() -> Res {
    let node = Node::start().await?;
    let fickle = node.spawn::<Fickle>(()).await?;
    let child = soon(fickle.begin_and_give_up()).await?;
    soon(async {
        while node.process(&child).is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(soon(fickle.lives()).await?);
    node.stop().await;
    Ok(())
}
