//! Waits between attempts: base × 2^n, at most max, times a jitter from 0.5 to 1.5.
//!
//! The jitter keeps nodes that lost the same peer at the same moment from coming back at the same moment.

use std::time::Duration;

/// The longest and shortest wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    base: Duration,
    max: Duration,
}

impl Backoff {
    pub(crate) fn new(base: Duration, max: Duration) -> Self {
        Self { base, max: max.max(base) }
    }

    /// The wait before any further attempt, without jitter.
    pub(crate) fn base(&self) -> Duration {
        self.base
    }

    /// The wait after `failed` failed attempts (1 for the first); all of `entropy` counts.
    pub(crate) fn delay(&self, failed: u32, entropy: u64) -> Duration {
        let doubled =
            self.base.saturating_mul(1u32.checked_shl(failed.saturating_sub(1)).unwrap_or(u32::MAX));
        // A fraction in 0..1 with 32 bits: exact, and no float takes part in a decision.
        let whole = doubled.min(self.max);
        let jitter = (whole.as_nanos() * u128::from(entropy >> 32)) >> 32;
        whole / 2 + Duration::from_nanos(u64::try_from(jitter).unwrap_or(u64::MAX))
    }
}

/// A stream of entropy from one seed (splitmix64): good for jitter, not for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Entropy(u64);

impl Entropy {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `below`, for simulations.
    #[cfg(test)]
    pub(crate) fn roll(&mut self, below: u64) -> u64 {
        self.draw() % below.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let ms = Duration::from_millis;
        let backoff = Backoff::new(ms(100), ms(1000));
        for (failed, whole) in
            [(0, 100), (1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (33, 1000), (u32::MAX, 1000)]
        {
            assert_eq!(backoff.delay(failed, 0), ms(whole) / 2);
            assert_eq!(backoff.delay(failed, 1 << 63), ms(whole));
            assert!(backoff.delay(failed, u64::MAX) < ms(whole) * 3 / 2);
            assert!(backoff.delay(failed, u64::MAX) > ms(whole) * 149 / 100);
        }
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let draw = |seed| {
            std::array::from_fn::<u64, 3, _>({
                let mut entropy = Entropy::new(seed);
                move |_| entropy.draw()
            })
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
