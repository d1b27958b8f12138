use noex_actors::{FencingToken, Generation};
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

fn changed(now: Option<Pid>) -> Output {
    Output::Changed { name: "x".into(), now }
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

fn merge(names: &mut Names, from: usize, update: Update) -> (bool, Vec<Output>) {
    out(|out| names.merge(&id(from), LIFE, update, at(0), out))
}

fn register(names: &mut Names, held: Held) -> (Result<(), RegisterError>, Vec<Output>) {
    out(|out| names.register("x", held, at(0), out))
}

#[test]
fn a_name_has_one_holder_and_ends_with_it() {
    let mut names = names(0);
    let (result, outputs) = register(&mut names, held(0, 1));
    assert_eq!(result, Ok(()));
    assert_eq!(outputs, [Output::Broadcast(update(1, Some(held(0, 1)))), changed(Some(pid(0, 1)))]);
    assert_eq!(register(&mut names, held(0, 1)), (Ok(()), vec![]), "the same holder again");
    assert_eq!(register(&mut names, held(0, 2)), (Err(RegisterError::Taken(pid(0, 1))), vec![]));
    let ((), outputs) = out(|out| names.process_ended(&pid(0, 1), at(0), out));
    assert_eq!(outputs, [Output::Broadcast(update(1, None)), changed(None)]);
    assert_eq!((names.lookup("x"), names.state()), (None, vec![update(1, None)]));
    let (_, outputs) = register(&mut names, held(0, 2));
    assert_eq!(outputs[0], Output::Broadcast(update(2, Some(held(0, 2)))));
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
    let (name, winner, loser) = ("x".to_owned(), pid(0, 9), pid(1, 5));
    assert_eq!(
        outputs,
        [
            Output::Lost { name: name.clone(), winner: winner.clone(), loser: loser.clone() },
            Output::Broadcast(update(1, None)),
            changed(Some(winner.clone())),
            Output::ConflictResolved { name, winner, loser },
        ]
    );
}

#[test]
fn a_later_instance_of_the_same_child_takes_the_name_over() {
    let (mut old, mut new) = (names(0), names(1));
    register(&mut old, child(0, 1, 5)).0.unwrap();
    merge(&mut new, 0, old.state()[0].clone());
    assert_eq!(register(&mut new, child(1, 1, 5)).0, Err(RegisterError::Taken(pid(0, 1))));
    assert_eq!(register(&mut new, held(1, 1)).0, Err(RegisterError::Taken(pid(0, 1))));
    let foreign = FencingToken::new("other", "child", Generation(9));
    let foreign = Held { pid: pid(1, 1), token: Some(foreign) };
    assert_eq!(register(&mut new, foreign).0, Err(RegisterError::Taken(pid(0, 1))));
    let (result, outputs) = register(&mut new, child(1, 1, 6));
    assert_eq!(result, Ok(()));
    assert_eq!(outputs[0], Output::Broadcast(update(2, Some(child(1, 1, 6)))));
    assert_eq!(new.lookup("x"), Some(&pid(1, 1)));
    let (_, outputs) = merge(&mut old, 1, update(2, Some(child(1, 1, 6))));
    assert!(matches!(&outputs[0], Output::Lost { loser, .. } if *loser == pid(0, 1)));
    // On one node the same.
    let (_, outputs) = register(&mut new, child(1, 2, 7));
    assert_eq!(outputs[0], Output::Lost { name: "x".into(), winner: pid(1, 2), loser: pid(1, 1) });
}

#[test]
fn any_node_unregisters_through_the_owner() {
    let (mut owner, mut other) = (names(0), names(1));
    register(&mut owner, held(0, 1)).0.unwrap();
    merge(&mut other, 0, owner.state()[0].clone());
    let (found, outputs) = out(|out| other.unregister("x", at(0), out));
    assert!(found);
    assert_eq!(outputs, [Output::RequestUnregister { to: id(0), name: "x".into(), pid: pid(0, 1) }]);
    let ((), outputs) = out(|out| owner.unregister_requested("x", &pid(0, 2), at(0), out));
    assert_eq!(outputs, [], "it holds another process by now");
    let ((), outputs) = out(|out| owner.unregister_requested("x", &pid(0, 1), at(0), out));
    assert_eq!(outputs, [Output::Broadcast(update(1, None)), changed(None)]);
    assert_eq!(merge(&mut other, 0, update(1, None)), (true, vec![changed(None)]));
    assert!(!out(|out| other.unregister("x", at(0), out)).0);
}

#[test]
fn a_full_sync_replaces_what_the_owner_had() {
    let mut names = names(0);
    let y = |held| Update { name: "y".into(), version: 3, held };
    out(|out| {
        names.full_sync(&id(1), LIFE, vec![update(1, Some(held(1, 1))), y(Some(held(1, 1)))], at(0), out)
    });
    let refused = y(Some(held(2, 1)));
    let updates = vec![y(Some(held(1, 2))), Update { name: "z".into(), ..refused }];
    let (refused, outputs) = out(|out| names.full_sync(&id(1), LIFE, updates, at(0), out));
    assert_eq!((refused, outputs.contains(&changed(None))), (1, true));
    assert_eq!(names.entries().collect::<Vec<_>>(), [("y", &pid(1, 2))]);
    let ((), outputs) = out(|out| names.node_down(&id(1), at(0), out));
    assert_eq!(outputs, [Output::Changed { name: "y".into(), now: None }]);
    let (result, outputs) = out(|out| names.register("y", held(0, 1), at(0), out));
    assert_eq!(result, Ok(()));
    assert!(matches!(&outputs[0], Output::Broadcast(Update { version: 4, .. })), "it exceeds what was seen");
}

#[test]
fn tombstones_go_after_their_time() {
    let mut names = names(0);
    register(&mut names, held(0, 1)).0.unwrap();
    assert_eq!(names.deadline(), None);
    out(|out| names.unregister("x", at(10), out));
    assert_eq!(names.deadline(), Some(at(610)));
    names.deadline_reached(at(609));
    assert_eq!(names.state().len(), 1);
    names.deadline_reached(at(610));
    assert_eq!((names.state().len(), names.seen.len(), names.deadline()), (0, 0, None));
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
    assert_eq!(names.expiries.len(), MAX_TOMBSTONES);
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
    // Each of a hundred thousand: for ever, were it a look at the names of all.
    for number in 0..most {
        let ((), outputs) = out(|out| names.process_ended(&pid(0, number), at(0), out));
        assert_eq!(outputs.len(), 2, "its name, and nothing else");
    }
    assert_eq!((names.entries().count(), names.by_process.len()), (0, 0));
    named(&mut names, most).unwrap();
}

/// What is under way on a link, in order; `true` is a full sync.
type Queue = VecDeque<(bool, Vec<Update>)>;

/// Three nodes, their links, and what is under way on each link.
struct World {
    nodes: Vec<Names>,
    wire: BTreeMap<(usize, usize), Queue>,
    alive: Vec<BTreeSet<u64>>,
}

#[derive(Clone, Debug)]
enum Op {
    Register { node: usize, name: usize, generation: u64 },
    Unregister { node: usize, name: usize },
    Ended { node: usize, number: u64 },
    Toggle { a: usize, b: usize },
    Deliver { from: usize, to: usize },
}

const TABLE: [&str; 2] = ["x", "y"];

impl World {
    fn new() -> Self {
        let nodes = (0..3).map(names).collect();
        Self { nodes, wire: BTreeMap::new(), alive: vec![BTreeSet::new(); 3] }
    }

    fn step(&mut self, node: usize, step: impl FnOnce(&mut Names, &mut VecDeque<Output>)) {
        let mut out = VecDeque::new();
        step(&mut self.nodes[node], &mut out);
        for output in out {
            if let Output::Broadcast(update) = output {
                let links = self.wire.iter_mut().filter(|((from, _), _)| *from == node);
                links.for_each(|(_, queue)| queue.push_back((false, vec![update.clone()])));
            }
        }
    }

    fn connect(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            let state = self.nodes[from].state();
            self.wire.entry((from, to)).or_insert_with(|| VecDeque::from([(true, state)]));
        }
    }

    fn deliver(&mut self, from: usize, to: usize) -> bool {
        let Some((full, updates)) = self.wire.get_mut(&(from, to)).and_then(VecDeque::pop_front) else {
            return false;
        };
        self.step(to, |names, out| {
            if full {
                assert_eq!(names.full_sync(&id(from), LIFE, updates, at(0), out), 0);
            } else {
                for update in updates {
                    assert!(names.merge(&id(from), LIFE, update, at(0), out));
                }
            }
        });
        true
    }

    fn run(&mut self, number: u64, op: Op) {
        match op {
            Op::Register { node, name, generation } => {
                self.alive[node].insert(number);
                let held = if generation == 0 { held(node, number) } else { child(node, number, generation) };
                self.step(node, |names, out| {
                    let _ = names.register(TABLE[name], held, at(0), out);
                });
            }
            Op::Unregister { node, name } => self.step(node, |names, out| {
                names.unregister(TABLE[name], at(0), out);
            }),
            Op::Ended { node, number } => {
                self.alive[node].remove(&number);
                self.step(node, |names, out| names.process_ended(&pid(node, number), at(0), out));
            }
            Op::Toggle { a, b } if a != b => {
                if self.wire.remove(&(a, b)).is_some() {
                    self.wire.remove(&(b, a));
                    self.step(a, |names, out| names.node_down(&id(b), at(0), out));
                    self.step(b, |names, out| names.node_down(&id(a), at(0), out));
                } else {
                    self.connect(a, b);
                }
            }
            Op::Toggle { .. } => {}
            Op::Deliver { from, to } => {
                self.deliver(from, to);
            }
        }
    }

    fn heal(&mut self) {
        for (a, b) in [(0, 1), (0, 2), (1, 2)] {
            self.connect(a, b);
        }
        let links = [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)];
        while links.iter().fold(false, |moved, (from, to)| self.deliver(*from, *to) || moved) {}
    }
}

fn op() -> impl Strategy<Value = Op> {
    let (node, name) = (0..3usize, 0..2usize);
    prop_oneof![
        3 => (node.clone(), name.clone(), 0..4u64)
            .prop_map(|(node, name, generation)| Op::Register { node, name, generation }),
        1 => (node.clone(), name).prop_map(|(node, name)| Op::Unregister { node, name }),
        1 => (node.clone(), 0..30u64).prop_map(|(node, number)| Op::Ended { node, number }),
        2 => (node.clone(), node.clone()).prop_map(|(a, b)| Op::Toggle { a, b }),
        6 => (node.clone(), node).prop_map(|(from, to)| Op::Deliver { from, to }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn after_a_full_exchange_all_views_agree(ops in proptest::collection::vec(op(), 0..60)) {
        let mut world = World::new();
        for (number, op) in ops.into_iter().enumerate() {
            world.run(number as u64, op);
        }
        world.heal();
        for node in &world.nodes {
            let own = node.parts.get(&node.local).into_iter().flatten();
            let own: BTreeSet<_> = own.map(|(name, entry)| (entry.held.pid.number(), name.clone())).collect();
            let by_process = node.by_process.iter();
            let listed: BTreeSet<_> =
                by_process.flat_map(|(number, names)| names.iter().map(|name| (*number, name.clone()))).collect();
            prop_assert_eq!(own, listed);
        }
        for name in TABLE {
            let holder = world.nodes[0].lookup(name).cloned();
            for node in &world.nodes {
                prop_assert_eq!(node.lookup(name), holder.as_ref());
                // Whoever lost has given up: one entry is left, the holder's.
                let entries = node.parts.values().filter(|part| part.contains_key(name)).count();
                prop_assert_eq!(entries, usize::from(holder.is_some()));
            }
            if let Some(pid) = holder {
                let node = world.nodes.iter().position(|names| names.local == *pid.node_id()).unwrap();
                prop_assert!(world.alive[node].contains(&pid.number()), "a dead process holds {}", name);
            }
        }
    }

    #[test]
    fn updates_of_different_owners_commute(
        updates in proptest::collection::vec((1..3usize, 1..4u64, 0..3u64, 0..3u64), 2..6),
    ) {
        // One update per owner survives; what was written before it by the same owner does not count.
        let view = |order: Vec<&(usize, u64, u64, u64)>| {
            let mut names = names(0);
            for (from, version, number, generation) in order {
                let held = if *generation == 0 { held(*from, *number) } else { child(*from, *number, *generation) };
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
