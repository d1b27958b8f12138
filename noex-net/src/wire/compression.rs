//! Compression of batches, where both ends want it: agreed upon by a capability bit in the handshake.
//!
//! ```text
//! body of a batch   [0 u8][frame …]                          as they are
//!                   [1 u8][len u32 LE][LZ4 block]            len is that of the frames
//! ```
//! The tag covers what is on the wire, so that nothing is decompressed that did not verify.
//!
//! SECURITY: the length is checked before anything is reserved, and the block must be exactly that long.

use lz4_flex::block;

use super::limits::MAX_BATCH;

/// How batches are compressed between two nodes that both want it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    #[default]
    Off,
    /// LZ4, those batches that become shorter by it.
    Lz4,
}

noex_actors::__vocabulary!(Compression { Off = "off", Lz4 = "lz4" });

/// The capability of a node that wants LZ4.
const LZ4: u64 = 1;

impl Compression {
    /// The capability bits that say so.
    pub(crate) fn capability(self) -> u64 {
        match self {
            Self::Off => 0,
            Self::Lz4 => LZ4,
        }
    }

    /// What both ends have in common.
    pub(crate) fn of(capabilities: u64) -> Self {
        if capabilities & LZ4 == 0 { Self::Off } else { Self::Lz4 }
    }

    /// Bytes before the frames of a batch that says how it is compressed.
    pub(crate) fn marker(self) -> usize {
        match self {
            Self::Off => 0,
            Self::Lz4 => 1,
        }
    }
}

const PLAIN: u8 = 0;
const COMPRESSED: u8 = 1;
/// Bytes of the length before a block.
const LENGTH: usize = 4;
/// Shorter ones are left as they are: nothing would come of it.
const MIN: usize = 256;
/// LZ4 makes no more than so many bytes out of one.
const MAX_RATIO: usize = 255;

/// Appends the body of a batch with these frames to `batch`, if it becomes shorter than they are by an eighth.
pub(crate) fn compress(frames: &[u8], batch: &mut Vec<u8>) -> bool {
    let Some(len) = u32::try_from(frames.len()).ok().filter(|_| frames.len() >= MIN) else { return false };
    let begin = batch.len();
    batch.push(COMPRESSED);
    batch.extend_from_slice(&len.to_le_bytes());
    let at = batch.len();
    batch.resize(at + block::get_maximum_output_size(frames.len()), 0);
    match block::compress_into(frames, &mut batch[at..]) {
        Ok(block) if 1 + LENGTH + block <= frames.len() - frames.len() / 8 => {
            batch.truncate(at + block);
            true
        }
        Ok(_) | Err(_) => {
            batch.truncate(begin);
            false
        }
    }
}

/// The frames of a batch with this body; decompressed ones are put into `plain`. `None`: it is not made as it must be.
pub(crate) fn decompress<'a>(body: &'a [u8], plain: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    match body.split_first()? {
        (&PLAIN, frames) => Some(frames),
        (&COMPRESSED, rest) => {
            let (len, block) = rest.split_first_chunk::<LENGTH>()?;
            let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
            if len > MAX_BATCH || len > block.len().saturating_mul(MAX_RATIO) {
                return None;
            }
            if plain.len() < len {
                // The old one goes first, and the new one is no longer than it must be.
                *plain = Vec::new();
                *plain = vec![0; len];
            }
            let frames = &mut plain[..len];
            (block::decompress_into(block, frames).ok()? == len).then_some(&*frames)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn compressed(frames: &[u8]) -> Option<Vec<u8>> {
        let mut body = vec![9];
        let shorter = compress(frames, &mut body);
        assert_eq!(body.remove(0), 9, "what stands before it stays");
        assert!(shorter || body.is_empty());
        shorter.then_some(body)
    }

    #[test]
    fn the_bytes_of_a_compressed_batch_stay_as_they_are() {
        let block = [0x1F, 7, 1, 0, 0xFF, 0xFF, 0xFF, 0xD1, 0x60, 7, 7, 7, 7, 7, 7];
        let golden = [&[1, 0xE8, 3, 0, 0], &block[..]].concat();
        let mut plain = Vec::new();
        assert_eq!(decompress(&golden, &mut plain), Some(&[7; 1000][..]));
        assert_eq!(compressed(&[7; 1000]).unwrap()[..9], golden[..9]);
        assert_eq!(decompress(&[0, 3, 4], &mut plain), Some(&[3, 4][..]), "as they are");
    }

    #[test]
    fn what_does_not_become_shorter_stays_as_it_is() {
        let noise: Vec<u8> = blake3::Hasher::new().finalize_xof().bytes();
        assert_eq!(compressed(&noise), None);
        assert_eq!(compressed(&[7; 255]), None, "too short to look at");
        assert!(compressed(&[7; 256]).is_some());
    }

    #[test]
    fn a_length_is_believed_only_within_bounds_and_if_it_is_true() {
        let body = compressed(&[7; 10_000]).unwrap();
        let with = |len: usize| [&[1][..], &u32::try_from(len).unwrap().to_le_bytes(), &body[5..]].concat();
        let refused = |body: &[u8]| {
            let mut plain = Vec::new();
            let none = decompress(body, &mut plain).is_none();
            none.then_some(plain.capacity())
        };
        assert_eq!(refused(&with(MAX_BATCH + 1)), Some(0), "nothing was reserved");
        assert_eq!(refused(&with(255 * body.len())), Some(0), "more than can be in it");
        for len in [9999, 10_001, 0] {
            assert!(refused(&with(len)).is_some(), "{len}");
        }
        for short in [&[][..], &[1], &[1, 0, 0, 0], &[2, 0], &[1, 5, 0, 0, 0]] {
            assert!(refused(short).is_some(), "{short:?}");
        }
    }

    trait Bytes {
        fn bytes(self) -> Vec<u8>;
    }

    impl Bytes for blake3::OutputReader {
        fn bytes(mut self) -> Vec<u8> {
            let mut bytes = vec![0; 5000];
            self.fill(&mut bytes);
            bytes
        }
    }

    proptest! {
        #[test]
        fn frames_come_back_as_they_were(parts in proptest::collection::vec((any::<u8>(), 1..2000_usize), 0..40)) {
            let frames: Vec<u8> = parts.iter().flat_map(|(byte, len)| vec![*byte; *len]).collect();
            if let Some(body) = compressed(&frames) {
                prop_assert!(body.len() < frames.len());
                let mut plain = vec![1; 77];
                prop_assert_eq!(decompress(&body, &mut plain), Some(&frames[..]));
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused_within_the_bounds(
            compressed: bool, len in 0..400_000_u32, block in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let body = [&[u8::from(compressed)][..], &len.to_le_bytes(), &block].concat();
            let mut plain = Vec::new();
            let _ = decompress(&body, &mut plain);
            prop_assert!(plain.len() <= MAX_BATCH.min(block.len() * MAX_RATIO));
        }
    }
}
