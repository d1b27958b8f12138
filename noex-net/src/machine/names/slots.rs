//! Every name with the entries that are in view, the best of them first, and the highest version that was seen of it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use noex_actors::{Monotonic, NodeId, Pid};

use super::{
    MAX_TOMBSTONES, TOMBSTONE,
    entry::{Entry, Name, Output},
};

#[derive(Debug, Default)]
struct Slot {
    best: Option<Entry>,
    /// Of other nodes. Rarely any: two nodes have the name, and one will give it up.
    others: Vec<Entry>,
    /// The highest version seen; forgotten some time after the last entry went.
    version: u64,
    until: Option<Monotonic>,
}

impl Slot {
    fn holder(&self) -> Option<Pid> {
        self.best.as_ref().map(|entry| entry.held.pid.clone())
    }

    fn all(&self) -> impl Iterator<Item = &Entry> {
        self.best.iter().chain(&self.others)
    }

    fn put(&mut self, entry: Entry) {
        self.remove(entry.held.pid.node_id());
        match &mut self.best {
            Some(best) if entry.beats(best) => self.others.push(std::mem::replace(best, entry)),
            Some(_) => self.others.push(entry),
            None => self.best = Some(entry),
        }
    }

    fn remove(&mut self, node: &NodeId) -> Option<Entry> {
        let of_node = |entry: &Entry| entry.held.pid.node_id() == node;
        if let Some(at) = self.others.iter().position(of_node) {
            return Some(self.others.swap_remove(at));
        }
        let gone = self.best.take_if(|best| of_node(best))?;
        let better = |best: usize, at: usize| {
            let pair = self.others.get(at).zip(self.others.get(best));
            if pair.is_some_and(|(entry, best)| entry.beats(best)) { at } else { best }
        };
        let next = (0..self.others.len()).reduce(better);
        self.best = next.map(|at| self.others.swap_remove(at));
        Some(gone)
    }
}

#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: BTreeMap<Name, Slot>,
    /// Names without a holder.
    expiries: BTreeSet<(Monotonic, Name)>,
    held: usize,
}

impl Slots {
    pub(super) fn holder(&self, name: &str) -> Option<&Entry> {
        self.slots.get(name)?.best.as_ref()
    }

    /// The best of those that `counts`.
    pub(super) fn best(&self, name: &str, counts: impl Fn(&Pid) -> bool) -> Option<&Pid> {
        best_of(self.slots.get(name)?, counts)
    }

    /// All names with the best of those that `counts`.
    pub(super) fn entries(&self, counts: impl Fn(&Pid) -> bool) -> impl Iterator<Item = (&Name, &Pid)> {
        self.slots.iter().filter_map(move |(name, slot)| best_of(slot, &counts).map(|pid| (name, pid)))
    }

    /// The entries that are not the best.
    pub(super) fn losers(&self, name: &str) -> impl Iterator<Item = &Pid> {
        self.slots.get(name).into_iter().flat_map(|slot| &slot.others).map(|entry| &entry.held.pid)
    }

    /// Names with a holder.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// The name, shared with all that speak of it.
    pub(super) fn name(&self, name: &str) -> Name {
        self.slots.get_key_value(name).map_or_else(|| Arc::from(name), |(name, _)| Arc::clone(name))
    }

    /// One more than the highest version seen.
    pub(super) fn next_version(&self, name: &str) -> u64 {
        self.slots.get(name).map_or(0, |slot| slot.version).saturating_add(1)
    }

    /// An entry comes into view, in place of another of its node. True if that was of another process, or none.
    pub(super) fn put(
        &mut self,
        name: &Name,
        entry: Entry,
        now: Monotonic,
        out: &mut VecDeque<Output>,
    ) -> bool {
        let slot = self.slots.entry(Arc::clone(name)).or_default();
        let (version, before) = (entry.version, slot.holder());
        let known = slot.all().any(|known| known.held.pid == entry.held.pid);
        slot.put(entry);
        self.touched(name, version, before, now, out);
        !known
    }

    /// The entry of a node goes out of view.
    pub(super) fn take(
        &mut self,
        name: &Name,
        node: &NodeId,
        now: Monotonic,
        out: &mut VecDeque<Output>,
    ) -> Option<Entry> {
        let slot = self.slots.get_mut(name)?;
        let before = slot.holder();
        let entry = slot.remove(node)?;
        self.touched(name, entry.version, before, now, out);
        Some(entry)
    }

    /// A version was seen.
    pub(super) fn saw(&mut self, name: &Name, version: u64, now: Monotonic, out: &mut VecDeque<Output>) {
        let slot = self.slots.entry(Arc::clone(name)).or_default();
        let before = slot.holder();
        self.touched(name, version, before, now, out);
    }

    fn touched(
        &mut self,
        name: &Name,
        version: u64,
        before: Option<Pid>,
        now: Monotonic,
        out: &mut VecDeque<Output>,
    ) {
        let Some(slot) = self.slots.get_mut(name) else { return };
        slot.version = slot.version.max(version);
        let after = slot.holder();
        let until = if after.is_some() { None } else { Some(now.plus(TOMBSTONE)) };
        if let Some(old) = std::mem::replace(&mut slot.until, until) {
            self.expiries.remove(&(old, Arc::clone(name)));
        }
        match (before.is_some(), after.is_some()) {
            (false, true) => self.held += 1,
            (true, false) => self.held -= 1,
            (true, true) | (false, false) => {}
        }
        if before != after {
            out.push_back(Output::Changed { name: Arc::clone(name), before, now: after });
        }
        if let Some(until) = until {
            self.expiries.insert((until, Arc::clone(name)));
            if self.expiries.len() > MAX_TOMBSTONES {
                self.forget_oldest();
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Monotonic> {
        self.expiries.first().map(|(at, _)| *at)
    }

    pub(super) fn forget_oldest(&mut self) {
        if let Some((_, name)) = self.expiries.pop_first() {
            self.slots.remove(&name);
        }
    }

    /// How many names are remembered, and how many of them without a holder.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> (usize, usize) {
        (self.slots.len(), self.expiries.len())
    }

    #[cfg(test)]
    pub(super) fn in_view(&self, name: &str) -> usize {
        self.slots.get(name).map_or(0, |slot| slot.all().count())
    }
}

fn best_of(slot: &Slot, counts: impl Fn(&Pid) -> bool) -> Option<&Pid> {
    let best = slot.best.as_ref().filter(|entry| counts(&entry.held.pid)).or_else(|| {
        let present = slot.others.iter().filter(|entry| counts(&entry.held.pid));
        present.reduce(|best, entry| if entry.beats(best) { entry } else { best })
    });
    best.map(|entry| &entry.held.pid)
}
