//! The flushing side of an outbox: seals what has gathered, encrypts it if there is TLS, and writes it.

use std::{
    collections::VecDeque,
    io::{self, IoSlice, Write},
    sync::{Arc, atomic::Ordering},
};

use tokio::net::tcp::OwnedWriteHalf;

use super::{Flushed, MAX_SLICES, Outbox, turn};
use crate::{
    tls::Cipher,
    wire::{limits::LEN, tag::Tagger},
};

#[derive(Debug)]
pub(super) struct Writer {
    tagger: Option<Tagger>,
    sealed: VecDeque<Vec<u8>>,
    /// How much of the first sealed batch is written.
    offset: usize,
    /// With TLS: bytes of sealed batches, from `offset` on, that are encrypted and not yet known to be with the kernel.
    pub(super) encrypted: usize,
    ended: bool,
}

impl Writer {
    pub(super) fn new(tagger: Option<Tagger>) -> Self {
        Self { tagger, sealed: VecDeque::new(), offset: 0, encrypted: 0, ended: false }
    }

    /// What is to be written next; returns how many slices that are.
    fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; MAX_SLICES]) -> usize {
        let mut used = 0;
        for (slice, batch) in slices.iter_mut().zip(&self.sealed) {
            *slice = IoSlice::new(if used == 0 { &batch[self.offset..] } else { batch });
            used += 1;
        }
        used
    }
}

/// The kernel's side of the socket, from any thread.
struct Kernel<'a>(&'a OwnedWriteHalf);

impl Kernel<'_> {
    /// tokio remembers that the socket was full until the connection's own arbiter hears otherwise. That one may be blocked
    /// by user code: ask the kernel.
    fn or_ask(&self, written: io::Result<usize>, first: &[u8]) -> io::Result<usize> {
        match written {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                socket2::SockRef::from(self.0.as_ref()).send(first)
            }
            written => written,
        }
    }
}

impl Write for Kernel<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.or_ask(self.0.try_write(bytes), bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.or_ask(self.0.try_write_vectored(slices), slices.first().map_or(&[], |first| first))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// So many bytes are sealed ahead of the kernel. The order of what is sealed is settled: nothing can pass it any more.
const MAX_SEALED: usize = 128 * 1024;

impl Outbox {
    /// Lets the tasks run that the reader woke, then flushes what they sent. Saves the flusher its turn.
    ///
    /// `expected` frames may come of what was read: a new call of each caller that was answered, a reply to each call.
    /// If they do not come in this turn, their senders are no tasks of the `LocalSet` in which this runs but of the
    /// runtime around it. The flusher is one of those and gets its turn behind them: flushed too early, one group of
    /// calls would become two, which circulate apart from then on, each with its own system calls.
    pub(crate) async fn flush_after_turn(&self, expected: u64) {
        self.reader_flushes.store(true, Ordering::Relaxed);
        let before = self.frames.load(Ordering::Relaxed);
        turn().await;
        self.reader_flushes.store(false, Ordering::Relaxed);
        if self.frames.load(Ordering::Relaxed) - before < expected {
            self.flusher.wake();
        } else if self.dirty.load(Ordering::Acquire) {
            self.flush_here();
        }
    }

    /// Flushes on this thread and leaves what does not go through to the flusher.
    pub(crate) fn flush_here(&self) {
        match self.flush() {
            Ok(Flushed::All | Flushed::Busy) => {}
            // An error is for the reader to find; the flusher ends by it, too.
            Ok(Flushed::Blocked) | Err(_) => self.flusher.wake(),
        }
    }

    /// Writes what there is, as far as the socket takes it.
    pub(crate) fn flush(&self) -> io::Result<Flushed> {
        loop {
            let Some(mut writer) = self.writer.try_lock() else { return Ok(Flushed::Busy) };
            self.dirty.store(false, Ordering::Release);
            let more = self.seal(&mut writer);
            let done = self.write(&mut writer);
            drop(writer);
            match done {
                Ok(()) if more || self.dirty.load(Ordering::Acquire) => {}
                Ok(()) => return Ok(Flushed::All),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked.store(true, Ordering::Release);
                    return Ok(Flushed::Blocked);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Seals what is to be written next. True if more waits, which urgent messages can still pass.
    fn seal(&self, writer: &mut Writer) -> bool {
        // Both lanes are taken at one moment, so that what was appended later is written later. While a user's
        // message is being encoded, only the urgent lane goes: whoever encodes schedules the next flush.
        let Writer { tagger, sealed, .. } = writer;
        let before = sealed.len();
        let mut more = false;
        {
            let open = self.open.try_lock();
            let mut urgent = self.urgent.lock();
            if !urgent.is_empty() {
                sealed.push_back(std::mem::take(&mut *urgent));
            }
            drop(urgent);
            if let Some(mut open) = open {
                let mut ahead: usize = sealed.iter().map(Vec::len).sum();
                while ahead < MAX_SEALED
                    && let Some(batch) = open.batches.pop_front()
                {
                    ahead += batch.len();
                    sealed.push_back(batch);
                }
                more = !open.batches.is_empty();
            }
        }
        let mut count = 0;
        for batch in sealed.iter_mut().skip(before) {
            let len = u32::try_from(batch.len() - LEN).unwrap_or(u32::MAX);
            if let Some(tagger) = tagger {
                tagger.seal(&mut batch[LEN..]);
            }
            batch[..LEN].copy_from_slice(&len.to_le_bytes());
            count += 1;
        }
        self.batches_sent.fetch_add(count, Ordering::Relaxed);
        more
    }

    fn write(&self, writer: &mut Writer) -> io::Result<()> {
        if let Some(cipher) = &self.cipher {
            return self.write_encrypted(writer, cipher);
        }
        let mut socket = Kernel(&self.socket);
        while let Some(first) = writer.sealed.front() {
            let written = if writer.sealed.len() == 1 {
                socket.write(&first[writer.offset..])?
            } else {
                let mut slices = [IoSlice::new(&[]); MAX_SLICES];
                let used = writer.slices(&mut slices);
                socket.write_vectored(&slices[..used])?
            };
            self.wrote(writer, written);
        }
        Ok(())
    }

    fn write_encrypted(&self, writer: &mut Writer, cipher: &Cipher) -> io::Result<()> {
        loop {
            cipher.drain(&mut Kernel(&self.socket))?;
            let written = std::mem::take(&mut writer.encrypted);
            self.wrote(writer, written);
            if writer.sealed.is_empty() || writer.ended {
                return Ok(());
            }
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let used = writer.slices(&mut slices);
            writer.encrypted = cipher.encrypt(&slices[..used])?;
        }
    }

    /// So many bytes of sealed batches are with the kernel.
    fn wrote(&self, writer: &mut Writer, mut written: usize) {
        self.written.fetch_add(u64::try_from(written).unwrap_or(0), Ordering::AcqRel);
        if self.queued() <= self.limit / 2 {
            self.room.notify_waiters();
        }
        while let Some(batch) = writer.sealed.front() {
            let left = batch.len() - writer.offset;
            if written < left {
                writer.offset += written;
                break;
            }
            written -= left;
            writer.offset = 0;
            let batch = writer.sealed.pop_front();
            // Not worth waiting for a user's `Serialize`.
            if let (Some(batch), Some(mut open)) = (batch, self.open.try_lock()) {
                open.give_back(batch);
            }
        }
    }

    /// Flushes though nothing was appended: TLS has something to say.
    pub(crate) fn flush_anyway(&self) {
        self.dirty.store(true, Ordering::Release);
        self.flush_here();
    }

    /// Nothing is written after this. With TLS the peer is told so, if everything else is with the kernel and it takes the
    /// few bytes; else it sees a connection that was lost, which is the same to it.
    pub(crate) fn end(&self) {
        let Some(cipher) = &self.cipher else { return };
        let mut writer = self.writer.lock();
        if writer.sealed.is_empty() && !writer.ended {
            cipher.end();
            let _ = cipher.drain(&mut Kernel(&self.socket));
        }
        writer.ended = true;
    }

    /// The flusher of the connection; runs on its arbiter until the socket fails, as a task of the runtime itself.
    pub(crate) async fn flusher(self: Arc<Self>) -> io::Error {
        loop {
            std::future::poll_fn(|cx| {
                self.flusher.register(cx.waker());
                let due = self.dirty.load(Ordering::Acquire) || self.blocked.load(Ordering::Acquire);
                if due { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
            })
            .await;
            if self.blocked.swap(false, Ordering::AcqRel)
                && let Err(error) = self.socket.writable().await
            {
                return error;
            }
            match self.flush() {
                Ok(Flushed::All | Flushed::Blocked) => {}
                // Whoever writes looks at `dirty` again when done.
                Ok(Flushed::Busy) => tokio::task::yield_now().await,
                Err(error) => return error,
            }
        }
    }
}
