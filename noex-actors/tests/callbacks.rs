//! What callbacks promise, in virtual time: the cases of OTP's gen_server manual.

#![allow(clippy::panic, reason = "tests, and processes that must panic")]

use std::time::Duration;

use actix_rt::time::Instant;
use noex_actors::{
    CallError, Caller, Context, Delivery, ExitReason, Info, MonitorRef, Node, Pid, Ref, StartError, TaskRef,
    TimerRef, behavior,
    testkit::{self, Probe, Recorder, Sim},
};
use tokio::sync::mpsc;

const SOON: Duration = Duration::from_secs(10);

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

type Log = mpsc::UnboundedSender<String>;

/// Where a process is told to do something bad.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    Init,
    Continue,
    Call,
    Cast,
    Info,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    Stop,
    Panic,
}

fn act(how: How, cx: &mut Context<Gen>) {
    match how {
        How::Stop => cx.stop(ExitReason::error("told")),
        How::Panic => panic!("told"),
    }
}

struct Gen {
    log: Log,
    bad: (At, How),
    timers: Vec<TimerRef>,
    tasks: Vec<TaskRef>,
    monitors: Vec<MonitorRef>,
    last_words: fn(),
}

#[derive(Clone, Debug)]
enum Note {
    Next(u32),
    Tick(String),
}

impl Gen {
    fn log(&self, text: impl Into<String>) {
        let _ = self.log.send(text.into());
    }
}

#[behavior]
impl Gen {
    #[init]
    async fn new(log: Log, bad: (At, How), cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        let _ = log.send("init".into());
        if bad.0 == At::Init {
            act(bad.1, cx);
        }
        if bad.0 == At::Continue {
            cx.continue_with(Note::Next(0));
        }
        Ok(Gen { log, bad, timers: vec![], tasks: vec![], monitors: vec![], last_words: || () })
    }
    #[call]
    fn ask(&mut self, cx: &mut Context<Self>) -> u32 {
        if self.bad.0 == At::Call {
            act(self.bad.1, cx);
        }
        7
    }
    #[cast]
    fn tell(&mut self, cx: &mut Context<Self>) {
        if self.bad.0 == At::Cast {
            act(self.bad.1, cx);
        }
        self.log("cast");
    }
    #[cast]
    fn give_up(&mut self, text: String) -> Result<(), std::io::Error> {
        Err(std::io::Error::other(text))
    }
    #[cast]
    fn go_on(&mut self, cx: &mut Context<Self>) {
        cx.continue_with(Note::Next(1));
        cx.continue_with(Note::Next(2));
        self.log("go on");
    }
    #[cast]
    fn notify(&mut self, cx: &mut Context<Self>) {
        cx.notify(Note::Tick("notified".into()));
    }
    #[cast]
    fn last_words(&mut self, say: fn()) {
        self.last_words = say;
    }
    #[cast]
    fn idle(&mut self, after: Option<Duration>, cx: &mut Context<Self>) {
        cx.set_idle_timeout(after);
    }
    #[cast]
    fn remind(&mut self, after: Duration, what: String, cx: &mut Context<Self>) {
        let timer = cx.send_after(after, Note::Tick(what));
        self.timers.push(timer);
    }
    #[cast]
    fn beat(&mut self, every: Duration, cx: &mut Context<Self>) {
        let timer = cx.send_interval(every, || Note::Tick("beat".into()));
        self.timers.push(timer);
    }
    #[cast]
    fn work(&mut self, takes: Duration, cx: &mut Context<Self>) {
        let task = cx.task(async move {
            actix_rt::time::sleep(takes).await;
            Note::Tick("worked".into())
        });
        self.tasks.push(task);
    }
    #[call]
    fn cancel(&mut self) -> Vec<bool> {
        self.tasks.drain(..).for_each(|task| task.cancel());
        self.timers.drain(..).map(|timer| timer.cancel()).collect()
    }
    #[call]
    async fn nap(&mut self, takes: Duration) -> Duration {
        let before = Instant::now();
        actix_rt::time::sleep(takes).await;
        before.elapsed()
    }
    #[call]
    async fn count_on_a_thread(&mut self, to: u64, cx: &mut Context<Self>) -> u64 {
        cx.blocking(move || (0..=to).sum()).await
    }
    #[call]
    fn watch(&mut self, pid: Pid, cx: &mut Context<Self>) {
        self.monitors.push(cx.monitor(&pid));
    }
    #[call]
    fn unwatch(&mut self, cx: &mut Context<Self>) -> Vec<bool> {
        self.monitors.drain(..).map(|monitor| cx.demonitor(&monitor)).collect()
    }
    #[call]
    fn later(&mut self, from: Caller<u32>, cx: &mut Context<Self>) {
        cx.task(async move {
            actix_rt::time::sleep(Duration::from_secs(2)).await;
            from.reply(9);
            Note::Tick("answered".into())
        });
    }
    #[info]
    fn info(&mut self, info: Info<Note>, cx: &mut Context<Self>) {
        if self.bad.0 == At::Info {
            act(self.bad.1, cx);
        }
        self.log(match info {
            Info::User(Note::Tick(what)) => what,
            other => other.kind().to_owned(),
        });
    }
    #[continued]
    fn next(&mut self, note: Note, cx: &mut Context<Self>) {
        if self.bad.0 == At::Continue {
            act(self.bad.1, cx);
        }
        self.log(match note {
            Note::Next(n) => format!("next {n}"),
            Note::Tick(what) => what,
        });
    }
    #[terminate]
    fn bye(&mut self, reason: &ExitReason) {
        (self.last_words)();
        self.log(format!("bye: {reason}"));
    }
}

struct Lab {
    sim: Sim,
    node: Node,
    log: Log,
    logged: mpsc::UnboundedReceiver<String>,
}

impl Lab {
    async fn new(sim: Sim) -> Self {
        let node = sim.node().await;
        let (log, logged) = mpsc::unbounded_channel();
        Lab { sim, node, log, logged }
    }
    async fn spawn(&self, bad: (At, How)) -> Result<Ref<Gen>, StartError> {
        self.node.spawn::<Gen>((self.log.clone(), bad)).await
    }
    async fn good(&mut self) -> Ref<Gen> {
        let process = self.spawn((At::Never, How::Stop)).await.expect("it starts");
        assert_eq!(self.logged().await, ["init"]);
        process
    }
    /// What was logged since the last time, once nothing runs any more.
    async fn logged(&mut self) -> Vec<String> {
        self.sim.settle().await;
        let mut all = Vec::new();
        while let Ok(text) = self.logged.try_recv() {
            all.push(text);
        }
        all
    }
}

#[test]
fn a_stop_works_from_every_callback_and_terminate_learns_why() {
    testkit::run(1, |sim| async move {
        for at in [At::Init, At::Continue, At::Call, At::Cast, At::Info] {
            let mut lab = Lab::new(sim.clone()).await;
            let mut probe = Probe::start(&lab.node).await;
            let process = lab.spawn((at, How::Stop)).await.expect("it starts");
            probe.monitor(&process);
            match at {
                At::Call => assert_eq!(process.ask().await, Ok(7), "a call in which it stops is answered"),
                At::Cast => process.tell().expect("sent"),
                At::Info => process.notify().expect("sent"),
                At::Init | At::Continue | At::Never => {}
            }
            let reason = probe.expect_down(&process, SOON).await.reason;
            // It may have been gone before the probe watched it.
            assert!(reason == ExitReason::error("told") || reason == ExitReason::NoProc, "{at:?}: {reason}");
            let logged = lab.logged().await;
            assert_eq!(logged.last().map(String::as_str), Some("bye: error: told"), "{at:?}: {logged:?}");
        }
    });
}

#[test]
fn a_panic_in_any_callback_is_an_exit_without_terminate() {
    testkit::run(1, |sim| async move {
        for at in [At::Init, At::Continue, At::Call, At::Cast, At::Info] {
            let mut lab = Lab::new(sim.clone()).await;
            let process = match lab.spawn((at, How::Panic)).await {
                Ok(process) => process,
                Err(error) => {
                    assert_eq!(at, At::Init);
                    assert_eq!(error, StartError::Init(ExitReason::Panic("told".into())));
                    continue;
                }
            };
            let down = process.monitor();
            match at {
                At::Call => {
                    let error = process.ask().await.expect_err("it panicked");
                    assert_eq!(error.delivery(), Delivery::Unknown);
                    let panic = ExitReason::Panic("told".into());
                    assert!(matches!(error, CallError::Exited { reason, .. } if reason == panic));
                }
                At::Cast => process.tell().expect("sent"),
                At::Info => process.notify().expect("sent"),
                At::Init | At::Continue | At::Never => {}
            }
            let reason = down.await.reason;
            let panic = ExitReason::Panic("told".into());
            assert!(reason == panic || reason == ExitReason::NoProc, "{at:?}: {reason}");
            assert!(!lab.logged().await.iter().any(|line| line.starts_with("bye")), "{at:?}");
            assert_eq!(lab.node.process_count(), 0);
        }
    });
}

#[test]
fn the_error_of_a_cast_is_the_reason_of_the_end() {
    testkit::run(1, |sim| async move {
        let mut lab = Lab::new(sim).await;
        let process = lab.good().await;
        let down = process.monitor();
        process.give_up("disk full".into()).expect("sent");
        assert_eq!(down.await.reason, ExitReason::Error("disk full".into()));
        assert_eq!(lab.logged().await, ["bye: error: disk full"]);
    });
}

#[test]
fn what_continues_comes_before_the_next_message_in_order() {
    testkit::run(1, |sim| async move {
        let mut lab = Lab::new(sim).await;
        let process = lab.good().await;
        process.go_on().expect("sent");
        process.tell().expect("sent");
        assert_eq!(lab.logged().await, ["go on", "next 1", "next 2", "cast"]);
    });
}

#[test]
fn an_idle_timeout_comes_once_per_silence_and_every_message_moves_it() {
    testkit::run(1, |sim| async move {
        let mut lab = Lab::new(sim.clone()).await;
        let process = lab.good().await;
        process.idle(Some(secs(10))).expect("sent");
        sim.advance(secs(9)).await;
        process.tell().expect("sent");
        sim.advance(secs(9)).await;
        assert_eq!(lab.logged().await, ["cast"]);
        sim.advance(secs(2)).await;
        assert_eq!(lab.logged().await, ["timeout"]);
        sim.advance(secs(25)).await;
        assert_eq!(lab.logged().await, ["timeout", "timeout"], "and again while it is silent");
        process.idle(None).expect("sent");
        sim.advance(secs(3600)).await;
        assert_eq!(lab.logged().await, [""; 0]);
    });
}

#[test]
fn timers_fire_at_their_time_and_cancelled_ones_do_not() {
    testkit::run(1, |sim| async move {
        let mut lab = Lab::new(sim.clone()).await;
        let process = lab.good().await;
        process.remind(secs(3), "third".into()).expect("sent");
        process.remind(secs(1), "first".into()).expect("sent");
        process.remind(secs(2), "second".into()).expect("sent");
        process.remind(Duration::ZERO, "now".into()).expect("sent");
        assert_eq!(lab.logged().await, ["now"]);
        sim.advance(Duration::from_millis(2500)).await;
        assert_eq!(lab.logged().await, ["first", "second"]);
        assert_eq!(process.cancel().await, Ok(vec![true, false, false, false]), "only one was pending");
        sim.advance(secs(60)).await;
        assert_eq!(lab.logged().await, [""; 0]);
    });
}

#[test]
fn an_interval_ticks_until_it_is_cancelled_and_ends_with_its_process() {
    testkit::run(1, |sim| async move {
        let mut lab = Lab::new(sim.clone()).await;
        let process = lab.good().await;
        process.beat(secs(1)).expect("sent");
        sim.advance(Duration::from_millis(3500)).await;
        assert_eq!(lab.logged().await, ["beat"; 3]);
        assert_eq!(process.cancel().await, Ok(vec![true]));
        sim.advance(secs(10)).await;
        assert_eq!(lab.logged().await, [""; 0]);
        process.beat(secs(1)).expect("sent");
        process.stop(ExitReason::Normal).await.expect("it stops");
        sim.advance(secs(10)).await;
        assert_eq!(lab.logged().await, ["bye: normal"]);
    });
}

#[test]
fn a_task_runs_beside_the_mailbox_and_ends_with_its_process_or_by_its_reference() {
    testkit::run(1, |sim| async move {
        let mut lab = Lab::new(sim.clone()).await;
        let process = lab.good().await;
        process.work(secs(5)).expect("sent");
        process.tell().expect("sent");
        assert_eq!(lab.logged().await, ["cast"], "the mailbox goes on");
        sim.advance(secs(5)).await;
        assert_eq!(lab.logged().await, ["worked"]);
        process.work(secs(5)).expect("sent");
        process.cancel().await.expect("cancelled");
        process.work(secs(5)).expect("sent");
        process.stop(ExitReason::Normal).await.expect("it stops");
        sim.advance(secs(60)).await;
        assert_eq!(lab.logged().await, ["bye: normal"]);
    });
}

#[test]
fn a_deferred_reply_comes_from_a_task_while_the_process_goes_on() {
    testkit::run(1, |sim| async move {
        let mut lab = Lab::new(sim.clone()).await;
        let process = lab.good().await;
        let started = Instant::now();
        let (later, ask) = tokio::join!(process.later(), process.ask());
        assert_eq!((later, ask), (Ok(9), Ok(7)));
        assert_eq!(started.elapsed(), secs(2));
        // Its process gone, the caller hears of it at once.
        let call = process.later();
        let gone = async {
            sim.settle().await;
            process.kill();
        };
        let (later, ()) = tokio::join!(call, gone);
        assert!(matches!(later, Err(CallError::Exited { reason: ExitReason::Killed, .. })), "{later:?}");
    });
}

#[test]
fn a_call_gives_up_at_its_deadline_and_says_whether_it_may_have_run() {
    testkit::run(1, |sim| async move {
        let mut lab = Lab::new(sim.clone()).await;
        let process = lab.good().await;
        let started = Instant::now();
        let (running, queued) = tokio::join!(process.nap(secs(60)), process.ask().timeout(secs(3)));
        assert_eq!(started.elapsed(), secs(5), "five seconds unless told otherwise");
        assert_eq!(running.map_err(|error| error.delivery()), Err(Delivery::Unknown));
        assert_eq!(queued.map_err(|error| error.delivery()), Err(Delivery::Never));
        lab.logged().await;
    });
}

#[test]
fn blocking_work_runs_on_another_thread() {
    testkit::run(1, |sim| async move {
        let mut lab = Lab::new(sim).await;
        let process = lab.good().await;
        assert_eq!(process.count_on_a_thread(1000).await, Ok(500_500));
        lab.logged().await;
    });
}

#[test]
fn a_panic_of_last_words_changes_nothing() {
    testkit::run(1, |sim| async move {
        let mut lab = Lab::new(sim).await;
        let process = lab.good().await;
        let other = lab.good().await;
        process.last_words(|| panic!("last words")).expect("sent");
        let down = process.monitor();
        process.stop(ExitReason::Shutdown).await.expect("it stops");
        assert_eq!(down.await.reason, ExitReason::Shutdown, "why it went stays");
        assert_eq!(other.ask().await, Ok(7));
        assert_eq!(lab.logged().await, [""; 0]);
    });
}

#[test]
fn no_down_arrives_after_demonitor_even_if_it_was_queued() {
    testkit::run(1, |sim| async move {
        let mut lab = Lab::new(sim).await;
        let (process, watched, living) = (lab.good().await, lab.good().await, lab.good().await);
        process.watch(watched.pid().clone()).await.expect("watched");
        process.watch(living.pid().clone()).await.expect("watched");
        // The end comes while the process naps: its Down waits in the mailbox, before the demonitor.
        let (nap, unwatch, stop) = tokio::join!(
            process.nap(secs(1)),
            async {
                watched.stop(ExitReason::Normal).await.expect("it stops");
                process.unwatch().await
            },
            async {}
        );
        let () = stop;
        assert_eq!((nap, unwatch), (Ok(secs(1)), Ok(vec![false, true])));
        assert_eq!(
            lab.logged().await,
            ["bye: normal", "down"],
            "this one came before the demonitor was handled"
        );
        living.stop(ExitReason::Normal).await.expect("it stops");
        assert_eq!(lab.logged().await, ["bye: normal"]);
        process.watch(watched.pid().clone()).await.expect("watched");
        assert_eq!(lab.logged().await, ["down"], "of who is not there");
    });
}

#[test]
fn an_init_that_takes_too_long_is_given_up_at_its_deadline() {
    struct Slow;
    #[behavior]
    impl Slow {
        #[init]
        async fn new() -> Result<Self, ExitReason> {
            actix_rt::time::sleep(Duration::from_secs(3600)).await;
            Ok(Slow)
        }
    }
    testkit::run(1, |sim| async move {
        let node = sim.node().await;
        let started = Instant::now();
        assert_eq!(node.spawn::<Slow>(()).await.map(drop), Err(StartError::InitTimeout(secs(5))));
        assert_eq!(started.elapsed(), secs(5));
        assert_eq!(node.process_count(), 0);
        // Dropped before it ends, a spawn leaves no orphan.
        let spawn = node.spawn::<Slow>(());
        let dropped = tokio::time::timeout(secs(1), async { spawn.await }).await;
        assert!(dropped.is_err());
        sim.settle().await;
        assert_eq!(node.process_count(), 0);
    });
}

#[test]
fn local_messages_can_be_encoded_as_those_to_other_nodes_are() {
    testkit::run(1, |sim| async move {
        let node = sim.node().await;
        sim.encode_local_messages(&node);
        let recorder = node.spawn::<Recorder>(()).await.expect("it starts");
        recorder.keep("a".into()).expect("sent");
        assert_eq!(recorder.echo("b".into()).await, Ok("b".into()));
        assert_eq!(recorder.seen().await, Ok(vec!["a".into()]));
    });
}
