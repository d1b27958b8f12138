//! The supervisor of the node: `workers`, over `counter-1` … `counter-n`.

use std::time::Duration;

use actix_web::rt::time::sleep;
use noex::{
    BoxError, Cluster, ClusterStatus, DistributedChildSpec, DistributedSupervisor, ExitReason,
    StartSupervisorError, SupervisorExit,
};

use crate::{counter::Counter, settings::Workers};

/// Its name: one supervisor of this name in a cluster.
const NAME: &str = "workers";
/// How long to wait after a failed start; twice as long after the next one, up to the other.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Supervises until the node stops. Where another node holds the name, waits until that one is gone, and goes on with
/// the children that it left.
///
/// # Errors
/// The supervisor ended because its children end too often: what runs then is half a node, and this is for whoever
/// started it to decide.
pub(crate) async fn supervise(cluster: &Cluster, workers: &Workers) -> Result<(), BoxError> {
    cluster.wait_for_nodes(workers.min_nodes).await?;
    let mut pause = FIRST_PAUSE;
    while cluster.status() == ClusterStatus::Running {
        match start(cluster, workers).await {
            Ok(supervisor) => {
                let exit = supervisor.wait().await;
                if let SupervisorExit::MaxRestartsExceeded { .. } = exit {
                    return Err(format!("supervisor {NAME}: {exit}").into());
                }
                pause = FIRST_PAUSE;
            }
            Err(StartSupervisorError::AlreadyRunning(holder)) => {
                tracing::info!(supervisor = NAME, owner = %holder.pid().node_id(), "the name is held; waiting");
                let exit = holder.wait().await;
                if exit == SupervisorExit::Stopped(ExitReason::NoConnection) {
                    // The loss of a connection is not yet the loss of the supervisor: it is back in a moment, unless its
                    // node is gone.
                    sleep(grace(cluster)).await;
                }
            }
            Err(error) => {
                // A node was lost in the middle of it, or another supervisor of the name came first.
                let error: &dyn std::error::Error = &error;
                tracing::warn!(supervisor = NAME, error, "the supervisor did not start; trying again");
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
    Ok(())
}

/// How long a supervisor behind a lost connection may take to be back.
fn grace(cluster: &Cluster) -> Duration {
    cluster.config().heartbeat_interval().min(Duration::from_secs(1))
}

async fn start(cluster: &Cluster, workers: &Workers) -> Result<DistributedSupervisor, StartSupervisorError> {
    let children =
        (1..=workers.count).map(|n| DistributedChildSpec::new::<Counter>(format!("counter-{n}"), ()));
    DistributedSupervisor::builder()
        .name(NAME)
        .strategy(workers.strategy)
        .node_selector(workers.selector.clone())
        .partition_policy(workers.partition_policy.clone())
        .restart_intensity(workers.intensity.max_restarts, workers.intensity.within)
        .children(children)
        .start(cluster)
        .await
}
