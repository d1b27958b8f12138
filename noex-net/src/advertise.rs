//! Under which host a node is known to others.
//!
//! A configured host stands. A wildcard bind needs an address that others can dial: that of the default route, else any
//! address of this machine that is not loopback, else loopback, as there is nobody else to dial it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use noex_actors::node_id::canonical_host;

use crate::config::ClusterConfig;

/// The host to advertise, as ids write it; `None` if there is none.
pub(crate) fn host(config: &ClusterConfig) -> Option<String> {
    let host = match config.advertise_host() {
        Some(host) => host.to_owned(),
        None if !config.binds_wildcard() => config.host().to_owned(),
        None => routable(config.host().contains(':'))?.to_string(),
    };
    canonical_host(&host).ok()
}

fn routable(v6: bool) -> Option<IpAddr> {
    let v4 = || by_route(SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 9))).or_else(local_v4);
    let found = if v6 {
        // A documentation address: nothing is sent, only the route is looked up.
        let target = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
        by_route(SocketAddr::from((target, 9))).or_else(v4)
    } else {
        v4()
    };
    found.or_else(|| {
        tracing::warn!("this machine has no address but loopback: only nodes on it can connect");
        Some(IpAddr::V4(Ipv4Addr::LOCALHOST))
    })
}

/// The address from which the kernel would send there.
fn by_route(target: SocketAddr) -> Option<IpAddr> {
    let any =
        if target.is_ipv6() { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(target).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified() && !ip.is_loopback()).then_some(ip)
}

/// An IPv4 address of this machine, where there is no default route.
fn local_v4() -> Option<IpAddr> {
    first_local(&std::fs::read_to_string("/proc/net/fib_trie").ok()?)
}

/// The kernel's table names an address on one line and says on the next that it is local.
fn first_local(table: &str) -> Option<IpAddr> {
    let mut last = None;
    for line in table.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line.contains("host LOCAL") {
            match last {
                Some(ip) if !ip.is_loopback() => return Some(IpAddr::V4(ip)),
                _ => {}
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_local_address_that_is_not_loopback_is_found() {
        let table = "Local:\n +-- 0.0.0.0/0\n |-- 127.0.0.1\n /32 host LOCAL\n |-- 10.1.0.0\n /24 link UNICAST\n |-- 10.1.0.7\n /32 host LOCAL\n";
        assert_eq!(first_local(table), Some(IpAddr::from([10, 1, 0, 7])));
        assert_eq!(first_local("Local:\n |-- 127.0.0.1\n /32 host LOCAL\n"), None);
    }
}
