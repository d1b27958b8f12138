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
//!
//! How many processes a node has is what it told last and what this supervisor changed since: see [`account`].

mod account;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use noex_actors::{Generation, Monotonic, NodeId};

use self::account::Account;

/// A node that could run the child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) id: NodeId,
    /// How many it told of.
    pub(crate) processes: usize,
    /// When that came; `None` if it is of this moment, as a node knows it of itself.
    pub(crate) told: Option<Monotonic>,
}

/// A start that looks for a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order<'a> {
    pub(crate) generation: Generation,
    /// Nodes that its round already failed on.
    pub(crate) excluded: &'a BTreeSet<NodeId>,
    /// Where it is moved to.
    pub(crate) target: Option<&'a NodeId>,
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
    accounts: BTreeMap<NodeId, Account>,
}

impl Placement {
    /// The node for one start; `None` when no candidate fits. What becomes of the start is to be told with [`started`](Self::started)
    /// or [`failed`](Self::failed).
    pub(crate) fn choose(
        &mut self,
        selector: &Selector,
        candidates: &[Candidate],
        order: Order<'_>,
        entropy: u64,
    ) -> Option<NodeId> {
        let Order { generation, excluded, target } = order;
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
        self.account(chosen).ordered(generation);
        Some(chosen.id.clone())
    }

    /// A start there is answered: it runs.
    pub(crate) fn started(&mut self, on: &Candidate, generation: Generation, now: Monotonic) {
        self.account(on).started(generation, now);
    }

    /// A start there is answered: it does not run.
    pub(crate) fn failed(&mut self, on: &Candidate, generation: Generation, now: Monotonic) {
        self.account(on).failed(generation, now);
    }

    /// A child that runs there will not any more.
    pub(crate) fn take_away(&mut self, from: &Candidate, child: &str) {
        self.account(from).leaves(child);
    }

    /// The end of a child that ran there is known.
    pub(crate) fn ended(&mut self, on: &Candidate, child: &str, now: Monotonic) {
        self.account(on).ended(child, now);
    }

    /// Processes of a node, with what this supervisor changed since it told.
    pub(crate) fn load(&mut self, candidate: &Candidate) -> usize {
        self.account(candidate).load()
    }

    /// Forgets what was done on a node that is gone.
    pub(crate) fn forget(&mut self, node: &NodeId) {
        self.accounts.remove(node);
    }

    /// What there is to say of a node, with what it told last.
    fn account(&mut self, candidate: &Candidate) -> &mut Account {
        let account = self.accounts.entry(candidate.id.clone()).or_default();
        account.told(candidate.processes, candidate.told);
        account
    }
}
