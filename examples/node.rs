//! A node for deployments: everything from the environment, health and metrics over HTTP, JSON logs, graceful stop.
//!
//! ```text
//! NODE_NAME=a CLUSTER_PORT=4369 HEALTH_PORT=8080 WORKERS=12 MIN_NODES=2 cargo run --features web --example node
//! NODE_NAME=b CLUSTER_PORT=4370 HEALTH_PORT=8081 CLUSTER_SEEDS=a@127.0.0.1:4369 cargo run --features web --example node
//! curl -X POST '127.0.0.1:8081/noex/api/call/counter-7/add?n=2'
//! ```
//!
//! `CLUSTER_SECRET_FILE` names a file of secrets, which is read again on SIGHUP: docs/key-rotation.md. With `--features web,tls`,
//! `CLUSTER_TLS_CA`, `CLUSTER_TLS_CERT` and `CLUSTER_TLS_KEY` name certificates and a key, which are read again too: docs/tls.md.
//!
//! Exit codes: 0 after a graceful stop; 2 for a bad configuration or a port in use, with one line on standard error; 1
//! for anything else, a second signal among it.

#[path = "support/counter.rs"]
mod counter;
#[path = "support/http.rs"]
mod http;
#[path = "support/reload.rs"]
mod reload;
#[path = "support/settings.rs"]
mod settings;
#[path = "support/workers.rs"]
mod workers;

use std::{
    io::ErrorKind,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    process::ExitCode,
};

use noex::{
    BoxError, Cluster, ClusterStartError, ClusterStatus, DistributedSupervisor, Signal, env, logging,
    shutdown_signal, web::Endpoints,
};

use crate::{
    counter::{Counter, WitnessDir},
    http::Server,
    reload::Reload,
    settings::Settings,
};

fn main() -> ExitCode {
    let node = AssertUnwindSafe(|| actix_web::rt::System::new().block_on(node()));
    // The panic has been printed; here it becomes the exit code of any other failure.
    let result = catch_unwind(node).unwrap_or_else(|_panic| Err("the node panicked".into()));
    noex::exit_code(result)
}

async fn node() -> Result<(), BoxError> {
    // Before the file is read the first time: a change in between is not missed.
    let reload = Reload::from_env()?;
    let settings = Settings::from_env()?;
    let logging = logging::init(settings.log_format);
    logging.end_on_noex_panic();
    let mut stop = pin!(shutdown_signal());

    // The port answers before the cluster does: /health says 503 until then.
    let endpoints = Endpoints::new();
    let server = Server::start(settings.health_port, &endpoints)?;

    let mut builder = Cluster::builder(settings.cluster.clone()).behavior::<Counter>();
    if let Some(dir) = &settings.witness_dir {
        builder = builder.data(WitnessDir(dir.clone()));
    }
    let cluster = tokio::select! {
        started = builder.start() => started.map_err(|error| refused(error, &settings))?,
        _ = &mut stop => return Ok(()),
    };
    logging.set_node(&cluster);
    endpoints.started(&cluster);
    actix_web::rt::spawn(reload.run(cluster.clone()));
    tracing::info!(port = cluster.local_node_id().port(), health = settings.health_port, "node started");
    DistributedSupervisor::on_lifecycle_event(&cluster, |event| {
        let supervisor = event.supervisor_id();
        tracing::info!(supervisor, event = %serde_json::json!(event), "{}", event.kind());
    })
    .detach();

    let ended = tokio::select! {
        signal = &mut stop => Ended::Signal(signal),
        () = halted(&cluster) => Ended::Failed(match cluster.failure() {
            Some(failure) => failure.clone().into(),
            None => "the cluster stopped by itself".into(),
        }),
        Err(error) = supervise(&cluster, &settings) => Ended::Failed(error),
    };
    match &ended {
        Ended::Signal(signal) => tracing::info!(%signal, "graceful shutdown"),
        Ended::Failed(error) => tracing::error!(error = %error, "stopping"),
    }
    actix_web::rt::spawn(second_signal());
    server.drain().await;
    cluster.stop().await;
    server.stop().await;
    tracing::info!("stopped");
    match ended {
        Ended::Signal(_) => Ok(()),
        Ended::Failed(error) => Err(error),
    }
}

/// Why the node does not run on.
enum Ended {
    Signal(Signal),
    Failed(BoxError),
}

/// The supervisor, where this node has one.
async fn supervise(cluster: &Cluster, settings: &Settings) -> Result<(), BoxError> {
    match &settings.workers {
        Some(workers) => workers::supervise(cluster, workers).await?,
        None => std::future::pending().await,
    }
    // The cluster is stopping, and whoever stopped it says why.
    std::future::pending().await
}

/// Waits until the cluster stops without having been told to: another node took its place, or noex itself failed.
async fn halted(cluster: &Cluster) {
    let mut events = cluster.events();
    while cluster.status() == ClusterStatus::Running {
        if events.recv().await.is_none() {
            return;
        }
    }
}

/// Ends the program at once.
async fn second_signal() {
    let signal = shutdown_signal().await;
    tracing::error!(%signal, "second signal: ending at once");
    std::process::exit(1);
}

/// What keeps a cluster from starting, by the name of the variable where it is one.
fn refused(error: ClusterStartError, settings: &Settings) -> BoxError {
    let port = settings.cluster.port().to_string();
    match error {
        ClusterStartError::Bind { addr, source }
            if !matches!(source.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied) =>
        {
            let host = settings.cluster.host();
            env::invalid("HOST", host, &format!("must be an address of this machine: {addr}: {source}"))
                .into()
        }
        ClusterStartError::Bind { addr, source } => {
            env::invalid("CLUSTER_PORT", &port, &format!("must be a free port: {addr}: {source}")).into()
        }
        error => error.into(),
    }
}
