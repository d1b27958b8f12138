//! The seam to other nodes: what a transport gives to processes, and what processes give to it.
//!
//! noex-net implements [`Router`], [`Route`] and [`Session`]; nothing here knows of sockets. A `Route` stands for one other
//! node and outlives its connections; a `Session` is one connection. A call belongs to the session that took it.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_util::future::BoxFuture;

use crate::{
    AnyRef, CallError, CastError, Down, ExitReason, Incarnation, NodeId, Pid, Registration, SpawnError,
    SpawnOptions, behavior_number, error::EncodeError, failure::CallFailure, numbered::Methods,
    process::Process, schema::SchemaOf,
};

/// A bit of the number in a target: the messages go to whoever has a name there. No process has such a number.
pub const BY_NAME: u64 = 1 << 63;

/// The number of such a target: messages to several names are told apart by it on their way.
#[must_use]
pub fn number_of_name(name: &str) -> u64 {
    BY_NAME | u64::from(behavior_number(name))
}

/// Writes a message into an outbox. May be called once.
pub type Encode<'a> = &'a mut dyn FnMut(&mut Vec<u8>) -> Result<(), EncodeError>;

/// Which behavior a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BehaviorId {
    /// The number under which the receiver announced it: from 1 on, and for ever in this life of the node.
    Number(u32),
    /// [`behavior_number`](crate::behavior_number) of its name: the sender has not heard of it.
    Hash(u32),
}

/// A process of another node, or whoever has a name there, as frames address it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Target {
    /// The life of the node in which it runs; of a name, which outlives those, 0.
    pub incarnation: Incarnation,
    /// Its number there; of a name [`number_of_name`].
    pub number: u64,
    /// The name there.
    pub process_name: Option<Box<str>>,
    name: &'static str,
    hash: u32,
    schema: SchemaOf,
    /// What the node announced for the name; 0 as long as that is not known.
    announced: AtomicU32,
    /// Which of its messages go by number.
    methods: OnceLock<Arc<Methods>>,
}

impl Target {
    pub(crate) fn new(pid: &Pid, name: &'static str, hash: u32, schema: SchemaOf) -> Self {
        let announced = AtomicU32::new(0);
        let methods = OnceLock::new();
        let (incarnation, number) = (pid.incarnation(), pid.number());
        Self { incarnation, number, process_name: None, name, hash, schema, announced, methods }
    }

    /// The same of whoever has this name.
    pub(crate) fn by_name(self, name: &str) -> Self {
        Self { number: number_of_name(name), process_name: Some(name.into()), ..self }
    }

    /// The behavior that the sender expects. `announced` is asked for the number of a name until it knows one: a life of a
    /// node never gives a number to another name. It is given the sender's schema, and refuses what does not fit.
    ///
    /// # Errors
    /// Whatever `announced` said.
    #[inline]
    pub fn behavior<E>(
        &self,
        announced: impl FnOnce(&str, SchemaOf) -> Result<Option<(u32, Arc<Methods>)>, E>,
    ) -> Result<BehaviorId, E> {
        match self.announced.load(Ordering::Relaxed) {
            0 => self.find_out(announced),
            number => Ok(BehaviorId::Number(number)),
        }
    }

    #[cold]
    fn find_out<E>(
        &self,
        announced: impl FnOnce(&str, SchemaOf) -> Result<Option<(u32, Arc<Methods>)>, E>,
    ) -> Result<BehaviorId, E> {
        Ok(match announced(self.name, self.schema)? {
            None | Some((0, _)) => BehaviorId::Hash(self.hash),
            // It outlives the life of the node that gave the number: asked again each time.
            Some((number, _)) if self.process_name.is_some() => BehaviorId::Number(number),
            Some((number, methods)) => {
                // First: whoever sees the number may have them.
                let _ = self.methods.set(methods);
                self.announced.store(number, Ordering::Relaxed);
                BehaviorId::Number(number)
            }
        })
    }
}

impl Target {
    /// Whether replies may go by number.
    #[inline]
    pub fn numbered(&self) -> bool {
        self.methods.get().is_some_and(|methods| methods.replies)
    }

    pub(crate) fn calls(&self) -> &[Box<str>] {
        self.methods.get().map_or(&[], |methods| &methods.calls)
    }

    pub(crate) fn casts(&self) -> &[Box<str>] {
        self.methods.get().map_or(&[], |methods| &methods.casts)
    }
}

/// Bytes of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplyBytes {
    /// Inline where they are few: nothing is allocated.
    Copied(smallvec::SmallVec<[u8; 96]>),
    /// Part of what came in pieces.
    Shared(bytes::Bytes),
}

impl ReplyBytes {
    /// A copy of these.
    #[inline]
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Self {
        Self::Copied(smallvec::SmallVec::from_slice(bytes))
    }

    /// Decodes the reply, which may keep its part of what it shares.
    pub(crate) fn decode<T>(&self, decode: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Self::Copied(bytes) => decode(bytes),
            Self::Shared(bytes) => crate::decoding::sharing(bytes, || decode(bytes)),
        }
    }
}

/// How to reach other nodes. One per node.
pub trait Router: Send + Sync + fmt::Debug + 'static {
    /// The way to one node, from this one. Cheap after the first time; the same for all who ask.
    fn route(&self, from: &crate::Node, node: &NodeId) -> Arc<dyn Route>;
    /// Starts a process on another node.
    fn spawn(&self, node: &NodeId, request: SpawnRequest) -> BoxFuture<'static, Result<Pid, SpawnError>>;
    /// A name that a process of this node wants for the whole cluster.
    ///
    /// # Errors
    /// As `GlobalRegistry::register`.
    fn register_global(&self, name: &str, process: &AnyRef) -> Result<(), crate::NameError>;
    /// Who has a name of the whole cluster, as far as this node knows, and would keep it from a process with that token.
    fn global_holder(&self, name: &str, token: Option<&crate::FencingToken>) -> Option<Pid>;
}

/// What a process of another node is started with.
#[derive(Debug)]
#[non_exhaustive]
pub struct SpawnRequest {
    /// Wire name of the behavior.
    pub behavior: String,
    /// Encoded arguments.
    pub args: Vec<u8>,
    /// What its messages look like here, where its type is known.
    pub schema: Option<SchemaOf>,
    /// Options; those that make sense elsewhere travel.
    pub options: SpawnOptions,
    /// Where its name is registered.
    pub registration: Registration,
    /// How long to wait for the answer.
    pub timeout: Duration,
    /// What is tied to the process as soon as it is known: [`Node::tie`](crate::Node::tie).
    pub ties: Vec<Tie>,
}

/// What is asked for together with a process: it is there from the start of that on.
#[derive(Debug)]
#[non_exhaustive]
pub enum Tie {
    /// A watch under this number.
    Watch(u64, Watcher),
    /// A link to this process.
    Link(Pid),
}

impl SpawnRequest {
    pub(crate) fn new(
        behavior: String,
        (args, schema): (Vec<u8>, Option<SchemaOf>),
        options: SpawnOptions,
        registration: Registration,
        timeout: Duration,
    ) -> Self {
        Self { behavior, args, schema, options, registration, timeout, ties: Vec::new() }
    }
}

/// One other node, through all its connections.
pub trait Route: Send + Sync + fmt::Debug + 'static {
    /// The node from which it leads.
    fn node(&self) -> crate::Node;
    /// Sends a cast.
    ///
    /// # Errors
    /// [`CastError`], with `pid` for those that name a process.
    fn cast(&self, target: &Target, pid: &Pid, encode: Encode<'_>) -> Result<(), CastError>;
    /// Waits until there is room for more to this process: in the outbox, and among what it has not handled yet.
    fn ready(&self, target: &Target) -> BoxFuture<'static, ()>;
    /// Sends a call. `budget` is how long the caller waits; `waker` is woken when the reply is there.
    ///
    /// # Errors
    /// [`CallError`] if it did not leave.
    fn call(
        &self,
        target: &Target,
        pid: &Pid,
        budget: Duration,
        waker: &Waker,
        encode: Encode<'_>,
    ) -> Result<Pending, CallError>;
    /// Watches a process under the number `id`; `watcher` hears of it exactly once.
    fn monitor(&self, id: u64, pid: &Pid, watcher: Watcher);
    /// Ends a watch; its sink hears nothing after this returns true.
    fn demonitor(&self, pid: &Pid, id: u64) -> bool;
    /// Links a process of this node and one of that, at both ends.
    ///
    /// # Errors
    /// What the near process is to hear: `NoConnection` where there is no session, `NoProc` for a process of an earlier life.
    fn link(&self, near: &Arc<dyn Process>, far: &Pid) -> Result<(), ExitReason>;
    /// Takes such a link away, at both ends.
    fn unlink(&self, near: &Arc<dyn Process>, far: &Pid);
    /// The near process ended: breaks the far end.
    fn break_link(&self, near: &Pid, far: &Pid, reason: &ExitReason);
    /// Sends an exit signal, behind everything sent to the process before.
    fn exit(&self, from: &Pid, target: &Pid, reason: ExitReason);
    /// Tells a process to stop, behind everything sent to it before.
    fn stop(&self, pid: &Pid, reason: ExitReason);
    /// Kills a process.
    fn kill(&self, pid: &Pid);
    /// Asks whether a process lives.
    fn is_alive(&self, pid: &Pid) -> BoxFuture<'static, Result<bool, CallError>>;
    /// Asks who has a name there: the process, and its behavior.
    fn where_is(&self, name: &str) -> BoxFuture<'static, Result<Option<(Pid, String)>, CallError>>;
}

/// A call on its way.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Pending {
    /// The connection that took it.
    pub session: Arc<dyn Session>,
    /// Its number there.
    pub id: u64,
}

impl Pending {
    /// A call with this number on this connection.
    #[must_use]
    pub fn new(session: Arc<dyn Session>, id: u64) -> Self {
        Self { session, id }
    }
}

/// One connection, as calls that wait for a reply see it, and as those that owe one do.
pub trait Session: Send + Sync + fmt::Debug + 'static {
    /// The reply, once it is there. The session keeps the deadline.
    fn poll_reply(&self, id: u64, cx: &mut Context<'_>) -> Poll<Result<ReplyBytes, CallFailure>>;
    /// The caller went away: the other side is told, so that the call does not run if it is still queued there.
    fn abandon(&self, id: u64);
    /// Whether anybody on the other side still waits for the reply to this call of it, as far as that is known.
    fn is_waited_for(&self, id: u64) -> bool;
    /// A call of the other side was not started, because nobody waits for it any more.
    fn not_started(&self);
    /// Answers a call of the other side.
    fn reply(&self, id: u64, encode: Encode<'_>);
    /// Fails a call of the other side.
    fn fail(&self, id: u64, failure: CallFailure);
}

/// Who hears of the end of a process.
pub enum Watcher {
    /// A process: the news goes to its mailbox, in order with its messages.
    Process(std::sync::Weak<dyn crate::process::Process>),
    /// Anybody else. Must not block.
    Callback(Box<dyn FnOnce(Down) + Send>),
}

impl Watcher {
    /// Delivers the news.
    pub fn tell(self, down: Down) {
        match self {
            Self::Process(process) => {
                if let Some(process) = process.upgrade() {
                    process.down(down);
                }
            }
            Self::Callback(callback) => callback(down),
        }
    }

    /// Delivers the news that `pid` ended.
    pub fn tell_of(self, id: u64, pid: Pid, reason: ExitReason) {
        self.tell(Down::new(id, pid, reason));
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Process(_) => "Watcher::Process",
            Self::Callback(_) => "Watcher::Callback",
        })
    }
}
