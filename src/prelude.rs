//! The names that most programs use: `use noex::prelude::*;`.

pub use noex_actors::{
    AnyRef, Behavior, CallError, Caller, CastError, Context, Delivery, Down, ExitReason, Info, Node, NodeId,
    Pid, Ref, RemoteBehavior, SpawnOptions, Subscription, Via, behavior, shutdown_signal,
};
pub use noex_net::{Cluster, ClusterConfig, ClusterEvent, ClusterStatus, NodeInfo, NodeStatus};
pub use noex_supervisor::*;
