//! One authenticated connection, as everybody shares it: what waits on it, and how to send on it.
//!
//! Hot data does not pass through an actor: senders encode into the outbox, the reader completes calls and fills
//! mailboxes. The `PeerConnection` actor owns the loops, and ends the link exactly once.

mod calls;
mod inbound;
mod requests;
mod ties;
mod watches;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use actix_rt::{Arbiter, ArbiterHandle};
use noex_actors::{
    __private::{CallFailure, encode_into},
    COARSE, Down, ExitReason, Incarnation, Monotonic, NodeId, Pid,
    route::{Encode, ReplyBytes, Session, Watcher},
};
use parking_lot::Mutex;
use tokio::{
    net::{TcpStream, tcp::OwnedWriteHalf},
    sync::Notify,
};

pub(crate) use self::{
    calls::{Calls, Totals},
    inbound::{Inbound, Step, load},
    requests::Requests,
    ties::Ties,
    watches::Watches,
};
use crate::{
    io::outbox::{Outbox, Refusal},
    machine::{detector::Reading, handshake::Established, keys::KeyMark, sessions::ConnId},
    net::Net,
    stats::{Counter, PeerStats},
    tls::Cipher,
    wire::{
        control::{Control, Request, Response},
        frame::Head,
        tag::Tagger,
    },
};

/// Most watches of one peer on processes of this node.
const MAX_INCOMING: usize = 1_000_000;

/// One authenticated connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) conn: ConnId,
    pub(crate) peer: NodeId,
    pub(crate) incarnation: Incarnation,
    /// The shared key that it was authenticated with; `None` without a secret.
    pub(crate) key: Option<KeyMark>,
    pub(crate) net: Arc<Net>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) calls: Calls,
    /// The alarm of `calls` must be set anew.
    pub(crate) alarm: Notify,
    pub(crate) watches: Watches,
    pub(crate) ties: Ties,
    pub(crate) requests: Requests,
    socket: Arc<OwnedWriteHalf>,
    pub(crate) messages_received: Counter,
    pub(crate) bytes_received: Counter,
    /// The arbiter of the reader.
    home: ArbiterHandle,
    connected_at: Monotonic,
    last_received: AtomicU64,
    reader_tick: AtomicU64,
    ping: Mutex<(Option<Monotonic>, Option<Duration>)>,
    over: AtomicBool,
}

impl Link {
    pub(crate) fn new(
        conn: ConnId,
        established: &Established,
        socket: Arc<OwnedWriteHalf>,
        cipher: Option<Arc<Cipher>>,
        net: Arc<Net>,
    ) -> Arc<Self> {
        let tagger = established.send_key.as_ref().map(|key| Tagger::new(key));
        let limit = net.config.outbox_bytes();
        let outbox = Outbox::new(Arc::clone(&socket), tagger, cipher, limit, net.config.max_message_bytes());
        let now = net.node.now();
        Arc::new(Self {
            conn,
            peer: established.peer.clone(),
            incarnation: established.incarnation,
            key: established.key.clone(),
            net,
            outbox: Arc::new(outbox),
            calls: Calls::default(),
            alarm: Notify::new(),
            watches: Watches::default(),
            ties: Ties::default(),
            requests: Requests::default(),
            socket,
            messages_received: Counter::default(),
            bytes_received: Counter::default(),
            home: Arbiter::current(),
            connected_at: now,
            last_received: AtomicU64::new(now.as_nanos()),
            reader_tick: AtomicU64::new(now.as_nanos()),
            ping: Mutex::new((None, None)),
            over: AtomicBool::new(false),
        })
    }

    /// Sends a control message; one that cannot be sent belongs to a session that is over.
    pub(crate) fn control(&self, message: &Control) {
        let encode = &mut |out: &mut Vec<u8>| encode_into(message, out);
        let sent = if message.is_urgent() {
            self.outbox.append_urgent(encode)
        } else {
            self.outbox.append_control(encode)
        };
        if let Err(refusal) = sent {
            tracing::debug!(peer = %self.peer, ?refusal, "control message not sent");
        }
        // SECURITY: answers to a peer that asks and does not read must not gather without bound.
        if self.outbox.queued() > self.net.config.outbox_bytes().saturating_mul(4) {
            tracing::warn!(peer = %self.peer, "the peer does not read; the connection ends");
            self.shut_down();
        }
    }

    /// Sends a call; returns its number.
    pub(crate) fn call(&self, head: CallHead, waker: &Waker, encode: Encode<'_>) -> Result<u64, Refusal> {
        let CallHead { number, behavior, budget } = head;
        let deadline = self.net.node.clock().coarse().plus(budget).plus(COARSE);
        let budget_ms = u64::try_from(budget.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut sending = Sending { link: self, id: None };
        let mut rearm = false;
        let sent = self.outbox.append(
            |offset| {
                if let Some(inserted) = self.calls.insert(deadline, offset, waker) {
                    sending.id = Some(inserted.id);
                    rearm = inserted.rearm;
                }
                if rearm {
                    self.alarm.notify_one();
                }
                Head::Call { id: sending.id.unwrap_or(0), behavior, target: number, budget_ms }
            },
            encode,
        );
        match sent {
            // From here on the call is the caller's.
            Ok(()) => sending.id.take().ok_or(Refusal::Closed),
            Err(refusal) => Err(refusal),
        }
    }

    /// Casts sent so far.
    pub(crate) fn casts_sent(&self) -> u64 {
        self.outbox.messages().saturating_sub(self.calls.totals().sent)
    }

    /// Asks the peer for something. Dropped or timed out, the answer is not wanted any more.
    pub(crate) async fn request(
        &self,
        body: Request,
        timeout: Duration,
    ) -> Result<(u64, Response), RequestError> {
        let (id, response) = self.requests.open().ok_or(RequestError::NotSent)?;
        let guard = GiveUp { requests: &self.requests, id };
        self.control(&Control::Request { id, body });
        let answer = actix_rt::time::timeout(timeout, response).await;
        drop(guard);
        match answer {
            Ok(Ok(response)) => Ok((id, response)),
            Ok(Err(_closed)) => Err(RequestError::ConnectionLost),
            Err(_elapsed) => Err(RequestError::Timeout),
        }
    }

    /// Verified bytes came.
    pub(crate) fn received(&self, bytes: usize, now: Monotonic) {
        let now = now.as_nanos();
        self.last_received.store(now, Ordering::Relaxed);
        self.reader_tick.store(now, Ordering::Relaxed);
        self.bytes_received.add(u64::try_from(bytes).unwrap_or(0));
    }

    /// Notes when the arbiter of the reader has its next turn.
    pub(crate) fn ask_for_turn(self: &Arc<Self>) {
        let link = Arc::clone(self);
        self.home.spawn(async move {
            link.reader_tick.store(link.net.node.now().as_nanos(), Ordering::Relaxed);
        });
    }

    /// For the failure detector.
    pub(crate) fn reading(&self) -> Reading {
        Reading {
            last_received: Monotonic::from_nanos(self.last_received.load(Ordering::Relaxed)),
            reader_tick: Monotonic::from_nanos(self.reader_tick.load(Ordering::Relaxed)),
        }
    }

    pub(crate) fn pinged(&self) {
        self.ping.lock().0 = Some(self.net.node.now());
    }

    pub(crate) fn ponged(&self) {
        let mut ping = self.ping.lock();
        if let Some(sent) = ping.0.take() {
            ping.1 = Some(self.net.node.now().since(sent));
        }
    }

    /// The socket; reading is the reader's.
    pub(crate) fn socket(&self) -> &TcpStream {
        (*self.socket).as_ref()
    }

    /// Ends both directions of the socket: the reader finds the end.
    pub(crate) fn shut_down(&self) {
        let _ = socket2::SockRef::from(self.socket()).shutdown(std::net::Shutdown::Both);
    }

    /// The session is over: everything that waits on it ends now, exactly once.
    pub(crate) fn end(&self) {
        if self.over.swap(true, Ordering::AcqRel) {
            return;
        }
        self.outbox.close();
        self.shut_down();
        self.calls.close(self.outbox.settled());
        self.net.counters.session_over(self.calls.totals(), self.casts_sent());
        for (process, watch) in self.watches.close() {
            if let Some(process) = self.net.node.process_by_number(process) {
                process.core().unwatch(watch);
            }
        }
        for (near, far) in self.ties.close() {
            let (near, far) = (self.near(near), self.far(far));
            self.net.node.link_broke(&near, &far, &ExitReason::NoConnection);
        }
        for orphan in self.requests.close() {
            orphan.kill();
        }
        self.alarm.notify_one();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    pub(crate) fn stats(&self) -> PeerStats {
        let clock = self.net.node.clock();
        let received = self.last_received.load(Ordering::Relaxed);
        PeerStats {
            node_id: self.peer.clone(),
            incarnation: self.incarnation,
            key_id: self.key.as_ref().map(|key| key.id().to_owned()),
            messages_sent: self.outbox.messages(),
            messages_received: self.messages_received.get(),
            bytes_sent: self.outbox.written(),
            bytes_received: self.bytes_received.get(),
            last_received_at: Some(clock.wall(Monotonic::from_nanos(received))),
            connected_at: clock.wall(self.connected_at),
            rtt: self.ping.lock().1,
            outbox_bytes: self.outbox.queued(),
            outbox_high_water: self.outbox.high_water(),
            batches_sent: self.outbox.batches_sent(),
        }
    }

    /// Watches a process of this node for the peer.
    fn watch_for_peer(self: &Arc<Self>, id: u64, number: u64) {
        let Some(process) = self.addressable(number) else {
            return self.control(&Control::Down { id, reason: ExitReason::NoProc });
        };
        let watch = self.net.node.fresh_monitor();
        if self.watches.counts().1 >= MAX_INCOMING {
            tracing::warn!(peer = %self.peer, "the peer watches too many processes; the connection ends");
            return self.shut_down();
        }
        if self.watches.add_incoming(id, number, watch) {
            let link = Arc::downgrade(self);
            let tell = move |down: Down| {
                let Some(link) = link.upgrade() else { return };
                if link.watches.remove_incoming(id).is_some() {
                    link.net.counters.downs_sent.one();
                    link.control(&Control::Down { id, reason: down.reason });
                }
            };
            process.core().watch(watch, Watcher::Callback(Box::new(tell)));
        }
    }

    /// The address of a process of this node.
    fn near(&self, number: u64) -> Pid {
        Pid::new(self.net.node.id().clone(), self.net.node.incarnation(), number)
    }

    /// The address of a process of the peer.
    fn far(&self, number: u64) -> Pid {
        Pid::new(self.peer.clone(), self.incarnation, number)
    }

    /// A process that peers may address: of a behavior that is registered.
    fn addressable(&self, number: u64) -> Option<Arc<dyn noex_actors::process::Process>> {
        let process = self.net.node.process_by_number(number)?;
        process.is_remote().then_some(process)
    }
}

/// A call on its way into the outbox: should it not get there, also because its `Serialize` panics, nothing of it stays.
struct Sending<'a> {
    link: &'a Link,
    id: Option<u64>,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.link.calls.retract(id);
        }
    }
}

/// Where a call goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallHead {
    pub(crate) number: u64,
    pub(crate) behavior: u32,
    pub(crate) budget: Duration,
}

/// Why a request has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestError {
    NotSent,
    ConnectionLost,
    Timeout,
}

struct GiveUp<'a> {
    requests: &'a Requests,
    id: u64,
}

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        self.requests.give_up(self.id);
    }
}

impl Session for Link {
    fn poll_reply(&self, id: u64, cx: &mut Context<'_>) -> Poll<Result<ReplyBytes, CallFailure>> {
        self.calls.poll(id, cx)
    }

    fn abandon(&self, id: u64) {
        self.calls.abandon(id);
    }

    fn reply(&self, id: u64, encode: Encode<'_>) {
        let failure = match self.outbox.append_reply(Head::Reply { id }, encode) {
            Ok(()) => return,
            Err(Refusal::Closed | Refusal::Overloaded(_)) => return,
            Err(Refusal::Encode(error)) => CallFailure::Encode(error.to_string()),
            Err(Refusal::TooLarge { len, max }) => CallFailure::TooLarge(
                u64::try_from(len).unwrap_or(u64::MAX),
                u64::try_from(max).unwrap_or(u64::MAX),
            ),
        };
        self.fail(id, failure);
    }

    fn fail(&self, id: u64, failure: CallFailure) {
        let encode = &mut |out: &mut Vec<u8>| encode_into(&failure, out);
        let _ = self.outbox.append_reply(Head::Failure { id }, encode);
    }
}
