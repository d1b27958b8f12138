//! Accepts connections, within the limits for unauthenticated ones.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, WrapFuture};

use super::{
    messages::{Admitted, Evict, StopListening},
    peer_connection::{self, Origin, PeerConnection},
};
use crate::{
    io::socket::{Bound, Listening, Socket},
    machine::{admission::Admission, sessions::ConnId},
    net::Net,
};

/// How long to wait after an error of `accept`, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Numbers of connections, incoming and outgoing.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnIds(Arc<AtomicU64>);

impl ConnIds {
    pub(crate) fn next(&self) -> ConnId {
        ConnId(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// The listening socket of a node.
pub(crate) struct Listener {
    net: Arc<Net>,
    ids: ConnIds,
    socket: Option<Bound>,
    admission: Admission,
    waiting: BTreeMap<ConnId, Addr<PeerConnection>>,
}

impl Listener {
    pub(crate) fn new(net: Arc<Net>, ids: ConnIds, socket: Bound) -> Self {
        let admission = Admission::new(net.config.max_unauthenticated());
        Self { net, ids, socket: Some(socket), admission, waiting: BTreeMap::new() }
    }

    fn accept(&mut self, socket: Socket, remote: SocketAddr, ctx: &mut Context<Self>) {
        let conn = self.ids.next();
        if let Some(evicted) = self.admission.admit(conn, remote.ip())
            && let Some(connection) = self.waiting.remove(&evicted)
        {
            let _ = connection.try_send(Evict);
        }
        let origin = Origin::Accepted { socket: Box::new(socket), remote, listener: ctx.address() };
        match peer_connection::start(&self.net, conn, origin) {
            Some(connection) => {
                self.waiting.insert(conn, connection);
            }
            None => self.admission.release(conn),
        }
    }
}

impl Actor for Listener {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Connections end one by one while new ones come: a small mailbox must not lose that.
        ctx.set_mailbox_capacity(4096);
        let Some(socket) = self.socket.take() else { return };
        match socket.settle() {
            Ok(socket) => {
                ctx.spawn(accept_next(socket).into_actor(self).map(accepted));
            }
            Err(error) => {
                tracing::error!(%error, "the listening socket cannot be used");
                ctx.stop();
            }
        }
    }
}

type Accepted = (Listening, std::io::Result<(Socket, SocketAddr)>);

async fn accept_next(mut listener: Listening) -> Accepted {
    let accepted = listener.accept().await;
    if let Err(error) = &accepted {
        tracing::warn!(%error, "accept failed");
        actix_rt::time::sleep(ACCEPT_PAUSE).await;
    }
    (listener, accepted)
}

fn accepted((listener, outcome): Accepted, this: &mut Listener, ctx: &mut Context<Listener>) {
    if let Ok((socket, remote)) = outcome {
        this.accept(socket, remote, ctx);
    }
    ctx.spawn(accept_next(listener).into_actor(this).map(accepted));
}

impl Handler<Admitted> for Listener {
    type Result = ();
    fn handle(&mut self, Admitted(conn): Admitted, _: &mut Self::Context) {
        self.admission.release(conn);
        self.waiting.remove(&conn);
    }
}

impl Handler<StopListening> for Listener {
    type Result = ();
    fn handle(&mut self, _: StopListening, ctx: &mut Self::Context) {
        for connection in self.waiting.values() {
            let _ = connection.try_send(Evict);
        }
        ctx.stop();
    }
}
