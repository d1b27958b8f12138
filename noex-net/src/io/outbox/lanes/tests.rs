use proptest::prelude::*;

use super::*;
use crate::wire::limits::MAX_STREAMS;

const HEADER_OF_BATCH: usize = 4;
const MIB: usize = 1 << 20;

/// Lanes whose frames say their number, and what came out of them.
#[derive(Debug)]
struct Run {
    lanes: Lanes,
    batches: u64,
    next: u8,
    /// Of each stream its frame, and how much is left.
    streams: BTreeMap<u64, (u8, usize)>,
    /// Frames that have left to their ends.
    left: Vec<u8>,
}

impl Run {
    fn new() -> Self {
        let lanes = Lanes::new(HEADER_OF_BATCH);
        Self { lanes, batches: 0, next: 0, streams: BTreeMap::new(), left: Vec::new() }
    }

    fn number(&mut self) -> u8 {
        self.next += 1;
        self.next
    }

    fn small(&mut self, place: Place) -> u8 {
        let number = self.number();
        let batch = [&[0; HEADER_OF_BATCH][..], &[number]].concat();
        self.lanes.push(place, 0, What::Frames { batch, calls: vec![u64::from(number)] });
        number
    }

    fn long(&mut self, place: Place, len: usize) -> u8 {
        let number = self.number();
        let content = Content::new(vec![number; 10 + len], 10, None);
        self.lanes.push(place, 0, What::Long { content, call: Some(u64::from(number)) });
        number
    }

    /// One thing leaves: its frames and its length.
    fn step(&mut self) -> Option<(Vec<u8>, usize)> {
        let leaving = self.lanes.next(self.batches)?;
        Some(match leaving {
            Leaving::Frames(batch) => {
                let frames = batch[HEADER_OF_BATCH..].to_vec();
                self.left.extend(&frames);
                let len = frames.len();
                (frames, len)
            }
            Leaving::First { stream, content, piece } => {
                assert!(piece < content.len(), "there is more to come");
                let mut first = vec![];
                content.append_to(0..1, &mut first);
                let number = first[0];
                self.streams.insert(stream, (number, content.len() - piece));
                let open: Vec<usize> = self.lanes.begun.values().copied().collect();
                let longest = open.iter().copied().max().unwrap_or(0);
                assert!(open.len() <= MAX_STREAMS && open.iter().sum::<usize>() - longest <= BESIDE);
                (vec![number], piece)
            }
            Leaving::Next { stream, piece, last } => {
                let (number, left) = self.streams.get_mut(&stream).unwrap();
                let number = *number;
                *left -= piece;
                assert_eq!(*left == 0, last);
                if last {
                    self.streams.remove(&stream);
                    self.left.push(number);
                }
                (vec![number], piece)
            }
            Leaving::Dropped { stream } => {
                self.streams.remove(&stream);
                (vec![], 0)
            }
        })
    }

    fn all(&mut self) -> Vec<u8> {
        while self.step().is_some() {}
        assert!(self.lanes.is_idle() && self.streams.is_empty(), "nothing is left behind");
        assert!(
            self.lanes.unfinished.is_empty() && self.lanes.begun.is_empty() && self.lanes.turn.is_empty()
        );
        std::mem::take(&mut self.left)
    }
}

const ONE: Place = Place::Target(1);
const TWO: Place = Place::Target(2);

#[test]
fn what_follows_a_long_message_to_the_same_target_stays_behind_it_and_others_pass() {
    let mut run = Run::new();
    let long = run.long(ONE, MIB);
    assert!(run.lanes.concern(ONE) && !run.lanes.concern(TWO), "others need not come here at all");
    assert!(!run.lanes.concern(Place::Reply(1)) && !run.lanes.concern(Place::Free));
    let (behind, other) = (run.small(ONE), run.small(TWO));
    assert_eq!(run.all(), [other, long, behind]);
    assert!(!run.lanes.concern(ONE));
}

#[test]
fn lanes_take_turns_piece_by_piece() {
    let mut run = Run::new();
    let (one, two, three) = (run.long(ONE, MIB), run.long(TWO, MIB), run.long(Place::Reply(1), MIB));
    let mut shares = [0_usize; 3];
    while let Some((of, len)) = run.step() {
        let at = [one, two, three].iter().position(|number| of == [*number]).unwrap();
        shares[at] += len;
        let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
        assert!(most - least <= PIECE, "{shares:?}");
    }
    assert_eq!(shares, [MIB; 3]);
}

#[test]
fn small_frames_behind_a_long_message_leave_together() {
    let mut run = Run::new();
    let long = run.long(ONE, 70_000);
    let small: Vec<u8> = (0..20).map(|_| run.small(ONE)).collect();
    let mut frames = Vec::new();
    while let Some((of, _)) = run.step() {
        frames.push(of);
    }
    assert_eq!(frames, [vec![long], vec![long], vec![long], small]);
}

#[test]
fn nothing_leaves_before_the_batches_that_were_open_when_it_came() {
    let mut run = Run::new();
    let buffer = vec![1; 70_000];
    let long = || What::Long { content: Content::new(buffer.clone(), 0, None), call: None };
    run.lanes.push(ONE, 2, long());
    assert!(run.step().is_none());
    run.batches = 1;
    assert!(run.step().is_none());
    // No order is promised between replies and anything else.
    run.lanes.push(Place::Reply(1), 2, long());
    assert!(run.step().is_some());
    run.batches = 2;
    run.all();
}

#[test]
fn a_gate_waits_for_everything_and_a_barrier_holds_back_what_goes_to_processes() {
    let mut run = Run::new();
    let long = run.long(ONE, MIB);
    let last = run.small(Place::Last);
    let passes = run.small(TWO);
    let barrier = run.long(Place::Barrier, 100_000);
    assert!(run.lanes.concern(TWO) && run.lanes.concern(Place::Last), "held back");
    assert!(!run.lanes.concern(Place::Reply(1)) && !run.lanes.concern(Place::Registries));
    let reply = run.long(Place::Reply(9), 70_000);
    let (held, also, after) = (run.small(TWO), run.small(ONE), run.small(Place::Last));
    assert_eq!(run.all(), [passes, reply, long, last, barrier, held, also, after]);
}

#[test]
fn no_more_is_begun_than_the_other_end_takes_and_who_waits_longest_is_next() {
    let mut run = Run::new();
    let huge: Vec<u8> = (1..=3).map(|n| run.long(Place::Target(n), 8 * MIB)).collect();
    let shorter: Vec<u8> = (10..110).map(|n| run.long(Place::Target(n), 100_000)).collect();
    let mut begun = Vec::new();
    while let Some((of, len)) = run.step() {
        if len == FIRST_PIECE {
            begun.push((of[0], run.left.len()));
        }
    }
    assert_eq!(run.left[..100], shorter, "they pass those that wait");
    assert_eq!(run.left[100..], huge, "one of the longest at a time");
    let at = |number: u8| begun.iter().find(|(of, _)| *of == number).unwrap().1;
    assert_eq!(huge.iter().map(|huge| at(*huge)).collect::<Vec<_>>(), [0, 101, 102], "at once when they can");
}

#[test]
fn a_message_that_nobody_wants_any_more_does_not_leave_or_is_dropped() {
    let mut run = Run::new();
    let (one, behind) = (run.long(ONE, MIB), run.small(ONE));
    let waits = run.long(ONE, 2 * MIB);
    let reply = run.long(Place::Reply(5), MIB);
    let id = u64::from;
    assert_eq!(run.lanes.unsent_calls(), [one, behind, waits, reply].map(id).into());
    assert_eq!(run.lanes.withdraw_call(1, 77), None, "no such call");
    assert_eq!(run.lanes.withdraw_call(2, id(one)), None, "not to that target");
    assert_eq!(run.lanes.withdraw_call(1, id(waits)), Some(Withdrawn::All(2 * MIB + HEADER)));
    for _ in 0..6 {
        run.step().unwrap();
    }
    assert_eq!(run.lanes.unsent_calls(), [behind].map(id).into());
    let left = MIB - FIRST_PIECE - 2 * PIECE;
    assert_eq!(run.lanes.withdraw_call(1, id(one)), Some(Withdrawn::Rest(left)));
    assert_eq!(run.lanes.withdraw_reply(5), Some(Withdrawn::Rest(left)));
    assert_eq!(run.lanes.withdraw_reply(5), None);
    let mut dropped = 0;
    while let Some(leaving) = run.lanes.next(0) {
        match leaving {
            Leaving::Dropped { .. } => dropped += 1,
            Leaving::Frames(frames) => assert_eq!(frames[HEADER_OF_BATCH..], [behind]),
            other => panic!("{other:?}"),
        }
    }
    assert!(dropped == 2 && run.lanes.is_idle());
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Small(Place),
    Long(Place, usize),
    Step,
    Withdraw(u64),
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        6 => (1..4_u64).prop_map(Place::Target),
        1 => Just(Place::Registries),
        1 => (1..4_u64).prop_map(Place::Reply),
        1 => Just(Place::Free),
        1 => Just(Place::Last),
        1 => Just(Place::Barrier),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => place().prop_map(Act::Small),
        2 => (place(), 66_000..3_000_000_usize).prop_map(|(place, len)| Act::Long(place, len)),
        6 => Just(Act::Step),
        1 => (1..60_u64).prop_map(Act::Withdraw),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn everything_leaves_once_in_the_order_of_its_place(acts in proptest::collection::vec(act(), 0..60)) {
        let mut run = Run::new();
        let mut places: BTreeMap<u8, Place> = BTreeMap::new();
        let mut withdrawn = Vec::new();
        for act in acts {
            match act {
                Act::Small(place) => {
                    places.insert(run.next + 1, place);
                    run.small(place);
                }
                Act::Long(place, len) => {
                    places.insert(run.next + 1, place);
                    run.long(place, len);
                }
                Act::Step => drop(run.step()),
                Act::Withdraw(id) => {
                    let number = u8::try_from(id).unwrap();
                    if let Some(Place::Target(target)) = places.get(&number)
                        && run.lanes.withdraw_call(*target, id).is_some()
                    {
                        withdrawn.push(number);
                        places.remove(&number);
                    }
                }
            }
        }
        let left = run.all();
        let mut sorted = left.clone();
        sorted.sort_unstable();
        prop_assert_eq!(sorted, places.keys().copied().collect::<Vec<_>>());
        for (at, one) in left.iter().enumerate() {
            for other in left[at + 1..].iter().filter(|other| *other < one) {
                // `other` came earlier and left later.
                let ordered = match (places[other], places[one]) {
                    (_, Place::Last | Place::Barrier) | (Place::Barrier, Place::Target(_)) => true,
                    (a @ (Place::Target(_) | Place::Registries | Place::Reply(_)), b) => a == b,
                    (Place::Last | Place::Barrier | Place::Free, _) => false,
                };
                prop_assert!(!ordered, "{other} {:?} before {one} {:?}: {left:?}", places[other], places[one]);
            }
        }
    }
}
