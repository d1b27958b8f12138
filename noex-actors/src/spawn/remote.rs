//! Starting processes by the name of their behavior, here or on another node.

use std::{future::IntoFuture, marker::PhantomData, time::Duration};

use crate::{
    AnyRef, Monitor, Node, NodeId, Payload, Ref, Registration, RemoteBehavior, SpawnError, SpawnOptions,
    StartError,
    payload::encode_into,
    route::{SpawnRequest, Tie},
    schema::{Schema, SchemaOf},
};
use futures_util::future::BoxFuture;

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
    node: Node,
    /// It reads like a borrow of the node, and is none.
    lifetime: PhantomData<&'a ()>,
    peer: NodeId,
    behavior: String,
    args: Vec<u8>,
    schema: Option<SchemaOf>,
    options: SpawnOptions,
    registration: Registration,
    timeout: Duration,
    ties: Vec<Tie>,
}

impl<'a> SpawnAny<'a> {
    pub(crate) fn new(node: &'a Node, peer: &NodeId, behavior: &str, args: Payload) -> Self {
        Self {
            node: node.clone(),
            lifetime: PhantomData,
            peer: peer.clone(),
            behavior: behavior.to_owned(),
            args: args.into_bytes(),
            schema: None,
            options: SpawnOptions::new(),
            registration: Registration::default(),
            timeout: Duration::from_secs(10),
            ties: Vec::new(),
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

    pub(super) fn tied(mut self, tie: Tie) -> Self {
        self.ties.push(tie);
        self
    }
}

impl IntoFuture for SpawnAny<'_> {
    type Output = Result<AnyRef, SpawnError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;
    fn into_future(self) -> Self::IntoFuture {
        let Self { node, peer, behavior, args, schema, mut options, registration, timeout, ties, .. } = self;
        Box::pin(async move {
            if peer == *node.id() {
                // It is `init` that takes its time, and when it is over the process is gone.
                let shorter = timeout < options.init_timeout;
                options.init_timeout = options.init_timeout.min(timeout);
                let start = node.spawn_registered(&behavior, &args, options, registration).await;
                let process = start.map_err(|error| match error {
                    SpawnError::Start(StartError::InitTimeout(after)) if shorter => {
                        SpawnError::Timeout { behavior, node: peer, after }
                    }
                    error => error,
                })?;
                ties.into_iter().for_each(|tie| process.tie_here(tie));
                return Ok(process);
            }
            let router = node.router().ok_or_else(|| SpawnError::NoConnection(peer.clone()))?;
            let name = behavior.clone();
            let mut request = SpawnRequest::new(behavior, (args, schema), options, registration, timeout);
            request.ties = ties;
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
        any.schema = Some(Schema::of::<B>);
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

    /// The same, and watched from its start on: however soon it ends, that is told with its reason. OTP: `spawn_monitor/4`.
    ///
    /// # Errors
    /// [`SpawnError`]; then there is nothing to watch.
    pub async fn monitored(mut self) -> Result<(Ref<B>, Monitor), SpawnError> {
        let (id, (watcher, down)) = (self.any.node.fresh_monitor(), Monitor::news());
        self.any.ties.push(Tie::Watch(id, watcher));
        let process = self.await?;
        let monitor = Monitor::of(&process.erase(), id, down);
        Ok((process, monitor))
    }

    pub(super) fn detached(self) -> SpawnOn<'static, B> {
        let SpawnAny { node, peer, behavior, args, schema, options, registration, timeout, ties, .. } =
            self.any;
        let lifetime = PhantomData;
        let any =
            SpawnAny { node, lifetime, peer, behavior, args, schema, options, registration, timeout, ties };
        SpawnOn { any, encoded: self.encoded, behavior: PhantomData }
    }

    pub(super) fn tied(mut self, tie: Tie) -> Self {
        self.any = self.any.tied(tie);
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
