//! Dialer: decides when to dial whom.
//!
//! | Target | Dialled |
//! |---|---|
//! | seed | from the start, for ever, with backoff, unless the node that answers there is connected |
//! | node that was lost | once at once, then with backoff, until it is forgotten |
//! | node that left in good order | not at all, until a hint names a new life of it |
//! | hinted node | at once, then with backoff, until it is forgotten |
//! | own address | never again, once it has answered as this node; a host name with backoff: it may have other addresses |
//!
//! A node that a seed leads to is left to the seed after the first attempt.
//!
//! Invariants: 1. at most one dial of a target is under way, and at most `MAX_DIALS` of all; 2. a target that is neither
//! satisfied nor this node has a dial under way or a time for the next (a node that is left to a seed: its seed has);
//! 3. what is connected is not dialled; 4. hints, and nodes that do not answer, keep no seed waiting.

mod queue;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use noex_actors::{Monotonic, NodeId};

#[cfg(test)]
pub(crate) use self::queue::MAX_DIALS;
use self::queue::{Queue, Rank};
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
    next: Option<(Rank, Monotonic)>,
    dialling: bool,
    /// Given up while a dial was under way: goes when that comes back.
    given_up: bool,
    is_self: bool,
    /// It was connected.
    met: bool,
    /// Who answered last.
    answered: Option<NodeId>,
}

/// The dials of one node. A connected node has no entry; so its tables are as long as what is to be dialled.
#[derive(Debug)]
pub(crate) struct Dialer {
    local: NodeId,
    backoff: Backoff,
    entropy: Entropy,
    targets: BTreeMap<Target, Entry>,
    /// Every `next`.
    queue: Queue,
    under_way: usize,
    connected: BTreeSet<NodeId>,
    /// Failed dials before the session that is up: a node that comes and goes is not dialled at once again.
    flaps: BTreeMap<NodeId, u32>,
}

impl Dialer {
    pub(crate) fn new(local: NodeId, backoff: Backoff, entropy: Entropy) -> Self {
        Self {
            local,
            backoff,
            entropy,
            targets: BTreeMap::new(),
            queue: Queue::default(),
            under_way: 0,
            connected: BTreeSet::new(),
            flaps: BTreeMap::new(),
        }
    }

    /// Adds seeds, due now. Those that are there already keep their place.
    pub(crate) fn add_seeds(&mut self, seeds: impl IntoIterator<Item = Seed>, now: Monotonic) {
        for seed in seeds {
            let is_self = matches!(&seed, Seed::Node(id) if *id == self.local);
            let target = Target::Seed(seed);
            if self.targets.contains_key(&target) {
                continue;
            }
            let rests = is_self || target.node().is_some_and(|id| self.connected.contains(id));
            self.targets.insert(target.clone(), Entry { is_self, ..Entry::default() });
            self.schedule(&target, (!rests).then_some(now));
        }
    }

    /// How many seeds are not this node itself.
    pub(crate) fn configured_seeds(&self) -> usize {
        self.seeds().filter(|(_, entry)| !entry.is_self).count()
    }

    fn seeds(&self) -> impl Iterator<Item = (&Target, &Entry)> {
        // Seeds are few, and come before nodes in the order of targets.
        self.targets.iter().take_while(|(target, _)| matches!(target, Target::Seed(_)))
    }

    /// Dials a node after `wait`, unless it is connected, being dialled, or this node.
    pub(crate) fn dial_node(&mut self, id: &NodeId, wait: Duration, now: Monotonic) {
        if *id == self.local || self.connected.contains(id) {
            return;
        }
        let target = Target::Node(id.clone());
        let entry = self.targets.entry(target.clone()).or_default();
        entry.failed = 0;
        entry.given_up = false;
        let at = now.plus(wait);
        if !entry.dialling && entry.next.is_none_or(|(_, next)| next > at) {
            self.schedule(&target, Some(at));
        }
    }

    /// Gives a node up; seeds stay.
    pub(crate) fn forget_node(&mut self, id: &NodeId) {
        self.flaps.remove(id);
        self.drop_target(&Target::Node(id.clone()));
    }

    fn drop_target(&mut self, target: &Target) {
        self.schedule(target, None);
        match self.targets.get_mut(target) {
            Some(entry) if entry.dialling => entry.given_up = true,
            Some(_) | None => drop(self.targets.remove(target)),
        }
    }

    /// Sets the time of the next dial of a target.
    fn schedule(&mut self, target: &Target, next: Option<Monotonic>) {
        let Some(entry) = self.targets.get_mut(target) else { return };
        if let Some((rank, at)) = entry.next.take() {
            self.queue.remove(rank, at, target);
        }
        if let Some(at) = next {
            let rank = match target {
                Target::Seed(_) => Rank::Seed,
                Target::Node(_) if entry.met => Rank::Met,
                Target::Node(_) => Rank::Hinted,
            };
            entry.next = Some((rank, at));
            self.queue.insert(rank, at, target.clone());
        }
    }

    /// A dial is not under way any more; false if it matters to nobody how it ended.
    fn came_back(&mut self, target: &Target) -> bool {
        let Some(entry) = self.targets.get_mut(target) else { return false };
        if std::mem::take(&mut entry.dialling) {
            self.under_way -= 1;
        }
        let matters = !entry.given_up;
        if !matters {
            self.drop_target(target);
        }
        matters
    }

    /// A handshake went well: now it is the sessions' turn.
    pub(crate) fn answered(&mut self, target: &Target, peer: &NodeId, now: Monotonic) {
        if !self.came_back(target) {
            return;
        }
        let Some(entry) = self.targets.get_mut(target) else { return };
        entry.is_self = false;
        let before = entry.answered.replace(peer.clone());
        self.schedule(target, Some(now.plus(SESSION_WAIT.max(self.backoff.base()))));
        if let Some(before) = before.filter(|before| before != peer) {
            self.take_back(&before, now);
        }
        self.rest(target);
    }

    /// A dial ended otherwise.
    pub(crate) fn ended(&mut self, target: &Target, outcome: DialOutcome, now: Monotonic) {
        if !self.came_back(target) {
            return;
        }
        let rests = match outcome {
            DialOutcome::SelfAnswered => self.is_own(target),
            DialOutcome::Failed => self.covered_by_seed(target),
        };
        let Some(entry) = self.targets.get_mut(target) else { return };
        let mut before = None;
        if outcome == DialOutcome::SelfAnswered {
            entry.is_self = true;
            before = entry.answered.take();
        }
        let next = (!rests).then(|| {
            entry.failed = entry.failed.saturating_add(1);
            now.plus(self.backoff.delay(entry.failed, self.entropy.draw()))
        });
        self.schedule(target, next);
        self.rest(target);
        if let Some(before) = before {
            self.take_back(&before, now);
        }
    }

    /// Whether a target where this node answered leads to it for ever: a name may have other addresses, or get them.
    fn is_own(&self, target: &Target) -> bool {
        let named = target.node().is_some_and(|id| id.name() == self.local.name());
        named || target.address().0.parse::<IpAddr>().is_ok()
    }

    /// A seed does not lead to that node any more: if it was left to the seed, it is dialled.
    fn take_back(&mut self, id: &NodeId, now: Monotonic) {
        let target = Target::Node(id.clone());
        let left = |entry: &Entry| entry.next.is_none() && !entry.dialling && !entry.is_self;
        if self.targets.get(&target).is_some_and(left) {
            self.schedule(&target, Some(now));
        }
    }

    /// A node is connected: nothing that leads to it is dialled.
    pub(crate) fn connected(&mut self, peer: &NodeId) {
        self.connected.insert(peer.clone());
        self.rest(&Target::Node(peer.clone()));
        let seeds: Vec<Target> = self.seeds().map(|(target, _)| target.clone()).collect();
        seeds.iter().for_each(|target| self.rest(target));
    }

    /// Lets a target rest that leads to a connected node.
    fn rest(&mut self, target: &Target) {
        let Some(entry) = self.targets.get_mut(target) else { return };
        let here = |id: &NodeId| self.connected.contains(id);
        if !target.node().is_some_and(here) && !entry.answered.as_ref().is_some_and(here) {
            return;
        }
        match target {
            Target::Seed(_) => {
                entry.failed = 0;
                self.schedule(target, None);
            }
            Target::Node(id) => {
                if entry.failed > 0 {
                    self.flaps.insert(id.clone(), entry.failed);
                }
                if entry.dialling {
                    self.schedule(target, None); // it is dropped when it comes back
                } else {
                    self.drop_target(target);
                }
            }
        }
    }

    /// A node was lost, after a session of `lived`: dial it at once, or, if it comes and goes, with backoff.
    pub(crate) fn lost(&mut self, peer: &NodeId, lived: Duration, now: Monotonic) {
        self.connected.remove(peer);
        let before = self.flaps.remove(peer).unwrap_or(0);
        let short = lived < self.backoff.base();
        let failed = if short { before.saturating_add(1) } else { 0 };
        let wait = if short && before > 0 {
            self.backoff.delay(failed, self.entropy.draw())
        } else {
            Duration::ZERO
        };
        let target = Target::Node(peer.clone());
        let entry = self.targets.entry(target.clone()).or_default();
        (entry.failed, entry.met, entry.given_up) = (failed, true, false);
        if !entry.dialling {
            self.schedule(&target, Some(now.plus(wait)));
        }
        self.wake_seeds(now);
    }

    /// A node left in good order: only seeds are dialled again.
    pub(crate) fn left(&mut self, peer: &NodeId, now: Monotonic) {
        self.connected.remove(peer);
        self.forget_node(peer);
        self.wake_seeds(now);
    }

    /// When the next dial is due. Of those that may not begin now, the end of another brings the next.
    pub(crate) fn deadline(&self) -> Option<Monotonic> {
        self.queue.deadline(self.under_way)
    }

    /// The targets to dial now; each counts as under way until `answered` or `ended`.
    pub(crate) fn due(&mut self, now: Monotonic) -> Vec<Target> {
        let mut due = Vec::new();
        while let Some(target) = self.queue.pop(self.under_way, now) {
            if let Some(entry) = self.targets.get_mut(&target) {
                entry.next = None;
                entry.dialling = true;
                self.under_way += 1;
                due.push(target);
            }
        }
        due
    }

    /// Seeds that were satisfied by a node that is gone wait one base delay: the node itself is dialled first.
    fn wake_seeds(&mut self, now: Monotonic) {
        let resting = |entry: &Entry| !entry.dialling && entry.next.is_none() && !entry.is_self;
        let seeds: Vec<Target> =
            self.seeds().filter(|(_, entry)| resting(entry)).map(|(target, _)| target.clone()).collect();
        for target in seeds {
            let wait = self.backoff.delay(1, self.entropy.draw());
            self.schedule(&target, Some(now.plus(wait)));
            self.rest(&target);
        }
    }

    /// Whether a seed is known to lead to the same node at the same address.
    fn covered_by_seed(&self, target: &Target) -> bool {
        let Target::Node(id) = target else { return false };
        self.seeds().any(|(other, entry)| match other {
            Target::Seed(Seed::Node(seed)) => seed == id,
            Target::Seed(Seed::Address { host, port }) => {
                entry.answered.as_ref() == Some(id) && *port == id.port() && host == id.host()
            }
            Target::Node(_) => false,
        })
    }
}

#[cfg(test)]
mod tests;
