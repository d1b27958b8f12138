//! Contents that come in chunks: put together as they come, from several streams at a time.
//!
//! SECURITY: each announces its length. What is announced at a time is bounded, and so is what is reserved for it; a
//! stream that was not begun, begins twice or is longer than it said ends the session.

use std::collections::BTreeMap;

use super::Broken;
use crate::wire::{
    frame::Malformed,
    limits::{BESIDE, CHUNK, MAX_STREAMS},
};

/// The streams of one connection.
#[derive(Debug)]
pub(crate) struct Streams {
    open: BTreeMap<u64, Stream>,
    /// Announced bytes of all that are open.
    announced: usize,
    /// Longest content.
    max: usize,
}

#[derive(Debug)]
struct Stream {
    total: usize,
    content: Vec<u8>,
}

impl Streams {
    /// `max_message`: the longest message, without kind and fields.
    pub(crate) fn new(max_message: usize) -> Self {
        Self { open: BTreeMap::new(), announced: 0, max: max_message.saturating_add(CHUNK) }
    }

    /// The first chunk of a content. Gives the content if that is all of it.
    pub(crate) fn first(&mut self, stream: u64, total: u64, piece: &[u8]) -> Result<Option<Vec<u8>>, Broken> {
        let total = usize::try_from(total).unwrap_or(usize::MAX);
        if total > self.max {
            return Err(Broken::TooLong(self.max));
        }
        if self.open.contains_key(&stream) || piece.len() > total {
            return Err(Malformed.into());
        }
        if self.open.len() >= MAX_STREAMS || self.announced + total > self.max.saturating_add(BESIDE) {
            return Err(Broken::Streams);
        }
        let mut content = Vec::with_capacity(total);
        content.extend_from_slice(piece);
        if content.len() == total {
            return Ok(Some(content));
        }
        self.announced += total;
        self.open.insert(stream, Stream { total, content });
        Ok(None)
    }

    /// The next chunk of one that has begun. Gives the content when it is whole.
    pub(crate) fn next(&mut self, stream: u64, piece: &[u8]) -> Result<Option<Vec<u8>>, Broken> {
        let open = self.open.get_mut(&stream).ok_or(Malformed)?;
        if piece.len() > open.total - open.content.len() {
            return Err(Malformed.into());
        }
        open.content.extend_from_slice(piece);
        Ok(if open.content.len() == open.total { self.close(stream) } else { None })
    }

    /// The rest of it does not come.
    pub(crate) fn dropped(&mut self, stream: u64) -> Result<(), Broken> {
        self.close(stream).map(drop).ok_or(Malformed.into())
    }

    fn close(&mut self, stream: u64) -> Option<Vec<u8>> {
        let Stream { total, content } = self.open.remove(&stream)?;
        self.announced -= total;
        Some(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX: usize = 1 << 20;

    fn streams() -> Streams {
        Streams::new(MAX)
    }

    fn malformed<T>(result: &Result<T, Broken>) -> bool {
        matches!(result, Err(Broken::Frame(Malformed)))
    }

    #[test]
    fn contents_come_whole_however_their_chunks_are_mixed() {
        let mut streams = streams();
        assert_eq!(streams.first(7, 4, b"ab"), Ok(None));
        assert_eq!(streams.first(3, 3, b"x"), Ok(None));
        assert_eq!(streams.first(4, 2, b"at"), Ok(Some(b"at".to_vec())), "one chunk is all of it");
        assert_eq!(streams.next(7, b"c"), Ok(None));
        assert_eq!(streams.next(3, b"yz"), Ok(Some(b"xyz".to_vec())));
        assert_eq!(streams.next(7, b"d"), Ok(Some(b"abcd".to_vec())));
        assert_eq!((streams.open.len(), streams.announced), (0, 0));
        assert_eq!(streams.first(7, 2, b"a"), Ok(None), "a number may be used again");
    }

    #[test]
    fn what_is_reserved_is_what_was_announced_and_no_more() {
        let mut streams = streams();
        streams.first(1, 100_000, b"a").unwrap();
        let reserved = |streams: &Streams| streams.open[&1].content.capacity();
        assert_eq!(reserved(&streams), 100_000);
        streams.next(1, &[0; 90_000]).unwrap();
        assert_eq!(reserved(&streams), 100_000);
        assert!(malformed(&streams.next(1, &[0; 10_000])), "one byte more than was said");
        assert_eq!(reserved(&streams), 100_000);
    }

    #[test]
    fn a_wrong_total_an_unknown_stream_and_one_that_begins_twice_end_the_session() {
        assert!(malformed(&streams().first(1, 1, b"ab")));
        assert!(malformed(&streams().first(1, 0, b"a")));
        assert_eq!(streams().first(1, u64::MAX, b"a"), Err(Broken::TooLong(MAX + CHUNK)));
        assert!(malformed(&streams().next(1, b"a")));
        assert!(malformed(&streams().dropped(1)));
        let mut twice = streams();
        twice.first(1, 3, b"a").unwrap();
        assert!(malformed(&twice.first(1, 3, b"a")));
        twice.dropped(1).unwrap();
        assert!(malformed(&twice.next(1, b"b")), "it was dropped");
        assert_eq!(twice.announced, 0);
    }

    #[test]
    fn open_streams_are_bounded_in_number_and_in_what_they_announce() {
        let mut many = streams();
        for stream in 0..16 {
            many.first(stream, 2, b"a").unwrap();
        }
        assert_eq!(many.first(16, 2, b"a"), Err(Broken::Streams));
        let mut much = streams();
        let mib = 1 << 20;
        for stream in 0..5 {
            much.first(stream, mib, b"a").unwrap();
        }
        assert_eq!(much.first(5, mib, b"a"), Err(Broken::Streams), "one of the longest, and 4 MiB beside");
        much.dropped(0).unwrap();
        much.first(5, mib, b"a").unwrap();
    }

    proptest! {
        #[test]
        fn any_chunks_are_taken_or_refused_within_the_bounds(
            chunks in proptest::collection::vec((0..4_u8, 0..20_u64, 0..400_000_u64, 1..2000_usize), 0..200),
        ) {
            let mut streams = streams();
            for (kind, stream, total, len) in chunks {
                let piece = vec![0; len];
                let _ = match kind {
                    0 => streams.first(stream, total, &piece),
                    1 | 2 => streams.next(stream, &piece),
                    _ => streams.dropped(stream).map(|()| None),
                };
                let announced: usize = streams.open.values().map(|stream| stream.total).sum();
                prop_assert_eq!(streams.announced, announced);
                prop_assert!(announced <= MAX + CHUNK + BESIDE && streams.open.len() <= MAX_STREAMS);
                let within = streams.open.values().all(|s| s.content.len() < s.total && s.content.capacity() <= s.total);
                prop_assert!(within, "no more is reserved than was announced");
            }
        }
    }
}
