//! The appending side: frames are encoded into the batch that is open, and stay there if they may.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use noex_actors::{__private::lending, EncodeError};

use super::{
    Outbox, Refusal,
    ahead::{Encoded, Kind},
    content::{Content, Lent},
    lanes::{Lanes, What},
    portions::WHOLE,
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

/// What holds for a frame beside what it says.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    /// The process whose credit it uses.
    pub(super) target: Option<u64>,
    /// `None`: no code of a user encodes it.
    pub(super) kind: Option<Kind>,
    /// It is a call or a cast.
    pub(super) is_message: bool,
    /// As many frames do not wait for the end of the tick.
    pub(super) portion: u32,
}

impl Terms {
    pub(super) const OF_CONTROL: Self = Self { target: None, kind: None, is_message: false, portion: WHOLE };
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
    /// Appends a frame, and makes sure that it goes out.
    pub(super) fn put(
        self: &Arc<Self>,
        head: impl FnOnce(u64) -> Head,
        frame: Frame<'_, '_>,
        terms: Terms,
    ) -> Result<(), Refusal> {
        let Terms { target, kind, is_message, portion } = terms;
        let Frame { place, encode, laned } = frame;
        // With the lock, others would wait for it.
        let is_long = kind.is_some_and(|kind| self.long_lately.has(kind));
        let ahead = if is_long { Some(Encoded::new(encode)?) } else { None };
        let mut portion_is_full = false;
        let put = {
            let mut open = self.open.lock();
            if open.closed {
                return Err(Refusal::Closed);
            }
            let put = match (target.filter(|target| !open.credits.admit(*target)), ahead) {
                (Some(target), _) => Err(self.no_credit(&mut open, target)),
                (None, None) => self.put_frame(&mut open, head, Frame { place, encode, laned }),
                (None, Some(encoded)) => {
                    let head = head(self.appended_total());
                    self.put_encoded(&mut open, head, encoded, place, laned)
                }
            };
            if let Ok(len) = put {
                open.messages += u64::from(is_message);
                open.gathered = open.gathered.saturating_add(1);
                portion_is_full = open.gathered >= portion;
                grow(&self.frames, 1);
                if let Some(target) = target {
                    self.charge(&mut open, target, len);
                }
            }
            put
        };
        match put {
            Ok(len) => kind.into_iter().for_each(|kind| self.long_lately.note(kind, len)),
            Err(refusal) => {
                // A flush may have left out what was here before, as the lock was held.
                self.schedule();
                return Err(refusal);
            }
        }
        let queued = self.queued();
        if queued > self.high_water.load(Ordering::Relaxed) {
            self.high_water.fetch_max(queued, Ordering::Relaxed);
        }
        if portion_is_full && !self.blocked.load(Ordering::Relaxed) {
            self.flush_anyway();
        } else {
            self.schedule();
        }
        Ok(())
    }

    /// Encodes a frame where it stays; gives the length of its content.
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
            self.take_to_lane(open, at, place, head.call(), (len + frame::HEADER, lent));
            laned();
        }
        Ok(len)
    }

    /// The frame that begins at `at` in the last batch stays there.
    #[inline]
    pub(super) fn settle(&self, open: &mut Open, at: usize) {
        let Some(batch) = open.batches.back_mut() else { return };
        frame::finish(batch, at);
        let from = if at == self.header { 0 } else { at };
        self.grew(batch.len() - from);
    }

    /// The frame that begins at `at` in the last batch leaves it for where it waits.
    fn take_to_lane(
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
        self.to_lane(open, place, len, what);
    }

    /// So many bytes wait in a lane, behind what was appended before.
    pub(super) fn to_lane(&self, open: &mut Open, place: Place, len: usize, what: What) {
        self.waiting.fetch_add(len, Ordering::Relaxed);
        let behind = open.taken + u64::try_from(open.batches.len()).unwrap_or(0);
        open.lanes.push(place, behind, what);
    }

    /// The batch that takes the next frame.
    pub(super) fn writable<'a>(&self, open: &'a mut Open) -> &'a mut Vec<u8> {
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
