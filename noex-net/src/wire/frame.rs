//! Frames: what a batch is made of.
//!
//! | kind | fields | body |
//! |---|---|---|
//! | 0 control | – | a control message, MessagePack |
//! | 1 call | id u64 LE, behavior u32 LE, target varint, budget varint (ms) | the call |
//! | 2 cast | behavior u32 LE, target varint | the cast |
//! | 3 reply | id u64 LE | the reply |
//! | 4 failure | id u64 LE | why the call failed, MessagePack |
//! | 5 chunk | stream varint, last u8 | a piece of a longer frame (its kind, fields and body) |
//! | 6 cancel | id u64 LE, target varint | – |

use super::limits::CHUNK;

/// Bytes of the longest varint.
const MAX_VARINT: usize = 10;
/// Bytes of a frame before its kind.
pub(crate) const HEADER: usize = 3;

pub(crate) const CONTROL: u8 = 0;
pub(crate) const CALL: u8 = 1;
pub(crate) const CAST: u8 = 2;
pub(crate) const REPLY: u8 = 3;
pub(crate) const FAILURE: u8 = 4;
pub(crate) const CHUNKED: u8 = 5;
pub(crate) const CANCEL: u8 = 6;

/// One frame, read in place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Control(&'a [u8]),
    Call {
        id: u64,
        behavior: u32,
        target: u64,
        budget_ms: u64,
        body: &'a [u8],
    },
    Cast {
        behavior: u32,
        target: u64,
        body: &'a [u8],
    },
    Reply {
        id: u64,
        body: &'a [u8],
    },
    Failure {
        id: u64,
        body: &'a [u8],
    },
    Chunk {
        stream: u64,
        last: bool,
        piece: &'a [u8],
    },
    /// Nobody waits for the reply to that call any more. It takes its place among what goes to the target, behind the call.
    Cancel {
        id: u64,
        target: u64,
    },
}

/// A batch is not made of frames: its sender is broken, the session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame is malformed")]
pub(crate) struct Malformed;

/// The shortest form only, and no more than 64 bits: the tenth byte has room for one of them, and the decoder leaves out the
/// others.
fn varint(bytes: &[u8]) -> Result<(u64, &[u8]), Malformed> {
    let (number, rest) = unsigned_varint::decode::u64(bytes).map_err(|_why| Malformed)?;
    if bytes.len() - rest.len() == MAX_VARINT && bytes[MAX_VARINT - 1] > 1 {
        Err(Malformed)
    } else {
        Ok((number, rest))
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), Malformed> {
    bytes.split_first_chunk::<N>().map(|(head, rest)| (*head, rest)).ok_or(Malformed)
}

impl<'a> Frame<'a> {
    /// Takes the first frame of `bytes`; `None` at their end.
    pub(crate) fn take(bytes: &mut &'a [u8]) -> Result<Option<Self>, Malformed> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let ([a, b, c], rest) = fixed::<HEADER>(bytes)?;
        let len = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
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
        Ok(match kind {
            CONTROL => Self::Control(rest),
            CALL => {
                let (id, rest) = fixed(rest)?;
                let (behavior, rest) = fixed(rest)?;
                let (target, rest) = varint(rest)?;
                let (budget_ms, body) = varint(rest)?;
                let (id, behavior) = (u64::from_le_bytes(id), u32::from_le_bytes(behavior));
                Self::Call { id, behavior, target, budget_ms, body }
            }
            CAST => {
                let (behavior, rest) = fixed(rest)?;
                let (target, body) = varint(rest)?;
                Self::Cast { behavior: u32::from_le_bytes(behavior), target, body }
            }
            REPLY => {
                let (id, body) = fixed(rest)?;
                Self::Reply { id: u64::from_le_bytes(id), body }
            }
            FAILURE => {
                let (id, body) = fixed(rest)?;
                Self::Failure { id: u64::from_le_bytes(id), body }
            }
            CHUNKED => {
                let (stream, rest) = varint(rest)?;
                let ([last], piece) = fixed(rest)?;
                if last > 1 {
                    return Err(Malformed);
                }
                Self::Chunk { stream, last: last == 1, piece }
            }
            CANCEL => {
                let (id, rest) = fixed(rest)?;
                let (target, rest) = varint(rest)?;
                if !rest.is_empty() {
                    return Err(Malformed);
                }
                Self::Cancel { id: u64::from_le_bytes(id), target }
            }
            _ => return Err(Malformed),
        })
    }
}

/// The kind and fields of a frame about to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Head {
    Control,
    Call { id: u64, behavior: u32, target: u64, budget_ms: u64 },
    Cast { behavior: u32, target: u64 },
    Reply { id: u64 },
    Failure { id: u64 },
    Cancel { id: u64, target: u64 },
}

fn put_varint(number: u64, out: &mut Vec<u8>) {
    let mut buffer = unsigned_varint::encode::u64_buffer();
    out.extend_from_slice(unsigned_varint::encode::u64(number, &mut buffer));
}

impl Head {
    /// Begins a frame: room for its length, kind and fields.
    pub(crate) fn begin(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[0; HEADER]);
        match self {
            Self::Control => out.push(CONTROL),
            Self::Call { id, behavior, target, budget_ms } => {
                out.push(CALL);
                out.extend_from_slice(&id.to_le_bytes());
                out.extend_from_slice(&behavior.to_le_bytes());
                put_varint(target, out);
                put_varint(budget_ms, out);
            }
            Self::Cast { behavior, target } => {
                out.push(CAST);
                out.extend_from_slice(&behavior.to_le_bytes());
                put_varint(target, out);
            }
            Self::Reply { id } => {
                out.push(REPLY);
                out.extend_from_slice(&id.to_le_bytes());
            }
            Self::Failure { id } => {
                out.push(FAILURE);
                out.extend_from_slice(&id.to_le_bytes());
            }
            Self::Cancel { id, target } => {
                out.push(CANCEL);
                out.extend_from_slice(&id.to_le_bytes());
                put_varint(target, out);
            }
        }
    }
}

/// Writes the length of the frame that begins at `at` and ends with the buffer. Frames are at most `CHUNK` long.
pub(crate) fn finish(out: &mut [u8], at: usize) {
    let len = out.len() - at - HEADER;
    debug_assert!(len <= CHUNK, "longer frames are cut into chunks");
    for (byte, shift) in out[at..at + HEADER].iter_mut().zip([0, 8, 16]) {
        *byte = u8::try_from(len >> shift & 0xFF).unwrap_or(0);
    }
}

/// Writes a piece of a longer frame.
pub(crate) fn put_chunk(stream: u64, last: bool, piece: &[u8], out: &mut Vec<u8>) {
    let at = out.len();
    out.extend_from_slice(&[0; HEADER]);
    out.push(CHUNKED);
    put_varint(stream, out);
    out.push(u8::from(last));
    out.extend_from_slice(piece);
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
        let call = Head::Call { id: 0x0102, behavior: 0xA1B2_C3D4, target: 300, budget_ms: 5000 };
        assert_eq!(
            written(call, b"x"),
            [18, 0, 0, 1, 2, 1, 0, 0, 0, 0, 0, 0, 0xD4, 0xC3, 0xB2, 0xA1, 0xAC, 2, 0x88, 0x27, b'x']
        );
        assert_eq!(written(Head::Cast { behavior: 1, target: 2 }, b""), [6, 0, 0, 2, 1, 0, 0, 0, 2]);
        assert_eq!(written(Head::Reply { id: 1 }, b"r"), [10, 0, 0, 3, 1, 0, 0, 0, 0, 0, 0, 0, b'r']);
        assert_eq!(written(Head::Failure { id: 1 }, b"f"), [10, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, b'f']);
        assert_eq!(written(Head::Control, b"c"), [2, 0, 0, 0, b'c']);
        let cancel = Head::Cancel { id: 1, target: 300 };
        assert_eq!(written(cancel, b""), [11, 0, 0, 6, 1, 0, 0, 0, 0, 0, 0, 0, 0xAC, 2]);
        let longer = written(cancel, b"x");
        assert_eq!(Frame::take(&mut longer.as_slice()), Err(Malformed), "a cancel has no body");
        let mut chunk = Vec::new();
        put_chunk(9, true, b"ab", &mut chunk);
        assert_eq!(chunk, [5, 0, 0, 5, 9, 1, b'a', b'b']);
    }

    #[test]
    fn a_varint_has_one_spelling() {
        let largest = [[0xFF; 9].as_slice(), &[1]].concat();
        assert_eq!(varint(&largest), Ok((u64::MAX, &[][..])));
        let mut beyond = largest.clone();
        beyond[9] = 3;
        assert_eq!(varint(&beyond), Err(Malformed), "65 bits");
        assert_eq!(varint(&[0x80, 0]), Err(Malformed), "not the shortest");
        assert_eq!(varint(&[0xFF; 11]), Err(Malformed), "no end");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(id: u64, behavior: u32, target: u64, budget_ms: u64, body: Vec<u8>) {
            let bytes = written(Head::Call { id, behavior, target, budget_ms }, &body);
            let mut rest = bytes.as_slice();
            let frame = Frame::take(&mut rest).unwrap().unwrap();
            prop_assert_eq!(frame, Frame::Call { id, behavior, target, budget_ms, body: &body });
            prop_assert_eq!(Frame::take(&mut rest), Ok(None));
        }

        #[test]
        fn any_bytes_are_read_or_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut rest = bytes.as_slice();
            while let Ok(Some(_)) = Frame::take(&mut rest) {}
        }
    }
}
