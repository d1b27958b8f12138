//! Global names: decides who holds a name, in this node's view.
//!
//! Every entry is written by its owner, the node on which the process lives, and accepted only over that node's
//! own session. So each owner's part of the table has one writer, and a view is the union of the parts of this
//! node and of those that it is connected to. Where two parts name the same name, one order decides everywhere:
//!
//! 1. the higher version (1 + the highest that the writer had seen for the name, tombstones included);
//! 2. the higher generation of a supervised child (0 for all others), and of equal ones the greater owner;
//! 3. the smaller (node id, incarnation, number).
//!
//! `register` answers at once, provisionally. An owner that sees a better entry than its own gives its own up and
//! tells the process: `Lost`. No clock decides; time only lets tombstones go.
//!
//! An owner numbers its changes. Whoever was connected to it before says up to which it knows them ([`Names::known`]), and is
//! told those after it ([`Names::piece`]); what it had kept comes into view again when it was told all. What is work for each
//! of many names is done so many at a time ([`Names::work`]); reads and `register` know what is still to be done.
//!
//! Invariants: 1. `lookup` is the best of the present entries; 2. `Changed` follows every change of it, once, in order;
//! 3. after a full exchange all views agree, and each name has one entry; 4. what one peer can add is bounded; 5. no step
//! takes longer the more names there are, but for their logarithm.

mod entry;
mod own;
mod parts;
mod peers;
mod slots;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use noex_actors::{FencingToken, Incarnation, Monotonic, NodeId, Pid};

pub(crate) use self::entry::{Gap, Held, Name, Output, RegisterError, Taken, Telling, Told, Update};
use self::{entry::Entry, own::Own, parts::Part, slots::Slots};

/// The longest name, in bytes.
pub(crate) const MAX_NAME: usize = 255;
/// The longest name of a supervisor, and id of a child, in a fencing token of a peer, in bytes.
pub(crate) const MAX_TOKEN_TEXT: usize = 1024;
/// The most entries of one node.
pub(crate) const MAX_ENTRIES: usize = 100_000;
/// The most entries that are kept of nodes that are not connected.
const MAX_KEPT: usize = 100_000;
/// The most versions that are remembered of names without a holder.
const MAX_TOMBSTONES: usize = 100_000;
/// How long the version of a name without a holder is remembered, and what a node had that is not connected.
pub(crate) const TOMBSTONE: Duration = Duration::from_secs(600);

/// The names as one node sees them.
#[derive(Debug)]
pub(crate) struct Names {
    local: NodeId,
    incarnation: Incarnation,
    slots: Slots,
    own: Own,
    /// Up to where those know the own names who are told of changes.
    news: Telling,
    /// What other nodes said.
    parts: BTreeMap<NodeId, Part>,
    /// Of these, names are to be brought into view, or out of it.
    busy: BTreeSet<NodeId>,
    /// These are not connected, and kept until then.
    kept: BTreeSet<(Monotonic, NodeId)>,
    /// Processes of this node that ended, and whose names are to go.
    ended: BTreeSet<u64>,
    /// What nobody needs any more: to give back a hundred thousand pieces of memory takes its time, too.
    trash: Vec<BTreeMap<Name, Entry>>,
}

impl Names {
    /// No names.
    pub(crate) fn new(local: NodeId, incarnation: Incarnation) -> Self {
        Self {
            local,
            incarnation,
            slots: Slots::default(),
            own: Own::default(),
            news: Telling { after: 0, forgotten: 0 },
            parts: BTreeMap::new(),
            busy: BTreeSet::new(),
            kept: BTreeSet::new(),
            ended: BTreeSet::new(),
            trash: Vec::new(),
        }
    }

    /// The holder of a name.
    pub(crate) fn lookup(&self, name: &str) -> Option<&Pid> {
        self.slots.best(name, |pid| self.is_present(pid))
    }

    /// Who would keep a name from a process with that token: the holder, unless that is an earlier instance of the same child.
    pub(crate) fn holder_against(&self, name: &str, token: Option<&FencingToken>) -> Option<&Pid> {
        let holder = self.slots.holder(name).filter(|holder| self.is_present(&holder.held.pid))?;
        (!holder.superseded_by(token)).then_some(&holder.held.pid)
    }

    /// The holder of a name, whatever processes of one node have.
    pub(crate) fn holder_beside(&self, node: &NodeId, name: &str) -> Option<&Pid> {
        self.slots.best(name, |pid| pid.node_id() != node && self.is_present(pid))
    }

    /// The holder of a name that those who watch it know of.
    pub(crate) fn last_told(&self, name: &str) -> Option<&Pid> {
        self.slots.holder(name).map(|entry| &entry.held.pid)
    }

    /// All names with their holders, sorted by name.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Name, &Pid)> {
        self.slots.entries(|pid| self.is_present(pid))
    }

    /// The names that processes of a node hold, sorted by name.
    pub(crate) fn entries_of(&self, node: &NodeId) -> Vec<(Name, Pid)> {
        let pair = |name: &Name| {
            let pid = self.lookup(name).filter(|pid| pid.node_id() == node)?;
            Some((Arc::clone(name), pid.clone()))
        };
        if *node == self.local {
            return self.own.entries().filter_map(|(name, _)| pair(name)).collect();
        }
        self.parts.get(node).into_iter().flat_map(|part| &part.shown).filter_map(pair).collect()
    }

    /// How many names have a holder, and how many of this node's processes have one.
    pub(crate) fn totals(&self) -> (usize, usize) {
        (self.slots.held(), self.own.held())
    }

    /// Whether the names of a process count: it may be gone, and its names still to be taken away.
    fn is_present(&self, pid: &Pid) -> bool {
        if *pid.node_id() == self.local {
            return !self.ended.contains(&pid.number());
        }
        let part = self.parts.get(pid.node_id());
        part.is_some_and(|part| part.up && part.incarnation == pid.incarnation())
    }

    /// Up to which change the names of a node are known: to be told to it as a session with it begins.
    pub(crate) fn known(&self, node: &NodeId, incarnation: Incarnation) -> u64 {
        let part = self.parts.get(node).filter(|part| part.incarnation == incarnation);
        part.map_or(0, Part::known)
    }

    /// From where on a peer must be told that says that it knows all changes up to `known`.
    pub(crate) fn tell_from(&self, known: u64) -> Telling {
        self.own.tell_from(known)
    }

    /// What such a peer is told next, so many updates at most. `None`: it is told too slowly, and must begin anew.
    pub(crate) fn piece(&self, telling: &mut Telling, max: usize) -> Option<Told> {
        self.own.piece(telling, max)
    }

    /// What those are told who know all that was told before, so many updates at most. `None`: nothing new.
    pub(crate) fn news(&mut self, max: usize) -> Option<Told> {
        self.own.piece(&mut self.news, max).filter(|told| told.upto > told.after)
    }

    /// When [`Names::deadline_reached`] is due.
    pub(crate) fn deadline(&self) -> Option<Monotonic> {
        let kept = self.kept.first().map(|(at, _)| *at);
        [self.slots.deadline(), self.own.deadline(), kept].into_iter().flatten().min()
    }

    /// Forgets what its time has come for, that many at most: more may be due.
    pub(crate) fn deadline_reached(&mut self, room: usize, now: Monotonic) {
        let due = |at: Option<Monotonic>| at.is_some_and(|at| at <= now);
        for _ in 0..room {
            if due(self.slots.deadline()) {
                self.slots.forget_oldest();
            } else if due(self.own.deadline()) {
                self.own.forget_oldest();
            } else if due(self.kept.first().map(|(at, _)| *at)) {
                self.forget_kept();
            } else {
                return;
            }
        }
    }

    /// Registers a process of this node. The same holder again is fine; a later instance of the same supervised
    /// child takes over, from wherever.
    pub(crate) fn register(
        &mut self,
        name: &str,
        held: Held,
        now: Monotonic,
        out: &mut VecDeque<Output>,
    ) -> Result<(), RegisterError> {
        if !valid(name) {
            return Err(RegisterError::InvalidName);
        }
        if !self.owns(&held.pid, &self.local, self.incarnation) {
            return Err(RegisterError::NotLocal);
        }
        let name = self.slots.name(name);
        self.drop_stale(&name, now, out);
        if let Some(holder) = self.slots.holder(&name) {
            if holder.held.pid == held.pid {
                return Ok(());
            }
            if !holder.superseded_by(held.token.as_ref()) {
                return Err(RegisterError::Taken(holder.held.pid.clone()));
            }
        }
        let before = self.own.holder(&name).cloned();
        // Peers would refuse what is beyond, and their views would differ from this one.
        if before.is_none() && self.own.held() >= MAX_ENTRIES && !self.make_room(now, out) {
            return Err(RegisterError::TooMany);
        }
        let version = self.slots.next_version(&name);
        if let Some(loser) = before {
            out.push_back(Output::Lost { name: Arc::clone(&name), winner: held.pid.clone(), loser });
        }
        self.own.say(&name, version, Some(held.clone()), now);
        self.slots.put(&name, Entry { version, held }, now, out);
        Ok(())
    }

    /// Takes a name from a process that ended. False if there is none.
    fn make_room(&mut self, now: Monotonic, out: &mut VecDeque<Output>) -> bool {
        let name = self.ended.iter().find_map(|number| self.own.any_of(*number));
        name.is_some_and(|name| self.give_up(&name, now, out))
    }

    /// Whoever has the name and is gone, though that was not worked off yet, has it no more.
    fn drop_stale(&mut self, name: &Name, now: Monotonic, out: &mut VecDeque<Output>) {
        loop {
            let stale = self.last_told(name).filter(|pid| !self.is_present(pid)).cloned();
            let gone = stale.is_some_and(|pid| {
                if *pid.node_id() == self.local {
                    self.give_up(name, now, out)
                } else {
                    self.hide(pid.node_id(), name, now, out)
                }
            });
            if !gone {
                return;
            }
        }
    }

    /// Gives a name up, here or at its owner. `false` if nobody holds it.
    pub(crate) fn unregister(&mut self, name: &str, now: Monotonic, out: &mut VecDeque<Output>) -> bool {
        let Some(pid) = self.lookup(name).cloned() else { return false };
        if *pid.node_id() == self.local {
            self.give_up(&self.slots.name(name), now, out);
        } else {
            let to = pid.node_id().clone();
            out.push_back(Output::RequestUnregister { to, name: name.to_owned(), pid });
        }
        true
    }

    /// A peer asks to give up a name of this node, held by `pid`.
    pub(crate) fn unregister_requested(
        &mut self,
        name: &str,
        pid: &Pid,
        now: Monotonic,
        out: &mut VecDeque<Output>,
    ) {
        if self.own.holder(name) == Some(pid) {
            self.give_up(&self.slots.name(name), now, out);
        }
    }

    /// A process of this node ended: its names count no more, and go as [`Names::work`] is done.
    pub(crate) fn process_ended(&mut self, pid: &Pid) {
        if self.own.any_of(pid.number()).is_some() {
            self.ended.insert(pid.number());
        }
    }

    /// Gives up the own entry, and says so. False if there is none.
    fn give_up(&mut self, name: &Name, now: Monotonic, out: &mut VecDeque<Output>) -> bool {
        if self.own.holder(name).is_none() {
            return false;
        }
        let Some(entry) = self.slots.take(name, &self.local, now, out) else { return false };
        self.own.say(name, entry.version, None, now);
        true
    }

    fn owns(&self, pid: &Pid, node: &NodeId, incarnation: Incarnation) -> bool {
        pid.node_id() == node && pid.incarnation() == incarnation
    }
}

/// Whether the texts of a token are short enough to be kept.
pub(crate) fn fits(token: Option<&FencingToken>) -> bool {
    token
        .is_none_or(|token| [&token.supervisor, &token.child].iter().all(|text| text.len() <= MAX_TOKEN_TEXT))
}

pub(crate) fn valid(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && !name.contains(char::is_control)
}

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;
