//! Sending before the tick ends.
//!
//! Two ends that answer each other group by group take turns: while one works, the other waits, on a processor of its own. So a
//! group goes in portions, and the other end works on one while the next is encoded.
//!
//! Where both ends share a processor, or the other end has enough to do anyway, nothing is gained by that, and a portion costs system
//! calls. No end can know which it is. So both ways are tried by turns, for some thousand messages each, and the one that
//! brought more of them in the same time is kept for a while.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use noex_actors::Monotonic;

/// Frames of a portion where nothing tells how many come.
const USUAL: u32 = 256;
/// Portions of a group of calls: as few as let both ends work at the same time.
const PARTS: usize = 2;
/// A portion is worth a system call, and fewer frames that come together are no group.
const LEAST: u32 = 16;
/// All at the end of the tick.
pub(super) const WHOLE: u32 = u32::MAX;

/// How many frames go without waiting for the end of the tick.
#[derive(Debug)]
pub(crate) struct Portions(AtomicBool);

impl Portions {
    pub(super) fn new() -> Self {
        Self(AtomicBool::new(true))
    }

    fn in_portions(&self, of: u32) -> u32 {
        if self.0.load(Ordering::Relaxed) { of } else { WHOLE }
    }

    /// Of casts.
    pub(crate) fn of_casts(&self) -> u32 {
        self.in_portions(USUAL)
    }

    /// Of calls, of which so many wait: they come as one group, again and again.
    pub(crate) fn of_calls(&self, waiting: usize) -> u32 {
        let part = u32::try_from(waiting / PARTS).unwrap_or(USUAL);
        self.in_portions(part.clamp(LEAST, USUAL))
    }

    /// The reader took so many frames.
    pub(crate) fn judge(&self, trial: &mut Trial, came: u64, now: impl FnOnce() -> Monotonic) {
        if came >= u64::from(LEAST) && trial.took(came, now) {
            self.0.store(trial.in_portions(), Ordering::Relaxed);
        }
    }
}

/// Frames of one stretch of a trial.
const STRETCH: u64 = 4096;
/// Those at its beginning that are not counted: what was on its way went the other way.
const BEGINNING: u64 = 1024;
/// Stretches of a trial: in portions and whole by turns, so that what the machine does meanwhile falls on both.
const STRETCHES: u32 = 6;
/// Frames between two trials.
const KEPT: u64 = 80 * STRETCH;
/// What is gained must be that much, in percent.
const WORTH: u128 = 110;

/// Which way brings more. The reader's.
#[derive(Debug, Default)]
pub(crate) struct Trial {
    /// The stretch, of [`STRETCHES`]; that many: the trial is over.
    stretch: u32,
    /// Frames since its beginning, or since the end of the trial.
    frames: u64,
    /// When it began to count, and with which frame.
    counts: Option<(Monotonic, u64)>,
    portions: Tally,
    whole: Tally,
    /// What the trial before has shown.
    gains: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    frames: u64,
    time: Duration,
}

impl Tally {
    fn add(&mut self, frames: u64, time: Duration) {
        self.frames += frames;
        self.time += time;
    }

    /// Whether this brought more in the same time, by as much as it is worth.
    fn beats(&self, other: &Self) -> bool {
        let product = |frames: u64, time: Duration| u128::from(frames).saturating_mul(time.as_nanos());
        product(self.frames, other.time).saturating_mul(100)
            >= product(other.frames, self.time).saturating_mul(WORTH)
    }
}

impl Trial {
    fn in_portions(&self) -> bool {
        if self.stretch < STRETCHES { self.stretch.is_multiple_of(2) } else { self.gains }
    }

    /// A group of so many came. True if how to send may have changed.
    fn took(&mut self, came: u64, now: impl FnOnce() -> Monotonic) -> bool {
        self.frames += came;
        if self.stretch == STRETCHES {
            if self.frames >= KEPT {
                *self = Self { gains: self.gains, ..Self::default() };
                return true;
            }
            return false;
        }
        match self.counts {
            None if self.frames >= BEGINNING => self.counts = Some((now(), self.frames)),
            Some((began, before)) if self.frames >= STRETCH => {
                let time = now().since(began);
                let tally = if self.in_portions() { &mut self.portions } else { &mut self.whole };
                tally.add(self.frames - before, time);
                (self.frames, self.counts) = (0, None);
                self.stretch += 1;
                if self.stretch == STRETCHES {
                    self.gains = self.portions.beats(&self.whole);
                }
                return true;
            }
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_of_calls_goes_in_halves_that_are_worth_it() {
        let portions = Portions::new();
        assert_eq!([0, 8, 64, 512, 100_000].map(|calls| portions.of_calls(calls)), [16, 16, 32, 256, 256]);
    }

    /// A connection whose groups of 64 take so many microseconds in portions, and whole.
    struct Bench {
        portions: Portions,
        trial: Trial,
        now: Monotonic,
        costs: (u64, u64),
    }

    impl Bench {
        fn new(costs: (u64, u64)) -> Self {
            Self { portions: Portions::new(), trial: Trial::default(), now: Monotonic::ZERO, costs }
        }

        /// Groups that come; gives how many of those that were sent went in portions.
        fn groups(&mut self, count: u64) -> u64 {
            (0..count)
                .map(|_| {
                    let in_portions = self.portions.of_casts() != WHOLE;
                    let cost = if in_portions { self.costs.0 } else { self.costs.1 };
                    self.now = self.now.plus(Duration::from_micros(cost));
                    self.portions.judge(&mut self.trial, 64, || self.now);
                    u64::from(in_portions)
                })
                .sum()
        }
    }

    const TRIAL: u64 = STRETCH / 64 * 6;

    #[test]
    fn portions_are_kept_where_they_bring_more() {
        let mut bench = Bench::new((60, 100));
        assert_eq!(bench.groups(TRIAL), TRIAL / 2, "both ways are tried");
        assert_eq!(bench.groups(KEPT / 64), KEPT / 64);
        assert_eq!(bench.groups(TRIAL), TRIAL / 2, "and again, as it may have changed");
        bench.costs = (100, 100);
        assert_eq!(bench.groups(KEPT / 64), KEPT / 64);
    }

    #[test]
    fn they_are_left_out_where_they_gain_nothing_and_tried_again() {
        for whole in [90, 100, 109] {
            let mut bench = Bench::new((100, whole));
            bench.groups(TRIAL);
            assert_eq!(bench.groups(KEPT / 64), 0, "{whole}");
            bench.costs = (50, 100);
            bench.groups(TRIAL);
            assert_eq!(bench.groups(KEPT / 64), KEPT / 64);
        }
    }

    #[test]
    fn what_comes_alone_tells_nothing() {
        let (portions, mut trial) = (Portions::new(), Trial::default());
        for _ in 0..10 * KEPT {
            portions.judge(&mut trial, 15, || unreachable!("the clock is not read for it"));
        }
        assert_ne!(portions.of_casts(), WHOLE);
    }
}
