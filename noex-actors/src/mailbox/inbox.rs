//! The consuming end of a mailbox.

use std::{
    collections::VecDeque,
    future::Future,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Waker},
};

use parking_lot::MutexGuard;

use super::{Envelope, Mailbox, MailboxPolicy, RemoteId, envelope::Traced};
use crate::{
    Behavior, Caller, ExitReason, glance::Glance, panics::contained, process::Urgent, trace::TraceContext,
};

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

/// What is at the front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Call,
    Cast,
    /// One of them that belongs to a trace.
    Traced,
    Other,
}

impl Kind {
    /// `None`: it is nothing for the process.
    #[inline]
    fn of<B: Behavior>(envelope: &Envelope<B>) -> Option<Self> {
        match envelope {
            Envelope::Call(..) => Some(Self::Call),
            Envelope::Cast(_) | Envelope::RemoteCast(..) => Some(Self::Cast),
            Envelope::Traced(_) => Some(Self::Traced),
            Envelope::User(_) | Envelope::Info(_) | Envelope::Stop(_) => Some(Self::Other),
            Envelope::Marker { .. } => None,
        }
    }
}

/// Room for that many messages is kept when none is left.
pub(super) const KEPT: usize = 1024;

/// Messages that a process may take before the other tasks of its arbiter get their turn: so few that a neighbour of a
/// flooded process hardly notices, so many that the turns cost little. tokio's own budget (128) is left to what handlers
/// await.
const BURST: u32 = 16;

impl<B: Behavior> Inbox<B> {
    pub(crate) fn new(mailbox: Arc<Mailbox<B>>) -> Self {
        Self { mailbox, local: VecDeque::new(), taken: 0, burst: 0, started: None, glance: Glance::default() }
    }

    /// Pending where the arbiter's other tasks have their turn, or where the process must end and its host must see that.
    #[inline]
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let must_end =
            self.mailbox.alert.load(Ordering::Relaxed) && self.mailbox.core.urgent() != Urgent::Nothing;
        if self.burst >= BURST || must_end {
            self.burst = 0;
            self.glance.forget();
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Kind> {
        loop {
            if self.poll_turn(cx).is_pending() {
                return Poll::Pending;
            }
            if self.local.is_empty() && !self.fetch(cx) {
                return Poll::Pending;
            }
            let Some(envelope) = self.local.front() else { return Poll::Pending };
            let (kind, bytes) = (Kind::of(envelope), envelope.wire_bytes());
            self.taken += 1;
            self.burst += 1;
            if bytes > 0 {
                self.mailbox.wire_bytes.fetch_sub(bytes, Ordering::AcqRel);
            }
            self.mailbox.handled.store(self.taken, Ordering::Release);
            if self.mailbox.alert.load(Ordering::Relaxed) {
                self.mailbox.made_room();
            }
            match kind {
                Some(kind) => return Poll::Ready(kind),
                None => self.pass_marker(),
            }
        }
    }

    #[cold]
    fn pass_marker(&mut self) {
        let marker = self.local.pop_front();
        contained(|| drop(marker));
    }

    /// Takes over what has gathered; false if there is nothing.
    #[inline]
    fn fetch(&mut self, cx: &mut Context<'_>) -> bool {
        let mut queue = self.mailbox.queue.lock();
        if queue.line.as_ref().is_some_and(|line| !line.is_empty()) {
            let woken = self.mailbox.roomy(&mut queue);
            MutexGuard::unlocked(&mut queue, || woken.into_iter().for_each(Waker::wake));
        }
        if queue.items.is_empty() {
            if queue.task.as_ref().is_none_or(|task| !task.will_wake(cx.waker())) {
                queue.task = Some(cx.waker().clone());
            }
            queue.idle = true;
            self.burst = 0;
            self.glance.forget();
            // The room that a flood took is given back.
            if self.local.capacity() > KEPT {
                self.local = VecDeque::new();
            }
            if queue.items.capacity() > KEPT {
                queue.items = VecDeque::new();
            }
            return false;
        }
        // What was taken out cannot be dropped any more: where the oldest may be dropped, one at a time.
        if self.mailbox.policy == MailboxPolicy::DropOldest {
            let oldest = queue.items.pop_front();
            self.local.extend(oldest);
        } else {
            std::mem::swap(&mut queue.items, &mut self.local);
        }
        // It runs now: a call is taken up under the lock that is held anyway.
        if let Some(Envelope::Call(_, from)) = self.local.front()
            && let Some(id) = from.local_id()
        {
            self.started = Some(queue.replies.as_mut().is_some_and(|replies| replies.start(id)));
        }
        true
    }

    /// Leaves the others their turn if it has come. What the process does next counts as `done` messages.
    pub(crate) async fn breathe(&mut self, done: u32) {
        std::future::poll_fn(|cx| self.poll_turn(cx)).await;
        self.burst += done;
    }

    /// The next message: which kind it is. It is at the front until it is taken. A flooded process yields to its arbiter when
    /// its budget is spent.
    pub(crate) fn next(&mut self) -> impl Future<Output = Kind> {
        std::future::poll_fn(|cx| self.poll(cx))
    }

    /// Takes the call at the front; none if nobody waits for its reply any more.
    #[inline]
    pub(crate) fn take_call(&mut self) -> Option<(B::Call, Caller<B::Reply>)> {
        let Some(Envelope::Call(call, from)) = self.local.pop_front() else { return None };
        self.admit(call, from)
    }

    #[inline]
    fn admit(&mut self, call: B::Call, from: Caller<B::Reply>) -> Option<(B::Call, Caller<B::Reply>)> {
        let started = match self.started.take() {
            Some(started) => started,
            None => from.start(&mut self.glance) && !self.is_cancelled(&from),
        };
        if started {
            return Some((call, from));
        }
        from.forget();
        None
    }

    /// Takes the message at the front that belongs to a trace; none if nobody waits for its reply any more.
    #[cold]
    pub(crate) fn take_traced(&mut self) -> Option<(TraceContext, Work<B>)> {
        let Some(Envelope::Traced(traced)) = self.local.pop_front() else { return None };
        let Traced { context, envelope } = *traced;
        let work = match envelope {
            Envelope::Call(call, from) => {
                let (call, from) = self.admit(call, from)?;
                Work::Call(call, from)
            }
            other => Work::Cast(cast(other)?),
        };
        Some((context, work))
    }

    /// Whether the caller on another node gave up.
    #[inline]
    fn is_cancelled(&self, from: &Caller<B::Reply>) -> bool {
        if !self.mailbox.cancelling.load(Ordering::Acquire) {
            return false;
        }
        let Some((session, id)) = from.remote_id() else { return false };
        self.mailbox.is_cancelled(RemoteId::new(session, id), self.taken)
    }

    /// Takes the cast at the front.
    #[inline]
    pub(crate) fn take_cast(&mut self) -> Option<B::Cast> {
        cast(self.local.pop_front()?)
    }

    /// Takes what else is at the front.
    pub(crate) fn take_other(&mut self) -> Option<Envelope<B>> {
        self.local.pop_front()
    }

    pub(crate) fn mailbox(&self) -> &Arc<Mailbox<B>> {
        &self.mailbox
    }

    pub(crate) fn close(&mut self, reason: &ExitReason) {
        self.mailbox.close(reason, &mut self.local);
    }
}

#[inline]
fn cast<B: Behavior>(envelope: Envelope<B>) -> Option<B::Cast> {
    match envelope {
        Envelope::Cast(cast) | Envelope::RemoteCast(cast, _) => Some(cast),
        Envelope::Call(..)
        | Envelope::User(_)
        | Envelope::Info(_)
        | Envelope::Stop(_)
        | Envelope::Traced(_)
        | Envelope::Marker { .. } => None,
    }
}

/// What a behavior is to do.
pub(crate) enum Work<B: Behavior> {
    Call(B::Call, Caller<B::Reply>),
    Cast(B::Cast),
}

impl<B: Behavior> Drop for Inbox<B> {
    /// The process was killed, or its arbiter went: what is queued never ran.
    fn drop(&mut self) {
        let reason = self.mailbox.core.ending().unwrap_or(ExitReason::Killed);
        self.close(&reason);
    }
}
