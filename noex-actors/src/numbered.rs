//! Calls and casts by number: an enum whose variant is known to the other side is encoded as its position instead of its name.
//!
//! ```text
//! by name     {"add": [1]}     81 a3 61 64 64 91 01
//! by number   0 [1]            00 91 01
//! ```
//! The number is a positive fixint (0 to 127), the content of the variant follows: nothing, its one value, or its fields as an array. By
//! name a variant begins with a string or a map, so both are told apart by their first byte, and both are always read. A sender takes the
//! number only where the receiver announced the same name in that position.
//!
//! Who replies has heard nothing of the caller's replies. The caller has heard of those that may come, and says with its call whether it has
//! each of them in the same position: then they go by number.

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeSeed, EnumAccess, IntoDeserializer, VariantAccess, Visitor},
};

use crate::{
    error::{DecodeError, EncodeError},
    lenient::Lenient,
    payload::{self, Out, append, deserializer, encode_into, said},
    schema::{Schema, Shape},
};

/// Numbers that one byte holds.
const NUMBERS: usize = 0x80;

/// The variants of calls and casts that two nodes have in the same positions, from the first on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Methods {
    pub(crate) calls: Vec<Box<str>>,
    pub(crate) casts: Vec<Box<str>>,
    /// The sender has every reply of the receiver in the same position.
    pub(crate) replies: bool,
}

impl Methods {
    /// What a sender and a receiver have in common.
    #[must_use]
    pub fn agreed(sender: &Schema, receiver: &Schema) -> Self {
        let both = |sends: &Shape, reads: &Shape| {
            let same = sends.variants().zip(reads.variants()).take_while(|(sent, read)| sent == read);
            same.map(|(name, _)| name.into()).take(NUMBERS).collect()
        };
        let (come, read) = (names(&receiver.reply), names(&sender.reply));
        Self {
            calls: both(&sender.call, &receiver.call),
            casts: both(&sender.cast, &receiver.cast),
            replies: !come.is_empty() && read.starts_with(&come),
        }
    }
}

/// The variants that have numbers.
pub(crate) fn names(shape: &Shape) -> Box<[Box<str>]> {
    shape.variants().take(NUMBERS).map(Into::into).collect()
}

type Inner<'a> = rmp_serde::Serializer<Out<'a>>;
type Failure = rmp_serde::encode::Error;

/// Appends the encoding of `value`, by number if it is a variant of `agreed`; on an error, `out` is as it was.
pub(crate) fn encode<T: Serialize>(
    value: &T,
    agreed: &[Box<str>],
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    if agreed.is_empty() {
        return encode_into(value, out);
    }
    append(out, |out| value.serialize(Top { inner: &mut rmp_serde::Serializer::new(Out(out)), agreed }))
}

/// Decodes a value, by number or by name, within the depth limit.
pub(crate) fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, DecodeError> {
    match bytes.split_first() {
        Some((number, content)) if usize::from(*number) < NUMBERS => {
            crate::depth::check(content)?;
            let read = match T::deserialize(Numbered { bytes }) {
                // A newer version of the sender may have added to the message.
                Err(rmp_serde::decode::Error::LengthMismatch(_)) => {
                    T::deserialize(Lenient(Numbered { bytes }))
                }
                read => read,
            };
            read.map_err(|error| DecodeError::new(said(&error)))
        }
        _ => payload::decode(bytes),
    }
}

/// The outermost value. Everything but a variant passes through.
struct Top<'a, 'b> {
    inner: &'a mut Inner<'b>,
    agreed: &'a [Box<str>],
}

impl Top<'_, '_> {
    /// Writes the number of a variant, if the other side knows it by that.
    #[inline]
    fn number(&mut self, index: u32, variant: &str) -> bool {
        let known = usize::try_from(index).ok().and_then(|index| self.agreed.get(index));
        if known.is_none_or(|known| **known != *variant) {
            return false;
        }
        self.inner.get_mut().0.push(u8::try_from(index).unwrap_or_default());
        true
    }
}

macro_rules! pass {
    ($($name:ident($($arg:ident: $type:ty),*) -> $ok:ty;)*) => {
        $(fn $name(self, $($arg: $type),*) -> Result<$ok, Failure> {
            self.inner.$name($($arg),*)
        })*
    };
}

impl<'a, 'b> Serializer for Top<'a, 'b> {
    type Ok = ();
    type Error = Failure;
    type SerializeSeq = <&'a mut Inner<'b> as Serializer>::SerializeSeq;
    type SerializeTuple = <&'a mut Inner<'b> as Serializer>::SerializeTuple;
    type SerializeTupleStruct = <&'a mut Inner<'b> as Serializer>::SerializeTupleStruct;
    type SerializeTupleVariant = <&'a mut Inner<'b> as Serializer>::SerializeTupleVariant;
    type SerializeMap = <&'a mut Inner<'b> as Serializer>::SerializeMap;
    type SerializeStruct = <&'a mut Inner<'b> as Serializer>::SerializeStruct;
    type SerializeStructVariant = <&'a mut Inner<'b> as Serializer>::SerializeStructVariant;

    pass! {
        serialize_bool(v: bool) -> ();
        serialize_i8(v: i8) -> ();
        serialize_i16(v: i16) -> ();
        serialize_i32(v: i32) -> ();
        serialize_i64(v: i64) -> ();
        serialize_i128(v: i128) -> ();
        serialize_u8(v: u8) -> ();
        serialize_u16(v: u16) -> ();
        serialize_u32(v: u32) -> ();
        serialize_u64(v: u64) -> ();
        serialize_u128(v: u128) -> ();
        serialize_f32(v: f32) -> ();
        serialize_f64(v: f64) -> ();
        serialize_char(v: char) -> ();
        serialize_str(v: &str) -> ();
        serialize_bytes(v: &[u8]) -> ();
        serialize_none() -> ();
        serialize_unit() -> ();
        serialize_unit_struct(name: &'static str) -> ();
        serialize_seq(len: Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(len: usize) -> Self::SerializeTuple;
        serialize_tuple_struct(name: &'static str, len: usize) -> Self::SerializeTupleStruct;
        serialize_map(len: Option<usize>) -> Self::SerializeMap;
        serialize_struct(name: &'static str, len: usize) -> Self::SerializeStruct;
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Failure> {
        self.inner.serialize_some(value)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Failure> {
        self.inner.serialize_newtype_struct(name, value)
    }

    fn serialize_unit_variant(
        mut self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<(), Failure> {
        if self.number(index, variant) {
            return Ok(());
        }
        self.inner.serialize_unit_variant(name, index, variant)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Failure> {
        if self.number(index, variant) {
            return value.serialize(self.inner);
        }
        self.inner.serialize_newtype_variant(name, index, variant, value)
    }

    fn serialize_tuple_variant(
        mut self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, Failure> {
        if self.number(index, variant) {
            return self.inner.serialize_tuple_struct(name, len);
        }
        self.inner.serialize_tuple_variant(name, index, variant, len)
    }

    fn serialize_struct_variant(
        mut self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, Failure> {
        if self.number(index, variant) {
            return self.inner.serialize_struct(name, len);
        }
        self.inner.serialize_struct_variant(name, index, variant, len)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// What begins with a number: a variant by number, or, where something else than an enum is wanted, that.
struct Numbered<'de> {
    bytes: &'de [u8],
}

macro_rules! pass_back {
    ($($name:ident($($arg:ident: $type:ty),*);)*) => {
        $(fn $name<V: Visitor<'de>>(self, $($arg: $type,)* visitor: V) -> Result<V::Value, Self::Error> {
            deserializer(self.bytes).$name($($arg,)* visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Numbered<'de> {
    type Error = rmp_serde::decode::Error;

    pass_back! {
        deserialize_any();
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_newtype_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_enum(self)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

impl<'de> EnumAccess<'de> for Numbered<'de> {
    type Error = rmp_serde::decode::Error;
    type Variant = Content<'de>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Content<'de>), Self::Error> {
        let (number, content) =
            self.bytes.split_first().map_or((0, self.bytes), |(first, rest)| (*first, rest));
        let variant =
            seed.deserialize(IntoDeserializer::<Self::Error>::into_deserializer(u64::from(number)))?;
        Ok((variant, Content(content)))
    }
}

/// What a variant holds.
struct Content<'de>(&'de [u8]);

impl<'de> VariantAccess<'de> for Content<'de> {
    type Error = rmp_serde::decode::Error;

    fn unit_variant(self) -> Result<(), Self::Error> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Self::Error> {
        seed.deserialize(&mut deserializer(self.0))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Self::Error> {
        deserializer(self.0).deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.tuple_variant(fields.len(), visitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Message {
        Ping,
        Add(i64),
        Pair(u8, String),
        Put {
            key: String,
            value: Option<Box<Message>>,
        },
        #[serde(skip)]
        #[expect(dead_code, reason = "only its place counts")]
        Hidden,
        Last(Vec<u8>),
    }

    fn names() -> Vec<Box<str>> {
        Shape::of::<Message>().variants().map(Into::into).collect()
    }

    fn bytes(message: &impl Serialize, agreed: &[Box<str>]) -> Vec<u8> {
        let mut out = vec![0xee];
        encode(message, agreed, &mut out).unwrap();
        out.split_off(1)
    }

    fn messages() -> Vec<Message> {
        let inner = Some(Box::new(Message::Add(-1)));
        vec![
            Message::Ping,
            Message::Add(300),
            Message::Pair(1, "x".to_owned()),
            Message::Put { key: "k".to_owned(), value: inner },
            Message::Last(vec![1, 2]),
        ]
    }

    #[test]
    fn what_goes_by_number_is_read_as_what_goes_by_name() {
        for message in messages() {
            for agreed in [&[][..], &names()[..2], &names()] {
                let bytes = bytes(&message, agreed);
                assert_eq!(decode::<Message>(&bytes).unwrap(), message, "{bytes:x?}");
            }
        }
    }

    #[test]
    fn the_bytes_stay_as_they_are() {
        let numbered: Vec<_> = messages().iter().map(|message| bytes(message, &names())).collect();
        assert_eq!(numbered[0], [0]);
        assert_eq!(numbered[1], [1, 0xcd, 1, 44]);
        assert_eq!(numbered[2], [2, 0x92, 1, 0xa1, b'x']);
        // Only the outermost goes by number: inside, nobody compared.
        assert_eq!(numbered[3], b"\x03\x92\xa1k\x81\xa3Add\xff");
        // Behind a variant that is not on the wire, positions differ between writing and reading: by name.
        assert_eq!(numbered[4], b"\x81\xa4Last\x92\x01\x02");
    }

    #[test]
    fn numbers_end_where_the_two_sides_begin_to_differ() {
        let names = |names: &[&str]| {
            let unit = |name: &&str| crate::schema::Variant { name: (*name).to_owned(), shape: Shape::Unit };
            let call = Shape::Enum(names.iter().map(unit).collect());
            Schema { reply: call.clone(), call, cast: Shape::Unit, args: Shape::Unit }
        };
        let agreed = Methods::agreed(&names(&["a", "b", "new"]), &names(&["a", "b", "other", "more"]));
        assert_eq!(agreed.calls, ["a".into(), "b".into()]);
        assert!(agreed.casts.is_empty());
        assert!(Methods::agreed(&names(&["b", "a"]), &names(&["a", "b"])).calls.is_empty());
        // Replies: all that may come, or none.
        let replies =
            |sender: &[&str], receiver: &[&str]| Methods::agreed(&names(sender), &names(receiver)).replies;
        assert!(replies(&["a", "b", "new"], &["a", "b"]) && replies(&["a"], &["a"]));
        assert!(
            !replies(&["a", "b"], &["a", "b", "new"]) && !replies(&["b", "a"], &["a"]) && !replies(&[], &[])
        );
    }

    #[test]
    fn what_a_newer_sender_added_behind_is_left_out() {
        let longer = [&[3][..], b"\x93\xa1k\xc0\x05"].concat();
        let put = Message::Put { key: "k".to_owned(), value: None };
        assert_eq!(decode::<Message>(&longer).unwrap(), put);
    }

    #[test]
    fn what_is_no_enum_may_begin_with_a_number() {
        assert_eq!(decode::<u8>(&bytes(&7_u8, &names())).unwrap(), 7);
        assert_eq!(decode::<Option<u32>>(&bytes(&Some(5_u32), &names())).unwrap(), Some(5));
        assert_eq!(decode::<(u8,)>(&bytes(&(5_u8,), &names())).unwrap(), (5,));
    }

    #[test]
    fn a_number_that_is_none_and_content_that_is_too_deep_are_errors() {
        assert!(decode::<Message>(&[99]).is_err() && decode::<Message>(&[1]).is_err());
        let deep = [&[3][..], &[0x92, 0xa1, b'k'], &b"\x81\xa3Put\x92\xa1k".repeat(100), &[0xc0]].concat();
        assert!(decode::<Message>(&deep).unwrap_err().text.contains("64 levels"));
    }

    #[test]
    fn a_failing_serialize_leaves_the_buffer_as_it_was() {
        struct Fails;
        impl Serialize for Fails {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeTupleVariant;
                let mut variant = serializer.serialize_tuple_variant("Message", 1, "Add", 2)?;
                variant.serialize_field(&1)?;
                Err(serde::ser::Error::custom("no"))
            }
        }
        let mut out = vec![1, 2, 3];
        assert!(encode(&Fails, &names(), &mut out).is_err());
        assert_eq!(out, [1, 2, 3]);
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<Message>(&bytes);
        }
    }
}
