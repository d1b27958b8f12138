//! Rebalancing: decides which children move where, so that the nodes have the same share of them.
//!
//! A move takes a child from the node that has the most to the one that has the least of those that may run it, as long as
//! the two differ by two at least. So no set of fewer moves comes to the same end.

use std::collections::{BTreeMap, BTreeSet};

use noex_actors::NodeId;

/// A child that runs and may be moved.
#[derive(Clone, Debug)]
pub(crate) struct Movable {
    pub(crate) child: String,
    pub(crate) on: NodeId,
    /// Where it may run.
    pub(crate) candidates: BTreeSet<NodeId>,
}

/// One child is to leave one node for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) child: String,
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
}

/// The moves, for nodes that carry `load`, the children included. The children that come last are moved first.
pub(crate) fn moves(mut load: BTreeMap<NodeId, usize>, children: Vec<Movable>) -> Vec<Move> {
    let mut groups: BTreeMap<(NodeId, BTreeSet<NodeId>), Vec<String>> = BTreeMap::new();
    for Movable { child, on, candidates } in children {
        groups.entry((on, candidates)).or_default().push(child);
    }
    let mut moves = Vec::new();
    loop {
        let carried = |node: &NodeId| load.get(node).copied().unwrap_or(0);
        let least = |(from, candidates): &(NodeId, BTreeSet<NodeId>)| {
            let others = candidates.iter().filter(|node| *node != from);
            let to = others.min_by_key(|node| carried(node))?;
            let gain = carried(from).checked_sub(carried(to))?;
            (gain >= 2).then(|| (gain, to.clone()))
        };
        let best = groups.iter_mut().filter_map(|(place, ids)| Some((least(place)?, &place.0, ids)));
        let Some(((_, to), from, ids)) = best.max_by_key(|((gain, _), ..)| *gain) else { return moves };
        let from = from.clone();
        // What was moved is in no group any more: it moves once.
        let Some(child) = ids.pop() else { return moves };
        if let Some(load) = load.get_mut(&from) {
            *load = load.saturating_sub(1);
        }
        *load.entry(to.clone()).or_insert(0) += 1;
        moves.push(Move { child, from, to });
        groups.retain(|_, ids| !ids.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(n: usize) -> NodeId {
        NodeId::new(&format!("n{n}"), "127.0.0.1", 4369).unwrap()
    }

    /// So many children on each node; each may run on these.
    fn children(counts: &[usize], everywhere: &[usize]) -> Vec<Movable> {
        let candidates: BTreeSet<NodeId> = everywhere.iter().map(|n| node(*n)).collect();
        let on = counts.iter().enumerate().flat_map(|(n, count)| (0..*count).map(move |child| (n, child)));
        on.map(|(n, child)| Movable {
            child: format!("{n}-{child}"),
            on: node(n),
            candidates: candidates.clone(),
        })
        .collect()
    }

    fn load(counts: &[usize]) -> BTreeMap<NodeId, usize> {
        counts.iter().enumerate().map(|(n, count)| (node(n), *count)).collect()
    }

    fn after(counts: &[usize], moves: &[Move]) -> Vec<usize> {
        let mut load = load(counts);
        for step in moves {
            *load.get_mut(&step.from).unwrap() -= 1;
            *load.get_mut(&step.to).unwrap() += 1;
        }
        load.into_values().collect()
    }

    #[test]
    fn a_new_node_gets_its_share_and_nobody_else_moves() {
        let moves = moves(load(&[3, 3, 0]), children(&[3, 3, 0], &[0, 1, 2]));
        assert_eq!(after(&[3, 3, 0], &moves), [2, 2, 2]);
        assert_eq!(moves.len(), 2);
        assert_eq!(moves[0].to, node(2));
    }

    #[test]
    fn one_more_than_the_others_have_is_even() {
        assert_eq!(moves(load(&[2, 1, 1]), children(&[2, 1, 1], &[0, 1, 2])), []);
    }

    #[test]
    fn a_child_goes_only_where_it_may_run() {
        let moves = moves(load(&[6, 0, 0]), children(&[6, 0, 0], &[0, 2]));
        assert_eq!(after(&[6, 0, 0], &moves), [3, 0, 3]);
    }

    #[test]
    fn what_cannot_be_moved_counts() {
        // The second node has four others of which nothing is known.
        let moves = moves(load(&[4, 4]), children(&[4, 0], &[0, 1]));
        assert_eq!(moves, []);
    }

    proptest! {
        #[test]
        fn no_fewer_moves_make_it_even(counts in proptest::collection::vec(0usize..40, 1..7)) {
            let nodes: Vec<usize> = (0..counts.len()).collect();
            let moves = moves(load(&counts), children(&counts, &nodes));
            let result = after(&counts, &moves);
            let (most, least) = (result.iter().max().unwrap(), result.iter().min().unwrap());
            prop_assert!(most - least <= 1, "{:?}", result);
            // Whoever has more than its share must give that much: the larger shares go to those that have most.
            let (each, larger) = (counts.iter().sum::<usize>() / counts.len(), counts.iter().sum::<usize>() % counts.len());
            let mut sorted = counts.clone();
            sorted.sort_unstable_by(|a, b| b.cmp(a));
            let share = |place: usize| each + usize::from(place < larger);
            let needed: usize = sorted.iter().enumerate().map(|(n, has)| has.saturating_sub(share(n))).sum();
            prop_assert_eq!(moves.len(), needed);
            let moved: BTreeSet<&String> = moves.iter().map(|step| &step.child).collect();
            prop_assert_eq!(moved.len(), moves.len(), "nobody moves twice");
        }
    }
}
