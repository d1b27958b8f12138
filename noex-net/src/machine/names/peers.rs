//! Names of other nodes: what their sessions bring, and take along.

use std::collections::{BTreeMap, VecDeque};

use noex_actors::{Incarnation, Monotonic, NodeId};

use super::{
    MAX_ENTRIES, MAX_KEPT, Names, Output, TOMBSTONE,
    entry::{Entry, Gap, Name, Taken, Told, Update},
    fits,
    parts::Part,
    valid,
};

impl Names {
    /// A session with a node is up: it will tell what changed.
    pub(crate) fn session_up(&mut self, node: &NodeId, incarnation: Incarnation) {
        let part = self.parts.entry(node.clone()).or_insert_with(|| Part::new(incarnation));
        if let Some(until) = part.until.take() {
            self.kept.remove(&(until, node.clone()));
        }
        let trash = part.session_up(incarnation);
        self.throw_away(trash);
        self.look_at(node);
    }

    /// A node says what changed of its names, over its own session. Refused is what speaks of others' processes, is
    /// malformed, or is too much.
    ///
    /// # Errors
    /// [`Gap`]: it does not follow what was said before.
    pub(crate) fn told(
        &mut self,
        from: &NodeId,
        incarnation: Incarnation,
        told: Told,
        now: Monotonic,
        out: &mut VecDeque<Output>,
    ) -> Result<Taken, Gap> {
        let Told { after, upto, done, updates } = told;
        let part = self.parts.get_mut(from).filter(|part| part.up && part.incarnation == incarnation);
        let Some(part) = part else { return Ok(Taken { refused: updates.len(), synced: None }) };
        let trash = part.follows(after, upto)?;
        self.throw_away(trash);
        let taken = |update| self.merge(from, incarnation, update, now, out);
        let refused = updates.into_iter().map(taken).filter(|taken| !taken).count();
        let mut taken = Taken { refused, synced: None };
        if let Some(part) = self.parts.get_mut(from) {
            if done && !part.complete {
                part.complete = true;
                taken.synced = Some(part.len() - part.doomed.len());
            }
            if refused > 0 {
                part.incomplete();
            }
        }
        self.look_at(from);
        Ok(taken)
    }

    fn merge(
        &mut self,
        from: &NodeId,
        incarnation: Incarnation,
        update: Update,
        now: Monotonic,
        out: &mut VecDeque<Output>,
    ) -> bool {
        let Update { name, version, held } = update;
        // SECURITY: nobody speaks for another node, and a version leaves room to be exceeded.
        if *from == self.local || !valid(&name) || version > u64::MAX / 2 {
            return false;
        }
        let own = held
            .as_ref()
            .is_none_or(|held| self.owns(&held.pid, from, incarnation) && fits(held.token.as_ref()));
        let Some(part) = self.parts.get_mut(from).filter(|_| own) else { return false };
        let name = self.slots.name(&name);
        let Some(held) = held else {
            if part.remove(&name) {
                self.slots.take(&name, from, now, out);
            }
            self.slots.saw(&name, version, now, out);
            return true;
        };
        if part.len() >= MAX_ENTRIES && !part.knows(&name) {
            // Those that are to go anyhow make room.
            let Some(doomed) = part.doomed.pop_first() else { return false };
            self.slots.take(&doomed, from, now, out);
        }
        self.show(from, &name, Entry { version, held }, now, out);
        true
    }

    /// An entry of another node comes into view.
    fn show(&mut self, from: &NodeId, name: &Name, entry: Entry, now: Monotonic, out: &mut VecDeque<Output>) {
        self.drop_stale(name, now, out);
        if let Some(part) = self.parts.get_mut(from) {
            part.show(name);
            let met = self.slots.put(name, entry, now, out);
            self.settle(name, met, now, out);
        }
    }

    /// There may be several entries: the own one goes if it is not the best.
    fn settle(&mut self, name: &Name, met: bool, now: Monotonic, out: &mut VecDeque<Output>) {
        let losers: Vec<_> = self.slots.losers(name).filter(|pid| self.is_present(pid)).cloned().collect();
        let winner =
            self.slots.holder(name).filter(|_| !losers.is_empty()).map(|entry| entry.held.pid.clone());
        let Some(winner) = winner else { return };
        for loser in losers {
            let own = *loser.node_id() == self.local;
            if own {
                let (winner, loser) = (winner.clone(), loser.clone());
                out.push_back(Output::Lost { name: Name::clone(name), winner, loser });
                self.give_up(name, now, out);
            }
            if own || met {
                let (name, winner) = (Name::clone(name), winner.clone());
                out.push_back(Output::ConflictResolved { name, winner, loser });
            }
        }
    }

    /// The session with a node is over: its names are out of view, and those who watch them are told as
    /// [`Names::work`] is done.
    pub(crate) fn node_down(&mut self, node: &NodeId) {
        if let Some(part) = self.parts.get_mut(node) {
            part.up = false;
            self.look_at(node);
        }
    }

    fn look_at(&mut self, node: &NodeId) {
        if self.parts.get(node).is_some_and(Part::has_work) {
            self.busy.insert(node.clone());
        }
    }

    /// Does what is to be done, for that many names at most; returns for how many.
    pub(crate) fn work(&mut self, room: usize, now: Monotonic, out: &mut VecDeque<Output>) -> usize {
        for done in 0..room {
            if let Some(number) = self.ended.first().copied() {
                match self.own.any_of(number) {
                    Some(name) => drop(self.give_up(&name, now, out)),
                    None => drop(self.ended.pop_first()),
                }
            } else if let Some(node) = self.busy.first().cloned() {
                if !self.work_for(&node, now, out) {
                    self.busy.remove(&node);
                }
            } else if let Some(trash) = self.trash.last_mut() {
                if trash.pop_first().is_none() {
                    self.trash.pop();
                }
            } else {
                return done;
            }
        }
        room
    }

    /// Whether there is something to be done.
    pub(crate) fn has_work(&self) -> bool {
        !(self.ended.is_empty() && self.busy.is_empty() && self.trash.is_empty())
    }

    /// Moves one name of a node. False if there was none.
    fn work_for(&mut self, node: &NodeId, now: Monotonic, out: &mut VecDeque<Output>) -> bool {
        let Some(part) = self.parts.get_mut(node) else { return false };
        if let Some(name) = part.doomed.first().cloned() {
            self.hide(node, &name, now, out);
            return true;
        }
        if part.up {
            let entry = if part.complete { part.dormant.pop_first() } else { None };
            let Some((name, entry)) = entry else { return false };
            self.show(node, &name, entry, now, out);
            return true;
        }
        let Some(name) = part.shown.first().cloned() else {
            self.keep(node, now);
            return false;
        };
        self.hide(node, &name, now, out);
        true
    }

    /// An entry of another node goes out of view; it is kept if it may come back. False if there is none.
    pub(super) fn hide(
        &mut self,
        node: &NodeId,
        name: &Name,
        now: Monotonic,
        out: &mut VecDeque<Output>,
    ) -> bool {
        let Some(part) = self.parts.get_mut(node) else { return false };
        part.doomed.remove(name);
        let shown = part.shown.remove(name);
        let Some(entry) = self.slots.take(name, node, now, out) else { return false };
        if shown {
            part.dormant.insert(Name::clone(name), entry);
        }
        true
    }

    /// Nothing of a node that is not connected is in view any more: it is kept for when it comes back.
    fn keep(&mut self, node: &NodeId, now: Monotonic) {
        let Some(part) = self.parts.get_mut(node).filter(|part| part.until.is_none()) else { return };
        let until = now.plus(TOMBSTONE);
        part.until = Some(until);
        let worth = part.known() > 0 && !part.dormant.is_empty();
        self.kept.insert((until, node.clone()));
        if !worth {
            return self.forget(until, node.clone());
        }
        while self.kept_entries() > MAX_KEPT {
            self.forget_kept();
        }
    }

    fn kept_entries(&self) -> usize {
        self.kept.iter().map(|(_, node)| self.parts.get(node).map_or(0, Part::len)).sum()
    }

    fn throw_away(&mut self, trash: BTreeMap<Name, Entry>) {
        if !trash.is_empty() {
            self.trash.push(trash);
        }
    }

    pub(super) fn forget_kept(&mut self) {
        if let Some((until, node)) = self.kept.first().cloned() {
            self.forget(until, node);
        }
    }

    fn forget(&mut self, until: Monotonic, node: NodeId) {
        if let Some(part) = self.parts.remove(&node) {
            self.throw_away(part.dormant);
        }
        self.busy.remove(&node);
        self.kept.remove(&(until, node));
    }
}
