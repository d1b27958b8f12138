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
//! Invariants: 1. `Lost` is said once per loss; 2. a node is `Lost` at the latest two intervals after its connection
//! closed unless it answered, intervals in which the supervisor itself stood still not counted; 3. every `Up` node is
//! asked when it comes up and once per interval × threshold; 4. an adoption ends within interval × threshold and two
//! intervals for each connection that was lost meanwhile.
//!
//! Source: the design's rule "Failover".

mod adoption;
mod deadlines;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use noex_actors::{Incarnation, Monotonic, NodeDownReason, NodeId};

use super::{
    Found,
    supervision::{Loss, Purpose},
};

/// How long after a question that failed the next one is asked.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Facts.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// The supervisor starts among these nodes, itself included.
    Started {
        nodes: Vec<(NodeId, Incarnation)>,
    },
    NodeUp {
        node: NodeId,
        incarnation: Incarnation,
    },
    NodeDown {
        node: NodeId,
        incarnation: Incarnation,
        reason: NodeDownReason,
    },
    DialRefused {
        node: NodeId,
    },
    /// `None`: it did not answer.
    Answered {
        node: NodeId,
        query: u64,
        found: Option<Vec<Found>>,
    },
    /// Another supervisor of this name gave up: all nodes are asked.
    RivalGone,
    /// No other supervisor has the name, whatever was seen: all nodes are asked as at the start.
    DoubtSettled,
    DeadlineReached,
}

/// Commands and verdicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Ask the node for the instances of this supervisor; comes back as `Answered`.
    Query {
        node: NodeId,
        query: u64,
        timeout: Duration,
    },
    /// All that were asked have answered, or had their time.
    Adopt {
        found: Vec<Found>,
    },
    Suspect {
        node: NodeId,
    },
    Lost {
        node: NodeId,
        loss: Loss,
    },
    Told {
        node: NodeId,
        purpose: Purpose,
        found: Vec<Found>,
    },
    /// The node may be given children that wait for it.
    Available,
}

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
    Suspect { since: Monotonic, until: Monotonic },
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
    /// Interval × threshold. Everybody is asked that often, whatever happened: what went wrong unseen is found. And a
    /// connected node that does not answer is waited for that long: had it died, it would be known by then.
    patience: Duration,
    next_sweep: Option<Monotonic>,
    peers: BTreeMap<NodeId, Peer>,
    next_query: u64,
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
            patience,
            next_sweep: None,
            peers: BTreeMap::new(),
            next_query: 0,
            adopting: None,
            begun: false,
        }
    }

    /// Takes a fact.
    pub(crate) fn handle(&mut self, input: Input, now: Monotonic, out: &mut Outputs) {
        match input {
            Input::Started { nodes } => {
                self.adopting = Some(Vec::new());
                self.next_sweep = Some(now.plus(self.patience));
                for (node, incarnation) in nodes {
                    self.up(node, incarnation, now, out);
                }
            }
            Input::NodeUp { node, incarnation } => self.up(node, incarnation, now, out),
            Input::NodeDown { node, incarnation, reason } => self.down(&node, incarnation, reason, now, out),
            Input::DialRefused { node } => {
                let suspect = |peer: &Peer| matches!(peer.link, Link::Suspect { .. });
                if self.peers.get(&node).is_some_and(suspect) {
                    self.lose(&node, Loss::Crash, out);
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
        self.finish_adoption(out);
    }

    /// When [`Input::DeadlineReached`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Monotonic> {
        let due = |peer: &Peer| match peer.link {
            Link::Suspect { until, .. } => Some(until),
            Link::Up(Some(question)) => question.until.into_iter().chain(question.ask_again).min(),
            Link::Up(None) => None,
        };
        self.peers.values().filter_map(due).chain(self.next_sweep).min()
    }

    /// Whether an instance in this life of the node may be alive and in reach.
    pub(crate) fn is_present(&self, node: &NodeId, incarnation: Incarnation) -> bool {
        self.peers.get(node).is_some_and(|peer| peer.incarnation == incarnation)
    }

    /// Whether its connection was lost and nothing is decided.
    pub(crate) fn is_suspect(&self, node: &NodeId) -> bool {
        self.peers.get(node).is_some_and(|peer| match peer.link {
            Link::Suspect { .. } => true,
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
                    Link::Suspect { .. } => return,
                    Link::Up(Some(Question { purpose: Purpose::Readopt, since, .. })) => since,
                    Link::Up(_) => now,
                };
                let until = now.plus(self.grace).min(since.plus(self.grace * 2));
                peer.link = Link::Suspect { since, until };
                out.push_back(Output::Suspect { node: node.clone() });
            }
            NodeDownReason::HeartbeatTimeout | NodeDownReason::ConnectionRefused => {
                self.lose(node, Loss::Crash, out);
            }
            NodeDownReason::GracefulShutdown => self.lose(node, Loss::Goodbye, out),
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
