//! Bytes of the wire: frames, control messages, batches, messages of the handshake, values.

use noex_actors::{
    __private::{CallFailure, decode, encode_into},
    MAX_DEPTH,
    schema::Schema,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::input::Input;
use crate::{
    io::reader::{BatchError, Batches},
    machine::names::MAX_ENTRIES,
    wire::{
        control::{Behavior, Control, Request, Response},
        frame::{self, Frame, Head},
        handshake::{MAX_FRAME, Message, MessageError},
        limits::{
            CHUNK, LEN, MAX_BATCH, MAX_BEHAVIORS, MAX_HINTS_READ, MAX_INSTANCES, MAX_MEMBERS, MAX_NAMES,
            READ_BUFFER, TAG,
        },
        tag::{TagAlgorithm, Tagger},
        trace,
    },
};

/// The frames of a batch: each has one spelling, lies within the batch, and after a malformed one nothing is read.
pub fn frames(bytes: &[u8]) {
    let mut rest = bytes;
    loop {
        let before = rest;
        match Frame::take(&mut rest) {
            Ok(Some(taken)) => {
                let len = before.len() - rest.len();
                assert!(len > frame::HEADER, "a frame has a kind");
                if len <= CHUNK {
                    assert_eq!(written(&taken), &before[..len], "one spelling");
                }
            }
            Ok(None) => return assert!(rest.is_empty()),
            Err(_malformed) => return,
        }
    }
}

/// A frame as this node would write it.
fn written(taken: &Frame<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let (context, frame) = match taken {
        Frame::Traced { context, frame } => (Some(context), &**frame),
        plain => (None, plain),
    };
    let traced = context.is_some();
    let (head, body) = match *frame {
        Frame::Traced { .. } => unreachable!("only calls and casts belong to a trace: {frame:?}"),
        Frame::Control(body) => (Head::Control, body),
        Frame::Call { id, behavior, target, budget_ms, numbered, body } => {
            (Head::Call { id, behavior, target, budget_ms, numbered, traced }, body)
        }
        Frame::Cast { behavior, target, body } => (Head::Cast { behavior, target, traced }, body),
        Frame::Reply { id, body } => (Head::Reply { id }, body),
        Frame::Failure { id, body } => (Head::Failure { id }, body),
        Frame::Cancel { id, target } => (Head::Cancel { id, target }, &[][..]),
        Frame::Mark { target, position } => (Head::Mark { target, position }, &[][..]),
        Frame::Credit { target, position } => (Head::Credit { target, position }, &[][..]),
        Frame::First { stream, total, piece } => {
            frame::put_first(stream, total, piece, &mut out);
            return out;
        }
        Frame::Next { stream, piece } => {
            out.extend_from_slice(frame::next_head(stream, piece.len()).as_bytes());
            out.extend_from_slice(piece);
            return out;
        }
        Frame::Dropped { stream } => {
            frame::put_dropped(stream, &mut out);
            return out;
        }
    };
    head.begin(&mut out);
    if let Some(context) = context {
        trace::put(context, &mut out);
    }
    out.extend_from_slice(body);
    frame::finish(&mut out, 0);
    out
}

/// A value that was read is written, and read as the same again.
fn comes_back<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Option<T> {
    let value = decode::<T>(bytes).ok()?;
    let mut once = Vec::new();
    encode_into(&value, &mut once).expect("what was read can be written");
    match decode::<T>(&once) {
        Ok(again) => {
            let mut twice = Vec::new();
            encode_into(&again, &mut twice).expect("what was read can be written");
            assert_eq!(once, twice, "a value has one encoding");
        }
        // Short messages are not looked at for their depth: in a shorter spelling than ours, one may nest a little deeper.
        Err(_too_deep) => assert!(bytes.len() <= 2 * MAX_DEPTH, "what was written can be read"),
    }
    Some(value)
}

/// A control message: its lists are bounded, and it comes back as it was.
pub fn control(bytes: &[u8]) {
    let Some(control) = comes_back::<Control>(bytes) else { return };
    let behaviors = |all: &[Behavior]| {
        assert!(all.len() <= MAX_BEHAVIORS);
        for schema in all.iter().filter_map(|behavior| Schema::from_bytes(&behavior.schema)) {
            let _ = schema.starts(&schema);
        }
    };
    match &control {
        Control::Hints(hints) => assert!(hints.len() <= MAX_HINTS_READ),
        Control::Behaviors(all) => behaviors(all),
        Control::Heartbeat(heartbeat) => behaviors(heartbeat.behaviors.as_deref().unwrap_or_default()),
        Control::Names { updates, .. } => assert!(updates.len() <= MAX_NAMES.min(MAX_ENTRIES)),
        Control::Groups(said) => assert!(said.len() <= MAX_MEMBERS),
        Control::Response {
            body: Response::Instances(instances) | Response::Reign { instances, .. },
            ..
        } => {
            assert!(instances.len() <= MAX_INSTANCES);
        }
        Control::Request { body: Request::Spawn(order), .. } => assert!(order.args.len() <= bytes.len()),
        _ => {}
    }
}

/// Why a call failed.
pub fn failure(bytes: &[u8]) {
    comes_back::<CallFailure>(bytes);
}

#[derive(Serialize, Deserialize)]
enum Tree {
    Leaf(String),
    Node(Vec<Tree>),
    Option(Option<Box<Tree>>),
    Map(std::collections::BTreeMap<String, Tree>),
    Struct { number: f64, bytes: serde_bytes::ByteBuf, unit: () },
}

/// A message of a user, as deep and as strange as it likes: it must not use up the stack.
pub fn payload(bytes: &[u8]) {
    comes_back::<Tree>(bytes);
    let _ = decode::<serde::de::IgnoredAny>(bytes);
    let _ = decode::<(Option<u64>, i8, Vec<Option<char>>, noex_actors::Pid)>(bytes);
}

/// A frame of the handshake: one byte string per message.
pub fn handshake_message(bytes: &[u8]) {
    match Message::decode(bytes) {
        Ok(message) => {
            assert!(bytes.len() <= MAX_FRAME);
            assert_eq!(message.encode(), bytes, "one spelling");
        }
        Err(MessageError::TooLong(len)) => assert!(len > MAX_FRAME && len == bytes.len()),
        Err(MessageError::Malformed) => assert!(bytes.len() <= MAX_FRAME),
    }
}

/// What a stream without tags holds, read the plain way.
fn expected(mut bytes: &[u8]) -> (Vec<&[u8]>, bool) {
    let mut all = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<LEN>() {
        let len = usize::try_from(u32::from_le_bytes(*len)).unwrap_or(usize::MAX);
        if len > MAX_BATCH {
            return (all, true);
        }
        let Some((batch, rest)) = rest.split_at_checked(len) else { break };
        all.push(batch);
        bytes = rest;
    }
    (all, false)
}

/// A stream of batches, cut in any way: what comes out does not depend on the cuts, the buffer is bounded, and after an error
/// nothing comes any more. With a tag, nothing but what was sealed comes out at all.
pub fn batches(bytes: &[u8]) {
    let mut input = Input(bytes);
    let (mode, mut cuts) = (input.byte(), u32::from(input.byte()) | 0x0100);
    let mut stream = input.0.to_vec();
    let tagged = mode & 1 == 1;
    let algorithm = TagAlgorithm::ALL[usize::from(mode >> 1) % TagAlgorithm::ALL.len()];
    let sealed = [&b"first"[..], b"", b"third"];
    if tagged {
        let mut send = Tagger::new(algorithm, &[1; 32]);
        stream = sealed.iter().flat_map(|frames| batch(&mut send, frames)).collect();
        // Changes at places that the input names.
        while !input.is_empty() {
            let at = input.u16() % stream.len();
            stream[at] ^= input.byte();
        }
    }
    let (wanted, fails) = if tagged { (sealed.to_vec(), false) } else { expected(&stream) };
    let mut reader = Batches::new(tagged.then(|| Tagger::new(algorithm, &[1; 32])));
    let (mut got, mut rest) = (Vec::new(), stream.as_slice());
    let error = 'read: loop {
        let room = reader.room();
        assert!(!room.is_empty(), "there is always room");
        cuts = cuts.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let step = 1 + usize::try_from(cuts >> 16).unwrap_or(0) % 3000;
        let n = step.min(rest.len()).min(room.len());
        room[..n].copy_from_slice(&rest[..n]);
        reader.filled(n);
        rest = &rest[n..];
        assert!(reader.held() <= LEN + MAX_BATCH + READ_BUFFER, "{} bytes are held", reader.held());
        loop {
            match reader.next() {
                Ok(Some(frames)) => got.push(frames.to_vec()),
                Ok(None) => break,
                Err(error) => break 'read Some(error),
            }
        }
        if rest.is_empty() {
            break None;
        }
    };
    match error {
        Some(error) => {
            assert!(tagged || matches!(error, BatchError::Length(_)));
            assert_eq!(reader.next(), Err(error), "what is broken stays so");
        }
        None => assert!(!fails, "a length that is too long is an error"),
    }
    assert!(got.len() <= wanted.len() && got.iter().zip(&wanted).all(|(got, wanted)| got == wanted));
    assert!(tagged || got.len() == wanted.len(), "all that is whole comes out");
}

pub(super) fn batch(tagger: &mut Tagger, frames: &[u8]) -> Vec<u8> {
    let len = u32::try_from(frames.len() + TAG).unwrap_or(u32::MAX);
    let mut batch = [&len.to_le_bytes()[..], &[0; TAG], frames].concat();
    tagger.seal(&mut batch[LEN..]);
    batch
}
