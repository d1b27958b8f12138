//! Distributed supervisors over real nodes on loopback, all in one program.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../../noex-net/tests/support/ports.rs"]
mod ports;

use std::{collections::BTreeMap, time::Duration};

use noex_actors::{Context, ExitReason, NodeId, behavior};
use noex_net::{Cluster, ClusterConfig};
use noex_supervisor::{
    ChildError, ChildState, DistributedChildSpec as Child, DistributedChildTemplate as Template,
    DistributedSupervisor, DistributedSupervisorEvent as Event, NodeSelector, Restart, SpecError,
    StartSupervisorError, Strategy, SupervisorExit,
};

struct Counter {
    value: i64,
    generation: u64,
}

#[behavior(name = "counter")]
impl Counter {
    #[init]
    fn new(start: i64, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        let generation = cx.fencing_token().map_or(0, |token| token.generation.0);
        Ok(Counter { value: start, generation })
    }
    #[call]
    fn add(&mut self, n: i64) -> i64 {
        self.value += n;
        self.value
    }
    #[call]
    fn generation(&self) -> u64 {
        self.generation
    }
    #[cast]
    fn explode(&mut self) {
        panic!("boom");
    }
}

const LONG: Duration = Duration::from_secs(20);

async fn within<F: Future>(what: &str, future: F) -> F::Output {
    actix_rt::time::timeout(LONG, future).await.unwrap_or_else(|_| panic!("{what}: not in time"))
}

fn config(name: &str, seed: Option<&Cluster>) -> ClusterConfig {
    let mut config = ClusterConfig::test(name).port(ports::free_port()).secret("a secret for the tests");
    if let Some(seed) = seed {
        config = config.seed(seed.local_node_id().as_str());
    }
    config.build().unwrap()
}

async fn join(name: &str, seed: Option<&Cluster>) -> Cluster {
    Cluster::builder(config(name, seed)).behavior::<Counter>().arbiters(1).start().await.unwrap()
}

/// Fully connected nodes of these names.
async fn nodes<const N: usize>(names: [&str; N]) -> [Cluster; N] {
    let mut all: Vec<Cluster> = Vec::new();
    for name in names {
        let node = join(name, all.first()).await;
        all.push(node);
    }
    for node in &all {
        within("full mesh", node.wait_for_nodes(N)).await.unwrap();
    }
    all.try_into().unwrap()
}

fn counters(n: usize) -> impl Iterator<Item = Child> {
    (1..=n).map(|n| Child::new::<Counter>(format!("counter-{n}"), 0))
}

/// What really lives, by child: counted on the nodes, not in anybody's table.
fn alive(nodes: &[&Cluster], supervisor: &str) -> BTreeMap<String, Vec<NodeId>> {
    let mut all: BTreeMap<String, Vec<NodeId>> = BTreeMap::new();
    for node in nodes {
        for process in node.supervised() {
            if process.token.supervisor == supervisor {
                all.entry(process.token.child).or_default().push(node.local_node_id().clone());
            }
        }
    }
    all
}

fn assert_each_once(nodes: &[&Cluster], supervisor: &str, n: usize) {
    let alive = alive(nodes, supervisor);
    assert_eq!(alive.len(), n, "{alive:?}");
    assert!(alive.values().all(|places| places.len() == 1), "{alive:?}");
}

async fn event(events: &mut noex_actors::Events<Event>, kind: &str) -> Event {
    let wanted = async {
        loop {
            match events.recv().await {
                Some(event) if event.kind() == kind => return event,
                Some(_) => {}
                None => panic!("no {kind}"),
            }
        }
    };
    within(kind, wanted).await
}

async fn stop_all(nodes: &[&Cluster]) {
    for node in nodes {
        within("stop", node.stop()).await;
    }
}

#[actix_rt::test]
async fn children_are_placed_called_by_name_and_restarted_after_a_crash() {
    let [a, b, c] = nodes(["a", "b", "c"]).await;
    let mut events = DistributedSupervisor::lifecycle_events(&a);
    let sup = DistributedSupervisor::builder()
        .name("workers")
        .node_selector(NodeSelector::RoundRobin)
        .children(counters(6))
        .start(&a)
        .await
        .unwrap();
    let stats = sup.stats().await.unwrap();
    assert_eq!(stats.children_by_node.values().copied().collect::<Vec<_>>(), [2, 2, 2]);
    assert_eq!((stats.child_count, stats.pending_count, stats.id.as_str()), (6, 0, "workers"));
    assert_each_once(&[&a, &b, &c], "workers", 6);
    event(&mut events, "supervisor_started").await;

    for node in [&a, &b, &c] {
        for n in 1..=6 {
            let name = format!("counter-{n}");
            let via = node.global().via::<Counter>(&name);
            let wait = async {
                while via.resolve().await.is_none() {
                    node.events().recv().await;
                }
            };
            let _ = actix_rt::time::timeout(Duration::from_millis(200), wait).await;
            via.add(1).await.unwrap();
        }
    }
    let before = sup.child::<Counter>("counter-2").await.unwrap();
    assert_eq!(before.add(0).await.unwrap(), 3);
    before.explode().unwrap();
    let restarted = event(&mut events, "child_restarted").await;
    let Event::ChildRestarted { child_id, attempt: 1, generation, .. } = &restarted else {
        panic!("{restarted:?}")
    };
    assert_eq!(child_id, "counter-2");
    let after = sup.child::<Counter>("counter-2").await.unwrap();
    assert_eq!(after.generation().await.unwrap(), generation.0);
    assert!(after.generation().await.unwrap() > 0);
    assert_eq!(after.add(1).await.unwrap(), 1, "fresh state");
    assert_each_once(&[&a, &b, &c], "workers", 6);
    assert_eq!(DistributedSupervisor::totals(&a).restarts, 1);

    // From another node, the same handle.
    let elsewhere = DistributedSupervisor::lookup(&b, "workers").unwrap();
    assert_eq!(elsewhere.pid(), sup.pid());
    assert_eq!(elsewhere.count_children().await.unwrap(), 6);
    let views = DistributedSupervisor::views(&c, Duration::from_millis(300)).await;
    assert_eq!((views.len(), views[0].1, views[0].0.children.len()), (1, false, 6));
    assert_eq!(DistributedSupervisor::known(&c)[0].owner, *a.local_node_id());
    let again = DistributedSupervisor::builder().name("workers").start(&b).await.unwrap_err();
    assert!(matches!(&again, StartSupervisorError::AlreadyRunning(running) if running.pid() == sup.pid()));

    within("stop", elsewhere.stop()).await.unwrap();
    assert_eq!(sup.wait().await, SupervisorExit::Stopped(ExitReason::Shutdown));
    assert!(alive(&[&a, &b, &c], "workers").is_empty());
    stop_all(&[&a, &b, &c]).await;
}

#[actix_rt::test]
async fn children_are_managed_from_any_node() {
    let [a, b] = nodes(["a", "b"]).await;
    let sup = DistributedSupervisor::builder().name("pool").start(&a).await.unwrap();
    let far = DistributedSupervisor::whereis(&b, "pool").unwrap();
    let spec = Child::named("x", "counter").args(&41).node_selector(b.local_node_id().clone());
    let x = within("start", far.start_child(spec)).await.unwrap();
    assert_eq!(x.pid().node_id(), b.local_node_id());
    assert_eq!(x.typed::<Counter>().unwrap().add(1).await.unwrap(), 42);
    let twice = far.start_child(Child::new::<Counter>("x", 0)).await.unwrap_err();
    assert_eq!(twice, ChildError::Spec(SpecError::DuplicateChild("x".into())));
    let unknown = far.start_child(Child::named("y", "no such behavior")).await.unwrap_err();
    assert!(
        matches!(&unknown, ChildError::NoAvailableNode { child_id, .. } if child_id == "y"),
        "{unknown:?}"
    );
    let custom = NodeSelector::custom(|nodes, _| nodes.last().map(|node| node.id.clone()));
    let travels =
        far.start_child(Child::new::<Counter>("z", 0).node_selector(custom.clone())).await.unwrap_err();
    assert!(matches!(travels, ChildError::Unreachable(_)), "{travels:?}");
    let z = sup.start_child(Child::new::<Counter>("z", 0).node_selector(custom)).await.unwrap();
    assert_eq!(z.pid().node_id(), b.local_node_id());
    let moved = within("restart", far.restart_child("x")).await.unwrap();
    assert_ne!(moved.pid(), x.pid());
    assert_eq!(moved.typed::<Counter>().unwrap().add(0).await.unwrap(), 41, "its arguments again");
    within("terminate", far.terminate_child("z")).await.unwrap();
    assert_eq!(far.terminate_child("z").await.unwrap_err(), ChildError::NotFound("z".into()));
    let info = far.child_info("x").await.unwrap();
    assert_eq!((info.state, info.restart_count, info.behavior.as_str()), (ChildState::Running, 1, "counter"));
    assert_each_once(&[&a, &b], "pool", 1);
    within("stop", far.stop()).await.unwrap();
    assert!(alive(&[&a, &b], "pool").is_empty());
    stop_all(&[&a, &b]).await;
}

#[actix_rt::test]
async fn children_of_a_leaving_node_move_and_the_supervisor_lives() {
    let [a, b, c] = nodes(["a", "b", "c"]).await;
    let sup = DistributedSupervisor::builder()
        .name("workers")
        .node_selector(NodeSelector::RoundRobin)
        .children(counters(12))
        .start(&a)
        .await
        .unwrap();
    let mut events = sup.events();
    let on_b = sup.stats().await.unwrap().children_by_node[b.local_node_id()];
    assert_eq!(on_b, 4);
    within("stop", b.stop()).await;
    for _ in 0..on_b {
        let migrated = event(&mut events, "child_migrated").await;
        assert!(
            matches!(&migrated, Event::ChildMigrated { from_node, .. } if from_node == b.local_node_id())
        );
    }
    let stats = sup.stats().await.unwrap();
    assert_eq!((stats.child_count, stats.node_failure_restarts, stats.total_restarts), (12, 0, 4));
    assert_each_once(&[&a, &c], "workers", 12);
    assert_eq!(DistributedSupervisor::totals(&a).failovers, 0);
    for n in 1..=12 {
        sup.child::<Counter>(&format!("counter-{n}")).await.unwrap().add(1).await.unwrap();
    }
    within("stop", sup.stop()).await.unwrap();
    stop_all(&[&a, &c]).await;
}

#[actix_rt::test]
async fn when_the_owner_leaves_its_children_move_and_the_next_supervisor_adopts_all() {
    let [a, b, c] = nodes(["a", "b", "c"]).await;
    let builder = DistributedSupervisor::builder()
        .name("workers")
        .node_selector(NodeSelector::RoundRobin)
        .children(counters(6));
    let sup = builder.clone().start(&a).await.unwrap();
    let far = DistributedSupervisor::whereis(&b, "workers").unwrap();
    let mut kept = BTreeMap::new();
    for n in 1..=6 {
        let id = format!("counter-{n}");
        let child = far.child::<Counter>(&id).await.unwrap();
        if child.pid().node_id() != a.local_node_id() {
            child.add(n).await.unwrap();
            kept.insert(id, n);
        }
    }
    within("stop", a.stop()).await;
    assert_eq!(sup.wait().await, SupervisorExit::Stopped(ExitReason::Shutdown));
    assert_each_once(&[&b, &c], "workers", 6);
    let next = loop {
        match builder.clone().start(&b).await {
            Ok(sup) => break sup,
            Err(StartSupervisorError::AlreadyRunning(_)) => {
                actix_rt::task::yield_now().await;
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert_each_once(&[&b, &c], "workers", 6);
    for (id, n) in kept {
        assert_eq!(
            next.child::<Counter>(&id).await.unwrap().add(0).await.unwrap(),
            n,
            "{id} was not restarted"
        );
    }
    next.child::<Counter>("counter-1").await.unwrap().explode().unwrap();
    event(&mut next.events(), "child_restarted").await;
    assert_each_once(&[&b, &c], "workers", 6);
    within("stop", next.stop()).await.unwrap();
    assert!(alive(&[&b, &c], "workers").is_empty());
    stop_all(&[&b, &c]).await;
}

#[actix_rt::test]
async fn an_owner_that_leaves_does_not_wait_for_children_that_stay() {
    let [a, b] = nodes(["a", "b"]).await;
    let own = a.local_node_id().clone();
    let sup = DistributedSupervisor::builder()
        .name("s")
        .child(Child::new::<Counter>("pinned", 0).node_selector(own))
        .child(Child::new::<Counter>("temporary", 0).restart(Restart::Temporary))
        .child(Child::new::<Counter>("free", 0))
        .start(&a)
        .await
        .unwrap();
    let began = std::time::Instant::now();
    within("stop", a.stop()).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(sup.wait().await, SupervisorExit::Stopped(ExitReason::Shutdown));
    let alive = alive(&[&a, &b], "s");
    assert_eq!(alive.keys().collect::<Vec<_>>(), ["free"], "it moved, and the others ended");
    stop_all(&[&b]).await;
}

#[actix_rt::test]
async fn a_pinned_child_waits_for_its_node() {
    let [a, b] = nodes(["a", "b"]).await;
    let pinned = Child::new::<Counter>("pinned", 0).node_selector(b.local_node_id().clone());
    let free = Child::new::<Counter>("free", 0);
    let sup = DistributedSupervisor::builder().name("s").children([pinned, free]).start(&a).await.unwrap();
    let mut events = sup.events();
    let (port, id) = (b.local_node_id().port(), b.local_node_id().clone());
    within("stop", b.stop()).await;
    event(&mut events, "child_pending").await;
    let stats = sup.stats().await.unwrap();
    assert_eq!((stats.child_count, stats.pending_count), (2, 1));
    let config = ClusterConfig::test("b")
        .secret("a secret for the tests")
        .port(port)
        .seed(a.local_node_id().as_str())
        .build()
        .unwrap();
    let b = Cluster::builder(config).behavior::<Counter>().arbiters(1).start().await.unwrap();
    assert_eq!(*b.local_node_id(), id);
    event(&mut events, "child_migrated").await;
    assert_eq!(sup.child::<Counter>("pinned").await.unwrap().pid().node_id(), &id);
    within("stop", sup.stop()).await.unwrap();
    stop_all(&[&a, &b]).await;
}

#[actix_rt::test]
async fn what_is_wrong_is_refused_before_anything_starts() {
    let [a] = nodes(["a"]).await;
    let start = |builder: noex_supervisor::DistributedSupervisorBuilder| {
        let a = a.clone();
        async move { builder.start(&a).await.unwrap_err() }
    };
    let builder = DistributedSupervisor::builder;
    let simple = || builder().strategy(Strategy::SimpleOneForOne);
    let template = || Template::new::<Counter>();
    assert!(matches!(start(simple()).await, StartSupervisorError::Spec(SpecError::MissingChildTemplate)));
    for wrong in
        [simple().child_template(template()).children(counters(1)), builder().child_template(template())]
    {
        let refused = start(wrong).await;
        assert!(
            matches!(refused, StartSupervisorError::Spec(SpecError::InvalidSimpleOneForOne { .. })),
            "{refused:?}"
        );
    }
    let unknown = start(builder().children(counters(2)).child(Child::named("x", "unknown"))).await;
    assert!(
        matches!(&unknown, StartSupervisorError::Child { id, source: ChildError::NoAvailableNode { .. } } if id == "x"),
        "{unknown:?}"
    );
    let twice = start(builder().children(counters(1)).children(counters(1))).await;
    assert!(matches!(twice, StartSupervisorError::Spec(SpecError::DuplicateChild(_))));
    struct Unsendable;
    impl serde::Serialize for Unsendable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }
    let args = start(builder().child(Child::named("x", "counter").args(&Unsendable))).await;
    assert!(matches!(args, StartSupervisorError::Spec(SpecError::Args { .. })));
    let wrong = start(builder().child(Child::named("x", "counter").args(&"text"))).await;
    assert!(
        matches!(&wrong, StartSupervisorError::Child { source: ChildError::Spawn { .. }, .. }),
        "{wrong:?}"
    );
    assert_eq!(a.processes().len(), 0);
    a.stop().await;
    let stopped = builder().start(&a).await.unwrap_err();
    assert!(matches!(stopped, StartSupervisorError::NotRunning));
}

#[actix_rt::test]
async fn too_many_restarts_end_it_and_leave_nobody() {
    let [a, b] = nodes(["a", "b"]).await;
    let sup = DistributedSupervisor::builder()
        .name("fragile")
        .node_selector(NodeSelector::RoundRobin)
        .children(counters(4))
        .child(Child::new::<Counter>("once", 0).restart(Restart::Temporary))
        .restart_intensity(1, LONG)
        .start(&a)
        .await
        .unwrap();
    let far = DistributedSupervisor::whereis(&b, "fragile").unwrap();
    let mut events = sup.events();
    sup.child::<Counter>("once").await.unwrap().explode().unwrap();
    event(&mut events, "child_stopped").await;
    sup.child::<Counter>("counter-1").await.unwrap().explode().unwrap();
    event(&mut events, "child_restarted").await;
    let waiting = actix_rt::spawn({
        let far = far.clone();
        async move { far.wait().await }
    });
    sup.child::<Counter>("counter-2").await.unwrap().explode().unwrap();
    let expected = SupervisorExit::MaxRestartsExceeded { max_restarts: 1, within: LONG };
    assert_eq!(within("end", sup.wait()).await, expected);
    assert_eq!(within("end", waiting).await.unwrap(), expected);
    assert!(alive(&[&a, &b], "fragile").is_empty());
    assert!(DistributedSupervisor::whereis(&a, "fragile").is_none());
    // Also as others see it, and for whoever comes next.
    within("all names are free there", async {
        while b.global().count() > 0 {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
    let next =
        DistributedSupervisor::builder().name("fragile").children(counters(4)).start(&b).await.unwrap();
    assert_eq!(alive(&[&a, &b], "fragile").len(), 4);
    within("stop", next.stop()).await.unwrap();
    stop_all(&[&a, &b]).await;
}

#[actix_rt::test]
async fn of_supervisors_started_at_once_under_one_name_one_remains_and_each_child_runs_once() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        one_of_three_remains(strategy).await;
    }
}

async fn one_of_three_remains(strategy: Strategy) {
    let [a, b, c] = nodes(["a", "b", "c"]).await;
    let builder = DistributedSupervisor::builder()
        .name("workers")
        .strategy(strategy)
        .node_selector(NodeSelector::RoundRobin)
        .children(counters(6));
    let started = futures_util::future::join_all([&a, &b, &c].map(|node| builder.clone().start(node))).await;
    assert!(started.iter().any(Result::is_ok), "{started:?}");
    let settled = async {
        loop {
            let alive = alive(&[&a, &b, &c], "workers");
            let owners: Vec<_> =
                [&a, &b, &c].iter().map(|node| node.global().pid("noex.sup/workers")).collect();
            let one = owners[0].is_some() && owners.iter().all(|owner| *owner == owners[0]);
            let processes: usize = [&a, &b, &c]
                .iter()
                .map(|node| {
                    node.processes().iter().filter(|p| p.behavior == "noex.distributed_supervisor").count()
                })
                .sum();
            if one && processes == 1 && alive.len() == 6 && alive.values().all(|places| places.len() == 1) {
                return;
            }
            actix_rt::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within("one remains", settled).await;
    let sup = DistributedSupervisor::whereis(&a, "workers").unwrap();
    for n in 1..=6 {
        sup.child::<Counter>(&format!("counter-{n}")).await.unwrap().add(1).await.unwrap();
    }
    within("stop", sup.stop()).await.unwrap();
    assert!(alive(&[&a, &b, &c], "workers").is_empty());
    stop_all(&[&a, &b, &c]).await;
}

#[actix_rt::test]
async fn events_of_one_supervisor_reach_its_listeners_alone_and_end_with_it() {
    let [a] = nodes(["a"]).await;
    let (tell, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let listen = move |event: &Event| drop(tell.send(serde_json::to_value(event).unwrap()));
    let builder = DistributedSupervisor::builder().name("heard").children(counters(1)).on_event(listen);
    let other =
        DistributedSupervisor::builder().child(Child::new::<Counter>("x", 0)).start(&a).await.unwrap();
    let sup = builder.clone().start(&a).await.unwrap();
    assert!(matches!(builder.start(&a).await, Err(StartSupervisorError::AlreadyRunning(_))));
    let (mut events, mut others) = (sup.events(), other.events());
    other.child::<Counter>("x").await.unwrap().explode().unwrap();
    event(&mut others, "child_restarted").await;
    within("stop", sup.stop()).await.unwrap();
    let mut kinds = Vec::new();
    while let Some(event) = within("end of events", events.recv()).await {
        kinds.push(event.kind());
    }
    assert_eq!(kinds, ["child_stopped", "supervisor_stopped"]);
    let mut told = Vec::new();
    for _ in 0..4 {
        told.push(within("event", heard.recv()).await.unwrap());
    }
    let kinds: Vec<_> = told.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["child_started", "supervisor_started", "child_stopped", "supervisor_stopped"]);
    assert_eq!(told[0]["childId"], "counter-1");
    assert_eq!(told[0]["nodeId"], a.local_node_id().as_str());
    assert_eq!((&told[3]["supervisorId"], &told[3]["reason"]), (&"heard".into(), &"shutdown".into()));
    a.stop().await;
    assert!(heard.recv().await.is_none(), "told once each, and nothing of the other");
}
