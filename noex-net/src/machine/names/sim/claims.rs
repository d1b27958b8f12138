//! Claims of one name while nodes and connections come and go, from seeds.
//!
//! Checked at every grant: nobody else has been granted the name who has it still, as far as one neighbour could know: a node
//! connected to both ever since each of them began. And at the end, when all is connected: every claim has ended, and one has it.

use super::*;
use crate::machine::claim::{Answers, Claim, Step};

const NAME: &str = "a";
const CLAIM_SEEDS: u64 = 400;
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Default)]
pub(super) struct Claims {
    rounds: u64,
    running: BTreeMap<usize, Running>,
    /// To whom it was granted, with the number of the process and those that are connected since it began.
    granted: BTreeMap<usize, (u64, BTreeSet<usize>)>,
    grants: u64,
    refusals: u64,
    waits: u64,
    gave_way: u64,
}

struct Running {
    claim: Claim,
    number: u64,
    /// Connected, and told of all, ever since it began.
    neighbours: BTreeSet<usize>,
    phase: Phase,
}

enum Phase {
    Asking {
        round: u64,
        waiting: BTreeSet<usize>,
        by: BTreeMap<NodeId, Incarnation>,
        named: Vec<(NodeId, Pid)>,
    },
    Pausing {
        until: u64,
    },
}

impl Claims {
    pub(super) fn forget(&mut self, n: usize) {
        self.running.remove(&n);
        self.granted.remove(&n);
    }
}

impl World {
    /// Whether a node can send to another: its session is up.
    fn is_up(&self, n: usize, to: usize) -> bool {
        let way = self.ways.get(&(n, to));
        way.is_some_and(|way| !way.broken && (way.current || way.telling.is_some()))
    }

    fn is_current(&self, n: usize, to: usize) -> bool {
        self.is_up(n, to) && self.ways.get(&(n, to)).is_some_and(|way| way.current)
    }

    fn claim(&mut self, n: usize) {
        let idle = !self.claims.running.contains_key(&n) && !self.claims.granted.contains_key(&n);
        if !idle || !self.nodes[n].runs {
            return;
        }
        self.processes += 1;
        let number = self.processes;
        let claim = Claim::new(self.pid(n, number), PATIENCE);
        let neighbours = (0..NODES).filter(|to| self.is_current(n, *to) && self.is_current(*to, n)).collect();
        let phase = Phase::Pausing { until: 0 };
        self.claims.running.insert(n, Running { claim, number, neighbours, phase });
        self.claim_goes_on(n, Step::Ask);
    }

    fn claim_goes_on(&mut self, n: usize, mut step: Step) {
        while let Some(number) = self.claims.running.get(&n).map(|running| running.number) {
            let pid = self.pid(n, number);
            step = match step {
                Step::Ask => {
                    self.ask(n);
                    match self.verdict(n) {
                        Some(step) => step,
                        None => return,
                    }
                }
                Step::Register => {
                    let held = Held { pid, token: None };
                    let registered = self.step_registering(n, number, held);
                    self.claims.running.get_mut(&n).unwrap().claim.registered(registered)
                }
                Step::Wait(pause) => {
                    self.claims.waits += 1;
                    self.give_up(n, number);
                    let until = self.now * 1000 + u64::try_from(pause.as_millis()).unwrap();
                    self.claims.running.get_mut(&n).unwrap().phase = Phase::Pausing { until };
                    return;
                }
                Step::Granted => {
                    let running = self.claims.running.remove(&n).unwrap();
                    self.granted(n, running);
                    return;
                }
                Step::Refused(holder) => {
                    assert_ne!(holder, pid);
                    self.claims.refusals += 1;
                    self.give_up(n, number);
                    self.claims.running.remove(&n);
                    return;
                }
            };
        }
    }

    fn step_registering(&mut self, n: usize, number: u64, held: Held) -> Result<(), Pid> {
        let (mut out, now) = (VecDeque::new(), self.at());
        let registered = self.nodes[n].machine.register(NAME, held, now, &mut out);
        for output in out {
            self.perform(n, output);
        }
        match registered {
            Ok(()) => drop(self.nodes[n].truth.insert(NAME.into(), number)),
            Err(RegisterError::Taken(holder)) => return Err(holder),
            Err(error) => panic!("{error:?}"),
        }
        self.step(n, |_, _, _| ());
        Ok(())
    }

    fn give_up(&mut self, n: usize, number: u64) {
        if self.nodes[n].truth.get(NAME) == Some(&number) {
            self.nodes[n].truth.remove(NAME);
            self.claims.gave_way += 1;
        }
        let pid = self.pid(n, number);
        self.step(n, |names, now, out| names.unregister_requested(NAME, &pid, now, out));
    }

    fn ask(&mut self, n: usize) {
        let asked: BTreeSet<usize> = (0..NODES).filter(|to| self.is_up(n, *to)).collect();
        self.claims.rounds += 1;
        let round = self.claims.rounds;
        for to in &asked {
            self.send(n, *to, Message::Ask(round, NAME.into()));
        }
        let phase = Phase::Asking { round, waiting: asked, by: BTreeMap::new(), named: Vec::new() };
        self.claims.running.get_mut(&n).unwrap().phase = phase;
    }

    /// What the claim does, if everybody answered.
    fn verdict(&mut self, n: usize) -> Option<Step> {
        let (now, entropy) = (self.at(), self.dice.draw());
        let seen = self.nodes[n].machine.lookup(NAME).cloned();
        let running = self.claims.running.get_mut(&n)?;
        let Phase::Asking { waiting, by, named, .. } = &running.phase else { return None };
        if !waiting.is_empty() {
            return None;
        }
        Some(running.claim.answered(
            &Answers { by, named, beside: &BTreeSet::new(), seen: seen.as_ref() },
            now,
            entropy,
        ))
    }

    /// An answer, or none: the session is over.
    pub(super) fn answered(&mut self, n: usize, round: u64, from: usize, answer: Option<Option<Pid>>) {
        let life = Incarnation(self.nodes[from].life);
        let Some(running) = self.claims.running.get_mut(&n) else { return };
        let Phase::Asking { round: asked, waiting, by, named } = &mut running.phase else { return };
        if *asked != round || !waiting.remove(&from) {
            return;
        }
        if let Some(owner) = answer {
            by.insert(id(from), life);
            named.extend(owner.map(|owner| (id(from), owner)));
        }
        if let Some(step) = self.verdict(n) {
            self.claim_goes_on(n, step);
        }
    }

    /// What a node says of itself holds for as long as it is connected.
    pub(super) fn session_over(&mut self, n: usize, with: usize) {
        let Some(running) = self.claims.running.get_mut(&n) else { return };
        let Phase::Asking { round, by, .. } = &mut running.phase else { return };
        by.remove(&id(with));
        let round = *round;
        self.answered(n, round, with, None);
    }

    fn granted(&mut self, n: usize, running: Running) {
        assert_eq!(self.nodes[n].truth.get(NAME), Some(&running.number), "who is granted it has it");
        for (other, (number, neighbours)) in &self.claims.granted {
            let has = self.nodes[*other].truth.get(NAME) == Some(number);
            let common = running.neighbours.intersection(neighbours).count();
            let each_other = running.neighbours.contains(other) && neighbours.contains(&n);
            assert!(!has || (common == 0 && !each_other), "{n} and {other} have it, as {common} could know");
        }
        self.claims.grants += 1;
        self.claims.granted.insert(n, (running.number, running.neighbours));
    }

    /// Who was cut off from whom is no neighbour since it began.
    fn look_at_neighbours(&mut self) {
        let up: BTreeSet<(usize, usize)> = (0..NODES)
            .flat_map(|a| (0..NODES).map(move |b| (a, b)))
            .filter(|(a, b)| self.is_up(*a, *b) && self.is_up(*b, *a))
            .collect();
        let running = self.claims.running.iter_mut().map(|(n, running)| (*n, &mut running.neighbours));
        let granted = self.claims.granted.iter_mut().map(|(n, (_, neighbours))| (*n, neighbours));
        for (n, neighbours) in running.chain(granted) {
            neighbours.retain(|other| up.contains(&(n, *other)));
        }
        let truth = |n: &usize| self.nodes[*n].truth.get(NAME).copied();
        let lost: Vec<usize> = self.claims.granted.keys().copied().collect();
        for n in lost {
            if truth(&n) != self.claims.granted.get(&n).map(|(number, _)| *number) {
                self.claims.granted.remove(&n);
            }
        }
    }

    /// Goes on with the claims that paused long enough.
    fn pauses_end(&mut self) {
        let now = self.now * 1000;
        let due = |running: &Running| matches!(running.phase, Phase::Pausing { until } if until <= now);
        let over: Vec<usize> =
            self.claims.running.iter().filter(|(_, running)| due(running)).map(|(n, _)| *n).collect();
        over.into_iter().for_each(|n| self.claim_goes_on(n, Step::Ask));
    }

    fn claims_act(&mut self) {
        let (n, other) = (self.roll(NODES), self.roll(NODES));
        self.now += self.dice.roll(2);
        self.pauses_end();
        if !self.nodes[n].runs {
            if self.roll(8) == 0 {
                self.start(n);
            }
            return;
        }
        match self.roll(40) {
            0..6 => self.claim(n),
            6 | 7 => {
                if let Some((number, _)) = self.claims.granted.remove(&n) {
                    self.give_up(n, number);
                }
            }
            8 if self.roll(4) == 0 => self.crash(n),
            9 => {
                for (a, b) in (0..=n).flat_map(|a| (n + 1..NODES).map(move |b| (a, b))) {
                    self.cut(a, b);
                }
            }
            10 => self.cut(n, other),
            11 => (0..NODES).for_each(|other| self.connect(n, other)),
            12..16 => self.connect(n, other),
            16..19 => _ = self.work(n),
            19..23 => (0..NODES).for_each(|to| _ = self.tell(n, to)),
            _ => (0..NODES).for_each(|from| _ = self.deliver(from, n)),
        }
        self.look_at_neighbours();
    }
}

#[test]
fn of_those_whom_a_neighbour_could_know_one_is_granted_a_name() {
    let (mut grants, mut refusals, mut waits, mut gave_way) = (0, 0, 0, 0);
    for seed in 0..CLAIM_SEEDS {
        let mut world = World::new(seed);
        (0..2 * STEPS).for_each(|_| world.claims_act());
        (0..NODES).for_each(|n| world.start(n));
        // Longer than anybody waits. Two that were refused for each other's sake try again, as whoever wants a name does.
        for _ in 0..40 {
            if world.claims.granted.is_empty() {
                (0..NODES).for_each(|n| world.claim(n));
            }
            world.now += 1;
            world.heal();
            world.pauses_end();
            world.look_at_neighbours();
        }
        assert_eq!(world.claims.running.len(), 0, "seed {seed}: every claim ended");
        let holders: Vec<_> = world.nodes.iter().filter_map(|node| node.truth.get(NAME)).collect();
        assert_eq!((holders.len(), world.claims.granted.len()), (1, 1), "seed {seed}: one has it");
        grants += world.claims.grants;
        refusals += world.claims.refusals;
        waits += world.claims.waits;
        gave_way += world.claims.gave_way;
    }
    assert!(
        grants.min(refusals).min(waits).min(gave_way) > CLAIM_SEEDS,
        "{grants} {refusals} {waits} {gave_way}"
    );
}
