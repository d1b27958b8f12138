//! kameo with its feature `remote`, over a libp2p swarm of its own making: TCP, noise, yamux.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use kameo::prelude::*;
use libp2p::{Multiaddr, Swarm, SwarmBuilder, noise, swarm::SwarmEvent, tcp, yamux};
use noex_bench::{Outcome, remote::driver::Driver};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tokio::sync::Semaphore;

use crate::{ID, PID, SMALL, announce, answer, free_port, on_tokio};

const NAME: &str = "target";
/// Casts under way.
const CASTS: usize = 64;
/// Requests under way; with the default of 100 it loses its connection to 512 callers.
const STREAMS: usize = 1024;

#[derive(Actor, RemoteActor)]
pub(crate) struct Target {
    casts: u64,
}

#[derive(Serialize, Deserialize, Reply)]
pub(crate) struct Echo {
    id: u64,
    pid: u64,
    payload: ByteBuf,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Sink {
    id: u64,
    pid: u64,
    payload: ByteBuf,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Count;

#[derive(Serialize, Deserialize)]
pub(crate) struct Big(ByteBuf);

#[remote_message]
impl Message<Echo> for Target {
    type Reply = Echo;

    async fn handle(&mut self, message: Echo, _: &mut Context<Self, Echo>) -> Echo {
        message
    }
}

#[remote_message]
impl Message<Sink> for Target {
    type Reply = ();

    async fn handle(&mut self, _: Sink, _: &mut Context<Self, ()>) {
        self.casts += 1;
    }
}

#[remote_message]
impl Message<Count> for Target {
    type Reply = u64;

    async fn handle(&mut self, _: Count, _: &mut Context<Self, u64>) -> u64 {
        self.casts
    }
}

#[remote_message]
impl Message<Big> for Target {
    type Reply = u64;

    async fn handle(&mut self, message: Big, _: &mut Context<Self, u64>) -> u64 {
        message.0.len() as u64
    }
}

fn swarm(port: u16) -> Outcome<Swarm<remote::Behaviour>> {
    let config = remote::messaging::Config::default()
        .with_max_concurrent_streams(STREAMS)
        .with_request_size_maximum(16 << 20);
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
        .with_behaviour(move |key| remote::Behaviour::new(key.public().to_peer_id(), config))?
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600)))
        .build();
    swarm.behaviour().init_global();
    swarm.listen_on(address(port)?)?;
    Ok(swarm)
}

fn address(port: u16) -> Outcome<Multiaddr> {
    Ok(format!("/ip4/127.0.0.1/tcp/{port}").parse()?)
}

/// Drives the swarm, and tells it the addresses of its peers, which it needs to find names.
async fn drive_swarm(mut swarm: Swarm<remote::Behaviour>) {
    loop {
        if let SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } = swarm.select_next_some().await {
            swarm.add_peer_address(peer_id, endpoint.get_remote_address().clone());
        }
    }
}

pub(crate) fn serve() -> Outcome<()> {
    let port = free_port()?;
    on_tokio(async move {
        tokio::spawn(drive_swarm(swarm(port)?));
        let target = Target::spawn(Target { casts: 0 });
        tokio::spawn(async move {
            // Until the client is there nobody knows the name.
            while target.register(NAME).await.is_err() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            std::future::pending::<()>().await;
        });
        announce(port).await
    })
}

pub(crate) fn drive(port: u16, server_pid: u32) -> Outcome<()> {
    let own = free_port()?;
    on_tokio(async move {
        let mut swarm = swarm(own)?;
        swarm.dial(address(port)?)?;
        tokio::spawn(drive_swarm(swarm));
        let target = loop {
            if let Ok(Some(target)) = RemoteActorRef::<Target>::lookup(NAME).await {
                break target;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        answer(Remote { target, casts: Arc::new(Semaphore::new(CASTS)) }, server_pid).await
    })
}

struct Remote {
    target: RemoteActorRef<Target>,
    casts: Arc<Semaphore>,
}

impl Driver for Remote {
    const PAYLOAD: usize = SMALL;

    async fn call(&self, payload: Vec<u8>) -> Outcome<usize> {
        let echo = Echo { id: ID, pid: PID, payload: ByteBuf::from(payload) };
        Ok(self.target.ask(&echo).await?.payload.len())
    }

    async fn cast(&self, payload: Vec<u8>) -> Outcome<()> {
        let under_way = Arc::clone(&self.casts).acquire_owned().await?;
        let target = self.target.clone();
        tokio::spawn(async move {
            let sink = Sink { id: ID, pid: PID, payload: ByteBuf::from(payload) };
            if let Err(error) = target.tell(&sink).send_ack().await {
                eprintln!("noex-bench-remote-peers: kameo: {error}");
            }
            drop(under_way);
        });
        Ok(())
    }

    async fn count(&self) -> Outcome<u64> {
        Ok(self.target.ask(&Count).await?)
    }

    async fn big(&self, payload: Vec<u8>) -> Outcome<usize> {
        Ok(self.target.ask(&Big(ByteBuf::from(payload))).await? as usize)
    }
}
