use noex_actors::{FencingToken, Generation, Owner};
use proptest::prelude::*;

use super::*;

const LIFE: Incarnation = Incarnation(7);

fn id(n: usize) -> NodeId {
    NodeId::parse(&format!("n{n}@h:{}", n + 1)).unwrap()
}

fn pid(node: usize, number: u64) -> Pid {
    Pid::new(id(node), LIFE, number)
}

fn held(node: usize, number: u64) -> Held {
    Held { pid: pid(node, number), token: None }
}

fn child(node: usize, number: u64, generation: u64) -> Held {
    let token = Some(FencingToken::new("sup", "child", Generation(generation)));
    Held { pid: pid(node, number), token }
}

fn names(node: usize) -> Names {
    Names::new(id(node), LIFE)
}

fn update(version: u64, held: Option<Held>) -> Update {
    Update { name: "x".into(), version, held }
}

fn changed(before: Option<Pid>, now: Option<Pid>) -> Output {
    Output::Changed { name: "x".into(), before, now }
}

fn at(secs: u64) -> Monotonic {
    Monotonic::from_millis(secs * 1000)
}

/// Runs one step and returns what it put out.
fn out<R>(step: impl FnOnce(&mut VecDeque<Output>) -> R) -> (R, Vec<Output>) {
    let mut out = VecDeque::new();
    let result = step(&mut out);
    (result, out.into())
}

/// What this node says to those who know all else.
fn news(names: &mut Names) -> Vec<Update> {
    std::iter::from_fn(|| names.news(2)).flat_map(|told| told.updates).collect()
}

/// All that it says to one who knows nothing.
fn state(names: &Names) -> Vec<Update> {
    let (mut telling, mut all, mut done) = (names.tell_from(0), Vec::new(), false);
    while !done {
        let told = names.piece(&mut telling, 2).unwrap();
        done = told.done;
        all.extend(told.updates);
    }
    all
}

/// A peer says something more.
fn merge(names: &mut Names, from: usize, update: Update) -> (bool, Vec<Output>) {
    if !names.parts.contains_key(&id(from)) {
        names.session_up(&id(from), LIFE);
    }
    let after = names.parts[&id(from)].position;
    let told = Told { after, upto: after + 1, done: true, updates: vec![update] };
    let (taken, outputs) = out(|out| names.told(&id(from), LIFE, told, at(0), out));
    (taken.unwrap().refused == 0, outputs)
}

fn register(names: &mut Names, held: Held) -> (Result<(), RegisterError>, Vec<Output>) {
    out(|out| names.register("x", held, at(0), out))
}

fn work(names: &mut Names) -> Vec<Output> {
    let (_, outputs) = out(|out| names.work(usize::MAX, at(0), out));
    assert!(!names.has_work());
    outputs
}

#[test]
fn a_name_has_one_holder_and_ends_with_it() {
    let mut names = names(0);
    let (result, outputs) = register(&mut names, held(0, 1));
    assert_eq!((result, outputs), (Ok(()), vec![changed(None, Some(pid(0, 1)))]));
    assert_eq!(news(&mut names), [update(1, Some(held(0, 1)))]);
    assert_eq!(register(&mut names, held(0, 1)), (Ok(()), vec![]), "the same holder again");
    assert_eq!(register(&mut names, held(0, 2)), (Err(RegisterError::Taken(pid(0, 1))), vec![]));
    names.process_ended(&pid(0, 1));
    assert_eq!(names.lookup("x"), None, "at once");
    assert_eq!(work(&mut names), [changed(Some(pid(0, 1)), None)]);
    assert_eq!((news(&mut names), state(&names)), (vec![update(1, None)], vec![update(1, None)]));
    register(&mut names, held(0, 2)).0.unwrap();
    assert_eq!(news(&mut names), [update(2, Some(held(0, 2)))]);
}

#[test]
fn only_valid_names_of_local_processes_are_registered() {
    let mut names = names(0);
    assert_eq!(register(&mut names, held(1, 1)).0, Err(RegisterError::NotLocal));
    let other_life = Held { pid: Pid::new(id(0), Incarnation(6), 1), token: None };
    assert_eq!(register(&mut names, other_life).0, Err(RegisterError::NotLocal));
    for name in [String::new(), "x".repeat(MAX_NAME + 1)] {
        let (result, _) = out(|out| names.register(&name, held(0, 1), at(0), out));
        assert_eq!(result, Err(RegisterError::InvalidName));
    }
}

#[test]
fn nobody_speaks_for_another_node() {
    let mut names = names(0);
    let other_life = Held { pid: Pid::new(id(1), Incarnation(6), 1), token: None };
    for bad in [
        update(1, Some(held(2, 1))),
        update(1, Some(held(0, 1))),
        update(1, Some(other_life)),
        update(u64::MAX, Some(held(1, 1))),
        Update { name: "y".repeat(300), version: 1, held: Some(held(1, 1)) },
    ] {
        assert_eq!(merge(&mut names, 1, bad), (false, vec![]));
    }
    assert!(!merge(&mut names, 0, update(1, Some(held(0, 1)))).0);
    assert_eq!(names.entries().count(), 0);
}

#[test]
fn the_order_decides_between_two_entries() {
    for (first, second, first_wins) in [
        (update(2, Some(held(2, 1))), update(1, Some(held(1, 1))), true),
        (update(1, Some(child(2, 1, 9))), update(1, Some(child(1, 1, 8))), true),
        (update(2, Some(child(2, 1, 8))), update(1, Some(child(1, 1, 9))), true),
        (update(1, Some(held(1, 1))), update(1, Some(held(2, 1))), true),
        (update(1, Some(held(2, 1))), update(1, Some(held(1, 1))), false),
    ] {
        let owner =
            |update: &Update| if update.held.as_ref().unwrap().pid.node_id() == &id(1) { 1 } else { 2 };
        let winner = if first_wins { &first } else { &second }.held.clone().unwrap().pid;
        for pair in [[&first, &second], [&second, &first]] {
            let mut names = names(0);
            for update in pair {
                merge(&mut names, owner(update), update.clone());
            }
            assert_eq!(names.lookup("x"), Some(&winner), "in either order");
        }
    }
}

#[test]
fn the_loser_gives_up_and_its_process_is_told() {
    let mut names = names(1);
    register(&mut names, held(1, 5)).0.unwrap();
    let (accepted, outputs) = merge(&mut names, 0, update(1, Some(held(0, 9))));
    assert!(accepted);
    let (name, winner, loser) = (Name::from("x"), pid(0, 9), pid(1, 5));
    assert_eq!(
        outputs,
        [
            changed(Some(loser.clone()), Some(winner.clone())),
            Output::Lost { name: name.clone(), winner: winner.clone(), loser: loser.clone() },
            Output::ConflictResolved { name, winner, loser },
        ]
    );
    assert_eq!(news(&mut names), [update(1, None)], "of the two changes the last one is told");
}

#[test]
fn a_later_instance_of_the_same_child_takes_the_name_over() {
    let (mut old, mut new) = (names(0), names(1));
    register(&mut old, child(0, 1, 5)).0.unwrap();
    merge(&mut new, 0, state(&old)[0].clone());
    assert_eq!(register(&mut new, child(1, 1, 5)).0, Err(RegisterError::Taken(pid(0, 1))));
    assert_eq!(register(&mut new, held(1, 1)).0, Err(RegisterError::Taken(pid(0, 1))));
    let foreign = FencingToken::new("other", "child", Generation(9));
    let foreign = Held { pid: pid(1, 1), token: Some(foreign) };
    assert_eq!(register(&mut new, foreign).0, Err(RegisterError::Taken(pid(0, 1))));
    register(&mut new, child(1, 1, 6)).0.unwrap();
    assert_eq!(news(&mut new), [update(2, Some(child(1, 1, 6)))]);
    assert_eq!(new.lookup("x"), Some(&pid(1, 1)));
    let (_, outputs) = merge(&mut old, 1, update(2, Some(child(1, 1, 6))));
    assert!(matches!(&outputs[1], Output::Lost { loser, .. } if *loser == pid(0, 1)));
    // On one node the same.
    let (_, outputs) = register(&mut new, child(1, 2, 7));
    assert_eq!(outputs[0], Output::Lost { name: "x".into(), winner: pid(1, 2), loser: pid(1, 1) });
}

#[test]
fn of_equal_generations_the_greater_owner_has_the_name_and_takes_it_over() {
    let owned = |node: usize, owner: u64| {
        let Held { pid, token } = child(node, 1, 5);
        Held { pid, token: token.map(|token| token.owned_by(Owner(self::pid(9, owner)))) }
    };
    // Of two owners, the one with the smaller pid is the greater; the pids of the instances say nothing.
    let mut names = names(1);
    register(&mut names, owned(1, 7)).0.unwrap();
    assert!(
        !merge(&mut names, 0, update(1, Some(owned(0, 8))))
            .1
            .iter()
            .any(|out| matches!(out, Output::Lost { .. }))
    );
    assert_eq!(names.lookup("x"), Some(&pid(1, 1)));
    assert_eq!(names.holder_against("x", owned(2, 8).token.as_ref()), Some(&pid(1, 1)));
    assert_eq!(names.holder_against("x", owned(2, 6).token.as_ref()), None);
    merge(&mut names, 2, update(1, Some(owned(2, 6))));
    assert_eq!(names.lookup("x"), Some(&pid(2, 1)));
}

#[test]
fn any_node_unregisters_through_the_owner() {
    let (mut owner, mut other) = (names(0), names(1));
    register(&mut owner, held(0, 1)).0.unwrap();
    merge(&mut other, 0, state(&owner)[0].clone());
    let (found, outputs) = out(|out| other.unregister("x", at(0), out));
    assert!(found);
    assert_eq!(outputs, [Output::RequestUnregister { to: id(0), name: "x".into(), pid: pid(0, 1) }]);
    let ((), outputs) = out(|out| owner.unregister_requested("x", &pid(0, 2), at(0), out));
    assert_eq!(outputs, [], "it holds another process by now");
    let ((), outputs) = out(|out| owner.unregister_requested("x", &pid(0, 1), at(0), out));
    assert_eq!(outputs, [changed(Some(pid(0, 1)), None)]);
    let merged = merge(&mut other, 0, update(1, None));
    assert_eq!(merged, (true, vec![changed(Some(pid(0, 1)), None)]));
    assert!(!out(|out| other.unregister("x", at(0), out)).0);
}

fn named(name: &str, held: Held) -> Update {
    Update { name: name.into(), version: 3, held: Some(held) }
}

fn tell(names: &mut Names, after: u64, upto: u64, done: bool, updates: Vec<Update>) -> Result<Taken, Gap> {
    out(|out| names.told(&id(1), LIFE, Told { after, upto, done, updates }, at(0), out)).0
}

#[test]
fn who_comes_back_tells_what_changed_and_its_other_names_come_into_view_again() {
    let mut names = names(0);
    names.session_up(&id(1), LIFE);
    let all = ["a", "b", "c"].map(|name| named(name, held(1, 1)));
    assert_eq!(tell(&mut names, 0, 7, true, all.into()), Ok(Taken { refused: 0, synced: Some(3) }));
    assert_eq!((names.known(&id(1), LIFE), names.known(&id(1), Incarnation(8))), (7, 0));
    names.node_down(&id(1));
    assert_eq!((names.lookup("a"), names.entries().count()), (None, 0), "at once");
    assert_eq!(work(&mut names).len(), 3, "who watches them is told");
    // Meanwhile it gave a name up and another one away.
    names.session_up(&id(1), LIFE);
    assert_eq!(names.lookup("a"), None, "nobody knows yet whether it has it still");
    let gone = Update { held: None, ..named("b", held(1, 1)) };
    assert_eq!(tell(&mut names, 7, 8, false, vec![gone]), Ok(Taken::default()));
    let taken = tell(&mut names, 8, 9, true, vec![named("c", held(1, 2))]);
    assert_eq!(taken, Ok(Taken { refused: 0, synced: Some(2) }));
    work(&mut names);
    let seen: Vec<_> = names.entries().map(|(name, pid)| (&**name, pid.number())).collect();
    assert_eq!(seen, [("a", 1), ("c", 2)]);
    // Another life of it begins with nothing.
    names.node_down(&id(1));
    names.session_up(&id(1), Incarnation(8));
    assert_eq!((names.known(&id(1), Incarnation(8)), names.lookup("a")), (0, None));
    work(&mut names);
    assert_eq!((names.totals(), names.slots.in_view("a")), ((0, 0), 0));
}

#[test]
fn all_that_a_node_has_replaces_what_was_known_of_it() {
    let mut names = names(0);
    names.session_up(&id(1), LIFE);
    tell(&mut names, 0, 2, true, vec![named("a", held(1, 1)), named("b", held(1, 1))]).unwrap();
    names.node_down(&id(1));
    // It comes back before anybody was told that it was gone.
    names.session_up(&id(1), LIFE);
    tell(&mut names, 0, 9, true, vec![named("b", held(1, 1))]).unwrap();
    let gone = Output::Changed { name: "a".into(), before: Some(pid(1, 1)), now: None };
    assert_eq!(work(&mut names), [gone], "b was there all the time");
    assert_eq!(names.known(&id(1), LIFE), 9);
}

#[test]
fn what_does_not_follow_is_a_gap_and_what_was_refused_is_told_again() {
    let mut names = names(0);
    names.session_up(&id(1), LIFE);
    assert_eq!(tell(&mut names, 5, 6, true, vec![]), Err(Gap));
    tell(&mut names, 0, 5, false, vec![]).unwrap();
    for (after, upto) in [(6, 7), (5, 4), (0, 9)] {
        assert_eq!(tell(&mut names, after, upto, true, vec![]), Err(Gap), "{after} {upto}");
    }
    assert_eq!(names.known(&id(1), LIFE), 5);
    let refused = tell(&mut names, 5, 6, true, vec![named("", held(1, 1))]);
    assert_eq!(refused, Ok(Taken { refused: 1, synced: Some(0) }));
    assert_eq!(names.known(&id(1), LIFE), 0, "it is told all");
}

#[test]
fn who_knows_less_than_what_was_forgotten_is_told_all() {
    let mut names = names(0);
    register(&mut names, held(0, 1)).0.unwrap();
    for name in ["a", "b", "c"] {
        out(|out| names.register(name, held(0, 1), at(0), out)).0.unwrap();
    }
    let mut slow = names.tell_from(0);
    assert_eq!(names.piece(&mut slow, 2).map(|told| (told.upto, told.done)), Some((2, false)));
    let told = |names: &Names, known| {
        let told = names.piece(&mut names.tell_from(known), 9).unwrap();
        (told.after, told.updates.len())
    };
    assert_eq!([0, 3, 4, 5].map(|known| told(&names, known)), [(0, 4), (3, 1), (4, 0), (0, 4)]);
    out(|out| names.unregister("x", at(10), out));
    assert_eq!(told(&names, 4), (4, 1));
    names.deadline_reached(9, at(610));
    assert_eq!([4, 5].map(|known| told(&names, known)), [(0, 3), (5, 0)]);
    assert_eq!(names.piece(&mut slow, 2), None, "it was told of x, and nobody can tell it that it is gone");
}

#[test]
fn tombstones_go_after_their_time() {
    let mut names = names(0);
    register(&mut names, held(0, 1)).0.unwrap();
    assert_eq!(names.deadline(), None);
    out(|out| names.unregister("x", at(10), out));
    assert_eq!(names.deadline(), Some(at(610)));
    names.deadline_reached(9, at(609));
    assert_eq!(state(&names).len(), 1);
    names.deadline_reached(9, at(610));
    assert_eq!((names.own.remembered(), names.slots.remembered()), ((0, 0, 0), (0, 0)));
    assert_eq!(names.deadline(), None);
}

#[test]
fn what_a_node_had_is_kept_for_some_time_and_not_without_bound() {
    let mut names = names(0);
    let full = u64::try_from(MAX_KEPT / 2).unwrap();
    for node in 1..=3 {
        names.session_up(&id(node), LIFE);
        let updates = (0..full).map(|n| named(&format!("n{node}.{n}"), held(node, 1))).collect();
        let told = Told { after: 0, upto: full, done: true, updates };
        out(|out| names.told(&id(node), LIFE, told, at(0), out)).0.unwrap();
        names.node_down(&id(node));
        work(&mut names);
    }
    assert_eq!([1, 2, 3].map(|node| names.known(&id(node), LIFE)), [0, full, full], "the oldest goes");
    names.deadline_reached(usize::MAX, at(600));
    work(&mut names);
    assert_eq!((names.parts.len(), names.kept.len(), names.slots.remembered()), (0, 0, (0, 0)));
}

#[test]
fn a_peer_cannot_grow_the_table_without_bound() {
    let mut names = names(0);
    for n in 0..MAX_ENTRIES + 10 {
        let update = Update { name: format!("n{n}"), version: 1, held: Some(held(1, 1)) };
        assert_eq!(merge(&mut names, 1, update).0, n < MAX_ENTRIES);
    }
    for n in 0..MAX_TOMBSTONES + 10 {
        merge(&mut names, 1, Update { name: format!("t{n}"), version: 1, held: None });
    }
    assert_eq!(names.slots.remembered(), (MAX_ENTRIES + MAX_TOMBSTONES, MAX_TOMBSTONES));
}

#[test]
fn a_node_has_so_many_names_and_no_more_and_the_end_of_a_process_looks_at_its_own() {
    let mut names = names(0);
    let most = u64::try_from(MAX_ENTRIES).unwrap();
    let named = |names: &mut Names, number: u64| {
        out(|out| names.register(&format!("n{number}"), held(0, number), at(0), out)).0
    };
    for number in 0..most {
        named(&mut names, number).unwrap();
    }
    assert_eq!(named(&mut names, most), Err(RegisterError::TooMany));
    assert_eq!(named(&mut names, 0), Ok(()), "the same holder again");
    names.process_ended(&pid(0, 0));
    assert_eq!(named(&mut names, most), Ok(()), "there is room at once");
    // Each of a hundred thousand: for ever, were it a look at the names of all.
    for number in 1..=most {
        names.process_ended(&pid(0, number));
        assert_eq!(out(|out| names.work(9, at(0), out)).1.len(), 1, "its name, and nothing else");
    }
    assert_eq!((names.entries().count(), names.totals(), names.own.by_process().len()), (0, (0, 0), 0));
}

#[test]
fn the_work_of_many_names_is_done_so_many_at_a_time() {
    let mut names = names(0);
    names.session_up(&id(1), LIFE);
    let updates = (0..1000).map(|n| named(&format!("n{n}"), held(1, 1))).collect();
    tell(&mut names, 0, 1, true, updates).unwrap();
    names.node_down(&id(1));
    let turns = |names: &mut Names| {
        let mut turns = 0;
        while names.has_work() {
            let (done, outputs) = out(|out| names.work(100, at(0), out));
            assert!(done <= 100 && outputs.len() <= 100);
            turns += 1;
        }
        turns
    };
    assert_eq!(turns(&mut names), 11, "the last one finds that nothing is left");
    names.session_up(&id(1), LIFE);
    tell(&mut names, 1, 2, true, vec![]).unwrap();
    assert_eq!(turns(&mut names), 11);
    assert_eq!(names.entries().count(), 1000);
    // Who registers a name that is to go does not wait for that.
    names.node_down(&id(1));
    let (registered, outputs) = out(|out| names.register("n999", held(0, 1), at(0), out));
    assert_eq!((registered, outputs.len()), (Ok(()), 2), "it is gone, and has another holder");
}

proptest! {
    #[test]
    fn updates_of_different_owners_commute(
        updates in proptest::collection::vec((1..3usize, 1..4u64, 0..3u64, 0..3u64, 0..3u64), 2..6),
    ) {
        // One update per owner survives; what was written before it by the same owner does not count.
        let view = |order: Vec<&(usize, u64, u64, u64, u64)>| {
            let mut names = names(0);
            for (from, version, number, generation, owner) in order {
                let mut held = if *generation == 0 { held(*from, *number) } else { child(*from, *number, *generation) };
                if *owner > 0 {
                    held.token = held.token.map(|token| token.owned_by(Owner(pid(5, *owner))));
                }
                merge(&mut names, *from, update(*version, Some(held)));
            }
            names.lookup("x").cloned()
        };
        let by_owner = |owner: usize| updates.iter().filter(move |update| update.0 == owner);
        let forth = by_owner(1).chain(by_owner(2)).collect();
        let back = by_owner(2).chain(by_owner(1)).collect();
        prop_assert_eq!(view(forth), view(back));
        prop_assert_eq!(view(updates.iter().collect()), view(by_owner(1).chain(by_owner(2)).collect()));
    }
}
