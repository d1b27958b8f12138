//! Strategies, significant children and templates over real processes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::{sync::atomic::Ordering, time::Duration};

use common::{Log, Mood, Worker, crash, event, moody, node, processes, restarts, soon, taken, worker};
use noex_actors::{ExitReason, behavior};
use noex_supervisor::{
    AutoShutdown, ChildError, ChildSpec, ChildState, ChildTemplate, Restart, SpecError, Strategy, Supervisor,
    SupervisorEvent, SupervisorExit,
};

#[actix_rt::test]
async fn each_strategy_stops_and_starts_whom_it_should_in_order() {
    for (strategy, dies, expected) in [
        (Strategy::OneForOne, "b", "+b"),
        (Strategy::OneForAll, "b", "-c -a +a +b +c"),
        (Strategy::RestForOne, "b", "-c +b +c"),
    ] {
        let (node, log) = (node().await, Log::default());
        let children = ["a", "b", "c"].map(|id| worker(id, &log));
        let sup = Supervisor::builder().strategy(strategy).children(children).start(&node).await.unwrap();
        assert_eq!(taken(&log), "+a +b +c");
        let mut events = sup.events();
        crash(&sup, dies).await;
        restarts(&mut events, expected.matches('+').count()).await;
        assert_eq!(taken(&log), expected, "{strategy}");
        assert_eq!(node.process_count(), 4);
        let info = sup.children().await.unwrap();
        let counts: Vec<_> = info.iter().map(|child| (child.id.as_str(), child.restart_count)).collect();
        assert_eq!(counts, [("a", 0), ("b", 1), ("c", 0)], "{strategy}");
        let stats = sup.stats().await.unwrap();
        assert_eq!((stats.strategy, stats.total_restarts, stats.child_count), (strategy, 1, 3));
        sup.stop().await.unwrap();
        assert_eq!(taken(&log), "-c -b -a");
        assert_eq!(node.process_count(), 0);
        node.stop().await;
    }
}

#[actix_rt::test]
async fn a_restart_that_fails_in_a_round_begins_the_round_anew() {
    let (node, log, mood) = (node().await, Log::default(), Mood::default());
    let children = [worker("a", &log), moody("b", &log, &mood), worker("c", &log)];
    let sup =
        Supervisor::builder().strategy(Strategy::OneForAll).children(children).start(&node).await.unwrap();
    taken(&log);
    let mut events = sup.events();
    mood.failures.store(1, Ordering::SeqCst);
    crash(&sup, "c").await;
    let failed = event(&mut events, "child_start_failed").await;
    assert!(
        matches!(&failed, SupervisorEvent::ChildStartFailed { child_id, attempt: 1, .. } if child_id == "b")
    );
    let state = sup.child_info("b").await.unwrap().state;
    assert_eq!(state, ChildState::Restarting { attempt: 2 });
    restarts(&mut events, 3).await;
    assert_eq!(taken(&log), "-b -a +a xb -a +a +b +c");
    assert_eq!(node.process_count(), 4);
    sup.stop().await.unwrap();
    node.stop().await;
}

#[actix_rt::test]
async fn temporary_siblings_go_and_transient_ones_come_back() {
    let (node, log) = (node().await, Log::default());
    let sup = Supervisor::builder()
        .strategy(Strategy::RestForOne)
        .child(worker("a", &log))
        .child(worker("b", &log).restart(Restart::Temporary))
        .child(worker("c", &log).restart(Restart::Transient))
        .start(&node)
        .await
        .unwrap();
    taken(&log);
    let mut events = sup.events();
    crash(&sup, "a").await;
    let stopped = event(&mut events, "child_stopped").await;
    assert!(
        matches!(&stopped, SupervisorEvent::ChildStopped { child_id, reason: ExitReason::Shutdown, .. } if child_id == "b")
    );
    restarts(&mut events, 2).await;
    assert_eq!(taken(&log), "-c -b +a +c");
    assert_eq!((sup.count_children().await.unwrap(), node.process_count()), (2, 3));
    sup.stop().await.unwrap();
    node.stop().await;
}

#[actix_rt::test]
async fn a_round_can_be_stopped_while_a_child_starts() {
    let (node, log, mood) = (node().await, Log::default(), Mood::default());
    let children = [worker("a", &log), moody("b", &log, &mood), worker("c", &log)];
    let sup =
        Supervisor::builder().strategy(Strategy::OneForAll).children(children).start(&node).await.unwrap();
    let mut events = sup.events();
    mood.held.store(true, Ordering::SeqCst);
    crash(&sup, "a").await;
    event(&mut events, "child_restarted").await;
    assert_eq!(sup.child_info("b").await.unwrap().state, ChildState::Restarting { attempt: 1 });
    // Requests are answered meanwhile, and one of a child that waits for its turn is removed at once.
    sup.terminate_child("c").await.unwrap();
    let (stopped, ()) = futures_util::future::join(sup.stop(), async {
        mood.held.store(false, Ordering::SeqCst);
    })
    .await;
    stopped.unwrap();
    assert_eq!(node.process_count(), 0);
    node.stop().await;
}

#[actix_rt::test]
async fn the_first_significant_child_that_is_gone_ends_the_supervisor() {
    let (node, log) = (node().await, Log::default());
    let sup = Supervisor::builder()
        .auto_shutdown(AutoShutdown::AnySignificant)
        .child(worker("critical", &log).restart(Restart::Transient).significant())
        .child(worker("helper", &log))
        .start(&node)
        .await
        .unwrap();
    let mut events = sup.events();
    assert!(sup.child_info("critical").await.unwrap().significant);
    crash(&sup, "critical").await;
    event(&mut events, "child_restarted").await;
    let monitor = sup.erase().monitor();
    sup.child::<Worker>("critical").await.unwrap().leave(ExitReason::Normal).unwrap();
    let exit = soon(sup.wait()).await;
    assert_eq!(exit, SupervisorExit::AutoShutdown { child_id: "critical".into() });
    assert_eq!(monitor.await.reason, ExitReason::Shutdown);
    let stopped = event(&mut events, "supervisor_stopped").await;
    assert_eq!(
        serde_json::to_value(&stopped).unwrap(),
        serde_json::json!({"type": "supervisor_stopped", "supervisorId": sup.id(), "reason": "auto_shutdown"})
    );
    assert_eq!(node.process_count(), 0);
    node.stop().await;
}

#[actix_rt::test]
async fn the_last_significant_child_that_is_gone_ends_the_supervisor_and_a_parent_treats_it_as_a_shutdown() {
    let (node, log) = (node().await, Log::default());
    let sub = || {
        Supervisor::builder()
            .auto_shutdown(AutoShutdown::AllSignificant)
            .children(["a", "b"].map(|id| worker(id, &log).significant()))
            .child(worker("logger", &log))
    };
    let top = Supervisor::builder()
        .child(ChildSpec::supervisor("transient", sub()).restart(Restart::Transient))
        .supervisor("permanent", sub())
        .start(&node)
        .await
        .unwrap();
    let mut events = top.events();
    for id in ["transient", "permanent"] {
        let sub = top.supervisor(id).await.unwrap();
        sub.terminate_child("a").await.unwrap();
        assert!(sub.is_running());
        // The answer may come, or the end of the supervisor before it.
        let _ = sub.terminate_child("b").await;
        assert_eq!(soon(sub.wait()).await, SupervisorExit::AutoShutdown { child_id: "b".into() });
    }
    event(&mut events, "child_stopped").await;
    event(&mut events, "child_restarted").await;
    assert_eq!(top.count_children().await.unwrap(), 1);
    assert_eq!(node.process_count(), 5, "top, the permanent one, and its three children");
    top.stop().await.unwrap();
    assert_eq!(node.process_count(), 0);
    node.stop().await;
}

struct Task(u32);

#[behavior]
impl Task {
    #[init]
    fn new(number: u32) -> Result<Self, ExitReason> {
        if number == 13 { Err(ExitReason::Error("unlucky".into())) } else { Ok(Task(number)) }
    }
    #[call]
    fn number(&self) -> u32 {
        self.0
    }
    #[cast]
    fn explode(&mut self) {
        panic!("boom");
    }
}

#[actix_rt::test]
async fn children_of_a_template_are_numbered_and_keep_their_arguments() {
    let node = node().await;
    let pool = Supervisor::builder()
        .name("pool")
        .strategy(Strategy::SimpleOneForOne)
        .child_template(ChildTemplate::new::<Task>().restart(Restart::Transient))
        .start(&node)
        .await
        .unwrap();
    let mut events = pool.events();
    let one = pool.start_instance::<Task>(7).await.unwrap();
    let two = pool.start_instance::<Task>(8).await.unwrap();
    assert_eq!((one.number().await.unwrap(), two.number().await.unwrap()), (7, 8));
    one.explode().unwrap();
    let restarted = event(&mut events, "child_restarted").await;
    assert!(
        matches!(&restarted, SupervisorEvent::ChildRestarted { child_id, attempt: 1, .. } if child_id == "child_1")
    );
    assert_eq!(pool.child::<Task>("child_1").await.unwrap().number().await.unwrap(), 7);
    let infos = pool.children().await.unwrap();
    let shown: Vec<_> = infos.iter().map(|i| (i.id.as_str(), i.behavior.as_str(), i.restart)).collect();
    assert_eq!(shown, [("child_1", "Task", Restart::Transient), ("child_2", "Task", Restart::Transient)]);
    // One that does not start is not kept; its number is not used again.
    let unlucky = pool.start_instance::<Task>(13).await.unwrap_err();
    assert!(matches!(&unlucky, ChildError::Spawn { child_id, .. } if child_id == "child_3"), "{unlucky}");
    pool.start_instance::<Task>(9).await.unwrap();
    pool.terminate_child("child_2").await.unwrap();
    let ids: Vec<_> = pool.children().await.unwrap().into_iter().map(|info| info.id).collect();
    assert_eq!(ids, ["child_1", "child_4"]);
    let again = pool.restart_child("child_4").await.unwrap();
    assert_eq!(again.typed_local::<Task>().unwrap().number().await.unwrap(), 9);
    pool.stop().await.unwrap();
    assert_eq!(node.process_count(), 0);
    node.stop().await;
}

#[actix_rt::test]
async fn a_template_takes_instances_of_its_behavior_and_nothing_else() {
    let (node, log) = (node().await, Log::default());
    let pool = Supervisor::builder()
        .strategy(Strategy::SimpleOneForOne)
        .child_template(ChildTemplate::new::<Task>())
        .start(&node)
        .await
        .unwrap();
    let spec = pool.start_child(worker("a", &log)).await.unwrap_err();
    assert!(matches!(spec, ChildError::Spec(SpecError::InvalidSimpleOneForOne { .. })), "{spec}");
    let other =
        pool.start_instance::<Worker>(("a".to_owned(), Log::default(), Mood::default())).await.unwrap_err();
    assert!(matches!(&other, ChildError::WrongBehavior(wrong) if wrong.found == "Task"), "{other}");
    let plain = Supervisor::builder().child(worker("a", &log)).start(&node).await.unwrap();
    let astray = plain.start_instance::<Task>(1).await.unwrap_err();
    assert!(matches!(astray, ChildError::Spec(SpecError::InvalidSimpleOneForOne { .. })), "{astray}");
    assert_eq!(node.process_count(), 3);
    pool.stop().await.unwrap();
    plain.stop().await.unwrap();
    node.stop().await;
}

#[actix_rt::test]
async fn handles_of_nested_supervisors_are_found_by_id_and_by_name() {
    let (node, log) = (node().await, Log::default());
    let leaf = Supervisor::builder().name("leaf").child(worker("w", &log));
    let top = Supervisor::builder()
        .name("top")
        .supervisor("middle", Supervisor::builder().supervisor("leaf", leaf))
        .child(worker("x", &log))
        .start(&node)
        .await
        .unwrap();
    let leaf = top.supervisor("middle").await.unwrap().supervisor("leaf").await.unwrap();
    assert_eq!(leaf.child::<Worker>("w").await.unwrap().hello().await.unwrap(), "w");
    assert_eq!(Supervisor::whereis(&node, "leaf").unwrap().pid(), leaf.pid());
    assert!(matches!(top.supervisor("x").await.unwrap_err(), ChildError::WrongBehavior(_)));
    assert!(matches!(top.supervisor("y").await.unwrap_err(), ChildError::NotFound(_)));
    top.stop().await.unwrap();
    assert!(Supervisor::whereis(&node, "leaf").is_none() && Supervisor::whereis(&node, "top").is_none());
    processes(&node, 0).await;
    node.stop().await;
}

#[actix_rt::test]
async fn an_end_over_the_limit_climbs_a_tree_as_far_as_it_must() {
    let (node, log) = (node().await, Log::default());
    let within = Duration::from_secs(60);
    // The closures of a builder hear every supervisor that is made from it.
    let (back, mut is_back) = tokio::sync::mpsc::unbounded_channel();
    let leaf =
        Supervisor::builder().name("leaf").child(worker("w", &log)).restart_intensity(1, within).on_event(
            move |event| match event {
                SupervisorEvent::SupervisorStarted { .. } | SupervisorEvent::ChildRestarted { .. } => {
                    let _ = back.send(event.kind());
                }
                _ => {}
            },
        );
    let middle = Supervisor::builder().name("middle").supervisor("leaf", leaf).restart_intensity(1, within);
    let top = Supervisor::builder()
        .strategy(Strategy::OneForAll)
        .child(worker("x", &log))
        .supervisor("middle", middle)
        .restart_intensity(1, within)
        .start(&node)
        .await
        .unwrap();
    assert_eq!(soon(is_back.recv()).await, Some("supervisor_started"));
    taken(&log);
    // Each second crash ends the leaf, each second of those the middle, and then the top.
    let mut climbed = Vec::new();
    for _ in 0..7 {
        let leaf = Supervisor::whereis(&node, "leaf").unwrap();
        crash(&leaf, "w").await;
        climbed.push((soon(is_back.recv()).await.unwrap(), taken(&log)));
    }
    let expected = ["child_restarted +w", "supervisor_started +w"].repeat(4);
    let climbed: Vec<_> = climbed.iter().map(|(kind, log)| format!("{kind} {log}")).collect();
    assert_eq!(climbed[..3], expected[..3]);
    assert_eq!(climbed[3], "supervisor_started -x +x +w", "the top begins its round");
    assert_eq!(climbed[4..], expected[4..7]);
    crash(&Supervisor::whereis(&node, "leaf").unwrap(), "w").await;
    let end = soon(top.wait()).await;
    assert_eq!(end, SupervisorExit::MaxRestartsExceeded { max_restarts: 1, within });
    assert_eq!(node.process_count(), 0);
    node.stop().await;
}
