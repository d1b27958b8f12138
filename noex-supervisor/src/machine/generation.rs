//! Generations: decides the number of each start, so that a later instance always has the higher one; and which of two is the
//! later one.
//!
//! A supervisor instance takes a term = max(highest term seen for its name + 1, unix seconds); within it starts are
//! counted. Two that begin in the same second and cannot see each other take the same term: then the greater owner is the later
//! one. Invariants: 1. `next` is above every generation it ever gave or observed; 2. of two instances of a child, whatever
//! supervisors started them, one is the later one, for everybody.

use noex_actors::{Generation, Owner};

/// How late an instance is: by its generation first, then by who started it. No two instances of a child have the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) generation: Generation,
    pub(crate) owner: Option<Owner>,
}

/// A supervisor instance among those of its name.
type Reign = (u64, Option<Owner>);

/// The counter of one supervisor instance.
#[derive(Debug)]
pub(crate) struct Generations {
    last: Generation,
    owner: Option<Owner>,
    /// The latest that may have the name.
    doubted: Reign,
}

impl Generations {
    /// The counter of a supervisor that starts at `unix_seconds`.
    pub(crate) fn new(owner: Option<Owner>, unix_seconds: u64) -> Self {
        Self { last: Generation::new(unix_seconds, 0), owner, doubted: (0, None) }
    }

    /// It begins, and saw `highest` among the living instances: nothing has been started before. It goes beyond that, and beyond all
    /// that it doubted: also beyond its own term, which another one may have had.
    pub(crate) fn begin(&mut self, highest: Option<Generation>) {
        let seen = highest.map_or(0, Generation::term).max(self.doubted.0);
        let above = if seen == 0 { 0 } else { seen.saturating_add(1) };
        self.last = Generation::new(above.max(self.term()), 0);
    }

    /// The generation of the next start.
    pub(crate) fn next(&mut self) -> Generation {
        self.last = Generation(self.last.0.saturating_add(1));
        self.last
    }

    /// The term of this supervisor instance.
    pub(crate) fn term(&self) -> u64 {
        self.last.term()
    }

    /// The supervisor that starts now.
    pub(crate) fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }

    /// Whether the instance was started by a supervisor that came after this one.
    pub(crate) fn is_later(&self, rank: &Rank) -> bool {
        (rank.generation.term(), &rank.owner) > (self.term(), &self.owner)
    }

    /// Takes note of an instance that may be of a later supervisor: somebody else's until [`outlive`](Self::outlive).
    pub(crate) fn doubt(&mut self, rank: Rank) {
        let reign = (rank.generation.term(), rank.owner);
        self.doubted = std::mem::take(&mut self.doubted).max(reign);
    }

    /// Goes beyond all that was doubted.
    pub(crate) fn outlive(&mut self) {
        let (term, owner) = &self.doubted;
        if (*term, owner) > (self.term(), &self.owner) {
            self.last = Generation::new(term.saturating_add(1), 0);
        }
    }

    /// Takes note of an instance that somebody else started.
    pub(crate) fn observe(&mut self, generation: Generation) {
        if generation > self.last {
            self.last = Generation::new(generation.term().saturating_add(1), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use noex_actors::{Incarnation, NodeId, Pid};

    use super::*;

    fn owner(number: u64) -> Owner {
        Owner(Pid::new(NodeId::new("a", "h", 1).unwrap(), Incarnation(1), number))
    }

    fn rank(term: u64, n: u64, number: u64) -> Rank {
        Rank { generation: Generation::new(term, n), owner: Some(owner(number)) }
    }

    #[test]
    fn a_term_is_above_all_that_was_seen_and_not_before_the_clock() {
        let mut fresh = Generations::new(None, 1000);
        fresh.begin(None);
        assert_eq!(fresh.next(), Generation::new(1000, 1));
        assert_eq!(fresh.next(), Generation::new(1000, 2));
        let mut behind = Generations::new(None, 1000);
        behind.begin(Some(Generation::new(2000, 7)));
        assert_eq!(behind.next(), Generation::new(2001, 1));
    }

    #[test]
    fn what_was_observed_is_exceeded() {
        let mut generations = Generations::new(None, 5);
        generations.observe(Generation::new(4, 9));
        assert_eq!(generations.next(), Generation::new(5, 1));
        generations.observe(Generation::new(9, 3));
        assert!(generations.next() > Generation::new(9, 3));
    }

    #[test]
    fn of_equal_generations_the_one_of_the_smaller_pid_is_the_later() {
        assert!(rank(7, 1, 1) > rank(7, 1, 2));
        assert!(rank(7, 2, 2) > rank(7, 1, 1), "the count goes first");
        let unknown = Rank { generation: Generation::new(7, 1), owner: None };
        assert!(rank(7, 1, 2) > unknown);
    }

    #[test]
    fn of_two_that_began_in_one_second_each_knows_which_came_after() {
        let (first, second) = (Generations::new(Some(owner(2)), 7), Generations::new(Some(owner(1)), 7));
        assert!(first.is_later(&rank(7, 1, 1)));
        assert!(!second.is_later(&rank(7, 9, 2)));
        assert!(!first.is_later(&rank(7, 9, 2)), "its own");
        assert!(second.is_later(&rank(8, 1, 2)));
    }

    #[test]
    fn what_was_doubted_is_outlived_also_if_it_began_in_the_same_second() {
        let mut generations = Generations::new(Some(owner(2)), 7);
        generations.doubt(rank(7, 1, 2));
        generations.outlive();
        assert_eq!(generations.term(), 7, "its own");
        generations.doubt(rank(7, 1, 1));
        generations.outlive();
        assert_eq!(generations.next(), Generation::new(8, 1));
        assert!(!generations.is_later(&rank(7, 1, 1)));
    }
}
