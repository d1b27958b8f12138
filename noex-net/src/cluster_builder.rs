//! Configures a cluster node and starts it.

use std::{
    fmt,
    future::Future,
    io,
    sync::{Arc, Weak},
    time::Duration,
};

use actix::Arbiter;
use futures_util::future::BoxFuture;
use noex_actors::{
    BehaviorRegistry, DuplicateBehavior, Incarnation, Node, NodeBuilder, NodeDownReason, NodeId,
    NodeStartError, RemoteBehavior, trace::Tracer,
};

use crate::{
    Cluster, ClusterStatus, MemoryNetwork, NodeInfo,
    actor::{
        cluster_manager::ClusterManager,
        global_registry::GlobalRegistryActor,
        heartbeat_timer::HeartbeatTimer,
        listener::{ConnIds, Listener},
        messages::Fact,
        start::start,
        warden::Warden,
    },
    config::{ClusterConfig, InvalidClusterConfig, Seed},
    event::ClusterEvent,
    io::socket::{Bound, Transport},
    machine::keys::Keys,
    net::{Net, NetRouter},
    secret_ring::warn_of_weak_secrets,
};

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

type Provider = Box<dyn Fn() -> BoxFuture<'static, Result<Vec<String>, BoxError>> + Send + Sync>;
type Subscribe = Box<dyn FnOnce(&Cluster) + Send>;

/// Why a cluster node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterStartError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] InvalidClusterConfig),
    /// The port cannot be bound: it is in use, or the host is not of this machine.
    #[error("cannot listen on {addr}: {source}")]
    Bind {
        /// Where.
        addr: String,
        /// Why.
        source: io::Error,
    },
    /// There is no address under which others could dial this node: set `advertise_host`.
    #[error("no address to advertise for {host}: set advertise_host (ADVERTISE_HOST)")]
    Advertise {
        /// The host that is bound.
        host: String,
    },
    /// Two behaviors of one name.
    #[error(transparent)]
    Behavior(DuplicateBehavior),
    /// No thread could be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}

/// Configures a [`Cluster`] beyond its [`ClusterConfig`].
#[must_use]
pub struct ClusterBuilder {
    config: ClusterConfig,
    #[cfg(feature = "tls")]
    tls: Option<crate::TlsConfig>,
    node: NodeBuilder,
    provider: Option<Provider>,
    subscribe: Vec<Subscribe>,
    incarnation: Option<Incarnation>,
    transport: Transport,
}

impl ClusterBuilder {
    pub(crate) fn new(config: ClusterConfig) -> Self {
        Self {
            config,
            #[cfg(feature = "tls")]
            tls: None,
            node: Node::builder(),
            provider: None,
            subscribe: Vec::new(),
            incarnation: None,
            transport: Transport::Tcp,
        }
    }

    /// A behavior that other nodes may start and address here.
    pub fn behavior<B: RemoteBehavior>(mut self) -> Self {
        self.node = self.node.behavior::<B>();
        self
    }

    /// Several of them.
    pub fn behaviors(mut self, behaviors: BehaviorRegistry) -> Self {
        self.node = self.node.behaviors(behaviors);
        self
    }

    /// Joins the node to a tracing system, as [`NodeBuilder::tracer`].
    pub fn tracer(mut self, tracer: impl Tracer) -> Self {
        self.node = self.node.tracer(tracer);
        self
    }

    /// A value that behaviors reach with `cx.node().data::<T>()`.
    pub fn data<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.node = self.node.data(value);
        self
    }

    /// How many arbiters (threads) run processes and connections. Default: one per core.
    pub fn arbiters(mut self, arbiters: usize) -> Self {
        self.node = self.node.arbiters(arbiters);
        self
    }

    /// For how long a handler may block the thread of an arbiter before that is reported, as [`NodeBuilder::watchdog`]: here as a
    /// [`ClusterEvent::ArbiterBlocked`](crate::ClusterEvent::ArbiterBlocked) as well.
    pub fn watchdog(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.node = self.node.watchdog(limit);
        self
    }

    /// Which life of the node this is, for callers that persist a counter. Must be higher than that of the last start.
    pub fn incarnation(mut self, incarnation: Incarnation) -> Self {
        self.incarnation = Some(incarnation);
        self
    }

    /// Makes all connections TLS, with these certificates instead of those of the configuration. A certificate that does not
    /// hold the node's name is an error of [`start`](Self::start).
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: crate::TlsConfig) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Puts the node on a network in memory instead of TCP: it reaches the nodes of that network and no others.
    pub fn network(mut self, network: &MemoryNetwork) -> Self {
        self.transport = Transport::Memory(network.clone());
        self
    }

    /// Seeds from elsewhere: asked at the start, and again and again, for ever. What it names is added to the
    /// configured seeds; what is no seed is logged and skipped.
    pub fn seed_provider<F, Fut>(mut self, provider: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<String>, BoxError>> + Send + 'static,
    {
        self.provider = Some(Box::new(move || Box::pin(provider())));
        self
    }

    /// Calls `f` when a node comes up.
    pub fn on_node_up(self, f: impl FnMut(&NodeInfo) + Send + 'static) -> Self {
        self.subscribing(|cluster| cluster.on_node_up(f).detach())
    }

    /// Calls `f` when a node goes down.
    pub fn on_node_down(self, f: impl FnMut(&NodeId, NodeDownReason) + Send + 'static) -> Self {
        self.subscribing(|cluster| cluster.on_node_down(f).detach())
    }

    /// Calls `f` at every status, from `starting` on.
    pub fn on_status_change(self, f: impl FnMut(ClusterStatus) + Send + 'static) -> Self {
        self.subscribing(|cluster| cluster.on_status_change(f).detach())
    }

    fn subscribing(mut self, subscribe: impl FnOnce(&Cluster) + Send + 'static) -> Self {
        self.subscribe.push(Box::new(subscribe));
        self
    }

    /// Binds and runs. Seeds are dialled in the background, for ever: whether they answer is not waited for.
    ///
    /// # Errors
    /// [`ClusterStartError`].
    ///
    /// # Cancel safety
    /// Dropped before it ends, nothing is bound afterwards.
    pub async fn start(self) -> Result<Cluster, ClusterStartError> {
        #[cfg(feature = "tls")]
        let this = self.with_tls()?;
        #[cfg(not(feature = "tls"))]
        let this = self;
        let Self { config, node, provider, subscribe, incarnation, transport, .. } = this;
        let addr = || format!("{}:{}", transport.bind_host(&config), config.port());
        let bind_error = |source| ClusterStartError::Bind { addr: addr(), source };
        let socket = transport.bind(&config).await.map_err(bind_error)?;
        let port = socket.port().map_err(bind_error)?;
        let advertise = || ClusterStartError::Advertise { host: config.host().to_owned() };
        let host = transport.host(&config).ok_or_else(advertise)?;
        let id = NodeId::new(config.node_name(), &host, port).map_err(|_why| advertise())?;
        let incarnation = incarnation.unwrap_or_else(Incarnation::fresh);
        let node = node.identity(id.clone(), incarnation).start().await.map_err(|error| match error {
            NodeStartError::Behavior(duplicate) => ClusterStartError::Behavior(duplicate),
            NodeStartError::Thread(error) => ClusterStartError::Thread(error),
            _ => ClusterStartError::Thread(io::Error::other(error.to_string())),
        })?;
        let net = Net::new(node, config, transport);
        let cluster = Cluster::new(Arc::clone(&net));
        subscribe.into_iter().for_each(|subscribe| subscribe(&cluster));
        net.set_status(ClusterStatus::Starting);
        connect_node(&net);
        start_actors(&net, socket).await?;
        net.set_status(ClusterStatus::Running);
        warn_of_weak_secrets(&Keys::default(), net.config.secrets().keys(), net.config.tls().is_some());
        if let Some(tls) = net.config.tls() {
            tls.warn_of_trouble();
        }
        net.tell(Fact::Seeds(net.config.seeds().to_vec()));
        if let Some(provider) = provider {
            net.node.next_arbiter().spawn(ask_for_seeds(Arc::downgrade(&net), provider));
        }
        tracing::info!(node = %id, incarnation = incarnation.0, "cluster node running");
        Ok(cluster)
    }
}

#[cfg(feature = "tls")]
impl ClusterBuilder {
    fn with_tls(mut self) -> Result<Self, InvalidClusterConfig> {
        self.tls.take().map_or(Ok(()), |tls| self.config.set_tls(tls))?;
        Ok(self)
    }
}

impl fmt::Debug for ClusterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Makes the node reach others, and leave the cluster when it stops.
fn connect_node(net: &Arc<Net>) {
    net.node.set_router(Arc::new(NetRouter::new(net)));
    let weak = Arc::downgrade(net);
    net.node.extension_or_init(|| Weak::clone(&weak));
    let blocked = Arc::downgrade(net);
    net.node.set_block_hook(move |arbiter, is| {
        if let Some(net) = blocked.upgrade() {
            let event = if is { ClusterEvent::ArbiterBlocked } else { ClusterEvent::ArbiterFreed };
            net.events.emit(event(arbiter.clone()));
        }
    });
    let failed = Arc::downgrade(net);
    net.node.set_failure_hook(move |failure| {
        if let Some(net) = failed.upgrade() {
            net.abort(failure);
        }
    });
    net.node.set_stopper(move || {
        let net = weak.upgrade();
        Box::pin(async move {
            if let Some(net) = net {
                Cluster::new(net).stop().await;
            }
        })
    });
}

/// Starts the actors of the control arbiter, there.
async fn start_actors(net: &Arc<Net>, socket: Bound) -> Result<(), ClusterStartError> {
    let (started, ready) = tokio::sync::oneshot::channel();
    let shared = Arc::clone(net);
    let entropy = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
    net.node.control().spawn_fn(move || {
        let here = Arbiter::current();
        let node = &shared.node;
        let timer = start(node, "the heartbeat timer", HeartbeatTimer::new(Arc::clone(&shared)));
        start(node, "the global registry", GlobalRegistryActor::new(Arc::clone(&shared)));
        start(node, "the warden of leases", Warden::new(Arc::clone(&shared)));
        let ids = ConnIds::default();
        let stopping = Arc::downgrade(&shared);
        let stop = Box::new(move || {
            if let Some(net) = stopping.upgrade() {
                // Not on the control arbiter: stopping stops that one, too.
                net.node.next_arbiter().spawn(async move { Cluster::new(net).stop().await });
            }
        });
        let manager = ClusterManager::new(Arc::clone(&shared), ids.clone(), timer, entropy, stop);
        let manager = start(node, "the cluster manager", manager);
        shared.set_manager(manager);
        let listener = start(node, "the listener", Listener::new(Arc::clone(&shared), ids, socket));
        let _ = started.send((here, listener));
    });
    let (_, listener) = ready
        .await
        .map_err(|_why| ClusterStartError::Thread(io::Error::other("the control arbiter ended")))?;
    net.set_listener(listener);
    Ok(())
}

/// Asks for seeds, often while nobody is connected, seldom else.
async fn ask_for_seeds(net: Weak<Net>, provider: Provider) {
    let mut wait = Duration::ZERO;
    loop {
        let asked = provider().await;
        let Some(net) = net.upgrade() else { return };
        if net.status() > ClusterStatus::Running {
            return;
        }
        match asked {
            Ok(texts) => {
                let mut seeds = Vec::new();
                for text in texts {
                    match text.parse::<Seed>() {
                        Ok(seed) => seeds.push(seed),
                        Err(error) => tracing::warn!(%error, "the seed provider named what is no seed"),
                    }
                }
                net.tell(Fact::Seeds(seeds));
            }
            Err(error) => tracing::warn!(%error, "the seed provider failed; it is asked again"),
        }
        let (base, max) = (net.config.reconnect_base_delay(), net.config.reconnect_max_delay());
        let alone = net.up.read().is_empty();
        wait = if alone { (wait * 2).clamp(base, max) } else { max };
        drop(net);
        actix_rt::time::sleep(wait).await;
    }
}
