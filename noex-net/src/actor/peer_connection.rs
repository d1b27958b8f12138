//! One connection to one node: its handshake, its reader, its flusher and its alarm.
//!
//! ```text
//! dial or accept ──► handshake ──► Authenticated ──► reader ──► end of the link ──► Closed
//! ```
//! Invariant: after `Authenticated`, `Closed` follows exactly once, when the last batch has been handed over.

use std::{collections::VecDeque, io, net::SocketAddr, sync::Arc, time::Duration};

use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use actix_rt::task::JoinHandle;
use tokio::{
    io::AsyncReadExt,
    net::{TcpStream, tcp::OwnedReadHalf},
};

use super::{
    listener::Listener,
    messages::{Admitted, CloseConnection, Evict, Fact},
};
use crate::{
    config::InsecurePeers,
    event::DialError,
    io::{
        handshake::{read_frame, write_frame},
        outbox::turn,
        reader::Batches,
    },
    link::{Inbound, Link, Step},
    machine::{
        handshake::{self, Acceptor, Established, Expected, Initiator, Local, RefusedReason},
        membership::{DialOutcome, Target},
        sessions::ConnId,
    },
    net::Net,
    wire::{control::Control, limits::READ_BUDGET, tag::Tagger},
};

/// How often a reader lets its arbiter run for a crowded mailbox before it reads on.
const MAX_YIELDS: u32 = 64;
/// How long the last words of a connection may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How a connection came about.
pub(crate) enum Origin {
    /// This end dials.
    Dialled(Target),
    /// The other end dialled.
    Accepted { socket: Box<TcpStream>, remote: SocketAddr, listener: Addr<Listener> },
}

/// The actor of one connection.
pub(crate) struct PeerConnection {
    net: Arc<Net>,
    conn: ConnId,
    origin: Option<Origin>,
    link: Option<Arc<Link>>,
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
            let socket = socket.into_std().ok()?;
            Portable::Accepted { socket, remote, listener }
        }
        Origin::Dialled(target) => Portable::Dialled(target),
    };
    Some(PeerConnection::start_in_arbiter(&arbiter, move |_| {
        let origin = match origin {
            Portable::Dialled(target) => Some(Origin::Dialled(target)),
            Portable::Accepted { socket, remote, listener } => TcpStream::from_std(socket)
                .ok()
                .map(|socket| Origin::Accepted { socket: Box::new(socket), remote, listener }),
        };
        PeerConnection { net, conn, origin, link: None, evicted: false, tasks: Vec::new() }
    }))
}

enum Portable {
    Dialled(Target),
    Accepted { socket: std::net::TcpStream, remote: SocketAddr, listener: Addr<Listener> },
}

/// How a handshake ended that did not lead to a session.
enum Failed {
    /// This end refuses.
    Refused(RefusedReason, String),
    /// The other end refuses.
    RefusedByPeer(RefusedReason),
    /// The other end is this node.
    SelfConnection,
    /// No connection.
    Dial(DialError),
}

struct Ready {
    socket: TcpStream,
    established: Box<Established>,
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
                let accept = accept(net, *socket, remote);
                ctx.spawn(accept.into_actor(self).map(move |outcome, this, ctx| {
                    let _ = listener.try_send(Admitted(this.conn));
                    match outcome {
                        Ok(ready) => this.authenticated(ready, None, ctx),
                        Err(failed) => this.refused(remote, failed, ctx),
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
        let (addr, failed) = match outcome {
            Ok(ready) => return self.authenticated(ready, Some(target), ctx),
            Err(failed) => failed,
        };
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

    fn authenticated(&mut self, ready: Ready, target: Option<Target>, ctx: &mut Context<Self>) {
        let Ready { socket, established } = ready;
        let receive = established.receive_key.as_ref().map(|key| Tagger::new(key));
        let (read_half, write_half) = socket.into_split();
        let link = Link::new(self.conn, &established, Arc::new(write_half), Arc::clone(&self.net));
        self.link = Some(Arc::clone(&link));
        self.net.links.lock().insert(self.conn, Arc::clone(&link));
        self.net.tell(Fact::Authenticated { link: Arc::clone(&link), connection: ctx.address(), target });
        // Tasks of their own: a context polls all its futures at every wake of one.
        self.tasks = vec![actix_rt::spawn(flush(Arc::clone(&link)))];
        // Timers are the control arbiter's: an arbiter without timers of its own asks for the time less often.
        self.net.node.control().spawn(keep_deadlines(Arc::clone(&link)));
        let this = ctx.address();
        let reading = actix_rt::spawn(async move {
            let told = read(link, read_half, receive).await;
            // The mailbox of a connection has room: it gets a handful of messages in its life.
            let _ = this.try_send(Over(told));
        });
        self.tasks.push(reading);
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
                    let _ = link.outbox.flush();
                    if link.outbox.queued() > 0 && link.socket().writable().await.is_err() {
                        break;
                    }
                }
            };
            let _ = actix_rt::time::timeout(LAST_WORDS, flushed).await;
            link.shut_down();
        };
        ctx.spawn(last_words.into_actor(self));
    }
}

/// The reader is drained. With the reason that the peer gave.
#[derive(Message)]
#[rtype(result = "()")]
struct Over(Option<String>);

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
            let addr = SocketAddr::from(([0, 0, 0, 0], 0));
            self.net.tell(Fact::Refused {
                addr,
                reason: RefusedReason::Evicted,
                detail: "its place was needed".to_owned(),
            });
            ctx.stop();
        }
    }
}

fn local(net: &Net) -> Local {
    Local {
        id: net.node.id().clone(),
        incarnation: net.node.incarnation(),
        capabilities: 0,
        keys: net.config.secrets().keys().clone(),
    }
}

fn nonce() -> Result<[u8; 32], Failed> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|error| Failed::Dial(DialError::Other(error.to_string())))?;
    Ok(nonce)
}

async fn dial(net: Arc<Net>, target: Target) -> Result<Ready, (Option<SocketAddr>, Failed)> {
    let (host, port) = target.address();
    let (mut socket, addr) = connect(&net, host, port).await.map_err(|error| (None, Failed::Dial(error)))?;
    let failed = |failed| (Some(addr), failed);
    let _ = socket.set_nodelay(true);
    let nonce = nonce().map_err(failed)?;
    let handshake = initiate(&net, &mut socket, target.expected(), nonce);
    match actix_rt::time::timeout(net.config.handshake_timeout(), handshake).await {
        Ok(Ok(established)) => Ok(Ready { socket, established }),
        Ok(Err(error)) => Err(failed(error)),
        Err(_elapsed) => Err(failed(Failed::Refused(RefusedReason::Timeout, "no answer".to_owned()))),
    }
}

/// Tries every address that the host has.
async fn connect(net: &Net, host: &str, port: u16) -> Result<(TcpStream, SocketAddr), DialError> {
    let connecting = async {
        let found = tokio::net::lookup_host((host, port)).await;
        let addresses = found.map_err(|error| DialError::Dns(error.to_string()))?;
        let mut last = DialError::Dns("the name has no address".to_owned());
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(socket) => return Ok((socket, address)),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    last = DialError::ConnectionRefused
                }
                Err(error) => last = DialError::Other(error.to_string()),
            }
        }
        Err(last)
    };
    let timeout = net.config.connect_timeout();
    actix_rt::time::timeout(timeout, connecting).await.unwrap_or(Err(DialError::Timeout))
}

async fn initiate(
    net: &Net,
    socket: &mut TcpStream,
    expected: Expected,
    nonce: [u8; 32],
) -> Result<Box<Established>, Failed> {
    check_insecure(net, socket)?;
    let mut out = VecDeque::new();
    let mut machine = Initiator::new(local(net), expected, nonce, &mut out);
    loop {
        if let Some(established) = perform(socket, &mut out).await? {
            return Ok(established);
        }
        let frame = next_frame(socket).await?;
        machine.handle(&frame, &mut out);
    }
}

async fn accept(net: Arc<Net>, mut socket: TcpStream, _remote: SocketAddr) -> Result<Ready, Failed> {
    let _ = socket.set_nodelay(true);
    let nonce = nonce()?;
    let handshake = async {
        check_insecure(&net, &socket)?;
        let mut out = VecDeque::new();
        let mut machine = Acceptor::new(local(&net), nonce);
        loop {
            let frame = next_frame(&mut socket).await?;
            machine.handle(&frame, &mut out);
            if let Some(established) = perform(&mut socket, &mut out).await? {
                return Ok(established);
            }
        }
    };
    match actix_rt::time::timeout(net.config.handshake_timeout(), handshake).await {
        Ok(Ok(established)) => Ok(Ready { socket, established }),
        Ok(Err(failed)) => Err(failed),
        Err(_elapsed) => Err(Failed::Refused(RefusedReason::Timeout, "not done in time".to_owned())),
    }
}

/// Without a secret, only peers of this machine are let in, unless the configuration allows others.
fn check_insecure(net: &Net, socket: &TcpStream) -> Result<(), Failed> {
    if !net.config.secrets().is_empty() || net.config.insecure_peers() == InsecurePeers::Any {
        return Ok(());
    }
    let same_machine = match (socket.peer_addr(), socket.local_addr()) {
        (Ok(peer), Ok(local)) => peer.ip().to_canonical().is_loopback() || peer.ip() == local.ip(),
        _ => false,
    };
    if same_machine {
        return Ok(());
    }
    Err(Failed::Refused(
        RefusedReason::InsecurePeer,
        "no secret is set: set CLUSTER_SECRET, or CLUSTER_INSECURE_PEERS=any to let everybody in".to_owned(),
    ))
}

async fn next_frame(socket: &mut TcpStream) -> Result<Vec<u8>, Failed> {
    match read_frame(socket).await {
        Ok(frame) => Ok(frame),
        Err(reason) => Err(Failed::Refused(reason, "no frame of the handshake".to_owned())),
    }
}

/// Does what a handshake machine wants; an established session when it is done.
async fn perform(
    socket: &mut TcpStream,
    out: &mut VecDeque<handshake::Output>,
) -> Result<Option<Box<Established>>, Failed> {
    while let Some(output) = out.pop_front() {
        match output {
            handshake::Output::Send(body) => write_frame(socket, &body)
                .await
                .map_err(|error| Failed::Refused(RefusedReason::Eof, error.to_string()))?,
            handshake::Output::Done(established) => return Ok(Some(established)),
            handshake::Output::Refuse { reason, send } => {
                if let Some(body) = send {
                    let _ = write_frame(socket, &body).await;
                }
                return Err(Failed::Refused(reason, "refused in the handshake".to_owned()));
            }
            handshake::Output::RefusedByPeer(reason) => return Err(Failed::RefusedByPeer(reason)),
            handshake::Output::SelfConnection => return Err(Failed::SelfConnection),
        }
    }
    Ok(None)
}

async fn flush(link: Arc<Link>) {
    let error = Arc::clone(&link.outbox).flusher().await;
    tracing::debug!(peer = %link.peer, %error, "the connection cannot be written to");
    link.shut_down();
}

/// Ends calls whose deadline has come.
async fn keep_deadlines(link: Arc<Link>) {
    while !link.is_over() {
        let set = link.alarm.notified();
        match link.calls.alarm() {
            None => set.await,
            Some(at) => {
                let due = actix_rt::time::sleep_until(link.net.node.clock().instant(at));
                tokio::select! {
                    () = due => link.calls.expire(link.net.node.now()),
                    () = set => {}
                }
            }
        }
    }
}

/// Reads until the end; returns the reason that the peer gave.
async fn read(link: Arc<Link>, mut socket: OwnedReadHalf, tagger: Option<Tagger>) -> Option<String> {
    let mut batches = Batches::new(tagger);
    let mut inbound = Inbound::new(Arc::clone(&link));
    let mut budget = READ_BUDGET;
    loop {
        let bytes = match socket.read(batches.room()).await {
            Ok(0) => return None,
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::debug!(peer = %link.peer, %error, "the connection was lost");
                return None;
            }
        };
        batches.filled(bytes);
        match take(&link, &mut batches, &mut inbound).await {
            Ok(None) => {}
            Ok(Some(told)) => return Some(told),
            Err(error) => {
                tracing::warn!(peer = %link.peer, error, "the peer broke the protocol; the connection ends");
                return None;
            }
        }
        link.outbox.flush_after_turn().await;
        // A flood waits in the socket, as far as that helps; the reader is never blocked by a full mailbox.
        for _ in 0..MAX_YIELDS {
            if !inbound.crowded() {
                break;
            }
            turn().await;
        }
        budget = budget.saturating_sub(bytes);
        if budget == 0 {
            budget = READ_BUDGET;
            tokio::task::yield_now().await;
        }
    }
}

/// Takes the whole batches that are there. `Some`: the peer ends the connection.
async fn take(
    link: &Arc<Link>,
    batches: &mut Batches,
    inbound: &mut Inbound,
) -> Result<Option<String>, String> {
    while let Some(mut frames) = batches.next().map_err(|error| error.to_string())? {
        let received = actix_rt::time::Instant::now();
        link.received(frames.len(), link.net.node.clock().at(received));
        loop {
            match inbound.run(&mut frames, received).map_err(|error| error.to_string())? {
                Step::Done => break,
                Step::End(reason) => return Ok(Some(reason)),
                Step::FirstHeartbeat(heartbeat) => {
                    let (up, is_up) = tokio::sync::oneshot::channel();
                    link.net.tell(Fact::FirstHeartbeat { conn: link.conn, heartbeat, up });
                    if is_up.await.is_err() {
                        return Ok(None);
                    }
                }
            }
        }
    }
    Ok(None)
}
