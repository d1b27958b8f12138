//! The mailbox of one process: a bounded queue with one consumer, swapped out in batches.
//!
//! `Down`, name losses and stop requests keep their place in the order and are exempt from the bound.

use std::{
    any::Any,
    collections::VecDeque,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

use crate::{
    Behavior, Caller, Delivery, Down, ExitReason, Info, Overload, Pid,
    behaviors::RemoteCodec,
    failure::CallFailure,
    glance::Glance,
    host::Killer,
    process::{MailboxStats, Process, ProcessCore, RemoteCall},
};

pub(crate) enum Envelope<B: Behavior> {
    Call(B::Call, Caller<B::Reply>),
    Cast(B::Cast),
    Info(Info<B::Info>),
    Stop(ExitReason),
}

/// Why a message was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Closed,
    Full,
}

pub(crate) struct Mailbox<B: Behavior> {
    pub(crate) core: ProcessCore,
    pub(crate) codec: Option<RemoteCodec<B>>,
    pub(crate) killer: Killer<B>,
    capacity: u64,
    queue: Mutex<Queue<B>>,
    /// Messages taken out and done with. Written by the consumer only.
    handled: AtomicU64,
}

struct Queue<B: Behavior> {
    items: VecDeque<Envelope<B>>,
    waker: Option<Waker>,
    /// Messages ever queued; minus `handled` it is the length.
    pushed: u64,
    high_water: u64,
    dropped: u64,
    open: bool,
}

impl<B: Behavior> Mailbox<B> {
    pub(crate) fn new(core: ProcessCore, codec: Option<RemoteCodec<B>>, capacity: usize) -> Self {
        let queue =
            Queue { items: VecDeque::new(), waker: None, pushed: 0, high_water: 0, dropped: 0, open: true };
        Self {
            core,
            codec,
            killer: Killer::new(),
            capacity: u64::try_from(capacity).unwrap_or(u64::MAX),
            queue: Mutex::new(queue),
            handled: AtomicU64::new(0),
        }
    }

    pub(crate) fn push(&self, envelope: Envelope<B>) -> Result<(), (Refusal, Envelope<B>)> {
        self.put(envelope, false)
    }

    /// Queues what the bound does not apply to; false if the process is gone.
    pub(crate) fn push_exempt(&self, envelope: Envelope<B>) -> bool {
        self.put(envelope, true).is_ok()
    }

    fn put(&self, envelope: Envelope<B>, exempt: bool) -> Result<(), (Refusal, Envelope<B>)> {
        let mut queue = self.queue.lock();
        if !queue.open {
            drop(queue);
            return Err((Refusal::Closed, envelope));
        }
        let len = queue.pushed - self.handled.load(Ordering::Acquire);
        if len >= self.capacity && !exempt {
            queue.dropped += 1;
            drop(queue);
            return Err((Refusal::Full, envelope));
        }
        queue.pushed += 1;
        queue.high_water = queue.high_water.max(len + 1);
        queue.items.push_back(envelope);
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Closes the mailbox and fails every call in it: none of them ran.
    pub(crate) fn close(&self, reason: &ExitReason, local: &mut VecDeque<Envelope<B>>) {
        let mut rest = {
            let mut queue = self.queue.lock();
            queue.open = false;
            queue.waker = None;
            std::mem::take(&mut queue.items)
        };
        for envelope in local.drain(..).chain(rest.drain(..)) {
            if let Envelope::Call(call, from) = envelope {
                from.refuse(CallFailure::Exited(reason.clone(), Delivery::Never));
                drop(call);
            }
        }
    }
}

/// The consuming end.
pub(crate) struct Inbox<B: Behavior> {
    mailbox: Arc<Mailbox<B>>,
    local: VecDeque<Envelope<B>>,
    taken: u64,
    /// Messages taken since the arbiter's other tasks had their turn.
    burst: u32,
    /// The clock, for the messages of one burst.
    pub(crate) glance: Glance,
}

/// Messages that a process may take before the other tasks of its arbiter get their turn. tokio's own budget (128) is
/// left to what handlers await.
const BURST: u32 = 512;

impl<B: Behavior> Inbox<B> {
    pub(crate) fn new(mailbox: Arc<Mailbox<B>>) -> Self {
        Self { mailbox, local: VecDeque::new(), taken: 0, burst: 0, glance: Glance::default() }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Envelope<B>> {
        if self.burst >= BURST {
            self.burst = 0;
            self.glance.forget();
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.local.is_empty() {
            let mut queue = self.mailbox.queue.lock();
            if queue.items.is_empty() {
                if queue.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
                    queue.waker = Some(cx.waker().clone());
                }
                self.burst = 0;
                self.glance.forget();
                return Poll::Pending;
            }
            if self.local.capacity() > 1024 {
                self.local = VecDeque::new();
            }
            std::mem::swap(&mut queue.items, &mut self.local);
        }
        match self.local.pop_front() {
            Some(envelope) => {
                self.taken += 1;
                self.burst += 1;
                self.mailbox.handled.store(self.taken, Ordering::Release);
                Poll::Ready(envelope)
            }
            None => Poll::Pending,
        }
    }

    /// The next message. A flooded process yields to its arbiter when its budget is spent.
    pub(crate) async fn next(&mut self) -> Envelope<B> {
        std::future::poll_fn(|cx| self.poll(cx)).await
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

impl<B: Behavior> Process for Mailbox<B> {
    fn core(&self) -> &ProcessCore {
        &self.core
    }

    fn is_remote(&self) -> bool {
        self.codec.is_some()
    }

    fn stop(&self, reason: ExitReason) {
        self.push_exempt(Envelope::Stop(reason));
    }

    fn kill(&self) {
        self.core.mark_killed();
        self.killer.kill();
    }

    fn down(&self, down: Down) {
        self.push_exempt(Envelope::Info(Info::Down(down)));
    }

    fn name_lost(&self, name: &str, winner: &Pid) {
        let info = Info::NameLost { name: name.to_owned(), winner: winner.clone() };
        self.push_exempt(Envelope::Info(info));
    }

    fn remote_call(&self, me: Arc<dyn Process>, call: RemoteCall<'_>) {
        let RemoteCall { session, id, behavior, deadline, body } = call;
        let Some(codec) = self.codec.filter(|codec| codec.id == behavior) else {
            return session.fail(id, self.wrong_behavior());
        };
        match (codec.decode_call)(body) {
            Ok(message) => {
                let from = Caller::remote(session, id, codec.encode_reply, me, deadline);
                if let Err((refusal, Envelope::Call(_, from))) = self.push(Envelope::Call(message, from)) {
                    from.refuse(match refusal {
                        Refusal::Closed => CallFailure::NoProc,
                        Refusal::Full => CallFailure::Overloaded(Overload::Mailbox),
                    });
                }
            }
            Err(error) => session.fail(id, CallFailure::Decode(error.0)),
        }
    }

    fn remote_cast(&self, behavior: u32, body: &[u8]) -> Result<(), CallFailure> {
        let codec = self.codec.filter(|codec| codec.id == behavior).ok_or_else(|| self.wrong_behavior())?;
        let message = (codec.decode_cast)(body).map_err(|error| CallFailure::Decode(error.0))?;
        self.push(Envelope::Cast(message)).map_err(|(refusal, _)| match refusal {
            Refusal::Closed => CallFailure::NoProc,
            Refusal::Full => CallFailure::Overloaded(Overload::Mailbox),
        })
    }

    fn mailbox(&self) -> MailboxStats {
        let queue = self.queue.lock();
        let handled = self.handled.load(Ordering::Acquire);
        MailboxStats {
            len: usize::try_from(queue.pushed - handled).unwrap_or(usize::MAX),
            high_water: usize::try_from(queue.high_water).unwrap_or(usize::MAX),
            dropped: queue.dropped,
            handled,
        }
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl<B: Behavior> Mailbox<B> {
    fn wrong_behavior(&self) -> CallFailure {
        CallFailure::WrongBehavior(self.core.behavior.to_owned())
    }
}

/// The last segment of a type's path.
pub(crate) fn short_name<T>() -> &'static str {
    let full = std::any::type_name::<T>();
    let head = full.split('<').next().unwrap_or(full);
    head.rsplit("::").next().unwrap_or(full)
}

impl<B: Behavior> fmt::Debug for Mailbox<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("core", &self.core).finish_non_exhaustive()
    }
}
