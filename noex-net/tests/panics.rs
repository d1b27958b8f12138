//! A panic in noex itself stops the node, whichever part it is: real nodes over TCP, and parts that are made to panic.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use noex_actors::{
    Application, ApplicationError, CallError, Events, ExitReason, Node, NodeDownReason, Ref, StartError, run,
};
use noex_net::{Cluster, ClusterEvent, ClusterStatus};
use support::{Box_, Res, config, id, node, pair_of, until, within};

/// Two nodes that notice the silence of each other after a minute only.
async fn patient() -> Res<(Cluster, Cluster)> {
    pair_of(|name| config(name).heartbeat_interval(Duration::from_secs(1)).heartbeat_miss_threshold(60)).await
}

async fn down(events: &mut Events<ClusterEvent>, of: &Cluster) -> NodeDownReason {
    within(10, "the peer sees the end", async {
        loop {
            match events.recv().await.unwrap() {
                ClusterEvent::NodeDown { node, reason, .. } if node == id(of) => break reason,
                _ => {}
            }
        }
    })
    .await
}

/// All that a node tells until it tells nothing more.
async fn last_words(events: &mut Events<ClusterEvent>) -> Vec<ClusterEvent> {
    within(20, "the end of the events", async {
        let mut all = Vec::new();
        while let Some(event) = events.recv().await {
            all.push(event);
        }
        all
    })
    .await
}

/// Makes a part of the second node panic, with `nudge` if it would not have a turn otherwise, and checks all that follows.
async fn fails(part: &'static str, nudge: impl AsyncFn(&Cluster, &Cluster)) -> Res {
    fails_as(part, part, nudge).await
}

/// The same where it is another part that is found to have failed.
async fn fails_as(
    sabotaged: &'static str,
    part: &'static str,
    nudge: impl AsyncFn(&Cluster, &Cluster),
) -> Res {
    let (a, b) = patient().await?;
    let (mut seen, mut told) = (a.events(), b.events());
    let there: Ref<Box_> = a.spawn_on(&id(&b), 0).await?;
    let here: Ref<Box_> = b.spawn_on(&id(&a), 0).await?;
    let own: Ref<Box_> = b.spawn::<Box_>(0).await?;
    let monitor = own.monitor();
    let calling = there.clone();
    let held = actix_rt::spawn(async move { calling.held().await });
    until(5, "the call is under way", || a.remote_call_stats().pending_calls == 1).await;
    assert_eq!(there.seen().await?, [0], "and arrived");
    b.sabotage(sabotaged);
    nudge(&a, &b).await;

    assert_eq!(down(&mut seen, &b).await, NodeDownReason::ConnectionClosed, "{part}");
    let failed = within(10, "a call that waits ends", held).await?;
    assert!(matches!(failed, Err(CallError::ConnectionLost(_))), "{part}: {failed:?}");
    assert_eq!(b.failure().unwrap().part, part);
    assert_eq!(b.failure().unwrap().to_string(), format!("noex itself panicked, in {part}: sabotage"));
    let words = last_words(&mut told).await;
    let at = |wanted: fn(&ClusterEvent) -> bool| words.iter().position(wanted);
    let failed = at(|event| matches!(event, ClusterEvent::Failed(_)));
    let stopped = at(|event| matches!(event, ClusterEvent::StatusChange(ClusterStatus::Stopped)));
    assert!(failed.is_some() && stopped > failed, "{part}: {words:?}");
    assert!(!words.iter().any(|event| matches!(event, ClusterEvent::StatusChange(ClusterStatus::Stopping))));

    assert_eq!(within(10, "its processes are killed", monitor).await.reason, ExitReason::Killed, "{part}");
    assert!(matches!(b.spawn::<Box_>(0).await, Err(StartError::NotRunning)));
    assert!(here.add(1).await.is_err());
    until(10, "the port is free", || TcpListener::bind(("127.0.0.1", id(&b).port())).is_ok()).await;
    // Stopping it once more waits for that, and no longer.
    within(10, "it is stopped", b.stop()).await;
    a.stop().await;
    Ok(())
}

async fn nothing(_: &Cluster, _: &Cluster) {}

async fn traffic(a: &Cluster, b: &Cluster) {
    let _ = a.spawn_on::<Box_>(&id(b), 1).timeout(Duration::from_secs(1)).await;
}

/// Another node dials it.
async fn newcomer(_: &Cluster, b: &Cluster) {
    let _ = std::net::TcpStream::connect(("127.0.0.1", id(b).port()));
}

#[actix_rt::test]
async fn a_panic_in_the_cluster_manager_stops_the_node() -> Res {
    fails("the cluster manager", async |_, b| drop(b.behaviors().register::<support::barred::Blocker>()))
        .await
}

#[actix_rt::test]
async fn a_panic_in_the_heartbeat_timer_stops_the_node() -> Res {
    fails("the heartbeat timer", nothing).await
}

#[actix_rt::test]
async fn a_panic_in_the_warden_stops_the_node() -> Res {
    fails("the warden of leases", nothing).await
}

#[actix_rt::test]
async fn a_panic_in_the_global_registry_stops_the_node() -> Res {
    fails("the global registry", async |_, b| {
        // More names to take away than it does in one turn.
        let named = b.spawn::<Box_>(0).await.unwrap();
        (0..600).for_each(|n| b.global().register(&format!("name-{n}"), &named).unwrap());
        named.kill();
    })
    .await
}

#[actix_rt::test]
async fn a_panic_in_the_listener_stops_the_node() -> Res {
    fails("the listener", newcomer).await
}

#[actix_rt::test]
async fn a_panic_in_a_connection_stops_the_node() -> Res {
    fails("a connection", newcomer).await
}

#[actix_rt::test]
async fn a_panic_in_a_reader_stops_the_node() -> Res {
    fails("the reader of a connection", traffic).await
}

#[actix_rt::test]
async fn a_panic_over_a_control_message_is_not_taken_for_one_of_a_message_of_a_user() -> Res {
    fails_as("a control message", "the reader of a connection", nothing).await
}

#[actix_rt::test]
async fn a_panic_in_a_flusher_stops_the_node() -> Res {
    fails("the flusher of a connection", traffic).await
}

#[actix_rt::test]
async fn a_panic_in_what_starts_processes_stops_the_node() -> Res {
    fails("a launcher", async |_, b| {
        let _ = b.spawn::<Box_>(0).placement(noex_actors::Placement::Pinned(0)).await;
    })
    .await
}

#[actix_rt::test]
async fn a_panic_in_the_deadlines_stops_the_node() -> Res {
    fails("the deadlines of calls", async |_, b| {
        let own = b.spawn::<Box_>(0).await.unwrap();
        let _ = own.held().timeout(Duration::from_millis(10)).await;
    })
    .await
}

#[actix_rt::test]
async fn a_panic_of_a_user_stops_no_node() -> Res {
    let (a, b) = support::pair().await?;
    let there: Ref<Box_> = a.spawn_on(&id(&b), 0).await?;
    let monitor = there.monitor();
    there.explode()?;
    assert_eq!(within(5, "it ends", monitor).await.reason, ExitReason::Panic("boom".to_owned()));
    assert!(b.failure().is_none() && b.status() == ClusterStatus::Running);
    let again: Ref<Box_> = a.spawn_on(&id(&b), 1).await?;
    assert_eq!(again.add(1).await?, 2);
    b.stop().await;
    a.stop().await;
    Ok(())
}

struct App;

impl Application for App {
    type Config = ();
    async fn start((): (), node: &Node) -> Result<Self, ExitReason> {
        node.sabotage("the heartbeat timer");
        Ok(App)
    }
}

#[actix_rt::test]
async fn an_application_on_a_node_that_fails_ends_with_an_error() -> Res {
    let a = node("a", &[]).await?;
    let began = Instant::now();
    let ended = within(20, "it ends", run::<App>((), &a)).await;
    let Err(ApplicationError::Node(failure)) = ended else { panic!("{ended:?}") };
    assert_eq!((failure.part, Some(&failure)), ("the heartbeat timer", a.failure()));
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    Ok(())
}
