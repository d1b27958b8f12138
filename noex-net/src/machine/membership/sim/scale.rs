//! How long views take to agree, and what membership costs, from ten nodes to thousands; at the default settings.

use super::*;

/// What was measured with one number of nodes. Times in heartbeat intervals.
#[derive(Debug, Default)]
struct Figures {
    join: f64,
    crash: f64,
    heal: f64,
    /// Bytes that one node sends per second while nothing happens.
    rest: f64,
    /// Bytes per node, handshakes included and heartbeats not, for one node that joins.
    joined: f64,
    /// Dials for one node that joins.
    dials: u64,
    /// Of the sessions in a minute with 1 % of all packets lost: how many were given up. Not asked of the largest.
    false_downs: Option<u64>,
}

impl World {
    /// A full mesh of all nodes but the last one.
    fn mesh(seed: u64, n: usize) -> Self {
        let mut world = Self::new(seed, n + 1, ClusterConfig::builder("n0").build().unwrap());
        world.mute = true;
        for at in 0..n {
            world.start(at, &[]);
        }
        for a in 0..n {
            for b in a + 1..n {
                let session = world.next_session;
                world.next_session += 1;
                *world.pair(a, b) = session;
                for (at, peer) in [(a, b), (b, a)] {
                    let view = world.nodes[peer].membership.view();
                    world.up(at, peer, session, view);
                }
            }
        }
        world.mute = false;
        assert!(world.agree() && world.dials == 0);
        world
    }

    /// Runs until all agree, and returns after how many intervals that was.
    fn until_agreed(&mut self, what: &str) -> f64 {
        let began = self.now;
        let end = began + 100 * self.interval();
        assert!(self.run_until(end, Self::agree), "seed {}: no agreement after {what}", self.seed);
        #[allow(clippy::cast_precision_loss, reason = "small numbers")]
        let intervals = (self.now - began) as f64 / self.interval() as f64;
        intervals
    }

    fn pass(&mut self, intervals: u64) {
        let end = self.now + intervals * self.interval();
        self.run_until(end, |_| false);
    }
}

/// From here on an interval takes a minute to simulate, and there are fewer of them.
const LARGE: usize = 3000;

#[allow(clippy::cast_precision_loss, reason = "small numbers")]
fn measure(seed: u64, n: usize) -> Figures {
    let mut world = World::mesh(seed, n);
    let mut figures = Figures::default();
    let (rests, parted) = if n < LARGE { (4, 12) } else { (1, 6) };
    world.pass(1);
    world.bytes.take();
    world.pass(rests);
    let seconds = rests as f64 * world.interval() as f64 / 1000.0;
    let rest = world.bytes.take() as f64;
    figures.rest = rest / n as f64 / seconds;

    // A join: the last node, which knows one other.
    let dials = world.dials;
    let first = world.roll(n as u64) as usize;
    world.start(n, &[first]);
    figures.join = world.until_agreed("a join");
    figures.dials = world.dials - dials;
    let beats = rest / rests as f64 * figures.join; // what would have been sent anyway
    figures.joined = (world.bytes.take() as f64 - beats).max(0.0) / n as f64;

    // Its machine goes, without a word.
    world.pass(2);
    world.crash(n, true);
    figures.crash = world.until_agreed("a crash");

    // One packet in a hundred is lost, for a minute.
    if n < LARGE {
        let downs = world.downs;
        world.net.loss = 10;
        world.pass(12);
        world.net.loss = 0;
        figures.false_downs = Some(world.downs - downs);
        assert!(world.run_until(world.now + 100 * world.interval(), World::agree));
    }

    // A partition in the middle, for a minute; half a minute of the largest.
    for at in 0..n / 2 {
        world.net.part(at, 1);
    }
    world.pass(parted);
    let sessions = (0..n).flat_map(|a| (0..n).map(move |b| (a, b)));
    let across = sessions.filter(|(a, b)| (*a < n / 2) != (*b < n / 2));
    assert_eq!(across.filter(|(a, b)| world.end(*a, *b).session != 0).count(), 0);
    world.net.heal();
    figures.heal = world.until_agreed("a partition");

    let limit = 3.0 * (n as f64).log2();
    let slowest = figures.join.max(figures.crash).max(figures.heal);
    assert!(slowest <= limit, "seed {seed}, {n} nodes: {figures:?}; limit {limit}");
    figures
}

#[test]
fn ten_to_three_hundred_nodes_agree_within_three_log_n_intervals() {
    for (seeds, n) in [(30, 10), (2, 100), (1, 200)] {
        for seed in 0..seeds {
            let figures = measure(seed, n);
            assert_eq!(figures.false_downs, Some(0), "{figures:?}");
            assert!(figures.dials < 3 * n as u64, "{figures:?}");
        }
    }
}

/// The table of docs/scale.md:
/// `cargo test --release -p noex-net --lib soak_of_scale -- --ignored --nocapture`
#[test]
#[ignore = "soak: most of an hour and 10 GB"]
#[allow(clippy::print_stdout, clippy::cast_precision_loss, reason = "a soak says what it found")]
fn soak_of_scale() {
    println!(
        "nodes seeds | join, crash, heal, limit (intervals) | B/s per node | B per node and join | dials | false downs"
    );
    for (seeds, n) in [(20, 10), (10, 100), (3, 300), (2, 1000), (1, 2000), (1, 5000)] {
        let mut worst = Figures::default();
        for seed in 0..seeds {
            let figures = measure(seed, n);
            worst.join = worst.join.max(figures.join);
            worst.crash = worst.crash.max(figures.crash);
            worst.heal = worst.heal.max(figures.heal);
            worst.rest = worst.rest.max(figures.rest);
            worst.joined = worst.joined.max(figures.joined);
            worst.dials = worst.dials.max(figures.dials);
            worst.false_downs = worst.false_downs.max(figures.false_downs);
        }
        let Figures { join, crash, heal, rest, joined, dials, false_downs } = worst;
        let limit = 3.0 * (n as f64).log2();
        println!(
            "{n:5} {seeds:5} | {join:5.2} {crash:5.2} {heal:5.2} {limit:5.1} | {rest:9.0} | {joined:8.0} | {dials:6} | {false_downs:?}"
        );
    }
}
