//! Dialer: decides when to dial whom.
//!
//! | Target | Dialled |
//! |---|---|
//! | seed | from the start, for ever, with backoff, unless the node that answers there is connected |
//! | node that was lost | once at once, then with backoff, until it is forgotten |
//! | node that left in good order | not at all, until a hint names a new life of it |
//! | hinted node | at once, then with backoff, until it is forgotten |
//! | own address | never again, once it has answered as this node |
//!
//! A node whose address is that of a seed is left to the seed after the first attempt.
//!
//! Invariants: 1. at most one dial of a target is under way; 2. a target that is neither satisfied nor this node
//! has a dial under way or a time for the next (a node that is left to a seed: its seed has); 3. what is connected
//! is not dialled.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use noex_actors::{Monotonic, NodeId};

use super::{
    backoff::{Backoff, Entropy},
    handshake::Expected,
};
use crate::config::Seed;

/// What is dialled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// A configured or provided place.
    Seed(Seed),
    /// A node that is known by its id.
    Node(NodeId),
}

impl Target {
    /// Who must answer.
    pub(crate) fn expected(&self) -> Expected {
        match self {
            Self::Seed(Seed::Node(id)) => Expected::Name(id.name().to_owned()),
            Self::Seed(Seed::Address { .. }) => Expected::Anyone,
            Self::Node(id) => Expected::Node(id.clone()),
        }
    }

    /// Where to dial: host (IPv6 without brackets) and port.
    pub(crate) fn address(&self) -> (&str, u16) {
        match self {
            Self::Seed(seed) => (seed.host(), seed.port()),
            Self::Node(id) => (id.host(), id.port()),
        }
    }

    /// The node's id, where it is known before it answers.
    pub(crate) fn node(&self) -> Option<&NodeId> {
        match self {
            Self::Seed(Seed::Node(id)) | Self::Node(id) => Some(id),
            Self::Seed(Seed::Address { .. }) => None,
        }
    }
}

/// How a dial ended before it was a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DialOutcome {
    /// No connection, or no handshake.
    Failed,
    /// This node itself answered.
    SelfAnswered,
}

/// How long a connection that passed its handshake may take to become a session.
const SESSION_WAIT: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct Entry {
    failed: u32,
    next: Option<Monotonic>,
    dialling: bool,
    is_self: bool,
    /// Who answered last.
    answered: Option<NodeId>,
}

impl Entry {
    fn idle(&self) -> bool {
        !self.dialling && self.next.is_none()
    }
}

/// The dials of one node.
#[derive(Debug)]
pub(crate) struct Dialer {
    local: NodeId,
    backoff: Backoff,
    entropy: Entropy,
    targets: BTreeMap<Target, Entry>,
    connected: BTreeSet<NodeId>,
}

impl Dialer {
    pub(crate) fn new(local: NodeId, backoff: Backoff, entropy: Entropy) -> Self {
        Self { local, backoff, entropy, targets: BTreeMap::new(), connected: BTreeSet::new() }
    }

    /// Adds seeds, due now. Those that are there already keep their place.
    pub(crate) fn add_seeds(&mut self, seeds: impl IntoIterator<Item = Seed>, now: Monotonic) {
        for seed in seeds {
            let is_self = matches!(&seed, Seed::Node(id) if *id == self.local);
            let entry = Entry { next: (!is_self).then_some(now), is_self, ..Entry::default() };
            self.targets.entry(Target::Seed(seed)).or_insert(entry);
        }
        self.satisfy();
    }

    /// How many seeds are not this node itself.
    pub(crate) fn configured_seeds(&self) -> usize {
        self.targets
            .iter()
            .filter(|(target, entry)| matches!(target, Target::Seed(_)) && !entry.is_self)
            .count()
    }

    /// Dials a node now, unless it is connected, being dialled, or this node.
    pub(crate) fn dial_node(&mut self, id: &NodeId, now: Monotonic) {
        if *id == self.local || self.connected.contains(id) {
            return;
        }
        let entry = self.targets.entry(Target::Node(id.clone())).or_default();
        entry.failed = 0;
        if !entry.dialling {
            entry.next = Some(now);
        }
    }

    /// Gives a node up; seeds stay.
    pub(crate) fn forget_node(&mut self, id: &NodeId) {
        self.targets.remove(&Target::Node(id.clone()));
    }

    /// A handshake went well: now it is the sessions' turn.
    pub(crate) fn answered(&mut self, target: &Target, peer: &NodeId, now: Monotonic) {
        if let Some(entry) = self.targets.get_mut(target) {
            entry.dialling = false;
            entry.answered = Some(peer.clone());
            entry.next = Some(now.plus(SESSION_WAIT.max(self.backoff.base())));
        }
        self.satisfy();
    }

    /// A dial ended otherwise.
    pub(crate) fn ended(&mut self, target: &Target, outcome: DialOutcome, now: Monotonic) {
        let left_to_seed = self.covered_by_seed(target);
        let Some(entry) = self.targets.get_mut(target) else { return };
        entry.dialling = false;
        match outcome {
            DialOutcome::SelfAnswered => {
                entry.is_self = true;
                entry.next = None;
            }
            DialOutcome::Failed if left_to_seed => entry.next = None,
            DialOutcome::Failed => {
                entry.failed = entry.failed.saturating_add(1);
                entry.next = Some(now.plus(self.backoff.delay(entry.failed, self.entropy.draw())));
            }
        }
        self.satisfy();
    }

    /// A node is connected: nothing that leads to it is dialled.
    pub(crate) fn connected(&mut self, peer: &NodeId) {
        self.connected.insert(peer.clone());
        self.satisfy();
    }

    /// A node was lost, after a session of `lived`: dial it at once, or, if it comes and goes, with backoff.
    pub(crate) fn lost(&mut self, peer: &NodeId, lived: Duration, now: Monotonic) {
        self.connected.remove(peer);
        let entry = self.targets.entry(Target::Node(peer.clone())).or_default();
        let flapping = lived < self.backoff.base() && entry.failed > 0;
        entry.failed = if lived < self.backoff.base() { entry.failed.saturating_add(1) } else { 0 };
        let wait =
            if flapping { self.backoff.delay(entry.failed, self.entropy.draw()) } else { Duration::ZERO };
        if !entry.dialling {
            entry.next = Some(now.plus(wait));
        }
        self.wake_seeds(now);
    }

    /// A node left in good order: only seeds are dialled again.
    pub(crate) fn left(&mut self, peer: &NodeId, now: Monotonic) {
        self.connected.remove(peer);
        self.forget_node(peer);
        self.wake_seeds(now);
    }

    /// When the next dial is due.
    pub(crate) fn deadline(&self) -> Option<Monotonic> {
        self.targets.values().filter_map(|entry| entry.next).min()
    }

    /// The targets to dial now; each counts as under way until `answered` or `ended`.
    pub(crate) fn due(&mut self, now: Monotonic) -> Vec<Target> {
        let mut due = Vec::new();
        for (target, entry) in &mut self.targets {
            if !entry.dialling && entry.next.is_some_and(|at| at <= now) {
                entry.next = None;
                entry.dialling = true;
                due.push(target.clone());
            }
        }
        due
    }

    /// Stops what is satisfied.
    fn satisfy(&mut self) {
        for (target, entry) in &mut self.targets {
            let here = |id: &NodeId| self.connected.contains(id);
            if target.node().is_some_and(here) || entry.answered.as_ref().is_some_and(here) {
                entry.next = None;
                if matches!(target, Target::Seed(_)) {
                    entry.failed = 0;
                }
            }
        }
    }

    /// Seeds that were satisfied by a node that is gone wait one base delay: the node itself is dialled first.
    fn wake_seeds(&mut self, now: Monotonic) {
        for (target, entry) in &mut self.targets {
            if matches!(target, Target::Seed(_)) && entry.idle() && !entry.is_self {
                entry.next = Some(now.plus(self.backoff.delay(1, self.entropy.draw())));
            }
        }
        self.satisfy();
    }

    /// Whether a seed leads to the same node at the same address.
    fn covered_by_seed(&self, target: &Target) -> bool {
        let Target::Node(id) = target else { return false };
        self.targets.iter().any(|(other, entry)| match other {
            Target::Seed(Seed::Node(seed)) => seed == id,
            Target::Seed(Seed::Address { host, port }) => {
                let same = entry.answered.as_ref().is_none_or(|answered| answered == id);
                same && !entry.is_self && *port == id.port() && host == id.host()
            }
            Target::Node(_) => false,
        })
    }
}

#[cfg(test)]
mod tests;
