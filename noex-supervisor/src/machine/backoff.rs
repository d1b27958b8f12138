//! Backoff: decides how long a failed start waits before the next attempt.

use std::time::Duration;

use crate::options::Backoff;

impl Backoff {
    /// The wait before attempt `failed + 1`, after `failed` attempts failed; between half of the step and the step.
    pub(crate) fn delay(&self, failed: u32, entropy: u64) -> Duration {
        let doublings = failed.saturating_sub(1).min(31);
        let step = self.initial.saturating_mul(1 << doublings).min(self.max);
        let nanos = u64::try_from(step.as_nanos()).unwrap_or(u64::MAX);
        let half = nanos / 2;
        Duration::from_nanos(nanos - half + if half == 0 { 0 } else { entropy % (half + 1) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_doubles_up_to_the_most() {
        let backoff = Backoff::default();
        let longest = |failed| backoff.delay(failed, u64::MAX / 2).as_millis();
        assert!(longest(1) <= 100 && longest(2) > 99 && longest(2) <= 200 && longest(3) > 199);
        assert!(longest(u32::MAX) <= 30_000 && longest(u32::MAX) >= 15_000);
    }

    proptest! {
        #[test]
        fn it_never_leaves_its_step(initial in 1u64..10_000, max in 1u64..100_000, failed: u32, entropy: u64) {
            let backoff = Backoff { initial: Duration::from_millis(initial), max: Duration::from_millis(max) };
            let delay = backoff.delay(failed, entropy);
            prop_assert!(delay <= backoff.max);
            prop_assert!(delay >= backoff.initial.min(backoff.max) / 2);
        }
    }
}
