//! The behaviors that the peer of a session announced: what can be started there, and by which numbers frames name them.

use std::collections::BTreeMap;

use parking_lot::RwLock;

use crate::wire::{control::Behavior, limits::MAX_BEHAVIOR_NAME};

#[derive(Debug, Default)]
pub(crate) struct Announced(RwLock<BTreeMap<String, u32>>);

impl Announced {
    /// The peer told all of them.
    pub(crate) fn set(&self, behaviors: Vec<Behavior>) {
        let kept = behaviors.into_iter().filter(|found| found.name.len() <= MAX_BEHAVIOR_NAME);
        let table = kept.map(|found| (found.name, found.number)).collect();
        *self.0.write() = table;
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.read().contains_key(name)
    }

    /// The number of a behavior.
    pub(crate) fn number(&self, name: &str) -> Option<u32> {
        self.0.read().get(name).copied()
    }
}
