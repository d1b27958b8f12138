//! Configures and starts a distributed supervisor.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use noex_actors::{__private::Hub, Clock, NameError, NodeId, SpawnOptions, StartError};
use noex_net::{Cluster, ClusterStatus};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{
    desk::Desk,
    event::DistributedSupervisorEvent,
    handle::DistributedSupervisor,
    partition::{PartitionPolicy, Partitions},
    spec::{DistributedChildSpec, NodeSelector},
    standby::Standby,
    template::DistributedChildTemplate,
};
use crate::{
    actor::distributed::{Args, DistributedProcess, Identity},
    child_spec::{check_id, check_ids, check_template},
    error::{SpecError, StartSupervisorError},
    machine::supervision::{Scope, Settings},
    options::{AutoShutdown, Backoff, RestartIntensity, Strategy},
    supervisor::next_id,
};

type Listener = Arc<Mutex<dyn FnMut(&DistributedSupervisorEvent) + Send>>;

/// Closures that hear every event of one supervisor.
pub(crate) struct Listeners(Vec<Listener>);

impl Listeners {
    pub(crate) fn subscribe(self, hub: &Hub<DistributedSupervisorEvent>) {
        for listener in self.0 {
            hub.on(move |event| (listener.lock())(event)).detach();
        }
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listeners({})", self.0.len())
    }
}

/// Configures a [`DistributedSupervisor`]. Clones share closures.
#[derive(Clone)]
#[must_use]
pub struct DistributedSupervisorBuilder {
    name: Option<String>,
    strategy: Strategy,
    selector: NodeSelector,
    children: Vec<DistributedChildSpec>,
    template: Option<DistributedChildTemplate>,
    auto_shutdown: AutoShutdown,
    intensity: RestartIntensity,
    backoff: Backoff,
    restart_rate: u32,
    partition_policy: PartitionPolicy,
    voters: BTreeSet<NodeId>,
    listeners: Vec<Listener>,
    /// What the clock says to it, in place of the real one.
    unix_seconds: Option<u64>,
}

impl Default for DistributedSupervisorBuilder {
    fn default() -> Self {
        Self {
            name: None,
            strategy: Strategy::default(),
            selector: NodeSelector::default(),
            children: Vec::new(),
            template: None,
            auto_shutdown: AutoShutdown::default(),
            intensity: RestartIntensity::default(),
            backoff: Backoff::default(),
            restart_rate: 250,
            partition_policy: PartitionPolicy::default(),
            voters: BTreeSet::new(),
            listeners: Vec::new(),
            unix_seconds: None,
        }
    }
}

impl DistributedSupervisorBuilder {
    /// A name in the whole cluster, which is also its id. One supervisor at a time has it; the next one of that name
    /// adopts the children that are alive. Without a name nobody does, and they stop when this supervisor is gone.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Whom the end of a child, or the loss of its node, concerns. Default: [`Strategy::OneForOne`].
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Where children start that say nothing of their own. Default: [`NodeSelector::LocalFirst`].
    pub fn node_selector(mut self, selector: impl Into<NodeSelector>) -> Self {
        self.selector = selector.into();
        self
    }

    /// One more child, started after those before it.
    pub fn child(mut self, child: DistributedChildSpec) -> Self {
        self.children.push(child);
        self
    }

    /// Several more children, in this order.
    pub fn children(mut self, children: impl IntoIterator<Item = DistributedChildSpec>) -> Self {
        self.children.extend(children);
        self
    }

    /// What [`Strategy::SimpleOneForOne`] makes its children from; other strategies refuse it.
    pub fn child_template(mut self, template: DistributedChildTemplate) -> Self {
        self.template = Some(template);
        self
    }

    /// Whether it ends when significant children are gone. Default: [`AutoShutdown::Never`].
    pub fn auto_shutdown(mut self, auto_shutdown: AutoShutdown) -> Self {
        self.auto_shutdown = auto_shutdown;
        self
    }

    /// It ends with the restart after `max_restarts` within `within`. Default: 3 in 5 s. The loss of a node is one
    /// restart, however many children it had.
    pub fn restart_intensity(mut self, max_restarts: u32, within: Duration) -> Self {
        self.intensity = RestartIntensity { max_restarts, within };
        self
    }

    /// How long it waits before it tries a failed start again.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// How many children of lost nodes are started per second. Default: 250. At least 1.
    pub fn restart_rate(mut self, per_second: u32) -> Self {
        self.restart_rate = per_second.max(1);
        self
    }

    /// What it does while a part of the cluster is out of reach. Default: [`PartitionPolicy::Failover`].
    pub fn partition_policy(mut self, policy: PartitionPolicy) -> Self {
        self.partition_policy = policy;
        self
    }

    /// Of whom [`PartitionPolicy::Majority`] wants more than half, whether they were ever seen or not. Default: every member
    /// that was connected and did not say goodbye, of which a node that just started knows only those that it met.
    pub fn voters(mut self, voters: impl IntoIterator<Item = NodeId>) -> Self {
        self.voters = voters.into_iter().collect();
        self
    }

    /// Calls `f` with every event of this supervisor from the start on: in order, off its stack; must not block.
    pub fn on_event(mut self, f: impl FnMut(&DistributedSupervisorEvent) + Send + 'static) -> Self {
        self.listeners.push(Arc::new(Mutex::new(f)));
        self
    }

    /// For tests: its clock stands still there.
    #[doc(hidden)]
    pub fn __unix_seconds(mut self, seconds: u64) -> Self {
        self.unix_seconds = Some(seconds);
        self
    }

    fn check(&self) -> Result<(), SpecError> {
        if let Some(name) = &self.name {
            check_id(name)?;
        }
        check_template(self.strategy, self.template.is_some(), self.children.is_empty())?;
        check_ids(self.children.iter().map(|child| child.id.as_str()))?;
        self.children.iter().try_for_each(DistributedChildSpec::check)
    }

    /// Starts the supervisor on this node and its children, in order; returns when all were started, adopted or wait for
    /// their node. Before it, every connected node is asked who has its name: where one of them names a supervisor that this node does
    /// not know of yet, that one is waited for, and so is every node that one of them is connected to and this one is not yet, at most for the time in
    /// which a silent node is found dead. Nodes that are not connected by then get children later, through failover only.
    ///
    /// # Errors
    /// [`StartSupervisorError`]; what had started is stopped again. [`StartSupervisorError::AlreadyRunning`] carries
    /// the supervisor that has the name.
    ///
    /// # Cancel safety
    /// Dropped before it ends, the supervisor may still come.
    pub async fn start(self, cluster: &Cluster) -> Result<DistributedSupervisor, StartSupervisorError> {
        self.check()?;
        if cluster.status() != ClusterStatus::Running {
            return Err(StartSupervisorError::NotRunning);
        }
        let id = self.name.clone().unwrap_or_else(|| next_id(cluster));
        if let Some(running) = DistributedSupervisor::whereis(cluster, &id) {
            return Err(StartSupervisorError::AlreadyRunning(running));
        }
        // The same behavior again changes nothing; another one of that name has no business there.
        let registered = cluster.behaviors().register::<DistributedProcess>();
        registered.map_err(|_taken| StartSupervisorError::NotRunning)?;
        let desk = Desk::of(cluster);
        let (tell, mut ready) = oneshot::channel();
        let ticket = desk.deposit(self.args(id.clone(), cluster, tell));
        let options = SpawnOptions::new().init_timeout(longest_claim(cluster)).vital();
        let spawned = cluster.spawn::<DistributedProcess>(ticket).options(options).await;
        let handle = |process| DistributedSupervisor::new(process, &id, cluster);
        match spawned {
            Ok(process) => match ready.await {
                Ok(Ok(())) => Ok(handle(process)),
                Ok(Err(error)) => {
                    process.monitor().await;
                    Err(error)
                }
                Err(_closed) => Err(StartSupervisorError::NotRunning),
            },
            Err(StartError::Init(_)) => Err(match ready.try_recv() {
                Ok(Err(StartSupervisorError::Name(NameError::Taken { holder, .. }))) => {
                    StartSupervisorError::AlreadyRunning(handle(cluster.resolve(&holder)))
                }
                Ok(Err(error)) => error,
                Ok(Ok(())) | Err(_) => StartSupervisorError::NotRunning,
            }),
            Err(_) => {
                drop(desk.collect(ticket));
                Err(StartSupervisorError::NotRunning)
            }
        }
    }

    /// Starts the supervisor on this node as soon as no other node of the cluster runs it, with the children that the last one left:
    /// called on several nodes, with the same name and children, one of them owns the supervisor and the others wait for its end.
    /// Which node that is says the [`Standby`]. A start that fails is tried again, later each time. Where a supervisor ended
    /// because its children ended too often, this node gives up and another one tries.
    ///
    /// # Errors
    /// [`SpecError`]; without a name as well, since nobody could wait for it.
    pub fn standby(self, cluster: &Cluster) -> Result<Standby, SpecError> {
        self.check()?;
        if self.name.is_none() {
            return Err(SpecError::InvalidId {
                id: String::new(),
                reason: "what is waited for needs a name",
            });
        }
        Ok(Standby::begin(self, cluster))
    }

    fn args(
        self,
        id: String,
        cluster: &Cluster,
        ready: oneshot::Sender<Result<(), StartSupervisorError>>,
    ) -> Args {
        let settings = Settings {
            strategy: self.strategy,
            auto_shutdown: self.auto_shutdown,
            intensity: self.intensity,
            backoff: self.backoff,
            pace: Duration::from_secs(1) / self.restart_rate,
            scope: Scope::Cluster,
            unix_seconds: self.unix_seconds.unwrap_or_else(Clock::unix_seconds),
        };
        let detection = cluster.config().detection_time();
        let alone = self.name.is_none() || self.template.is_some();
        let partitions = Partitions { policy: self.partition_policy, voters: self.voters, detection, alone };
        let identity = Identity {
            id,
            name: self.name,
            strategy: self.strategy,
            selector: self.selector,
            settings,
            partitions,
            started: cluster.now(),
        };
        let (children, template) = (self.children, self.template);
        Args { identity, children, template, listeners: Listeners(self.listeners), ready }
    }
}

/// Longer than it can take to find out who has a name.
fn longest_claim(cluster: &Cluster) -> Duration {
    cluster.config().detection_time().saturating_mul(5).saturating_add(Duration::from_secs(5))
}

impl fmt::Debug for DistributedSupervisorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DistributedSupervisorBuilder")
            .field("name", &self.name)
            .field("strategy", &self.strategy)
            .field("selector", &self.selector)
            .field("children", &self.children)
            .field("intensity", &self.intensity)
            .finish_non_exhaustive()
    }
}
