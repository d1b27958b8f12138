//! Restart intensity: decides when there were too many restarts.
//!
//! A sliding window holds the times of the last restarts. A restart is allowed while fewer than `max_restarts` lie
//! within the window before it. Invariant: the window never holds more than `max_restarts + 1` times.
//!
//! Source: OTP `supervisor:add_restart/1`.

use std::collections::VecDeque;

use noex_actors::Monotonic;

use crate::options::RestartIntensity;

/// The window.
#[derive(Debug)]
pub(crate) struct Intensity {
    limit: RestartIntensity,
    times: VecDeque<Monotonic>,
    /// How many were ever noted.
    #[cfg(test)]
    pub(crate) total: u64,
}

/// Whether a restart may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowance {
    Allowed,
    Exceeded,
}

impl Intensity {
    pub(crate) fn new(limit: RestartIntensity) -> Self {
        Self {
            limit,
            times: VecDeque::new(),
            #[cfg(test)]
            total: 0,
        }
    }

    /// Notes a restart at `now` and says whether it is one too many.
    pub(crate) fn count(&mut self, now: Monotonic) -> Allowance {
        #[cfg(test)]
        {
            self.total += 1;
        }
        while self.times.front().is_some_and(|&at| now.since(at) > self.limit.within) {
            self.times.pop_front();
        }
        self.times.push_back(now);
        let limit = usize::try_from(self.limit.max_restarts).unwrap_or(usize::MAX);
        if self.times.len() > limit {
            self.times.truncate(limit.saturating_add(1));
            Allowance::Exceeded
        } else {
            Allowance::Allowed
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn limit(max_restarts: u32, within_ms: u64) -> RestartIntensity {
        RestartIntensity { max_restarts, within: Duration::from_millis(within_ms) }
    }

    #[test]
    fn the_restart_after_the_limit_is_one_too_many() {
        let mut window = Intensity::new(limit(3, 5000));
        for at in [0, 10, 20] {
            assert_eq!(window.count(Monotonic::from_millis(at)), Allowance::Allowed);
        }
        assert_eq!(window.count(Monotonic::from_millis(30)), Allowance::Exceeded);
    }

    #[test]
    fn zero_allows_none() {
        assert_eq!(Intensity::new(limit(0, 5000)).count(Monotonic::ZERO), Allowance::Exceeded);
    }

    proptest! {
        #[test]
        fn the_window_counts_as_naively_as_one_can(
            max in 0u32..6, within in 1u64..200, gaps in proptest::collection::vec(0u64..80, 1..60)
        ) {
            let mut window = Intensity::new(limit(max, within));
            let (mut now, mut all) = (0u64, Vec::new());
            for gap in gaps {
                now += gap;
                all.push(now);
                let recent = all.iter().filter(|&&at| now - at <= within).count();
                let expected = if recent > max as usize { Allowance::Exceeded } else { Allowance::Allowed };
                prop_assert_eq!(window.count(Monotonic::from_millis(now)), expected);
                if expected == Allowance::Exceeded {
                    break;
                }
            }
        }
    }
}
