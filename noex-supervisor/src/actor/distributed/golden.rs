//! The bytes of everything that a distributed supervisor and its handles tell each other: what changes here changes what nodes of
//! two versions can say to one another.
//!
//! They stand in `golden.txt`; `write_the_golden_bytes` writes it anew. What must be there is found out from the types.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    time::{Duration, SystemTime},
};

use noex_actors::{
    __private::{decode, encode_into},
    ExitReason, Generation, Incarnation, MailboxPolicy, NodeId, Overload, Pid, SpawnOptions,
    schema::Schema,
};
use noex_net::{Cluster, ClusterConfig};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    DistributedProcess,
    messages::{Call, Cast, ChildFailure, Exit, Reply, SpawnFailure},
};
use crate::{
    distributed::{
        DistributedChildSpec, DistributedSupervisorStats, NodeSelector, OrphanPolicy, SupervisorView,
    },
    info::{ChildInfo, ChildState},
    options::{Restart, Shutdown, Strategy},
};

#[path = "../../../../noex-net/tests/support/pinned.rs"]
mod pinned;

use pinned::Table;

const GOLDEN: &str = include_str!("golden.txt");
const AFTER: Duration = Duration::from_millis(5001);

fn node_id() -> NodeId {
    NodeId::parse("b@127.0.0.1:2").unwrap()
}

fn pid() -> Pid {
    Pid::new(node_id(), Incarnation(5), 300)
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn written(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_into(value, &mut bytes).unwrap();
    bytes
}

/// The bytes of a value, which are the same when they were read and are written again.
fn encoded<T: Serialize + DeserializeOwned + Debug>(value: &T) -> Vec<u8> {
    let bytes = written(value);
    let read = decode::<T>(&bytes).unwrap();
    assert_eq!(written(&read), bytes, "{value:?}, {read:?}");
    bytes
}

/// Children of all kinds.
fn specs() -> Vec<DistributedChildSpec> {
    let spec = |id: &str| DistributedChildSpec::named(id, "worker");
    let options = SpawnOptions::new().mailbox_capacity(7).init_timeout(AFTER);
    let arguments = (1, -1, "text", true, Some(0.5), BTreeMap::from([("key", [1, 300])]), None::<u8>);
    let mailbox = |policy| spec("kept").options(SpawnOptions::new().mailbox(policy, 7));
    vec![
        spec("plain"),
        spec("all")
            .args(&arguments)
            .options(options)
            .restart(Restart::Transient)
            .shutdown(Shutdown::Timeout(AFTER))
            .node_selector(node_id())
            .name("name")
            .significant()
            .orphan(OrphanPolicy::StopAfter(AFTER)),
        spec("never").restart(Restart::Temporary).shutdown(Shutdown::BrutalKill).orphan(OrphanPolicy::RunOn),
        spec("slow").shutdown(Shutdown::Infinity).node_selector(NodeSelector::LocalFirst),
        spec("turns").node_selector(NodeSelector::RoundRobin),
        spec("least").node_selector(NodeSelector::LeastLoaded),
        spec("any").node_selector(NodeSelector::Random),
        spec("told").options(SpawnOptions::new().trap_exit()),
        mailbox(MailboxPolicy::Block),
        mailbox(MailboxPolicy::DropNewest),
        mailbox(MailboxPolicy::DropOldest),
    ]
}

/// Arguments that cannot be encoded: that travels, too.
struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("why"))
    }
}

fn calls(table: &mut Table) {
    let mut calls = vec![
        Call::TerminateChild(text("c")),
        Call::RestartChild(text("c")),
        Call::Instance(text("c")),
        Call::View,
        Call::Stats,
        Call::Wait,
        Call::Rebalance,
    ];
    for spec in specs() {
        calls.push(Call::StartChild(Box::new(spec.clone())));
        calls.push(Call::StartInstance(Box::new(spec)));
    }
    table.every("call", encoded, &calls);
    let none = DistributedChildSpec::named("none", "worker").args(&Unwritable);
    table.add("call StartChild", written(&Call::StartChild(Box::new(none))));
    table.every("cast", encoded, &[Cast::StopTree, Cast::RivalGone]);
}

fn replies(table: &mut Table, cluster: &Cluster) {
    let states = [
        ChildState::Starting,
        ChildState::Running,
        ChildState::Restarting { attempt: 2 },
        ChildState::Pending,
        ChildState::Stopping,
    ];
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    let child = |state| ChildInfo {
        id: text("c"),
        pid: Some(pid()),
        behavior: text("worker"),
        node_id: Some(node_id()),
        generation: Generation(7),
        state,
        restart_count: 300,
        started_at: Some(at),
        restart: Restart::Permanent,
        shutdown: Shutdown::default(),
        significant: true,
    };
    let nobody = ChildInfo { pid: None, node_id: None, started_at: None, ..child(ChildState::Pending) };
    let children = states.map(child).into_iter().chain([nobody]).collect();
    let stats = |name, strategy| DistributedSupervisorStats {
        id: text("s"),
        name,
        strategy,
        child_count: 3,
        pending_count: 1,
        waits_for_majority: true,
        children_by_node: BTreeMap::from([(node_id(), 2)]),
        total_restarts: 300,
        node_failure_restarts: 2,
        started_at: at,
        uptime: AFTER,
    };
    let mut replies = vec![
        Reply::Instance(Ok(cluster.resolve_any(&pid(), Some("worker")))),
        Reply::Instance(Ok(cluster.resolve_any(&pid(), None))),
        Reply::Removed(Ok(())),
        Reply::View(SupervisorView::new(text("s"), Strategy::OneForAll, node_id(), children)),
        Reply::Exit(Exit::Stopped(ExitReason::Shutdown)),
        Reply::Rebalanced(300),
    ];
    for strategy in
        [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne, Strategy::SimpleOneForOne]
    {
        let name = (strategy == Strategy::OneForOne).then(|| text("s"));
        replies.push(Reply::Stats(Box::new(stats(name, strategy))));
    }
    replies.push(Reply::Instance(Err(ChildFailure::Ended)));
    replies.push(Reply::Removed(Err(ChildFailure::NotFound(text("c")))));
    table.every("reply", encoded, &replies);
    table.every("child state", encoded, &states);
}

fn failures(table: &mut Table) {
    let c = || text("c");
    let exits = [
        Exit::Stopped(ExitReason::error("why")),
        Exit::MaxRestartsExceeded(3, AFTER),
        Exit::AutoShutdown(c()),
        Exit::StartFailed(ExitReason::Killed),
    ];
    table.every("exit", encoded, &exits);
    let failures = [
        ChildFailure::Duplicate(c()),
        ChildFailure::InvalidId(c()),
        ChildFailure::Args(c(), text("why")),
        ChildFailure::MissingTemplate,
        ChildFailure::InvalidTemplate,
        ChildFailure::NotFound(c()),
        ChildFailure::NoAvailableNode(c(), text("round_robin")),
        ChildFailure::NotRunning(c(), ChildState::Restarting { attempt: 2 }),
        ChildFailure::Spawn(c(), SpawnFailure::NotRunning),
        ChildFailure::Ended,
        ChildFailure::FromTemplate,
        ChildFailure::NoTemplate,
        ChildFailure::WrongBehavior(text("box"), text("worker")),
        ChildFailure::Claimed(pid().node_id().clone()),
    ];
    table.every("child failure", encoded, &failures);
    let (behavior, node, reason) = (text("worker"), node_id(), text("why"));
    let mut failures = vec![
        SpawnFailure::Init(ExitReason::Panic("why".into())),
        SpawnFailure::InitTimeout(AFTER),
        SpawnFailure::NameTaken(text("n"), pid()),
        SpawnFailure::NameLost(text("n"), pid()),
        SpawnFailure::NotRunning,
        SpawnFailure::NoConnection(node_id()),
        SpawnFailure::ConnectionLost(node_id()),
        SpawnFailure::Timeout { behavior: behavior.clone(), node: node_id(), after: AFTER },
        SpawnFailure::BehaviorNotFound(behavior.clone(), node_id()),
        SpawnFailure::Incompatible { behavior: behavior.clone(), node: node_id(), reason },
        SpawnFailure::Other(text("why")),
        SpawnFailure::Forbidden(behavior.clone(), node_id()),
        SpawnFailure::Quota { behavior, node, max: 300 },
    ];
    let full = [Overload::Mailbox, Overload::Outbox, Overload::Credits, Overload::Quota];
    failures.extend(full.map(SpawnFailure::Overloaded));
    table.every("spawn failure", encoded, &failures);
}

/// References need a node that knows of others.
async fn table() -> Table {
    let config = ClusterConfig::builder("a").host("127.0.0.1").port(0).build().unwrap();
    let cluster = Cluster::builder(config).arbiters(1).start().await.unwrap();
    let mut table = Table::default();
    cluster.decoding(|| {
        calls(&mut table);
        replies(&mut table, &cluster);
        failures(&mut table);
    });
    // What other nodes are told of all this.
    let schema = Schema::of::<DistributedProcess>().to_bytes();
    assert!(!schema.is_empty(), "it is short enough to be told");
    table.add("schema", schema);
    cluster.stop().await;
    table
}

#[actix_rt::test]
async fn every_message_has_its_bytes_and_they_stay_as_they_are() {
    table().await.check(GOLDEN);
}

#[actix_rt::test]
#[ignore = "writes: cargo test -p noex-supervisor --lib -- --ignored write_the_golden_bytes"]
async fn write_the_golden_bytes() {
    table().await.write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/actor/distributed/golden.txt"));
}
