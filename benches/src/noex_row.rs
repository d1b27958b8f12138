//! The rows `noex`, `noex-open` and `noex-tls`: two cluster nodes, one connection, one target process.
//!
//! | Row | Secret |
//! |---|---|
//! | `noex` | on both sides, else the default configuration |
//! | `noex-open` | none: loopback peers are let in without |
//! | `noex-tls` | as `noex`, within TLS with certificates at both ends |
//!
//! The client node has one arbiter, so that callers run where its connection does. The server node is as
//! it comes. The target is spawned from the client, which then has a reference to it.

use std::{hint::black_box, time::Duration};

use actix_rt::System;
use noex_actors::{CastError, ExitReason, NodeId, Ref, Unsent, behavior};
use noex_net::{Cluster, ClusterConfig, ClusterConfigBuilder, TlsConfig};
use serde_bytes::ByteBuf;
use tokio::{sync::oneshot, time::timeout};

use crate::{
    Outcome, child,
    driver::{Callers, Driver},
    frame::{MSG_PAYLOAD, Msg},
};

const HOST: &str = "127.0.0.1";
const SERVER: &str = "server";
const CLIENT: &str = "client";
/// How long the two nodes may take to find each other.
const CONNECTING: Duration = Duration::from_secs(10);

/// Whether the nodes have a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Auth {
    Secret,
    Open,
    /// TLS, and a secret within.
    Tls,
}

impl Auth {
    fn secret(self) -> Option<String> {
        (self != Auth::Open).then(|| "a secret for a benchmark over loopback".to_owned())
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
    fn big(&mut self, payload: ByteBuf) -> usize {
        payload.len()
    }
}

/// The server process: a node that may be asked to spawn the target.
pub(crate) fn serve(auth: Auth) -> Outcome<()> {
    System::new().block_on(async move {
        let config = ClusterConfig::builder(SERVER).host(HOST).port(0).secret(auth.secret());
        let config = auth.secure(config, std::process::id())?.build()?;
        let cluster = Cluster::builder(config).behavior::<Target>().start().await?;
        child::announce(cluster.local_node_id().port())?;
        child::stdin_closed().await?;
        cluster.stop().await;
        Ok(())
    })
}

/// The client process.
pub(crate) fn drive(auth: Auth, port: u16, server_pid: u32) -> Outcome<()> {
    System::new().block_on(async move {
        let peer = NodeId::new(SERVER, HOST, port)?;
        let config =
            ClusterConfig::builder(CLIENT).host(HOST).port(0).seed(peer.to_string()).secret(auth.secret());
        let config = auth.secure(config, server_pid)?.build()?;
        let cluster = Cluster::builder(config).arbiters(1).start().await?;
        timeout(CONNECTING, cluster.wait_for_nodes(2)).await??;
        let target = cluster.spawn_on::<Target>(&peer, ()).await?;
        // All callers are made by this task, and run where it runs: on the arbiter of the connection.
        let (ended, end) = oneshot::channel();
        cluster.next_arbiter().spawn(async move {
            let _gone = ended.send(child::answer(Callers::new(Link { target }), server_pid).await);
        });
        end.await??;
        cluster.stop().await;
        Ok(())
    })
}

#[derive(Debug)]
struct Link {
    target: Ref<Target>,
}

impl Driver for Link {
    const PAYLOAD: usize = MSG_PAYLOAD;

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
        Ok(self.target.big(ByteBuf::from(payload)).await?)
    }
}
