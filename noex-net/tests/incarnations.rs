//! Two lives of one node at the same time, over real TCP: the later one stays, and the earlier one stops itself.
//!
//! They have one id, and so one port: each listens on an address of loopback of its own.

#![cfg(target_os = "linux")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use noex_actors::{CallError, ExitReason, Incarnation, NodeDownReason, Ref};
use noex_net::{Cluster, ClusterEvent, ClusterStatus, RefusedReason};
use support::{Box_, Res, builder, config, connected, id, node, ports, stop_all, until, within};

const EARLIER: Incarnation = Incarnation(1_000);
const LATER: Incarnation = Incarnation(2_000);

/// A life of node `b`.
async fn life(incarnation: Incarnation, host: &str, port: u16, seeds: &[&Cluster]) -> Res<Cluster> {
    let config = config("b").host(host).advertise_host("127.0.0.1").port(port);
    let config = seeds.iter().fold(config, |config, seed| config.seed(id(seed)));
    Ok(builder(config)?.incarnation(incarnation).start().await?)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Seen {
    Up(Incarnation),
    Down(Incarnation, NodeDownReason),
}

/// All that a node has seen of `b`.
fn seen(events: &mut noex_actors::Events<ClusterEvent>) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    while let std::task::Poll::Ready(Some(event)) =
        futures_util::Stream::poll_next(std::pin::Pin::new(&mut *events), &mut cx)
    {
        match event {
            ClusterEvent::NodeUp(info) if info.id.name() == "b" => seen.push(Seen::Up(info.incarnation)),
            ClusterEvent::NodeDown { node, incarnation, reason } if node.name() == "b" => {
                seen.push(Seen::Down(incarnation, reason));
            }
            _ => {}
        }
    }
    seen
}

fn superseded(cluster: &Cluster) -> u64 {
    cluster.stats().refused_total[&RefusedReason::Superseded]
}

fn sees(cluster: &Cluster, life: Incarnation) -> bool {
    cluster.connected_nodes().iter().any(|node| node.id.name() == "b" && node.incarnation == life)
}

#[actix_rt::test]
async fn a_later_life_replaces_an_earlier_one_that_runs_and_that_one_stops() -> Res {
    // One whose id is the smaller one, and one whose id is not: the pair's arbiter is each end once.
    let a = node("a", &[]).await?;
    let z = node("z", &[&a]).await?;
    let (mut at_a, mut at_z) = (a.events(), z.events());
    let port = ports::free_port();
    let earlier = life(EARLIER, "127.0.0.1", port, &[&a, &z]).await?;
    connected(&[&a, &z, &earlier]).await;
    let before: Ref<Box_> = a.spawn_on(&id(&earlier), 1).await?;
    let watch = before.monitor();

    let later = life(LATER, "127.0.0.2", port, &[&a, &z]).await?;
    assert_eq!(id(&later), id(&earlier));
    until(20, "the later one is connected", || sees(&a, LATER) && sees(&z, LATER)).await;
    until(20, "the earlier one stopped", || earlier.status() == ClusterStatus::Stopped).await;
    until(10, "and has freed its port", || std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()).await;
    assert!(superseded(&a) + superseded(&z) > 0, "it was refused when it came back");

    // What was there is over, what comes now is the later one's.
    let end = within(10, "its processes are lost", watch).await.reason;
    // The other node may have refused it first, and it stops in order.
    assert!(matches!(end, ExitReason::NoConnection | ExitReason::Shutdown), "{end:?}");
    assert!(matches!(before.seen().await, Err(CallError::NoProc(_) | CallError::NoConnection(_))));
    let after: Ref<Box_> = a.spawn_on(&id(&later), 2).await?;
    assert_eq!((after.seen().await?, after.pid().incarnation()), (vec![2], LATER));
    let of_z: Ref<Box_> = z.spawn_on(&id(&later), 3).await?;
    assert_eq!(of_z.seen().await?, [3]);
    assert!(earlier.spawn::<Box_>(0).await.is_err());
    for (name, events) in [("a", &mut at_a), ("z", &mut at_z)] {
        let seen = seen(events);
        let [Seen::Up(EARLIER), Seen::Down(EARLIER, _), Seen::Up(LATER)] = seen[..] else {
            panic!("{name}: {seen:?}");
        };
    }
    assert_eq!((later.status(), later.connected_node_count()), (ClusterStatus::Running, 2));
    stop_all(&[&a, &z, &later]).await;
    Ok(())
}

#[actix_rt::test]
async fn an_earlier_life_that_comes_while_a_later_one_runs_is_refused_and_stops() -> Res {
    let a = node("a", &[]).await?;
    let z = node("z", &[&a]).await?;
    let (mut at_a, mut at_z) = (a.events(), z.events());
    let port = ports::free_port();
    let later = life(LATER, "127.0.0.1", port, &[&a, &z]).await?;
    connected(&[&a, &z, &later]).await;
    let there: Ref<Box_> = a.spawn_on(&id(&later), 1).await?;

    // As of a clock that went backwards, or a counter that was restored.
    let earlier = life(EARLIER, "127.0.0.2", port, &[&a]).await?;
    until(20, "it stopped", || earlier.status() == ClusterStatus::Stopped).await;
    assert!(superseded(&a) > 0);
    assert_eq!(earlier.stats().node_up_total, 0, "it was let in nowhere");
    assert_eq!(there.seen().await?, [1], "nothing happened to the one that runs");
    for (name, events) in [("a", &mut at_a), ("z", &mut at_z)] {
        let seen = seen(events);
        assert_eq!(seen, [Seen::Up(LATER)], "{name}");
    }
    stop_all(&[&a, &z, &later]).await;
    Ok(())
}
