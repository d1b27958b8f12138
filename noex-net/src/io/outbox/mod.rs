//! The outbox of a connection: senders encode straight into it; one flush per tick tags and writes what has gathered.
//!
//! ```text
//! append ──► open batches ──┐
//!                           ├─flush──► sealed batches ──try_write──► kernel
//! urgent ──► urgent batch ──┘
//! ```
//! Little is sealed ahead of the kernel, and the kernel takes little ahead of what it can send: a full outbox holds up
//! no urgent message.
//! With TLS, sealed batches are encrypted on their way to the kernel, and only when what was encrypted before is there.
//!
//! The urgent lane holds signs of life and the like. It has a lock of its own: a heartbeat does not wait for a user's
//! `Serialize`, which runs under the other, and goes out before what has gathered.
//!
//! The first append of a tick schedules one flush: on the connection's own arbiter by waking its flusher, elsewhere by
//! a task on the sender's runtime. Whoever finds the socket full leaves the rest to the flusher, which waits for it.
//!
//! Invariants: 1. batches are sealed and written in the order in which they were opened; 2. a failing or panicking
//! `Serialize` leaves the outbox as it was; 3. `dirty` is set whenever an append was not seen by a flush yet.

mod flush;
mod turn;

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::ThreadId,
};

use futures_util::task::AtomicWaker;
use noex_actors::{EncodeError, Overload};
use parking_lot::Mutex;
use tokio::{net::tcp::OwnedWriteHalf, sync::Notify};

use self::flush::Writer;
pub(crate) use self::turn::turn;
use crate::{
    tls::Cipher,
    wire::{
        frame::{self, Head},
        limits::{BATCH, CHUNK, LEN, TAG},
        tag::Tagger,
    },
};

/// Most batches handed to the kernel in one call.
const MAX_SLICES: usize = 16;

/// Why nothing was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Closed,
    Overloaded(Overload),
    TooLarge { len: usize, max: usize },
    Encode(EncodeError),
}

#[derive(Debug)]
struct Open {
    batches: VecDeque<Vec<u8>>,
    /// Emptied buffers, to be used again.
    spare: Vec<Vec<u8>>,
    next_stream: u64,
    /// Calls and casts appended so far.
    messages: u64,
    closed: bool,
}

/// What is to be sent on one connection.
#[derive(Debug)]
pub(crate) struct Outbox {
    socket: Arc<OwnedWriteHalf>,
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
    /// Frames of calls, casts and replies appended since the beginning. Written with `open` locked.
    frames: AtomicU64,
    /// Bytes appended since the beginning, headers of batches included. Written with `open` locked.
    appended: AtomicU64,
    /// The same of the urgent lane. Written with `urgent` locked.
    appended_urgent: AtomicU64,
    high_water: AtomicUsize,
    written: AtomicU64,
    batches_sent: AtomicU64,
    room: Notify,
}

/// A piece of a longer frame: with its own fields it is no longer than a chunk.
const PIECE: usize = CHUNK - 16;

/// How far a flush came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Everything is with the kernel.
    All,
    /// The socket is full.
    Blocked,
    /// Somebody else writes and will see to the rest.
    Busy,
}

impl Outbox {
    /// The outbox of a socket; made on the arbiter where its flusher will run.
    pub(crate) fn new(
        socket: Arc<OwnedWriteHalf>,
        tagger: Option<Tagger>,
        cipher: Option<Arc<Cipher>>,
        limit: usize,
        max_message: usize,
    ) -> Self {
        let header = LEN + if tagger.is_some() { TAG } else { 0 };
        let open =
            Open { batches: VecDeque::new(), spare: Vec::new(), next_stream: 0, messages: 0, closed: false };
        Self {
            socket,
            open: Mutex::new(open),
            urgent: Mutex::new(Vec::new()),
            writer: Mutex::new(Writer::new(tagger)),
            cipher,
            dirty: AtomicBool::new(false),
            blocked: AtomicBool::new(false),
            flusher: AtomicWaker::new(),
            reader_flushes: AtomicBool::new(false),
            home: std::thread::current().id(),
            header,
            limit,
            max_message,
            frames: AtomicU64::new(0),
            appended: AtomicU64::new(0),
            appended_urgent: AtomicU64::new(0),
            high_water: AtomicUsize::new(0),
            written: AtomicU64::new(0),
            batches_sent: AtomicU64::new(0),
            room: Notify::new(),
        }
    }

    /// Bytes that wait.
    pub(crate) fn queued(&self) -> usize {
        let appended = self.appended_total();
        usize::try_from(appended.saturating_sub(self.written.load(Ordering::Relaxed))).unwrap_or(usize::MAX)
    }

    /// Most bytes that ever waited.
    pub(crate) fn high_water(&self) -> usize {
        self.high_water.load(Ordering::Relaxed)
    }

    /// Bytes handed to the kernel.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// The same, after the end: no write that is under way is left out.
    pub(crate) fn settled(&self) -> u64 {
        let writer = self.writer.lock();
        // Some of what is encrypted may be with the kernel.
        self.written() + u64::try_from(writer.encrypted).unwrap_or(0)
    }

    /// Batches sealed.
    pub(crate) fn batches_sent(&self) -> u64 {
        self.batches_sent.load(Ordering::Relaxed)
    }

    /// Appends a frame of a user's message, within the limits. `encode` learns where in the stream the frame begins.
    pub(crate) fn append(
        self: &Arc<Self>,
        head: impl FnOnce(u64) -> Head,
        encode: &mut dyn FnMut(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<(), Refusal> {
        if self.queued() > self.limit {
            return Err(Refusal::Overloaded(Overload::Outbox));
        }
        self.put(head, encode, 1)
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
        if self.queued() > self.limit.saturating_mul(2) {
            return Err(Refusal::Overloaded(Overload::Outbox));
        }
        self.put(|_| head, encode, 0)
    }

    /// Appends a control frame; the limit does not apply: control traffic is small and bounded by itself.
    pub(crate) fn append_control(
        self: &Arc<Self>,
        encode: &mut dyn FnMut(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<(), Refusal> {
        self.put(|_| Head::Control, encode, 0)
    }

    fn put(
        self: &Arc<Self>,
        head: impl FnOnce(u64) -> Head,
        encode: &mut dyn FnMut(&mut Vec<u8>) -> Result<(), EncodeError>,
        counts: u64,
    ) -> Result<(), Refusal> {
        let put = {
            let mut open = self.open.lock();
            if open.closed {
                return Err(Refusal::Closed);
            }
            let put = self.put_frame(&mut open, head, encode);
            if put.is_ok() {
                open.messages += counts;
                grow(&self.frames, 1);
            }
            put
        };
        if let Err(refusal) = put {
            // A flush may have left out what was here before, as the lock was held.
            self.schedule();
            return Err(refusal);
        }
        let queued = self.queued();
        if queued > self.high_water.load(Ordering::Relaxed) {
            self.high_water.fetch_max(queued, Ordering::Relaxed);
        }
        self.schedule();
        Ok(())
    }

    fn put_frame(
        &self,
        open: &mut Open,
        head: impl FnOnce(u64) -> Head,
        encode: &mut dyn FnMut(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<(), Refusal> {
        let began = self.appended_total();
        let batch = self.writable(open);
        let at = batch.len();
        let mut rollback = Rollback { batch, at, armed: true };
        head(began).begin(rollback.batch);
        encode(rollback.batch).map_err(Refusal::Encode)?;
        let len = rollback.batch.len() - at - frame::HEADER;
        if len > self.max_message {
            return Err(Refusal::TooLarge { len, max: self.max_message });
        }
        if len <= CHUNK {
            rollback.armed = false;
            frame::finish(rollback.batch, at);
            self.grew(len + frame::HEADER);
            return Ok(());
        }
        let long = rollback.batch.split_off(at + frame::HEADER);
        drop(rollback);
        let stream = open.next_stream;
        open.next_stream += 1;
        let pieces = long.chunks(PIECE);
        let last = pieces.len() - 1;
        for (index, piece) in pieces.enumerate() {
            let batch = self.writable(open);
            let before = batch.len();
            frame::put_chunk(stream, index == last, piece, batch);
            self.grew(batch.len() - before);
        }
        Ok(())
    }

    /// The batch that takes the next frame.
    fn writable<'a>(&self, open: &'a mut Open) -> &'a mut Vec<u8> {
        if open.batches.back().is_none_or(|batch| batch.len() >= BATCH) {
            let mut batch = open.spare.pop().unwrap_or_else(|| Vec::with_capacity(BATCH / 8));
            batch.resize(self.header, 0);
            open.batches.push_back(batch);
            self.grew(self.header);
        }
        open.batches.back_mut().expect("there is an open batch")
    }

    fn appended_total(&self) -> u64 {
        self.appended.load(Ordering::Relaxed) + self.appended_urgent.load(Ordering::Relaxed)
    }

    /// Only with `open` locked: one writer at a time, so no read-modify-write is needed.
    fn grew(&self, by: usize) {
        grow(&self.appended, by);
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
        if std::thread::current().id() == self.home {
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

    /// Waits until half of the outbox is free, or it is closed.
    pub(crate) async fn ready(&self) {
        loop {
            let room = self.room.notified();
            if self.queued() <= self.limit / 2 || self.open.lock().closed {
                return;
            }
            room.await;
        }
    }

    /// Nothing is taken any more. What was appended may still be flushed.
    pub(crate) fn close(&self) {
        self.open.lock().closed = true;
        self.room.notify_waiters();
    }
}

impl Open {
    fn give_back(&mut self, mut batch: Vec<u8>) {
        if self.spare.len() < 4 && batch.capacity() <= 4 * BATCH {
            batch.clear();
            self.spare.push(batch);
        }
    }
}

fn grow(total: &AtomicU64, by: usize) {
    let before = total.load(Ordering::Relaxed);
    total.store(before + u64::try_from(by).unwrap_or(0), Ordering::Release);
}

/// Takes a half-written frame back, also when its `Serialize` panics.
struct Rollback<'a> {
    batch: &'a mut Vec<u8>,
    at: usize,
    armed: bool,
}

impl Drop for Rollback<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.batch.truncate(self.at);
        }
    }
}
