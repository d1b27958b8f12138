//! One node has peers that hold the secret and speak nonsense, while two others exchange calls with each other and with it. Alone in
//! its program: it measures the memory of all of it.

#![allow(clippy::panic, clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

#[path = "support/noise.rs"]
mod noise;
mod support;

use std::{
    collections::BTreeMap,
    rc::Rc,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use noex_actors::Ref;
use noex_net::Cluster;
use noise::{Noise, resident};
use support::{
    Box_, Res, builder, config, id,
    raw::{self, RawPeer, control},
    until,
};
use tokio::io::AsyncWriteExt;

/// How much more memory all of it may cost, nodes and attackers together.
const MORE_MEMORY: u64 = 32 << 20;

impl Noise {
    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most)).map(|_| self.next().to_le_bytes()[3]).collect()
    }

    /// A frame that can be read, about whatever; now and then with a byte changed.
    fn frame(&mut self, target: u64) -> Vec<u8> {
        let number = if self.below(4) == 0 { self.next() >> 40 } else { target };
        let id = u64::try_from(self.below(50)).unwrap();
        let reason = format!("error: {}", "x".repeat(self.below(300)));
        let mut frame = match self.below(16) {
            0 => control("Monitor", &(id, number)),
            1 => control("Demonitor", &(id,)),
            2 => control("Down", &(id, reason)),
            3 => control(["Unlink", "Unlinked"][self.below(2)], &(id, number, id)),
            4 => control("Exit", &(id, number, "normal")),
            5 => control("Behaviors", &vec![String::new(); self.below(100)]),
            6 => control("Hints", &[("z@127.0.0.1:1", id)]),
            7 => control("Ping", &(id,)),
            8 => control("Request", &(id, BTreeMap::from([("IsAlive", (number,))]))),
            9 => control("Names", &(0, 0, true, [(format!("n{id}"), id, None::<()>)])),
            10 => raw::call(id, &raw::named("box"), number, &"Seen"),
            11 => raw::call(id, &raw::named("box"), number, &"NoSuchCall"),
            12 => raw::cast(&raw::named("box"), number, &(id, id)),
            13 => raw::frame(raw::REPLY, &self.bytes(100)),
            14 => match self.below(4) {
                0 => raw::first(id % 20, self.below(4000), &self.bytes(2000)),
                1 => raw::dropped(id % 20),
                _ => raw::next(id % 20, &self.bytes(2000)),
            },
            _ => raw::frame(u8::try_from(self.below(10)).unwrap(), &self.bytes(300)),
        };
        if self.below(8) == 0 {
            let at = self.below(frame.len());
            frame[at] ^= self.next().to_le_bytes()[2];
        }
        frame
    }
}

/// Calls without a pause, until told to end; how many, all of them answered.
async fn calls(there: Ref<Box_>, stop: Rc<AtomicBool>, count: Rc<AtomicU64>) -> Result<(), String> {
    while !stop.load(Ordering::Acquire) {
        there.add(1).await.map_err(|error| format!("{}: {error}", there.pid()))?;
        count.fetch_add(1, Ordering::AcqRel);
    }
    Ok(())
}

/// One peer joins, speaks until it is cut off, and goes.
async fn session(a: &Cluster, life: u64, target: u64, noise: &mut Noise) -> Res {
    let name = format!("z{}@127.0.0.1:1", life % 8);
    let mut peer = RawPeer::connect(a, &name, life).await?;
    peer.until_word("Welcome").await?;
    peer.send(&raw::heartbeat()).await?;
    for _ in 0..20 {
        let frames: Vec<u8> = (0..noise.below(20)).flat_map(|_| noise.frame(target)).collect();
        let mut batch = peer.sealed(&frames);
        if noise.below(20) == 0 {
            // Not in the length: then the node would wait for the rest.
            let at = 4 + noise.below(batch.len() - 4);
            batch[at] ^= 1;
        }
        if peer.socket.write_all(&batch).await.is_err() {
            break;
        }
    }
    // No frame of this kind: whoever is still there goes now.
    let _ = peer.send(&raw::frame(200, &[])).await;
    peer.until_closed().await;
    Ok(())
}

async fn besieged(sessions: u64) -> Res {
    let calm =
        |name: &str| config(name).heartbeat_interval(Duration::from_secs(2)).heartbeat_miss_threshold(10);
    let a = builder(calm("a"))?.start().await?;
    let b = builder(calm("b").seed(a.local_node_id().to_string()))?.start().await?;
    let c = builder(calm("c").seed(a.local_node_id().to_string()))?.start().await?;
    until(10, "three nodes", || [&a, &b, &c].iter().all(|node| node.connected_node_count() == 2)).await;
    let (stop, count) = (Rc::<AtomicBool>::default(), Rc::<AtomicU64>::default());
    let mut callers = Vec::new();
    for (from, to) in [(&b, &c), (&c, &b), (&b, &a), (&c, &a), (&a, &b)] {
        let there = from.spawn_on::<Box_>(&id(to), 0).await?;
        callers.push(actix_rt::spawn(calls(there, Rc::clone(&stop), Rc::clone(&count))));
    }
    let target = a.spawn::<Box_>(0).await?;
    let mut noise = Noise(0x9E37_79B9_7F4A_7C15);
    // A first few, so that buffers and pools have their size.
    for life in 1..=50 {
        session(&a, life, target.pid().number(), &mut noise).await?;
    }
    let before = resident();
    for life in 51..=50 + sessions {
        session(&a, life, target.pid().number(), &mut noise).await?;
    }
    until(20, "the attackers are gone", || a.connected_node_count() == 2).await;
    let after = resident();
    stop.store(true, Ordering::Release);
    for caller in callers {
        caller.await??;
    }
    let errors = a.stats().protocol_errors_total;
    let calls = count.load(Ordering::Acquire);
    println!(
        "{sessions} sessions, {calls} calls, errors {errors:?}; resident {before} bytes before, {after} after"
    );
    assert_eq!(errors.values().sum::<u64>(), sessions + 50, "each was cut off, once");
    assert!(calls > sessions);
    assert!(after <= before + MORE_MEMORY, "{before} bytes before, {after} after");
    for node in [&b, &c] {
        assert!(node.stats().node_down_total.values().all(|n| *n == 0));
    }
    assert!(target.add(1).await.is_ok() || a.process(target.pid()).is_none());
    assert_eq!(a.remote_monitor_stats().active_incoming_count, 0);
    c.stop().await;
    b.stop().await;
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn peers_that_hold_the_secret_and_speak_nonsense_are_each_cut_off_and_nobody_notices() -> Res {
    besieged(300).await
}

#[actix_rt::test]
#[ignore = "soak: cargo test -p noex-net --test besieged -- --ignored soak_hostile --nocapture"]
async fn soak_hostile() -> Res {
    besieged(10_000).await
}
