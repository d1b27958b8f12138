//! Generations: decides the number of each start, so that a later instance always has the higher one.
//!
//! A supervisor instance takes a term = max(highest term seen for its name + 1, unix seconds); within it starts are
//! counted. Invariant: `next` is above every generation it ever gave or observed.

use noex_actors::Generation;

/// The counter of one supervisor instance.
#[derive(Debug)]
pub(crate) struct Generations {
    last: Generation,
    /// The highest of a later term.
    doubted: Generation,
}

impl Generations {
    /// The counter of a supervisor that starts at `unix_seconds` and saw `highest` among the living instances.
    pub(crate) fn begin(highest: Option<Generation>, unix_seconds: u64) -> Self {
        let above = highest.map_or(0, |generation| generation.term().saturating_add(1));
        Self { last: Generation::new(above.max(unix_seconds), 0), doubted: Generation::default() }
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

    /// Takes note of an instance of a later term, which is somebody else's until [`outlive`](Self::outlive).
    pub(crate) fn doubt(&mut self, generation: Generation) {
        self.doubted = self.doubted.max(generation);
    }

    /// Goes beyond all that was doubted.
    pub(crate) fn outlive(&mut self) {
        self.observe(self.doubted);
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
    use super::*;

    #[test]
    fn a_term_is_above_all_that_was_seen_and_not_before_the_clock() {
        let mut fresh = Generations::begin(None, 1000);
        assert_eq!(fresh.next(), Generation::new(1000, 1));
        assert_eq!(fresh.next(), Generation::new(1000, 2));
        let mut behind = Generations::begin(Some(Generation::new(2000, 7)), 1000);
        assert_eq!(behind.next(), Generation::new(2001, 1));
    }

    #[test]
    fn what_was_observed_is_exceeded() {
        let mut generations = Generations::begin(None, 5);
        generations.observe(Generation::new(4, 9));
        assert_eq!(generations.next(), Generation::new(5, 1));
        generations.observe(Generation::new(9, 3));
        assert!(generations.next() > Generation::new(9, 3));
    }
}
