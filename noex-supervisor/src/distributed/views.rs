//! The supervisors of the whole cluster, as one node knows them.
//!
//! Each is registered globally under [`PREFIX`] and its id, so every node knows which there are and whom to ask. What
//! the owner last said is kept, for when it does not answer.

use std::time::Duration;

use futures_util::future::join_all;
use noex_actors::NodeId;
use noex_net::Cluster;
use serde::{Deserialize, Serialize};

use super::{desk::Desk, handle::DistributedSupervisor};
use crate::{info::ChildInfo, options::Strategy};

/// Supervisors in the global registry.
pub(crate) const PREFIX: &str = "noex.sup/";

/// A distributed supervisor and its children.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SupervisorView {
    /// Its name, or its id if it has none.
    pub name: String,
    /// Its strategy.
    pub strategy: Strategy,
    /// The node on which it runs.
    pub owner: NodeId,
    /// Its children in start order.
    pub children: Vec<ChildInfo>,
}

impl SupervisorView {
    pub(crate) fn new(name: String, strategy: Strategy, owner: NodeId, children: Vec<ChildInfo>) -> Self {
        Self { name, strategy, owner, children }
    }
}

/// Names of the supervisors that are registered now.
fn registered(cluster: &Cluster) -> Vec<String> {
    let names = cluster.global().names();
    names.iter().filter_map(|name| name.strip_prefix(PREFIX)).map(str::to_owned).collect()
}

/// Forgets the views of supervisors that are gone although their node is here: they were stopped.
fn forget_stopped(cluster: &Cluster, desk: &Desk) {
    let registered = registered(cluster);
    let here = |node: &NodeId| node == cluster.local_node_id() || cluster.is_node_connected(node);
    desk.views.lock().retain(|name, view| registered.contains(name) || !here(&view.owner));
}

/// The last known views, sorted by name.
pub(crate) fn known(cluster: &Cluster) -> Vec<SupervisorView> {
    let desk = Desk::of(cluster);
    forget_stopped(cluster, &desk);
    let views = desk.views.lock();
    views.values().cloned().collect()
}

/// The views as their owners tell them within `timeout`; of those who do not, the last known, marked as stale.
pub(crate) async fn ask(cluster: &Cluster, timeout: Duration) -> Vec<(SupervisorView, bool)> {
    let desk = Desk::of(cluster);
    let asked = registered(cluster).into_iter().map(|name| async move {
        let supervisor = DistributedSupervisor::whereis(cluster, &name)?;
        supervisor.view(timeout).await.ok()
    });
    let fresh: Vec<SupervisorView> = join_all(asked).await.into_iter().flatten().collect();
    let mut views = desk.views.lock();
    for view in &fresh {
        views.insert(view.name.clone(), view.clone());
    }
    drop(views);
    forget_stopped(cluster, &desk);
    let is_fresh = |name: &str| fresh.iter().any(|view| view.name == name);
    let views = desk.views.lock();
    views.values().map(|view| (view.clone(), !is_fresh(&view.name))).collect()
}
