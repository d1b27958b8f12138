//! Distributed supervisors as their users hold them: specifications, builder, handle, events, views.

pub(crate) mod builder;
pub(crate) mod desk;
mod event;
mod handle;
pub(crate) mod partition;
mod spec;
mod standby;
mod stats;
mod template;
mod value;
pub(crate) mod views;

pub use self::{
    builder::DistributedSupervisorBuilder,
    desk::SupervisorTotals,
    event::DistributedSupervisorEvent,
    handle::DistributedSupervisor,
    partition::{JudgePartition, OrphanPolicy, PartitionPolicy},
    spec::{DistributedChildSpec, NodeSelector, SelectNode},
    standby::{Standby, StandbyState},
    stats::DistributedSupervisorStats,
    template::DistributedChildTemplate,
    views::SupervisorView,
};
