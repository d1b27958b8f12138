use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;

const WINDOW: u64 = 64 * LEAST;

fn credits() -> Credits {
    let mut credits = Credits::default();
    credits.grant(WINDOW);
    credits
}

fn charge(credits: &mut Credits, target: u64, bytes: usize) -> Vec<Mark> {
    let mut marks = Vec::new();
    credits.charge(target, bytes, &mut |mark| marks.push(mark));
    marks
}

/// Sends short messages until one is refused.
fn fill(credits: &mut Credits, target: u64) -> (u64, Vec<Mark>) {
    let (mut sent, mut marks) = (0, Vec::new());
    while credits.admit(target) {
        marks.extend(charge(credits, target, 1));
        sent += 1;
    }
    (sent, marks)
}

#[test]
fn a_target_that_is_sent_less_than_half_a_window_costs_no_mark() {
    let mut credits = credits();
    for _ in 0..31 {
        assert!(credits.admit(7) && charge(&mut credits, 7, 1).is_empty());
    }
    assert_eq!(charge(&mut credits, 7, 1), [Mark { target: 7, position: 32 * LEAST }]);
    assert_eq!(credits.figures(), Figures { targets: 1, unreturned: 32 * LEAST, refused: 0, marks: 1 });
}

#[test]
fn a_full_target_is_refused_until_a_credit_comes_and_others_are_not() {
    let mut credits = credits();
    let (sent, marks) = fill(&mut credits, 7);
    assert_eq!((sent, marks.len()), (65, 2), "the window, and the last message");
    assert!(credits.refuse(7) && !credits.refuse(7), "it is news once");
    assert_eq!(fill(&mut credits, 8).0, 65);
    assert_eq!(credits.returned(marks[0]), Ok(true));
    assert_eq!(credits.returned(marks[0]), Ok(false), "the same again is nothing");
    assert_eq!(fill(&mut credits, 7).0, 32, "half a window");
    assert!(credits.refuse(7), "it is news again");
    assert_eq!(credits.returned(marks[1]), Ok(true));
    assert_eq!(credits.figures().refused, 3);
}

#[test]
fn whoever_waits_for_each_reply_is_never_refused_however_long_its_messages_are() {
    let mut credits = credits();
    let mut under_way = VecDeque::new();
    for _ in 0..100 {
        assert!(credits.admit(7));
        under_way.extend(charge(&mut credits, 7, 1 << 20));
        // The credit for a message comes behind its reply: with that of the next one.
        if under_way.len() > 1 {
            credits.returned(under_way.pop_front().unwrap()).unwrap();
        }
    }
}

#[test]
fn a_credit_for_what_was_not_marked_is_forged() {
    let mut credits = credits();
    assert_eq!(credits.returned(Mark { target: 7, position: 1 }), Err(Forged), "nothing was sent");
    assert_eq!(credits.returned(Mark { target: 7, position: 0 }), Ok(false));
    let (_, marks) = fill(&mut credits, 7);
    let beyond = Mark { target: 7, position: marks[1].position + 1 };
    assert_eq!(credits.returned(beyond), Err(Forged));
    assert_eq!(credits.returned(marks[1]), Ok(false));
    assert!(credits.admit(7));
}

#[test]
fn where_the_peer_does_not_count_nothing_is_refused_or_kept() {
    let mut credits = Credits::default();
    for n in 0..100_000 {
        assert!(credits.admit(n % 5000) && charge(&mut credits, n % 5000, 1 << 20).is_empty());
    }
    assert_eq!(credits.figures(), Figures::default());
}

#[test]
fn accounts_of_targets_that_are_done_do_not_gather() {
    let mut credits = credits();
    // Two that are slow, and keep theirs.
    for slow in [1, 2] {
        fill(&mut credits, slow);
    }
    let mut most = 0;
    for target in 10..200_000 {
        for mark in charge(&mut credits, target, 1) {
            if mark.target > 2 {
                credits.returned(mark).unwrap();
            }
        }
        most = most.max(credits.figures().targets);
    }
    assert!(most <= KEPT + 2, "{most}");
    assert!(!credits.admit(1) && !credits.admit(2));
}

#[test]
fn an_account_that_begins_anew_takes_no_credit_of_the_old_one() {
    let mut credits = credits();
    let first = charge(&mut credits, 7, 1 << 20);
    let second = charge(&mut credits, 7, 1 << 20);
    assert_eq!(credits.returned(second[0]), Ok(false), "all of it");
    assert_eq!(credits.figures().targets, 0);
    assert_eq!(credits.returned(first[0]), Ok(false), "late, and nothing any more");
    let (sent, _) = fill(&mut credits, 7);
    assert_eq!(credits.returned(second[0]), Ok(false));
    assert!(sent == 65 && !credits.admit(7));
}

#[test]
fn a_receiver_refuses_what_is_beyond_the_most() {
    let mut ledger = Ledger::new(3 * LEAST);
    assert!(ledger.receive(1) && ledger.receive(1) && ledger.receive(1));
    assert!(!ledger.receive(1) && !ledger.allow(0, 3 * LEAST));
    assert!(ledger.allow(LEAST, 3 * LEAST) && !ledger.receive(1));
    assert_eq!(ledger.received(), 5 * LEAST);
    assert_eq!(most(100, 7), 114);
    assert_eq!(most(usize::MAX, usize::MAX), u64::MAX);
}

/// A receiver: processes that handle what is queued, a mark as well, and may end.
#[derive(Default)]
struct Far {
    queues: BTreeMap<u64, VecDeque<Item>>,
    held: BTreeMap<u64, u64>,
    credits: VecDeque<Mark>,
}

enum Item {
    Message(u64),
    Mark(Mark),
}

impl Far {
    fn handle(&mut self, target: u64) {
        match self.queues.get_mut(&target).and_then(VecDeque::pop_front) {
            Some(Item::Message(cost)) => *self.held.get_mut(&target).unwrap() -= cost,
            Some(Item::Mark(mark)) => self.credits.push_back(mark),
            None => {}
        }
    }
}

#[derive(Clone, Debug)]
enum Action {
    Send {
        target: u64,
        bytes: usize,
    },
    /// It is charged and never comes: withdrawn from a lane.
    Lose {
        target: u64,
        bytes: usize,
    },
    Handle {
        target: u64,
        messages: usize,
    },
    Credits(usize),
    End {
        target: u64,
    },
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let (target, bytes) = (0_u64..4, prop_oneof![0_usize..100, 0..200_000_usize]);
    let action = prop_oneof![
        8 => (target.clone(), bytes.clone()).prop_map(|(target, bytes)| Action::Send { target, bytes }),
        1 => (target.clone(), bytes).prop_map(|(target, bytes)| Action::Lose { target, bytes }),
        4 => (target.clone(), 0_usize..8).prop_map(|(target, messages)| Action::Handle { target, messages }),
        2 => (0_usize..4).prop_map(Action::Credits),
        1 => target.prop_map(|target| Action::End { target }),
    ];
    proptest::collection::vec(action, 0..1500)
}

proptest! {
    /// Whatever is sent, lost, handled and ended in whatever order: no more than the most ever waits, no credit of an honest
    /// receiver counts as forged, and when everything is handled, everything may be sent again.
    #[test]
    fn what_waits_is_bounded_and_credits_are_never_lost(actions in actions()) {
        let (mut near, mut far) = (credits(), Far::default());
        let most = most(usize::try_from(WINDOW).unwrap(), 200_000);
        for action in actions {
            match action {
                Action::Send { target, bytes } | Action::Lose { target, bytes } if near.admit(target) => {
                    let queue = far.queues.entry(target).or_default();
                    if matches!(action, Action::Send { .. }) {
                        queue.push_back(Item::Message(cost(bytes)));
                        *far.held.entry(target).or_default() += cost(bytes);
                    }
                    near.charge(target, bytes, &mut |mark| {
                        far.queues.entry(mark.target).or_default().push_back(Item::Mark(mark));
                    });
                    prop_assert!(far.held.values().all(|held| *held <= most));
                }
                Action::Send { .. } | Action::Lose { .. } => {}
                Action::Handle { target, messages } => (0..messages).for_each(|_| far.handle(target)),
                Action::Credits(count) => {
                    for mark in far.credits.drain(..count.min(far.credits.len())) {
                        prop_assert!(near.returned(mark).is_ok());
                    }
                }
                Action::End { target } => {
                    // What waits is dropped, and its marks come back in another order.
                    let queue = far.queues.remove(&target).unwrap_or_default();
                    far.held.remove(&target);
                    far.credits.extend(queue.into_iter().rev().filter_map(|item| match item {
                        Item::Mark(mark) => Some(mark),
                        Item::Message(_) => None,
                    }));
                }
            }
        }
        let targets: Vec<u64> = far.queues.keys().copied().collect();
        for target in targets {
            while far.queues.get(&target).is_some_and(|queue| !queue.is_empty()) {
                far.handle(target);
            }
        }
        for mark in far.credits.drain(..) {
            prop_assert!(near.returned(mark).is_ok());
        }
        prop_assert!((0..4).all(|target| near.admit(target)));
    }
}
