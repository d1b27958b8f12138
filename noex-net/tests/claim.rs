//! Names that only one process of the cluster is to have, where two nodes are connected to a third one and not to each other.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use noex_actors::{ExitReason, NameError, Ref, behavior};
use noex_net::{Cluster, ClusterConfigBuilder, OnConflict};
use support::{Res, config, connected, seeded, stop_all, until, within};

struct Holder;

#[behavior(name = "holder")]
impl Holder {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Holder)
    }
}

const NOTIFY: OnConflict = OnConflict::NotifyLoser;

async fn start(config: ClusterConfigBuilder) -> Res<Cluster> {
    let config = config.heartbeat_interval(Duration::from_millis(200)).heartbeat_miss_threshold(3);
    Ok(support::builder(config)?.behavior::<Holder>().start().await?)
}

/// The second and the third node are connected to the first one. They hear of each other, and have addresses at which nobody is.
async fn three() -> Res<[Cluster; 3]> {
    let a = start(config("a")).await?;
    let b = start(seeded("b", &[&a]).advertise_host("127.0.0.8")).await?;
    let c = start(seeded("c", &[&a]).advertise_host("127.0.0.9")).await?;
    let ids = |node: &Cluster| node.connected_nodes().into_iter().map(|node| node.id).collect::<Vec<_>>();
    let [of_a, of_others] =
        [vec![b.local_node_id().clone(), c.local_node_id().clone()], vec![a.local_node_id().clone()]];
    until(10, "both are connected to the first one", || {
        ids(&a) == of_a && ids(&b) == of_others && ids(&c) == of_others
    })
    .await;
    Ok([a, b, c])
}

fn taken_by(result: &Result<(), NameError>, holder: &Ref<Holder>) -> bool {
    matches!(result, Err(NameError::Taken { holder: found, .. }) if found == holder.pid())
}

#[actix_rt::test]
async fn in_a_quiet_cluster_the_first_one_has_it() -> Res {
    let a = start(config("a")).await?;
    let b = start(seeded("b", &[&a])).await?;
    connected(&[&a, &b]).await;
    let [first, second] = [a.spawn::<Holder>(()).await?, b.spawn::<Holder>(()).await?];
    a.global().claim("x", &first, NOTIFY).await?;
    // The same holder again is fine.
    a.global().claim("x", &first, NOTIFY).await?;
    assert!(taken_by(&b.global().claim("x", &second, NOTIFY).await, &first));
    assert!(matches!(b.global().claim("", &second, NOTIFY).await, Err(NameError::Invalid { .. })));
    assert!(matches!(b.global().claim("y", &first, NOTIFY).await, Err(NameError::NoProc(_))));
    first.stop(ExitReason::Normal).await?;
    until(10, "it is free", || !b.global().is_registered("x")).await;
    b.global().claim("x", &second, NOTIFY).await?;
    until(10, "all know", || a.global().pid("x").as_ref() == Some(second.pid())).await;
    stop_all(&[&a, &b]).await;
    Ok(())
}

#[actix_rt::test]
async fn a_name_is_refused_whose_holder_only_a_neighbour_knows() -> Res {
    let [a, b, c] = three().await?;
    let [here, there] = [b.spawn::<Holder>(()).await?, c.spawn::<Holder>(()).await?];
    c.global().claim("x", &there, NOTIFY).await?;
    assert_eq!(b.global().pid("x"), None, "it is not in its view");
    let refused = within(20, "the claim", b.global().claim("x", &here, NOTIFY)).await;
    assert!(taken_by(&refused, &there), "{refused:?}");
    assert_eq!(b.global().pid("x"), None, "nor is it registered");
    assert_eq!(a.global().pid("x").as_ref(), Some(there.pid()));
    assert_eq!(a.global().stats().conflicts_resolved, 0, "nobody ever saw two");
    stop_all(&[&a, &b, &c]).await;
    Ok(())
}

/// What runs on a node that it has not met is unknown to whoever has the name, and would be started a second time.
#[actix_rt::test]
async fn a_claim_waits_until_it_has_met_whom_its_neighbour_is_connected_to() -> Res {
    // Nobody is given up in the time of this test.
    let patient = |config: ClusterConfigBuilder| async {
        let config = config.heartbeat_interval(Duration::from_millis(200)).heartbeat_miss_threshold(100);
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(
            support::builder(config)?.behavior::<Holder>().start().await?,
        )
    };
    let a = patient(config("a")).await?;
    let b = patient(seeded("b", &[&a]).advertise_host("127.0.0.8")).await?;
    connected(&[&a, &b]).await;
    // It finds the second one where nobody is yet, and is not found itself.
    let c = patient(seeded("c", &[&a]).advertise_host("127.0.0.9")).await?;
    until(10, "it has come", || a.connected_node_count() == 2 && c.connected_node_count() == 1).await;
    let there = c.spawn::<Holder>(()).await?;
    let claim = actix_rt::spawn({
        let (c, there) = (c.clone(), there.clone());
        async move {
            let granted = c.global().claim("x", &there, NOTIFY).await;
            (granted, c.connected_node_count())
        }
    });
    let port = b.local_node_id().port();
    let way = tokio::net::TcpListener::bind(("127.0.0.8", port)).await?;
    let way = actix_rt::spawn(async move {
        while let Ok((mut near, _)) = way.accept().await {
            actix_rt::spawn(async move {
                let mut far = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
                tokio::io::copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    let (granted, met) = within(20, "the claim", claim).await?;
    granted?;
    assert_eq!(met, 2, "it has met both");
    stop_all(&[&a, &b, &c]).await;
    way.abort();
    Ok(())
}

#[actix_rt::test]
async fn a_claim_goes_on_when_the_holder_is_gone() -> Res {
    let [a, b, c] = three().await?;
    let [here, there] = [b.spawn::<Holder>(()).await?, c.spawn::<Holder>(()).await?];
    c.global().claim("x", &there, NOTIFY).await?;
    let claim = actix_rt::spawn({
        let (names, here) = (b.global().clone(), here.clone());
        async move { names.claim("x", &here, NOTIFY).await }
    });
    there.stop(ExitReason::Normal).await?;
    within(20, "the claim", claim).await??;
    until(10, "the neighbour knows", || a.global().pid("x").as_ref() == Some(here.pid())).await;
    stop_all(&[&a, &b, &c]).await;
    Ok(())
}

/// Neither is told of the other but by the neighbour, and both begin at once.
#[actix_rt::test]
async fn of_two_that_claim_at_once_one_has_it() -> Res {
    let [a, b, c] = three().await?;
    let [one, other] = [b.spawn::<Holder>(()).await?, c.spawn::<Holder>(()).await?];
    for round in 0..5 {
        let name = format!("x{round}");
        let [from_b, from_c] = [b.global().clone(), c.global().clone()];
        let claims = futures_util::future::join(
            from_b.claim(&name, &one, NOTIFY),
            from_c.claim(&name, &other, NOTIFY),
        );
        let (first, second) = within(30, "both claims", claims).await;
        let granted = match (&first, &second) {
            (Ok(()), lost) if taken_by(lost, &one) => &one,
            (lost, Ok(())) if taken_by(lost, &other) => &other,
            both => panic!("{both:?}"),
        };
        until(10, "the neighbour knows", || a.global().pid(&name).as_ref() == Some(granted.pid())).await;
    }
    stop_all(&[&a, &b, &c]).await;
    Ok(())
}
