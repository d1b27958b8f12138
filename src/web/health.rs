//! `/health`: is the node alive. `/ready`: may it be given work.

use actix_web::{HttpResponse, web::Data};
use noex_net::{Cluster, ClusterStatus};
use serde_json::json;

use super::Endpoints;
use crate::logging::timestamp;

pub(super) async fn health(endpoints: Data<Endpoints>) -> HttpResponse {
    let status = endpoints.cluster().map_or(ClusterStatus::Starting, Cluster::status);
    let running = endpoints.cluster().filter(|_| status == ClusterStatus::Running);
    let mut response =
        if running.is_some() { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.json(json!({
        "status": status,
        "nodeId": running.map(Cluster::local_node_id),
        "connectedNodes": running.map_or(0, Cluster::connected_node_count),
        "timestamp": timestamp(),
    }))
}

pub(super) async fn ready(endpoints: Data<Endpoints>) -> HttpResponse {
    let ready = !endpoints.is_stopping() && endpoints.cluster().is_some_and(is_ready);
    if ready {
        HttpResponse::Ok().body("ready")
    } else {
        HttpResponse::ServiceUnavailable().body("not ready")
    }
}

/// Alone is ready only for a node that was told of no other: its seeds may still turn out to be itself.
fn is_ready(cluster: &Cluster) -> bool {
    cluster.status() == ClusterStatus::Running
        && (cluster.connected_node_count() > 0 || cluster.configured_seed_count() == 0)
}
