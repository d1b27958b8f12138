//! What one connection brings for one process: decoded as it comes, queued many at once.
//!
//! One lock, one wake and one look at the limits serve for whatever a read brought. Who wants a reply is kept once for all calls
//! of a connection, in a [`Door`]: a call holds that, and nothing of its own.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, atomic::Ordering},
};

use super::{Envelope, MAX_WIRE_BYTES, MIN_WIRE_BYTES, Mailbox, Refusal, give_back, inbox::KEPT};
use crate::{
    Behavior, Caller, Overload,
    caller::Owed,
    failure::CallFailure,
    panics::contained,
    process::{Asked, Delivered, Intake, Process},
    route::{BehaviorId, Session},
    trace::TraceContext,
};

/// So many messages are queued at the latest: a process on another arbiter begins while the rest is still being decoded.
const MOST: usize = 1024;

/// A process, as one session owes it replies.
struct Door<B: Behavior> {
    session: Arc<dyn Session>,
    mailbox: Arc<Mailbox<B>>,
}

impl<B: Behavior> Owed<B::Reply> for Door<B> {
    fn session(&self) -> &Arc<dyn Session> {
        &self.session
    }
    fn process(&self) -> &dyn Process {
        &*self.mailbox
    }
    fn reply(&self, (id, numbered): (u64, bool), reply: &B::Reply) {
        self.session.reply(id, &mut |out: &mut Vec<u8>| self.mailbox.encode_reply(reply, numbered, out));
    }
}

/// What came for a process and is not queued yet.
struct Arriving<B: Behavior> {
    door: Arc<Door<B>>,
    waiting: VecDeque<Envelope<B>>,
    bytes: u64,
    delivered: Delivered,
    /// What the next message belongs to.
    trace: Option<Box<TraceContext>>,
}

impl<B: Behavior> fmt::Debug for Arriving<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arriving").field("process", &self.door.mailbox).finish_non_exhaustive()
    }
}

impl<B: Behavior> Mailbox<B> {
    pub(super) fn open_door(self: Arc<Self>, session: Arc<dyn Session>) -> Box<dyn Intake> {
        let door = Arc::new(Door { session, mailbox: self });
        let delivered = Delivered::default();
        Box::new(Arriving { door, waiting: VecDeque::new(), bytes: 0, delivered, trace: None })
    }

    /// Queues all of `waiting` at once if there is room for it; else nothing.
    fn push_all(&self, waiting: &mut VecDeque<Envelope<B>>, bytes: u64) -> bool {
        let mut queue = self.queue.lock();
        let count = u64::try_from(waiting.len()).unwrap_or(u64::MAX);
        let len = queue.pushed - self.handled.load(Ordering::Acquire);
        let fits = len.saturating_add(count) <= u64::from(self.capacity)
            && self.wire_bytes.load(Ordering::Acquire).saturating_add(bytes) <= MAX_WIRE_BYTES;
        if !queue.open || !fits {
            return false;
        }
        self.wire_bytes.fetch_add(bytes, Ordering::AcqRel);
        queue.pushed += count;
        queue.high_water = queue.high_water.max(len + count);
        if queue.items.is_empty() {
            std::mem::swap(&mut queue.items, waiting);
        } else {
            queue.items.append(waiting);
        }
        let task = if std::mem::replace(&mut queue.idle, false) { queue.task.clone() } else { None };
        drop(queue);
        if let Some(task) = task {
            task.wake();
        }
        true
    }
}

impl<B: Behavior> Arriving<B> {
    fn add(&mut self, envelope: Envelope<B>, trace: Option<Box<TraceContext>>) {
        let envelope = envelope.traced(trace.map(|context| *context));
        self.bytes += envelope.wire_bytes();
        self.waiting.push_back(envelope);
        if self.waiting.len() >= MOST {
            self.queue();
        }
    }

    fn queue(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let mailbox = &self.door.mailbox;
        if !mailbox.push_all(&mut self.waiting, std::mem::take(&mut self.bytes)) {
            self.queue_one_by_one();
        }
        if self.waiting.capacity() > 2 * KEPT {
            self.waiting = VecDeque::new();
        }
    }

    /// What a full mailbox does is for its policy to say; a closed one has nobody.
    #[cold]
    fn queue_one_by_one(&mut self) {
        while let Some(envelope) = self.waiting.pop_front() {
            let is_cast = !envelope.is_call();
            let mut pushed = Ok(());
            // What is dropped for it is not that of whoever does this.
            contained(|| pushed = self.door.mailbox.push(envelope));
            let Err((refusal, envelope)) = pushed else { continue };
            let failure = match refusal {
                Refusal::Closed => CallFailure::NoProc,
                Refusal::Full => CallFailure::Overloaded(Overload::Mailbox),
            };
            self.delivered.is_closed |= refusal == Refusal::Closed;
            // A cast to nobody is lost, as it is on this node.
            self.delivered.refused += u64::from(is_cast && refusal == Refusal::Full);
            give_back(envelope, failure);
        }
    }

    fn wrong_behavior(&self) -> CallFailure {
        CallFailure::WrongBehavior(self.door.mailbox.behavior().to_owned())
    }
}

impl<B: Behavior> Intake for Arriving<B> {
    fn process(&self) -> &dyn Process {
        &*self.door.mailbox
    }

    fn trace(&mut self, context: Box<TraceContext>) {
        self.trace = Some(context);
    }

    fn call(&mut self, asked: Asked, body: &[u8]) {
        let Asked { id, behavior, .. } = asked;
        // First: a message that cannot be taken leaves nothing to the one behind it.
        let trace = self.trace.take();
        let Some(codec) = self.door.mailbox.codec.as_ref().filter(|codec| codec.is(behavior)) else {
            return self.door.session.fail(id, self.wrong_behavior());
        };
        match (codec.decode_call)(body) {
            Ok(message) => {
                let from = Caller::remote(Arc::<Door<B>>::clone(&self.door), asked, wire_bytes(body));
                self.add(Envelope::Call(message, from), trace);
            }
            Err(error) => self.door.session.fail(id, CallFailure::Decode(error.text)),
        }
    }

    fn cast(&mut self, behavior: BehaviorId, body: &[u8]) -> Result<(), CallFailure> {
        let trace = self.trace.take();
        let codec = self.door.mailbox.codec.as_ref().filter(|codec| codec.is(behavior));
        let codec = codec.ok_or_else(|| self.wrong_behavior())?;
        let message = (codec.decode_cast)(body).map_err(|error| CallFailure::Decode(error.text))?;
        self.add(Envelope::RemoteCast(message, wire_bytes(body)), trace);
        Ok(())
    }

    fn deliver(&mut self) -> Delivered {
        self.queue();
        std::mem::take(&mut self.delivered)
    }
}

/// What a message from another node counts as: short ones take room as well.
fn wire_bytes(body: &[u8]) -> u32 {
    u32::try_from(body.len()).unwrap_or(u32::MAX).max(MIN_WIRE_BYTES)
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll};

    use parking_lot::Mutex;

    use super::*;
    use crate::{
        __private::encode_into,
        MailboxPolicy, Monotonic, SpawnOptions, behavior_number,
        route::{Encode, ReplyBytes},
        testkit::{self, Recorder, RecorderCall, RecorderCast},
    };

    /// Keeps what calls failed with.
    #[derive(Debug, Default)]
    struct Failures(Mutex<Vec<(u64, CallFailure)>>);

    impl Session for Failures {
        fn poll_reply(&self, _: u64, _: &mut Context<'_>) -> Poll<Result<ReplyBytes, CallFailure>> {
            Poll::Pending
        }
        fn abandon(&self, _: u64) {}
        fn is_waited_for(&self, _: u64) -> bool {
            true
        }
        fn not_started(&self) {}
        fn reply(&self, _: u64, _: Encode<'_>) {}
        fn fail(&self, id: u64, failure: CallFailure) {
            self.0.lock().push((id, failure));
        }
    }

    fn bytes(message: &impl serde::Serialize) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_into(message, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_comes_at_once_is_queued_in_order_as_far_as_there_is_room() {
        testkit::run(1, |sim| async move {
            let node = sim.node().await;
            node.behaviors().register::<Recorder>().unwrap();
            let options = SpawnOptions::new().mailbox(MailboxPolicy::Reject, 10);
            let recorder = node.spawn::<Recorder>(()).options(options).await.unwrap();
            let failures = Arc::new(Failures::default());
            let session: Arc<dyn Session> = Arc::<Failures>::clone(&failures);
            let mut intake = recorder.local_mailbox().unwrap().open_door(session);
            let behavior = BehaviorId::Hash(behavior_number("recorder"));
            let deadline = Monotonic::from_millis(60_000);
            let asked = |id| Asked { id, behavior, deadline, numbered: false };
            let cast = |intake: &mut Box<dyn Intake>, n: u32| {
                intake.cast(behavior, &bytes(&RecorderCast::Keep { text: n.to_string() })).unwrap();
            };
            (0..8).for_each(|n| cast(&mut intake, n));
            assert_eq!(intake.process().mailbox().len, 0, "it waits for the rest");
            assert_eq!(intake.deliver(), Delivered::default());
            assert_eq!(intake.process().mailbox().len, 8);
            (8..13).for_each(|n| cast(&mut intake, n));
            let echo = bytes(&RecorderCall::Echo { text: "late".to_owned() });
            intake.call(asked(7), &echo);
            assert_eq!(intake.deliver(), Delivered { refused: 3, is_closed: false });
            let full = (7, CallFailure::Overloaded(Overload::Mailbox));
            assert_eq!(std::mem::take(&mut *failures.0.lock()), [full]);
            tokio::task::yield_now().await;
            let seen = (0..10).map(|n| n.to_string()).collect::<Vec<_>>();
            assert_eq!(recorder.seen().await.unwrap(), seen);
            recorder.stop(crate::ExitReason::Normal).await.unwrap();
            cast(&mut intake, 14);
            intake.call(asked(8), &echo);
            assert_eq!(intake.deliver(), Delivered { refused: 0, is_closed: true });
            assert_eq!(*failures.0.lock(), [(8, CallFailure::NoProc)]);
        });
    }
}
