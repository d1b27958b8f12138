//! The futures of references: `Call`, `Stop`, `Monitor`.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use actix_rt::time::{Sleep, sleep, sleep_until};
use pin_project_lite::pin_project;
use tokio::sync::oneshot;

use crate::{
    Behavior, CallError, DecodeError, Delivery, Down, ExitReason, Monotonic, Overload, Pid, RawRef,
    failure::{CallFailure, Called},
    mailbox::{Mailbox, MailboxPolicy, Refusal, Ticket, short_name},
    process::Process,
    refs::Way,
    replies::{CallId, Phase},
    route::{Pending, Route, Watcher},
};

/// How long a call waits unless told otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

pin_project! {
    /// A call in the making: `Future<Output = Result<R, CallError>>`. Sent at its first poll.
    ///
    /// # Cancel safety
    /// Dropping it gives the call up: if it is still queued, on this node or on another, it does not run. A handler that began goes
    /// on; it may ask its `Caller` whether anybody still waits.
    #[must_use = "a call is sent when it is awaited"]
    pub struct Call<'a, B: Behavior, R> {
        message: Option<B::Call>,
        map: fn(B::Reply) -> Option<R>,
        timeout: Duration,
        deadline: Option<Monotonic>,
        wait: Wait<'a, B>,
        // Only while it waits for room: the process keeps the deadlines of what is queued.
        alarm: Option<Pin<Box<Sleep>>>,
    }
}

/// Where the reply will be.
struct Wait<'a, B: Behavior> {
    target: &'a RawRef<B>,
    place: Place<B>,
    /// The process that was called, if not the one of the target (a name was resolved).
    resolved: Option<RawRef<B>>,
}

enum Place<B: Behavior> {
    Nowhere,
    /// In the line of those who wait for room in a full mailbox; the message is still here.
    Line(Line<B>),
    Local(CallId),
    Remote(Pending),
}

impl<B: Behavior> Wait<'_, B> {
    /// The process that was called.
    fn target(&self) -> &RawRef<B> {
        self.resolved.as_ref().unwrap_or(self.target)
    }

    /// Its mailbox, if it is on this node.
    fn mailbox(&self) -> Option<&Arc<Mailbox<B>>> {
        match &self.target().0 {
            Way::Local(mailbox) => Some(mailbox),
            Way::Remote(_) | Way::Broken(_) | Way::Named(_) => None,
        }
    }

    /// Gives up; tells whether the call may have run.
    fn give_up(&mut self) -> Delivery {
        match std::mem::replace(&mut self.place, Place::Nowhere) {
            Place::Local(id) => match self.mailbox().map(|mailbox| mailbox.abandon_call(id)) {
                Some(Phase::Queued) => Delivery::Never,
                Some(Phase::Running | Phase::Done) | None => Delivery::Unknown,
            },
            Place::Remote(pending) => {
                pending.session.abandon(pending.id);
                Delivery::Unknown
            }
            Place::Line(_) | Place::Nowhere => Delivery::Never,
        }
    }

    /// Takes the place in the line out, if that is where the call is.
    fn leave_line(&mut self) -> Option<Line<B>> {
        match std::mem::replace(&mut self.place, Place::Nowhere) {
            Place::Line(line) => Some(line),
            place => {
                self.place = place;
                None
            }
        }
    }
}

/// A place in the line for room in a mailbox. Dropped, whoever is next has the turn.
struct Line<B: Behavior> {
    mailbox: Arc<Mailbox<B>>,
    ticket: Ticket,
}

impl<B: Behavior> Line<B> {
    /// The room was used.
    fn used(mut self) {
        self.mailbox.use_room(&mut self.ticket);
    }
}

impl<B: Behavior> Drop for Line<B> {
    fn drop(&mut self) {
        self.mailbox.leave_room(&mut self.ticket);
    }
}

impl<B: Behavior> Drop for Wait<'_, B> {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl<'a, B: Behavior, R> Call<'a, B, R> {
    pub(crate) fn new(target: &'a RawRef<B>, message: B::Call, map: fn(B::Reply) -> Option<R>) -> Self {
        let wait = Wait { target, place: Place::Nowhere, resolved: None };
        Self { message: Some(message), map, timeout: DEFAULT_TIMEOUT, deadline: None, wait, alarm: None }
    }

    /// Waits this long instead of 5 s. The time begins when the call is sent.
    pub fn timeout(mut self, after: Duration) -> Self {
        self.timeout = after;
        self
    }
}

/// What came of sending.
enum Sent<B: Behavior> {
    /// It is queued on this node, where the deadline is kept too.
    Here,
    /// It left. The other side keeps the deadline, and has the waker.
    Away,
    /// There is no room yet.
    NoRoom(Arc<Mailbox<B>>, B::Call),
}

fn send<B: Behavior>(
    target: &RawRef<B>,
    message: B::Call,
    (timeout, at): (Duration, &mut Option<Monotonic>),
    waker: &Waker,
    wait: &mut Wait<'_, B>,
) -> Result<Sent<B>, CallError> {
    match &target.0 {
        Way::Local(mailbox) => {
            let message = mailbox.call_as_sent(message)?;
            let deadline = *at.get_or_insert_with(|| mailbox.core.node.deadline(timeout));
            let id = match mailbox.push_call(message, deadline, waker) {
                Ok(id) => id,
                Err((Refusal::Closed, _)) => return Err(CallError::NoProc(mailbox.core.pid.clone())),
                Err((Refusal::Full, message)) if mailbox.policy == MailboxPolicy::Block => {
                    return Ok(Sent::NoRoom(Arc::clone(mailbox), message));
                }
                Err((Refusal::Full, _)) => return Err(CallError::Overloaded(Overload::Mailbox)),
            };
            wait.place = Place::Local(id);
            Ok(Sent::Here)
        }
        Way::Remote(remote) => {
            wait.place = Place::Remote(remote.send(&message, timeout, waker)?);
            Ok(Sent::Away)
        }
        Way::Broken(broken) => Err(broken.why.call_error(&broken.pid)),
        Way::Named(named) => {
            let found = (named.resolve)().ok_or_else(|| CallError::NoName(named.name.clone()))?;
            wait.resolved = Some(found.raw().clone());
            send(found.raw(), message, (timeout, at), waker, wait)
        }
    }
}

fn called<B: Behavior>(target: &RawRef<B>) -> Called<'_> {
    let (name, expected) = match &target.0 {
        Way::Remote(remote) => (remote.target.process_name.as_deref(), remote.codec.name),
        Way::Local(_) | Way::Broken(_) | Way::Named(_) => (None, short_name::<B>()),
    };
    Called { pid: target.pid(), name, expected }
}

impl<B: Behavior, R> Future for Call<'_, B, R> {
    type Output = Result<R, CallError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // The shortest way for what is encoded anyway: the message is not moved.
        if let (Some(message), Way::Remote(remote)) = (&*this.message, &this.wait.target.0) {
            let sent = remote.send(message, *this.timeout, cx.waker());
            *this.message = None;
            this.wait.place = Place::Remote(sent?);
            return Poll::Pending;
        }
        while let Some(message) = this.message.take() {
            let line = this.wait.leave_line();
            match send(this.wait.target, message, (*this.timeout, this.deadline), cx.waker(), this.wait)? {
                Sent::Away => return Poll::Pending,
                Sent::Here => {
                    if let Some(line) = line {
                        line.used();
                    }
                    *this.alarm = None;
                    return Poll::Pending;
                }
                Sent::NoRoom(mailbox, message) => {
                    *this.message = Some(message);
                    let mut line = match line {
                        Some(line) if Arc::ptr_eq(&line.mailbox, &mailbox) => line,
                        _ => Line { mailbox, ticket: Ticket::default() },
                    };
                    let room = line.mailbox.poll_room(&mut line.ticket, cx);
                    this.wait.place = Place::Line(line);
                    if room.is_pending() {
                        break;
                    }
                }
            }
        }
        let reply = match &this.wait.place {
            Place::Local(id) => match this.wait.mailbox() {
                Some(mailbox) => mailbox.poll_call(*id, cx.waker()),
                None => Poll::Ready(Err(Box::new(CallFailure::NoProc))),
            },
            Place::Remote(pending) => {
                let polled = pending.session.poll_reply(pending.id, cx);
                polled.map(|reply| decode(this.wait.target(), reply).map_err(Box::new))
            }
            Place::Line(line) => {
                let deadline = this.deadline.unwrap_or_default();
                let at = line.mailbox.core.node.clock().instant(deadline);
                let alarm = this.alarm.get_or_insert_with(|| Box::pin(sleep_until(at)));
                alarm.as_mut().poll(cx).map(|()| Err(Box::new(CallFailure::Timeout(Delivery::Never))))
            }
            Place::Nowhere => return Poll::Pending,
        };
        match reply {
            Poll::Ready(Ok(reply)) => {
                let done = match (this.map)(reply) {
                    Some(reply) => Ok(reply),
                    None => Err(CallError::Decode(DecodeError::new("the reply is that of another call"))),
                };
                this.wait.place = Place::Nowhere;
                Poll::Ready(done)
            }
            Poll::Ready(Err(failure)) => {
                let error = failure.into_error(called(this.wait.target()), *this.timeout);
                this.wait.place = Place::Nowhere;
                Poll::Ready(Err(error))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

fn decode<B: Behavior>(
    target: &RawRef<B>,
    reply: Result<crate::route::ReplyBytes, CallFailure>,
) -> Result<B::Reply, CallFailure> {
    let Way::Remote(remote) = &target.0 else { return Err(CallFailure::ConnectionLost) };
    let bytes = reply?;
    // Only a reply that holds references needs to know its node: the scope is left out where it is not needed.
    bytes
        .decode(remote.codec.decode_reply)
        .or_else(|_| remote.route.node().decoding(|| bytes.decode(remote.codec.decode_reply)))
        .map_err(CallFailure::Undecodable)
}

impl<B: Behavior, R> fmt::Debug for Call<'_, B, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("target", self.wait.target)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// How a watch ends before its time.
pub(crate) enum Watched {
    Local(Weak<dyn Process>),
    Remote(Arc<dyn Route>),
}

/// Waits for the end of a process: `Future<Output = Down>`. Dropping it ends the watch.
#[must_use = "dropping a Monitor ends the watch"]
pub struct Monitor {
    pid: Pid,
    down: oneshot::Receiver<Down>,
    watched: Option<(u64, Watched)>,
}

impl Monitor {
    pub(crate) fn start(pid: &Pid, watch: impl FnOnce(Watcher) -> Option<(u64, Watched)>) -> Self {
        let (watcher, down) = Self::news();
        Self { pid: pid.clone(), watched: watch(watcher), down }
    }

    /// Who hears, and where it arrives.
    pub(crate) fn news() -> (Watcher, oneshot::Receiver<Down>) {
        let (tell, down) = oneshot::channel();
        (Watcher::Callback(Box::new(move |down| drop(tell.send(down)))), down)
    }

    /// Of a watch that has begun.
    pub(crate) fn of(process: &crate::AnyRef, id: u64, down: oneshot::Receiver<Down>) -> Self {
        Self { pid: process.pid().clone(), watched: process.watched(id), down }
    }
}

impl Future for Monitor {
    type Output = Down;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Down> {
        let polled = Pin::new(&mut self.down).poll(cx);
        polled.map(|down| {
            self.watched = None;
            down.unwrap_or_else(|_closed| Down::new(0, self.pid.clone(), ExitReason::NoConnection))
        })
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        match self.watched.take() {
            Some((id, Watched::Local(process))) => {
                if let Some(process) = process.upgrade() {
                    process.core().unwatch(id);
                }
            }
            Some((id, Watched::Remote(route))) => {
                route.demonitor(&self.pid, id);
            }
            None => {}
        }
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// Waits for a process that was asked to stop: `Future<Output = Result<(), CallError>>`. The request is on its way
/// already; dropping this only stops the waiting.
#[derive(Debug)]
pub struct Stop {
    monitor: Monitor,
    /// On another node: only there a lost connection says nothing of the process.
    remote: bool,
    timeout: Duration,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Stop {
    pub(crate) fn new(monitor: Monitor) -> Self {
        let remote = matches!(monitor.watched, Some((_, Watched::Remote(_))));
        Self { monitor, remote, timeout: DEFAULT_TIMEOUT, alarm: None }
    }

    /// Waits this long instead of 5 s. After that the process may still be on its way out.
    #[must_use]
    pub fn timeout(mut self, after: Duration) -> Self {
        self.timeout = after;
        self
    }
}

impl Future for Stop {
    type Output = Result<(), CallError>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(down) = Pin::new(&mut self.monitor).poll(cx) {
            return Poll::Ready(match down.reason {
                ExitReason::NoConnection if self.remote => {
                    Err(CallError::ConnectionLost(down.pid.node_id().clone()))
                }
                _ => Ok(()),
            });
        }
        let timeout = self.timeout;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep(timeout)));
        if alarm.as_mut().poll(cx).is_ready() {
            let (pid, after) = (self.monitor.pid.clone(), self.timeout);
            return Poll::Ready(Err(CallError::Timeout { pid, after, delivery: Delivery::Unknown }));
        }
        Poll::Pending
    }
}
