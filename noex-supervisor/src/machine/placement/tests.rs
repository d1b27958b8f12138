use std::ops::Range;

use super::*;

fn node(name: &str) -> NodeId {
    NodeId::new(name, "127.0.0.1", 4369).unwrap()
}

fn three() -> Vec<Candidate> {
    ["a", "b", "c"].map(|name| Candidate { id: node(name), processes: 10, told: Some(AT) }).into()
}

const AT: Monotonic = Monotonic::from_millis(5);
const LATER: Monotonic = Monotonic::from_millis(6);

/// A start that is ordered now.
fn order<'a>(generation: u64, excluded: &'a BTreeSet<NodeId>, target: Option<&'a NodeId>) -> Order<'a> {
    Order { generation: Generation(generation), excluded, target }
}

fn names(placement: &mut Placement, selector: &Selector, pool: &[Candidate], starts: Range<u64>) -> String {
    let none = BTreeSet::new();
    starts
        .map(|n| placement.choose(selector, pool, order(n, &none, None), 7).unwrap().name().to_owned())
        .collect()
}

#[test]
fn round_robin_takes_turns_and_local_first_stays() {
    let mut placement = Placement::default();
    assert_eq!(names(&mut placement, &Selector::RoundRobin, &three(), 0..7), "abcabca");
    assert_eq!(names(&mut placement, &Selector::LocalFirst, &three(), 7..10), "aaa");
}

#[test]
fn least_loaded_spreads_a_burst_between_two_heartbeats() {
    let mut placement = Placement::default();
    let mut pool = three();
    pool[1].processes = 8;
    assert_eq!(names(&mut placement, &Selector::LeastLoaded, &pool, 0..5), "bbabc");
    (pool[2].processes, pool[2].told) = (4, Some(LATER));
    assert_eq!(names(&mut placement, &Selector::LeastLoaded, &pool, 5..7), "cc");
}

#[test]
fn a_heartbeat_in_the_middle_of_a_burst_does_not_forget_what_it_could_not_count() {
    let mut placement = Placement::default();
    let mut pool = three();
    assert_eq!(names(&mut placement, &Selector::LeastLoaded, &pool, 0..6), "abcabc");
    placement.started(&pool[0], Generation(0), AT);
    // One of the two is made there, and `c` has not come to any.
    (pool[0].processes, pool[0].told) = (11, Some(LATER));
    pool[2].told = Some(LATER);
    assert_eq!(pool.iter().map(|node| placement.load(node)).collect::<Vec<_>>(), [12, 12, 12]);
    assert_eq!(names(&mut placement, &Selector::LeastLoaded, &pool, 6..12), "abcabc");
}

#[test]
fn an_excluded_node_is_only_taken_when_there_is_no_other() {
    let mut placement = Placement::default();
    let excluded = BTreeSet::from([node("a")]);
    let pool = three();
    assert_eq!(placement.choose(&Selector::LocalFirst, &pool, order(0, &excluded, None), 0), Some(node("b")));
    assert_eq!(
        placement.choose(&Selector::LocalFirst, &pool[..1], order(0, &excluded, None), 0),
        Some(node("a"))
    );
    assert_eq!(placement.choose(&Selector::LocalFirst, &[], order(0, &excluded, None), 0), None);
}

#[test]
fn a_choice_beyond_the_candidates_is_none() {
    let mut placement = Placement::default();
    let none = BTreeSet::new();
    for selector in [Selector::Node(node("d")), Selector::Chosen(Some(node("d"))), Selector::Chosen(None)] {
        assert_eq!(placement.choose(&selector, &three(), order(0, &none, None), 0), None);
    }
    assert_eq!(
        placement.choose(&Selector::Node(node("c")), &three(), order(0, &none, None), 0),
        Some(node("c"))
    );
}

#[test]
fn a_target_comes_before_the_rule_if_it_can_be_had() {
    let mut placement = Placement::default();
    let none = BTreeSet::new();
    let mut to = |name: &str, excluded: &BTreeSet<NodeId>| {
        placement.choose(&Selector::LocalFirst, &three(), order(0, excluded, Some(&node(name))), 0)
    };
    assert_eq!(to("c", &none), Some(node("c")));
    assert_eq!(to("d", &none), Some(node("a")));
    assert_eq!(to("c", &BTreeSet::from([node("c")])), Some(node("a")));
}

#[test]
fn random_reaches_everybody() {
    let mut placement = Placement::default();
    let none = BTreeSet::new();
    let reached: BTreeSet<_> = (0..9)
        .filter_map(|entropy| placement.choose(&Selector::Random, &three(), order(0, &none, None), entropy))
        .collect();
    assert_eq!(reached.len(), 3);
}
