//! Quorum: decides whether this side of a cluster is the one that goes on.
//!
//! | Who counts | |
//! |---|---|
//! | voters were named | these, whether they were ever seen or not |
//! | none were | every member that was ever connected and did not say goodbye |
//!
//! More than half of them in reach is a majority; exactly half is one if the smallest id is among them. Invariants: 1. of two
//! sides that know the same members at most one has the majority; 2. nobody is forgotten on a side that does not have it.
//!
//! Source: the design's rule "Orphans".

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use noex_actors::{Monotonic, NodeId};

/// The members of a cluster as one node knows them, itself included.
#[derive(Clone, Debug)]
pub struct Quorum {
    /// Since when it is lost, if it is.
    members: BTreeMap<NodeId, Option<Monotonic>>,
    largest: usize,
    forget_after: Duration,
}

impl Quorum {
    /// Nobody yet.
    #[must_use]
    pub fn new(forget_after: Duration) -> Self {
        Self { members: BTreeMap::new(), largest: 0, forget_after }
    }

    /// It is connected.
    pub fn up(&mut self, node: NodeId) {
        self.members.insert(node, None);
        self.largest = self.largest.max(self.members.len());
    }

    /// It is out of reach.
    pub fn lost(&mut self, node: NodeId, now: Monotonic) {
        self.members.entry(node).or_default().get_or_insert(now);
        self.largest = self.largest.max(self.members.len());
    }

    /// It said goodbye.
    pub fn left(&mut self, node: &NodeId) {
        self.members.remove(node);
    }

    /// Forgets who is lost for long, if this side goes on without them.
    pub fn forget(&mut self, voters: &BTreeSet<NodeId>, now: Monotonic) {
        if self.has_majority(voters) {
            let forget_after = self.forget_after;
            self.members.retain(|_, lost| lost.is_none_or(|at| now.since(at) < forget_after));
        }
    }

    /// Members in reach, this node included.
    #[must_use]
    pub fn reachable(&self) -> Vec<NodeId> {
        self.members.iter().filter(|(_, lost)| lost.is_none()).map(|(node, _)| node.clone()).collect()
    }

    /// Members out of reach.
    #[must_use]
    pub fn missing(&self) -> Vec<NodeId> {
        self.members.iter().filter(|(_, lost)| lost.is_some()).map(|(node, _)| node.clone()).collect()
    }

    /// How many members there were at most.
    #[must_use]
    pub fn largest(&self) -> usize {
        self.largest
    }

    /// Whether it is out of reach.
    #[must_use]
    pub fn is_missing(&self, node: &NodeId) -> bool {
        self.members.get(node).is_some_and(Option::is_some)
    }

    /// Whether this side has the majority: of the voters, or, if there are none, of the members.
    #[must_use]
    pub fn has_majority(&self, voters: &BTreeSet<NodeId>) -> bool {
        let in_reach = |node: &NodeId| self.members.get(node).is_some_and(Option::is_none);
        let (all, here, first) = if voters.is_empty() {
            let here = self.members.values().filter(|lost| lost.is_none()).count();
            (self.members.len(), here, self.members.keys().next())
        } else {
            (voters.len(), voters.iter().filter(|node| in_reach(node)).count(), voters.first())
        };
        match (here * 2).cmp(&all) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Equal => first.is_some_and(in_reach),
            std::cmp::Ordering::Less => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(index: usize) -> NodeId {
        NodeId::new(&format!("n{index}"), "127.0.0.1", 4369).unwrap()
    }

    fn side(all: usize, here: &[usize]) -> Quorum {
        let mut quorum = Quorum::new(Duration::from_secs(600));
        for index in 0..all {
            quorum.up(node(index));
            if !here.contains(&index) {
                quorum.lost(node(index), Monotonic::ZERO);
            }
        }
        quorum
    }

    #[test]
    fn more_than_half_goes_on_and_of_two_halves_the_one_with_the_smallest_id() {
        let none = BTreeSet::new();
        assert!(side(5, &[0, 1, 4]).has_majority(&none) && !side(5, &[2, 3]).has_majority(&none));
        assert!(side(4, &[0, 3]).has_majority(&none) && !side(4, &[1, 2]).has_majority(&none));
        assert!(side(1, &[0]).has_majority(&none));
    }

    #[test]
    fn voters_count_whether_they_were_seen_or_not_and_nobody_else() {
        let voters = (0..5).map(node).collect();
        assert!(!side(2, &[0, 1]).has_majority(&voters), "two of five");
        assert!(side(9, &[0, 1, 2]).has_majority(&voters), "three of five, whatever became of the others");
        assert!(!side(9, &[3, 4, 5, 6, 7, 8]).has_majority(&voters));
    }

    #[test]
    fn who_left_does_not_count_and_who_is_lost_is_forgotten_by_the_majority_only() {
        let none = BTreeSet::new();
        let late = Monotonic::from_millis(600_000);
        let mut small = side(5, &[0, 1]);
        small.forget(&none, late);
        assert_eq!((small.missing().len(), small.largest()), (3, 5));
        small.left(&node(4));
        assert!(small.has_majority(&none), "two of four, with the smallest");
        let mut large = side(5, &[2, 3, 4]);
        large.forget(&none, Monotonic::from_millis(599_999));
        assert_eq!(large.missing().len(), 2);
        large.forget(&none, late);
        assert_eq!(large.missing().len(), 0);
    }

    proptest! {
        #[test]
        fn of_two_sides_exactly_one_has_the_majority(all in 2usize..9, cut: u16) {
            let (here, there): (Vec<usize>, Vec<usize>) = (0..all).partition(|n| cut >> n & 1 == 1);
            prop_assume!(!here.is_empty() && !there.is_empty());
            let none = BTreeSet::new();
            prop_assert!(side(all, &here).has_majority(&none) != side(all, &there).has_majority(&none));
        }
    }
}
