//! A node: the value that owns a runtime's processes, names and behaviors. No statics: many fit in one program.

mod info;
mod internal;
mod links;
mod names;
mod stop;

use std::{
    any::{Any, TypeId},
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use futures_util::future::BoxFuture;
use parking_lot::{Mutex, RwLock};

pub use self::info::{ProcessEvent, ProcessInfo, RuntimeStats, SupervisedProcess};
use crate::{
    AnyRef, Behavior, BehaviorRegistry, Clock, Incarnation, NodeId, Payload, Pid, Ref, RemoteBehavior, Spawn,
    SpawnAny, SpawnOn, WrongBehavior,
    deadlines::Deadlines,
    decoding,
    events::{Events, Hub, Subscription},
    mailbox::{Mailbox, short_name},
    names::Names,
    pool::Pool,
    process::Process,
    refs::Fault,
    route::Router,
    table::Table,
    trace::Tracer,
    vital::{Failsafe, NodeFailure},
    watchdog::Blockages,
};

pub use crate::node_builder::NodeBuilder;

/// One runtime of processes. Cheap to clone; works under `#[actix::main]`, `#[actix_web::main]` and `#[tokio::main]`.
#[derive(Clone)]
pub struct Node(pub(crate) Arc<NodeInner>);

type Stopper = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;
type OnFailure = Box<dyn Fn(&NodeFailure) + Send + Sync>;
type Anything = Arc<dyn Any + Send + Sync>;

pub(crate) struct NodeInner {
    pub(crate) id: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) clock: Clock,
    pub(crate) pool: Pool,
    pub(crate) deadlines: Arc<Deadlines>,
    pub(crate) blockages: Blockages,
    pub(crate) failsafe: Failsafe,
    pub(crate) behaviors: BehaviorRegistry,
    pub(crate) data: BTreeMap<TypeId, Anything>,
    pub(crate) events: Hub<ProcessEvent>,
    pub(crate) processes: RwLock<Table>,
    pub(crate) names: Names,
    pub(crate) router: OnceLock<Arc<dyn Router>>,
    /// Processes that want to hear of nodes.
    pub(crate) node_watchers: Mutex<Vec<Weak<dyn Process>>>,
    pub(crate) tracer: Option<Box<dyn Tracer>>,
    /// Processes that have a lease.
    pub(crate) leased: Mutex<Vec<Weak<dyn Process>>>,
    pub(crate) extensions: Mutex<BTreeMap<TypeId, Anything>>,
    pub(crate) stopper: OnceLock<Stopper>,
    pub(crate) on_failure: OnceLock<OnFailure>,
    /// Whether local messages are encoded and decoded as those to other nodes are, for tests.
    pub(crate) encodes: AtomicBool,
    pub(crate) stopping: AtomicBool,
    pub(crate) stop_once: tokio::sync::Mutex<bool>,
    pub(crate) next_pid: AtomicU64,
    pub(crate) next_monitor: AtomicU64,
}

impl Node {
    /// Configures a node.
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
            Some(router) => Ref::remote(pid.clone(), router.route(self, pid.node_id())),
            None => Ref::broken(pid.clone(), Fault::NotRunning),
        }
    }

    fn typed<B: Behavior>(process: Arc<dyn Process>) -> Result<Ref<B>, Fault> {
        let found = process.behavior();
        let mailbox = process.into_any().downcast::<Mailbox<B>>();
        mailbox
            .map(Ref::local)
            .map_err(|_why| Fault::WrongBehavior(WrongBehavior::new(short_name::<B>(), found)))
    }

    /// Runs `f`, in which references decode as references of this node.
    pub fn decoding<T>(&self, f: impl FnOnce() -> T) -> T {
        decoding::within(self, f)
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
        let (monitors, links) = core.tie_counts();
        ProcessInfo {
            pid: core.pid.clone(),
            behavior: process.behavior(),
            names: core.names(),
            status: core.status(),
            mailbox_len: mailbox.len,
            mailbox_high_water: mailbox.high_water,
            mailbox_bytes: mailbox.wire_bytes,
            dropped: mailbox.dropped,
            message_count: mailbox.handled,
            started_at: self.0.clock.wall(core.started_at),
            uptime: self.now().since(core.started_at),
            links,
            monitors,
            supervised: core.token().cloned(),
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
        let blockages = self.0.blockages.counts();
        RuntimeStats {
            processes: processes.len(),
            spawned: self.0.next_pid.load(Ordering::Relaxed) - 1,
            mailbox_len: processes.values().map(|process| process.mailbox().len).sum(),
            arbiters: self.0.pool.len(),
            blocked_arbiters: blockages.now,
            blockages: blockages.total,
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
                let token = core.token().cloned()?;
                let any = AnyRef::local(Arc::clone(process));
                Some(SupervisedProcess { token, any, behavior: process.behavior().to_owned() })
            })
            .collect()
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({})", self.0.id)
    }
}
