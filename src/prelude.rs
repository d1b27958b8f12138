//! The names that most programs use: `use noex::prelude::*;`.
//!
//! | For | Names |
//! |---|---|
//! | writing a process | [`behavior`], [`Behavior`], [`Context`], [`Caller`], [`Info`], [`Down`], [`Exit`], [`ExitReason`] |
//! | starting it | [`Node`], [`SpawnOptions`], [`Placement`], [`MailboxPolicy`], [`StartError`] |
//! | talking to it | [`Ref`], [`AnyRef`], [`Via`], [`Pid`], [`CallError`], [`CastError`], [`Delivery`] |
//! | what it keeps | [`TimerRef`], [`MonitorRef`], [`LinkRef`], [`Subscription`] |
//! | finding it | [`UniqueRegistry`], [`DuplicateRegistry`] |
//! | keeping it alive | everything of `noex-supervisor`: [`Supervisor`], [`ChildSpec`], [`Strategy`], … |
//! | a program of it | [`Application`], [`AppHandle`], [`shutdown_signal`]; it is run by [`noex::run`](crate::run) |
//! | many nodes | [`RemoteBehavior`], [`Cluster`], [`ClusterConfig`], [`ClusterEvent`], [`ClusterStatus`], [`NodeId`], [`NodeInfo`], [`NodeStatus`] |

pub use noex_actors::{
    AnyRef, AppHandle, Application, Behavior, CallError, Caller, CastError, Context, Delivery, Down,
    DuplicateRegistry, Exit, ExitReason, Info, LinkRef, MailboxPolicy, MonitorRef, Node, NodeId, Pid,
    Placement, Ref, RemoteBehavior, SpawnOptions, StartError, Subscription, TimerRef, UniqueRegistry, Via,
    behavior, shutdown_signal,
};
pub use noex_net::{Cluster, ClusterConfig, ClusterEvent, ClusterStatus, NodeInfo, NodeStatus};
pub use noex_supervisor::*;
