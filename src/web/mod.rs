//! What an actix-web server answers about its node, and how errors of calls become responses.
//!
//! | Room | What it decides |
//! |---|---|
//! | `mod` | [`configure`], [`Endpoints`]: which routes there are |
//! | `health` | `/health` and `/ready`: is it alive, may it be given work |
//! | `metrics` | `/metrics`: Prometheus text |
//! | `view` | `/noex/api/cluster`: what this node knows of the cluster |
//! | `access` | who may ask `/noex/api` |
//! | `error`, `budget` | [`Error`] and [`Budget`], for the handlers of the application |
//!
//! Routes are exact: an application may add its own below `/noex/api`. Nothing here is global: two clusters of one
//! program have two sets of endpoints.
//!
//! ```no_run
//! # async fn serve(cluster: noex::Cluster) -> std::io::Result<()> {
//! use actix_web::{App, HttpServer};
//! let server = HttpServer::new(move || App::new().configure(noex::web::configure(&cluster)));
//! server.bind(("0.0.0.0", 8080))?.run().await
//! # }
//! ```

mod access;
mod budget;
mod error;
mod health;
mod metrics;
mod view;

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use actix_web::web::{Data, ServiceConfig, get, head, resource};
use noex_net::Cluster;

use self::access::Token;
pub use self::{access::Allowed, budget::Budget, error::Error};

/// Adds `/health`, `/ready`, `/metrics` and `/noex/api/cluster` of a running cluster to an application.
///
/// `/noex/api/…` answers to loopback; to others only with `Authorization: Bearer …` as the environment variable
/// `API_TOKEN` says, and with 403 where that is not set. Behind a proxy on the same machine everybody is loopback: do
/// not pass `/noex` on there.
pub fn configure(cluster: &Cluster) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let endpoints = Endpoints::new();
    endpoints.started(cluster);
    endpoints.configure()
}

/// The endpoints of a program whose cluster is not there from the start to the end: they answer (503) before it is
/// started, and say `not ready` while the program stops.
#[derive(Clone, Default)]
pub struct Endpoints(Arc<Shared>);

#[derive(Default)]
struct Shared {
    cluster: OnceLock<Cluster>,
    stopping: AtomicBool,
    token: Token,
}

impl Endpoints {
    /// Endpoints without a cluster; the token is read from `API_TOKEN`.
    #[must_use]
    pub fn new() -> Self {
        let token = Token::from_env();
        Self(Arc::new(Shared { token, ..Shared::default() }))
    }

    /// The cluster to tell of, from now on. Once; a second one changes nothing.
    pub fn started(&self, cluster: &Cluster) {
        let _ = self.0.cluster.set(cluster.clone());
    }

    /// From now on `/ready` says no: give this node no new work.
    pub fn stopping(&self) {
        self.0.stopping.store(true, Ordering::Release);
    }

    /// Whether [`stopping`](Self::stopping) was called.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Acquire)
    }

    /// The cluster, once there is one.
    #[must_use]
    pub fn cluster(&self) -> Option<&Cluster> {
        self.0.cluster.get()
    }

    /// Adds the routes to an application.
    pub fn configure(&self) -> impl FnOnce(&mut ServiceConfig) + use<> {
        let endpoints = Data::new(self.clone());
        move |app| {
            app.app_data(endpoints);
            app.service(resource("/health").route(get().to(health::health)).route(head().to(health::health)));
            app.service(resource("/ready").route(get().to(health::ready)).route(head().to(health::ready)));
            app.service(resource("/metrics").route(get().to(metrics::metrics)));
            app.service(resource("/noex/api/cluster").route(get().to(view::cluster)));
        }
    }

    fn token(&self) -> &Token {
        &self.0.token
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let started = self.cluster().is_some();
        f.debug_struct("Endpoints").field("started", &started).field("stopping", &self.0.stopping).finish()
    }
}
