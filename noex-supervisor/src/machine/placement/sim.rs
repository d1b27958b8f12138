//! One node, the way from it, and a supervisor that is always late. Orders, starts, failures, ends and heartbeats happen in
//! any order that the way allows: what the node says arrives as it was sent, but heartbeats are seen by another way than answers.

use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;

/// What happens; a number picks to whom.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Ordered,
    /// The process is there, and `init` runs.
    Made(usize),
    /// Refused before there is a process.
    Refused(usize),
    InitDone(usize),
    InitFailed(usize),
    Ended(usize),
    Heartbeat,
    /// The next that was sent arrives.
    Received,
    /// The next heartbeat is seen by whoever looks.
    Seen,
    /// The supervisor handles what arrived next.
    Handled,
    /// Somebody else starts a process there, or stops one.
    Foreign(bool),
}

fn happens() -> impl proptest::strategy::Strategy<Value = Happens> {
    use proptest::strategy::{Just, Strategy};
    proptest::prop_oneof![
        3 => Just(Happens::Ordered),
        4 => any::<usize>().prop_map(Happens::Made),
        1 => any::<usize>().prop_map(Happens::Refused),
        4 => any::<usize>().prop_map(Happens::InitDone),
        1 => any::<usize>().prop_map(Happens::InitFailed),
        1 => any::<usize>().prop_map(Happens::Ended),
        2 => Just(Happens::Heartbeat),
        8 => Just(Happens::Received),
        3 => Just(Happens::Seen),
        6 => Just(Happens::Handled),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Said {
    Heartbeat(usize),
    Started(u64),
    Failed(u64),
    Down(u64),
}

struct World {
    placement: Placement,
    clock: u64,
    /// What the supervisor sees of the node.
    seen: Candidate,
    orders: u64,
    /// On the way there, or waiting there.
    asked: BTreeSet<u64>,
    init: BTreeSet<u64>,
    running: BTreeSet<u64>,
    foreign: usize,
    way: VecDeque<Said>,
    heartbeats: VecDeque<Candidate>,
    facts: VecDeque<Said>,
    /// So many of the facts arrived before the heartbeat that was seen last.
    overdue: usize,
    /// What the supervisor knows: the first number, its orders, and what it heard of their failures and ends.
    known: usize,
}

impl World {
    fn new(foreign: usize) -> Self {
        let id = NodeId::new("b", "127.0.0.1", 4369).unwrap();
        let seen = Candidate { id, processes: foreign, told: Some(Monotonic::ZERO) };
        let none = BTreeSet::new;
        let mut placement = Placement::default();
        assert_eq!(placement.load(&seen), foreign);
        Self {
            placement,
            clock: 1,
            seen,
            orders: 0,
            asked: none(),
            init: none(),
            running: none(),
            foreign,
            way: VecDeque::new(),
            heartbeats: VecDeque::new(),
            facts: VecDeque::new(),
            overdue: 0,
            known: foreign,
        }
    }

    fn now(&self) -> Monotonic {
        Monotonic::from_millis(self.clock)
    }

    fn processes(&self) -> usize {
        self.foreign + self.init.len() + self.running.len()
    }

    fn pick(of: &mut BTreeSet<u64>, who: usize) -> Option<u64> {
        let picked = of.iter().nth(who.checked_rem(of.len())?).copied()?;
        of.take(&picked)
    }

    fn happen(&mut self, what: Happens) {
        self.clock += 1;
        match what {
            Happens::Ordered => {
                self.orders += 1;
                self.known += 1;
                let none = BTreeSet::new();
                let order = Order { generation: Generation(self.orders), excluded: &none, target: None };
                let pool = std::slice::from_ref(&self.seen);
                assert_eq!(
                    self.placement.choose(&Selector::LeastLoaded, pool, order, 0),
                    Some(pool[0].id.clone())
                );
                self.asked.insert(self.orders);
            }
            Happens::Made(who) => self.init.extend(Self::pick(&mut self.asked, who)),
            Happens::Refused(who) => self.way.extend(Self::pick(&mut self.asked, who).map(Said::Failed)),
            Happens::InitDone(who) => {
                if let Some(started) = Self::pick(&mut self.init, who) {
                    self.running.insert(started);
                    self.way.push_back(Said::Started(started));
                }
            }
            Happens::InitFailed(who) => self.way.extend(Self::pick(&mut self.init, who).map(Said::Failed)),
            Happens::Ended(who) => self.way.extend(Self::pick(&mut self.running, who).map(Said::Down)),
            Happens::Heartbeat => self.way.push_back(Said::Heartbeat(self.processes())),
            Happens::Received => match self.way.pop_front() {
                Some(Said::Heartbeat(processes)) => {
                    let told = Some(self.now());
                    self.heartbeats.push_back(Candidate { processes, told, ..self.seen.clone() });
                }
                said => self.facts.extend(said),
            },
            Happens::Seen => {
                if let Some(heartbeat) = self.heartbeats.pop_front() {
                    // Late, but not by two heartbeats.
                    (0..self.overdue).for_each(|_| self.handle());
                    self.overdue = self.facts.len();
                    self.seen = heartbeat;
                }
            }
            Happens::Handled => {
                self.handle();
                self.overdue = self.overdue.saturating_sub(1);
            }
            Happens::Foreign(true) => self.foreign += 1,
            Happens::Foreign(false) => self.foreign = self.foreign.saturating_sub(1),
        }
    }

    fn handle(&mut self) {
        let (now, on) = (self.now(), self.seen.clone());
        match self.facts.pop_front() {
            Some(Said::Started(start)) => self.placement.started(&on, Generation(start), now),
            Some(Said::Failed(start)) => {
                self.known -= 1;
                self.placement.failed(&on, Generation(start), now);
            }
            Some(Said::Down(start)) => {
                self.known -= 1;
                self.placement.ended(&on, &start.to_string(), now);
            }
            Some(Said::Heartbeat(_)) | None => {}
        }
    }

    /// Failures and ends that the supervisor does not know of yet.
    fn news(&self) -> usize {
        let said = self.way.iter().chain(&self.facts);
        said.filter(|said| matches!(said, Said::Failed(_) | Said::Down(_))).count()
    }

    /// Everything is answered, heard and handled, and a heartbeat came after that.
    fn settle(&mut self) {
        while !self.asked.is_empty() {
            self.happen(Happens::Made(0));
        }
        while !self.init.is_empty() {
            self.happen(Happens::InitDone(0));
        }
        while !self.way.is_empty() {
            self.happen(Happens::Received);
        }
        while !self.facts.is_empty() {
            self.happen(Happens::Handled);
        }
        self.happen(Happens::Heartbeat);
        self.happen(Happens::Received);
        while !self.heartbeats.is_empty() {
            self.happen(Happens::Seen);
        }
    }
}

proptest! {
    #[test]
    fn a_load_is_what_is_known_whenever_heartbeats_and_answers_come(all in prop::collection::vec(happens(), 1..120)) {
        let mut world = World::new(7);
        // Of a failure that is handled before the heartbeat that counted it is seen, nobody can say whether it was in it.
        for what in all.into_iter().filter(|what| !matches!(what, Happens::InitFailed(_))) {
            world.happen(what);
            let load = world.placement.load(&world.seen);
            let (known, news) = (world.known, world.news());
            prop_assert!((known - news..=known).contains(&load), "{load}, not {known} less up to {news}: {what:?}");
        }
        world.settle();
        prop_assert_eq!(world.placement.load(&world.seen), world.processes());
    }

    #[test]
    fn whatever_others_do_misleads_no_longer_than_a_heartbeat(
        all in prop::collection::vec(
            prop_oneof![3 => happens(), 1 => any::<bool>().prop_map(Happens::Foreign)],
            1..200,
        ),
    ) {
        let mut world = World::new(7);
        for what in all {
            world.happen(what);
            world.placement.load(&world.seen);
        }
        world.settle();
        prop_assert_eq!(world.placement.load(&world.seen), world.processes());
    }

    #[test]
    fn a_node_knows_its_own_processes_at_once(all in prop::collection::vec(happens(), 1..120)) {
        let mut world = World::new(7);
        world.seen.told = None;
        for what in all {
            // An end, and a start that fails, together look like neither.
            if !matches!(what, Happens::Heartbeat | Happens::Ended(_) | Happens::InitFailed(_)) {
                world.happen(what);
                world.seen.processes = world.processes();
                let load = world.placement.load(&world.seen);
                let on_the_way = world.asked.len() + world.way.len() + world.facts.len();
                let range = world.processes()..=world.processes() + on_the_way;
                prop_assert!(range.contains(&load), "{load} is not in {range:?}: {what:?}");
            }
        }
    }
}
