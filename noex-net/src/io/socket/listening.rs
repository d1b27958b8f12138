//! Where sockets come from: listening and dialling.

use std::{io, net::SocketAddr};

use noex_actors::{NodeId, node_id::canonical_host};
use tokio::net::{TcpListener, TcpStream};

use super::Socket;
use crate::{
    advertise,
    config::ClusterConfig,
    memory::{self, MemoryListener, MemoryNetwork},
};

/// What connects the nodes of a cluster.
#[derive(Clone, Debug, Default)]
pub(crate) enum Transport {
    #[default]
    Tcp,
    Memory(MemoryNetwork),
}

impl Transport {
    /// The host that a listener binds.
    pub(crate) fn bind_host<'a>(&self, config: &'a ClusterConfig) -> &'a str {
        match self {
            Self::Tcp => config.host(),
            Self::Memory(_) => memory::host_of(config),
        }
    }

    pub(crate) async fn bind(&self, config: &ClusterConfig) -> io::Result<Bound> {
        if let Self::Memory(network) = self {
            return network.listen(config).map(Bound::Memory);
        }
        let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "the host has no address");
        for address in tokio::net::lookup_host((config.host(), config.port())).await? {
            match TcpListener::bind(address).await {
                Ok(listener) => return listener.into_std().map(Bound::Tcp),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Under which host a node is known to others; `None` if there is none.
    pub(crate) fn host(&self, config: &ClusterConfig) -> Option<String> {
        match self {
            Self::Tcp => advertise::host(config),
            Self::Memory(_) => canonical_host(memory::host_of(config)).ok(),
        }
    }

    /// The addresses of a host.
    pub(crate) async fn look_up(&self, address: (&str, u16)) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::Tcp => tokio::net::lookup_host(address).await.map(Iterator::collect),
            Self::Memory(network) => Ok(vec![network.look_up(address)]),
        }
    }

    /// Dials, as this node.
    pub(crate) async fn connect(&self, node: &NodeId, to: SocketAddr) -> io::Result<Socket> {
        match self {
            Self::Tcp => TcpStream::connect(to).await.map(Socket::Tcp),
            Self::Memory(network) => network.connect_node(node, to).await.map(Socket::Memory),
        }
    }
}

/// A place that is taken, on its way to the thread that will listen.
pub(crate) enum Bound {
    Tcp(std::net::TcpListener),
    Memory(MemoryListener),
}

impl Bound {
    pub(crate) fn port(&self) -> io::Result<u16> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(|address| address.port()),
            Self::Memory(listener) => Ok(listener.address().port()),
        }
    }

    /// Gives the listener to the reactor of this thread.
    pub(crate) fn settle(self) -> io::Result<Listening> {
        match self {
            Self::Tcp(listener) => TcpListener::from_std(listener).map(Listening::Tcp),
            Self::Memory(listener) => Ok(Listening::Memory(listener)),
        }
    }
}

/// What accepts connections.
pub(crate) enum Listening {
    Tcp(TcpListener),
    Memory(MemoryListener),
}

impl Listening {
    pub(crate) async fn accept(&mut self) -> io::Result<(Socket, SocketAddr)> {
        match self {
            Self::Tcp(listener) => {
                let (socket, remote) = listener.accept().await?;
                Ok((Socket::Tcp(socket), remote))
            }
            Self::Memory(listener) => {
                let socket = listener.accept().await?;
                let remote = socket.peer_addr();
                Ok((Socket::Memory(socket), remote))
            }
        }
    }
}
