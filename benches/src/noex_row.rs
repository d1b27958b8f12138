//! The rows of noex: two cluster nodes, one connection, a target process and one more for pings.
//!
//! | Row | Secret | Callers and target |
//! |---|---|---|
//! | `noex` | on both sides, else the default configuration | on the arbiter of the connection |
//! | `noex-open` | none: loopback peers are let in without | the same |
//! | `noex-tls` | as `noex`, within TLS with certificates at both ends | the same |
//! | `noex-blake3`, `noex-hmac` | as `noex`, with this tag | the same |
//! | `noex-cross` | as `noex` | each on an arbiter that is not that of the connection |
//! | `noex-two` | as `noex` | half of the callers on the arbiter of the connection, half on another |
//! | `noex-one` | as `noex` | as `noex`; what `noex-two` is compared with |
//!
//! The client has one arbiter in its pool, which is that of the connection; the server is as it comes. The target of most rows is spawned from the client, which
//! then has a reference to it.

use std::{
    future::Future,
    hint::black_box,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use actix_rt::{Arbiter, System};
use futures_util::StreamExt;
use noex_actors::{Bytes, CastError, ExitReason, NodeId, Placement, Ref, Unsent, behavior};
use noex_net::{Cluster, ClusterConfig, ClusterConfigBuilder, TagAlgorithm, TlsConfig};
use serde_bytes::ByteBuf;
use tokio::{runtime::Handle, sync::oneshot, task::JoinHandle, time::timeout};

use crate::{
    Outcome, child, driver,
    driver::Driver,
    frame::{MSG_PAYLOAD, Msg},
};

const HOST: &str = "127.0.0.1";
const SERVER: &str = "server";
const CLIENT: &str = "client";
/// The global name of a target that its own node started.
const APART: &str = "bench.apart";
/// How long the two nodes may take to find each other.
const CONNECTING: Duration = Duration::from_secs(10);

/// A row of noex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) auth: Auth,
    pub(crate) callers: Callers,
}

/// Where the callers and the target run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Callers {
    /// On the arbiter of the connection.
    Beside,
    /// On others.
    Apart,
    /// Every other caller on another arbiter; the target beside the connection.
    Both,
}

/// Whether the nodes have a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Auth {
    /// With the tag that is the default here, or this one.
    Secret(Option<TagAlgorithm>),
    Open,
    /// TLS, and a secret within.
    Tls,
}

impl Auth {
    fn config(self, name: &str) -> ClusterConfigBuilder {
        let secret = (self != Auth::Open).then(|| "a secret for a benchmark over loopback".to_owned());
        let config = ClusterConfig::builder(name).host(HOST).port(0).secret(secret);
        match self {
            Auth::Secret(Some(tag)) => config.tags([tag]),
            Auth::Secret(None) | Auth::Open | Auth::Tls => config,
        }
    }

    /// Both nodes show the same certificate, which is its own CA. It is made by the server.
    fn secure(self, config: ClusterConfigBuilder, server_pid: u32) -> Outcome<ClusterConfigBuilder> {
        if self != Auth::Tls {
            return Ok(config);
        }
        let paths = ["cert", "key"]
            .map(|part| std::env::temp_dir().join(format!("noex-bench-{server_pid}.{part}.pem")));
        let [certificate, key] = &paths;
        if server_pid == std::process::id() {
            let made = rcgen::generate_simple_self_signed([SERVER.to_owned(), CLIENT.to_owned()])?;
            std::fs::write(certificate, made.cert.pem())?;
            std::fs::write(key, made.signing_key.serialize_pem())?;
        }
        let tls = TlsConfig::from_pem_files(certificate, certificate, key)?;
        if server_pid != std::process::id() {
            paths.iter().try_for_each(std::fs::remove_file)?;
        }
        Ok(config.tls(tls))
    }
}

/// The target process.
#[derive(Debug)]
pub(crate) struct Target {
    casts: u64,
}

#[behavior(name = "bench.target")]
impl Target {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Target { casts: 0 })
    }

    /// Answers with what came, as the baselines do.
    #[call]
    fn echo(&mut self, id: u64, pid: u64, payload: ByteBuf) -> (u64, u64, ByteBuf) {
        (id, pid, payload)
    }

    #[cast]
    fn sink(&mut self, id: u64, pid: u64, payload: ByteBuf) {
        black_box((id, pid, payload));
        self.casts += 1;
    }

    #[call]
    fn count(&mut self) -> u64 {
        self.casts
    }

    #[call]
    fn big(&mut self, payload: Bytes) -> usize {
        payload.len()
    }
}

/// The server process: a node that may be asked to spawn the target.
pub(crate) fn serve(kind: Kind) -> Outcome<()> {
    System::new().block_on(async move {
        let config = kind.auth.secure(kind.auth.config(SERVER), std::process::id())?.build()?;
        let cluster = Cluster::builder(config).behavior::<Target>();
        let cluster = if kind.callers == Callers::Apart { cluster.arbiters(1) } else { cluster };
        let cluster = cluster.start().await?;
        if kind.callers == Callers::Apart {
            let target = cluster.spawn::<Target>(()).placement(Placement::Dedicated).await?;
            cluster.global().register(APART, &target)?;
        }
        child::announce(cluster.local_node_id().port())?;
        child::stdin_closed().await?;
        cluster.stop().await;
        Ok(())
    })
}

/// The client process.
pub(crate) fn drive(kind: Kind, port: u16, server_pid: u32) -> Outcome<()> {
    System::new().block_on(async move {
        let peer = NodeId::new(SERVER, HOST, port)?;
        let config = kind.auth.config(CLIENT).seed(peer.to_string());
        let config = kind.auth.secure(config, server_pid)?.build()?;
        let cluster = Cluster::builder(config).arbiters(1).start().await?;
        timeout(CONNECTING, cluster.wait_for_nodes(2)).await??;
        let target = match kind.callers {
            Callers::Apart => timeout(CONNECTING, named(&cluster)).await??,
            Callers::Beside | Callers::Both => cluster.spawn_on::<Target>(&peer, ()).await?,
        };
        let pinged = cluster.spawn_on::<Target>(&peer, ()).await?;
        let other = match kind.callers {
            Callers::Beside => None,
            Callers::Apart | Callers::Both => Some(Arbiter::new()),
        };
        let second = match (&other, kind.callers) {
            (Some(other), Callers::Both) => {
                let (found, handle) = oneshot::channel();
                other.spawn(async move { drop(found.send(Handle::current())) });
                Some(handle.await?)
            }
            _ => None,
        };
        let link = Link { target, pinged, second, callers: AtomicUsize::new(0) };
        // All callers are made by this task, and run where it runs, but those of `second`.
        let (ended, end) = oneshot::channel();
        let driving = async move {
            let _gone = ended.send(child::answer(driver::Callers::new(link), server_pid).await);
        };
        match &other {
            Some(other) if kind.callers == Callers::Apart => drop(other.spawn(driving)),
            _ => drop(cluster.next_arbiter().spawn(driving)),
        }
        end.await??;
        cluster.stop().await;
        Ok(())
    })
}

/// The target that the server started, as soon as its name is known here.
async fn named(cluster: &Cluster) -> Outcome<Ref<Target>> {
    let mut seen = cluster.global().watch(APART);
    loop {
        if let Some(target) = cluster.global().whereis(APART) {
            return Ok(target);
        }
        seen.next().await.ok_or("the names ended")?;
    }
}

#[derive(Debug)]
struct Link {
    target: Ref<Target>,
    pinged: Ref<Target>,
    /// Every other caller runs here.
    second: Option<Handle>,
    callers: AtomicUsize,
}

impl Driver for Link {
    const PAYLOAD: usize = MSG_PAYLOAD;
    const PINGS: bool = true;

    fn spawn<F>(&self, caller: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        match &self.second {
            Some(second) if self.callers.fetch_add(1, Ordering::Relaxed) % 2 == 1 => second.spawn(caller),
            _ => tokio::spawn(caller),
        }
    }

    async fn call(&self, payload: Vec<u8>) -> Outcome<usize> {
        let (_, _, payload) = self.target.echo(1, Msg::PID, ByteBuf::from(payload)).await?;
        Ok(payload.len())
    }

    async fn cast(&self, payload: Vec<u8>) -> Outcome<()> {
        let sink = TargetCast::Sink { id: 1, pid: Msg::PID, payload: ByteBuf::from(payload) };
        match self.target.try_cast(sink) {
            Ok(()) => Ok(()),
            Err(Unsent { message, error: CastError::Overloaded(_), .. }) => {
                Ok(self.target.cast_wait(message).await?)
            }
            Err(unsent) => Err(unsent.error.into()),
        }
    }

    async fn count(&self) -> Outcome<u64> {
        Ok(self.target.count().await?)
    }

    async fn big(&self, payload: Vec<u8>) -> Outcome<usize> {
        Ok(self.target.big(Bytes::from(payload)).await?)
    }

    async fn big_shared(&self, payload: &Bytes) -> Outcome<usize> {
        Ok(self.target.big(payload.clone()).await?)
    }

    async fn ping(&self, payload: Vec<u8>) -> Outcome<usize> {
        let (_, _, payload) = self.pinged.echo(1, Msg::PID, ByteBuf::from(payload)).await?;
        Ok(payload.len())
    }
}
