//! The process of a local supervisor: performs what the supervision machine commands.

pub(crate) mod known;
mod requests;

use std::{
    cell::Cell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    sync::{Arc, OnceLock},
    time::Duration,
};

use noex_actors::{
    __private::{Hub, WatchAhead},
    AnyRef, Behavior, Caller, Context, Down, ExitReason, Generation, Info, Monotonic, Pid, RawRef,
    StartError,
};
use tokio::sync::{mpsc, oneshot};

use self::known::Known;
use super::{alarm::Alarm, end_of, entropy, instances::Instances, starter::Starter};
use crate::{
    child_spec::{ChildSpec, ChildTemplate, Recipe, chain},
    error::{ChildError, StartSupervisorError},
    event::SupervisorEvent,
    info::{ChildInfo, SupervisorExit, SupervisorStats},
    machine::supervision::{Ending, Failure, Input, Output, Report, Settings, Supervision},
    options::Strategy,
    supervisor::Supervisor,
};

/// What the handle and the process share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) strategy: Strategy,
    pub(crate) hub: Hub<SupervisorEvent>,
    pub(crate) exit: OnceLock<SupervisorExit>,
    pub(crate) started: Monotonic,
}

/// What the process is made of.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) shared: Arc<Shared>,
    pub(crate) settings: Settings,
    pub(crate) children: Vec<ChildSpec>,
    /// What its children are made from, if that is its strategy.
    pub(crate) template: Option<ChildTemplate>,
    /// Told when all were started, or why not.
    pub(crate) ready: oneshot::Sender<Result<(), StartSupervisorError>>,
}

/// Requests of the handle.
#[derive(Debug)]
pub(crate) enum Call {
    StartChild(Box<ChildSpec>),
    /// Behavior and arguments are the caller's, the rest is the template's.
    StartInstance(Box<ChildSpec>),
    TerminateChild(String),
    RestartChild(String),
    Instance(String),
    Supervisor(String),
    Child(String),
    Children,
    Stats,
}

/// Their answers.
#[derive(Debug)]
pub(crate) enum Reply {
    Instance(Result<AnyRef, ChildError>),
    Removed(Result<(), ChildError>),
    Supervisor(Result<Supervisor, ChildError>),
    Child(Result<Box<ChildInfo>, ChildError>),
    Children(Vec<ChildInfo>),
    Stats(Box<SupervisorStats>),
}

/// What the process tells itself.
#[derive(Debug)]
pub(crate) enum Note {
    Begin,
    /// There is something in the queue of facts.
    Facts,
    Alarm,
}

/// The end of a start.
#[derive(Debug)]
struct Started {
    child: String,
    generation: Generation,
    watch: WatchAhead,
    outcome: Result<AnyRef, StartError>,
}

enum Request {
    Start { caller: Caller<Reply>, child: String },
    Terminate { caller: Caller<Reply>, child: String },
}

/// The process.
pub(crate) struct SupervisorProcess {
    shared: Arc<Shared>,
    pid: Pid,
    known: Arc<Known>,
    machine: Supervision,
    recipes: BTreeMap<String, Recipe>,
    template: Option<ChildTemplate>,
    /// How many were made from the template.
    made: u64,
    instances: Instances,
    requests: BTreeMap<u64, Request>,
    next_request: u64,
    ready: Option<oneshot::Sender<Result<(), StartSupervisorError>>>,
    /// The last failure of each child's start, for whoever asked for it.
    failures: BTreeMap<String, (Generation, StartError)>,
    starter: Starter,
    facts: (mpsc::UnboundedSender<Started>, mpsc::UnboundedReceiver<Started>),
    /// Whether it was told that there are facts, and has not looked yet.
    told: Rc<Cell<bool>>,
    alarm: Alarm,
    settings: Settings,
}

impl Behavior for SupervisorProcess {
    type Args = Args;
    type Call = Call;
    type Reply = Reply;
    type Cast = ();
    type Info = Note;
    type Client = RawRef<Self>;

    async fn init(args: Args, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        let Args { shared, settings, children, template, ready } = args;
        let machine = Supervision::new(settings, children.iter().map(ChildSpec::rule));
        cx.continue_with(Note::Begin);
        let (pid, known) = (cx.pid().clone(), Known::of(cx.node()));
        known.insert(&pid, &shared);
        Ok(Self {
            shared,
            pid,
            known,
            machine,
            template,
            made: 0,
            recipes: children.into_iter().map(|spec| (spec.id.clone(), spec.into_recipe())).collect(),
            instances: Instances::default(),
            requests: BTreeMap::new(),
            next_request: 0,
            ready: Some(ready),
            failures: BTreeMap::new(),
            starter: Starter::begin(Note::Facts, cx),
            facts: mpsc::unbounded_channel(),
            told: Rc::default(),
            alarm: Alarm::default(),
            settings,
        })
    }

    async fn handle_call(&mut self, call: Call, from: Caller<Reply>, cx: &mut Context<Self>) {
        match call {
            Call::StartChild(spec) => self.add(*spec, from, cx),
            Call::StartInstance(spec) => self.add_instance(*spec, from, cx),
            Call::TerminateChild(child) => {
                let request = self.request(Request::Terminate { caller: from, child: child.clone() });
                self.step(Input::TerminateRequested { request, child }, cx);
            }
            Call::RestartChild(child) => {
                let request = self.request(Request::Start { caller: from, child: child.clone() });
                self.step(Input::RestartRequested { request, child }, cx);
            }
            Call::Instance(child) => from.reply(Reply::Instance(self.instance(&child))),
            Call::Supervisor(child) => from.reply(Reply::Supervisor(self.supervisor(&child))),
            Call::Child(child) => from.reply(Reply::Child(self.child(&child, cx))),
            Call::Children => from.reply(Reply::Children(self.children(cx))),
            Call::Stats => from.reply(Reply::Stats(Box::new(self.stats(cx)))),
        }
    }

    async fn handle_cast(&mut self, (): (), _: &mut Context<Self>) {}

    async fn handle_info(&mut self, info: Info<Note>, cx: &mut Context<Self>) {
        match info {
            Info::Down(down) => self.down(down, cx),
            Info::User(Note::Begin) => self.step(Input::Begun { found: Vec::new() }, cx),
            Info::User(Note::Facts) => {
                self.told.set(false);
                while let Ok(started) = self.facts.1.try_recv() {
                    self.started(started, cx);
                }
            }
            Info::User(Note::Alarm) => {
                self.alarm.rang();
                self.step(Input::DeadlineReached, cx);
            }
            other => tracing::debug!(kind = other.kind(), "unexpected info dropped"),
        }
    }

    async fn terminate(&mut self, reason: &ExitReason, cx: &mut Context<Self>) {
        self.instances.begin_last();
        self.step(Input::StopRequested { reason: reason.clone() }, cx);
        while self.shared.exit.get().is_none() {
            let now = cx.node().now();
            let due = self.machine.deadline().map(|at| at.since(now));
            tokio::select! {
                Some(started) = self.facts.1.recv() => self.started(started, cx),
                down = self.instances.next_down() => self.down(down, cx),
                () = actix_rt::time::sleep(due.unwrap_or_default()), if due.is_some() => {
                    self.step(Input::DeadlineReached, cx);
                }
            }
        }
        // Whoever waits for the end finds every event told.
        let _ = actix_rt::time::timeout(Duration::from_secs(1), self.shared.hub.close()).await;
    }
}

impl SupervisorProcess {
    fn down(&mut self, down: Down, cx: &mut Context<Self>) {
        if let Some(child) = self.instances.down(&down) {
            self.step(Input::ChildExited { child, pid: down.pid, reason: down.reason }, cx);
        }
    }

    fn step(&mut self, input: Input, cx: &mut Context<Self>) {
        let mut commands = VecDeque::new();
        self.machine.handle(input, cx.node().now(), entropy(), &mut commands);
        for command in commands {
            self.perform(command, cx);
        }
        self.alarm.set(self.machine.deadline(), Note::Alarm, cx);
    }

    fn perform(&mut self, command: Output, cx: &mut Context<Self>) {
        match command {
            Output::Start { child, generation, .. } => self.start(child, generation, cx),
            Output::Watch { pid, .. } => self.instances.watch(&pid, cx),
            Output::Stop { child, generation, pid, how, cause } => {
                let (supervisor, cause_text) = (&self.shared.id, cause.as_str());
                tracing::debug!(supervisor, child, %generation, %pid, ?how, cause = cause_text, "stopping an instance");
                self.instances.stop(&pid, how, cause.reason());
            }
            Output::Reply { request, answer } => self.answer(request, answer, cx),
            Output::Report(report) => {
                if let Report::Restarted { pid, attempt, .. } = &report {
                    cx.node().tell_restarted(pid, *attempt);
                }
                if self.shared.hub.is_heard()
                    && let Some(event) = SupervisorEvent::of(&self.shared.id, report)
                {
                    self.shared.hub.emit(event);
                }
            }
            Output::Forget { child } if self.ready.is_none() => {
                self.recipes.remove(&child);
                self.failures.remove(&child);
            }
            // While it starts, the failure is needed to tell why it did not.
            Output::Forget { .. } => {}
            Output::Ready => {
                let supervisor_id = self.shared.id.clone();
                self.shared
                    .hub
                    .emit(SupervisorEvent::SupervisorStarted { supervisor_id, pid: cx.pid().clone() });
                if let Some(ready) = self.ready.take() {
                    let _ = ready.send(Ok(()));
                }
            }
            // No instance comes from elsewhere here.
            Output::DoubtName => {}
            Output::End(ending) => self.end(ending, cx),
        }
    }

    fn start(&mut self, child: String, generation: Generation, cx: &mut Context<Self>) {
        let Some(recipe) = self.recipes.get(&child) else {
            debug_assert!(false, "every child has a recipe");
            return;
        };
        let start = recipe.begin(cx.node().clone());
        let (facts, parent) = (self.facts.0.clone(), cx.pid().clone());
        let (told, notifier) = (Rc::clone(&self.told), cx.notifier());
        let watch = self.instances.ahead(cx);
        self.starter.run(async move {
            let outcome = start.await;
            if let Ok(any) = &outcome {
                any.set_parent(&parent);
                any.watch_from_start(&watch);
            }
            if let Err(lost) = facts.send(Started { child, generation, watch, outcome }) {
                // The supervisor ended meanwhile.
                if let Ok(any) = lost.0.outcome {
                    any.kill();
                }
            } else if !told.replace(true) {
                let _ = notifier.notify(Note::Facts);
            }
        });
    }

    fn started(&mut self, started: Started, cx: &mut Context<Self>) {
        let Started { child, generation, watch, outcome } = started;
        match outcome {
            Ok(any) => {
                let pid = any.pid().clone();
                let over = self.instances.started(&child, any, &watch, cx);
                self.failures.remove(&child);
                self.step(Input::StartSucceeded { child, generation, pid }, cx);
                if let Some(down) = over {
                    self.down(down, cx);
                }
            }
            Err(error) => {
                self.instances.not_started(&watch, cx);
                let failure = Failure::Refused(chain(&error));
                self.failures.insert(child.clone(), (generation, error));
                self.step(Input::StartFailed { child, generation, node: None, failure }, cx);
            }
        }
    }

    fn end(&mut self, ending: Ending, cx: &mut Context<Self>) {
        let limit = self.settings.intensity;
        let (exit, failed) =
            end_of(ending, limit, |child, generation, failure| self.why(child, generation, failure, cx));
        if let Some(ready) = self.ready.take() {
            let _ = ready.send(Err(failed.unwrap_or(StartSupervisorError::NotRunning)));
        }
        cx.stop(exit.reason());
        self.finish(exit);
    }

    fn finish(&mut self, exit: SupervisorExit) {
        if self.shared.exit.set(exit.clone()).is_ok() {
            let supervisor_id = self.shared.id.clone();
            tracing::info!(supervisor = supervisor_id, reason = %exit, "supervisor stopped");
            self.shared.hub.emit(SupervisorEvent::SupervisorStopped { supervisor_id, reason: exit });
        }
    }
}

impl Drop for SupervisorProcess {
    /// Killed, or broken: children do not outlive their supervisor.
    fn drop(&mut self) {
        self.known.remove(&self.pid);
        self.instances.kill_all();
        while let Ok(Started { outcome, .. }) = self.facts.1.try_recv() {
            if let Ok(any) = outcome {
                any.kill();
            }
        }
        self.finish(SupervisorExit::Stopped(ExitReason::Killed));
        drop(self.shared.hub.close());
    }
}

impl std::fmt::Debug for SupervisorProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SupervisorProcess").field("id", &self.shared.id).finish_non_exhaustive()
    }
}
