//! elfo with its feature `network`: a group of one producer here, a group of one consumer there.

use std::{sync::Arc, time::Duration};

use elfo::{Context, Topology, batteries, prelude::*, scope::Scope, topology::Outcome as Routed};
use noex_bench::{Outcome, remote::driver::Driver};
use parking_lot::Mutex;
use serde_bytes::ByteBuf;

use crate::{ID, PID, SMALL, announce, answer, free_port, on_tokio};

#[message(ret = (u64, u64, ByteBuf))]
struct Echo {
    id: u64,
    pid: u64,
    payload: ByteBuf,
}

#[message]
struct Sink {
    id: u64,
    pid: u64,
    payload: ByteBuf,
}

#[message(ret = u64)]
struct Count;

#[message(ret = u64)]
struct Big {
    payload: ByteBuf,
}

fn consumer() -> Blueprint {
    ActorGroup::new().exec(|mut ctx| async move {
        let mut casts = 0u64;
        while let Some(envelope) = ctx.recv().await {
            msg!(match envelope {
                Sink { .. } => casts += 1,
                (Echo { id, pid, payload }, token) => ctx.respond(token, (id, pid, payload)),
                (Count, token) => ctx.respond(token, casts),
                (Big { payload }, token) => ctx.respond(token, payload.len() as u64),
            });
        }
    })
}

/// The actor that all callers call from.
fn producer(server_pid: u32) -> Blueprint {
    ActorGroup::new().exec(move |ctx| async move {
        while ctx.request(Count).resolve().await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let remote = Remote { ctx: Arc::new(ctx.pruned()), scope: Mutex::new(elfo::scope::expose()) };
        tokio::spawn(async move {
            if let Err(failure) = answer(remote, server_pid).await {
                eprintln!("noex-bench-remote-peers: elfo: {failure}");
                std::process::exit(1);
            }
        });
        std::future::pending::<()>().await;
    })
}

/// `server` is the port to connect to, of a client.
fn topology(port: u16, telemetry: u16, client: Option<(u16, u32)>) -> Outcome<Topology> {
    let topology = Topology::empty();
    let telemeter = batteries::telemeter::init();
    let telemeters = topology.local("system.telemeters");
    let dumpers = topology.local("system.dumpers");
    let configurers = topology.local("system.configurers").entrypoint();
    let network = topology.local("system.network");
    if let Some((_, server_pid)) = client {
        let producers = topology.local("producers");
        let consumers = topology.remote("consumers");
        producers.route_to(&consumers, |_, _| Routed::Broadcast);
        producers.mount(producer(server_pid));
    } else {
        topology.local("consumers").mount(consumer());
    }
    telemeters.mount(telemeter);
    dumpers.mount(batteries::dumper::new());
    network.mount(batteries::network::new(&topology));
    let predefined = client.map_or_else(String::new, |(server, _)| format!("\"tcp://127.0.0.1:{server}\""));
    let config = format!(
        r#"
        [common]
        system.dumping.disabled = true
        system.logging.max_level = "Off"
        [system.telemeters]
        sink = "OpenMetrics"
        address = "127.0.0.1:{telemetry}"
        [system.dumpers]
        path = "/dev/null"
        [system.network]
        listen = ["tcp://127.0.0.1:{port}"]
        discovery.predefined = [{predefined}]
        discovery.attempt_interval = "300ms"
        "#
    );
    configurers.mount(batteries::configurer::fixture(&topology, config.parse::<toml::Table>()?));
    Ok(topology)
}

pub(crate) fn serve() -> Outcome<()> {
    let (port, telemetry) = (free_port()?, free_port()?);
    on_tokio(async move {
        tokio::spawn(elfo::init::start(topology(port, telemetry, None)?));
        announce(port).await
    })
}

pub(crate) fn drive(port: u16, server_pid: u32) -> Outcome<()> {
    let (own, telemetry) = (free_port()?, free_port()?);
    on_tokio(async move {
        elfo::init::start(topology(own, telemetry, Some((port, server_pid)))?).await;
        Ok(())
    })
}

struct Remote {
    ctx: Arc<Context>,
    scope: Mutex<Scope>,
}

impl Remote {
    fn scope(&self) -> Scope {
        self.scope.lock().clone()
    }
}

impl Driver for Remote {
    const PAYLOAD: usize = SMALL;

    async fn call(&self, payload: Vec<u8>) -> Outcome<usize> {
        let echo = Echo { id: ID, pid: PID, payload: ByteBuf::from(payload) };
        let (_, _, payload) = self.scope().within(async { self.ctx.request(echo).resolve().await }).await?;
        Ok(payload.len())
    }

    async fn cast(&self, payload: Vec<u8>) -> Outcome<()> {
        let sink = Sink { id: ID, pid: PID, payload: ByteBuf::from(payload) };
        self.scope()
            .within(async { self.ctx.send(sink).await })
            .await
            .map_err(|error| error.to_string().into())
    }

    async fn count(&self) -> Outcome<u64> {
        Ok(self.scope().within(async { self.ctx.request(Count).resolve().await }).await?)
    }

    async fn big(&self, payload: Vec<u8>) -> Outcome<usize> {
        let big = Big { payload: ByteBuf::from(payload) };
        Ok(self.scope().within(async { self.ctx.request(big).resolve().await }).await? as usize)
    }
}
