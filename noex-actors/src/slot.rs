//! Where one local call waits for its reply.
//!
//! ```text
//!   Queued ──start──► Running ──finish──► Done
//!     └────abandon───────┴──────────────► Abandoned     (the caller timed out or went away)
//! ```
//! Invariants: 1. `start` succeeds at most once, and never after `abandon`: a call whose caller gave up while it was
//! queued does not run. 2. What `abandon` returns tells whether it had begun to run.

use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::failure::CallFailure;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Queued,
    Running,
    Done,
    Abandoned,
}

#[derive(Debug)]
pub(crate) struct Slot<R>(Mutex<State<R>>);

#[derive(Debug)]
struct State<R> {
    phase: Phase,
    waker: Option<Waker>,
    result: Option<Result<R, CallFailure>>,
}

impl<R> Slot<R> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State { phase: Phase::Queued, waker: None, result: None }))
    }

    /// The process takes the call up; false if nobody waits any more.
    pub(crate) fn start(&self) -> bool {
        let mut state = self.0.lock();
        if state.phase == Phase::Queued {
            state.phase = Phase::Running;
        }
        state.phase == Phase::Running
    }

    pub(crate) fn finish(&self, result: Result<R, CallFailure>) {
        let mut state = self.0.lock();
        if matches!(state.phase, Phase::Queued | Phase::Running) {
            state.phase = Phase::Done;
            state.result = Some(result);
            let waker = state.waker.take();
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.0.lock().phase, Phase::Queued | Phase::Running)
    }

    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<R, CallFailure>> {
        let mut state = self.0.lock();
        if let Some(result) = state.result.take() {
            return Poll::Ready(result);
        }
        if state.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The caller gives up; returns how far the call had come.
    pub(crate) fn abandon(&self) -> Phase {
        let mut state = self.0.lock();
        let phase = state.phase;
        state.phase = Phase::Abandoned;
        let (waker, result) = (state.waker.take(), state.result.take());
        drop(state);
        drop((waker, result));
        phase
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abandoned_call_does_not_start() {
        let slot = Slot::<()>::new();
        assert_eq!(slot.abandon(), Phase::Queued);
        assert!(!slot.start() && !slot.is_waiting());
    }

    #[test]
    fn abandoning_a_running_call_says_so() {
        let slot = Slot::<()>::new();
        assert!(slot.start());
        assert_eq!(slot.abandon(), Phase::Running);
        slot.finish(Ok(()));
        assert_eq!(slot.abandon(), Phase::Abandoned);
    }
}
