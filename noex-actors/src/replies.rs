//! Where the local calls of one process wait for their replies.
//!
//! ```text
//!   Queued ──start──► Running ──finish──► Done ──poll──► forgotten
//!     └────abandon, or its deadline────────┘
//! ```
//! A slab with generations, allocated at the first call: a call costs no allocation of its own, and a reply that comes late
//! finds nothing. Deadlines are kept by one alarm per process, set for the earliest that is known; a stale alarm only looks
//! again. With one timeout for most calls that is one look per timeout, however many calls there were.
//!
//! Invariants: 1. `start` succeeds at most once, and never after `abandon` or the deadline: a call whose caller gave up
//! while it was queued does not run. 2. What `abandon` returns, and the error of a deadline, tell whether it had begun.

use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use slab::Slab;

use crate::{Delivery, Monotonic, failure::CallFailure};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Queued,
    Running,
    Done,
}

/// Which call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallId {
    key: u32,
    generation: u32,
}

/// A new entry.
pub(crate) struct Inserted {
    pub(crate) id: CallId,
    /// The alarm must be set for its deadline: it is the earliest now.
    pub(crate) rearm: bool,
}

#[derive(Debug)]
pub(crate) struct Replies<R>(Mutex<Table<R>>);

#[derive(Debug)]
struct Table<R> {
    entries: Slab<Entry<R>>,
    generation: u32,
    /// When the alarm is set.
    alarm: Option<Monotonic>,
}

#[derive(Debug)]
struct Entry<R> {
    generation: u32,
    phase: Phase,
    deadline: Monotonic,
    waker: Option<Waker>,
    result: Option<Result<R, CallFailure>>,
}

/// Room for that many calls is kept when none is left.
const KEPT: usize = 1024;

impl<R> Table<R> {
    fn get(&mut self, id: CallId) -> Option<&mut Entry<R>> {
        let key = usize::try_from(id.key).ok()?;
        self.entries.get_mut(key).filter(|entry| entry.generation == id.generation)
    }

    fn remove(&mut self, id: CallId) -> Option<Entry<R>> {
        self.get(id)?;
        let entry = self.entries.try_remove(usize::try_from(id.key).ok()?);
        if self.entries.is_empty() && self.entries.capacity() > KEPT {
            self.entries = Slab::new();
        }
        entry
    }
}

impl<R> Replies<R> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Table { entries: Slab::new(), generation: 0, alarm: None }))
    }

    /// A place for a call. `None` where there are more than can be counted.
    pub(crate) fn insert(&self, deadline: Monotonic, waker: &Waker) -> Option<Inserted> {
        let mut table = self.0.lock();
        table.generation = table.generation.wrapping_add(1);
        let generation = table.generation;
        let waker = Some(waker.clone());
        let entry = Entry { generation, phase: Phase::Queued, deadline, waker, result: None };
        let key = u32::try_from(table.entries.insert(entry)).ok()?;
        let rearm = table.alarm.is_none_or(|alarm| deadline < alarm);
        if rearm {
            table.alarm = Some(deadline);
        }
        Some(Inserted { id: CallId { key, generation }, rearm })
    }

    /// The process takes the call up; false if nobody waits any more.
    pub(crate) fn start(&self, id: CallId) -> bool {
        let mut table = self.0.lock();
        let Some(entry) = table.get(id) else { return false };
        if entry.phase == Phase::Queued {
            entry.phase = Phase::Running;
        }
        entry.phase == Phase::Running
    }

    pub(crate) fn finish(&self, id: CallId, result: Result<R, CallFailure>) {
        let mut table = self.0.lock();
        let Some(entry) = table.get(id).filter(|entry| entry.phase != Phase::Done) else {
            // The result may be dropped only without the lock: its `Drop` is a user's.
            drop(table);
            return drop(result);
        };
        entry.phase = Phase::Done;
        entry.result = Some(result);
        let waker = entry.waker.take();
        drop(table);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn is_waiting(&self, id: CallId) -> bool {
        self.0.lock().get(id).is_some_and(|entry| entry.phase != Phase::Done)
    }

    pub(crate) fn poll(&self, id: CallId, cx: &mut Context<'_>) -> Poll<Result<R, CallFailure>> {
        let mut table = self.0.lock();
        let Some(entry) = table.get(id) else { return Poll::Ready(Err(CallFailure::NoReply)) };
        if let Some(result) = entry.result.take() {
            let entry = table.remove(id);
            drop(table);
            drop(entry);
            return Poll::Ready(result);
        }
        if entry.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            entry.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The caller gives up; returns how far the call had come.
    pub(crate) fn abandon(&self, id: CallId) -> Phase {
        let entry = self.0.lock().remove(id);
        entry.map_or(Phase::Done, |entry| entry.phase)
    }

    /// Ends the calls whose deadline has come; tells when the alarm must go off next.
    pub(crate) fn expire(&self, now: Monotonic) -> Option<Monotonic> {
        let mut wake = Vec::new();
        let mut table = self.0.lock();
        let mut next: Option<Monotonic> = None;
        for (_, entry) in &mut table.entries {
            let delivery = match entry.phase {
                Phase::Queued => Delivery::Never,
                Phase::Running => Delivery::Unknown,
                Phase::Done => continue,
            };
            if entry.deadline <= now {
                entry.phase = Phase::Done;
                entry.result = Some(Err(CallFailure::Timeout(delivery)));
                wake.extend(entry.waker.take());
            } else {
                next = Some(next.map_or(entry.deadline, |next| next.min(entry.deadline)));
            }
        }
        table.alarm = next;
        drop(table);
        wake.into_iter().for_each(Waker::wake);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Monotonic = Monotonic::from_millis(5);

    fn insert(replies: &Replies<u32>, at: Monotonic) -> Inserted {
        replies.insert(at, Waker::noop()).unwrap()
    }

    fn poll(replies: &Replies<u32>, id: CallId) -> Poll<Result<u32, CallFailure>> {
        replies.poll(id, &mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn an_abandoned_call_does_not_start() {
        let replies = Replies::new();
        let id = insert(&replies, SOON).id;
        assert_eq!(replies.abandon(id), Phase::Queued);
        assert!(!replies.start(id) && !replies.is_waiting(id));
    }

    #[test]
    fn abandoning_a_running_call_says_so() {
        let replies = Replies::new();
        let id = insert(&replies, SOON).id;
        assert!(replies.start(id));
        assert_eq!(replies.abandon(id), Phase::Running);
        replies.finish(id, Ok(1));
        assert_eq!(replies.abandon(id), Phase::Done);
    }

    #[test]
    fn a_late_reply_finds_nothing_even_where_the_place_is_used_again() {
        let replies = Replies::new();
        let first = insert(&replies, SOON).id;
        replies.abandon(first);
        let second = insert(&replies, SOON).id;
        assert_eq!(first.key, second.key);
        replies.finish(first, Ok(1));
        assert!(replies.is_waiting(second));
        replies.finish(second, Ok(2));
        assert_eq!(poll(&replies, second), Poll::Ready(Ok(2)));
    }

    #[test]
    fn a_deadline_ends_what_is_due_and_says_whether_it_had_begun() {
        let replies = Replies::new();
        let at = Monotonic::from_millis;
        let (queued, running, later) =
            (insert(&replies, at(5)), insert(&replies, at(4)), insert(&replies, at(9)));
        assert!(queued.rearm && running.rearm && !later.rearm);
        assert!(replies.start(running.id));
        assert_eq!(replies.expire(at(3)), Some(at(4)), "a stale alarm only looks");
        assert_eq!(replies.expire(at(5)), Some(at(9)));
        assert_eq!(poll(&replies, queued.id), Poll::Ready(Err(CallFailure::Timeout(Delivery::Never))));
        assert_eq!(poll(&replies, running.id), Poll::Ready(Err(CallFailure::Timeout(Delivery::Unknown))));
        assert!(!replies.start(queued.id), "it does not run any more");
        assert!(poll(&replies, later.id).is_pending());
        replies.finish(later.id, Ok(1));
        assert_eq!(replies.expire(at(9)), None, "what is done is not expired");
        assert_eq!(poll(&replies, later.id), Poll::Ready(Ok(1)));
    }
}
