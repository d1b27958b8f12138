//! What the children of a distributed `simple_one_for_one` supervisor have in common.

use noex_actors::{RemoteBehavior, SpawnOptions, WrongBehavior};

use super::{
    partition::OrphanPolicy,
    spec::{DistributedChildSpec, NodeSelector},
};
use crate::options::{Restart, Shutdown};

/// What the children of a [`Strategy::SimpleOneForOne`](crate::Strategy::SimpleOneForOne)
/// [`DistributedSupervisor`](crate::DistributedSupervisor) have in common. Their arguments come with
/// [`start_instance`](crate::DistributedSupervisor::start_instance), are kept by the supervisor, and used again at a
/// restart, here or on another node.
///
/// They have no global names: their ids are numbers, and each supervisor begins with its own.
///
/// ```
/// # use noex_actors::{ExitReason, behavior};
/// # use noex_net::{Cluster, ClusterConfig};
/// use noex_supervisor::{DistributedChildTemplate, DistributedSupervisor, NodeSelector, Restart, Strategy};
///
/// struct Resize(String);
///
/// #[behavior(name = "resize")]
/// impl Resize {
///     #[init]
///     fn new(picture: String) -> Result<Self, ExitReason> {
///         Ok(Resize(picture))
///     }
///     #[call]
///     fn picture(&self) -> String {
///         self.0.clone()
///     }
/// }
///
/// # #[actix_rt::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let config = ClusterConfig::test("a").build()?;
/// # let cluster = Cluster::builder(config).behavior::<Resize>().start().await?;
/// let pool = DistributedSupervisor::builder()
///     .strategy(Strategy::SimpleOneForOne)
///     .node_selector(NodeSelector::LeastLoaded)
///     .child_template(DistributedChildTemplate::new::<Resize>().restart(Restart::Transient))
///     .start(&cluster)
///     .await?;
/// let first = pool.start_instance::<Resize>("cat.png".to_owned()).await?; // child_1, on some node
/// assert_eq!(first.picture().await?, "cat.png");
/// # pool.stop().await?;
/// # cluster.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct DistributedChildTemplate(DistributedChildSpec);

impl DistributedChildTemplate {
    /// Processes of behavior `B`.
    pub fn new<B: RemoteBehavior>() -> Self {
        Self::named(B::NAME).options(B::spawn_options())
    }

    /// Processes of the behavior with this wire name.
    pub fn named(behavior: impl Into<String>) -> Self {
        Self(DistributedChildSpec::named(String::new(), behavior))
    }

    /// When they are restarted. Default: [`Restart::Permanent`].
    pub fn restart(self, restart: Restart) -> Self {
        Self(self.0.restart(restart))
    }

    /// How they are stopped. Default: asked, and killed after 5 s.
    pub fn shutdown(self, shutdown: Shutdown) -> Self {
        Self(self.0.shutdown(shutdown))
    }

    /// The removal of one may end the supervisor, as [`AutoShutdown`](crate::AutoShutdown) says.
    pub fn significant(self) -> Self {
        Self(self.0.significant())
    }

    /// Mailbox, time for `init`, and whether exits are trapped. A name is left out: they have none.
    pub fn options(self, options: SpawnOptions) -> Self {
        Self(self.0.options(options))
    }

    /// Where they start; overrides the supervisor's selector.
    pub fn node_selector(self, selector: impl Into<NodeSelector>) -> Self {
        Self(self.0.node_selector(selector))
    }

    /// What becomes of them when their supervisor is out of reach.
    pub fn orphan(self, policy: OrphanPolicy) -> Self {
        Self(self.0.orphan(policy))
    }

    pub(crate) fn get_orphan(&self) -> Option<OrphanPolicy> {
        self.0.orphan
    }

    /// The child with this id, of which `from` gives behavior and arguments.
    pub(crate) fn instance(
        &self,
        id: String,
        from: DistributedChildSpec,
    ) -> Result<DistributedChildSpec, WrongBehavior> {
        if from.behavior == self.0.behavior {
            Ok(self.0.instance(id, from))
        } else {
            Err(WrongBehavior::new(&from.behavior, &self.0.behavior))
        }
    }
}
