//! Starting processes: where, with which options, and what comes back.

mod options;
mod remote;

use std::{fmt, future::IntoFuture, sync::Arc};

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

pub use self::{
    options::SpawnOptions,
    remote::{SpawnAny, SpawnOn},
};
use crate::{
    Behavior, Node, Pid, Ref, StartError,
    host::{self, Start},
    launcher::Launcher,
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

fn place(node: &Node, placement: Placement) -> Launcher {
    let pool = node.pool();
    match placement {
        Placement::Parent => pool.here().unwrap_or_else(|| pool.round_robin()),
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
    let launcher = place(node, options.placement);
    let init_timeout = options.init_timeout;
    let mailbox = node.admit::<B>(options, parent)?;
    if let Some(parent) = &link {
        node.link(&mailbox.core.pid, parent);
    }
    let guard = Abandoned(Some(Ref::local(Arc::clone(&mailbox))));
    let (report, started) = oneshot::channel();
    let start = Box::new(Start { args, init_timeout, report, link });
    let placed = {
        let mailbox = Arc::clone(&mailbox);
        launcher.launch(Box::new(move || host::launch(mailbox, start)))
    };
    if !placed {
        drop(guard.keep());
        node.give_up(&mailbox);
        return Err(StartError::NotRunning);
    }
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
