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

    fn next(&mut self, frames: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.keyed.clone();
        mac.update(&self.sequence.to_le_bytes());
        mac.update(&u64::try_from(frames.len()).unwrap_or(u64::MAX).to_le_bytes());
        mac.update(frames);
        self.sequence += 1;
        mac
    }

    /// The tag of the next batch.
    pub(crate) fn tag(&mut self, frames: &[u8]) -> [u8; TAG] {
        let full = self.next(frames).finalize().into_bytes();
        let mut tag = [0; TAG];
        tag.iter_mut().zip(full).for_each(|(to, from)| *to = from);
        tag
    }

    /// Whether this is the tag of the next batch. Takes the same time either way.
    pub(crate) fn verify(&mut self, tag: &[u8], frames: &[u8]) -> bool {
        tag.len() == TAG && self.next(frames).verify_truncated_left(tag).is_ok()
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

    #[test]
    fn a_batch_verifies_once_in_its_place_and_unchanged() {
        let (mut send, mut receive) = (Tagger::new(&[7; 32]), Tagger::new(&[7; 32]));
        let (first, second) = (send.tag(b"one"), send.tag(b"two"));
        assert!(receive.verify(&first, b"one"));
        assert!(!receive.verify(&first, b"one"), "a replay");
        let mut receive = Tagger::new(&[7; 32]);
        assert!(!receive.verify(&second, b"two"), "a gap");
        for bit in 0..8 * 3 {
            let mut flipped = *b"one";
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!Tagger::new(&[7; 32]).verify(&first, &flipped));
        }
        assert!(!Tagger::new(&[8; 32]).verify(&first, b"one"), "another key");
        assert!(!Tagger::new(&[7; 32]).verify(&first[..15], b"one"), "a short tag");
    }
}
