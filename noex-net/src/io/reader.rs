//! Takes bytes as they come and gives whole, verified batches.
//!
//! Invariants: 1. nothing is given that did not verify; 2. the buffer holds at most one longest batch and what came
//! behind it; 3. after an error nothing more is given: the session ends.

use crate::wire::{
    compression::{self, Compression},
    limits::{LEN, MAX_BATCH, READ_BUFFER, TAG},
    tag::Tagger,
};

/// Why a stream of batches is not to be trusted any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BatchError {
    /// Longer than allowed, or too short to hold its tag.
    #[error("a batch of {0} bytes")]
    Length(usize),
    /// Forged, replayed, out of order, or changed on the way.
    #[error("a batch whose tag does not verify")]
    Forged,
    /// Not compressed as it says, or to more than a batch may be.
    #[error("a batch that cannot be decompressed")]
    Compression,
}

/// Reassembles and verifies the batches of one direction.
#[derive(Debug)]
pub(crate) struct Batches {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    tagger: Option<Tagger>,
    compression: Compression,
    /// What was decompressed last.
    plain: Vec<u8>,
    /// What was wrong: it stays so.
    broken: Option<BatchError>,
}

impl Batches {
    pub(crate) fn new(tagger: Option<Tagger>) -> Self {
        let buffer = vec![0; READ_BUFFER];
        let compression = Compression::Off;
        Self { buffer, start: 0, end: 0, tagger, compression, plain: Vec::new(), broken: None }
    }

    /// The same, of batches that may be compressed.
    pub(crate) fn compressed(self, compression: Compression) -> Self {
        Self { compression, ..self }
    }

    /// Where the next bytes go; never empty.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > READ_BUFFER {
                self.buffer = vec![0; READ_BUFFER];
            }
        }
        let wanted = self.announced().unwrap_or(0).max(READ_BUFFER);
        if self.buffer.len() - self.end < READ_BUFFER / 4 && self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() || self.buffer.len() < wanted.min(LEN + MAX_BATCH) {
            let len = wanted.max(self.end + READ_BUFFER).min(LEN + MAX_BATCH + READ_BUFFER);
            let len = len.max(self.end + 1);
            // Left to itself a vector doubles.
            self.buffer.reserve_exact(len.saturating_sub(self.buffer.len()));
            self.buffer.resize(len, 0);
        }
        &mut self.buffer[self.end..]
    }

    /// That many bytes came.
    pub(crate) fn filled(&mut self, bytes: usize) {
        self.end = (self.end + bytes).min(self.buffer.len());
    }

    /// Bytes that are held.
    #[cfg(any(test, feature = "__fuzz"))]
    pub(crate) fn held(&self) -> usize {
        self.buffer.capacity() + self.plain.capacity()
    }

    /// Length of the next batch with its prefix, once the prefix is there.
    fn announced(&self) -> Option<usize> {
        let prefix = self.buffer[self.start..self.end].first_chunk::<LEN>()?;
        usize::try_from(u32::from_le_bytes(*prefix)).ok().map(|len| len.saturating_add(LEN))
    }

    /// The frames of the next batch; `None` until it is whole.
    ///
    /// # Errors
    /// [`BatchError`]: the stream is broken.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, BatchError> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let Some(total) = self.announced() else { return Ok(None) };
        let header = LEN + if self.tagger.is_some() { TAG } else { 0 };
        if total < header + self.compression.marker() || total > LEN + MAX_BATCH {
            return Err(self.broken.insert(BatchError::Length(total - LEN)).clone());
        }
        if self.end - self.start < total {
            return Ok(None);
        }
        let batch = &mut self.buffer[self.start..self.start + total];
        self.start += total;
        if let Some(tagger) = &mut self.tagger
            && !tagger.verify(&mut batch[LEN..])
        {
            return Err(self.broken.insert(BatchError::Forged).clone());
        }
        let frames = match self.compression {
            Compression::Off => Some(&batch[header..]),
            Compression::Lz4 => compression::decompress(&batch[header..], &mut self.plain),
        };
        frames.map(Some).ok_or_else(|| self.broken.insert(BatchError::Compression).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tag::TagAlgorithm;
    use proptest::prelude::*;

    fn tagger() -> Tagger {
        Tagger::new(TagAlgorithm::Blake3, &[1; 32])
    }

    fn sealed(tagger: &mut Tagger, frames: &[u8]) -> Vec<u8> {
        let mut batch = u32::try_from(frames.len() + TAG).unwrap().to_le_bytes().to_vec();
        batch.extend([0; TAG]);
        batch.extend(frames);
        tagger.seal(&mut batch[LEN..]);
        batch
    }

    fn feed(batches: &mut Batches, mut bytes: &[u8], step: usize) -> Result<Vec<Vec<u8>>, BatchError> {
        let mut all = Vec::new();
        while !bytes.is_empty() {
            let room = batches.room();
            let n = step.min(bytes.len()).min(room.len());
            room[..n].copy_from_slice(&bytes[..n]);
            batches.filled(n);
            bytes = &bytes[n..];
            while let Some(frames) = batches.next()? {
                all.push(frames.to_vec());
            }
        }
        Ok(all)
    }

    #[test]
    fn batches_come_out_whole_however_they_are_cut() {
        let frames: Vec<Vec<u8>> = [0, 1, 100, 70_000, 3, MAX_BATCH - TAG, 5].map(|n| vec![7; n]).into();
        for step in [1000, 4096, 65_536, 1 << 20] {
            let mut send = tagger();
            let stream: Vec<u8> = frames.iter().flat_map(|f| sealed(&mut send, f)).collect();
            let mut batches = Batches::new(Some(tagger()));
            assert_eq!(feed(&mut batches, &stream, step).unwrap(), frames);
            assert!(batches.held() <= LEN + MAX_BATCH + READ_BUFFER);
        }
    }

    #[test]
    fn four_bytes_of_ff_are_an_error_and_no_allocation() {
        let mut batches = Batches::new(None);
        assert_eq!(feed(&mut batches, &[0xFF; 4], 4), Err(BatchError::Length(u32::MAX as usize)));
        assert!(batches.held() <= LEN + MAX_BATCH + READ_BUFFER);
    }

    #[test]
    fn what_comes_behind_a_forged_batch_is_not_taken_though_its_tag_is_right() {
        let mut send = tagger();
        let (mut first, second) = (sealed(&mut send, b"one"), sealed(&mut send, b"two"));
        first[LEN] ^= 1;
        let mut batches = Batches::new(Some(tagger()));
        assert_eq!(feed(&mut batches, &[first, second].concat(), 4096), Err(BatchError::Forged));
        assert_eq!(batches.next(), Err(BatchError::Forged));
    }

    #[test]
    fn one_flipped_bit_anywhere_ends_the_stream() {
        let stream = sealed(&mut tagger(), b"some frames");
        for bit in 0..8 * stream.len() {
            let mut changed = stream.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let mut batches = Batches::new(Some(tagger()));
            let got = feed(&mut batches, &changed, 4096);
            assert!(got.is_err() || got.is_ok_and(|all| all.is_empty()), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_given_or_refused_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..2000), step in 1_usize..500, tagged: bool,
        ) {
            let mut batches = Batches::new(tagged.then(tagger));
            let _ = feed(&mut batches, &bytes, step);
        }
    }
}
