//! How many processes of this node may live that one peer had started here.

use std::{collections::BTreeMap, sync::Arc};

use noex_actors::NodeId;
use parking_lot::Mutex;

/// Counts the processes by the peer that asked for them, over all its sessions.
#[derive(Debug, Default)]
pub(crate) struct Quota(Mutex<BTreeMap<NodeId, usize>>);

impl Quota {
    /// A place for one process; none if the peer has `max` already.
    pub(crate) fn take(self: &Arc<Self>, peer: &NodeId, max: usize) -> Option<Place> {
        let mut held = self.0.lock();
        let count = held.entry(peer.clone()).or_insert(0);
        if *count >= max {
            return None;
        }
        *count += 1;
        drop(held);
        Some(Place { quota: Arc::clone(self), peer: peer.clone() })
    }
}

/// The place of one process; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    quota: Arc<Quota>,
    peer: NodeId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.quota.0.lock();
        if let Some(count) = held.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_peer_and_come_back() {
        let quota = Arc::new(Quota::default());
        let (a, b) = (NodeId::parse("a@h:1").unwrap(), NodeId::parse("b@h:1").unwrap());
        let first = quota.take(&a, 2).unwrap();
        let _second = quota.take(&a, 2).unwrap();
        assert!(quota.take(&a, 2).is_none() && quota.take(&b, 2).is_some());
        drop(first);
        assert!(quota.take(&a, 2).is_some());
        assert_eq!(quota.0.lock().len(), 1, "who has none takes no room");
    }
}
