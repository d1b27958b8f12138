//! Terms of supervisors: decides what a node remembers of those that it heard of.
//!
//! A supervisor instance takes a term above every one that its cluster has seen for its name. What lives says which those are, and so
//! does this, where nothing lives any more. Invariants: 1. of a name, the highest term that was noted is told, unless it was forgotten;
//! 2. at most so many names are remembered: the one with the lowest term, which a clock is most likely to be above of, goes first.

use std::collections::BTreeMap;

use super::names::MAX_TOKEN_TEXT;

/// The most supervisors that are remembered.
const MAX_NAMES: usize = 4096;
/// No clock gets there, and no generation holds more.
const MAX_TERM: u64 = 1 << 43;

/// The highest term by name.
#[derive(Debug, Default)]
pub(crate) struct Terms(BTreeMap<String, u64>);

impl Terms {
    /// The highest term of that supervisor, 0 if none is known.
    pub(crate) fn highest(&self, supervisor: &str) -> u64 {
        self.0.get(supervisor).copied().unwrap_or_default()
    }

    /// There is a supervisor instance with that term.
    pub(crate) fn note(&mut self, supervisor: &str, term: u64) {
        if term == 0 || term > MAX_TERM || supervisor.len() > MAX_TOKEN_TEXT {
            return;
        }
        if let Some(highest) = self.0.get_mut(supervisor) {
            *highest = term.max(*highest);
            return;
        }
        self.0.insert(supervisor.to_owned(), term);
        if self.0.len() > MAX_NAMES {
            let lowest = self.0.iter().min_by_key(|(_, term)| **term).map(|(name, _)| name.clone());
            lowest.and_then(|name| self.0.remove(&name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_is_kept() {
        let mut terms = Terms::default();
        assert_eq!(terms.highest("s"), 0);
        for term in [5, 9, 7, 0, u64::MAX] {
            terms.note("s", term);
        }
        assert_eq!((terms.highest("s"), terms.highest("t")), (9, 0));
    }

    #[test]
    fn of_too_many_the_lowest_is_forgotten() {
        let mut terms = Terms::default();
        for n in 1..=MAX_NAMES as u64 + 1 {
            terms.note(&format!("s{n}"), 1000 + n);
        }
        terms.note(&"x".repeat(MAX_TOKEN_TEXT + 1), 5000);
        assert_eq!((terms.0.len(), terms.highest("s1"), terms.highest("s2")), (MAX_NAMES, 0, 1002));
    }
}
