//! Membership: which nodes are known, in which status, and who is told about whom.
//!
//! ```text
//! hint, dial ──► Connecting ──► Connected ◄──► Disconnected ── forget_after ──► forgotten
//! ```
//!
//! Status, load, up and down come from the own session with a node and from nothing else. A hint (an id and its
//! life, from a node that is connected to it) is only a reason to dial; [`gossip`] says who gets which.
//!
//! Of two nodes that hear of each other, the one with the smaller id dials at once and the other a little later, if
//! need be: most often it need not.
//!
//! Invariants: 1. `NodeUp` and `NodeDown` of a node alternate; 2. at most [`HINTS_PER_INTERVAL`] new nodes per peer
//! and interval are taken from hints, the rest waits; 3. a life that was only hinted, and was forgotten, is
//! not dialled from hints for as long again; 4. every table is bounded, whatever peers say; 5. what a heartbeat costs does not depend on how many nodes
//! there are.
//!
//! The seam for another engine (SWIM, say) is [`Input`] and [`Output`]: whoever takes these facts and gives these
//! commands can stand here. It may dial fewer nodes than all; nothing else asks for a full mesh.

mod fact;
mod gossip;
mod hints;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use noex_actors::{Incarnation, Monotonic, NodeDownReason, NodeId};

pub use self::fact::NodeStatus;
pub(crate) use self::{
    fact::{Input, Load, Member, Output},
    gossip::View,
};
use self::{
    gossip::{FANOUT, Gossip, fingerprint},
    hints::Hints,
};
pub(crate) use super::dialer::{DialOutcome, Target};
use super::{
    backoff::{Backoff, Entropy},
    dialer::Dialer,
};
use crate::config::ClusterConfig;

/// Nodes that are known at a time; beyond it hints are ignored.
pub(crate) const MAX_KNOWN: usize = 10_000;
/// How long the node with the greater id waits before it dials one that it has heard of; half an interval at most.
const COURTESY: Duration = Duration::from_millis(500);

/// A node that was forgotten, for a while.
#[derive(Clone, Copy, Debug)]
struct Forgotten {
    incarnation: Incarnation,
    /// This life was connected here. If not, its number is only what somebody said.
    met: bool,
    left: bool,
    until: Monotonic,
}

impl Forgotten {
    /// Whether a life is not dialled from hints. One that was lost is: who is connected to it after so long a time, is so
    /// since a partition healed.
    fn covers(&self, incarnation: Incarnation, now: Monotonic) -> bool {
        let over = match (self.met, self.left) {
            (true, true) => incarnation <= self.incarnation,
            (true, false) => incarnation < self.incarnation,
            (false, _) => incarnation == self.incarnation,
        };
        self.until > now && over
    }
}

/// The nodes that one node knows.
#[derive(Debug)]
pub(crate) struct Membership {
    local: NodeId,
    interval: Duration,
    forget_after: Duration,
    dialer: Dialer,
    gossip: Gossip,
    members: BTreeMap<NodeId, Member>,
    /// Every `forget_at`, in order.
    forget_queue: BTreeSet<(Monotonic, NodeId)>,
    forgotten: BTreeMap<NodeId, Forgotten>,
    hints: Hints,
    /// Members that were not the same at the last [`Membership::drain_changed`].
    changed: BTreeSet<NodeId>,
}

impl Membership {
    /// Knows nobody yet. `entropy` is one random number: for jitter, and for whom to tell.
    pub(crate) fn new(local: NodeId, incarnation: Incarnation, config: &ClusterConfig, entropy: u64) -> Self {
        let backoff = Backoff::new(config.reconnect_base_delay(), config.reconnect_max_delay());
        let interval = config.heartbeat_interval();
        let own = fingerprint(&local, incarnation);
        let mut entropy = Entropy::new(entropy);
        Self {
            dialer: Dialer::new(local.clone(), backoff, Entropy::new(entropy.draw())),
            gossip: Gossip::new(own, interval, entropy),
            local,
            interval,
            forget_after: config.forget_after(),
            members: BTreeMap::new(),
            forget_queue: BTreeSet::new(),
            forgotten: BTreeMap::new(),
            hints: Hints::new(interval),
            changed: BTreeSet::new(),
        }
    }

    /// All known nodes, but this one.
    pub(crate) fn members(&self) -> &BTreeMap<NodeId, Member> {
        &self.members
    }

    /// The members that changed since the last call, or are gone.
    pub(crate) fn drain_changed(&mut self) -> BTreeSet<NodeId> {
        std::mem::take(&mut self.changed)
    }

    /// What a heartbeat says of those connected here.
    pub(crate) fn view(&self) -> View {
        self.gossip.view()
    }

    /// How many seeds are not this node itself.
    pub(crate) fn configured_seeds(&self) -> usize {
        self.dialer.configured_seeds()
    }

    /// When [`Input::DeadlineReached`] is due.
    pub(crate) fn deadline(&self) -> Option<Monotonic> {
        let forget = self.forget_queue.first().map(|(at, _)| *at);
        [forget, self.hints.deadline(), self.dialer.deadline()].into_iter().flatten().min()
    }

    /// Takes a fact.
    pub(crate) fn handle(&mut self, input: Input, now: Monotonic, out: &mut VecDeque<Output>) {
        match input {
            Input::SeedsKnown { seeds } => self.dialer.add_seeds(seeds, now),
            Input::DialAnswered { target, peer } => self.dialer.answered(&target, &peer, now),
            Input::DialEnded { target, outcome } => self.dialer.ended(&target, outcome, now),
            Input::SessionUp { peer, incarnation, view } => self.up(peer, incarnation, view, now, out),
            Input::SessionDown { peer, incarnation, reason } => {
                self.down(peer, incarnation, reason, now, out);
            }
            Input::HeartbeatReceived { peer, load, view } => self.heartbeat(peer, load, view, now, out),
            Input::HintReceived { from, nodes } => self.hinted(&from, nodes, now),
            Input::Asked { by, known } => self.asked(by, known, now, out),
            Input::DeadlineReached => self.deadline_reached(now, out),
        }
        for target in self.dialer.due(now) {
            if let Some(id) = target.node()
                && let Some(member) = self.members.get_mut(id)
            {
                member.dials = member.dials.saturating_add(1);
                self.changed.insert(id.clone());
            }
            out.push_back(Output::Dial { target });
        }
    }

    fn is_connected(&self, id: &NodeId) -> bool {
        self.members.get(id).is_some_and(|member| member.status == NodeStatus::Connected)
    }

    fn with_life(&self, id: NodeId) -> Option<(NodeId, Incarnation)> {
        let life = self.members.get(&id)?.incarnation;
        Some((id, life))
    }

    fn up(
        &mut self,
        peer: NodeId,
        incarnation: Incarnation,
        theirs: View,
        now: Monotonic,
        out: &mut VecDeque<Output>,
    ) {
        let before = self.members.get(&peer);
        let fingerprint = match before {
            Some(member) if member.incarnation == incarnation => member.fingerprint,
            _ => fingerprint(&peer, incarnation),
        };
        let news = before.is_none_or(|member| member.incarnation != incarnation || member.up_since.is_none());
        let dials = before.map_or(0, |member| member.dials);
        if news {
            for to in self.gossip.some(FANOUT) {
                out.push_back(Output::SendHint { to, nodes: vec![(peer.clone(), incarnation)] });
            }
        }
        let lacking = self.gossip.lacking(fingerprint, theirs);
        let told = self.gossip.some(lacking);
        let nodes: Vec<_> = told.into_iter().filter_map(|id| self.with_life(id)).collect();
        if !nodes.is_empty() {
            out.push_back(Output::SendHint { to: peer.clone(), nodes });
        }
        self.set_forget(&peer, None);
        let member = Member {
            status: NodeStatus::Connected,
            last_heartbeat: Some(now), // node-up is the receipt of one
            up_since: Some(now),
            dials,
            ..Member::hinted(incarnation, fingerprint)
        };
        self.members.insert(peer.clone(), member);
        self.changed.insert(peer.clone());
        self.forgotten.remove(&peer);
        self.dialer.connected(&peer);
        self.gossip.up(&peer, fingerprint);
        out.push_back(Output::NodeUp { node: peer, incarnation });
    }

    fn down(
        &mut self,
        peer: NodeId,
        incarnation: Incarnation,
        reason: NodeDownReason,
        now: Monotonic,
        out: &mut VecDeque<Output>,
    ) {
        let Some(member) = self.members.get_mut(&peer) else { return };
        if member.status != NodeStatus::Connected || member.incarnation != incarnation {
            return;
        }
        member.status = NodeStatus::Disconnected;
        member.left = reason == NodeDownReason::GracefulShutdown;
        let lived = member.uptime(now);
        member.down_since = Some(now);
        self.gossip.down(&peer, member.fingerprint);
        if member.left {
            self.dialer.left(&peer, now);
        } else {
            self.dialer.lost(&peer, lived, now);
        }
        self.set_forget(&peer, Some(now.plus(self.forget_after)));
        self.hints.drop_peer(&peer);
        self.changed.insert(peer.clone());
        out.push_back(Output::NodeDown { node: peer, incarnation, reason });
    }

    fn heartbeat(
        &mut self,
        peer: NodeId,
        load: Load,
        theirs: View,
        now: Monotonic,
        out: &mut VecDeque<Output>,
    ) {
        let member = self.members.get_mut(&peer);
        let Some(member) = member.filter(|member| member.status == NodeStatus::Connected) else { return };
        member.load = load;
        member.last_heartbeat = Some(now);
        if self.gossip.compare(&peer, theirs, now) {
            // Not those that were lost: who is connected to one of them may say so.
            let lost = |member: &Member| member.status == NodeStatus::Disconnected && !member.left;
            let known = self.members.values().filter(|member| !lost(member));
            let known = known.map(|member| member.fingerprint).collect();
            out.push_back(Output::Ask { peer: peer.clone(), known });
        }
        self.changed.insert(peer);
    }

    fn asked(&mut self, by: NodeId, known: Vec<u64>, now: Monotonic, out: &mut VecDeque<Output>) {
        if !self.is_connected(&by) {
            return;
        }
        let beyond = self.gossip.answer(&by, known, now);
        let nodes: Vec<_> = beyond.into_iter().filter_map(|id| self.with_life(id)).collect();
        if !nodes.is_empty() {
            out.push_back(Output::SendHint { to: by, nodes });
        }
    }

    fn hinted(&mut self, from: &NodeId, nodes: Vec<(NodeId, Incarnation)>, now: Monotonic) {
        // SECURITY: only a connected peer hints, and not faster than its allowance.
        if !self.is_connected(from) {
            return;
        }
        self.hints.add(from, nodes, now);
        self.take_hints(from, now);
    }

    /// Takes what the allowance of a peer permits. Names that are nothing new cost nothing.
    fn take_hints(&mut self, from: &NodeId, now: Monotonic) {
        let Self { hints, members, local, forgotten, .. } = self;
        let is_new = |id: &NodeId, incarnation: Incarnation| {
            if *id == *local {
                return false;
            }
            if forgotten.get(id).is_some_and(|life| life.covers(incarnation, now)) {
                return false;
            }
            match members.get(id) {
                None => members.len() < MAX_KNOWN,
                Some(member) => match member.status {
                    NodeStatus::Connected => false,
                    NodeStatus::Connecting => incarnation > member.incarnation,
                    // Somebody is connected to it again, or still: it may be back in reach.
                    NodeStatus::Disconnected if !member.left => incarnation >= member.incarnation,
                    NodeStatus::Disconnected => incarnation > member.incarnation,
                },
            }
        };
        for (id, incarnation) in hints.take(from, now, is_new) {
            if self.members.len() < MAX_KNOWN || self.members.contains_key(&id) {
                self.learn(&id, incarnation, now);
            }
        }
    }

    fn learn(&mut self, id: &NodeId, incarnation: Incarnation, now: Monotonic) {
        let before = self.members.get(id);
        if before.is_none_or(|member| member.incarnation != incarnation) {
            // This life was not up yet, if there is one: nothing that is known of another is said of it.
            let (dials, forget_at) = before.map_or((0, None), |member| (member.dials, member.forget_at));
            let hinted = Member::hinted(incarnation, fingerprint(id, incarnation));
            self.members.insert(id.clone(), Member { dials, forget_at, ..hinted });
            self.set_forget(id, Some(now.plus(self.forget_after)));
            self.changed.insert(id.clone());
        }
        let wait = if self.local < *id { Duration::ZERO } else { COURTESY.min(self.interval / 2) };
        self.dialer.dial_node(id, wait, now);
    }

    fn set_forget(&mut self, id: &NodeId, at: Option<Monotonic>) {
        let Some(member) = self.members.get_mut(id) else { return };
        if let Some(before) = std::mem::replace(&mut member.forget_at, at) {
            self.forget_queue.remove(&(before, id.clone()));
        }
        if let Some(at) = at {
            self.forget_queue.insert((at, id.clone()));
        }
    }

    fn deadline_reached(&mut self, now: Monotonic, out: &mut VecDeque<Output>) {
        for from in self.hints.due(now) {
            self.take_hints(&from, now);
        }
        let due = self.forget_queue.first().is_some_and(|(at, _)| *at <= now);
        if due {
            self.forgotten.retain(|_, life| life.until > now);
        }
        while let Some((at, node)) = self.forget_queue.first().cloned()
            && at <= now
        {
            self.set_forget(&node, None);
            if let Some(member) = self.members.remove(&node) {
                self.remember_as_forgotten(&node, &member, now);
            }
            self.dialer.forget_node(&node);
            self.changed.insert(node.clone());
            out.push_back(Output::Forgotten { node });
        }
    }

    fn remember_as_forgotten(&mut self, node: &NodeId, member: &Member, now: Monotonic) {
        if self.forgotten.len() >= MAX_KNOWN {
            let first = self.forgotten.iter().min_by_key(|(_, life)| life.until).map(|(id, _)| id.clone());
            first.and_then(|id| self.forgotten.remove(&id));
        }
        let (incarnation, met, left) = (member.incarnation, member.up_since.is_some(), member.left);
        self.forgotten
            .insert(node.clone(), Forgotten { incarnation, met, left, until: now.plus(self.forget_after) });
    }
}

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;
