use super::*;

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
    let mut dialer = dialer(&[LOCAL, "alias:1", "s@h:2"]);
    assert_eq!(dialer.configured_seeds(), 2);
    assert_eq!(dialer.due(at(0)).len(), 2);
    dialer.ended(&seed("alias:1"), DialOutcome::SelfAnswered, at(1));
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
fn no_more_than_128_dials_are_under_way_and_the_end_of_one_brings_the_next() {
    let mut dialer = dialer(&[]);
    for port in 2..302 {
        dialer.dial_node(&id(&format!("x@h:{port}")), Duration::ZERO, at(0));
    }
    let first = dialer.due(at(0));
    assert_eq!(first.len(), MAX_DIALS);
    assert_eq!((dialer.due(at(0)).len(), dialer.deadline()), (0, None));
    dialer.ended(&first[0], DialOutcome::Failed, at(1));
    assert_eq!(dialer.due(at(1)).len(), 1);
    dialer.answered(&first[1], first[1].node().unwrap(), at(2));
    dialer.forget_node(first[2].node().unwrap());
    assert_eq!(dialer.due(at(2)).len(), 2);
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
