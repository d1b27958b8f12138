//! Many membership machines in one thread, and a seeded network between them.
//!
//! | Room | Holds |
//! |---|---|
//! | `mod` | the world: time, events, what a node does |
//! | `net` | the network: who reaches whom, how long it takes, what is lost |
//! | `sessions` | dials, ups and downs, heartbeats and silence |
//! | `chaos` | many seeds of trouble, with the invariants checked at each step |
//! | `scale` | how long views take to agree and what it costs, from ten nodes to thousands |
//!
//! The sessions are a model, as their own simulation is elsewhere: a dial that gets through is a session, at both ends, a
//! little later; one that finds another session of the pair ends there; a session ends when an end hears nothing for
//! interval × threshold, or the other end closes it. Hints and questions come late, twice, in another order, or not at
//! all, which TCP would not do to them.

mod chaos;
mod net;
mod scale;
mod sessions;

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, VecDeque},
    time::Duration,
};

use noex_actors::{Incarnation, Monotonic, NodeDownReason, NodeId};

use self::net::{Bytes, Network};
use super::{
    DialOutcome, Input, Load, MAX_KNOWN, Membership, NodeStatus, Output, Target, View, gossip::MAX_TOLD,
};
use crate::{
    config::{ClusterConfig, Seed},
    machine::backoff::Entropy,
    wire::limits::MAX_HINTS,
};

type Ms = u64;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Beat { at: usize, life: u64 },
    Alarm { at: usize, life: u64 },
    Dialled { from: usize, life: u64, target: Target, to: usize },
    Up { at: usize, peer: usize, session: u32, count: u32, digest: u64 },
    Closed { at: usize, peer: usize, session: u32 },
    Hint { to: usize, from: usize, session: u32, nodes: Vec<(NodeId, Incarnation)> },
    Asked { of: usize, by: usize, session: u32, known: Vec<u64> },
    Trouble,
}

struct Node {
    id: NodeId,
    life: u64,
    alive: bool,
    /// Does nothing until then.
    frozen_until: Ms,
    membership: Membership,
    alarm: Option<Ms>,
    dialling: BTreeSet<Target>,
}

/// One end of a pair.
#[derive(Clone, Copy, Default)]
struct End {
    /// The session that is up here; 0: none.
    session: u32,
    last_heard: u32,
}

struct World {
    seed: u64,
    now: Ms,
    order: u64,
    dice: Entropy,
    events: BinaryHeap<Reverse<(Ms, u64, Event)>>,
    config: ClusterConfig,
    nodes: Vec<Node>,
    ends: Vec<End>,
    /// The session of a pair, from its dial until it is closed at one end.
    pairs: Vec<u32>,
    next_session: u32,
    living: u64,
    /// What nodes tell each other is dropped, while a world is being built.
    mute: bool,
    net: Network,
    /// Ordered pairs of living nodes whose session is up with the life of today.
    agreeing: u64,
    /// Sessions with what is dead, or was an earlier life.
    stale: BTreeSet<(usize, usize)>,
    downs: u64,
    dials: u64,
    bytes: Bytes,
}

fn index(id: &NodeId) -> usize {
    id.name()[1..].parse().unwrap()
}

impl World {
    fn new(seed: u64, n: usize, config: ClusterConfig) -> Self {
        let mut dice = Entropy::new(seed);
        let id = |n: usize| NodeId::new(&format!("n{n}"), "10.0.0.1", 4369).unwrap();
        let node = |n: usize, entropy: u64| {
            let id = id(n);
            let membership = Membership::new(id.clone(), Incarnation(1), &config, entropy);
            let (dialling, alarm) = (BTreeSet::new(), None);
            Node { id, life: 1, alive: false, frozen_until: 0, membership, alarm, dialling }
        };
        let nodes = (0..n).map(|at| node(at, dice.draw())).collect();
        Self {
            seed,
            now: 1,
            order: 0,
            dice,
            events: BinaryHeap::new(),
            config: config.clone(),
            nodes,
            ends: vec![End::default(); n * n],
            pairs: vec![0; n * n],
            next_session: 1,
            living: 0,
            mute: false,
            net: Network::new(n),
            agreeing: 0,
            stale: BTreeSet::new(),
            downs: 0,
            dials: 0,
            bytes: Bytes::new(n),
        }
    }

    fn roll(&mut self, below: u64) -> u64 {
        self.dice.roll(below)
    }

    fn interval(&self) -> Ms {
        u64::try_from(self.config.heartbeat_interval().as_millis()).unwrap()
    }

    fn silence(&self) -> Ms {
        u64::try_from(self.config.detection_time().as_millis()).unwrap()
    }

    fn end(&self, at: usize, peer: usize) -> &End {
        &self.ends[at * self.nodes.len() + peer]
    }

    fn end_mut(&mut self, at: usize, peer: usize) -> &mut End {
        let n = self.nodes.len();
        &mut self.ends[at * n + peer]
    }

    fn pair(&mut self, a: usize, b: usize) -> &mut u32 {
        let n = self.nodes.len();
        &mut self.pairs[a.min(b) * n + a.max(b)]
    }

    fn after(&mut self, delay: Ms, event: Event) {
        self.order += 1;
        self.events.push(Reverse((self.now + delay, self.order, event)));
    }

    /// How long one message takes on its way, in ms.
    fn latency(&mut self) -> Ms {
        1 + self.roll(self.net.latency)
    }

    /// Starts a node, or the next life of one, that knows these seeds.
    fn start(&mut self, at: usize, seeds: &[usize]) {
        let seeds: Vec<Seed> = seeds.iter().map(|seed| Seed::Node(self.nodes[*seed].id.clone())).collect();
        let life = self.nodes[at].life;
        self.nodes[at].alive = true;
        self.living += 1;
        let beat = self.roll(self.interval());
        self.after(beat, Event::Beat { at, life });
        self.give(at, Input::SeedsKnown { seeds });
    }

    /// The process is gone; `silently`: its host too, so that nobody hears of it.
    fn crash(&mut self, at: usize, silently: bool) {
        let entropy = self.dice.draw();
        self.living -= 1;
        let node = &mut self.nodes[at];
        (node.alive, node.alarm, node.frozen_until) = (false, None, 0);
        node.life += 1;
        node.dialling.clear();
        let life = Incarnation(node.life);
        node.membership = Membership::new(node.id.clone(), life, &self.config, entropy);
        for peer in 0..self.nodes.len() {
            let own = std::mem::take(self.end_mut(at, peer)).session;
            if own != 0 && !self.stale.remove(&(at, peer)) {
                self.agreeing -= 1;
            }
            let theirs = self.end(peer, at).session;
            if theirs != 0 && self.stale.insert((peer, at)) {
                self.agreeing -= 1;
            }
            if theirs == 0 {
                *self.pair(at, peer) = 0; // nobody is left to close it
            }
            let session = *self.pair(at, peer);
            if session != 0 && !silently && self.net.reaches(at, peer) {
                let delay = self.latency();
                self.after(delay, Event::Closed { at: peer, peer: at, session });
            }
        }
    }

    /// Whether every living node is connected to every other one as it is today, and to nobody else.
    fn agree(&self) -> bool {
        self.stale.is_empty() && self.agreeing == self.living * (self.living - 1)
    }

    /// Who misses whom, for a failure.
    fn disagreement(&self) -> String {
        let pairs = (0..self.nodes.len()).flat_map(|a| (0..self.nodes.len()).map(move |b| (a, b)));
        let missing = pairs.filter(|(a, b)| a != b && self.end(*a, *b).session == 0);
        let tell = |(a, b): (usize, usize)| {
            let (from, to) = (&self.nodes[a], &self.nodes[b].id);
            let known = from.membership.members().get(to).map(|member| (member.status, member.incarnation));
            format!("{a} misses {b} ({known:?}, dials {:?})", from.dialling)
        };
        let missing: Vec<String> = missing.take(5).map(tell).collect();
        format!("{} (stale: {:?})", missing.join(", "), self.stale)
    }

    fn give(&mut self, at: usize, input: Input) {
        let mut out = VecDeque::new();
        let now = Monotonic::from_millis(self.now);
        self.nodes[at].membership.handle(input, now, &mut out);
        self.nodes[at].membership.drain_changed();
        for output in out {
            self.perform(at, output);
        }
        let deadline = self.nodes[at].membership.deadline();
        let due = deadline.map(|at| (at.as_nanos().div_ceil(1_000_000)).max(self.now));
        let node = &self.nodes[at];
        if let Some(due) = due.filter(|due| node.alarm.is_none_or(|set| set > *due)) {
            let life = node.life;
            self.nodes[at].alarm = Some(due);
            self.after(due - self.now, Event::Alarm { at, life });
        }
    }

    fn perform(&mut self, at: usize, output: Output) {
        let seed = self.seed;
        match output {
            Output::SendHint { .. } | Output::Ask { .. } if self.mute => {}
            Output::Dial { target } => self.dial(at, target),
            Output::SendHint { to, nodes } => {
                let to = index(&to);
                let session = self.end(at, to).session;
                assert_ne!(session, 0, "seed {seed}: a hint to somebody who is not connected");
                assert!(!nodes.is_empty() && nodes.len() <= MAX_HINTS, "seed {seed}");
                for (id, life) in &nodes {
                    let member = &self.nodes[at].membership.members()[id];
                    let connected = member.status == NodeStatus::Connected && member.incarnation == *life;
                    assert!(connected && index(id) != to, "seed {seed}: a hint about somebody else");
                }
                self.bytes.hints(at, &nodes);
                for delay in self.carried(at, to) {
                    let nodes = nodes.clone();
                    self.after(delay, Event::Hint { to, from: at, session, nodes });
                }
            }
            Output::Ask { peer, known } => {
                let of = index(&peer);
                let session = self.end(at, of).session;
                assert_ne!(session, 0, "seed {seed}: a question to somebody who is not connected");
                self.bytes.question(at, &known);
                for delay in self.carried(at, of) {
                    let known = known.clone();
                    self.after(delay, Event::Asked { of, by: at, session, known });
                }
            }
            Output::NodeUp { node, incarnation } => {
                let peer = index(&node);
                let today = self.nodes[peer].alive && self.nodes[peer].life == incarnation.0;
                if today {
                    self.agreeing += 1;
                } else {
                    self.stale.insert((at, peer));
                }
            }
            Output::NodeDown { node, .. } => {
                let peer = index(&node);
                self.downs += 1;
                if !self.stale.remove(&(at, peer)) {
                    self.agreeing -= 1;
                }
            }
            Output::Forgotten { node } => {
                assert!(!self.nodes[at].membership.members().contains_key(&node), "seed {seed}");
            }
        }
    }

    fn step(&mut self, event: Event) {
        let is = |world: &Self, at: usize, life: u64| world.nodes[at].alive && world.nodes[at].life == life;
        match event {
            Event::Beat { at, life } if is(self, at, life) => self.beat(at, life),
            Event::Alarm { at, life } if is(self, at, life) => {
                self.nodes[at].alarm = None;
                self.give(at, Input::DeadlineReached);
            }
            Event::Dialled { from, life, target, to } if is(self, from, life) => {
                self.dialled(from, target, to);
            }
            Event::Up { at, peer, session, count, digest } => {
                self.up(at, peer, session, View { count, digest });
            }
            Event::Closed { at, peer, session } => {
                if self.end(at, peer).session == session {
                    if *self.pair(at, peer) == session {
                        *self.pair(at, peer) = 0;
                    }
                    self.down(at, peer, NodeDownReason::ConnectionClosed);
                } else if *self.pair(at, peer) == session {
                    *self.pair(at, peer) = 0; // it was not up here yet
                }
            }
            Event::Hint { to, from, session, nodes } if self.end(to, from).session == session => {
                let from = self.nodes[from].id.clone();
                self.give(to, Input::HintReceived { from, nodes });
            }
            Event::Asked { of, by, session, known } if self.end(of, by).session == session => {
                let by = self.nodes[by].id.clone();
                self.give(of, Input::Asked { by, known });
            }
            Event::Trouble => self.trouble(),
            _ => {}
        }
    }

    /// Runs until then, or until `done`; false if it was not.
    fn run_until(&mut self, end: Ms, done: impl Fn(&Self) -> bool) -> bool {
        while self.events.peek().is_some_and(|Reverse((at, _, _))| *at <= end) {
            let Some(Reverse((at, _, event))) = self.events.pop() else { break };
            self.now = at;
            self.step(event);
            if done(self) {
                return true;
            }
        }
        self.now = end;
        false
    }
}
