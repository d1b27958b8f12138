//! Where the local calls of one process wait for their replies.
//!
//! ```text
//!   Queued ──start──► Running ──finish──► Done ──poll──► forgotten
//!     └─abandon, deadline, end of process──┘
//! ```
//! A slab with generations, under the lock of the mailbox, allocated at the first call: a call costs no allocation of its own, and a reply that comes late
//! finds nothing. Deadlines are kept by one alarm per process, set for the earliest that is known; a stale alarm only looks
//! again. With one timeout for most calls that is one look per timeout, however many calls there were.
//!
//! Invariants: 1. `start` succeeds at most once, and never after `abandon` or the deadline: a call whose caller gave up
//! while it was queued does not run. 2. What `abandon` returns, and the error of a deadline, tell whether it had begun.

use std::task::{Poll, Waker};

use slab::Slab;

use crate::{Delivery, ExitReason, Monotonic, failure::CallFailure};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Queued,
    Running,
    Done,
}

/// How a call ended. Failures are seldom, and large.
pub(crate) type Outcome<R> = Result<R, Box<CallFailure>>;

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
    /// When it was set before that.
    pub(crate) replaced: Option<Monotonic>,
}

/// The table. It lives under the lock of its mailbox: what may run code of a user (wakers, results) is handed out, to be
/// woken or dropped without the lock.
#[derive(Debug)]
pub(crate) struct Replies<R> {
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
    result: Option<Outcome<R>>,
}

/// Room for that many calls is kept when none is left.
const KEPT: usize = 1024;

impl<R> Default for Replies<R> {
    fn default() -> Self {
        Self { entries: Slab::new(), generation: 0, alarm: None }
    }
}

/// What is left of a call, to be dropped without the lock.
pub(crate) type Leftover<R> = (Option<Waker>, Option<Outcome<R>>);

impl<R> Replies<R> {
    #[inline]
    fn get(&mut self, id: CallId) -> Option<&mut Entry<R>> {
        let key = usize::try_from(id.key).ok()?;
        self.entries.get_mut(key).filter(|entry| entry.generation == id.generation)
    }

    #[inline]
    fn remove(&mut self, id: CallId) -> Option<Entry<R>> {
        self.get(id)?;
        let entry = self.entries.try_remove(usize::try_from(id.key).ok()?);
        if self.entries.is_empty() && self.entries.capacity() > KEPT {
            self.entries = Slab::new();
        }
        entry
    }

    /// A place for a call. `None` where there are more than can be counted.
    #[inline]
    pub(crate) fn insert(&mut self, deadline: Monotonic, waker: Waker) -> Option<Inserted> {
        let key = u32::try_from(self.entries.vacant_key()).ok()?;
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let waker = Some(waker);
        self.entries.insert(Entry { generation, phase: Phase::Queued, deadline, waker, result: None });
        let rearm = self.alarm.is_none_or(|alarm| deadline < alarm);
        let replaced = if rearm { self.alarm.replace(deadline) } else { None };
        Some(Inserted { id: CallId { key, generation }, rearm, replaced })
    }

    /// The process takes the call up; false if nobody waits any more.
    #[inline]
    pub(crate) fn start(&mut self, id: CallId) -> bool {
        let Some(entry) = self.get(id) else { return false };
        if entry.phase == Phase::Queued {
            entry.phase = Phase::Running;
        }
        entry.phase == Phase::Running
    }

    /// Keeps the result. Gives who is to be woken, and the result itself if nobody waits for it any more.
    #[inline]
    pub(crate) fn finish(&mut self, id: CallId, result: Outcome<R>) -> Leftover<R> {
        match self.get(id).filter(|entry| entry.phase != Phase::Done) {
            Some(entry) => {
                entry.phase = Phase::Done;
                entry.result = Some(result);
                (entry.waker.take(), None)
            }
            None => (None, Some(result)),
        }
    }

    pub(crate) fn is_waiting(&mut self, id: CallId) -> bool {
        self.get(id).is_some_and(|entry| entry.phase != Phase::Done)
    }

    /// The result, once it is there; the entry is forgotten with it. Gives the waker that is not needed any more.
    #[inline]
    pub(crate) fn poll(&mut self, id: CallId, waker: &Waker) -> (Poll<Outcome<R>>, Option<Waker>) {
        let Some(entry) = self.get(id) else {
            return (Poll::Ready(Err(Box::new(CallFailure::NoReply))), None);
        };
        if let Some(result) = entry.result.take() {
            // Its waker was taken by whoever finished it.
            self.remove(id);
            return (Poll::Ready(result), None);
        }
        if entry.waker.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            return (Poll::Pending, entry.waker.replace(waker.clone()));
        }
        (Poll::Pending, None)
    }

    /// The caller gives up; tells how far the call had come.
    pub(crate) fn abandon(&mut self, id: CallId) -> (Phase, Leftover<R>) {
        match self.remove(id) {
            Some(Entry { phase, waker, result, .. }) => (phase, (waker, result)),
            None => (Phase::Done, (None, None)),
        }
    }

    /// Ends the calls whose deadline has come: who is to be woken, and when the alarm must go off next.
    pub(crate) fn expire(&mut self, now: Monotonic) -> (Vec<Waker>, Option<Monotonic>) {
        let mut wake = Vec::new();
        let mut next: Option<Monotonic> = None;
        for (_, entry) in &mut self.entries {
            let delivery = match entry.phase {
                Phase::Queued => Delivery::Never,
                Phase::Running => Delivery::Unknown,
                Phase::Done => continue,
            };
            if entry.deadline <= now {
                entry.phase = Phase::Done;
                entry.result = Some(Err(Box::new(CallFailure::Timeout(delivery))));
                wake.extend(entry.waker.take());
            } else {
                next = Some(next.map_or(entry.deadline, |next| next.min(entry.deadline)));
            }
        }
        self.alarm = next;
        (wake, next)
    }

    /// The process ended: so does every call that still waits, queued or not. Who is to be woken, and when the alarm is set,
    /// which nobody needs any more.
    pub(crate) fn end(&mut self, reason: &ExitReason) -> (Vec<Waker>, Option<Monotonic>) {
        let mut wake = Vec::new();
        for (_, entry) in &mut self.entries {
            let delivery = match entry.phase {
                Phase::Queued => Delivery::Never,
                Phase::Running => Delivery::Unknown,
                Phase::Done => continue,
            };
            entry.phase = Phase::Done;
            entry.result = Some(Err(Box::new(CallFailure::Exited(reason.clone(), delivery))));
            wake.extend(entry.waker.take());
        }
        (wake, self.alarm.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Monotonic = Monotonic::from_millis(5);

    fn insert(replies: &mut Replies<u32>, at: Monotonic) -> Inserted {
        replies.insert(at, Waker::noop().clone()).unwrap()
    }

    fn poll(replies: &mut Replies<u32>, id: CallId) -> Poll<Outcome<u32>> {
        replies.poll(id, Waker::noop()).0
    }

    #[test]
    fn an_abandoned_call_does_not_start() {
        let mut replies = Replies::default();
        let id = insert(&mut replies, SOON).id;
        assert_eq!(replies.abandon(id).0, Phase::Queued);
        assert!(!replies.start(id) && !replies.is_waiting(id));
    }

    #[test]
    fn abandoning_a_running_call_says_so() {
        let mut replies = Replies::default();
        let id = insert(&mut replies, SOON).id;
        assert!(replies.start(id));
        assert_eq!(replies.abandon(id).0, Phase::Running);
        assert_eq!(replies.finish(id, Ok(1)).1, Some(Ok(1)), "given back");
        assert_eq!(replies.abandon(id).0, Phase::Done);
    }

    #[test]
    fn a_late_reply_finds_nothing_even_where_the_place_is_used_again() {
        let mut replies = Replies::default();
        let first = insert(&mut replies, SOON).id;
        replies.abandon(first);
        let second = insert(&mut replies, SOON).id;
        assert_eq!(first.key, second.key);
        replies.finish(first, Ok(1));
        assert!(replies.is_waiting(second));
        replies.finish(second, Ok(2));
        assert_eq!(poll(&mut replies, second), Poll::Ready(Ok(2)));
    }

    #[test]
    fn the_room_of_many_calls_is_given_back_in_whatever_order_they_end() {
        for backwards in [false, true] {
            let mut replies = Replies::default();
            let mut ids: Vec<_> = (0..5000).map(|_| insert(&mut replies, SOON).id).collect();
            if backwards {
                ids.reverse();
            }
            ids.into_iter().for_each(|id| drop(replies.abandon(id)));
            assert!(replies.entries.capacity() <= KEPT);
        }
    }

    #[test]
    fn an_end_fails_what_still_waits_and_nothing_else() {
        let mut replies = Replies::default();
        let (queued, running, done) =
            (insert(&mut replies, SOON).id, insert(&mut replies, SOON).id, insert(&mut replies, SOON).id);
        assert!(replies.start(running) && replies.start(done));
        replies.finish(done, Ok(1));
        let (woken, alarm) = replies.end(&ExitReason::Killed);
        assert_eq!((woken.len(), alarm), (2, Some(SOON)));
        let exited = |delivery| Poll::Ready(Err(Box::new(CallFailure::Exited(ExitReason::Killed, delivery))));
        assert_eq!(poll(&mut replies, queued), exited(Delivery::Never));
        assert_eq!(poll(&mut replies, running), exited(Delivery::Unknown));
        assert_eq!(poll(&mut replies, done), Poll::Ready(Ok(1)));
    }

    #[test]
    fn a_deadline_ends_what_is_due_and_says_whether_it_had_begun() {
        let mut replies = Replies::default();
        let at = Monotonic::from_millis;
        let (queued, running, later) =
            (insert(&mut replies, at(5)), insert(&mut replies, at(4)), insert(&mut replies, at(9)));
        assert!(queued.rearm && running.rearm && !later.rearm);
        assert!(replies.start(running.id));
        assert_eq!(replies.expire(at(3)).1, Some(at(4)), "a stale alarm only looks");
        assert_eq!(replies.expire(at(5)).1, Some(at(9)));
        assert_eq!(
            poll(&mut replies, queued.id),
            Poll::Ready(Err(Box::new(CallFailure::Timeout(Delivery::Never))))
        );
        assert_eq!(
            poll(&mut replies, running.id),
            Poll::Ready(Err(Box::new(CallFailure::Timeout(Delivery::Unknown))))
        );
        assert!(!replies.start(queued.id), "it does not run any more");
        assert!(poll(&mut replies, later.id).is_pending());
        replies.finish(later.id, Ok(1));
        assert_eq!(replies.expire(at(9)).1, None, "what is done is not expired");
        assert_eq!(poll(&mut replies, later.id), Poll::Ready(Ok(1)));
    }
}
