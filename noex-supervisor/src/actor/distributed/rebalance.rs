//! Which children move, by their selectors and by what the nodes carry.

use std::collections::{BTreeMap, BTreeSet};

use noex_actors::{Context, NodeId};
use noex_net::NodeInfo;

use super::{DistributedProcess, effects::candidate};
use crate::{
    distributed::NodeSelector,
    machine::{
        rebalance::{Movable, Move, moves},
        supervision::Input,
    },
};

/// What is to be the same on all nodes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Share {
    /// Children of this supervisor.
    Children,
    /// Processes, whoever's they are.
    Processes,
}

impl Share {
    /// What a selector asks for; nothing if it says itself where a child is to be.
    fn of(selector: &NodeSelector) -> Option<Self> {
        match selector {
            NodeSelector::RoundRobin | NodeSelector::Random => Some(Self::Children),
            NodeSelector::LeastLoaded => Some(Self::Processes),
            NodeSelector::LocalFirst | NodeSelector::Node(_) | NodeSelector::Custom(_) => None,
        }
    }
}

impl DistributedProcess {
    /// Moves as few children as it takes; how many those are.
    pub(super) fn rebalance(&mut self, cx: &mut Context<Self>) -> usize {
        if !self.machine.supervision().may_move() {
            return 0;
        }
        let mut planned = self.even(Share::Children, &[], cx);
        planned.extend(self.even(Share::Processes, &planned, cx));
        for step in &planned {
            if let Some(from) = self.known(&step.from) {
                self.placement.take_away(&from, &step.child);
            }
        }
        let count = planned.len();
        tracing::info!(supervisor = self.identity.id, children = count, "children are moved");
        self.supervise(Input::RebalanceRequested { moves: planned }, cx);
        count
    }

    /// The moves that give every node the same share, after those that are planned already.
    fn even(&mut self, share: Share, planned: &[Move], cx: &Context<Self>) -> Vec<Move> {
        let mut candidates: BTreeMap<&str, Vec<NodeInfo>> = BTreeMap::new();
        let (mut load, mut movable) = (BTreeMap::new(), Vec::new());
        for child in self.machine.supervision().children() {
            let on = child.target.clone().or_else(|| child.pid().map(|pid| pid.node_id().clone()));
            let (Some(spec), Some(on)) = (self.specs.get(&child.rule.id), on) else { continue };
            if share == Share::Children {
                *load.entry(on.clone()).or_insert(0) += 1;
            }
            let selector = spec.selector.as_ref().unwrap_or(&self.identity.selector);
            if Share::of(selector) != Some(share) || !child.is_movable() {
                continue;
            }
            let nodes =
                candidates.entry(&spec.behavior).or_insert_with(|| self.candidates(&spec.behavior, cx));
            let nodes: BTreeSet<NodeId> = nodes.iter().map(|node| node.id.clone()).collect();
            movable.push(Movable { child: child.rule.id.clone(), on, candidates: nodes });
        }
        if share == Share::Processes {
            let nodes = candidates.values().flatten();
            load = nodes.map(|node| (node.id.clone(), self.placement.load(&candidate(node)))).collect();
            for Move { from, to, .. } in planned {
                load.entry(from.clone()).and_modify(|load| *load = load.saturating_sub(1));
                load.entry(to.clone()).and_modify(|load| *load += 1);
            }
        }
        moves(load, movable)
    }
}
