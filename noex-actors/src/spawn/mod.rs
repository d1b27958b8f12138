//! Starting processes: where, with which options, and what comes back.

mod ahead;
mod options;
mod remote;
mod tied;

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

pub use self::{
    ahead::WatchAhead,
    options::SpawnOptions,
    remote::{SpawnAny, SpawnOn},
    tied::SpawnMonitorOn,
};
use crate::{
    Behavior, Node, Pid, Ref, StartError,
    host::Start,
    launcher::Launcher,
    mailbox::Mailbox,
    process::{Process, ProcessCore},
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
    /// An arbiter for this process alone: for what blocks. A new one, or that of another such process that ended; what that one
    /// started on its own arbiter and left behind is there still.
    Dedicated,
}

/// A process about to start: `IntoFuture<Output = Result<Ref<B>, StartError>>`.
#[must_use = "nothing starts until it is awaited"]
pub struct Spawn<'a, B: Behavior> {
    node: &'a Node,
    args: B::Args,
    options: SpawnOptions,
    parent: u64,
    link: Option<Box<Pid>>,
}

impl<'a, B: Behavior> Spawn<'a, B> {
    pub(crate) fn new(node: &'a Node, args: B::Args) -> Self {
        Self { node, args, options: B::spawn_options(), parent: 0, link: None }
    }

    pub(crate) fn linked_to(mut self, pid: &Pid) -> Self {
        self.link = Some(Box::new(pid.clone()));
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
    pub(crate) fn into_future_owned(self) -> Starting<B> {
        let Self { node, args, options, parent, link } = self;
        let asked = Asked { node: node.clone(), args, options, parent, link };
        Starting { asked: Some(asked), process: None, link: None }
    }
}

impl<B: Behavior> IntoFuture for Spawn<'_, B> {
    type Output = Result<Ref<B>, StartError>;
    type IntoFuture = Starting<B>;
    fn into_future(self) -> Self::IntoFuture {
        self.into_future_owned()
    }
}

impl<B: Behavior> fmt::Debug for Spawn<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawn").field("options", &self.options).finish_non_exhaustive()
    }
}

fn place(node: &Node, placement: Placement, core: &ProcessCore) -> Launcher {
    let pool = node.pool();
    match placement {
        Placement::Parent => pool.here().unwrap_or_else(|| pool.round_robin()),
        Placement::RoundRobin => pool.round_robin(),
        Placement::LeastLoaded => pool.least_loaded(),
        Placement::Pinned(at) => pool.pinned(at),
        Placement::Dedicated => match pool.dedicated() {
            Some(launcher) => {
                let (node, own) = (node.clone(), launcher.clone());
                core.at_exit(Box::new(move |_end| node.pool().give_back(own)));
                launcher
            }
            None => pool.least_loaded(),
        },
    }
}

/// A process that starts: `Future<Output = Result<Ref<B>, StartError>>`, from its first poll on. Dropped before it ends, the
/// process is killed: no orphan stays.
#[must_use = "nothing starts until it is awaited"]
pub struct Starting<B: Behavior> {
    asked: Option<Asked<B>>,
    process: Option<Arc<Mailbox<B>>>,
    link: Option<Box<Pid>>,
}

struct Asked<B: Behavior> {
    node: Node,
    args: B::Args,
    options: SpawnOptions,
    parent: u64,
    link: Option<Box<Pid>>,
}

impl<B: Behavior> Starting<B> {
    fn begin(&mut self, asked: Asked<B>) -> Result<(), StartError> {
        let Asked { node, args, options, parent, link } = asked;
        let (placement, init_timeout) = (options.placement, options.init_timeout);
        let mailbox = node.admit::<B>(options, parent)?;
        let launcher = place(&node, placement, &mailbox.core);
        if let Some(parent) = &link {
            node.link(&mailbox.core.pid, &**parent);
        }
        self.link.clone_from(&link);
        let start = Start { mailbox: Arc::clone(&mailbox), args, init_timeout, link };
        launcher.launch(Box::new(start));
        self.process = Some(mailbox);
        Ok(())
    }
}

// Nothing of it is pinned.
impl<B: Behavior> Unpin for Starting<B> {}

impl<B: Behavior> Future for Starting<B> {
    type Output = Result<Ref<B>, StartError>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(asked) = self.asked.take() {
            self.begin(asked)?;
        }
        let Some(process) = &self.process else { return Poll::Pending };
        let Poll::Ready(outcome) = process.core.poll_started(cx.waker()) else { return Poll::Pending };
        let Some(process) = self.process.take() else { return Poll::Pending };
        Poll::Ready(outcome.map(|()| Ref::local(process)))
    }
}

impl<B: Behavior> Drop for Starting<B> {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            // Whoever gives the start up does not die of it, whether `init` was over already or not.
            if let Some(parent) = &self.link {
                process.core.node.unlink(&process.core.pid, &**parent);
            }
            process.kill();
        }
    }
}

impl<B: Behavior> fmt::Debug for Starting<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Starting").field("begun", &self.asked.is_none()).finish()
    }
}
