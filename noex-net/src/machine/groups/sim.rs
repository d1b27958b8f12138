//! Five machines and the links between them: joins, leaves, ends, partitions, crashes and heals, from seeds.
//!
//! Checked at every step: what a node heard (`Joined`, `Left`) is what it sees. At the end, when all is connected and told:
//! all nodes see what the processes did.

use super::*;
use crate::machine::backoff::Entropy;

const NODES: usize = 5;
const GROUPS: [&str; 3] = ["a", "b", "c"];
const STEPS: u64 = 120;
const PIECE: usize = 2;
const SEEDS: u64 = 3000;

/// One direction of a session.
#[derive(Default)]
struct Way {
    queue: VecDeque<Vec<Membership>>,
    last: Option<Membership>,
    told: bool,
}

struct Node {
    life: u64,
    machine: Groups,
    /// What it heard.
    heard: BTreeSet<(String, Pid)>,
    /// What its processes did.
    truth: BTreeMap<(String, u64), u32>,
}

struct World {
    dice: Entropy,
    nodes: Vec<Node>,
    ways: BTreeMap<(usize, usize), Way>,
}

fn id(n: usize) -> NodeId {
    NodeId::parse(&format!("n{n}@h:{}", n + 1)).unwrap()
}

fn node(n: usize, life: u64) -> Node {
    let machine = Groups::new(id(n), Incarnation(life));
    Node { life, machine, heard: BTreeSet::new(), truth: BTreeMap::new() }
}

impl World {
    fn new(seed: u64) -> Self {
        let nodes = (0..NODES).map(|n| node(n, 1)).collect();
        Self { dice: Entropy::new(seed), nodes, ways: BTreeMap::new() }
    }

    fn step<T>(&mut self, at: usize, step: impl FnOnce(&mut Groups, &mut VecDeque<Output>) -> T) -> T {
        let mut out = VecDeque::new();
        let result = step(&mut self.nodes[at].machine, &mut out);
        for output in out {
            match output {
                Output::Tell(said) => {
                    let ways = self.ways.iter_mut().filter(|((from, _), _)| *from == at);
                    ways.for_each(|(_, way)| way.queue.push_back(vec![said.clone()]));
                }
                Output::Joined { group, pid } => {
                    assert!(self.nodes[at].heard.insert((group.to_string(), pid)), "joined twice");
                }
                Output::Left { group, pid } => {
                    assert!(self.nodes[at].heard.remove(&(group.to_string(), pid)), "left twice");
                }
            }
        }
        let node = &self.nodes[at];
        let sees = GROUPS.iter().flat_map(|group| {
            node.machine.members(group).map(|(pid, _)| ((*group).to_owned(), pid)).collect::<Vec<_>>()
        });
        assert_eq!(sees.collect::<BTreeSet<_>>(), node.heard);
        result
    }

    fn connect(&mut self, a: usize, b: usize) {
        for way in [(a, b), (b, a)] {
            self.ways.entry(way).or_default();
        }
    }

    fn cut(&mut self, a: usize, b: usize) {
        if self.ways.remove(&(a, b)).is_some() {
            self.ways.remove(&(b, a));
            self.step(a, |groups, out| drop(groups.node_down(&id(b), |_| true, out)));
            self.step(b, |groups, out| drop(groups.node_down(&id(a), |_| true, out)));
        }
    }

    /// The next piece goes into the way, or what is in it arrives. False if there is nothing to do.
    fn advance(&mut self, from: usize, to: usize, send: bool) -> bool {
        let Some(way) = self.ways.get_mut(&(from, to)) else { return false };
        if send && !way.told {
            let piece = self.nodes[from].machine.piece(way.last.as_ref(), PIECE);
            way.told = piece.is_empty();
            if let Some(last) = piece.last() {
                way.last = Some(last.clone());
                way.queue.push_back(piece);
            }
            return true;
        }
        let Some(said) = way.queue.pop_front() else { return false };
        let life = Incarnation(self.nodes[from].life);
        for said in said {
            assert!(self.step(to, |groups, out| groups.merge(&id(from), life, &said, out)));
        }
        true
    }

    fn any_node(&mut self) -> usize {
        usize::try_from(self.dice.roll(NODES as u64)).unwrap()
    }

    fn act(&mut self) {
        let (at, other) = (self.any_node(), self.any_node());
        let group = GROUPS[usize::try_from(self.dice.roll(3)).unwrap()];
        let number = 1 + self.dice.roll(4);
        let key = (group.to_owned(), number);
        match self.dice.roll(20) {
            0..6 => {
                self.step(at, |groups, out| groups.join(group, number, out)).unwrap();
                *self.nodes[at].truth.entry(key).or_default() += 1;
            }
            6..9 => {
                let left = self.step(at, |groups, out| groups.leave(group, number, out));
                let count = self.nodes[at].truth.remove(&key).unwrap_or(0);
                assert_eq!(left, count > 0);
                if count > 1 {
                    self.nodes[at].truth.insert(key, count - 1);
                }
            }
            9 => {
                self.step(at, |groups, out| groups.process_ended(number, out));
                self.nodes[at].truth.retain(|(_, of), _| *of != number);
            }
            10 => {
                (0..NODES).for_each(|peer| self.cut(at, peer));
                self.nodes[at] = node(at, self.nodes[at].life + 1);
            }
            11 => {
                // A partition: those below the cut on one side.
                for (a, b) in (0..=at).flat_map(|a| (at + 1..NODES).map(move |b| (a, b))) {
                    self.cut(a, b);
                }
            }
            12 => self.cut(at, other),
            13..15 if at != other => self.connect(at, other),
            _ => {
                let send = self.dice.roll(2) == 0;
                self.advance(at, other, send);
            }
        }
    }

    fn heal(&mut self) {
        let pairs: Vec<_> = (0..NODES).flat_map(|a| (0..NODES).map(move |b| (a, b))).collect();
        pairs.iter().filter(|(a, b)| a < b).for_each(|(a, b)| self.connect(*a, *b));
        while pairs.iter().fold(false, |moved, (a, b)| self.advance(*a, *b, true) | moved) {}
    }
}

#[test]
fn views_converge_and_every_join_and_leave_is_heard_once() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        (0..STEPS).for_each(|_| world.act());
        world.heal();
        for group in GROUPS {
            let of = |n: usize| {
                let (life, truth) = (Incarnation(world.nodes[n].life), &world.nodes[n].truth);
                let of_group = truth.iter().filter(|((name, _), _)| name == group);
                of_group.map(move |((_, number), count)| (Pid::new(id(n), life, *number), *count))
            };
            let truth: Vec<_> = (0..NODES).flat_map(of).collect();
            for node in &world.nodes {
                assert_eq!(node.machine.members(group).collect::<Vec<_>>(), truth, "seed {seed}");
            }
        }
    }
}
