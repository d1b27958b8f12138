//! The only place that reads a clock.
//!
//! It reads tokio's clock, so that a test which pauses time pauses noex with it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_rt::time::Instant;

use crate::time::Monotonic;

/// Turns real (or paused) time into [`Monotonic`] values, all counted from its creation.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    started_at: SystemTime,
}

impl Clock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now(), started_at: SystemTime::now() }
    }

    /// The present.
    #[must_use]
    pub fn now(&self) -> Monotonic {
        let elapsed = Instant::now().saturating_duration_since(self.start);
        Monotonic::ZERO.plus(elapsed)
    }

    /// The tokio instant of a point in time, for timers.
    #[must_use]
    pub fn instant(&self, at: Monotonic) -> Instant {
        self.start + at.since(Monotonic::ZERO)
    }

    /// The wall time of a point in time, for people. Never decides anything.
    #[must_use]
    pub fn wall(&self, at: Monotonic) -> SystemTime {
        self.started_at + at.since(Monotonic::ZERO)
    }

    /// Seconds since the Unix epoch, now.
    #[must_use]
    pub fn unix_seconds() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
    }
}
