//! What registries promise, with real processes: an entry ends with its process, whatever else happens at that moment.

#![allow(clippy::panic, reason = "tests, and processes that must panic")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use noex_actors::{
    CallError, CastError, Context, DuplicateRegistry, ExitReason, NameError, Node, Placement, Ref,
    UniqueRegistry, behavior,
};

type Res = Result<(), Box<dyn std::error::Error>>;

struct Member {
    heard: Vec<u32>,
}

#[behavior(clone)]
impl Member {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Member { heard: vec![] })
    }
    #[cast]
    fn hear(&mut self, n: u32) {
        self.heard.push(n);
    }
    #[call]
    fn heard(&self) -> Vec<u32> {
        self.heard.clone()
    }
    #[cast]
    fn explode(&mut self) {
        panic!("boom");
    }
}

/// Registers itself in `init`, and ends there if it is told to.
struct Early;

#[behavior]
impl Early {
    #[init]
    fn new(registry: UniqueRegistry<Early>, fail: bool, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        registry.register("early", cx.me(), ())?;
        if fail { Err(ExitReason::error("no")) } else { Ok(Early) }
    }
}

async fn member(node: &Node) -> Result<Ref<Member>, noex_actors::StartError> {
    node.spawn::<Member>(()).placement(Placement::RoundRobin).await
}

#[actix_rt::test]
async fn a_unique_key_has_one_process_until_it_is_freed() -> Res {
    let node = Node::start().await?;
    let (a, b) = (member(&node).await?, member(&node).await?);
    let names = UniqueRegistry::<Member, u32>::new(&node);
    names.register("x", &a, 1)?;
    let taken = NameError::Taken { name: "x".into(), holder: a.pid().clone() };
    assert_eq!(names.register("x", &b, 2), Err(taken.clone()));
    assert_eq!(names.register("x", &a, 2), Err(taken));
    assert_eq!((names.lookup("x")?, names.whereis("y")), (a.clone(), None));
    assert_eq!(names.lookup("y"), Err(NameError::NotFound("y".into())));

    assert_eq!(*names.update("x", 7)?, 1);
    assert_eq!(names.metadata("x").as_deref(), Some(&7));
    assert_eq!(names.update("y", 7), Err(NameError::NotFound("y".into())));

    assert!(!names.unregister_match("x", &b) && names.unregister_match("x", &a));
    names.register("x", &b, 3)?;
    assert!(names.unregister("x") && !names.unregister("x"));
    assert!(names.is_empty() && names.keys().is_empty() && names.metadata("x").is_none());
    for (key, legal) in [("", false), (&*"k".repeat(255), true), (&*"k".repeat(256), false), ("a\n", false)] {
        let answer = names.register(key, &a, 0);
        assert_eq!(answer.is_ok(), legal, "{key:?}");
        assert!(legal || matches!(answer, Err(NameError::Invalid { .. })));
    }
    node.stop().await;
    assert!(names.is_empty(), "the node's processes ended");
    Ok(())
}

#[actix_rt::test]
async fn a_duplicate_key_reaches_everybody_under_it() -> Res {
    let node = Node::start().await?;
    let topics = DuplicateRegistry::<Member, &str>::new(&node);
    let members = [member(&node).await?, member(&node).await?, member(&node).await?];
    for member in members.iter().rev() {
        topics.register("news", member, "plain")?;
    }
    topics.register("sport", &members[0], "plain")?;
    assert!(matches!(topics.register("news", &members[0], ""), Err(NameError::Taken { .. })));
    assert_eq!(topics.lookup_all("news"), members);
    assert_eq!((topics.keys(), topics.len()), (vec!["news".into(), "sport".into()], 4));

    assert_eq!(topics.dispatch("news", MemberCast::Hear { n: 1 }), 3);
    assert_eq!(topics.dispatch("nobody", MemberCast::Hear { n: 9 }), 0);
    assert_eq!(*topics.update("news", &members[1], "golden")?, "plain");
    assert!(matches!(topics.update("sport", &members[1], ""), Err(NameError::NotFound(_))));
    topics.dispatch_with("news", |entries| {
        let mut golden = entries.iter().filter(|entry| *entry.meta == "golden");
        golden.try_for_each(|entry| entry.process.hear(2))
    })?;
    assert_eq!(topics.dispatch_with("nobody", <[_]>::len), 0);
    assert_eq!(members[0].heard().await?, [1]);
    assert_eq!(members[1].heard().await?, [1, 2]);
    let metadata: Vec<&str> = topics.metadata("news").iter().map(|meta| **meta).collect();
    assert_eq!(metadata, ["plain", "golden", "plain"]);

    members[1].stop(ExitReason::Normal).await?;
    assert_eq!(topics.dispatch("news", MemberCast::Hear { n: 3 }), 2);
    assert!(topics.unregister_match("news", &members[0]) && !topics.unregister_match("news", &members[0]));
    assert_eq!((topics.unregister("news"), topics.unregister("news")), (1, 0));
    assert_eq!(topics.keys(), ["sport"]);
    assert_eq!(topics.whereis("sport").as_ref(), Some(&members[0]));
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn entries_are_found_by_pattern_and_by_what_they_carry() -> Res {
    let node = Node::start().await?;
    let (rooms, a) = (UniqueRegistry::<Member, usize>::new(&node), member(&node).await?);
    let keys = ["room/1", "room/2", "room/2/chat", "user/1", "a*b"];
    for (at, key) in keys.iter().enumerate() {
        rooms.register(key, &a, at)?;
    }
    let found = |glob: &str| rooms.matching(glob).iter().map(|e| e.key.to_string()).collect::<Vec<_>>();
    assert_eq!(found("room/*"), ["room/1", "room/2"]);
    assert_eq!(found("room/**"), ["room/1", "room/2", "room/2/chat"]);
    assert_eq!(found("????/1"), ["room/1", "user/1"]);
    assert_eq!(found("room/[12]"), [""; 0], "no sets");
    let some = rooms.select(|key, process, meta| {
        assert_eq!(process, &a);
        assert!(rooms.whereis(key).is_some(), "a predicate may use the registry");
        key.ends_with('1') || *meta == 4
    });
    let some: Vec<_> = some.iter().map(|entry| (&*entry.key, *entry.meta)).collect();
    assert_eq!(some, [("a*b", 4), ("room/1", 0), ("user/1", 3)]);
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_key_as_a_handle_follows_from_process_to_process() -> Res {
    let node = Node::start().await?;
    let (names, a, b) = (UniqueRegistry::<Member>::new(&node), member(&node).await?, member(&node).await?);
    let via = names.via("x");
    assert_eq!(via.hear(0), Err(CastError::NoName("x".into())));
    names.register("x", &a, ())?;
    via.hear(1)?;
    assert_eq!(via.heard().await?, [1]);
    a.stop(ExitReason::Normal).await?;
    assert_eq!(via.heard().await, Err(CallError::NoName("x".into())));
    names.register("x", &b, ())?;
    assert_eq!(via.heard().await?, [0; 0]);
    node.stop().await;
    Ok(())
}

/// The watch of the test is older than that of the registry, so it is told first: the entry must be gone all the same.
#[actix_rt::test]
async fn whoever_knows_of_an_end_finds_no_entry_and_a_free_key() -> Res {
    let node = Node::start().await?;
    let names = UniqueRegistry::<Member>::new(&node);
    let topics = DuplicateRegistry::<Member>::new(&node);
    for way in 0..4 {
        let (a, b) = (member(&node).await?, member(&node).await?);
        let down = a.monitor();
        names.register("x", &a, ())?;
        topics.register("t", &a, ())?;
        topics.register("t", &b, ())?;
        match way {
            0 => a.kill(),
            1 => drop(a.stop(ExitReason::Normal)),
            2 => a.explode()?,
            _ => a.stop(ExitReason::Shutdown).await?,
        }
        down.await;
        assert_eq!((names.whereis("x"), names.len(), names.is_empty()), (None, 0, true));
        assert_eq!(
            (names.keys().len(), names.select(|_, _, ()| true).len(), names.matching("**").len()),
            (0, 0, 0)
        );
        assert!(!names.unregister("x") && names.update("x", ()).is_err());
        assert_eq!(topics.lookup_all("t"), std::slice::from_ref(&b));
        assert_eq!(names.register("x", &a, ()), Err(NameError::NoProc(a.pid().clone())));
        names.register("x", &b, ())?;
        assert_eq!(names.lookup("x")?, b);
        b.kill();
        b.monitor().await;
    }
    node.stop().await;
    Ok(())
}

/// A watcher is told on the arbiter of the dying process; another thread looks at that very moment.
#[actix_rt::test]
async fn a_monitor_on_another_thread_never_sees_the_entry_of_a_dead_process() -> Res {
    let node = Node::builder().arbiters(2).start().await?;
    let names = UniqueRegistry::<Member>::new(&node);
    let (dead, deaths) = mpsc::channel::<(String, noex_actors::Pid)>();
    let seen = {
        let names = names.clone();
        std::thread::spawn(move || deaths.iter().filter(|(key, _)| names.whereis(key).is_some()).count())
    };
    let watches: Vec<_> = {
        let mut watches = Vec::new();
        for n in 0..200 {
            let (a, key, dead) = (member(&node).await?, format!("k{n}"), dead.clone());
            let down = a.monitor();
            names.register(&key, &a, ())?;
            watches.push(actix_rt::spawn(async move {
                let _ = dead.send((key, down.await.pid));
            }));
            a.kill();
        }
        watches
    };
    for watch in watches {
        watch.await?;
    }
    drop(dead);
    assert_eq!(seen.join().expect("the thread only counts"), 0);
    node.stop().await;
    Ok(())
}

/// Says when it is dropped.
struct Told(mpsc::Sender<()>);
impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// Threads register and unregister what two arbiters are killing meanwhile.
#[actix_rt::test]
async fn processes_that_die_while_they_are_registered_leave_nothing() -> Res {
    let node = Node::builder().arbiters(2).start().await?;
    let names = UniqueRegistry::<Member, Told>::new(&node);
    let topics = DuplicateRegistry::<Member, Told>::new(&node);
    let (over, entered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let ((told, drops), mut attempts) = (mpsc::channel(), 0);
    for round in 0..60 {
        let mut members = Vec::new();
        for _ in 0..8 {
            members.push(member(&node).await?);
        }
        let threads: Vec<_> = (0..3)
            .map(|thread| {
                let (names, topics, members) = (names.clone(), topics.clone(), members.clone());
                let (over, entered, told) = (Arc::clone(&over), Arc::clone(&entered), told.clone());
                std::thread::spawn(move || {
                    let mut attempts = 0;
                    for turn in 0..40 {
                        for (at, member) in members.iter().enumerate() {
                            let key = format!("{}", (at + turn) % 5);
                            match names.register(&key, member, Told(told.clone())) {
                                Ok(()) => _ = entered.fetch_add(1, Ordering::Relaxed),
                                Err(NameError::Taken { .. } | NameError::NoProc(_)) => {}
                                Err(other) => panic!("{other}"),
                            }
                            let _ = topics.register(&key, member, Told(told.clone()));
                            attempts += 2;
                            if (at + thread + turn) % 3 == 0 {
                                names.unregister_match(&key, member);
                                topics.unregister_match(&key, member);
                            }
                        }
                        if over.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                    attempts
                })
            })
            .collect();
        let ends: Vec<_> = members.iter().map(Ref::monitor).collect();
        for (at, member) in members.iter().enumerate() {
            if (at + round) % 2 == 0 {
                member.kill();
            } else {
                drop(member.stop(ExitReason::Normal));
            }
            tokio::task::yield_now().await;
        }
        for end in ends {
            end.await;
        }
        over.store(true, Ordering::Relaxed);
        for thread in threads {
            attempts += thread.join().expect("no registration panics");
        }
        over.store(false, Ordering::Relaxed);
        assert_eq!((names.len(), topics.len()), (0, 0), "round {round}");
        assert_eq!(names.keys().len() + topics.keys().len(), 0, "round {round}");
    }
    assert!(entered.load(Ordering::Relaxed) > 0);
    // Metadata goes with its entry: nothing is kept for the dead, be it out of sight.
    for _ in 0..attempts {
        drops.recv_timeout(Duration::from_secs(5))?;
    }
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_process_that_registers_itself_and_fails_to_start_leaves_nothing() -> Res {
    let node = Node::start().await?;
    let names = UniqueRegistry::<Early>::new(&node);
    assert!(node.spawn::<Early>((names.clone(), true)).await.is_err());
    assert!(names.is_empty());
    let early = node.spawn::<Early>((names.clone(), false)).await?;
    assert_eq!(names.lookup("early")?, early);
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn registering_and_unregistering_leaves_no_watch_behind() -> Res {
    let node = Node::start().await?;
    let a = member(&node).await?;
    let watches = || node.process(a.pid()).map(|info| info.monitors);
    let names = UniqueRegistry::<Member>::new(&node);
    for turn in 0..10_000 {
        names.register("x", &a, ())?;
        names.register("y", &a, ())?;
        assert_eq!(watches(), Some(1), "one watch for all entries, turn {turn}");
        assert!(names.unregister("x") && names.unregister_match("y", &a));
        assert_eq!(watches(), Some(0), "turn {turn}");
    }
    let others: Vec<_> = (0..10).map(|_| UniqueRegistry::<Member>::new(&node)).collect();
    for other in &others {
        other.register("x", &a, ())?;
    }
    assert_eq!(watches(), Some(10));
    drop(others);
    assert_eq!(watches(), Some(0), "a registry that is gone watches nobody");
    assert!(a.heard().await?.is_empty(), "and has touched nobody");
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn registries_know_nothing_of_each_other() -> Res {
    let (node, other) = (Node::start().await?, Node::start().await?);
    let a = member(&node).await?;
    let (one, two) = (UniqueRegistry::<Member>::new(&node), UniqueRegistry::<Member>::new(&node));
    one.register("x", &a, ())?;
    two.register("x", &a, ())?;
    assert!(one.unregister("x") && two.lookup("x")? == a);
    // A process of another node in this program is watched where it lives.
    let elsewhere = UniqueRegistry::<Member>::new(&other);
    elsewhere.register("x", &a, ())?;
    a.stop(ExitReason::Normal).await?;
    assert!(elsewhere.is_empty() && two.is_empty());
    node.stop().await;
    other.stop().await;
    Ok(())
}

/// Dropped where the process ended: it must not take the arbiter along.
struct Bomb;
impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("metadata went off");
    }
}

#[actix_rt::test]
async fn metadata_that_panics_when_dropped_harms_nobody() -> Res {
    let node = Node::builder().arbiters(1).start().await?;
    let names = UniqueRegistry::<Member, Bomb>::new(&node);
    let (a, neighbour) = (member(&node).await?, member(&node).await?);
    names.register("x", &a, Bomb)?;
    a.kill();
    actix_rt::time::timeout(Duration::from_secs(5), a.monitor()).await?;
    assert!(names.is_empty());
    assert!(neighbour.heard().await?.is_empty());
    node.stop().await;
    Ok(())
}

#[test]
fn handles_go_anywhere() {
    fn check<T: Clone + Send + Sync + std::fmt::Debug + 'static>() {}
    check::<UniqueRegistry<Member, String>>();
    check::<DuplicateRegistry<Member>>();
}
