//! Parts of the cluster that do not reach each other, and instances that stop themselves when they are cut off.
//!
//! Every node knows the others directly: it has those in reach that live and are on its side. Whom it lost it finds out as
//! late as the supervisor does, give or take an interval.

use noex_actors::__private::Lease;

use super::*;
use crate::{
    machine::standing::{Policy, Standing},
    options::PartitionDecision,
};

/// What a supervisor and its children do while a part of the cluster is out of reach.
#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    policy: Policy,
    /// How long instances run on that depend on somebody.
    grace: Option<Duration>,
    /// They depend on the majority.
    by_majority: bool,
    /// They depend on the supervisor.
    by_supervisor: bool,
    /// There are partitions, and no second supervisor before the first one is gone.
    parted: bool,
    /// Children are moved now and then.
    rebalances: bool,
    /// Now and then another supervisor stops an instance, and is never met.
    haunted: bool,
    /// The supervisor's own node fails, too.
    restless: bool,
}

/// How long it takes to find a silent node dead.
const DETECTION: Duration = Duration::from_millis(600);

impl Terms {
    fn of(policy: Policy, grace: Option<Duration>) -> Self {
        let by_majority = matches!(policy, Policy::Majority(_));
        let by_supervisor = grace.is_some() && !by_majority;
        Self { policy, grace, by_majority, by_supervisor, parted: true, rebalances: false, ..Self::default() }
    }

    pub(super) fn failover_policy() -> Self {
        Self::of(Policy::Failover, None)
    }

    pub(super) fn majority() -> Self {
        Self::of(Policy::Majority(BTreeSet::new()), Some(DETECTION))
    }

    /// Also of nodes that have the majority in reach, but not the supervisor.
    pub(super) fn strict_majority() -> Self {
        Self { by_supervisor: true, ..Self::majority() }
    }

    pub(super) fn stop_after(grace: Duration) -> Self {
        Self::of(Policy::Failover, Some(grace))
    }

    fn always(decision: PartitionDecision) -> Self {
        Self::of(Policy::Custom(std::sync::Arc::new(move |_| decision)), None)
    }

    /// One of each kind.
    pub(super) fn every() -> [Self; 6] {
        [
            Self::failover_policy(),
            Self::majority(),
            Self::strict_majority(),
            Self::stop_after(Duration::from_millis(300)),
            Self::always(PartitionDecision::Wait),
            Self::always(PartitionDecision::StopChildren),
        ]
    }

    pub(super) fn failover(&self) -> Failover {
        let standing = Standing::new(self.policy.clone(), Duration::from_secs(600));
        Failover::new(INTERVAL, 3).fenced(standing, self.grace)
    }

    pub(super) fn is_fenced(&self) -> bool {
        self.grace.is_some()
    }

    pub(super) fn rebalancing(self) -> Self {
        Self { rebalances: true, ..self }
    }

    fn haunted() -> Self {
        Self { haunted: true, ..Self::default() }
    }

    pub(super) fn restless(self) -> Self {
        Self { restless: true, ..self }
    }

    pub(super) fn is_restless(&self) -> bool {
        self.restless
    }

    pub(super) fn is_haunted(&self) -> bool {
        self.haunted
    }

    pub(super) fn is_parted(&self) -> bool {
        self.parted
    }

    pub(super) fn rebalances(&self) -> bool {
        self.rebalances
    }

    pub(super) fn mishaps(&self) -> u64 {
        7 + u64::from(self.parted) + u64::from(self.haunted) + u64::from(self.rebalances)
    }
}

impl Node {
    /// No answer comes from it.
    pub(super) fn is_silent(&self) -> bool {
        self.frozen || self.cut.is_some()
    }
}

impl World {
    /// Whether this node has those in reach on whom its instances depend.
    fn has_others(&self, id: &NodeId) -> bool {
        let (own, home) = (&self.nodes[id], &self.home);
        let reaches = |(other, peer): &(&NodeId, &Node)| {
            *other == id
                || (peer.alive
                    && !peer.frozen
                    && peer.cut.is_some() == own.cut.is_some()
                    && (*other != home || own.connected)
                    && (id != home || peer.connected))
        };
        let here: Vec<&NodeId> = self.nodes.iter().filter(reaches).map(|(other, _)| other).collect();
        if self.terms.by_supervisor && (self.now < self.vacant || !here.contains(&home)) {
            return false;
        }
        if !self.terms.by_majority {
            return true;
        }
        match (here.len() * 2).cmp(&self.nodes.len()) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Equal => here.contains(&&node(0)),
            std::cmp::Ordering::Less => false,
        }
    }

    /// How long this node needs to find out, and its instances to stop.
    fn lease_of(&self, id: &NodeId) -> Option<Monotonic> {
        Some(self.nodes[id].alone?.plus(self.terms.grace?))
    }

    /// Takes note of who is alone, and lets leases end.
    pub(super) fn look_at_leases(&mut self) {
        if self.terms.grace.is_none() {
            return;
        }
        for id in &self.nodes.keys().cloned().collect::<Vec<_>>() {
            let (alive, frozen) = (self.nodes[id].alive, self.nodes[id].frozen);
            if frozen || !alive {
                // What is frozen looks when it thaws.
                if alive {
                    let now = self.now;
                    self.nodes.get_mut(id).unwrap().alone.get_or_insert(now);
                }
                continue;
            }
            let alone = !self.has_others(id);
            let (now, is_home) = (self.now, *id == self.home && self.now >= self.vacant);
            let node = self.nodes.get_mut(id).unwrap();
            // The end of a connection shows at once, silence later.
            let late = (node.is_silent() && node.connected) || is_home;
            let noticed = now.plus(if late { DETECTION } else { Duration::ZERO });
            node.alone = alone.then(|| node.alone.unwrap_or(noticed));
            self.check_leases(id);
        }
    }

    pub(super) fn check_leases(&mut self, id: &NodeId) {
        if self.lease_of(id).is_some_and(|at| at <= self.now) {
            let orphans: Vec<Pid> = self.nodes[id].processes.keys().cloned().collect();
            for pid in orphans {
                self.die(&pid, Lease::reason());
            }
        }
    }

    /// When the next lease ends.
    pub(super) fn lease_due(&self) -> Option<Monotonic> {
        let ends = |(id, node): (&NodeId, &Node)| {
            let has_some = node.alive && !node.frozen && !node.processes.is_empty();
            self.lease_of(id).filter(|_| has_some)
        };
        self.nodes.iter().filter_map(ends).min()
    }

    /// Of a child whose instances stop themselves no two are alive at any moment.
    pub(super) fn forbid_two(&self, child: &str) {
        if !self.terms.by_supervisor {
            return;
        }
        for (id, node) in &self.nodes {
            for (pid, process) in &node.processes {
                // What is frozen does nothing, and looks at its lease first.
                let over = node.frozen && self.lease_of(id).is_some_and(|at| at <= self.now);
                assert!(
                    process.child != child || over,
                    "{child} still runs as {pid} at {:?}, {:?}",
                    self.now,
                    self.terms
                );
            }
        }
    }

    /// Some nodes do not reach the others any more.
    pub(super) fn part(&mut self) {
        let away: Vec<NodeId> = self.nodes.keys().filter(|id| **id != self.home).cloned().collect();
        let away: Vec<NodeId> = away.into_iter().filter(|_| self.dice.roll(2) == 0).collect();
        self.part_from(&away);
        let back = self.dice.roll(4000);
        self.join_again(back);
    }

    pub(super) fn part_from(&mut self, away: &[NodeId]) {
        for id in away {
            let now = self.now;
            let node = self.nodes.get_mut(id).unwrap();
            if node.cut.is_some() || !node.alive {
                continue;
            }
            node.cut = Some(now);
            let session = node.session;
            // The last heartbeat came up to an interval ago.
            let silence = 400 + self.dice.roll(200);
            self.later(silence, Event::Silence { node: id.clone(), session, cut: Some(now) });
        }
    }

    /// The supervisor is now on the side that was the other one.
    pub(super) fn change_sides(&mut self) {
        for node in self.nodes.values_mut() {
            node.cut = node.cut.is_none().then_some(self.now);
        }
    }

    /// They reach each other again.
    pub(super) fn join_again(&mut self, after: u64) {
        let cut: Vec<NodeId> =
            self.nodes.iter().filter(|(_, node)| node.cut.is_some()).map(|(id, _)| id.clone()).collect();
        for node in cut {
            self.later(after, Event::Join { node: node.clone() });
            let redial = after + 1 + self.dice.roll(100);
            self.later(redial, Event::Reconnect { node });
        }
    }

    pub(super) fn join(&mut self, id: &NodeId) {
        let node = self.nodes.get_mut(id).unwrap();
        node.cut = None;
        for event in std::mem::take(&mut node.unsent) {
            self.later(0, event);
        }
    }

    /// How many instances run on the supervisor's side, and how many on the other one.
    fn on_each_side(&self) -> (usize, usize) {
        let count = |cut: bool| {
            let side = self.nodes.values().filter(|node| node.cut.is_some() == cut);
            side.map(|node| node.processes.len()).sum()
        };
        (count(false), count(true))
    }

    pub(super) fn alive(&self) -> BTreeSet<Pid> {
        self.nodes.values().flat_map(|node| node.processes.keys().cloned()).collect()
    }
}

/// The first nodes, the supervisor's among them, on one side, the others on the other one, for long; then all together.
/// How many run on each side, which of the instances from before run then, and which in the end.
fn parted(
    seed: u64,
    (here, there): (u64, u64),
    strategy: Strategy,
    terms: Terms,
) -> ((usize, usize), BTreeSet<Pid>, BTreeSet<Pid>) {
    let mut world = World::new(seed, here + there, 9, strategy, terms);
    world.run(Monotonic::from_millis(1000));
    world.check();
    let before = world.alive();
    let away: Vec<NodeId> = (here..here + there).map(node).collect();
    world.part_from(&away);
    world.run(world.now.plus(Duration::from_secs(30)));
    let during = (world.on_each_side(), world.alive());
    world.join_again(0);
    world.run(world.now.plus(Duration::from_secs(10)));
    world.check();
    let kept = |alive: &BTreeSet<Pid>| before.intersection(alive).cloned().collect();
    (during.0, kept(&during.1), kept(&world.alive()))
}

const SIDES: [(u64, u64); 7] = [(2, 3), (3, 2), (1, 4), (4, 1), (1, 1), (2, 2), (3, 3)];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn under_failover_both_sides_run_what_they_can_and_nothing_in_reach_is_restarted(seed: u64) {
        for sides in SIDES {
            let ((here, there), kept, _) = parted(seed, sides, Strategy::OneForOne, Terms::failover_policy());
            // One of nine is bound to the second node.
            let expected = if sides.0 == 1 { 8 } else { 9 };
            prop_assert_eq!(here, expected, "{:?}", sides);
            prop_assert!(there > 0);
            prop_assert_eq!(kept.len(), 9, "all that lived lives on until the sides meet");
        }
    }

    #[test]
    fn under_majority_only_one_side_runs_anything(seed: u64) {
        for sides in SIDES {
            let mut terms = Terms::majority();
            // Where everybody is on one of two sides, also without the supervisor.
            terms.by_supervisor = sides.0 >= sides.1 && seed % 2 == 0;
            let ((here, there), kept, after) = parted(seed, sides, Strategy::OneForOne, terms);
            if sides.0 >= sides.1 {
                let expected = if sides.0 == 1 { 8 } else { 9 };
                prop_assert_eq!((here, there), (expected, 0), "{:?}", sides);
                prop_assert!(kept.iter().all(|pid| after.contains(pid)), "nothing of this side was restarted");
            } else {
                prop_assert_eq!(here, 0, "{:?}", sides);
                prop_assert!(there > 0);
                prop_assert_eq!(&kept, &after, "what lived on the other side is taken over again");
            }
        }
    }

    #[test]
    fn orphans_stop_on_the_other_side_whatever_its_size(seed: u64) {
        for sides in SIDES {
            let terms = Terms::stop_after(Duration::from_millis(300));
            let ((here, there), kept, after) = parted(seed, sides, Strategy::OneForOne, terms);
            prop_assert_eq!((here, there), (if sides.0 == 1 { 8 } else { 9 }, 0), "{:?}", sides);
            prop_assert!(kept.iter().all(|pid| after.contains(pid)));
        }
    }

    #[test]
    fn a_function_may_wait_or_stop_everything_in_reach(seed: u64) {
        for sides in SIDES {
            let terms = Terms::always(PartitionDecision::Wait);
            let ((here, there), kept, after) = parted(seed, sides, Strategy::OneForOne, terms);
            prop_assert_eq!(here + there, 9);
            prop_assert_eq!(kept.len(), 9);
            prop_assert_eq!(after.len(), 9, "nothing was ever restarted");
            let terms = Terms::always(PartitionDecision::StopChildren);
            let ((here, there), ..) = parted(seed, sides, Strategy::OneForOne, terms);
            prop_assert!(here == 0 && there > 0, "{} and {}, {:?}", here, there, sides);
        }
    }

    #[test]
    fn under_every_strategy_a_short_or_long_partition_ends_with_one_of_each(seed: u64) {
        for strategy in Strategy::ALL {
            for sides in [(2, 3), (3, 2)] {
                for terms in Terms::every() {
                    parted(seed, sides, *strategy, terms);
                }
            }
        }
    }
}

/// A node that was back lost four answers in a row, and was taken for lost.
#[test]
fn a_seed_of_a_node_that_was_waited_for() {
    for sides in SIDES {
        let terms = Terms::always(PartitionDecision::Wait);
        let (_, kept, after) = parted(4548008950437195042, sides, Strategy::OneForOne, terms);
        assert_eq!((kept.len(), after.len()), (9, 9));
    }
}

#[test]
fn seeds_that_failed() {
    for (seed, nodes, children, mishaps) in [
        (3203983692537360828, 4, 3, 5),
        (18241064195850681666, 2, 6, 6),
        (10460579775327440214, 5, 6, 11),
        (5280918099574354334, 5, 5, 13),
        (16646361243308522399, 2, 7, 8),
    ] {
        for strategy in Strategy::ALL {
            for terms in [Terms::strict_majority(), Terms::stop_after(Duration::from_millis(300))] {
                simulate_with(seed, (nodes, children, mishaps), *strategy, terms);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_is_cut_off_no_child_is_lost_and_where_orphans_stop_none_runs_twice(
        seed: u64, nodes in nodes(), children in 1u64..9, mishaps in 1u64..14
    ) {
        for strategy in Strategy::ALL {
            for terms in Terms::every() {
                simulate_with(seed, (nodes, children, mishaps), *strategy, terms);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn children_that_are_moved_meanwhile_are_never_lost_and_in_the_end_the_shares_are_even(
        seed: u64, nodes in nodes(), children in 1u64..20, mishaps in 1u64..14
    ) {
        for strategy in Strategy::ALL {
            for terms in [Terms::default(), Terms::failover_policy(), Terms::strict_majority()] {
                simulate_with(seed, (nodes, children, mishaps), *strategy, terms.rebalancing());
            }
        }
    }
}

#[test]
fn a_seed_whose_loser_was_told_what_is_alive_after_it_knew() {
    for strategy in Strategy::ALL {
        simulate_with(7023725364957535334, (5, 7, 11), *strategy, Terms::haunted());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_a_supervisor_stops_that_is_never_met_is_started_again_once_and_counts_nothing(
        seed: u64, nodes in nodes(), children in 1u64..9, mishaps in 1u64..14
    ) {
        for strategy in Strategy::ALL {
            simulate_with(seed, (nodes, children, mishaps), *strategy, Terms::haunted());
        }
    }
}
