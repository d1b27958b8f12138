//! Local supervisors over real processes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use noex_actors::{Context, ExitReason, Node, ProcessEvent, StartError, behavior};
use noex_supervisor::{
    ChildError, ChildSpec, ChildState, ChildTemplate, Restart, Shutdown, SpecError, StartSupervisorError,
    Strategy, Supervisor, SupervisorEvent, SupervisorExit,
};

struct Counter(i64);

#[behavior]
impl Counter {
    #[init]
    fn new(start: i64) -> Result<Self, ExitReason> {
        Ok(Counter(start))
    }
    #[call]
    fn add(&mut self, n: i64) -> i64 {
        self.0 += n;
        self.0
    }
    #[cast]
    fn explode(&mut self) {
        panic!("boom");
    }
    #[cast]
    fn leave(&mut self, cx: &mut Context<Self>) {
        cx.stop(ExitReason::Normal);
    }
}

type Log = Arc<parking_lot::Mutex<Vec<String>>>;

/// Writes down when it ends; takes its time if told to.
struct Slow {
    name: String,
    log: Log,
    takes: Duration,
}

#[behavior]
impl Slow {
    #[init]
    fn new(name: String, log: Log, takes: Duration) -> Result<Self, ExitReason> {
        Ok(Slow { name, log, takes })
    }
    #[terminate]
    async fn bye(&mut self, reason: &ExitReason) {
        if !self.takes.is_zero() {
            actix_rt::time::sleep(self.takes).await;
        }
        self.log.lock().push(format!("{} {reason}", self.name));
    }
}

fn slow(id: &str, log: &Log, takes: Duration) -> ChildSpec {
    ChildSpec::new::<Slow>(id, (id.to_owned(), Arc::clone(log), takes))
}

fn counter(id: &str) -> ChildSpec {
    ChildSpec::new::<Counter>(id, 0)
}

async fn node() -> Node {
    Node::builder().arbiters(2).start().await.unwrap()
}

/// Waits for an event of this kind.
async fn event(events: &mut noex_actors::Events<SupervisorEvent>, kind: &str) -> SupervisorEvent {
    let wanted = async {
        loop {
            match events.recv().await {
                Some(event) if event.kind() == kind => return event,
                Some(_) => {}
                None => panic!("no {kind}"),
            }
        }
    };
    actix_rt::time::timeout(Duration::from_secs(10), wanted).await.unwrap()
}

#[actix_rt::test]
async fn a_panic_restarts_the_child_with_fresh_state() {
    let node = node().await;
    let sup = Supervisor::builder().child(counter("a")).child(counter("b")).start(&node).await.unwrap();
    let mut events = sup.events();
    let (a, b) = (sup.child::<Counter>("a").await.unwrap(), sup.child::<Counter>("b").await.unwrap());
    assert_eq!((a.add(5).await.unwrap(), b.add(7).await.unwrap()), (5, 7));
    a.explode().unwrap();
    let restarted = event(&mut events, "child_restarted").await;
    assert!(matches!(restarted, SupervisorEvent::ChildRestarted { attempt: 1, .. }), "{restarted:?}");
    let again = sup.child::<Counter>("a").await.unwrap();
    assert_ne!(again.pid(), a.pid());
    assert_eq!((again.add(1).await.unwrap(), b.add(1).await.unwrap()), (1, 8));
    let info = sup.child_info("a").await.unwrap();
    assert_eq!((info.restart_count, info.state, info.behavior.as_str()), (1, ChildState::Running, "Counter"));
    assert_eq!(sup.stats().await.unwrap().total_restarts, 1);
    sup.stop().await.unwrap();
    assert_eq!(node.processes().len(), 0);
    node.stop().await;
}

#[actix_rt::test]
async fn the_node_tells_of_a_restart_with_its_attempt() {
    let node = Node::start().await.unwrap();
    let mut events = node.process_events();
    let child = ChildSpec::new::<Counter>("c", 0);
    let sup = Supervisor::builder().child(child).start(&node).await.unwrap();
    for attempt in 1..=2 {
        sup.child::<Counter>("c").await.unwrap().explode().unwrap();
        let told = tokio::time::timeout(Duration::from_secs(10), async {
            loop {
                match events.recv().await {
                    Some(ProcessEvent::Restarted { pid, attempt, .. }) => return (pid, attempt),
                    Some(_) => {}
                    None => panic!("the node stopped"),
                }
            }
        });
        let (pid, told) = told.await.unwrap();
        assert_eq!(told, attempt);
        assert_eq!(sup.child::<Counter>("c").await.unwrap().pid(), &pid);
    }
    node.stop().await;
}

#[actix_rt::test]
async fn restart_types_decide() {
    let node = node().await;
    let children = [
        counter("permanent"),
        counter("transient").restart(Restart::Transient),
        counter("temporary").restart(Restart::Temporary),
    ];
    let sup = Supervisor::builder().children(children).start(&node).await.unwrap();
    let mut events = sup.events();
    sup.child::<Counter>("permanent").await.unwrap().leave().unwrap();
    event(&mut events, "child_restarted").await;
    sup.child::<Counter>("transient").await.unwrap().explode().unwrap();
    event(&mut events, "child_restarted").await;
    sup.child::<Counter>("transient").await.unwrap().leave().unwrap();
    event(&mut events, "child_stopped").await;
    sup.child::<Counter>("temporary").await.unwrap().explode().unwrap();
    let stopped = event(&mut events, "child_stopped").await;
    assert!(matches!(stopped, SupervisorEvent::ChildStopped { reason: ExitReason::Panic(_), .. }));
    assert_eq!(sup.count_children().await.unwrap(), 1);
    assert_eq!(node.processes().len(), 2);
    sup.stop().await.unwrap();
    node.stop().await;
}

#[actix_rt::test]
async fn too_many_restarts_end_the_supervisor_and_leave_nobody() {
    let node = node().await;
    let sup = Supervisor::builder()
        .children([counter("a"), counter("b"), counter("c")])
        .restart_intensity(2, Duration::from_secs(60))
        .start(&node)
        .await
        .unwrap();
    let mut events = sup.events();
    let monitor = sup.erase().monitor();
    for _ in 0..2 {
        sup.child::<Counter>("b").await.unwrap().explode().unwrap();
        event(&mut events, "child_restarted").await;
    }
    sup.child::<Counter>("b").await.unwrap().explode().unwrap();
    let exit = sup.wait().await;
    assert_eq!(
        exit,
        SupervisorExit::MaxRestartsExceeded { max_restarts: 2, within: Duration::from_secs(60) }
    );
    assert_eq!(exit.to_string(), "max_restarts_exceeded");
    assert_eq!(monitor.await.reason, ExitReason::Error("max_restarts_exceeded".into()));
    assert_eq!(node.processes().len(), 0);
    let stopped = event(&mut events, "supervisor_stopped").await;
    assert_eq!(
        serde_json::to_value(&stopped).unwrap(),
        serde_json::json!({"type": "supervisor_stopped", "supervisorId": sup.id(), "reason": "max_restarts_exceeded"})
    );
    assert!(sup.children().await.is_err());
    node.stop().await;
}

#[actix_rt::test]
async fn children_are_stopped_in_reverse_order() {
    let node = node().await;
    let log = Log::default();
    let children = ["a", "b", "c"].map(|id| slow(id, &log, Duration::from_millis(20)));
    let sup = Supervisor::builder().children(children).start(&node).await.unwrap();
    sup.stop().await.unwrap();
    assert_eq!(*log.lock(), ["c shutdown", "b shutdown", "a shutdown"]);
    assert_eq!(sup.wait().await, SupervisorExit::Stopped(ExitReason::Shutdown));
    node.stop().await;
}

#[actix_rt::test]
async fn the_stop_of_the_node_stops_the_tree_in_reverse_order() {
    let node = node().await;
    let log = Log::default();
    let children = ["a", "b", "c"].map(|id| slow(id, &log, Duration::ZERO));
    let sup = Supervisor::builder().children(children).start(&node).await.unwrap();
    node.stop().await;
    assert_eq!(*log.lock(), ["c shutdown", "b shutdown", "a shutdown"]);
    assert_eq!(sup.wait().await, SupervisorExit::Stopped(ExitReason::Shutdown));
}

#[actix_rt::test]
async fn a_child_that_takes_too_long_to_stop_is_killed() {
    let node = node().await;
    let log = Log::default();
    let stubborn =
        slow("a", &log, Duration::from_secs(60)).shutdown(Shutdown::Timeout(Duration::from_millis(100)));
    let brutal = slow("b", &log, Duration::ZERO).shutdown(Shutdown::BrutalKill);
    let sup = Supervisor::builder().children([stubborn, brutal]).start(&node).await.unwrap();
    let began = Instant::now();
    sup.stop().await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(100) && began.elapsed() < Duration::from_secs(10));
    assert!(log.lock().is_empty(), "neither had last words");
    assert_eq!(node.processes().len(), 0);
    node.stop().await;
}

#[actix_rt::test]
async fn children_come_and_go_by_request() {
    let node = node().await;
    let sup = Supervisor::builder().child(counter("a")).start(&node).await.unwrap();
    let added = sup.start_child(counter("b")).await.unwrap();
    assert_eq!(added.pid(), sup.child::<Counter>("b").await.unwrap().pid());
    let twice = sup.start_child(counter("b")).await.unwrap_err();
    assert_eq!(twice, ChildError::Spec(SpecError::DuplicateChild("b".into())));
    let invalid = sup.start_child(counter("")).await.unwrap_err();
    assert!(matches!(invalid, ChildError::Spec(SpecError::InvalidId { .. })));
    for _ in 0..10 {
        let before = sup.child::<Counter>("a").await.unwrap();
        before.add(3).await.unwrap();
        let after = sup.restart_child("a").await.unwrap();
        assert_ne!(before.pid(), after.pid());
        assert_eq!(after.typed_local::<Counter>().unwrap().add(1).await.unwrap(), 1);
    }
    let ids: Vec<_> = sup.children().await.unwrap().into_iter().map(|child| child.id).collect();
    assert_eq!(ids, ["a", "b"]);
    sup.terminate_child("a").await.unwrap();
    assert_eq!(sup.terminate_child("a").await.unwrap_err(), ChildError::NotFound("a".into()));
    assert_eq!(sup.restart_child("a").await.unwrap_err(), ChildError::NotFound("a".into()));
    assert_eq!((sup.count_children().await.unwrap(), node.processes().len()), (1, 2));
    let failing = ChildSpec::with("c", |_| async { Err(StartError::Init(ExitReason::Error("no".into()))) });
    let refused = sup.start_child(failing).await.unwrap_err();
    assert!(matches!(&refused, ChildError::Spawn { child_id, .. } if child_id == "c"), "{refused:?}");
    assert_eq!(sup.count_children().await.unwrap(), 1);
    sup.stop().await.unwrap();
    let gone = sup.start_child(counter("d")).await.unwrap_err();
    assert!(matches!(gone, ChildError::Unreachable(_)));
    assert_eq!(node.processes().len(), 0);
    node.stop().await;
}

#[actix_rt::test]
async fn a_child_that_fails_to_start_stops_those_before_it() {
    let node = node().await;
    let log = Log::default();
    let failing =
        ChildSpec::with("bad", |_| async { Err(StartError::Init(ExitReason::Error("no luck".into()))) });
    let children = [slow("a", &log, Duration::ZERO), failing, slow("c", &log, Duration::ZERO)];
    let error = Supervisor::builder().children(children).start(&node).await.unwrap_err();
    assert!(matches!(&error, StartSupervisorError::Child { id, .. } if id == "bad"), "{error:?}");
    assert_eq!(*log.lock(), ["a shutdown"]);
    assert_eq!(node.processes().len(), 0);
    node.stop().await;
}

#[actix_rt::test]
async fn what_is_not_right_is_refused() {
    let node = node().await;
    let start = async |builder: noex_supervisor::SupervisorBuilder| match builder.start(&node).await {
        Err(StartSupervisorError::Spec(error)) => error,
        other => panic!("{other:?}"),
    };
    let simple = || Supervisor::builder().strategy(Strategy::SimpleOneForOne);
    let template = ChildTemplate::new::<Counter>;
    assert_eq!(start(simple()).await, SpecError::MissingChildTemplate);
    let both = start(simple().child_template(template()).child(counter("a"))).await;
    assert!(matches!(both, SpecError::InvalidSimpleOneForOne { .. }), "{both}");
    let astray = start(Supervisor::builder().child_template(template())).await;
    assert!(matches!(astray, SpecError::InvalidSimpleOneForOne { .. }), "{astray}");
    let twice = Supervisor::builder().children([counter("a"), counter("a")]).start(&node).await.unwrap_err();
    assert!(matches!(twice, StartSupervisorError::Spec(SpecError::DuplicateChild(_))));
    let first = Supervisor::builder().name("one").start(&node).await.unwrap();
    let second = Supervisor::builder().name("one").start(&node).await.unwrap_err();
    assert!(matches!(second, StartSupervisorError::Name(_)), "{second:?}");
    first.stop().await.unwrap();
    assert_eq!(node.processes().len(), 0);
    node.stop().await;
}

/// A start that fails as long as it is told to.
fn moody(id: &str, failures: &Arc<AtomicU32>) -> ChildSpec {
    let failures = Arc::clone(failures);
    ChildSpec::with(id, move |node: Node| {
        let fails =
            failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        async move {
            if fails {
                return Err(StartError::Init(ExitReason::Error("not now".into())));
            }
            Ok(node.spawn::<Counter>(0).await?.erase())
        }
    })
}

#[actix_rt::test]
async fn a_restart_that_fails_is_tried_again() {
    let node = node().await;
    let failures = Arc::new(AtomicU32::new(0));
    let sup = Supervisor::builder().child(moody("a", &failures)).start(&node).await.unwrap();
    let mut events = sup.events();
    failures.store(2, Ordering::SeqCst);
    sup.child::<Counter>("a").await.unwrap().explode().unwrap();
    for attempt in [1, 2] {
        let failed = event(&mut events, "child_start_failed").await;
        assert!(matches!(failed, SupervisorEvent::ChildStartFailed { attempt: a, .. } if a == attempt));
        let error = sup.child::<Counter>("a").await.unwrap_err();
        assert!(
            matches!(error, ChildError::NotRunning { state: ChildState::Restarting { .. }, .. }),
            "{error:?}"
        );
    }
    event(&mut events, "child_restarted").await;
    assert_eq!(sup.child::<Counter>("a").await.unwrap().add(2).await.unwrap(), 2);
    sup.stop().await.unwrap();
    node.stop().await;
}

#[actix_rt::test]
async fn a_tree_escalates_and_is_restarted_whole() {
    let node = node().await;
    let sub = Supervisor::builder()
        .name("sub")
        .children([counter("x"), counter("y")])
        .restart_intensity(0, Duration::from_secs(5));
    let top = Supervisor::builder()
        .child(ChildSpec::supervisor("sub", sub))
        .child(counter("z"))
        .start(&node)
        .await
        .unwrap();
    let mut events = top.events();
    assert_eq!(node.processes().len(), 5);
    let x = node.processes().into_iter().find(|process| process.behavior == "Counter").unwrap();
    let before = top.child_info("sub").await.unwrap().pid.unwrap();
    node.exit(&x.pid, ExitReason::Error("bad".into()));
    event(&mut events, "child_restarted").await;
    let after = top.child_info("sub").await.unwrap().pid.unwrap();
    assert_ne!(before, after);
    assert_eq!(node.processes().len(), 5, "sub, x, y, z and top");
    top.stop().await.unwrap();
    assert_eq!(node.processes().len(), 0);
    node.stop().await;
}

#[actix_rt::test]
async fn children_do_not_outlive_a_killed_supervisor() {
    let node = node().await;
    let sub = Supervisor::builder().children([counter("x"), counter("y")]);
    let top = Supervisor::builder()
        .child(ChildSpec::supervisor("sub", sub))
        .child(counter("z"))
        .start(&node)
        .await
        .unwrap();
    let monitors: Vec<_> =
        node.processes().iter().map(|process| node.resolve_any(&process.pid, None).monitor()).collect();
    top.erase().kill();
    for monitor in monitors {
        actix_rt::time::timeout(Duration::from_secs(10), monitor).await.unwrap();
    }
    assert_eq!(top.wait().await, SupervisorExit::Stopped(ExitReason::Killed));
    assert_eq!(node.processes().len(), 0);
    node.stop().await;
}

#[actix_rt::test]
async fn a_start_that_is_given_up_leaves_nobody() {
    let node = node().await;
    let never = ChildSpec::with("never", |_| std::future::pending());
    let sub = Supervisor::builder().children([counter("x"), never]);
    let top = Supervisor::builder().children([counter("a"), ChildSpec::supervisor("sub", sub)]);
    let gone = actix_rt::time::timeout(Duration::from_millis(200), top.start(&node)).await;
    assert!(gone.is_err());
    let mut events = node.process_events();
    while !node.processes().is_empty() {
        actix_rt::time::timeout(Duration::from_secs(10), events.recv()).await.unwrap();
    }
    node.stop().await;
}

#[actix_rt::test]
async fn events_reach_the_closures_of_the_builder_from_the_start() {
    let node = node().await;
    let log = Log::default();
    let seen = Arc::clone(&log);
    let sup = Supervisor::builder()
        .name("watched")
        .child(counter("a"))
        .on_event(move |event| seen.lock().push(format!("{} {}", event.supervisor_id(), event.kind())))
        .start(&node)
        .await
        .unwrap();
    sup.stop().await.unwrap();
    node.stop().await;
    let expected = ["child_started", "supervisor_started", "child_stopped", "supervisor_stopped"];
    assert_eq!(*log.lock(), expected.map(|kind| format!("watched {kind}")));
}
