//! Nodes of one process, connected in memory: no sockets, and faults on demand.
//!
//! | Room | Holds |
//! |---|---|
//! | `mod` | [`MemoryNetwork`]: who listens where, and what is between two nodes |
//! | `places` | the addresses of hosts, listeners, connections and faults |
//! | `stream` | [`MemoryStream`], one end of a connection |
//! | `pipe` | one direction of it: a bounded buffer |
//!
//! What a node does is the same from the bytes upwards: handshake, tags, TLS, batches, heartbeats, flow control. Only the
//! socket is another one.

mod pipe;
mod places;
mod stream;

use std::{
    fmt, io,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Weak},
};

use noex_actors::NodeId;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use self::places::{Between, Fault, Places};
pub use self::stream::MemoryStream;
use crate::config::{ClusterConfig, is_wildcard};

/// Connections that wait to be accepted by one node.
const BACKLOG: usize = 128;
/// Bytes that are under way in one direction at most, unless the network is made otherwise.
const BUFFER: usize = 64 * 1024;

/// A network in memory, for nodes of one process: tests of a cluster without sockets and ports, and embedding. Cheap to clone.
///
/// A node is on it by [`ClusterBuilder::network`](crate::ClusterBuilder::network). It listens under the host and port of its id and
/// dials others under theirs; seeds work as they do over TCP. Host names need not exist: each is an address of its own. The bind
/// host matters only if no host is advertised, and a wildcard is 127.0.0.1 then; of port 0 the network makes one that is free. Nodes
/// on different networks, or on none, do not reach each other.
///
/// Everything above the socket is that of TCP: the handshake, tags, TLS, heartbeats, limits and figures. Peers count as peers of this
/// machine, so nodes without a secret let them in.
///
/// Faults concern two places, whichever node is there, and end by [`heal`](Self::heal):
///
/// | | Connections that are there | New ones |
/// |---|---|---|
/// | [`reset`](Self::reset) | are lost at once, at both ends | as before |
/// | [`cut`](Self::cut) | are lost at once, at both ends | `ConnectionRefused` |
/// | [`silence`](Self::silence) | stay; nothing gets through, nobody is told | wait, at most the connect timeout |
///
/// ```
/// use noex_net::{Cluster, ClusterConfig, MemoryNetwork};
///
/// # #[actix_rt::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let network = MemoryNetwork::new();
/// let config = |name| ClusterConfig::test(name).advertise_host(format!("{name}.example")).port(4369);
/// let a = Cluster::builder(config("a").build()?).network(&network).start().await?;
/// let b = Cluster::builder(config("b").seed("a.example:4369").build()?).network(&network).start().await?;
/// assert_eq!(b.local_node_id().to_string(), "b@b.example:4369");
/// b.wait_for_nodes(2).await?;
///
/// network.cut(a.local_node_id(), b.local_node_id());
/// while b.connected_node_count() > 0 {
///     actix_rt::task::yield_now().await;
/// }
/// network.heal(a.local_node_id(), b.local_node_id());
/// b.wait_for_nodes(2).await?;
/// # b.stop().await;
/// # a.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryNetwork(Arc<Shared>);

struct Shared {
    buffer: usize,
    places: Mutex<Places>,
    /// A fault came or went.
    changed: Notify,
}

impl MemoryNetwork {
    /// A network without nodes. 64 KiB are under way in one direction of a connection at most.
    #[must_use]
    pub fn new() -> Self {
        Self::with_buffer(BUFFER)
    }

    /// With so many bytes under way in one direction of a connection at most; at least 1.
    #[must_use]
    pub fn with_buffer(bytes: usize) -> Self {
        let (places, changed) = (Mutex::default(), Notify::new());
        Self(Arc::new(Shared { buffer: bytes.max(1), places, changed }))
    }

    /// Ends all connections between the two, with what was under way. Each may dial the other again.
    pub fn reset(&self, a: &NodeId, b: &NodeId) {
        let mut places = self.0.places.lock();
        let (a, b) = (places.of(a), places.of(b));
        places.reset(a, b);
    }

    /// Ends all connections between the two, with what was under way, and lets no new one come up.
    pub fn cut(&self, a: &NodeId, b: &NodeId) {
        self.both_ways(a, b, Some(Fault::Cut));
    }

    /// Nothing gets through between the two, and neither is told: connections stay and fill up, ends of connections are not seen,
    /// and dials wait. When it is healed, everything that was written arrives, as over TCP.
    pub fn silence(&self, a: &NodeId, b: &NodeId) {
        self.both_ways(a, b, Some(Fault::Silent));
    }

    /// The same in one direction only. Dials need both.
    pub fn silence_one_way(&self, from: &NodeId, to: &NodeId) {
        let mut places = self.0.places.lock();
        let (from, to) = (places.of(from), places.of(to));
        places.set(from, to, Some(Fault::Silent));
        drop(places);
        self.0.changed.notify_waiters();
    }

    /// Ends the faults between the two, in both directions.
    pub fn heal(&self, a: &NodeId, b: &NodeId) {
        self.both_ways(a, b, None);
    }

    /// Ends all faults.
    pub fn heal_all(&self) {
        self.0.places.lock().heal_all();
        self.0.changed.notify_waiters();
    }

    fn both_ways(&self, a: &NodeId, b: &NodeId, fault: Option<Fault>) {
        let mut places = self.0.places.lock();
        let (a, b) = (places.of(a), places.of(b));
        places.set(a, b, fault);
        places.set(b, a, fault);
        drop(places);
        self.0.changed.notify_waiters();
    }

    /// Connects to the node that listens there, as somebody who is no node. Faults do not concern him.
    ///
    /// # Errors
    /// `ConnectionRefused`: nobody listens there.
    pub async fn connect(&self, to: &NodeId) -> io::Result<MemoryStream> {
        let (from, to) = {
            let mut places = self.0.places.lock();
            (places.stranger(), places.of(to))
        };
        self.dial(from, to).await
    }

    /// Connects two nodes.
    pub(crate) async fn connect_node(&self, from: &NodeId, to: SocketAddr) -> io::Result<MemoryStream> {
        let from = self.0.places.lock().of(from);
        self.dial(from, to).await
    }

    async fn dial(&self, from: SocketAddr, to: SocketAddr) -> io::Result<MemoryStream> {
        loop {
            let mut changed = pin!(self.0.changed.notified());
            changed.as_mut().enable();
            let listener = self.0.places.lock().listener(to);
            let listener = listener.ok_or(io::ErrorKind::ConnectionRefused)?;
            let place = listener.reserve().await.map_err(|_stopped| io::ErrorKind::ConnectionRefused)?;
            {
                let mut places = self.0.places.lock();
                match places.between(from, to) {
                    Between::Cut => return Err(io::ErrorKind::ConnectionRefused.into()),
                    Between::Nothing => {
                        let (dialling, dialled) = places.connect(from, to, self.0.buffer);
                        place.send(dialled);
                        return Ok(dialling);
                    }
                    Between::Silence => {}
                }
            }
            drop(place);
            changed.await;
        }
    }

    /// The addresses of a host: one.
    pub(crate) fn look_up(&self, (host, port): (&str, u16)) -> SocketAddr {
        self.0.places.lock().address(host, port)
    }

    /// Listens where the configuration says.
    pub(crate) fn listen(&self, config: &ClusterConfig) -> io::Result<MemoryListener> {
        let (sender, incoming) = mpsc::channel(BACKLOG);
        let mut places = self.0.places.lock();
        let address = places.listen(host_of(config), config.port(), sender)?;
        Ok(MemoryListener { network: Arc::downgrade(&self.0), address, incoming })
    }
}

/// Under which host a node is found.
pub(crate) fn host_of(config: &ClusterConfig) -> &str {
    let host = config.advertise_host().unwrap_or(config.host());
    if is_wildcard(host) { "127.0.0.1" } else { host }
}

impl Default for MemoryNetwork {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryNetwork").field("places", &*self.0.places.lock()).finish_non_exhaustive()
    }
}

/// A place where a node listens. Dropped, it is free again, and who waits there is sent away.
pub(crate) struct MemoryListener {
    network: Weak<Shared>,
    address: SocketAddr,
    incoming: mpsc::Receiver<MemoryStream>,
}

impl MemoryListener {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) async fn accept(&mut self) -> io::Result<MemoryStream> {
        self.incoming.recv().await.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        if let Some(network) = self.network.upgrade() {
            network.places.lock().free(self.address);
        }
    }
}
