//! What the next supervisor finds when the node of the one before is lost, also in the middle of a partition: it takes over what
//! lives, and starts what does not, where it may.

use proptest::sample::select;

use super::*;

/// Milliseconds.
const GRACE: u64 = 300;

/// How a supervisor is lost, and where the next one begins.
#[derive(Clone, Copy, Debug)]
struct Loss {
    here: u64,
    there: u64,
    /// The next one is on the other side.
    crosses: bool,
    /// Its node freezes, and is not killed.
    freezes: bool,
    /// So long nobody has the name.
    vacant: u64,
}

impl Loss {
    /// Every way, with no time until the next one has the name.
    fn every() -> Vec<Self> {
        let sides = [
            (5, 0, false),
            (2, 0, false),
            (3, 2, false),
            (3, 2, true),
            (2, 3, false),
            (2, 3, true),
            (1, 4, true),
            (4, 1, true),
        ];
        let of = |(here, there, crosses)| {
            [false, true].map(|freezes| Self { here, there, crosses, freezes, vacant: 0 })
        };
        sides.into_iter().flat_map(of).collect()
    }

    /// Whether that side has the majority. The lost node, which is the first one, does not count on any side.
    fn is_majority(self, live: u64) -> bool {
        live * 2 > self.here + self.there
    }

    /// How many nodes live on the side of the next one, and on the other one.
    fn live(self) -> (u64, u64) {
        let old = self.here - 1;
        if self.crosses { (self.there, old) } else { (old, self.there) }
    }

    /// How many children can run on the side of the next one: one is bound to the second node.
    fn startable(self) -> usize {
        let has_second = (self.here > 1) != self.crosses;
        if has_second { 9 } else { 8 }
    }
}

/// What became of the instances.
#[derive(Debug)]
struct Takeover {
    /// Those on the side of the next one.
    lived: BTreeSet<Pid>,
    /// Those on the other side.
    cut_off: BTreeSet<Pid>,
    /// Those of them that live once nobody had the name for a while.
    orphans: BTreeSet<Pid>,
    /// Those that lived everywhere in the end of the partition.
    alive: BTreeSet<Pid>,
    on_each_side: (usize, usize),
    /// How many the next one started until then.
    started: usize,
}

/// A cluster in two parts, or in one, loses its supervisor. After that all come together again.
fn take_over(seed: u64, loss: Loss, terms: Terms) -> Takeover {
    let mut world = World::new(seed, loss.here + loss.there, 9, Strategy::OneForOne, terms);
    world.run(Monotonic::from_millis(1000));
    world.check();
    let all = |range: std::ops::Range<u64>| -> Vec<NodeId> { range.map(node).collect() };
    let (here, there) = (all(1..loss.here), all(loss.here..loss.here + loss.there));
    world.part_from(&there);
    world.run(world.now.plus(Duration::from_secs(5)));
    let on = |world: &World, nodes: &[NodeId]| -> BTreeSet<Pid> {
        nodes.iter().flat_map(|id| world.nodes[id].processes.keys().cloned()).collect()
    };
    let (next, other) = if loss.crosses { (there, here) } else { (here, there) };
    let (lived, cut_off) = (on(&world, &next), on(&world, &other));
    let home = next[usize::try_from(world.dice.roll(next.len() as u64)).unwrap()].clone();
    world.lose_home(loss.freezes, home, loss.vacant, 20_000);
    // What is over by then is gone before the next one can say anything.
    world.run(world.now.plus(Duration::from_millis(loss.vacant.min(GRACE + 1))));
    let orphans = &on(&world, &next) & &lived;
    world.run(world.now.plus(Duration::from_secs(15)));
    // Not what stands still with the former one.
    let frozen = on(&world, &[node(0)]);
    let on_each_side = (on(&world, &next).len(), on(&world, &other).len());
    let alive = &world.alive() - &frozen;
    let started = world.ever.keys().filter(|(_, _, era)| *era == world.era).count();
    world.join_again(0);
    world.run(world.now.plus(Duration::from_secs(30)));
    world.check();
    Takeover { lived, cut_off, orphans, alive, on_each_side, started }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn what_runs_on_is_taken_over_and_not_restarted(
        seed: u64, loss in select(Loss::every()), vacant in 0u64..600
    ) {
        let loss = Loss { vacant, ..loss };
        let seen = take_over(seed, loss, Terms::failover_policy());
        prop_assert_eq!(seen.on_each_side.0, loss.startable());
        prop_assert_eq!(&seen.orphans, &seen.lived);
        prop_assert!(seen.alive.is_superset(&seen.lived), "{seen:?}");
        prop_assert_eq!(seen.started, loss.startable() - seen.lived.len());
        prop_assert!(seen.alive.is_superset(&seen.cut_off), "{seen:?}");
    }

    #[test]
    fn orphans_that_stop_are_taken_over_before_their_time_and_gone_after_it(
        seed: u64, loss in select(Loss::every()), in_time: bool
    ) {
        let loss = Loss { vacant: if in_time { GRACE - 100 } else { GRACE + 100 }, ..loss };
        let seen = take_over(seed, loss, Terms::stop_after(Duration::from_millis(GRACE)));
        prop_assert_eq!(seen.on_each_side, (loss.startable(), 0));
        if in_time {
            prop_assert_eq!(&seen.orphans, &seen.lived);
            prop_assert!(seen.alive.is_superset(&seen.lived), "{seen:?}");
        } else {
            prop_assert!(seen.orphans.is_empty(), "{seen:?}");
        }
        prop_assert!(seen.alive.is_disjoint(&seen.cut_off), "{seen:?}");
    }

    #[test]
    fn under_majority_the_next_one_goes_on_where_most_are_and_nowhere_else(
        seed: u64, loss in select(Loss::every()), vacant in 0u64..600, strict: bool
    ) {
        let loss = Loss { vacant, ..loss };
        let terms = if strict { Terms::strict_majority() } else { Terms::majority() };
        let seen = take_over(seed, loss, terms);
        let (next, other) = loss.live();
        if loss.is_majority(next) {
            prop_assert_eq!(seen.on_each_side, (loss.startable(), 0));
            prop_assert!(seen.alive.is_superset(&seen.lived), "{seen:?}");
        } else {
            prop_assert_eq!((seen.on_each_side.0, seen.started), (0, 0));
        }
        // What depends on the majority alone runs on there.
        let run_on = loss.is_majority(other) && !strict;
        let expected = if run_on { seen.cut_off.clone() } else { BTreeSet::new() };
        prop_assert_eq!(&seen.alive & &seen.cut_off, expected);
    }
}
