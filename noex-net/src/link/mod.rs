//! One authenticated connection, as everybody shares it: what waits on it, and how to send on it.
//!
//! Hot data does not pass through an actor: senders encode into the outbox, the reader completes calls and fills
//! mailboxes. The `PeerConnection` actor owns the loops, and ends the link exactly once.

mod announced;
mod broken;
mod call_id;
mod calls;
mod credits;
mod flow;
mod inbound;
mod requests;
mod streams;
mod ties;
mod traced;
mod vitals;
mod waking;
mod watches;

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use actix_rt::{Arbiter, ArbiterHandle};
use noex_actors::{
    __private::{CallFailure, encode_into},
    COARSE, ExitReason, Incarnation, NodeId, Pid,
    route::{Encode, ReplyBytes, Session},
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use self::call_id::CallId;
pub(crate) use self::{
    announced::Announced,
    broken::Broken,
    calls::{Calls, Totals},
    inbound::{Inbound, Step},
    requests::{RequestError, Requests},
    ties::Ties,
    traced::CallHead,
    vitals::{PROBE, Vitals, load},
    watches::Watches,
};
use crate::{
    io::{
        outbox::{Outbox, Refusal, portions::Groups},
        socket::WriteHalf,
    },
    machine::{
        handshake::{Established, TagKey},
        keys::KeyMark,
        sessions::ConnId,
    },
    net::Net,
    protocol_error::ProtocolError,
    tls::Cipher,
    wire::{
        compression::Compression,
        control::{Control, NUMBERED_UNLINKS, Request, Response},
        frame::{Head, NUMBERED_REPLIES},
        order::Place,
        tag::TagAlgorithm,
        trace,
    },
};

/// One authenticated connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) conn: ConnId,
    pub(crate) peer: NodeId,
    pub(crate) incarnation: Incarnation,
    /// The shared key that it was authenticated with; `None` without a secret.
    pub(crate) key: Option<KeyMark>,
    /// How its batches are tagged; `None` without a secret.
    tag: Option<TagAlgorithm>,
    pub(crate) compression: Compression,
    /// Both ends know of traces.
    pub(crate) traces: bool,
    /// Both ends know of replies by number.
    pub(crate) numbers: bool,
    pub(crate) net: Arc<Net>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) announced: Announced,
    pub(crate) calls: Calls,
    /// The alarm of `calls` must be set anew.
    pub(crate) alarm: Notify,
    pub(crate) watches: Watches,
    pub(crate) ties: Ties,
    pub(crate) requests: Requests,
    /// Calls of the peer whose callers gave up.
    given_up: Mutex<flow::Recent>,
    socket: Arc<WriteHalf>,
    groups: Groups,
    pub(crate) vitals: Vitals,
    /// The arbiter of the reader.
    home: ArbiterHandle,
    /// Its first heartbeat was sent: from now on it gets one each interval, whether or not the peer has spoken.
    begun: AtomicBool,
    over: AtomicBool,
    /// The peer broke the protocol: that counts once.
    broken_off: AtomicBool,
}

impl Link {
    pub(crate) fn new(
        conn: ConnId,
        established: &Established,
        socket: Arc<WriteHalf>,
        cipher: Option<Arc<Cipher>>,
        net: Arc<Net>,
    ) -> Arc<Self> {
        let tagger = established.send_key.as_ref().map(TagKey::tagger);
        let limits = (net.config.outbox_bytes(), net.config.max_message_bytes());
        let compression = Compression::of(established.capabilities);
        let outbox = Outbox::new(Arc::clone(&socket), tagger, cipher, compression, limits);
        let groups = Groups::between(net.processors, socket.is_of_this_processor());
        let now = net.node.now();
        Arc::new(Self {
            conn,
            peer: established.peer.clone(),
            incarnation: established.incarnation,
            key: established.key.clone(),
            tag: established.send_key.as_ref().map(|key| key.algorithm),
            compression,
            traces: established.capabilities & trace::CAPABILITY != 0,
            numbers: established.capabilities & NUMBERED_REPLIES != 0,
            net,
            outbox: Arc::new(outbox),
            announced: Announced::default(),
            calls: Calls::new(),
            alarm: Notify::new(),
            watches: Watches::default(),
            ties: Ties::new(established.capabilities & NUMBERED_UNLINKS != 0),
            requests: Requests::default(),
            given_up: Mutex::default(),
            groups,
            socket,
            vitals: Vitals::new(now),
            home: Arbiter::current(),
            begun: AtomicBool::new(false),
            over: AtomicBool::new(false),
            broken_off: AtomicBool::new(false),
        })
    }

    /// Sends a control message; one that cannot be sent belongs to a session that is over.
    pub(crate) fn control(&self, message: &Control) {
        self.control_at(message.place(), message);
    }

    /// The same in another place than it has by itself.
    pub(crate) fn control_at(&self, place: Place, message: &Control) {
        let encode = &mut |out: &mut Vec<u8>| encode_into(message, out);
        let sent = if message.is_urgent() {
            self.outbox.append_urgent(encode)
        } else {
            self.outbox.append_control(place, encode)
        };
        if let Err(refusal) = sent {
            tracing::debug!(peer = %self.peer, ?refusal, "control message not sent");
        }
        self.must_read();
    }

    /// SECURITY: answers to a peer that asks and does not read must not gather without bound.
    fn must_read(&self) {
        if self.outbox.queued() > self.net.config.outbox_bytes().saturating_mul(4) {
            self.break_off(ProtocolError::Limit, "it does not read what it asks for");
        }
    }

    /// Sends a call, which begins with a trace or does not; returns its number.
    fn append_call(
        &self,
        head: CallHead,
        traced: bool,
        waker: &Waker,
        encode: Encode<'_>,
    ) -> Result<u64, Refusal> {
        let CallHead { number, behavior, budget, numbered } = head;
        let deadline = self.net.node.clock().coarse().plus(budget).plus(COARSE);
        let budget_ms = u64::try_from(budget.as_millis()).unwrap_or(u64::MAX).max(1);
        let id = Cell::new(None);
        let sending = Sending { link: self, id: &id };
        let home = self.calls.here();
        let portion = self.groups.calls(self.calls.lately_waiting(home));
        let sent = self.outbox.append(
            (number, portion),
            |offset| {
                if let Some(inserted) = self.calls.insert(deadline, (number, offset), (home, waker)) {
                    id.set(Some(inserted.id));
                    if inserted.rearm {
                        self.alarm.notify_one();
                    }
                }
                Head::Call {
                    id: id.get().unwrap_or(CallId::NONE),
                    behavior,
                    target: number,
                    budget_ms,
                    numbered: numbered && self.numbers,
                    traced,
                }
            },
            encode,
            &mut || id.get().into_iter().for_each(|id| self.calls.laned(id)),
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

    /// Runs a task on the arbiter of the reader.
    pub(crate) fn spawn_at_home(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.home.spawn(self.net.node.vital("a task of a connection", task));
    }

    /// The socket; reading is the reader's.
    pub(crate) fn socket(&self) -> &WriteHalf {
        &self.socket
    }

    /// Ends both directions of the socket: the reader finds the end.
    pub(crate) fn shut_down(&self) {
        self.socket.shut_down(std::net::Shutdown::Both);
    }

    /// The peer broke the protocol: ends the connection. Counted once for each connection.
    pub(crate) fn break_off(&self, error: ProtocolError, detail: &str) {
        if self.is_over() || self.broken_off.swap(true, Ordering::AcqRel) {
            return;
        }
        if self.net.counters.protocol_errors.count(&self.peer, error, self.net.node.now()) {
            tracing::warn!(peer = %self.peer, %error, detail, "the peer broke the protocol; the connection ends");
        }
        self.shut_down();
    }

    /// The peer broke the protocol, and nothing more of it is taken, though it may be there already.
    pub(crate) fn is_broken_off(&self) -> bool {
        self.broken_off.load(Ordering::Acquire)
    }

    /// The session is over: everything that waits on it ends now, exactly once.
    pub(crate) fn end(&self) {
        if self.over.swap(true, Ordering::AcqRel) {
            return;
        }
        self.outbox.close();
        self.shut_down();
        let (written, unsent) = self.outbox.settled();
        self.calls.close(written, &unsent);
        self.net.counters.session_over(self.calls.totals(), self.casts_sent());
        let (watched, watches) = self.watches.close();
        self.net.counters.monitors_disconnected.add(u64::try_from(watches).unwrap_or(0));
        for (process, watch) in watched {
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

    /// Its first heartbeat is sent.
    pub(crate) fn begin(&self) {
        self.begun.store(true, Ordering::Release);
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire) && !self.is_over()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
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
    id: &'a Cell<Option<u64>>,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id.get() {
            self.link.calls.retract(id);
        }
    }
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
        if let Some(given_up) = self.calls.abandon(id) {
            self.cancel(given_up);
        }
    }

    fn is_waited_for(&self, id: u64) -> bool {
        !self.is_over() && !self.given_up.lock().has(id)
    }

    fn not_started(&self) {
        self.vitals.calls_not_started.one();
        self.net.counters.calls_not_started.one();
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
