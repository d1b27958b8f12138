//! What is to be dialled, in the order in which it is.

use std::collections::{BTreeMap, BTreeSet};

use noex_actors::Monotonic;

use super::Target;

/// Dials under way at a time: each holds a socket, here and, until it is authenticated, at the other end.
pub(crate) const MAX_DIALS: usize = 160;
/// Of them, those that a rank leaves to the ranks before it.
pub(super) const RESERVED: usize = 16;

/// Who goes first. Whatever peers make up, and whatever does not answer, there is room for those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// A seed.
    Seed,
    /// A node that was connected here.
    Met,
    /// A node that is known from hints only.
    Hinted,
}

impl Rank {
    const ALL: [Self; 3] = [Self::Seed, Self::Met, Self::Hinted];

    /// How many dials of all ranks may be under way for one of this rank to begin.
    pub(super) fn most(self) -> usize {
        match self {
            Self::Seed => MAX_DIALS,
            Self::Met => MAX_DIALS - RESERVED,
            Self::Hinted => MAX_DIALS - 2 * RESERVED,
        }
    }
}

/// When which target is to be dialled.
#[derive(Debug, Default)]
pub(super) struct Queue(BTreeMap<Rank, BTreeSet<(Monotonic, Target)>>);

impl Queue {
    pub(super) fn insert(&mut self, rank: Rank, at: Monotonic, target: Target) {
        self.0.entry(rank).or_default().insert((at, target));
    }

    pub(super) fn remove(&mut self, rank: Rank, at: Monotonic, target: &Target) {
        if let Some(queue) = self.0.get_mut(&rank) {
            queue.remove(&(at, target.clone()));
        }
    }

    /// When the next dial is due, of those that may begin while so many are under way.
    pub(super) fn deadline(&self, under_way: usize) -> Option<Monotonic> {
        let free = self.0.iter().filter(|(rank, _)| under_way < rank.most());
        free.filter_map(|(_, queue)| queue.first()).map(|(at, _)| *at).min()
    }

    /// Takes the next target that is due and may begin.
    pub(super) fn pop(&mut self, under_way: usize, now: Monotonic) -> Option<Target> {
        let mut free = Rank::ALL.into_iter().filter(|rank| under_way < rank.most());
        free.find_map(|rank| {
            let queue = self.0.get_mut(&rank)?;
            queue.first().is_some_and(|(at, _)| *at <= now).then(|| queue.pop_first())?
        })
        .map(|(_, target)| target)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }
}
