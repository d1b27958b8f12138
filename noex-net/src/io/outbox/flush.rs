//! The flushing side of an outbox: writes what is sealed, encrypted if there is TLS.

use std::{
    io::{self, IoSlice, Write},
    sync::{
        Arc,
        atomic::{Ordering, fence},
    },
};

use super::{
    Flushed, Outbox,
    seal::{MAX_SLICES, Writer},
    turn,
};
use crate::{io::socket::WriteHalf, tls::Cipher};

/// The kernel's side of the socket, from any thread.
struct Kernel<'a>(&'a WriteHalf);

impl Write for Kernel<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// So many bytes of long messages are sealed and written before others have their turn, the reader among them.
const TURN: usize = 64 * 1024;

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
            Ok(Flushed::More | Flushed::Blocked) | Err(_) => self.flusher.wake(),
        }
    }

    /// Writes what there is, as far as the socket takes it and others need not have their turn.
    pub(crate) fn flush(&self) -> io::Result<Flushed> {
        let mut laned = 0;
        loop {
            let Some(mut writer) = self.writer.try_lock() else { return Ok(Flushed::Busy) };
            self.dirty.store(false, Ordering::Release);
            let sealing = self.seal(&mut writer);
            laned += sealing.laned;
            let done = self.write(&mut writer);
            drop(writer);
            // Whoever found the lock taken leaves what it has to this look.
            fence(Ordering::SeqCst);
            match done {
                Ok(()) if sealing.more && laned >= TURN => {
                    self.dirty.store(true, Ordering::Release);
                    return Ok(Flushed::More);
                }
                Ok(()) if sealing.more || self.dirty.load(Ordering::Acquire) => {}
                Ok(()) => return Ok(Flushed::All),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked.store(true, Ordering::Release);
                    return Ok(Flushed::Blocked);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn write(&self, writer: &mut Writer) -> io::Result<()> {
        if let Some(cipher) = &self.cipher {
            return self.write_encrypted(writer, cipher);
        }
        let mut socket = Kernel(&self.socket);
        while !writer.is_empty() {
            let written = if let Some(only) = writer.only() {
                socket.write(only)?
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
            if writer.is_empty() || writer.ended {
                return Ok(());
            }
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let used = writer.slices(&mut slices);
            writer.encrypted = cipher.encrypt(&slices[..used])?;
        }
    }

    /// So many bytes of sealed batches are with the kernel.
    fn wrote(&self, writer: &mut Writer, bytes: usize) {
        let written = writer.wrote(bytes, |batch| {
            // Not worth waiting for a user's `Serialize`.
            if let Some(mut open) = self.open.try_lock() {
                open.give_back(batch);
            }
        });
        let count = |bytes: usize| u64::try_from(bytes).unwrap_or(0);
        self.sent.fetch_add(count(bytes), Ordering::AcqRel);
        self.written.fetch_add(count(written.direct), Ordering::AcqRel);
        if written.waited > 0 {
            self.waiting.fetch_sub(written.waited, Ordering::Relaxed);
        }
        if self.queued() <= self.limit / 2 {
            self.room_is_there();
        }
    }

    /// Flushes now, also if nothing was appended: TLS may have something to say.
    pub(crate) fn flush_anyway(&self) {
        self.dirty.store(true, Ordering::Release);
        self.flush_here();
    }

    /// Nothing is written after this. With TLS the peer is told so, if everything else is with the kernel and it takes the
    /// few bytes; else it sees a connection that was lost, which is the same to it.
    pub(crate) fn end(&self) {
        let Some(cipher) = &self.cipher else { return };
        let mut writer = self.writer.lock();
        if writer.is_empty() && !writer.ended {
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
                let dirty = self.dirty.load(Ordering::Acquire);
                fence(Ordering::SeqCst);
                // Whoever writes now looks at `dirty` when done: nobody waits for a thread that may not have a processor.
                let due = dirty && !self.writer.is_locked() || self.blocked.load(Ordering::Acquire);
                if due { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
            })
            .await;
            if self.blocked.swap(false, Ordering::AcqRel)
                && let Err(error) = self.socket.writable().await
            {
                return error;
            }
            match self.flush() {
                Ok(Flushed::All | Flushed::Blocked | Flushed::Busy) => {}
                Ok(Flushed::More) => tokio::task::yield_now().await,
                Err(error) => return error,
            }
        }
    }
}
