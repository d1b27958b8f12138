//! The names of this node, in the order of their last changes: whoever knows all up to some change is told the rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use noex_actors::{Monotonic, Pid};

use super::{
    MAX_TOMBSTONES, TOMBSTONE,
    entry::{Held, Name, Telling, Told, Update},
};

/// Bytes from which on a piece takes no more: it is a frame that keeps no other waiting.
const PIECE_BYTES: usize = 12 * 1024;
/// What an update takes beside its texts, at most.
const UPDATE_BYTES: usize = 48;

#[derive(Debug)]
struct Said {
    /// Number of the change.
    at: u64,
    version: u64,
    /// `None`: given up.
    held: Option<Held>,
}

/// What this node says of its names.
#[derive(Debug, Default)]
pub(super) struct Own {
    said: BTreeMap<Name, Said>,
    /// The last change of each, by its number.
    journal: BTreeMap<u64, Name>,
    /// The last of all changes.
    head: u64,
    /// Those given up, with the time until which that is told.
    given_up: BTreeMap<u64, Monotonic>,
    /// The last change that is not told any more: who knows less than that must be told all.
    forgotten: u64,
    /// Names of each process: the end of one must not cost a look at the names of all.
    by_process: BTreeMap<u64, BTreeSet<Name>>,
    held: usize,
}

impl Own {
    /// Who has a name.
    pub(super) fn holder(&self, name: &str) -> Option<&Pid> {
        self.said.get(name)?.held.as_ref().map(|held| &held.pid)
    }

    /// Names that are held.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&Name, &Pid)> {
        self.said.iter().filter_map(|(name, said)| said.held.as_ref().map(|held| (name, &held.pid)))
    }

    /// A name of a process.
    pub(super) fn any_of(&self, process: u64) -> Option<Name> {
        self.by_process.get(&process)?.first().cloned()
    }

    /// Says something new of a name.
    pub(super) fn say(&mut self, name: &Name, version: u64, held: Option<Held>, now: Monotonic) {
        self.head += 1;
        if let Some(held) = &held {
            self.held += 1;
            self.by_process.entry(held.pid.number()).or_default().insert(Arc::clone(name));
        } else {
            self.given_up.insert(self.head, now.plus(TOMBSTONE));
        }
        self.journal.insert(self.head, Arc::clone(name));
        let before = self.said.insert(Arc::clone(name), Said { at: self.head, version, held });
        if let Some(before) = before {
            self.journal.remove(&before.at);
            self.given_up.remove(&before.at);
            self.let_go(name, before.held);
        }
        if self.given_up.len() > MAX_TOMBSTONES {
            self.forget_oldest();
        }
    }

    fn let_go(&mut self, name: &Name, held: Option<Held>) {
        let Some(held) = held else { return };
        self.held -= 1;
        let process = held.pid.number();
        // The same process may have it again.
        if self.holder(name).is_some_and(|pid| pid.number() == process) {
            return;
        }
        if let Some(names) = self.by_process.get_mut(&process) {
            names.remove(name);
            if names.is_empty() {
                self.by_process.remove(&process);
            }
        }
    }

    /// From where on one must be told who knows all up to `known`.
    pub(super) fn tell_from(&self, known: u64) -> Telling {
        let after = if (self.forgotten..=self.head).contains(&known) { known } else { 0 };
        Telling { after, forgotten: self.forgotten }
    }

    /// What comes next, so many updates at most. `None`: of what was told meanwhile something was forgotten since.
    pub(super) fn piece(&self, telling: &mut Telling, max: usize) -> Option<Told> {
        if self.forgotten > telling.forgotten.max(telling.after) {
            return None;
        }
        let mut told = Told { after: telling.after, upto: self.head, done: true, updates: Vec::new() };
        let mut bytes = 0;
        for (at, name) in self.journal.range(telling.after.saturating_add(1)..) {
            if told.updates.len() == max || bytes > PIECE_BYTES {
                (told.upto, told.done) = (at - 1, false);
                break;
            }
            if let Some(said) = self.said.get(name) {
                let update =
                    Update { name: name.to_string(), version: said.version, held: said.held.clone() };
                bytes += length(&update);
                told.updates.push(update);
            }
        }
        telling.after = told.upto;
        Some(told)
    }

    pub(super) fn deadline(&self) -> Option<Monotonic> {
        self.given_up.first_key_value().map(|(_, until)| *until)
    }

    /// A name given up long ago is not told any more.
    pub(super) fn forget_oldest(&mut self) {
        if let Some((at, _)) = self.given_up.pop_first() {
            self.forgotten = self.forgotten.max(at);
            if let Some(name) = self.journal.remove(&at) {
                self.said.remove(&name);
            }
        }
    }

    /// How many changes of how many names by how many processes are remembered.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> (usize, usize, usize) {
        (self.journal.len(), self.said.len(), self.by_process.len())
    }

    /// The names of each process.
    #[cfg(test)]
    pub(super) fn by_process(&self) -> BTreeSet<(u64, Name)> {
        let pairs = |(number, names): (&u64, &BTreeSet<Name>)| {
            names.iter().map(|name| (*number, Name::clone(name))).collect::<Vec<_>>()
        };
        self.by_process.iter().flat_map(pairs).collect()
    }
}

fn length(update: &Update) -> usize {
    let holder = update.held.as_ref().map_or(0, |held| {
        let token = held.token.as_ref().map_or(0, |token| token.supervisor.len() + token.child.len());
        held.pid.node_id().as_str().len() + token
    });
    UPDATE_BYTES + update.name.len() + holder
}
