//! Two supervisors of one name, each on its side of a partition, while the connections come back one by one: both reach the node
//! between them, and not yet each other.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod cluster;

use std::time::Duration;

use actix_rt::task::JoinHandle;
use cluster::{
    Event, LONG, Log, Worker, alive, each_once, event, ports::free_port, stop_all, within, worker,
};
use noex_actors::{Events, ExitReason, Generation, SupervisedProcess};
use noex_net::{Cluster, ClusterConfig};
use noex_supervisor::{
    ChildError, DistributedSupervisor, DistributedSupervisorBuilder, NodeSelector, Strategy, SupervisorExit,
};
use tokio::net::{TcpListener, TcpStream};

/// At whatever host a node is to be found, it listens here.
const HERE: &str = "127.0.0.1";
const BETWEEN: &str = "127.0.0.7";
const ONE: &str = "127.0.0.8";
const OTHER: &str = "127.0.0.9";
/// Where the one and the other dial the node between them.
const FROM_ONE: &str = "127.0.0.17";
const FROM_OTHER: &str = "127.0.0.18";

/// Until it is open nobody listens there, and whoever dials it is refused.
struct Way(JoinHandle<()>);

impl Way {
    async fn open(host: &str, to: &Cluster) -> Self {
        let port = to.local_node_id().port();
        let listener = TcpListener::bind((host, port)).await.unwrap();
        Self(actix_rt::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                actix_rt::spawn(async move {
                    let mut far = TcpStream::connect((HERE, port)).await?;
                    tokio::io::copy_bidirectional(&mut near, &mut far).await
                });
            }
        }))
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn node(
    name: &str,
    host: &str,
    detection: Duration,
    seed: Option<(&str, &Cluster)>,
    log: &Log,
) -> Cluster {
    let mut config = ClusterConfig::test(name)
        .port(free_port())
        .secret("a secret for the tests")
        .advertise_host(host)
        .heartbeat_interval(detection / 3)
        .heartbeat_miss_threshold(3);
    if let Some((host, seed)) = seed {
        config = config.seed(format!("{host}:{}", seed.local_node_id().port()));
    }
    let builder = Cluster::builder(config.build().unwrap()).behavior::<Worker>().data(log.clone());
    builder.arbiters(1).start().await.unwrap()
}

fn supervisor(strategy: Strategy) -> DistributedSupervisorBuilder {
    DistributedSupervisor::builder().name("s").strategy(strategy).restart_intensity(0, LONG)
}

/// Two children of the other supervisor run on the node between, and lower instances they are. The one that keeps the name has the
/// same children on its own node, and reaches the node between. It stopped those, and the other one knows that.
struct Met {
    log: Log,
    between: Cluster,
    one: Cluster,
    other: Cluster,
    keeps: DistributedSupervisor,
    loses: DistributedSupervisor,
    events: Events<Event>,
    _ways: [Way; 2],
}

async fn met(strategy: Strategy, detection: Duration) -> Met {
    let log = Log::default();
    let between = node("b", BETWEEN, detection, None, &log).await;
    let from_other = Way::open(FROM_OTHER, &between).await;
    let other = node("c", OTHER, detection, Some((FROM_OTHER, &between)), &log).await;
    within("c is connected", other.wait_for_nodes(2)).await.unwrap();
    let there = NodeSelector::Node(between.local_node_id().clone());
    let children = ["x", "y"].map(|id| worker(id).node_selector(there.clone()));
    let loses = supervisor(strategy).children(children).start(&other).await.unwrap();
    assert_eq!(log.take(), ["+x@b", "+y@b"]);

    let one = node("a", ONE, detection, Some((FROM_ONE, &between)), &log).await;
    let keeps = supervisor(strategy).children(["x", "y"].map(worker)).start(&one).await.unwrap();
    // Higher ones also if both supervisors began within one second.
    for _ in 0..4 {
        keeps.restart_child("y").await.unwrap();
        keeps.restart_child("x").await.unwrap();
    }
    assert!(log.take().iter().all(|line| line.ends_with("@a")));
    let (events, mut stopped) = (loses.events(), keeps.events());
    let from_one = Way::open(FROM_ONE, &between).await;
    for _ in 0..2 {
        event(&mut stopped, "child_duplicate_stopped").await;
    }
    Met { log, between, one, other, keeps, loses, events, _ways: [from_other, from_one] }
}

/// Waits until the other supervisor knows that its children ended, whatever it does about that.
async fn knows(loses: &DistributedSupervisor) {
    let wait = async {
        loop {
            let stats = loses.stats().await.unwrap();
            if stats.children_by_node.is_empty() || stats.total_restarts > 0 {
                return;
            }
            actix_rt::task::yield_now().await;
        }
    };
    within("it knows", wait).await;
}

fn started(lines: &[String]) -> Vec<&String> {
    lines.iter().filter(|line| line.starts_with('+')).collect()
}

#[actix_rt::test]
async fn what_a_rival_stops_before_they_have_met_is_not_started_again() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        let Met { log, between, one, other, keeps, loses, mut events, _ways } = met(strategy, LONG).await;
        knows(&loses).await;
        let _way = Way::open(OTHER, &other).await;
        let lost = SupervisorExit::Stopped(ExitReason::error("name_lost"));
        assert_eq!(within("it gives way", loses.wait()).await, lost);
        within("all are connected", one.wait_for_nodes(3)).await.unwrap();
        let lines = log.take();
        assert!(started(&lines).is_empty(), "{strategy}: {lines:?}");
        let nodes = [&between, &one, &other];
        each_once(&nodes, "s", 2);
        assert_eq!(alive(&nodes, "s")["x"], [one.local_node_id().to_string()]);
        while let Some(event) = events.recv().await {
            assert!(!event.kind().starts_with("child_restarted"), "{event:?}");
            if event.kind() == "supervisor_stopped" {
                break;
            }
        }
        assert_eq!(keeps.stats().await.unwrap().total_restarts, 8, "by hand");
        within("stop", keeps.stop()).await.unwrap();
        stop_all(&[&other, &one, &between]).await;
    }
}

/// What lives on a node, in which generation.
fn generations(node: &Cluster) -> Vec<(String, Generation)> {
    let of = |process: SupervisedProcess| (process.token.child, process.token.generation);
    let mut all: Vec<_> = node.supervised().into_iter().map(of).collect();
    all.sort();
    all
}

#[actix_rt::test]
async fn of_equal_generations_the_one_of_the_earlier_owner_gives_way_whoever_looks_first() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        let log = Log::default();
        let between = node("b", BETWEEN, LONG, None, &log).await;
        let from_one = Way::open(FROM_ONE, &between).await;
        let one = node("a", ONE, LONG, Some((FROM_ONE, &between)), &log).await;
        within("a is connected", one.wait_for_nodes(2)).await.unwrap();
        let there = NodeSelector::Node(between.local_node_id().clone());
        let children = ["x", "y"].map(|id| worker(id).node_selector(there.clone()));
        let keeps = supervisor(strategy).children(children).__unix_seconds(7).start(&one).await.unwrap();
        let other = node("c", OTHER, LONG, Some((FROM_OTHER, &between)), &log).await;
        let children = ["x", "y"].map(worker);
        let loses = supervisor(strategy).children(children).__unix_seconds(7).start(&other).await.unwrap();
        assert_eq!(log.take(), ["+x@b", "+y@b", "+x@c", "+y@c"]);
        let before = generations(&between);
        assert_eq!(before, generations(&other), "nothing but the owner tells them apart");

        // The one that is to lose the name meets what is the other one's before it meets that one.
        let from_other = Way::open(FROM_OTHER, &between).await;
        within("c reaches b", other.wait_for_nodes(2)).await.unwrap();
        for _ in 0..20 {
            other.instances(between.local_node_id(), "s", LONG).await.unwrap();
            loses.stats().await.unwrap();
        }
        let _ways = [from_one, from_other, Way::open(OTHER, &other).await];
        let lost = SupervisorExit::Stopped(ExitReason::error("name_lost"));
        assert_eq!(within("it gives way", loses.wait()).await, lost);
        let gone = async {
            while !other.supervised().is_empty() {
                actix_rt::task::yield_now().await;
            }
        };
        within("its instances are gone", gone).await;
        let mut lines = log.take();
        lines.sort();
        assert_eq!(lines, ["-x@c", "-y@c"], "{strategy}");
        assert_eq!(generations(&between), before);
        assert_eq!(keeps.stats().await.unwrap().total_restarts, 0);
        within("stop", keeps.stop()).await.unwrap();
        stop_all(&[&other, &one, &between]).await;
    }
}

#[actix_rt::test]
async fn what_a_rival_stopped_that_is_gone_before_they_meet_is_started_again_and_counts_nothing() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        let Met { log, between, one, other, keeps, loses, mut events, _ways } = met(strategy, LONG).await;
        knows(&loses).await;
        log.take();
        // It takes its children with it. No restart is allowed here that is counted.
        within("the rival stops", keeps.stop()).await.unwrap();
        for _ in 0..2 {
            event(&mut events, "child_restarted").await;
        }
        let mut lines = log.take();
        lines.sort();
        assert_eq!(started(&lines), ["+x@b", "+y@b"], "{strategy}");
        each_once(&[&between, &one, &other], "s", 2);
        assert_eq!(loses.stats().await.unwrap().child_count, 2);
        within("stop", loses.stop()).await.unwrap();
        stop_all(&[&other, &one, &between]).await;
    }
}

#[actix_rt::test]
async fn one_that_is_never_met_is_waited_for_as_long_as_a_silent_node_and_no_child_is_lost() {
    let detection = Duration::from_millis(900);
    let Met { between, one, other, loses, mut events, _ways, .. } = met(Strategy::OneForOne, detection).await;
    for _ in 0..2 {
        event(&mut events, "child_restarted").await;
    }
    assert!(loses.stats().await.unwrap().total_restarts >= 2);
    stop_all(&[&other, &one, &between]).await;
}

#[actix_rt::test]
async fn one_that_is_asked_and_loses_the_name_says_who_has_it() {
    let Met { between, one, other, keeps, loses, mut events, _ways, .. } =
        met(Strategy::OneForOne, LONG).await;
    knows(&loses).await;
    // In doubt about its name: what is asked waits.
    let ask = |child: &'static str| {
        let loses = loses.clone();
        actix_rt::spawn(async move { loses.restart_child(child).await.map(|_| ()) })
    };
    let asked = [ask("x"), ask("y")];
    actix_rt::task::yield_now().await;
    loses.stats().await.unwrap();
    assert!(asked.iter().all(|asked| !asked.is_finished()));
    let _way = Way::open(OTHER, &other).await;
    for asked in asked {
        match within("an answer", asked).await.unwrap() {
            Err(ChildError::Claimed { owner }) => assert_eq!(owner, *one.local_node_id()),
            other => panic!("{other:?}"),
        }
    }
    let changed = event(&mut events, "owner_changed").await;
    let (from_node, to_node) = (other.local_node_id().clone(), one.local_node_id().clone());
    assert_eq!(changed, Event::OwnerChanged { supervisor_id: "s".to_owned(), from_node, to_node });
    event(&mut events, "supervisor_stopped").await;
    within("stop", keeps.stop()).await.unwrap();
    stop_all(&[&other, &one, &between]).await;
}
