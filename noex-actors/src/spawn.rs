//! Starting processes: where, with which options, and what comes back.

use std::{fmt, future::IntoFuture, marker::PhantomData, time::Duration};

use actix_rt::{Arbiter, ArbiterHandle};
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use crate::{
    AnyRef, Behavior, FencingToken, MailboxPolicy, Node, NodeId, Payload, Pid, Ref, Registration,
    RemoteBehavior, SpawnError, StartError,
    host::{self, Start},
    machine::signals::Trap,
    payload::encode_into,
    route::SpawnRequest,
};

/// On which arbiter a process lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Placement {
    /// On the arbiter of whoever spawns it: calls between the two cost no thread switch. Started from a thread without
    /// an arbiter: one of the pool in turn.
    #[default]
    Parent,
    /// The arbiters of the pool in turn.
    RoundRobin,
    /// The arbiter of the pool that was given the fewest processes.
    LeastLoaded,
    /// This arbiter of the pool, modulo their number.
    Pinned(usize),
    /// A new arbiter for this process alone: for what blocks.
    Dedicated,
}

/// How a process is started.
#[derive(Clone, Debug)]
#[must_use]
pub struct SpawnOptions {
    name: Option<String>,
    pub(crate) placement: Placement,
    pub(crate) policy: MailboxPolicy,
    pub(crate) capacity: usize,
    pub(crate) init_timeout: Duration,
    pub(crate) trap: Trap,
    pub(crate) token: Option<Box<FencingToken>>,
}

impl Default for SpawnOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl SpawnOptions {
    /// No name, the parent's arbiter, 65 536 messages, 5 s for `init`.
    pub fn new() -> Self {
        Self {
            name: None,
            placement: Placement::Parent,
            policy: MailboxPolicy::Reject,
            capacity: 65_536,
            init_timeout: Duration::from_secs(5),
            trap: Trap::Off,
            token: None,
        }
    }

    /// A name on its node, reserved before `init`, given up at the end.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Where it lives.
    pub fn placement(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// How many messages may wait, at least 1, and what happens beyond that. Default: `Reject` and 65 536.
    ///
    /// `Down`, `Exit`, infos and stop requests are exempt: they are not counted out, and always find room.
    pub fn mailbox(mut self, policy: MailboxPolicy, capacity: usize) -> Self {
        self.policy = policy;
        self.mailbox_capacity(capacity)
    }

    /// How many messages may wait, at least 1, with the policy as it is.
    pub fn mailbox_capacity(mut self, messages: usize) -> Self {
        self.capacity = messages.max(1);
        self
    }

    /// Exit signals arrive as [`Info::Exit`](crate::Info::Exit) from the beginning: see
    /// [`Context::trap_exit`](crate::Context::trap_exit).
    pub fn trap_exit(mut self) -> Self {
        self.trap = Trap::On;
        self
    }

    /// How long `init` may take.
    pub fn init_timeout(mut self, after: Duration) -> Self {
        self.init_timeout = after;
        self
    }

    /// Which supervised instance it will be. For supervisors.
    #[doc(hidden)]
    pub fn fencing_token(mut self, token: FencingToken) -> Self {
        self.token = Some(Box::new(token));
        self
    }

    /// The name, if one was given.
    #[must_use]
    pub fn get_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Which supervised instance it will be.
    #[doc(hidden)]
    #[must_use]
    pub fn get_fencing_token(&self) -> Option<&FencingToken> {
        self.token.as_deref()
    }

    /// How long `init` may take.
    #[doc(hidden)]
    #[must_use]
    pub fn get_init_timeout(&self) -> Duration {
        self.init_timeout
    }

    /// How many messages may wait.
    #[doc(hidden)]
    #[must_use]
    pub fn get_mailbox_capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn take_name(&mut self) -> Option<String> {
        self.name.take()
    }
}

/// A process about to start: `IntoFuture<Output = Result<Ref<B>, StartError>>`.
#[must_use = "nothing starts until it is awaited"]
pub struct Spawn<'a, B: Behavior> {
    node: &'a Node,
    args: B::Args,
    options: SpawnOptions,
    parent: u64,
    link: Option<Pid>,
}

impl<'a, B: Behavior> Spawn<'a, B> {
    pub(crate) fn new(node: &'a Node, args: B::Args) -> Self {
        Self { node, args, options: B::spawn_options(), parent: 0, link: None }
    }

    pub(crate) fn linked_to(mut self, pid: &Pid) -> Self {
        self.link = Some(pid.clone());
        self
    }

    pub(crate) fn child_of(mut self, parent: u64) -> Self {
        self.parent = parent;
        self
    }

    /// A name on this node.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options = self.options.name(name);
        self
    }

    /// Where it lives.
    pub fn placement(mut self, placement: Placement) -> Self {
        self.options = self.options.placement(placement);
        self
    }

    /// All options at once.
    pub fn options(mut self, options: SpawnOptions) -> Self {
        self.options = options;
        self
    }

    /// The future, owning all it needs.
    pub(crate) fn into_future_owned(self) -> BoxFuture<'static, Result<Ref<B>, StartError>> {
        let Self { node, args, options, parent, link } = self;
        let node = node.clone();
        Box::pin(async move { start(&node, args, options, (parent, link)).await })
    }
}

impl<B: Behavior> IntoFuture for Spawn<'_, B> {
    type Output = Result<Ref<B>, StartError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;
    fn into_future(self) -> Self::IntoFuture {
        self.into_future_owned()
    }
}

impl<B: Behavior> fmt::Debug for Spawn<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawn").field("options", &self.options).finish_non_exhaustive()
    }
}

fn place(node: &Node, placement: Placement) -> ArbiterHandle {
    let pool = node.pool();
    match placement {
        Placement::Parent => Arbiter::try_current().unwrap_or_else(|| pool.round_robin()),
        Placement::RoundRobin => pool.round_robin(),
        Placement::LeastLoaded => pool.least_loaded(),
        Placement::Pinned(at) => pool.pinned(at),
        Placement::Dedicated => pool.dedicated(),
    }
}

async fn start<B: Behavior>(
    node: &Node,
    args: B::Args,
    options: SpawnOptions,
    (parent, link): (u64, Option<Pid>),
) -> Result<Ref<B>, StartError> {
    let arbiter = place(node, options.placement);
    let init_timeout = options.init_timeout;
    let mailbox = node.admit::<B>(options, parent)?;
    if let Some(parent) = &link {
        node.link(&mailbox.core.pid, parent);
    }
    let target = Ref::local(std::sync::Arc::clone(&mailbox));
    let (report, started) = oneshot::channel();
    let placed = {
        let mailbox = std::sync::Arc::clone(&mailbox);
        let start = Start { args, init_timeout, report, link };
        arbiter.spawn_fn(move || host::launch(mailbox, start))
    };
    if !placed {
        node.give_up(&mailbox);
        return Err(StartError::NotRunning);
    }
    let guard = Abandoned(Some(target));
    match started.await {
        Ok(Ok(())) => Ok(guard.keep()),
        Ok(Err(error)) => {
            drop(guard.keep());
            Err(error)
        }
        Err(_closed) => {
            drop(guard.keep());
            node.give_up(&mailbox);
            Err(StartError::NotRunning)
        }
    }
}

/// A spawn whose caller went away leaves no orphan.
struct Abandoned<B: Behavior>(Option<Ref<B>>);

impl<B: Behavior> Abandoned<B> {
    fn keep(mut self) -> Ref<B> {
        self.0.take().expect("kept once")
    }
}

impl<B: Behavior> Drop for Abandoned<B> {
    fn drop(&mut self) {
        if let Some(process) = self.0.take() {
            process.kill();
        }
    }
}

/// A process about to start on a node given by its id: `IntoFuture<Output = Result<Ref<B>, SpawnError>>`.
#[must_use = "nothing starts until it is awaited"]
#[derive(Debug)]
pub struct SpawnOn<'a, B> {
    any: SpawnAny<'a>,
    encoded: Result<(), crate::EncodeError>,
    behavior: PhantomData<fn() -> B>,
}

/// A process about to start by the name of its behavior: `IntoFuture<Output = Result<AnyRef, SpawnError>>`.
#[must_use = "nothing starts until it is awaited"]
#[derive(Debug)]
pub struct SpawnAny<'a> {
    node: &'a Node,
    peer: NodeId,
    behavior: String,
    args: Vec<u8>,
    options: SpawnOptions,
    registration: Registration,
    timeout: Duration,
}

impl<'a> SpawnAny<'a> {
    pub(crate) fn new(node: &'a Node, peer: &NodeId, behavior: &str, args: Payload) -> Self {
        Self {
            node,
            peer: peer.clone(),
            behavior: behavior.to_owned(),
            args: args.into_bytes(),
            options: SpawnOptions::new(),
            registration: Registration::default(),
            timeout: Duration::from_secs(10),
        }
    }

    /// Its name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options = self.options.name(name);
        self
    }

    /// Where its name is registered.
    pub fn register(mut self, registration: Registration) -> Self {
        self.registration = registration;
        self
    }

    /// All options at once. Placement is for the other node to decide.
    pub fn options(mut self, options: SpawnOptions) -> Self {
        self.options = options;
        self
    }

    /// How long to wait for the answer. Default 10 s.
    pub fn timeout(mut self, after: Duration) -> Self {
        self.timeout = after;
        self
    }
}

impl IntoFuture for SpawnAny<'_> {
    type Output = Result<AnyRef, SpawnError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;
    fn into_future(self) -> Self::IntoFuture {
        let Self { node, peer, behavior, args, options, registration, timeout } = self;
        let node = node.clone();
        Box::pin(async move {
            if peer == *node.id() {
                return node.spawn_registered(&behavior, &args, options, registration).await;
            }
            let router = node.router().ok_or_else(|| SpawnError::NoConnection(peer.clone()))?;
            let name = behavior.clone();
            let request = SpawnRequest::new(behavior, args, options, registration, timeout);
            let pid = router.spawn(&peer, request).await?;
            Ok(AnyRef::resolve(&node, &pid, Some(&name)))
        })
    }
}

impl<'a, B: RemoteBehavior> SpawnOn<'a, B> {
    pub(crate) fn new(node: &'a Node, peer: &NodeId, args: &B::Args) -> Self {
        let mut bytes = Vec::new();
        let encoded = encode_into(args, &mut bytes);
        let mut any = SpawnAny::new(node, peer, B::NAME, Payload::default());
        any.args = bytes;
        any.options = B::spawn_options();
        Self { any, encoded, behavior: PhantomData }
    }

    /// Its name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.any = self.any.name(name);
        self
    }

    /// Where its name is registered.
    pub fn register(mut self, registration: Registration) -> Self {
        self.any = self.any.register(registration);
        self
    }

    /// All options at once. Placement is for the other node to decide.
    pub fn options(mut self, options: SpawnOptions) -> Self {
        self.any = self.any.options(options);
        self
    }

    /// How long to wait for the answer. Default 10 s.
    pub fn timeout(mut self, after: Duration) -> Self {
        self.any = self.any.timeout(after);
        self
    }
}

impl<B: RemoteBehavior> IntoFuture for SpawnOn<'_, B> {
    type Output = Result<Ref<B>, SpawnError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;
    fn into_future(self) -> Self::IntoFuture {
        let Self { any, encoded, .. } = self;
        let node = any.node.clone();
        let peer = any.peer.clone();
        let spawn = any.into_future();
        Box::pin(async move {
            encoded.map_err(|error| SpawnError::Incompatible {
                behavior: B::NAME.to_owned(),
                node: peer,
                reason: error.to_string(),
            })?;
            let process = spawn.await?;
            Ok(node.resolve::<B>(process.pid()))
        })
    }
}
