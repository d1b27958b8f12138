//! Heads of frames, as they are written.

use noex_actors::route::BehaviorId;

use super::frame::{HEADER, MAX_HEAD};

/// A head, put together where it can be appended in one piece.
pub(crate) struct Writing {
    pub(super) bytes: [u8; MAX_HEAD],
    pub(super) len: usize,
}

impl Writing {
    pub(super) fn new(kind: u8) -> Self {
        let mut writing = Self { bytes: [0; MAX_HEAD], len: HEADER };
        writing.byte(kind);
        writing
    }

    #[inline]
    fn byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    #[inline]
    pub(super) fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.byte(number.to_le_bytes()[0]);
    }

    #[inline]
    pub(super) fn behavior(&mut self, behavior: BehaviorId) {
        match behavior {
            BehaviorId::Number(number) => self.varint(u64::from(number)),
            BehaviorId::Hash(hash) => {
                self.byte(0);
                hash.to_le_bytes().into_iter().for_each(|byte| self.byte(byte));
            }
        }
    }

    pub(super) fn append_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
