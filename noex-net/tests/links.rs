//! Links and exit signals between processes of two nodes, over real TCP: the same table as on one node.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

#[path = "support/cable.rs"]
mod cable;
mod support;

use std::time::Duration;

use cable::Cable;
use noex_actors::{Context, ExitReason, Info, Node, Pid, Ref, SpawnOptions, behavior};
use noex_net::{Cluster, ClusterConfig};
use support::{Res, config, id, until, within};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Keeps what reaches it, in order.
struct Member {
    seen: Vec<String>,
}

#[behavior(name = "member")]
impl Member {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Member { seen: vec![] })
    }
    #[cast]
    fn note(&mut self, text: String) {
        self.seen.push(text);
    }
    #[call]
    fn seen(&self) -> Vec<String> {
        self.seen.clone()
    }
    /// Says so much, and ends.
    #[cast]
    fn last_words(&mut self, to: Ref<Member>, words: Vec<String>, cx: &mut Context<Self>) {
        words.into_iter().for_each(|word| to.note(word).unwrap());
        cx.stop(ExitReason::error("all is said"));
    }
    #[call]
    fn tie(&mut self, to: Pid, cx: &mut Context<Self>) {
        cx.link(&to);
    }
    #[call]
    fn untie(&mut self, from: Pid, cx: &mut Context<Self>) {
        cx.unlink(&from);
    }
    #[call]
    fn signal(&mut self, to: Pid, reason: ExitReason, cx: &mut Context<Self>) {
        cx.exit(&to, reason);
    }
    #[call]
    fn watch(&mut self, to: Pid, cx: &mut Context<Self>) {
        cx.monitor(&to);
    }
    #[call]
    fn listen(&mut self, to: Pid, cx: &mut Context<Self>) {
        cx.monitor_nodes();
        cx.monitor_nodes();
        cx.monitor(&to);
    }
    #[cast]
    fn leave(&mut self, reason: ExitReason, cx: &mut Context<Self>) {
        cx.stop(reason);
    }
    #[info]
    fn info(&mut self, info: Info) {
        self.seen.push(match info {
            Info::Exit(exit) => format!("exit {}: {}", exit.from.number(), exit.reason),
            Info::Down(down) if down.reason == ExitReason::NoConnection => {
                format!("lost {}", down.pid.number())
            }
            Info::NodeUp(node) => format!("up {}", node.name()),
            Info::NodeDown { node, reason, .. } => format!("down {}: {reason}", node.name()),
            other => other.kind().to_owned(),
        });
    }
}

async fn start(config: ClusterConfig) -> Res<Cluster> {
    Ok(Cluster::builder(config).behavior::<Member>().arbiters(1).start().await?)
}

async fn both_up(a: &Cluster, b: &Cluster) {
    within(10, "both are up", async {
        let _ = a.wait_for_nodes(2).await;
        let _ = b.wait_for_nodes(2).await;
    })
    .await;
}

async fn pair() -> Res<(Cluster, Cluster)> {
    let a = start(config("a").build()?).await?;
    let b = start(config("b").seed(a.local_node_id().to_string()).build()?).await?;
    both_up(&a, &b).await;
    Ok((a, b))
}

async fn member(node: &Cluster, trapping: bool) -> Res<Ref<Member>> {
    let options = SpawnOptions::new();
    Ok(node.spawn::<Member>(()).options(if trapping { options.trap_exit() } else { options }).await?)
}

/// Waits until a member has seen that many things.
async fn seen(member: &Ref<Member>, count: usize) -> Vec<String> {
    within(10, "what should be seen", async {
        loop {
            let seen = member.seen().await.unwrap();
            if seen.len() >= count {
                return seen;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[actix_rt::test]
async fn an_end_crosses_the_nodes_in_both_directions_as_the_table_says() -> Res {
    let (a, b) = pair().await?;
    for (near, far) in [(&a, &b), (&b, &a)] {
        for reason in [ExitReason::Normal, ExitReason::Shutdown, ExitReason::error("x")] {
            let (one, plain, trapping) =
                (member(near, false).await?, member(far, false).await?, member(far, true).await?);
            one.tie(plain.pid().clone()).await?;
            one.tie(trapping.pid().clone()).await?;
            // The link is there at the other end, too, once something sent behind it has arrived.
            let there: Ref<Member> = near.resolve(trapping.pid());
            there.note("before".into())?;
            seen(&trapping, 1).await;
            let down = plain.monitor();
            one.leave(reason.clone())?;
            let expected = format!("exit {}: {reason}", one.pid().number());
            assert_eq!(seen(&trapping, 2).await, ["before".to_owned(), expected]);
            if reason == ExitReason::Normal {
                assert_eq!(far.process(plain.pid()).map(|info| info.links), Some(0));
            } else {
                assert_eq!(within(10, "the end", down).await.reason, reason);
            }
        }
    }
    assert_eq!((a.remote_link_stats().active_link_count, b.remote_link_stats().active_link_count), (0, 0));
    a.stop().await;
    b.stop().await;
    Ok(())
}

/// Long ones, which are cut and let others pass, among them.
#[actix_rt::test]
async fn the_end_of_a_link_comes_behind_the_last_words_however_long_they_are() -> Res {
    let (a, b) = pair().await?;
    let (one, other) = (member(&a, false).await?, member(&b, true).await?);
    one.tie(other.pid().clone()).await?;
    let words: Vec<_> = (0..300).map(|n| "x".repeat(if n % 100 == 50 { 1 << 20 } else { n % 7 })).collect();
    let mut expected = words.clone();
    expected.push(format!("exit {}: error: all is said", one.pid().number()));
    one.last_words(a.resolve(other.pid()), words)?;
    within(20, "the end", async {
        while b.process(other.pid()).is_none_or(|info| info.message_count < 301) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let seen = seen(&other, 301).await;
    assert!(seen == expected, "{:?}", seen.iter().map(String::len).collect::<Vec<_>>());
    a.stop().await;
    b.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn exit_signals_by_hand_cross_the_nodes() -> Res {
    let (a, b) = pair().await?;
    let (sender, plain, trapping) =
        (member(&a, false).await?, member(&b, false).await?, member(&b, true).await?);
    for (target, reason) in
        [(&plain, ExitReason::Normal), (&trapping, ExitReason::Normal), (&trapping, ExitReason::error("x"))]
    {
        sender.signal(target.pid().clone(), reason).await?;
    }
    let from = sender.pid().number();
    assert_eq!(seen(&trapping, 2).await, [format!("exit {from}: normal"), format!("exit {from}: error: x")]);
    assert_eq!(plain.seen().await?, [""; 0], "normal does nothing to who does not trap");
    let (plain_down, trapping_down) = (plain.monitor(), trapping.monitor());
    sender.signal(plain.pid().clone(), ExitReason::Shutdown).await?;
    sender.signal(trapping.pid().clone(), ExitReason::Killed).await?;
    assert_eq!(within(10, "the end", plain_down).await.reason, ExitReason::Shutdown);
    assert_eq!(within(10, "the kill", trapping_down).await.reason, ExitReason::Killed);
    a.stop().await;
    b.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn unlinked_neither_end_hears_of_the_other() -> Res {
    let (a, b) = pair().await?;
    let (one, other) = (member(&a, false).await?, member(&b, true).await?);
    one.tie(other.pid().clone()).await?;
    other.tie(one.pid().clone()).await?;
    one.untie(other.pid().clone()).await?;
    let there: Ref<Member> = a.resolve(other.pid());
    there.note("after".into())?;
    seen(&other, 1).await;
    one.leave(ExitReason::error("x"))?;
    one.monitor().await;
    there.note("last".into())?;
    assert_eq!(seen(&other, 2).await, ["after", "last"]);
    a.stop().await;
    b.stop().await;
    Ok(())
}

/// Waits until all that the two nodes tell each other of two processes, answers and answers to those included, is heard.
async fn quiet(one: &Ref<Member>, a: &Cluster, other: &Ref<Member>, b: &Cluster) -> Res {
    for _ in 0..2 {
        assert!(within(10, "an answer", a.resolve::<Member>(other.pid()).is_alive()).await?);
        assert!(within(10, "an answer", b.resolve::<Member>(one.pid()).is_alive()).await?);
    }
    Ok(())
}

/// How many links each of two processes has, and of how many pairs each node knows.
fn ends(one: &Ref<Member>, a: &Cluster, other: &Ref<Member>, b: &Cluster) -> [Option<u64>; 4] {
    let links = |process: &Ref<Member>, node: &Cluster| {
        node.process(process.pid()).and_then(|info| u64::try_from(info.links).ok())
    };
    let pairs = |node: &Cluster| Some(node.remote_link_stats().active_link_count);
    [links(one, a), links(other, b), pairs(a), pairs(b)]
}

/// Whoever took a link away was linked all the same by what the other end had said before, and ended with the session.
#[actix_rt::test]
async fn links_made_and_taken_away_from_both_ends_at_once_stand_at_both_ends_or_at_none() -> Res {
    let patient = |name| config(name).heartbeat_miss_threshold(100);
    let a = start(patient("a").build()?).await?;
    let cable = Cable::to(a.local_node_id().port()).await?;
    let b = start(patient("b").seed(format!("127.0.0.1:{}", cable.port)).build()?).await?;
    both_up(&a, &b).await;
    let mut unlinked = Vec::new();
    // Whether they are linked before; what each does before it hears of the other; whether they are linked after it.
    for (before, here, there, after) in [
        (false, "lu", "l", 0),
        (false, "lu", "lul", 0),
        (false, "l", "l", 1),
        (false, "lul", "l", 1),
        (true, "u", "", 0),
        (true, "u", "u", 0),
        (true, "u", "ul", 0),
        (true, "ul", "", 1),
        (true, "ul", "u", 0),
        (true, "ul", "ul", 1),
        (true, "ulu", "ul", 0),
    ] {
        let (one, other) = (member(&a, false).await?, member(&b, false).await?);
        if before {
            a.link(&one, &other);
        }
        quiet(&one, &a, &other, &b).await?;
        cable.silence();
        for (node, steps) in [(&a, here), (&b, there)] {
            for step in steps.chars() {
                if step == 'l' {
                    node.link(&one, &other);
                } else {
                    node.unlink(&one, &other);
                }
            }
        }
        cable.speak_slowly(Duration::ZERO);
        quiet(&one, &a, &other, &b).await?;
        assert_eq!(ends(&one, &a, &other, &b), [Some(after); 4], "{before} {here} {there}");
        if after == 0 {
            unlinked.push(other);
        } else {
            one.stop(ExitReason::error("x")).await?;
            assert_eq!(within(10, "the end", other.monitor()).await.reason, ExitReason::error("x"));
        }
    }
    a.stop().await;
    until(10, "the session is over", || b.connected_nodes().is_empty()).await;
    for member in unlinked {
        assert_eq!(member.seen().await?, [""; 0], "it lives, and heard of nothing");
    }
    b.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_storm_of_links_and_unlinks_from_both_ends_leaves_both_ends_alike() -> Res {
    let (a, b) = pair().await?;
    let (one, other) = (member(&a, true).await?, member(&b, true).await?);
    let mut linked = 0;
    for round in 0..200_u32 {
        let threads = [(&a, 1), (&a, 2), (&b, 3), (&b, 4)].map(|(node, seed)| {
            let (node, one, other) = (Node::clone(node), one.clone(), other.clone());
            std::thread::spawn(move || {
                for step in 0..20 {
                    if (round * 31 + step * 17 + seed * 7) % 5 < 3 {
                        node.link(&one, &other);
                    } else {
                        node.unlink(&one, &other);
                    }
                }
            })
        });
        for thread in threads {
            tokio::task::spawn_blocking(|| thread.join()).await?.unwrap();
        }
        quiet(&one, &a, &other, &b).await?;
        let ends = ends(&one, &a, &other, &b);
        assert!(ends == [Some(0); 4] || ends == [Some(1); 4], "round {round}: {ends:?}");
        linked += usize::from(ends[0] == Some(1));
    }
    assert!(linked > 0 && linked < 200, "{linked} of 200");
    assert_eq!(one.seen().await?.len() + other.seen().await?.len(), 0, "nobody ended");
    a.stop().await;
    b.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_link_to_who_is_not_there_breaks_at_once() -> Res {
    let (a, b) = pair().await?;
    let (trapping, gone) = (member(&a, true).await?, member(&b, false).await?);
    gone.stop(ExitReason::Normal).await?;
    trapping.tie(gone.pid().clone()).await?;
    assert_eq!(seen(&trapping, 1).await, [format!("exit {}: noproc", gone.pid().number())]);
    let nowhere = Pid::new(noex_actors::NodeId::new("nobody", "127.0.0.1", 1)?, gone.pid().incarnation(), 5);
    trapping.tie(nowhere).await?;
    assert_eq!(seen(&trapping, 2).await[1], "exit 5: noconnection");
    // The one that is gone is of this node, and the other one is not.
    let there = member(&b, true).await?;
    let was = trapping.pid().clone();
    trapping.stop(ExitReason::Normal).await?;
    a.link(&was, &there);
    a.link(&there, &was);
    assert_eq!(seen(&there, 2).await, [0; 2].map(|_| format!("exit {}: noproc", was.number())));
    a.stop().await;
    b.stop().await;
    Ok(())
}

/// A way to a node that can be cut.
async fn proxy(to: u16) -> Res<(u16, JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let task = actix_rt::spawn(async move {
        let mut all = tokio::task::JoinSet::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            all.spawn(async move {
                if let Ok(mut far) = TcpStream::connect(("127.0.0.1", to)).await {
                    let _ = copy_bidirectional(&mut socket, &mut far).await;
                }
            });
        }
    });
    Ok((port, task))
}

/// Two nodes, and the way between them.
async fn severable() -> Res<(Cluster, Cluster, JoinHandle<()>)> {
    let a = start(config("a").build()?).await?;
    let (port, way) = proxy(a.local_node_id().port()).await?;
    let b = start(config("b").seed(format!("127.0.0.1:{port}")).build()?).await?;
    both_up(&a, &b).await;
    Ok((a, b, way))
}

#[actix_rt::test]
async fn the_loss_of_the_connection_breaks_every_link_at_both_ends_once() -> Res {
    let (a, b, way) = severable().await?;
    let mut pairs = Vec::new();
    for n in 0..50 {
        let (here, there) = (member(&a, true).await?, member(&b, true).await?);
        if n % 2 == 0 {
            here.tie(there.pid().clone()).await?;
        } else {
            there.tie(here.pid().clone()).await?;
        }
        pairs.push((here, there));
    }
    until(10, "all links are there", || {
        [&a, &b].iter().all(|node| node.remote_link_stats().active_link_count >= 50)
    })
    .await;
    way.abort();
    for (here, there) in &pairs {
        let lost = |pid: &Pid| [format!("exit {}: noconnection", pid.number())];
        assert_eq!(seen(here, 1).await, lost(there.pid()));
        assert_eq!(seen(there, 1).await, lost(here.pid()));
    }
    assert_eq!((a.remote_link_stats().active_link_count, b.remote_link_stats().active_link_count), (0, 0));
    for (here, there) in &pairs {
        assert_eq!(here.seen().await?.len() + there.seen().await?.len(), 2, "once");
    }
    assert_eq!(id(&a), *a.local_node_id());
    a.stop().await;
    b.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn the_loss_of_the_connection_ends_every_watch_of_both_ends_once() -> Res {
    let (a, b, way) = severable().await?;
    let mut pairs = Vec::new();
    for _ in 0..50 {
        let (here, there) = (member(&a, true).await?, member(&b, true).await?);
        here.watch(there.pid().clone()).await?;
        there.watch(here.pid().clone()).await?;
        pairs.push((here, there));
    }
    let watching = |node: &Cluster| {
        let stats = node.remote_monitor_stats();
        (stats.active_outgoing_count, stats.active_incoming_count)
    };
    until(10, "all watches are there", || [&a, &b].iter().all(|node| watching(node) == (50, 50))).await;
    way.abort();
    for (here, there) in &pairs {
        assert_eq!(seen(here, 1).await, [format!("lost {}", there.pid().number())]);
        assert_eq!(seen(there, 1).await, [format!("lost {}", here.pid().number())]);
    }
    assert_eq!([&a, &b].map(watching), [(0, 0); 2]);
    for (here, there) in &pairs {
        assert_eq!(here.seen().await?.len() + there.seen().await?.len(), 2, "once, and both live on");
    }
    a.stop().await;
    b.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn whoever_monitors_nodes_hears_of_each_after_the_ends_of_what_it_watches_there() -> Res {
    let (a, b) = pair().await?;
    let (listener, there) = (member(&a, false).await?, member(&b, false).await?);
    listener.listen(there.pid().clone()).await?;
    let c = start(config("c").seed(a.local_node_id().to_string()).build()?).await?;
    // That it is up was known before it was told: whoever began to listen in between may hear of that, too.
    let early = usize::from(seen(&listener, 1).await[0] == "up b");
    assert_eq!(seen(&listener, early + 1).await[early..], ["up c"]);
    b.stop().await;
    assert_eq!(seen(&listener, early + 3).await[early + 1..], ["down", "down b: graceful_shutdown"]);
    c.stop().await;
    assert_eq!(seen(&listener, early + 4).await[early + 3], "down c: graceful_shutdown");
    a.stop().await;
    Ok(())
}
