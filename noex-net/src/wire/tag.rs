//! The tag of a batch: HMAC-SHA256, cut to 16 bytes, over a sequence number, the length and the frames.
//!
//! The sequence number is implicit: both ends count batches per direction from zero. So a batch that is left out,
//! repeated, moved or changed does not verify, nor one of another direction or another session (their keys differ).

//!
//! HMAC is put together here from the compression function of `sha2`: two states prepared per key and one call for
//! short batches. Against the `hmac` crate (which the tests compare with) that is a third less time for a small
//! message, where a session pays it four times per call. Source: RFC 2104, FIPS 180-4.

use sha2::block_api::compress256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::limits::TAG;

/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;
/// Blocks that are put together on the stack and hashed at once.
const SHORT: usize = 4;
/// The state from which SHA-256 begins.
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// Makes or checks the tags of one direction.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Tagger {
    /// After the block of the key with the inner pad, and with the outer one.
    inner: [u32; 8],
    outer: [u32; 8],
    sequence: u64,
}

impl Tagger {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let keyed = |pad: u8| {
            let mut block = [pad; BLOCK];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            let mut state = INITIAL;
            compress256(&mut state, &[block]);
            block.zeroize();
            state
        };
        Self { inner: keyed(0x36), outer: keyed(0x5c), sequence: 0 }
    }

    /// HMAC-SHA256.
    fn mac(&self, data: &[u8]) -> [u8; 32] {
        let mut state = self.inner;
        let (whole, rest) =
            if data.len() + 9 <= SHORT * BLOCK { (&[][..], data) } else { data.as_chunks::<BLOCK>() };
        compress256(&mut state, whole);
        let mut last = [[0; BLOCK]; SHORT];
        let used = pad(rest, BLOCK + data.len(), &mut last);
        compress256(&mut state, &last[..used]);
        let mut inner = [[0; BLOCK]];
        pad(&bytes(state), BLOCK + 32, &mut inner);
        let mut state = self.outer;
        compress256(&mut state, &inner);
        bytes(state)
    }

    /// The tag of the next batch. What is authenticated besides the frames stands in the room of the tag meanwhile,
    /// so that all of it is hashed in one piece.
    fn next(&mut self, tagged: &mut [u8]) -> [u8; TAG] {
        let frames = u64::try_from(tagged.len() - TAG).unwrap_or(u64::MAX);
        tagged[..8].copy_from_slice(&self.sequence.to_le_bytes());
        tagged[8..TAG].copy_from_slice(&frames.to_le_bytes());
        self.sequence += 1;
        let full = self.mac(tagged);
        let mut tag = [0; TAG];
        tag.copy_from_slice(&full[..TAG]);
        tag
    }

    /// Writes the tag of the next batch into its room, the first 16 bytes.
    pub(crate) fn seal(&mut self, tagged: &mut [u8]) {
        let tag = self.next(tagged);
        tagged[..TAG].copy_from_slice(&tag);
    }

    /// Whether the first 16 bytes are the tag of the next batch; they are overwritten. Takes the same time either way.
    pub(crate) fn verify(&mut self, tagged: &mut [u8]) -> bool {
        let Some(tag) = tagged.first_chunk::<TAG>().copied() else { return false };
        self.next(tagged).ct_eq(&tag).into()
    }
}

/// Ends a message of `total` bytes whose last are `rest`: a bit, zeros, and the length in bits. Returns how many of
/// the blocks are used.
fn pad(rest: &[u8], total: usize, blocks: &mut [[u8; BLOCK]]) -> usize {
    let used = (rest.len() + 9).div_ceil(BLOCK);
    let flat = blocks[..used].as_flattened_mut();
    flat[..rest.len()].copy_from_slice(rest);
    flat[rest.len()] = 0x80;
    let bits = u64::try_from(total).unwrap_or(u64::MAX).saturating_mul(8);
    let end = flat.len();
    flat[end - 8..].copy_from_slice(&bits.to_be_bytes());
    used
}

fn bytes(state: [u32; 8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.as_chunks_mut::<4>().0.iter_mut().zip(state).for_each(|(to, word)| *to = word.to_be_bytes());
    bytes
}

impl std::fmt::Debug for Tagger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tagger").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};
    use proptest::prelude::*;
    use sha2::Sha256;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_hmac_of_the_library(key: [u8; 32], data in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let mut library = Hmac::<Sha256>::new_from_slice(&key).unwrap();
            library.update(&data);
            prop_assert_eq!(Tagger::new(&key).mac(&data), <[u8; 32]>::from(library.finalize().into_bytes()));
        }
    }

    #[test]
    fn it_is_the_hmac_of_the_library_at_every_length_around_a_block() {
        for len in 0..5 * BLOCK {
            let data: Vec<u8> = (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect();
            let mut library = Hmac::<Sha256>::new_from_slice(&[9; 32]).unwrap();
            library.update(&data);
            assert_eq!(Tagger::new(&[9; 32]).mac(&data)[..], library.finalize().into_bytes()[..], "{len}");
        }
    }

    fn sealed(tagger: &mut Tagger, frames: &[u8]) -> Vec<u8> {
        let mut tagged = vec![0; TAG];
        tagged.extend_from_slice(frames);
        tagger.seal(&mut tagged);
        tagged
    }

    #[test]
    fn a_batch_verifies_once_in_its_place_and_unchanged() {
        let (mut send, mut receive) = (Tagger::new(&[7; 32]), Tagger::new(&[7; 32]));
        let (first, second) = (sealed(&mut send, b"one"), sealed(&mut send, b"two"));
        assert!(receive.verify(&mut first.clone()));
        assert!(!receive.verify(&mut first.clone()), "a replay");
        assert!(!Tagger::new(&[7; 32]).verify(&mut second.clone()), "a gap");
        for bit in 0..8 * first.len() {
            let mut flipped = first.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!Tagger::new(&[7; 32]).verify(&mut flipped));
        }
        assert!(!Tagger::new(&[8; 32]).verify(&mut first.clone()), "another key");
        assert!(!Tagger::new(&[7; 32]).verify(&mut first[..15].to_vec()), "a short tag");
    }

    #[test]
    fn the_tag_covers_sequence_length_and_frames() {
        let mut plain = Hmac::<Sha256>::new_from_slice(&[7; 32]).unwrap();
        plain.update(&0_u64.to_le_bytes());
        plain.update(&3_u64.to_le_bytes());
        plain.update(b"one");
        let full = plain.finalize().into_bytes();
        assert_eq!(sealed(&mut Tagger::new(&[7; 32]), b"one")[..TAG], full[..TAG]);
    }
}
