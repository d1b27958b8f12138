//! One direction of a connection in memory: a bounded buffer between one writer and one reader.
//!
//! | What happened | The writer sees | The reader sees |
//! |---|---|---|
//! | the buffer is full | `WouldBlock` until there is room | bytes |
//! | the writer ended it | `BrokenPipe` | what is left, then the end |
//! | the reader closed it | `BrokenPipe` | what is left, then the end |
//! | it was reset | `ConnectionReset` | `ConnectionReset`, and nothing of what was left |
//! | it is silent | room until the buffer is full, and not that the reader closed it | nothing, not even the end |
//!
//! Who waits is woken by every change that may concern him, after the lock is free.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;
use tokio::io::ReadBuf;

#[derive(Debug)]
pub(super) struct Pipe {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    buffer: VecDeque<u8>,
    /// The writer writes nothing more.
    ended: bool,
    /// The reader takes nothing more than what is there.
    closed: bool,
    reset: bool,
    /// Nothing gets through, and nobody is told.
    silent: bool,
    reader: Option<Waker>,
    writers: Vec<Waker>,
}

impl State {
    /// What a write has to expect; `Ok(0)` if it must wait.
    fn room(&self, capacity: usize) -> io::Result<usize> {
        if self.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if self.ended || self.closed && !self.silent {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(capacity.saturating_sub(self.buffer.len()))
    }
}

impl Pipe {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, state: Mutex::default() }
    }

    /// Changes something, then wakes whom it may concern.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let (done, reader, writers) = {
            let mut state = self.state.lock();
            let done = change(&mut state);
            (done, state.reader.take(), std::mem::take(&mut state.writers))
        };
        reader.into_iter().chain(writers).for_each(Waker::wake);
        done
    }

    /// Takes as much as there is room for.
    pub(super) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let (written, reader) = {
            let mut state = self.state.lock();
            let mut room = state.room(self.capacity)?;
            let mut written = 0;
            for slice in slices {
                let taken = slice.len().min(room);
                state.buffer.extend(&slice[..taken]);
                room -= taken;
                written += taken;
            }
            if written == 0 && slices.iter().any(|slice| !slice.is_empty()) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            (written, if state.silent { None } else { state.reader.take() })
        };
        reader.into_iter().for_each(Waker::wake);
        Ok(written)
    }

    /// Ready when a write would not block, be it that it fails.
    pub(super) fn poll_writable(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if !matches!(state.room(self.capacity), Ok(0)) {
            return Poll::Ready(());
        }
        if !state.writers.iter().any(|writer| writer.will_wake(cx.waker())) {
            state.writers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Reads at least one byte, or nothing at the end.
    pub(super) fn poll_read(&self, cx: &Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let writers = {
            let mut state = self.state.lock();
            if state.reset {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            if state.silent || state.buffer.is_empty() {
                if state.closed || state.ended && !state.silent {
                    return Poll::Ready(Ok(()));
                }
                state.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let count = room.remaining().min(state.buffer.len());
            let (first, second) = state.buffer.as_slices();
            let of_first = count.min(first.len());
            room.put_slice(&first[..of_first]);
            room.put_slice(&second[..count - of_first]);
            state.buffer.drain(..count);
            std::mem::take(&mut state.writers)
        };
        writers.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }

    /// The writer's last word.
    pub(super) fn end(&self) {
        self.change(|state| state.ended = true);
    }

    /// The reader takes what is there and nothing more.
    pub(super) fn close(&self) {
        self.change(|state| state.closed = true);
    }

    /// The reader is gone.
    pub(super) fn abandon(&self) {
        drop(self.change(|state| {
            state.closed = true;
            std::mem::take(&mut state.buffer)
        }));
    }

    pub(super) fn reset(&self) {
        drop(self.change(|state| {
            state.reset = true;
            std::mem::take(&mut state.buffer)
        }));
    }

    pub(super) fn silence(&self, silent: bool) {
        self.change(|state| state.silent = silent);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write(pipe: &Pipe, bytes: &[u8]) -> Result<usize, io::ErrorKind> {
        pipe.try_write(&[IoSlice::new(bytes)]).map_err(|error| error.kind())
    }

    /// Up to four bytes; `None` if there are none yet.
    fn read(pipe: &Pipe, waker: &Waker) -> Option<Result<Vec<u8>, io::ErrorKind>> {
        let mut bytes = [0; 4];
        let mut room = ReadBuf::new(&mut bytes);
        match pipe.poll_read(&Context::from_waker(waker), &mut room) {
            Poll::Ready(read) => Some(read.map(|()| room.filled().to_vec()).map_err(|error| error.kind())),
            Poll::Pending => None,
        }
    }

    fn writable(pipe: &Pipe, waker: &Waker) -> bool {
        pipe.poll_writable(&Context::from_waker(waker)).is_ready()
    }

    #[test]
    fn bytes_come_out_in_order_and_a_full_buffer_takes_no_more_until_some_were_read() {
        let pipe = Pipe::new(6);
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        assert_eq!(read(&pipe, &waker), None);
        let slices = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cdefgh")];
        assert_eq!(pipe.try_write(&slices).unwrap(), 6);
        assert_eq!(count.0.load(Ordering::Relaxed), 1, "the reader was woken");
        assert_eq!(write(&pipe, b"x"), Err(io::ErrorKind::WouldBlock));
        assert_eq!(write(&pipe, b""), Ok(0));
        assert!(!writable(&pipe, &waker) && !writable(&pipe, &waker));
        assert_eq!(read(&pipe, &waker), Some(Ok(b"abcd".to_vec())));
        assert_eq!(count.0.load(Ordering::Relaxed), 2, "the writer was woken, once");
        assert!(writable(&pipe, &waker));
        assert_eq!(write(&pipe, b"ghijkl"), Ok(4));
        assert_eq!(read(&pipe, &waker), Some(Ok(b"efgh".to_vec())));
        assert_eq!(read(&pipe, &waker), Some(Ok(b"ij".to_vec())));
        assert_eq!(read(&pipe, &waker), None);
    }

    #[test]
    fn what_was_written_before_an_end_is_read_before_the_end() {
        for what in ["ended", "closed"] {
            let pipe = Pipe::new(6);
            let count = Arc::new(Count::default());
            let waker = Waker::from(Arc::clone(&count));
            assert_eq!(write(&pipe, b"abcdef"), Ok(6));
            assert!(!writable(&pipe, &waker));
            if what == "ended" {
                pipe.end();
            } else {
                pipe.close();
            }
            assert_eq!(count.0.load(Ordering::Relaxed), 1, "{what}: the writer was woken");
            assert!(writable(&pipe, &waker), "{what}: it fails at once");
            assert_eq!(write(&pipe, b"x"), Err(io::ErrorKind::BrokenPipe), "{what}");
            assert_eq!(read(&pipe, &waker), Some(Ok(b"abcd".to_vec())), "{what}");
            assert_eq!(read(&pipe, &waker), Some(Ok(b"ef".to_vec())), "{what}");
            assert_eq!(read(&pipe, &waker), Some(Ok(vec![])), "{what}");
        }
    }

    #[test]
    fn a_reset_takes_away_what_was_under_way() {
        let pipe = Pipe::new(6);
        assert_eq!(write(&pipe, b"abcdef"), Ok(6));
        pipe.reset();
        assert_eq!(read(&pipe, Waker::noop()), Some(Err(io::ErrorKind::ConnectionReset)));
        assert_eq!(write(&pipe, b"x"), Err(io::ErrorKind::ConnectionReset));
        assert!(writable(&pipe, Waker::noop()));
    }

    #[test]
    fn silence_holds_back_bytes_ends_and_closings_until_it_is_over() {
        let (pipe, waker) = (Pipe::new(6), Waker::noop());
        assert_eq!(write(&pipe, b"ab"), Ok(2));
        pipe.silence(true);
        assert_eq!(read(&pipe, waker), None);
        assert_eq!(write(&pipe, b"cdefgh"), Ok(4));
        assert_eq!(write(&pipe, b"x"), Err(io::ErrorKind::WouldBlock));
        pipe.end();
        assert_eq!(read(&pipe, waker), None);
        let count = Arc::new(Count::default());
        let counted = Waker::from(Arc::clone(&count));
        assert_eq!(read(&pipe, &counted), None);
        pipe.silence(false);
        assert_eq!(count.0.load(Ordering::Relaxed), 1, "the reader was woken");
        for bytes in [&b"abcd"[..], b"ef", b""] {
            assert_eq!(read(&pipe, waker), Some(Ok(bytes.to_vec())));
        }

        let pipe = Pipe::new(6);
        pipe.silence(true);
        pipe.abandon();
        assert_eq!(write(&pipe, b"ab"), Ok(2), "nobody was told");
        assert_eq!(read(&pipe, waker), Some(Ok(vec![])), "who closed it knows");
        pipe.silence(false);
        assert_eq!(write(&pipe, b"ab"), Err(io::ErrorKind::BrokenPipe));
    }
}
