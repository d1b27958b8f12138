//! Whom to answer. OTP: `From`.
//!
//! A `Caller` answers exactly once: with `reply`, or, when it is dropped, with an error. Dropped by a process that is
//! ending (a panic unwinds it, a kill drops it, its state goes), the caller learns why the process ended.

use std::{fmt, sync::Arc, time::Duration};

use actix_rt::time::Instant;

use crate::{
    Delivery, ExitReason, Monotonic,
    failure::CallFailure,
    glance::Glance,
    process::{Asked, Process, ProcessCore},
    replies::{CallId, Outcome},
    route::Session,
};

/// Whom to answer. Send it anywhere; dropping it unanswered fails the caller at once.
#[must_use = "dropping a Caller fails its call"]
pub struct Caller<R: Send + 'static>(Option<To<R>>);

enum To<R: Send + 'static> {
    Local(Local<R>),
    Remote(Remote<R>),
    Mapped(Box<dyn Answer<R>>),
}

struct Local<R> {
    replies: Arc<dyn Answers<R>>,
    id: CallId,
    deadline: Monotonic,
}

/// A process of this node, as those see it who owe replies in its name.
pub(crate) trait Answers<R>: Process {
    fn start(&self, id: CallId) -> bool;
    fn finish(&self, id: CallId, result: Outcome<R>);
    fn is_waiting(&self, id: CallId) -> bool;
}

/// A process, as one session owes it replies: one for all calls that the session brings.
pub(crate) trait Owed<R>: Send + Sync {
    fn session(&self) -> &Arc<dyn Session>;
    fn process(&self) -> &dyn Process;
    /// Of the call with that number; whether it may go by number.
    fn reply(&self, call: (u64, bool), reply: &R);
}

struct Remote<R> {
    door: Arc<dyn Owed<R>>,
    id: u64,
    /// Length of the encoded call.
    bytes: u32,
    /// Its reply may go by number.
    numbered: bool,
    deadline: Monotonic,
}

/// What a call fails with whose caller was dropped: by an end, for that reason, or by a process that lives on.
fn dropped(end: Option<&ExitReason>) -> CallFailure {
    end.map_or(CallFailure::NoReply, |reason| CallFailure::Exited(reason.clone(), Delivery::Unknown))
}

/// Fails a call whose caller is dropped: now, or, if that is because the process ends, once it is known why.
fn fail_dropped(core: &ProcessCore, fail: impl FnOnce(CallFailure) + Send + 'static) {
    if core.is_panicking() {
        core.at_exit_by_panic(Box::new(move |end| fail(dropped(end))));
    } else if core.is_ending() {
        core.at_exit(Box::new(move |end| fail(dropped(end))));
    } else {
        fail(dropped(None));
    }
}

trait Answer<R>: Send {
    fn reply(self: Box<Self>, reply: R);
    fn is_waiting(&self) -> bool;
    fn deadline(&self) -> Instant;
}

struct Mapped<T, R: Send + 'static> {
    inner: Caller<R>,
    map: fn(T) -> R,
}

impl<T: Send + 'static, R: Send + 'static> Answer<T> for Mapped<T, R> {
    fn reply(self: Box<Self>, reply: T) {
        let Self { inner, map } = *self;
        inner.reply(map(reply));
    }
    fn is_waiting(&self) -> bool {
        self.inner.is_waiting()
    }
    fn deadline(&self) -> Instant {
        self.inner.deadline()
    }
}

impl<R: Send + 'static> Caller<R> {
    pub(crate) fn local(replies: Arc<dyn Answers<R>>, id: CallId, deadline: Monotonic) -> Self {
        Self(Some(To::Local(Local { replies, id, deadline })))
    }

    pub(crate) fn remote(door: Arc<dyn Owed<R>>, asked: Asked, bytes: u32) -> Self {
        let Asked { id, numbered, deadline, .. } = asked;
        Self(Some(To::Remote(Remote { door, id, bytes, numbered, deadline })))
    }

    /// Answers.
    #[inline]
    pub fn reply(mut self, reply: R) {
        match self.0.take() {
            Some(To::Local(local)) => local.replies.finish(local.id, Ok(reply)),
            Some(To::Remote(remote)) => remote.door.reply((remote.id, remote.numbered), &reply),
            Some(To::Mapped(answer)) => answer.reply(reply),
            None => {}
        }
    }

    /// How long the caller still waits.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline().saturating_duration_since(Instant::now())
    }

    /// Whether anybody still waits. Of a caller on another node: whether its deadline is to come, its session lives, and it is not
    /// among the 1024 of its session that gave up last.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        match &self.0 {
            Some(To::Local(local)) => local.replies.is_waiting(local.id),
            Some(To::Remote(remote)) => {
                remote.door.process().core().node.now() < remote.deadline
                    && remote.door.session().is_waited_for(remote.id)
            }
            Some(To::Mapped(answer)) => answer.is_waiting(),
            None => false,
        }
    }

    /// A caller that takes a `T` and answers this one with `map` of it.
    pub fn map<T: Send + 'static>(self, map: fn(T) -> R) -> Caller<T> {
        Caller(Some(To::Mapped(Box::new(Mapped { inner: self, map }))))
    }

    fn deadline(&self) -> Instant {
        match &self.0 {
            Some(To::Local(local)) => local.replies.core().node.clock().instant(local.deadline),
            Some(To::Remote(remote)) => remote.door.process().core().node.clock().instant(remote.deadline),
            Some(To::Mapped(answer)) => answer.deadline(),
            None => Instant::now(),
        }
    }

    /// Which call of this node it is.
    #[inline]
    pub(crate) fn local_id(&self) -> Option<CallId> {
        match &self.0 {
            Some(To::Local(local)) => Some(local.id),
            Some(To::Remote(_) | To::Mapped(_)) | None => None,
        }
    }

    /// Which call of which connection it is.
    pub(crate) fn remote_id(&self) -> Option<(&Arc<dyn Session>, u64)> {
        match &self.0 {
            Some(To::Remote(remote)) => Some((remote.door.session(), remote.id)),
            Some(To::Local(_) | To::Mapped(_)) | None => None,
        }
    }

    /// Bytes of the encoded call, if it came from another node.
    #[inline]
    pub(crate) fn wire_bytes(&self) -> u32 {
        match &self.0 {
            Some(To::Remote(remote)) => remote.bytes,
            Some(To::Local(_) | To::Mapped(_)) | None => 0,
        }
    }

    /// The process takes the call up; false if nobody waits any more and it must not run.
    #[inline]
    pub(crate) fn start(&self, glance: &mut Glance) -> bool {
        match &self.0 {
            Some(To::Local(local)) => local.replies.start(local.id),
            Some(To::Remote(remote)) => {
                glance.is_before(remote.deadline, remote.door.process().core().node.clock())
            }
            Some(To::Mapped(_)) | None => true,
        }
    }

    /// Fails a call that never ran.
    pub(crate) fn refuse(mut self, failure: CallFailure) {
        match self.0.take() {
            Some(To::Local(local)) => local.replies.finish(local.id, Err(Box::new(failure))),
            Some(To::Remote(remote)) => remote.door.session().fail(remote.id, failure),
            Some(To::Mapped(_)) | None => {}
        }
    }

    /// Forgets a call that nobody waits for any more: its caller knows.
    pub(crate) fn forget(mut self) {
        if let Some((session, _)) = self.remote_id() {
            session.not_started();
        }
        self.0 = None;
    }
}

impl<R: Send + 'static> Drop for Caller<R> {
    #[inline]
    fn drop(&mut self) {
        match self.0.take() {
            Some(To::Local(Local { replies, id, .. })) => {
                let core = Arc::clone(&replies);
                fail_dropped(core.core(), move |failure| replies.finish(id, Err(Box::new(failure))));
            }
            Some(To::Remote(Remote { door, id, .. })) => {
                let held = Arc::clone(&door);
                fail_dropped(held.process().core(), move |failure| door.session().fail(id, failure));
            }
            Some(To::Mapped(_)) | None => {}
        }
    }
}

impl<R: Send + 'static> fmt::Debug for Caller<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Caller")
    }
}
