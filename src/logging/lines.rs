//! Lines to standard output, without ever making a caller wait.
//!
//! A reader that stops reading must not stop the node: heartbeats are logged too. So a thread writes, a bounded number
//! of bytes waits for it, and lines beyond that are lost and counted.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Duration,
};

/// Bytes that may wait to be written.
const MAX_WAITING: usize = 4 << 20;

/// Makes the line that tells how many lines were lost.
pub(super) type TellLost = Box<dyn Fn(u64) -> Vec<u8> + Send>;

/// Where lines go. Clones write to the same place.
#[derive(Clone)]
pub(super) struct Lines {
    queue: Sender<Entry>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Bytes of lines in the queue.
    waiting: AtomicUsize,
    /// Lines lost and not yet told.
    lost: AtomicU64,
}

enum Entry {
    Line(Vec<u8>),
    /// Tell when everything before it is written.
    Flush(Sender<()>),
}

impl Lines {
    pub(super) fn to_stdout(tell_lost: TellLost) -> Self {
        Self::start(io::stdout(), tell_lost)
    }

    pub(super) fn start(out: impl Write + Send + 'static, tell_lost: TellLost) -> Self {
        let (queue, entries) = mpsc::channel();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let body = move || write_all(out, &entries, &shared, &tell_lost);
        // Without the thread the queue is closed and lines go nowhere; a program that cannot start a thread has
        // other troubles.
        let _ = thread::Builder::new().name("noex-log".to_owned()).spawn(body);
        Self { queue, state }
    }

    /// Queues one line, its end included.
    pub(super) fn write(&self, line: Vec<u8>) {
        let len = line.len();
        let before = self.state.waiting.fetch_add(len, Ordering::AcqRel);
        if before.saturating_add(len) > MAX_WAITING {
            self.state.waiting.fetch_sub(len, Ordering::AcqRel);
            self.state.lost.fetch_add(1, Ordering::AcqRel);
        } else if self.queue.send(Entry::Line(line)).is_err() {
            self.state.waiting.fetch_sub(len, Ordering::AcqRel);
        }
    }

    /// Waits until what was queued before is written, `longest` at most.
    pub(super) fn flush(&self, longest: Duration) {
        let (done, written) = mpsc::channel();
        if self.queue.send(Entry::Flush(done)).is_ok() {
            let _ = written.recv_timeout(longest);
        }
    }

    /// A writer that queues what was written to it when it is dropped.
    pub(super) fn line(&self) -> Line {
        Line { lines: self.clone(), text: Vec::with_capacity(256) }
    }
}

fn write_all(mut out: impl Write, entries: &Receiver<Entry>, state: &State, tell_lost: &TellLost) {
    for entry in entries {
        // A closed output is no reason to stop anything.
        match entry {
            Entry::Line(line) => {
                let _ = out.write_all(&line);
                state.waiting.fetch_sub(line.len(), Ordering::AcqRel);
            }
            Entry::Flush(done) => {
                let _ = done.send(());
            }
        }
        let lost = state.lost.swap(0, Ordering::AcqRel);
        if lost > 0 {
            let _ = out.write_all(&tell_lost(lost));
        }
    }
}

/// One line in the making.
pub(super) struct Line {
    lines: Lines,
    text: Vec<u8>,
}

impl Write for Line {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.lines.write(std::mem::take(&mut self.text));
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::{Condvar, Mutex};

    use super::*;

    /// An output whose reader can stop reading.
    #[derive(Clone, Default)]
    struct Pipe(Arc<Shared>);
    type Shared = (Mutex<(bool, Vec<u8>)>, Condvar);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut inner = self.0.0.lock();
            self.0.1.wait_while(&mut inner, |(stuck, _)| *stuck);
            inner.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lost(count: u64) -> Vec<u8> {
        format!("lost {count}\n").into_bytes()
    }

    #[test]
    fn a_reader_that_stops_costs_lines_and_never_time() {
        let pipe = Pipe::default();
        pipe.0.0.lock().0 = true;
        let lines = Lines::start(pipe.clone(), Box::new(lost));
        let line = vec![b'x'; 1 << 20];
        for _ in 0..10 {
            lines.write(line.clone());
        }
        pipe.0.0.lock().0 = false;
        pipe.0.1.notify_all();
        lines.flush(Duration::from_secs(10));
        let written = pipe.0.0.lock().1.clone();
        let text = String::from_utf8(written).unwrap();
        assert!(text.contains("lost 6\n"), "4 MiB are kept");
        assert_eq!(text.matches('x').count(), 4 << 20);
    }

    #[test]
    fn a_line_is_written_whole() {
        let pipe = Pipe::default();
        let lines = Lines::start(pipe.clone(), Box::new(lost));
        let (mut one, mut two) = (lines.line(), lines.line());
        one.write_all(b"a").unwrap();
        two.write_all(b"b").unwrap();
        one.write_all(b"a\n").unwrap();
        two.write_all(b"b\n").unwrap();
        drop(one);
        drop(two);
        lines.flush(Duration::from_secs(10));
        assert_eq!(pipe.0.0.lock().1, b"aa\nbb\n");
    }
}
