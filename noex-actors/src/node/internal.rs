//! What the rest of noex does with a node: not for programs.

use std::{
    any::TypeId,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use actix_rt::ArbiterHandle;
use futures_util::future::BoxFuture;

use super::ProcessEvent;
use crate::{
    AnyRef, Behavior, BlockedArbiter, COARSE, Clock, ExitReason, FencingToken, Monotonic, NameError, Node,
    NodeDownReason, NodeId, Pid, Registration, SpawnError, SpawnOptions, StartError,
    deadlines::Deadlines,
    lease::Lease,
    mailbox::Mailbox,
    names::check_process_name,
    pool::Pool,
    process::{Process, ProcessCore},
    route::{Router, Watcher},
    vital::{NodeFailure, Vital},
};

/// For the other crates of noex.
#[doc(hidden)]
impl Node {
    /// The present, on this node's clock.
    #[must_use]
    pub fn now(&self) -> Monotonic {
        self.0.clock.now()
    }

    /// As [`decoding`](Self::decoding), for who has a node to lend.
    pub fn decoding_owned<T>(self, f: impl FnOnce() -> T) -> (Self, T) {
        crate::decoding::within_owned(self, f)
    }

    /// This node's clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// The arbiter that never runs user code.
    #[must_use]
    pub fn control(&self) -> &ArbiterHandle {
        self.0.pool.control()
    }

    /// An arbiter of the pool, in turn.
    #[must_use]
    pub fn next_arbiter(&self) -> ArbiterHandle {
        self.0.pool.next()
    }

    /// Connects this node to others. Once.
    pub fn set_router(&self, router: Arc<dyn Router>) {
        let _ = self.0.router.set(router);
    }

    /// What `stop` does from now on. Once.
    pub fn set_stopper(&self, stopper: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static) {
        let _ = self.0.stopper.set(Box::new(stopper));
    }

    /// What happens at once when a part of noex failed, before the node is stopped. Once.
    pub fn set_failure_hook(&self, f: impl Fn(&NodeFailure) + Send + Sync + 'static) {
        let _ = self.0.on_failure.set(Box::new(f));
    }

    /// A task of noex itself, by a name for people. A panic of it stops this node; user code in it is contained.
    pub fn vital<F: Future<Output = ()>>(&self, part: &'static str, task: F) -> Vital<F> {
        self.0.failsafe.vital(part, task)
    }

    /// From now on that part of noex panics at its next turn.
    #[cfg(feature = "__fuzz")]
    pub fn sabotage(&self, part: &'static str) {
        self.0.failsafe.sabotage(part);
    }

    /// Panics if that part was sabotaged: for a part that is no task.
    #[cfg(feature = "__fuzz")]
    pub fn fail_if_sabotaged(&self, part: &'static str) {
        self.0.failsafe.fail_if_sabotaged(part);
    }

    /// Something that another crate keeps with this node, made at the first question.
    pub fn extension_or_init<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let mut extensions = self.0.extensions.lock();
        let any = Arc::clone(extensions.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(make())));
        drop(extensions);
        any.downcast().expect("extensions are kept by their type")
    }

    /// Something that another crate keeps with this node, if it does.
    #[must_use]
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let any = self.0.extensions.lock().get(&TypeId::of::<T>()).cloned()?;
        any.downcast().ok()
    }

    /// Calls `f` when an arbiter is blocked (`true`), and when it is free again, on the control arbiter. Once.
    pub fn set_block_hook(&self, f: impl Fn(&BlockedArbiter, bool) + Send + Sync + 'static) {
        self.0.blockages.set_hook(Box::new(f));
    }

    /// Whether `stop` began.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Acquire)
    }

    /// A process of this node took the place of another.
    pub fn tell_restarted(&self, pid: &Pid, attempt: u32) {
        self.0.events.emit_with(|| ProcessEvent::Restarted { pid: pid.clone(), attempt });
    }

    /// A process of this node, by its number.
    #[must_use]
    pub fn process_by_number(&self, number: u64) -> Option<Arc<dyn Process>> {
        self.0.processes.read().get(number).cloned()
    }

    /// Who has a name on this node.
    #[must_use]
    pub fn any_by_name(&self, name: &str) -> Option<AnyRef> {
        self.0.names.get(name).map(AnyRef::local)
    }

    /// A process of this node as a handle.
    #[must_use]
    pub fn any_by_number(&self, number: u64) -> Option<AnyRef> {
        self.process_by_number(number).map(AnyRef::local)
    }

    /// Watches a process anywhere; `reserve` sees the number of the watch before the watch begins.
    pub fn monitor(&self, pid: &Pid, watcher: Watcher, reserve: impl FnOnce(u64)) -> u64 {
        let id = self.fresh_monitor();
        reserve(id);
        self.watch_as(id, pid, watcher);
        id
    }

    pub(crate) fn watch_as(&self, id: u64, pid: &Pid, watcher: Watcher) {
        if self.is_own(pid) {
            match self.process_of(pid) {
                Some(process) => process.core().watch(id, watcher),
                None => watcher.tell_of(id, pid.clone(), ExitReason::NoProc),
            }
        } else {
            match self.router() {
                Some(router) => router.route(self, pid.node_id()).monitor(id, pid, watcher),
                None => watcher.tell_of(id, pid.clone(), ExitReason::NoConnection),
            }
        }
    }

    /// A number for a watch.
    #[must_use]
    pub fn fresh_monitor(&self) -> u64 {
        self.0.next_monitor.fetch_add(1, Ordering::Relaxed)
    }

    /// Ends a watch.
    pub fn demonitor(&self, pid: &Pid, id: u64) -> bool {
        if self.is_own(pid) {
            self.process_of(pid).is_some_and(|process| process.core().unwatch(id))
        } else {
            self.router().is_some_and(|router| router.route(self, pid.node_id()).demonitor(pid, id))
        }
    }

    /// A node came up, or went down: tells the processes that asked for it.
    pub fn tell_of_node(&self, node: &NodeId, down: Option<NodeDownReason>) {
        // Told under the lock: the events of one node reach each process in their order.
        self.0.node_watchers.lock().retain(|watcher| {
            let process = watcher.upgrade().filter(|process| process.is_alive());
            process.inspect(|process| process.node_event(node, down)).is_some()
        });
    }

    /// Shows every process here that has a lease.
    pub fn for_each_lease(&self, mut look: impl FnMut(&AnyRef, &FencingToken, &Lease)) {
        // Without the lock: whoever looks may stop it.
        let mut leased = std::mem::take(&mut *self.0.leased.lock());
        leased.retain(|process| {
            let Some(process) = process.upgrade().filter(|process| process.is_alive()) else { return false };
            let any = AnyRef::local(Arc::clone(&process));
            if let (Some(token), Some(lease)) = (process.core().token(), process.core().lease()) {
                look(&any, token, lease);
            }
            true
        });
        self.0.leased.lock().append(&mut leased);
    }

    /// Starts a process of this node by the name of its behavior.
    ///
    /// # Errors
    /// [`SpawnError`].
    pub async fn spawn_any(
        &self,
        behavior: &str,
        args: &[u8],
        options: SpawnOptions,
    ) -> Result<AnyRef, SpawnError> {
        match self.0.behaviors.spawn(self, behavior, args, options) {
            Some(spawn) => spawn.await,
            None => {
                Err(SpawnError::BehaviorNotFound { behavior: behavior.to_owned(), node: self.id().clone() })
            }
        }
    }

    /// The same, with its name registered where it should be.
    ///
    /// # Errors
    /// [`SpawnError`]; a process whose name is not to be had is killed again.
    pub async fn spawn_registered(
        &self,
        behavior: &str,
        args: &[u8],
        mut options: SpawnOptions,
        registration: Registration,
    ) -> Result<AnyRef, SpawnError> {
        let global = match registration {
            Registration::Local => None,
            Registration::Global => options.take_name(),
            Registration::None => {
                options.take_name();
                None
            }
        };
        // OTP: a name is had before `init` runs. Here it is looked at, and had once `init` has come to its end: whoever asks the
        // registry finds nobody who might not be.
        if let (Some(name), Some(router)) = (&global, self.router()) {
            check_process_name(name).map_err(StartError::Name)?;
            if let Some(holder) = router.global_holder(name, options.get_fencing_token()) {
                return Err(StartError::Name(NameError::Taken { name: name.clone(), holder }).into());
            }
        }
        let process = self.spawn_any(behavior, args, options).await?;
        if let (Some(name), Some(router)) = (global, self.router())
            && let Err(error) = router.register_global(&name, &process)
            // It started, and is over by now: that is its end to tell, not an error of its start.
            && !matches!(error, NameError::NoProc(_))
        {
            let monitor = process.monitor();
            process.kill();
            monitor.await;
            return Err(SpawnError::NameLost(error));
        }
        Ok(process)
    }
}

impl Node {
    pub(crate) fn watch_nodes(&self, process: Weak<dyn Process>) {
        let mut watchers = self.0.node_watchers.lock();
        watchers.retain(|watcher| watcher.strong_count() > 0 && !watcher.ptr_eq(&process));
        watchers.push(process);
    }

    pub(crate) fn encodes_local_messages(&self) -> bool {
        self.0.encodes.load(Ordering::Relaxed)
    }

    pub(crate) fn deadlines(&self) -> &Deadlines {
        &self.0.deadlines
    }

    /// The present, up to 10 ms ago.
    pub(crate) fn about_now(&self) -> Monotonic {
        if self.0.pool.is_borrowed() { self.0.clock.now() } else { self.0.clock.coarse() }
    }

    /// When a message that may take `timeout` has expired. Long ones are taken from the coarse clock, which costs a fraction
    /// of the precise one: they end up to its error late, never early. Virtual time knows no coarse clock.
    pub(crate) fn deadline(&self, timeout: Duration) -> Monotonic {
        let clock = &self.0.clock;
        if timeout < Duration::from_secs(1) || self.0.pool.is_borrowed() {
            clock.now().plus(timeout)
        } else {
            clock.coarse().plus(timeout).plus(COARSE)
        }
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.0.pool
    }

    pub(crate) fn router(&self) -> Option<Arc<dyn Router>> {
        self.0.router.get().cloned()
    }

    pub(crate) fn is_own(&self, pid: &Pid) -> bool {
        *pid.node_id() == self.0.id
    }

    pub(crate) fn process_of(&self, pid: &Pid) -> Option<Arc<dyn Process>> {
        let here = self.is_own(pid) && pid.incarnation() == self.0.incarnation;
        here.then(|| self.process_by_number(pid.number())).flatten()
    }

    /// Makes a mailbox, puts it in the table and reserves its name.
    pub(crate) fn admit<B: Behavior>(
        &self,
        mut options: SpawnOptions,
        parent: u64,
    ) -> Result<Arc<Mailbox<B>>, StartError> {
        if self.is_stopping() {
            return Err(StartError::NotRunning);
        }
        let name = options.take_name();
        let codec = self.0.behaviors.codec::<B>();
        let number = self.0.next_pid.fetch_add(1, Ordering::Relaxed);
        let pid = Pid::new(self.0.id.clone(), self.0.incarnation, number);
        let core = ProcessCore::new(
            pid.clone(),
            self.clone(),
            (options.take_supervised(), options.trap),
            parent,
            options.vital,
        );
        let mailbox = Arc::new(Mailbox::<B>::new(core, codec, options.policy, options.capacity));
        let process: Arc<dyn Process> = Arc::<Mailbox<B>>::clone(&mailbox);
        {
            // The name under the lock of the table: whoever finds the process by it finds it in the table, too.
            let mut processes = self.0.processes.write();
            if self.is_stopping() {
                return Err(StartError::NotRunning);
            }
            if let Some(name) = name {
                self.0.names.register(&name, &process).map_err(StartError::Name)?;
            }
            processes.insert(number, process);
        }
        if mailbox.core.lease().is_some() {
            let process: Arc<dyn Process> = Arc::<Mailbox<B>>::clone(&mailbox);
            self.0.leased.lock().push(Arc::downgrade(&process));
        }
        self.0.events.emit_with(|| ProcessEvent::Started { pid, behavior: mailbox.behavior() });
        Ok(mailbox)
    }

    /// Nothing of the process is left: take it out of the tables and tell its end.
    pub(crate) fn ended(&self, process: &Arc<dyn Process>, reason: &ExitReason) {
        let core = process.core();
        core.set_stopped();
        self.0.names.ended(core);
        self.0.processes.write().remove(core.pid.number());
        tracing::debug!(pid = %core.pid, behavior = process.behavior(), %reason, "process ended");
        // Before the watchers: whoever waited for the end finds it told, also when the node stops at once.
        self.0.events.emit_with(|| ProcessEvent::Exited { pid: core.pid.clone(), reason: reason.clone() });
        process.fail_calls(reason);
        core.finish(reason);
    }
}
