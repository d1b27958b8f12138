//! Placement: decides on which node a child starts.
//!
//! | Selector | Rule |
//! |---|---|
//! | local_first | the first candidate, which is this node if it is one |
//! | round_robin | the candidates in turn, counted per supervisor |
//! | least_loaded | the fewest processes, what was just placed there included; the first of equals |
//! | random | any |
//! | node | that one, if it is a candidate |
//! | custom | what the function says, if it is a candidate |
//!
//! Candidates come ordered: this node first, then the others by id; those that lack the behavior or are leaving are
//! left out before. A child that is moved has a target, which comes before the rule. Nodes that the round already failed on are taken only if there is no other.

use std::collections::{BTreeMap, BTreeSet};

use noex_actors::NodeId;

/// A node that could run the child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) id: NodeId,
    /// As of its last heartbeat.
    pub(crate) processes: usize,
}

/// How the node is chosen.
#[derive(Clone, Debug)]
pub(crate) enum Selector {
    LocalFirst,
    RoundRobin,
    LeastLoaded,
    Random,
    Node(NodeId),
    /// What the user's function answered.
    Chosen(Option<NodeId>),
}

/// What a supervisor remembers between choices.
#[derive(Debug, Default)]
pub(crate) struct Placement {
    turn: usize,
    /// Placed since the node last told a number of processes, less what was taken away, with that number.
    placed: BTreeMap<NodeId, (usize, isize)>,
}

impl Placement {
    /// The node for one start; `None` when no candidate fits.
    pub(crate) fn choose(
        &mut self,
        selector: &Selector,
        candidates: &[Candidate],
        excluded: &BTreeSet<NodeId>,
        target: Option<&NodeId>,
        entropy: u64,
    ) -> Option<NodeId> {
        let fresh: Vec<&Candidate> = candidates.iter().filter(|c| !excluded.contains(&c.id)).collect();
        let pool = if fresh.is_empty() { candidates.iter().collect() } else { fresh };
        let listed = |wanted: &NodeId| candidates.iter().find(|candidate| candidate.id == *wanted);
        let target = target.filter(|target| !excluded.contains(target)).and_then(listed);
        let chosen = match selector {
            _ if target.is_some() => target,
            Selector::LocalFirst => pool.first().copied(),
            Selector::RoundRobin => {
                let turn = self.turn;
                self.turn = turn.wrapping_add(1);
                turn.checked_rem(pool.len()).and_then(|index| pool.get(index).copied())
            }
            Selector::LeastLoaded => pool.into_iter().min_by_key(|candidate| self.load(candidate)),
            Selector::Random => usize::try_from(entropy)
                .unwrap_or(usize::MAX)
                .checked_rem(pool.len())
                .and_then(|index| pool.get(index).copied()),
            Selector::Node(id) => listed(id),
            Selector::Chosen(id) => id.as_ref().and_then(listed),
        }?;
        let since = self.since(chosen) + 1;
        self.placed.insert(chosen.id.clone(), (chosen.processes, since));
        Some(chosen.id.clone())
    }

    /// One that runs there will not any more.
    pub(crate) fn take_away(&mut self, candidate: &Candidate) {
        let since = self.since(candidate) - 1;
        self.placed.insert(candidate.id.clone(), (candidate.processes, since));
    }

    /// Processes of a node, with what this supervisor changed since it told.
    pub(crate) fn load(&self, candidate: &Candidate) -> usize {
        candidate.processes.saturating_add_signed(self.since(candidate))
    }

    fn since(&self, candidate: &Candidate) -> isize {
        let placed = self.placed.get(&candidate.id);
        placed.filter(|(told, _)| *told == candidate.processes).map_or(0, |(_, placed)| *placed)
    }

    /// Forgets what was placed on a node that is gone.
    pub(crate) fn forget(&mut self, node: &NodeId) {
        self.placed.remove(node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        NodeId::new(name, "127.0.0.1", 4369).unwrap()
    }

    fn three() -> Vec<Candidate> {
        ["a", "b", "c"].map(|name| Candidate { id: node(name), processes: 10 }).into()
    }

    fn names(placement: &mut Placement, selector: &Selector, pool: &[Candidate], n: usize) -> String {
        let none = BTreeSet::new();
        (0..n).map(|_| placement.choose(selector, pool, &none, None, 7).unwrap().name().to_owned()).collect()
    }

    #[test]
    fn round_robin_takes_turns_and_local_first_stays() {
        let mut placement = Placement::default();
        assert_eq!(names(&mut placement, &Selector::RoundRobin, &three(), 7), "abcabca");
        assert_eq!(names(&mut placement, &Selector::LocalFirst, &three(), 3), "aaa");
    }

    #[test]
    fn least_loaded_spreads_a_burst_between_two_heartbeats() {
        let mut placement = Placement::default();
        let mut pool = three();
        pool[1].processes = 8;
        assert_eq!(names(&mut placement, &Selector::LeastLoaded, &pool, 5), "bbabc");
        pool[2].processes = 4;
        assert_eq!(names(&mut placement, &Selector::LeastLoaded, &pool, 2), "cc");
    }

    #[test]
    fn an_excluded_node_is_only_taken_when_there_is_no_other() {
        let mut placement = Placement::default();
        let excluded = BTreeSet::from([node("a")]);
        let pool = three();
        assert_eq!(placement.choose(&Selector::LocalFirst, &pool, &excluded, None, 0), Some(node("b")));
        assert_eq!(placement.choose(&Selector::LocalFirst, &pool[..1], &excluded, None, 0), Some(node("a")));
        assert_eq!(placement.choose(&Selector::LocalFirst, &[], &excluded, None, 0), None);
    }

    #[test]
    fn a_choice_beyond_the_candidates_is_none() {
        let mut placement = Placement::default();
        let none = BTreeSet::new();
        for selector in [Selector::Node(node("d")), Selector::Chosen(Some(node("d"))), Selector::Chosen(None)]
        {
            assert_eq!(placement.choose(&selector, &three(), &none, None, 0), None);
        }
        assert_eq!(placement.choose(&Selector::Node(node("c")), &three(), &none, None, 0), Some(node("c")));
    }

    #[test]
    fn a_target_comes_before_the_rule_if_it_can_be_had() {
        let mut placement = Placement::default();
        let none = BTreeSet::new();
        let mut to = |name: &str, excluded: &BTreeSet<NodeId>| {
            placement.choose(&Selector::LocalFirst, &three(), excluded, Some(&node(name)), 0)
        };
        assert_eq!(to("c", &none), Some(node("c")));
        assert_eq!(to("d", &none), Some(node("a")));
        assert_eq!(to("c", &BTreeSet::from([node("c")])), Some(node("a")));
    }

    #[test]
    fn random_reaches_everybody() {
        let mut placement = Placement::default();
        let none = BTreeSet::new();
        let reached: BTreeSet<_> = (0..9)
            .filter_map(|entropy| placement.choose(&Selector::Random, &three(), &none, None, entropy))
            .collect();
        assert_eq!(reached.len(), 3);
    }
}
