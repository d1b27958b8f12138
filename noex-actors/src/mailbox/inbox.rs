//! The consuming end of a mailbox.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Waker},
};

use super::{Envelope, Mailbox, MailboxPolicy};
use crate::{Behavior, Caller, ExitReason, glance::Glance};

/// The consuming end.
pub(crate) struct Inbox<B: Behavior> {
    mailbox: Arc<Mailbox<B>>,
    local: VecDeque<Envelope<B>>,
    taken: u64,
    /// Messages taken since the arbiter's other tasks had their turn.
    burst: u32,
    /// Whether the call that was taken out last may run, if that is known already.
    started: Option<bool>,
    /// The clock, for the messages of one burst.
    glance: Glance,
}

/// Messages that a process may take before the other tasks of its arbiter get their turn: so few that a neighbour of a
/// flooded process hardly notices, so many that the turns cost little. tokio's own budget (128) is left to what handlers
/// await.
const BURST: u32 = 16;

impl<B: Behavior> Inbox<B> {
    pub(crate) fn new(mailbox: Arc<Mailbox<B>>) -> Self {
        Self { mailbox, local: VecDeque::new(), taken: 0, burst: 0, started: None, glance: Glance::default() }
    }

    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Envelope<B>> {
        if self.burst >= BURST {
            self.burst = 0;
            self.glance.forget();
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let envelope = match self.local.pop_front() {
            Some(envelope) => envelope,
            None => {
                let mut queue = self.mailbox.queue.lock();
                if queue.line.as_ref().is_some_and(|line| !line.is_empty()) {
                    let woken = self.mailbox.roomy(&mut queue);
                    woken.into_iter().for_each(Waker::wake);
                }
                if queue.items.is_empty() {
                    if queue.task.as_ref().is_none_or(|task| !task.will_wake(cx.waker())) {
                        queue.task = Some(cx.waker().clone());
                    }
                    queue.idle = true;
                    self.burst = 0;
                    self.glance.forget();
                    return Poll::Pending;
                }
                if self.local.capacity() > 1024 {
                    self.local = VecDeque::new();
                }
                // What was taken out cannot be dropped any more: where the oldest may be dropped, one at a time.
                if self.mailbox.policy != MailboxPolicy::DropOldest {
                    std::mem::swap(&mut queue.items, &mut self.local);
                }
                let Some(envelope) = self.local.pop_front().or_else(|| queue.items.pop_front()) else {
                    return Poll::Pending;
                };
                // It runs now: a call is taken up under the lock that is held anyway.
                if let Envelope::Call(_, from) = &envelope
                    && let Some(id) = from.local_id()
                {
                    let started = queue.replies.as_mut().is_some_and(|replies| replies.start(id));
                    self.started = Some(started);
                }
                envelope
            }
        };
        self.taken += 1;
        self.burst += 1;
        let bytes = envelope.wire_bytes();
        if bytes > 0 {
            self.mailbox.wire_bytes.fetch_sub(bytes, Ordering::AcqRel);
        }
        self.mailbox.handled.store(self.taken, Ordering::Release);
        if self.mailbox.waited_for.load(Ordering::Relaxed) {
            self.mailbox.made_room();
        }
        Poll::Ready(envelope)
    }

    /// The next message. A flooded process yields to its arbiter when its budget is spent.
    pub(crate) async fn next(&mut self) -> Envelope<B> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// Whether the call that was taken out last still has somebody who waits for it; it runs from now on.
    #[inline]
    pub(crate) fn start(&mut self, from: &Caller<B::Reply>) -> bool {
        match self.started.take() {
            Some(started) => started,
            None => from.start(&mut self.glance),
        }
    }

    pub(crate) fn close(&mut self, reason: &ExitReason) {
        self.mailbox.close(reason, &mut self.local);
    }
}

impl<B: Behavior> Drop for Inbox<B> {
    /// The process was killed, or its arbiter went: what is queued never ran.
    fn drop(&mut self) {
        let reason = self.mailbox.core.ending().unwrap_or(ExitReason::Killed);
        self.close(&reason);
    }
}
