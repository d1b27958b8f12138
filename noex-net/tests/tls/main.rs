//! Nodes over TLS: what they do over TCP they do here, too, and who has no right certificate stays out.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::duplicate_mod, reason = "the tests of plain connections bring their support along")]

mod certificates;
mod middle;
mod peer;
mod refusals;
mod running;

// The tests of plain connections once more: their nodes have TLS here (`support::over_tls`).
#[path = "../cluster.rs"]
mod cluster;
#[path = "../compression.rs"]
mod compression;
#[path = "../links.rs"]
mod links;
#[path = "../registry.rs"]
mod registry;
#[path = "../remote.rs"]
mod remote;
#[path = "../support/mod.rs"]
mod support;

use noex_net::{Cluster, RefusedReason};
use support::{until, within};

async fn stop_all(clusters: &[Cluster]) {
    for cluster in clusters.iter().rev() {
        within(10, "a node stops", cluster.stop()).await;
    }
}

fn refused(cluster: &Cluster, reason: RefusedReason) -> u64 {
    cluster.stats().refused_total.get(&reason).copied().unwrap_or_default()
}

/// Waits until each of them counted that reason, and makes sure that they counted no other.
async fn refused_as(reason: RefusedReason, clusters: &[&Cluster]) {
    until(10, reason.as_str(), || clusters.iter().all(|cluster| refused(cluster, reason) > 0)).await;
    for cluster in clusters {
        let counts = cluster.stats().refused_total.into_iter();
        let others: Vec<_> = counts.filter(|(other, n)| *n > 0 && *other != reason).collect();
        assert_eq!(others, [], "{cluster:?}");
        assert_eq!(cluster.connected_node_count(), 0);
    }
}
