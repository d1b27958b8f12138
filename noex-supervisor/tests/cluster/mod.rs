//! Nodes in one program, and a behavior that writes down what happens to it.

#![allow(clippy::unwrap_used, clippy::panic, dead_code, reason = "shared by several test programs")]

#[path = "../../../noex-net/tests/support/ports.rs"]
pub(crate) mod ports;

use std::{
    collections::BTreeMap,
    io::Read,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use noex_actors::{Context, Events, ExitReason, NodeId, behavior};
use noex_net::{Cluster, ClusterBuilder, ClusterConfig, ClusterConfigBuilder};
use noex_supervisor::DistributedChildSpec;
pub(crate) use noex_supervisor::DistributedSupervisorEvent as Event;
use parking_lot::Mutex;

pub(crate) const LONG: Duration = Duration::from_secs(20);

pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    actix_rt::time::timeout(LONG, future).await.unwrap_or_else(|_| panic!("{what}: not in time"))
}

/// What happened on all nodes, in order: `+child@node`, `-child@node`, and `?child@node` for one that was asked to stop
/// and does not.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn write(&self, line: String) {
        self.0.lock().push(line);
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// The lines without their nodes.
pub(crate) fn ids(lines: &[String]) -> String {
    let id = |line: &String| line.split_once('@').map_or_else(|| line.clone(), |(id, _)| id.to_owned());
    lines.iter().map(id).collect::<Vec<_>>().join(" ")
}

/// A child that writes its start and its stop down.
pub(crate) struct Worker {
    arg: String,
    name: String,
    log: Log,
    stubborn: bool,
}

#[behavior(name = "worker")]
impl Worker {
    #[init]
    fn new(arg: String, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        let log = cx.node().data::<Log>().ok_or_else(|| ExitReason::error("no log"))?;
        let child = cx.fencing_token().map_or("nobody", |token| token.child.as_str());
        let name = format!("{child}@{}", cx.node().id().name());
        log.write(format!("+{name}"));
        Ok(Worker { arg, name, log: (*log).clone(), stubborn: false })
    }
    #[call]
    pub(crate) fn arg(&self) -> String {
        self.arg.clone()
    }
    #[cast]
    pub(crate) fn explode(&mut self) {
        panic!("boom");
    }
    #[cast]
    pub(crate) fn leave(&mut self, reason: ExitReason, cx: &mut Context<Self>) {
        cx.stop(reason);
    }
    /// From now on it has to be killed.
    #[cast]
    pub(crate) fn never_stop(&mut self) {
        self.stubborn = true;
    }
    #[terminate]
    async fn bye(&mut self, _reason: &ExitReason) {
        let sign = if self.stubborn { '?' } else { '-' };
        self.log.write(format!("{sign}{}", self.name));
        if self.stubborn {
            std::future::pending::<()>().await;
        }
    }
}

/// A child with an argument that tells of it.
pub(crate) fn worker(id: &str) -> DistributedChildSpec {
    DistributedChildSpec::new::<Worker>(id, format!("for {id}"))
}

pub(crate) async fn join(name: &str, seed: Option<&str>, log: &Log) -> Cluster {
    join_as(name, seed, &|builder| builder.behavior::<Worker>().data(log.clone())).await
}

/// A node that knows other behaviors.
async fn join_as(
    name: &str,
    seed: Option<&str>,
    knowing: &impl Fn(ClusterBuilder) -> ClusterBuilder,
) -> Cluster {
    up(config(name, seed), knowing).await
}

fn config(name: &str, seed: Option<&str>) -> ClusterConfigBuilder {
    let config = ClusterConfig::test(name).port(ports::free_port()).secret("a secret for the tests");
    match seed {
        Some(seed) => config.seed(seed),
        None => config,
    }
}

async fn up(config: ClusterConfigBuilder, knowing: &impl Fn(ClusterBuilder) -> ClusterBuilder) -> Cluster {
    knowing(Cluster::builder(config.build().unwrap())).arbiters(1).start().await.unwrap()
}

/// A node that was there before comes again, under its id.
pub(crate) async fn come_back(was: &NodeId, seed: &str, log: &Log) -> Cluster {
    let config = config(was.name(), Some(seed)).port(was.port());
    up(config, &|builder| builder.behavior::<Worker>().data(log.clone())).await
}

/// Fully connected nodes of these names, with one log.
pub(crate) async fn nodes<const N: usize>(names: [&str; N]) -> ([Cluster; N], Log) {
    let log = Log::default();
    (nodes_as(names, |builder| builder.behavior::<Worker>().data(log.clone())).await, log)
}

/// The same of nodes that know other behaviors.
pub(crate) async fn nodes_as<const N: usize>(
    names: [&str; N],
    knowing: impl Fn(ClusterBuilder) -> ClusterBuilder,
) -> [Cluster; N] {
    let mut all: Vec<Cluster> = Vec::new();
    for name in names {
        let seed = all.first().map(|node| node.local_node_id().to_string());
        all.push(join_as(name, seed.as_deref(), &knowing).await);
    }
    for node in &all {
        within("full mesh", node.wait_for_nodes(N)).await.unwrap();
    }
    all.try_into().unwrap()
}

/// What really lives, by child: counted on the nodes, not in anybody's table.
pub(crate) fn alive(nodes: &[&Cluster], supervisor: &str) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for node in nodes {
        for process in node.supervised() {
            if process.token.supervisor == supervisor {
                all.entry(process.token.child).or_default().push(node.local_node_id().to_string());
            }
        }
    }
    all
}

#[track_caller]
pub(crate) fn each_once(nodes: &[&Cluster], supervisor: &str, n: usize) {
    let alive = alive(nodes, supervisor);
    assert_eq!(alive.len(), n, "{alive:?}");
    assert!(alive.values().all(|places| places.len() == 1), "{alive:?}");
}

async fn next(events: &mut Events<Event>, kinds: &[&str]) -> Event {
    let wanted = async {
        loop {
            match events.recv().await {
                Some(event) if kinds.contains(&event.kind()) => return event,
                Some(_) => {}
                None => panic!("no {kinds:?}"),
            }
        }
    };
    within(kinds[0], wanted).await
}

/// The next event of this kind.
pub(crate) async fn event(events: &mut Events<Event>, kind: &str) -> Event {
    next(events, &[kind]).await
}

/// The next child that another instance took the place of.
pub(crate) async fn restart_event(events: &mut Events<Event>) -> Event {
    next(events, &["child_restarted", "child_migrated"]).await
}

pub(crate) async fn stop_all(nodes: &[&Cluster]) {
    for node in nodes {
        within("stop", node.stop()).await;
    }
}

/// Where a node in a program of its own finds the others.
const SEED: &str = "NOEX_TEST_SEED";

/// The node `b` in a program of its own, which can be killed.
pub(crate) struct Victim(Child);

impl Victim {
    /// Runs the test of this name, which calls [`be_a_victim`], in another process.
    pub(crate) fn start(test: &str, seed: &Cluster) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--ignored", "--nocapture"]).env(SEED, seed.local_node_id().as_str());
        Self(command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// SIGKILL, and its end.
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The other end of [`Victim::start`]: lives until it is killed, or whoever started it is gone.
pub(crate) async fn be_a_victim() {
    let Ok(seed) = std::env::var(SEED) else { return };
    let _node = join("b", Some(&seed), &Log::default()).await;
    let end = actix_rt::task::spawn_blocking(|| std::io::stdin().read(&mut [0]));
    let _ = end.await;
}
