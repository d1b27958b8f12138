//! Configures and starts a local supervisor.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use noex_actors::{__private::Hub, Clock, Node, Ref, SpawnOptions, StartError};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{
    actor::local::{Args, Shared, SupervisorProcess},
    child_spec::{ChildSpec, ChildTemplate, check_ids, check_template},
    error::{SpecError, StartSupervisorError},
    event::SupervisorEvent,
    machine::supervision::{Scope, Settings},
    options::{AutoShutdown, Backoff, RestartIntensity, Strategy},
    supervisor::{Supervisor, next_id},
};

type Listener<E> = Arc<Mutex<dyn FnMut(&E) + Send>>;

/// Configures a [`Supervisor`]. Clones share closures.
#[derive(Clone, Default)]
#[must_use]
pub struct SupervisorBuilder {
    name: Option<String>,
    strategy: Strategy,
    children: Vec<ChildSpec>,
    template: Option<ChildTemplate>,
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

    /// A supervisor below this one, restarted and stopped like any other child:
    /// [`ChildSpec::supervisor`] without further settings.
    pub fn supervisor(self, id: impl Into<String>, sub: Self) -> Self {
        self.child(ChildSpec::supervisor(id, sub))
    }

    /// What [`Strategy::SimpleOneForOne`] makes its children from; other strategies refuse it.
    pub fn child_template(mut self, template: ChildTemplate) -> Self {
        self.template = Some(template);
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

    fn check(&self) -> Result<(), SpecError> {
        check_template(self.strategy, self.template.is_some(), self.children.is_empty())?;
        check_ids(self.children.iter().map(|child| child.id.as_str()))
    }

    /// Starts the supervisor and its children, in order; returns when all were started.
    ///
    /// # Errors
    /// [`StartSupervisorError`]; nothing that had started is left.
    ///
    /// # Cancel safety
    /// Dropped before it ends, what had started is killed.
    pub async fn start(self, node: &Node) -> Result<Supervisor, StartSupervisorError> {
        self.check()?;
        let Self { name, strategy, children, template, auto_shutdown, intensity, backoff, listeners } = self;
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
        let args = Args { shared: Arc::clone(&shared), settings, children, template, ready: tell };
        let options = name.map_or_else(SpawnOptions::new, |name| SpawnOptions::new().name(name)).vital();
        let process =
            node.spawn::<SupervisorProcess>(args).options(options).await.map_err(|error| match error {
                StartError::Name(error) => StartSupervisorError::Name(error),
                _ => StartSupervisorError::NotRunning,
            })?;
        let guard = Abandoned(Some(process.clone()));
        let ready = ready.await;
        guard.keep();
        match ready {
            Ok(Ok(())) => Ok(Supervisor::new(process, shared)),
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
