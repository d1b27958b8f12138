//! A link that is too narrow for what is sent over it. The nodes are of this program, each on its host.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant, SystemTime},
};

use noex::{Cluster, ClusterConfig, prelude::*};

use crate::{
    lab::{Host, Lab},
    node::SECRET,
};

/// Takes whatever comes.
struct Sink;

#[behavior(name = "sink")]
impl Sink {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Self)
    }
    #[cast]
    fn pour(&mut self, text: String) {
        drop(text);
    }
}

const MEGABITS: u32 = 8;
const INTERVAL: Duration = Duration::from_millis(200);
/// So many heartbeats may be under way on the narrow link at the end: they share it with 128 KiB that the kernel holds
/// and with what waits in the network, half a second together, and with the batch before them.
const UNDER_WAY: usize = 8;

/// Starts a node whose threads and sockets are of this host.
fn start(host: &Host, seed: Option<&Cluster>) -> Cluster {
    let ip = host.ip.to_string();
    let config = ClusterConfig::builder(host.name.as_str()).host(&ip).port(0).secret(SECRET);
    let config = config.heartbeat_interval(INTERVAL).heartbeat_miss_threshold(20);
    let config = seed.iter().fold(config, |config, seed| config.seed(seed.local_node_id().to_string()));
    let config = config.build().unwrap();
    host.within(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(Cluster::builder(config).behavior::<Sink>().arbiters(1).start()).unwrap()
    })
}

/// Heartbeats of one node, as another hears them.
struct Heard<'a> {
    at: &'a Cluster,
    of: &'a Cluster,
    times: BTreeSet<SystemTime>,
}

impl Heard<'_> {
    fn look(&mut self) {
        self.times.extend(self.at.node(self.of.local_node_id()).and_then(|node| node.last_heartbeat_at));
    }

    fn longest_gap(&self) -> Duration {
        let pairs = self.times.iter().zip(self.times.iter().skip(1));
        pairs.map(|(one, next)| next.duration_since(*one).unwrap()).max().unwrap_or_default()
    }
}

/// Floods a link for so long; the heartbeats of the flooding node must come through it.
async fn saturated(time: Duration) {
    let Some(lab) = Lab::new() else { return };
    let hosts = [lab.host("a", 1), lab.host("b", 2), lab.host("c", 3)];
    let a = start(&hosts[0], None);
    let [b, c] = [1, 2].map(|n: usize| start(&hosts[n], Some(&a)));
    for node in [&a, &b, &c] {
        let up = node.wait_for_nodes(3);
        tokio::time::timeout(Duration::from_secs(20), up).await.expect("three nodes").unwrap();
    }
    let sink = a.spawn_on::<Sink>(b.local_node_id(), ()).await.unwrap();
    lab.narrow(&hosts[1], MEGABITS);

    // What the third node hears of the same sender over a link that is wide is the measure.
    let mut narrow = Heard { at: &b, of: &a, times: BTreeSet::new() };
    let mut wide = Heard { at: &c, of: &a, times: BTreeSet::new() };
    let sent = || a.peer_stats(b.local_node_id()).map_or(0, |peer| peer.bytes_sent);
    let (before, began) = (sent(), Instant::now());
    let flood = async {
        let text = "x".repeat(16 * 1024);
        while began.elapsed() < time {
            sink.cast_wait(SinkCast::Pour { text: text.clone() }).await.unwrap();
        }
    };
    let watch = async {
        while began.elapsed() < time {
            narrow.look();
            wide.look();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::join!(flood, watch);
    let (passed, queued) =
        (sent() - before, a.peer_stats(b.local_node_id()).map_or(0, |peer| peer.outbox_bytes));
    let (heard, measure) = (narrow.times.len(), wide.times.len());
    println!(
        "{MEGABITS} Mbit/s flooded for {time:?}: {passed} bytes passed and {queued} wait; {heard} heartbeats of {measure} \
         came through, {:?} apart at most ({:?} on the wide link)",
        narrow.longest_gap(),
        wide.longest_gap(),
    );
    for node in [&a, &b, &c] {
        let stats = node.stats();
        let downs: u64 = stats.node_down_total.values().sum();
        assert_eq!((downs, stats.node_up_total), (0, 2), "{node:?}");
    }
    // Half of what the link can carry at least: it was full.
    let capacity = u64::from(MEGABITS) * 1_000_000 / 8 * time.as_secs();
    assert!(passed > capacity / 2, "{passed} of {capacity} bytes");
    assert!(queued > 1024 * 1024, "more was sent than it could carry");
    assert!(heard + UNDER_WAY >= measure, "{heard} heartbeats of {measure} came through");
    // The goodbyes need not wait for what is queued.
    sink.kill();
    for node in [&c, &b, &a] {
        node.stop().await;
    }
}

#[actix_rt::test]
async fn heartbeats_pass_a_flood_on_a_narrow_link() {
    saturated(Duration::from_secs(8)).await;
}

#[actix_rt::test]
#[ignore = "soak: cargo test --features web --test netns -- --ignored --nocapture"]
async fn heartbeats_pass_a_flood_of_a_minute_on_a_narrow_link() {
    saturated(Duration::from_secs(60)).await;
}
