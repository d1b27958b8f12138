//! How an application begins and ends: by handle, by signal, in time or not, and when its code panics.

#![allow(clippy::panic, reason = "tests, and programs that must panic")]

use std::{
    future::pending,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use noex_actors::{
    AppHandle, Application, ApplicationError, ApplicationOptions, ApplicationStatus, Context, ExitReason,
    Node, Signal, behavior, run, run_with, shutdown_signal,
};
use tokio::sync::{mpsc, oneshot};

type Res = Result<(), Box<dyn std::error::Error>>;

/// What happened, in order.
type Log = mpsc::UnboundedSender<&'static str>;
type Happened = mpsc::UnboundedReceiver<&'static str>;

const DEADLINE: Duration = Duration::from_secs(20);

struct Worker(Log);

#[behavior]
impl Worker {
    #[init]
    fn new(log: Log) -> Result<Self, ExitReason> {
        let _ = log.send("worker started");
        Ok(Worker(log))
    }
    #[cast]
    fn end_all(&mut self, cx: &mut Context<Self>) {
        AppHandle::of(cx.node()).expect("the application runs").stop();
    }
    #[cast]
    async fn hang(&mut self) {
        pending::<()>().await;
    }
    #[terminate]
    fn bye(&mut self, _reason: &ExitReason) {
        let _ = self.0.send("worker stopped");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.send("worker dropped");
    }
}

/// What goes wrong, if anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mishap {
    None,
    StartFails,
    StartPanics,
    StartHangs,
    PrepStopPanics,
    PrepStopHangs,
    StopPanics,
    StopHangs,
    WorkerHangs,
}

struct Shop(Log, Mishap);

impl Application for Shop {
    type Config = (Log, Mishap, oneshot::Sender<AppHandle>);

    async fn start((log, mishap, begun): Self::Config, node: &Node) -> Result<Self, ExitReason> {
        let _ = begun.send(AppHandle::of(node).expect("it is there during start"));
        let worker = node.spawn::<Worker>(log.clone()).await?;
        match mishap {
            Mishap::StartFails => return Err(ExitReason::error("no stock")),
            Mishap::StartPanics => panic!("start went off"),
            Mishap::StartHangs => {
                let _ = log.send("start hangs");
                pending::<()>().await;
            }
            Mishap::WorkerHangs => worker.hang()?,
            _ => {}
        }
        Ok(Shop(log, mishap))
    }
    async fn prep_stop(&mut self) {
        let _ = self.0.send("prep_stop");
        match self.1 {
            Mishap::PrepStopPanics => panic!("prep_stop went off"),
            Mishap::PrepStopHangs => pending().await,
            _ => {}
        }
    }
    async fn stop(self) {
        let _ = self.0.send("stop");
        match self.1 {
            Mishap::StopPanics => panic!("stop went off"),
            Mishap::StopHangs => pending().await,
            _ => {}
        }
    }
}

fn quiet() -> ApplicationOptions {
    ApplicationOptions::new().without_signals()
}

/// An application under way on a node of its own.
struct Running {
    node: Node,
    app: AppHandle,
    happened: Happened,
    ended: actix_rt::task::JoinHandle<Result<(), ApplicationError>>,
}

async fn start(mishap: Mishap, options: ApplicationOptions) -> Running {
    let node = Node::start().await.expect("a node starts");
    let (log, happened) = mpsc::unbounded_channel();
    let (begun, begins) = oneshot::channel();
    let ended = actix_rt::spawn({
        let node = node.clone();
        async move { run_with::<Shop>((log, mishap, begun), &node, options).await }
    });
    let app = begins.await.expect("it begins");
    Running { node, app, happened, ended }
}

impl Running {
    async fn happens(&mut self, what: &str) {
        let find = async {
            while let Some(happened) = self.happened.recv().await {
                if happened == what {
                    return;
                }
            }
            panic!("{what} never happened");
        };
        tokio::time::timeout(DEADLINE, find).await.expect("it happens in time");
    }

    /// Waits for its end; what happened since it was last looked at.
    async fn ends(mut self) -> (Result<(), ApplicationError>, Vec<&'static str>) {
        let ended = tokio::time::timeout(DEADLINE, self.ended).await.expect("it ends in time");
        assert!(AppHandle::of(&self.node).is_none(), "its place is free");
        assert_eq!(self.app.status(), ApplicationStatus::Stopped);
        assert_eq!(self.node.processes().len(), 0, "nothing is left");
        let rest = std::iter::from_fn(|| self.happened.try_recv().ok()).collect();
        (ended.expect("panics are contained"), rest)
    }
}

const ALL: [&str; 5] = ["worker started", "prep_stop", "worker stopped", "worker dropped", "stop"];

#[actix_rt::test]
async fn the_processes_end_between_prep_stop_and_stop() {
    let running = start(Mishap::None, quiet()).await;
    assert_eq!(running.app.reached(ApplicationStatus::Running).await, ApplicationStatus::Running);
    assert_eq!(running.app.name(), "Shop");
    running.app.stop();
    running.app.stop();
    running.app.stopped().await;
    assert_eq!(running.ends().await, (Ok(()), ALL.to_vec()));
}

#[actix_rt::test]
async fn a_process_can_end_the_program() -> Res {
    struct Kiosk;
    impl Application for Kiosk {
        type Config = Log;
        async fn start(log: Log, node: &Node) -> Result<Self, ExitReason> {
            node.spawn::<Worker>(log).await?.end_all()?;
            Ok(Kiosk)
        }
    }
    let (log, mut happened) = mpsc::unbounded_channel();
    let node = Node::start().await?;
    tokio::time::timeout(DEADLINE, run::<Kiosk>(log, &node)).await??;
    let mut all = Vec::new();
    while let Some(what) = happened.recv().await {
        all.push(what);
    }
    assert_eq!(all, ["worker started", "worker stopped", "worker dropped"]);
    Ok(())
}

#[actix_rt::test]
async fn a_node_that_is_stopped_stops_its_application() {
    let running = start(Mishap::None, quiet()).await;
    running.app.reached(ApplicationStatus::Running).await;
    running.node.stop().await;
    let happened = ["worker started", "worker stopped", "worker dropped", "prep_stop", "stop"];
    assert_eq!(running.ends().await, (Ok(()), happened.to_vec()));
}

#[actix_rt::test]
async fn a_start_that_fails_says_why_and_leaves_nothing() {
    let running = start(Mishap::StartFails, quiet()).await;
    let (ended, happened) = running.ends().await;
    assert_eq!(ended, Err(ApplicationError::Start(ExitReason::error("no stock"))));
    assert_eq!(happened, ["worker started", "worker stopped", "worker dropped"]);
}

#[actix_rt::test]
async fn a_start_that_panics_says_what() {
    let running = start(Mishap::StartPanics, quiet()).await;
    let (ended, happened) = running.ends().await;
    assert_eq!(ended, Err(ApplicationError::Start(ExitReason::Panic("start went off".into()))));
    assert_eq!(happened, ["worker started", "worker stopped", "worker dropped"]);
}

#[actix_rt::test]
async fn a_start_may_take_30_s() {
    struct Slow;
    impl Application for Slow {
        type Config = ();
        async fn start((): (), _node: &Node) -> Result<Self, ExitReason> {
            pending().await
        }
    }
    let node = Node::start().await.expect("a node starts");
    tokio::time::pause();
    let ended = run::<Slow>((), &node).await;
    assert_eq!(ended, Err(ApplicationError::StartTimeout(Duration::from_secs(30))));
}

#[actix_rt::test]
async fn a_start_out_of_time_is_dropped_with_what_it_started() {
    let within = Duration::from_millis(500);
    let running = start(Mishap::StartHangs, quiet().start_timeout(within)).await;
    let (ended, happened) = running.ends().await;
    assert_eq!(ended, Err(ApplicationError::StartTimeout(within)));
    assert_eq!(happened, ["worker started", "start hangs", "worker stopped", "worker dropped"]);
}

#[actix_rt::test]
async fn a_stop_during_the_start_is_a_graceful_one() {
    let mut running = start(Mishap::StartHangs, quiet()).await;
    running.happens("start hangs").await;
    assert_eq!(running.app.status(), ApplicationStatus::Starting);
    running.app.stop();
    assert_eq!(running.ends().await, (Ok(()), vec!["worker stopped", "worker dropped"]));
}

#[actix_rt::test]
async fn a_stop_out_of_time_kills_what_is_left() {
    let within = Duration::from_millis(500);
    for (mishap, expected) in [
        (Mishap::PrepStopHangs, &["worker started", "prep_stop", "worker dropped"][..]),
        (Mishap::WorkerHangs, &["worker started", "prep_stop", "worker dropped"]),
        (Mishap::StopHangs, &ALL),
    ] {
        let running = start(mishap, quiet().stop_timeout(within)).await;
        running.app.reached(ApplicationStatus::Running).await;
        running.app.stop();
        let ended = running.ends().await;
        assert_eq!(ended, (Err(ApplicationError::StopTimeout(within)), expected.to_vec()), "{mishap:?}");
    }
}

#[actix_rt::test]
async fn a_panic_on_the_way_out_is_told_and_skips_nothing() {
    for (mishap, text) in
        [(Mishap::PrepStopPanics, "prep_stop went off"), (Mishap::StopPanics, "stop went off")]
    {
        let running = start(mishap, quiet()).await;
        running.app.reached(ApplicationStatus::Running).await;
        running.app.stop();
        let panic = ApplicationError::Stop(ExitReason::Panic(text.into()));
        assert_eq!(running.ends().await, (Err(panic), ALL.to_vec()));
    }
}

#[actix_rt::test]
async fn a_node_runs_one_application_and_names_it() {
    let running = start(Mishap::None, quiet().name("first")).await;
    running.app.reached(ApplicationStatus::Running).await;
    let (log, happened) = mpsc::unbounded_channel();
    let second = run::<Shop>((log, Mishap::None, oneshot::channel().0), &running.node).await;
    assert_eq!(second, Err(ApplicationError::AlreadyRunning("first".into())));
    assert!(happened.is_empty());
    assert_eq!(running.app.status(), ApplicationStatus::Running, "the first one does not mind");
    running.app.stop();
    assert_eq!(running.ends().await, (Ok(()), ALL.to_vec()));
}

#[actix_rt::test]
async fn a_run_that_is_dropped_gives_the_place_back() {
    let running = start(Mishap::None, quiet()).await;
    running.app.reached(ApplicationStatus::Running).await;
    running.ended.abort();
    running.app.stopped().await;
    assert!(AppHandle::of(&running.node).is_none());
    assert_eq!(running.node.processes().len(), 1, "the node goes on");
    running.node.stop().await;
}

/// A program of its own, for signals: this file's test binary once more, with the role in its environment.
struct Program {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

const ROLE: &str = "NOEX_TEST_ROLE";

impl Program {
    fn start(role: &str) -> std::io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--exact", "the_program_that_gets_signals", "--ignored", "--nocapture"])
            .env(ROLE, role)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let out = child.stdout.take().ok_or_else(|| std::io::Error::other("no output"))?;
        let (line, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            BufReader::new(out).lines().map_while(Result::ok).try_for_each(|said| line.send(said))
        });
        Ok(Self { child, lines })
    }

    /// Reads until it says `what`.
    fn says(&mut self, what: &str) -> Res {
        let (mut before, until) = (Vec::new(), Instant::now() + DEADLINE);
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) if line == what => return Ok(()),
                Ok(line) => before.push(line),
                Err(error) => return Err(format!("{what:?} was not said, but {before:?}: {error}").into()),
            }
        }
    }

    /// Waits for its end, after its last line.
    fn code(&mut self) -> std::io::Result<Option<i32>> {
        Ok(self.child.wait()?.code())
    }

    fn signal(&self, signal: rustix::process::Signal) -> Res {
        Ok(rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal)?)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::print_stdout, reason = "a program that talks to its parent")]
fn say(what: &str) {
    println!("{what}");
}

struct Talking(String);

impl Application for Talking {
    type Config = String;
    async fn start(role: String, node: &Node) -> Result<Self, ExitReason> {
        say("\nstarting");
        match role.as_str() {
            "starts for ever" => pending().await,
            "ends by itself" => AppHandle::of(node).expect("it runs").stop(),
            _ => {}
        }
        Ok(Talking(role))
    }
    async fn prep_stop(&mut self) {
        // Listened for before the parent hears of it.
        let mut signal = Box::pin(shutdown_signal());
        assert!((&mut signal).now_or_never().is_none());
        say("prep_stop");
        match self.0.as_str() {
            "stops for ever" => pending().await,
            // A signal of somebody who does not know that it is stopping already.
            "ends by itself" => say(&signal.await.to_string()),
            _ => {}
        }
    }
    async fn stop(self) {
        say("stop");
    }
}

#[actix_rt::test]
#[ignore = "the program that other tests start"]
async fn the_program_that_gets_signals() -> Res {
    let Ok(role) = std::env::var(ROLE) else { return Ok(()) };
    let node = Node::start().await?;
    // Watched from outside of the application: it runs once the signal is listened for.
    let ready = async {
        let app = loop {
            tokio::task::yield_now().await;
            if let Some(app) = AppHandle::of(&node) {
                break app;
            }
        };
        app.reached(ApplicationStatus::Running).await;
        say("running");
        pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = run::<Talking>(role, &node) => ended,
        () = ready => unreachable!("it waits for ever"),
    };
    say(&format!("{ended:?}"));
    std::process::exit(i32::from(ended.is_err()));
}

#[test]
fn either_signal_ends_a_program_in_good_order() -> Res {
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let mut program = Program::start("plain")?;
        program.says("running")?;
        program.signal(signal)?;
        for what in ["prep_stop", "stop", "Ok(())"] {
            program.says(what)?;
        }
        assert_eq!(program.code()?, Some(0));
    }
    Ok(())
}

#[test]
fn a_second_signal_ends_a_program_at_once() -> Res {
    let mut program = Program::start("stops for ever")?;
    program.says("running")?;
    program.signal(rustix::process::Signal::TERM)?;
    program.says("prep_stop")?;
    program.signal(rustix::process::Signal::INT)?;
    program.says(&format!("{:?}", Err::<(), _>(ApplicationError::SecondSignal(Signal::Interrupt))))?;
    assert_eq!(program.code()?, Some(1));
    Ok(())
}

#[test]
fn a_signal_during_the_start_ends_it_in_good_order() -> Res {
    let mut program = Program::start("starts for ever")?;
    program.says("starting")?;
    program.signal(rustix::process::Signal::TERM)?;
    program.says("Ok(())")?;
    assert_eq!(program.code()?, Some(0));
    Ok(())
}

#[test]
fn the_first_signal_to_a_program_that_is_stopping_already_hurries_nothing() -> Res {
    let mut program = Program::start("ends by itself")?;
    program.says("prep_stop")?;
    program.signal(rustix::process::Signal::TERM)?;
    for what in ["SIGTERM", "stop", "Ok(())"] {
        program.says(what)?;
    }
    assert_eq!(program.code()?, Some(0));
    Ok(())
}
