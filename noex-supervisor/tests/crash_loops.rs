//! Children that crash again and again, on this node and on others, until their supervisor is over its limit.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod cluster;

use cluster::{
    LONG, Log, Victim, Worker, each_once, event, ids, join, nodes, restart_event, stop_all, within, worker,
};
use noex_supervisor::{
    DistributedChildTemplate as Template, DistributedSupervisor, NodeSelector, Strategy, SupervisorExit,
};

/// How many restarts are allowed.
const LIMIT: u32 = 4;

#[actix_rt::test]
async fn a_child_that_crashes_in_a_loop_ends_its_supervisor_with_exact_counts_and_nobody_left() {
    // `a` and its crashes are here, `b` and its are on another node, after the first round perhaps elsewhere.
    for (strategy, victim, round) in [
        (Strategy::OneForOne, "a", "-a +a"),
        (Strategy::OneForOne, "b", "-b +b"),
        (Strategy::OneForAll, "a", "-c -b +a +b +c"),
        (Strategy::OneForAll, "b", "-c -a +a +b +c"),
        (Strategy::RestForOne, "a", "-c -b +a +b +c"),
        (Strategy::RestForOne, "b", "-c +b +c"),
    ] {
        // Who panics says nothing.
        let round = round.strip_prefix(&format!("-{victim} ")).unwrap_or(round);
        let ([a, b, c], log) = nodes(["a", "b", "c"]).await;
        let sup = DistributedSupervisor::builder()
            .name("tree")
            .strategy(strategy)
            .restart_intensity(LIMIT, LONG)
            .children(
                [("a", &a), ("b", &b), ("c", &c)]
                    .map(|(id, on)| worker(id).node_selector(on.local_node_id().clone())),
            )
            .start(&a)
            .await
            .unwrap();
        assert_eq!(log.take(), ["+a@a", "+b@b", "+c@c"]);
        let mut events = sup.events();
        for n in 1..=LIMIT {
            sup.child::<Worker>(victim).await.unwrap().explode().unwrap();
            for _ in 0..round.matches('+').count() {
                event(&mut events, "child_restarted").await;
            }
            let lines = log.take();
            assert_eq!(ids(&lines), round, "{strategy}: {victim}, crash {n}");
            assert!(lines.iter().all(|line| line[1..2] == line[3..4]), "each on its node: {lines:?}");
            each_once(&[&a, &b, &c], "tree", 3);
            for id in ["a", "b", "c"] {
                let arg = sup.child::<Worker>(id).await.unwrap().arg().await.unwrap();
                assert_eq!(arg, format!("for {id}"));
            }
            assert_eq!(sup.stats().await.unwrap().total_restarts, u64::from(n));
        }
        sup.child::<Worker>(victim).await.unwrap().explode().unwrap();
        let over = SupervisorExit::MaxRestartsExceeded { max_restarts: LIMIT, within: LONG };
        assert_eq!(within("end", sup.wait()).await, over, "{strategy}: {victim}");
        let others: Vec<_> = ["c", "b", "a"].iter().filter(|id| **id != victim).collect();
        assert_eq!(ids(&log.take()), format!("-{} -{}", others[0], others[1]), "the last one first");
        assert_eq!([&a, &b, &c].map(|node| node.processes().len()), [0, 0, 0], "nothing is left");
        stop_all(&[&a, &b, &c]).await;
    }
}

#[actix_rt::test]
async fn children_of_a_template_that_crash_in_a_loop_end_it_and_leave_nobody() {
    let ([a, b], log) = nodes(["a", "b"]).await;
    let sup = DistributedSupervisor::builder()
        .name("tree")
        .strategy(Strategy::SimpleOneForOne)
        .child_template(Template::new::<Worker>().node_selector(NodeSelector::RoundRobin))
        .restart_intensity(LIMIT, LONG)
        .start(&a)
        .await
        .unwrap();
    for n in 1..=4 {
        sup.start_instance::<Worker>(format!("arg {n}")).await.unwrap();
    }
    let mut events = sup.events();
    log.take();
    for n in 1..=LIMIT {
        let id = format!("child_{}", 1 + n % 4);
        sup.child::<Worker>(&id).await.unwrap().explode().unwrap();
        event(&mut events, "child_restarted").await;
        assert_eq!(ids(&log.take()), format!("+{id}"));
        let arg = sup.child::<Worker>(&id).await.unwrap().arg().await.unwrap();
        assert_eq!(arg, format!("arg {}", 1 + n % 4));
        each_once(&[&a, &b], "tree", 4);
    }
    sup.child::<Worker>("child_2").await.unwrap().explode().unwrap();
    let over = SupervisorExit::MaxRestartsExceeded { max_restarts: LIMIT, within: LONG };
    assert_eq!(within("end", sup.wait()).await, over);
    assert_eq!(log.take().len(), 3, "the three that lived were stopped");
    assert_eq!([&a, &b].map(|node| node.processes().len()), [0, 0]);
    stop_all(&[&a, &b]).await;
}

#[actix_rt::test]
async fn children_that_die_as_soon_as_they_live_are_all_noticed() {
    let ([a, b], _log) = nodes(["a", "b"]).await;
    let sup =
        DistributedSupervisor::builder().name("tree").restart_intensity(1000, LONG).start(&a).await.unwrap();
    let mut events = sup.events();
    for n in 0..20 {
        let child = worker(&format!("w{n}")).node_selector(b.local_node_id().clone());
        let any = sup.start_child(child).await.unwrap();
        // From its own node: it is dead before any monitor on it from the other one can have an answer.
        let here: noex_actors::Ref<Worker> = b.resolve(any.pid());
        here.explode().unwrap();
    }
    for _ in 0..20 {
        restart_event(&mut events).await;
    }
    each_once(&[&a, &b], "tree", 20);
    assert_eq!(sup.stats().await.unwrap().total_restarts, 20);
    stop_all(&[&a, &b]).await;
}

#[actix_rt::test]
#[ignore = "not a test: the node that another test kills"]
async fn a_node_to_be_killed() {
    cluster::be_a_victim().await;
}

#[actix_rt::test]
async fn two_supervisors_over_a_lost_node_both_have_all_their_children() {
    let log = Log::default();
    let a = join("a", None, &log).await;
    let mut b = Victim::start("a_node_to_be_killed", &a);
    within("two nodes", a.wait_for_nodes(2)).await.unwrap();
    let mut sups = Vec::new();
    for name in ["first", "second"] {
        let children = (0..10).map(|n| worker(&format!("{name}-{n}")));
        let builder = DistributedSupervisor::builder().name(name).node_selector(NodeSelector::RoundRobin);
        sups.push(builder.children(children).start(&a).await.unwrap());
    }
    let mut events: Vec<_> = sups.iter().map(DistributedSupervisor::events).collect();
    b.kill();
    for events in &mut events {
        for _ in 0..5 {
            event(events, "child_migrated").await;
        }
    }
    for (name, sup) in ["first", "second"].iter().zip(&sups) {
        each_once(&[&a], name, 10);
        let stats = sup.stats().await.unwrap();
        assert_eq!((stats.total_restarts, stats.node_failure_restarts), (5, 5), "{name}");
    }
    within("stop", a.stop()).await;
}
