//! What a process can do from inside its callbacks.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    future::Future,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actix_rt::task::JoinHandle;
use tokio::task::AbortHandle;

use crate::{
    Behavior, Down, ExitReason, FencingToken, Info, LinkRef, MonitorRef, Node, Pid, Ref, Spawn, TimerRef,
    machine::signals::Trap,
    mailbox::{Envelope, Mailbox},
    process::Process,
    route::Watcher,
    spawn::WatchAhead,
    timer,
};

/// A process's view of itself and its node; handed to every callback.
pub struct Context<B: Behavior> {
    me: Ref<B>,
    mailbox: Arc<Mailbox<B>>,
    /// What most processes do not have at most times.
    rest: Option<Box<Rest<B>>>,
}

struct Rest<B: Behavior> {
    stop: Option<ExitReason>,
    next: VecDeque<B::Info>,
    idle_timeout: Option<Duration>,
    /// Of what is about to start, nobody knows the address yet.
    monitors: BTreeMap<u64, Option<Pid>>,
    tasks: Vec<JoinHandle<()>>,
}

impl<B: Behavior> Rest<B> {
    fn new() -> Box<Self> {
        Box::new(Self {
            stop: None,
            next: VecDeque::new(),
            idle_timeout: None,
            monitors: BTreeMap::new(),
            tasks: Vec::new(),
        })
    }
}

/// What a process does between two messages.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Turn {
    Stop,
    Continue,
    /// Waits for a message, so long at most.
    Wait(Option<Duration>),
}

impl<B: Behavior> Context<B> {
    pub(crate) fn new(mailbox: Arc<Mailbox<B>>) -> Self {
        Self { me: Ref::local(Arc::clone(&mailbox)), mailbox, rest: None }
    }

    fn rest(&mut self) -> &mut Rest<B> {
        self.rest.get_or_insert_with(Rest::new)
    }

    /// A reference to this process.
    #[must_use]
    pub fn me(&self) -> &Ref<B> {
        &self.me
    }

    /// The address of this process.
    #[must_use]
    pub fn pid(&self) -> &Pid {
        &self.mailbox.core.pid
    }

    pub(crate) fn behavior(&self) -> &'static str {
        self.mailbox.behavior()
    }

    /// The node on which it runs.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.mailbox.core.node
    }

    /// Ends the process after this callback. The first reason counts.
    pub fn stop(&mut self, reason: ExitReason) {
        self.rest().stop.get_or_insert(reason);
    }

    /// Runs `handle_continue(next)` before the next message. Several are run in order.
    pub fn continue_with(&mut self, next: B::Info) {
        self.rest().next.push_back(next);
    }

    /// From now on, `Info::Timeout` arrives whenever no message came for `after`. `None` ends it.
    pub fn set_idle_timeout(&mut self, after: Option<Duration>) {
        self.rest().idle_timeout = after;
    }

    fn process(&self) -> Arc<dyn Process> {
        Arc::<Mailbox<B>>::clone(&self.mailbox)
    }

    /// Watches a process: `Info::Down` arrives exactly once, in order with its messages.
    ///
    /// Never fails: a process that is not there answers `NoProc`, a node out of reach `NoConnection`.
    pub fn monitor(&mut self, target: &impl AsRef<Pid>) -> MonitorRef {
        let pid = target.as_ref().clone();
        let me = self.process();
        // Reserved before the watch begins: the answer may be here before `monitor` returns.
        let monitors = &mut self.rest.get_or_insert_with(Rest::new).monitors;
        let id = me.core().node.monitor(&pid, Watcher::Process(Arc::downgrade(&me)), |id| {
            monitors.insert(id, Some(pid.clone()));
        });
        MonitorRef { id, pid }
    }

    /// A watch that was asked for with its process.
    pub(crate) fn watches(&mut self, id: u64, pid: &Pid) -> MonitorRef {
        self.rest().monitors.insert(id, Some(pid.clone()));
        MonitorRef { id, pid: pid.clone() }
    }

    /// A watch of what somebody else starts for this process. Its `Down` may arrive before the process knows the address.
    #[doc(hidden)]
    pub fn watch_ahead(&mut self) -> WatchAhead {
        let me = self.process();
        let ahead = WatchAhead::new(me.core().node.fresh_monitor(), Arc::downgrade(&me));
        self.rest().monitors.insert(ahead.number(), None);
        ahead
    }

    /// The process of that watch has started. Only while its `Down` has not arrived.
    #[doc(hidden)]
    pub fn watch_began(&mut self, ahead: &WatchAhead, pid: &Pid) -> MonitorRef {
        self.watches(ahead.number(), pid)
    }

    /// Nothing started, or nobody wants to hear of it.
    #[doc(hidden)]
    pub fn watch_failed(&mut self, ahead: &WatchAhead) {
        self.rest().monitors.remove(&ahead.number());
    }

    /// Who hears of a watch of this process.
    pub(crate) fn watcher(&self) -> Watcher {
        Watcher::Process(Arc::downgrade(&self.process()))
    }

    /// Ends a watch; true if it had not fired. No `Down` of it arrives after this. OTP: `demonitor` with `flush`.
    pub fn demonitor(&mut self, monitor: &MonitorRef) -> bool {
        let removed = self.rest.as_mut().and_then(|rest| rest.monitors.remove(&monitor.id));
        let Some(Some(pid)) = removed else { return false };
        self.node().demonitor(&pid, monitor.id);
        true
    }

    /// Links this process and another: when one ends abnormally, so does the other, unless it traps exits. A process that
    /// is not there breaks the link at once, with `NoProc`. One link per pair, however often it is made. OTP: `link/1`.
    pub fn link(&mut self, target: &impl AsRef<Pid>) -> LinkRef {
        self.node().link(&self.me, target)
    }

    /// Takes the link away: neither end hears of the other any more. An `Exit` that is queued already stays, as in OTP.
    pub fn unlink(&mut self, target: &impl AsRef<Pid>) {
        self.node().unlink(&self.me, target);
    }

    /// From now on exit signals arrive as [`Info::Exit`] instead of ending this process; `Normal` ones too. Except: what
    /// `exit` sends with `Killed` is not trapped, and a signal of the parent, the process that started this one with
    /// [`spawn`](Self::spawn) or [`spawn_link`](Self::spawn_link), ends it, after `terminate`.
    /// OTP: `process_flag(trap_exit, true)`, and `gen_server` on the exit of its parent.
    pub fn trap_exit(&mut self) {
        self.mailbox.core.set_trap(Trap::On);
    }

    /// From now on exit signals end this process again.
    pub fn untrap_exit(&mut self) {
        self.mailbox.core.set_trap(Trap::Off);
    }

    /// Sends an exit signal to a process, itself included.
    ///
    /// Whoever traps exits gets [`Info::Exit`]. Otherwise `Normal` does nothing (but to itself), and any other reason ends
    /// the process at its next wait: a handler that awaits is given up, queued messages do not run, `terminate` does.
    /// `Killed` ends it like [`Ref::kill`], trapping or not. The same on another node, where the signal arrives behind what
    /// was sent before. OTP: `exit/2`; there `terminate` does not run.
    pub fn exit(&self, target: &impl AsRef<Pid>, reason: ExitReason) {
        self.node().exit_from(self.pid(), target.as_ref(), reason);
    }

    /// From now on [`Info::NodeUp`] and [`Info::NodeDown`] arrive for every node that comes or goes, in a clustered node. The
    /// `Down`s of what this process watches there come first. A node that is about to be told of as this is called may be
    /// connected already. OTP: `net_kernel:monitor_nodes(true)`.
    pub fn monitor_nodes(&mut self) {
        self.node().watch_nodes(Arc::downgrade(&self.process()));
    }

    /// Queues an info to itself, behind what is there.
    pub fn notify(&self, info: B::Info) {
        self.mailbox.push_exempt(Envelope::User(info));
    }

    /// A handle with which anybody can send infos to this process.
    #[must_use]
    pub fn notifier(&self) -> Notifier<B::Info> {
        let mailbox = Arc::clone(&self.mailbox);
        Notifier(Arc::new(move |info| mailbox.push_exempt(Envelope::User(info))))
    }

    /// Sends itself `info` after a while. Ends with the process.
    pub fn send_after(&mut self, after: Duration, info: B::Info) -> TimerRef {
        let notifier = self.notifier();
        let (timer, task) = timer::after(after, move || {
            let _ = notifier.notify(info);
        });
        self.keep(task);
        timer
    }

    /// Sends itself an info every so often, the first after `every`. A tick that comes late is not made up for.
    /// Ends with the process.
    pub fn send_interval(&mut self, every: Duration, make: impl Fn() -> B::Info + 'static) -> TimerRef {
        let notifier = self.notifier();
        let (timer, task) = timer::every(every, move || notifier.notify(make()).is_ok());
        self.keep(task);
        timer
    }

    /// Runs a future beside the mailbox, on this arbiter; what it returns arrives as an info. Ends with the process. A panic
    /// of the future ends the future alone.
    pub fn task(&mut self, future: impl Future<Output = B::Info> + 'static) -> TaskRef {
        let notifier = self.notifier();
        let task = actix_rt::spawn(async move {
            let _ = notifier.notify(future.await);
        });
        let reference = TaskRef(task.abort_handle());
        self.keep(task);
        reference
    }

    /// Runs what blocks on a thread of its own kind and waits for it; the arbiter goes on, this process does not.
    ///
    /// # Panics
    /// With the closure's panic, which ends this process like its own.
    pub async fn blocking<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> T {
        match actix_rt::task::spawn_blocking(f).await {
            Ok(value) => value,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_cancelled) => std::future::pending().await,
            },
        }
    }

    /// Starts a process, on this arbiter unless the options say otherwise. It is a child of this one: when the node
    /// stops, it is for this process to stop it.
    pub fn spawn<C: Behavior>(&self, args: C::Args) -> Spawn<'_, C> {
        self.node().spawn::<C>(args).child_of(self.pid().number())
    }

    /// The same, linked to this process from before its `init` on: neither survives an abnormal end of the other.
    /// An `init` that fails is the error of the spawn alone. OTP: `start_link`, which breaks the link by it, too.
    pub fn spawn_link<C: Behavior>(&mut self, args: C::Args) -> Spawn<'_, C> {
        self.node().spawn::<C>(args).child_of(self.pid().number()).linked_to(self.pid())
    }

    /// Which supervised instance this is. Some in a child of a `DistributedSupervisor`.
    #[must_use]
    pub fn fencing_token(&self) -> Option<&FencingToken> {
        self.mailbox.core.token()
    }

    /// Whether it is an instance whose lease is over: it takes no further message.
    pub(crate) fn lease_is_over(&self) -> bool {
        self.mailbox.core.lease().is_some_and(|lease| lease.over().is_some())
    }

    fn keep(&mut self, task: JoinHandle<()>) {
        let tasks = &mut self.rest().tasks;
        if tasks.len() >= 16 && tasks.len().is_power_of_two() {
            tasks.retain(|task| !task.is_finished());
        }
        tasks.push(task);
    }

    #[inline]
    pub(crate) fn turn(&self) -> Turn {
        match &self.rest {
            None => Turn::Wait(None),
            Some(rest) if rest.stop.is_some() => Turn::Stop,
            Some(rest) if !rest.next.is_empty() => Turn::Continue,
            Some(rest) => Turn::Wait(rest.idle_timeout),
        }
    }

    pub(crate) fn take_stop(&mut self) -> Option<ExitReason> {
        self.rest.as_mut()?.stop.take()
    }

    pub(crate) fn take_next(&mut self) -> Option<B::Info> {
        self.rest.as_mut()?.next.pop_front()
    }

    /// The reason of a trapped exit that comes from the parent: that one is not for the user to decide about.
    pub(crate) fn exit_of_parent<'i>(&self, info: &'i Info<B::Info>) -> Option<&'i ExitReason> {
        let Info::Exit(exit) = info else { return None };
        let parent = self.mailbox.core.parent.load(Ordering::Acquire);
        let from_parent = parent != 0 && exit.from.number() == parent && self.node().is_own(&exit.from);
        from_parent.then_some(&exit.reason)
    }

    /// Drops the `Down` of a watch that was given up.
    pub(crate) fn admit(&mut self, info: Info<B::Info>) -> Option<Info<B::Info>> {
        if let Info::Down(Down { monitor, .. }) = &info {
            self.rest.as_mut()?.monitors.remove(&monitor.id)?;
        }
        Some(info)
    }
}

impl<B: Behavior> Drop for Context<B> {
    fn drop(&mut self) {
        let Some(rest) = self.rest.take() else { return };
        rest.tasks.iter().for_each(JoinHandle::abort);
        for (id, pid) in &rest.monitors {
            if let Some(pid) = pid {
                self.node().demonitor(pid, *id);
            }
        }
    }
}

impl<B: Behavior> fmt::Debug for Context<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("pid", self.pid()).finish_non_exhaustive()
    }
}

/// A future that runs beside a mailbox. Dropping this changes nothing.
#[derive(Clone, Debug)]
pub struct TaskRef(AbortHandle);

impl TaskRef {
    /// Gives the future up at its next wait. Nothing arrives of it, unless it has ended already.
    pub fn cancel(&self) {
        self.0.abort();
    }

    /// Whether it has ended, or was given up.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

/// Sends infos to one process, from anywhere. Exempt from the bound of its mailbox: notify what is bounded by itself.
pub struct Notifier<I>(Arc<dyn Fn(I) -> bool + Send + Sync>);

impl<I> Notifier<I> {
    /// Queues an info.
    ///
    /// # Errors
    /// [`Gone`] when the process ended.
    pub fn notify(&self, info: I) -> Result<(), Gone> {
        if (self.0)(info) { Ok(()) } else { Err(Gone) }
    }
}

impl<I> Clone for Notifier<I> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I> fmt::Debug for Notifier<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notifier")
    }
}

/// The process to be notified ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the process ended")]
pub struct Gone;
