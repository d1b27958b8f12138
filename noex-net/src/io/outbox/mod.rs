//! The outbox of a connection: senders encode straight into it; one flush per tick tags and writes what has gathered.
//!
//! ```text
//! urgent ──► urgent batch ──┐
//! append ──► open batches ──┼─flush──► sealed batches ──try_write──► kernel
//!     long ► lanes ─────────┘
//! ```
//! What is long waits in the lane of its target, and so does what is sent to that target behind it; batches and pieces of
//! long messages are sealed by turns.
//!
//! Little is sealed ahead of the kernel, and the kernel takes little ahead of what it can send: a full outbox holds up
//! no urgent message.
//! With TLS, sealed batches are encrypted on their way to the kernel, and only when what was encrypted before is there.
//!
//! The urgent lane holds signs of life and the like. It has a lock of its own: a heartbeat does not wait for a user's
//! `Serialize`, which runs under the other, and goes out before what has gathered.
//!
//! The first append of a tick schedules one flush: on the connection's own arbiter by waking its flusher, elsewhere by
//! a task on the sender's runtime. What fills a [portion](portions) is flushed at once. Whoever finds the socket full leaves the rest
//! to the flusher, which waits for it.
//!
//! Invariants: 1. batches are sealed and written in the order in which they were opened, frames of one place in the order in
//! which they were appended; 2. a failing or panicking
//! `Serialize` leaves the outbox as it was; 3. `dirty` is set whenever an append was not seen by a flush yet.

mod ahead;
mod batch;
mod content;
mod credits;
mod flush;
mod lanes;
pub(crate) mod portions;
mod seal;
mod sealing;
mod turn;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::ThreadId,
};

use futures_util::task::AtomicWaker;
use noex_actors::{__private::contained, EncodeError, Overload, route::BY_NAME};
use parking_lot::Mutex;
use tokio::sync::Notify;

pub(crate) use self::turn::turn;
use self::{
    ahead::{Kind, LongLately},
    batch::{Frame, Open, Terms, grow},
    lanes::Withdrawn,
    portions::WHOLE,
    seal::Writer,
};
use crate::{
    io::{here::here, socket::WriteHalf},
    tls::Cipher,
    wire::{
        compression::Compression,
        frame::{self, Head},
        limits::{BATCH, CHUNK, LEN, TAG},
        order::Place,
        tag::Tagger,
    },
};

/// Why nothing was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Closed,
    Overloaded(Overload),
    TooLarge { len: usize, max: usize },
    Encode(EncodeError),
}

/// What is to be sent on one connection.
#[derive(Debug)]
pub(crate) struct Outbox {
    socket: Arc<WriteHalf>,
    open: Mutex<Open>,
    urgent: Mutex<Vec<u8>>,
    writer: Mutex<Writer>,
    /// With TLS.
    cipher: Option<Arc<Cipher>>,
    dirty: AtomicBool,
    /// The socket was full: the flusher waits for it.
    blocked: AtomicBool,
    flusher: AtomicWaker,
    /// The reader flushes when the tasks that it woke have run: the flusher need not.
    reader_flushes: AtomicBool,
    /// The thread of the connection's arbiter.
    home: ThreadId,
    header: usize,
    limit: usize,
    max_message: usize,
    long_lately: LongLately,
    /// Frames of calls, casts and replies appended since the beginning. Written with `open` locked.
    frames: AtomicU64,
    /// Bytes appended to batches since the beginning, headers included; not those in lanes. Written with `open` locked.
    appended: AtomicU64,
    /// The same of the urgent lane. Written with `urgent` locked.
    appended_urgent: AtomicU64,
    /// Bytes that came to a lane and are not with the kernel yet.
    waiting: AtomicUsize,
    high_water: AtomicUsize,
    /// Of those appended to batches, or urgent.
    written: AtomicU64,
    /// As they went to the kernel, those out of lanes included.
    sent: AtomicU64,
    /// Of batches that were compressed, before and after that.
    compressed: (AtomicU64, AtomicU64),
    batches_sent: AtomicU64,
    room: Notify,
}

/// How far a flush came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Everything is with the kernel.
    All,
    /// Others should have their turn before the rest.
    More,
    /// The socket is full.
    Blocked,
    /// Somebody else writes and will see to the rest.
    Busy,
}

impl Outbox {
    /// The outbox of a socket; made on the arbiter where its flusher will run.
    pub(crate) fn new(
        socket: Arc<WriteHalf>,
        tagger: Option<Tagger>,
        cipher: Option<Arc<Cipher>>,
        compression: Compression,
        (limit, max_message): (usize, usize),
    ) -> Self {
        let header = LEN + if tagger.is_some() { TAG } else { 0 } + compression.marker();
        Self {
            socket,
            open: Mutex::new(Open::new(header)),
            urgent: Mutex::new(Vec::new()),
            writer: Mutex::new(Writer::new(tagger, compression, header)),
            cipher,
            dirty: AtomicBool::new(false),
            blocked: AtomicBool::new(false),
            flusher: AtomicWaker::new(),
            reader_flushes: AtomicBool::new(false),
            home: here(),
            header,
            limit,
            max_message,
            long_lately: LongLately::default(),
            frames: AtomicU64::new(0),
            appended: AtomicU64::new(0),
            appended_urgent: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            high_water: AtomicUsize::new(0),
            written: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            compressed: (AtomicU64::new(0), AtomicU64::new(0)),
            batches_sent: AtomicU64::new(0),
            room: Notify::new(),
        }
    }

    /// Bytes that wait.
    pub(crate) fn queued(&self) -> usize {
        let appended = self.appended_total();
        let batched = appended.saturating_sub(self.written.load(Ordering::Relaxed));
        usize::try_from(batched).unwrap_or(usize::MAX) + self.waiting.load(Ordering::Relaxed)
    }

    fn has_room(&self, limit: usize) -> Result<(), Refusal> {
        if self.queued() > limit { Err(Refusal::Overloaded(Overload::Outbox)) } else { Ok(()) }
    }

    /// Most bytes that ever waited.
    pub(crate) fn high_water(&self) -> usize {
        self.high_water.load(Ordering::Relaxed)
    }

    /// Bytes handed to the kernel.
    pub(crate) fn written(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    /// After the end: what of the outgoing stream may be with the kernel, no write that is under way left out; and the calls
    /// of those in lanes that are not.
    pub(crate) fn settled(&self) -> (u64, BTreeSet<u64>) {
        let writer = self.writer.lock();
        // Some of what is encrypted may be with the kernel.
        let encrypted = u64::try_from(writer.perhaps_written()).unwrap_or(0);
        (self.written.load(Ordering::Acquire) + encrypted, self.open.lock().lanes.unsent_calls())
    }

    /// Bytes of the batches that were compressed, before and after that.
    pub(crate) fn compressed(&self) -> (u64, u64) {
        let (before, after) = &self.compressed;
        (before.load(Ordering::Relaxed), after.load(Ordering::Relaxed))
    }

    /// Batches sealed.
    pub(crate) fn batches_sent(&self) -> u64 {
        self.batches_sent.load(Ordering::Relaxed)
    }

    /// Appends a frame of a user's message to a process, within the limits. `head` learns where in the stream the frame begins;
    /// `laned` is called if it does not go there. With it, a `portion` of frames may have gathered that is not to wait.
    pub(crate) fn append(
        self: &Arc<Self>,
        (target, portion): (u64, u32),
        head: impl FnOnce(u64) -> Head,
        encode: &mut dyn FnMut(&mut Vec<u8>) -> Result<(), EncodeError>,
        laned: &mut dyn FnMut(),
    ) -> Result<(), Refusal> {
        self.has_room(self.limit)?;
        // Whom a message reaches that goes to a name, only the other end knows: no credit is counted.
        let kind = Some(Kind::To(target));
        let target = (target & BY_NAME == 0).then_some(target);
        let terms = Terms { target, kind, is_message: true, portion };
        self.put(head, Frame { place: None, encode, laned }, terms)
    }

    /// Appends a user's message for more than one process, within the limits.
    pub(crate) fn append_broadcast(
        self: &Arc<Self>,
        encode: &mut dyn FnMut(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<(), Refusal> {
        self.has_room(self.limit)?;
        let place = Some(Place::Barrier);
        let terms = Terms { target: None, kind: None, is_message: true, portion: WHOLE };
        self.put(|_| Head::Control, Frame { place, encode, laned: &mut || {} }, terms)
    }

    /// Calls and casts appended so far.
    pub(crate) fn messages(&self) -> u64 {
        self.open.lock().messages
    }

    /// Appends a reply, within twice the limit: what was asked is answered as long as that is possible at all.
    pub(crate) fn append_reply(
        self: &Arc<Self>,
        head: Head,
        encode: &mut dyn FnMut(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<(), Refusal> {
        self.has_room(self.limit.saturating_mul(2))?;
        let terms = Terms { target: None, kind: Some(Kind::Replies), is_message: false, portion: WHOLE };
        self.put(|_| head, Frame { place: None, encode, laned: &mut || {} }, terms)
    }

    /// Appends a control frame; the limit does not apply: control traffic is small and bounded by itself.
    pub(crate) fn append_control(
        self: &Arc<Self>,
        place: Place,
        encode: &mut dyn FnMut(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<(), Refusal> {
        let place = Some(place);
        self.put(|_| Head::Control, Frame { place, encode, laned: &mut || {} }, Terms::OF_CONTROL)
    }

    /// Nobody waits for the reply to this call any more: tells the other end, unless the call, or the end of it, is still here.
    pub(crate) fn cancel(self: &Arc<Self>, id: u64, target: u64) {
        if !self.withdraw(|open| open.lanes.withdraw_call(target, id)) {
            // It has the limit of replies: what has no room for it runs in vain, which harms nobody.
            let _ = self.append_reply(Head::Cancel { id, target }, &mut |_| Ok(()));
        }
    }

    /// The other end does not want this reply any more.
    pub(crate) fn withdraw_reply(self: &Arc<Self>, id: u64) {
        self.withdraw(|open| open.lanes.withdraw_reply(id));
    }

    /// True if something was taken back.
    fn withdraw(self: &Arc<Self>, from: impl FnOnce(&mut Open) -> Option<Withdrawn>) -> bool {
        let withdrawn = {
            let mut open = self.open.lock();
            if open.lanes.is_idle() { None } else { from(&mut open) }
        };
        let Some(Withdrawn::All(left) | Withdrawn::Rest(left)) = withdrawn else { return false };
        self.no_longer_waits(left);
        self.schedule();
        true
    }

    /// Wakes whoever waits for room, and that may be code of a user.
    fn room_is_there(&self) {
        contained(|| self.room.notify_waiters());
    }

    fn no_longer_waits(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        if self.queued() <= self.limit / 2 {
            self.room_is_there();
        }
    }

    fn appended_total(&self) -> u64 {
        self.appended.load(Ordering::Relaxed) + self.appended_urgent.load(Ordering::Relaxed)
    }

    /// Appends a short control frame that goes out before everything else. The order within the lane is kept.
    pub(crate) fn append_urgent(
        self: &Arc<Self>,
        encode: &mut dyn FnMut(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<(), Refusal> {
        {
            let mut urgent = self.urgent.lock();
            let before = urgent.len();
            if urgent.is_empty() {
                urgent.resize(self.header, 0);
            }
            let at = urgent.len();
            Head::Control.begin(&mut urgent);
            let encoded = encode(&mut urgent);
            let fits = urgent.len() - at <= CHUNK && urgent.len() <= 2 * BATCH;
            if encoded.is_err() || !fits {
                urgent.truncate(before);
                return Err(encoded.err().map_or(Refusal::Overloaded(Overload::Outbox), Refusal::Encode));
            }
            frame::finish(&mut urgent, at);
            grow(&self.appended_urgent, urgent.len() - before);
        }
        self.schedule();
        Ok(())
    }

    /// Makes sure that a flush comes.
    fn schedule(self: &Arc<Self>) {
        // Whoever sees it set was appended before the flush that clears it takes the lock, and is seen by that flush.
        if self.dirty.load(Ordering::Acquire) || self.dirty.swap(true, Ordering::AcqRel) {
            return;
        }
        if here() == self.home {
            if !self.reader_flushes.load(Ordering::Relaxed) {
                self.flusher.wake();
            }
        } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let outbox = Arc::clone(self);
            runtime.spawn(async move { outbox.flush_here() });
        } else {
            self.flusher.wake();
        }
    }

    /// Nothing is taken any more. What was appended may still be flushed.
    pub(crate) fn close(&self) {
        self.open.lock().closed = true;
        self.room_is_there();
    }
}
