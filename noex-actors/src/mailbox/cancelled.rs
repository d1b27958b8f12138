//! Calls of other nodes whose callers gave up while they were queued here.
//!
//! A connection marks a call by its number; the process looks for the mark before it starts the call, if there are marks at all.
//! A cancel comes behind its call, so a mark concerns only what was queued when it came: when all of that was taken out, the
//! mark is forgotten, whether its call was among it or had been answered before. So marks are bounded by what is queued.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, atomic::Ordering},
};

use super::Mailbox;
use crate::{Behavior, route::Session};

/// Which call of which session. Those of a session that is over mean nothing to another one, even if that is in its place in
/// memory: they concern what was queued before it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RemoteId {
    session: usize,
    id: u64,
}

impl RemoteId {
    pub(crate) fn new(session: &Arc<dyn Session>, id: u64) -> Self {
        Self { session: Arc::as_ptr(session).cast::<()>().addr(), id }
    }
}

/// Marks beyond twice what is queued: of calls that were answered while their cancel was on its way.
const SPARE: u64 = 1024;

/// The marks. Messages are counted from the first that was ever queued.
#[derive(Debug, Default)]
pub(super) struct Cancelled {
    /// With the number of the last message that was queued before the mark.
    marks: HashMap<RemoteId, u64>,
    /// The same in the order of their coming.
    order: VecDeque<(u64, RemoteId)>,
}

impl Cancelled {
    /// Marks a call: `queued` messages had been queued when its cancel came, and `taken` of these were taken out. Where there are too many
    /// marks it is left out: the call runs in vain.
    fn mark(&mut self, call: RemoteId, queued: u64, taken: u64) {
        self.forget(taken);
        let marks = u64::try_from(self.order.len()).unwrap_or(u64::MAX);
        let waiting = queued.saturating_sub(taken);
        if waiting > 0 && marks < 2 * waiting + SPARE {
            self.marks.insert(call, queued);
            self.order.push_back((queued, call));
        }
    }

    /// Whether the call is marked, the last of `taken` messages. The mark goes.
    fn take(&mut self, call: RemoteId, taken: u64) -> bool {
        self.forget(taken.saturating_sub(1));
        self.marks.remove(&call).is_some()
    }

    /// Forgets the marks of what was taken out.
    fn forget(&mut self, taken: u64) {
        while let Some((queued, call)) = self.order.front().filter(|(queued, _)| *queued <= taken).copied() {
            self.order.pop_front();
            if self.marks.get(&call) == Some(&queued) {
                self.marks.remove(&call);
            }
        }
    }
}

impl<B: Behavior> Mailbox<B> {
    /// Nobody waits for this call any more.
    pub(super) fn cancel(&self, call: RemoteId) {
        let mut queue = self.queue.lock();
        if queue.open {
            let (queued, taken) = (queue.pushed, self.handled.load(Ordering::Acquire));
            queue.cancelled.get_or_insert_default().mark(call, queued, taken);
            self.cancelling.store(true, Ordering::Release);
        }
    }

    /// Whether the call that is about to start, the last of `taken` messages, was cancelled.
    #[cold]
    pub(super) fn is_cancelled(&self, call: RemoteId, taken: u64) -> bool {
        let mut queue = self.queue.lock();
        let Some(cancelled) = &mut queue.cancelled else { return false };
        let marked = cancelled.take(call, taken);
        if cancelled.order.is_empty() {
            queue.cancelled = None;
            self.cancelling.store(false, Ordering::Release);
        }
        marked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: u64) -> RemoteId {
        RemoteId { session: 1, id }
    }

    #[test]
    fn a_mark_is_found_once_by_the_call_of_its_session() {
        let mut cancelled = Cancelled::default();
        cancelled.mark(call(7), 10, 5);
        assert!(!cancelled.take(RemoteId { session: 2, id: 7 }, 6));
        assert!(cancelled.take(call(7), 10));
        assert!(!cancelled.take(call(7), 10));
    }

    #[test]
    fn a_mark_concerns_only_what_was_queued_before_it() {
        let mut cancelled = Cancelled::default();
        cancelled.mark(call(7), 10, 5);
        assert!(!cancelled.take(call(7), 11), "another call under the number, queued later");
        assert!(cancelled.order.is_empty() && cancelled.marks.is_empty());
        cancelled.mark(call(8), 10, 10);
        assert!(cancelled.order.is_empty(), "nothing is queued: it runs, or was answered");
    }

    #[test]
    fn marks_of_calls_that_were_answered_do_not_gather() {
        let mut cancelled = Cancelled::default();
        for n in 0..100_000 {
            cancelled.mark(call(n), n + 3, n);
        }
        assert!(cancelled.order.len() <= 3 && cancelled.marks.len() <= 3);
    }

    #[test]
    fn a_flood_of_cancels_is_bounded_by_what_is_queued() {
        let mut cancelled = Cancelled::default();
        for n in 0..100_000 {
            cancelled.mark(call(n % 7), 100, 0);
        }
        assert!(cancelled.order.len() <= 1224 && cancelled.marks.len() <= 7);
        assert!(cancelled.take(call(3), 1));
        cancelled.forget(100);
        assert!(cancelled.marks.is_empty() && cancelled.order.is_empty());
    }
}
