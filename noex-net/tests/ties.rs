//! Processes of another node, and of this one, that are watched or linked from their start on.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use noex_actors::{Context, Exit, ExitReason, Info, NodeId, Ref, SpawnError, SpawnOptions, behavior};
use noex_net::Cluster;
use support::{Box_, Box_Cast, Res, config, connected, id, seeded, stop_all, until, within};

/// How it goes on after its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Fate {
    Lives,
    Ends,
    EndsWell,
    DoesNotStart,
    StartsSlowly,
}

struct Mayfly;

#[behavior(name = "mayfly")]
impl Mayfly {
    #[init]
    async fn new(fate: Fate, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        match fate {
            Fate::Lives => {}
            Fate::Ends => cx.stop(ExitReason::error("its day is over")),
            Fate::EndsWell => cx.stop(ExitReason::Normal),
            Fate::DoesNotStart => return Err(ExitReason::error("it never flew")),
            Fate::StartsSlowly => std::future::pending().await,
        }
        Ok(Mayfly)
    }
}

fn brief() -> SpawnOptions {
    SpawnOptions::new().init_timeout(Duration::from_millis(600))
}

/// Starts others, and remembers what it hears of them.
struct Parent(Vec<String>);

#[behavior(name = "parent")]
impl Parent {
    #[init]
    fn new(traps: bool, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        if traps {
            cx.trap_exit();
        }
        Ok(Parent(Vec::new()))
    }
    #[call]
    async fn raise(&mut self, on: NodeId, fate: Fate, cx: &mut Context<Self>) -> Result<Ref<Mayfly>, String> {
        let spawn = cx.spawn_monitor_on::<Mayfly>(&on, fate).timeout(Duration::from_millis(300));
        spawn.await.map(|(child, _)| child).map_err(|error| error.to_string())
    }
    #[call]
    async fn raise_linked(
        &mut self,
        on: NodeId,
        fate: Fate,
        cx: &mut Context<Self>,
    ) -> Result<Ref<Mayfly>, String> {
        let spawn =
            cx.spawn_link_on::<Mayfly>(&on, fate).options(brief()).timeout(Duration::from_millis(300));
        spawn.await.map_err(|error| error.to_string())
    }
    #[call]
    fn heard(&self) -> Vec<String> {
        self.0.clone()
    }
    #[info]
    fn info(&mut self, info: Info<()>) {
        match info {
            Info::Down(down) => self.0.push(format!("down {}", down.reason)),
            Info::Exit(Exit { reason, .. }) => self.0.push(format!("exit {reason}")),
            _ => {}
        }
    }
}

async fn pair() -> Res<[Cluster; 2]> {
    let start = |config: noex_net::ClusterConfigBuilder| async move {
        let builder = support::builder(config)?.behavior::<Mayfly>().behavior::<Parent>();
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(builder.start().await?)
    };
    let a = start(config("a")).await?;
    let b = start(seeded("b", &[&a])).await?;
    connected(&[&a, &b]).await;
    Ok([a, b])
}

async fn hears(parent: &Ref<Parent>, all: &[&str]) {
    within(10, "it hears of them", async {
        while parent.heard().await.unwrap().len() < all.len() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(parent.heard().await.unwrap(), all);
}

const OVER: &str = "error: its day is over";

#[actix_rt::test]
async fn an_end_however_soon_is_told_with_its_reason() -> Res {
    let [a, b] = pair().await?;
    for peer in [id(&b), id(&a)] {
        for _ in 0..50 {
            let (_, end) = a.spawn_on::<Mayfly>(&peer, Fate::Ends).monitored().await?;
            assert_eq!(within(10, "its end", end).await.reason.to_string(), OVER, "on {peer}");
        }
        let parent = a.spawn::<Parent>(false).await?;
        for _ in 0..20 {
            parent.raise(peer.clone(), Fate::Ends).await?.unwrap();
        }
        hears(&parent, &["down error: its day is over"; 20]).await;
        let trapping = a.spawn::<Parent>(true).await?;
        for _ in 0..20 {
            trapping.raise_linked(peer.clone(), Fate::Ends).await?.unwrap();
        }
        hears(&trapping, &["exit error: its day is over"; 20]).await;
        // One that does not trap goes with it.
        let plain = a.spawn::<Parent>(false).await?;
        let end = plain.monitor();
        let _ = plain.raise_linked(peer.clone(), Fate::Ends).await;
        assert_eq!(within(10, "its end", end).await.reason.to_string(), OVER, "on {peer}");
    }
    stop_all(&[&a, &b]).await;
    Ok(())
}

#[actix_rt::test]
async fn what_lives_is_watched_and_linked() -> Res {
    let [a, b] = pair().await?;
    for peer in [id(&b), id(&a)] {
        let (child, end) = a.spawn_on::<Mayfly>(&peer, Fate::Lives).monitored().await?;
        child.stop(ExitReason::Normal).await?;
        assert_eq!(within(10, "its end", end).await.reason, ExitReason::Normal);
        let (child, end) = a.spawn_on::<Mayfly>(&peer, Fate::Lives).monitored().await?;
        drop(end);
        let parent = a.spawn::<Parent>(true).await?;
        parent.raise(peer.clone(), Fate::Lives).await?.unwrap().kill();
        hears(&parent, &["down killed"]).await;
        // Both ways.
        parent.raise_linked(peer.clone(), Fate::Lives).await?.unwrap().kill();
        hears(&parent, &["down killed", "exit killed"]).await;
        let linked = parent.raise_linked(peer.clone(), Fate::Lives).await?.unwrap();
        let end = linked.monitor();
        parent.kill();
        assert_eq!(within(10, "the end of the child", end).await.reason, ExitReason::Killed);
        child.stop(ExitReason::Normal).await?;
    }
    until(10, "no watch stays", || a.remote_monitor_stats().active_outgoing_count == 0).await;
    assert_eq!(b.process_count(), 0);
    stop_all(&[&a, &b]).await;
    Ok(())
}

/// A start that fails, or is given up, is the error of the spawn alone.
#[actix_rt::test]
async fn of_what_does_not_start_nothing_else_is_heard() -> Res {
    let [a, b] = pair().await?;
    for peer in [id(&b), id(&a)] {
        let parent = a.spawn::<Parent>(false).await?;
        let failed = parent.raise(peer.clone(), Fate::DoesNotStart).await?.unwrap_err();
        assert!(failed.contains("it never flew"), "{failed}");
        assert!(
            parent
                .raise_linked(peer.clone(), Fate::DoesNotStart)
                .await?
                .unwrap_err()
                .contains("it never flew")
        );
        let failed = a.spawn_on::<Mayfly>(&peer, Fate::DoesNotStart).monitored().await;
        assert!(matches!(failed, Err(SpawnError::Start(_))), "{failed:?}");
        assert_eq!(parent.heard().await?, Vec::<String>::new());
    }
    let parent = a.spawn::<Parent>(false).await?;
    let late = parent.raise_linked(id(&b), Fate::StartsSlowly).await?.unwrap_err();
    assert!(late.contains("300ms"), "{late}");
    assert!(parent.raise_linked("x@127.0.0.1:1".parse()?, Fate::Lives).await?.is_err());
    assert_eq!(parent.heard().await?, Vec::<String>::new());
    stop_all(&[&a]).await;
    b.stop().await;
    Ok(())
}

/// A link keeps its place behind what was sent to everybody; how the process ended is remembered until it comes.
#[actix_rt::test]
async fn what_ended_before_its_link_came_is_heard_of_as_it_ended_also_behind_a_broadcast() -> Res {
    let [a, b] = pair().await?;
    let sink = b.spawn::<Box_>(0).await?;
    b.groups().join("g", &sink)?;
    until(10, "a knows the member", || a.groups().members::<Box_>("g").len() == 1).await;
    let there: Ref<Box_> = a.resolve(sink.pid());
    let parent = a.spawn::<Parent>(true).await?;
    for _ in 0..20 {
        there.swallow("x".repeat(2 << 20))?;
        drop(a.groups().broadcast::<Box_>("g", Box_Cast::Swallow { text: "to all".to_owned() }));
        parent.raise_linked(id(&b), Fate::EndsWell).await?.unwrap();
    }
    hears(&parent, &["exit normal"; 20]).await;
    stop_all(&[&a, &b]).await;
    Ok(())
}
