//! Trouble of every kind for some minutes, then calm: all views agree, whatever happened.

use super::*;

/// What goes on in one run: trouble until then, calm afterwards.
const TROUBLE_MS: Ms = 120_000;
const CALM_MS: Ms = 90_000;
const PERIOD_MS: Ms = 1_500;

impl World {
    pub(super) fn trouble(&mut self) {
        if self.now > TROUBLE_MS {
            return self.calm();
        }
        let delay = self.roll(PERIOD_MS);
        self.after(delay, Event::Trouble);
        let n = self.nodes.len() as u64;
        let (a, b) = (self.roll(n) as usize, self.roll(n) as usize);
        match self.roll(9) {
            0 => (0..self.nodes.len()).for_each(|node| {
                let side = self.roll(2) as u8;
                self.net.part(node, side);
            }),
            1 => self.net.cut(a, b),
            2 | 3 => self.net.heal(),
            4 if self.nodes[a].alive => {
                let silently = self.roll(2) == 0;
                self.crash(a, silently);
            }
            5 if !self.nodes[a].alive => self.start(a, &[b, 0]),
            6 => self.nodes[a].frozen_until = self.now + self.roll(4_000),
            7 if self.end(a, b).session != 0 => self.close(a, b, NodeDownReason::ConnectionClosed),
            8 => (self.net.loss, self.net.mess) = (self.roll(300), self.roll(300)),
            _ => {}
        }
    }

    /// Everything works again, and whoever is dead is started.
    fn calm(&mut self) {
        self.net.heal();
        (self.net.loss, self.net.mess) = (0, 0);
        for at in 0..self.nodes.len() {
            self.nodes[at].frozen_until = 0;
            if !self.nodes[at].alive {
                self.start(at, &[0]);
            }
        }
    }
}

fn config() -> ClusterConfig {
    let config = ClusterConfig::builder("n0").heartbeat_interval(Duration::from_millis(1000));
    let config = config.reconnect_base_delay(Duration::from_millis(200));
    config.reconnect_max_delay(Duration::from_secs(5)).forget_after(Duration::from_secs(20)).build().unwrap()
}

/// One run; what happened in it.
fn run(seed: u64, n: usize) -> (u64, u64) {
    let mut world = World::new(seed, n, config());
    world.net.connect_timeout = 2_000;
    for at in 0..n {
        // One seed for all, and two for some.
        let seeds = if at % 3 == 0 { vec![0, (at + 1) % n] } else { vec![0] };
        let seeds: Vec<usize> = seeds.into_iter().filter(|seed| *seed != at).collect();
        world.start(at, &seeds);
    }
    world.after(5_000, Event::Trouble);
    world.run_until(TROUBLE_MS + PERIOD_MS, |_| false);
    assert!(world.now > TROUBLE_MS);
    // Silence that began in the trouble becomes a verdict after it.
    world.run_until(TROUBLE_MS + PERIOD_MS + world.silence() + 2 * world.interval(), |_| false);
    let end = TROUBLE_MS + PERIOD_MS + CALM_MS;
    let agreed = world.run_until(end, World::agree);
    assert!(agreed, "seed {seed}: {n} nodes do not agree: {}; run({seed}, {n})", world.disagreement());
    // And it stays so, with one view everywhere, nobody dialled and nothing waiting.
    let downs = world.downs;
    world.run_until(end + 60_000, |_| false);
    assert!(world.agree(), "seed {seed}: no rest; run({seed}, {n})");
    assert_eq!(world.downs, downs, "seed {seed}: a node went down in the calm; run({seed}, {n})");
    let view = world.nodes[0].membership.view();
    for node in &world.nodes {
        assert_eq!(node.membership.view(), view, "seed {seed}");
        assert_eq!(node.membership.members().len(), n - 1, "seed {seed}");
        assert!(node.dialling.is_empty(), "seed {seed}: {:?}", node.dialling);
        assert_eq!(node.membership.deadline(), None, "seed {seed}");
    }
    assert!(view.count as usize == n && n <= MAX_KNOWN && MAX_TOLD <= MAX_HINTS);
    (world.downs, world.dials)
}

#[test]
fn after_any_trouble_all_views_agree() {
    let mut downs = 0;
    for seed in 0..60 {
        downs += run(seed, 3 + (seed % 10) as usize).0;
    }
    assert!(downs > 5_000, "the trouble was real: {downs}");
}

#[test]
fn after_any_trouble_fifty_nodes_agree() {
    assert!(run(7, 50).0 > 1_000);
}

/// `cargo test --release -p noex-net --lib soak_of_membership -- --ignored --nocapture`
#[test]
#[ignore = "soak: some minutes"]
#[allow(clippy::print_stdout, reason = "a soak says what it did")]
fn soak_of_membership() {
    for (seeds, n) in [(2_000, 3), (2_000, 5), (1_000, 10), (200, 30), (20, 100), (2, 300)] {
        let (mut downs, mut dials) = (0, 0);
        for seed in 0..seeds {
            let (lost, dialled) = run(seed, n);
            (downs, dials) = (downs + lost, dials + dialled);
        }
        println!("{n} nodes, {seeds} seeds: {downs} node-downs, {dials} dials, all views agreed");
    }
}
