//! Registries of one node with processes of another: they are watched across the connection.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use noex_actors::{DuplicateRegistry, ExitReason, UniqueRegistry};
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
