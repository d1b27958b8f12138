//! What is particular to sessions over TLS.

use std::{cell::Cell, rc::Rc, time::Duration};

use noex_actors::NodeDownReason;
use noex_net::{Cluster, RefusedReason, Secrets, TlsConfig};

use crate::{
    middle::Gate,
    refused, stop_all,
    support::{Box_, Res, builder, ca, certificates::Ca, config, id, pair, patient_pair, until, within},
};

#[actix_rt::test]
async fn eight_mebibytes_go_both_ways_at_once() -> Res {
    let (a, b) = patient_pair().await?;
    let (there, back) = (a.spawn_on::<Box_>(&id(&b), 0).await?, b.spawn_on::<Box_>(&id(&a), 0).await?);
    let text = "0123456789abcdef".repeat(8 << 16);
    let (one, two) = within(60, "both echo", async {
        let timeout = Duration::from_secs(60);
        let (one, two) = (there.echo(text.clone()), back.echo(text.clone()));
        futures_util::future::join(one.timeout(timeout), two.timeout(timeout)).await
    })
    .await;
    assert!(one? == text && two? == text);
    assert_eq!(a.peer_stats(&id(&b)).unwrap().outbox_bytes, 0);
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn a_node_that_leaves_over_tls_is_a_graceful_shutdown() -> Res {
    let (a, b) = pair().await?;
    b.stop().await;
    until(5, "a hears of it", || a.connected_node_count() == 0).await;
    assert_eq!(a.stats().node_down_total[&NodeDownReason::GracefulShutdown], 1);
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn certificates_of_another_ca_come_node_by_node_while_calls_go_on() -> Res {
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let both = format!("{}{}", old.pem, new.pem);
    let start = async |name: &str, tls: TlsConfig, seeds: &[&Cluster]| -> Res<Cluster> {
        let seeds = seeds.iter().map(|seed| seed.local_node_id());
        Ok(builder(config(name).tls(tls).seeds(seeds))?.start().await?)
    };
    let a = start("a", old.tls("a"), &[]).await?;
    let b = start("b", old.tls("b"), &[&a]).await?;
    until(10, "both are up", || a.connected_node_count() == 1 && b.connected_node_count() == 1).await;
    let there = a.spawn_on::<Box_>(&id(&b), 0).await?;
    let (sum, over) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
    let calls = actix_rt::spawn({
        let (sum, over) = (Rc::clone(&sum), Rc::clone(&over));
        async move {
            while !over.get() {
                sum.set(there.add(1).await.unwrap());
            }
        }
    });
    let work = async || {
        let before = sum.get();
        until(10, "calls go on", || sum.get() > before + 100).await;
    };
    work().await;
    let (a_tls, b_tls) = (a.tls().unwrap(), b.tls().unwrap());
    let wrong = a_tls.reload(new.tls("b")).unwrap_err();
    assert!(wrong.to_string().contains("must hold the name of the node, a"), "{wrong}");

    // Everybody trusts both; everybody has a new certificate; everybody trusts the new one alone.
    let (old_a, old_b) = (old.issue(&["a"]), old.issue(&["b"]));
    let (new_a, new_b) = (new.issue(&["a"]), new.issue(&["b"]));
    for (step, (for_a, for_b)) in [
        (old_a.tls(&both), old_b.tls(&both)),
        (new_a.tls(&both), new_b.tls(&both)),
        (new_a.tls(&new.pem), new_b.tls(&new.pem)),
    ]
    .into_iter()
    .enumerate()
    {
        let guest = if step == 2 { old.tls("guest") } else { old.issue(&["guest"]).tls(&both) };
        a_tls.reload(for_a)?;
        work().await;
        if step < 2 {
            let guest = start("guest", guest, &[&a, &b]).await?;
            until(10, "who has the old one is let in", || guest.connected_node_count() == 2).await;
            guest.stop().await;
            b_tls.reload(for_b)?;
        } else {
            b_tls.reload(for_b)?;
            let guest = start("guest", guest, &[&a, &b]).await?;
            until(10, "and at last is not", || refused(&guest, RefusedReason::Tls) > 1).await;
            assert_eq!(guest.connected_node_count(), 0);
            guest.stop().await;
        }
        work().await;
    }
    let fresh = start("fresh", new.tls("fresh"), &[&a]).await?;
    until(10, "who has the new one is", || fresh.connected_node_count() == 2).await;
    over.set(true);
    calls.await?;
    for node in [&a, &b] {
        let downs = node.stats().node_down_total;
        assert!(downs.iter().all(|(reason, n)| *n == 0 || *reason == NodeDownReason::GracefulShutdown));
    }
    stop_all(&[a, b, fresh]).await;
    Ok(())
}

#[actix_rt::test]
async fn a_peer_that_reads_nothing_costs_no_more_than_the_outbox() -> Res {
    const LIMIT: usize = 1 << 20;
    let patient = |name: &str| config(name).heartbeat_miss_threshold(100);
    let b = builder(patient("b"))?.start().await?;
    let gate = Gate::to(b.local_node_id().port()).await?;
    let seed = format!("b@127.0.0.1:{}", gate.port);
    let a = builder(patient("a").outbox_bytes(LIMIT).seed(seed))?.start().await?;
    until(10, "both are up", || a.connected_node_count() == 1 && b.connected_node_count() == 1).await;
    let there = a.spawn_on::<Box_>(&id(&b), 0).await?;
    gate.close();
    let text = "x".repeat(32 * 1024);
    let mut refused = 0;
    let mut taken = 0;
    while refused < 100 {
        match there.swallow(text.clone()) {
            Ok(()) => taken += 1,
            Err(_full) => refused += 1,
        }
        tokio::task::yield_now().await;
    }
    let stats = a.peer_stats(&id(&b)).unwrap();
    let bound = LIMIT + 2 * text.len();
    assert!(stats.outbox_high_water <= bound, "{} bytes waited", stats.outbox_high_water);
    assert!(stats.outbox_bytes <= bound && taken > 8, "{taken} messages were taken");
    gate.open();
    until(20, "it goes on", || a.peer_stats(&id(&b)).is_some_and(|stats| stats.outbox_bytes == 0)).await;
    assert_eq!(there.add(1).await?, 1, "it came through whole");
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn without_a_secret_certificates_alone_let_in() -> Res {
    let bare = |name: &str| config(name).secret(Secrets::none());
    let a = builder(bare("a"))?.start().await?;
    let b = builder(bare("b").seed(a.local_node_id()))?.start().await?;
    until(10, "they meet", || a.connected_node_count() == 1 && b.connected_node_count() == 1).await;
    let there = b.spawn_on::<Box_>(&id(&a), 0).await?;
    assert_eq!(there.add(3).await?, 3);
    // The secret is asked for as always where there is one.
    let c = builder(config("c").seed(a.local_node_id()))?.start().await?;
    until(10, "no_secret", || {
        refused(&a, RefusedReason::NoSecret) > 0 && refused(&c, RefusedReason::NoSecret) > 0
    })
    .await;
    stop_all(&[a, b, c]).await;
    Ok(())
}

#[actix_rt::test]
async fn a_builder_takes_certificates_too() -> Res {
    let config = || crate::support::config("a").build();
    let error = Cluster::builder(config()?).tls(ca().tls("b")).start().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "tls is \"b\": must hold the name of the node, a, among its DNS subject alternative names"
    );
    let a = Cluster::builder(config()?).tls(ca().issue(&["x", "a"]).tls(&ca().pem)).start().await?;
    assert_eq!(a.tls().unwrap().names(), ["x", "a"]);
    a.stop().await;
    Ok(())
}
