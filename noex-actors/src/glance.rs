//! Looks at the clock for many messages at once.
//!
//! While a process handles one message after the other without waiting, time passes only in its handlers. One precise
//! look then serves for all messages that have long to go, as long as a cheap clock (a few ns, a few ms coarse) says
//! that no handler took long. A paused clock does not move meanwhile either.

use std::time::Duration;

use actix_rt::time::Instant;

use crate::clock::coarse;

/// How far a look is good.
const GOOD_FOR: Duration = Duration::from_millis(100);

/// The last precise look at the clock, and when it was by the coarse one.
#[derive(Debug, Default)]
pub(crate) struct Glance(Option<(Instant, Duration)>);

impl Glance {
    /// Time may have passed otherwise than in handlers: the next question looks again.
    pub(crate) fn forget(&mut self) {
        self.0 = None;
    }

    /// Whether `deadline` has not come yet.
    pub(crate) fn is_before(&mut self, deadline: Instant) -> bool {
        let coarse = coarse();
        if let Some((looked, at)) = self.0
            && coarse.saturating_sub(at) < GOOD_FOR / 2
            && deadline > looked + GOOD_FOR
        {
            return true;
        }
        let now = Instant::now();
        self.0 = Some((now, coarse));
        now < deadline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_came_while_a_handler_blocked_is_seen() {
        let mut glance = Glance::default();
        let now = Instant::now();
        assert!(glance.is_before(now + Duration::from_secs(5)));
        assert!(!glance.is_before(now - Duration::from_secs(1)), "short deadlines are looked at");
        // As if the look had been 6 s ago, by both clocks.
        glance.0 = Some((now - Duration::from_secs(6), coarse() - Duration::from_secs(6)));
        assert!(!glance.is_before(now - Duration::from_secs(1)));
        assert!(glance.is_before(Instant::now() + Duration::from_secs(1)));
    }
}
