//! Values as MessagePack: positional, bytes as bin, bounded depth.

use std::{io, ptr};

use rmp_serde::decode::ReadRefReader;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    decoding::{WORTH, takes},
    error::{DecodeError, EncodeError},
    lenient::Lenient,
};

/// The deepest nesting that a decoder follows.
pub const MAX_DEPTH: usize = 64;
/// The most characters of what a decoder says that are kept.
const MAX_SAID: usize = 512;

/// A value as MessagePack bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload(Vec<u8>);

impl Payload {
    /// Encodes a value.
    ///
    /// # Errors
    /// [`EncodeError`] with what the value's `Serialize` said.
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        let mut bytes = Vec::new();
        encode_into(value, &mut bytes)?;
        Ok(Self(bytes))
    }

    /// Decodes a value.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not such a value, or nested deeper than [`MAX_DEPTH`].
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        decode(&self.0)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, owned.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Appends the encoding of `value`; on an error, `out` is as it was.
///
/// # Errors
/// [`EncodeError`] with what the value's `Serialize` said.
#[doc(hidden)]
pub fn encode_into<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    append(out, |out| value.serialize(&mut rmp_serde::Serializer::new(Out(out))))
}

/// Where is encoded to. What is long may be lent.
pub(crate) struct Out<'a>(pub(crate) &'a mut Vec<u8>);

impl io::Write for Out<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let address = ptr::from_ref(&*self.0).addr();
        if bytes.len() < WORTH || !takes(address, self.0.len(), bytes) {
            self.0.extend_from_slice(bytes);
        }
        Ok(())
    }

    #[inline]
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Appends what `write` writes; on an error of it, `out` is as it was.
#[inline]
pub(crate) fn append(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), rmp_serde::encode::Error>,
) -> Result<(), EncodeError> {
    let at = out.len();
    write(out).map_err(|error| {
        out.truncate(at);
        EncodeError(error.to_string())
    })
}

/// Decodes a value within the depth limit.
///
/// # Errors
/// [`DecodeError`] when the bytes are not such a value.
#[doc(hidden)]
pub fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, DecodeError> {
    crate::depth::check(bytes)?;
    match T::deserialize(&mut deserializer(bytes)) {
        Ok(value) => Ok(value),
        Err(rmp_serde::decode::Error::LengthMismatch(_)) => longer(bytes),
        Err(error) => Err(DecodeError::new(said(&error))),
    }
}

/// A newer version of the sender may have added to the message.
#[cold]
fn longer<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, DecodeError> {
    T::deserialize(Lenient(&mut deserializer(bytes))).map_err(|error| DecodeError::new(said(&error)))
}

/// What reads a value within the depth limit.
#[inline]
pub(crate) fn deserializer(bytes: &[u8]) -> rmp_serde::Deserializer<ReadRefReader<'_, [u8]>> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    deserializer.set_max_depth(MAX_DEPTH);
    deserializer
}

/// What a decoder says, cut: it may quote the message, which may be long, and goes into logs and back to the sender.
pub(crate) fn said(error: &rmp_serde::decode::Error) -> String {
    let mut text = error.to_string();
    if let Some((end, _)) = text.char_indices().nth(MAX_SAID) {
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Serialize, Deserialize)]
    enum Nested {
        Leaf,
        Node(Box<Nested>),
    }

    #[test]
    fn nesting_beyond_the_limit_is_an_error() {
        let deep = (0..200).fold(Nested::Leaf, |inner, _| Nested::Node(Box::new(inner)));
        let payload = Payload::encode(&deep).unwrap();
        assert!(payload.decode::<Nested>().is_err());
        let flat = (0..10).fold(Nested::Leaf, |inner, _| Nested::Node(Box::new(inner)));
        assert!(Payload::encode(&flat).unwrap().decode::<Nested>().is_ok());
    }

    #[test]
    fn what_a_decoder_says_is_short_however_long_the_message() {
        let payload = Payload::encode(&"ä".repeat(100_000)).unwrap();
        let error = payload.decode::<Nested>().unwrap_err();
        assert!(
            error.text.contains("unknown variant") && error.text.chars().count() == MAX_SAID,
            "{}",
            error.text
        );
    }

    #[test]
    fn what_a_newer_version_added_is_passed_over() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Old(u8, Option<Box<Old>>);
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        enum Was {
            Said { old: Vec<Old>, n: u16 },
        }
        #[derive(Serialize)]
        struct New(u8, Option<Box<New>>, &'static str, Vec<(u8, u8)>);
        #[derive(Serialize)]
        enum Is {
            Said { old: Vec<New>, n: u16, more: Option<u8> },
        }
        let new = |inner| New(1, inner, "more", vec![(1, 2)]);
        let is = Is::Said { old: vec![new(None), new(Some(Box::new(new(None))))], n: 7, more: Some(1) };
        let old = vec![Old(1, None), Old(1, Some(Box::new(Old(1, None))))];
        assert_eq!(Payload::encode(&is).unwrap().decode::<Was>().unwrap(), Was::Said { old, n: 7 });
        let short = Payload::encode(&BTreeMap::from([("Said", (Vec::<u8>::new(),))])).unwrap();
        assert!(short.decode::<Was>().is_err(), "what is missing has no default");
    }

    #[test]
    fn a_failing_serialize_leaves_the_buffer_as_it_was() {
        struct Fails;
        impl Serialize for Fails {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeTuple;
                let mut tuple = serializer.serialize_tuple(2)?;
                tuple.serialize_element(&1)?;
                Err(serde::ser::Error::custom("no"))
            }
        }
        let mut out = vec![1, 2, 3];
        assert!(encode_into(&Fails, &mut out).is_err());
        assert_eq!(out, [1, 2, 3]);
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<Vec<(String, Option<u64>, f64)>>(&bytes);
        }
    }
}
