//! What all parts of one cluster node share: who is connected, what is counted, where events come out.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZero,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
    thread,
};

use actix::Addr;
use futures_util::future::BoxFuture;
use noex_actors::{
    __private::Hub,
    AnyRef, FencingToken, Monotonic, NameError, Node, NodeId, Pid, SpawnError,
    route::{Route, Router, SpawnRequest},
};
use parking_lot::{Mutex, RwLock};

use crate::{
    actor::{cluster_manager::ClusterManager, listener::Listener, messages::Fact},
    config::ClusterConfig,
    event::ClusterEvent,
    global::Names,
    groups::Groups,
    io::socket::Transport,
    link::Link,
    machine::{
        keys::Keys,
        membership::{Member, View},
        sessions::ConnId,
        terms::Terms,
    },
    node_info::{ClusterStatus, NodeInfo},
    peer::Peer,
    quota::Quota,
    remote,
    stats::Counters,
    tls::TlsConfig,
    wire::{control::Behavior, limits::MAX_SCHEMAS},
};

/// Peers from which on those that nobody refers to are dropped.
const MANY_PEERS: usize = 10_000;

/// The shared part of one cluster node.
#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) node: Node,
    pub(crate) config: ClusterConfig,
    pub(crate) transport: Transport,
    /// How many this program may use, as it was when the node started: the system reads files for it.
    pub(crate) processors: usize,
    pub(crate) counters: Counters,
    pub(crate) events: Hub<ClusterEvent>,
    pub(crate) names: Names,
    pub(crate) groups: Groups,
    /// The secrets of now; the configuration has those of the start.
    pub(crate) keys: RwLock<Keys>,
    /// The certificates of now, likewise.
    tls: RwLock<Option<TlsConfig>>,
    /// Authenticated connections.
    pub(crate) links: Mutex<BTreeMap<ConnId, Arc<Link>>>,
    /// Sessions that are up.
    pub(crate) up: RwLock<BTreeMap<NodeId, Arc<Link>>>,
    peers: RwLock<BTreeMap<NodeId, Arc<Peer>>>,
    /// How many peers there must be before those that nobody uses are looked for again.
    sweep_at: AtomicUsize,
    /// Processes here that peers asked for.
    pub(crate) quota: Arc<Quota>,
    /// Which terms supervisors had that this node heard of.
    pub(crate) terms: Mutex<Terms>,
    /// What the manager knows, for everybody to read.
    members: RwLock<(BTreeMap<NodeId, Member>, View)>,
    pub(crate) configured_seeds: AtomicUsize,
    pub(crate) leaving: AtomicBool,
    /// The manager was told that the behaviors of this node changed, and has not looked yet.
    pub(crate) behaviors_changed: AtomicBool,
    /// No session begins any more. Written with `links` locked.
    pub(crate) closing: AtomicBool,
    status: AtomicU8,
    manager: OnceLock<Addr<ClusterManager>>,
    listener: OnceLock<Addr<Listener>>,
    /// The way to this value for those who must not keep it.
    pub(crate) me: Weak<Net>,
}

impl Net {
    pub(crate) fn new(node: Node, config: ClusterConfig, transport: Transport) -> Arc<Self> {
        let net = Arc::new_cyclic(|me| Self {
            behaviors_changed: AtomicBool::new(false),
            counters: Counters::default(),
            events: Hub::new(node.next_arbiter()),
            names: Names::new(&node),
            groups: Groups::new(&node),
            keys: RwLock::new(config.secrets().keys().clone()),
            tls: RwLock::new(config.tls().cloned()),
            links: Mutex::new(BTreeMap::new()),
            up: RwLock::new(BTreeMap::new()),
            peers: RwLock::new(BTreeMap::new()),
            sweep_at: AtomicUsize::new(MANY_PEERS),
            quota: Arc::default(),
            terms: Mutex::default(),
            members: RwLock::default(),
            configured_seeds: AtomicUsize::new(config.seeds().len()),
            leaving: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            status: AtomicU8::new(0),
            manager: OnceLock::new(),
            listener: OnceLock::new(),
            me: Weak::clone(me),
            processors: thread::available_parallelism().map_or(1, NonZero::get),
            node,
            config,
            transport,
        });
        let me = Weak::clone(&net.me);
        net.node.behaviors().on_change(move || {
            if let Some(net) = me.upgrade()
                && !net.behaviors_changed.swap(true, Ordering::AcqRel)
            {
                net.tell(Fact::BehaviorsChanged);
            }
        });
        net
    }

    /// The behaviors of this node, to be announced.
    pub(crate) fn behaviors(&self) -> Vec<Behavior> {
        let mut room = MAX_SCHEMAS.min(self.config.max_message_bytes() / 4);
        let behavior = |(number, name, mut schema): (u32, &str, Vec<u8>)| {
            match room.checked_sub(schema.len()) {
                Some(left) => room = left,
                None => schema = Vec::new(),
            }
            Behavior { number, name: name.to_owned(), schema }
        };
        self.node.behaviors().announced().into_iter().map(behavior).collect()
    }

    /// With what a handshake begins; `None`: without TLS.
    pub(crate) fn tls(&self) -> Option<TlsConfig> {
        self.tls.read().clone()
    }

    #[cfg(feature = "tls")]
    pub(crate) fn set_tls(&self, tls: TlsConfig) {
        *self.tls.write() = Some(tls);
    }

    pub(crate) fn set_manager(&self, manager: Addr<ClusterManager>) {
        let _ = self.manager.set(manager);
    }

    pub(crate) fn set_listener(&self, listener: Addr<Listener>) {
        let _ = self.listener.set(listener);
    }

    pub(crate) fn listener(&self) -> Option<&Addr<Listener>> {
        self.listener.get()
    }

    /// Tells the manager. Never lost: facts are few, and bounded by what causes them.
    #[expect(
        clippy::disallowed_methods,
        reason = "a fact that is lost would leave the machines wrong for ever"
    )]
    pub(crate) fn tell(&self, fact: Fact) {
        if let Some(manager) = self.manager.get() {
            manager.do_send(fact);
        }
    }

    pub(crate) fn status(&self) -> ClusterStatus {
        match self.status.load(Ordering::Acquire) {
            0 => ClusterStatus::Starting,
            1 => ClusterStatus::Running,
            2 => ClusterStatus::Stopping,
            _ => ClusterStatus::Stopped,
        }
    }

    /// Moves on to a later status and tells. False if it is there already.
    pub(crate) fn set_status(&self, status: ClusterStatus) -> bool {
        let number = match status {
            ClusterStatus::Starting => 0,
            ClusterStatus::Running => 1,
            ClusterStatus::Stopping => 2,
            ClusterStatus::Stopped => 3,
        };
        let before = self.status.fetch_max(number, Ordering::AcqRel);
        if before < number || (before, number) == (0, 0) {
            self.events.emit(ClusterEvent::StatusChange(status));
        }
        before < number
    }

    pub(crate) fn is_running(&self) -> bool {
        self.status() != ClusterStatus::Stopped
    }

    /// The peer with this id, made at the first question.
    pub(crate) fn peer(&self, id: &NodeId) -> Arc<Peer> {
        if let Some(peer) = self.peers.read().get(id) {
            return Arc::clone(peer);
        }
        let mut peers = self.peers.write();
        // SECURITY: a reference that is decoded may name any node. What nobody uses goes when there are many. Looking for it
        // costs as much as there is: done again when there is twice as much as was left.
        if peers.len() >= self.sweep_at.load(Ordering::Relaxed) && !peers.contains_key(id) {
            peers.retain(|_, peer| Arc::strong_count(peer) > 1 || peer.is_connected());
            self.sweep_at.store(MANY_PEERS.max(2 * peers.len()), Ordering::Relaxed);
        }
        let make = || Arc::new(Peer::new(id.clone(), self.node.clone(), Weak::clone(&self.me)));
        Arc::clone(peers.entry(id.clone()).or_insert_with(make))
    }

    /// Drops what is kept about a node that is forgotten, unless somebody holds references to it.
    pub(crate) fn forget(&self, id: &NodeId) {
        let mut peers = self.peers.write();
        if peers.get(id).is_some_and(|peer| Arc::strong_count(peer) == 1) {
            peers.remove(id);
        }
    }

    /// The actors are gone, and with them whoever would have heard of the ends of sessions: nothing may keep one, as a
    /// session keeps all of this.
    pub(crate) fn let_go(&self) {
        let links = std::mem::take(&mut *self.links.lock());
        links.values().for_each(|link| link.end());
        let sessions = std::mem::take(&mut *self.up.write());
        self.peers.read().values().for_each(|peer| peer.disconnected());
        drop((links, sessions)); // with no lock held
    }

    /// A peer says that it leaves.
    pub(crate) fn draining(&self, id: &NodeId) {
        if self.peer(id).start_draining() {
            self.events.emit(ClusterEvent::NodeDraining(id.clone()));
        }
    }

    pub(crate) fn link(&self, id: &NodeId) -> Option<Arc<Link>> {
        self.up.read().get(id).cloned()
    }

    /// Makes what the manager knows readable.
    pub(crate) fn publish(&self, changed: &BTreeSet<NodeId>, members: &BTreeMap<NodeId, Member>, view: View) {
        let mut published = self.members.write();
        published.1 = view;
        for id in changed {
            match members.get(id) {
                Some(member) => {
                    published.0.insert(id.clone(), member.clone());
                }
                None => {
                    published.0.remove(id);
                }
            }
        }
    }

    /// Whom this node is connected to, for its heartbeats.
    pub(crate) fn view(&self) -> View {
        self.members.read().1
    }

    /// Every other node that is known.
    pub(crate) fn for_each_member(&self, mut look: impl FnMut(&NodeId, &Member)) {
        self.members.read().0.iter().for_each(|(id, member)| look(id, member));
    }

    pub(crate) fn nodes(&self) -> Vec<NodeInfo> {
        if !self.is_running() {
            return Vec::new();
        }
        self.members.read().0.iter().map(|(id, member)| self.info(id, member)).collect()
    }

    pub(crate) fn node_info(&self, id: &NodeId) -> Option<NodeInfo> {
        let members = &self.members.read().0;
        members.get(id).filter(|_| self.is_running()).map(|member| self.info(id, member))
    }

    /// How often a node was dialled since it is known.
    pub(crate) fn dials(&self, id: &NodeId) -> u32 {
        self.members.read().0.get(id).map_or(0, |member| member.dials)
    }

    fn info(&self, id: &NodeId, member: &Member) -> NodeInfo {
        let now = self.node.now();
        NodeInfo {
            id: id.clone(),
            host: id.host().to_owned(),
            port: id.port(),
            status: member.status,
            process_count: usize::try_from(member.load.process_count).unwrap_or(usize::MAX),
            last_heartbeat_at: member.last_heartbeat.map(|at| self.node.clock().wall(at)),
            uptime: member.uptime(now),
            incarnation: member.incarnation,
            mailbox_len: usize::try_from(member.load.mailbox_len).unwrap_or(usize::MAX),
            cpu: member.load.cpu,
            load_received: Some(member.load.received),
        }
    }

    pub(crate) fn local_info(&self) -> NodeInfo {
        let id = self.node.id();
        let stats = self.node.runtime_stats();
        NodeInfo {
            id: id.clone(),
            host: id.host().to_owned(),
            port: id.port(),
            status: crate::NodeStatus::Connected,
            process_count: stats.processes,
            last_heartbeat_at: None,
            uptime: self.node.now().since(Monotonic::ZERO),
            incarnation: self.node.incarnation(),
            mailbox_len: stats.mailbox_len,
            cpu: 0.0,
            load_received: None,
        }
    }
}

/// What a node reaches others by. Keeps nothing alive.
#[derive(Debug)]
pub(crate) struct NetRouter {
    net: Weak<Net>,
}

impl NetRouter {
    pub(crate) fn new(net: &Arc<Net>) -> Self {
        Self { net: Arc::downgrade(net) }
    }
}

impl Router for NetRouter {
    fn route(&self, from: &Node, id: &NodeId) -> Arc<dyn Route> {
        match self.net.upgrade() {
            Some(net) => net.peer(id),
            None => Arc::new(Peer::new(id.clone(), from.clone(), Weak::new())),
        }
    }

    fn spawn(&self, id: &NodeId, request: SpawnRequest) -> BoxFuture<'static, Result<Pid, SpawnError>> {
        let (net, id) = (self.net.upgrade(), id.clone());
        Box::pin(async move {
            match net {
                Some(net) => remote::spawn(&net, &id, request).await,
                None => Err(SpawnError::NoConnection(id)),
            }
        })
    }

    fn register_global(&self, name: &str, process: &AnyRef) -> Result<(), NameError> {
        match self.net.upgrade() {
            Some(net) => net.names.register(&net, name, process, crate::OnConflict::NotifyLoser),
            None => Err(NameError::NoProc(process.pid().clone())),
        }
    }

    fn global_holder(&self, name: &str, token: Option<&FencingToken>) -> Option<Pid> {
        let net = self.net.upgrade()?;
        net.names.read(|machine| machine.holder_against(name, token).cloned())
    }
}

#[cfg(test)]
mod tests {
    use noex_actors::Incarnation;

    use super::*;

    #[actix_rt::test]
    async fn peers_in_use_are_not_looked_through_at_every_new_one() {
        let id = |n: usize| NodeId::parse(&format!("n{n}@h:1")).unwrap();
        let node = Node::builder().arbiters(1).identity(id(0), Incarnation(1)).start().await.unwrap();
        let net = Net::new(node, ClusterConfig::builder("n0").build().unwrap(), Transport::Tcp);
        let in_use: Vec<_> = (0..MANY_PEERS + 50).map(|n| net.peer(&id(n))).collect();
        assert_eq!(net.peers.read().len(), in_use.len());
        // Once, at the ten thousandth: then not until there are twice as many.
        assert_eq!(net.sweep_at.load(Ordering::Relaxed), 2 * MANY_PEERS);
        drop(in_use);
        for n in MANY_PEERS + 50..2 * MANY_PEERS {
            net.peer(&id(n));
        }
        assert_eq!(net.peers.read().len(), 2 * MANY_PEERS);
        net.peer(&id(2 * MANY_PEERS));
        assert_eq!(net.peers.read().len(), 1, "nobody used the others");
        assert_eq!(net.sweep_at.load(Ordering::Relaxed), MANY_PEERS);
    }
}
