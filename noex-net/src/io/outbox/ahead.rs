//! Encoding ahead: what is long is encoded before the outbox is locked, so that nobody waits for somebody else's `Serialize`.
//!
//! How long a message is shows only when it is encoded. So where the last one was long the next is encoded ahead, and moved into
//! its lane. What is short is encoded where it stays, under the lock.

use std::sync::atomic::{AtomicU64, Ordering};

use noex_actors::{__private::lending, EncodeError};

use super::{
    Outbox, Refusal,
    batch::Open,
    content::{Content, Lent},
    lanes::What,
};
use crate::wire::{
    frame::{self, Head, MAX_HEAD},
    limits::{CHUNK, LONG},
    order::Place,
};

/// Messages that are likely to be as long as the last of their kind.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Those to this process, and to others that share its bit.
    To(u64),
    Replies,
}

impl Kind {
    fn bit(self) -> u64 {
        let at = match self {
            Self::To(target) => target % 63,
            Self::Replies => 63,
        };
        1 << at
    }
}

/// The kinds of which the last message was long.
#[derive(Debug, Default)]
pub(super) struct LongLately(AtomicU64);

impl LongLately {
    #[inline]
    pub(super) fn has(&self, kind: Kind) -> bool {
        self.0.load(Ordering::Relaxed) & kind.bit() != 0
    }

    #[inline]
    pub(super) fn note(&self, kind: Kind, len: usize) {
        if (len > LONG) != self.has(kind) {
            self.0.fetch_xor(kind.bit(), Ordering::Relaxed);
        }
    }
}

/// A content that was encoded ahead. In its buffer there is room for the head before it.
pub(super) struct Encoded {
    buffer: Vec<u8>,
    lent: Lent,
}

impl Encoded {
    pub(super) fn new(
        encode: &mut dyn FnMut(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<Self, Refusal> {
        let mut buffer = vec![0; MAX_HEAD];
        let (encoded, lent) = lending(&mut buffer, encode);
        encoded.map_err(Refusal::Encode)?;
        Ok(Self { buffer, lent })
    }
}

impl Outbox {
    /// Appends a frame whose content was encoded ahead; gives the length of its content.
    pub(super) fn put_encoded(
        &self,
        open: &mut Open,
        head: Head,
        Encoded { mut buffer, lent }: Encoded,
        place: Option<Place>,
        laned: &mut dyn FnMut(),
    ) -> Result<usize, Refusal> {
        let mut front = Vec::with_capacity(MAX_HEAD);
        head.begin(&mut front);
        let start = MAX_HEAD - front.len();
        buffer[start..MAX_HEAD].copy_from_slice(&front);
        let len = buffer.len() - start - frame::HEADER + lent.as_ref().map_or(0, |(_, lent)| lent.len());
        if len > self.max_message {
            return Err(Refusal::TooLarge { len, max: self.max_message });
        }
        let place = place.unwrap_or_else(|| head.place());
        if len <= LONG && !open.lanes.concern(place) {
            let batch = self.writable(open);
            let at = batch.len();
            batch.extend_from_slice(&buffer[start..]);
            self.settle(open, at);
            return Ok(len);
        }
        let call = head.call();
        let what = if len <= CHUNK {
            let mut batch = open.fresh(self.header);
            batch.extend_from_slice(&buffer[start..]);
            frame::finish(&mut batch, self.header);
            What::Frames { batch, calls: call.into_iter().collect() }
        } else {
            What::Long { content: Content::new(buffer, start + frame::HEADER, lent), call }
        };
        self.to_lane(open, place, len + frame::HEADER, what);
        laned();
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_long_the_last_time_is_encoded_ahead() {
        let lately = LongLately::default();
        let kinds = [Kind::To(7), Kind::To(8), Kind::Replies];
        for kind in kinds {
            lately.note(kind, LONG);
            assert!(!lately.has(kind));
            lately.note(kind, LONG + 1);
            lately.note(kind, LONG + 1);
            assert!(lately.has(kind));
            assert_eq!(kinds.iter().filter(|other| lately.has(**other)).count(), 1, "{kind:?}");
            lately.note(kind, 0);
        }
    }
}
