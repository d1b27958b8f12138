//! What the original gets wrong about local supervision, each as a test of what must hold instead. The numbers are those of
//! the study of it (L4 to L10; L1 to L3, L9 and L11 concern processes and are tested there).

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use common::{Log, Mood, Worker, crash, event, moody, node, processes, restarts, soon, taken, worker};
use noex_actors::{Context, ExitReason, SpawnError, SpawnOptions, StartError, behavior};
use noex_supervisor::{
    ChildError, ChildSpec, ChildTemplate, Restart, Strategy, Supervisor, SupervisorEvent, SupervisorExit,
};

const STRATEGIES: [Strategy; 3] = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne];

/// L4: handlers could not crash a process.
#[actix_rt::test]
async fn l4_an_error_in_a_handler_is_a_crash_that_the_supervisor_sees() {
    let (node, log) = (node().await, Log::default());
    let sup = Supervisor::builder()
        .child(worker("panics", &log))
        .child(worker("fails", &log).restart(Restart::Transient))
        .start(&node)
        .await
        .unwrap();
    let mut events = sup.events();
    crash(&sup, "panics").await;
    event(&mut events, "child_restarted").await;
    sup.child::<Worker>("fails").await.unwrap().leave(ExitReason::Error("no".into())).unwrap();
    event(&mut events, "child_restarted").await;
    assert_eq!(taken(&log), "+panics +fails +panics -fails +fails");
    assert_eq!(node.process_count(), 3);
    sup.stop().await.unwrap();
    node.stop().await;
}

/// L5: one_for_all and rest_for_one multiplied processes.
#[actix_rt::test]
async fn l5_children_killed_together_again_and_again_are_each_there_once() {
    for strategy in STRATEGIES {
        let (node, log) = (node().await, Log::default());
        let children = ["a", "b", "c"].map(|id| worker(id, &log));
        let sup = Supervisor::builder()
            .strategy(strategy)
            .children(children)
            .restart_intensity(1000, Duration::from_secs(60))
            .start(&node)
            .await
            .unwrap();
        let mut events = sup.events();
        for victims in [vec!["a", "b", "c"], vec!["b"], vec!["c", "a"], vec!["c", "b", "a"], vec!["a"]] {
            let mut before = Vec::new();
            for id in &victims {
                before.push(sup.child::<Worker>(id).await.unwrap());
            }
            for victim in &before {
                victim.kill();
            }
            // Until each of them has another instance, and the round that gave it one is over.
            soon(async {
                loop {
                    let children = sup.children().await.unwrap();
                    let old = |pid| before.iter().any(|victim| victim.pid() == pid);
                    if children.iter().all(|child| child.pid.as_ref().is_some_and(|pid| !old(pid))) {
                        break;
                    }
                    event(&mut events, "child_restarted").await;
                }
            })
            .await;
            assert_eq!(node.process_count(), 4, "{strategy}, after {victims:?}");
            let ids: Vec<_> = sup.children().await.unwrap().into_iter().map(|child| child.id).collect();
            assert_eq!(ids, ["a", "b", "c"]);
        }
        sup.stop().await.unwrap();
        assert_eq!(node.process_count(), 0);
        node.stop().await;
    }
}

/// L6: a supervisor over its limit took the program with it and left its other children alone.
#[actix_rt::test]
async fn l6_a_supervisor_over_its_limit_takes_its_children_along_and_nobody_else() {
    for strategy in STRATEGIES {
        let (node, log) = (node().await, Log::default());
        let neighbour =
            node.spawn::<Worker>(("n".to_owned(), Arc::clone(&log), Mood::default())).await.unwrap();
        let within = Duration::from_secs(60);
        let sub = Supervisor::builder()
            .strategy(strategy)
            .children(["a", "b", "c"].map(|id| worker(id, &log)))
            .restart_intensity(0, within);
        let top = Supervisor::builder().supervisor("sub", sub).start(&node).await.unwrap();
        let mut events = top.events();
        let sub = top.supervisor("sub").await.unwrap();
        crash(&sub, "b").await;
        assert_eq!(soon(sub.wait()).await, SupervisorExit::MaxRestartsExceeded { max_restarts: 0, within });
        event(&mut events, "child_restarted").await;
        assert_eq!(node.process_count(), 6, "the neighbour, top, sub and its three children");
        assert_eq!(neighbour.hello().await.unwrap(), "n");
        top.stop().await.unwrap();
        assert_eq!(node.process_count(), 1);
        node.stop().await;
    }
}

/// L7: one failed start during a restart ended the supervisor.
#[actix_rt::test]
async fn l7_a_start_that_fails_during_a_restart_is_tried_again_and_counted() {
    for strategy in STRATEGIES {
        let (node, log, mood) = (node().await, Log::default(), Mood::default());
        let sup = Supervisor::builder()
            .strategy(strategy)
            .children([worker("a", &log), moody("b", &log, &mood), worker("c", &log)])
            .restart_intensity(3, Duration::from_secs(60))
            .start(&node)
            .await
            .unwrap();
        let mut events = sup.events();
        mood.failures.store(2, Ordering::SeqCst);
        crash(&sup, "b").await;
        for attempt in [1, 2] {
            let failed = event(&mut events, "child_start_failed").await;
            assert!(matches!(failed, SupervisorEvent::ChildStartFailed { attempt: a, .. } if a == attempt));
        }
        soon(async {
            while sup.children().await.unwrap().iter().any(|child| child.pid.is_none()) {
                restarts(&mut events, 1).await;
            }
        })
        .await;
        assert_eq!(node.process_count(), 4, "{strategy}");
        // The crash and two failures: one more is allowed, and no other.
        mood.failures.store(1, Ordering::SeqCst);
        crash(&sup, "b").await;
        let end = soon(sup.wait()).await;
        assert!(matches!(end, SupervisorExit::MaxRestartsExceeded { .. }), "{strategy}: {end}");
        assert_eq!(node.process_count(), 0);
        node.stop().await;
    }
}

/// L8: every child was polled, and every event cost work for every child.
#[actix_rt::test]
async fn l8_a_crash_costs_the_same_whether_there_are_ten_children_or_a_thousand() {
    let mut costs = Vec::new();
    for children in [10, 1000] {
        let (node, log) = (node().await, Log::default());
        let children = (0..children).map(|n| worker(&format!("w{n}"), &log));
        let sup = Supervisor::builder().children(children).start(&node).await.unwrap();
        let mut events = sup.events();
        let victim = sup.child::<Worker>("w5").await.unwrap();
        let handled = || node.process(sup.pid()).unwrap().message_count;
        let before = handled();
        victim.explode().unwrap();
        event(&mut events, "child_restarted").await;
        // A question behind it, so that what belongs to the restart has been handled.
        sup.count_children().await.unwrap();
        costs.push(handled() - before);
        sup.stop().await.unwrap();
        node.stop().await;
    }
    assert_eq!(costs[0], costs[1], "messages that the supervisor handled for one restart");
    assert!(costs[0] <= 3, "the end, the start, the question: {costs:?}");
}

/// L10: a start that took too long went on in the background.
#[actix_rt::test]
async fn l10_a_start_that_takes_too_long_leaves_nobody() {
    let (node, log, mood) = (node().await, Log::default(), Mood::default());
    let sup = Supervisor::builder().child(worker("a", &log)).start(&node).await.unwrap();
    mood.held.store(true, Ordering::SeqCst);
    let after = Duration::from_millis(30);
    let hanging = moody("b", &log, &mood).options(SpawnOptions::new().init_timeout(after));
    let error = sup.start_child(hanging).await.unwrap_err();
    assert!(
        matches!(&error, ChildError::Spawn { source: SpawnError::Start(StartError::InitTimeout(t)), .. } if *t == after),
        "{error:?}"
    );
    processes(&node, 2).await;
    assert_eq!(sup.count_children().await.unwrap(), 1);
    sup.stop().await.unwrap();
    node.stop().await;
}

/// A child that does what it should not at the worst moment.
struct Troublemaker(Trouble);

#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    /// It ends as soon as it has started.
    EndsAtOnce,
    /// It panics while it starts, but for the first time.
    PanicsInInit,
    /// It panics while it stops.
    PanicsInTerminate,
}

#[behavior]
impl Troublemaker {
    #[init]
    fn new(
        trouble: Trouble,
        starts: Arc<std::sync::atomic::AtomicUsize>,
        cx: &mut Context<Self>,
    ) -> Result<Self, ExitReason> {
        let nth = starts.fetch_add(1, Ordering::SeqCst);
        match trouble {
            Trouble::EndsAtOnce => cx.stop(ExitReason::Error("at once".into())),
            Trouble::PanicsInInit if nth > 0 => panic!("in init"),
            Trouble::PanicsInInit | Trouble::PanicsInTerminate => {}
        }
        Ok(Troublemaker(trouble))
    }
    #[cast]
    fn explode(&mut self) {
        panic!("boom");
    }
    #[terminate]
    fn bye(&mut self, _reason: &ExitReason) {
        assert!(self.0 != Trouble::PanicsInTerminate, "in terminate");
    }
}

fn trouble(id: &str, trouble: Trouble) -> (ChildSpec, Arc<std::sync::atomic::AtomicUsize>) {
    let starts = Arc::default();
    (ChildSpec::new::<Troublemaker>(id, (trouble, Arc::clone(&starts))), starts)
}

#[actix_rt::test]
async fn a_child_that_ends_in_a_loop_ends_its_supervisor_with_an_exact_count() {
    for strategy in STRATEGIES {
        let (node, log) = (node().await, Log::default());
        let (loops, starts) = trouble("b", Trouble::EndsAtOnce);
        let started = Supervisor::builder()
            .strategy(strategy)
            .children([worker("a", &log), loops, worker("c", &log)])
            .restart_intensity(10, Duration::from_secs(60))
            .start(&node)
            .await;
        // It may be over before the start is.
        if let Ok(sup) = started {
            let end = soon(sup.wait()).await;
            assert!(matches!(end, SupervisorExit::MaxRestartsExceeded { .. }), "{end}");
        }
        assert_eq!(node.process_count(), 0, "{strategy}");
        assert_eq!(starts.load(Ordering::SeqCst), 11, "{strategy}: the first start and ten restarts");
        node.stop().await;
    }
}

#[actix_rt::test]
async fn a_child_that_panics_while_it_starts_is_a_failed_start() {
    for strategy in STRATEGIES {
        let (node, log) = (node().await, Log::default());
        let (bad, starts) = trouble("b", Trouble::PanicsInInit);
        let sup = Supervisor::builder()
            .strategy(strategy)
            .children([worker("a", &log), bad, worker("c", &log)])
            .restart_intensity(2, Duration::from_secs(60))
            .start(&node)
            .await
            .unwrap();
        let mut events = sup.events();
        sup.child::<Troublemaker>("b").await.unwrap().explode().unwrap();
        let failed = event(&mut events, "child_start_failed").await;
        assert!(
            matches!(&failed, SupervisorEvent::ChildStartFailed { error, .. } if error.contains("in init")),
            "{failed:?}"
        );
        assert!(matches!(soon(sup.wait()).await, SupervisorExit::MaxRestartsExceeded { .. }));
        assert_eq!(node.process_count(), 0);
        assert_eq!(starts.load(Ordering::SeqCst), 3, "the crash and two failures");
        node.stop().await;
    }
}

#[actix_rt::test]
async fn a_child_that_panics_while_it_is_stopped_holds_nobody_up() {
    for strategy in STRATEGIES {
        let (node, log) = (node().await, Log::default());
        let (bad, starts) = trouble("b", Trouble::PanicsInTerminate);
        let sup = Supervisor::builder()
            .strategy(strategy)
            .children([worker("a", &log), bad, worker("c", &log)])
            .start(&node)
            .await
            .unwrap();
        let mut events = sup.events();
        crash(&sup, "a").await;
        restarts(&mut events, if strategy == Strategy::OneForOne { 1 } else { 3 }).await;
        assert_eq!(node.process_count(), 4, "{strategy}");
        assert_eq!(starts.load(Ordering::SeqCst), if strategy == Strategy::OneForOne { 1 } else { 2 });
        sup.stop().await.unwrap();
        assert_eq!(node.process_count(), 0);
        node.stop().await;
    }
}

#[actix_rt::test]
async fn a_panic_in_a_start_function_is_a_failed_start_and_harms_no_other() {
    let (node, log) = (node().await, Log::default());
    let sup = Supervisor::builder().child(worker("a", &log)).start(&node).await.unwrap();
    let at_once = ChildSpec::with("b", |_| -> std::future::Ready<_> { panic!("at once") });
    let later = ChildSpec::with("c", |_| async { panic!("later") });
    for (spec, text) in [(at_once, "at once"), (later, "later")] {
        let error = sup.start_child(spec).await.unwrap_err();
        let wanted = StartError::Init(ExitReason::Panic(text.into()));
        assert!(
            matches!(&error, ChildError::Spawn { source: SpawnError::Start(e), .. } if *e == wanted),
            "{error:?}"
        );
    }
    sup.start_child(worker("d", &log)).await.unwrap();
    assert_eq!((sup.count_children().await.unwrap(), node.process_count()), (2, 3));
    sup.stop().await.unwrap();
    node.stop().await;
}

#[actix_rt::test]
async fn all_children_of_a_template_killed_at_once_come_back_each_once() {
    const MANY: usize = 300;
    let node = node().await;
    let log = Log::default();
    let sup = Supervisor::builder()
        .strategy(Strategy::SimpleOneForOne)
        .child_template(ChildTemplate::new::<Worker>())
        .restart_intensity(1000, Duration::from_secs(60))
        .start(&node)
        .await
        .unwrap();
    for n in 0..MANY {
        sup.start_instance::<Worker>((n.to_string(), Arc::clone(&log), Mood::default())).await.unwrap();
    }
    let mut events = sup.events();
    for child in sup.children().await.unwrap() {
        node.exit(&child.pid.unwrap(), ExitReason::Killed);
    }
    restarts(&mut events, MANY).await;
    assert_eq!((sup.count_children().await.unwrap(), node.process_count()), (MANY, MANY + 1));
    // Stopped while they are dying.
    for child in sup.children().await.unwrap() {
        node.exit(&child.pid.unwrap(), ExitReason::Killed);
    }
    sup.stop().await.unwrap();
    assert_eq!(node.process_count(), 0);
    node.stop().await;
}

#[actix_rt::test]
async fn temporary_children_that_come_and_go_leave_nothing_behind() {
    let (node, log) = (node().await, Log::default());
    let sup = Supervisor::builder()
        .strategy(Strategy::SimpleOneForOne)
        .child_template(ChildTemplate::new::<Worker>().restart(Restart::Temporary))
        .start(&node)
        .await
        .unwrap();
    let mut events = sup.events();
    // What a child was made of goes with it: the arguments are let go of.
    for n in 0..100 {
        let args = (n.to_string(), Arc::clone(&log), Mood::default());
        let worker = sup.start_instance::<Worker>(args).await.unwrap();
        worker.leave(ExitReason::Normal).unwrap();
        event(&mut events, "child_stopped").await;
    }
    assert_eq!((sup.count_children().await.unwrap(), node.process_count()), (0, 1));
    assert_eq!(Arc::strong_count(&log), 1);
    sup.stop().await.unwrap();
    node.stop().await;
}
