//! Figures of a distributed supervisor.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use noex_actors::NodeId;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    info::{millis, unix_millis_always},
    options::Strategy,
};

/// Figures of a distributed supervisor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DistributedSupervisorStats {
    /// Its id: its name, if it was given one.
    pub id: String,
    /// Its name, if it was given one.
    pub name: Option<String>,
    /// Its strategy.
    pub strategy: Strategy,
    /// Children it has.
    pub child_count: usize,
    /// Of those, the ones that wait for a node.
    pub pending_count: usize,
    /// Whether it starts nothing, because too much of the cluster is out of reach.
    #[serde(default)]
    pub waits_for_majority: bool,
    /// How many run on which node.
    pub children_by_node: BTreeMap<NodeId, usize>,
    /// Instances started in place of an earlier one; restarts because of a sibling are not counted.
    pub total_restarts: u64,
    /// Of those, the ones whose node was lost.
    pub node_failure_restarts: u64,
    /// When it started.
    #[serde(with = "unix_millis_always")]
    pub started_at: SystemTime,
    /// How long ago that was.
    #[serde(rename = "uptimeMs", serialize_with = "millis", deserialize_with = "from_millis")]
    pub uptime: Duration,
}

fn from_millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Ok(Duration::from_millis(u64::deserialize(deserializer)?))
}
