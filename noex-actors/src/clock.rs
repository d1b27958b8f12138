//! The only place that reads a clock.
//!
//! It reads tokio's clock, so that a test which pauses time pauses noex with it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_rt::time::Instant;

use rustix::time::{ClockId, clock_gettime};

use crate::time::Monotonic;

/// How far the coarse clock may be behind.
pub const COARSE: Duration = Duration::from_millis(10);

/// The kernel's coarse monotonic clock: a few ns to read.
pub(crate) fn coarse() -> Duration {
    let time = clock_gettime(ClockId::MonotonicCoarse);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Time since the machine booted, in which it was suspended counted as well. For leases: whoever slept held on to nothing.
pub(crate) fn boot() -> Duration {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let time = clock_gettime(ClockId::Boottime);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Turns real (or paused) time into [`Monotonic`] values, all counted from its creation.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    start_coarse: Duration,
    started_at: SystemTime,
}

impl Clock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now(), start_coarse: coarse(), started_at: SystemTime::now() }
    }

    /// The present.
    #[must_use]
    pub fn now(&self) -> Monotonic {
        let elapsed = Instant::now().saturating_duration_since(self.start);
        Monotonic::ZERO.plus(elapsed)
    }

    /// The present, up to a tick of the kernel (1 to 10 ms) ago: several times cheaper than [`now`](Self::now). For
    /// deadlines of messages, where [`COARSE`] is added. Does not know of paused time.
    #[must_use]
    pub fn coarse(&self) -> Monotonic {
        Monotonic::ZERO.plus(coarse().saturating_sub(self.start_coarse))
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
        Self::since_epoch().as_secs()
    }

    /// Time since the Unix epoch, now.
    #[must_use]
    pub fn since_epoch() -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
    }
}
