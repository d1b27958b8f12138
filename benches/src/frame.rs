//! The frame of the baselines, and the buffer they read it from.
//!
//! ```text
//! u32 length of what follows | u64 id | u8 kind | body        (little endian)
//! ```
//!
//! The body is the payload itself, or a [`Msg`] in MessagePack in the `-mp` rows.

use std::io;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::{Outcome, load::LARGEST};

/// Bytes of a small payload in the rows without MessagePack.
pub(crate) const RAW_PAYLOAD: usize = 64;
/// Bytes of a small payload inside a [`Msg`]: with its header about 64 on the wire.
pub(crate) const MSG_PAYLOAD: usize = 32;

const LEN: usize = 4;
/// Id and kind, which the length counts.
const HEAD: usize = 9;
/// No frame here is longer than a large call.
const MAX_LEN: usize = HEAD + LARGEST + 64;
const BUFFER: usize = 256 << 10;

/// What a frame is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Answered with its own body.
    Echo = 0,
    /// Counted, not answered.
    Cast = 1,
    /// Answered with how many casts came over this connection.
    Count = 2,
    /// Answered with the length of its body.
    Big = 3,
    Reply = 4,
}

impl Kind {
    #[inline]
    fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Kind::Echo,
            1 => Kind::Cast,
            2 => Kind::Count,
            3 => Kind::Big,
            4 => Kind::Reply,
            _ => return None,
        })
    }
}

/// The message of the `-mp` rows.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Msg<'a> {
    pub(crate) id: u64,
    pub(crate) pid: u64,
    #[serde(borrow, with = "serde_bytes")]
    pub(crate) payload: &'a [u8],
}

impl Msg<'_> {
    /// A fixed target, as a link with one process at its end would send.
    pub(crate) const PID: u64 = 42;
}

/// One frame, borrowed from the [`ReadBuffer`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) id: u64,
    pub(crate) kind: Kind,
    pub(crate) body: &'a [u8],
}

/// Appends one frame.
#[inline]
pub(crate) fn put(out: &mut Vec<u8>, id: u64, kind: Kind, body: &[u8]) {
    out.extend_from_slice(&((body.len() + HEAD) as u32).to_le_bytes());
    out.extend_from_slice(&id.to_le_bytes());
    out.push(kind as u8);
    out.extend_from_slice(body);
}

/// Appends one frame whose body is a [`Msg`], encoded in place.
///
/// # Errors
/// None in practice: the writer is a `Vec`.
#[inline]
pub(crate) fn put_msg(out: &mut Vec<u8>, id: u64, kind: Kind, payload: &[u8]) -> Outcome<()> {
    let at = out.len();
    out.extend_from_slice(&[0; LEN]);
    out.extend_from_slice(&id.to_le_bytes());
    out.push(kind as u8);
    rmp_serde::encode::write(out, &Msg { id, pid: Msg::PID, payload })?;
    let len = (out.len() - at - LEN) as u32;
    out[at..at + LEN].copy_from_slice(&len.to_le_bytes());
    Ok(())
}

/// Bytes read and not yet parsed. Grows to the largest frame and stays there.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl ReadBuffer {
    pub(crate) fn new() -> Self {
        ReadBuffer { bytes: vec![0; BUFFER], start: 0, end: 0 }
    }

    /// One read; `false` at the end of the stream.
    pub(crate) async fn fill<R: AsyncRead + Unpin>(&mut self, from: &mut R) -> io::Result<bool> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.end == self.bytes.len() {
            if self.start > 0 {
                self.bytes.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            } else {
                let doubled = self.bytes.len() * 2;
                self.bytes.resize(doubled, 0);
            }
        }
        let read = from.read(&mut self.bytes[self.end..]).await?;
        self.end += read;
        Ok(read > 0)
    }

    /// Takes the first whole frame; `None` when there is none yet.
    ///
    /// # Errors
    /// The bytes are no frame of this protocol.
    #[inline]
    pub(crate) fn next_frame(&mut self) -> io::Result<Option<Frame<'_>>> {
        let data = &self.bytes[self.start..self.end];
        let Some((len, rest)) = data.split_first_chunk::<LEN>() else { return Ok(None) };
        let len = u32::from_le_bytes(*len) as usize;
        if !(HEAD..=MAX_LEN).contains(&len) {
            return Err(refused("bytes", len));
        }
        let Some(frame) = rest.get(..len) else { return Ok(None) };
        let Some((id, kind_and_body)) = frame.split_first_chunk::<8>() else { return Ok(None) };
        let Some((&kind, body)) = kind_and_body.split_first() else { return Ok(None) };
        let Some(kind) = Kind::of(kind) else { return Err(refused("kind", kind.into())) };
        self.start += LEN + len;
        Ok(Some(Frame { id: u64::from_le_bytes(*id), kind, body }))
    }
}

#[cold]
fn refused(what: &str, value: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {what} {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn filled(mut bytes: &[u8]) -> ReadBuffer {
        let mut buffer = ReadBuffer::new();
        while buffer.fill(&mut bytes).await.unwrap() {}
        buffer
    }

    #[tokio::test]
    async fn frames_come_out_in_order_and_a_partial_one_waits() {
        let mut bytes = Vec::new();
        put(&mut bytes, 7, Kind::Echo, b"abc");
        put_msg(&mut bytes, 8, Kind::Cast, &[1; MSG_PAYLOAD]).unwrap();
        let whole = bytes.len();
        put(&mut bytes, 9, Kind::Count, &[]);
        let mut buffer = filled(&bytes[..whole + 5]).await;
        assert_eq!(buffer.next_frame().unwrap(), Some(Frame { id: 7, kind: Kind::Echo, body: b"abc" }));
        let frame = buffer.next_frame().unwrap().unwrap();
        let msg: Msg<'_> = rmp_serde::from_slice(frame.body).unwrap();
        assert_eq!((frame.id, frame.kind, msg.id, msg.pid), (8, Kind::Cast, 8, Msg::PID));
        assert_eq!(msg.payload, [1; MSG_PAYLOAD]);
        assert_eq!(buffer.next_frame().unwrap(), None);
        let mut rest = &bytes[whole + 5..];
        buffer.fill(&mut rest).await.unwrap();
        assert_eq!(buffer.next_frame().unwrap(), Some(Frame { id: 9, kind: Kind::Count, body: &[] }));
    }

    #[tokio::test]
    async fn a_frame_larger_than_the_buffer_makes_it_grow() {
        let mut bytes = Vec::new();
        put(&mut bytes, 1, Kind::Big, &vec![9; LARGEST]);
        let mut buffer = filled(&bytes).await;
        assert_eq!(buffer.next_frame().unwrap().map(|frame| frame.body.len()), Some(LARGEST));
    }

    #[tokio::test]
    async fn lengths_and_kinds_out_of_bounds_are_refused() {
        assert!(filled(&[8, 0, 0, 0]).await.next_frame().is_err());
        assert!(filled(&u32::MAX.to_le_bytes()).await.next_frame().is_err());
        assert!(filled(&[9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]).await.next_frame().is_err());
    }

    #[test]
    fn a_small_message_is_about_64_bytes_on_the_wire() {
        let mut bytes = Vec::new();
        put_msg(&mut bytes, 100_000, Kind::Echo, &[7; MSG_PAYLOAD]).unwrap();
        assert!((50..=64).contains(&bytes.len()), "{}", bytes.len());
    }
}
