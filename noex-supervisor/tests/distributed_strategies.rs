//! Strategies, significant children and templates of distributed supervisors, over real nodes on loopback.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod cluster;

use std::time::{Duration, Instant};

use cluster::{
    Event, LONG, Log, Victim, Worker, alive, each_once, event, ids, join, nodes, restart_event, stop_all,
    within, worker,
};
use noex_actors::{ExitReason, Node, Ref, behavior};
use noex_net::Cluster;
use noex_supervisor::{
    AutoShutdown, ChildError, ChildSpec, DistributedChildTemplate as Template, DistributedSupervisor,
    DistributedSupervisorBuilder, NodeSelector, Restart, Shutdown, SpecError, StartSupervisorError, Strategy,
    Supervisor, SupervisorExit,
};

/// Over `a`, `b` and `c`, each on the node of that name as far as the nodes go.
fn builder(strategy: Strategy) -> DistributedSupervisorBuilder {
    DistributedSupervisor::builder().name("tree").strategy(strategy).node_selector(NodeSelector::RoundRobin)
}

async fn crash(sup: &DistributedSupervisor, id: &str) {
    sup.child::<Worker>(id).await.unwrap().explode().unwrap();
}

/// Starts as soon as the name is free.
async fn start_next(builder: &DistributedSupervisorBuilder, on: &Cluster) -> DistributedSupervisor {
    within("the name is free", async {
        loop {
            match builder.clone().start(on).await {
                Ok(sup) => return sup,
                Err(StartSupervisorError::AlreadyRunning(_)) => actix_rt::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await
}

#[actix_rt::test]
async fn each_strategy_stops_and_starts_across_nodes_whom_it_should_in_order() {
    for (strategy, expected) in [
        (Strategy::OneForOne, "+b"),
        (Strategy::OneForAll, "-c -a +a +b +c"),
        (Strategy::RestForOne, "-c +b +c"),
    ] {
        let ([a, b, c], log) = nodes(["a", "b", "c"]).await;
        let sup = builder(strategy).children(["a", "b", "c"].map(worker)).start(&a).await.unwrap();
        assert_eq!(log.take(), ["+a@a", "+b@b", "+c@c"]);
        let before = sup.children().await.unwrap();
        let mut events = sup.events();
        crash(&sup, "b").await;
        for _ in 0..expected.matches('+').count() {
            event(&mut events, "child_restarted").await;
        }
        assert_eq!(ids(&log.take()), expected, "{strategy}");
        each_once(&[&a, &b, &c], "tree", 3);
        let after = sup.children().await.unwrap();
        for (before, after) in before.iter().zip(&after) {
            let id = before.id.as_str();
            assert_eq!(after.restart_count, u32::from(id == "b"), "{strategy}: {id}");
            let again = expected.contains(&format!("+{id}"));
            assert_eq!(after.generation > before.generation, again, "{strategy}: {id}");
            assert_eq!(sup.child::<Worker>(id).await.unwrap().arg().await.unwrap(), format!("for {id}"));
        }
        let stats = sup.stats().await.unwrap();
        assert_eq!((stats.strategy, stats.total_restarts, stats.child_count), (strategy, 1, 3));
        assert_eq!(DistributedSupervisor::totals(&a).restarts, 1);
        within("stop", sup.stop()).await.unwrap();
        assert_eq!(ids(&log.take()), "-c -b -a", "{strategy}");
        assert_eq!([&a, &b, &c].map(|node| node.processes().len()), [0, 0, 0], "nothing is left");
        stop_all(&[&a, &b, &c]).await;
    }
}

#[actix_rt::test]
async fn siblings_on_other_nodes_are_stopped_each_in_its_own_way() {
    let ([a, b, c], log) = nodes(["a", "b", "c"]).await;
    let sup = builder(Strategy::OneForAll)
        .child(worker("polite"))
        .child(worker("brutal").shutdown(Shutdown::BrutalKill))
        .child(worker("stubborn").shutdown(Shutdown::Timeout(Duration::from_millis(100))))
        .child(worker("dies"))
        .start(&a)
        .await
        .unwrap();
    assert_eq!(log.take(), ["+polite@a", "+brutal@b", "+stubborn@c", "+dies@a"]);
    sup.child::<Worker>("stubborn").await.unwrap().never_stop().unwrap();
    let mut events = sup.events();
    crash(&sup, "dies").await;
    for _ in 0..4 {
        event(&mut events, "child_restarted").await;
    }
    // It was asked, and killed when it had not gone in its time; the brutal one was not even asked.
    assert_eq!(ids(&log.take()), "?stubborn -polite +polite +brutal +stubborn +dies");
    each_once(&[&a, &b, &c], "tree", 4);
    within("stop", sup.stop()).await.unwrap();
    assert!(alive(&[&a, &b, &c], "tree").is_empty());
    stop_all(&[&a, &b, &c]).await;
}

#[actix_rt::test]
#[ignore = "not a test: the node that another test kills"]
async fn a_node_to_be_killed() {
    cluster::be_a_victim().await;
}

#[actix_rt::test]
async fn the_loss_of_a_node_is_one_restart_to_which_the_strategy_applies() {
    for (strategy, stopped, started) in [
        (Strategy::OneForAll, "-f -d -c -a", "+a +b +c +d +e +f"),
        (Strategy::RestForOne, "-f -d -c", "+b +c +d +e +f"),
    ] {
        let log = cluster::Log::default();
        let a = join("a", None, &log).await;
        let mut b = Victim::start("a_node_to_be_killed", &a);
        within("b is there", a.wait_for_nodes(2)).await.unwrap();
        let b_id = a.connected_nodes()[0].id.clone();
        let c = join("c", Some(a.local_node_id().as_str()), &log).await;
        for node in [&a, &c] {
            within("full mesh", node.wait_for_nodes(3)).await.unwrap();
        }
        let sup = builder(strategy)
            .children(["a", "b", "c", "d", "e", "f"].map(worker))
            .restart_intensity(1, LONG)
            .start(&a)
            .await
            .unwrap();
        assert_eq!(log.take(), ["+a@a", "+c@c", "+d@a", "+f@c"], "b and e are on b");
        let mut events = sup.events();
        b.kill();
        let lost = event(&mut events, "node_failure_detected").await;
        assert!(
            matches!(&lost, Event::NodeFailureDetected { node_id, affected_children, .. }
                if *node_id == b_id && *affected_children == ["b", "e"]),
            "{lost:?}"
        );
        let (mut migrated, mut restarted) = (Vec::new(), Vec::new());
        while migrated.len() + restarted.len() < started.matches('+').count() {
            match restart_event(&mut events).await {
                Event::ChildMigrated { child_id, from_node, .. } => {
                    assert_eq!(from_node, b_id);
                    migrated.push(child_id);
                }
                Event::ChildRestarted { child_id, attempt: 0, .. } => restarted.push(child_id),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(migrated, ["b", "e"], "{strategy}");
        assert_eq!(ids(&log.take()), format!("{stopped} {started}"), "{strategy}");
        each_once(&[&a, &c], "tree", 6);
        let stats = sup.stats().await.unwrap();
        assert_eq!((stats.total_restarts, stats.node_failure_restarts), (2, 2), "siblings are not counted");
        assert_eq!(DistributedSupervisor::totals(&a).failovers, 1);
        // It was one of the one that is allowed.
        crash(&sup, "a").await;
        let expected = SupervisorExit::MaxRestartsExceeded { max_restarts: 1, within: LONG };
        assert_eq!(within("end", sup.wait()).await, expected);
        assert!(alive(&[&a, &c], "tree").is_empty());
        stop_all(&[&a, &c]).await;
    }
}

#[actix_rt::test]
async fn children_of_a_leaving_node_move_and_concern_no_siblings() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let ([a, b, c], log) = nodes(["a", "b", "c"]).await;
        let sup = builder(strategy)
            .children(["a", "b", "c", "d", "e", "f"].map(worker))
            .restart_intensity(0, LONG)
            .start(&a)
            .await
            .unwrap();
        log.take();
        let mut events = sup.events();
        within("stop", b.stop()).await;
        for _ in 0..2 {
            event(&mut events, "child_migrated").await;
        }
        let mut lines = log.take();
        lines.sort();
        let started: Vec<&String> = lines.iter().filter(|line| line.starts_with('+')).collect();
        assert_eq!(started.len(), 2, "{strategy}: {lines:?}");
        assert!(started[0].starts_with("+b@") && started[1].starts_with("+e@"), "{lines:?}");
        assert_eq!(lines.iter().filter(|line| line.starts_with('-')).count(), 2, "{lines:?}");
        each_once(&[&a, &c], "tree", 6);
        within("stop", sup.stop()).await.unwrap();
        stop_all(&[&a, &c]).await;
    }
}

#[actix_rt::test]
async fn the_end_of_significant_children_ends_the_supervisor_on_all_nodes() {
    let ([a, b, c], log) = nodes(["a", "b", "c"]).await;
    let done = |id| worker(id).restart(Restart::Transient).significant();
    let any = builder(Strategy::OneForOne)
        .auto_shutdown(AutoShutdown::AnySignificant)
        .children([worker("helper"), done("critical"), worker("other")])
        .start(&a)
        .await
        .unwrap();
    let far = DistributedSupervisor::lookup(&c, "tree").unwrap();
    let significant: Vec<bool> =
        far.children().await.unwrap().iter().map(|child| child.significant).collect();
    assert_eq!(significant, [false, true, false]);
    log.take();
    far.child::<Worker>("critical").await.unwrap().leave(ExitReason::Normal).unwrap();
    let expected = SupervisorExit::AutoShutdown { child_id: "critical".into() };
    assert_eq!(within("end", far.wait()).await, expected);
    assert_eq!(any.wait().await, expected);
    assert_eq!(ids(&log.take()), "-critical -other -helper");
    assert!(alive(&[&a, &b, &c], "tree").is_empty());

    let all = builder(Strategy::OneForAll)
        .name("all")
        .auto_shutdown(AutoShutdown::AllSignificant)
        .children([done("one"), worker("logger")])
        .start(&b)
        .await
        .unwrap();
    // Also one that is added from another node.
    let far = DistributedSupervisor::lookup(&c, "all");
    let far = match far {
        Ok(far) => far,
        Err(_) => {
            within("its name is known", async {
                loop {
                    match DistributedSupervisor::lookup(&c, "all") {
                        Ok(far) => return far,
                        Err(_) => actix_rt::task::yield_now().await,
                    }
                }
            })
            .await
        }
    };
    far.start_child(done("two")).await.unwrap();
    let mut events = all.events();
    far.child::<Worker>("one").await.unwrap().leave(ExitReason::Normal).unwrap();
    event(&mut events, "child_stopped").await;
    assert_eq!(far.count_children().await.unwrap(), 2);
    far.terminate_child("two").await.unwrap();
    let expected = SupervisorExit::AutoShutdown { child_id: "two".into() };
    assert_eq!(within("end", all.wait()).await, expected);
    assert_eq!([&a, &b, &c].map(|node| node.processes().len()), [0, 0, 0]);
    stop_all(&[&a, &b, &c]).await;
}

struct Other;

#[behavior(name = "other")]
impl Other {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Other)
    }
}

fn pool() -> DistributedSupervisorBuilder {
    builder(Strategy::SimpleOneForOne)
        .child_template(Template::new::<Worker>().restart(Restart::Transient))
        .restart_intensity(10, LONG)
}

#[actix_rt::test]
async fn children_of_a_template_are_numbered_keep_their_arguments_and_live_anywhere() {
    let ([a, b, c], log) = nodes(["a", "b", "c"]).await;
    let sup = pool().start(&a).await.unwrap();
    let far = DistributedSupervisor::whereis(&c, "tree").unwrap();
    let mut events = sup.events();
    for n in 1..=3 {
        let from = if n % 2 == 0 { &far } else { &sup };
        let child: Ref<Worker> = from.start_instance(format!("job {n}")).await.unwrap();
        assert_eq!(child.arg().await.unwrap(), format!("job {n}"));
    }
    assert_eq!(log.take(), ["+child_1@a", "+child_2@b", "+child_3@c"]);
    for node in [&a, &b, &c] {
        assert_eq!(node.global().pid("child_1"), None, "they have no names");
    }
    // A crash: the same arguments, perhaps elsewhere, and nobody else is concerned.
    crash(&far, "child_2").await;
    event(&mut events, "child_restarted").await;
    assert_eq!(ids(&log.take()), "+child_2");
    assert_eq!(far.child::<Worker>("child_2").await.unwrap().arg().await.unwrap(), "job 2");
    // A node that leaves: the same.
    within("stop", b.stop()).await;
    let on_b = log.take().iter().filter(|line| line.starts_with('-')).count();
    for _ in 0..on_b {
        event(&mut events, "child_migrated").await;
    }
    for n in 1..=3 {
        let child = sup.child::<Worker>(&format!("child_{n}")).await.unwrap();
        assert_eq!(child.arg().await.unwrap(), format!("job {n}"));
    }
    each_once(&[&a, &c], "tree", 3);
    // One that is done is gone, and its number is not given again.
    far.child::<Worker>("child_3").await.unwrap().leave(ExitReason::Normal).unwrap();
    event(&mut events, "child_stopped").await;
    let next = far.start_instance::<Worker>("job 4".into()).await.unwrap();
    assert_eq!(next.arg().await.unwrap(), "job 4");
    let known: Vec<String> = sup.children().await.unwrap().into_iter().map(|child| child.id).collect();
    assert_eq!(known, ["child_1", "child_2", "child_4"]);
    far.terminate_child("child_1").await.unwrap();
    each_once(&[&a, &c], "tree", 2);

    let refused = far.start_child(worker("x")).await.unwrap_err();
    assert!(matches!(&refused, ChildError::Spec(SpecError::InvalidSimpleOneForOne { .. })), "{refused:?}");
    let refused = far.start_instance::<Other>(()).await.unwrap_err();
    assert!(
        matches!(&refused, ChildError::WrongBehavior(wrong) if (wrong.expected.as_str(), wrong.found.as_str()) == ("other", "worker")),
        "{refused:?}"
    );
    let plain = DistributedSupervisor::builder().name("plain").start(&a).await.unwrap();
    let refused = plain.start_instance::<Worker>("x".into()).await.unwrap_err();
    assert!(matches!(&refused, ChildError::Spec(SpecError::InvalidSimpleOneForOne { .. })), "{refused:?}");
    for sup in [&plain, &sup] {
        within("stop", sup.stop()).await.unwrap();
    }
    assert_eq!([&a, &c].map(|node| node.processes().len()), [0, 0]);
    stop_all(&[&a, &c]).await;
}

#[actix_rt::test]
async fn children_of_a_template_end_with_its_supervisor_or_are_stopped_by_the_next_of_its_name() {
    let ([a, b], log) = nodes(["a", "b"]).await;
    let sup = pool().start(&a).await.unwrap();
    for n in 1..=4 {
        sup.start_instance::<Worker>(format!("job {n}")).await.unwrap();
    }
    log.take();
    sup.erase().kill();
    assert_eq!(sup.wait().await, SupervisorExit::Stopped(ExitReason::Killed));
    each_once(&[&a, &b], "tree", 4);
    // Nobody knows what their jobs were: they are stopped, and their numbers are not given again.
    let next = start_next(&pool(), &b).await;
    let child = within("a start", next.start_instance::<Worker>("job 5".into())).await.unwrap();
    assert_eq!(child.arg().await.unwrap(), "job 5");
    assert_eq!(next.children().await.unwrap()[0].id, "child_5");
    within("the old ones are gone", async {
        while alive(&[&a, &b], "tree").len() > 1 {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
    let mut stopped = log.take();
    stopped.retain(|line| line.starts_with('-'));
    stopped.sort();
    assert_eq!(ids(&stopped), "-child_1 -child_2 -child_3 -child_4");
    next.start_instance::<Worker>("job 6".into()).await.unwrap();
    each_once(&[&a, &b], "tree", 2);
    // With the supervisor's node they end, wherever they are.
    within("stop", b.stop()).await;
    assert_eq!(next.wait().await, SupervisorExit::Stopped(ExitReason::Shutdown));
    assert!(alive(&[&a], "tree").is_empty());
    assert_eq!(a.processes().len(), 0);
    stop_all(&[&a]).await;
}

#[actix_rt::test]
async fn the_next_supervisor_takes_all_over_or_starts_anew_whom_the_missing_concern() {
    for (strategy, expected) in [
        (Strategy::OneForOne, "+b"),
        (Strategy::OneForAll, "-c -a +a +b +c"),
        (Strategy::RestForOne, "-c +b +c"),
    ] {
        let ([a, b, c], log) = nodes(["a", "b", "c"]).await;
        let tree = builder(strategy).children(["a", "b", "c"].map(worker)).restart_intensity(0, LONG);
        let sup = tree.clone().start(&a).await.unwrap();
        log.take();
        let known = |sup: DistributedSupervisor| async move {
            let children = sup.children().await.unwrap();
            children.into_iter().map(|child| (child.id, child.generation)).collect::<Vec<_>>()
        };
        let before = known(sup.clone()).await;
        sup.erase().kill();
        let next = start_next(&tree, &b).await;
        assert_eq!(known(next.clone()).await, before, "{strategy}: all are there, and nothing is started");
        assert!(log.take().is_empty());

        let child = next.child::<Worker>("b").await.unwrap();
        next.erase().kill();
        assert_eq!(next.wait().await, SupervisorExit::Stopped(ExitReason::Killed));
        child.explode().unwrap();
        child.monitor().await;
        let last = start_next(&tree, &c).await;
        assert_eq!(ids(&log.take()), expected, "{strategy}");
        each_once(&[&a, &b, &c], "tree", 3);
        let after = known(last.clone()).await;
        for ((id, before), (_, after)) in before.iter().zip(&after) {
            assert_eq!(after > before, expected.contains(&format!("+{id}")), "{strategy}: {id}");
        }
        assert_eq!(last.stats().await.unwrap().total_restarts, 0, "that was its start");
        within("stop", last.stop()).await.unwrap();
        assert!(alive(&[&a, &b, &c], "tree").is_empty());
        stop_all(&[&a, &b, &c]).await;
    }
}

#[actix_rt::test]
async fn of_two_pools_started_at_once_under_one_name_one_remains_with_its_own_children() {
    let ([a, b], _log) = nodes(["a", "b"]).await;
    let started = futures_util::future::join_all([&a, &b].map(|node| pool().start(node))).await;
    for (n, sup) in started.iter().flatten().enumerate() {
        for job in 0..=n {
            // The one that loses may be gone already.
            let _ = sup.start_instance::<Worker>(format!("job {job}")).await;
        }
    }
    let supervisors = |node: &Cluster| {
        node.processes().iter().filter(|process| process.behavior == "noex.distributed_supervisor").count()
    };
    let settled = async {
        loop {
            let owners = [&a, &b].map(|node| node.global().pid("noex.sup/tree"));
            if supervisors(&a) + supervisors(&b) == 1 && owners[0] == owners[1] {
                let sup = DistributedSupervisor::whereis(&a, "tree").unwrap();
                let known: Vec<_> = sup.children().await.unwrap().into_iter().map(|child| child.id).collect();
                let alive = alive(&[&a, &b], "tree");
                let each_once = alive.values().all(|places| places.len() == 1);
                if each_once && alive.keys().eq(known.iter()) {
                    return sup;
                }
            }
            actix_rt::task::yield_now().await;
        }
    };
    let sup = within("one remains", settled).await;
    let next = sup.start_instance::<Worker>("another".into()).await.unwrap();
    assert_eq!(next.arg().await.unwrap(), "another");
    within("stop", sup.stop()).await.unwrap();
    assert_eq!([&a, &b].map(|node| node.processes().len()), [0, 0]);
    stop_all(&[&a, &b]).await;
}

/// As many a second as it says, from the first on.
#[actix_rt::test]
async fn what_a_lost_node_had_is_started_at_the_rate_that_was_given() {
    let log = Log::default();
    let a = join("a", None, &log).await;
    let mut b = Victim::start("a_node_to_be_killed", &a);
    within("b is there", a.wait_for_nodes(2)).await.unwrap();
    let there = a.nodes()[0].id.clone();
    let on_b = NodeSelector::custom(move |nodes, _| {
        nodes.iter().find(|node| node.id == there).or(nodes.first()).map(|node| node.id.clone())
    });
    let builder = builder(Strategy::OneForOne).node_selector(on_b).restart_rate(20);
    let sup = within("start", builder.children((0..20).map(|n| worker(&format!("w{n}")))).start(&a));
    let sup = sup.await.unwrap();
    let mut events = sup.events();
    let killed = Instant::now();
    b.kill();
    for _ in 0..20 {
        event(&mut events, "child_migrated").await;
    }
    let took = killed.elapsed();
    assert!(took >= Duration::from_millis(950), "nineteen after the first, 50 ms each: {took:?}");
    each_once(&[&a], "tree", 20);
    within("stop", sup.stop()).await.unwrap();
    stop_all(&[&a]).await;
}

/// One more than may be: all ends, and nobody has a name.
#[actix_rt::test]
async fn the_loss_of_a_node_may_be_one_too_many() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        let log = Log::default();
        let a = join("a", None, &log).await;
        let mut b = Victim::start("a_node_to_be_killed", &a);
        within("b is there", a.wait_for_nodes(2)).await.unwrap();
        let builder = builder(strategy).restart_intensity(0, LONG);
        let sup = within("start", builder.children(["a", "b", "c"].map(worker)).start(&a)).await.unwrap();
        b.kill();
        let exit = within("it ends", sup.wait()).await;
        assert_eq!(exit, SupervisorExit::MaxRestartsExceeded { max_restarts: 0, within: LONG }, "{strategy}");
        assert_eq!((a.process_count(), a.global().names()), (0, vec![]), "{strategy}");
        let lines = log.take();
        assert!(!lines[2..].iter().any(|line| line.starts_with('+')), "{strategy}: {lines:?}");
        stop_all(&[&a]).await;
    }
}

/// The tree above stops it with its children on every node, however long they take, and starts it again when it gives up.
#[actix_rt::test]
async fn a_distributed_supervisor_is_a_child_like_another() {
    let ([a, b], log) = nodes(["a", "b"]).await;
    let slow = worker("b").shutdown(Shutdown::Timeout(Duration::from_secs(6)));
    let nested = builder(Strategy::OneForAll).restart_intensity(0, LONG).children([worker("a"), slow]);
    let sup = Supervisor::builder()
        .restart_intensity(1, LONG)
        .child(ChildSpec::distributed_supervisor("nested", nested.clone()))
        .start(&a)
        .await
        .unwrap();
    assert_eq!(log.take(), ["+a@a", "+b@b"]);
    let inner = DistributedSupervisor::lookup(&b, "tree").unwrap();
    let ended = actix_rt::spawn({
        let inner = inner.clone();
        async move { inner.wait().await }
    });
    crash(&inner, "a").await;
    let exit = within("it gives up", ended).await.unwrap();
    assert!(matches!(exit, SupervisorExit::MaxRestartsExceeded { .. }), "{exit}");
    let inner = within("it is started again", async {
        loop {
            match DistributedSupervisor::lookup(&b, "tree") {
                Ok(found) if found.pid() != inner.pid() && found.children().await.is_ok() => break found,
                _ => actix_rt::task::yield_now().await,
            }
        }
    })
    .await;
    within("it is a restart of its tree", async {
        while sup.stats().await.unwrap().total_restarts == 0 {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
    each_once(&[&a, &b], "tree", 2);
    assert_eq!(sup.stats().await.unwrap().total_restarts, 1);
    assert_eq!(log.take(), ["-b@b", "+a@a", "+b@b"]);

    inner.child::<Worker>("b").await.unwrap().never_stop().unwrap();
    // Behind it.
    inner.child::<Worker>("b").await.unwrap().arg().await.unwrap();
    within("all of the tree stops", sup.stop()).await.unwrap();
    assert_eq!(log.take(), ["?b@b", "-a@a"], "after its own time, and not before");
    assert!(alive(&[&a, &b], "tree").is_empty());
    assert!(DistributedSupervisor::lookup(&a, "tree").is_err());

    // Without a cluster there is none.
    let alone = Node::start().await.unwrap();
    let refused = Supervisor::builder().child(ChildSpec::distributed_supervisor("nested", nested));
    match refused.start(&alone).await {
        Err(StartSupervisorError::Child { id, source: ChildError::Spawn { source, .. } }) => {
            assert!(id == "nested" && source.to_string().contains("a node of a cluster"), "{source}");
        }
        other => panic!("{other:?}"),
    }
    alone.stop().await;
    stop_all(&[&b, &a]).await;
}
