//! Decides when an arbiter counts as blocked, from whether it takes the turn that it was asked for.
//!
//! | Fact | Effect |
//! |---|---|
//! | a look, and no turn is asked for | one is asked for |
//! | a look, and the turn was taken | the next one is asked for; an arbiter that was reported is free again |
//! | the turn was asked for as long as the limit ago | the arbiter is blocked: reported once |
//! | the look itself comes late | what is waited for counts from now: the watchdog stood still, and maybe all of the machine |
//!
//! A blockage is counted from when the turn was asked for: it may have begun up to the time between two looks before that.
//!
//! Invariants: 1. `Blocked` and `Free` alternate, `Blocked` first; 2. at most one turn is asked for at a time, so that nothing
//! gathers at a blocked arbiter; 3. nobody is reported as blocked at a look that comes late.

use std::time::Duration;

use crate::Monotonic;

/// How often to look at the arbiters, and whether a look comes late.
#[derive(Debug)]
pub(crate) struct Looks {
    every: Duration,
    last: Option<Monotonic>,
}

impl Looks {
    /// Looks that find a blockage of `limit` at once.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { every: (limit / 2).max(Duration::from_millis(1)), last: None }
    }

    pub(crate) fn every(&self) -> Duration {
        self.every
    }

    /// A look begins. True if it comes late.
    pub(crate) fn begin(&mut self, now: Monotonic) -> bool {
        let last = self.last.replace(now);
        last.is_some_and(|last| now.since(last) > self.every.saturating_mul(2))
    }
}

/// What is to be done about an arbiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Ask it for a turn.
    Ask,
    /// Nothing.
    Wait,
    /// Report that it is blocked, and for how long already.
    Blocked(Duration),
    /// Report that it is free again, and how long it was blocked, and ask it for the next turn.
    Free(Duration),
}

/// One arbiter.
#[derive(Debug)]
pub(crate) struct Watched {
    limit: Duration,
    /// When it was asked for the turn that it has not taken, as far as is known.
    asked: Option<Monotonic>,
    reported: bool,
}

impl Watched {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, asked: None, reported: false }
    }

    /// A look. `turn`: when it took the turn that it was asked for; `late`: what [`Looks::begin`] said.
    pub(crate) fn look(&mut self, now: Monotonic, turn: Option<Monotonic>, late: bool) -> Verdict {
        let Some(asked) = self.asked else {
            self.asked = Some(now);
            return Verdict::Ask;
        };
        if let Some(turn) = turn {
            self.asked = Some(now);
            return if std::mem::take(&mut self.reported) {
                Verdict::Free(turn.since(asked))
            } else {
                Verdict::Ask
            };
        }
        if self.reported {
            return Verdict::Wait;
        }
        if late {
            self.asked = Some(now);
            return Verdict::Wait;
        }
        let waited = now.since(asked);
        if waited < self.limit {
            return Verdict::Wait;
        }
        self.reported = true;
        Verdict::Blocked(waited)
    }

    /// It is gone. If it was blocked, for how long.
    pub(crate) fn gone(&self, now: Monotonic) -> Option<Duration> {
        self.asked.filter(|_| self.reported).map(|asked| now.since(asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(1000);

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_millis(ms)
    }

    fn blocked(ms: u64) -> Verdict {
        Verdict::Blocked(Duration::from_millis(ms))
    }

    /// Looks at these times, in order, and what each comes to.
    fn looks(watched: &mut Watched, looks: &mut Looks, of: &[(u64, Option<u64>, Verdict)]) {
        for (now, turn, expected) in of {
            let late = looks.begin(at(*now));
            assert_eq!(watched.look(at(*now), turn.map(at), late), *expected, "at {now} ms");
        }
    }

    fn watchdog() -> (Watched, Looks) {
        (Watched::new(LIMIT), Looks::new(LIMIT))
    }

    #[test]
    fn who_takes_its_turns_is_never_reported() {
        let (mut one, mut at) = watchdog();
        let mut all = vec![(0, None, Verdict::Ask)];
        all.extend((1..100).map(|n| (n * 500, Some(n * 500 - 1), Verdict::Ask)));
        looks(&mut one, &mut at, &all);
    }

    #[test]
    fn who_takes_no_turn_is_reported_once_at_the_limit_and_once_when_it_does() {
        let (mut one, mut at) = watchdog();
        looks(
            &mut one,
            &mut at,
            &[
                (0, None, Verdict::Ask),
                (500, None, Verdict::Wait),
                (1000, None, blocked(1000)),
                (1500, None, Verdict::Wait),
                (9000, None, Verdict::Wait), // also at a look that comes late
                (9500, Some(9200), Verdict::Free(Duration::from_millis(9200))),
                (10_000, None, Verdict::Wait),
                (10_500, None, blocked(1000)), // and the next time
                (11_000, Some(10_900), Verdict::Free(Duration::from_millis(1400))),
                (11_500, Some(11_001), Verdict::Ask),
            ],
        );
    }

    #[test]
    fn a_turn_that_came_after_the_limit_but_before_the_look_is_no_report() {
        let (mut one, mut at) = watchdog();
        looks(
            &mut one,
            &mut at,
            &[(0, None, Verdict::Ask), (600, None, Verdict::Wait), (1100, Some(1050), Verdict::Ask)],
        );
    }

    #[test]
    fn a_standstill_of_the_watchdog_is_nobodys_blockage() {
        let (mut one, mut at) = watchdog();
        looks(
            &mut one,
            &mut at,
            &[
                (0, None, Verdict::Ask),
                (500, None, Verdict::Wait),
                (60_000, None, Verdict::Wait), // everything stood still, as under SIGSTOP
                (60_500, None, Verdict::Wait),
                (61_000, None, blocked(1000)), // it alone goes on standing still
            ],
        );
        let (mut one, mut at) = watchdog();
        looks(
            &mut one,
            &mut at,
            &[(0, None, Verdict::Ask), (60_000, None, Verdict::Wait), (60_500, Some(60_001), Verdict::Ask)],
        );
    }

    #[test]
    fn of_who_is_gone_it_is_told_whether_it_was_blocked() {
        let (mut one, mut looked) = watchdog();
        assert_eq!(one.gone(at(5)), None);
        looks(
            &mut one,
            &mut looked,
            &[(0, None, Verdict::Ask), (500, None, Verdict::Wait), (1000, None, blocked(1000))],
        );
        assert_eq!(one.gone(at(3000)), Some(Duration::from_secs(3)));
    }

    #[test]
    fn a_limit_of_nothing_is_looked_at_no_more_often_than_each_millisecond() {
        assert_eq!(Looks::new(Duration::ZERO).every(), Duration::from_millis(1));
    }
}
