//! Processes on a node given by its id that are watched or linked from their start on.

use std::{fmt, future::IntoFuture, time::Duration};

use futures_util::future::LocalBoxFuture;

use super::{SpawnOn, SpawnOptions};
use crate::{
    Behavior, Context, MonitorRef, NodeId, Ref, Registration, RemoteBehavior, SpawnError, route::Tie,
};

impl<B: Behavior> Context<B> {
    /// Starts a process on a node given by its id, linked to this one: neither survives an abnormal end of the other, however
    /// soon that is. A start that fails is the error of the spawn alone. OTP: `spawn_link/4`.
    pub fn spawn_link_on<C: RemoteBehavior>(&mut self, peer: &NodeId, args: C::Args) -> SpawnOn<'_, C> {
        SpawnOn::new(self.node(), peer, &args).tied(Tie::Link(self.pid().clone()))
    }

    /// Starts a process on a node given by its id, watched by this one: its end, however soon, is told with its reason, as
    /// [`Info::Down`](crate::Info::Down). OTP: `spawn_monitor/4`.
    pub fn spawn_monitor_on<C: RemoteBehavior>(
        &mut self,
        peer: &NodeId,
        args: C::Args,
    ) -> SpawnMonitorOn<'_, B, C> {
        let node = self.node();
        let id = node.fresh_monitor();
        let spawn = SpawnOn::new(node, peer, &args).tied(Tie::Watch(id, self.watcher()));
        SpawnMonitorOn { spawn: spawn.detached(), id, cx: self }
    }
}

/// A process about to start, watched by another: `IntoFuture<Output = Result<(Ref<C>, MonitorRef), SpawnError>>`.
#[must_use = "nothing starts until it is awaited"]
pub struct SpawnMonitorOn<'a, B: Behavior, C> {
    cx: &'a mut Context<B>,
    spawn: SpawnOn<'static, C>,
    id: u64,
}

impl<B: Behavior, C: RemoteBehavior> SpawnMonitorOn<'_, B, C> {
    /// Its name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.spawn = self.spawn.name(name);
        self
    }

    /// Where its name is registered.
    pub fn register(mut self, registration: Registration) -> Self {
        self.spawn = self.spawn.register(registration);
        self
    }

    /// All options at once. Placement is for the other node to decide.
    pub fn options(mut self, options: SpawnOptions) -> Self {
        self.spawn = self.spawn.options(options);
        self
    }

    /// How long to wait for the answer. Default 10 s.
    pub fn timeout(mut self, after: Duration) -> Self {
        self.spawn = self.spawn.timeout(after);
        self
    }
}

impl<'a, B: Behavior, C: RemoteBehavior> IntoFuture for SpawnMonitorOn<'a, B, C> {
    type Output = Result<(Ref<C>, MonitorRef), SpawnError>;
    type IntoFuture = LocalBoxFuture<'a, Self::Output>;
    fn into_future(self) -> Self::IntoFuture {
        let Self { cx, spawn, id } = self;
        Box::pin(async move {
            let process = spawn.await?;
            // Its end may be in the mailbox: that is looked at later.
            let monitor = cx.watches(id, process.pid());
            Ok((process, monitor))
        })
    }
}

impl<B: Behavior, C> fmt::Debug for SpawnMonitorOn<'_, B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpawnMonitorOn").field("watch", &self.id).finish_non_exhaustive()
    }
}
