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

use std::{
    any::Any,
    collections::VecDeque,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};

use crate::{
    Behavior, CallError, Caller, CastError, Delivery, Down, EncodeError, Exit, ExitReason, Info,
    NodeDownReason, NodeId, Overload, Pid,
    behaviors::RemoteCodec,
    failure::CallFailure,
    glance::Glance,
    process::{MailboxStats, Process, ProcessCore, RemoteCall},
    room::{Room, Ticket},
};

pub(crate) enum Envelope<B: Behavior> {
    Call(B::Call, Caller<B::Reply>),
    Cast(B::Cast),
    /// From another node; with the length of its encoded form.
    RemoteCast(B::Cast, u32),
    Info(Info<B::Info>),
    Stop(ExitReason),
}

impl<B: Behavior> Envelope<B> {
    /// Bytes that it had on the wire, if it came from there.
    fn wire_bytes(&self) -> u64 {
        match self {
            Self::Call(_, from) => u64::from(from.wire_bytes()),
            Self::RemoteCast(_, bytes) => u64::from(*bytes),
            Self::Cast(_) | Self::Info(_) | Self::Stop(_) => 0,
        }
    }

    /// Whether the bound applies to it.
    fn is_bounded(&self) -> bool {
        match self {
            Self::Call(..) | Self::Cast(_) | Self::RemoteCast(..) => true,
            Self::Info(_) | Self::Stop(_) => false,
        }
    }
}

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

/// Encoded bytes from other nodes that may wait in one mailbox, 64 MiB; what is beyond fails with `Overloaded`.
pub const MAX_WIRE_BYTES: u64 = 64 * 1024 * 1024;

/// Why a message was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Closed,
    Full,
}

pub(crate) struct Mailbox<B: Behavior> {
    pub(crate) core: ProcessCore,
    pub(crate) codec: Option<RemoteCodec<B>>,
    pub(crate) policy: MailboxPolicy,
    /// Whether local messages are encoded and decoded as well, for tests.
    encodes: bool,
    /// Somebody waits for room.
    waited_for: AtomicBool,
    capacity: u64,
    queue: Mutex<Queue<B>>,
    /// Messages taken out and done with. Written by the consumer only.
    handled: AtomicU64,
    /// Encoded bytes of those from other nodes. Written by the consumer only.
    handled_bytes: AtomicU64,
}

struct Queue<B: Behavior> {
    items: VecDeque<Envelope<B>>,
    waker: Option<Waker>,
    /// Messages ever queued; minus `handled` it is the length.
    pushed: u64,
    pushed_bytes: u64,
    high_water: u64,
    dropped: u64,
    room: Option<Box<Room>>,
    open: bool,
}

impl<B: Behavior> Mailbox<B> {
    pub(crate) fn new(
        core: ProcessCore,
        codec: Option<RemoteCodec<B>>,
        policy: MailboxPolicy,
        capacity: usize,
    ) -> Self {
        let queue = Queue {
            items: VecDeque::new(),
            waker: None,
            pushed: 0,
            pushed_bytes: 0,
            high_water: 0,
            dropped: 0,
            room: None,
            open: true,
        };
        Self {
            encodes: codec.is_some() && core.node.encodes_local_messages(),
            core,
            codec,
            policy,
            waited_for: AtomicBool::new(false),
            capacity: u64::try_from(capacity).unwrap_or(u64::MAX),
            queue: Mutex::new(queue),
            handled: AtomicU64::new(0),
            handled_bytes: AtomicU64::new(0),
        }
    }

    /// Queues a message, or gives it back. A cast that the policy drops is queued as far as its sender knows.
    pub(crate) fn push(&self, envelope: Envelope<B>) -> Result<(), (Refusal, Envelope<B>)> {
        let mut queue = self.queue.lock();
        if !queue.open {
            drop(queue);
            return Err((Refusal::Closed, envelope));
        }
        let mut len = queue.pushed - self.handled.load(Ordering::Acquire);
        let mut pushed_out = None;
        if len >= self.capacity && envelope.is_bounded() {
            match self.policy {
                MailboxPolicy::DropOldest => match queue.oldest() {
                    Some(oldest) => {
                        queue.dropped += 1;
                        len -= 1;
                        pushed_out = Some(oldest);
                    }
                    None => return self.refuse(queue, envelope),
                },
                MailboxPolicy::DropNewest if !matches!(envelope, Envelope::Call(..)) => {
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
        let bytes = envelope.wire_bytes();
        if bytes > 0 {
            let waiting = queue.pushed_bytes - self.handled_bytes.load(Ordering::Acquire);
            if waiting + bytes > MAX_WIRE_BYTES {
                return self.refuse(queue, envelope);
            }
            queue.pushed_bytes += bytes;
        }
        queue.pushed += 1;
        queue.high_water = queue.high_water.max(len + 1);
        queue.items.push_back(envelope);
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
        if let Some(Envelope::Call(call, from)) = pushed_out {
            from.refuse(CallFailure::Overloaded(Overload::Mailbox));
            drop(call);
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

    /// Queues what the bound does not apply to; false if the process is gone.
    pub(crate) fn push_exempt(&self, envelope: Envelope<B>) -> bool {
        debug_assert!(!envelope.is_bounded(), "calls and casts are bounded");
        self.push(envelope).is_ok()
    }

    /// Waits until there is room, or the process is gone.
    pub(crate) fn poll_room(&self, ticket: &mut Ticket, cx: &mut Context<'_>) -> Poll<()> {
        let mut queue = self.queue.lock();
        if !queue.open || queue.pushed - self.handled.load(Ordering::Acquire) < self.capacity {
            if let Some(room) = &mut queue.room {
                room.give_up(ticket);
            }
            return Poll::Ready(());
        }
        queue.room.get_or_insert_default().wait(ticket, cx.waker());
        // The consumer may miss this for the messages that it took out already; it looks again, under the lock, before
        // it takes out more.
        self.waited_for.store(true, Ordering::Release);
        Poll::Pending
    }

    /// Found room, with its turn or without.
    pub(crate) fn use_room(&self, ticket: &mut Ticket) {
        if let Some(room) = &mut self.queue.lock().room {
            room.give_up(ticket);
        }
    }

    /// Does not wait any more; a turn that was given and is not used goes to the next.
    pub(crate) fn leave_room(&self, ticket: &mut Ticket) {
        let next = {
            let mut queue = self.queue.lock();
            let Some(room) = &mut queue.room else { return };
            if room.give_up(ticket) { None } else { room.first() }
        };
        if let Some(next) = next {
            next.wake();
        }
    }

    /// A message was taken out while somebody waits for room.
    #[cold]
    fn made_room(&self) {
        let woken = self.roomy(&mut self.queue.lock());
        woken.into_iter().for_each(Waker::wake);
    }

    /// Those who wait and for whom there is room.
    fn roomy(&self, queue: &mut Queue<B>) -> Vec<Waker> {
        let len = queue.pushed - self.handled.load(Ordering::Acquire);
        let Some(room) = &mut queue.room else { return Vec::new() };
        let mut woken = Vec::new();
        while len + u64::try_from(woken.len()).unwrap_or(u64::MAX) < self.capacity
            && let Some(waker) = room.first()
        {
            woken.push(waker);
        }
        if room.is_empty() {
            self.waited_for.store(false, Ordering::Release);
        }
        woken
    }

    /// Closes the mailbox and fails every call in it: none of them ran.
    pub(crate) fn close(&self, reason: &ExitReason, local: &mut VecDeque<Envelope<B>>) {
        let (mut rest, waiting) = {
            let mut queue = self.queue.lock();
            queue.open = false;
            queue.waker = None;
            (std::mem::take(&mut queue.items), queue.room.take())
        };
        waiting.into_iter().flat_map(|mut room| room.take()).for_each(Waker::wake);
        for envelope in local.drain(..).chain(rest.drain(..)) {
            if let Envelope::Call(call, from) = envelope {
                from.refuse(CallFailure::Exited(reason.clone(), Delivery::Never));
                drop(call);
            }
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
        self.pushed_bytes -= envelope.wire_bytes();
        Some(envelope)
    }
}

/// The consuming end.
pub(crate) struct Inbox<B: Behavior> {
    mailbox: Arc<Mailbox<B>>,
    local: VecDeque<Envelope<B>>,
    taken: u64,
    taken_bytes: u64,
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
        Self {
            mailbox,
            local: VecDeque::new(),
            taken: 0,
            taken_bytes: 0,
            burst: 0,
            glance: Glance::default(),
        }
    }

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
                if queue.room.as_ref().is_some_and(|room| !room.is_empty()) {
                    let woken = self.mailbox.roomy(&mut queue);
                    woken.into_iter().for_each(Waker::wake);
                }
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
                // What was taken out cannot be dropped any more: where the oldest may be dropped, one at a time.
                if self.mailbox.policy != MailboxPolicy::DropOldest {
                    std::mem::swap(&mut queue.items, &mut self.local);
                }
                match self.local.pop_front().or_else(|| queue.items.pop_front()) {
                    Some(envelope) => envelope,
                    None => return Poll::Pending,
                }
            }
        };
        self.taken += 1;
        self.burst += 1;
        let bytes = envelope.wire_bytes();
        if bytes > 0 {
            self.taken_bytes += bytes;
            self.mailbox.handled_bytes.store(self.taken_bytes, Ordering::Release);
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

    fn down(&self, down: Down) {
        self.push_exempt(Envelope::Info(Info::Down(down)));
    }

    fn exit(&self, exit: Exit) {
        self.push_exempt(Envelope::Info(Info::Exit(exit)));
    }

    fn node_event(&self, node: &NodeId, down: Option<NodeDownReason>) {
        let node = node.clone();
        let info = match down {
            None => Info::NodeUp(node),
            Some(reason) => Info::NodeDown { node, reason },
        };
        self.push_exempt(Envelope::Info(info));
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
                let bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
                let from = Caller::remote(session, (id, bytes), codec.encode_reply, me, deadline);
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
        let bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
        self.push(Envelope::RemoteCast(message, bytes)).map_err(|(refusal, _)| match refusal {
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
    /// A cast as it would come from another node, where local messages are encoded too.
    pub(crate) fn as_sent(&self, cast: B::Cast) -> Result<B::Cast, (CastError, B::Cast)> {
        let Some(codec) = self.codec.filter(|_| self.encodes) else { return Ok(cast) };
        let mut bytes = Vec::new();
        match (codec.encode_cast)(&cast, &mut bytes) {
            Ok(()) => {
                let decoded = self.core.node.decoding(|| (codec.decode_cast)(&bytes));
                decoded.map_err(|error| (CastError::Encode(EncodeError(error.0)), cast))
            }
            Err(error) => Err((CastError::Encode(error), cast)),
        }
    }

    /// The same of a call.
    pub(crate) fn call_as_sent(&self, call: B::Call) -> Result<B::Call, CallError> {
        let Some(codec) = self.codec.filter(|_| self.encodes) else { return Ok(call) };
        let mut bytes = Vec::new();
        (codec.encode_call)(&call, &mut bytes).map_err(CallError::Encode)?;
        self.core.node.decoding(|| (codec.decode_call)(&bytes)).map_err(CallError::Decode)
    }

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
