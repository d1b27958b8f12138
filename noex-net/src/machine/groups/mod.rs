//! Process groups: decides who is a member of what, in this node's view.
//!
//! Every membership is written by its owner, the node on which the process lives, and accepted only over that node's own
//! session. A view is the union of the parts of this node and of those that it is connected to: two parts never speak of
//! the same process, so there is nothing to decide between them, and no version is needed. What an owner says of a
//! membership is how often the process joined, not that it joined once more: said twice, it is the same.
//!
//! Invariants: 1. `Joined` comes with the first join of a process to a group, `Left` with its last leave, its end, or the
//! end of the session with its node; once each, in turn; 2. what one peer can add is bounded; 3. when all was told, all
//! connected nodes have one view.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    sync::Arc,
};

use noex_actors::{Incarnation, NodeId, Pid};
use serde::{Deserialize, Serialize};

use super::names::valid;

/// Most memberships of one node; a process that joined twice counts twice.
pub(crate) const MAX_MEMBERSHIPS: usize = 100_000;

/// How often a process of the sender is a member of a group; 0: not any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Membership {
    pub(crate) group: String,
    pub(crate) number: u64,
    pub(crate) count: u32,
}

/// Why a process did not join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinError {
    /// Empty, too long, or with control characters.
    InvalidName,
    /// This node has [`MAX_MEMBERSHIPS`].
    TooMany,
}

/// Commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Send to every connected peer.
    Tell(Membership),
    /// Tell who watches the group.
    Joined { group: Arc<str>, pid: Pid },
    /// Tell who watches the group.
    Left { group: Arc<str>, pid: Pid },
}

/// The groups as one node sees them.
#[derive(Debug)]
pub(crate) struct Groups {
    local: NodeId,
    parts: BTreeMap<NodeId, Part>,
    /// Of which groups a process of this node is a member.
    joined: BTreeMap<u64, BTreeSet<Arc<str>>>,
}

/// What one node owns.
#[derive(Debug)]
pub(crate) struct Part {
    incarnation: Incarnation,
    /// How often each process joined.
    groups: BTreeMap<Arc<str>, BTreeMap<u64, u32>>,
    total: usize,
}

impl Part {
    fn new(incarnation: Incarnation) -> Self {
        Self { incarnation, groups: BTreeMap::new(), total: 0 }
    }

    fn count(&self, group: &str, number: u64) -> u32 {
        self.groups.get(group).and_then(|members| members.get(&number)).copied().unwrap_or(0)
    }

    /// Sets how often a process is a member. Returns the name as it is kept, and how often it was one before; nothing
    /// if that would be too many.
    fn set(&mut self, group: &str, number: u64, count: u32) -> Option<(Arc<str>, u32)> {
        let wide = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        let before = self.count(group, number);
        let total = (self.total - wide(before)).saturating_add(wide(count));
        if total > MAX_MEMBERSHIPS && count > before {
            return None;
        }
        self.total = total;
        let known = self.groups.get_key_value(group).map(|(name, _)| Arc::clone(name));
        let name = known.unwrap_or_else(|| group.into());
        if count > 0 {
            self.groups.entry(Arc::clone(&name)).or_default().insert(number, count);
        } else if let Some(members) = self.groups.get_mut(group) {
            members.remove(&number);
            if members.is_empty() {
                self.groups.remove(group);
            }
        }
        Some((name, before))
    }
}

impl Groups {
    /// No groups.
    pub(crate) fn new(local: NodeId, incarnation: Incarnation) -> Self {
        let parts = BTreeMap::from([(local.clone(), Part::new(incarnation))]);
        Self { local, parts, joined: BTreeMap::new() }
    }

    /// All members with how often each joined: node by node, in the order of their ids, then by number.
    pub(crate) fn members(&self, group: &str) -> impl Iterator<Item = (Pid, u32)> {
        self.targets(group).flat_map(|(node, incarnation, members)| {
            members.iter().map(move |(number, count)| (Pid::new(node.clone(), incarnation, *number), *count))
        })
    }

    /// The nodes with members, and those.
    pub(crate) fn targets(
        &self,
        group: &str,
    ) -> impl Iterator<Item = (&NodeId, Incarnation, &BTreeMap<u64, u32>)> {
        self.parts.iter().filter_map(move |(node, part)| {
            part.groups.get(group).map(|members| (node, part.incarnation, members))
        })
    }

    /// Members on this node, with how often each joined.
    pub(crate) fn local_members(&self, group: &str) -> impl Iterator<Item = (u64, u32)> {
        let own = self.parts.get(&self.local).and_then(|own| own.groups.get(group));
        own.into_iter().flatten().map(|(number, count)| (*number, *count))
    }

    /// All groups that have members, sorted.
    pub(crate) fn groups(&self) -> BTreeSet<&str> {
        self.parts.values().flat_map(|part| part.groups.keys().map(|name| &**name)).collect()
    }

    /// Memberships of this node, and of all.
    pub(crate) fn totals(&self) -> (usize, usize) {
        let own = self.parts.get(&self.local).map_or(0, |own| own.total);
        (own, self.parts.values().map(|part| part.total).sum())
    }

    /// The next memberships of this node behind `last`, `max` at most: all of them, a piece at a time, for a peer whose
    /// session came up. What changes meanwhile is told as it changes.
    pub(crate) fn piece(&self, last: Option<&Membership>, max: usize) -> Vec<Membership> {
        let Some(own) = self.parts.get(&self.local) else { return Vec::new() };
        let (first, behind) = last.map_or(("", None), |last| (last.group.as_str(), Some(last.number)));
        let groups = own.groups.range::<str, _>((Bound::Included(first), Bound::Unbounded));
        let all = groups.flat_map(|(group, members)| {
            let from = behind.filter(|_| **group == *first).map_or(Bound::Unbounded, Bound::Excluded);
            let members = members.range((from, Bound::Unbounded));
            members.map(|(number, count)| Membership {
                group: group.to_string(),
                number: *number,
                count: *count,
            })
        });
        all.take(max).collect()
    }

    /// A process of this node joins, once more if it is a member already.
    pub(crate) fn join(
        &mut self,
        group: &str,
        number: u64,
        out: &mut VecDeque<Output>,
    ) -> Result<(), JoinError> {
        if !valid(group) {
            return Err(JoinError::InvalidName);
        }
        let count = self.own().count(group, number).saturating_add(1);
        self.set_own(group, number, count, out).ok_or(JoinError::TooMany)
    }

    /// A process of this node leaves, once. `false` if it is no member.
    pub(crate) fn leave(&mut self, group: &str, number: u64, out: &mut VecDeque<Output>) -> bool {
        let count = self.own().count(group, number);
        count > 0 && self.set_own(group, number, count - 1, out).is_some()
    }

    /// A process of this node ended: it leaves everything.
    pub(crate) fn process_ended(&mut self, number: u64, out: &mut VecDeque<Output>) {
        for group in self.joined.remove(&number).unwrap_or_default() {
            self.set_own(&group, number, 0, out);
        }
    }

    /// An owner says something of one of its processes, over its own session. `false` if that is refused: it is
    /// malformed, or one too many.
    pub(crate) fn merge(
        &mut self,
        from: &NodeId,
        incarnation: Incarnation,
        said: &Membership,
        out: &mut VecDeque<Output>,
    ) -> bool {
        // SECURITY: nobody speaks for another node.
        if *from == self.local || !valid(&said.group) {
            return false;
        }
        let part = self.parts.entry(from.clone()).or_insert_with(|| Part::new(incarnation));
        let Some((group, before)) = part.set(&said.group, said.number, said.count) else { return false };
        let pid = Pid::new(from.clone(), incarnation, said.number);
        news(group, pid, before, said.count, out);
        true
    }

    /// The session with a node is over: its processes are not members any more, as far as this node can see. That is told of
    /// those groups that are watched; what is left of the others is given back, to be dropped where it keeps nobody waiting.
    pub(crate) fn node_down(
        &mut self,
        node: &NodeId,
        watched: impl Fn(&str) -> bool,
        out: &mut VecDeque<Output>,
    ) -> Option<Part> {
        let part = (*node != self.local).then(|| self.parts.remove(node)).flatten()?;
        for (group, members) in part.groups.iter().filter(|(group, _)| watched(group)) {
            let pids = members.keys().map(|number| Pid::new(node.clone(), part.incarnation, *number));
            out.extend(pids.map(|pid| Output::Left { group: Arc::clone(group), pid }));
        }
        Some(part)
    }

    fn own(&mut self) -> &mut Part {
        let local = self.local.clone();
        self.parts.entry(local).or_insert_with(|| Part::new(Incarnation(0)))
    }

    fn set_own(&mut self, group: &str, number: u64, count: u32, out: &mut VecDeque<Output>) -> Option<()> {
        let own = self.own();
        let incarnation = own.incarnation;
        let (name, before) = own.set(group, number, count)?;
        if count > 0 {
            self.joined.entry(number).or_default().insert(Arc::clone(&name));
        } else if let Some(groups) = self.joined.get_mut(&number) {
            groups.remove(&name);
            if groups.is_empty() {
                self.joined.remove(&number);
            }
        }
        if before != count {
            out.push_back(Output::Tell(Membership { group: group.to_owned(), number, count }));
        }
        news(name, Pid::new(self.local.clone(), incarnation, number), before, count, out);
        Some(())
    }
}

fn news(group: Arc<str>, pid: Pid, before: u32, now: u32, out: &mut VecDeque<Output>) {
    match (before, now) {
        (0, 1..) => out.push_back(Output::Joined { group, pid }),
        (1.., 0) => out.push_back(Output::Left { group, pid }),
        _ => {}
    }
}

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;
