//! Two supervisors of one name, each with all children on its side of a partition, while the connections between the sides come
//! back one by one. The first one is to lose its name, and is the last to hear of the other one: its children are stopped before.

use noex_actors::Owner;

use super::*;

/// So that whatever comes back does so while a doubt lasts.
const INTERVAL: Duration = Duration::from_secs(1);
const BACK_WITHIN: u64 = 2500;
const CHILDREN: u64 = 9;
const LOSER: usize = 0;
const WINNER: usize = 1;

#[derive(Debug)]
struct Process {
    child: String,
    generation: Generation,
    by: usize,
    watched: [bool; 2],
}

#[derive(Debug)]
enum Event {
    Fact(usize, Input),
    /// Two nodes reach each other.
    Link(usize, usize),
    /// They know each other's names.
    Names(usize, usize),
    Spawn {
        by: usize,
        on: usize,
        child: String,
        generation: Generation,
    },
    Told {
        to: usize,
        node: NodeId,
        query: u64,
        term: u64,
    },
    StopAt {
        by: usize,
        pid: Pid,
        reason: ExitReason,
    },
    Owners(usize),
    HandOver,
    /// The winner of the name is gone with its node.
    Gone,
}

struct World {
    dice: Dice,
    now: Monotonic,
    queue: BTreeMap<(Monotonic, u64), Event>,
    sequence: u64,
    nodes: usize,
    homes: [usize; 2],
    links: BTreeSet<(usize, usize)>,
    /// Over which links names have come.
    named: BTreeSet<(usize, usize)>,
    processes: BTreeMap<Pid, Process>,
    machines: [Coordinator; 2],
    owners: [Owner; 2],
    /// What each node heard of.
    terms: BTreeMap<usize, u64>,
    lives: [bool; 2],
    has_name: [bool; 2],
    yields: bool,
    /// The sides began to meet.
    met: bool,
    /// How many each of them started since the sides began to meet.
    starts: [usize; 2],
    /// What each of them had counted before.
    counted: [u64; 2],
    /// Those whose end each of them was told because it watched them.
    over: BTreeSet<(Pid, usize)>,
    /// Duplicates that each of them told of.
    told: [BTreeSet<(String, Generation)>; 2],
    names_within: u64,
    /// When the last word of a node came to each of them: what a connection carries comes in order.
    last: BTreeMap<(usize, usize), Monotonic>,
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl World {
    /// The terms say who has the higher generations.
    fn new(seed: u64, sides: (usize, usize), strategy: Strategy, terms: [u64; 2]) -> Self {
        Self::with(seed, sides, strategy, (terms, WINNER), false)
    }

    /// Both began in the same second. The owner that is the greater one started the later of two instances of one generation.
    fn equal(seed: u64, sides: (usize, usize), strategy: Strategy, greater: usize) -> Self {
        Self::with(seed, sides, strategy, ([1000; 2], greater), false)
    }

    /// The same, where the first one had all children on all nodes before the cut: each side has some of those, and newer ones in
    /// place of the others.
    fn cut(seed: u64, sides: (usize, usize), strategy: Strategy) -> Self {
        Self::with(seed, sides, strategy, ([1000, 1001], WINNER), true)
    }

    fn with(
        seed: u64,
        (here, there): (usize, usize),
        strategy: Strategy,
        (terms, greater): ([u64; 2], usize),
        cut: bool,
    ) -> Self {
        // Of two, the one with the smaller pid is the greater.
        let owner = |of: usize| Owner(Pid::new(name(0), Incarnation(1), u64::from(of != greater)));
        let machine = |of: usize| {
            let unix_seconds = terms[of];
            let settings = Settings {
                strategy,
                auto_shutdown: AutoShutdown::Never,
                intensity: RestartIntensity { max_restarts: 100, within: Duration::from_secs(3600) },
                backoff: Backoff::default(),
                pace: Duration::from_millis(1),
                scope: Scope::Cluster,
                unix_seconds,
            };
            let rules = (0..CHILDREN).map(|n| Rule { pinned: false, ..rule(format!("c{n}")) });
            let supervision = Supervision::new(settings, rules).owned_by(owner(of));
            Coordinator::new(supervision, Failover::new(INTERVAL, 3))
        };
        let nodes = here + there;
        let all: BTreeSet<_> = (0..nodes).flat_map(|b| (0..=b).map(move |a| (a, b))).collect();
        let same_side = |a: usize, b: usize| (a < here) == (b < here);
        let links: BTreeSet<_> =
            (0..nodes).flat_map(|b| (0..=b).filter(move |a| same_side(*a, b)).map(move |a| (a, b))).collect();
        let mut world = Self {
            dice: Dice(seed),
            now: Monotonic::from_millis(1),
            queue: BTreeMap::new(),
            sequence: 0,
            nodes,
            homes: [0, here],
            named: links.clone(),
            links,
            processes: BTreeMap::new(),
            machines: [LOSER, WINNER].map(machine),
            owners: [LOSER, WINNER].map(owner),
            terms: BTreeMap::new(),
            lives: [true; 2],
            has_name: [true; 2],
            yields: false,
            met: false,
            starts: [0; 2],
            counted: [0; 2],
            over: BTreeSet::new(),
            told: [BTreeSet::new(), BTreeSet::new()],
            names_within: 400,
            last: BTreeMap::new(),
        };
        if cut {
            let apart = std::mem::replace(&mut world.links, all);
            world.begin(LOSER);
            world.run(Duration::from_secs(1));
            world.check(LOSER, |_| true);
            world.links = apart;
            for n in here..nodes {
                let (incarnation, reason) = (Incarnation(1), NodeDownReason::HeartbeatTimeout);
                world.step(
                    LOSER,
                    Input::Node(failover::Input::NodeDown { node: name(n), incarnation, reason }),
                );
            }
            // It hears nothing of those on the other side any more.
            for process in world.processes.iter_mut().filter(|(pid, _)| number(pid) >= here) {
                process.1.watched[LOSER] = false;
            }
        } else {
            world.begin(LOSER);
        }
        world.begin(WINNER);
        world.run(Duration::from_secs(2));
        for of in [LOSER, WINNER] {
            world.check(of, |n| (n < here) == (of == LOSER));
            world.counted[of] = world.machines[of].supervision().counted();
        }
        world.starts = [0; 2];
        world.met = true;
        world
    }

    fn begin(&mut self, of: usize) {
        let nodes = (0..self.nodes).filter(|n| self.reaches(of, *n)).map(|n| (name(n), Incarnation(1)));
        let nodes = nodes.collect();
        self.step(of, Input::Node(failover::Input::Started { nodes, missing: Vec::new() }));
    }

    fn reaches(&self, of: usize, node: usize) -> bool {
        self.links.contains(&pair(self.homes[of], node))
    }

    fn later(&mut self, within: u64, event: Event) {
        let delay = Duration::from_millis(self.dice.roll(within));
        self.sequence += 1;
        self.queue.insert((self.now.plus(delay), self.sequence), event);
    }

    /// A node says something to one of them.
    fn say(&mut self, on: usize, of: usize, fact: Input) {
        let at = self.now.plus(Duration::from_millis(self.dice.roll(8)));
        let last = self.last.entry((on, of)).or_insert(at);
        *last = at.max(*last);
        self.sequence += 1;
        self.queue.insert((*last, self.sequence), Event::Fact(of, fact));
    }

    fn step(&mut self, of: usize, input: Input) {
        if !self.lives[of] {
            return;
        }
        let (mut out, entropy) = (VecDeque::new(), self.dice.roll(u64::MAX));
        self.machines[of].handle(input, self.now, entropy, &mut out);
        for command in out {
            self.perform(of, command);
        }
        let counted = self.machines[of].supervision().counted();
        let failed = counted - self.counted[of];
        assert!(!self.met || failed == 0, "{failed} counted, and nothing failed");
    }

    fn perform(&mut self, of: usize, command: Output) {
        match command {
            Output::Query { node, query, .. } => {
                let term = self.machines[of].supervision().term();
                self.later(8, Event::Told { to: of, node, query, term });
            }
            Output::AskOwners { .. } => self.later(20, Event::Owners(of)),
            Output::Yield { .. } => self.name_lost(),
            Output::Child(Command::Start { child, generation, .. }) => {
                self.starts[of] += 1;
                let up = |n: &usize| self.reaches(of, *n) && self.machines[of].is_up(&name(*n));
                let up: Vec<usize> = (0..self.nodes).filter(up).collect();
                let on = up[usize::try_from(self.dice.roll(up.len() as u64)).unwrap()];
                self.later(8, Event::Spawn { by: of, on, child, generation });
            }
            Output::Child(Command::Watch { child, pid, .. }) => match self.processes.get_mut(&pid) {
                Some(process) => process.watched[of] = true,
                // Its end is told already, or on its way.
                None if self.over.contains(&(pid.clone(), of)) => {}
                None => {
                    // The monitor that this one replaces tells nothing any more.
                    let is_its = |event: &Event| match event {
                        Event::Fact(to, Input::Child(supervision::Input::ChildExited { pid: ended, .. })) => {
                            (*to, ended) == (of, &pid)
                        }
                        _ => false,
                    };
                    self.queue.retain(|_, event| !is_its(event));
                    let (on, reason) = (number(&pid), ExitReason::NoProc);
                    self.say(on, of, Input::Child(supervision::Input::ChildExited { child, pid, reason }));
                }
            },
            Output::Child(Command::Stop { pid, cause, .. }) => {
                self.later(8, Event::StopAt { by: of, pid, reason: cause.reason() });
            }
            Output::Child(Command::End(_)) => {
                assert_eq!(of, LOSER);
                self.lives[of] = false;
                self.later(8, Event::Fact(WINNER, Input::Node(failover::Input::RivalGone)));
            }
            Output::Child(Command::DoubtName) => panic!("the coordinator looks after that"),
            Output::Child(Command::Report(Report::DuplicateStopped { child, generation, .. })) => {
                assert!(self.told[of].insert((child, generation)), "once");
            }
            Output::Child(
                Command::Ready | Command::Reply { .. } | Command::Report(_) | Command::Forget { .. },
            ) => {}
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Fact(of, input) => self.step(of, input),
            Event::Link(a, b) => {
                self.links.insert(pair(a, b));
                // A supervisor may stop something before it is known that there is one.
                self.later(self.names_within, Event::Names(a, b));
                for of in [LOSER, WINNER] {
                    let home = self.homes[of];
                    if let Some(other) = [(a, b), (b, a)].into_iter().find(|ends| ends.0 == home) {
                        let up = failover::Input::NodeUp { node: name(other.1), incarnation: Incarnation(1) };
                        self.step(of, Input::Node(up));
                    }
                }
            }
            Event::Names(a, b) => {
                self.named.insert(pair(a, b));
                if pair(a, b) == pair(self.homes[0], self.homes[1]) {
                    self.name_lost();
                }
            }
            Event::Spawn { by, on, child, generation } => {
                let rank = |p: &&Process| (&p.child, p.generation, p.by) == (&child, generation, by);
                let before = self.processes.values().find(rank);
                assert!(before.is_none(), "two of one generation");
                self.sequence += 1;
                let pid = Pid::new(name(on), Incarnation(1), self.sequence);
                // Who asked for it watches it from its start on.
                let watched = [LOSER, WINNER].map(|of| of == by);
                let process = Process { child: child.clone(), generation, by, watched };
                self.processes.insert(pid.clone(), process);
                let fact = supervision::Input::StartSucceeded { child, generation, pid };
                self.say(on, by, Input::Child(fact));
            }
            Event::Told { to, node, query, term } => {
                let here = self.processes.iter().filter(|(pid, _)| *pid.node_id() == node);
                let tell = |(pid, p): (&Pid, &Process)| Found {
                    child: p.child.clone(),
                    generation: p.generation,
                    owner: Some(self.owners[p.by].clone()),
                    pid: pid.clone(),
                };
                let reached = (0..self.nodes).any(|n| name(n) == node && self.reaches(to, n));
                let found = reached.then(|| here.map(tell).collect());
                let on = (0..self.nodes).find(|n| name(*n) == node).unwrap();
                if reached {
                    let noted = self.terms.entry(on).or_default();
                    let seen = *noted;
                    *noted = seen.max(term);
                    self.say(on, to, Input::Child(supervision::Input::Seen { term: seen }));
                }
                self.say(on, to, Input::Node(failover::Input::Answered { node, query, found }));
            }
            Event::StopAt { by, pid, reason } => {
                if !self.reaches(by, number(&pid)) {
                    return;
                }
                let Some(process) = self.processes.remove(&pid) else { return };
                for of in [LOSER, WINNER].into_iter().filter(|of| process.watched[*of]) {
                    self.over.insert((pid.clone(), of));
                    let (child, pid, reason) = (process.child.clone(), pid.clone(), reason.clone());
                    let exited = supervision::Input::ChildExited { child, pid: pid.clone(), reason };
                    self.say(number(&pid), of, Input::Child(exited));
                }
            }
            Event::Owners(of) => {
                let seen = (of == LOSER && !self.has_name[LOSER])
                    .then(|| Pid::new(name(self.homes[WINNER]), Incarnation(1), u64::MAX));
                let named = self.is_named(1 - of, self.homes[of]);
                self.step(of, Input::Owners { seen, named });
            }
            Event::HandOver => {
                let keep = (0..CHILDREN).map(|n| format!("c{n}")).collect();
                let reason = ExitReason::error("name_lost");
                self.step(LOSER, Input::Child(supervision::Input::HandedOver { keep, reason }));
            }
            Event::Gone => {
                let home = self.homes[WINNER];
                (self.lives[WINNER], self.has_name[WINNER]) = (false, false);
                self.links.retain(|link| link.0 != home && link.1 != home);
                self.processes.retain(|pid, _| number(pid) != home);
                self.queue.retain(|_, event| match event {
                    Event::Link(a, b) | Event::Names(a, b) => *a != home && *b != home,
                    Event::Spawn { by, .. } | Event::StopAt { by, .. } => *by != WINNER,
                    Event::Fact(..)
                    | Event::Told { .. }
                    | Event::Owners(_)
                    | Event::HandOver
                    | Event::Gone => true,
                });
            }
        }
    }

    /// Whether a node that this one reaches knows that `of` has the name, or is where it runs.
    fn is_named(&self, of: usize, by: usize) -> bool {
        let home = self.homes[of];
        let knows = |n: usize| {
            n == home || self.named.contains(&pair(n, home)) && self.links.contains(&pair(n, home))
        };
        self.has_name[of] && (0..self.nodes).any(|n| self.links.contains(&pair(n, by)) && knows(n))
    }

    /// The one that loses the name hears of it, and asks the winner what it has.
    fn name_lost(&mut self) {
        self.has_name[LOSER] = false;
        if !std::mem::replace(&mut self.yields, true) {
            self.step(LOSER, Input::Child(supervision::Input::Superseded));
            self.later(30, Event::HandOver);
        }
    }

    fn run(&mut self, time: Duration) {
        let until = self.now.plus(time);
        loop {
            let queued = self.queue.first_key_value().map(|((at, _), _)| *at);
            let lives = [LOSER, WINNER].into_iter().filter(|of| self.lives[*of]);
            let due = lives.filter_map(|of| Some((self.machines[of].deadline()?, of))).min();
            let next = queued.into_iter().chain(due.map(|(at, _)| at)).min();
            let Some(next) = next.filter(|at| *at <= until) else { break };
            self.now = self.now.max(next);
            match due.filter(|(at, _)| queued.is_none_or(|queued| *at < queued)) {
                Some((_, of)) => self.step(of, Input::DeadlineReached),
                None => {
                    if let Some((_, event)) = self.queue.pop_first() {
                        self.event(event);
                    }
                }
            }
        }
        self.now = until;
    }

    /// All connections between the sides come back, the one between the supervisors last; or never.
    fn meet(&mut self, both: bool) {
        let homes = pair(self.homes[0], self.homes[1]);
        self.connect(BACK_WITHIN, |link| link != homes);
        if both {
            self.sequence += 1;
            let at = self.now.plus(Duration::from_millis(BACK_WITHIN));
            self.queue.insert((at, self.sequence), Event::Link(homes.0, homes.1));
        }
    }

    /// All connections between the sides come back in whatever order, and names with them.
    fn meet_at_once(&mut self) {
        self.names_within = 10;
        self.connect(60, |_| true);
    }

    fn connect(&mut self, within: u64, which: impl Fn((usize, usize)) -> bool) {
        let (here, all) = (self.homes[1], self.nodes);
        for (a, b) in (0..here).flat_map(|a| (here..all).map(move |b| (a, b))).filter(|link| which(*link)) {
            self.later(within, Event::Link(a, b));
        }
    }

    /// On those nodes each child runs once, and that one knows it.
    fn check(&self, of: usize, counts: impl Fn(usize) -> bool) {
        for n in 0..CHILDREN {
            let id = format!("c{n}");
            let here = |(pid, p): &(&Pid, &Process)| p.child == id && counts(number(pid));
            let alive: Vec<_> = self.processes.iter().filter(here).map(|(pid, _)| pid).collect();
            let child = self.machines[of].supervision().child(&id).unwrap();
            assert_eq!(alive.len(), 1, "{id}: {alive:?}, the table says {:?}", child.state);
            assert_eq!(child.state, State::Running { pid: alive[0].clone() });
            assert!(self.processes[alive[0]].watched[of]);
        }
    }
}

fn name(index: usize) -> NodeId {
    node(index as u64)
}

fn number(pid: &Pid) -> usize {
    (0..).find(|n| name(*n) == *pid.node_id()).unwrap()
}

const SIDES: [(usize, usize); 5] = [(1, 1), (2, 3), (3, 2), (1, 4), (4, 1)];
const STRATEGIES: [Strategy; 3] = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_stopped_before_two_supervisors_have_met_is_not_started_again(seed: u64) {
        for (sides, strategy) in SIDES.into_iter().flat_map(|sides| STRATEGIES.map(|s| (sides, s))) {
            let mut world = World::new(seed, sides, strategy, [1000, 1001]);
            let before: BTreeSet<Pid> = world.processes.keys().cloned().collect();
            world.meet(true);
            world.run(Duration::from_secs(20));
            prop_assert_eq!(world.lives, [false, true]);
            world.check(WINNER, |_| true);
            prop_assert_eq!(world.starts, [0, 0], "{:?} {}", sides, strategy);
            prop_assert!(world.processes.keys().all(|pid| before.contains(pid)));
        }
    }

    #[test]
    fn whatever_is_stopped_at_the_end_of_a_partition_is_told_of_and_nothing_else(seed: u64) {
        for (sides, strategy) in SIDES.into_iter().flat_map(|sides| STRATEGIES.map(|s| (sides, s))) {
            let mut world = World::cut(seed, sides, strategy);
            let at_once = world.dice.roll(3) > 0;
            let instance = |process: &Process| (process.child.clone(), process.generation);
            let before: BTreeSet<_> = world.processes.values().map(instance).collect();
            if at_once {
                world.meet_at_once();
            } else {
                world.meet(true);
            }
            world.run(Duration::from_secs(20));
            prop_assert_eq!(world.lives, [false, true]);
            world.check(WINNER, |_| true);
            let now: BTreeSet<_> = world.processes.values().map(instance).collect();
            if strategy == Strategy::OneForOne {
                prop_assert_eq!(world.starts, [0, 0], "{:?} {}", sides, strategy);
                // Where both stop it, both tell of it.
                let stopped: BTreeSet<_> = before.difference(&now).cloned().collect();
                prop_assert_eq!(&world.told[LOSER] | &world.told[WINNER], stopped, "{:?}", sides);
            } else {
                prop_assert_eq!(world.starts[LOSER], 0, "{:?} {}", sides, strategy);
            }
        }
    }

    #[test]
    fn also_where_the_one_that_keeps_the_name_has_the_lower_generations(seed: u64) {
        for (sides, strategy) in SIDES.into_iter().flat_map(|sides| STRATEGIES.map(|s| (sides, s))) {
            let mut world = World::new(seed, sides, strategy, [1001, 1000]);
            world.meet(true);
            world.run(Duration::from_secs(20));
            prop_assert_eq!(world.lives, [false, true]);
            world.check(WINNER, |_| true);
            // By the other strategies the winner takes nothing over.
            let taken_over = strategy == Strategy::OneForOne;
            prop_assert!(world.starts == [0, 0] || (!taken_over && world.starts[LOSER] == 0), "{:?}", world.starts);
        }
    }

    #[test]
    fn what_was_stopped_by_one_that_is_gone_before_they_meet_is_started_again(seed: u64) {
        for (sides, strategy) in SIDES.into_iter().flat_map(|sides| STRATEGIES.map(|s| (sides, s))) {
            let mut world = World::new(seed, sides, strategy, [1000, 1001]);
            world.meet(false);
            let lives = world.dice.roll(BACK_WITHIN);
            world.run(Duration::from_millis(lives));
            world.event(Event::Gone);
            world.run(Duration::from_secs(20));
            world.check(LOSER, |_| true);
        }
    }

    #[test]
    fn one_that_is_never_met_keeps_a_child_waiting_once_and_for_no_longer_than_a_silent_node(seed: u64) {
        let patience = INTERVAL * 3;
        for strategy in STRATEGIES {
            let mut world = World::new(seed, (2, 3), strategy, [1000, 1001]);
            world.meet(false);
            let (mut gone, mut waits) = (BTreeMap::<String, Duration>::new(), Vec::new());
            for _ in 0..400 {
                let tick = Duration::from_millis(100);
                world.run(tick);
                for child in world.machines[LOSER].supervision().children() {
                    let id = &child.rule.id;
                    if child.pid().is_some_and(|pid| world.processes.contains_key(pid)) {
                        waits.extend(gone.remove(id));
                    } else {
                        *gone.entry(id.clone()).or_default() += tick;
                    }
                }
            }
            waits.extend(gone.into_values());
            // It asks, and waits for answers and stops.
            let most = waits.iter().max().copied().unwrap_or_default();
            prop_assert!(most <= patience + Duration::from_millis(1500), "{most:?} {strategy}");
            // What is waited for because it is heard of takes longer than signs that follow each other.
            let long = waits.iter().filter(|wait| **wait > Duration::from_secs(2)).count();
            prop_assert!(long <= 9, "{long} {strategy}: {waits:?}");
        }
    }

    #[test]
    fn two_that_began_in_the_same_second_agree_on_what_stays(seed: u64) {
        for (sides, strategy) in SIDES.into_iter().flat_map(|sides| STRATEGIES.map(|s| (sides, s))) {
            for greater in [WINNER, LOSER] {
                let mut world = World::equal(seed, sides, strategy, greater);
                let generations = |world: &World, by: usize| -> BTreeSet<Generation> {
                    world.processes.values().filter(|p| p.by == by).map(|p| p.generation).collect()
                };
                prop_assert_eq!(generations(&world, LOSER), generations(&world, WINNER));
                world.meet(true);
                world.run(Duration::from_secs(20));
                prop_assert_eq!(world.lives, [false, true]);
                world.check(WINNER, |_| true);
                // What the winner has is the later one of two, or it takes over what is.
                if greater == WINNER || strategy == Strategy::OneForOne {
                    prop_assert_eq!(world.starts, [0, 0], "{:?} {}", sides, strategy);
                    prop_assert!(world.processes.values().all(|p| p.by == greater));
                } else {
                    prop_assert_eq!(world.starts[LOSER], 0, "{:?} {}", sides, strategy);
                }
            }
        }
    }
}
