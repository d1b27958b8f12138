//! `/noex/api/cluster`: what this node knows of the cluster, as JSON.
//!
//! Nodes are as this node sees them. Supervisors are asked; one that does not answer in time is shown as it answered
//! last, and says so. Of secrets there are the ids: those of this node, and which of them each session has. Children on this node come from its process table and from no supervisor.

use std::time::{Duration, SystemTime};

use actix_web::{HttpResponse, web::Data};
use noex_net::{Cluster, NodeInfo};
use noex_supervisor::{ChildInfo, DistributedSupervisor, SupervisorView};
use serde_json::{Value, json};

use super::{Allowed, Endpoints};

/// How long the owner of a supervisor may take to answer.
const OWNER_ANSWERS: Duration = Duration::from_millis(300);

pub(super) async fn cluster(_: Allowed, endpoints: Data<Endpoints>) -> HttpResponse {
    let Some(cluster) = endpoints.cluster() else {
        return HttpResponse::ServiceUnavailable()
            .json(json!({ "error": "not started", "delivery": "never" }));
    };
    HttpResponse::Ok().json(json!({
        "node": cluster.local_node_id(),
        "status": cluster.status(),
        "incarnation": cluster.incarnation(),
        "keys": cluster.secrets().ids(),
        "nodes": cluster.nodes().iter().map(|info| node(cluster, info)).collect::<Vec<_>>(),
        "supervisors": supervisors(cluster).await,
        "localChildren": local_children(cluster),
    }))
}

fn node(cluster: &Cluster, info: &NodeInfo) -> Value {
    json!({
        "id": info.id,
        "status": info.status,
        "processCount": info.process_count,
        "lastHeartbeatAt": info.last_heartbeat_at.map(unix_millis),
        "uptimeMs": millis(info.uptime),
        "keyId": cluster.peer_stats(&info.id).and_then(|session| session.key_id),
    })
}

/// As their owners tell them, or as they told them last.
async fn supervisors(cluster: &Cluster) -> Vec<Value> {
    let views = DistributedSupervisor::views(cluster, OWNER_ANSWERS).await;
    views.iter().map(|(view, stale)| supervisor(view, *stale)).collect()
}

fn supervisor(view: &SupervisorView, stale: bool) -> Value {
    let mut shown = json!({
        "name": view.name,
        "strategy": view.strategy,
        "owner": view.owner,
        "children": view.children.iter().map(child).collect::<Vec<_>>(),
    });
    if stale {
        shown["stale"] = true.into();
    }
    shown
}

fn child(info: &ChildInfo) -> Value {
    json!({
        "id": info.id,
        "node": info.node_id,
        "generation": info.generation,
        "restarts": info.restart_count,
        "state": info.state,
    })
}

fn local_children(cluster: &Cluster) -> Vec<Value> {
    let instances = cluster.supervised();
    let tokens = instances.iter().map(|instance| &instance.token);
    tokens
        .map(|token| json!({ "supervisor": token.supervisor, "id": token.child, "generation": token.generation }))
        .collect()
}

fn unix_millis(at: SystemTime) -> u64 {
    millis(at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
