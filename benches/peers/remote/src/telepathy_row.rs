//! actix-telepathy. It has no calls: a request and a reply with an id, and a table of who waits.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::prelude::*;
use actix_broker::BrokerSubscribe;
use actix_telepathy::prelude::*;
use noex_bench::{Outcome, remote::driver::Driver};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::{PID, SMALL, announce, answer, free_port};

const ECHO: u8 = 0;
const COUNT: u8 = 1;
const LENGTH: u8 = 2;

#[derive(RemoteMessage, Serialize, Deserialize)]
struct Request {
    id: u64,
    pid: u64,
    kind: u8,
    #[serde(with = "serde_bytes")]
    payload: Vec<u8>,
}

#[derive(RemoteMessage, Serialize, Deserialize)]
struct Reply {
    id: u64,
    #[serde(with = "serde_bytes")]
    payload: Vec<u8>,
}

#[derive(RemoteMessage, Serialize, Deserialize)]
struct Sink {
    id: u64,
    pid: u64,
    #[serde(with = "serde_bytes")]
    payload: Vec<u8>,
}

#[derive(RemoteActor)]
#[remote_messages(Request, Sink)]
struct Server {
    casts: u64,
    client: Option<RemoteAddr>,
}

impl Actor for Server {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // What is beyond the default capacity would be lost.
        ctx.set_mailbox_capacity(1 << 20);
        self.register(ctx.address().recipient());
        self.subscribe_system_async::<ClusterLog>(ctx);
    }
}

impl Handler<Request> for Server {
    type Result = ();

    fn handle(&mut self, request: Request, _: &mut Context<Self>) {
        let payload = match request.kind {
            ECHO => request.payload,
            COUNT => self.casts.to_le_bytes().to_vec(),
            _ => (request.payload.len() as u64).to_le_bytes().to_vec(),
        };
        if let Some(client) = &self.client {
            client.do_send(Reply { id: request.id, payload });
        }
    }
}

impl Handler<Sink> for Server {
    type Result = ();

    fn handle(&mut self, _: Sink, _: &mut Context<Self>) {
        self.casts += 1;
    }
}

impl Handler<ClusterLog> for Server {
    type Result = ();

    fn handle(&mut self, log: ClusterLog, _: &mut Context<Self>) {
        if let ClusterLog::NewMember(node) = log {
            self.client = Some(node.get_remote_addr("Client".to_owned()));
        }
    }
}

impl ClusterListener for Server {}

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Vec<u8>>>>>;

#[derive(RemoteActor)]
#[remote_messages(Reply)]
struct Client {
    waiting: Waiting,
    found: mpsc::UnboundedSender<RemoteAddr>,
}

impl Actor for Client {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.register(ctx.address().recipient());
        self.subscribe_system_async::<ClusterLog>(ctx);
    }
}

impl Handler<Reply> for Client {
    type Result = ();

    fn handle(&mut self, reply: Reply, _: &mut Context<Self>) {
        if let Some(caller) = self.waiting.lock().remove(&reply.id) {
            let _gone = caller.send(reply.payload);
        }
    }
}

impl Handler<ClusterLog> for Client {
    type Result = ();

    fn handle(&mut self, log: ClusterLog, _: &mut Context<Self>) {
        if let ClusterLog::NewMember(node) = log {
            let _gone = self.found.send(node.get_remote_addr("Server".to_owned()));
        }
    }
}

impl ClusterListener for Client {}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

pub(crate) fn serve() -> Outcome<()> {
    let port = free_port()?;
    System::new().block_on(async move {
        let _server = Server { casts: 0, client: None }.start();
        let _cluster = Cluster::new(address(port), vec![]);
        announce(port).await
    })
}

pub(crate) fn drive(port: u16, server_pid: u32) -> Outcome<()> {
    let own = free_port()?;
    System::new().block_on(async move {
        let (found, mut servers) = mpsc::unbounded_channel();
        let waiting = Waiting::default();
        let _client = Client { waiting: Arc::clone(&waiting), found }.start();
        // It registers for news of the cluster first.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let _cluster = Cluster::new(address(own), vec![address(port)]);
        let server = servers.recv().await.ok_or("the client actor ended")?;
        // The server has to hear of the client, too, and does not say when it did.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let remote = Remote { server, waiting, next: AtomicU64::new(1) };
        tokio::spawn(answer(remote, server_pid)).await?
    })
}

struct Remote {
    server: RemoteAddr,
    waiting: Waiting,
    next: AtomicU64,
}

impl Remote {
    async fn request(&self, kind: u8, payload: Vec<u8>) -> Outcome<Vec<u8>> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (caller, reply) = oneshot::channel();
        self.waiting.lock().insert(id, caller);
        self.server.do_send(Request { id, pid: PID, kind, payload });
        Ok(reply.await?)
    }

    async fn number(&self, kind: u8, payload: Vec<u8>) -> Outcome<u64> {
        let reply = self.request(kind, payload).await?;
        Ok(u64::from_le_bytes(reply.as_slice().try_into()?))
    }
}

impl Driver for Remote {
    const PAYLOAD: usize = SMALL;

    async fn call(&self, payload: Vec<u8>) -> Outcome<usize> {
        Ok(self.request(ECHO, payload).await?.len())
    }

    async fn cast(&self, payload: Vec<u8>) -> Outcome<()> {
        self.server.do_send(Sink { id: 1, pid: PID, payload });
        Ok(())
    }

    async fn count(&self) -> Outcome<u64> {
        self.number(COUNT, Vec::new()).await
    }

    async fn big(&self, payload: Vec<u8>) -> Outcome<usize> {
        Ok(self.number(LENGTH, payload).await? as usize)
    }
}
