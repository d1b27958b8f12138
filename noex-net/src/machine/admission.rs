//! Admission: how many connections may wait to be authenticated, and who goes when there are too many.
//!
//! At the cap the oldest connection of the busiest address goes, never the newcomer: whoever floods pushes itself out.
//! One address has at most 64 places; loopback is exempt from that.

use std::{collections::BTreeMap, net::IpAddr};

use super::sessions::ConnId;

/// Places of one address that is not loopback.
pub(crate) const PER_ADDRESS: usize = 64;

/// The unauthenticated connections of one node.
#[derive(Debug)]
pub(crate) struct Admission {
    max: usize,
    /// By address, oldest first.
    waiting: BTreeMap<IpAddr, Vec<ConnId>>,
}

impl Admission {
    pub(crate) fn new(max: usize) -> Self {
        Self { max: max.max(1), waiting: BTreeMap::new() }
    }

    /// A connection came; returns the one that must go for it.
    pub(crate) fn admit(&mut self, conn: ConnId, address: IpAddr) -> Option<ConnId> {
        let own = self.waiting.get(&address).map_or(0, Vec::len);
        let total: usize = self.waiting.values().map(Vec::len).sum();
        let from = if own >= PER_ADDRESS && !address.is_loopback() {
            Some(address)
        } else if total >= self.max {
            self.waiting.iter().max_by_key(|(_, conns)| conns.len()).map(|(address, _)| *address)
        } else {
            None
        };
        let evicted = from.and_then(|from| self.waiting.get_mut(&from)).map(|conns| conns.remove(0));
        self.waiting.retain(|_, conns| !conns.is_empty());
        self.waiting.entry(address).or_default().push(conn);
        evicted
    }

    /// A connection is authenticated, or over.
    pub(crate) fn release(&mut self, conn: ConnId) {
        for conns in self.waiting.values_mut() {
            conns.retain(|waiting| *waiting != conn);
        }
        self.waiting.retain(|_, conns| !conns.is_empty());
    }

    /// How many wait.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.waiting.values().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    #[test]
    fn at_the_cap_the_oldest_of_the_busiest_address_goes() {
        let mut admission = Admission::new(4);
        assert_eq!(admission.admit(ConnId(1), ip(1)), None);
        for n in 2..5 {
            assert_eq!(admission.admit(ConnId(n), ip(2)), None);
        }
        assert_eq!(admission.admit(ConnId(5), ip(3)), Some(ConnId(2)), "not the newcomer, not the quiet one");
        assert_eq!(admission.len(), 4);
        admission.release(ConnId(3));
        assert_eq!(admission.admit(ConnId(6), ip(3)), None);
    }

    #[test]
    fn one_address_has_64_places_and_loopback_as_many_as_there_are() {
        let mut admission = Admission::new(256);
        for n in 0..64 {
            assert_eq!(admission.admit(ConnId(n), ip(1)), None);
        }
        assert_eq!(admission.admit(ConnId(64), ip(1)), Some(ConnId(0)));
        let loopback = IpAddr::from([127, 0, 0, 1]);
        for n in 100..292 {
            assert_eq!(admission.admit(ConnId(n), loopback), None);
        }
        assert_eq!(admission.admit(ConnId(300), loopback), Some(ConnId(100)));
    }
}
