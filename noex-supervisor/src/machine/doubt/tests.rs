use noex_actors::{Incarnation, NodeId};

use super::*;

const PATIENCE: Duration = Duration::from_secs(15);

fn at(millis: u64) -> Monotonic {
    Monotonic::from_millis(millis)
}

fn rival() -> Pid {
    Pid::new(NodeId::new("c", "127.0.0.1", 4369).unwrap(), Incarnation(1), 7)
}

/// When it asks next, if that is answered at once.
fn asks(doubt: &mut Doubt) -> Option<(Monotonic, Duration)> {
    let due = doubt.deadline()?;
    assert_eq!(
        due.since(at(0))
            .checked_sub(Duration::from_millis(1))
            .and_then(|before| doubt.ask(at(0).plus(before))),
        None
    );
    Some((due, doubt.ask(due)?))
}

#[test]
fn it_asks_at_once_and_when_names_must_have_come() {
    let mut doubt = Doubt::new(PATIENCE, at(0));
    assert_eq!(asks(&mut doubt), Some((at(0), PATIENCE)));
    assert_eq!(asks(&mut doubt), None, "one question at a time");
    assert_eq!(doubt.answered(None, false, at(10)), Step::Wait);
    assert_eq!(doubt.answered(None, false, at(10)), Step::Wait, "to no question");
    assert_eq!(asks(&mut doubt), Some((at(500), PATIENCE - DOUBT_FOR)));
    assert_eq!(doubt.answered(None, false, at(510)), Step::Settled { in_vain: false });
}

#[test]
fn it_yields_to_whom_its_own_view_shows() {
    let mut doubt = Doubt::new(PATIENCE, at(0));
    asks(&mut doubt);
    assert_eq!(doubt.answered(Some(rival()), false, at(0)), Step::Yield { to: rival() });
}

#[test]
fn whom_others_know_of_is_waited_for() {
    let mut doubt = Doubt::new(PATIENCE, at(0));
    let mut now = at(0);
    while now < at(14_000) {
        let (due, _) = asks(&mut doubt).unwrap();
        now = due.plus(Duration::from_millis(1));
        assert_eq!(doubt.answered(None, true, now), Step::Wait);
    }
    asks(&mut doubt);
    assert_eq!(doubt.answered(None, false, now), Step::Settled { in_vain: false }, "it is gone");
    // Or met at last.
    let mut doubt = Doubt::new(PATIENCE, at(0));
    asks(&mut doubt);
    assert_eq!(doubt.answered(None, true, at(0)), Step::Wait);
    asks(&mut doubt);
    assert_eq!(doubt.answered(Some(rival()), true, at(200)), Step::Yield { to: rival() });
}

#[test]
fn one_that_is_never_met_is_waited_for_no_longer_than_that() {
    let (mut doubt, mut questions) = (Doubt::new(PATIENCE, at(0)), 0);
    loop {
        let (due, timeout) = asks(&mut doubt).unwrap();
        assert!(due <= at(15_000) && timeout >= DOUBT_FOR);
        questions += 1;
        match doubt.answered(None, true, due) {
            Step::Wait => assert!(due < at(15_000)),
            Step::Settled { in_vain } => {
                break assert_eq!((due, in_vain), (at(15_000), true), "it looked once more");
            }
            Step::Yield { .. } => panic!("to nobody"),
        }
    }
    assert_eq!(questions, 76);
    // Also where names may take longer than a node is waited for.
    let mut doubt = Doubt::new(Duration::from_millis(100), at(0));
    asks(&mut doubt);
    doubt.answered(None, true, at(0));
    asks(&mut doubt);
    doubt.answered(None, true, at(200));
    asks(&mut doubt);
    doubt.answered(None, true, at(400));
    assert_eq!(asks(&mut doubt), Some((at(500), DOUBT_FOR)));
    assert_eq!(doubt.answered(None, true, at(500)), Step::Settled { in_vain: true });
}

#[test]
fn every_sign_gives_names_their_time_anew_within_that_bound() {
    let mut doubt = Doubt::new(PATIENCE, at(0));
    asks(&mut doubt);
    doubt.answered(None, false, at(1));
    doubt.again(at(400));
    asks(&mut doubt);
    assert_eq!(doubt.answered(None, false, at(501)), Step::Wait);
    assert_eq!(asks(&mut doubt), Some((at(900), PATIENCE - Duration::from_millis(900))));
    for second in 1..=20 {
        doubt.again(at(900 + 1000 * second));
    }
    assert_eq!(doubt.answered(None, false, at(901)), Step::Wait);
    assert_eq!(asks(&mut doubt), Some((at(15_000), DOUBT_FOR)));
    assert_eq!(doubt.answered(None, false, at(15_000)), Step::Settled { in_vain: false });
}

#[test]
fn its_own_stall_is_not_counted() {
    let mut doubt = Doubt::new(PATIENCE, at(0));
    asks(&mut doubt);
    doubt.answered(None, true, at(0));
    // It was to ask at 200.
    assert_eq!(doubt.ask(at(60_200)), Some(PATIENCE - Duration::from_millis(200)));
    assert_eq!(doubt.answered(None, true, at(60_300)), Step::Wait, "what it has in its queue may tell more");
    // An answer that it did not hear of, though it had its time.
    assert_eq!(doubt.ask(at(60_500)), Some(Duration::from_millis(14_500)));
    assert_eq!(doubt.answered(None, false, at(175_000)), Step::Wait);
}
