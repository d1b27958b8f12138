//! What a process can do from inside its callbacks.

use std::{cell::RefCell, collections::BTreeMap, fmt, future::Future, sync::Arc, time::Duration};

use actix_rt::task::JoinHandle;

use crate::{
    Behavior, Down, ExitReason, FencingToken, Info, MonitorRef, Node, Pid, Ref, Spawn, TimerRef,
    mailbox::{Envelope, Mailbox},
    process::Process,
    route::Watcher,
    timer,
};

/// A `Down` of a watch that was given up meanwhile.
#[derive(Debug)]
pub(crate) struct NoInfo;

/// A process's view of itself and its node; handed to every callback.
pub struct Context<B: Behavior> {
    me: Ref<B>,
    mailbox: Arc<Mailbox<B>>,
    node: Node,
    stop: Option<ExitReason>,
    next: std::collections::VecDeque<B::Info>,
    idle_timeout: Option<Duration>,
    monitors: BTreeMap<u64, Pid>,
    tasks: RefCell<Vec<JoinHandle<()>>>,
}

impl<B: Behavior> Context<B> {
    pub(crate) fn new(me: Ref<B>, node: Node) -> Self {
        let mailbox = me.local_mailbox().expect("a process's own reference is local");
        Self {
            me,
            mailbox,
            node,
            stop: None,
            next: std::collections::VecDeque::new(),
            idle_timeout: None,
            monitors: BTreeMap::new(),
            tasks: RefCell::new(Vec::new()),
        }
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

    /// The node on which it runs.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Ends the process after this callback. The first reason counts.
    pub fn stop(&mut self, reason: ExitReason) {
        self.stop.get_or_insert(reason);
    }

    /// Runs `handle_continue(next)` before the next message. Several are run in order.
    pub fn continue_with(&mut self, next: B::Info) {
        self.next.push_back(next);
    }

    /// From now on, `Info::Timeout` arrives whenever no message came for `after`. `None` ends it.
    pub fn set_idle_timeout(&mut self, after: Option<Duration>) {
        self.idle_timeout = after;
    }

    /// Watches a process: `Info::Down` arrives exactly once, in order with its messages.
    ///
    /// Never fails: a process that is not there answers `NoProc`, a node out of reach `NoConnection`.
    pub fn monitor(&mut self, target: &impl AsRef<Pid>) -> MonitorRef {
        let pid = target.as_ref().clone();
        let me: Arc<dyn Process> = Arc::<Mailbox<B>>::clone(&self.mailbox);
        // Reserved before the watch begins: the answer may be here before `monitor` returns.
        let id = self.node.monitor(&pid, Watcher::Process(Arc::downgrade(&me)), |id| {
            self.monitors.insert(id, pid.clone());
        });
        MonitorRef { id, pid }
    }

    /// Ends a watch; true if it had not fired. No `Down` of it arrives after this. OTP: `demonitor` with `flush`.
    pub fn demonitor(&mut self, monitor: &MonitorRef) -> bool {
        let Some(pid) = self.monitors.remove(&monitor.id) else { return false };
        self.node.demonitor(&pid, monitor.id);
        true
    }

    /// Sends an exit signal. A local or remote process ends with `reason`; `Killed` ends it at once.
    /// OTP: `exit/2`.
    pub fn exit(&self, target: &impl AsRef<Pid>, reason: ExitReason) {
        self.node.exit(target, reason);
    }

    /// Queues an info to itself, behind what is there.
    pub fn notify(&self, info: B::Info) {
        self.mailbox.push_exempt(Envelope::Info(Info::User(info)));
    }

    /// A handle with which anybody can send infos to this process.
    #[must_use]
    pub fn notifier(&self) -> Notifier<B::Info> {
        let mailbox = Arc::clone(&self.mailbox);
        Notifier(Arc::new(move |info| mailbox.push_exempt(Envelope::Info(Info::User(info)))))
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

    /// Runs a future beside the mailbox, on this arbiter; what it returns arrives as an info. Ends with the process.
    pub fn task(&mut self, future: impl Future<Output = B::Info> + 'static) {
        let notifier = self.notifier();
        let task = actix_rt::spawn(async move {
            let _ = notifier.notify(future.await);
        });
        self.keep(task);
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
        self.node.spawn::<C>(args).child_of(self.pid().number())
    }

    /// Which supervised instance this is. Some in a child of a `DistributedSupervisor`.
    #[must_use]
    pub fn fencing_token(&self) -> Option<&FencingToken> {
        self.mailbox.core.token.as_ref()
    }

    fn keep(&self, task: JoinHandle<()>) {
        let mut tasks = self.tasks.borrow_mut();
        if tasks.len() >= 16 && tasks.len().is_power_of_two() {
            tasks.retain(|task| !task.is_finished());
        }
        tasks.push(task);
    }

    pub(crate) fn take_stop(&mut self) -> Option<ExitReason> {
        self.stop.take()
    }

    pub(crate) fn take_next(&mut self) -> Option<B::Info> {
        self.next.pop_front()
    }

    pub(crate) fn idle_timeout(&self) -> Option<Duration> {
        self.idle_timeout
    }

    /// Drops the `Down` of a watch that was given up.
    pub(crate) fn admit(&mut self, info: Info<B::Info>) -> Result<Info<B::Info>, NoInfo> {
        if let Info::Down(Down { monitor, .. }) = &info {
            self.monitors.remove(&monitor.id).ok_or(NoInfo)?;
        }
        Ok(info)
    }
}

impl<B: Behavior> Drop for Context<B> {
    fn drop(&mut self) {
        for task in self.tasks.get_mut() {
            task.abort();
        }
        for (id, pid) in &self.monitors {
            self.node.demonitor(pid, *id);
        }
    }
}

impl<B: Behavior> fmt::Debug for Context<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("pid", self.pid()).finish_non_exhaustive()
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
