//! A blocked arbiter is reported, over real TCP. Alone in its program, for it reads the log.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    collections::BTreeSet,
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use noex_actors::{BlockedArbiter, Events, Ref};
use noex_net::ClusterEvent;
use support::{
    Res,
    barred::{Barred, Blocker},
    builder, config, id, until, within,
};
use tracing_subscriber::fmt::MakeWriter;

/// The log of the program.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn warnings(&self, text: &str) -> Vec<String> {
        let log = self.0.lock().unwrap();
        let lines = std::str::from_utf8(&log).unwrap().lines();
        lines.filter(|line| line.contains(" WARN ") && line.contains(text)).map(str::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        self.clone()
    }
}

async fn told(events: &mut Events<ClusterEvent>, is_blocked: bool) -> BlockedArbiter {
    within(30, "the event", async {
        loop {
            match events.recv().await.unwrap() {
                ClusterEvent::ArbiterBlocked(arbiter) if is_blocked => break arbiter,
                ClusterEvent::ArbiterFreed(arbiter) if !is_blocked => break arbiter,
                _ => {}
            }
        }
    })
    .await
}

#[actix_rt::test]
async fn a_blocked_arbiter_is_reported_with_its_process_and_once_more_when_it_is_free() -> Res {
    const LIMIT: Duration = Duration::from_millis(300);
    let log = Log::default();
    tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).init();
    let config = |name: &str| config(name).heartbeat_interval(Duration::from_millis(150));
    let barred = Arc::new(Barred::default());
    let a = builder(config("a"))?.behavior::<Blocker>().data(Arc::clone(&barred)).watchdog(LIMIT);
    let a = a.start().await?;
    let b = builder(config("b").seed(id(&a)))?.behavior::<Blocker>().start().await?;
    until(10, "both are up", || a.connected_node_count() == 1 && b.connected_node_count() == 1).await;
    let mut events = a.events();
    let blocker: Ref<Blocker> = b.spawn_on::<Blocker>(&id(&a), ()).await?;
    let blockages = a.runtime_stats().blockages;
    blocker.block()?;
    until(5, "the handler runs", || barred.entered()).await;

    let blocked = told(&mut events, true).await;
    assert_eq!(blocked.process.as_ref(), Some(blocker.pid()));
    assert_eq!((blocked.arbiter, blocked.behavior), (Some(0), Some("blocker")));
    assert!(blocked.thread.is_some() && blocked.blocked_for >= LIMIT, "{blocked:?}");
    let stats = a.runtime_stats();
    assert_eq!((stats.arbiters, stats.blocked_arbiters, stats.blockages - blockages), (1, 1, 1));

    // Twice as long as a peer may be silent, and several looks of the watchdog.
    let heard = || b.node(&id(&a)).and_then(|node| node.last_heartbeat_at);
    let seen = std::cell::RefCell::new(BTreeSet::from_iter(heard()));
    until(30, "heartbeats of a blocked node", || {
        seen.borrow_mut().extend(heard());
        seen.borrow().len() > 10
    })
    .await;
    assert_eq!(b.stats().node_down_total.values().sum::<u64>(), 0);
    assert_eq!(a.runtime_stats().blockages - blockages, 1, "told once");

    barred.open();
    assert!(within(10, "it answers", blocker.awake()).await?);
    let free = told(&mut events, false).await;
    assert!(free.blocked_for >= blocked.blocked_for, "{free:?}");
    assert_eq!((free.process, free.arbiter), (blocked.process, blocked.arbiter));
    assert_eq!(a.runtime_stats().blocked_arbiters, 0);
    for (text, count) in [("an arbiter is blocked", 1), ("an arbiter is not blocked any more", 1)] {
        let lines = log.warnings(text);
        let of_it = lines.iter().filter(|line| line.contains(&blocker.pid().to_string())).count();
        assert_eq!(of_it, count, "{lines:?}");
    }
    assert_eq!((a.stats().node_up_total, b.stats().node_up_total), (1, 1));
    b.stop().await;
    a.stop().await;
    Ok(())
}
