//! Global names across two real nodes: who has one, who loses one, and who hears of it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

#[path = "support/cable.rs"]
mod cable;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use cable::Cable;
use noex_actors::{CallError, Delivery, ExitReason, Info, NameError, Pid, Ref, behavior};
use noex_net::{Cluster, ClusterConfigBuilder, GlobalEvent, NameConflict, OnConflict};
use support::{Res, config, connected, id, seeded, stop_all, until, within};

#[actix_rt::test]
async fn what_was_wanted_for_a_conflict_goes_with_the_name() -> Res {
    let (a, b) = pair().await?;
    let holder = a.spawn::<Holder>(()).await?;
    let of_a_user = Arc::new(());
    let policy = || {
        let held = Arc::clone(&of_a_user);
        OnConflict::custom(move |_| {
            let _ = &held;
        })
    };
    a.global().register_with("here", &holder, policy())?;
    a.global().register_with("there", &holder, policy())?;
    assert_eq!(Arc::strong_count(&of_a_user), 3);
    assert!(a.global().unregister("here")?);
    assert_eq!(Arc::strong_count(&of_a_user), 2);
    until(5, "it is known over there", || b.global().is_registered("there")).await;
    assert!(b.global().unregister("there")?);
    until(5, "its owner gives it up", || Arc::strong_count(&of_a_user) == 1).await;
    stop_all(&[a, b]).await;
    Ok(())
}

/// Has names, and remembers which it lost.
struct Holder(Vec<(String, Pid)>);

#[behavior(name = "holder")]
impl Holder {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Holder(Vec::new()))
    }
    #[call]
    fn lost(&self) -> Vec<(String, Pid)> {
        self.0.clone()
    }
    #[cast]
    fn take_over(&mut self, name: String, from: Pid) {
        self.0.push((name, from));
    }
    #[info]
    fn info(&mut self, info: Info<()>) {
        if let Info::NameLost { name, winner, .. } = info {
            self.0.push((name, winner));
        }
    }
}

async fn start(config: ClusterConfigBuilder) -> Res<Cluster> {
    Ok(support::builder(config)?.behavior::<Holder>().start().await?)
}

async fn pair() -> Res<(Cluster, Cluster)> {
    let a = start(config("a")).await?;
    let b = start(seeded("b", &[&a])).await?;
    connected(&[&a, &b]).await;
    Ok((a, b))
}

#[actix_rt::test]
async fn when_two_nodes_meet_each_name_has_one_holder_and_each_loser_is_told_once() -> Res {
    let a = start(config("a")).await?;
    let cable = Cable::to(a.local_node_id().port()).await?;
    cable.silence();
    let b = start(config("b").seed(format!("127.0.0.1:{}", cable.port))).await?;
    let [winner, notified, stopped, alone] = [
        a.spawn::<Holder>(()).await?,
        b.spawn::<Holder>(()).await?,
        b.spawn::<Holder>(()).await?,
        b.spawn::<Holder>(()).await?,
    ];
    for name in ["notify", "stop"] {
        a.global().register(name, &winner)?;
    }
    b.global().register_with("notify", &notified, OnConflict::NotifyLoser)?;
    b.global().register_with("stop", &stopped, OnConflict::StopLoser)?;
    b.global().register("alone", &alone)?;
    let conflicts = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&conflicts);
    let _events = b.global().on_event(move |event| {
        if let GlobalEvent::ConflictResolved { name, winner, loser, .. } = event {
            heard.lock().unwrap().push((name.clone(), winner.clone(), loser.clone()));
        }
    });
    let end = stopped.monitor();
    assert_eq!(b.global().pid("notify").as_ref(), Some(notified.pid()), "each in its own view");
    assert_eq!(a.connected_node_count(), 0);

    cable.speak_slowly(Duration::ZERO);
    connected(&[&a, &b]).await;
    let view = |node: &Cluster| {
        let global = node.global();
        global.names().into_iter().map(|name| (name.clone(), global.pid(&name))).collect::<Vec<_>>()
    };
    let expected = vec![
        ("alone".to_owned(), Some(alone.pid().clone())),
        ("notify".to_owned(), Some(winner.pid().clone())),
        ("stop".to_owned(), Some(winner.pid().clone())),
    ];
    until(10, "one view", || view(&a) == expected && view(&b) == expected).await;
    assert_eq!(within(10, "the end of the loser", end).await.reason, ExitReason::Shutdown);
    let lost = [("notify".to_owned(), winner.pid().clone())];
    assert_eq!(notified.lost().await?, lost, "once");
    assert_eq!(winner.lost().await?, []);
    assert_eq!(b.global().stats().conflicts_resolved, 2);
    until(10, "the program is told", || conflicts.lock().unwrap().len() == 2).await;
    let first = conflicts.lock().unwrap()[0].clone();
    assert_eq!(first, ("notify".to_owned(), winner.pid().clone(), notified.pid().clone()));
    // Whoever lost its name ends: the winner keeps it.
    notified.stop(ExitReason::Normal).await?;
    b.global().register("last", &alone)?;
    until(10, "a heard what was said after it", || a.global().is_registered("last")).await;
    assert_eq!(a.global().pid("notify").as_ref(), Some(winner.pid()));
    stop_all(&[&a, &b]).await;
    Ok(())
}

#[actix_rt::test]
async fn what_becomes_of_a_loser_is_up_to_a_function_of_the_program() -> Res {
    let a = start(config("a")).await?;
    let cable = Cable::to(a.local_node_id().port()).await?;
    cable.silence();
    let b = start(config("b").seed(format!("127.0.0.1:{}", cable.port))).await?;
    let winner = a.spawn::<Holder>(()).await?;
    let [merged, unlucky, changed, kept] = [
        b.spawn::<Holder>(()).await?,
        b.spawn::<Holder>(()).await?,
        b.spawn::<Holder>(()).await?,
        b.spawn::<Holder>(()).await?,
    ];
    for name in ["merge", "panic", "changed", "z"] {
        a.global().register(name, &winner)?;
    }
    // What the loser has goes to the winner, and the loser ends.
    let hand_over = OnConflict::custom(|conflict: NameConflict| {
        let winner = conflict.winner.typed::<Holder>().unwrap();
        winner.take_over(conflict.name, conflict.loser.pid().clone()).unwrap();
        drop(conflict.loser.stop(ExitReason::error("merged")));
    });
    let end = merged.monitor();
    b.global().register_with("merge", &merged, hand_over.clone())?;
    b.global().register_with("panic", &unlucky, OnConflict::custom(|_| panic!("a function of a test")))?;
    // What is said last counts, and for that name alone.
    b.global().register_with("changed", &changed, hand_over.clone())?;
    b.global().register_with("changed", &changed, OnConflict::NotifyLoser)?;
    b.global().register_with("other", &kept, hand_over)?;
    b.global().register("z", &kept)?;

    cable.speak_slowly(Duration::ZERO);
    connected(&[&a, &b]).await;
    let reason = within(10, "the end of the loser", end).await.reason;
    assert_eq!(reason, ExitReason::error("merged"));
    until(10, "all conflicts are decided", || b.global().stats().conflicts_resolved == 4).await;
    for (name, loser) in [("panic", &unlucky), ("changed", &changed), ("z", &kept)] {
        assert_eq!(loser.lost().await?, [(name.to_owned(), winner.pid().clone())], "it goes on");
    }
    let told = [("merge".to_owned(), merged.pid().clone())];
    within(10, "the winner has what the loser had", async {
        while winner.lost().await.unwrap() != told {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(b.global().pid("merge").as_ref(), Some(winner.pid()));
    assert_eq!(b.global().pid("other").as_ref(), Some(kept.pid()));
    stop_all(&[&a, &b]).await;
    Ok(())
}

#[actix_rt::test]
async fn a_name_is_watched_listed_and_given_up_from_the_other_node() -> Res {
    let (a, b) = pair().await?;
    let (one, two) = (b.spawn::<Holder>(()).await?, b.spawn::<Holder>(()).await?);
    let mut watch = a.global().watch("n");
    let handle = a.global().via::<Holder>("n");
    assert_eq!(within(5, "now", watch.recv()).await, Some(None));
    match handle.lost().await {
        Err(error @ CallError::NoName(_)) => assert_eq!(error.delivery(), Delivery::Never),
        other => panic!("{other:?}"),
    }
    b.global().register("n", &one)?;
    assert_eq!(within(5, "it is registered", watch.recv()).await, Some(Some(one.pid().clone())));
    assert_eq!(a.global().entries_for_node(&id(&b)), [("n".to_owned(), one.pid().clone())]);
    assert_eq!(a.global().entries_for_node(&id(&a)), []);
    assert_eq!(handle.lost().await?, []);
    let taken = NameError::Taken { name: "n".to_owned(), holder: one.pid().clone() };
    let mine = a.spawn::<Holder>(()).await?;
    assert_eq!(a.global().register("n", &mine), Err(taken.clone()));
    assert_eq!(b.global().register("n", &two), Err(taken));
    let there: Ref<Holder> = a.resolve(one.pid());
    assert_eq!(a.global().register("m", &there), Err(NameError::NoProc(one.pid().clone())), "its node does");

    assert!(a.global().unregister("n")?);
    assert_eq!(within(5, "it is given up", watch.recv()).await, Some(None));
    until(5, "also at its owner", || !b.global().is_registered("n")).await;
    assert!(!a.global().unregister("n")?);
    b.global().register("n", &two)?;
    assert_eq!(within(5, "another has it", watch.recv()).await, Some(Some(two.pid().clone())));
    assert_eq!(handle.lost().await?, [], "the handle finds it");
    two.kill();
    assert_eq!(within(5, "it ends with its process", watch.recv()).await, Some(None));
    assert_eq!(a.global().lookup::<Holder>("n"), Err(NameError::NotFound("n".to_owned())));
    stop_all(&[&a, &b]).await;
    Ok(())
}

#[actix_rt::test]
async fn a_process_that_registers_again_and_again_has_one_watch_and_loses_all_names_at_its_end() -> Res {
    let a = start(config("a")).await?;
    let holder = a.spawn::<Holder>(()).await?;
    for _ in 0..200 {
        a.global().register("n", &holder)?;
        assert!(a.global().unregister("n")?);
    }
    for n in 0..200 {
        a.global().register(&format!("n{n}"), &holder)?;
    }
    assert_eq!(a.process(holder.pid()).ok_or("it lives")?.monitors, 1);
    holder.kill();
    until(10, "no name is left", || a.global().count() == 0).await;
    let other = a.spawn::<Holder>(()).await?;
    a.global().register("n0", &other)?;
    a.stop().await;
    Ok(())
}
