//! Hints that came: so many new nodes per peer and interval are taken, the rest waits.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use noex_actors::{Incarnation, Monotonic, NodeId};

/// New nodes that are taken from one peer's hints per heartbeat interval.
pub(super) const HINTS_PER_INTERVAL: usize = 64;
/// Hints of one peer that may wait for their interval.
pub(super) const MAX_WAITING_HINTS: usize = 1024;

#[derive(Debug)]
struct FromPeer {
    window: Monotonic,
    taken: usize,
    waiting: VecDeque<(NodeId, Incarnation)>,
}

/// The hints of all peers.
#[derive(Debug)]
pub(super) struct Hints {
    interval: Duration,
    peers: BTreeMap<NodeId, FromPeer>,
    /// Those of whom hints wait, with the end of their interval.
    queue: BTreeSet<(Monotonic, NodeId)>,
}

impl Hints {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, peers: BTreeMap::new(), queue: BTreeSet::new() }
    }

    /// Puts hints of a peer to those that wait, as far as there is room.
    pub(super) fn add(
        &mut self,
        from: &NodeId,
        nodes: impl IntoIterator<Item = (NodeId, Incarnation)>,
        now: Monotonic,
    ) {
        let fresh = || FromPeer { window: now, taken: 0, waiting: VecDeque::new() };
        let peer = self.peers.entry(from.clone()).or_insert_with(fresh);
        let room = MAX_WAITING_HINTS.saturating_sub(peer.waiting.len());
        peer.waiting.extend(nodes.into_iter().take(room));
    }

    /// Takes the hints of a peer that name something new, as many as it has left in this interval. What is not new is
    /// dropped on the way.
    pub(super) fn take(
        &mut self,
        from: &NodeId,
        now: Monotonic,
        is_new: impl Fn(&NodeId, Incarnation) -> bool,
    ) -> Vec<(NodeId, Incarnation)> {
        let Some(peer) = self.peers.get_mut(from) else { return Vec::new() };
        self.queue.remove(&(peer.window.plus(self.interval), from.clone()));
        if now.since(peer.window) >= self.interval {
            (peer.window, peer.taken) = (now, 0);
        }
        let mut taken = Vec::new();
        while let Some((id, incarnation)) = peer.waiting.front() {
            if is_new(id, *incarnation) {
                if peer.taken == HINTS_PER_INTERVAL {
                    break;
                }
                peer.taken += 1;
                taken.push((id.clone(), *incarnation));
            }
            peer.waiting.pop_front();
        }
        if peer.waiting.is_empty() {
            peer.waiting = VecDeque::new(); // of thousands of peers, empty queues would be most of the memory
        } else {
            self.queue.insert((peer.window.plus(self.interval), from.clone()));
        }
        taken
    }

    /// The peer is not connected any more.
    pub(super) fn drop_peer(&mut self, from: &NodeId) {
        if let Some(peer) = self.peers.remove(from) {
            self.queue.remove(&(peer.window.plus(self.interval), from.clone()));
        }
    }

    /// When hints that wait may be taken.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// The peers whose hints have waited long enough.
    pub(super) fn due(&self, now: Monotonic) -> Vec<NodeId> {
        self.queue.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| id.clone()).collect()
    }

    #[cfg(test)]
    pub(super) fn waiting(&self, from: &NodeId) -> usize {
        self.peers.get(from).map_or(0, |peer| peer.waiting.len())
    }
}
