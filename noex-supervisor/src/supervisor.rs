//! The handle of a local supervisor.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use noex_actors::{AnyRef, Behavior, CallError, Events, ExitReason, Node, Pid, Ref, Subscription};

use crate::{
    actor::local::{Call, Reply, Shared, SupervisorProcess, known::Known},
    builder::SupervisorBuilder,
    child_spec::ChildSpec,
    error::ChildError,
    event::SupervisorEvent,
    info::{ChildInfo, SupervisorExit, SupervisorStats},
};

/// Starting and stopping take as long as children take; the end of the supervisor is told at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Ids of supervisors without a name.
#[derive(Debug, Default)]
struct Ids(AtomicU64);

pub(crate) fn next_id(node: &Node) -> String {
    let ids = node.extension_or_init(Ids::default);
    let number = ids.0.fetch_add(1, Ordering::Relaxed) + 1;
    format!("supervisor_{number}_{:x}", node.incarnation().0)
}

/// A running supervisor on this node. Cheap to clone; dropping it stops nothing.
///
/// It is a process: it can be monitored and nested, and is stopped with its node. Children do not outlive it: however it
/// ends, they are stopped or, if it was killed, killed.
#[derive(Clone)]
pub struct Supervisor {
    process: Ref<SupervisorProcess>,
    shared: Arc<Shared>,
}

impl Supervisor {
    pub(crate) fn new(process: Ref<SupervisorProcess>, shared: Arc<Shared>) -> Self {
        Self { process, shared }
    }

    /// The supervisor of that name on the node, at whatever depth of a tree, if it runs.
    #[must_use]
    pub fn whereis(node: &Node, name: &str) -> Option<Self> {
        Known::of(node).supervisor(node.whereis(name)?)
    }

    /// Configures a supervisor.
    pub fn builder() -> SupervisorBuilder {
        SupervisorBuilder::default()
    }

    /// Its name, or the id it was given.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> &Pid {
        self.process.pid()
    }

    /// Its process, as any other.
    #[must_use]
    pub fn erase(&self) -> AnyRef {
        self.process.erase()
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.shared.exit.get().is_none()
    }

    async fn instance(&self, call: Call) -> Result<AnyRef, ChildError> {
        let map = |reply| match reply {
            Reply::Instance(outcome) => Some(outcome),
            _ => None,
        };
        self.process.call_map(call, map).timeout(PATIENCE).await?
    }

    /// Adds a child behind the others and starts it.
    ///
    /// # Errors
    /// [`ChildError`]; the child is not kept.
    ///
    /// # Cancel safety
    /// Dropped before it ends, the child may still come.
    pub async fn start_child(&self, spec: ChildSpec) -> Result<AnyRef, ChildError> {
        self.instance(Call::StartChild(Box::new(spec))).await
    }

    /// Adds a child made from the template and starts it. Its id is `child_1`, `child_2` and so on; the arguments are kept
    /// for its restarts. For [`Strategy::SimpleOneForOne`](crate::Strategy::SimpleOneForOne).
    ///
    /// # Errors
    /// [`ChildError`]; the child is not kept. [`SpecError::InvalidSimpleOneForOne`](crate::SpecError) when there is no
    /// template, [`ChildError::WrongBehavior`] when it is of another behavior.
    ///
    /// # Cancel safety
    /// Dropped before it ends, the child may still come.
    pub async fn start_instance<B: Behavior>(&self, args: B::Args) -> Result<Ref<B>, ChildError>
    where
        B::Args: Clone + Sync,
    {
        let spec = ChildSpec::new::<B>(String::new(), args);
        Ok(self.instance(Call::StartInstance(Box::new(spec))).await?.typed_local()?)
    }

    /// The instance of now of a child that is a supervisor.
    ///
    /// # Errors
    /// [`ChildError::NotFound`], [`ChildError::NotRunning`] between two instances, [`ChildError::WrongBehavior`].
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn supervisor(&self, id: &str) -> Result<Self, ChildError> {
        let map = |reply| match reply {
            Reply::Supervisor(outcome) => Some(outcome),
            _ => None,
        };
        self.process.call_map(Call::Supervisor(id.to_owned()), map).await?
    }

    /// Stops a child and removes it. OTP: `terminate_child` and `delete_child`.
    ///
    /// # Errors
    /// [`ChildError::NotFound`], [`ChildError::Unreachable`].
    ///
    /// # Cancel safety
    /// Dropped before it ends, the child is stopped all the same.
    pub async fn terminate_child(&self, id: &str) -> Result<(), ChildError> {
        let map = |reply| match reply {
            Reply::Removed(outcome) => Some(outcome),
            _ => None,
        };
        self.process.call_map(Call::TerminateChild(id.to_owned()), map).timeout(PATIENCE).await?
    }

    /// Stops a child and starts it again. Does not count for the intensity.
    ///
    /// # Errors
    /// [`ChildError`]; a child that does not start is tried again with backoff.
    ///
    /// # Cancel safety
    /// Dropped before it ends, the child is restarted all the same.
    pub async fn restart_child(&self, id: &str) -> Result<AnyRef, ChildError> {
        self.instance(Call::RestartChild(id.to_owned())).await
    }

    /// The instance of now.
    ///
    /// # Errors
    /// [`ChildError::NotFound`], [`ChildError::NotRunning`] between two instances, [`ChildError::WrongBehavior`].
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn child<B: Behavior>(&self, id: &str) -> Result<Ref<B>, ChildError> {
        Ok(self.instance(Call::Instance(id.to_owned())).await?.typed_local()?)
    }

    /// What is known of one child.
    ///
    /// # Errors
    /// [`ChildError::NotFound`], [`ChildError::Unreachable`].
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn child_info(&self, id: &str) -> Result<ChildInfo, ChildError> {
        let map = |reply| match reply {
            Reply::Child(outcome) => Some(outcome),
            _ => None,
        };
        Ok(*self.process.call_map(Call::Child(id.to_owned()), map).await??)
    }

    /// All children in start order. OTP: `which_children`.
    ///
    /// # Errors
    /// [`CallError`] when the supervisor ended.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn children(&self) -> Result<Vec<ChildInfo>, CallError> {
        let map = |reply| match reply {
            Reply::Children(children) => Some(children),
            _ => None,
        };
        self.process.call_map(Call::Children, map).await
    }

    /// How many children there are.
    ///
    /// # Errors
    /// [`CallError`] when the supervisor ended.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn count_children(&self) -> Result<usize, CallError> {
        Ok(self.stats().await?.child_count)
    }

    /// Figures.
    ///
    /// # Errors
    /// [`CallError`] when the supervisor ended.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn stats(&self) -> Result<SupervisorStats, CallError> {
        let map = |reply| match reply {
            Reply::Stats(stats) => Some(*stats),
            _ => None,
        };
        self.process.call_map(Call::Stats, map).await
    }

    /// Calls `f` with every event from now on.
    pub fn on_event(&self, f: impl FnMut(&SupervisorEvent) + Send + 'static) -> Subscription {
        self.shared.hub.on(f)
    }

    /// Events from now on, as a stream.
    #[must_use]
    pub fn events(&self) -> Events<SupervisorEvent> {
        self.shared.hub.events()
    }

    /// Stops the children, last one first, and then the supervisor. Returns when nothing is left.
    ///
    /// # Errors
    /// None for a supervisor that is on this node, whether it still runs or not.
    ///
    /// # Cancel safety
    /// Dropped before it ends, the supervisor stops all the same.
    pub async fn stop(&self) -> Result<(), CallError> {
        self.process.stop(ExitReason::Shutdown).timeout(PATIENCE).await
    }

    /// Waits until it ends and tells how.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn wait(&self) -> SupervisorExit {
        let down = self.process.monitor().await;
        self.shared.exit.get().cloned().unwrap_or(SupervisorExit::Stopped(down.reason))
    }
}

impl AsRef<Pid> for Supervisor {
    fn as_ref(&self) -> &Pid {
        self.pid()
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Supervisor({} {})", self.shared.id, self.pid())
    }
}
