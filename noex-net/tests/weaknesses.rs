//! What the original gets wrong about clusters, each as a test of what must hold instead. The numbers are those of the
//! study of it.
//!
//! | | Weakness | Tested here, or by |
//! |---|---|---|
//! | C1 | nodes that join together never converge | `soak.rs`: `twenty_nodes_at_once_from_one_seed_are_a_mesh_within_10_s_that_stays`, `nodes_that_dial_each_other_at_once_have_one_connection_and_lose_nothing` |
//! | C2 | old connections report false node-downs | `cluster.rs`: `a_node_restarted_ten_times_is_one_down_and_one_up_each_time`; `tests/blackbox`: `membership::a_node_restarted_ten_times_is_down_and_up_once_per_restart` |
//! | C3 | a seed that is not there is not tried again | `cluster.rs`: `every_node_may_list_every_other_as_a_seed_and_one_may_come_late` |
//! | C4 | a known node is never dialled again, and never forgotten | here |
//! | C5 | every node is `127.0.0.1` | here |
//! | C6 | a seed in another spelling is another node | here |
//! | C7 | a node that is down can still be called, and comes up by a late heartbeat | here |
//! | C8 | a restarted node is taken for the old one | here |
//! | C9 | stopping leaves calls and names | here |
//! | C10 | links between nodes do nothing | `links.rs`: all |
//! | C11 | references to elsewhere can do less | here |
//! | C12 | a spawn that timed out leaves an orphan; errors and options of spawns are mixed up | here; a name conflict: `remote.rs`: `spawning_over_there_fails_with_the_reason` |
//! | C13 | watches that were given up stay at the other end | here |
//! | C14 | ends of watched processes are told to everybody, in no order | here |
//! | C15 | errors from elsewhere are texts; calls run after their time | here; times: `remote.rs`: `a_forgotten_caller_fails_and_a_deadline_ends_a_call` |
//! | C16 | one node per program, ten listeners | here |

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

#[path = "support/cable.rs"]
mod cable;
mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use cable::Cable;
use noex_actors::{
    CallError, Context, Delivery, ExitReason, Incarnation, Info, NodeDownReason, Pid, Ref, Registration,
    SpawnError, SpawnOptions, StartError, behavior,
};
use noex_net::{Cluster, ClusterConfigBuilder, NodeStatus};
use serde::{Deserialize, Serialize};
use support::{Box_, Box_Cast, Res, config, id, node, pair, until, within};

/// A process of these tests.
struct Friend {
    heard: Vec<String>,
}

/// An error of a user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Refusal {
    TooPoor { short_of: u64 },
    Closed,
}

#[behavior(name = "friend")]
impl Friend {
    #[init]
    async fn new(init_millis: u64) -> Result<Self, ExitReason> {
        actix_rt::time::sleep(Duration::from_millis(init_millis)).await;
        Ok(Friend { heard: vec![] })
    }
    #[call]
    fn echo(&self, friend: Ref<Friend>) -> Ref<Friend> {
        friend
    }
    #[call]
    fn pay(&self, amount: u64) -> Result<u64, Refusal> {
        match amount {
            0 => Err(Refusal::Closed),
            1..10 => Err(Refusal::TooPoor { short_of: 10 - amount }),
            _ => Ok(amount - 10),
        }
    }
    #[call]
    fn watch(&mut self, pid: Pid, cx: &mut Context<Self>) {
        cx.monitor(&pid);
    }
    #[cast]
    fn hear(&mut self, text: String) {
        self.heard.push(text);
    }
    #[call]
    fn heard(&self) -> Vec<String> {
        self.heard.clone()
    }
    /// Tells a friend some things, and ends.
    #[cast]
    fn tell_and_end(&mut self, friend: Ref<Friend>, count: usize, cx: &mut Context<Self>) {
        for n in 0..count {
            friend.hear(format!("{n}")).unwrap();
        }
        cx.stop(ExitReason::error("told"));
    }
    #[info]
    fn info(&mut self, info: Info<()>) {
        if let Info::Down(down) = info {
            self.heard.push(format!("down: {}", down.reason));
        }
    }
}

async fn start(config: ClusterConfigBuilder) -> Res<Cluster> {
    Ok(support::builder(config)?.behavior::<Friend>().start().await?)
}

/// Two connected nodes that know friends.
async fn friends() -> Res<(Cluster, Cluster)> {
    let a = start(config("a")).await?;
    let b = start(config("b").seed(id(&a).to_string())).await?;
    connected(&[&a, &b]).await;
    Ok((a, b))
}

async fn connected(nodes: &[&Cluster]) {
    until(10, "all are connected", || {
        nodes.iter().all(|node| node.connected_node_count() == nodes.len() - 1)
    })
    .await;
}

async fn stop_all(nodes: &[&Cluster]) {
    for node in nodes.iter().rev() {
        within(10, "a node stops", node.stop()).await;
    }
}

/// C4: gossip never dialled a node again that it knew, and members stayed for ever.
#[actix_rt::test]
async fn c4_a_known_node_that_is_back_is_dialled_again_and_one_that_stays_away_is_forgotten() -> Res {
    let forgetful = |name| config(name).forget_after(Duration::from_millis(700));
    let a = start(forgetful("a")).await?;
    let b = start(forgetful("b").seed(id(&a).to_string())).await?;
    let c = start(forgetful("c").seed(id(&a).to_string())).await?;
    connected(&[&a, &b, &c]).await;
    let (gone, port) = (id(&c), c.local_node_id().port());
    c.stop().await;
    until(5, "it is down", || [&a, &b].iter().all(|node| node.connected_node_count() == 1)).await;
    // Back in time, knowing b alone: a learns of it from b, and dials, or is dialled.
    let c = start(forgetful("c").port(port).seed(id(&b).to_string())).await?;
    connected(&[&a, &b, &c]).await;
    c.stop().await;
    until(10, "it is forgotten", || [&a, &b].iter().all(|node| node.node(&gone).is_none())).await;
    let newcomer = start(forgetful("d").seed(id(&a).to_string())).await?;
    connected(&[&a, &b, &newcomer]).await;
    assert!(newcomer.node(&gone).is_none(), "and a newcomer does not hear of it");
    stop_all(&[&a, &b, &newcomer]).await;
    Ok(())
}

/// C5: with the default host every node of every machine was `127.0.0.1`.
#[actix_rt::test]
async fn c5_the_address_that_is_told_is_not_the_one_that_is_bound() -> Res {
    let named = start(config("a").host("0.0.0.0").advertise_host("localhost")).await?;
    assert_eq!(named.local_node_id().host(), "localhost");
    let b = start(config("b").seed(format!("127.0.0.1:{}", named.local_node_id().port()))).await?;
    connected(&[&named, &b]).await;
    assert_eq!(b.node_ids(), [id(&named)]);
    stop_all(&[&named, &b]).await;
    match start(config("c").host("0.0.0.0")).await {
        Ok(found) => {
            let host: std::net::IpAddr = found.local_node_id().host().parse()?;
            assert!(!host.is_unspecified() && !host.is_loopback(), "{host}");
            found.stop().await;
        }
        // A machine without any: refused, not made up.
        Err(error) => assert!(error.to_string().contains("advertise_host"), "{error}"),
    }
    Ok(())
}

/// C6: a seed by name and a node by address were two peers, of which one could not be called.
#[actix_rt::test]
async fn c6_a_seed_in_another_spelling_is_the_same_node() -> Res {
    for spelling in ["a@localhost", "a@LOCALHOST", "localhost", "a@127.0.0.1"] {
        let a = start(config("a")).await?;
        let port = a.local_node_id().port();
        let b = start(config("b").seed(format!("{spelling}:{port}"))).await?;
        connected(&[&a, &b]).await;
        assert_eq!(b.node_ids(), [id(&a)], "{spelling}");
        assert_eq!(b.spawn_on::<Box_>(&id(&a), 1).await?.seen().await?, [1]);
        assert_eq!((a.stats().connections, b.stats().connections), (1, 1));
        stop_all(&[&a, &b]).await;
    }
    Ok(())
}

/// C7: down for the members and up for the transport; a late heartbeat flipped it up again.
#[actix_rt::test]
async fn c7_a_node_is_down_for_everybody_until_there_is_another_session() -> Res {
    let fast = |name| config(name).heartbeat_interval(Duration::from_millis(200)).heartbeat_miss_threshold(3);
    let a = start(fast("a")).await?;
    let cable = Cable::to(a.local_node_id().port()).await?;
    let b = start(fast("b").seed(format!("127.0.0.1:{}", cable.port))).await?;
    connected(&[&a, &b]).await;
    let there = a.spawn_on::<Box_>(&id(&b), 1).await?;
    let held = {
        let there = there.clone();
        actix_rt::spawn(async move { there.held().timeout(Duration::from_secs(60)).await })
    };
    until(5, "it is held", || b.process(there.pid()).is_some_and(|process| process.message_count == 1)).await;
    cable.silence();
    let lost = within(20, "the loss ends the call", held).await?;
    assert!(matches!(lost, Err(CallError::ConnectionLost(_))), "{lost:?}");
    until(5, "and is known", || a.stats().node_down_total.get(&NodeDownReason::HeartbeatTimeout) == Some(&1))
        .await;
    // What waited in the cable, heartbeats among it, comes out now. Its session is over.
    cable.speak_slowly(Duration::from_millis(1));
    until(10, "another session", || [&a, &b].iter().all(|node| node.stats().node_up_total == 2)).await;
    until(10, "and only that", || [&a, &b].iter().all(|node| node.stats().connections == 1)).await;
    assert_eq!(there.seen().await?, [1], "the process lives, as its node does");
    let downs = |node: &Cluster| node.stats().node_down_total.values().sum::<u64>();
    assert_eq!((downs(&a), downs(&b)), (1, 1));
    stop_all(&[&a, &b]).await;
    Ok(())
}

/// C8: references to a node's last life reached whoever has the number now.
#[actix_rt::test]
async fn c8_a_reference_to_a_life_that_is_over_reaches_nobody_of_the_next() -> Res {
    let a = start(config("a")).await?;
    let life =
        |n| support::builder(config("b").seed(id(&a).to_string())).map(|b| b.incarnation(Incarnation(n)));
    let b = life(1_000)?.behavior::<Friend>().start().await?;
    connected(&[&a, &b]).await;
    let port = b.local_node_id().port();
    let old = a.spawn_on::<Box_>(&id(&b), 1).await?;
    b.stop().await;
    until(5, "it left", || a.connected_node_count() == 0).await;
    let config = config("b").port(port).seed(id(&a).to_string());
    let b = support::builder(config)?.incarnation(Incarnation(1_001)).start().await?;
    connected(&[&a, &b]).await;
    let new = a.spawn_on::<Box_>(&id(&b), 2).await?;
    assert_eq!(old.pid().number(), new.pid().number(), "the same number, in another life");
    let error = old.seen().await.unwrap_err();
    assert!(matches!(error, CallError::NoProc(_) | CallError::NoConnection(_)), "{error:?}");
    assert_eq!(error.delivery(), Delivery::Never);
    assert!(old.see(9).is_err());
    old.kill();
    let end = within(5, "a watch on it ends at once", old.monitor()).await.reason;
    assert!(matches!(end, ExitReason::NoProc | ExitReason::NoConnection), "{end:?}");
    assert_eq!(new.seen().await?, [2]);
    stop_all(&[&a, &b]).await;
    Ok(())
}

/// C9: after a stop, calls waited for their timeouts and names stayed.
#[actix_rt::test]
async fn c9_stopping_ends_what_waits_and_takes_the_names() -> Res {
    let (a, b) = pair().await?;
    let named = a.spawn::<Box_>(1).await?;
    a.global().register("n", &named)?;
    until(5, "the name is known", || b.global().is_registered("n")).await;
    let there = a.spawn_on::<Box_>(&id(&b), 0).await?;
    let asker = there.clone();
    let held =
        actix_rt::spawn(async move { asker.held().timeout(Duration::from_secs(600)).await.unwrap_err() });
    until(5, "it is held", || a.remote_call_stats().pending_calls == 1).await;
    a.stop().await;
    let error = within(5, "the call ends", held).await?;
    assert!(matches!(error, CallError::ConnectionLost(_) | CallError::NotRunning), "{error:?}");
    assert_eq!((a.remote_call_stats().pending_calls, a.global().count(), a.process_count()), (0, 0, 0));
    until(5, "the name is gone", || !b.global().is_registered("n")).await;
    b.stop().await;
    Ok(())
}

/// C11: `stop` did nothing, `isRunning`, `link` and `sendAfter` knew local processes alone, calls to oneself failed.
#[actix_rt::test]
async fn c11_what_can_be_done_here_can_be_done_there() -> Res {
    let (a, b) = friends().await?;
    // To oneself by the ways that lead elsewhere.
    let own = a.spawn_on::<Box_>(&id(&a), 3).await?;
    assert_eq!(own.pid().node_id(), a.local_node_id());
    assert_eq!(a.resolve::<Box_>(own.pid()).add(1).await?, 4);
    let friend = a.spawn::<Friend>(0).await?;
    let far = a.spawn_on::<Friend>(&id(&b), 0).await?;
    let back = far.echo(friend.clone()).await?;
    assert_eq!(back, friend);
    back.hear("from myself".to_owned())?;
    assert_eq!(back.heard().await?, ["from myself"]);
    let seen_from_b: Ref<Friend> = b.resolve(far.pid());
    assert_eq!(seen_from_b.echo(far.clone()).await?, far, "a reference that came home");
    // The same on either node.
    for place in [id(&a), id(&b)] {
        let process = a.spawn_on::<Box_>(&place, 0).await?;
        assert!(process.is_alive().await?);
        let _timer = process.cast_after(Duration::from_millis(20), Box_Cast::See { n: 5 });
        until_seen(&process, &[0, 5]).await;
        let monitor = process.monitor();
        within(5, "it stops", process.stop(ExitReason::Shutdown)).await?;
        assert_eq!(within(5, "its end is told", monitor).await.reason, ExitReason::Shutdown);
        assert!(!process.is_alive().await?);

        let (one, other) = (a.spawn::<Box_>(0).await?, a.spawn_on::<Box_>(&place, 0).await?);
        let end = one.monitor();
        let _link = one.link(&other);
        other.explode()?;
        assert_eq!(within(5, "links carry it", end).await.reason, ExitReason::Panic("boom".into()));
    }
    stop_all(&[&a, &b]).await;
    Ok(())
}

async fn until_seen(process: &Ref<Box_>, wanted: &[i64]) {
    within(5, "the cast arrives", async {
        while process.seen().await.unwrap() != wanted {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
}

/// C12: a spawn that timed out left an orphan; name conflicts and slow inits were other errors; options were ignored.
#[actix_rt::test]
async fn c12_a_spawn_does_what_it_was_told_or_leaves_nothing() -> Res {
    let (a, b) = friends().await?;
    let late = a.spawn_on::<Friend>(&id(&b), 200).timeout(Duration::from_millis(50)).await;
    assert!(matches!(late, Err(SpawnError::Timeout { .. })), "{late:?}");
    until(5, "it was started all the same", || b.process_count() == 1).await;
    until(20, "and is ended as nobody waits for it", || b.process_count() == 0).await;
    // Nor does one whose caller went away.
    let spawning = a.spawn_on::<Friend>(&id(&b), 200);
    assert!(actix_rt::time::timeout(Duration::from_millis(50), spawning).await.is_err());
    until(5, "it was started", || b.process_count() == 1).await;
    until(20, "and is ended", || b.process_count() == 0).await;
    let stats = a.remote_spawn_stats();
    assert_eq!((stats.total_timed_out, stats.total_resolved), (1, 0));

    let options = SpawnOptions::new().init_timeout(Duration::from_millis(50));
    match a.spawn_on::<Friend>(&id(&b), 60_000).options(options).await {
        Err(SpawnError::Start(error @ StartError::InitTimeout(after))) => {
            assert_eq!((after, error.delivery()), (Duration::from_millis(50), Delivery::Unknown));
        }
        other => panic!("{other:?}"),
    }
    until(5, "and nothing is left of it", || b.process_count() == 0).await;

    for (registration, local, global) in [
        (Registration::None, false, false),
        (Registration::Local, true, false),
        (Registration::Global, false, true),
    ] {
        let friend = a.spawn_on::<Friend>(&id(&b), 0).name("n").register(registration).await?;
        until(5, "its name", || a.global().is_registered("n") == global).await;
        assert_eq!((b.is_registered("n"), b.global().is_registered("n")), (local, global), "{registration}");
        assert!(!a.is_registered("n"));
        within(5, "it stops", friend.stop(ExitReason::Normal)).await?;
        until(5, "the name is free", || !b.is_registered("n") && !a.global().is_registered("n")).await;
    }
    stop_all(&[&a, &b]).await;
    Ok(())
}

/// C13: a watch that was given up while its node did not answer stayed at the other end.
#[actix_rt::test]
async fn c13_a_watch_or_link_given_up_in_a_silence_is_taken_away_after_it() -> Res {
    let patient = |name| config(name).heartbeat_miss_threshold(100);
    let a = start(patient("a")).await?;
    let cable = Cable::to(a.local_node_id().port()).await?;
    let b = start(patient("b").seed(format!("127.0.0.1:{}", cable.port))).await?;
    connected(&[&a, &b]).await;
    let (there, here) = (b.spawn_on::<Box_>(&id(&a), 0).await?, b.spawn::<Box_>(0).await?);
    let kept = there.monitor();
    assert!(there.is_alive().await?);
    assert_eq!(a.remote_monitor_stats().active_incoming_count, 1);
    cable.silence();
    for _ in 0..100 {
        drop(there.monitor());
        let _ = here.link(&there);
        here.unlink(&there);
    }
    assert_eq!(b.remote_monitor_stats().active_outgoing_count, 1, "only the one that is kept");
    cable.speak_slowly(Duration::from_millis(1));
    assert!(within(10, "it speaks again", there.is_alive()).await?);
    let (monitors, links) = (a.remote_monitor_stats(), a.remote_link_stats());
    assert_eq!((monitors.active_incoming_count, links.active_link_count), (1, 0));
    assert_eq!(b.remote_link_stats().active_link_count, 0);
    there.kill();
    assert_eq!(within(5, "the end", kept).await.reason, ExitReason::Killed);
    assert_eq!(here.seen().await?, [0], "an end of what is not linked any more harms nobody");
    stop_all(&[&a, &b]).await;
    Ok(())
}

/// C14: ends were told to one list of callbacks, beside the mailboxes.
#[actix_rt::test]
async fn c14_an_end_is_told_to_who_watches_behind_what_came_before_it() -> Res {
    const COUNT: usize = 500;
    let (a, b) = friends().await?;
    let (watcher, other) = (a.spawn::<Friend>(0).await?, a.spawn::<Friend>(0).await?);
    let teller = a.spawn_on::<Friend>(&id(&b), 0).await?;
    watcher.watch(teller.pid().clone()).await?;
    teller.tell_and_end(watcher.clone(), COUNT)?;
    let mut wanted: Vec<String> = (0..COUNT).map(|n| n.to_string()).collect();
    wanted.push(format!("down: {}", ExitReason::error("told")));
    within(10, "the end", async {
        while watcher.heard().await.unwrap().len() < wanted.len() {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(watcher.heard().await?, wanted);
    assert_eq!(other.heard().await?, Vec::<String>::new());
    stop_all(&[&a, &b]).await;
    Ok(())
}

/// C15: an error from elsewhere was its text.
#[actix_rt::test]
async fn c15_an_error_from_elsewhere_is_the_error_that_it_was() -> Res {
    let (a, b) = friends().await?;
    let (here, there) = (a.spawn::<Friend>(0).await?, a.spawn_on::<Friend>(&id(&b), 0).await?);
    for friend in [&here, &there] {
        assert_eq!(friend.pay(0).await?, Err(Refusal::Closed));
        assert_eq!(friend.pay(3).await?, Err(Refusal::TooPoor { short_of: 7 }));
        assert_eq!(friend.pay(12).await?, Ok(2));
    }
    let (monitor, asked) = (there.monitor(), there.clone());
    there.kill();
    assert_eq!(within(5, "its end", monitor).await.reason, ExitReason::Killed);
    match asked.pay(12).await {
        Err(error @ CallError::NoProc(_)) => assert_eq!(error.delivery(), Delivery::Never),
        other => panic!("{other:?}"),
    }
    stop_all(&[&a, &b]).await;
    Ok(())
}

/// C16: modules were singletons, so that two nodes in a program shared them, and the eleventh listener was a warning.
#[actix_rt::test]
async fn c16_nodes_of_one_program_share_nothing_and_many_may_listen() -> Res {
    let (a, b) = (node("a", &[]).await?, node("b", &[]).await?);
    let ups = Arc::new(AtomicUsize::new(0));
    for _ in 0..50 {
        let ups = Arc::clone(&ups);
        a.on_node_up(move |_| {
            ups.fetch_add(1, Ordering::SeqCst);
        })
        .detach();
    }
    let (one, other) = (a.spawn::<Box_>(1).name("same").await?, b.spawn::<Box_>(2).name("same").await?);
    assert_eq!(a.whereis::<Box_>("same"), Some(one));
    assert_eq!(b.whereis::<Box_>("same"), Some(other));
    assert_eq!((a.process_count(), b.process_count()), (1, 1));
    assert!(a.nodes().is_empty() && b.nodes().is_empty(), "two nodes, and no cluster");
    let c = node("c", &[&a]).await?;
    until(5, "all listeners hear", || ups.load(Ordering::SeqCst) == 50).await;
    assert_eq!(a.node(&id(&c)).map(|node| node.status), Some(NodeStatus::Connected));
    assert!(b.nodes().is_empty());
    b.stop().await;
    assert_eq!(a.process_count(), 1, "the end of one is not that of the other");
    stop_all(&[&a, &c]).await;
    Ok(())
}
