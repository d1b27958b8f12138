//! The tag of a batch: a code over a sequence number, the length and the frames, cut to 16 bytes.
//!
//! The sequence number is implicit: both ends count batches per direction from zero. So a batch that is left out,
//! repeated, moved or changed does not verify, nor one of another direction or another session (their keys differ).
//!
//! Which code that is was chosen in the handshake: HMAC-SHA256, BLAKE3 with a key, or AES-256-GCM, which encrypts the frames
//! as well and is still the fastest where the processor has instructions for it (docs/adr/0020-negotiated-tags.md,
//! docs/adr/0024-sealed-by-aes-gcm.md).

mod hmac;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, Tag, UnboundKey};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use self::hmac::Hmac;
use super::limits::TAG;

/// How batches are authenticated between two nodes with a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TagAlgorithm {
    /// AES-256-GCM: the frames are encrypted, too. No forward secrecy: whoever learns the secret later reads what was recorded.
    Aes256Gcm,
    /// BLAKE3 with a key, its first 16 bytes.
    Blake3,
    /// HMAC-SHA256, its first 16 bytes.
    HmacSha256,
}

// WIRE: these words stand in hello and challenge.
noex_actors::__vocabulary!(TagAlgorithm {
    Aes256Gcm = "aes-256-gcm",
    Blake3 = "blake3-128",
    HmacSha256 = "hmac-sha256-128",
});

impl TagAlgorithm {
    /// All there are, the one first that is the fastest on this processor.
    pub(crate) fn by_speed() -> Vec<Self> {
        if has_aes() {
            vec![Self::Aes256Gcm, Self::Blake3, Self::HmacSha256]
        } else {
            vec![Self::Blake3, Self::HmacSha256, Self::Aes256Gcm]
        }
    }
}

/// Whether the processor has instructions for AES-GCM. Without them it takes ten times as long.
fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    false
}

/// Makes or checks the tags of one direction.
pub(crate) struct Tagger {
    code: Code,
    sequence: u64,
}

enum Code {
    Aes(Box<LessSafeKey>),
    Hash(Hash),
}

enum Hash {
    Blake3(Blake3),
    Hmac(Hmac),
}

/// A key of BLAKE3.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Blake3([u8; 32]);

impl Tagger {
    pub(crate) fn new(algorithm: TagAlgorithm, key: &[u8; 32]) -> Self {
        let code = match algorithm {
            TagAlgorithm::Aes256Gcm => {
                let key = UnboundKey::new(&AES_256_GCM, key).expect("a key of AES-256 has 32 bytes");
                Code::Aes(Box::new(LessSafeKey::new(key)))
            }
            TagAlgorithm::Blake3 => Code::Hash(Hash::Blake3(Blake3(*key))),
            TagAlgorithm::HmacSha256 => Code::Hash(Hash::Hmac(Hmac::new(key))),
        };
        Self { code, sequence: 0 }
    }

    /// Writes the tag of the next batch into its room, the first 16 bytes.
    pub(crate) fn seal(&mut self, tagged: &mut [u8]) {
        let sequence = self.next();
        let tag = match &self.code {
            Code::Aes(key) => key
                .seal_in_place_separate_tag(nonce(sequence), Aad::empty(), &mut tagged[TAG..])
                .ok()
                .and_then(|tag| tag.as_ref().first_chunk().copied())
                // Of more than 64 GiB: it does not verify, and the session ends.
                .unwrap_or_default(),
            Code::Hash(hash) => hash.tag(sequence, tagged, &[]),
        };
        tagged[..TAG].copy_from_slice(&tag);
    }

    /// Whether a batch of which a part is elsewhere costs no more than one in one piece. What encrypts must write to all of it;
    /// BLAKE3 loses more by a batch in two pieces than the copy takes.
    pub(crate) fn takes_parts(&self) -> bool {
        matches!(self.code, Code::Hash(Hash::Hmac(_)))
    }

    /// As `seal`, of a batch that ends with `rest`, which stands elsewhere and is not written to.
    pub(crate) fn seal_parts(&mut self, tagged: &mut [u8], rest: &[u8]) {
        let sequence = self.next();
        let tag = match &self.code {
            // Nobody asks for that: it does not verify, and the session ends.
            Code::Aes(_) => [0; TAG],
            Code::Hash(hash) => hash.tag(sequence, tagged, rest),
        };
        tagged[..TAG].copy_from_slice(&tag);
    }

    /// Whether the first 16 bytes are the tag of the next batch; they may be overwritten, and what was encrypted is decrypted. Takes
    /// the same time either way.
    pub(crate) fn verify(&mut self, tagged: &mut [u8]) -> bool {
        let Some(tag) = tagged.first_chunk::<TAG>().copied() else { return false };
        let sequence = self.next();
        match &self.code {
            Code::Aes(key) => {
                let (nonce, tag) = (nonce(sequence), Tag::from(tag));
                key.open_in_place_separate_tag(nonce, Aad::empty(), tag, &mut tagged[TAG..], 0..).is_ok()
            }
            Code::Hash(hash) => hash.tag(sequence, tagged, &[]).ct_eq(&tag).into(),
        }
    }

    fn next(&mut self) -> u64 {
        let sequence = self.sequence;
        self.sequence += 1;
        sequence
    }
}

/// SECURITY: a nonce must never come twice under one key. A key is that of one direction of one session, whose transcript holds a
/// fresh 32 byte nonce of each end; within it batches are counted.
fn nonce(sequence: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[..8].copy_from_slice(&sequence.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

impl Hash {
    /// The tag of a batch. What is authenticated besides the frames stands in the room of the tag meanwhile, so that all of it is
    /// hashed in one piece; `rest` is what of the frames stands elsewhere.
    fn tag(&self, sequence: u64, tagged: &mut [u8], rest: &[u8]) -> [u8; TAG] {
        let frames = u64::try_from(tagged.len() - TAG + rest.len()).unwrap_or(u64::MAX);
        tagged[..8].copy_from_slice(&sequence.to_le_bytes());
        tagged[8..TAG].copy_from_slice(&frames.to_le_bytes());
        let full = match self {
            Self::Blake3(Blake3(key)) if rest.is_empty() => *blake3::keyed_hash(key, tagged).as_bytes(),
            Self::Blake3(Blake3(key)) => {
                let mut hasher = blake3::Hasher::new_keyed(key);
                let hash = *hasher.update(tagged).update(rest).finalize().as_bytes();
                hasher.zeroize();
                hash
            }
            Self::Hmac(hmac) if rest.is_empty() => hmac.mac(tagged),
            Self::Hmac(hmac) => hmac.mac_of(tagged, rest),
        };
        let mut tag = [0; TAG];
        tag.copy_from_slice(&full[..TAG]);
        tag
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
    fn a_batch_in_two_parts_has_the_tag_of_one() {
        for algorithm in TagAlgorithm::ALL.iter().filter(|algorithm| **algorithm != TagAlgorithm::Aes256Gcm) {
            let (mut whole, mut parts) =
                (Tagger::new(*algorithm, &[7; 32]), Tagger::new(*algorithm, &[7; 32]));
            let frames: Vec<u8> = (0..70_000_u32).map(|n| n.to_le_bytes()[0]).collect();
            for at in (0..200).chain([frames.len() - 1, frames.len()]) {
                let all = sealed(&mut whole, &frames);
                let mut first = [&[0; TAG][..], &frames[..at]].concat();
                parts.seal_parts(&mut first, &frames[at..]);
                assert_eq!(first, all[..TAG + at], "{at}");
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
        assert_eq!(hex(TagAlgorithm::Aes256Gcm), "245b5c86e26e2c6e5ae481ca000df86e");
    }

    #[test]
    fn what_is_encrypted_cannot_be_read_and_comes_back() {
        let new = || Tagger::new(TagAlgorithm::Aes256Gcm, &[7; 32]);
        let (mut send, mut receive) = (new(), new());
        let batches: Vec<_> = (0..2).map(|_| sealed(&mut send, &[b'x'; 100])).collect();
        assert!(batches.iter().all(|batch| !batch[TAG..].windows(4).any(|part| part == b"xxxx")));
        assert_ne!(batches[0], batches[1], "no batch looks like another");
        for mut batch in batches {
            assert!(receive.verify(&mut batch));
            assert_eq!(batch[TAG..], [b'x'; 100]);
        }
    }

    #[test]
    fn each_algorithm_has_its_place_in_the_order() {
        let mut order = TagAlgorithm::by_speed();
        order.sort_unstable();
        assert_eq!(order, TagAlgorithm::ALL);
    }
}
