//! Looks at the clock for many messages at once.
//!
//! While a process handles one message after the other without waiting, time passes only in its handlers. One precise
//! look then serves for all messages that have long to go, as long as a cheap clock (a few ns, a few ms coarse) says
//! that no handler took long. A paused clock does not move meanwhile either.

use std::time::Duration;

use crate::{Clock, Monotonic};

/// How far a look is good.
const GOOD_FOR: Duration = Duration::from_millis(100);

/// The last precise look at the clock, and when it was by the coarse one; both zero before there was one.
#[derive(Debug, Default)]
pub(crate) struct Glance {
    looked: Monotonic,
    coarse: Monotonic,
}

impl Glance {
    /// Time may have passed otherwise than in handlers: the next question looks again.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Whether `deadline` has not come yet.
    pub(crate) fn is_before(&mut self, deadline: Monotonic, clock: &Clock) -> bool {
        let coarse = clock.coarse();
        if self.looked > Monotonic::ZERO
            && coarse.since(self.coarse) < GOOD_FOR / 2
            && deadline > self.looked.plus(GOOD_FOR)
        {
            return true;
        }
        *self = Self { looked: clock.now(), coarse };
        self.looked < deadline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_came_while_a_handler_blocked_is_seen() {
        let clock = Clock::start();
        let mut glance = Glance::default();
        let now = clock.now();
        assert!(glance.is_before(now.plus(Duration::from_secs(5)), &clock));
        assert!(!glance.is_before(now, &clock), "short deadlines are looked at");
        // As if the look had been long ago, and to have said that there is time: by the coarse clock it was.
        glance = Glance { looked: Monotonic::from_nanos(1), coarse: Monotonic::ZERO };
        let until = Monotonic::from_millis(200);
        while clock.coarse() < Monotonic::from_millis(250) {
            std::hint::spin_loop();
        }
        assert!(!glance.is_before(until, &clock));
        assert!(glance.is_before(clock.now().plus(Duration::from_secs(1)), &clock));
    }
}
