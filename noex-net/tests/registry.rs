//! Registries of one node with processes of another: they are watched across the connection.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use noex_actors::{Context, DuplicateRegistry, ExitReason, Registration, UniqueRegistry};
use support::{Box_, Res, id, pair, until};

#[actix_rt::test]
async fn an_entry_of_a_process_elsewhere_ends_with_it_or_with_its_node() -> Res {
    let (a, b) = pair().await?;
    let names = UniqueRegistry::<Box_>::new(&a);
    let topics = DuplicateRegistry::<Box_, u8>::new(&a);
    let here = a.spawn::<Box_>(0).await?;
    let (one, two) = (a.spawn_on::<Box_>(&id(&b), 1).await?, a.spawn_on::<Box_>(&id(&b), 2).await?);
    names.register("one", &one, ())?;
    for (process, meta) in [(&here, 0), (&one, 1), (&two, 2)] {
        topics.register("all", process, meta)?;
    }
    topics.dispatch_with("all", |entries| entries.iter().try_for_each(|entry| entry.process.see(9)))?;
    assert_eq!(two.seen().await?, [2, 9]);
    assert_eq!(names.via("one").add(4).await?, 5);

    one.stop(ExitReason::Normal).await?;
    until(5, "its entries are gone", || names.is_empty() && topics.len() == 2).await;
    assert_eq!(topics.lookup_all("all"), [here.clone(), two.clone()]);

    names.register("two", &two, ())?;
    b.stop().await;
    until(5, "the entries of the node are gone", || names.is_empty() && topics.len() == 1).await;
    assert_eq!(topics.lookup_all("all"), [here]);
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn the_last_entry_of_a_process_elsewhere_takes_its_watch_along() -> Res {
    let (a, b) = pair().await?;
    let names = UniqueRegistry::<Box_>::new(&a);
    let there = a.spawn_on::<Box_>(&id(&b), 1).await?;
    names.register("x", &there, ())?;
    names.register("y", &there, ())?;
    assert_eq!(a.remote_monitor_stats().active_outgoing_count, 1);
    assert!(names.unregister("x"));
    assert_eq!(a.remote_monitor_stats().active_outgoing_count, 1);
    assert!(names.unregister("y"));
    assert_eq!(a.remote_monitor_stats().active_outgoing_count, 0);
    b.stop().await;
    a.stop().await;
    Ok(())
}

/// Is over as soon as it started.
struct Brief;

#[noex_actors::behavior(name = "brief")]
impl Brief {
    #[init]
    fn new(cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        cx.stop(ExitReason::error("had enough"));
        Ok(Brief)
    }
}

#[actix_rt::test]
async fn what_is_over_before_it_has_its_name_did_start() -> Res {
    let a = support::builder(support::config("a"))?.start().await?;
    let seed = support::config("b").seed(support::id(&a).to_string());
    let b = support::builder(seed)?.behavior::<Brief>().start().await?;
    support::within(5, "both are up", async {
        let _ = a.wait_for_nodes(2).await;
        let _ = b.wait_for_nodes(2).await;
    })
    .await;
    let brief = a.spawn_on::<Brief>(&support::id(&b), ()).name("n").register(Registration::Global).await?;
    let down = support::within(5, "its end is told", brief.monitor()).await;
    assert!(matches!(down.reason, ExitReason::NoProc | ExitReason::Error(_)), "{down:?}");
    until(5, "nobody has the name", || !a.global().is_registered("n") && !b.global().is_registered("n"))
        .await;
    b.stop().await;
    a.stop().await;
    Ok(())
}
