//! One connection to one node: its handshake, its reader, its flusher and its alarm.
//!
//! ```text
//! dial or accept ──► handshake ──► Authenticated ──► reader ──► end of the link ──► Closed
//! ```
//! Invariant: after `Authenticated`, `Closed` follows exactly once, when the last batch has been handed over.

mod loops;
mod opening;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use actix_rt::task::JoinHandle;

use self::{
    loops::{flush, keep_deadlines, read},
    opening::{Failed, Ready, accept, dial},
};
use super::{
    listener::Listener,
    messages::{Admitted, CloseConnection, Evict, Fact},
    start::start_on,
};
use crate::{
    event::DialError,
    io::{
        handshake::Channel,
        incoming::Incoming,
        outbox::turn,
        socket::{self, Socket},
    },
    link::Link,
    machine::{
        handshake::{RefusedReason, TagKey},
        membership::{DialOutcome, Target},
        sessions::ConnId,
    },
    net::Net,
    tls::Secured,
    wire::control::Control,
};

/// How long the last words of a connection may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How a connection came about.
pub(crate) enum Origin {
    /// This end dials.
    Dialled(Target),
    /// The other end dialled.
    Accepted { socket: Box<Socket>, remote: SocketAddr, listener: Addr<Listener> },
}

/// The actor of one connection.
pub(crate) struct PeerConnection {
    net: Arc<Net>,
    conn: ConnId,
    origin: Option<Origin>,
    link: Option<Arc<Link>>,
    /// The other end, of a connection that was accepted.
    remote: Option<SocketAddr>,
    evicted: bool,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts a connection on the next arbiter of the pool.
pub(crate) fn start(net: &Arc<Net>, conn: ConnId, origin: Origin) -> Option<Addr<PeerConnection>> {
    let arbiter = net.node.next_arbiter();
    let net = Arc::clone(net);
    // The socket belongs to the reactor of the thread that uses it.
    let origin = match origin {
        Origin::Accepted { socket, remote, listener } => {
            let socket = socket.into_portable().ok()?;
            Portable::Accepted { socket, remote, listener }
        }
        Origin::Dialled(target) => Portable::Dialled(target),
    };
    let remote = match &origin {
        Portable::Accepted { remote, .. } => Some(*remote),
        Portable::Dialled(_) => None,
    };
    let node = net.node.clone();
    Some(start_on(&arbiter, &node, "a connection", move || {
        let origin = match origin {
            Portable::Dialled(target) => Some(Origin::Dialled(target)),
            Portable::Accepted { socket, remote, listener } => socket
                .settle()
                .ok()
                .map(|socket| Origin::Accepted { socket: Box::new(socket), remote, listener }),
        };
        PeerConnection { net, conn, origin, link: None, remote, evicted: false, tasks: Vec::new() }
    }))
}

enum Portable {
    Dialled(Target),
    Accepted { socket: socket::Portable, remote: SocketAddr, listener: Addr<Listener> },
}

impl Actor for PeerConnection {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some(origin) = self.origin.take() else { return ctx.stop() };
        let net = Arc::clone(&self.net);
        match origin {
            Origin::Dialled(target) => {
                let dial = dial(net, target.clone());
                ctx.spawn(
                    dial.into_actor(self).map(move |outcome, this, ctx| this.dialled(target, outcome, ctx)),
                );
            }
            Origin::Accepted { socket, remote, listener } => {
                let accept = accept(net, *socket);
                ctx.spawn(accept.into_actor(self).map(move |outcome, this, ctx| {
                    let _ = listener.try_send(Admitted(this.conn));
                    let authenticated = outcome.and_then(|ready| this.authenticated(ready, None, ctx));
                    if let Err(failed) = authenticated {
                        this.refused(remote, failed, ctx);
                    }
                }));
            }
        }
    }
}

impl PeerConnection {
    fn dialled(
        &mut self,
        target: Target,
        outcome: Result<Ready, (Option<SocketAddr>, Failed)>,
        ctx: &mut Context<Self>,
    ) {
        let authenticated = outcome.and_then(|ready| {
            let addr = ready.channel.socket.peer_addr().ok();
            self.authenticated(ready, Some(&target), ctx).map_err(|failed| (addr, failed))
        });
        let Err((addr, failed)) = authenticated else { return };
        let (outcome, error) = match failed {
            Failed::SelfConnection => (DialOutcome::SelfAnswered, None),
            Failed::Dial(error) => (DialOutcome::Failed, Some(error)),
            Failed::RefusedByPeer(reason) => {
                if let Some(addr) = addr {
                    let detail = "the peer refused this node".to_owned();
                    self.net.tell(Fact::Refused { addr, reason, detail });
                }
                (DialOutcome::Failed, Some(DialError::Refused(reason)))
            }
            Failed::Refused(reason, detail) => {
                if let Some(addr) = addr {
                    self.net.tell(Fact::Refused { addr, reason, detail });
                }
                let error = match reason {
                    RefusedReason::Eof => DialError::Closed,
                    RefusedReason::Timeout => DialError::Timeout,
                    reason => DialError::Refused(reason),
                };
                (DialOutcome::Failed, Some(error))
            }
        };
        self.net.tell(Fact::DialEnded { target, outcome, error });
        ctx.stop();
    }

    fn refused(&mut self, addr: SocketAddr, failed: Failed, ctx: &mut Context<Self>) {
        let refused = match failed {
            Failed::Refused(reason, detail) => Some((reason, detail)),
            Failed::RefusedByPeer(reason) => Some((reason, "the peer refused this node".to_owned())),
            Failed::SelfConnection | Failed::Dial(_) => None,
        };
        if let Some((reason, detail)) = refused {
            let reason = if self.evicted { RefusedReason::Evicted } else { reason };
            self.net.tell(Fact::Refused { addr, reason, detail });
        }
        ctx.stop();
    }

    /// Makes a link of it, unless its key was retired while the handshake went on.
    fn authenticated(
        &mut self,
        ready: Ready,
        target: Option<&Target>,
        ctx: &mut Context<Self>,
    ) -> Result<(), Failed> {
        let Ready { channel: Channel { socket, mut secured }, established } = ready;
        let receive = established.receive_key.as_ref().map(TagKey::tagger);
        let (read_half, write_half) = socket.into_split();
        let cipher = secured.as_mut().map(Secured::authenticated);
        let link = Link::new(self.conn, &established, Arc::new(write_half), cipher, Arc::clone(&self.net));
        {
            // INVARIANT: who retires a key and then looks at the links finds this one there, or it is not made; and what
            // is found there is known to the manager.
            let mut links = self.net.links.lock();
            if self.net.closing.load(Ordering::Acquire) {
                return Err(Failed::Dial(DialError::Closed));
            }
            if !self.net.keys.read().admits(link.key.as_ref()) {
                let reason =
                    if link.key.is_some() { RefusedReason::NoCommonKey } else { RefusedReason::NoSecret };
                let detail = "the secrets changed in the middle of the handshake".to_owned();
                return Err(Failed::Refused(reason, detail));
            }
            links.insert(self.conn, Arc::clone(&link));
            let (link, target) = (Arc::clone(&link), target.cloned());
            self.net.tell(Fact::Authenticated { link, connection: ctx.address(), target });
        }
        self.link = Some(Arc::clone(&link));
        // Tasks of their own: a context polls all its futures at every wake of one.
        let node = &self.net.node;
        self.tasks = vec![tokio::spawn(node.vital("the flusher of a connection", flush(Arc::clone(&link))))];
        // Timers are the control arbiter's: an arbiter without timers of its own asks for the time less often.
        let deadlines = node.vital("the deadlines of a connection", keep_deadlines(Arc::clone(&link)));
        node.control().spawn(deadlines);
        let incoming = Incoming::new(read_half, secured, &link.outbox);
        let this = ctx.address();
        let reading = node.vital("the reader of a connection", async move {
            let mut over = TellOver(this, None);
            over.1 = read(link, incoming, receive).await;
        });
        self.tasks.push(actix_rt::spawn(reading));
        Ok(())
    }

    /// Ends the link, then says so.
    fn end(&mut self, told: Option<String>) {
        self.tasks.drain(..).for_each(|task| task.abort());
        if let Some(link) = self.link.take() {
            link.end();
            self.net.links.lock().remove(&self.conn);
            self.net.tell(Fact::Closed { conn: self.conn, told });
        }
    }
}

/// The arbiter went away under the connection: whoever waits on it must hear of it all the same.
impl Drop for PeerConnection {
    fn drop(&mut self) {
        self.end(None);
    }
}

impl Handler<CloseConnection> for PeerConnection {
    type Result = ();
    fn handle(&mut self, CloseConnection(reason): CloseConnection, ctx: &mut Self::Context) {
        let Some(link) = self.link.clone() else { return };
        link.control(&Control::Close { reason: reason.to_string() });
        let last_words = async move {
            let flushed = async {
                while link.outbox.queued() > 0 && !link.is_over() {
                    // A socket that was reset stays "writable" for ever: only the error of a write tells.
                    if link.outbox.flush().is_err() || link.socket().writable().await.is_err() {
                        break;
                    }
                    turn().await;
                }
            };
            let _ = actix_rt::time::timeout(LAST_WORDS, flushed).await;
            link.outbox.end();
            link.shut_down();
        };
        ctx.spawn(last_words.into_actor(self));
    }
}

/// The reader is drained. With the reason that the peer gave.
#[derive(Message)]
#[rtype(result = "()")]
struct Over(Option<String>);

/// Says that the reader is drained, however it ends.
struct TellOver(Addr<PeerConnection>, Option<String>);

impl Drop for TellOver {
    fn drop(&mut self) {
        // The mailbox of a connection has room: it gets a handful of messages in its life.
        let _ = self.0.try_send(Over(self.1.take()));
    }
}

impl Handler<Over> for PeerConnection {
    type Result = ();
    fn handle(&mut self, Over(told): Over, ctx: &mut Self::Context) {
        self.end(told);
        ctx.stop();
    }
}

impl Handler<Evict> for PeerConnection {
    type Result = ();
    fn handle(&mut self, _: Evict, ctx: &mut Self::Context) {
        if self.link.is_none() {
            self.evicted = true;
            let addr = self.remote.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
            self.net.tell(Fact::Refused {
                addr,
                reason: RefusedReason::Evicted,
                detail: "its place was needed".to_owned(),
            });
            ctx.stop();
        }
    }
}
