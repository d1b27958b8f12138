//! The handle of a distributed supervisor: the same on its own node and on every other.

use std::{fmt, sync::Arc, time::Duration};

use actix_rt::{Arbiter, System};
use noex_actors::{
    __private::Hub, AnyRef, CallError, Events, ExitReason, NameError, Node, Pid, Ref, RemoteBehavior,
    Subscription,
};
use noex_net::Cluster;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    builder::DistributedSupervisorBuilder,
    desk::{Desk, SupervisorTotals},
    event::DistributedSupervisorEvent,
    spec::DistributedChildSpec,
    stats::DistributedSupervisorStats,
    views::{self, PREFIX, SupervisorView},
};
use crate::{
    actor::distributed::{
        DistributedProcess,
        messages::{Call, Cast, Reply},
    },
    error::ChildError,
    info::{ChildInfo, SupervisorExit},
    supervisor::PATIENCE,
};

/// A running distributed supervisor, on this node or another. Cheap to clone; may be sent in a message; dropping it stops
/// nothing.
///
/// It keeps its children alive across the nodes of the cluster: each exactly once. A child that ends is started again,
/// the children of a lost node on other nodes. When the node of the supervisor itself is lost, its children run on, and
/// the next supervisor that is started under its name, anywhere, adopts them. Without a name nobody can: they stop after as long as
/// it takes to find a silent node dead. With [`Strategy::OneForAll`] and
/// [`Strategy::RestForOne`] it starts those anew whom a missing child concerns; children of a template it stops, since nobody
/// knows their arguments any more.
///
/// [`Strategy::OneForAll`]: crate::Strategy::OneForAll
/// [`Strategy::RestForOne`]: crate::Strategy::RestForOne
#[derive(Clone)]
pub struct DistributedSupervisor {
    process: Ref<DistributedProcess>,
    id: Arc<str>,
    /// What the node of the supervisor, or of who looked it up, keeps.
    desk: Option<Arc<Desk>>,
}

impl DistributedSupervisor {
    pub(crate) fn new(process: Ref<DistributedProcess>, id: &str, node: &Node) -> Self {
        Self { process, id: id.into(), desk: Some(Desk::of(node)) }
    }

    /// Configures a supervisor.
    pub fn builder() -> DistributedSupervisorBuilder {
        DistributedSupervisorBuilder::default()
    }

    /// The supervisor of that name (or id), wherever it runs, if there is one.
    #[must_use]
    pub fn whereis(cluster: &Cluster, name: &str) -> Option<Self> {
        Self::lookup(cluster, name).ok()
    }

    /// The supervisor of that name (or id), wherever it runs.
    ///
    /// # Errors
    /// [`NameError::NotFound`].
    pub fn lookup(cluster: &Cluster, name: &str) -> Result<Self, NameError> {
        let pid = cluster.global().pid(&format!("{PREFIX}{name}"));
        let pid = pid.ok_or_else(|| NameError::NotFound(name.to_owned()))?;
        Ok(Self::new(cluster.resolve(&pid), name, cluster))
    }

    /// Calls `f` with every event of the supervisors that run on this node.
    pub fn on_lifecycle_event(
        cluster: &Cluster,
        f: impl FnMut(&DistributedSupervisorEvent) + Send + 'static,
    ) -> Subscription {
        Desk::of(cluster).hub.on(f)
    }

    /// Events of the supervisors that run on this node, as a stream.
    #[must_use]
    pub fn lifecycle_events(cluster: &Cluster) -> Events<DistributedSupervisorEvent> {
        Desk::of(cluster).hub.events()
    }

    /// The supervisors of the whole cluster, as this node last saw them; [`views`](Self::views) asks their owners.
    #[must_use]
    pub fn known(cluster: &Cluster) -> Vec<SupervisorView> {
        views::known(cluster)
    }

    /// The supervisors of the whole cluster. Each owner is asked; of those who do not answer within `timeout` it is the
    /// last known view, with `true` for stale.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn views(cluster: &Cluster, timeout: Duration) -> Vec<(SupervisorView, bool)> {
        views::ask(cluster, timeout).await
    }

    /// What the supervisors of this node did so far.
    #[must_use]
    pub fn totals(cluster: &Cluster) -> SupervisorTotals {
        Desk::of(cluster).totals()
    }

    /// Its name, or the id it was given.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
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

    async fn instance(&self, call: Call, timeout: Duration) -> Result<AnyRef, ChildError> {
        let map = |reply| match reply {
            Reply::Instance(outcome) => Some(outcome),
            _ => None,
        };
        let outcome = self.process.call_map(call, map).timeout(timeout).await?;
        outcome.map_err(|failure| failure.into_error(self.pid()))
    }

    /// Adds a child behind the others and starts it.
    ///
    /// # Errors
    /// [`ChildError`]; the child is not kept. A custom selector can only be given on the supervisor's node.
    /// [`SpecError::InvalidSimpleOneForOne`](crate::SpecError) when its children come from a template.
    ///
    /// # Cancel safety
    /// Dropped before it ends, the child may still come.
    pub async fn start_child(&self, spec: DistributedChildSpec) -> Result<AnyRef, ChildError> {
        spec.check()?;
        self.instance(Call::StartChild(Box::new(spec)), PATIENCE).await
    }

    /// Adds a child made from the template and starts it. Its id is `child_1`, `child_2` and so on; the arguments are kept
    /// for its restarts. For [`Strategy::SimpleOneForOne`](crate::Strategy::SimpleOneForOne).
    ///
    /// No number comes twice from one supervisor, and none of its predecessor under its name whose child still lived.
    ///
    /// # Errors
    /// [`ChildError`]; the child is not kept. [`SpecError::InvalidSimpleOneForOne`](crate::SpecError) when there is no
    /// template, [`ChildError::WrongBehavior`] when it is of another behavior.
    ///
    /// # Cancel safety
    /// Dropped before it ends, the child may still come.
    pub async fn start_instance<B: RemoteBehavior>(&self, args: B::Args) -> Result<Ref<B>, ChildError> {
        let spec = DistributedChildSpec::new::<B>(B::NAME, args);
        spec.check_args()?;
        Ok(self.instance(Call::StartInstance(Box::new(spec)), PATIENCE).await?.typed()?)
    }

    /// Stops a child wherever it is and removes it. OTP: `terminate_child` and `delete_child`.
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
        let outcome =
            self.process.call_map(Call::TerminateChild(id.to_owned()), map).timeout(PATIENCE).await?;
        outcome.map_err(|failure| failure.into_error(self.pid()))
    }

    /// Stops a child and starts it again, perhaps on another node. Does not count for the intensity.
    ///
    /// # Errors
    /// [`ChildError`]; a child that does not start is tried again with backoff, or waits for a node.
    ///
    /// # Cancel safety
    /// Dropped before it ends, the child is restarted all the same.
    pub async fn restart_child(&self, id: &str) -> Result<AnyRef, ChildError> {
        self.instance(Call::RestartChild(id.to_owned()), PATIENCE).await
    }

    /// Moves as few children as it takes to give every node the same share, for instance after a node came; says how many.
    ///
    /// | Selector | The same on every node that can run them |
    /// |---|---|
    /// | `round_robin`, `random` | the number of children of this supervisor |
    /// | `least_loaded` | the number of processes |
    /// | `local_first`, `node`, a function | nothing: such children stay where they are |
    ///
    /// Each child is stopped, and then started on the other node. At most eight are on their way at once, and each tells so
    /// by a [`ChildMigrated`](DistributedSupervisorEvent::ChildMigrated) when it runs again, after this has returned. As with a
    /// leaving node nothing is counted for the intensity, no sibling is concerned, and temporary children stay. It is 0 while
    /// the supervisor waits for the majority, or is not sure of its name. A node that just came counts once the supervisor has
    /// heard of it, which may be a moment after `wait_for_nodes` has returned.
    ///
    /// # Errors
    /// [`CallError`] when the supervisor cannot be asked.
    ///
    /// # Cancel safety
    /// Dropped before it ends, the children are moved all the same.
    pub async fn rebalance(&self) -> Result<usize, CallError> {
        let map = |reply| match reply {
            Reply::Rebalanced(count) => Some(count),
            _ => None,
        };
        self.process.call_map(Call::Rebalance, map).timeout(PATIENCE).await
    }

    /// The instance of now. For a handle that follows the child, use its global name: `cluster.global().via(id)`.
    ///
    /// # Errors
    /// [`ChildError::NotFound`], [`ChildError::NotRunning`] between two instances, [`ChildError::WrongBehavior`].
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn child<B: RemoteBehavior>(&self, id: &str) -> Result<Ref<B>, ChildError> {
        let any = self.instance(Call::Instance(id.to_owned()), noex_actors::DEFAULT_TIMEOUT).await?;
        Ok(any.typed()?)
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
    /// [`CallError`] when the supervisor cannot be asked.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn children(&self) -> Result<Vec<ChildInfo>, CallError> {
        Ok(self.view(noex_actors::DEFAULT_TIMEOUT).await?.children)
    }

    pub(crate) async fn view(&self, timeout: Duration) -> Result<SupervisorView, CallError> {
        let map = |reply| match reply {
            Reply::View(view) => Some(view),
            _ => None,
        };
        self.process.call_map(Call::View, map).timeout(timeout).await
    }

    /// How many children there are.
    ///
    /// # Errors
    /// [`CallError`] when the supervisor cannot be asked.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn count_children(&self) -> Result<usize, CallError> {
        Ok(self.stats().await?.child_count)
    }

    /// Figures.
    ///
    /// # Errors
    /// [`CallError`] when the supervisor cannot be asked.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn stats(&self) -> Result<DistributedSupervisorStats, CallError> {
        let map = |reply| match reply {
            Reply::Stats(stats) => Some(*stats),
            _ => None,
        };
        self.process.call_map(Call::Stats, map).await
    }

    /// Calls `f` with every event of this supervisor from now on. Events do not travel yet: there are some on the node
    /// where the supervisor runs, and on no other. A handle that came in a message hears none: look it up by its id.
    pub fn on_event(&self, f: impl FnMut(&DistributedSupervisorEvent) + Send + 'static) -> Subscription {
        match self.hub() {
            Some(hub) => hub.on(f),
            None => silence().on(f),
        }
    }

    /// Events of this supervisor from now on, as a stream, which ends with it; where
    /// [`on_event`](Self::on_event) hears any.
    #[must_use]
    pub fn events(&self) -> Events<DistributedSupervisorEvent> {
        match self.hub() {
            Some(hub) => hub.events(),
            None => silence().events(),
        }
    }

    /// Where its events come out, unless it has ended.
    fn hub(&self) -> Option<Arc<Hub<DistributedSupervisorEvent>>> {
        let desk = self.desk.as_ref()?;
        let is_over = || desk.exit(self.pid()).is_some();
        // One that ends in between closes the hub, or is known by then to have ended.
        let hub = (!is_over()).then(|| desk.hub_of(&self.id));
        hub.filter(|_| !is_over())
    }

    /// Stops the children, last one first and remote ones too, and then the supervisor.
    ///
    /// # Errors
    /// [`CallError`] when its node cannot be reached. A supervisor that ended already is fine.
    ///
    /// # Cancel safety
    /// Dropped before it ends, the supervisor stops all the same.
    pub async fn stop(&self) -> Result<(), CallError> {
        match self.process.cast_wait(Cast::StopTree).await {
            Ok(()) | Err(noex_actors::CastError::NoProc(_)) => {}
            Err(error) => return Err(error.into()),
        }
        self.process.stop(ExitReason::Shutdown).timeout(PATIENCE).await
    }

    /// Waits until it ends and tells how. From another node, the loss of its node ends the wait with `noconnection`.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn wait(&self) -> SupervisorExit {
        let map = |reply| match reply {
            Reply::Exit(exit) => Some(exit),
            _ => None,
        };
        let reason = match self.process.call_map(Call::Wait, map).timeout(PATIENCE).await {
            Ok(exit) => return exit.into(),
            Err(CallError::Exited { reason, .. }) => reason,
            Err(CallError::NoConnection(_) | CallError::ConnectionLost(_)) => ExitReason::NoConnection,
            Err(_) => self.process.monitor().await.reason,
        };
        let known = self.desk.as_ref().and_then(|desk| desk.exit(self.pid()));
        known.unwrap_or(SupervisorExit::Stopped(reason))
    }
}

/// A hub that never tells anything.
fn silence() -> Hub<DistributedSupervisorEvent> {
    let own_system =
        || std::thread::spawn(|| System::new().block_on(async { System::current().arbiter().clone() }));
    let arbiter = Arbiter::try_current()
        .unwrap_or_else(|| own_system().join().expect("a thread that only makes a runtime does not panic"));
    let hub = Hub::new(arbiter);
    drop(hub.close());
    hub
}

impl AsRef<Pid> for DistributedSupervisor {
    fn as_ref(&self) -> &Pid {
        self.pid()
    }
}

impl PartialEq for DistributedSupervisor {
    fn eq(&self, other: &Self) -> bool {
        self.pid() == other.pid()
    }
}
impl Eq for DistributedSupervisor {}

impl Serialize for DistributedSupervisor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.process, &*self.id).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for DistributedSupervisor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (process, id) = <(Ref<DistributedProcess>, String)>::deserialize(deserializer)?;
        Ok(Self { process, id: id.into(), desk: None })
    }
}

impl fmt::Debug for DistributedSupervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DistributedSupervisor({} {})", self.id, self.pid())
    }
}
