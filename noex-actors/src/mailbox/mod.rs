//! The mailbox of one process: a bounded queue with one consumer, swapped out in batches.
//!
//! `Down`, `Exit`, name losses and stop requests keep their place in the order and are exempt from the bound.
//!
//! | | `cast` | `call` | `cast_wait` |
//! |---|---|---|---|
//! | `Reject` | `Overloaded` | `Overloaded` | waits |
//! | `Block` | `Overloaded` | waits | waits |
//! | `DropNewest` | dropped, counted | `Overloaded` | dropped, counted |
//! | `DropOldest` | the oldest is dropped, counted | the same | the same |

mod arriving;
mod cancelled;
mod envelope;
mod inbox;
mod line;
mod process;
mod room;

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Waker,
};

use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};

use self::{cancelled::Cancelled, line::Line};
pub(crate) use self::{
    cancelled::RemoteId,
    envelope::Envelope,
    inbox::{Inbox, Kind, Work},
    line::Ticket,
};
use crate::{
    Behavior, Delivery, ExitReason, Overload, behaviors::Served, failure::CallFailure, panics::contained,
    process::ProcessCore, replies::Replies,
};

/// What a mailbox does when it is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MailboxPolicy {
    /// Calls and casts fail with `Overloaded`.
    #[default]
    Reject,
    /// A `call` waits for room until its deadline, `cast_wait` as long as it takes; `cast` fails with `Overloaded`, and so
    /// does what comes from another node: a connection does not wait for one process.
    Block,
    /// A cast that finds no room is dropped and counted; a call fails with `Overloaded`.
    DropNewest,
    /// The oldest cast or call that waits is dropped and counted; the caller of a dropped call gets `Overloaded`.
    DropOldest,
}

/// Encoded bytes from other nodes that may wait in one mailbox, 64 MiB; what is beyond fails with `Overloaded`. A message counts
/// as 64 bytes at least.
pub const MAX_WIRE_BYTES: u64 = 64 * 1024 * 1024;
/// What the shortest message from another node counts as.
const MIN_WIRE_BYTES: u32 = 64;

/// Why a message was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Closed,
    Full,
}

pub(crate) struct Mailbox<B: Behavior> {
    pub(crate) core: ProcessCore,
    pub(crate) codec: Option<Arc<Served<B>>>,
    pub(crate) policy: MailboxPolicy,
    /// Whether local messages are encoded and decoded as well, for tests.
    encodes: bool,
    /// The process must look up at its next message: somebody waits for room, or it must end. One flag for both: it costs
    /// every message a look.
    alert: AtomicBool,
    /// Calls of other nodes are marked as cancelled: the process looks before it starts one.
    cancelling: AtomicBool,
    capacity: u32,
    queue: Mutex<Queue<B>>,
    /// Messages taken out and done with. Written by the consumer only.
    handled: AtomicU64,
    /// Encoded bytes of those that wait and came from other nodes.
    wire_bytes: AtomicU64,
}

struct Queue<B: Behavior> {
    items: VecDeque<Envelope<B>>,
    /// The task of the process, from its first turn to its end.
    task: Option<Waker>,
    /// Messages ever queued; minus `handled` it is the length.
    pushed: u64,
    high_water: u64,
    dropped: u64,
    line: Option<Box<Line>>,
    /// Where its callers wait; made for the first of them.
    replies: Option<Box<Replies<B::Reply>>>,
    cancelled: Option<Box<Cancelled>>,
    /// The process waits for a message.
    idle: bool,
    open: bool,
}

impl<B: Behavior> Mailbox<B> {
    pub(crate) fn new(
        core: ProcessCore,
        codec: Option<Arc<Served<B>>>,
        policy: MailboxPolicy,
        capacity: usize,
    ) -> Self {
        let queue = Queue {
            items: VecDeque::new(),
            task: None,
            pushed: 0,
            high_water: 0,
            dropped: 0,
            line: None,
            replies: None,
            cancelled: None,
            idle: false,
            open: true,
        };
        Self {
            encodes: codec.is_some() && core.node.encodes_local_messages(),
            core,
            codec,
            policy,
            alert: AtomicBool::new(false),
            cancelling: AtomicBool::new(false),
            capacity: u32::try_from(capacity).unwrap_or(u32::MAX),
            queue: Mutex::new(queue),
            handled: AtomicU64::new(0),
            wire_bytes: AtomicU64::new(0),
        }
    }

    /// Queues a message, or gives it back. A cast that the policy drops is queued as far as its sender knows.
    #[inline]
    pub(crate) fn push(&self, envelope: Envelope<B>) -> Result<(), (Refusal, Envelope<B>)> {
        self.push_locked(self.queue.lock(), envelope)
    }

    #[inline]
    fn push_locked(
        &self,
        mut queue: MutexGuard<'_, Queue<B>>,
        envelope: Envelope<B>,
    ) -> Result<(), (Refusal, Envelope<B>)> {
        if !queue.open {
            drop(queue);
            return Err((Refusal::Closed, envelope));
        }
        // First of all: nothing is pushed out for what finds no room itself.
        let bytes = envelope.wire_bytes();
        if bytes > 0
            && envelope.is_bounded()
            && self.wire_bytes.load(Ordering::Acquire) + bytes > MAX_WIRE_BYTES
        {
            return self.refuse(queue, envelope);
        }
        let mut len = queue.pushed - self.handled.load(Ordering::Acquire);
        let mut pushed_out = None;
        if len >= u64::from(self.capacity) && envelope.is_bounded() {
            match self.policy {
                MailboxPolicy::DropOldest => match queue.oldest() {
                    Some(oldest) => {
                        self.wire_bytes.fetch_sub(oldest.wire_bytes(), Ordering::AcqRel);
                        queue.dropped += 1;
                        len -= 1;
                        pushed_out = Some(oldest);
                    }
                    None => return self.refuse(queue, envelope),
                },
                MailboxPolicy::DropNewest if !envelope.is_call() => {
                    queue.dropped += 1;
                    drop(queue);
                    drop(envelope);
                    return Ok(());
                }
                MailboxPolicy::Reject | MailboxPolicy::Block | MailboxPolicy::DropNewest => {
                    return self.refuse(queue, envelope);
                }
            }
        }
        if bytes > 0 {
            self.wire_bytes.fetch_add(bytes, Ordering::AcqRel);
        }
        queue.pushed += 1;
        queue.high_water = queue.high_water.max(len + 1);
        queue.items.push_back(envelope);
        let task = if std::mem::replace(&mut queue.idle, false) { queue.task.clone() } else { None };
        drop(queue);
        if let Some(task) = task {
            task.wake();
        }
        if let Some(pushed_out) = pushed_out {
            give_back(pushed_out, CallFailure::Overloaded(Overload::Mailbox));
        }
        Ok(())
    }

    #[cold]
    fn refuse(
        &self,
        mut queue: MutexGuard<'_, Queue<B>>,
        envelope: Envelope<B>,
    ) -> Result<(), (Refusal, Envelope<B>)> {
        // Whoever waits for room comes again with the same message.
        if self.policy != MailboxPolicy::Block {
            queue.dropped += 1;
        }
        drop(queue);
        Err((Refusal::Full, envelope))
    }

    /// The process runs as this task from now on.
    pub(crate) fn settle(&self, task: &Waker) {
        self.queue.lock().task = Some(task.clone());
    }

    /// Queues what the bound does not apply to; false if the process is gone.
    pub(crate) fn push_exempt(&self, envelope: Envelope<B>) -> bool {
        debug_assert!(!envelope.is_bounded(), "calls and casts are bounded");
        self.push(envelope).is_ok()
    }

    /// Closes the mailbox and fails every call in it: none of them ran.
    pub(crate) fn close(&self, reason: &ExitReason, local: &mut VecDeque<Envelope<B>>) {
        let (mut rest, waiting) = {
            let mut queue = self.queue.lock();
            queue.open = false;
            drop(queue.task.take());
            (std::mem::take(&mut queue.items), queue.line.take())
        };
        // One by one: a second panic while the first unwinds would end the program.
        waiting.into_iter().flat_map(|mut line| line.take()).for_each(|waker| contained(|| waker.wake()));
        for envelope in local.drain(..).chain(rest.drain(..)) {
            give_back(envelope, CallFailure::Exited(reason.clone(), Delivery::Never));
        }
    }
}

impl<B: Behavior> Queue<B> {
    /// Takes out the oldest message that may be dropped.
    fn oldest(&mut self) -> Option<Envelope<B>> {
        let at = self.items.iter().position(Envelope::is_bounded)?;
        let envelope = self.items.remove(at)?;
        // As if it had never come: what the consumer counts does not know of it.
        self.pushed -= 1;
        Some(envelope)
    }
}

/// Drops a message that will not be handled, and fails its call. It is not that of whoever does this: a panic of it stays here.
#[cold]
fn give_back<B: Behavior>(envelope: Envelope<B>, why: CallFailure) {
    match envelope.untraced() {
        Envelope::Call(call, from) => {
            contained(|| from.refuse(why));
            contained(|| drop(call));
        }
        other => contained(|| drop(other)),
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

#[cfg(test)]
mod tests {
    use std::{future::IntoFuture, pin::pin, task::Context};

    use super::*;
    use crate::testkit::{self, Recorder, RecorderCast};

    #[test]
    fn nothing_is_pushed_out_for_what_is_too_long_itself() {
        testkit::run(1, |sim| async move {
            let node = sim.node().await;
            let options = crate::SpawnOptions::new().mailbox(MailboxPolicy::DropOldest, 1);
            let recorder = node.spawn::<Recorder>(()).options(options).await.unwrap();
            let mut call = pin!(recorder.echo("a".to_owned()).into_future());
            assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            let mailbox = recorder.local_mailbox().unwrap();
            let pushed =
                mailbox.push(Envelope::RemoteCast(RecorderCast::Keep { text: "b".into() }, u32::MAX));
            assert!(matches!(pushed, Err((Refusal::Full, _))));
            assert_eq!(call.await.unwrap(), "a");
        });
    }
}
