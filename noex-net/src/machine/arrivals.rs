//! Phi accrual: how long a peer may be silent, given how regularly its heartbeats came so far.
//!
//! Phi of a silence is -log10 of the probability that a living peer is silent for so long. The gaps between heartbeats
//! are taken as normally distributed; [`deviations`] turns a threshold for phi into standard deviations, once, so that a
//! verdict is a comparison of two times.
//!
//! | Heartbeats came | A peer is given up, with a threshold of 8, after |
//! |---|---|
//! | on time | 2.3 intervals |
//! | with gaps that vary by half an interval | 3.6 intervals |
//! | with gaps of up to 4 intervals | 14.5 intervals at most: longer gaps count as 4 |
//!
//! Source: Hayashibara, Défago, Yared, Katayama: The φ accrual failure detector (2004); the logistic approximation of the
//! normal distribution is that of Bowling and others (2009).

use std::{collections::VecDeque, time::Duration};

use noex_actors::Monotonic;

/// Gaps that are remembered.
const SAMPLES: usize = 100;
/// A longer gap counts as so many intervals: a peer cannot buy itself an hour with one long silence.
const LONGEST: f64 = 4.0;
/// The least standard deviation, in intervals: heartbeats that came like clockwork may still be late once.
const LEAST_DEVIATION: f64 = 0.25;
/// The least patience, in intervals: a reader that has no turn for up to one interval is not noticed, and what it has not
/// read meanwhile is up to one interval old.
const LEAST_PATIENCE: f64 = 2.0;

/// How many standard deviations beyond the mean phi reaches the threshold.
pub(crate) fn deviations(threshold: f64) -> f64 {
    // P(later) = 1 / (1 + e^(y (1.5976 + 0.070566 y²))), and phi = -log10 P.
    let phi = |y: f64| (y * (1.5976 + 0.070_566 * y * y)).exp().ln_1p() / std::f64::consts::LN_10;
    let (mut low, mut high) = (-10.0, 20.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if phi(middle) < threshold {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The heartbeats of one peer.
#[derive(Clone, Debug)]
pub(crate) struct Arrivals {
    interval: f64,
    last: Option<Monotonic>,
    /// The gap that is open says nothing of the peer.
    skipped: bool,
    /// Gaps in intervals.
    gaps: VecDeque<f64>,
}

impl Arrivals {
    /// Of a peer that sends every `interval`. Two made-up gaps stand for those that are not known yet.
    pub(crate) fn new(interval: Duration) -> Self {
        let gaps = VecDeque::from([0.75, 1.25]);
        Self { interval: interval.as_secs_f64(), last: None, skipped: false, gaps }
    }

    /// A heartbeat came. Times that were heard of before are nothing new.
    pub(crate) fn heard(&mut self, at: Monotonic) {
        if self.last.is_some_and(|last| last >= at) {
            return;
        }
        let skipped = std::mem::take(&mut self.skipped);
        if let Some(last) = self.last
            && !skipped
        {
            let gap = at.since(last).as_secs_f64() / self.interval;
            self.gaps.push_back(gap.min(LONGEST));
            if self.gaps.len() > SAMPLES {
                self.gaps.pop_front();
            }
        }
        self.last = Some(at);
    }

    /// This node does not read: the gap until the next heartbeat says nothing of the peer.
    pub(crate) fn skip(&mut self) {
        self.skipped = true;
    }

    /// The silence at which phi reaches its threshold.
    pub(crate) fn patience(&self, deviations: f64) -> Duration {
        #[allow(clippy::cast_precision_loss, reason = "at most a hundred")]
        let count = self.gaps.len() as f64;
        let mean = self.gaps.iter().sum::<f64>() / count;
        let variance = self.gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / count;
        let deviation = variance.sqrt().max(LEAST_DEVIATION);
        let intervals = (mean + deviations * deviation).max(LEAST_PATIENCE);
        Duration::try_from_secs_f64(intervals * self.interval).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(1);

    /// The patience, in ms, after heartbeats with these gaps in ms.
    fn patience(gaps: impl IntoIterator<Item = u64>, threshold: f64) -> u128 {
        let mut arrivals = Arrivals::new(INTERVAL);
        let mut now = 5_000;
        arrivals.heard(Monotonic::from_millis(now));
        for gap in gaps {
            now += gap;
            arrivals.heard(Monotonic::from_millis(now));
            arrivals.heard(Monotonic::from_millis(now)); // read again
        }
        arrivals.patience(deviations(threshold)).as_millis()
    }

    #[test]
    fn a_threshold_is_a_probability() {
        // One in ten, a hundred, and 10^8, by the table of the normal distribution: 1.28, 2.33, 5.61; the approximation
        // is off by a few percent in the tail, on the careful side of nothing.
        for (threshold, exact) in [(1.0, 1.28), (2.0, 2.33), (8.0, 5.61)] {
            let found = deviations(threshold);
            assert!((found - exact).abs() / exact < 0.08, "{threshold}: {found} for {exact}");
        }
    }

    #[test]
    fn regular_heartbeats_make_a_short_patience_and_irregular_ones_a_long_one() {
        let regular = patience(std::iter::repeat_n(1000, 200), 8.0);
        assert!((2_200..2_400).contains(&regular), "{regular}");
        let varied = patience([500, 1500].repeat(100), 8.0);
        assert!((3_500..3_700).contains(&varied), "{varied}");
        assert!(patience(std::iter::repeat_n(1000, 200), 12.0) > regular);
        assert!(patience([], 8.0) <= regular + 10, "before anything is known");
    }

    #[test]
    fn no_gap_makes_a_patience_without_end() {
        let worst = (0..100).map(|n| patience(std::iter::repeat_n(1_000_000, n).chain([1, 1, 1]), 8.0)).max();
        assert!(worst.unwrap() < 14_500, "{worst:?}");
    }

    #[test]
    fn what_is_skipped_is_no_gap() {
        let mut arrivals = Arrivals::new(INTERVAL);
        arrivals.heard(Monotonic::from_millis(1_000));
        arrivals.skip();
        arrivals.heard(Monotonic::from_millis(1_000)); // looked at before anything was read again
        arrivals.heard(Monotonic::from_millis(60_000));
        assert_eq!(arrivals.gaps.len(), 2);
        arrivals.heard(Monotonic::from_millis(61_000));
        assert_eq!(arrivals.gaps.len(), 3);
    }
}
