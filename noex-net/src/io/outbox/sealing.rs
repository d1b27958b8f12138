//! What is sealed next: urgent messages, then batches and what leaves the lanes, by turns.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{
    Outbox,
    batch::Open,
    seal::{Kind, Writer},
};

/// So many bytes are sealed ahead of the kernel. The order of what is sealed is settled: nothing can pass it any more.
const MAX_SEALED: usize = 128 * 1024;

/// What was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sealing {
    /// More waits, which urgent messages can still pass.
    pub(super) more: bool,
    /// So many bytes came out of lanes.
    pub(super) laned: usize,
}

impl Outbox {
    /// Seals what is to be written next.
    pub(super) fn seal(&self, writer: &mut Writer) -> Sealing {
        // All are taken at one moment, so that what was appended later is written later. While a user's message is being
        // encoded, only the urgent lane goes: whoever encodes schedules the next flush.
        let mut sealing = Sealing { more: false, laned: 0 };
        let since = writer.sealed.len();
        {
            let open = self.open.try_lock();
            let mut urgent = self.urgent.lock();
            let mut ahead = writer.ahead;
            if !urgent.is_empty() {
                ahead += urgent.len();
                writer.push(std::mem::take(&mut *urgent), 0, Kind::Direct);
            }
            drop(urgent);
            if let Some(mut open) = open {
                open.gathered = 0;
                sealing.laned = take_turns(&mut open, writer, ahead);
                sealing.more = !open.batches.is_empty() || !open.lanes.is_idle();
            }
        }
        let closed = writer.close(since);
        let add = |total: &AtomicU64, by| total.fetch_add(u64::try_from(by).unwrap_or(0), Ordering::Relaxed);
        add(&self.batches_sent, closed.batches);
        if closed.before > 0 {
            add(&self.compressed.0, closed.before);
            add(&self.compressed.1, closed.after);
        }
        sealing
    }
}

/// A batch, then something out of a lane, and so on, until there is enough ahead. Returns the bytes out of lanes.
fn take_turns(open: &mut Open, writer: &mut Writer, mut ahead: usize) -> usize {
    let mut laned = 0;
    while ahead < MAX_SEALED {
        let batch = open.batches.pop_front();
        let none = batch.is_none();
        if let Some(batch) = batch {
            open.taken += 1;
            // One from which everything was taken back has nothing but its header.
            if batch.len() > writer.header {
                ahead += batch.len();
                writer.push(batch, 0, Kind::Direct);
            } else {
                open.give_back(batch);
            }
        }
        if open.lanes.is_idle() {
            if none {
                break;
            }
            continue;
        }
        match open.lanes.next(open.taken) {
            Some(leaving) => {
                let len = leaving.len();
                (ahead, laned) = (ahead + len, laned + len);
                let header = writer.header;
                writer.leave(leaving, || open.fresh(header));
            }
            None if none => break,
            None => {}
        }
    }
    laned
}
