//! Global names: decides who holds a name, in this node's view.
//!
//! Every entry is written by its owner, the node on which the process lives, and accepted only over that node's
//! own session. So each owner's part of the table has one writer, and a view is the union of the parts of this
//! node and of those that it is connected to. Where two parts name the same name, one order decides everywhere:
//!
//! 1. the higher version (1 + the highest that the writer had seen for the name, tombstones included);
//! 2. the higher generation of a supervised child (0 for all others);
//! 3. the smaller (node id, incarnation, number).
//!
//! `register` answers at once, provisionally. An owner that sees a better entry than its own gives its own up and
//! tells the process: `Lost`. No clock decides; time only lets tombstones go.
//!
//! Invariants: 1. `lookup` is the best of the present entries; 2. `Changed` follows every change of it, once;
//! 3. after a full exchange all views agree, and each name has one entry; 4. what one peer can add is bounded.

mod entry;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use noex_actors::{FencingToken, Incarnation, Monotonic, NodeId, Pid};

use self::entry::Entry;
pub(crate) use self::entry::{Held, Output, RegisterError, Update};

/// The longest name, in bytes.
pub(crate) const MAX_NAME: usize = 255;
/// The longest name of a supervisor, and id of a child, in a fencing token of a peer, in bytes.
pub(crate) const MAX_TOKEN_TEXT: usize = 1024;
/// The most entries of one node.
pub(crate) const MAX_ENTRIES: usize = 100_000;
/// The most versions that are remembered of names without a holder.
const MAX_TOMBSTONES: usize = 100_000;
/// How long the version of a name without a holder is remembered.
pub(crate) const TOMBSTONE: Duration = Duration::from_secs(600);

/// The highest version seen of a name; forgotten some time after its last entry went.
#[derive(Debug)]
struct Seen {
    version: u64,
    until: Option<Monotonic>,
}

/// The names as one node sees them.
#[derive(Debug)]
pub(crate) struct Names {
    local: NodeId,
    incarnation: Incarnation,
    parts: BTreeMap<NodeId, BTreeMap<String, Entry>>,
    holders: BTreeMap<String, Entry>,
    seen: BTreeMap<String, Seen>,
    expiries: BTreeSet<(Monotonic, String)>,
    /// Names that this node gave up, for peers that come later.
    given_up: BTreeMap<String, u64>,
    /// Names of each process of this node: the end of one must not cost a look at the names of all.
    by_process: BTreeMap<u64, BTreeSet<String>>,
}

impl Names {
    /// No names.
    pub(crate) fn new(local: NodeId, incarnation: Incarnation) -> Self {
        Self {
            local,
            incarnation,
            parts: BTreeMap::new(),
            holders: BTreeMap::new(),
            seen: BTreeMap::new(),
            expiries: BTreeSet::new(),
            given_up: BTreeMap::new(),
            by_process: BTreeMap::new(),
        }
    }

    /// The holder of a name.
    pub(crate) fn lookup(&self, name: &str) -> Option<&Pid> {
        self.holders.get(name).map(|entry| &entry.held.pid)
    }

    /// All names with their holders, sorted by name.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &Pid)> {
        self.holders.iter().map(|(name, entry)| (name.as_str(), &entry.held.pid))
    }

    /// What this node owns, tombstones included: for a peer whose session came up.
    pub(crate) fn state(&self) -> Vec<Update> {
        let own = self.parts.get(&self.local).into_iter().flatten().map(|(name, entry)| Update {
            name: name.clone(),
            version: entry.version,
            held: Some(entry.held.clone()),
        });
        let tombstones = self.given_up.iter().map(|(name, version)| Update {
            name: name.clone(),
            version: *version,
            held: None,
        });
        own.chain(tombstones).collect()
    }

    /// When [`Names::deadline_reached`] is due.
    pub(crate) fn deadline(&self) -> Option<Monotonic> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// Forgets tombstones whose time has come.
    pub(crate) fn deadline_reached(&mut self, now: Monotonic) {
        while self.expiries.first().is_some_and(|(at, _)| *at <= now) {
            self.forget_oldest();
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
        if let Some(holder) = self.holders.get(name) {
            if holder.held.pid == held.pid {
                return Ok(());
            }
            if !holder.superseded_by(held.token.as_ref()) {
                return Err(RegisterError::Taken(holder.held.pid.clone()));
            }
        }
        // Peers would refuse what is beyond, and their views would differ from this one.
        let own = self.parts.get(&self.local);
        if own.is_some_and(|own| own.len() >= MAX_ENTRIES && !own.contains_key(name)) {
            return Err(RegisterError::TooMany);
        }
        let entry = Entry { version: self.next_version(name), held: held.clone() };
        let version = entry.version;
        let own = self.parts.entry(self.local.clone()).or_default();
        let before = own.insert(name.to_owned(), entry);
        if let Some(before) = before {
            self.let_go(name, before.held.pid.number());
            out.push_back(Output::Lost {
                name: name.to_owned(),
                winner: held.pid.clone(),
                loser: before.held.pid,
            });
        }
        self.by_process.entry(held.pid.number()).or_default().insert(name.to_owned());
        self.given_up.remove(name);
        out.push_back(Output::Broadcast(Update { name: name.to_owned(), version, held: Some(held) }));
        self.touched(name, version, now, out);
        Ok(())
    }

    /// Gives a name up, here or at its owner. `false` if nobody holds it.
    pub(crate) fn unregister(&mut self, name: &str, now: Monotonic, out: &mut VecDeque<Output>) -> bool {
        let Some(pid) = self.lookup(name).cloned() else { return false };
        if *pid.node_id() == self.local {
            self.give_up(name, now, out);
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
        let own = self.parts.get(&self.local).and_then(|own| own.get(name));
        if own.is_some_and(|entry| entry.held.pid == *pid) {
            self.give_up(name, now, out);
        }
    }

    /// A process of this node ended: its names go.
    pub(crate) fn process_ended(&mut self, pid: &Pid, now: Monotonic, out: &mut VecDeque<Output>) {
        for name in self.by_process.remove(&pid.number()).unwrap_or_default() {
            self.give_up(&name, now, out);
        }
    }

    /// A process of this node has a name no more.
    fn let_go(&mut self, name: &str, process: u64) {
        if let Some(names) = self.by_process.get_mut(&process) {
            names.remove(name);
            if names.is_empty() {
                self.by_process.remove(&process);
            }
        }
    }

    /// An owner changed one of its names, over its own session. `false` if the update is refused: it speaks of
    /// what is not the sender's, is malformed, or is one too many.
    pub(crate) fn merge(
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
        match held {
            Some(held) => {
                let part = self.parts.get(from);
                let full = part.is_some_and(|part| part.len() >= MAX_ENTRIES && !part.contains_key(&name));
                if full || !self.owns(&held.pid, from, incarnation) || !fits(held.token.as_ref()) {
                    return false;
                }
                let part = self.parts.entry(from.clone()).or_default();
                part.insert(name.clone(), Entry { version, held });
            }
            None => {
                self.parts.get_mut(from).and_then(|part| part.remove(&name));
            }
        }
        self.settle(&name, now, out);
        self.touched(&name, version, now, out);
        true
    }

    /// The whole part of an owner, as its session came up: replaces what was known of it. Returns how many of the
    /// updates were refused.
    pub(crate) fn full_sync(
        &mut self,
        from: &NodeId,
        incarnation: Incarnation,
        updates: Vec<Update>,
        now: Monotonic,
        out: &mut VecDeque<Output>,
    ) -> usize {
        if *from == self.local {
            return updates.len();
        }
        let present: BTreeSet<&str> = updates
            .iter()
            .filter(|update| update.held.is_some())
            .map(|update| update.name.as_str())
            .collect();
        let old = self.parts.get(from).into_iter().flat_map(|part| part.keys());
        let gone: Vec<String> = old.filter(|name| !present.contains(name.as_str())).cloned().collect();
        self.drop_entries(from, gone, now, out);
        updates.into_iter().filter(|update| !self.merge(from, incarnation, update.clone(), now, out)).count()
    }

    /// The session with a node is over: what it owned is not seen any more.
    pub(crate) fn node_down(&mut self, node: &NodeId, now: Monotonic, out: &mut VecDeque<Output>) {
        if *node != self.local {
            let names = self.parts.get(node).into_iter().flat_map(|part| part.keys()).cloned().collect();
            self.drop_entries(node, names, now, out);
            self.parts.remove(node);
        }
    }

    fn drop_entries(
        &mut self,
        owner: &NodeId,
        names: Vec<String>,
        now: Monotonic,
        out: &mut VecDeque<Output>,
    ) {
        for name in names {
            if let Some(entry) = self.parts.get_mut(owner).and_then(|part| part.remove(&name)) {
                self.touched(&name, entry.version, now, out);
            }
        }
    }

    fn owns(&self, pid: &Pid, node: &NodeId, incarnation: Incarnation) -> bool {
        pid.node_id() == node && pid.incarnation() == incarnation
    }

    fn next_version(&self, name: &str) -> u64 {
        self.seen.get(name).map_or(0, |seen| seen.version).saturating_add(1)
    }

    /// Gives up the own entry: a tombstone goes to the peers.
    fn give_up(&mut self, name: &str, now: Monotonic, out: &mut VecDeque<Output>) {
        let Some(entry) = self.parts.get_mut(&self.local).and_then(|own| own.remove(name)) else { return };
        self.let_go(name, entry.held.pid.number());
        self.given_up.insert(name.to_owned(), entry.version);
        out.push_back(Output::Broadcast(Update {
            name: name.to_owned(),
            version: entry.version,
            held: None,
        }));
        self.touched(name, entry.version, now, out);
    }

    /// Two entries met: the own one goes if it is not the best.
    fn settle(&mut self, name: &str, now: Monotonic, out: &mut VecDeque<Output>) {
        let Some(best) = self.best(name).cloned() else { return };
        let present = self.parts.values().filter_map(|part| part.get(name));
        let losers: Vec<Pid> =
            present.map(|entry| entry.held.pid.clone()).filter(|pid| *pid != best.held.pid).collect();
        for loser in losers {
            let (name, winner) = (name.to_owned(), best.held.pid.clone());
            if *loser.node_id() == self.local {
                out.push_back(Output::Lost {
                    name: name.clone(),
                    winner: winner.clone(),
                    loser: loser.clone(),
                });
                self.give_up(&name, now, out);
            }
            out.push_back(Output::ConflictResolved { name, winner, loser });
        }
    }

    fn best(&self, name: &str) -> Option<&Entry> {
        let present = self.parts.values().filter_map(|part| part.get(name));
        present.reduce(|best, entry| if entry.beats(best) { entry } else { best })
    }

    /// Something about a name changed: finds its holder again, and remembers the version.
    fn touched(&mut self, name: &str, version: u64, now: Monotonic, out: &mut VecDeque<Output>) {
        let best = self.best(name).cloned();
        let (before, after) = (self.lookup(name).cloned(), best.as_ref().map(|entry| entry.held.pid.clone()));
        let until = if best.is_some() { None } else { Some(now.plus(TOMBSTONE)) };
        match best {
            Some(entry) => self.holders.insert(name.to_owned(), entry),
            None => self.holders.remove(name),
        };
        if before != after {
            out.push_back(Output::Changed { name: name.to_owned(), now: after });
        }
        let seen = self.seen.entry(name.to_owned()).or_insert(Seen { version, until: None });
        seen.version = seen.version.max(version);
        if let Some(old) = std::mem::replace(&mut seen.until, until) {
            self.expiries.remove(&(old, name.to_owned()));
        }
        if let Some(until) = until {
            self.expiries.insert((until, name.to_owned()));
            if self.expiries.len() > MAX_TOMBSTONES {
                self.forget_oldest();
            }
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, name)) = self.expiries.pop_first() {
            self.seen.remove(&name);
            self.given_up.remove(&name);
        }
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
mod tests;
