//! Bytes in messages that are shared instead of copied.
//!
//! A long message is put together in a buffer of its own. While it is decoded, that buffer is within reach of this thread, and a
//! field of the type [`Bytes`] keeps its part of it. Everything else copies what it takes, as always.
//!
//! Invariant: what is kept is half of its buffer or more, so that few bytes never hold many.

use std::{borrow::Borrow, fmt, ops::Deref};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, SeqAccess, Visitor},
};

use crate::decoding;

/// Most bytes that are believed of what a sequence says of its length.
const MAX_HINT: usize = 64 * 1024;

/// Bytes in a message: MessagePack's `bin`, as `serde_bytes` writes and reads it.
///
/// To clone it copies nothing. Neither does to send it to another node where it has 64 KiB or more (of one message, the first such
/// bytes): they are lent to the connection until they have left, and only put under a tag in copies of 64 KiB. And neither does to decode it where it is most of a message of more than 64 KiB: the field keeps
/// the memory in which the message came. What is short is copied, so that it does not hold more than it shows.
///
/// ```
/// use noex_actors::Bytes;
///
/// let bytes = Bytes::from(vec![1, 2, 3]);
/// assert_eq!((bytes.len(), &bytes[1..]), (3, &[2, 3][..]));
/// assert_eq!(Vec::from(bytes), [1, 2, 3]);
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(bytes::Bytes);

impl Bytes {
    /// Bytes that the program holds anyway.
    #[must_use]
    pub const fn from_static(bytes: &'static [u8]) -> Self {
        Self(bytes::Bytes::from_static(bytes))
    }

    /// The same as the `bytes` crate has it.
    #[must_use]
    pub fn into_inner(self) -> bytes::Bytes {
        self.0
    }

    /// Read from a message: kept if that is worth it, else copied.
    fn of(bytes: &[u8]) -> Self {
        decoding::with_buffer(|buffer| match buffer {
            Some(buffer) if bytes.len() >= buffer.len() / 2 && is_within(bytes, buffer) => {
                Self(buffer.slice_ref(bytes))
            }
            _ => Self(bytes::Bytes::copy_from_slice(bytes)),
        })
    }
}

fn is_within(bytes: &[u8], buffer: &[u8]) -> bool {
    let (inner, outer) = (bytes.as_ptr_range(), buffer.as_ptr_range());
    outer.start <= inner.start && inner.end <= outer.end
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Borrow<[u8]> for Bytes {
    fn borrow(&self) -> &[u8] {
        self
    }
}

/// As the bytes, not as numbers.
impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<String> for Bytes {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes::Bytes::copy_from_slice(bytes))
    }
}

impl<const N: usize> From<[u8; N]> for Bytes {
    fn from(bytes: [u8; N]) -> Self {
        bytes.as_slice().into()
    }
}

impl From<bytes::Bytes> for Bytes {
    fn from(bytes: bytes::Bytes) -> Self {
        Self(bytes)
    }
}

/// Copies nothing if nobody else has a part of the memory and the bytes begin with it.
impl From<Bytes> for Vec<u8> {
    fn from(bytes: Bytes) -> Self {
        bytes.0.into()
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        decoding::offering(&self.0, || serializer.serialize_bytes(self))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(Read)
    }
}

struct Read;

impl<'de> Visitor<'de> for Read {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes::of(bytes))
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(bytes.into())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Bytes, E> {
        Ok(Bytes::of(text.as_bytes()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Bytes, A::Error> {
        let mut bytes = Vec::with_capacity(numbers.size_hint().unwrap_or(0).min(MAX_HINT));
        while let Some(byte) = numbers.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;
    use crate::decoding::{WORTH, lending, sharing as within};
    use crate::payload::{decode, encode_into};

    fn encoded(value: &impl Serialize) -> bytes::Bytes {
        let mut out = vec![];
        encode_into(value, &mut out).unwrap();
        out.into()
    }

    fn shares(bytes: &Bytes, buffer: &bytes::Bytes) -> bool {
        is_within(bytes, buffer)
    }

    #[test]
    fn what_is_most_of_a_message_keeps_its_memory() {
        let message = encoded(&(7, Bytes::from(vec![9; 100_000]), "more"));
        let (_, bytes, _) = within(&message, || decode::<(u8, Bytes, String)>(&message).unwrap());
        assert!(shares(&bytes, &message) && *bytes == [9; 100_000]);
    }

    #[test]
    fn what_is_little_of_it_does_not_hold_it() {
        let message = encoded(&(Bytes::from(vec![1; 10_000]), Bytes::from(vec![2; 11_000])));
        let (less, more) = within(&message, || decode::<(Bytes, Bytes)>(&message).unwrap());
        assert!(!shares(&less, &message) && shares(&more, &message));
        let (many,) = within(&encoded(&(vec![Bytes::from([3; 100]); 50],)), || {
            decode::<(Vec<Bytes>,)>(&encoded(&(vec![Bytes::from([3; 100]); 50],))).unwrap()
        });
        assert_eq!(many, vec![Bytes::from([3; 100]); 50]);
    }

    #[test]
    fn what_is_no_part_of_the_buffer_and_what_comes_after_it_is_copied() {
        let (buffer, other) = (encoded(&Bytes::from(vec![1; 1000])), encoded(&Bytes::from(vec![2; 1000])));
        let read = within(&buffer, || decode::<Bytes>(&other).unwrap());
        assert!(*read == [2; 1000] && !shares(&read, &other));
        let after = decode::<Bytes>(&buffer).unwrap();
        assert!(*after == [1; 1000] && !shares(&after, &buffer));
    }

    #[test]
    fn a_panic_ends_it_and_one_within_the_other_comes_back() {
        let (outer, inner) = (encoded(&Bytes::from(vec![1; 1000])), encoded(&Bytes::from(vec![2; 1000])));
        within(&outer, || {
            assert!(catch_unwind(|| within(&inner, || panic!("no"))).is_err());
            assert!(shares(&decode::<Bytes>(&outer).unwrap(), &outer));
            assert!(!shares(&decode::<Bytes>(&inner).unwrap(), &inner));
        });
        decoding::with_buffer(|buffer| assert!(buffer.is_none()));
    }

    #[test]
    fn it_is_bytes_on_the_wire_and_reads_what_others_write() {
        let bytes = Bytes::from([1, 2, 3]);
        let same = serde_bytes::ByteBuf::from([1, 2, 3]);
        assert_eq!(encoded(&bytes), encoded(&same));
        assert_eq!(decode::<Bytes>(&encoded(&same)).unwrap(), bytes);
        assert_eq!(decode::<Bytes>(&encoded(&vec![1_u8, 2, 3])).unwrap(), bytes, "numbers");
        assert_eq!(decode::<Bytes>(&encoded(&"abc")).unwrap(), Bytes::from_static(b"abc"));
        assert_eq!(serde_json::from_str::<Bytes>(&serde_json::to_string(&bytes).unwrap()).unwrap(), bytes);
        assert!(decode::<Bytes>(&encoded(&7)).is_err());
    }

    #[test]
    fn long_bytes_are_lent_once_and_to_who_asks() {
        let bytes = Bytes::from(vec![7; WORTH]);
        let value = (1_u8, bytes.clone(), bytes.clone(), "end");
        let whole = encoded(&value);
        let mut out = vec![0xee];
        let (done, lent) = lending(&mut out, |out| encode_into(&value, out));
        done.unwrap();
        let (at, lent) = lent.unwrap();
        assert!(is_within(&lent, &bytes) && lent.len() == WORTH);
        assert_eq!([&out[1..at], &lent, &out[at..]].concat(), whole);
        // Nobody lends, or another buffer: it is copied.
        assert_eq!(encoded(&value), whole);
        let (other, lent) = lending(&mut out, |_| encoded(&value));
        assert!(other == whole && lent.is_none());
        let short = Bytes::from(vec![7; WORTH - 1]);
        assert!(lending(&mut out, |out| encode_into(&short, out)).1.is_none());
        assert!(lending(&mut out, |out| encode_into(&"x".repeat(WORTH), out)).1.is_none());
    }

    #[test]
    fn a_failure_and_a_panic_leave_nothing_lent() {
        struct Fails(Bytes, bool);
        impl Serialize for Fails {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)?;
                assert!(!self.1, "no");
                Err(serde::ser::Error::custom("no"))
            }
        }
        let bytes = Bytes::from(vec![7; WORTH]);
        let mut out = vec![1, 2];
        let (failed, _) = lending(&mut out, |out| encode_into(&Fails(bytes.clone(), false), out));
        assert!(failed.is_err() && out == [1, 2]);
        let panics = Fails(bytes.clone(), true);
        let panicked =
            catch_unwind(std::panic::AssertUnwindSafe(|| lending(&mut out, |out| encode_into(&panics, out))));
        assert!(panicked.is_err());
        drop(panics);
        assert!(bytes.into_inner().is_unique(), "nobody holds it");
    }

    #[test]
    fn what_is_lent_within_another_lending_goes_to_neither_twice() {
        struct Sends(Bytes);
        impl Serialize for Sends {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut other = vec![];
                let (done, lent) = lending(&mut other, |out| encode_into(&self.0, out));
                assert!(done.is_ok() && lent.is_some_and(|(_, lent)| lent.len() == WORTH));
                self.0.serialize(serializer)
            }
        }
        let mut out = vec![];
        let (done, lent) = lending(&mut out, |out| encode_into(&Sends(Bytes::from(vec![7; WORTH])), out));
        assert!(done.is_ok() && lent.is_some());
    }

    #[test]
    fn its_shape_is_that_of_bytes() {
        use crate::schema::Shape;
        assert_eq!(Shape::of::<Bytes>(), Shape::Bytes);
    }

    #[test]
    fn it_is_shown_as_bytes() {
        assert_eq!(format!("{:?}", Bytes::from_static(b"a\n")), "b\"a\\n\"");
    }
}
