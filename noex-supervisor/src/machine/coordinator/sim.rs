//! One supervisor machine and a handful of imagined nodes that crash, freeze, lose connections and replies, leave and
//! come back. Now and then the supervisor is killed, or loses its name to another one, which takes over what it left; in `home`
//! with its node.
//! Whatever happens, when it is quiet again each child runs exactly once, everybody was started after whatever the strategy
//! says concerned him, and each cause was counted once.

mod home;
mod loser;
mod mishaps;
mod nodes;
mod partition;
mod takeover;
mod two_sides;

use std::collections::{BTreeMap, BTreeSet};

use noex_actors::{ExitReason, Generation, Incarnation, NodeDownReason, Owner, Pid};
use proptest::prelude::*;

use self::{loser::Loser, partition::Terms};
use super::*;
use crate::{
    machine::{
        Found,
        placement::{Candidate, Order, Placement, Selector},
        plan::concerned,
        policy::{Stop, is_cleared_away, superseded},
        rebalance::{Movable, moves},
        supervision::{Cause, Failure, Output as Command, Report, Rule, Scope, Settings, State},
    },
    options::{AutoShutdown, Backoff, Restart, RestartIntensity, Shutdown, Strategy},
};
use std::time::Duration;

const INTERVAL: Duration = Duration::from_millis(200);

/// splitmix64: the whole run follows from the seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }
}

#[derive(Clone, Debug)]
struct Process {
    child: String,
    generation: Generation,
    /// The supervisor that started it.
    era: u64,
    watched: bool,
}

#[derive(Debug)]
struct Node {
    incarnation: u64,
    alive: bool,
    frozen: bool,
    /// No message passes between it and the supervisor's node, since then.
    cut: Option<Monotonic>,
    /// What it had to say meanwhile.
    unsent: Vec<Event>,
    /// When it noticed, or will, that it does not have those in reach whom its instances depend on.
    alone: Option<Monotonic>,
    /// The highest term of a supervisor that it heard of.
    term: u64,
    /// The session with the supervisor's node, as both ends know it.
    connected: bool,
    session: u64,
    /// Answers to the supervisor that were lost, one after the other.
    lost_answers: u32,
    processes: BTreeMap<Pid, Process>,
}

/// What is on its way.
#[derive(Clone, Debug)]
enum Event {
    Fact(Input),
    /// For the supervisor before this one, which lost its name.
    Old(Box<Event>),
    /// By which supervisor it was ordered.
    Spawn {
        node: NodeId,
        session: u64,
        child: String,
        generation: Generation,
        era: u64,
    },
    Spawned {
        session: u64,
        child: String,
        generation: Generation,
        pid: Pid,
    },
    Told {
        node: NodeId,
        session: u64,
        query: u64,
        /// That of the one that asks.
        term: u64,
    },
    StopAt {
        node: NodeId,
        session: u64,
        pid: Pid,
        how: Stop,
        reason: ExitReason,
    },
    Watch {
        node: NodeId,
        session: u64,
        pid: Pid,
    },
    /// All say who has the name.
    Owners,
    Reconnect {
        node: NodeId,
    },
    Restart {
        node: NodeId,
    },
    Thaw {
        node: NodeId,
    },
    /// The supervisor's node was silent for too long.
    Dropped {
        node: NodeId,
        session: u64,
    },
    LagEnds,
    Join {
        node: NodeId,
    },
    /// It was not heard of for as long: frozen, or cut off since then.
    Silence {
        node: NodeId,
        session: u64,
        cut: Option<Monotonic>,
    },
}

struct World {
    dice: Dice,
    now: Monotonic,
    queue: BTreeMap<(Monotonic, u64), Event>,
    sequence: u64,
    nodes: BTreeMap<NodeId, Node>,
    machine: Coordinator,
    placement: Placement,
    in_flight: BTreeSet<String>,
    numbers: u64,
    ever: BTreeMap<(String, Generation, u64), Pid>,
    /// What this supervisor started and does not know of yet, with its end if that came first.
    unheard: BTreeMap<Pid, Option<ExitReason>>,
    /// Starts are refused now and then, which would end a supervisor that only begins.
    unlucky: bool,
    ended: bool,
    settings: Settings,
    terms: Terms,
    /// Which supervisor it is, from 0.
    era: u64,
    /// Where it runs.
    home: NodeId,
    /// It stands still until then.
    stalled: Monotonic,
    /// That was for so long that it notices.
    stood_still: bool,
    /// Nobody has its name until then.
    vacant: Monotonic,
    /// How long an order of its may take, in milliseconds.
    lag: u64,
    /// The one before, if it lives.
    loser: Option<Loser>,
    /// So long others speak of another supervisor.
    rumour: Monotonic,
    /// Not every child was started once.
    starting: bool,
    /// The highest term that nodes told this supervisor of.
    heard: u64,
    /// When each instance was started, and by which supervisor.
    born: BTreeMap<Pid, (Monotonic, u64)>,
    /// What happened to whom, and when.
    causes: Vec<(BTreeSet<String>, Monotonic)>,
    children: u64,
    made: u64,
}

fn rule(id: String) -> Rule {
    let pinned = id == "c0";
    let shutdown = Shutdown::Timeout(Duration::from_millis(300));
    Rule { id, restart: Restart::Permanent, shutdown, pinned, significant: false }
}

/// The children that it begins with.
fn rules(strategy: Strategy, children: u64) -> Vec<Rule> {
    let children = if strategy == Strategy::SimpleOneForOne { 0 } else { children };
    (0..children).map(|n| rule(format!("c{n}"))).collect()
}

fn node(index: u64) -> NodeId {
    NodeId::new(&format!("n{index}"), "127.0.0.1", 4369).unwrap()
}

/// Supervisors one after the other, in whatever order of pids.
fn owner(era: u64) -> Owner {
    Owner(Pid::new(node(0), Incarnation(1), era * 7919 % 101))
}

impl World {
    fn new(seed: u64, nodes: u64, children: u64, strategy: Strategy, terms: Terms) -> Self {
        let settings = Settings {
            strategy,
            auto_shutdown: AutoShutdown::Never,
            intensity: RestartIntensity { max_restarts: 1000, within: Duration::from_secs(1) },
            backoff: Backoff::default(),
            pace: Duration::from_millis(1),
            scope: Scope::Cluster,
            unix_seconds: 1000,
        };
        let fresh = |_| Node {
            incarnation: 1,
            alive: true,
            frozen: false,
            cut: None,
            unsent: Vec::new(),
            alone: None,
            term: 0,
            connected: true,
            session: 1,
            lost_answers: 0,
            processes: BTreeMap::new(),
        };
        let mut world = Self {
            dice: Dice(seed),
            now: Monotonic::from_millis(1),
            queue: BTreeMap::new(),
            sequence: 0,
            nodes: (0..nodes).map(|n| (node(n), fresh(n))).collect(),
            machine: Coordinator::new(
                Supervision::new(settings, rules(strategy, children)).owned_by(owner(0)),
                terms.failover(),
            ),
            placement: Placement::default(),
            in_flight: BTreeSet::new(),
            numbers: 0,
            ever: BTreeMap::new(),
            unheard: BTreeMap::new(),
            unlucky: false,
            ended: false,
            settings,
            terms,
            era: 0,
            home: node(0),
            stalled: Monotonic::ZERO,
            stood_still: false,
            vacant: Monotonic::ZERO,
            lag: 8,
            loser: None,
            rumour: Monotonic::ZERO,
            starting: true,
            heard: 0,
            born: BTreeMap::new(),
            causes: Vec::new(),
            children,
            made: 0,
        };
        world.begin();
        world
    }

    /// The supervisor begins; children of a template are asked for.
    fn begin(&mut self) {
        let connected = self.nodes.iter().filter(|(_, node)| node.connected);
        let nodes = connected.map(|(id, node)| (id.clone(), Incarnation(node.incarnation))).collect();
        let lost = |node: &&Node| !node.connected;
        let missing = self.nodes.iter().filter(|(_, node)| lost(node)).map(|(id, _)| id.clone()).collect();
        self.step(Input::Node(failover::Input::Started { nodes, missing }));
        if self.settings.strategy == Strategy::SimpleOneForOne {
            for _ in 0..self.children {
                self.made += 1;
                let rule = rule(format!("child_{}", self.made));
                let fact = supervision::Input::AddRequested { request: self.made, rule };
                self.step(Input::Child(fact));
            }
        }
    }

    /// The supervisor is killed, or beaten to its name; its children run on, and the next one of its name begins.
    fn replace(&mut self) {
        // Children of a template are stopped by the supervisor that loses its name: nothing to see here.
        let beaten = self.settings.strategy != Strategy::SimpleOneForOne && self.dice.roll(2) == 0;
        self.succeed(beaten, &self.home.clone());
        self.thaw_loser();
    }

    /// The next supervisor begins, once it has the name. The one before it, which ran there, may live.
    fn succeed(&mut self, beaten: bool, home: &NodeId) {
        // Also in the same second.
        self.settings.unix_seconds += self.dice.roll(3);
        let rules = rules(self.settings.strategy, self.children);
        let supervision = Supervision::new(self.settings, rules).owned_by(owner(self.era + 1));
        let next = Coordinator::new(supervision, self.terms.failover());
        let last = std::mem::replace(&mut self.machine, next);
        self.loser = beaten.then(|| Loser::new(last, home.clone()));
        self.stalled = self.now.max(self.vacant);
        self.stood_still = false;
        self.era += 1;
        self.heard = 0;
        self.starting = true;
        self.in_flight.clear();
        self.unheard.clear();
        self.causes.clear();
        // What was on its way to the other one is lost with it, what was on its way from it is not.
        self.queue.retain(|_, event| !matches!(event, Event::Old(_)));
        for event in self.queue.values_mut() {
            let is_its =
                matches!(event, Event::Fact(_) | Event::Spawned { .. } | Event::Told { .. } | Event::Owners);
            if beaten && is_its {
                *event = Event::Old(Box::new(event.clone()));
            }
        }
        self.queue.retain(|_, event| match event {
            Event::Fact(_)
            | Event::Spawned { .. }
            | Event::Told { .. }
            | Event::Watch { .. }
            | Event::Owners => false,
            Event::Old(_)
            | Event::Spawn { .. }
            | Event::StopAt { .. }
            | Event::Reconnect { .. }
            | Event::Restart { .. }
            | Event::Thaw { .. }
            | Event::Dropped { .. }
            | Event::LagEnds
            | Event::Join { .. }
            | Event::Silence { .. } => true,
        });
        for process in self.nodes.values_mut().flat_map(|node| node.processes.values_mut()) {
            process.watched = false;
        }
        self.begin();
    }

    /// Whom the end of these children concerns.
    fn concerned(&self, ids: &[String]) -> BTreeSet<String> {
        let children: Vec<&str> =
            self.machine.supervision().children().map(|child| child.rule.id.as_str()).collect();
        let places = ids.iter().filter_map(|id| children.iter().position(|child| child == id));
        let first = places.min().and_then(|at| concerned(self.settings.strategy, at as u64));
        match first {
            None => ids.iter().cloned().collect(),
            Some(range) => {
                let behind = &children[usize::try_from(range.start).unwrap()..];
                behind.iter().map(|child| (*child).to_owned()).collect()
            }
        }
    }

    fn later(&mut self, millis: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now.plus(Duration::from_millis(millis)), self.sequence), event);
    }

    fn soon(&mut self, event: Event) {
        let delay = self.dice.roll(8);
        self.later(delay, event);
    }

    fn child(&mut self, fact: supervision::Input) {
        self.soon(Event::Fact(Input::Child(fact)));
    }

    fn step(&mut self, input: Input) {
        if self.now < self.stalled {
            return self.when_it_goes_on(Event::Fact(input));
        }
        if std::mem::take(&mut self.stood_still) {
            self.step(Input::StoodStill);
        }
        if let Input::Child(supervision::Input::ChildExited { pid, reason, .. }) = &input
            && let Some(end) = self.unheard.get_mut(pid)
        {
            end.get_or_insert(reason.clone());
            return;
        }
        let started = match &input {
            Input::Child(supervision::Input::StartSucceeded { child, pid, .. }) => {
                Some((child.clone(), pid.clone()))
            }
            _ => None,
        };
        if let Input::Child(supervision::Input::Seen { term }) = &input {
            self.heard = self.heard.max(*term);
        }
        let entropy = self.dice.roll(u64::MAX);
        let mut out = VecDeque::new();
        if let Input::Child(
            supervision::Input::StartSucceeded { child, .. } | supervision::Input::StartFailed { child, .. },
        ) = &input
        {
            assert!(self.in_flight.remove(child), "an answer without a start");
        }
        let supervision = self.machine.supervision();
        let (counted, mut causes, mut failed) = (supervision.counted(), 0, 0);
        let was_sure = supervision.counts();
        if let Input::Child(supervision::Input::ChildExited { child, pid, reason }) = &input
            && *reason != ExitReason::NoConnection
            && supervision.is_cause(child, pid)
        {
            // What the loser stopped did not fail.
            causes += u64::from(!is_cleared_away(reason));
            self.causes.push((self.concerned(std::slice::from_ref(child)), self.now));
        }
        self.machine.handle(input, self.now, entropy, &mut out);
        for command in &out {
            match command {
                Output::Child(Command::Report(Report::NodeFailure { affected, .. })) => {
                    // In doubt it is not its to count.
                    causes += u64::from(was_sure && self.machine.supervision().is_sure());
                    // Alone, it may be found alive where it was.
                    if self.settings.strategy != Strategy::OneForOne {
                        self.causes.push((self.concerned(affected), self.now));
                    }
                }
                Output::Child(Command::Report(Report::StartFailed { child, .. })) => {
                    // One that was just asked for is given up, which counts nothing; nor does anything in doubt.
                    failed += u64::from(was_sure && self.machine.supervision().child(child).is_some());
                }
                _ => {}
            }
        }
        let counted = self.machine.supervision().counted() - counted;
        match self.settings.strategy {
            Strategy::OneForAll | Strategy::RestForOne => assert_eq!(counted, causes + failed),
            // Several failed starts may be one wave of one cause.
            Strategy::OneForOne | Strategy::SimpleOneForOne => {
                let allowed = causes..=causes + failed;
                assert!(allowed.contains(&counted), "{counted} counted, {allowed:?} expected: {out:?}");
            }
        }
        let Some((child, pid)) = started else {
            return out.into_iter().for_each(|command| self.perform(command));
        };
        // It is watched since its start, and its end told after that.
        let end = self.unheard.remove(&pid).flatten();
        out.retain(|command| !matches!(command, Output::Child(Command::Watch { pid: of, .. }) if *of == pid));
        out.into_iter().for_each(|command| self.perform(command));
        if let Some(reason) = end {
            self.step(Input::Child(supervision::Input::ChildExited { child, pid, reason }));
        }
    }

    fn perform(&mut self, command: Output) {
        match command {
            Output::Query { node, query, .. } => {
                let session = self.nodes[&node].session;
                let term = self.machine.supervision().term();
                self.order(Event::Told { node, session, query, term });
            }
            Output::AskOwners { .. } => self.later(2, Event::Owners),
            Output::Yield { to } => panic!("it has the name, and yields to {to}"),
            Output::Child(Command::Start { child, generation, excluded, target, .. }) => {
                assert!(self.in_flight.insert(child.clone()), "two starts of {child} in flight");
                assert!(generation.term() >= self.heard, "{generation} is below term {}", self.heard);
                let candidates: Vec<Candidate> = self
                    .nodes
                    .iter()
                    .filter(|(id, n)| n.connected && self.machine.is_up(id))
                    .map(|(id, n)| Candidate { id: id.clone(), processes: n.processes.len(), told: None })
                    .collect();
                let selector = if child == "c0" { Selector::Node(node(1)) } else { Selector::RoundRobin };
                let entropy = self.dice.roll(1000);
                let order = Order { generation, excluded: &excluded, target: target.as_ref() };
                match self.placement.choose(&selector, &candidates, order, entropy) {
                    Some(target) => {
                        let session = self.nodes[&target].session;
                        let era = self.era;
                        self.order(Event::Spawn { node: target, session, child, generation, era });
                    }
                    None => {
                        let failure = Failure::NoNode;
                        self.child(supervision::Input::StartFailed {
                            child,
                            generation,
                            node: None,
                            failure,
                        });
                    }
                }
            }
            Output::Child(Command::Watch { pid, .. }) => {
                let node = pid.node_id().clone();
                let session = self.nodes[&node].session;
                self.later(0, Event::Watch { node, session, pid });
            }
            Output::Child(Command::Stop { pid, how, cause, .. }) => self.send_stop(pid, how, cause),
            Output::Child(Command::End(_)) => self.ended = true,
            Output::Child(Command::DoubtName) => panic!("the coordinator looks after that"),
            Output::Child(Command::Ready) => self.starting = false,
            Output::Child(Command::Reply { .. } | Command::Report(_) | Command::Forget { .. }) => {}
        }
    }

    fn send_stop(&mut self, pid: Pid, how: Stop, cause: Cause) {
        let (node, reason) = (pid.node_id().clone(), cause.reason());
        let session = self.nodes[&node].session;
        self.order(Event::StopAt { node, session, pid, how, reason });
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Fact(input) => self.step(input),
            Event::Old(event) => self.old_event(*event),
            Event::Spawn { node, session, child, generation, era } => {
                self.spawn(node, session, (child, generation), era);
            }
            Event::Spawned { session, child, generation, pid } => {
                if self.nodes[pid.node_id()].session == session || self.dice.roll(2) == 0 {
                    return self.child(supervision::Input::StartSucceeded { child, generation, pid });
                }
                // The reply was lost with the session, and the instance perhaps with it. Where it must not be left over, it is:
                // nobody confirmed it.
                self.unheard.remove(&pid);
                let processes = &mut self.nodes.get_mut(pid.node_id()).unwrap().processes;
                if self.dice.roll(2) == 0 || self.terms.is_fenced() {
                    processes.remove(&pid);
                } else if let Some(process) = processes.get_mut(&pid) {
                    process.watched = false;
                }
                let (node, failure) = (Some(pid.node_id().clone()), Failure::NodeGone);
                self.child(supervision::Input::StartFailed { child, generation, node, failure });
            }
            Event::Told { node, session, query, term } => {
                let target = &self.nodes[&node];
                if target.is_silent() && target.connected && target.session == session {
                    return self.later(50, Event::Told { node, session, query, term });
                }
                // Not for as long as a node has to answer: then it is taken for lost, which is another matter.
                let lost = self.dice.roll(10) == 0 && target.lost_answers < 2;
                let lost_answers = if lost { target.lost_answers + 1 } else { 0 };
                self.nodes.get_mut(&node).unwrap().lost_answers = lost_answers;
                let seen = self.exchange_term(&node, term);
                let found = self.instances(&node, session).filter(|_| !lost);
                let back = self.dice.roll(8);
                if found.is_some() {
                    self.later(back, Event::Fact(Input::Child(supervision::Input::Seen { term: seen })));
                }
                let answer = failover::Input::Answered { node, query, found };
                self.later(back, Event::Fact(Input::Node(answer)));
            }
            Event::StopAt { node, session, pid, how, reason } => {
                let target = &self.nodes[&node];
                if !target.connected || target.session != session {
                    return;
                }
                if target.is_silent() {
                    return self.later(50, Event::StopAt { node, session, pid, how, reason });
                }
                // One in ten ignores being asked.
                if how == Stop::Kill || self.dice.roll(10) > 0 {
                    self.die(&pid, reason);
                }
            }
            Event::Watch { node, session, pid } => {
                let target = self.nodes.get_mut(&node).unwrap();
                if !target.connected || target.session != session {
                    return;
                }
                if target.cut.is_some() {
                    return self.later(50, Event::Watch { node, session, pid });
                }
                match target.processes.get_mut(&pid) {
                    Some(process) => process.watched = true,
                    None => {
                        let child = self.ever.iter().find(|(_, p)| **p == pid).unwrap().0.0.clone();
                        let reason = ExitReason::NoProc;
                        self.child(supervision::Input::ChildExited { child, pid, reason });
                    }
                }
            }
            // Its own view has nobody else.
            Event::Owners if self.now < self.stalled => self.when_it_goes_on(Event::Owners),
            Event::Owners => self.step(Input::Owners { seen: None, named: self.now < self.rumour }),
            // Its node stands still with it.
            event @ Event::Reconnect { .. } if self.now < self.stalled => {
                let back = u64::try_from(self.stalled.since(self.now).as_millis()).unwrap();
                let back = back + self.dice.roll(100);
                self.later(back, event);
            }
            Event::Reconnect { node } => {
                let target = self.nodes.get_mut(&node).unwrap();
                if !target.alive || target.is_silent() || target.connected {
                    return;
                }
                target.connected = true;
                target.session += 1;
                let incarnation = Incarnation(target.incarnation);
                self.later(0, Event::Fact(Input::Node(failover::Input::NodeUp { node, incarnation })));
            }
            Event::Restart { node } => {
                let target = self.nodes.get_mut(&node).unwrap();
                if !target.alive {
                    target.alive = true;
                    target.term = 0;
                    target.incarnation += 1;
                    self.soon(Event::Reconnect { node });
                }
            }
            // Cut off it would go on under the name, as in `two_sides`.
            event @ Event::Thaw { .. } if self.is_loser_cut_off(&event) => self.later(50, event),
            Event::Thaw { node } => {
                self.nodes.get_mut(&node).unwrap().frozen = false;
                self.check_leases(&node);
                self.soon(Event::Reconnect { node: node.clone() });
                self.thaw_home(&node);
            }
            Event::Dropped { node, session } => {
                if self.nodes[&node].session == session && self.nodes[&node].cut.is_none() {
                    self.disconnect(&node, NodeDownReason::ConnectionClosed);
                    let back = self.dice.roll(100);
                    self.later(back, Event::Reconnect { node });
                }
            }
            Event::LagEnds => self.lag = 8,
            Event::Join { node } => self.join(&node),
            Event::Silence { node, session, cut } => {
                let target = &self.nodes[&node];
                let silent = if cut.is_some() { target.cut == cut } else { target.frozen };
                if silent && target.connected && target.session == session {
                    self.disconnect(&node, NodeDownReason::HeartbeatTimeout);
                }
            }
        }
    }

    fn run(&mut self, until: Monotonic) {
        loop {
            self.look_at_leases();
            let queued = self.queue.first_key_value().map(|((at, _), _)| *at);
            let due = self.machine.deadline().map(|at| at.max(self.stalled));
            let Some(next) =
                queued.into_iter().chain(due).chain(self.lease_due()).min().filter(|at| *at <= until)
            else {
                break;
            };
            self.now = self.now.max(next);
            if queued.is_some_and(|at| at <= next) {
                if let Some((_, event)) = self.queue.pop_first() {
                    self.event(event);
                }
            } else if due.is_some_and(|at| at <= next) {
                self.step(Input::DeadlineReached);
            }
        }
        self.now = self.now.max(until);
    }

    /// Everything that went wrong is put right.
    fn heal(&mut self) {
        self.join_again(0);
        for id in self.nodes.keys().cloned().collect::<Vec<_>>() {
            self.later(0, Event::Restart { node: id.clone() });
            self.later(1, Event::Thaw { node: id.clone() });
            self.later(20, Event::Reconnect { node: id });
        }
    }

    fn check(&self) {
        let mut running: BTreeMap<&str, Vec<&Pid>> = BTreeMap::new();
        for (pid, process) in self.nodes.values().flat_map(|node| &node.processes) {
            running.entry(&process.child).or_default().push(pid);
            assert!(process.watched, "nobody watches {pid}");
        }
        for child in self.machine.supervision().children() {
            let id = child.rule.id.as_str();
            let alive = running.remove(id).unwrap_or_default();
            assert_eq!(alive.len(), 1, "{id}: {alive:?}, the table says {:?}", child.state);
            assert!(matches!(child.state, State::Running { .. }), "{id}: {:?}", child.state);
            assert_eq!(child.pid(), Some(alive[0]));
            let concerns = |(ids, _): &&(BTreeSet<String>, Monotonic)| ids.contains(id);
            let last = self.causes.iter().filter(concerns).map(|(_, at)| *at).max();
            let (born, era) = self.born[alive[0]];
            // What another supervisor had started meanwhile may be taken over, if its siblings do not matter.
            let taken_over = era != self.era && self.settings.strategy == Strategy::OneForOne;
            assert!(taken_over || last <= Some(born), "{id} was concerned and not started again");
        }
        assert!(running.is_empty(), "left over: {running:?}");
    }
}

fn simulate(seed: u64, nodes: u64, children: u64, mishaps: u64, strategy: Strategy) {
    simulate_with(seed, (nodes, children, mishaps), strategy, Terms::default());
}

fn simulate_with(seed: u64, (nodes, children, mishaps): (u64, u64, u64), strategy: Strategy, terms: Terms) {
    let mut world = World::new(seed, nodes, children, strategy, terms);
    world.run(Monotonic::from_millis(1000));
    world.check();
    world.unlucky = true;
    for _ in 0..mishaps {
        world.mishap();
        let pause = world.dice.roll(700);
        world.run(world.now.plus(Duration::from_millis(pause)));
    }
    world.run(world.now.plus(Duration::from_secs(3)));
    world.heal();
    world.run(world.now.plus(Duration::from_secs(60)));
    assert!(!world.ended);
    world.check();
    if world.terms.rebalances() {
        world.unlucky = false;
        let before = world.alive();
        let moved = world.rebalance();
        world.run(world.now.plus(Duration::from_secs(10)));
        world.check();
        let shares = world.places();
        let (most, least) = (shares.values().max(), shares.values().min());
        assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{shares:?}");
        assert_eq!(before.difference(&world.alive()).count(), moved, "the others stayed");
        assert_eq!(world.rebalance(), 0);
    }
    let reason = ExitReason::Shutdown;
    world.step(Input::Child(supervision::Input::StopRequested { reason }));
    world.run(world.now.plus(Duration::from_secs(60)));
    assert!(world.ended, "it ends");
    let left: Vec<_> = world.nodes.values().flat_map(|node| node.processes.keys()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn seeds_that_once_failed() {
    for (seed, nodes, children, mishaps) in [
        (18253739365162924161, 5, 8, 2),
        (8810248894984204109, 4, 2, 1),
        (16224658578254458248, 3, 5, 3),
        (7613004221405261005, 2, 1, 2),
    ] {
        for strategy in Strategy::ALL {
            simulate(seed, nodes, children, mishaps, *strategy);
        }
    }
}

/// Mostly few, among which more happens to each.
fn nodes() -> impl proptest::strategy::Strategy<Value = u64> {
    prop_oneof![7 => 2u64..6, 1 => 6u64..25]
}

proptest! {
    #[test]
    fn whatever_happens_each_child_runs_exactly_once_in_the_end(
        seed: u64, nodes in nodes(), children in 1u64..9, mishaps in 1u64..14
    ) {
        for strategy in Strategy::ALL {
            simulate(seed, nodes, children, mishaps, *strategy);
        }
    }
}
