//! Performs: a thin actix actor around each machine.
//!
//! | Actor | Runs on | Around |
//! |---|---|---|
//! | [`cluster_manager`] | the control arbiter | `sessions`, `membership` |
//! | [`heartbeat_timer`] | the control arbiter | `detector` |
//! | [`listener`] | the control arbiter | `admission` |
//! | [`warden`] | the control arbiter | `quorum`: leases of supervised instances |
//! | [`global_registry`] | the control arbiter | `names`: syncs and expiries |
//! | [`peer_connection`] | an arbiter of the pool | `handshake`, and the loops of one socket |

pub(crate) mod cluster_manager;
pub(crate) mod global_registry;
pub(crate) mod heartbeat_timer;
pub(crate) mod listener;
pub(crate) mod messages;
pub(crate) mod peer_connection;
pub(crate) mod start;
pub(crate) mod warden;
