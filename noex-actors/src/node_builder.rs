//! Configures a node and starts it.

use std::{
    any::{Any, TypeId},
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};

use parking_lot::{Mutex, RwLock};

use crate::{
    BehaviorRegistry, Clock, Incarnation, Node, NodeId, NodeStartError, RemoteBehavior,
    deadlines::Deadlines,
    events::Hub,
    names::Names,
    node::NodeInner,
    pool::Pool,
    trace::Tracer,
    vital::Failsafe,
    watchdog::{self, Blockages},
};

/// Configures a [`Node`].
#[must_use]
pub struct NodeBuilder {
    arbiters: Option<usize>,
    behaviors: BehaviorRegistry,
    data: BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>,
    tracer: Option<Box<dyn Tracer>>,
    watchdog: Option<Duration>,
    identity: Option<(NodeId, Incarnation)>,
    #[cfg(feature = "testkit")]
    on_this_thread: bool,
}

impl NodeBuilder {
    pub(crate) fn new() -> Self {
        Self {
            arbiters: None,
            behaviors: BehaviorRegistry::new(),
            data: BTreeMap::new(),
            tracer: None,
            watchdog: Some(watchdog::LIMIT),
            identity: None,
            #[cfg(feature = "testkit")]
            on_this_thread: false,
        }
    }

    /// How many arbiters (threads) run processes. Default: one per core. At least 1.
    pub fn arbiters(mut self, arbiters: usize) -> Self {
        self.arbiters = Some(arbiters.max(1));
        self
    }

    /// A behavior that other nodes may start and address here.
    pub fn behavior<B: RemoteBehavior>(mut self) -> Self {
        self.behaviors = self.behaviors.with::<B>();
        self
    }

    /// Several of them.
    pub fn behaviors(mut self, behaviors: BehaviorRegistry) -> Self {
        self.behaviors.merge(&behaviors);
        self
    }

    /// A value that behaviors reach with `cx.node().data::<T>()`. One per type.
    pub fn data<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.data.insert(TypeId::of::<T>(), Arc::new(value));
        self
    }

    /// Joins the node to a tracing system; by default the contexts of messages are passed on as they come
    /// ([`trace`](crate::trace)).
    pub fn tracer(mut self, tracer: impl Tracer) -> Self {
        self.tracer = Some(Box::new(tracer));
        self
    }

    /// For how long a handler may block the thread of an arbiter before that is reported: logged as a warning that names the
    /// process, and counted in [`RuntimeStats`](crate::RuntimeStats). Default: 1 s. `None`: nobody looks.
    ///
    /// Lower: shorter blockages are found, and a machine that is too busy is taken for one. An arbiter is asked for a sign of
    /// life twice in that time.
    pub fn watchdog(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.watchdog = limit.into();
        self
    }

    /// Who it is. For clusters.
    #[doc(hidden)]
    pub fn identity(mut self, id: NodeId, incarnation: Incarnation) -> Self {
        self.identity = Some((id, incarnation));
        self
    }

    /// All of it on the arbiter of the current thread, which is not stopped with it.
    #[cfg(feature = "testkit")]
    pub(crate) fn on_this_thread(mut self) -> Self {
        self.on_this_thread = true;
        self
    }

    async fn pool(&self, failsafe: &Failsafe) -> std::io::Result<Pool> {
        #[cfg(feature = "testkit")]
        if self.on_this_thread {
            return Ok(Pool::on_this_thread(failsafe));
        }
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Pool::start(self.arbiters.unwrap_or_else(cores), failsafe).await
    }

    /// Starts the node.
    ///
    /// # Errors
    /// [`NodeStartError`]: two behaviors of one name, or no thread to be had.
    ///
    /// # Cancel safety
    /// Dropped before it ends, nothing stays.
    pub async fn start(self) -> Result<Node, NodeStartError> {
        if let Some(duplicate) = self.behaviors.duplicate() {
            return Err(duplicate.into());
        }
        let failsafe = Failsafe::default();
        let pool = self.pool(&failsafe).await.map_err(NodeStartError::Thread)?;
        let (id, incarnation) = self.identity.unwrap_or_else(|| (NodeId::nonode(), Incarnation::fresh()));
        let (clock, deadlines) = (Clock::start(), Arc::new(Deadlines::default()));
        let ringing = Arc::clone(&deadlines).keep(clock);
        pool.control().spawn(failsafe.vital("the deadlines of calls", ringing));
        let node = Arc::new(NodeInner {
            id,
            incarnation,
            clock,
            deadlines,
            blockages: Blockages::default(),
            failsafe,
            events: Hub::new(pool.next()),
            pool,
            behaviors: self.behaviors,
            data: self.data,
            tracer: self.tracer,
            processes: RwLock::default(),
            names: Names::default(),
            router: OnceLock::new(),
            node_watchers: Mutex::new(Vec::new()),
            leased: Mutex::new(Vec::new()),
            extensions: Mutex::new(BTreeMap::new()),
            stopper: OnceLock::new(),
            on_failure: OnceLock::new(),
            encodes: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            stop_once: tokio::sync::Mutex::new(false),
            next_pid: AtomicU64::new(1),
            next_monitor: AtomicU64::new(1),
        });
        // A thread of a test has no other one that could watch it.
        if let Some(limit) = self.watchdog.filter(|_| !node.pool.is_borrowed()) {
            let watch = watchdog::watch(Arc::downgrade(&node), limit);
            node.pool.control().spawn(node.failsafe.vital("the watchdog", watch));
        }
        node.failsafe.attach(&node);
        Ok(Node(node))
    }
}

impl fmt::Debug for NodeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeBuilder").field("behaviors", &self.behaviors).finish_non_exhaustive()
    }
}
