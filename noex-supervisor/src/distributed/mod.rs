//! Distributed supervisors as their users hold them: specifications, builder, handle, events, views.

pub(crate) mod builder;
pub(crate) mod desk;
mod event;
mod handle;
mod spec;
mod stats;
mod template;
mod value;
pub(crate) mod views;

pub use self::{
    builder::DistributedSupervisorBuilder,
    desk::SupervisorTotals,
    event::DistributedSupervisorEvent,
    handle::DistributedSupervisor,
    spec::{DistributedChildSpec, NodeSelector, OrphanPolicy, PartitionPolicy, SelectNode},
    stats::DistributedSupervisorStats,
    template::DistributedChildTemplate,
    views::SupervisorView,
};
