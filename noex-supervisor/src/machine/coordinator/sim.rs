//! One supervisor machine and a handful of imagined nodes that crash, freeze, lose connections and replies, leave and
//! come back. Whatever happens, when it is quiet again each child runs exactly once.

use std::collections::{BTreeMap, BTreeSet};

use noex_actors::{ExitReason, Generation, Incarnation, NodeDownReason, Pid};
use proptest::prelude::*;

use super::*;
use crate::{
    machine::{
        Found,
        placement::{Candidate, Placement, Selector},
        policy::Stop,
        supervision::{Failure, Output as Command, Rule, Scope, Settings, State},
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
    watched: bool,
}

#[derive(Debug)]
struct Node {
    incarnation: u64,
    alive: bool,
    frozen: bool,
    /// The session with the supervisor's node, as both ends know it.
    connected: bool,
    session: u64,
    processes: BTreeMap<Pid, Process>,
}

/// What is on its way.
#[derive(Clone, Debug)]
enum Event {
    Fact(Input),
    Spawn { node: NodeId, session: u64, child: String, generation: Generation },
    Spawned { session: u64, child: String, generation: Generation, pid: Pid },
    Told { node: NodeId, session: u64, query: u64 },
    StopAt { node: NodeId, session: u64, pid: Pid, how: Stop },
    Watch { node: NodeId, session: u64, pid: Pid },
    Reconnect { node: NodeId },
    Restart { node: NodeId },
    Thaw { node: NodeId },
    Silence { node: NodeId, session: u64 },
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
    ever: BTreeMap<(String, Generation), Pid>,
    /// Starts are refused now and then, which would end a supervisor that only begins.
    unlucky: bool,
    ended: bool,
}

fn node(index: u64) -> NodeId {
    NodeId::new(&format!("n{index}"), "127.0.0.1", 4369).unwrap()
}

impl World {
    fn new(seed: u64, nodes: u64, children: u64) -> Self {
        let rule = |n: u64| Rule {
            id: format!("c{n}"),
            restart: Restart::Permanent,
            shutdown: Shutdown::Timeout(Duration::from_millis(300)),
            pinned: n == 0,
            significant: false,
        };
        let settings = Settings {
            strategy: Strategy::OneForOne,
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
            connected: true,
            session: 1,
            processes: BTreeMap::new(),
        };
        let mut world = Self {
            dice: Dice(seed),
            now: Monotonic::from_millis(1),
            queue: BTreeMap::new(),
            sequence: 0,
            nodes: (0..nodes).map(|n| (node(n), fresh(n))).collect(),
            machine: Coordinator::new(
                Supervision::new(settings, (0..children).map(rule)),
                Failover::new(INTERVAL, 3),
            ),
            placement: Placement::default(),
            in_flight: BTreeSet::new(),
            numbers: 0,
            ever: BTreeMap::new(),
            unlucky: false,
            ended: false,
        };
        let nodes = world.nodes.keys().map(|id| (id.clone(), Incarnation(1))).collect();
        world.step(Input::Node(failover::Input::Started { nodes }));
        world
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
        let entropy = self.dice.roll(u64::MAX);
        let mut out = VecDeque::new();
        if let Input::Child(
            supervision::Input::StartSucceeded { child, .. } | supervision::Input::StartFailed { child, .. },
        ) = &input
        {
            assert!(self.in_flight.remove(child), "an answer without a start");
        }
        self.machine.handle(input, self.now, entropy, &mut out);
        for command in out {
            self.perform(command);
        }
    }

    fn perform(&mut self, command: Output) {
        match command {
            Output::Query { node, query, .. } => {
                let session = self.nodes[&node].session;
                self.soon(Event::Told { node, session, query });
            }
            Output::Child(Command::Start { child, generation, excluded, .. }) => {
                assert!(self.in_flight.insert(child.clone()), "two starts of {child} in flight");
                let candidates: Vec<Candidate> = self
                    .nodes
                    .iter()
                    .filter(|(id, n)| n.connected && self.machine.is_up(id))
                    .map(|(id, n)| Candidate { id: id.clone(), processes: n.processes.len() })
                    .collect();
                let selector = if child == "c0" { Selector::Node(node(1)) } else { Selector::RoundRobin };
                let entropy = self.dice.roll(1000);
                match self.placement.choose(&selector, &candidates, &excluded, entropy) {
                    Some(target) => {
                        let session = self.nodes[&target].session;
                        self.soon(Event::Spawn { node: target, session, child, generation });
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
            Output::Child(Command::Stop { pid, how, .. }) => {
                let node = pid.node_id().clone();
                let session = self.nodes[&node].session;
                self.soon(Event::StopAt { node, session, pid, how });
            }
            Output::Child(Command::End(_)) => self.ended = true,
            Output::Child(Command::DoubtName) => panic!("there is only one supervisor"),
            Output::Child(
                Command::Reply { .. } | Command::Report(_) | Command::Forget { .. } | Command::Ready,
            ) => {}
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Fact(input) => self.step(input),
            Event::Spawn { node, session, child, generation } => self.spawn(node, session, child, generation),
            Event::Spawned { session, child, generation, pid } => {
                if self.nodes[pid.node_id()].session == session || self.dice.roll(2) == 0 {
                    return self.child(supervision::Input::StartSucceeded { child, generation, pid });
                }
                // The reply was lost with the session, and the instance perhaps with it.
                if self.dice.roll(2) == 0 {
                    self.nodes.get_mut(pid.node_id()).unwrap().processes.remove(&pid);
                }
                let (node, failure) = (Some(pid.node_id().clone()), Failure::NodeGone);
                self.child(supervision::Input::StartFailed { child, generation, node, failure });
            }
            Event::Told { node, session, query } => {
                let target = &self.nodes[&node];
                if target.frozen && target.connected && target.session == session {
                    return self.later(50, Event::Told { node, session, query });
                }
                let reachable = target.connected && target.session == session;
                let lost = self.dice.roll(10) == 0;
                let tell = |(pid, p): (&Pid, &Process)| Found {
                    child: p.child.clone(),
                    generation: p.generation,
                    pid: pid.clone(),
                };
                let target = &self.nodes[&node];
                let found = (reachable && !lost).then(|| target.processes.iter().map(tell).collect());
                self.soon(Event::Fact(Input::Node(failover::Input::Answered { node, query, found })));
            }
            Event::StopAt { node, session, pid, how } => {
                let target = &self.nodes[&node];
                if !target.connected || target.session != session {
                    return;
                }
                if target.frozen {
                    return self.later(50, Event::StopAt { node, session, pid, how });
                }
                // One in ten ignores being asked.
                if how == Stop::Kill || self.dice.roll(10) > 0 {
                    self.die(&pid, ExitReason::Shutdown);
                }
            }
            Event::Watch { node, session, pid } => {
                let target = self.nodes.get_mut(&node).unwrap();
                if !target.connected || target.session != session {
                    return;
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
            Event::Reconnect { node } => {
                let target = self.nodes.get_mut(&node).unwrap();
                if !target.alive || target.frozen || target.connected {
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
                    target.incarnation += 1;
                    self.soon(Event::Reconnect { node });
                }
            }
            Event::Thaw { node } => {
                self.nodes.get_mut(&node).unwrap().frozen = false;
                self.soon(Event::Reconnect { node });
            }
            Event::Silence { node, session } => {
                let target = &self.nodes[&node];
                if target.frozen && target.connected && target.session == session {
                    self.disconnect(&node, NodeDownReason::HeartbeatTimeout);
                }
            }
        }
    }

    fn spawn(&mut self, node: NodeId, session: u64, child: String, generation: Generation) {
        let target = self.nodes.get_mut(&node).unwrap();
        if !target.connected || target.session != session {
            let failure = Failure::NodeGone;
            let node = Some(node);
            return self.child(supervision::Input::StartFailed { child, generation, node, failure });
        }
        if target.frozen {
            return self.later(50, Event::Spawn { node, session, child, generation });
        }
        if self.unlucky && self.dice.roll(20) == 0 {
            let (node, failure) = (Some(node), Failure::Refused("unlucky".into()));
            return self.child(supervision::Input::StartFailed { child, generation, node, failure });
        }
        self.numbers += 1;
        let pid = Pid::new(node.clone(), Incarnation(target.incarnation), self.numbers);
        let before = self.ever.insert((child.clone(), generation), pid.clone());
        assert!(before.is_none(), "two instances of {child} in generation {generation}");
        let process = Process { child: child.clone(), generation, watched: false };
        target.processes.insert(pid.clone(), process);
        self.soon(Event::Spawned { session, child, generation, pid });
    }

    fn die(&mut self, pid: &Pid, reason: ExitReason) {
        let target = self.nodes.get_mut(pid.node_id()).unwrap();
        let Some(process) = target.processes.remove(pid) else { return };
        if process.watched && target.connected {
            let (child, pid) = (process.child, pid.clone());
            // In order with the end of the session, as the real one.
            self.later(0, Event::Fact(Input::Child(supervision::Input::ChildExited { child, pid, reason })));
        }
    }

    fn disconnect(&mut self, node: &NodeId, reason: NodeDownReason) {
        let target = self.nodes.get_mut(node).unwrap();
        if !std::mem::replace(&mut target.connected, false) {
            return;
        }
        let incarnation = Incarnation(target.incarnation);
        let mut exits = Vec::new();
        for (pid, process) in &mut target.processes {
            if std::mem::replace(&mut process.watched, false) {
                exits.push((process.child.clone(), pid.clone()));
            }
        }
        for (child, pid) in exits {
            let reason = ExitReason::NoConnection;
            self.later(0, Event::Fact(Input::Child(supervision::Input::ChildExited { child, pid, reason })));
        }
        let node = node.clone();
        self.later(0, Event::Fact(Input::Node(failover::Input::NodeDown { node, incarnation, reason })));
    }

    /// Something goes wrong.
    fn mishap(&mut self) {
        let victim = node(1 + self.dice.roll(self.nodes.len() as u64 - 1));
        match self.dice.roll(6) {
            0 => {
                let target = self.nodes.get_mut(&victim).unwrap();
                if target.alive && !target.frozen {
                    target.alive = false;
                    self.disconnect(&victim, NodeDownReason::ConnectionClosed);
                    self.nodes.get_mut(&victim).unwrap().processes.clear();
                    if self.dice.roll(2) == 0 {
                        let node = victim.clone();
                        self.soon(Event::Fact(Input::Node(failover::Input::DialRefused { node })));
                    }
                    let down = self.dice.roll(1500);
                    self.later(down, Event::Restart { node: victim });
                }
            }
            1 => {
                self.disconnect(&victim, NodeDownReason::ConnectionClosed);
                let back = self.dice.roll(600);
                self.later(back, Event::Reconnect { node: victim });
            }
            2 => {
                let target = self.nodes.get_mut(&victim).unwrap();
                if target.alive && !target.frozen {
                    target.frozen = true;
                    let (session, frozen) = (target.session, self.dice.roll(2000));
                    self.later(600, Event::Silence { node: victim.clone(), session });
                    self.later(frozen, Event::Thaw { node: victim });
                }
            }
            3 => {
                let target = &self.nodes[&victim];
                if target.alive && target.connected && !target.frozen {
                    self.step(Input::Draining(victim.clone()));
                    let leaving: Vec<Pid> = self.nodes[&victim].processes.keys().cloned().collect();
                    for pid in leaving {
                        self.die(&pid, ExitReason::Shutdown);
                    }
                    self.disconnect(&victim, NodeDownReason::GracefulShutdown);
                    self.nodes.get_mut(&victim).unwrap().alive = false;
                    self.nodes.get_mut(&victim).unwrap().processes.clear();
                    self.later(500, Event::Restart { node: victim });
                }
            }
            4 => {
                let pids: Vec<Pid> = self.nodes[&victim].processes.keys().cloned().collect();
                if let (false, Some(pid)) = (self.nodes[&victim].frozen, pids.first()) {
                    self.die(pid, ExitReason::Panic("boom".into()));
                }
            }
            _ => {
                let child = format!("c{}", self.dice.roll(self.machine.supervision().child_count() as u64));
                self.step(Input::Child(supervision::Input::RestartRequested { request: 0, child }));
            }
        }
    }

    fn run(&mut self, until: Monotonic) {
        loop {
            let queued = self.queue.first_key_value().map(|((at, _), _)| *at);
            let due = self.machine.deadline();
            let Some(next) = queued.into_iter().chain(due).min().filter(|at| *at <= until) else { break };
            self.now = self.now.max(next);
            if queued.is_some_and(|at| at <= next) {
                if let Some((_, event)) = self.queue.pop_first() {
                    self.event(event);
                }
            } else {
                self.step(Input::DeadlineReached);
            }
        }
        self.now = self.now.max(until);
    }

    /// Everything that went wrong is put right.
    fn heal(&mut self) {
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
        }
        assert!(running.is_empty(), "left over: {running:?}");
    }
}

fn simulate(seed: u64, nodes: u64, children: u64, mishaps: u64) {
    let mut world = World::new(seed, nodes, children);
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
    let reason = ExitReason::Shutdown;
    world.step(Input::Child(supervision::Input::StopRequested { reason }));
    world.run(world.now.plus(Duration::from_secs(60)));
    assert!(world.ended, "it ends");
    let left: Vec<_> = world.nodes.values().flat_map(|node| node.processes.keys()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

proptest! {
    #[test]
    fn whatever_happens_each_child_runs_exactly_once_in_the_end(
        seed: u64, nodes in 2u64..6, children in 1u64..9, mishaps in 1u64..14
    ) {
        simulate(seed, nodes, children, mishaps);
    }
}
