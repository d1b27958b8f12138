//! How messages of a behavior become bytes and back.

use std::{ops::Deref, sync::OnceLock};

use super::behavior_number;
use crate::{
    Behavior, RemoteBehavior,
    error::{DecodeError, EncodeError},
    numbered,
    route::BehaviorId,
    schema::{Schema, SchemaOf},
};

/// Encodes a message, by number if its variant is one of those that both sides have.
type Numbering<M> = fn(&M, &[Box<str>], &mut Vec<u8>) -> Result<(), EncodeError>;

/// How messages of a behavior become bytes and back: captured where `B: RemoteBehavior` is known, so that references
/// need no serde bounds.
pub(crate) struct RemoteCodec<B: Behavior> {
    pub(crate) name: &'static str,
    pub(crate) hash: u32,
    /// Under which number a node announces it; 0: it does not.
    number: u32,
    pub(crate) schema: SchemaOf,
    pub(crate) encode_call: Numbering<B::Call>,
    pub(crate) encode_cast: Numbering<B::Cast>,
    pub(crate) encode_reply: Numbering<B::Reply>,
    pub(crate) decode_call: fn(&[u8]) -> Result<B::Call, DecodeError>,
    pub(crate) decode_cast: fn(&[u8]) -> Result<B::Cast, DecodeError>,
    pub(crate) decode_reply: fn(&[u8]) -> Result<B::Reply, DecodeError>,
}

impl<B: Behavior> Clone for RemoteCodec<B> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<B: Behavior> Copy for RemoteCodec<B> {}

impl<B: Behavior> RemoteCodec<B> {
    /// Whether a frame is for this behavior.
    #[inline]
    pub(crate) fn is(&self, behavior: BehaviorId) -> bool {
        match behavior {
            BehaviorId::Number(number) => number == self.number,
            BehaviorId::Hash(hash) => hash == self.hash,
        }
    }
}

impl<B: RemoteBehavior> RemoteCodec<B> {
    pub(crate) fn new() -> Self {
        Self {
            name: B::NAME,
            hash: behavior_number(B::NAME),
            number: 0,
            schema: Schema::of::<B>,
            encode_call: |message, agreed, out| numbered::encode(message, agreed, out),
            encode_cast: |message, agreed, out| numbered::encode(message, agreed, out),
            encode_reply: |message, agreed, out| numbered::encode(message, agreed, out),
            decode_call: |bytes| numbered::decode(bytes),
            decode_cast: |bytes| numbered::decode(bytes),
            decode_reply: |bytes| numbered::decode(bytes),
        }
    }
}

/// The codec of processes of this node: what other nodes may ask of them is known.
pub(crate) struct Served<B: Behavior> {
    codec: RemoteCodec<B>,
    /// The replies that have numbers.
    replies: OnceLock<Box<[Box<str>]>>,
}

impl<B: Behavior> Served<B> {
    pub(super) fn new(codec: RemoteCodec<B>) -> Self {
        Self { codec, replies: OnceLock::new() }
    }

    /// The same behavior under a number.
    pub(super) fn under(&self, number: u32) -> Self {
        Self::new(RemoteCodec { number, ..self.codec })
    }

    /// Encodes a reply, by number if the caller has those of this node.
    #[inline]
    pub(crate) fn encode_reply(
        &self,
        reply: &B::Reply,
        numbered: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let names = || numbered::names(&(self.codec.schema)().reply);
        let agreed = if numbered { self.replies.get_or_init(names) } else { &[][..] };
        (self.codec.encode_reply)(reply, agreed, out)
    }
}

impl<B: Behavior> Deref for Served<B> {
    type Target = RemoteCodec<B>;
    fn deref(&self) -> &RemoteCodec<B> {
        &self.codec
    }
}
