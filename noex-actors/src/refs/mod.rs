//! References: `Ref` (typed, local or remote), `AnyRef` (erased), `Via` (by name).

mod any;
mod raw;

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    marker::PhantomData,
    ops::Deref,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};

pub(crate) use self::raw::{Broken, Fault, Named, Remote, Way};
pub use self::{any::AnyRef, raw::RawRef};
use crate::{
    Behavior, Call, CallError, CastError, Client, ExitReason, LinkRef, Monitor, Node, Pid, RemoteBehavior,
    Stop, TimerRef, Unsent, behaviors::RemoteCodec, decoding, mailbox::Mailbox, route::Route, schema,
};

/// A typed handle of one process, on this node or another: the same type, the same calls, the same errors.
///
/// Cheap to clone, and of a remote behavior also serialisable: send it in a message. Derefs to the typed stubs.
pub struct Ref<B: Behavior> {
    client: B::Client,
}

impl<B: Behavior> Ref<B> {
    pub(crate) fn from_way(way: Way<B>) -> Self {
        Self { client: B::Client::new(RawRef(way)) }
    }

    pub(crate) fn local(mailbox: Arc<Mailbox<B>>) -> Self {
        Self::from_way(Way::Local(mailbox))
    }

    pub(crate) fn broken(pid: Pid, why: Fault) -> Self {
        Self::from_way(Way::Broken(Arc::new(Broken { pid, why })))
    }

    #[cfg(feature = "testkit")]
    pub(crate) fn local_mailbox(&self) -> Option<Arc<Mailbox<B>>> {
        match &self.raw().0 {
            Way::Local(mailbox) => Some(Arc::clone(mailbox)),
            Way::Remote(_) | Way::Broken(_) | Way::Named(_) => None,
        }
    }

    pub(crate) fn raw(&self) -> &RawRef<B> {
        self.client.raw()
    }

    /// The address of the process.
    #[must_use]
    pub fn pid(&self) -> &Pid {
        self.raw().pid()
    }

    /// Calls the process: sent at the first poll, with a deadline of 5 s unless
    /// [`timeout`](Call::timeout) says otherwise.
    pub fn call(&self, call: B::Call) -> Call<'_, B, B::Reply> {
        self.raw().call(call)
    }

    /// Sends a cast, now; never blocks.
    ///
    /// # Errors
    /// [`CastError`]: it was not sent.
    pub fn cast(&self, cast: B::Cast) -> Result<(), CastError> {
        self.raw().cast(cast)
    }

    /// Sends a cast, now, or gives it back.
    ///
    /// # Errors
    /// [`Unsent`] with the message and why it was not sent.
    pub fn try_cast(&self, cast: B::Cast) -> Result<(), Unsent<B::Cast>> {
        self.raw().try_cast(cast)
    }

    /// Sends a cast, waiting for room instead of failing with `Overloaded`.
    ///
    /// # Errors
    /// [`CastError`]: it was not sent.
    ///
    /// # Cancel safety
    /// Dropped before it ends, the cast is not sent.
    pub async fn cast_wait(&self, cast: B::Cast) -> Result<(), CastError> {
        self.raw().cast_wait(cast).await
    }

    /// Sends a cast after a while. The timer runs on this node; a failure to send is not reported.
    pub fn cast_after(&self, after: Duration, cast: B::Cast) -> TimerRef {
        let target = self.clone();
        match self.raw().node() {
            Some(node) => TimerRef::remote(after, move || drop(target.cast(cast)), &node.next_arbiter()),
            None => TimerRef::never(),
        }
    }

    pub(crate) fn remote(pid: Pid, route: Arc<dyn Route>) -> Self
    where
        B: RemoteBehavior,
    {
        Self::from_way(Way::Remote(Arc::new(Remote::new(pid, route, RemoteCodec::new()))))
    }

    /// Asks the process to stop behind the messages sent to it before. Queued now; await it for the end.
    pub fn stop(&self, reason: ExitReason) -> Stop {
        self.erase().stop(reason)
    }

    /// Ends the process at once. OTP: `exit(Pid, kill)`.
    pub fn kill(&self) {
        self.erase().kill();
    }

    /// Watches the process from outside of any process. Dropping it ends the watch.
    pub fn monitor(&self) -> Monitor {
        self.erase().monitor()
    }

    /// Links this process and another of its node: see [`Node::link`].
    pub fn link(&self, other: &impl AsRef<Pid>) -> LinkRef {
        match self.raw().node() {
            Some(node) => node.link(self, other),
            None => LinkRef::new(self.pid(), other.as_ref()),
        }
    }

    /// Takes the link between this process and another away.
    pub fn unlink(&self, other: &impl AsRef<Pid>) {
        if let Some(node) = self.raw().node() {
            node.unlink(self, other);
        }
    }

    /// Whether the process lives. Asks its node if that is another.
    ///
    /// # Errors
    /// [`CallError`] when the node cannot be asked.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn is_alive(&self) -> Result<bool, CallError> {
        self.erase().is_alive().await
    }

    /// The same reference without its type.
    #[must_use]
    pub fn erase(&self) -> AnyRef {
        AnyRef::of(self)
    }
}

impl<B: Behavior> Deref for Ref<B> {
    type Target = B::Client;
    fn deref(&self) -> &B::Client {
        &self.client
    }
}

impl<B: Behavior> Clone for Ref<B> {
    fn clone(&self) -> Self {
        Self { client: B::Client::new(self.raw().clone()) }
    }
}

impl<B: Behavior> AsRef<Pid> for Ref<B> {
    fn as_ref(&self) -> &Pid {
        self.pid()
    }
}

impl<B: Behavior> fmt::Debug for Ref<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ref({:?})", self.raw())
    }
}

impl<B: Behavior> PartialEq for Ref<B> {
    fn eq(&self, other: &Self) -> bool {
        self.pid() == other.pid()
    }
}
impl<B: Behavior> Eq for Ref<B> {}
impl<B: Behavior> PartialOrd for Ref<B> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<B: Behavior> Ord for Ref<B> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.pid().cmp(other.pid())
    }
}
impl<B: Behavior> Hash for Ref<B> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pid().hash(state);
    }
}

impl<B: RemoteBehavior> Serialize for Ref<B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.pid().serialize(serializer)
    }
}

impl<'de, B: RemoteBehavior> Deserialize<'de> for Ref<B> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (pid, looked_at) =
            deserializer.deserialize_newtype_struct(schema::REF, Decoded::<Pid>(PhantomData))?;
        if looked_at {
            return Ok(Self::from_way(Way::Broken(Arc::new(Broken { pid, why: Fault::NoProc }))));
        }
        let node = decoding::current().ok_or_else(|| serde::de::Error::custom(decoding::OUTSIDE))?;
        Ok(node.resolve::<B>(&pid))
    }
}

/// What a reference is on the wire, and whether somebody only looks at its type: then nobody is meant.
struct Decoded<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Decoded<T> {
    type Value = (T, bool);
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a reference")
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Self::Value, D::Error> {
        Ok((T::deserialize(inner)?, false))
    }
    /// No format has this for a newtype.
    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Self::Value, D::Error> {
        Ok((T::deserialize(inner)?, true))
    }
}

/// A typed handle of a *name*: resolved at every send, so it follows the name from process to process.
/// OTP: `{via, …}` and `{Name, Node}`.
pub struct Via<B: Behavior> {
    client: B::Client,
}

impl<B: Behavior> Via<B> {
    /// A handle of `name` that asks `resolve` at every send. For registries.
    #[doc(hidden)]
    pub fn new(
        name: &str,
        node: &Node,
        resolve: impl Fn() -> Option<Ref<B>> + Send + Sync + 'static,
    ) -> Self {
        let nobody = Pid::new(node.id().clone(), node.incarnation(), 0);
        let named = Named { name: name.to_owned(), node: node.clone(), nobody, resolve: Box::new(resolve) };
        Self { client: B::Client::new(RawRef(Way::Named(Arc::new(named)))) }
    }

    /// Of a name on another node, as whose process `nobody` stands: that node decides for each message who has it.
    pub(crate) fn there(nobody: Pid, name: &str, route: Arc<dyn Route>) -> Self
    where
        B: RemoteBehavior,
    {
        let mut remote = Remote::new(nobody, route, RemoteCodec::new());
        remote.target = remote.target.by_name(name);
        Self { client: B::Client::new(RawRef(Way::Remote(Arc::new(remote)))) }
    }

    pub(crate) fn broken(pid: Pid, why: Fault) -> Self {
        Self { client: B::Client::new(RawRef(Way::Broken(Arc::new(Broken { pid, why })))) }
    }

    /// Who has the name now, if it is of this behavior. Asks its node if that is another; what is sent by the reference that comes of
    /// it goes to that process, and no more to the name. `None` also where the node cannot be asked: see
    /// [`Node::lookup_on`] for the reason.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn resolve(&self) -> Option<Ref<B>> {
        match &self.client.raw().0 {
            Way::Named(named) => {
                let found = (named.resolve)()?;
                (!matches!(found.raw().0, Way::Broken(_))).then_some(found)
            }
            Way::Remote(remote) => {
                let name = remote.target.process_name.as_deref()?;
                let (pid, behavior) = remote.route.where_is(name).await.ok()??;
                (behavior == remote.codec.name).then(|| remote.at(pid))
            }
            Way::Local(_) | Way::Broken(_) => None,
        }
    }
}

impl<B: Behavior> Deref for Via<B> {
    type Target = B::Client;
    fn deref(&self) -> &B::Client {
        &self.client
    }
}

impl<B: Behavior> Clone for Via<B> {
    fn clone(&self) -> Self {
        Self { client: B::Client::new(self.client.raw().clone()) }
    }
}

impl<B: Behavior> fmt::Debug for Via<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.client.raw().fmt(f)
    }
}
