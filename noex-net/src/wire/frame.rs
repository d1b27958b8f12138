//! Frames: what a batch is made of.
//!
//! | kind | fields | body |
//! |---|---|---|
//! | 0 control | – | a control message, MessagePack |
//! | 1 call | id, behavior, target, budget (ms) | the call |
//! | 2 cast | behavior, target | the cast |
//! | 3 reply | id | the reply |
//! | 4 failure | id | why the call failed, MessagePack |
//! | 5 first chunk | stream, total | the beginning of a long content: kind, fields and body of a frame of `total` bytes |
//! | 6 cancel | id, target | – |
//! | 7 next chunk | stream | the next piece of it |
//! | 8 dropped | stream | – |
//! | 9 mark | target, position | – |
//! | 10 credit | target, position | – |
//!
//! Fields are varints. A behavior is the number under which the receiver announced it; 0 is followed by the hash of its name
//! instead (u32 LE). A target with the bit [`BY_NAME`](noex_actors::route::BY_NAME) is whoever has the name with which the body of the
//! call or cast then begins: its length, and its bytes. With the bit 0x40 in its kind, the reply of a call may go by number. With [`TRACED`] in its kind, a call or a cast has the trace that it belongs to before its body.

use noex_actors::{route::BehaviorId, trace::TraceContext};

use super::{
    head::Writing,
    limits::CHUNK,
    trace,
    varint::{MAX_VARINT, fixed, varint},
};

/// Bytes of a frame before its kind.
pub(crate) const HEADER: usize = 2;
/// Bytes of the longest head: length, kind, and the fields of a call.
pub(crate) const MAX_HEAD: usize = HEADER + 1 + MAX_VARINT + 5 + MAX_VARINT + MAX_VARINT;

pub(crate) const CONTROL: u8 = 0;
pub(crate) const CALL: u8 = 1;
pub(crate) const CAST: u8 = 2;
pub(crate) const REPLY: u8 = 3;
pub(crate) const FAILURE: u8 = 4;
pub(crate) const FIRST: u8 = 5;
pub(crate) const CANCEL: u8 = 6;
pub(crate) const NEXT: u8 = 7;
pub(crate) const DROPPED: u8 = 8;
pub(crate) const MARK: u8 = 9;
pub(crate) const CREDIT: u8 = 10;
/// A call whose reply may go by number: with a bit more.
const CALL_NUMBERED: u8 = CALL | 0x40;
/// The capability of a node that answers such calls.
pub(crate) const NUMBERED_REPLIES: u64 = 1 << 2;
/// A bit of the kind of a call or a cast: a trace context follows the fields.
pub(crate) const TRACED: u8 = 0x80;

/// One frame, read in place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Control(&'a [u8]),
    /// `numbered`: its reply may go by number.
    Call {
        id: u64,
        behavior: BehaviorId,
        target: u64,
        budget_ms: u64,
        numbered: bool,
        body: &'a [u8],
    },
    Cast {
        behavior: BehaviorId,
        target: u64,
        body: &'a [u8],
    },
    /// A call or a cast that belongs to a trace.
    Traced {
        context: Box<TraceContext>,
        frame: Box<Frame<'a>>,
    },
    Reply {
        id: u64,
        body: &'a [u8],
    },
    Failure {
        id: u64,
        body: &'a [u8],
    },
    /// A content of `total` bytes begins, of which these are the first.
    First {
        stream: u64,
        total: u64,
        piece: &'a [u8],
    },
    Next {
        stream: u64,
        piece: &'a [u8],
    },
    /// The rest of that content does not come: nobody wants it any more.
    Dropped {
        stream: u64,
    },
    /// Nobody waits for the reply to that call any more. It takes its place among what goes to the target, behind the call.
    Cancel {
        id: u64,
        target: u64,
    },
    /// So far is what goes to the target: tell when it has handled that.
    Mark {
        target: u64,
        position: u64,
    },
    /// That process handled what was sent to it as far as that mark, or is gone.
    Credit {
        target: u64,
        position: u64,
    },
}

/// A batch is not made of frames: its sender is broken, the session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame is malformed")]
pub(crate) struct Malformed;

fn not_empty(piece: &[u8]) -> Result<&[u8], Malformed> {
    if piece.is_empty() { Err(Malformed) } else { Ok(piece) }
}

/// Two numbers and no body.
fn two(bytes: &[u8]) -> Result<(u64, u64), Malformed> {
    let (first, rest) = varint(bytes)?;
    let (second, rest) = varint(rest)?;
    if rest.is_empty() { Ok((first, second)) } else { Err(Malformed) }
}

fn behavior(bytes: &[u8]) -> Result<(BehaviorId, &[u8]), Malformed> {
    match varint(bytes)? {
        (0, rest) => {
            let (hash, rest) = fixed(rest)?;
            Ok((BehaviorId::Hash(u32::from_le_bytes(hash)), rest))
        }
        (number, rest) => Ok((BehaviorId::Number(u32::try_from(number).map_err(|_large| Malformed)?), rest)),
    }
}

impl<'a> Frame<'a> {
    /// Takes the first frame of `bytes`; `None` at their end.
    pub(crate) fn take(bytes: &mut &'a [u8]) -> Result<Option<Self>, Malformed> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let (len, rest) = fixed::<HEADER>(bytes)?;
        let len = usize::from(u16::from_le_bytes(len));
        if len > rest.len() {
            return Err(Malformed);
        }
        let (frame, rest) = rest.split_at(len);
        *bytes = rest;
        Self::parse(frame).map(Some)
    }

    /// Reads kind, fields and body.
    pub(crate) fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let (&kind, rest) = frame.split_first().ok_or(Malformed)?;
        Self::of(kind, rest)
    }

    #[inline]
    fn of(kind: u8, rest: &'a [u8]) -> Result<Self, Malformed> {
        Ok(match kind {
            CONTROL => Self::Control(rest),
            CALL | CALL_NUMBERED => {
                let (id, rest) = varint(rest)?;
                let (behavior, rest) = behavior(rest)?;
                let (target, rest) = varint(rest)?;
                let (budget_ms, body) = varint(rest)?;
                Self::Call { id, behavior, target, budget_ms, numbered: kind == CALL_NUMBERED, body }
            }
            CAST => {
                let (behavior, rest) = behavior(rest)?;
                let (target, body) = varint(rest)?;
                Self::Cast { behavior, target, body }
            }
            REPLY => {
                let (id, body) = varint(rest)?;
                Self::Reply { id, body }
            }
            FAILURE => {
                let (id, body) = varint(rest)?;
                Self::Failure { id, body }
            }
            FIRST => {
                let (stream, rest) = varint(rest)?;
                let (total, piece) = varint(rest)?;
                Self::First { stream, total, piece: not_empty(piece)? }
            }
            NEXT => {
                let (stream, piece) = varint(rest)?;
                Self::Next { stream, piece: not_empty(piece)? }
            }
            DROPPED => {
                let (stream, rest) = varint(rest)?;
                if !rest.is_empty() {
                    return Err(Malformed);
                }
                Self::Dropped { stream }
            }
            CANCEL => {
                let (id, target) = two(rest)?;
                Self::Cancel { id, target }
            }
            MARK => {
                let (target, position) = two(rest)?;
                Self::Mark { target, position }
            }
            CREDIT => {
                let (target, position) = two(rest)?;
                Self::Credit { target, position }
            }
            _ => return Self::traced(kind, rest),
        })
    }

    #[cold]
    fn traced(kind: u8, rest: &'a [u8]) -> Result<Self, Malformed> {
        if !matches!(kind ^ TRACED, CALL | CALL_NUMBERED | CAST) {
            return Err(Malformed);
        }
        let mut frame = Self::of(kind ^ TRACED, rest)?;
        let (Self::Call { body, .. } | Self::Cast { body, .. }) = &mut frame else { return Err(Malformed) };
        let (context, rest) = trace::take(body)?;
        *body = rest;
        Ok(Self::Traced { context: Box::new(context), frame: Box::new(frame) })
    }
}

/// The kind and fields of a frame about to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Head {
    Control,
    /// `traced`: the body begins with a trace context. `numbered`: its reply may go by number.
    Call {
        id: u64,
        behavior: BehaviorId,
        target: u64,
        budget_ms: u64,
        numbered: bool,
        traced: bool,
    },
    Cast {
        behavior: BehaviorId,
        target: u64,
        traced: bool,
    },
    Reply {
        id: u64,
    },
    Failure {
        id: u64,
    },
    Cancel {
        id: u64,
        target: u64,
    },
    Mark {
        target: u64,
        position: u64,
    },
    Credit {
        target: u64,
        position: u64,
    },
}

impl Head {
    /// The number of the call that it begins.
    pub(crate) fn call(&self) -> Option<u64> {
        match *self {
            Self::Call { id, .. } => Some(id),
            _ => None,
        }
    }

    fn kind(self) -> u8 {
        match self {
            Self::Control => CONTROL,
            Self::Call { numbered: false, traced, .. } => CALL | bit(traced),
            Self::Call { numbered: true, traced, .. } => CALL_NUMBERED | bit(traced),
            Self::Cast { traced, .. } => CAST | bit(traced),
            Self::Reply { .. } => REPLY,
            Self::Failure { .. } => FAILURE,
            Self::Cancel { .. } => CANCEL,
            Self::Mark { .. } => MARK,
            Self::Credit { .. } => CREDIT,
        }
    }

    /// Begins a frame: room for its length, kind and fields.
    pub(crate) fn begin(self, out: &mut Vec<u8>) {
        let mut writing = Writing::new(self.kind());
        match self {
            Self::Control => {}
            Self::Call { id, behavior, target, budget_ms, numbered: _, traced: _ } => {
                writing.varint(id);
                writing.behavior(behavior);
                writing.varint(target);
                writing.varint(budget_ms);
            }
            Self::Cast { behavior, target, traced: _ } => {
                writing.behavior(behavior);
                writing.varint(target);
            }
            Self::Reply { id } | Self::Failure { id } => writing.varint(id),
            Self::Cancel { id, target } => {
                writing.varint(id);
                writing.varint(target);
            }
            Self::Mark { target, position } | Self::Credit { target, position } => {
                writing.varint(target);
                writing.varint(position);
            }
        }
        writing.append_to(out);
    }
}

fn bit(traced: bool) -> u8 {
    if traced { TRACED } else { 0 }
}

/// Writes the length of the frame that begins at `at` and ends with the buffer. Frames are at most `CHUNK` long.
pub(crate) fn finish(out: &mut [u8], at: usize) {
    let len = out.len() - at - HEADER;
    debug_assert!(len <= CHUNK, "longer frames are cut into chunks");
    out[at..at + HEADER].copy_from_slice(&u16::try_from(len).unwrap_or(u16::MAX).to_le_bytes());
}

/// Writes the first chunk of a content of `total` bytes.
pub(crate) fn put_first(stream: u64, total: u64, piece: &[u8], out: &mut Vec<u8>) {
    let at = out.len();
    let mut writing = Writing::new(FIRST);
    writing.varint(stream);
    writing.varint(total);
    writing.append_to(out);
    out.extend_from_slice(piece);
    finish(out, at);
}

/// What stands before the next piece of a content, of `len` bytes, in its frame.
pub(crate) fn next_head(stream: u64, len: usize) -> Writing {
    let mut writing = Writing::new(NEXT);
    writing.varint(stream);
    let len = u16::try_from(writing.len - HEADER + len).unwrap_or(u16::MAX);
    writing.bytes[..HEADER].copy_from_slice(&len.to_le_bytes());
    writing
}

/// Writes that the rest of a content does not come.
pub(crate) fn put_dropped(stream: u64, out: &mut Vec<u8>) {
    let at = out.len();
    let mut writing = Writing::new(DROPPED);
    writing.varint(stream);
    writing.append_to(out);
    finish(out, at);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(head: Head, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        head.begin(&mut out);
        out.extend_from_slice(body);
        finish(&mut out, 0);
        out
    }

    #[test]
    fn golden_bytes_of_every_kind() {
        let number = BehaviorId::Number(7);
        let call = Head::Call {
            id: 300,
            behavior: number,
            target: 300,
            budget_ms: 5000,
            numbered: false,
            traced: false,
        };
        assert_eq!(written(call, b"x"), [9, 0, 1, 0xAC, 2, 7, 0xAC, 2, 0x88, 0x27, b'x']);
        let hash = BehaviorId::Hash(0xA1B2_C3D4);
        assert_eq!(
            written(
                Head::Call { id: 1, behavior: hash, target: 2, budget_ms: 3, numbered: true, traced: false },
                b""
            ),
            [9, 0, 0x41, 1, 0, 0xD4, 0xC3, 0xB2, 0xA1, 2, 3]
        );
        assert_eq!(written(Head::Cast { behavior: number, target: 2, traced: false }, b""), [3, 0, 2, 7, 2]);
        assert_eq!(written(Head::Reply { id: 1 }, b"r"), [3, 0, 3, 1, b'r']);
        assert_eq!(written(Head::Failure { id: 1 }, b"f"), [3, 0, 4, 1, b'f']);
        assert_eq!(written(Head::Control, b"c"), [2, 0, 0, b'c']);
        let cancel = Head::Cancel { id: 1, target: 300 };
        assert_eq!(written(cancel, b""), [4, 0, 6, 1, 0xAC, 2]);
        let longer = written(cancel, b"x");
        assert_eq!(Frame::take(&mut longer.as_slice()), Err(Malformed), "a cancel has no body");
        let mark = Head::Mark { target: 300, position: 1 << 23 };
        assert_eq!(written(mark, b""), [7, 0, 9, 0xAC, 2, 0x80, 0x80, 0x80, 4]);
        assert_eq!(written(Head::Credit { target: 2, position: 300 }, b""), [4, 0, 10, 2, 0xAC, 2]);
        let longer = written(mark, b"x");
        assert_eq!(Frame::take(&mut longer.as_slice()), Err(Malformed), "nor has a mark");
        for kind in [CAST, REPLY, FAILURE, CONTROL, TRACED | CAST] {
            assert_eq!(Frame::parse(&[kind | 0x40, 1, 1, 1]), Err(Malformed), "only calls have that bit");
        }
        let mut chunks = Vec::new();
        put_first(9, 300, b"ab", &mut chunks);
        chunks.extend_from_slice(next_head(9, 1).as_bytes());
        chunks.push(b'c');
        put_dropped(9, &mut chunks);
        assert_eq!(
            chunks,
            [6, 0, 5, 9, 0xAC, 2, b'a', b'b', 3, 0, 7, 9, b'c', 2, 0, 8, 9],
            "first, next, dropped"
        );
    }

    #[test]
    fn the_longest_head_has_room() {
        let behavior = BehaviorId::Number(u32::MAX);
        let call = Head::Call {
            id: u64::MAX,
            behavior,
            target: u64::MAX,
            budget_ms: u64::MAX,
            numbered: false,
            traced: false,
        };
        assert_eq!(written(call, b"").len(), MAX_HEAD);
    }

    fn of(number: u32, named: bool) -> BehaviorId {
        if named { BehaviorId::Hash(number) } else { BehaviorId::Number(number.max(1)) }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            (id, target, budget_ms) in any::<(u64, u64, u64)>(), number: u32, (named, numbered) in any::<(bool, bool)>(), body in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let behavior = of(number, named);
            let bytes = written(Head::Call { id, behavior, target, budget_ms, numbered, traced: false }, &body);
            let mut rest = bytes.as_slice();
            let frame = Frame::take(&mut rest).unwrap().unwrap();
            prop_assert_eq!(frame, Frame::Call { id, behavior, target, budget_ms, numbered, body: &body });
            prop_assert_eq!(Frame::take(&mut rest), Ok(None));
        }

        #[test]
        fn any_bytes_are_read_or_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut rest = bytes.as_slice();
            while let Ok(Some(_)) = Frame::take(&mut rest) {}
        }
    }
}
