//! The supervisor of the node: `workers`, over `counter-1` … `counter-n`.

use noex::{BoxError, Cluster, DistributedChildSpec, DistributedSupervisor, SupervisorExit};

use crate::{counter::Counter, settings::Workers};

/// Its name: one supervisor of this name in a cluster.
const NAME: &str = "workers";

/// Supervises until the node stops. Where another node holds the name, waits until that one is gone, and goes on with
/// the children that it left.
///
/// # Errors
/// The supervisor ended because its children end too often: what runs then is half a node, and this is for whoever
/// started it to decide.
pub(crate) async fn supervise(cluster: &Cluster, workers: &Workers) -> Result<(), BoxError> {
    cluster.wait_for_nodes(workers.min_nodes).await?;
    let children = (1..=workers.count).map(|n| {
        let child = DistributedChildSpec::new::<Counter>(format!("counter-{n}"), ());
        match workers.orphan {
            Some(policy) if n % 2 == 1 => child.orphan(policy),
            _ => child,
        }
    });
    let standby = DistributedSupervisor::builder()
        .name(NAME)
        .strategy(workers.strategy)
        .node_selector(workers.selector.clone())
        .partition_policy(workers.partition_policy.clone())
        .restart_intensity(workers.intensity.max_restarts, workers.intensity.within)
        .children(children)
        .standby(cluster)?;
    match standby.wait().await {
        Some(exit @ SupervisorExit::MaxRestartsExceeded { .. }) => {
            Err(format!("supervisor {NAME}: {exit}").into())
        }
        _ => Ok(()),
    }
}
