//! Sealing: what has gathered becomes batches with a length and a tag, in the order in which they are written.
//!
//! A piece of a long content is sealed where it stands: the header of its batch takes the place of what stands before it
//! for as long as the tag takes, and is then kept apart.

use std::{
    collections::{BTreeMap, VecDeque},
    io::IoSlice,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

use super::{
    Outbox,
    batch::Open,
    lanes::{Content, Leaving},
};
use crate::wire::{
    compression::{self, Compression},
    frame,
    limits::{LEN, TAG},
    tag::Tagger,
};

/// Most slices handed to the kernel in one call.
pub(super) const MAX_SLICES: usize = 16;
/// So many bytes are sealed ahead of the kernel. The order of what is sealed is settled: nothing can pass it any more.
const MAX_SEALED: usize = 128 * 1024;
/// Room for what stands before a piece: the header of a batch, and the head of a chunk.
const MAX_HEAD: usize = LEN + TAG + 16;

#[derive(Debug)]
enum Sealed {
    /// Of these, so many bytes waited in a lane before. If it is compressed: how long it was without.
    Batch { bytes: Vec<u8>, waited: usize, kind: Kind, before: Option<usize> },
    /// A piece of a long content, behind its head.
    Piece { head: ([u8; MAX_HEAD], usize), stream: u64, at: Range<usize> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Direct,
    Laned,
}

/// A long content of which some pieces are sealed.
#[derive(Debug)]
struct Outgoing {
    buffer: Vec<u8>,
    /// Where the next piece begins.
    next: usize,
    /// Pieces that are sealed and not written.
    pieces: usize,
    /// No more will be sealed.
    over: bool,
}

#[derive(Debug)]
pub(super) struct Writer {
    tagger: Option<Tagger>,
    compression: Compression,
    /// Bytes before the frames of a batch.
    header: usize,
    sealed: VecDeque<Sealed>,
    streams: BTreeMap<u64, Outgoing>,
    /// How much of the first sealed batch is written.
    offset: usize,
    /// Bytes that are sealed and not written.
    ahead: usize,
    /// With TLS: bytes of sealed batches, from `offset` on, that are encrypted and not yet known to be with the kernel.
    pub(super) encrypted: usize,
    pub(super) ended: bool,
}

impl Sealed {
    fn len(&self) -> usize {
        match self {
            Self::Batch { bytes, .. } => bytes.len(),
            Self::Piece { head, at, .. } => head.1 + at.len(),
        }
    }
}

/// What is not with the kernel any more than it was.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Bytes that were appended to batches.
    pub(super) direct: usize,
    /// Bytes that waited in lanes.
    pub(super) waited: usize,
}

impl Writer {
    pub(super) fn new(tagger: Option<Tagger>, compression: Compression, header: usize) -> Self {
        Self {
            tagger,
            compression,
            header,
            sealed: VecDeque::new(),
            streams: BTreeMap::new(),
            offset: 0,
            ahead: 0,
            encrypted: 0,
            ended: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sealed.is_empty()
    }

    /// If there is one batch in one piece to be written and nothing else: that.
    pub(super) fn only(&self) -> Option<&[u8]> {
        match self.sealed.front() {
            Some(Sealed::Batch { bytes, .. }) if self.sealed.len() == 1 => Some(&bytes[self.offset..]),
            _ => None,
        }
    }

    /// What is to be written next; returns how many slices that are.
    pub(super) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; MAX_SLICES]) -> usize {
        let mut used = 0;
        let mut skip = self.offset;
        let mut add = |part: &'a [u8]| {
            let skipped = skip.min(part.len());
            skip -= skipped;
            if let (Some(slice), false) = (slices.get_mut(used), skipped == part.len()) {
                *slice = IoSlice::new(&part[skipped..]);
                used += 1;
            }
        };
        for sealed in self.sealed.iter().take(MAX_SLICES) {
            match sealed {
                Sealed::Batch { bytes, .. } => add(bytes),
                Sealed::Piece { head: (head, len), stream, at } => {
                    add(&head[..*len]);
                    if let Some(outgoing) = self.streams.get(stream) {
                        add(&outgoing.buffer[at.clone()]);
                    }
                }
            }
        }
        used
    }

    /// Takes something in that is to be closed.
    fn push(&mut self, bytes: Vec<u8>, waited: usize, kind: Kind) {
        self.sealed.push_back(Sealed::Batch { bytes, waited, kind, before: None });
    }

    fn leave(&mut self, leaving: Leaving) {
        let header = self.header;
        match leaving {
            Leaving::Frames(batch) => {
                let waited = batch.len() - header;
                self.push(batch, waited, Kind::Laned);
            }
            Leaving::Dropped { stream } => {
                let mut batch = vec![0; header];
                frame::put_dropped(stream, &mut batch);
                self.push(batch, 0, Kind::Laned);
                self.over(stream);
            }
            Leaving::First { stream, content, piece } => {
                let total = u64::try_from(content.len()).unwrap_or(u64::MAX);
                let Content { buffer, start } = content;
                let next = start + piece;
                let mut batch = vec![0; header];
                frame::put_first(stream, total, &buffer[start..next], &mut batch);
                // With the length of its frame, which does not travel.
                self.push(batch, piece + frame::HEADER, Kind::Laned);
                self.streams.insert(stream, Outgoing { buffer, next, pieces: 0, over: false });
            }
            Leaving::Next { stream, piece, last } => {
                let Some(outgoing) = self.streams.get_mut(&stream) else { return };
                let at = outgoing.next..outgoing.next + piece;
                outgoing.next = at.end;
                outgoing.pieces += 1;
                outgoing.over = last;
                self.sealed.push_back(Sealed::Piece { head: ([0; MAX_HEAD], 0), stream, at });
            }
        }
    }

    /// Gives what was taken in since then its lengths and tags.
    fn close(&mut self, since: usize) -> Closed {
        let Self { tagger, compression, sealed, streams, header, ahead, .. } = self;
        let mut closed = Closed { batches: sealed.len() - since, ..Closed::default() };
        let shorter = |frames: &[u8]| match compression {
            Compression::Off => None,
            Compression::Lz4 => {
                let mut batch = vec![0; *header - compression.marker()];
                compression::compress(frames, &mut batch).then_some(batch)
            }
        };
        for sealed in sealed.iter_mut().skip(since) {
            match sealed {
                Sealed::Batch { bytes, before, .. } => {
                    if let Some(batch) = shorter(&bytes[*header..]) {
                        *before = Some(bytes.len());
                        *bytes = batch;
                        closed.compressed(before.unwrap_or(0), bytes.len());
                    }
                    close(bytes, tagger.as_mut());
                }
                Sealed::Piece { head, stream, at } => {
                    let Some(outgoing) = streams.get_mut(stream) else { continue };
                    let chunk = frame::next_head(*stream, at.len());
                    let chunk = chunk.as_bytes();
                    let len = *header + chunk.len();
                    let batch = &mut outgoing.buffer[at.start - len..at.end];
                    let mut here = [0; MAX_HEAD];
                    here[..len].copy_from_slice(&batch[..len]);
                    batch[..*header].fill(0);
                    batch[*header..len].copy_from_slice(chunk);
                    let compressed = shorter(&batch[*header..]);
                    if compressed.is_none() {
                        close(batch, tagger.as_mut());
                        head.0[..len].copy_from_slice(&batch[..len]);
                        head.1 = len;
                    }
                    let before = batch.len();
                    batch[..len].copy_from_slice(&here[..len]);
                    if let Some(mut bytes) = compressed {
                        closed.compressed(before, bytes.len());
                        close(&mut bytes, tagger.as_mut());
                        let (stream, waited) = (*stream, at.len());
                        *sealed = Sealed::Batch { bytes, waited, kind: Kind::Laned, before: Some(before) };
                        written_piece(streams, stream);
                    }
                }
            }
            *ahead += sealed.len();
        }
        closed
    }

    /// Bytes appended to batches that may be with the kernel beyond those that are known to be.
    pub(super) fn perhaps_written(&self) -> usize {
        let direct = |sealed: &Sealed| match sealed {
            Sealed::Batch { kind: Kind::Direct, bytes, before, .. } => before.unwrap_or(bytes.len()),
            Sealed::Batch { kind: Kind::Laned, .. } | Sealed::Piece { .. } => 0,
        };
        if self.encrypted == 0 { 0 } else { self.sealed.iter().map(direct).sum() }
    }

    /// No more of this stream is sealed.
    fn over(&mut self, stream: u64) {
        if let Some(outgoing) = self.streams.get_mut(&stream) {
            outgoing.over = true;
            if outgoing.pieces == 0 {
                self.streams.remove(&stream);
            }
        }
    }

    /// So many bytes of what is sealed are with the kernel. `spare` gets the buffers that are free.
    pub(super) fn wrote(&mut self, mut bytes: usize, mut spare: impl FnMut(Vec<u8>)) -> Written {
        let mut written = Written::default();
        self.ahead = self.ahead.saturating_sub(bytes);
        while let Some(first) = self.sealed.front() {
            let left = first.len() - self.offset;
            let part = bytes.min(left);
            if let Sealed::Batch { kind: Kind::Direct, before, .. } = first {
                // Of a compressed one nothing is there until all of it is.
                written.direct += before.map_or(part, |before| if part == left { before } else { 0 });
            }
            if bytes < left {
                self.offset += bytes;
                break;
            }
            bytes -= left;
            self.offset = 0;
            match self.sealed.pop_front() {
                Some(Sealed::Batch { bytes, waited, .. }) => {
                    written.waited += waited;
                    spare(bytes);
                }
                Some(Sealed::Piece { stream, at, .. }) => {
                    written.waited += at.len();
                    written_piece(&mut self.streams, stream);
                }
                None => {}
            }
        }
        written
    }
}

/// One piece of this stream less is needed.
fn written_piece(streams: &mut BTreeMap<u64, Outgoing>, stream: u64) {
    if let Some(outgoing) = streams.get_mut(&stream) {
        outgoing.pieces -= 1;
        if outgoing.over && outgoing.pieces == 0 {
            streams.remove(&stream);
        }
    }
}

/// What was closed.
#[derive(Debug, Default)]
struct Closed {
    batches: usize,
    /// Bytes of those that were compressed, before and after that.
    before: usize,
    after: usize,
}

impl Closed {
    fn compressed(&mut self, before: usize, after: usize) {
        self.before += before;
        self.after += after;
    }
}

/// Writes length and tag of a batch.
fn close(batch: &mut [u8], tagger: Option<&mut Tagger>) {
    let len = u32::try_from(batch.len() - LEN).unwrap_or(u32::MAX);
    if let Some(tagger) = tagger {
        tagger.seal(&mut batch[LEN..]);
    }
    batch[..LEN].copy_from_slice(&len.to_le_bytes());
}

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
                writer.leave(leaving);
            }
            None if none => break,
            None => {}
        }
    }
    laned
}
