//! Five nodes and the connections between them: they come, leave with a goodbye, crash and are parted, and their processes register, give
//! up, take over and end, all from seeds.
//!
//! A connection keeps the order of what is in it, and loses the end of that when it breaks; each end hears of that for itself,
//! and a new connection comes when both have. Checked at every step: who watches a name hears of each change once, in order;
//! and a process has what it registered until it gives it up, ends, or hears that it lost it. At the end, when all is connected
//! and told: all nodes have one view, and each name one holder.

mod claims;

use noex_actors::{Generation, Owner};

use super::*;
use crate::machine::backoff::Entropy;

const NODES: usize = 5;
const TABLE: [&str; 4] = ["a", "b", "c", "d"];
const STEPS: u64 = 250;
const SEEDS: u64 = 1500;
/// Names of a turn.
const TURN: usize = 2;

enum Message {
    /// The session is up; the sender knows the names of the receiver up to there.
    Hello(u64),
    Told(Told),
    Unregister(String, Pid),
    /// Who has it beside the sender? Of a round of a claim of the sender.
    Ask(u64, Name),
    Answer(u64, Option<Pid>),
    /// The connection broke.
    End,
}

/// One direction of a connection.
#[derive(Default)]
struct Way {
    /// Of the sender.
    life: u64,
    queue: VecDeque<Message>,
    telling: Option<Telling>,
    /// All was told; now what changes is.
    current: bool,
    broken: bool,
    /// It ends with a goodbye, behind all that the sender had to say.
    goodbye: bool,
}

struct Node {
    life: u64,
    runs: bool,
    machine: Names,
    /// What those who watch heard last.
    heard: BTreeMap<Name, Pid>,
    /// Which process has which name, as far as it was told.
    truth: BTreeMap<Name, u64>,
}

#[derive(Default)]
struct Figures {
    conflicts: u64,
    lost: u64,
    resumed: u64,
    full: u64,
    gaps: u64,
    goodbyes: u64,
}

struct World {
    claims: claims::Claims,
    dice: Entropy,
    now: u64,
    processes: u64,
    nodes: Vec<Node>,
    ways: BTreeMap<(usize, usize), Way>,
    figures: Figures,
}

fn id(n: usize) -> NodeId {
    NodeId::parse(&format!("n{n}@h:{}", n + 1)).unwrap()
}

fn index(node: &NodeId) -> usize {
    (0..NODES).find(|n| id(*n) == *node).unwrap()
}

fn node(n: usize, life: u64) -> Node {
    let machine = Names::new(id(n), Incarnation(life));
    Node { life, runs: true, machine, heard: BTreeMap::new(), truth: BTreeMap::new() }
}

impl World {
    fn new(seed: u64) -> Self {
        let nodes = (0..NODES).map(|n| node(n, 1)).collect();
        let ways = BTreeMap::new();
        let (claims, figures) = (claims::Claims::default(), Figures::default());
        Self { claims, dice: Entropy::new(seed), now: 0, processes: 0, nodes, ways, figures }
    }

    fn roll(&mut self, below: usize) -> usize {
        usize::try_from(self.dice.roll(below as u64)).unwrap()
    }

    fn at(&self) -> Monotonic {
        Monotonic::from_millis(self.now * 1000)
    }

    fn pid(&self, n: usize, number: u64) -> Pid {
        Pid::new(id(n), Incarnation(self.nodes[n].life), number)
    }

    fn send(&mut self, from: usize, to: usize, message: Message) {
        if let Some(way) = self.ways.get_mut(&(from, to)).filter(|way| !way.broken) {
            way.queue.push_back(message);
        }
    }

    fn step<T>(
        &mut self,
        n: usize,
        step: impl FnOnce(&mut Names, Monotonic, &mut VecDeque<Output>) -> T,
    ) -> T {
        let (mut out, now) = (VecDeque::new(), self.at());
        let result = step(&mut self.nodes[n].machine, now, &mut out);
        for output in out {
            self.perform(n, output);
        }
        while let Some(told) = self.nodes[n].machine.news(TURN) {
            for to in (0..NODES)
                .filter(|to| self.ways.get(&(n, *to)).is_some_and(|way| way.current))
                .collect::<Vec<_>>()
            {
                self.send(n, to, Message::Told(told.clone()));
            }
        }
        self.check(n);
        result
    }

    fn perform(&mut self, n: usize, output: Output) {
        let node = &mut self.nodes[n];
        match output {
            Output::RequestUnregister { to, name, pid } => {
                self.send(n, index(&to), Message::Unregister(name, pid));
            }
            Output::Lost { name, loser, .. } => {
                assert_eq!(node.truth.remove(&name), Some(loser.number()), "it lost what it had, once");
                self.figures.lost += 1;
            }
            Output::Changed { name, before, now } => {
                assert_eq!(node.heard.get(&name), before.as_ref(), "every change, once and in order");
                assert_ne!(before, now);
                match now {
                    Some(pid) => node.heard.insert(name, pid),
                    None => node.heard.remove(&name),
                };
            }
            Output::ConflictResolved { winner, loser, .. } => {
                assert_ne!(winner, loser);
                self.figures.conflicts += 1;
            }
        }
    }

    fn check(&self, n: usize) {
        let node = &self.nodes[n];
        let has: BTreeMap<Name, u64> = node
            .machine
            .own
            .entries()
            .filter(|(_, pid)| node.machine.is_present(pid))
            .map(|(name, pid)| (Name::clone(name), pid.number()))
            .collect();
        assert_eq!(has, node.truth, "no name comes or goes unheard");
        for name in TABLE {
            assert_eq!(node.machine.last_told(name), node.heard.get(name));
            let own = node.machine.lookup(name).filter(|pid| *pid.node_id() == id(n));
            assert!(own.is_none_or(|pid| node.truth.get(name) == Some(&pid.number())), "a dead process");
        }
        let listed = node.machine.own.by_process();
        let entries = node.machine.own.entries().map(|(name, pid)| (pid.number(), Name::clone(name)));
        assert_eq!(entries.collect::<BTreeSet<_>>(), listed);
        let view = TABLE.iter().filter(|name| node.machine.last_told(name).is_some()).count();
        assert_eq!(node.machine.totals(), (view, listed.len()));
    }

    fn connect(&mut self, a: usize, b: usize) {
        let free = [(a, b), (b, a)].iter().all(|way| !self.ways.contains_key(way));
        if a == b || !free || !self.nodes[a].runs || !self.nodes[b].runs {
            return;
        }
        for (from, to) in [(a, b), (b, a)] {
            let known = self.nodes[from].machine.known(&id(to), Incarnation(self.nodes[to].life));
            *(if known > 0 { &mut self.figures.resumed } else { &mut self.figures.full }) += 1;
            let queue = VecDeque::from([Message::Hello(known)]);
            self.ways.insert((from, to), Way { life: self.nodes[from].life, queue, ..Way::default() });
        }
    }

    /// The connection breaks: each end takes some of what is under way to it, and then finds the end.
    fn cut(&mut self, a: usize, b: usize) {
        for way in [(a, b), (b, a)] {
            let Some(len) = self.ways.get(&way).filter(|way| !way.broken).map(|way| way.queue.len()) else {
                continue;
            };
            let kept = self.roll(len + 1);
            let way = self.ways.get_mut(&way).unwrap();
            way.queue.truncate(kept);
            way.queue.push_back(Message::End);
            way.broken = true;
        }
    }

    /// A node is gone, and hears of nothing.
    fn crash(&mut self, n: usize) {
        self.nodes[n].runs = false;
        self.claims.forget(n);
        for other in 0..NODES {
            self.cut(n, other);
            self.ways.remove(&(other, n));
        }
    }

    /// A node leaves: its processes end, what they had is given up, and all who listen hear of that before its goodbye.
    fn leave(&mut self, n: usize) {
        let numbers: BTreeSet<u64> = self.nodes[n].truth.values().copied().collect();
        for number in numbers {
            self.nodes[n].truth.retain(|_, of| *of != number);
            let pid = self.pid(n, number);
            self.step(n, |names, _, _| names.process_ended(&pid));
        }
        while self.work(n) {}
        for other in 0..NODES {
            while self.tell(n, other) {}
            if let Some(way) = self.ways.get_mut(&(n, other)).filter(|way| !way.broken) {
                (way.broken, way.goodbye) = (true, way.current);
                way.queue.push_back(Message::End);
            }
            self.ways.remove(&(other, n));
        }
        self.claims.forget(n);
        self.nodes[n].runs = false;
    }

    fn start(&mut self, n: usize) {
        if !self.nodes[n].runs {
            self.nodes[n] = node(n, self.nodes[n].life + 1);
        }
    }

    /// The next piece goes into the way. False if all was told.
    fn tell(&mut self, from: usize, to: usize) -> bool {
        let Some(way) = self.ways.get_mut(&(from, to)).filter(|way| !way.broken) else { return false };
        let Some(telling) = &mut way.telling else { return false };
        match self.nodes[from].machine.piece(telling, TURN) {
            Some(told) => {
                (way.current, way.telling) = (told.done, way.telling.take().filter(|_| !told.done));
                way.queue.push_back(Message::Told(told));
            }
            None => {
                self.figures.gaps += 1;
                self.cut(from, to);
            }
        }
        true
    }

    /// What is first in the way arrives. False if there is nothing.
    fn deliver(&mut self, from: usize, to: usize) -> bool {
        let Some(way) = self.ways.get_mut(&(from, to)) else { return false };
        let Some(message) = way.queue.pop_front() else { return false };
        let life = Incarnation(way.life);
        match message {
            Message::Hello(known) => {
                self.step(to, |names, _, _| names.session_up(&id(from), life));
                let telling = self.nodes[to].machine.tell_from(known);
                if let Some(way) = self.ways.get_mut(&(to, from)) {
                    way.telling = Some(telling);
                }
            }
            Message::Told(told) => {
                let taken = self.step(to, |names, now, out| names.told(&id(from), life, told, now, out));
                match taken {
                    Ok(taken) => assert_eq!(taken.refused, 0),
                    Err(Gap) => {
                        self.figures.gaps += 1;
                        self.cut(from, to);
                    }
                }
            }
            Message::Unregister(name, pid) => {
                if self.nodes[to].truth.get(&*name) == Some(&pid.number())
                    && pid == self.pid(to, pid.number())
                {
                    self.nodes[to].truth.remove(&*name);
                }
                self.step(to, |names, now, out| names.unregister_requested(&name, &pid, now, out));
            }
            Message::Ask(round, name) => {
                let owner = self.nodes[to].machine.holder_beside(&id(from), &name).cloned();
                self.send(to, from, Message::Answer(round, owner));
            }
            Message::Answer(round, owner) => self.answered(to, round, from, Some(owner)),
            Message::End => {
                if self.ways.remove(&(from, to)).is_some_and(|way| way.goodbye) {
                    self.figures.goodbyes += 1;
                    let left = self.nodes[to].machine.entries_of(&id(from));
                    assert_eq!(left, [], "all were given up before the goodbye");
                }
                self.session_over(to, from);
                self.step(to, |names, _, _| names.node_down(&id(from)));
            }
        }
        true
    }

    fn work(&mut self, n: usize) -> bool {
        let worked = self.step(n, |names, now, out| {
            names.deadline_reached(TURN, now);
            names.work(TURN, now, out)
        });
        worked > 0
    }

    fn register(&mut self, n: usize, name: &str) {
        let generation = self.dice.roll(9);
        // One of those that have names already, or a fresh one.
        let fresh = self.dice.roll(3) > 0;
        let old = self.nodes[n].truth.values().next().copied().filter(|_| !fresh);
        self.processes += 1;
        let number = old.unwrap_or(self.processes);
        // Of two supervisors, which may give the same generations.
        let owner = Owner(self.pid(0, generation % 2));
        let generation = Generation(generation / 2);
        let token = (generation.0 > 1).then(|| FencingToken::new("sup", "child", generation).owned_by(owner));
        let held = Held { pid: self.pid(n, number), token };
        let before = self.nodes[n].truth.get(name).copied();
        // As the machine says it: another one of this node lost the name, before this one has it.
        let mut registered = Ok(());
        let (mut out, now) = (VecDeque::new(), self.at());
        registered = registered.and(self.nodes[n].machine.register(name, held, now, &mut out));
        for output in out {
            self.perform(n, output);
        }
        match registered {
            Ok(()) => drop(self.nodes[n].truth.insert(name.into(), number)),
            Err(error) => {
                assert!(matches!(error, RegisterError::Taken(_)), "{error:?}");
                assert_eq!(self.nodes[n].truth.get(name).copied(), before);
            }
        }
        self.step(n, |_, _, _| ());
    }

    fn act(&mut self) {
        let (n, other) = (self.roll(NODES), self.roll(NODES));
        let name = TABLE[self.roll(TABLE.len())];
        // Mostly seconds; now and then longer than anything is remembered.
        let most = if self.dice.roll(100) == 0 { 900 } else { 3 };
        self.now += self.dice.roll(most);
        if !self.nodes[n].runs {
            if self.roll(8) == 0 {
                self.start(n);
            }
            return;
        }
        match self.roll(40) {
            0..8 => self.register(n, name),
            8..10 => {
                let own = self.nodes[n].machine.lookup(name).is_some_and(|pid| *pid.node_id() == id(n));
                if own {
                    self.nodes[n].truth.remove(name);
                }
                self.step(n, |names, now, out| names.unregister(name, now, out));
            }
            10 | 11 => {
                if let Some(number) = self.nodes[n].truth.get(name).copied() {
                    self.nodes[n].truth.retain(|_, of| *of != number);
                    let pid = self.pid(n, number);
                    self.step(n, |names, _, _| names.process_ended(&pid));
                }
            }
            12 if self.roll(3) == 0 => self.crash(n),
            12 if self.roll(2) == 0 => self.leave(n),
            13 => {
                // A partition: those below the cut on one side.
                for (a, b) in (0..=n).flat_map(|a| (n + 1..NODES).map(move |b| (a, b))) {
                    self.cut(a, b);
                }
            }
            14 => self.cut(n, other),
            15 => (0..NODES).for_each(|other| self.connect(n, other)),
            16..19 => self.connect(n, other),
            19..22 => _ = self.work(n),
            22..26 => (0..NODES).for_each(|to| _ = self.tell(n, to)),
            _ => (0..NODES).for_each(|from| _ = self.deliver(from, n)),
        }
    }

    fn heal(&mut self) {
        (0..NODES).for_each(|n| self.start(n));
        let pairs: Vec<_> = (0..NODES).flat_map(|a| (0..NODES).map(move |b| (a, b))).collect();
        let mut moved = true;
        while moved {
            moved = false;
            for (a, b) in &pairs {
                let connected = self.ways.len();
                self.connect(*a, *b);
                moved |= self.ways.len() > connected;
                moved |= self.tell(*a, *b) | self.deliver(*a, *b) | self.work(*a);
            }
        }
    }
}

#[test]
fn views_converge_and_every_change_is_heard_once() {
    let mut all = Figures::default();
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        (0..STEPS).for_each(|_| world.act());
        world.heal();
        for name in TABLE {
            let has = |n: &usize| world.nodes[*n].truth.get(name).map(|number| world.pid(*n, *number));
            let owners: Vec<Pid> = (0..NODES).filter_map(|n| has(&n)).collect();
            assert!(owners.len() <= 1, "seed {seed}: {name} is of {owners:?}");
            for node in &world.nodes {
                assert_eq!(node.machine.lookup(name), owners.first(), "seed {seed}: {name}");
                assert_eq!(node.heard.get(name), owners.first(), "seed {seed}: {name}");
                assert_eq!(node.machine.slots.in_view(name), owners.len(), "seed {seed}: {name}");
                assert!(!node.machine.has_work());
            }
        }
        let of = &world.figures;
        all.conflicts += of.conflicts;
        all.lost += of.lost;
        all.resumed += of.resumed;
        all.full += of.full;
        all.gaps += of.gaps;
        all.goodbyes += of.goodbyes;
    }
    assert!(all.goodbyes > SEEDS, "{}", all.goodbyes);
    let real = all.conflicts.min(all.lost).min(all.resumed).min(all.full);
    assert!(
        real > SEEDS / 2,
        "the trouble was real: {} {} {} {}",
        all.conflicts,
        all.lost,
        all.resumed,
        all.full
    );
    assert!(all.gaps < all.full / 10, "sessions go on: {}", all.gaps);
}
