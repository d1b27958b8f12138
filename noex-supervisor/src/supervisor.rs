//! The local supervisor: its builder and its handle.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use noex_actors::{
    __private::Hub, AnyRef, Behavior, CallError, Clock, Events, ExitReason, Node, Pid, Ref, SpawnOptions,
    StartError, Subscription,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{
    actor::local::{Args, Call, Reply, Shared, SupervisorProcess},
    child_spec::{ChildSpec, check_ids},
    error::{ChildError, StartSupervisorError},
    event::SupervisorEvent,
    info::{ChildInfo, SupervisorExit, SupervisorStats},
    machine::supervision::{Scope, Settings},
    options::{AutoShutdown, Backoff, RestartIntensity, Strategy},
};

/// Starting and stopping take as long as children take; the end of the supervisor is told at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(24 * 3600);

type Listener<E> = Arc<Mutex<dyn FnMut(&E) + Send>>;

/// Configures a [`Supervisor`]. Clones share closures.
#[derive(Clone, Default)]
#[must_use]
pub struct SupervisorBuilder {
    name: Option<String>,
    strategy: Strategy,
    children: Vec<ChildSpec>,
    auto_shutdown: AutoShutdown,
    intensity: RestartIntensity,
    backoff: Backoff,
    listeners: Vec<Listener<SupervisorEvent>>,
}

impl SupervisorBuilder {
    /// A name on its node, which is also its id.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Whom the end of a child concerns. Default: [`Strategy::OneForOne`].
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// One more child, started after those before it.
    pub fn child(mut self, child: ChildSpec) -> Self {
        self.children.push(child);
        self
    }

    /// Several more children, in this order.
    pub fn children(mut self, children: impl IntoIterator<Item = ChildSpec>) -> Self {
        self.children.extend(children);
        self
    }

    /// It ends with the restart after `max_restarts` within `within`. Default: 3 in 5 s.
    pub fn restart_intensity(mut self, max_restarts: u32, within: Duration) -> Self {
        self.intensity = RestartIntensity { max_restarts, within };
        self
    }

    /// Whether it ends when significant children are gone. Default: [`AutoShutdown::Never`].
    pub fn auto_shutdown(mut self, auto_shutdown: AutoShutdown) -> Self {
        self.auto_shutdown = auto_shutdown;
        self
    }

    /// How long it waits before it tries a failed start again.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Calls `f` with every event from the start on: in order, off the supervisor's stack; must not block.
    pub fn on_event(mut self, f: impl FnMut(&SupervisorEvent) + Send + 'static) -> Self {
        self.listeners.push(Arc::new(Mutex::new(f)));
        self
    }

    /// Starts the supervisor and its children, in order; returns when all were started.
    ///
    /// # Errors
    /// [`StartSupervisorError`]; nothing that had started is left.
    ///
    /// # Cancel safety
    /// Dropped before it ends, what had started is killed.
    pub async fn start(self, node: &Node) -> Result<Supervisor, StartSupervisorError> {
        let Self { name, strategy, children, auto_shutdown, intensity, backoff, listeners } = self;
        check_ids(children.iter().map(|child| child.id.as_str()))?;
        let hub = Hub::new(node.control().clone());
        for listener in listeners {
            hub.on(move |event| (listener.lock())(event)).detach();
        }
        let id = name.clone().unwrap_or_else(|| next_id(node));
        let started = node.now();
        let shared =
            Arc::new(Shared { id, name: name.clone(), strategy, hub, exit: OnceLock::new(), started });
        let settings = Settings {
            strategy,
            auto_shutdown,
            intensity,
            backoff,
            pace: Duration::ZERO,
            scope: Scope::Local,
            unix_seconds: Clock::unix_seconds(),
        };
        let (tell, ready) = oneshot::channel();
        let args = Args { shared: Arc::clone(&shared), settings, children, ready: tell };
        let options = name.map_or_else(SpawnOptions::new, |name| SpawnOptions::new().name(name));
        let process =
            node.spawn::<SupervisorProcess>(args).options(options).await.map_err(|error| match error {
                StartError::Name(error) => StartSupervisorError::Name(error),
                _ => StartSupervisorError::NotRunning,
            })?;
        let guard = Abandoned(Some(process.clone()));
        let ready = ready.await;
        guard.keep();
        match ready {
            Ok(Ok(())) => Ok(Supervisor { process, shared }),
            Ok(Err(error)) => {
                process.monitor().await;
                Err(error)
            }
            Err(_closed) => Err(StartSupervisorError::NotRunning),
        }
    }
}

impl fmt::Debug for SupervisorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisorBuilder")
            .field("name", &self.name)
            .field("strategy", &self.strategy)
            .field("children", &self.children)
            .field("intensity", &self.intensity)
            .finish_non_exhaustive()
    }
}

/// Ids of supervisors without a name.
#[derive(Debug, Default)]
struct Ids(AtomicU64);

pub(crate) fn next_id(node: &Node) -> String {
    let ids = node.extension_or_init(Ids::default);
    let number = ids.0.fetch_add(1, Ordering::Relaxed) + 1;
    format!("supervisor_{number}_{:x}", node.incarnation().0)
}

/// A start that nobody waits for any more.
struct Abandoned(Option<Ref<SupervisorProcess>>);

impl Abandoned {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        if let Some(process) = self.0.take() {
            process.kill();
        }
    }
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
        self.instance(Call::StartChild(spec)).await
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
        let children = self.children().await?;
        children.into_iter().find(|child| child.id == id).ok_or_else(|| ChildError::NotFound(id.to_owned()))
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
