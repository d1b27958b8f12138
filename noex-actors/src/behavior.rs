//! What a user writes: the `Behavior` trait, and what it takes to be reached from another node.
//!
//! `#[behavior]` writes all of this from an `impl` block; the traits are the layer below it and may be implemented by
//! hand. Futures of handlers never leave their arbiter: they need not be `Send`, nor the state.

use std::future::Future;

use serde::{Serialize, de::DeserializeOwned};

use crate::{Caller, Context, ExitReason, Info, RawRef, SpawnOptions};

/// A process: its messages, its state and what it does with them. OTP: a `gen_server` callback module.
///
/// Implement each function with a plain `async fn`. Leave with [`Context::stop`].
pub trait Behavior: Sized + 'static {
    /// What `init` takes.
    type Args: Send + 'static;
    /// Messages that want a reply.
    type Call: Send + 'static;
    /// The replies.
    type Reply: Send + 'static;
    /// Messages without a reply.
    type Cast: Send + 'static;
    /// Messages to itself: timers, notifiers, tasks. [`Infallible`](std::convert::Infallible) when unused.
    type Info: Send + 'static;
    /// What `Ref<Self>` derefs to: typed stubs, or [`RawRef<Self>`] without any.
    type Client: Client<Self>;

    /// Makes the state, on the arbiter where it will live. Runs before any message.
    fn init(args: Self::Args, cx: &mut Context<Self>) -> impl Future<Output = Result<Self, ExitReason>>;

    /// Handles a call. Answer with `from`, now or later; dropping it fails the caller at once.
    fn handle_call(
        &mut self,
        call: Self::Call,
        from: Caller<Self::Reply>,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = ()>;

    /// Handles a cast.
    fn handle_cast(&mut self, cast: Self::Cast, cx: &mut Context<Self>) -> impl Future<Output = ()>;

    /// Handles everything else. By default it is dropped with a debug log.
    fn handle_info(&mut self, info: Info<Self::Info>, cx: &mut Context<Self>) -> impl Future<Output = ()> {
        tracing::debug!(pid = %cx.pid(), kind = info.kind(), "unexpected info dropped");
        async {}
    }

    /// Runs what [`Context::continue_with`] asked for, before the next message. OTP: `handle_continue`.
    fn handle_continue(&mut self, next: Self::Info, cx: &mut Context<Self>) -> impl Future<Output = ()> {
        self.handle_info(Info::User(next), cx)
    }

    /// Last words. Not after a panic or a kill. OTP: runs after a crash too.
    fn terminate(&mut self, reason: &ExitReason, cx: &mut Context<Self>) -> impl Future<Output = ()> {
        let _ = (reason, cx);
        async {}
    }

    /// Defaults of every spawn of this behavior.
    fn spawn_options() -> SpawnOptions {
        SpawnOptions::new()
    }
}

/// What travels between nodes. Implemented for everything that serde can take there and back.
pub trait Wire: Serialize + DeserializeOwned + Send + 'static {}
impl<T: Serialize + DeserializeOwned + Send + 'static> Wire for T {}

/// A behavior whose processes can be reached, and started, from other nodes.
pub trait RemoteBehavior: Behavior<Args: Wire, Call: Wire, Reply: Wire, Cast: Wire> {
    /// Its name on the wire: the same on every node that knows it.
    const NAME: &'static str;
}

/// Typed stubs over a [`RawRef`]: what a `Ref<B>` derefs to.
pub trait Client<B: Behavior>: Send + Sync + 'static {
    /// Wraps a reference.
    fn new(raw: RawRef<B>) -> Self;
    /// The reference inside.
    fn raw(&self) -> &RawRef<B>;
}

impl<B: Behavior> Client<B> for RawRef<B> {
    fn new(raw: RawRef<B>) -> Self {
        raw
    }
    fn raw(&self) -> &RawRef<B> {
        self
    }
}
