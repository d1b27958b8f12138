//! The untyped layer under every reference: where a message goes, and in which form.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::{
    Behavior, Call, CallError, CastError, Node, Overload, Pid, Ref, Unsent, WrongBehavior,
    behaviors::RemoteCodec,
    mailbox::{Envelope, Mailbox, Refusal, Ticket},
    process::Process,
    route::{Pending, Route, Target},
};

/// A reference without stubs: for authors of clients, and what every [`Ref`] holds.
pub struct RawRef<B: Behavior>(pub(crate) Way<B>);

/// Where messages go.
pub(crate) enum Way<B: Behavior> {
    Local(Arc<Mailbox<B>>),
    Remote(Arc<Remote<B>>),
    /// Nothing can be reached by it, and why.
    Broken(Arc<Broken>),
    /// Whoever has a name at the moment of each send.
    Named(Arc<Named<B>>),
}

pub(crate) struct Remote<B: Behavior> {
    pub(crate) pid: Pid,
    pub(crate) target: Target,
    pub(crate) route: Arc<dyn Route>,
    pub(crate) codec: RemoteCodec<B>,
}

impl<B: Behavior> Remote<B> {
    /// A process of the same node.
    pub(crate) fn at(&self, pid: Pid) -> Ref<B> {
        Ref::from_way(Way::Remote(Arc::new(Self::new(pid, Arc::clone(&self.route), self.codec))))
    }

    pub(crate) fn new(pid: Pid, route: Arc<dyn Route>, codec: RemoteCodec<B>) -> Self {
        let target = Target::new(&pid, codec.name, codec.hash, codec.schema);
        Self { pid, target, route, codec }
    }

    /// Sends a call.
    #[inline]
    pub(crate) fn send(
        &self,
        message: &B::Call,
        timeout: Duration,
        waker: &Waker,
    ) -> Result<Pending, CallError> {
        let encode = &mut |out: &mut Vec<u8>| (self.codec.encode_call)(message, self.target.calls(), out);
        self.route.call(&self.target, &self.pid, timeout, waker, encode)
    }
}

pub(crate) struct Broken {
    pub(crate) pid: Pid,
    pub(crate) why: Fault,
}

#[derive(Clone)]
pub(crate) enum Fault {
    NoProc,
    NotRunning,
    WrongBehavior(WrongBehavior),
}

pub(crate) struct Named<B: Behavior> {
    pub(crate) name: String,
    pub(crate) node: Node,
    /// Stands in for the address of nobody.
    pub(crate) nobody: Pid,
    pub(crate) resolve: Box<dyn Fn() -> Option<Ref<B>> + Send + Sync>,
}

impl<B: Behavior> Clone for RawRef<B> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Way::Local(mailbox) => Way::Local(Arc::clone(mailbox)),
            Way::Remote(remote) => Way::Remote(Arc::clone(remote)),
            Way::Broken(broken) => Way::Broken(Arc::clone(broken)),
            Way::Named(named) => Way::Named(Arc::clone(named)),
        })
    }
}

impl<B: Behavior> fmt::Debug for RawRef<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Way::Named(named) => write!(f, "Via({})", named.name),
            Way::Remote(remote) if remote.target.process_name.is_some() => {
                let name = remote.target.process_name.as_deref().unwrap_or_default();
                write!(f, "Via({name} on {})", remote.pid.node_id())
            }
            Way::Local(_) | Way::Remote(_) | Way::Broken(_) => fmt::Display::fmt(self.pid(), f),
        }
    }
}

impl Fault {
    pub(crate) fn call_error(&self, pid: &Pid) -> CallError {
        match self {
            Self::NoProc => CallError::NoProc(pid.clone()),
            Self::NotRunning => CallError::NotRunning,
            Self::WrongBehavior(wrong) => CallError::WrongBehavior(wrong.clone()),
        }
    }

    fn cast_error(&self, pid: &Pid) -> CastError {
        match self {
            Self::NoProc => CastError::NoProc(pid.clone()),
            Self::NotRunning => CastError::NotRunning,
            Self::WrongBehavior(wrong) => CastError::WrongBehavior(wrong.clone()),
        }
    }
}

impl<B: Behavior> RawRef<B> {
    /// A call whose reply is passed through `map`. `None` from it is an undecodable reply.
    pub fn call_map<R>(&self, call: B::Call, map: fn(B::Reply) -> Option<R>) -> Call<'_, B, R> {
        Call::new(self, call, map)
    }

    /// A call.
    pub fn call(&self, call: B::Call) -> Call<'_, B, B::Reply> {
        self.call_map(call, Some)
    }

    /// Sends a cast, now.
    ///
    /// # Errors
    /// [`CastError`]: it was not sent.
    pub fn cast(&self, cast: B::Cast) -> Result<(), CastError> {
        self.try_cast(cast).map_err(|unsent| unsent.error)
    }

    /// Sends a cast, now, or gives it back.
    ///
    /// # Errors
    /// [`Unsent`] with the message.
    pub fn try_cast(&self, cast: B::Cast) -> Result<(), Unsent<B::Cast>> {
        match &self.0 {
            Way::Local(mailbox) => {
                let cast = mailbox.as_sent(cast).map_err(|(error, message)| Unsent { message, error })?;
                let envelope = Envelope::Cast(cast).traced(mailbox.core.node.current_trace());
                mailbox.push(envelope).map_err(|(refusal, envelope)| {
                    let Envelope::Cast(message) = envelope.untraced() else {
                        unreachable!("push gives back what it was given")
                    };
                    let error = match refusal {
                        Refusal::Closed => CastError::NoProc(mailbox.core.pid.clone()),
                        Refusal::Full => CastError::Overloaded(Overload::Mailbox),
                    };
                    Unsent { message, error }
                })
            }
            Way::Remote(remote) => {
                let encode =
                    &mut |out: &mut Vec<u8>| (remote.codec.encode_cast)(&cast, remote.target.casts(), out);
                let sent = remote.route.cast(&remote.target, &remote.pid, encode);
                sent.map_err(|error| Unsent { message: cast, error })
            }
            Way::Broken(broken) => Err(Unsent { message: cast, error: broken.why.cast_error(&broken.pid) }),
            Way::Named(named) => match (named.resolve)() {
                Some(found) => found.raw().try_cast(cast),
                None => Err(Unsent { message: cast, error: CastError::NoName(named.name.clone()) }),
            },
        }
    }

    /// Sends a cast, waiting for room where there is none.
    ///
    /// # Errors
    /// [`CastError`], never `Overloaded`, but for a mailbox on another node, which cannot be waited for.
    ///
    /// # Cancel safety
    /// Dropped before it ends, the cast is not sent.
    pub async fn cast_wait(&self, cast: B::Cast) -> Result<(), CastError> {
        let mut cast = cast;
        loop {
            let unsent = match self.try_cast(cast) {
                Ok(()) => return Ok(()),
                Err(unsent) => unsent,
            };
            if !matches!(unsent.error, CastError::Overloaded(_)) {
                return Err(unsent.error);
            }
            self.room().await;
            cast = unsent.message;
        }
    }

    /// Waits until a cast that found no room may find some.
    async fn room(&self) {
        match &self.0 {
            Way::Local(mailbox) => WaitForRoom { mailbox, ticket: Ticket::default() }.await,
            Way::Remote(remote) => remote.route.ready(&remote.target).await,
            Way::Broken(_) => {}
            Way::Named(named) => {
                if let Some(found) = (named.resolve)() {
                    Box::pin(found.raw().room()).await;
                }
            }
        }
    }

    /// The address. Of a reference by name: of nobody.
    #[must_use]
    pub fn pid(&self) -> &Pid {
        match &self.0 {
            Way::Local(mailbox) => &mailbox.core.pid,
            Way::Remote(remote) => &remote.pid,
            Way::Broken(broken) => &broken.pid,
            Way::Named(named) => &named.nobody,
        }
    }

    /// The node of this reference; none of one that never reached anybody.
    pub(crate) fn node(&self) -> Option<Node> {
        match &self.0 {
            Way::Local(mailbox) => Some(mailbox.core.node.clone()),
            Way::Remote(remote) => Some(remote.route.node()),
            Way::Broken(_) => None,
            Way::Named(named) => Some(named.node.clone()),
        }
    }

    pub(crate) fn process(&self) -> Option<Arc<dyn Process>> {
        match &self.0 {
            Way::Local(mailbox) => Some(Arc::<Mailbox<B>>::clone(mailbox)),
            Way::Remote(_) | Way::Broken(_) | Way::Named(_) => None,
        }
    }
}

struct WaitForRoom<'a, B: Behavior> {
    mailbox: &'a Mailbox<B>,
    ticket: Ticket,
}

impl<B: Behavior> Future for WaitForRoom<'_, B> {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mailbox = self.mailbox;
        mailbox.poll_room(&mut self.ticket, cx)
    }
}

impl<B: Behavior> Drop for WaitForRoom<'_, B> {
    fn drop(&mut self) {
        self.mailbox.leave_room(&mut self.ticket);
    }
}
