//! The supervisor's own node fails as well: it is killed, freezes and thaws, stands still for a moment, or what it says takes long. One
//! that stands by on another node takes over, with connections of its own.

use proptest::sample::select;

use super::*;

impl World {
    pub(super) fn trouble_at_home(&mut self) {
        match self.dice.roll(4) {
            0 => self.lose_home_to_any(false),
            // As in `replace`.
            1 if self.settings.strategy == Strategy::SimpleOneForOne => {}
            1 => self.lose_home_to_any(true),
            2 => self.stall(),
            _ => {
                self.lag = 300;
                self.later(1000, Event::LagEnds);
            }
        }
    }

    /// An order on its way to a node.
    pub(super) fn order(&mut self, event: Event) {
        let delay = self.dice.roll(self.lag);
        self.later(delay, event);
    }

    /// In order, when the supervisor's node goes on.
    pub(super) fn when_it_goes_on(&mut self, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.stalled, self.sequence), event);
    }

    /// Where the next one stands by.
    fn next_home(&mut self) -> Option<NodeId> {
        let stands_by = |(id, node): &(&NodeId, &Node)| **id != self.home && node.alive && !node.frozen;
        let all: Vec<NodeId> = self.nodes.iter().filter(stands_by).map(|(id, _)| id.clone()).collect();
        let at = self.dice.roll(all.len().max(1) as u64);
        all.get(usize::try_from(at).unwrap()).cloned()
    }

    /// Nothing that the former one's node had said or was to hear comes to an end; the next one has sessions of its own. It may be
    /// on the other side of a partition.
    fn move_to(&mut self, home: NodeId) {
        let unconfirmed: Vec<Pid> = self.queue.values().filter_map(Event::started).cloned().collect();
        for pid in unconfirmed {
            if self.dice.roll(2) == 0 {
                self.nodes.get_mut(pid.node_id()).unwrap().processes.remove(&pid);
            }
        }
        if self.nodes[&home].cut.is_some() {
            self.change_sides();
        }
        for (id, node) in &mut self.nodes {
            node.session += 1;
            node.unsent.clear();
            node.connected = *id == home || (node.alive && !node.is_silent());
        }
        self.home = home;
    }

    fn lose_home_to_any(&mut self, freezes: bool) {
        // One that has never begun has no name to lose.
        if freezes && self.now < self.vacant {
            return;
        }
        let Some(next) = self.next_home() else { return };
        let crosses = self.nodes[&next].cut.is_some();
        let (vacant, back) = (self.dice.roll(600), self.dice.roll(2000));
        self.lose_home(freezes, next, vacant, back);
        if crosses {
            let back = self.dice.roll(4000);
            self.join_again(back);
        }
    }

    /// It is found dead, and another one has its name some time later. Killed it begins anew after that; frozen it thaws.
    pub(super) fn lose_home(&mut self, freezes: bool, next: NodeId, vacant: u64, back: u64) {
        let node = self.home.clone();
        self.vacant = self.now.plus(Duration::from_millis(vacant));
        let old = self.nodes.get_mut(&node).unwrap();
        if freezes {
            old.frozen = true;
        } else {
            old.alive = false;
            old.processes.clear();
        }
        self.move_to(next);
        self.succeed(freezes, &node);
        if let Some(loser) = &mut self.loser {
            loser.frozen = true;
        }
        self.later(vacant + back, if freezes { Event::Thaw { node } } else { Event::Restart { node } });
    }

    /// The one before it is frozen there, and would thaw on another side.
    pub(super) fn is_loser_cut_off(&self, thaw: &Event) -> bool {
        let Event::Thaw { node } = thaw else { return false };
        self.nodes[node].cut.is_some() && self.loser.as_ref().is_some_and(|loser| loser.is_frozen_on(node))
    }

    pub(super) fn thaw_home(&mut self, node: &NodeId) {
        if let Some(loser) = self.loser.as_mut().filter(|loser| loser.is_frozen_on(node)) {
            loser.frozen = false;
            self.thaw_loser();
        }
    }

    /// It stands still. The others close its connections when that takes too long.
    fn stall(&mut self) {
        let millis = 50 + self.dice.roll(1500);
        if self.now < self.stalled {
            return;
        }
        self.stalled = self.now.plus(Duration::from_millis(millis));
        self.stood_still = self.stalled.since(self.now) > self.machine.patience();
        let others = self.nodes.iter().filter(|(id, _)| **id != self.home);
        let sessions: Vec<_> = others.map(|(id, node)| (id.clone(), node.session)).collect();
        for (node, session) in sessions {
            let silence = 400 + self.dice.roll(200);
            if silence < millis {
                self.later(silence, Event::Dropped { node, session });
            }
        }
    }
}

impl Event {
    fn started(&self) -> Option<&Pid> {
        match self {
            Self::Spawned { pid, .. } => Some(pid),
            Self::Old(event) => event.started(),
            _ => None,
        }
    }
}

/// It ends with the restart that is one too many, and nobody is left.
fn to_the_limit(seed: u64, nodes: u64, children: u64, most: u32, strategy: Strategy) {
    let mut world = World::new(seed, nodes, children, strategy, Terms::default());
    world.settings.intensity = RestartIntensity { max_restarts: most, within: Duration::from_secs(3600) };
    let rules = rules(strategy, children);
    let machine = Supervision::new(world.settings, rules).owned_by(owner(1));
    (world.machine, world.era) = (Coordinator::new(machine, world.terms.failover()), 1);
    world.queue.clear();
    world.in_flight.clear();
    world.nodes.values_mut().for_each(|node| node.processes.clear());
    world.begin();
    world.run(Monotonic::from_millis(1000));
    world.check();
    let mut mishaps = 0;
    while !world.ended {
        assert!(mishaps < 500, "it does not end: {} counted", world.machine.supervision().counted());
        mishaps += 1;
        world.failure();
        let pause = world.dice.roll(400);
        world.run(world.now.plus(Duration::from_millis(pause)));
        assert!(world.machine.supervision().counted() <= u64::from(most) + 1);
    }
    assert_eq!(world.machine.supervision().counted(), u64::from(most) + 1, "{mishaps} failures");
    world.heal();
    world.run(world.now.plus(Duration::from_secs(60)));
    let left: Vec<_> = world.nodes.values().flat_map(|node| node.processes.keys()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    assert_eq!(world.machine.supervision().child_count(), 0);
}

impl World {
    /// A child fails, or a node with its children; everybody stays in reach who lives.
    fn failure(&mut self) {
        let all: Vec<Pid> = self.nodes.values().flat_map(|node| node.processes.keys().cloned()).collect();
        let others: Vec<NodeId> = self.nodes.keys().filter(|id| **id != self.home).cloned().collect();
        let victim = others[usize::try_from(self.dice.roll(others.len() as u64)).unwrap()].clone();
        if self.dice.roll(3) > 0 {
            let at = self.dice.roll(all.len().max(1) as u64);
            if let Some(pid) = all.get(usize::try_from(at).unwrap()) {
                self.die(pid, ExitReason::Panic("boom".into()));
            }
        } else if self.nodes[&victim].alive {
            self.nodes.get_mut(&victim).unwrap().alive = false;
            self.disconnect(&victim, NodeDownReason::ConnectionClosed);
            self.nodes.get_mut(&victim).unwrap().processes.clear();
            let down = self.dice.roll(600);
            self.later(down, Event::Restart { node: victim });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn nor_where_the_cluster_is_parted_and_where_orphans_stop_none_runs_twice_at_any_time(
        seed: u64, nodes in nodes(), children in 1u64..9, mishaps in 1u64..14,
        strategy in select(Strategy::ALL), terms in select(Terms::every().to_vec())
    ) {
        simulate_with(seed, (nodes, children, mishaps), strategy, terms.restless());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_happens_to_the_node_of_the_supervisor_no_child_is_lost_and_none_runs_twice(
        seed: u64, nodes in nodes(), children in 1u64..9, mishaps in 1u64..14
    ) {
        for strategy in Strategy::ALL {
            simulate_with(seed, (nodes, children, mishaps), *strategy, Terms::default().restless());
        }
    }

    #[test]
    fn over_the_limit_of_restarts_which_is_exact_everything_ends_and_nobody_is_left(
        seed: u64, nodes in nodes(), children in 1u64..9, most in 0u32..6
    ) {
        for strategy in Strategy::ALL {
            to_the_limit(seed, nodes, children, most, *strategy);
        }
    }
}
