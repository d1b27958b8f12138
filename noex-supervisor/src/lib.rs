//! Supervision trees of noex, on one node and across nodes.
//!
//! | Room | What it does |
//! |---|---|
//! | [`Supervisor`], [`ChildSpec`], [`ChildTemplate`] | keeps processes of one node alive; supervisors nest |
//! | [`DistributedSupervisor`], [`DistributedChildSpec`], [`DistributedChildTemplate`], [`NodeSelector`] | keeps processes alive across a cluster, each exactly once |
//! | [`PartitionPolicy`], [`OrphanPolicy`] | what becomes of children while a part of the cluster is out of reach |
//! | [`Strategy`], [`AutoShutdown`] | whom the end of a child concerns, and whose end the supervisor does not survive |
//! | [`Restart`], [`Shutdown`], [`RestartIntensity`], [`Backoff`] | when and how |
//! | [`SupervisorEvent`], [`DistributedSupervisorEvent`], [`ChildInfo`] | what happened, and what is |
//! | `machine/` | decides: facts and time in, commands out |
//! | `actor/` | performs: one process around each machine |
//!
//! ```
//! use noex_actors::{ExitReason, Node, behavior};
//! use noex_supervisor::{ChildSpec, Restart, Supervisor};
//!
//! struct Counter(i64);
//!
//! #[behavior]
//! impl Counter {
//!     #[init]
//!     fn new(start: i64) -> Result<Self, ExitReason> {
//!         Ok(Counter(start))
//!     }
//!     #[call]
//!     fn add(&mut self, n: i64) -> i64 {
//!         self.0 += n;
//!         self.0
//!     }
//! }
//!
//! # #[actix_rt::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let node = Node::start().await?;
//! let sup = Supervisor::builder()
//!     .child(ChildSpec::new::<Counter>("counter", 40).restart(Restart::Transient))
//!     .start(&node)
//!     .await?;
//! assert_eq!(sup.child::<Counter>("counter").await?.add(2).await?, 42);
//! sup.stop().await?;
//! # node.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! A tree is written as it stands: children start from top to bottom and stop from bottom to top, and a supervisor that is
//! over its limit is one crash of a child to the one above it.
//!
//! ```
//! # use noex_actors::{ExitReason, Node, behavior};
//! use noex_supervisor::{ChildSpec, ChildTemplate, Restart, Strategy, Supervisor};
//! # struct Till(i64);
//! # #[behavior]
//! # impl Till {
//! #     #[init]
//! #     fn new(start: i64) -> Result<Self, ExitReason> { Ok(Till(start)) }
//! #     #[call]
//! #     fn add(&mut self, n: i64) -> i64 { self.0 += n; self.0 }
//! # }
//! # type Ledger = Till; type Clerk = Till;
//!
//! # #[actix_rt::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let node = Node::start().await?;
//! let clerks = Supervisor::builder()
//!     .strategy(Strategy::SimpleOneForOne)
//!     .child_template(ChildTemplate::new::<Clerk>().restart(Restart::Transient));
//! let shop = Supervisor::builder()
//!     .strategy(Strategy::OneForAll)
//!     .child(ChildSpec::new::<Till>("till", 100))
//!     .supervisor("clerks", clerks);
//! let tree = Supervisor::builder()
//!     .strategy(Strategy::RestForOne)
//!     .child(ChildSpec::new::<Ledger>("ledger", 0))
//!     .supervisor("shop", shop)
//!     .start(&node)
//!     .await?;
//!
//! let clerks = tree.supervisor("shop").await?.supervisor("clerks").await?;
//! let clerk = clerks.start_instance::<Clerk>(40).await?; // child_1
//! assert_eq!(clerk.add(2).await?, 42);
//! tree.stop().await?;
//! # assert_eq!(node.process_count(), 0);
//! # node.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! Across a cluster the same, with children that every node knows by name:
//!
//! ```
//! # use noex_actors::{ExitReason, behavior};
//! use noex_net::{Cluster, ClusterConfig};
//! use noex_supervisor::{DistributedChildSpec, DistributedSupervisor, NodeSelector};
//! # struct Counter(i64);
//! # #[behavior(name = "counter")]
//! # impl Counter {
//! #     #[init]
//! #     fn new(start: i64) -> Result<Self, ExitReason> { Ok(Counter(start)) }
//! #     #[call]
//! #     fn add(&mut self, n: i64) -> i64 { self.0 += n; self.0 }
//! # }
//!
//! # #[actix_rt::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = ClusterConfig::test("supervisor").build()?;
//! let cluster = Cluster::builder(config).behavior::<Counter>().start().await?;
//! let sup = DistributedSupervisor::builder()
//!     .name("workers")
//!     .node_selector(NodeSelector::RoundRobin)
//!     .children((1..=3).map(|n| DistributedChildSpec::new::<Counter>(format!("counter-{n}"), 0)))
//!     .start(&cluster)
//!     .await?;
//! assert_eq!(cluster.global().via::<Counter>("counter-2").add(2).await?, 2);
//! sup.stop().await?;
//! # cluster.stop().await;
//! # Ok(())
//! # }
//! ```

mod actor;
mod builder;
mod child_spec;
mod distributed;
mod error;
mod event;
mod info;
mod machine;
mod options;
mod supervisor;

pub use builder::SupervisorBuilder;
pub use child_spec::{ChildSpec, ChildTemplate};
pub use distributed::{
    DistributedChildSpec, DistributedChildTemplate, DistributedSupervisor, DistributedSupervisorBuilder,
    DistributedSupervisorEvent, DistributedSupervisorStats, JudgePartition, NodeSelector, OrphanPolicy,
    PartitionPolicy, SelectNode, Standby, StandbyState, SupervisorTotals, SupervisorView,
};
pub use error::{ChildError, SpecError, StartSupervisorError};
pub use event::SupervisorEvent;
pub use info::{ChildInfo, ChildState, SupervisorExit, SupervisorStats};
pub use options::{
    AutoShutdown, Backoff, PartitionDecision, PartitionView, Restart, RestartIntensity, Shutdown, Strategy,
};
pub use supervisor::Supervisor;
