//! Sealing: what has gathered becomes batches with a length and a tag, in the order in which they are written.
//!
//! A piece of a long content is sealed where it stands: the header of its batch takes the place of what stands before it
//! for as long as the tag takes, and is then kept apart.

use std::{
    collections::{BTreeMap, VecDeque},
    io::IoSlice,
    ops::Range,
};

use super::{
    content::{Content, Part},
    lanes::Leaving,
};
use bytes::Bytes;

use crate::wire::{
    compression::{self, Compression},
    frame,
    limits::{LEN, TAG},
    tag::Tagger,
};

/// Most slices handed to the kernel in one call.
pub(super) const MAX_SLICES: usize = 16;
/// Room for what stands before a piece: the header of a batch, and the head of a chunk.
const MAX_HEAD: usize = LEN + TAG + 16;

#[derive(Debug)]
pub(super) enum Sealed {
    /// Of these, so many bytes waited in a lane before. If it is compressed: how long it was without.
    Batch { bytes: Vec<u8>, waited: usize, kind: Kind, before: Option<usize> },
    /// A piece of a long content, behind its head.
    Piece { head: ([u8; MAX_HEAD], usize), stream: u64, at: Range<usize> },
    /// One that somebody else has as well, behind its head. It is not encrypted.
    Lent { head: ([u8; MAX_HEAD], usize), bytes: Bytes },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Direct,
    Laned,
}

/// A long content of which some pieces are sealed.
#[derive(Debug)]
struct Outgoing {
    content: Content,
    /// Where in it the next piece begins.
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
    pub(super) header: usize,
    pub(super) sealed: VecDeque<Sealed>,
    streams: BTreeMap<u64, Outgoing>,
    /// How much of the first sealed batch is written.
    offset: usize,
    /// Bytes that are sealed and not written.
    pub(super) ahead: usize,
    /// With TLS: bytes of sealed batches, from `offset` on, that are encrypted and not yet known to be with the kernel.
    pub(super) encrypted: usize,
    pub(super) ended: bool,
}

impl Sealed {
    fn len(&self) -> usize {
        match self {
            Self::Batch { bytes, .. } => bytes.len(),
            Self::Piece { head, at, .. } => head.1 + at.len(),
            Self::Lent { head, bytes } => head.1 + bytes.len(),
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
                        add(&outgoing.content.buffer()[at.clone()]);
                    }
                }
                Sealed::Lent { head: (head, len), bytes } => {
                    add(&head[..*len]);
                    add(bytes);
                }
            }
        }
        used
    }

    /// Takes something in that is to be closed.
    pub(super) fn push(&mut self, bytes: Vec<u8>, waited: usize, kind: Kind) {
        self.sealed.push_back(Sealed::Batch { bytes, waited, kind, before: None });
    }

    /// `room`: a batch with nothing but its header.
    pub(super) fn leave(&mut self, leaving: Leaving, room: impl FnOnce() -> Vec<u8>) {
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
                let mut first = Vec::with_capacity(piece);
                content.append_to(0..piece, &mut first);
                let mut batch = vec![0; header];
                frame::put_first(stream, total, &first, &mut batch);
                // With the length of its frame, which does not travel.
                self.push(batch, piece + frame::HEADER, Kind::Laned);
                self.streams.insert(stream, Outgoing { content, next: piece, pieces: 0, over: false });
            }
            Leaving::Next { stream, piece, last } => self.next_piece(stream, piece, last, room),
        }
    }

    fn next_piece(&mut self, stream: u64, piece: usize, last: bool, room: impl FnOnce() -> Vec<u8>) {
        let stays = self.stays();
        let Some(outgoing) = self.streams.get_mut(&stream) else { return };
        let range = outgoing.next..outgoing.next + piece;
        outgoing.next = range.end;
        let chunk = frame::next_head(stream, piece);
        let chunk = chunk.as_bytes();
        match outgoing.content.part(range.clone()) {
            Part::Buffer(at) if !outgoing.content.is_lent() => {
                outgoing.pieces += 1;
                outgoing.over = last;
                self.sealed.push_back(Sealed::Piece { head: ([0; MAX_HEAD], 0), stream, at });
                return;
            }
            Part::Lent(bytes) if stays => {
                let mut head = [0; MAX_HEAD];
                head[self.header..self.header + chunk.len()].copy_from_slice(chunk);
                let len = self.header + chunk.len();
                self.sealed.push_back(Sealed::Lent { head: (head, len), bytes });
            }
            _ => {
                let mut batch = room();
                batch.extend_from_slice(chunk);
                outgoing.content.append_to(range, &mut batch);
                self.push(batch, piece, Kind::Laned);
            }
        }
        if last {
            self.over(stream);
        }
    }

    /// Whether a piece that is lent goes to the kernel from where it is.
    fn stays(&self) -> bool {
        self.compression == Compression::Off && self.tagger.as_ref().is_none_or(Tagger::takes_parts)
    }

    /// Gives what was taken in since then its lengths and tags.
    pub(super) fn close(&mut self, since: usize) -> Closed {
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
                    let batch = &mut outgoing.content.buffer_mut()[at.start - len..at.end];
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
                Sealed::Lent { head: (head, len), bytes } => {
                    let after = u32::try_from(*len - LEN + bytes.len()).unwrap_or(u32::MAX);
                    if let Some(tagger) = tagger.as_mut() {
                        tagger.seal_parts(&mut head[LEN..*len], bytes);
                    }
                    head[..LEN].copy_from_slice(&after.to_le_bytes());
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
            Sealed::Batch { kind: Kind::Laned, .. } | Sealed::Piece { .. } | Sealed::Lent { .. } => 0,
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
                Some(Sealed::Lent { bytes, .. }) => written.waited += bytes.len(),
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
pub(super) struct Closed {
    pub(super) batches: usize,
    /// Bytes of those that were compressed, before and after that.
    pub(super) before: usize,
    pub(super) after: usize,
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
