//! Real nodes on loopback, and waiting for what can be seen, with a deadline.
#![allow(unreachable_pub, dead_code, reason = "shared by several test programs")]

pub mod barred;
#[cfg(feature = "tls")]
pub mod certificates;
pub mod gate;
pub mod ports;
pub mod raw;

use std::{borrow::Borrow, time::Duration};

use noex_actors::{Caller, Context, ExitReason, Info, NodeId, Pid, Ref, behavior};
use noex_net::{Cluster, ClusterBuilder, ClusterConfig, ClusterConfigBuilder};

pub type Res<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

pub fn config(name: &str) -> ClusterConfigBuilder {
    #[cfg(feature = "tls")]
    if over_tls() {
        return plain(name).tls(ca().tls(name));
    }
    plain(name)
}

/// In any case without TLS.
pub fn plain(name: &str) -> ClusterConfigBuilder {
    // RUST_LOG=noex_net=debug shows what nodes do in a failing test.
    let logs = tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env());
    let _ = logs.with_test_writer().try_init();
    ClusterConfig::builder(name)
        .host("127.0.0.1")
        // Not 0: a test that starts a node again on its port must find it free.
        .port(ports::free_port())
        .secret("a secret of the tests")
        .heartbeat_interval(Duration::from_millis(500))
        .heartbeat_miss_threshold(4)
        .reconnect_base_delay(Duration::from_millis(100))
        .reconnect_max_delay(Duration::from_millis(1000))
}

/// The test program `tls` runs the tests of others once more, over TLS.
pub fn over_tls() -> bool {
    module_path!().starts_with("tls::")
}

/// The CA of the nodes that `config` makes.
#[cfg(feature = "tls")]
pub fn ca() -> &'static certificates::Ca {
    static CA: std::sync::OnceLock<certificates::Ca> = std::sync::OnceLock::new();
    CA.get_or_init(|| certificates::Ca::new("CA of the tests"))
}

pub fn builder(config: ClusterConfigBuilder) -> Res<ClusterBuilder> {
    Ok(Cluster::builder(config.build()?).behavior::<Box_>().arbiters(1))
}

pub async fn start(config: ClusterConfigBuilder) -> Res<Cluster> {
    Ok(builder(config)?.start().await?)
}

pub fn seeded(name: &str, seeds: &[&Cluster]) -> ClusterConfigBuilder {
    seeds.iter().fold(config(name), |config, seed| config.seed(seed.local_node_id().to_string()))
}

pub async fn node(name: &str, seeds: &[&Cluster]) -> Res<Cluster> {
    start(seeded(name, seeds)).await
}

/// Waits until each is connected to all others.
pub async fn connected(nodes: &[impl Borrow<Cluster>]) {
    let others = nodes.len() - 1;
    let all = || nodes.iter().all(|node| node.borrow().connected_node_count() == others);
    until(10, "full mesh", all).await;
}

/// Stops them, the last one first.
pub async fn stop_all(nodes: &[impl Borrow<Cluster>]) {
    for node in nodes.iter().rev() {
        within(10, "a node stops", node.borrow().stop()).await;
    }
}

/// Two connected nodes.
pub async fn pair() -> Res<(Cluster, Cluster)> {
    pair_of(config).await
}

/// Two that bear with each other for longer: to tag many megabytes at once takes a debug build on a busy machine seconds.
pub async fn patient_pair() -> Res<(Cluster, Cluster)> {
    pair_of(|name| config(name).heartbeat_miss_threshold(100)).await
}

/// Two connected nodes of these settings.
pub async fn pair_of(config: impl Fn(&str) -> ClusterConfigBuilder) -> Res<(Cluster, Cluster)> {
    let a = start(config("a")).await?;
    let b = start(config("b").seed(a.local_node_id())).await?;
    within(5, "both are up", async {
        let _ = a.wait_for_nodes(2).await;
        let _ = b.wait_for_nodes(2).await;
    })
    .await;
    Ok((a, b))
}

/// Waits for a future, with a deadline that names what was waited for.
pub async fn within<T>(seconds: u64, what: &str, future: impl Future<Output = T>) -> T {
    match actix_rt::time::timeout(Duration::from_secs(seconds), future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {seconds} s: {what}"),
    }
}

/// Waits until a condition holds.
pub async fn until(seconds: u64, what: &str, condition: impl Fn() -> bool) {
    within(seconds, what, async {
        let mut ticks = actix_rt::time::interval(Duration::from_millis(5));
        while !condition() {
            ticks.tick().await;
        }
    })
    .await;
}

pub fn id(cluster: &Cluster) -> NodeId {
    cluster.local_node_id().clone()
}

/// A process that can do everything the tests need.
pub struct Box_ {
    pub seen: Vec<i64>,
    held: Vec<Caller<i64>>,
    downs: Vec<(Pid, ExitReason)>,
}

#[behavior(name = "box")]
impl Box_ {
    #[init]
    fn new(start: i64) -> Result<Self, ExitReason> {
        if start < 0 {
            return Err(ExitReason::error("negative"));
        }
        Ok(Box_ { seen: vec![start], held: vec![], downs: vec![] })
    }
    #[cast]
    fn see(&mut self, n: i64) {
        self.seen.push(n);
    }
    #[call]
    fn seen(&self) -> Vec<i64> {
        self.seen.clone()
    }
    #[call]
    fn add(&mut self, n: i64) -> i64 {
        self.seen[0] += n;
        self.seen[0]
    }
    #[call]
    fn blob(&self, bytes: Vec<u8>) -> usize {
        bytes.len()
    }
    #[call]
    fn echo(&self, text: String) -> String {
        text
    }
    #[cast]
    fn swallow(&mut self, text: String) {
        drop(text);
    }
    #[call]
    async fn nap(&mut self, millis: u64) {
        actix_rt::time::sleep(Duration::from_millis(millis)).await;
    }
    #[call]
    fn held(&mut self, from: Caller<i64>) {
        self.held.push(from);
    }
    #[cast]
    fn forget(&mut self) {
        self.held.clear();
    }
    #[cast]
    fn explode(&mut self) {
        panic!("boom");
    }
    #[cast]
    fn watch(&mut self, other: Ref<Box_>, cx: &mut Context<Self>) {
        cx.monitor(&other);
    }
    #[call]
    fn downs(&self) -> Vec<(Pid, ExitReason)> {
        self.downs.clone()
    }
    #[call]
    async fn ask(&mut self, other: Ref<Box_>) -> Option<Vec<i64>> {
        other.seen().await.ok()
    }
    #[call]
    fn me(&self, cx: &mut Context<Self>) -> Ref<Box_> {
        cx.me().clone()
    }
    #[info]
    fn info(&mut self, info: Info<()>) {
        if let Info::Down(down) = info {
            self.downs.push((down.pid, down.reason));
        }
    }
}
