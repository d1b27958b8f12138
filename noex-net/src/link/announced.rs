//! The behaviors that the peer of a session announced: what can be started there, by which numbers frames name them, and
//! whether its messages are ours.
//!
//! A schema is read when somebody sends to the first process of its behavior, and what came of that is kept.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use noex_actors::{
    __private::Methods,
    BehaviorIncompatible, SpawnError,
    schema::{MAX_SCHEMA, Schema, SchemaOf},
};
use parking_lot::RwLock;

use super::Link;
use crate::wire::{
    control::Behavior,
    limits::{MAX_BEHAVIOR_NAME, MAX_SCHEMAS},
};

/// The first difference, where there is one.
type Difference = Box<str>;

#[derive(Debug)]
struct Entry {
    number: u32,
    schema: Box<[u8]>,
    talks: OnceLock<Result<Arc<Methods>, Difference>>,
    starts: OnceLock<Result<(), Difference>>,
}

#[derive(Debug, Default)]
pub(crate) struct Announced(RwLock<BTreeMap<String, Arc<Entry>>>);

impl Announced {
    /// The peer told all of them.
    ///
    /// SECURITY: what is kept of their schemas is bounded; what is longer counts as not told.
    pub(crate) fn set(&self, behaviors: Vec<Behavior>) {
        let mut room = MAX_SCHEMAS;
        let kept = behaviors.into_iter().filter(|found| found.name.len() <= MAX_BEHAVIOR_NAME);
        let entry = |found: Behavior| {
            let left = room.checked_sub(found.schema.len()).filter(|_| found.schema.len() <= MAX_SCHEMA);
            let schema = left.map_or_else(Box::default, |_| found.schema.into_boxed_slice());
            room = left.unwrap_or(room);
            let (talks, starts) = (OnceLock::new(), OnceLock::new());
            (found.name, Arc::new(Entry { number: found.number, schema, talks, starts }))
        };
        let table = kept.map(entry).collect();
        *self.0.write() = table;
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.read().contains_key(name)
    }

    fn get(&self, name: &str) -> Option<Arc<Entry>> {
        self.0.read().get(name).cloned()
    }
}

impl Entry {
    /// Compares what this node sends with what the peer told that it reads.
    fn judge<T: Default>(
        &self,
        ours: SchemaOf,
        compare: impl FnOnce(&Schema, &Schema) -> Result<T, String>,
    ) -> Result<T, Difference> {
        if self.schema.is_empty() {
            return Ok(T::default());
        }
        match Schema::from_bytes(&self.schema) {
            Some(theirs) => compare(&ours(), &theirs).map_err(String::into_boxed_str),
            None => {
                tracing::debug!("a schema of a peer cannot be read: nothing is compared");
                Ok(T::default())
            }
        }
    }

    /// What goes by number to it.
    fn meet(&self, ours: SchemaOf) -> Result<Arc<Methods>, Difference> {
        self.judge(ours, |ours, theirs| {
            ours.talks_to(theirs)?;
            Ok(Arc::new(Methods::agreed(ours, theirs)))
        })
    }
}

impl Link {
    /// The number of a behavior at the peer, and which of its messages go by number, if it told one.
    ///
    /// # Errors
    /// Its messages there do not fit those here.
    pub(crate) fn behavior(
        &self,
        name: &str,
        ours: SchemaOf,
    ) -> Result<Option<(u32, Arc<Methods>)>, Box<BehaviorIncompatible>> {
        let Some(entry) = self.announced.get(name) else { return Ok(None) };
        match entry.talks.get_or_init(|| self.first(name, entry.meet(ours))) {
            Ok(methods) => Ok(Some((entry.number, Arc::clone(methods)))),
            Err(difference) => {
                self.net.counters.incompatible.one();
                Err(Box::new(BehaviorIncompatible::new(name, &self.peer, difference)))
            }
        }
    }

    /// Whether a process of that behavior can be started at the peer.
    ///
    /// # Errors
    /// Its arguments or messages there do not fit those here.
    pub(crate) fn startable(&self, name: &str, ours: SchemaOf) -> Result<(), SpawnError> {
        let Some(entry) = self.announced.get(name) else { return Ok(()) };
        match entry.starts.get_or_init(|| self.first(name, entry.judge(ours, Schema::starts))) {
            Ok(()) => Ok(()),
            Err(difference) => {
                self.net.counters.incompatible.one();
                let (behavior, node) = (name.to_owned(), self.peer.clone());
                Err(SpawnError::Incompatible { behavior, node, reason: difference.to_string() })
            }
        }
    }

    /// Says it once for each session.
    fn first<T>(&self, behavior: &str, found: Result<T, Difference>) -> Result<T, Difference> {
        if let Err(difference) = &found {
            tracing::warn!(peer = %self.peer, behavior, %difference, "messages of a behavior do not fit: nothing is sent to it");
        }
        found
    }
}
