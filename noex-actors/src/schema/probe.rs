//! A deserializer without a format: it gives whatever is asked for, and writes down what that was.

use std::{
    cell::RefCell,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use serde::{
    Deserializer,
    de::{
        self, DeserializeOwned, DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
        VariantAccess, Visitor, value::StrDeserializer,
    },
};

use super::{
    Shape,
    plan::{MAX_NESTING, Place, Plan},
};
use crate::panics::into_text;

/// By these names a [`Ref`](crate::Ref) and an [`AnyRef`](crate::AnyRef) show themselves.
pub(crate) const REF: &str = "noex::Ref";
pub(crate) const ANY_REF: &str = "noex::AnyRef";

/// What texts are often read as.
const TEXTS: [&str; 8] = [
    "",
    "0",
    "a",
    "a@127.0.0.1:1",
    "127.0.0.1",
    "127.0.0.1:1",
    "00000000-0000-4000-8000-000000000000",
    "1970-01-01T00:00:00Z",
];
const BYTES: [&[u8]; 4] = [&[], &[0; 4], &[0; 16], &[0; 32]];
const NUMBERS: [u8; 3] = [0, 1, 100];

/// This way ends here.
#[derive(Debug)]
pub(super) struct Stop;

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no value can be made")
    }
}
impl std::error::Error for Stop {}
impl de::Error for Stop {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

pub(super) fn shape_of<T: DeserializeOwned>() -> Shape {
    let plan = RefCell::new(Plan::new());
    loop {
        let probe = Probe { plan: &plan, at: 0, depth: 0 };
        let made = catch_unwind(AssertUnwindSafe(|| T::deserialize(probe).map(drop)));
        let ok = match made {
            Ok(made) => made.is_ok(),
            Err(panic) => {
                tracing::debug!(
                    panic = into_text(panic),
                    "a Deserialize panicked while its type was looked at"
                );
                false
            }
        };
        if !plan.borrow_mut().next(ok) {
            return plan.borrow().shape(0);
        }
    }
}

#[derive(Clone, Copy)]
struct Probe<'a> {
    plan: &'a RefCell<Plan>,
    at: usize,
    depth: usize,
}

impl Probe<'_> {
    fn leaf(self, shape: Shape) {
        self.plan.borrow_mut().see(self.at, Place::Leaf(shape));
    }

    fn sample(self, samples: usize) -> usize {
        self.plan.borrow_mut().sample(self.at, samples)
    }

    fn number(self, signed: bool, bits: u8) -> u8 {
        self.leaf(Shape::Int { signed, bits });
        NUMBERS[self.sample(NUMBERS.len())]
    }

    fn child(self, index: usize) -> Result<Self, Stop> {
        let child = self.plan.borrow_mut().child(self.at, index).ok_or(Stop)?;
        if self.depth == 4 * MAX_NESTING {
            self.plan.borrow_mut().endless = true;
            return Err(Stop);
        }
        if self.depth >= MAX_NESTING {
            // Too deep to be told: looked through, and left out.
            self.plan.borrow_mut().see(child, Place::Leaf(Shape::Unknown));
        }
        Ok(Self { at: child, depth: self.depth + 1, ..self })
    }

    fn is_again(self) -> bool {
        self.plan.borrow().is_again(self.at)
    }
}

macro_rules! numbers {
    ($($method:ident => $visit:ident($signed:literal, $bits:literal)),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
            visitor.$visit(self.number($signed, $bits).into())
        })*
    };
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Stop;

    numbers! {
        deserialize_u8 => visit_u8(false, 8),
        deserialize_u16 => visit_u16(false, 16),
        deserialize_u32 => visit_u32(false, 32),
        deserialize_u64 => visit_u64(false, 64),
        deserialize_u128 => visit_u128(false, 128),
        deserialize_i16 => visit_i16(true, 16),
        deserialize_i32 => visit_i32(true, 32),
        deserialize_i64 => visit_i64(true, 64),
        deserialize_i128 => visit_i128(true, 128),
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_i8(self.number(true, 8).cast_signed())
    }
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.leaf(Shape::Float(32));
        visitor.visit_f32(0.0)
    }
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.leaf(Shape::Float(64));
        visitor.visit_f64(0.0)
    }
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.leaf(Shape::Bool);
        visitor.visit_bool(self.sample(2) == 1)
    }
    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.leaf(Shape::Char);
        visitor.visit_char('a')
    }
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.leaf(Shape::Text);
        visitor.visit_str(TEXTS[self.sample(TEXTS.len())])
    }
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_str(visitor)
    }
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.leaf(Shape::Bytes);
        visitor.visit_bytes(BYTES[self.sample(BYTES.len())])
    }
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_bytes(visitor)
    }
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.leaf(Shape::Unit);
        visitor.visit_unit()
    }
    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.plan.borrow_mut().see(self.at, Place::Maybe);
        if self.is_again() { visitor.visit_none() } else { visitor.visit_some(self.child(0)?) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        match name {
            REF => self.leaf(Shape::Ref),
            ANY_REF => self.leaf(Shape::AnyRef),
            _ => return visitor.visit_newtype_struct(self),
        }
        visitor.visit_some(self.child(0)?)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.plan.borrow_mut().see(self.at, Place::List);
        let len = usize::from(!self.is_again());
        visitor.visit_seq(Items { probe: self, next: 0, len })
    }
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Stop> {
        self.plan.borrow_mut().see(self.at, Place::Tuple);
        visitor.visit_seq(Items { probe: self, next: 0, len })
    }
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.deserialize_tuple(len, visitor)
    }
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.plan.borrow_mut().see(self.at, Place::Map);
        let len = if self.is_again() { 0 } else { 2 };
        visitor.visit_map(Items { probe: self, next: 0, len })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.plan.borrow_mut().enter(self.at, name);
        let made = self.fields(names, visitor);
        self.plan.borrow_mut().leave();
        made
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let mut plan = self.plan.borrow_mut();
        plan.see(self.at, Place::Enum { names });
        plan.enter(self.at, name);
        let chosen = plan.choose(self.at);
        drop(plan);
        let Some((index, variant)) = chosen.and_then(|index| Some((index, *names.get(index)?))) else {
            self.plan.borrow_mut().endless = true;
            return Err(Stop);
        };
        let value = visitor.visit_enum(Choice { probe: self.child(index)?, variant })?;
        self.plan.borrow_mut().chosen(self.at, index);
        self.plan.borrow_mut().leave();
        Ok(value)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_str(visitor)
    }
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.leaf(Shape::Unknown);
        match self.sample(4) {
            0 => visitor.visit_unit(),
            1 => visitor.visit_bool(false),
            2 => visitor.visit_u64(0),
            _ => visitor.visit_str(""),
        }
    }
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_any(visitor)
    }
}

impl Probe<'_> {
    fn fields<'de, V: Visitor<'de>>(
        self,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let place = Place::Struct { names, whole: false, optional: 0, settled: false };
        self.plan.borrow_mut().see(self.at, place);
        let len = self.plan.borrow_mut().fields(self.at, names.len());
        let made = visitor.visit_seq(Items { probe: self, next: 0, len });
        self.plan.borrow_mut().made(self.at, len, made.is_ok());
        made
    }
}

/// What a list, a tuple, a struct, a map holds.
struct Items<'a> {
    probe: Probe<'a>,
    next: usize,
    len: usize,
}

impl Items<'_> {
    fn item<'de, T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Stop> {
        if self.next == self.len {
            return Ok(None);
        }
        let item = self.probe.child(self.next)?;
        self.next += 1;
        seed.deserialize(item).map(Some)
    }
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Stop;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Stop> {
        self.item(seed)
    }
}

impl<'de> MapAccess<'de> for Items<'_> {
    type Error = Stop;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        self.item(seed)
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        self.item(seed)?.ok_or(Stop)
    }
}

/// A variant of an enum, with the place of what it holds.
struct Choice<'a> {
    probe: Probe<'a>,
    variant: &'static str,
}

impl<'de> EnumAccess<'de> for Choice<'_> {
    type Error = Stop;
    type Variant = Self;
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Stop> {
        let name: StrDeserializer<'_, Stop> = self.variant.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Choice<'_> {
    type Error = Stop;
    fn unit_variant(self) -> Result<(), Stop> {
        self.probe.leaf(Shape::Unit);
        Ok(())
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Stop> {
        seed.deserialize(self.probe)
    }
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Stop> {
        self.probe.deserialize_tuple(len, visitor)
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.probe.fields(names, visitor)
    }
}
