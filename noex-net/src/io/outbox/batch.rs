//! The appending side: frames are encoded into the batch that is open, and stay there if they may.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
};

use noex_actors::{__private::lending, EncodeError};

use super::{
    Outbox, Refusal,
    content::{Content, Lent},
    lanes::{Lanes, What},
};
use crate::{
    machine::credits::Credits,
    wire::{
        frame::{self, Head},
        limits::{BATCH, CHUNK, LONG},
        order::Place,
    },
};

#[derive(Debug)]
pub(super) struct Open {
    pub(super) batches: VecDeque<Vec<u8>>,
    /// Batches that were taken away.
    pub(super) taken: u64,
    /// What is long, and what waits behind that.
    pub(super) lanes: Lanes,
    /// Emptied buffers, to be used again.
    spare: Vec<Vec<u8>>,
    /// What may be sent to whom.
    pub(super) credits: Credits,
    /// Calls and casts appended so far.
    pub(super) messages: u64,
    /// Frames appended since the last flush.
    pub(super) gathered: u32,
    pub(super) closed: bool,
}

/// A frame on its way into the outbox.
pub(super) struct Frame<'a, 'b> {
    /// `None`: that of its head.
    pub(super) place: Option<Place>,
    pub(super) encode: &'a mut dyn FnMut(&mut Vec<u8>) -> Result<(), EncodeError>,
    /// Is told if it goes to a lane.
    pub(super) laned: &'b mut dyn FnMut(),
}

impl Open {
    pub(super) fn new(header: usize) -> Self {
        Self {
            batches: VecDeque::new(),
            taken: 0,
            lanes: Lanes::new(header),
            spare: Vec::new(),
            credits: Credits::default(),
            messages: 0,
            gathered: 0,
            closed: false,
        }
    }

    pub(super) fn give_back(&mut self, mut batch: Vec<u8>) {
        if self.spare.len() < 4 && batch.capacity() <= 4 * BATCH {
            batch.clear();
            self.spare.push(batch);
        }
    }

    pub(super) fn fresh(&mut self, header: usize) -> Vec<u8> {
        let mut batch = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(BATCH / 8));
        batch.resize(header, 0);
        batch
    }

    /// Takes away what stands behind `at` in the last batch. What is long keeps the buffer: it is not copied.
    fn take_end(&mut self, at: usize, header: usize) -> Vec<u8> {
        let Some(whole) = self.batches.pop_back() else { return Vec::new() };
        if at > header {
            let mut before = self.fresh(0);
            before.extend_from_slice(&whole[..at]);
            self.batches.push_back(before);
        }
        whole
    }
}

impl Outbox {
    /// Appends a frame; gives the length of its content.
    pub(super) fn put_frame(
        &self,
        open: &mut Open,
        head: impl FnOnce(u64) -> Head,
        Frame { place, encode, laned }: Frame<'_, '_>,
    ) -> Result<usize, Refusal> {
        let began = self.appended_total();
        let batch = self.writable(open);
        let at = batch.len();
        let mut rollback = Rollback { batch, at, armed: true };
        let head = head(began);
        head.begin(rollback.batch);
        let (encoded, lent) = lending(rollback.batch, encode);
        encoded.map_err(Refusal::Encode)?;
        let mut len = rollback.batch.len() - at - frame::HEADER;
        if let Some((_, lent)) = &lent {
            len += lent.len();
        }
        if len > self.max_message {
            return Err(Refusal::TooLarge { len, max: self.max_message });
        }
        rollback.armed = false;
        drop(rollback);
        if len <= LONG && open.lanes.is_idle() {
            self.settle(open, at);
            return Ok(len);
        }
        let place = place.unwrap_or_else(|| head.place());
        if len <= LONG && !open.lanes.concern(place) {
            self.settle(open, at);
        } else {
            self.to_lane(open, at, place, head.call(), (len + frame::HEADER, lent));
            laned();
        }
        Ok(len)
    }

    /// The frame that begins at `at` in the last batch stays there.
    #[inline]
    fn settle(&self, open: &mut Open, at: usize) {
        let Some(batch) = open.batches.back_mut() else { return };
        frame::finish(batch, at);
        let from = if at == self.header { 0 } else { at };
        self.grew(batch.len() - from);
    }

    /// It moves to where it waits.
    fn to_lane(
        &self,
        open: &mut Open,
        at: usize,
        place: Place,
        call: Option<u64>,
        (len, lent): (usize, Lent),
    ) {
        let Some(last) = open.batches.back_mut() else { return };
        let what = if len - frame::HEADER <= CHUNK {
            frame::finish(last, at);
            let frame = last.split_off(at);
            if at == self.header
                && let Some(empty) = open.batches.pop_back()
            {
                open.give_back(empty);
            }
            let mut batch = open.fresh(self.header);
            batch.extend_from_slice(&frame);
            What::Frames { batch, calls: call.into_iter().collect() }
        } else {
            let buffer = open.take_end(at, self.header);
            What::Long { content: Content::new(buffer, at + frame::HEADER, lent), call }
        };
        self.waiting.fetch_add(len, Ordering::Relaxed);
        let behind = open.taken + u64::try_from(open.batches.len()).unwrap_or(0);
        open.lanes.push(place, behind, what);
    }

    /// The batch that takes the next frame.
    fn writable<'a>(&self, open: &'a mut Open) -> &'a mut Vec<u8> {
        if open.batches.back().is_none_or(|batch| batch.len() >= BATCH) {
            let batch = open.fresh(self.header);
            open.batches.push_back(batch);
        }
        open.batches.back_mut().expect("there is an open batch")
    }

    /// Only with `open` locked: one writer at a time, so no read-modify-write is needed.
    fn grew(&self, by: usize) {
        grow(&self.appended, by);
    }
}

pub(super) fn grow(total: &AtomicU64, by: usize) {
    let before = total.load(Ordering::Relaxed);
    total.store(before + u64::try_from(by).unwrap_or(0), Ordering::Release);
}

/// Takes a half-written frame back, also when its `Serialize` panics.
struct Rollback<'a> {
    batch: &'a mut Vec<u8>,
    at: usize,
    armed: bool,
}

impl Drop for Rollback<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.batch.truncate(self.at);
        }
    }
}
