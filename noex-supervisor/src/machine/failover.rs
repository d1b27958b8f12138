//! Failover: decides whether a lost connection means lost children, and which nodes are asked for their instances.
//!
//! ```text
//!            closed                       another incarnation, dial refused, no news in one interval: Lost
//!   Up ─────────────────▶ Suspect ────────────────────────────────────────────────────────────────▶ (down)
//!    ▲                       │ same incarnation                                   ▲
//!    │  answer: re-adopt     ▼                                                    │ timeout, goodbye: Lost
//!    └───────────────── Up, asked ── no answer in one interval: Lost, asked on ───┘
//! ```
//!
//! Every node that comes up is asked which instances it has, again and again until it answers or goes: so duplicates
//! are found. An adoption waits for every connected node until it has answered, for interval × threshold at most: what
//! lives there must not be started a second time.
//!
//! Where instances stop themselves when they are cut off ([`Failover::fenced`]), a node that is not proven dead is `Held`
//! first: its loss is said after their grace time, and not while this side of the cluster must wait; back before that, it is
//! asked as after a lost connection. Another incarnation is a proof, a refused dial is none. The other end of a connection
//! that was closed here may have heard of that only by silence: the grace time begins when it must have noticed.
//!
//! Invariants: 1. `Lost` is said once per loss; 2. a node that is not held is `Lost` at the latest two intervals after its
//! connection closed unless it answered, intervals in which the supervisor itself stood still not counted; 3. every `Up` node is
//! asked when it comes up and once per interval × threshold; 4. an adoption ends within interval × threshold and two
//! intervals for each connection that was lost meanwhile; 5. while this side must wait, nothing is `Lost` but what is
//! proven dead, and no adoption ends.
//!
//! Source: the design's rule "Failover".

mod adoption;
mod deadlines;
mod facts;
mod standing;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use noex_actors::{Incarnation, Monotonic, NodeDownReason, NodeId};

pub(crate) use self::facts::{Input, Output};
use super::{
    Found,
    standing::{Policy, Standing},
    supervision::{Loss, Purpose},
};

/// How long after a question that failed the next one is asked.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// A question that has no answer yet.
#[derive(Clone, Copy, Debug)]
struct Question {
    number: u64,
    purpose: Purpose,
    /// When the connection was lost, for `Readopt`.
    since: Monotonic,
    /// The verdict for `Readopt`; for `Reconcile`, when nothing waits for it any more.
    until: Option<Monotonic>,
    ask_again: Option<Monotonic>,
    /// Once more a little later: what was started there after it answered is not in the answer.
    repeat: bool,
}

#[derive(Clone, Copy, Debug)]
enum Link {
    Up(Option<Question>),
    Suspect {
        since: Monotonic,
        until: Monotonic,
        /// Until then the other end may have heard of this one.
        closed: Monotonic,
    },
    /// Lost, but what it has may be alive until then.
    Held {
        due: Monotonic,
    },
}

#[derive(Clone, Copy, Debug)]
struct Peer {
    incarnation: Incarnation,
    link: Link,
}

/// The machine.
#[derive(Debug)]
pub(crate) struct Failover {
    /// One interval, one second at most.
    grace: Duration,
    interval: Duration,
    /// Interval × threshold. Everybody is asked that often, whatever happened: what went wrong unseen is found. And a
    /// connected node that does not answer is waited for that long: had it died, it would be known by then.
    patience: Duration,
    next_sweep: Option<Monotonic>,
    peers: BTreeMap<NodeId, Peer>,
    next_query: u64,
    standing: Standing,
    /// How long instances may be alive on a node that is lost, once it has noticed.
    hold: Duration,
    /// Nothing may be started.
    paused: bool,
    /// This side may go on again: then it does. Who else is back is known by then.
    resume_at: Option<Monotonic>,
    /// Before that no adoption ends: what was lost before it began may be alive until then.
    settled_at: Option<Monotonic>,
    adopting: Option<Vec<Found>>,
    /// The first adoption is over: there are children to compare answers with.
    begun: bool,
}

type Outputs = VecDeque<Output>;

impl Failover {
    /// `interval`: time between two heartbeats; `threshold`: how many may be missed.
    pub(crate) fn new(interval: Duration, threshold: u32) -> Self {
        let grace = interval.min(Duration::from_secs(1));
        let patience = interval.saturating_mul(threshold.max(1));
        Self {
            grace,
            interval,
            patience,
            next_sweep: None,
            peers: BTreeMap::new(),
            next_query: 0,
            standing: Standing::new(Policy::Failover, Duration::MAX),
            hold: Duration::ZERO,
            paused: false,
            resume_at: None,
            settled_at: None,
            adopting: None,
            begun: false,
        }
    }

    /// The same, with this standing, for instances that may be alive for `grace` after they are cut off.
    pub(crate) fn fenced(mut self, standing: Standing, grace: Option<Duration>) -> Self {
        self.standing = standing;
        self.extend_grace(grace);
        self
    }

    /// There are instances that may be alive for so long after they are cut off. Both ends notice that within an interval,
    /// and half of one is for the stop itself.
    pub(crate) fn extend_grace(&mut self, grace: Option<Duration>) {
        let hold = grace.map_or(Duration::ZERO, |grace| {
            grace.saturating_add(self.interval).saturating_add(self.interval / 2)
        });
        self.hold = self.hold.max(hold);
    }

    /// How long instances may be alive on a node whose connection is lost, which may find that out last.
    pub(crate) fn hold(&self) -> Duration {
        if self.hold.is_zero() { self.hold } else { self.patience.saturating_add(self.hold) }
    }

    /// How long a connected node is waited for.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// Takes a fact.
    pub(crate) fn handle(&mut self, input: Input, now: Monotonic, out: &mut Outputs) {
        match input {
            Input::Started { nodes, missing } => {
                self.adopting = Some(Vec::new());
                self.next_sweep = Some(now.plus(self.patience));
                self.settled_at =
                    (!missing.is_empty() && !self.hold.is_zero()).then(|| now.plus(self.hold()));
                for node in &missing {
                    self.standing.lost(node, now);
                }
                for (node, incarnation) in nodes {
                    self.up(node, incarnation, now, out);
                }
            }
            Input::NodeUp { node, incarnation } => self.up(node, incarnation, now, out),
            Input::NodeDown { node, incarnation, reason } => self.down(&node, incarnation, reason, now, out),
            Input::DialRefused { node } => {
                let suspect = |peer: &Peer| matches!(peer.link, Link::Suspect { .. });
                if self.peers.get(&node).is_some_and(suspect) {
                    self.miss(&node, now, out);
                }
            }
            Input::Answered { node, query, found } => self.answered(&node, query, found, now, out),
            Input::DoubtSettled => {
                self.ask_all(false, now, out);
                let until = Some(now.plus(self.patience));
                for peer in self.peers.values_mut() {
                    if let Link::Up(Some(question)) = &mut peer.link {
                        question.until = question.until.or(until);
                    }
                }
                self.adopting.get_or_insert_default();
            }
            Input::RivalGone => {
                for peer in self.peers.values_mut() {
                    if let Link::Up(Some(question)) = &mut peer.link {
                        question.repeat = true;
                    }
                }
                self.ask_all(true, now, out);
            }
            Input::DeadlineReached => self.deadline_reached(now, out),
        }
        self.reconsider(now, out);
        self.finish_adoption(now, out);
    }

    /// When [`Input::DeadlineReached`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Monotonic> {
        let due = |peer: &Peer| match peer.link {
            Link::Suspect { until, .. } => Some(until),
            Link::Up(Some(question)) => question.until.into_iter().chain(question.ask_again).min(),
            Link::Held { due } if !self.paused => Some(due),
            Link::Up(None) | Link::Held { .. } => None,
        };
        let own = [self.next_sweep, self.resume_at, self.settled_at.filter(|_| self.adopting.is_some())];
        self.peers.values().filter_map(due).chain(own.into_iter().flatten()).min()
    }

    /// Whether an instance in this life of the node may be alive and in reach.
    pub(crate) fn is_present(&self, node: &NodeId, incarnation: Incarnation) -> bool {
        self.peers.get(node).is_some_and(|peer| peer.incarnation == incarnation)
    }

    /// Whether its connection was lost and nothing is decided.
    pub(crate) fn is_suspect(&self, node: &NodeId) -> bool {
        self.peers.get(node).is_some_and(|peer| match peer.link {
            Link::Suspect { .. } | Link::Held { .. } => true,
            Link::Up(question) => question.is_some_and(|q| q.purpose == Purpose::Readopt),
        })
    }

    /// Nodes on which children can be started.
    pub(crate) fn is_up(&self, node: &NodeId) -> bool {
        self.is_known(node) && !self.is_suspect(node)
    }

    fn is_known(&self, node: &NodeId) -> bool {
        self.peers.contains_key(node)
    }

    fn up(&mut self, node: NodeId, incarnation: Incarnation, now: Monotonic, out: &mut Outputs) {
        let known = self.peers.get(&node).copied();
        let mut question = Question {
            number: 0,
            purpose: Purpose::Reconcile,
            since: now,
            until: Some(now.plus(self.patience)),
            ask_again: None,
            repeat: false,
        };
        match known {
            Some(peer) if peer.incarnation == incarnation => {
                let since = match peer.link {
                    Link::Suspect { since, .. } => since,
                    Link::Held { .. } => now,
                    Link::Up(_) => {
                        out.push_back(Output::Suspect { node: node.clone() });
                        now
                    }
                };
                question.purpose = Purpose::Readopt;
                question.repeat = true;
                question.since = since;
                let latest = since.plus(self.grace * 2);
                question.until = Some(now.plus(self.grace).min(latest));
            }
            Some(_) => self.lose(&node, Loss::Crash, out),
            None => {}
        }
        self.standing.up(&node);
        self.ask(&node, &mut question, now, out);
        self.peers.insert(node, Peer { incarnation, link: Link::Up(Some(question)) });
    }

    /// Asks every node that is not being asked.
    fn ask_all(&mut self, repeat: bool, now: Monotonic, out: &mut Outputs) {
        let idle = |peer: &Peer| matches!(peer.link, Link::Up(None));
        let nodes: Vec<NodeId> =
            self.peers.iter().filter(|(_, peer)| idle(peer)).map(|(node, _)| node.clone()).collect();
        for node in nodes {
            let purpose = Purpose::Reconcile;
            let mut question =
                Question { number: 0, purpose, since: now, until: None, ask_again: None, repeat };
            self.ask(&node, &mut question, now, out);
            if let Some(peer) = self.peers.get_mut(&node) {
                peer.link = Link::Up(Some(question));
            }
        }
    }

    fn ask(&mut self, node: &NodeId, question: &mut Question, now: Monotonic, out: &mut Outputs) {
        question.number = self.next_query;
        question.ask_again = None;
        self.next_query += 1;
        let timeout = match (question.purpose, question.until) {
            (Purpose::Readopt | Purpose::Reconcile, Some(until)) => until.since(now),
            (Purpose::Readopt, None) => self.grace,
            (Purpose::Reconcile, None) => self.patience,
        };
        out.push_back(Output::Query { node: node.clone(), query: question.number, timeout });
    }

    fn down(
        &mut self,
        node: &NodeId,
        incarnation: Incarnation,
        reason: NodeDownReason,
        now: Monotonic,
        out: &mut Outputs,
    ) {
        let Some(peer) = self.peers.get_mut(node).filter(|peer| peer.incarnation == incarnation) else {
            return;
        };
        match reason {
            NodeDownReason::ConnectionClosed => {
                let since = match peer.link {
                    Link::Suspect { .. } | Link::Held { .. } => return,
                    Link::Up(Some(Question { purpose: Purpose::Readopt, since, .. })) => since,
                    Link::Up(_) => now,
                };
                let until = now.plus(self.grace).min(since.plus(self.grace * 2));
                peer.link = Link::Suspect { since, until, closed: now };
                out.push_back(Output::Suspect { node: node.clone() });
            }
            NodeDownReason::HeartbeatTimeout | NodeDownReason::ConnectionRefused => {
                self.miss(node, now, out);
            }
            NodeDownReason::GracefulShutdown => {
                self.standing.left(node);
                self.lose(node, Loss::Goodbye, out);
            }
        }
    }

    /// It is out of reach, and whether it lives is not known.
    fn miss(&mut self, node: &NodeId, now: Monotonic, out: &mut Outputs) {
        self.standing.lost(node, now);
        self.reconsider(now, out);
        if self.hold.is_zero() && !self.paused {
            return self.lose(node, Loss::Crash, out);
        }
        if let Some(peer) = self.peers.get_mut(node) {
            let noticed = match peer.link {
                // It is noticed there by silence, at the latest.
                Link::Suspect { closed, .. } => now.max(closed.plus(self.patience)),
                Link::Up(_) | Link::Held { .. } => now,
            };
            peer.link = Link::Held { due: noticed.plus(self.hold) };
            out.push_back(Output::Suspect { node: node.clone() });
        }
    }

    fn lose(&mut self, node: &NodeId, loss: Loss, out: &mut Outputs) {
        if self.peers.remove(node).is_some() {
            out.push_back(Output::Lost { node: node.clone(), loss });
        }
    }

    fn answered(
        &mut self,
        node: &NodeId,
        query: u64,
        found: Option<Vec<Found>>,
        now: Monotonic,
        out: &mut Outputs,
    ) {
        let Some(Peer { link: Link::Up(asked), .. }) = self.peers.get_mut(node) else { return };
        let Some(question) = asked.as_mut().filter(|question| question.number == query) else { return };
        let Some(found) = found else {
            question.ask_again = Some(now.plus(ASK_AGAIN));
            return;
        };
        let purpose = question.purpose;
        if question.repeat {
            question.purpose = Purpose::Reconcile;
            (question.until, question.ask_again) = (None, Some(now.plus(self.grace)));
            question.repeat = false;
        } else {
            *asked = None;
        }
        let readopts = self.begun && purpose == Purpose::Readopt;
        if self.adopting.is_none() || readopts {
            out.push_back(Output::Told { node: node.clone(), purpose, found: found.clone() });
        }
        if let Some(adopted) = &mut self.adopting {
            // The latest answer of a node counts.
            adopted.retain(|earlier| earlier.pid.node_id() != node);
            adopted.extend(found);
        }
        out.push_back(Output::Available);
    }
}

#[cfg(test)]
mod tests;
