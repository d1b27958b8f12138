//! The child table: children in start order, each with the instance it has or waits for.
//!
//! No fact may cost more the more children there are. So what is asked of all of them is kept in indexes: who is due,
//! waits for a node, starts, lives where, belongs to which round. Whoever was handed out to be changed is noted, and its
//! entries are brought up to date before an index is read, and at the end of every fact.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    ops::RangeFrom,
};

use noex_actors::{Monotonic, NodeId};

use super::child::{Child, Rule, State, Why};

/// What the indexes hold of a child.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Marks {
    due: Option<Monotonic>,
    fresh: bool,
    pending: bool,
    starting: bool,
    /// Its first start is under way: the start-up waits for it.
    first: bool,
    node: Option<NodeId>,
    round: Option<u64>,
}

impl Marks {
    fn of(child: &Child) -> Self {
        let starting = child.state == State::Starting;
        Self {
            due: child.due(),
            fresh: child.state == State::Fresh,
            pending: child.state == State::Pending,
            starting,
            first: child.why == Why::Initial && (starting || matches!(child.state, State::Waiting { .. })),
            node: child.pid().map(|pid| pid.node_id().clone()),
            round: child.round,
        }
    }
}

#[derive(Debug)]
struct Entry {
    child: Child,
    marks: Marks,
}

/// Children by id and in start order.
#[derive(Debug, Default)]
pub(crate) struct Children {
    in_order: BTreeMap<u64, Entry>,
    by_id: BTreeMap<String, u64>,
    next: u64,
    /// Handed out to be changed since the indexes were last brought up to date.
    touched: Vec<u64>,
    due: BTreeSet<(Monotonic, u64)>,
    fresh: BTreeSet<u64>,
    pending: BTreeSet<u64>,
    starting: usize,
    first: usize,
    on_node: BTreeMap<NodeId, BTreeSet<u64>>,
    /// How many children each round has.
    rounds: BTreeMap<u64, usize>,
    significant: usize,
    /// How many children were looked at one after the other so far.
    walked: Cell<u64>,
}

impl Children {
    /// Adds a child at the end; false if its id is taken.
    pub(crate) fn add(&mut self, rule: Rule, why: Why) -> bool {
        if self.by_id.contains_key(&rule.id) {
            return false;
        }
        self.by_id.insert(rule.id.clone(), self.next);
        self.significant += usize::from(rule.significant);
        self.in_order.insert(self.next, Entry { child: Child::new(rule, why), marks: Marks::default() });
        self.touched.push(self.next);
        self.next += 1;
        true
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Child> {
        self.at(self.key(id)?)
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Child> {
        self.at_mut(self.key(id)?)
    }

    /// Its place in the start order.
    pub(crate) fn key(&self, id: &str) -> Option<u64> {
        self.by_id.get(id).copied()
    }

    pub(crate) fn at(&self, key: u64) -> Option<&Child> {
        self.in_order.get(&key).map(|entry| &entry.child)
    }

    pub(crate) fn at_mut(&mut self, key: u64) -> Option<&mut Child> {
        let entry = self.in_order.get_mut(&key)?;
        if self.touched.last() != Some(&key) {
            self.touched.push(key);
        }
        Some(&mut entry.child)
    }

    pub(crate) fn remove(&mut self, id: &str) -> Option<Child> {
        let key = self.by_id.remove(id)?;
        let entry = self.in_order.remove(&key)?;
        self.significant -= usize::from(entry.child.rule.significant);
        self.reindex(key, &entry.marks, &Marks::default());
        Some(entry.child)
    }

    /// In start order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Child> {
        let walked = self.walked.get().wrapping_add(u64::try_from(self.in_order.len()).unwrap_or(u64::MAX));
        self.walked.set(walked);
        self.in_order.values().map(|entry| &entry.child)
    }

    /// Places of the children in this range, in start order.
    pub(crate) fn keys(&self, range: RangeFrom<u64>) -> Vec<u64> {
        self.in_order.range(range).map(|(key, _)| *key).collect()
    }

    /// Id of the child that was added last.
    pub(crate) fn last_id(&self) -> Option<String> {
        self.in_order.values().next_back().map(|entry| entry.child.rule.id.clone())
    }

    pub(crate) fn len(&self) -> usize {
        self.in_order.len()
    }

    /// How many of them are significant.
    pub(crate) fn significant(&self) -> usize {
        self.significant
    }

    /// The first one that was never started.
    pub(crate) fn next_fresh(&mut self) -> Option<String> {
        self.settle();
        self.fresh.first().and_then(|key| self.id(*key))
    }

    /// Whether a first start is under way.
    pub(crate) fn has_first_start(&mut self) -> bool {
        self.settle();
        self.first > 0
    }

    /// Whether the round has children left.
    pub(crate) fn has_round(&mut self, round: u64) -> bool {
        self.settle();
        self.rounds.contains_key(&round)
    }

    /// Ids of those that are to act by themselves now, the longest overdue first.
    pub(crate) fn due_at(&mut self, now: Monotonic) -> Vec<String> {
        self.settle();
        let due = self.due.range(..=(now, u64::MAX));
        due.filter_map(|(_, key)| self.id(*key)).collect()
    }

    /// Ids of those that wait for a node, in start order.
    pub(crate) fn pending(&mut self) -> Vec<String> {
        self.settle();
        self.pending.iter().filter_map(|key| self.id(*key)).collect()
    }

    /// Ids of those whose instance lives on the node, in start order.
    pub(crate) fn on_node(&mut self, node: &NodeId) -> Vec<String> {
        self.settle();
        let keys = self.on_node.get(node).into_iter().flatten();
        keys.filter_map(|key| self.id(*key)).collect()
    }

    /// When the first of them acts by itself. Up to date after [`settle`](Self::settle).
    pub(crate) fn next_due(&self) -> Option<Monotonic> {
        debug_assert!(self.touched.is_empty(), "settled after every fact");
        self.due.first().map(|(at, _)| *at)
    }

    /// How many starts are in flight. Up to date after [`settle`](Self::settle).
    pub(crate) fn starting(&self) -> usize {
        self.starting
    }

    /// How many wait for a node. Up to date after [`settle`](Self::settle).
    pub(crate) fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// Brings the indexes up to date.
    pub(crate) fn settle(&mut self) {
        while let Some(key) = self.touched.pop() {
            let Some(entry) = self.in_order.get_mut(&key) else { continue };
            let now = Marks::of(&entry.child);
            if now != entry.marks {
                let before = std::mem::replace(&mut entry.marks, now.clone());
                self.reindex(key, &before, &now);
            }
        }
    }

    fn id(&self, key: u64) -> Option<String> {
        self.at(key).map(|child| child.rule.id.clone())
    }

    fn reindex(&mut self, key: u64, before: &Marks, now: &Marks) {
        if before.due != now.due {
            before.due.map(|at| self.due.remove(&(at, key)));
            self.due.extend(now.due.map(|at| (at, key)));
        }
        let set = |index: &mut BTreeSet<u64>, before: bool, now: bool| match (before, now) {
            (false, true) => drop(index.insert(key)),
            (true, false) => drop(index.remove(&key)),
            (true, true) | (false, false) => {}
        };
        set(&mut self.fresh, before.fresh, now.fresh);
        set(&mut self.pending, before.pending, now.pending);
        self.starting = self.starting + usize::from(now.starting) - usize::from(before.starting);
        self.first = self.first + usize::from(now.first) - usize::from(before.first);
        if before.node != now.node {
            if let Some(node) = &before.node
                && let Some(here) = self.on_node.get_mut(node)
            {
                here.remove(&key);
                if here.is_empty() {
                    self.on_node.remove(node);
                }
            }
            if let Some(node) = &now.node {
                self.on_node.entry(node.clone()).or_default().insert(key);
            }
        }
        if before.round != now.round {
            if let Some(round) = before.round
                && let Some(count) = self.rounds.get_mut(&round)
            {
                *count -= 1;
                if *count == 0 {
                    self.rounds.remove(&round);
                }
            }
            if let Some(round) = now.round {
                *self.rounds.entry(round).or_insert(0) += 1;
            }
        }
    }
}

#[cfg(test)]
impl Children {
    /// How many children were looked at one after the other so far. Work that grows with their number shows here.
    pub(crate) fn walked(&self) -> u64 {
        self.walked.get()
    }
}
