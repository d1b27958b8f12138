use super::{super::names::MAX_NAME, *};

const LIFE: Incarnation = Incarnation(7);

fn id(n: usize) -> NodeId {
    NodeId::parse(&format!("n{n}@h:{}", n + 1)).unwrap()
}

fn pid(node: usize, number: u64) -> Pid {
    Pid::new(id(node), LIFE, number)
}

fn said(number: u64, count: u32) -> Membership {
    Membership { group: "g".into(), number, count }
}

fn out<R>(step: impl FnOnce(&mut VecDeque<Output>) -> R) -> (R, Vec<Output>) {
    let mut out = VecDeque::new();
    let result = step(&mut out);
    (result, out.into())
}

fn joined(pid: Pid) -> Output {
    Output::Joined { group: "g".into(), pid }
}

fn left(pid: Pid) -> Output {
    Output::Left { group: "g".into(), pid }
}

#[test]
fn a_process_that_joined_twice_leaves_twice_and_is_heard_of_once() {
    let mut groups = Groups::new(id(0), LIFE);
    let mut join = || out(|out| groups.join("g", 1, out));
    assert_eq!(join(), (Ok(()), vec![Output::Tell(said(1, 1)), joined(pid(0, 1))]));
    assert_eq!(join(), (Ok(()), vec![Output::Tell(said(1, 2))]));
    assert_eq!(groups.members("g").collect::<Vec<_>>(), [(pid(0, 1), 2)]);
    let mut leave = || out(|out| groups.leave("g", 1, out));
    assert_eq!(leave(), (true, vec![Output::Tell(said(1, 1))]));
    assert_eq!(leave(), (true, vec![Output::Tell(said(1, 0)), left(pid(0, 1))]));
    assert_eq!(leave(), (false, vec![]));
    assert_eq!((groups.groups().len(), groups.totals()), (0, (0, 0)));
}

#[test]
fn who_ends_leaves_every_group_with_one_event_each() {
    let mut groups = Groups::new(id(0), LIFE);
    for group in ["g", "g", "h", "i"] {
        groups.join(group, 1, &mut VecDeque::new()).unwrap();
    }
    groups.join("g", 2, &mut VecDeque::new()).unwrap();
    assert!(groups.leave("i", 1, &mut VecDeque::new()));
    let ((), outputs) = out(|out| groups.process_ended(1, out));
    let told = |group: &str| Output::Tell(Membership { group: group.into(), number: 1, count: 0 });
    let h = Output::Left { group: "h".into(), pid: pid(0, 1) };
    assert_eq!(outputs, [told("g"), left(pid(0, 1)), told("h"), h]);
    assert_eq!(groups.local_members("g").collect::<Vec<_>>(), [(2, 1)]);
    assert_eq!(out(|out| groups.process_ended(1, out)).1, []);
}

#[test]
fn the_end_of_a_session_takes_the_members_of_that_node_along() {
    let mut groups = Groups::new(id(0), LIFE);
    groups.join("g", 1, &mut VecDeque::new()).unwrap();
    for (from, said) in [(1, said(5, 3)), (1, said(6, 1)), (2, said(5, 1))] {
        assert!(groups.merge(&id(from), LIFE, &said, &mut VecDeque::new()));
    }
    let unwatched = Membership { group: "h".to_owned(), ..said(5, 1) };
    assert!(groups.merge(&id(1), LIFE, &unwatched, &mut VecDeque::new()));
    let targets: Vec<_> =
        groups.targets("g").map(|(node, _, members)| (node.clone(), members.len())).collect();
    assert_eq!(targets, [(id(0), 1), (id(1), 2), (id(2), 1)]);
    let (_, outputs) = out(|out| groups.node_down(&id(1), |group| group == "g", out));
    assert_eq!(outputs, [left(pid(1, 5)), left(pid(1, 6))]);
    assert_eq!(groups.totals(), (1, 2));
    assert_eq!(out(|out| groups.node_down(&id(0), |_| true, out)).1, [], "never the own ones");
}

#[test]
fn nobody_speaks_for_this_node_and_names_are_names() {
    let mut groups = Groups::new(id(0), LIFE);
    assert!(!groups.merge(&id(0), LIFE, &said(1, 1), &mut VecDeque::new()));
    for group in [String::new(), "g".repeat(MAX_NAME + 1), "a\nb".to_owned()] {
        let said = Membership { group: group.clone(), number: 1, count: 1 };
        assert!(!groups.merge(&id(1), LIFE, &said, &mut VecDeque::new()));
        assert_eq!(groups.join(&group, 1, &mut VecDeque::new()), Err(JoinError::InvalidName));
    }
    assert_eq!(groups.totals(), (0, 0));
}

#[test]
fn what_one_node_can_add_is_bounded_and_its_room_comes_back() {
    let mut groups = Groups::new(id(0), LIFE);
    let most = u32::try_from(MAX_MEMBERSHIPS).unwrap();
    let mut merge = |number, count| {
        let accepted = groups.merge(&id(1), LIFE, &said(number, count), &mut VecDeque::new());
        (accepted, groups.totals().1)
    };
    assert_eq!(merge(1, u32::MAX), (false, 0), "one that joined four thousand million times");
    assert_eq!(merge(1, most), (true, MAX_MEMBERSHIPS));
    assert_eq!(merge(2, 1), (false, MAX_MEMBERSHIPS));
    assert_eq!(merge(1, most - 1), (true, MAX_MEMBERSHIPS - 1));
    assert_eq!(merge(2, 1), (true, MAX_MEMBERSHIPS));
    assert_eq!(merge(3, 0), (true, MAX_MEMBERSHIPS));
    // The same here, so that no node says more than others take.
    for n in 0..MAX_MEMBERSHIPS {
        groups.join("g", n as u64, &mut VecDeque::new()).unwrap();
    }
    assert_eq!(groups.join("g", 1, &mut VecDeque::new()), Err(JoinError::TooMany));
    assert!(groups.leave("g", 7, &mut VecDeque::new()));
    assert_eq!(groups.join("h", 1, &mut VecDeque::new()), Ok(()));
}

#[test]
fn pieces_are_bounded_and_together_all_there_is() {
    let mut groups = Groups::new(id(0), LIFE);
    for n in 0..100_u64 {
        groups.join(["g", "h", "i"][n as usize % 3], n / 2, &mut VecDeque::new()).unwrap();
    }
    groups.join("i", 1, &mut VecDeque::new()).unwrap();
    for max in [1, 7, 1000] {
        let mut other = Groups::new(id(1), LIFE);
        let mut last: Option<Membership> = None;
        loop {
            let piece = groups.piece(last.as_ref(), max);
            assert!(piece.len() <= max);
            let Some(end) = piece.last() else { break };
            last = Some(end.clone());
            piece.iter().for_each(|said| assert!(other.merge(&id(0), LIFE, said, &mut VecDeque::new())));
        }
        assert_eq!(other.totals().1, groups.totals().0);
        for group in ["g", "h", "i"] {
            assert!(other.members(group).eq(groups.members(group)));
        }
    }
}
