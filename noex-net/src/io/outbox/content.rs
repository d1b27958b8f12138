//! A long content on its way: encoded into a buffer, but for long bytes that its sender shares with it.
//!
//! ```text
//! buffer   […|head of the call|array of 2|bin 1 MiB|  ]  the rest of it
//!            start                      lent: 1 MiB that somebody else has, too
//! ```
//! What is lent is never written to: a piece of it that gets a tag is copied, when it is sealed.

use std::ops::Range;

use bytes::Bytes;

/// Where in the buffer what is lent belongs, and what that is.
pub(super) type Lent = Option<(usize, Bytes)>;

#[derive(Debug, Default)]
pub(super) struct Content {
    buffer: Vec<u8>,
    /// Where it begins. What stands before it in the buffer is of no use any more.
    start: usize,
    lent: Lent,
}

/// Where a range of a content stands.
#[derive(Debug)]
pub(super) enum Part {
    /// In the buffer, at this place of it.
    Buffer(Range<usize>),
    Lent(Bytes),
    /// Part of it here, part of it there.
    Both,
}

impl Content {
    pub(super) fn new(buffer: Vec<u8>, start: usize, lent: Lent) -> Self {
        Self { buffer, start, lent }
    }

    pub(super) fn len(&self) -> usize {
        self.buffer.len() - self.start + self.lent.as_ref().map_or(0, |(_, lent)| lent.len())
    }

    pub(super) fn is_lent(&self) -> bool {
        self.lent.is_some()
    }

    pub(super) fn part(&self, range: Range<usize>) -> Part {
        let Some((at, lent)) = &self.lent else {
            return Part::Buffer(self.start + range.start..self.start + range.end);
        };
        let at = at - self.start;
        if range.end <= at {
            Part::Buffer(self.start + range.start..self.start + range.end)
        } else if range.start >= at && range.end <= at + lent.len() {
            Part::Lent(lent.slice(range.start - at..range.end - at))
        } else if range.start >= at + lent.len() {
            let before = lent.len();
            Part::Buffer(self.start + range.start - before..self.start + range.end - before)
        } else {
            Part::Both
        }
    }

    /// Appends a range of it.
    pub(super) fn append_to(&self, range: Range<usize>, out: &mut Vec<u8>) {
        let (first, middle, last) = match &self.lent {
            None => (&self.buffer[self.start..], &[][..], &[][..]),
            Some((at, lent)) => (&self.buffer[self.start..*at], &lent[..], &self.buffer[*at..]),
        };
        let mut passed = 0;
        for part in [first, middle, last] {
            let within = |end: usize| end.saturating_sub(passed).min(part.len());
            out.extend_from_slice(&part[within(range.start)..within(range.end)]);
            passed += part.len();
        }
    }

    /// Where it is not lent.
    pub(super) fn buffer(&self) -> &[u8] {
        &self.buffer
    }

    pub(super) fn buffer_mut(&mut self) -> &mut [u8] {
        &mut self.buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_content_is_the_same_however_it_is_cut(
            before in 0..5_usize, head in 0..20_usize, lent in proptest::option::of(1..50_usize), tail in 0..20_usize,
            cut in 1..30_usize,
        ) {
            let byte = |n: usize| n.to_le_bytes()[0];
            let buffer: Vec<u8> = (0..before + head + tail).map(byte).collect();
            let lent = lent.map(|len| (before + head, Bytes::from((100..100 + len).map(byte).collect::<Vec<u8>>())));
            let middle = lent.as_ref().map(|(_, lent)| lent.to_vec()).unwrap_or_default();
            let whole = [&buffer[before..before + head], &middle, &buffer[before + head..]].concat();
            let content = Content::new(buffer, before, lent);
            prop_assert_eq!(content.len(), whole.len());
            let (mut appended, mut parts) = (vec![], vec![]);
            for from in (0..whole.len()).step_by(cut) {
                let range = from..whole.len().min(from + cut);
                content.append_to(range.clone(), &mut appended);
                match content.part(range.clone()) {
                    Part::Buffer(range) => parts.extend_from_slice(&content.buffer()[range]),
                    Part::Lent(lent) => parts.extend_from_slice(&lent),
                    Part::Both => content.append_to(range, &mut parts),
                }
            }
            prop_assert_eq!(&appended, &whole);
            prop_assert_eq!(&parts, &whole);
        }
    }
}
