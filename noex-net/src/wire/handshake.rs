//! The four messages of the handshake `noex/1`, as bytes.
//!
//! Each is one frame of at most [`MAX_FRAME`] bytes behind a length (u32 LE, which is not part of this file).
//! The body is MessagePack: a map of one entry, the message's word, whose value is the array of its fields.
//!
//! | Message | From | Fields, in order |
//! |---|---|---|
//! | `hello` | initiator | magic `"noex"`, versions, id, incarnation, nonce (bin 32), key ids (signing one first), capabilities, tags |
//! | `challenge` | acceptor | version, id, incarnation, nonce (bin 32), key id or nil, capabilities, tag, proof (bin 0 or 32) |
//! | `proof` | initiator | proof (bin 0 or 32) |
//! | `refused` | either | reason, a word of [`RefusedReason`](crate::machine::handshake::RefusedReason) |
//!
//! Decoding is strict: trailing bytes, unknown words, fields too many or too few, lists and texts beyond their
//! bounds, and every encoding but the one that this file writes are refused. So there is exactly one byte string
//! per message, and no bit of it can change without changing its meaning.
//!
//! WIRE: the shape of `hello` is the same in all versions of the protocol; what a later one adds is announced in
//! its capabilities.

use std::fmt;

use noex_actors::{Incarnation, NodeId};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, Visitor},
};

use super::bounded::list;

/// The most bytes of one handshake frame, its length not counted.
pub(crate) const MAX_FRAME: usize = 4096;
/// The first field of every `hello`.
pub(crate) const MAGIC: &str = "noex";
/// The version that this code speaks.
pub(crate) const VERSION: u16 = 1;
/// Name of "no tag": only between nodes without a secret.
pub(crate) const TAG_NONE: &str = "none";
/// The most entries of a list: versions, key ids, tags.
pub(crate) const MAX_LIST: usize = 16;
/// The longest magic, key id, tag or reason, in bytes.
pub(crate) const MAX_WORD: usize = 64;
/// Incarnations are below 2^53, so that every JSON reader holds them exactly.
pub(crate) const MAX_INCARNATION: u64 = (1 << 53) - 1;

/// A frame is not a message of the handshake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MessageError {
    /// More than [`MAX_FRAME`] bytes.
    #[error("{0} bytes where at most {MAX_FRAME} are allowed")]
    TooLong(usize),
    /// Not a message, or not written the one way there is.
    #[error("not a message of the handshake")]
    Malformed,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Message {
    Hello(Hello),
    Challenge(Challenge),
    Proof(Proof),
    Refused(Refused),
}

/// What the initiator offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) magic: Word,
    #[serde(deserialize_with = "list::<_, _, MAX_LIST>")]
    pub(crate) versions: Vec<u16>,
    pub(crate) id: NodeId,
    pub(crate) incarnation: Life,
    pub(crate) nonce: Nonce,
    #[serde(deserialize_with = "list::<_, _, MAX_LIST>")]
    pub(crate) key_ids: Vec<Word>,
    pub(crate) capabilities: u64,
    #[serde(deserialize_with = "list::<_, _, MAX_LIST>")]
    pub(crate) tags: Vec<Word>,
}

/// What the acceptor chose, and its proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Challenge {
    pub(crate) version: u16,
    pub(crate) id: NodeId,
    pub(crate) incarnation: Life,
    pub(crate) nonce: Nonce,
    pub(crate) key_id: Option<Word>,
    pub(crate) capabilities: u64,
    pub(crate) tag: Word,
    pub(crate) proof: ProofBytes,
}

/// The initiator's proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proof {
    pub(crate) proof: ProofBytes,
}

/// Why the sender hangs up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refused {
    pub(crate) reason: Word,
}

impl Message {
    /// The bytes of the message. Never more than [`MAX_FRAME`]: every field is bounded.
    pub(crate) fn encode(&self) -> Vec<u8> {
        rmp_serde::to_vec(self).expect("messages of the handshake hold only texts, numbers and bytes")
    }

    /// Reads one frame.
    pub(crate) fn decode(frame: &[u8]) -> Result<Self, MessageError> {
        if frame.len() > MAX_FRAME {
            return Err(MessageError::TooLong(frame.len()));
        }
        match rmp_serde::from_slice::<Self>(frame) {
            // SECURITY: only the one spelling of a message is accepted; see the head of this file.
            Ok(message) if message.encode() == frame => Ok(message),
            Ok(_) | Err(_) => Err(MessageError::Malformed),
        }
    }
}

/// A text of at most [`MAX_WORD`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Word(String);

impl Word {
    /// Cuts what is too long; used for our own texts, which are short.
    pub(crate) fn new(text: &str) -> Self {
        let mut end = text.len().min(MAX_WORD);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Self(text[..end].to_owned())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Word;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a text of at most {MAX_WORD} bytes")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Word, E> {
                if text.len() <= MAX_WORD {
                    Ok(Word(text.to_owned()))
                } else {
                    Err(E::custom("text too long"))
                }
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// An incarnation below 2^53.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Life(pub(crate) Incarnation);

impl<'de> Deserialize<'de> for Life {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        if number <= MAX_INCARNATION {
            Ok(Self(Incarnation(number)))
        } else {
            Err(D::Error::custom("an incarnation is below 2^53"))
        }
    }
}

/// 32 fresh random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nonce(pub(crate) [u8; 32]);

/// A proof: 32 bytes, or none where there is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProofBytes(pub(crate) Option<[u8; 32]>);

impl Serialize for Nonce {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Nonce {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_bytes(Bytes)? {
            Some(bytes) => Ok(Self(bytes)),
            None => Err(D::Error::custom("a nonce has 32 bytes")),
        }
    }
}

impl Serialize for ProofBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0.as_ref().map_or(&[], |bytes| bytes.as_slice()))
    }
}

impl<'de> Deserialize<'de> for ProofBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(Bytes).map(Self)
    }
}

struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = Option<[u8; 32]>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no bytes or 32 bytes")
    }
    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        match <[u8; 32]>::try_from(bytes) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(_) if bytes.is_empty() => Ok(None),
            Err(_) => Err(E::invalid_length(bytes.len(), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hello() -> Hello {
        Hello {
            magic: Word::new(MAGIC),
            versions: vec![VERSION],
            id: NodeId::parse("a@127.0.0.1:4369").unwrap(),
            incarnation: Life(Incarnation(7)),
            nonce: Nonce([9; 32]),
            key_ids: vec![Word::new("default")],
            capabilities: 0,
            tags: vec![Word::new("hmac-sha256-128")],
        }
    }

    #[test]
    fn the_bytes_of_a_hello_stay_as_they_are() {
        let mut golden = b"\x81\xa5hello\x98\xa4noex\x91\x01\xb0a@127.0.0.1:4369\x07\xc4\x20".to_vec();
        golden.extend([9; 32]);
        golden.extend(b"\x91\xa7default\x00\x91\xafhmac-sha256-128");
        assert_eq!(Message::Hello(hello()).encode(), golden);
        assert_eq!(Message::decode(&golden), Ok(Message::Hello(hello())));
    }

    #[test]
    fn the_largest_message_fits_in_a_frame() {
        let word = || Word::new(&"x".repeat(100));
        let list = || std::iter::repeat_with(word).take(MAX_LIST).collect::<Vec<_>>();
        let label = "h".repeat(63);
        let host = format!("{label}.{label}.{label}.{}", "h".repeat(61));
        let id = NodeId::parse(&format!("{}@{host}:65535", "n".repeat(64))).unwrap();
        let largest = Message::Hello(Hello {
            magic: word(),
            versions: vec![u16::MAX; MAX_LIST],
            id,
            incarnation: Life(Incarnation(MAX_INCARNATION)),
            nonce: Nonce([255; 32]),
            key_ids: list(),
            capabilities: u64::MAX,
            tags: list(),
        });
        let bytes = largest.encode();
        assert!(bytes.len() <= MAX_FRAME);
        assert_eq!(Message::decode(&bytes), Ok(largest));
    }

    #[test]
    fn what_is_not_exactly_a_message_is_refused() {
        let good = Message::Hello(hello()).encode();
        let mut longer = good.clone();
        longer.push(0xc0);
        let mut wide = good.clone(); // 1 as a two-byte number: the same value, another spelling
        let at = wide.iter().position(|b| *b == 0x91).unwrap() + 1;
        wide.splice(at..=at, [0xcc, 0x01]);
        let huge_list = b"\x81\xa5hello\x98\xa4noex\xdd\xff\xff\xff\xff".to_vec();
        for bytes in [&longer, &wide, &huge_list, &good[..good.len() - 1].to_vec(), &vec![], &vec![0xc1; 40]]
        {
            assert_eq!(Message::decode(bytes), Err(MessageError::Malformed));
        }
        assert_eq!(Message::decode(&[0; MAX_FRAME + 1]), Err(MessageError::TooLong(MAX_FRAME + 1)));
        let late = Message::Hello(Hello { incarnation: Life(Incarnation(1 << 53)), ..hello() }).encode();
        assert_eq!(Message::decode(&late), Err(MessageError::Malformed));
        let many = Message::Hello(Hello { versions: vec![1; MAX_LIST + 1], ..hello() }).encode();
        assert_eq!(Message::decode(&many), Err(MessageError::Malformed));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(message) = Message::decode(&bytes) {
                prop_assert_eq!(message.encode(), bytes);
            }
        }
    }
}
