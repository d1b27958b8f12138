//! A node: the value that owns a runtime's processes, names and behaviors. No statics: many fit in one program.

use std::{
    any::{Any, TypeId},
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use actix_rt::ArbiterHandle;
use futures_util::future::BoxFuture;
use parking_lot::{Mutex, RwLock};

use crate::{
    AnyRef, Behavior, BehaviorRegistry, Clock, ExitReason, FencingToken, Incarnation, Monotonic, NameError,
    NodeId, Payload, Pid, ProcessStatus, Ref, Registration, RemoteBehavior, Spawn, SpawnAny, SpawnError,
    SpawnOn, SpawnOptions, StartError, WrongBehavior, decoding,
    events::{Events, Hub, Subscription},
    mailbox::{Mailbox, short_name},
    names::Names,
    pool::Pool,
    process::{Process, ProcessCore},
    refs::Fault,
    route::{Router, Watcher},
};

pub use crate::node_builder::NodeBuilder;

/// How long `stop` waits for processes before it kills them.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// One runtime of processes. Cheap to clone; works under `#[actix::main]`, `#[actix_web::main]` and `#[tokio::main]`.
#[derive(Clone)]
pub struct Node(pub(crate) Arc<NodeInner>);

type Stopper = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;
type Anything = Arc<dyn Any + Send + Sync>;

pub(crate) struct NodeInner {
    pub(crate) id: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) clock: Clock,
    pub(crate) pool: Pool,
    pub(crate) behaviors: BehaviorRegistry,
    pub(crate) data: BTreeMap<TypeId, Anything>,
    pub(crate) events: Hub<ProcessEvent>,
    pub(crate) processes: RwLock<BTreeMap<u64, Arc<dyn Process>>>,
    pub(crate) names: Names,
    pub(crate) router: OnceLock<Arc<dyn Router>>,
    pub(crate) extensions: Mutex<BTreeMap<TypeId, Anything>>,
    pub(crate) stopper: OnceLock<Stopper>,
    pub(crate) stopping: AtomicBool,
    pub(crate) stop_once: tokio::sync::Mutex<bool>,
    pub(crate) next_pid: AtomicU64,
    pub(crate) next_monitor: AtomicU64,
}

/// What is known of one process.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProcessInfo {
    /// Its address.
    pub pid: Pid,
    /// Wire name of its behavior, or the name of its type.
    pub behavior: &'static str,
    /// Its names on this node.
    pub names: Vec<String>,
    /// Where it stands in its life.
    pub status: ProcessStatus,
    /// Messages waiting.
    pub mailbox_len: usize,
    /// Most messages that ever waited at once.
    pub mailbox_high_water: usize,
    /// Messages refused because the mailbox was full.
    pub dropped: u64,
    /// Messages handled.
    pub message_count: u64,
    /// When it started.
    pub started_at: SystemTime,
    /// How long ago that was.
    pub uptime: Duration,
    /// Watches on it.
    pub monitors: usize,
    /// Which supervised instance it is, in a child of a `DistributedSupervisor`.
    pub supervised: Option<FencingToken>,
}

/// The life of processes, as it happens.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ProcessEvent {
    /// One was started; its `init` runs.
    Started {
        /// Its address.
        pid: Pid,
        /// Its behavior.
        behavior: &'static str,
    },
    /// One ended.
    Exited {
        /// Its address.
        pid: Pid,
        /// Why.
        reason: ExitReason,
    },
}

/// Figures of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuntimeStats {
    /// Processes alive.
    pub processes: usize,
    /// Processes ever started.
    pub spawned: u64,
    /// Messages waiting in all mailboxes.
    pub mailbox_len: usize,
    /// Arbiters for processes.
    pub arbiters: usize,
}

/// A supervised instance alive on this node.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SupervisedProcess {
    /// Which instance it is.
    pub token: FencingToken,
    /// The process.
    pub any: AnyRef,
    /// Wire name of its behavior.
    pub behavior: String,
}

impl Node {
    /// Configures a node.
    #[must_use]
    pub fn builder() -> NodeBuilder {
        NodeBuilder::new()
    }

    /// Starts a node with defaults: as many arbiters as there are cores.
    ///
    /// # Errors
    /// [`NodeStartError`](crate::NodeStartError).
    pub async fn start() -> Result<Self, crate::NodeStartError> {
        Self::builder().start().await
    }

    /// Its identity; `nonode@nohost:1` when it is not clustered.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.0.id
    }

    /// Which of its lives this is.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.0.incarnation
    }

    /// A value that was given to the builder: how a behavior reaches what cannot travel in its arguments.
    #[must_use]
    pub fn data<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.data.get(&TypeId::of::<T>()).cloned().and_then(|any| any.downcast().ok())
    }

    /// Starts a process.
    pub fn spawn<B: Behavior>(&self, args: B::Args) -> Spawn<'_, B> {
        Spawn::new(self, args)
    }

    /// Starts a process on a node given by its id; its own is fine.
    pub fn spawn_on<B: RemoteBehavior>(&self, peer: &NodeId, args: B::Args) -> SpawnOn<'_, B> {
        SpawnOn::new(self, peer, &args)
    }

    /// Starts a process by the name of its behavior.
    pub fn spawn_named(&self, peer: &NodeId, behavior: &str, args: Payload) -> SpawnAny<'_> {
        SpawnAny::new(self, peer, behavior, args)
    }

    /// The process at an address, as a handle. What is wrong with it shows at its first use.
    #[must_use]
    pub fn resolve<B: RemoteBehavior>(&self, pid: &Pid) -> Ref<B> {
        if self.is_own(pid) {
            return match self.process_of(pid) {
                Some(process) => Self::typed(process).unwrap_or_else(|wrong| Ref::broken(pid.clone(), wrong)),
                None => Ref::broken(pid.clone(), Fault::NoProc),
            };
        }
        match self.router() {
            Some(router) => Ref::remote(pid.clone(), router.route(pid.node_id())),
            None => Ref::broken(pid.clone(), Fault::NotRunning),
        }
    }

    fn typed<B: Behavior>(process: Arc<dyn Process>) -> Result<Ref<B>, Fault> {
        let found = process.core().behavior;
        let mailbox = process.into_any().downcast::<Mailbox<B>>();
        mailbox
            .map(Ref::local)
            .map_err(|_| Fault::WrongBehavior(WrongBehavior::new(short_name::<B>(), found)))
    }

    /// Runs `f`, in which references decode as references of this node.
    pub fn decoding<T>(&self, f: impl FnOnce() -> T) -> T {
        decoding::within(self, f)
    }

    /// Gives a process of this node a name on this node.
    ///
    /// # Errors
    /// [`NameError`]: taken, invalid, or no such process here.
    pub fn register(&self, name: &str, process: &impl AsRef<Pid>) -> Result<(), NameError> {
        let pid = process.as_ref();
        let process = self.process_of(pid).ok_or_else(|| NameError::NoProc(pid.clone()))?;
        self.0.names.register(name, &process)
    }

    /// Frees a name. True if anybody had it.
    pub fn unregister(&self, name: &str) -> bool {
        self.0.names.unregister(name)
    }

    /// Who has the name, if it is of this behavior.
    #[must_use]
    pub fn whereis<B: Behavior>(&self, name: &str) -> Option<Ref<B>> {
        self.lookup(name).ok()
    }

    /// Who has the name.
    ///
    /// # Errors
    /// [`NameError::NotFound`], or [`NameError::WrongBehavior`] when the holder is of another behavior.
    pub fn lookup<B: Behavior>(&self, name: &str) -> Result<Ref<B>, NameError> {
        let process = self.0.names.get(name).ok_or_else(|| NameError::NotFound(name.to_owned()))?;
        let found = process.core().behavior;
        Self::typed(process)
            .map_err(|_| NameError::WrongBehavior(WrongBehavior::new(short_name::<B>(), found)))
    }

    /// Whether anybody has the name.
    #[must_use]
    pub fn is_registered(&self, name: &str) -> bool {
        self.0.names.get(name).is_some()
    }

    /// All names, sorted.
    #[must_use]
    pub fn registered(&self) -> Vec<String> {
        self.0.names.all()
    }

    /// Sends an exit signal: the process ends with `reason`, behind what is queued; `Killed` ends it at once.
    pub fn exit(&self, target: &impl AsRef<Pid>, reason: ExitReason) {
        let target = AnyRef::resolve(self, target.as_ref(), None);
        if reason == ExitReason::Killed {
            target.kill();
        } else {
            drop(target.stop(reason));
        }
    }

    /// The process at an address, of whatever behavior. For supervisors.
    #[doc(hidden)]
    #[must_use]
    pub fn resolve_any(&self, pid: &Pid, behavior: Option<&str>) -> AnyRef {
        AnyRef::resolve(self, pid, behavior)
    }

    /// The behaviors that this node knows by name.
    #[must_use]
    pub fn behaviors(&self) -> &BehaviorRegistry {
        &self.0.behaviors
    }

    /// All processes, oldest first.
    #[must_use]
    pub fn processes(&self) -> Vec<ProcessInfo> {
        let all: Vec<_> = self.0.processes.read().values().cloned().collect();
        all.iter().map(|process| self.info(process)).collect()
    }

    /// One process.
    #[must_use]
    pub fn process(&self, pid: &Pid) -> Option<ProcessInfo> {
        self.process_of(pid).map(|process| self.info(&process))
    }

    fn info(&self, process: &Arc<dyn Process>) -> ProcessInfo {
        let (core, mailbox) = (process.core(), process.mailbox());
        ProcessInfo {
            pid: core.pid.clone(),
            behavior: core.behavior,
            names: core.names.lock().clone(),
            status: core.status(),
            mailbox_len: mailbox.len,
            mailbox_high_water: mailbox.high_water,
            dropped: mailbox.dropped,
            message_count: mailbox.handled,
            started_at: self.0.clock.wall(core.started_at),
            uptime: self.now().since(core.started_at),
            monitors: core.watcher_count(),
            supervised: core.token.clone(),
        }
    }

    /// How many processes are alive.
    #[must_use]
    pub fn process_count(&self) -> usize {
        self.0.processes.read().len()
    }

    /// Figures of this node.
    #[must_use]
    pub fn runtime_stats(&self) -> RuntimeStats {
        let processes = self.0.processes.read();
        RuntimeStats {
            processes: processes.len(),
            spawned: self.0.next_pid.load(Ordering::Relaxed) - 1,
            mailbox_len: processes.values().map(|process| process.mailbox().len).sum(),
            arbiters: self.0.pool.len(),
        }
    }

    /// Calls `f` at every start and end of a process.
    pub fn on_process_event(&self, f: impl FnMut(&ProcessEvent) + Send + 'static) -> Subscription {
        self.0.events.on(f)
    }

    /// Starts and ends of processes, as a stream.
    #[must_use]
    pub fn process_events(&self) -> Events<ProcessEvent> {
        self.0.events.events()
    }

    /// Instances of supervised children alive here now, taken from the process table.
    #[must_use]
    pub fn supervised(&self) -> Vec<SupervisedProcess> {
        let processes = self.0.processes.read();
        let alive = processes.values().filter(|process| process.core().is_alive());
        alive
            .filter_map(|process| {
                let core = process.core();
                let token = core.token.clone()?;
                let any = AnyRef::local(Arc::clone(process));
                Some(SupervisedProcess { token, any, behavior: core.behavior.to_owned() })
            })
            .collect()
    }

    /// Stops the root processes, newest first, with reason `Shutdown`; what is left after 30 s is killed. Idempotent.
    /// The node of a cluster leaves the cluster by it.
    ///
    /// # Cancel safety
    /// Dropped before it ends, the node stays half stopped; calling it again goes on.
    pub async fn stop(&self) {
        match self.0.stopper.get() {
            Some(stopper) => stopper().await,
            None => {
                self.stop_processes().await;
                self.stop_runtime().await;
            }
        }
    }

    /// The first half of `stop`: processes.
    #[doc(hidden)]
    pub async fn stop_processes(&self) {
        self.0.stopping.store(true, Ordering::Release);
        let all_stopped = async {
            loop {
                let root = {
                    let processes = self.0.processes.read();
                    let is_root = |process: &&Arc<dyn Process>| {
                        let parent = process.core().parent.load(Ordering::Acquire);
                        parent == 0 || !processes.contains_key(&parent)
                    };
                    processes.values().rev().find(is_root).cloned()
                };
                let Some(root) = root else { return };
                let root = AnyRef::local(root);
                let _ = root.stop(ExitReason::Shutdown).timeout(STOP_TIMEOUT).await;
            }
        };
        if actix_rt::time::timeout(STOP_TIMEOUT, all_stopped).await.is_err() {
            let left: Vec<_> = self.0.processes.read().values().cloned().collect();
            tracing::warn!(left = left.len(), "processes did not stop in time and are killed");
            for process in left {
                let monitor = AnyRef::local(Arc::clone(&process)).monitor();
                process.kill();
                let _ = actix_rt::time::timeout(Duration::from_secs(1), monitor).await;
            }
        }
    }

    /// The second half of `stop`: events and threads.
    #[doc(hidden)]
    pub async fn stop_runtime(&self) {
        let mut stopped = self.0.stop_once.lock().await;
        if !*stopped {
            self.0.events.close().await;
            self.0.extensions.lock().clear();
            self.0.pool.stop();
            *stopped = true;
        }
    }
}

/// For the other crates of noex.
#[doc(hidden)]
impl Node {
    /// The present, on this node's clock.
    #[must_use]
    pub fn now(&self) -> Monotonic {
        self.0.clock.now()
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
        self.0.pool.round_robin()
    }

    /// Connects this node to others. Once.
    pub fn set_router(&self, router: Arc<dyn Router>) {
        let _ = self.0.router.set(router);
    }

    /// What `stop` does from now on. Once.
    pub fn set_stopper(&self, stopper: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static) {
        let _ = self.0.stopper.set(Box::new(stopper));
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

    /// Whether `stop` began.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Acquire)
    }

    /// A process of this node, by its number.
    #[must_use]
    pub fn process_by_number(&self, number: u64) -> Option<Arc<dyn Process>> {
        self.0.processes.read().get(&number).cloned()
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

    fn watch_as(&self, id: u64, pid: &Pid, watcher: Watcher) {
        if self.is_own(pid) {
            match self.process_of(pid) {
                Some(process) => process.core().watch(id, watcher),
                None => watcher.tell_of(id, pid.clone(), ExitReason::NoProc),
            }
        } else {
            match self.router() {
                Some(router) => router.route(pid.node_id()).monitor(id, pid, watcher),
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
            self.router().is_some_and(|router| router.route(pid.node_id()).demonitor(pid, id))
        }
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
        let process = self.spawn_any(behavior, args, options).await?;
        if let (Some(name), Some(router)) = (global, self.router()) {
            if let Err(error) = router.register_global(&name, &process) {
                let monitor = process.monitor();
                process.kill();
                monitor.await;
                return Err(SpawnError::Start(StartError::Name(error)));
            }
        }
        Ok(process)
    }
}

impl Node {
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
        let behavior = codec.map_or_else(short_name::<B>, |codec| codec.name);
        let number = self.0.next_pid.fetch_add(1, Ordering::Relaxed);
        let pid = Pid::new(self.0.id.clone(), self.0.incarnation, number);
        let core = ProcessCore::new(pid.clone(), self.clone(), behavior, options.token, parent);
        let mailbox = Arc::new(Mailbox::<B>::new(core, codec, options.capacity));
        let process: Arc<dyn Process> = Arc::<Mailbox<B>>::clone(&mailbox);
        if let Some(name) = name {
            self.0.names.register(&name, &process).map_err(StartError::Name)?;
        }
        self.0.processes.write().insert(number, process);
        self.0.events.emit(ProcessEvent::Started { pid, behavior });
        Ok(mailbox)
    }

    /// A process that could not be placed anywhere.
    pub(crate) fn give_up<B: Behavior>(&self, mailbox: &Arc<Mailbox<B>>) {
        let process: Arc<dyn Process> = Arc::<Mailbox<B>>::clone(mailbox);
        self.ended(&process, &ExitReason::Killed);
    }

    /// Nothing of the process is left: take it out of the tables and tell its end.
    pub(crate) fn ended(&self, process: &Arc<dyn Process>, reason: &ExitReason) {
        let core = process.core();
        self.0.names.ended(&core.pid, &core.names);
        self.0.processes.write().remove(&core.pid.number());
        tracing::debug!(pid = %core.pid, behavior = core.behavior, %reason, "process ended");
        core.finish(reason);
        self.0.events.emit(ProcessEvent::Exited { pid: core.pid.clone(), reason: reason.clone() });
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({})", self.0.id)
    }
}
