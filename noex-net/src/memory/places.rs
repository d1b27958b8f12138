//! What a network in memory knows: the addresses of hosts, who listens, which connections there are, and which faults.

use std::{
    collections::BTreeMap,
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Weak},
};

use noex_actors::NodeId;
use tokio::sync::mpsc;

use super::{pipe::Pipe, stream::MemoryStream};

/// Ports that are given to who asks for any.
const PORTS: std::ops::RangeInclusive<u16> = 49_152..=65_535;
/// Names of hosts get the addresses from here on.
const NAMED: u32 = u32::from_be_bytes([127, 64, 0, 1]);

/// What is the matter in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Cut,
    Silent,
}

/// What stands between who dials and who is dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Between {
    Nothing,
    Silence,
    Cut,
}

/// One direction of a connection.
struct Wire {
    from: SocketAddr,
    to: SocketAddr,
    pipe: Weak<Pipe>,
}

#[derive(Default)]
pub(super) struct Places {
    hosts: BTreeMap<String, IpAddr>,
    listeners: BTreeMap<SocketAddr, mpsc::Sender<MemoryStream>>,
    wires: Vec<Wire>,
    /// How many wires there must be before those that are gone are looked for again.
    sweep_at: usize,
    faults: BTreeMap<(SocketAddr, SocketAddr), Fault>,
    /// Ports given so far.
    given: u16,
}

impl Places {
    /// The address of a host, which gets one if it has none.
    pub(super) fn address(&mut self, host: &str, port: u16) -> SocketAddr {
        let host = host.to_ascii_lowercase();
        let ip = match host.trim_matches(['[', ']']).parse() {
            Ok(ip) => ip,
            Err(_name) if host == "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Err(_name) => {
                let count = u32::try_from(self.hosts.len()).unwrap_or(u32::MAX);
                let next = || Ipv4Addr::from_bits(NAMED.saturating_add(count)).into();
                *self.hosts.entry(host).or_insert_with(next)
            }
        };
        SocketAddr::new(ip, port)
    }

    /// Where a node is.
    pub(super) fn of(&mut self, node: &NodeId) -> SocketAddr {
        self.address(node.host(), node.port())
    }

    /// Where somebody is who is no node.
    pub(super) fn stranger(&mut self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.next_port()).into()
    }

    fn next_port(&mut self) -> u16 {
        let port = PORTS.start() + self.given % (PORTS.end() - PORTS.start() + 1);
        self.given = self.given.wrapping_add(1);
        port
    }

    pub(super) fn listen(
        &mut self,
        host: &str,
        port: u16,
        sender: mpsc::Sender<MemoryStream>,
    ) -> io::Result<SocketAddr> {
        let mut address = self.address(host, port);
        if port == 0 {
            for _ in PORTS {
                address.set_port(self.next_port());
                if !self.listeners.contains_key(&address) {
                    break;
                }
            }
        }
        if self.listeners.contains_key(&address) {
            let what = "another node of the memory network listens there";
            return Err(io::Error::new(io::ErrorKind::AddrInUse, what));
        }
        self.listeners.insert(address, sender);
        Ok(address)
    }

    pub(super) fn free(&mut self, address: SocketAddr) {
        self.listeners.remove(&address);
    }

    pub(super) fn listener(&self, address: SocketAddr) -> Option<mpsc::Sender<MemoryStream>> {
        self.listeners.get(&address).cloned()
    }

    pub(super) fn between(&self, from: SocketAddr, to: SocketAddr) -> Between {
        let faults = [(from, to), (to, from)].map(|way| self.faults.get(&way));
        if faults.contains(&Some(&Fault::Cut)) {
            Between::Cut
        } else if faults == [None, None] {
            Between::Nothing
        } else {
            Between::Silence
        }
    }

    /// Both ends of a new connection.
    pub(super) fn connect(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        buffer: usize,
    ) -> (MemoryStream, MemoryStream) {
        if self.wires.len() >= self.sweep_at {
            self.wires.retain(|wire| wire.pipe.strong_count() > 0);
            self.sweep_at = (self.wires.len() * 2).max(64);
        }
        let (there, back) = (Arc::new(Pipe::new(buffer)), Arc::new(Pipe::new(buffer)));
        self.wires.push(Wire { from, to, pipe: Arc::downgrade(&there) });
        self.wires.push(Wire { from: to, to: from, pipe: Arc::downgrade(&back) });
        let near = SocketAddr::new(from.ip(), self.next_port());
        MemoryStream::pair(&there, &back, near, to)
    }

    /// The pipes that lead from one place to another.
    fn pipes(&self, from: SocketAddr, to: SocketAddr) -> impl Iterator<Item = Arc<Pipe>> {
        let these = self.wires.iter().filter(move |wire| (wire.from, wire.to) == (from, to));
        these.filter_map(|wire| wire.pipe.upgrade())
    }

    pub(super) fn reset(&self, a: SocketAddr, b: SocketAddr) {
        self.pipes(a, b).chain(self.pipes(b, a)).for_each(|pipe| pipe.reset());
    }

    /// Sets the fault of one direction, or takes it away.
    pub(super) fn set(&mut self, from: SocketAddr, to: SocketAddr, fault: Option<Fault>) {
        match fault {
            Some(fault) => self.faults.insert((from, to), fault),
            None => self.faults.remove(&(from, to)),
        };
        for pipe in self.pipes(from, to) {
            match fault {
                Some(Fault::Cut) => pipe.reset(),
                Some(Fault::Silent) => pipe.silence(true),
                None => pipe.silence(false),
            }
        }
    }

    pub(super) fn heal_all(&mut self) {
        for (from, to) in self.faults.keys().copied().collect::<Vec<_>>() {
            self.set(from, to, None);
        }
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places")
            .field("hosts", &self.hosts)
            .field("listeners", &self.listeners.keys())
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}
