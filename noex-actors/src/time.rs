//! A point in time as the machines know it: a number, never a clock.
//!
//! Invariant: nothing in this file reads a clock. [`clock`](crate::Clock) does, once, for everybody.

use std::time::Duration;

/// A point in time: nanoseconds since the node's clock began.
///
/// Pure data. Machines take it as a fact and compare it; only a [`Clock`](crate::Clock) makes one from real time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(u64);

impl Monotonic {
    /// The beginning of the clock.
    pub const ZERO: Self = Self(0);

    /// A point `nanos` nanoseconds after the beginning.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// A point `millis` milliseconds after the beginning; saturates after 584 years.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the beginning.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The point `by` later; saturates.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this point is; zero if it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_never_go_below_zero() {
        let (a, b) = (Monotonic::from_millis(5), Monotonic::from_millis(7));
        assert_eq!(b.since(a), Duration::from_millis(2));
        assert_eq!(a.since(b), Duration::ZERO);
        assert_eq!(a.plus(Duration::from_millis(2)), b);
        assert_eq!(a.plus(Duration::MAX).as_nanos(), u64::MAX);
    }
}
