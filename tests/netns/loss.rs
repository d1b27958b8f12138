//! Links that lose packets.

use std::time::Duration;

use crate::{
    lab::Lab,
    node::{Setup, all_agree, told},
    wait,
};

/// Of a hundred packets.
const LOST: u8 = 20;

/// Three nodes, of which one loses a fifth of what it sends, for so long.
fn lossy(time: Duration, settings: impl Fn(Setup) -> Setup) {
    let Some(lab) = Lab::new() else { return };
    let hosts = [lab.host("a", 1), lab.host("b", 2), lab.host("c", 3)];
    let [x, y, z] = &hosts;
    let a = settings(Setup::new(&lab, x)).start(x);
    let b = settings(Setup::new(&lab, y)).seed(&a.id).start(y);
    let c = settings(Setup::new(&lab, z)).seed(&a.id).start(z);
    all_agree(&[&a, &b, &c]);
    lab.lose(LOST, &[x], &[y, z]);
    wait::throughout(time, "no node goes down", || {
        wait::rest(Duration::from_millis(480));
        match [a.downs(), b.downs(), c.downs()] {
            [0, 0, 0] => Ok(()),
            downs => Err(format!("{downs:?} after {} lost packets", lab.dropped())),
        }
    });
    let dropped = lab.dropped();
    assert!(dropped > 0, "the link loses packets");
    println!("{LOST} % loss one way for {time:?}: {dropped} packets lost, no node down");
    told(Duration::ZERO, "as at the beginning", &[(&a, 2, 0), (&b, 2, 0), (&c, 2, 0)]);
}

#[test]
fn a_fifth_of_the_packets_lost_on_one_way_makes_no_node_down() {
    // TCP sends again after 0.2, 0.6, 1.4 and 3 s: five losses in a row of one packet fit into the silence.
    let settings = |setup: Setup| setup.var("HEARTBEAT_INTERVAL_MS", 500).var("HEARTBEAT_MISS_THRESHOLD", 10);
    lossy(Duration::from_secs(10), settings);
}

#[test]
#[ignore = "soak: cargo test --features web --test netns -- --ignored --nocapture"]
fn a_fifth_of_the_packets_lost_on_one_way_for_3_minutes_makes_no_node_down_at_default_settings() {
    let settings = |setup: Setup| {
        let heartbeats = setup.var("HEARTBEAT_INTERVAL_MS", 5000).var("HEARTBEAT_MISS_THRESHOLD", 3);
        heartbeats.var("RECONNECT_BASE_DELAY_MS", 1000).var("RECONNECT_MAX_DELAY_MS", 30_000)
    };
    lossy(Duration::from_secs(180), settings);
}
