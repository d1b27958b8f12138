//! The handle of a cluster node.

use std::{
    fmt,
    ops::Deref,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use noex_actors::{CallError, Events, Monotonic, Node, NodeDownReason, NodeId, Subscription};

use crate::{
    ClusterBuilder, ClusterStartError, ClusterStatus, GlobalRegistry, Instance, NodeInfo, NodeStatus,
    ProcessGroups, SecretRing,
    actor::messages::{Fact, StopListening},
    config::ClusterConfig,
    event::ClusterEvent,
    link::Link,
    net::Net,
    remote,
    wire::control::Control,
};

/// How long peers may take to take the goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// A [`Node`] that is connected to others. Cheap to clone; dropping it stops nothing.
///
/// Getters never fail and leave this node out, those named `local_…` aside. After [`stop`](Self::stop) lists are empty
/// and calls fail with `NotRunning`.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) net: Arc<Net>,
    global: GlobalRegistry,
    groups: ProcessGroups,
    secrets: SecretRing,
}

/// This node left its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this node is not running")]
pub struct NotRunning;

impl Deref for Cluster {
    type Target = Node;
    fn deref(&self) -> &Node {
        &self.net.node
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cluster({}, {})", self.net.node.id(), self.status())
    }
}

impl Cluster {
    pub(crate) fn new(net: Arc<Net>) -> Self {
        Self {
            global: GlobalRegistry::new(Arc::clone(&net)),
            groups: ProcessGroups::new(Arc::clone(&net)),
            secrets: SecretRing::new(Arc::clone(&net)),
            net,
        }
    }

    /// Binds and runs. Seeds are dialled in the background, for ever: whether they answer is not waited for.
    ///
    /// # Errors
    /// [`ClusterStartError`]: the port is in use, there is no address to advertise, …
    ///
    /// # Cancel safety
    /// Dropped before it ends, nothing is bound afterwards.
    pub async fn start(config: ClusterConfig) -> Result<Self, ClusterStartError> {
        Self::builder(config).start().await
    }

    /// Configures what is not in a [`ClusterConfig`]: behaviors, closures, a seed provider.
    pub fn builder(config: ClusterConfig) -> ClusterBuilder {
        ClusterBuilder::new(config)
    }

    /// The cluster of a node; inside a behavior: `Cluster::of(cx.node())`.
    #[must_use]
    pub fn of(node: &Node) -> Option<Self> {
        let net = node.extension::<Weak<Net>>()?.upgrade()?;
        Some(Self::new(net))
    }

    /// Leaves: announces it, stops the processes, says goodbye, closes and frees the port. Peers report
    /// `graceful_shutdown`. Idempotent; a second caller waits for the first.
    ///
    /// # Cancel safety
    /// Dropped before it ends, the node stays half stopped; calling it again goes on.
    pub async fn stop(&self) {
        let net = &self.net;
        net.set_status(ClusterStatus::Stopping);
        if !net.leaving.swap(true, Ordering::AcqRel) {
            net.tell(Fact::Leaving);
            Self::tell(&Control::Draining, self.net.up.read().values().cloned().collect());
        }
        net.node.stop_processes().await;
        if net.status() != ClusterStatus::Stopped {
            self.leave().await;
        }
        // Also after a stop that was given up half-way.
        net.names.close().await;
        net.groups.close();
        net.events.close().await;
        net.node.stop_runtime().await;
        net.let_go();
    }

    /// Frees the port, says goodbye and closes.
    async fn leave(&self) {
        let net = &self.net;
        if let Some(listener) = net.listener() {
            let _ = listener.send(StopListening).await;
            let freed = async {
                while listener.connected() {
                    actix_rt::time::sleep(Duration::from_millis(1)).await;
                }
            };
            let _ = actix_rt::time::timeout(GOODBYE, freed).await;
        }
        self.drop_newcomers();
        let begun = self.net.links.lock().values().filter(|link| link.has_begun()).cloned().collect();
        Self::tell(&Control::Goodbye, begun);
        self.close_connections().await;
        net.set_status(ClusterStatus::Stopped);
    }

    /// Lets no session begin any more, and ends those that have not begun: else one could come up behind the goodbye, and a peer
    /// would see this node go, come and go. Where the first heartbeat was sent the peer may be up with it, though this node has
    /// not heard from it yet: it is owed a goodbye.
    fn drop_newcomers(&self) {
        let links = self.net.links.lock();
        self.net.closing.store(true, Ordering::Release);
        links.values().filter(|link| !link.has_begun()).for_each(|link| link.shut_down());
    }

    fn tell(message: &Control, links: Vec<Arc<Link>>) {
        for link in links {
            link.control(message);
            link.outbox.flush_here();
        }
    }

    /// Lets every peer read to the end, then closes what is left.
    async fn close_connections(&self) {
        let links = || self.net.links.lock().values().cloned().collect::<Vec<_>>();
        let polite = async {
            for link in links() {
                while link.outbox.queued() > 0 && !link.is_over() {
                    link.outbox.flush_here();
                    actix_rt::time::sleep(Duration::from_millis(1)).await;
                }
                link.outbox.end();
                link.socket().shut_down(std::net::Shutdown::Write);
            }
            while !links().is_empty() {
                actix_rt::time::sleep(Duration::from_millis(1)).await;
            }
        };
        if actix_rt::time::timeout(GOODBYE, polite).await.is_err() {
            links().iter().for_each(|link| link.end());
        }
    }

    /// The configuration, as it was given; its secrets are those of the start.
    #[must_use]
    pub fn config(&self) -> &ClusterConfig {
        &self.net.config
    }

    /// The secrets of now. They can be changed while the node runs.
    #[must_use]
    pub fn secrets(&self) -> &SecretRing {
        &self.secrets
    }

    /// Where this node stands.
    #[must_use]
    pub fn status(&self) -> ClusterStatus {
        self.net.status()
    }

    /// Its identity.
    #[must_use]
    pub fn local_node_id(&self) -> &NodeId {
        self.net.node.id()
    }

    /// What it would say of itself.
    #[must_use]
    pub fn local_node_info(&self) -> NodeInfo {
        self.net.local_info()
    }

    /// All other nodes that are known, connected or not.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeInfo> {
        self.net.nodes()
    }

    /// The connected ones.
    #[must_use]
    pub fn connected_nodes(&self) -> Vec<NodeInfo> {
        self.nodes().into_iter().filter(|node| node.status == NodeStatus::Connected).collect()
    }

    /// Ids of all other nodes that are known.
    #[must_use]
    pub fn node_ids(&self) -> Vec<NodeId> {
        self.nodes().into_iter().map(|node| node.id).collect()
    }

    /// One of them.
    #[must_use]
    pub fn node(&self, id: &NodeId) -> Option<NodeInfo> {
        self.net.node_info(id)
    }

    /// Nodes that were connected, did not say goodbye, and are out of reach.
    #[doc(hidden)]
    #[must_use]
    pub fn lost_nodes(&self) -> Vec<NodeId> {
        let mut lost = Vec::new();
        self.net.for_each_member(|id, member| {
            if member.status == NodeStatus::Disconnected && !member.left {
                lost.push(id.clone());
            }
        });
        lost
    }

    /// Whether a node is connected. A send may fail all the same, and says so.
    #[must_use]
    pub fn is_node_connected(&self, id: &NodeId) -> bool {
        self.node(id).is_some_and(|node| node.status == NodeStatus::Connected)
    }

    /// How many are connected.
    #[must_use]
    pub fn connected_node_count(&self) -> usize {
        self.connected_nodes().len()
    }

    /// How many configured seeds are not this node itself. For readiness.
    #[must_use]
    pub fn configured_seed_count(&self) -> usize {
        self.net.configured_seeds.load(Ordering::Acquire)
    }

    /// How long this node runs.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.net.node.now().since(Monotonic::ZERO)
    }

    /// Waits until so many nodes are connected, this one counted.
    ///
    /// # Errors
    /// [`NotRunning`] when this node stops first.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn wait_for_nodes(&self, count: usize) -> Result<(), NotRunning> {
        let mut events = self.events();
        loop {
            if self.status() >= ClusterStatus::Stopping {
                return Err(NotRunning);
            }
            if self.connected_node_count() + 1 >= count {
                return Ok(());
            }
            events.recv().await.ok_or(NotRunning)?;
        }
    }

    /// Calls `f` when a node comes up.
    pub fn on_node_up(&self, mut f: impl FnMut(&NodeInfo) + Send + 'static) -> Subscription {
        self.on_event(move |event| {
            if let ClusterEvent::NodeUp(node) = event {
                f(node);
            }
        })
    }

    /// Calls `f` when a node goes down.
    pub fn on_node_down(&self, mut f: impl FnMut(&NodeId, NodeDownReason) + Send + 'static) -> Subscription {
        self.on_event(move |event| {
            if let ClusterEvent::NodeDown { node, reason, .. } = event {
                f(node, *reason);
            }
        })
    }

    /// Calls `f` when the status of this node changes.
    pub fn on_status_change(&self, mut f: impl FnMut(ClusterStatus) + Send + 'static) -> Subscription {
        self.on_event(move |event| {
            if let ClusterEvent::StatusChange(status) = event {
                f(*status);
            }
        })
    }

    /// Calls `f` at everything that happens.
    pub fn on_event(&self, f: impl FnMut(&ClusterEvent) + Send + 'static) -> Subscription {
        self.net.events.on(f)
    }

    /// Everything that happens, as a stream.
    #[must_use]
    pub fn events(&self) -> Events<ClusterEvent> {
        self.net.events.events()
    }

    /// Names of the whole cluster.
    #[must_use]
    pub fn global(&self) -> &GlobalRegistry {
        &self.global
    }

    /// Groups of processes, known in the whole cluster.
    #[must_use]
    pub fn groups(&self) -> &ProcessGroups {
        &self.groups
    }

    /// Whether a node knows a behavior; of others, what they told when they connected.
    #[must_use]
    pub fn peer_has_behavior(&self, id: &NodeId, behavior: &str) -> bool {
        if id == self.local_node_id() {
            self.net.node.behaviors().has(behavior)
        } else {
            self.is_node_connected(id) && self.net.peer(id).has_behavior(behavior)
        }
    }

    /// Whether a node announced that it leaves.
    #[must_use]
    pub fn is_draining(&self, id: &NodeId) -> bool {
        if id == self.local_node_id() {
            self.net.leaving.load(Ordering::Acquire)
        } else {
            self.net.peer(id).is_draining()
        }
    }

    /// The supervised instances of one supervisor's children alive on a node; this one is fine.
    ///
    /// # Errors
    /// [`CallError`] when the node cannot be asked, or does not answer in time.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn instances(
        &self,
        id: &NodeId,
        supervisor: &str,
        timeout: Duration,
    ) -> Result<Vec<Instance>, CallError> {
        Ok(remote::instances(&self.net, id, (supervisor, 0), timeout).await?.0)
    }

    /// The same for a supervisor that tells its term, and asks for the highest one that the node had heard of before.
    ///
    /// # Errors
    /// The same.
    #[doc(hidden)]
    pub async fn __reign(
        &self,
        id: &NodeId,
        (supervisor, term): (&str, u64),
        timeout: Duration,
    ) -> Result<(Vec<Instance>, u64), CallError> {
        remote::instances(&self.net, id, (supervisor, term), timeout).await
    }
}
