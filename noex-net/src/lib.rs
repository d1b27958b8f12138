//! Nodes of noex: a cluster that forms over TCP, processes reached across it, and names known in all of it.
//!
//! | Room | What it does |
//! |---|---|
//! | [`ClusterConfig`], [`Seed`], [`Secrets`] | configuration: builder, serde, environment; one validation |
//! | [`Cluster`], [`ClusterBuilder`] | the handle: start, stop, who is connected, events, figures |
//! | [`SecretRing`] | the secrets of a running node, and how they are changed |
//! | `TlsConfig`, `TlsCertificates` | feature `tls`: certificates, and how they are changed |
//! | [`MemoryNetwork`] | nodes of one process connected in memory instead of TCP, with faults on demand |
//! | [`GlobalRegistry`] | names of the whole cluster |
//! | [`ProcessGroups`] | groups of processes: members on every node, broadcasts |
//! | `machine/` | decisions: handshake, sessions, membership, failure detection, names, groups |
//! | `wire/` | bytes: batches, frames, tags, control messages |
//! | `io/` | moves bytes: outbox, reader, what both run over |
//! | `link/` | what waits on one connection: calls, watches, requests |
//! | `actor/` | thin actix actors around the machines |
//!
//! A shared secret proves membership and keeps messages whole; it does not hide them. The feature `tls` does: `TlsConfig`. See
//! docs/wire-protocol.md and docs/tls.md.

#[cfg(feature = "__fuzz")]
#[doc(hidden)]
pub mod __fuzz;
mod abort;
mod actor;
mod advertise;
mod cluster;
mod cluster_builder;
mod cluster_stats;
mod config;
mod event;
mod global;
mod groups;
mod io;
mod link;
mod machine;
mod memory;
mod net;
mod node_info;
mod peer;
mod protocol_error;
mod quota;
mod remote;
mod secret;
mod secret_ring;
mod stats;
mod tls;
mod wire;

/// For the crates above, and nobody else.
#[doc(hidden)]
pub mod __quorum {
    pub use crate::machine::quorum::Quorum;
}

pub use cluster::{Cluster, NotRunning};
pub use cluster_builder::{BoxError, ClusterBuilder, ClusterStartError};
pub use config::{
    ClusterConfig, ClusterConfigBuilder, Detector, InsecurePeers, InvalidClusterConfig, InvalidSeed,
    PeerMemory, Seed,
};
pub use event::{ClusterEvent, DialError};
pub use global::{
    ConflictHandler, GlobalEvent, GlobalRegistry, GlobalRegistryStats, NameConflict, OnConflict,
};
pub use groups::{Broadcast, GroupEvent, ProcessGroups, ProcessGroupsStats};
pub use machine::{handshake::RefusedReason, keys::SecretError, membership::NodeStatus};
pub use memory::{MemoryNetwork, MemoryStream};
pub use node_info::{ClusterStatus, NodeInfo};
pub use protocol_error::ProtocolError;
pub use remote::Instance;
pub use secret::{InvalidSecrets, Secrets};
pub use secret_ring::SecretRing;
pub use stats::{
    ClusterStats, PeerStats, RemoteCallStats, RemoteLinkStats, RemoteMonitorStats, RemoteSpawnStats,
};
#[cfg(feature = "tls")]
pub use tls::{InvalidTlsConfig, TlsCertificates, TlsConfig, TlsPart};
pub use wire::{compression::Compression, tag::TagAlgorithm};
