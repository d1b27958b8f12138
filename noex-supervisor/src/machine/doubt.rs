//! Doubt: decides how long a supervisor that met a sign of another one waits until it goes on, and who is asked meanwhile.
//!
//! | What is known | What follows |
//! |---|---|
//! | another one has the name in the own view | it yields |
//! | connected nodes know of another one | it is waited for until the two meet or nobody speaks of it any more, `patience` at most |
//! | that was in vain, and no node has come since | it is not waited for again |
//! | nobody knows of one, also [`DOUBT_FOR`] after the last sign | the name is its own |
//!
//! Who has a name is found out by the names alone, when two views meet: what others say only ever delays.
//!
//! Not waited for again, a rival that is never met costs a child some time once, and not each time when one of the two stops what it finds of
//! the other.
//!
//! Invariants: 1. one question is in flight at most; 2. it is settled by the answer to a question, which was asked when its time
//! was over, so that the own view is looked at then; 3. it takes `patience` and [`DOUBT_FOR`] at most, times in which the supervisor
//! itself stood still not counted.

use std::time::Duration;

use noex_actors::{Monotonic, Pid};

/// How long names may take to come from a node that came.
pub(crate) const DOUBT_FOR: Duration = Duration::from_millis(500);

/// How long after an answer that names another one the next question is asked.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// What follows from an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing yet.
    Wait,
    Yield {
        to: Pid,
    },
    /// Nobody else turned up: what was found has no other supervisor, or one that was waited for in vain.
    Settled {
        in_vain: bool,
    },
}

#[derive(Clone, Copy, Debug)]
enum Next {
    Answer { asked: Monotonic, due: Monotonic },
    Question { due: Monotonic },
}

/// One doubt.
#[derive(Debug)]
pub(crate) struct Doubt {
    /// From then on it is enough that nobody knows of another one.
    least: Monotonic,
    /// From then on nobody is waited for.
    until: Monotonic,
    next: Next,
}

impl Doubt {
    /// It begins with a question, at once.
    pub(crate) fn new(patience: Duration, now: Monotonic) -> Self {
        let until = now.plus(patience.max(DOUBT_FOR));
        Self { least: now.plus(DOUBT_FOR), until, next: Next::Question { due: now } }
    }

    /// There is another sign.
    pub(crate) fn again(&mut self, now: Monotonic) {
        self.least = now.plus(DOUBT_FOR).min(self.until);
    }

    /// Asks, if it is time: how long the answers may take.
    pub(crate) fn ask(&mut self, now: Monotonic) -> Option<Duration> {
        let Next::Question { due } = self.next else { return None };
        if due > now {
            return None;
        }
        self.forgive(due, now);
        let timeout = self.until.since(now).max(DOUBT_FOR);
        self.next = Next::Answer { asked: now, due: now.plus(timeout) };
        Some(timeout)
    }

    /// All have answered, or had their time: who has the name in the own view, if it is another one, and whether anybody knows of
    /// another one.
    pub(crate) fn answered(&mut self, seen: Option<Pid>, named: bool, now: Monotonic) -> Step {
        let Next::Answer { asked, due } = self.next else { return Step::Wait };
        if let Some(to) = seen {
            return Step::Yield { to };
        }
        self.forgive(due, now);
        if asked >= self.until || (!named && asked >= self.least) {
            return Step::Settled { in_vain: named };
        }
        let due = if named { now.plus(ASK_AGAIN) } else { self.least };
        self.next = Next::Question { due: due.min(self.until) };
        Step::Wait
    }

    /// When it is time to ask.
    pub(crate) fn deadline(&self) -> Option<Monotonic> {
        match self.next {
            Next::Question { due } => Some(due),
            Next::Answer { .. } => None,
        }
    }

    /// The supervisor itself stood still: what happened meanwhile was not heard yet.
    fn forgive(&mut self, due: Monotonic, now: Monotonic) {
        let late = now.since(due);
        if late > DOUBT_FOR {
            (self.least, self.until) = (self.least.plus(late), self.until.plus(late));
        }
    }
}

#[cfg(test)]
mod tests;
