use super::{
    queue::{MAX_DIALS, RESERVED},
    *,
};

const LOCAL: &str = "me@h:1";

fn id(text: &str) -> NodeId {
    NodeId::parse(text).unwrap()
}

fn seed(text: &str) -> Target {
    Target::Seed(text.parse().unwrap())
}

fn at(ms: u64) -> Monotonic {
    Monotonic::from_millis(ms)
}

fn dialer(seeds: &[&str]) -> Dialer {
    let backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(400));
    let mut dialer = Dialer::new(id(LOCAL), backoff, Entropy::new(1));
    dialer.add_seeds(seeds.iter().map(|text| text.parse().unwrap()), at(0));
    dialer
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_seed_is_dialled_for_ever_with_growing_waits() {
    let mut dialer = dialer(&["s@h:2"]);
    let mut now = at(0);
    for round in 0..50 {
        assert_eq!(dialer.due(now), [seed("s@h:2")]);
        assert_eq!(dialer.due(now), [], "one dial at a time");
        dialer.ended(&seed("s@h:2"), DialOutcome::Failed, now);
        let next = dialer.deadline().unwrap();
        let whole = (100u64 << round.min(2)).min(400);
        let wait = next.since(now);
        assert!(
            wait >= Duration::from_millis(whole / 2) && wait < Duration::from_millis(whole * 3 / 2),
            "{wait:?}"
        );
        now = next;
    }
}

#[test]
fn a_seed_without_a_name_rests_while_who_answered_is_connected() {
    let mut dialer = dialer(&["dns.name:2"]);
    let target = seed("dns.name:2");
    assert_eq!(dialer.due(at(0)), std::slice::from_ref(&target));
    assert_eq!(target.expected(), Expected::Anyone);
    dialer.answered(&target, &id("x@10.0.0.1:2"), at(1));
    assert_eq!(dialer.deadline(), Some(at(5001)), "should the session never come up");
    dialer.connected(&id("x@10.0.0.1:2"));
    assert_eq!(dialer.deadline(), None);
    dialer.lost(&id("x@10.0.0.1:2"), LONG, at(100));
    assert_eq!(dialer.due(at(100)), [Target::Node(id("x@10.0.0.1:2"))]);
    assert_eq!(dialer.due(at(300)), [target], "the name may lead elsewhere by now");
}

#[test]
fn own_addresses_are_no_seeds() {
    let mut dialer = dialer(&[LOCAL, "10.0.0.1:1", "s@h:2"]);
    assert_eq!(dialer.configured_seeds(), 2);
    assert_eq!(dialer.due(at(0)).len(), 2);
    dialer.ended(&seed("10.0.0.1:1"), DialOutcome::SelfAnswered, at(1));
    assert_eq!(dialer.configured_seeds(), 1);
    dialer.answered(&seed("s@h:2"), &id("s@h:2"), at(1));
    dialer.connected(&id("s@h:2"));
    dialer.left(&id("s@h:2"), at(2));
    assert_eq!(dialer.due(at(1000)), [seed("s@h:2")]);
    dialer.dial_node(&id(LOCAL), Duration::ZERO, at(1000));
    assert_eq!(dialer.deadline(), None);
}

#[test]
fn a_lost_node_is_dialled_at_once_and_then_with_backoff() {
    let mut dialer = dialer(&[]);
    let node = Target::Node(id("x@h:2"));
    dialer.connected(&id("x@h:2"));
    dialer.lost(&id("x@h:2"), LONG, at(10));
    assert_eq!(dialer.due(at(10)), std::slice::from_ref(&node));
    assert_eq!(node.expected(), Expected::Node(id("x@h:2")));
    dialer.ended(&node, DialOutcome::Failed, at(11));
    assert!(dialer.deadline().unwrap() >= at(61));
    dialer.forget_node(&id("x@h:2"));
    assert_eq!(dialer.deadline(), None);
    dialer.ended(&node, DialOutcome::Failed, at(12));
    assert_eq!(dialer.deadline(), None, "what is forgotten stays so");
}

#[test]
fn a_node_that_left_is_not_dialled_unless_it_is_a_seed() {
    let mut dialer = dialer(&["s@h:2"]);
    dialer.due(at(0));
    dialer.ended(&seed("s@h:2"), DialOutcome::Failed, at(0));
    for node in ["s@h:2", "x@h:3"] {
        dialer.connected(&id(node));
    }
    assert_eq!(dialer.deadline(), None);
    dialer.left(&id("x@h:3"), at(10));
    assert_eq!(dialer.deadline(), None);
    dialer.left(&id("s@h:2"), at(10));
    assert!(dialer.deadline().unwrap() >= at(60), "with backoff");
}

#[test]
fn a_node_at_the_address_of_a_seed_is_left_to_the_seed() {
    let mut dialer = dialer(&["s@h:2"]);
    let node = Target::Node(id("s@h:2"));
    dialer.due(at(0));
    dialer.connected(&id("s@h:2"));
    dialer.answered(&seed("s@h:2"), &id("s@h:2"), at(1));
    dialer.lost(&id("s@h:2"), LONG, at(10));
    assert_eq!(dialer.due(at(10)), std::slice::from_ref(&node));
    dialer.ended(&node, DialOutcome::Failed, at(11));
    assert_eq!(dialer.due(at(100_000)), [seed("s@h:2")]);
}

#[test]
fn a_node_that_comes_and_goes_is_dialled_ever_less_often() {
    let mut dialer = dialer(&[]);
    let x = id("x@h:2");
    let mut waits = Vec::new();
    for round in 0..4 {
        let now = at(round * 1000);
        dialer.connected(&x);
        dialer.lost(&x, Duration::from_millis(1), now);
        let next = dialer.deadline().unwrap();
        waits.push(next.since(now));
        dialer.due(next);
        dialer.answered(&Target::Node(x.clone()), &x, next);
    }
    assert_eq!(waits[0], Duration::ZERO);
    assert!(waits[1] >= Duration::from_millis(100) && waits[3] >= Duration::from_millis(200), "{waits:?}");
}

#[test]
fn hinted_nodes_take_128_dials_and_the_end_of_one_brings_the_next() {
    let mut dialer = dialer(&[]);
    for port in 2..302 {
        dialer.dial_node(&id(&format!("x@h:{port}")), Duration::ZERO, at(0));
    }
    let first = dialer.due(at(0));
    assert_eq!(first.len(), MAX_DIALS - 2 * RESERVED);
    assert_eq!((dialer.due(at(0)).len(), dialer.deadline()), (0, None));
    dialer.ended(&first[0], DialOutcome::Failed, at(1));
    assert_eq!(dialer.due(at(1)).len(), 1);
    dialer.answered(&first[1], first[1].node().unwrap(), at(2));
    dialer.forget_node(first[2].node().unwrap());
    assert_eq!(dialer.due(at(2)).len(), 1, "what is given up holds its socket until it comes back");
    dialer.ended(&first[2], DialOutcome::Failed, at(3));
    assert_eq!(dialer.due(at(3)).len(), 1);
    assert!(!dialer.targets.contains_key(&first[2]));
}

#[test]
fn nodes_that_do_not_answer_keep_no_seed_and_no_lost_node_waiting() {
    let mut dialer = dialer(&[]);
    for port in 2..1002 {
        dialer.dial_node(&id(&format!("x@h:{port}")), Duration::ZERO, at(0));
    }
    dialer.due(at(0));
    dialer.connected(&id("y@h:2"));
    dialer.lost(&id("y@h:2"), LONG, at(1));
    assert_eq!(dialer.due(at(1)), [Target::Node(id("y@h:2"))]);
    for port in 3..1003 {
        dialer.connected(&id(&format!("y@h:{port}")));
        dialer.lost(&id(&format!("y@h:{port}")), LONG, at(2));
    }
    dialer.due(at(2));
    dialer.add_seeds(["s@h:2".parse().unwrap()], at(3));
    assert_eq!(dialer.deadline(), Some(at(3)));
    assert_eq!(dialer.due(at(3)), [seed("s@h:2")]);
    assert_eq!(dialer.deadline(), None);
}

#[test]
fn what_is_given_up_in_the_middle_of_a_dial_is_not_dialled_a_second_time_meanwhile() {
    let mut dialer = dialer(&[]);
    let x = id("x@h:2");
    let target = Target::Node(x.clone());
    dialer.dial_node(&x, Duration::ZERO, at(0));
    assert_eq!(dialer.due(at(0)).len(), 1);
    dialer.connected(&x);
    dialer.left(&x, at(1));
    dialer.dial_node(&x, Duration::ZERO, at(2)); // a hint of its next life
    assert_eq!((dialer.due(at(2)), dialer.under_way), (vec![], 1));
    dialer.ended(&target, DialOutcome::Failed, at(3));
    assert_eq!((dialer.under_way, dialer.due(at(1000))), (0, vec![target]));
}

#[test]
fn a_node_that_was_left_to_a_seed_is_dialled_when_another_answers_there() {
    let mut dialer = dialer(&["h:2"]);
    let (x, y) = (id("x@h:2"), id("y@h:2"));
    dialer.due(at(0));
    dialer.answered(&seed("h:2"), &x, at(1));
    dialer.connected(&x);
    dialer.lost(&x, LONG, at(2));
    assert_eq!(dialer.due(at(2)), [Target::Node(x.clone())]);
    dialer.ended(&Target::Node(x.clone()), DialOutcome::Failed, at(3));
    assert_eq!(dialer.due(at(1000)), [seed("h:2")]);
    dialer.answered(&seed("h:2"), &y, at(1001));
    dialer.connected(&y);
    assert_eq!(dialer.due(at(1001)), [Target::Node(x)]);
}

#[test]
fn a_node_at_the_address_of_a_seed_that_was_never_answered_is_not_left_to_it() {
    let mut dialer = dialer(&["h:2"]);
    let x = Target::Node(id("x@h:2"));
    dialer.due(at(0));
    dialer.dial_node(&id("x@h:2"), Duration::ZERO, at(0));
    dialer.due(at(0));
    dialer.ended(&x, DialOutcome::Failed, at(1));
    dialer.answered(&seed("h:2"), &id("y@h:2"), at(2));
    dialer.connected(&id("y@h:2"));
    assert_eq!(dialer.due(at(1000)), [x]);
}

#[test]
fn a_name_that_led_to_this_node_is_looked_up_again() {
    let mut dialer = dialer(&["service:1", "other@service:1", "me@service:1"]);
    assert_eq!(dialer.due(at(0)).len(), 3);
    for text in ["service:1", "other@service:1", "me@service:1"] {
        dialer.ended(&seed(text), DialOutcome::SelfAnswered, at(1));
    }
    assert_eq!(dialer.configured_seeds(), 0);
    let mut due = dialer.due(at(1000));
    due.sort();
    assert_eq!(due, [seed("other@service:1"), seed("service:1")]);
    dialer.answered(&seed("service:1"), &id("x@h:2"), at(1001));
    assert_eq!(dialer.configured_seeds(), 1);
}

#[test]
fn what_is_connected_is_kept_nowhere() {
    let mut dialer = dialer(&[]);
    let x = id("x@h:2");
    for round in 0..3 {
        dialer.dial_node(&x, Duration::ZERO, at(round));
        let target = dialer.due(at(round)).remove(0);
        if round == 0 {
            dialer.answered(&target, &x, at(round));
            dialer.connected(&x);
        } else {
            dialer.connected(&x); // by the other end's dial
            dialer.ended(&target, DialOutcome::Failed, at(round));
        }
        assert_eq!((dialer.targets.len(), dialer.queue.len(), dialer.under_way), (0, 0, 0));
        dialer.left(&x, at(round));
    }
    assert_eq!(dialer.flaps.len(), 0);
}

#[test]
fn a_node_that_is_hinted_again_is_not_dialled_later_for_it() {
    let mut dialer = dialer(&[]);
    dialer.dial_node(&id("x@h:2"), Duration::from_millis(50), at(0));
    assert_eq!(dialer.deadline(), Some(at(50)));
    dialer.dial_node(&id("x@h:2"), Duration::from_millis(50), at(20));
    assert_eq!(dialer.deadline(), Some(at(50)));
    dialer.dial_node(&id("x@h:2"), Duration::ZERO, at(20));
    assert_eq!(dialer.due(at(20)).len(), 1);
}
