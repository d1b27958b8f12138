//! The tag of a batch: HMAC-SHA256, cut to 16 bytes, over a sequence number, the length and the frames.
//!
//! The sequence number is implicit: both ends count batches per direction from zero. So a batch that is left out,
//! repeated, moved or changed does not verify, nor one of another direction or another session (their keys differ).

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::limits::TAG;

/// Makes or checks the tags of one direction.
pub(crate) struct Tagger {
    /// The keyed state, cloned for each batch: saves the key schedule.
    keyed: Hmac<Sha256>,
    sequence: u64,
}

impl Tagger {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self { keyed: Hmac::new_from_slice(key).expect("HMAC takes keys of any length"), sequence: 0 }
    }

    /// Feeds the next batch: `tagged` is the room of the tag and the frames behind it. What is authenticated besides
    /// the frames stands in that room meanwhile, so that all of it is fed in one piece.
    fn next(&mut self, tagged: &mut [u8]) -> Hmac<Sha256> {
        let frames = u64::try_from(tagged.len() - TAG).unwrap_or(u64::MAX);
        tagged[..8].copy_from_slice(&self.sequence.to_le_bytes());
        tagged[8..TAG].copy_from_slice(&frames.to_le_bytes());
        let mut mac = self.keyed.clone();
        mac.update(tagged);
        self.sequence += 1;
        mac
    }

    /// Writes the tag of the next batch into its room, the first 16 bytes.
    pub(crate) fn seal(&mut self, tagged: &mut [u8]) {
        let full = self.next(tagged).finalize().into_bytes();
        tagged[..TAG].copy_from_slice(&full[..TAG]);
    }

    /// Whether the first 16 bytes are the tag of the next batch; they are overwritten. Takes the same time either way.
    pub(crate) fn verify(&mut self, tagged: &mut [u8]) -> bool {
        let Some(tag) = tagged.first_chunk::<TAG>().copied() else { return false };
        self.next(tagged).verify_truncated_left(&tag).is_ok()
    }
}

impl std::fmt::Debug for Tagger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tagger").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
