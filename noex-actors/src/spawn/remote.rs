//! Starting processes by the name of their behavior, here or on another node.

use std::{future::IntoFuture, marker::PhantomData, time::Duration};

use futures_util::future::BoxFuture;

use crate::{
    AnyRef, Node, NodeId, Payload, Ref, Registration, RemoteBehavior, SpawnError, SpawnOptions,
    payload::encode_into,
    route::SpawnRequest,
    schema::{Schema, SchemaOf},
};

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
    schema: Option<SchemaOf>,
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
            schema: None,
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
        let Self { node, peer, behavior, args, schema, options, registration, timeout } = self;
        let node = node.clone();
        Box::pin(async move {
            if peer == *node.id() {
                return node.spawn_registered(&behavior, &args, options, registration).await;
            }
            let router = node.router().ok_or_else(|| SpawnError::NoConnection(peer.clone()))?;
            let name = behavior.clone();
            let request = SpawnRequest::new(behavior, (args, schema), options, registration, timeout);
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
