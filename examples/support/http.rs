//! The HTTP server of the node: the endpoints of noex, and calls of counters.

use std::{
    collections::BTreeMap,
    fmt, io,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_web::{
    App, HttpResponse, HttpServer, ResponseError,
    dev::ServerHandle,
    http::header::RETRY_AFTER,
    rt::{self, time::Instant},
    web::{self, Data, Path, Query},
};
use noex::{
    CallError, Cluster, Delivery, InvalidClusterConfig, Ref, env,
    web::{Allowed, Budget, Endpoints, Error},
};
use serde_json::json;

use crate::counter::Counter;

/// Threads that answer. What is asked is small.
const THREADS: usize = 2;
/// How long requests in flight may take when the node stops.
const DRAIN: Duration = Duration::from_secs(5);

/// The server, answering from now on.
pub(crate) struct Server {
    handle: ServerHandle,
    calls: Calls,
    endpoints: Endpoints,
}

impl Server {
    /// Binds the port and serves: `/health` says 503 until the endpoints have a cluster.
    pub(crate) fn start(port: u16, endpoints: &Endpoints) -> Result<Self, InvalidClusterConfig> {
        let bound = listen(port);
        let refused = |error: io::Error| {
            env::invalid("HEALTH_PORT", &port.to_string(), &format!("must be a free port: {error}"))
        };
        let calls = Calls::default();
        let (shown, counted) = (endpoints.clone(), calls.clone());
        let app = move || {
            App::new()
                .app_data(Data::new(counted.clone()))
                .service(web::resource("/noex/api/call/{name}/add").route(web::post().to(add)))
                .service(web::resource("/noex/api/call/{name}/get").route(web::get().to(get)))
                .service(web::resource("/noex/api/names").route(web::get().to(names)))
                .configure(shown.configure())
                .default_service(web::to(|| async { HttpResponse::NotFound().body("not found") }))
        };
        let server =
            HttpServer::new(app).workers(THREADS).disable_signals().shutdown_timeout(DRAIN.as_secs());
        let server = bound.and_then(|listener| server.listen(listener)).map_err(refused)?.run();
        let handle = server.handle();
        rt::spawn(server);
        Ok(Self { handle, calls, endpoints: endpoints.clone() })
    }

    /// Takes no new calls, says `not ready`, and waits for the calls in flight; 5 s at most.
    pub(crate) async fn drain(&self) {
        self.endpoints.stopping();
        let until = Instant::now() + DRAIN;
        while self.calls.in_flight() > 0 && Instant::now() < until {
            rt::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends the server.
    pub(crate) async fn stop(self) {
        self.handle.stop(true).await;
    }
}

fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind(("0.0.0.0", port))
}

/// Calls that were let in and are not answered yet.
#[derive(Clone, Default)]
struct Calls(Arc<AtomicUsize>);

struct Call(Calls);

impl Calls {
    fn in_flight(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    fn enter(&self) -> Call {
        self.0.fetch_add(1, Ordering::AcqRel);
        Call(self.clone())
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[derive(serde::Deserialize)]
struct Add {
    n: i64,
}

async fn add(
    _: Allowed,
    name: Path<String>,
    add: Result<Query<Add>, actix_web::Error>,
    budget: Budget,
    node: Data<Endpoints>,
    calls: Data<Calls>,
) -> Result<HttpResponse, Refused> {
    let add = add.map_err(|_bad_query| Refused::NotANumber)?;
    let _call = calls.enter();
    let counter = find(&node, &name)?;
    let value = counter.add(add.n).timeout(budget.remaining()).await?;
    Ok(answer(&counter, value))
}

async fn get(
    _: Allowed,
    name: Path<String>,
    budget: Budget,
    node: Data<Endpoints>,
    calls: Data<Calls>,
) -> Result<HttpResponse, Refused> {
    let _call = calls.enter();
    let counter = find(&node, &name)?;
    let value = counter.get().timeout(budget.remaining()).await?;
    Ok(answer(&counter, value))
}

/// Every global name, and which process has it, as this node sees it.
async fn names(_: Allowed, node: Data<Endpoints>) -> Result<HttpResponse, Refused> {
    let global = running(&node)?.global();
    let holder = |name: String| global.pid(&name).map(|pid| (name, pid.to_string()));
    let holders: BTreeMap<_, _> = global.names().into_iter().filter_map(holder).collect();
    Ok(HttpResponse::Ok().json(holders))
}

/// The counter, wherever it lives.
fn find(node: &Endpoints, name: &str) -> Result<Ref<Counter>, Refused> {
    let counter = running(node)?.global().whereis(name);
    Ok(counter.ok_or_else(|| CallError::NoName(name.to_owned()))?)
}

/// A node that starts or stops takes no calls.
fn running(node: &Endpoints) -> Result<&Cluster, Refused> {
    node.cluster().filter(|_| !node.is_stopping()).ok_or(Refused::NotNow)
}

fn answer(counter: &Ref<Counter>, value: i64) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "value": value, "node": counter.pid().node_id() }))
}

/// Why there is no value.
#[derive(Debug)]
enum Refused {
    Call(Error),
    NotANumber,
    NotNow,
}

impl From<CallError> for Refused {
    fn from(error: CallError) -> Self {
        Self::Call(error.into())
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(error) => error.fmt(f),
            Self::NotANumber => f.write_str("n must be a whole number: ?n=2"),
            Self::NotNow => f.write_str("this node takes no calls now"),
        }
    }
}

impl ResponseError for Refused {
    fn error_response(&self) -> HttpResponse {
        let body = json!({ "error": self.to_string(), "delivery": Delivery::Never });
        match self {
            Self::Call(error) => error.error_response(),
            Self::NotANumber => HttpResponse::BadRequest().json(body),
            Self::NotNow => HttpResponse::ServiceUnavailable().insert_header((RETRY_AFTER, "1")).json(body),
        }
    }
}
