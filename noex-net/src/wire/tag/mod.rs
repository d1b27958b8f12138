//! The tag of a batch: a code over a sequence number, the length and the frames, cut to 16 bytes.
//!
//! The sequence number is implicit: both ends count batches per direction from zero. So a batch that is left out,
//! repeated, moved or changed does not verify, nor one of another direction or another session (their keys differ).
//!
//! Which code that is was chosen in the handshake: HMAC-SHA256, or BLAKE3 with a key, which takes a third of the
//! time for full batches and a little more for those of some hundred bytes (docs/adr/0020-negotiated-tags.md).

mod hmac;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use self::hmac::Hmac;
use super::limits::TAG;

/// How batches are authenticated between two nodes with a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TagAlgorithm {
    /// BLAKE3 with a key, its first 16 bytes.
    Blake3,
    /// HMAC-SHA256, its first 16 bytes.
    HmacSha256,
}

// WIRE: these words stand in hello and challenge.
noex_actors::__vocabulary!(TagAlgorithm { Blake3 = "blake3-128", HmacSha256 = "hmac-sha256-128" });

/// Makes or checks the tags of one direction.
pub(crate) struct Tagger {
    code: Code,
    sequence: u64,
}

enum Code {
    Blake3(Blake3),
    Hmac(Hmac),
}

/// A key of BLAKE3.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Blake3([u8; 32]);

impl Tagger {
    pub(crate) fn new(algorithm: TagAlgorithm, key: &[u8; 32]) -> Self {
        let code = match algorithm {
            TagAlgorithm::Blake3 => Code::Blake3(Blake3(*key)),
            TagAlgorithm::HmacSha256 => Code::Hmac(Hmac::new(key)),
        };
        Self { code, sequence: 0 }
    }

    /// The tag of the next batch. What is authenticated besides the frames stands in the room of the tag meanwhile,
    /// so that all of it is hashed in one piece.
    fn next(&mut self, tagged: &mut [u8]) -> [u8; TAG] {
        let frames = u64::try_from(tagged.len() - TAG).unwrap_or(u64::MAX);
        tagged[..8].copy_from_slice(&self.sequence.to_le_bytes());
        tagged[8..TAG].copy_from_slice(&frames.to_le_bytes());
        self.sequence += 1;
        let full = match &self.code {
            Code::Blake3(Blake3(key)) => *blake3::keyed_hash(key, tagged).as_bytes(),
            Code::Hmac(hmac) => hmac.mac(tagged),
        };
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

impl std::fmt::Debug for Tagger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tagger").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use ::hmac::{KeyInit, Mac};
    use sha2::Sha256;

    use super::*;

    fn sealed(tagger: &mut Tagger, frames: &[u8]) -> Vec<u8> {
        let mut tagged = vec![0; TAG];
        tagged.extend_from_slice(frames);
        tagger.seal(&mut tagged);
        tagged
    }

    #[test]
    fn a_batch_verifies_once_in_its_place_and_unchanged() {
        for algorithm in TagAlgorithm::ALL {
            let new = |key| Tagger::new(*algorithm, &[key; 32]);
            let (mut send, mut receive) = (new(7), new(7));
            let (first, second) = (sealed(&mut send, b"one"), sealed(&mut send, b"two"));
            assert!(receive.verify(&mut first.clone()));
            assert!(!receive.verify(&mut first.clone()), "a replay");
            assert!(!new(7).verify(&mut second.clone()), "a gap");
            for bit in 0..8 * first.len() {
                let mut flipped = first.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(!new(7).verify(&mut flipped));
            }
            assert!(!new(8).verify(&mut first.clone()), "another key");
            assert!(!new(7).verify(&mut first[..15].to_vec()), "a short tag");
            for other in TagAlgorithm::ALL.iter().filter(|other| *other != algorithm) {
                assert!(!Tagger::new(*other, &[7; 32]).verify(&mut first.clone()), "another algorithm");
            }
        }
    }

    #[test]
    fn the_tag_covers_sequence_length_and_frames() {
        let covered = [&0_u64.to_le_bytes()[..], &3_u64.to_le_bytes(), b"one"].concat();
        let mut plain = ::hmac::Hmac::<Sha256>::new_from_slice(&[7; 32]).unwrap();
        plain.update(&covered);
        let full = plain.finalize().into_bytes();
        let tag = |algorithm| sealed(&mut Tagger::new(algorithm, &[7; 32]), b"one")[..TAG].to_vec();
        assert_eq!(tag(TagAlgorithm::HmacSha256), full[..TAG]);
        assert_eq!(tag(TagAlgorithm::Blake3), blake3::keyed_hash(&[7; 32], &covered).as_bytes()[..TAG]);
    }

    #[test]
    fn the_bytes_of_a_tag_stay_as_they_are() {
        let hex = |algorithm| {
            let tag = sealed(&mut Tagger::new(algorithm, &[7; 32]), b"one")[..TAG].to_vec();
            tag.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        assert_eq!(hex(TagAlgorithm::HmacSha256), "b0cb2ecbca0e63e50d1324762d36c2f1");
        assert_eq!(hex(TagAlgorithm::Blake3), "4a78346869754dac0580acbb8e8545b8");
    }
}
