//! Links between processes of this node and of the peer, as one connection knows them.
//!
//! The ends stand in the tables of their processes; here only stands what must break when the session ends. Invariant: at the
//! end of the session every near end of a pair that stands here is broken, once, with `NoConnection`.

use std::collections::BTreeSet;

use noex_actors::ExitReason;
use parking_lot::Mutex;

use super::Link;
use crate::wire::control::Control;

/// Most links between two nodes.
const MAX_LINKS: usize = 1_000_000;

#[derive(Debug, Default)]
pub(crate) struct Ties(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    /// Numbers of the near and the far process.
    pairs: BTreeSet<(u64, u64)>,
    closed: bool,
}

impl Ties {
    /// False if the session is over, or there are too many.
    pub(crate) fn add(&self, near: u64, far: u64) -> bool {
        let mut table = self.0.lock();
        if table.closed || table.pairs.len() >= MAX_LINKS {
            return false;
        }
        table.pairs.insert((near, far));
        true
    }

    pub(crate) fn remove(&self, near: u64, far: u64) -> bool {
        self.0.lock().pairs.remove(&(near, far))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().pairs.len()
    }

    /// The session is over: what must break.
    pub(crate) fn close(&self) -> BTreeSet<(u64, u64)> {
        let mut table = self.0.lock();
        table.closed = true;
        std::mem::take(&mut table.pairs)
    }
}

/// What the peer says of links.
impl Link {
    /// A process of the peer links itself to one of this node.
    pub(super) fn link_from_peer(&self, far: u64, near: u64) {
        let fresh = self.requests.held(near);
        let process = self.addressable(near);
        let linked = process.is_some_and(|process| {
            self.ties.add(near, far) && self.net.node.accept_link(&process, &self.far(far))
        });
        if linked {
            return self.net.counters.links_established.one();
        }
        self.ties.remove(near, far);
        let reason = fresh.and_then(|process| process.core().over()).unwrap_or(ExitReason::NoProc);
        self.net.counters.exits_sent.one();
        self.control(&Control::Broken { from: near, to: far, reason });
    }

    /// A process of the peer takes its link away.
    pub(super) fn unlink_from_peer(&self, far: u64, near: u64) {
        self.ties.remove(near, far);
        if let Some(process) = self.net.node.process_by_number(near) {
            self.net.node.accept_unlink(&process, &self.far(far));
        }
    }

    /// A process of the peer that was linked to one of this node is gone.
    pub(super) fn broken_by_peer(&self, far: u64, near: u64, reason: &ExitReason) {
        if self.ties.remove(near, far) {
            self.net.counters.exits_received.one();
            self.net.node.link_broke(&self.near(near), &self.far(far), reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_end_nothing_is_added_and_all_is_given_once() {
        let ties = Ties::default();
        assert!(ties.add(1, 2) && ties.add(1, 2) && ties.add(1, 3));
        assert!(ties.remove(1, 3) && !ties.remove(1, 3));
        assert_eq!(ties.close(), BTreeSet::from([(1, 2)]));
        assert!(!ties.add(1, 2) && ties.close().is_empty());
    }
}
