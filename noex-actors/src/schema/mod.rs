//! What messages look like on the wire: found out from their `Deserialize`, told to other nodes, compared by senders.
//!
//! Invariants: finding out neither fails nor panics: what does not show itself is [`Shape::Unknown`], which fits
//! everything. A schema is bounded in size and depth, whatever the types.

mod fits;
mod plan;
mod probe;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub(crate) use self::probe::{ANY_REF, REF};
use crate::{
    NodeId, RemoteBehavior,
    payload::{decode, encode_into},
};

/// Longest schema on the wire, in bytes. A longer one is not told, and not believed.
pub const MAX_SCHEMA: usize = 16 * 1024;

/// Finds out what the messages of a behavior look like.
pub type SchemaOf = fn() -> Schema;

/// What the messages of a behavior look like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// Its calls.
    pub call: Shape,
    /// Their replies.
    pub reply: Shape,
    /// Its casts.
    pub cast: Shape,
    /// What it is started with.
    pub args: Shape,
}

/// What a value looks like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shape {
    /// It does not show itself: a `Deserialize` written by hand, or the inner side of a recursive type.
    Unknown,
    /// Nothing.
    Unit,
    /// Yes or no.
    Bool,
    /// A whole number of that many bits.
    Int {
        /// Whether it may be negative.
        signed: bool,
        /// How many bits it has.
        bits: u8,
    },
    /// A number of that many bits.
    Float(u8),
    /// One character.
    Char,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
    /// A [`Ref`](crate::Ref).
    Ref,
    /// An [`AnyRef`](crate::AnyRef).
    AnyRef,
    /// Something or nothing.
    Maybe(Box<Shape>),
    /// Any number of one kind.
    List(Box<Shape>),
    /// Keys and values.
    Map(Box<(Shape, Shape)>),
    /// Values by position.
    Tuple(Vec<Shape>),
    /// Fields by position.
    Struct(Vec<Field>),
    /// One of several, by name.
    Enum(Vec<Variant>),
}

/// A field of a struct.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub shape: Shape,
    /// Whether it must be there: it, or a field behind it, has no default.
    pub required: bool,
}

/// A variant of an enum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// Its name on the wire.
    pub name: String,
    /// What it holds: of a variant with one value in parentheses that value, of others a struct, a tuple, nothing.
    pub shape: Shape,
}

/// The two sides of a behavior have messages that do not fit. Nothing was sent.
///
/// One of the nodes runs another version of it, or another behavior of that name: deploy one version to both, and change messages only by the
/// additive rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "behavior {behavior} of this node does not fit that of {node}: {difference}; deploy the same version to both, \
     and only ever add to messages"
)]
#[non_exhaustive]
pub struct BehaviorIncompatible {
    /// Wire name of the behavior.
    pub behavior: String,
    /// The other node.
    pub node: NodeId,
    /// The first difference: which message, which field, what is sent and what is expected.
    pub difference: String,
}

impl BehaviorIncompatible {
    /// Says what does not fit.
    #[doc(hidden)]
    #[must_use]
    pub fn new(behavior: &str, node: &NodeId, difference: &str) -> Self {
        Self { behavior: behavior.to_owned(), node: node.clone(), difference: difference.to_owned() }
    }
}

impl Shape {
    /// What `T` looks like, as far as its `Deserialize` shows it.
    #[must_use]
    pub fn of<T: DeserializeOwned>() -> Self {
        probe::shape_of::<T>()
    }

    /// Names of the variants, in order; of anything but an enum none.
    pub fn variants(&self) -> impl Iterator<Item = &str> {
        let variants = if let Self::Enum(variants) = self { &variants[..] } else { &[] };
        variants.iter().map(|variant| variant.name.as_str())
    }
}

impl Schema {
    /// What the messages of `B` look like.
    #[must_use]
    pub fn of<B: RemoteBehavior>() -> Self {
        Self {
            call: Shape::of::<B::Call>(),
            reply: Shape::of::<B::Reply>(),
            cast: Shape::of::<B::Cast>(),
            args: Shape::of::<B::Args>(),
        }
    }

    /// As it is told to other nodes; nothing if it is too long for that.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match encode_into(self, &mut bytes) {
            Ok(()) if bytes.len() <= MAX_SCHEMA => bytes,
            Ok(()) | Err(_) => Vec::new(),
        }
    }

    /// As another node told it.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() || bytes.len() > MAX_SCHEMA { None } else { decode(bytes).ok() }
    }

    /// Whether a node with this schema can talk to processes of a node with that one.
    ///
    /// # Errors
    /// The first difference.
    pub fn talks_to(&self, theirs: &Self) -> Result<(), String> {
        fits::check("call", &self.call, &theirs.call)?;
        fits::check("reply", &theirs.reply, &self.reply)?;
        fits::check("cast", &self.cast, &theirs.cast)
    }

    /// Whether it can start processes there.
    ///
    /// # Errors
    /// The first difference.
    pub fn starts(&self, theirs: &Self) -> Result<(), String> {
        fits::check("init", &self.args, &theirs.args)?;
        self.talks_to(theirs)
    }
}

#[cfg(test)]
mod tests;
