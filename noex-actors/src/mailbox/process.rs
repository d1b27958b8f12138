//! A mailbox as its node and connections see it: the process whose mail it holds.

use std::{
    any::Any,
    sync::{Arc, atomic::Ordering},
    task::{Poll, Waker},
};

use super::{Envelope, Mailbox, Refusal, RemoteId, short_name};
use crate::{
    Behavior, CallError, Caller, CastError, DecodeError, Down, EncodeError, Exit, ExitReason, Info,
    Monotonic, NodeDownReason, NodeId, Pid,
    caller::Answers,
    failure::CallFailure,
    panics::contained,
    process::{Intake, MailboxStats, Process, ProcessCore},
    replies::{CallId, Outcome, Phase},
    route::Session,
};

impl<B: Behavior> Process for Mailbox<B> {
    fn core(&self) -> &ProcessCore {
        &self.core
    }

    fn is_remote(&self) -> bool {
        self.codec.is_some()
    }

    fn behavior(&self) -> &'static str {
        self.codec.as_ref().map_or_else(short_name::<B>, |codec| codec.name)
    }

    fn wake(&self) {
        let task = {
            let queue = self.queue.lock();
            self.alert.store(true, Ordering::Release);
            queue.task.clone()
        };
        if let Some(task) = task {
            task.wake();
        }
    }

    fn stop(&self, reason: ExitReason) {
        self.push_exempt(Envelope::Stop(reason));
    }

    fn down(&self, down: Down) {
        self.push_exempt(Envelope::Info(Box::new(Info::Down(down))));
    }

    fn exit(&self, exit: Exit) {
        self.push_exempt(Envelope::Info(Box::new(Info::Exit(exit))));
    }

    fn node_event(&self, node: &NodeId, down: Option<NodeDownReason>) {
        let node = node.clone();
        let info = match down {
            None => Info::NodeUp(node),
            Some(reason) => Info::NodeDown { node, reason },
        };
        self.push_exempt(Envelope::Info(Box::new(info)));
    }

    fn name_lost(&self, name: &str, winner: &Pid) {
        let info = Info::NameLost { name: name.to_owned(), winner: winner.clone() };
        self.push_exempt(Envelope::Info(Box::new(info)));
    }

    fn intake(self: Arc<Self>, session: Arc<dyn Session>) -> Box<dyn Intake> {
        self.open_door(session)
    }

    fn remote_cancel(&self, session: &Arc<dyn Session>, id: u64) {
        self.cancel(RemoteId::new(session, id));
    }

    fn mark(&self, marker: Box<dyn Any + Send>) {
        self.push_exempt(Envelope::Marker { _drops: marker });
    }

    fn expire(&self, now: Monotonic) -> Option<Monotonic> {
        let (wake, next) = match &mut self.queue.lock().replies {
            Some(replies) => replies.expire(now),
            None => return None,
        };
        wake.into_iter().for_each(|waker| contained(|| waker.wake()));
        next
    }

    fn fail_calls(&self, reason: &ExitReason) {
        let (wake, alarm) = match &mut self.queue.lock().replies {
            Some(replies) => replies.end(reason),
            None => return,
        };
        if let Some(alarm) = alarm {
            self.core.node.deadlines().clear(alarm, self.core.pid.number());
        }
        wake.into_iter().for_each(|waker| contained(|| waker.wake()));
    }

    fn mailbox(&self) -> MailboxStats {
        let queue = self.queue.lock();
        let handled = self.handled.load(Ordering::Acquire);
        MailboxStats {
            len: usize::try_from(queue.pushed - handled).unwrap_or(usize::MAX),
            high_water: usize::try_from(queue.high_water).unwrap_or(usize::MAX),
            dropped: queue.dropped,
            handled,
            wire_bytes: self.wire_bytes.load(Ordering::Acquire),
        }
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl<B: Behavior> Answers<B::Reply> for Mailbox<B> {
    #[inline]
    fn start(&self, id: CallId) -> bool {
        self.queue.lock().replies.as_mut().is_some_and(|replies| replies.start(id))
    }
    #[inline]
    fn finish(&self, id: CallId, result: Outcome<B::Reply>) {
        let (waker, late) = match &mut self.queue.lock().replies {
            Some(replies) => replies.finish(id, result),
            None => (None, Some(result)),
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        drop(late);
    }
    fn is_waiting(&self, id: CallId) -> bool {
        self.queue.lock().replies.as_mut().is_some_and(|replies| replies.is_waiting(id))
    }
}

impl<B: Behavior> Mailbox<B> {
    /// Queues a call of this node; whoever waits is woken by its reply, or at its deadline.
    #[inline]
    pub(crate) fn push_call(
        self: &Arc<Self>,
        call: B::Call,
        deadline: Monotonic,
        waker: &Waker,
    ) -> Result<CallId, (Refusal, B::Call)> {
        let replies: Arc<dyn Answers<B::Reply>> = Arc::<Self>::clone(self);
        let waker = waker.clone();
        let trace = self.core.node.current_trace();
        let mut queue = self.queue.lock();
        if !queue.open {
            // No alarm for nothing.
            drop(queue);
            return Err((Refusal::Closed, call));
        }
        let Some(inserted) = queue.replies.get_or_insert_default().insert(deadline, waker) else {
            return Err((Refusal::Full, call));
        };
        let id = inserted.id;
        let from = Caller::local(replies, id, deadline);
        let pushed = self.push_locked(queue, Envelope::Call(call, from).traced(trace));
        if inserted.rearm {
            let process: Arc<dyn Process> = Arc::<Self>::clone(self);
            self.core.node.deadlines().set(deadline, inserted.replaced, &process);
        }
        let Err((refusal, envelope)) = pushed else { return Ok(id) };
        let Envelope::Call(call, from) = envelope.untraced() else { return Ok(id) };
        from.forget();
        self.abandon_call(id);
        Err((refusal, call))
    }

    /// The reply of a call, once it is there.
    #[inline]
    pub(crate) fn poll_call(&self, id: CallId, waker: &Waker) -> Poll<Outcome<B::Reply>> {
        let (polled, _replaced) = match &mut self.queue.lock().replies {
            Some(replies) => replies.poll(id, waker),
            None => (Poll::Ready(Err(Box::new(CallFailure::NoReply))), None),
        };
        polled
    }

    /// The caller went away.
    pub(crate) fn abandon_call(&self, id: CallId) -> Phase {
        let given_up = self.queue.lock().replies.as_mut().map(|replies| replies.abandon(id));
        given_up.map_or(Phase::Done, |(phase, _leftover)| phase)
    }

    /// A cast as it would come from another node, where local messages are encoded too.
    pub(crate) fn as_sent(&self, cast: B::Cast) -> Result<B::Cast, (CastError, B::Cast)> {
        let Some(codec) = self.codec.as_ref().filter(|_| self.encodes) else { return Ok(cast) };
        let mut bytes = Vec::new();
        match (codec.encode_cast)(&cast, &[], &mut bytes) {
            Ok(()) => {
                let decoded = self.core.node.decoding(|| (codec.decode_cast)(&bytes));
                decoded.map_err(|error| (CastError::Encode(EncodeError(error.text)), cast))
            }
            Err(error) => Err((CastError::Encode(error), cast)),
        }
    }

    /// The same of a call.
    pub(crate) fn call_as_sent(&self, call: B::Call) -> Result<B::Call, CallError> {
        let Some(codec) = self.codec.as_ref().filter(|_| self.encodes) else { return Ok(call) };
        let mut bytes = Vec::new();
        (codec.encode_call)(&call, &[], &mut bytes).map_err(CallError::Encode)?;
        self.core
            .node
            .decoding(|| (codec.decode_call)(&bytes))
            .map_err(|error| CallError::Decode(DecodeError::of_call(error.text)))
    }

    /// A reply for another node.
    pub(super) fn encode_reply(
        &self,
        reply: &B::Reply,
        numbered: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        match &self.codec {
            Some(codec) => codec.encode_reply(reply, numbered, out),
            None => Err(EncodeError::new("the behavior has no wire name")),
        }
    }
}
