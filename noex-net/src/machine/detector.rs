//! Failure detector: decides when a silent connection is dead.
//!
//! | Fact | Effect |
//! |---|---|
//! | silence of interval × threshold; or, with phi accrual, of as long as [`arrivals`](super::arrivals) says | the connection is reported once and not watched any more |
//! | own tick more than an interval late | every connection gets one fresh interval |
//! | a reader's tick more than an interval old | its connection is not judged, and gets one fresh interval when it reads again |
//!
//! Any verified bytes count as life. What we did not read while we were stalled is no sign of death: after a
//! stall, bytes that wait in the socket have one interval to be read. While a reader is kept from reading (user code
//! blocks its arbiter), nothing can be known of its peer.
//!
//! Invariants: 1. a connection is reported at most once per `watch`; 2. `deadline()` is `None` exactly when nothing
//! is watched; 3. no verdict falls in the interval after an own stall.
//!
//! Source: OTP kernel, `net_ticktime`.

use std::{collections::BTreeMap, time::Duration};

use noex_actors::Monotonic;

use super::{
    arrivals::{Arrivals, deviations},
    sessions::ConnId,
};
use crate::config;

/// What the shell knows of one connection at the moment of a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// When verified bytes came last.
    pub(crate) last_received: Monotonic,
    /// When its reader last had its turn, whether or not there was anything to read.
    pub(crate) reader_tick: Monotonic,
    /// When a heartbeat came last.
    pub(crate) last_heartbeat: Monotonic,
}

#[derive(Debug)]
struct Watched {
    /// Life before this moment is granted.
    alive_at: Monotonic,
    arrivals: Option<Arrivals>,
}

/// The failure detector of one node.
#[derive(Debug)]
pub(crate) struct Detector {
    interval: Duration,
    silence: Duration,
    /// With phi accrual: the standard deviations of its threshold.
    deviations: Option<f64>,
    /// How often the shell should tick: often enough that a verdict is late by a quarter of an interval at most.
    period: Duration,
    last_tick: Option<Monotonic>,
    watched: BTreeMap<ConnId, Watched>,
}

impl Detector {
    pub(crate) fn new(interval: Duration, threshold: u32, kind: config::Detector) -> Self {
        let silence = interval.saturating_mul(threshold);
        let deviations = match kind {
            config::Detector::Deadline => None,
            config::Detector::Phi { threshold } => Some(deviations(threshold)),
        };
        Self {
            interval,
            silence,
            deviations,
            period: interval / 4,
            last_tick: None,
            watched: BTreeMap::new(),
        }
    }

    /// Watches a connection from now on.
    pub(crate) fn watch(&mut self, conn: ConnId, now: Monotonic) {
        if self.watched.is_empty() {
            self.last_tick = Some(now); // nobody ticked while there was nothing to watch
        }
        let arrivals = self.deviations.map(|_| Arrivals::new(self.interval));
        self.watched.insert(conn, Watched { alive_at: now, arrivals });
    }

    /// The connection is gone.
    pub(crate) fn unwatch(&mut self, conn: ConnId) {
        self.watched.remove(&conn);
    }

    /// When the next tick is due.
    #[cfg(test)]
    pub(crate) fn deadline(&self) -> Option<Monotonic> {
        if self.watched.is_empty() { None } else { self.last_tick.map(|last| last.plus(self.period)) }
    }

    /// A tick: `reading` tells of each watched connection. Returns those that are dead; they are not watched
    /// any more. A connection without a reading keeps what it had.
    pub(crate) fn tick(
        &mut self,
        now: Monotonic,
        reading: impl Fn(ConnId) -> Option<Reading>,
    ) -> Vec<ConnId> {
        let stalled =
            self.last_tick.is_some_and(|last| now.since(last) > self.period.saturating_add(self.interval));
        self.last_tick = Some(now);
        let mut dead = Vec::new();
        for (conn, watched) in &mut self.watched {
            let reading = reading(*conn);
            let late = reading.is_some_and(|reading| now.since(reading.reader_tick) > self.interval);
            let mut patience = self.silence;
            if let (Some(arrivals), Some(deviations)) = (&mut watched.arrivals, self.deviations) {
                if stalled || late {
                    arrivals.skip();
                } else if let Some(reading) = reading {
                    arrivals.heard(reading.last_heartbeat);
                }
                patience = arrivals.patience(deviations);
            }
            if let Some(reading) = reading {
                watched.alive_at = watched.alive_at.max(reading.last_received);
            }
            if stalled || late {
                // As if the last sign of life had come so late that one interval is left.
                let granted = now.plus(self.interval).as_nanos();
                let grace = granted.saturating_sub(Monotonic::ZERO.plus(patience).as_nanos());
                watched.alive_at = watched.alive_at.max(Monotonic::from_nanos(grace));
            }
            if now.since(watched.alive_at) > patience {
                dead.push(*conn);
            }
        }
        for conn in &dead {
            self.watched.remove(conn);
        }
        dead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONN: ConnId = ConnId(1);

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_millis(ms)
    }

    fn detector() -> Detector {
        detector_of(config::Detector::Deadline)
    }

    fn detector_of(kind: config::Detector) -> Detector {
        let mut detector = Detector::new(Duration::from_millis(200), 3, kind);
        detector.watch(CONN, at(0));
        detector
    }

    fn reading(last_received: u64, reader_tick: u64) -> Reading {
        let last_received = at(last_received);
        Reading { last_received, reader_tick: at(reader_tick), last_heartbeat: last_received }
    }

    /// Ticks in time from `from` on until the verdict; `received` and `reader` tell of the connection.
    fn verdict(
        detector: &mut Detector,
        from: u64,
        received: impl Fn(u64) -> u64,
        reader: impl Fn(u64) -> u64,
    ) -> u64 {
        for now in (from..from + 30_000).step_by(50) {
            let reading = reading(received(now), reader(now));
            let dead = detector.tick(at(now), |_| Some(reading));
            if !dead.is_empty() {
                return now;
            }
        }
        u64::MAX
    }

    #[test]
    fn silence_beyond_interval_times_threshold_is_death_once() {
        let mut detector = detector();
        assert_eq!(detector.deadline(), Some(at(50)));
        assert_eq!(verdict(&mut detector, 50, |_| 1000, |now| now), 1650);
        assert_eq!(detector.deadline(), None);
        assert_eq!(verdict(&mut detector, 1700, |_| 1000, |now| now), u64::MAX);
    }

    #[test]
    fn who_is_heard_in_time_lives() {
        assert_eq!(verdict(&mut detector(), 50, |now| now.saturating_sub(600), |now| now), u64::MAX);
    }

    #[test]
    fn a_stall_of_two_seconds_kills_nobody_who_speaks_within_one_interval() {
        for stall in [400, 2_000, 100_000] {
            let mut detector = detector();
            let silent_until = |end: u64| move |now: u64| if now < end { 100 } else { end };
            verdict_none(&mut detector, 50..=100);
            let back = 100 + stall;
            // The bytes that waited are read 150 ms after we are back, and nothing comes after them.
            let died = verdict(&mut detector, back, silent_until(back + 150), |now| now);
            assert_eq!(died, back + 150 + 650);
            // Nothing was waiting: dead after one fresh interval.
            let mut detector = self::detector();
            verdict_none(&mut detector, 50..=100);
            let died = verdict(&mut detector, back, |_| 100, |now| now);
            assert!((back + 201..=back + 250).contains(&died), "{died} after {back}");
        }
    }

    fn verdict_none(detector: &mut Detector, times: std::ops::RangeInclusive<u64>) {
        for now in times.step_by(50) {
            assert_eq!(detector.tick(at(now), |_| Some(reading(now, now))), []);
        }
    }

    #[test]
    fn a_blocked_reader_kills_nobody_and_gets_one_fresh_interval_when_it_reads_again() {
        let mut detector = detector();
        detector.watch(ConnId(2), at(0));
        let mut died = BTreeMap::new();
        for now in (50..40_000).step_by(50) {
            // The first is blocked from 300 on, for 30 s; the second reads all the time.
            let blocked = reading(0, if now < 30_300 { 300 } else { now });
            let reading =
                |conn| Some(if conn == CONN { blocked } else { Reading { reader_tick: at(now), ..blocked } });
            for conn in detector.tick(at(now), reading) {
                died.insert(conn, now);
            }
        }
        // The last tick while it was blocked was at 30 250.
        assert_eq!(died, BTreeMap::from([(CONN, 30_500), (ConnId(2), 650)]));
    }

    #[test]
    fn a_late_tick_within_an_interval_is_no_stall() {
        let mut detector = detector();
        let fresh = |now| Some(reading(0, now));
        for now in [240, 480] {
            assert_eq!(detector.tick(at(now), |_| fresh(now)), []);
        }
        assert_eq!(detector.tick(at(601), |_| fresh(601)), [CONN]);
    }

    #[test]
    fn a_connection_that_begins_after_a_quiet_time_is_no_stall() {
        let mut detector = detector();
        detector.unwatch(CONN);
        detector.watch(CONN, at(60_000));
        assert_eq!(detector.deadline(), Some(at(60_050)));
        assert_eq!(verdict(&mut detector, 60_050, |_| 0, |now| now), 60_650);
    }

    /// Beats until 20 s, late by `late(beat)`, then is silent; when it is given up.
    fn silent_after_20_s(kind: config::Detector, late: impl Fn(u64) -> u64) -> u64 {
        let mut detector = detector_of(kind);
        let beats: Vec<u64> = (1..100).map(|beat| beat * 200 + late(beat)).collect();
        let last = move |now: u64| beats.iter().rev().find(|at| **at <= now).copied().unwrap_or(0);
        verdict(&mut detector, 50, last, |now| now)
    }

    #[test]
    fn phi_gives_a_regular_peer_up_sooner_and_an_irregular_one_later() {
        let phi = config::Detector::Phi { threshold: 8.0 };
        let (on_time, jitter) = (|_: u64| 0, |beat: u64| if beat.is_multiple_of(2) { 150 } else { 0 });
        // The last beat is at 19 800.
        assert_eq!(silent_after_20_s(config::Detector::Deadline, on_time), 20_450);
        let regular = silent_after_20_s(phi, on_time);
        assert!((20_200..20_400).contains(&regular), "{regular}");
        let irregular = silent_after_20_s(phi, jitter);
        assert!((20_700..21_300).contains(&irregular), "{irregular}");
    }

    #[test]
    fn a_reader_that_is_blocked_for_less_than_an_interval_kills_nobody_whatever_the_threshold() {
        let mut detector = detector_of(config::Detector::Phi { threshold: 1.0 });
        // Blocked from 5 ms before every tenth beat on, for 190 ms.
        let read = |now: u64| {
            let blocked = (now + 5) % 2_000 < 190;
            let free = if blocked { now - (now + 5) % 2_000 } else { now };
            (free / 200 * 200, if blocked { free / 50 * 50 } else { now })
        };
        for now in (2_050..30_000).step_by(10).filter(|now| now % 50 == 30) {
            let (received, tick) = read(now);
            assert_eq!(detector.tick(at(now), |_| Some(reading(received, tick))), [], "at {now}");
        }
    }

    #[test]
    fn a_stall_is_neither_death_nor_jitter_for_phi() {
        let mut detector = detector_of(config::Detector::Phi { threshold: 8.0 });
        for now in (50..=10_000).step_by(50) {
            assert_eq!(detector.tick(at(now), |_| Some(reading(now / 200 * 200, now))), []);
        }
        // Away for a minute; what waited is read 150 ms later.
        let back = 70_000;
        let late = |now: u64| if now < back + 150 { 10_000 } else { now / 200 * 200 };
        for now in (back..back + 10_000).step_by(50) {
            assert_eq!(detector.tick(at(now), |_| Some(reading(late(now), now))), []);
        }
        let died = verdict(&mut detector, back + 10_000, |_| back + 9_800, |now| now);
        assert!((back + 10_200..back + 10_400).contains(&died), "no longer patience than before: {died}");
    }
}
