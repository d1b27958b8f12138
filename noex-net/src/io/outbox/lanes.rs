//! Lanes: what is long waits in the lane of its target, and what must not pass it waits behind it. Everything else passes.
//!
//! ```text
//! target 7   [long cast ▒▒▒▒▒▒▒▒|small|small]──┐
//! target 9   [long call ▒▒▒▒▒▒]────────────────┼── in turns, a piece or a run of small frames each
//! reply 3    [long reply ▒▒▒▒▒▒▒▒▒▒▒]──────────┘
//! gate       [a broadcast]      waits for everything before it, and holds back what goes to processes after it
//! ```
//! Decides only: bytes move by being handed over. Where no lane has anything, nothing of this is asked.
//!
//! Invariants: 1. frames of one place leave in the order in which they came; 2. nothing leaves before the batches that
//! were open when it came; 3. what has begun at a time is within the bounds of [`Streams`](crate::link::Inbound) at the
//! other end; 4. as long as there is anything, something can leave once those batches have.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::content::Content;
use crate::wire::{
    frame::HEADER,
    limits::{BATCH, BEGUN_STREAMS, BESIDE, FIRST_PIECE, PIECE},
    order::Place,
};

/// Which lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Process(u64),
    Registries,
    Reply(u64),
    /// A lane for one frame.
    Own(u64),
}

/// Something that waits.
#[derive(Debug)]
pub(super) enum What {
    /// Whole frames behind the room for the header of a batch, and the calls among them.
    Frames { batch: Vec<u8>, calls: Vec<u64> },
    /// To be cut.
    Long { content: Content, call: Option<u64> },
    /// Some of it has left.
    Begun { stream: u64, left: usize, call: Option<u64> },
}

impl What {
    fn is_of_call(&self, id: u64) -> bool {
        match self {
            Self::Long { call, .. } | Self::Begun { call, .. } => *call == Some(id),
            Self::Frames { .. } => false,
        }
    }
}

#[derive(Debug)]
struct Item {
    /// In the order of all that came.
    number: u64,
    /// So many batches leave before it.
    behind: u64,
    what: What,
}

#[derive(Debug)]
struct Gate {
    item: Item,
    /// It holds back what goes to processes after it.
    holds: bool,
}

/// What leaves next.
#[derive(Debug)]
pub(super) enum Leaving {
    /// As a batch.
    Frames(Vec<u8>),
    /// The first piece of it, so long.
    First { stream: u64, content: Content, piece: usize },
    /// The next piece of it, so long. `last`: no more come.
    Next { stream: u64, piece: usize, last: bool },
    /// The rest does not come.
    Dropped { stream: u64 },
}

impl Leaving {
    /// Bytes that leave.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Frames(batch) => batch.len(),
            Self::First { piece, .. } | Self::Next { piece, .. } => *piece,
            Self::Dropped { .. } => 0,
        }
    }
}

/// How much of a message that nobody wants any more was still here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Withdrawn {
    All(usize),
    Rest(usize),
}

#[derive(Debug)]
pub(super) struct Lanes {
    /// Bytes before the first frame of a batch.
    header: usize,
    lanes: BTreeMap<Key, VecDeque<Item>>,
    /// Each lane once.
    turn: VecDeque<Key>,
    gates: VecDeque<Gate>,
    /// Numbers of what is in the lanes.
    unfinished: BTreeSet<u64>,
    next_number: u64,
    next_stream: u64,
    /// Lengths of what has begun.
    begun: BTreeMap<u64, usize>,
    dropped: Vec<u64>,
}

impl Lanes {
    pub(super) fn new(header: usize) -> Self {
        Self {
            header,
            lanes: BTreeMap::new(),
            turn: VecDeque::new(),
            gates: VecDeque::new(),
            unfinished: BTreeSet::new(),
            next_number: 0,
            next_stream: 0,
            begun: BTreeMap::new(),
            dropped: Vec::new(),
        }
    }

    /// Whether nothing waits.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.lanes.is_empty() && self.gates.is_empty() && self.dropped.is_empty()
    }

    /// Whether a small frame of this place must wait here.
    pub(super) fn concern(&self, place: Place) -> bool {
        match place {
            Place::Target(number) => {
                self.lanes.contains_key(&Key::Process(number)) || self.gates.iter().any(|gate| gate.holds)
            }
            Place::Registries => self.lanes.contains_key(&Key::Registries),
            Place::Reply(_) | Place::Free => false,
            Place::Last | Place::Barrier => !self.is_idle(),
        }
    }

    /// Takes something in, behind so many batches.
    pub(super) fn push(&mut self, place: Place, behind: u64, what: What) {
        let number = self.next_number;
        self.next_number += 1;
        let (key, behind) = match place {
            Place::Target(process) => (Key::Process(process), behind),
            Place::Registries => (Key::Registries, behind),
            Place::Reply(id) => (Key::Reply(id), 0),
            Place::Free => (Key::Own(number), 0),
            Place::Last | Place::Barrier => {
                let item = Item { number, behind, what };
                return self.gates.push_back(Gate { item, holds: place == Place::Barrier });
            }
        };
        let gate = self.gates.back().map(|gate| gate.item.number);
        let lane = self.lanes.entry(key).or_default();
        if lane.is_empty() {
            self.turn.push_back(key);
        }
        let last = lane.back_mut().filter(|last| gate.is_none_or(|gate| gate < last.number));
        let Some(what) = joined(last, what, self.header) else { return };
        self.unfinished.insert(number);
        lane.push_back(Item { number, behind, what });
    }

    /// What leaves next, when so many batches have left. `None`: nothing can.
    pub(super) fn next(&mut self, batches: u64) -> Option<Leaving> {
        if let Some(stream) = self.dropped.pop() {
            return Some(Leaving::Dropped { stream });
        }
        self.next_of_gate(batches).or_else(|| self.next_in_turn(batches))
    }

    fn next_of_gate(&mut self, batches: u64) -> Option<Leaving> {
        let item = &mut self.gates.front_mut()?.item;
        let waits = item.behind > batches
            || self.unfinished.first().is_some_and(|unfinished| *unfinished < item.number);
        if waits {
            return None;
        }
        let (leaving, done) = step(&mut item.what, BEGUN_STREAMS, &mut self.begun, &mut self.next_stream)?;
        if done {
            self.gates.pop_front();
        }
        Some(leaving)
    }

    fn next_in_turn(&mut self, batches: u64) -> Option<Leaving> {
        let held = self.gates.iter().find(|gate| gate.holds).map_or(u64::MAX, |gate| gate.item.number);
        // Whoever finds no room to begin is the first to begin when there is: shorter ones may meanwhile, all places but one.
        // It begins at the latest when the longest that has begun is done, as the rest of those is no more than `BESIDE`.
        let mut places = BEGUN_STREAMS;
        for at in 0..self.turn.len() {
            let key = self.turn[at];
            let Some(item) = self.lanes.get_mut(&key).and_then(VecDeque::front_mut) else { continue };
            let held = matches!(key, Key::Process(_)) && item.number > held;
            if held || item.behind > batches {
                continue;
            }
            let step = step(&mut item.what, places, &mut self.begun, &mut self.next_stream);
            let Some((leaving, done)) = step else {
                places = BEGUN_STREAMS - 1;
                continue;
            };
            self.turn.remove(at);
            if done {
                self.finish(key);
            }
            if self.lanes.contains_key(&key) {
                self.turn.push_back(key);
            }
            return Some(leaving);
        }
        None
    }

    /// Takes the first item of a lane away.
    fn finish(&mut self, key: Key) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        if let Some(item) = lane.pop_front() {
            self.unfinished.remove(&item.number);
        }
        if lane.is_empty() {
            self.lanes.remove(&key);
        }
    }

    /// Nobody waits for the reply to this call any more: what has not left of it does not.
    pub(super) fn withdraw_call(&mut self, target: u64, id: u64) -> Option<Withdrawn> {
        self.withdraw(Key::Process(target), |what| what.is_of_call(id))
    }

    /// Nobody waits for this reply any more.
    pub(super) fn withdraw_reply(&mut self, id: u64) -> Option<Withdrawn> {
        self.withdraw(Key::Reply(id), |what| !matches!(what, What::Frames { .. }))
    }

    fn withdraw(&mut self, key: Key, wanted: impl Fn(&What) -> bool) -> Option<Withdrawn> {
        let lane = self.lanes.get_mut(&key)?;
        let at = lane.iter().position(|item| wanted(&item.what))?;
        let item = lane.remove(at)?;
        self.unfinished.remove(&item.number);
        if lane.is_empty() {
            self.lanes.remove(&key);
            self.turn.retain(|other| *other != key);
        }
        match item.what {
            What::Begun { stream, left, .. } => {
                self.begun.remove(&stream);
                self.dropped.push(stream);
                Some(Withdrawn::Rest(left))
            }
            What::Long { content, .. } => Some(Withdrawn::All(content.len() + HEADER)),
            What::Frames { .. } => None,
        }
    }

    /// Calls of which nothing has left.
    pub(super) fn unsent_calls(&self) -> BTreeSet<u64> {
        let items = self.lanes.values().flatten().map(|item| &item.what);
        let calls = items.flat_map(|what| match what {
            What::Frames { calls, .. } => calls.as_slice(),
            What::Long { call, .. } => call.as_slice(),
            What::Begun { .. } => &[],
        });
        calls.copied().collect()
    }
}

/// Takes a step: what leaves, and whether that was the end of it. `None`: there is no room to begin.
fn step(
    what: &mut What,
    places: usize,
    begun: &mut BTreeMap<u64, usize>,
    next_stream: &mut u64,
) -> Option<(Leaving, bool)> {
    match what {
        What::Frames { batch, .. } => Some((Leaving::Frames(std::mem::take(batch)), true)),
        What::Long { content, call } => {
            if begun.len() >= places || !has_room(content.len(), begun) {
                return None;
            }
            let (content, call) = (std::mem::take(content), *call);
            let (stream, total) = (*next_stream, content.len());
            *next_stream += 1;
            begun.insert(stream, total);
            let piece = FIRST_PIECE.min(total);
            *what = What::Begun { stream, left: total - piece, call };
            Some((Leaving::First { stream, content, piece }, false))
        }
        What::Begun { stream, left, .. } => {
            let (stream, piece) = (*stream, PIECE.min(*left));
            *left -= piece;
            let last = *left == 0;
            if last {
                begun.remove(&stream);
            }
            Some((Leaving::Next { stream, piece, last }, last))
        }
    }
}

/// Whether the other end takes one more of this length.
fn has_room(len: usize, begun: &BTreeMap<u64, usize>) -> bool {
    let all = len + begun.values().sum::<usize>();
    let longest = begun.values().copied().fold(len, usize::max);
    all - longest <= BESIDE
}

/// Small frames go on where the last ones ended.
fn joined(last: Option<&mut Item>, what: What, header: usize) -> Option<What> {
    match (last.map(|last| &mut last.what), what) {
        (Some(What::Frames { batch, calls }), What::Frames { batch: more, calls: more_calls })
            if batch.len() < BATCH =>
        {
            batch.extend_from_slice(&more[header..]);
            calls.extend(more_calls);
            None
        }
        (_, what) => Some(what),
    }
}
