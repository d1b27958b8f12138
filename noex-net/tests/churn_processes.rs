//! Ten thousand processes and watches, again and again, between two processes of the operating system, in both directions:
//! exact figures at both ends after every round, and after the last one nothing more is held than after the first.
//!
//! The long form is a soak test (CONTRIBUTING.md has the table):
//! `cargo test -p noex-net --test churn_processes -- --ignored --nocapture`

#![allow(clippy::panic, clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod support;

use std::{
    fs,
    io::Read,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, TryStreamExt, future::join_all, stream};
use noex_actors::{Context, ExitReason, Info, NodeId, Ref, SpawnOptions, behavior};
use noex_net::{Cluster, ClusterConfigBuilder};
use peak_alloc::PeakAlloc;
use serde::{Deserialize, Serialize};
use support::{Res, builder, config, id, stop_all, until, within};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const MANY: usize = 10_000;
/// Spawns that are under way at a time.
const AT_ONCE: usize = 200;
/// Where the other process finds this one.
const SEED: &str = "NOEX_TEST_SEED";

/// What a node holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    /// Zeros where there is no `/proc`.
    descriptors: usize,
    threads: usize,
    processes: usize,
    /// Calls, spawns and watches that wait for something, and watches that stand, in both directions.
    open: [u64; 6],
}

/// What a node has done so far, for the other one and at its request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Done {
    spawns: u64,
    spawned: u64,
    spawns_failed: u64,
    watches: u64,
    given_up: u64,
    downs_heard: u64,
    downs_told: u64,
    watches_of_others: u64,
    given_up_by_others: u64,
    removed: u64,
}

impl Done {
    fn plus(self, more: Self) -> Self {
        Self {
            spawns: self.spawns + more.spawns,
            spawned: self.spawned + more.spawned,
            spawns_failed: self.spawns_failed + more.spawns_failed,
            watches: self.watches + more.watches,
            given_up: self.given_up + more.given_up,
            downs_heard: self.downs_heard + more.downs_heard,
            downs_told: self.downs_told + more.downs_told,
            watches_of_others: self.watches_of_others + more.watches_of_others,
            given_up_by_others: self.given_up_by_others + more.given_up_by_others,
            removed: self.removed + more.removed,
        }
    }
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Figures {
    held: Held,
    done: Done,
    bytes: usize,
}

fn figures(cluster: &Cluster) -> Figures {
    let count = |what| fs::read_dir(format!("/proc/self/{what}")).map_or(0, Iterator::count);
    let stats = cluster.stats();
    let (calls, spawns, watches) = (stats.calls, stats.spawns, stats.monitors);
    Figures {
        held: Held {
            descriptors: count("fd"),
            threads: count("task"),
            processes: cluster.process_count(),
            open: [
                calls.pending_calls,
                spawns.pending_count,
                watches.pending_count,
                watches.active_outgoing_count,
                watches.active_incoming_count,
                stats.links.active_link_count,
            ],
        },
        done: Done {
            spawns: spawns.total_initiated,
            spawned: spawns.total_resolved,
            spawns_failed: spawns.total_rejected + spawns.total_timed_out,
            watches: watches.total_established,
            given_up: watches.total_demonitored,
            downs_heard: watches.total_process_down_received,
            downs_told: watches.total_process_down_sent,
            watches_of_others: watches.successful_monitors,
            given_up_by_others: watches.total_demonitor_requests,
            removed: watches.total_removed,
        },
        bytes: ALLOCATOR.current_usage(),
    }
}

/// Lives until it is told to leave, or is killed.
struct Mayfly;

#[behavior(name = "mayfly")]
impl Mayfly {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Self)
    }
    #[cast]
    fn leave(&mut self, cx: &mut Context<Self>) {
        cx.stop(ExitReason::Normal);
    }
}

/// Starts so many processes there, watches each once, and every second one once more by a watch that is given up. Half of them
/// leave, half are killed, and each watch tells of it.
async fn round(from: &Cluster, there: &NodeId, many: usize) -> Res {
    let spawns = stream::iter(0..many).map(|_| async { from.spawn_on::<Mayfly>(there, ()).await });
    let processes: Vec<Ref<Mayfly>> =
        within(120, "all are started", spawns.buffered(AT_ONCE).try_collect()).await?;
    let watches: Vec<_> = processes.iter().map(Ref::monitor).collect();
    drop(processes.iter().step_by(2).map(Ref::monitor).collect::<Vec<_>>());
    for pair in processes.chunks(2) {
        pair[0].leave()?;
        pair[1].kill();
    }
    let downs = within(120, "every watch tells", join_all(watches)).await;
    for (n, (down, process)) in downs.iter().zip(&processes).enumerate() {
        let reason = if n % 2 == 0 { ExitReason::Normal } else { ExitReason::Killed };
        assert_eq!((&down.pid, &down.reason), (process.pid(), &reason));
    }
    Ok(())
}

/// The end of this test in the other process.
struct Desk;

#[behavior(name = "desk")]
impl Desk {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Self)
    }
    #[call]
    fn figures(&self, cx: &mut Context<Self>) -> Figures {
        figures(&Cluster::of(cx.node()).unwrap())
    }
    #[call]
    async fn round(&mut self, there: NodeId, many: usize, cx: &mut Context<Self>) -> Option<String> {
        let cluster = Cluster::of(cx.node()).unwrap();
        round(&cluster, &there, many).await.err().map(|error| error.to_string())
    }
}

/// Two that bear with each other for longer, on a busy machine.
fn patient(name: &str) -> ClusterConfigBuilder {
    config(name).heartbeat_miss_threshold(100)
}

struct Other(Child);

impl Other {
    fn start(seed: &Cluster) -> Res<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--exact", "the_other_node", "--ignored", "--nocapture"]);
        command.env(SEED, seed.local_node_id().as_str()).stdin(Stdio::piped());
        Ok(Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[actix_rt::test]
#[ignore = "not a test: the node in the other process"]
async fn the_other_node() {
    let Ok(seed) = std::env::var(SEED) else { return };
    let cluster = builder(patient("b").seed(seed))
        .unwrap()
        .behavior::<Mayfly>()
        .behavior::<Desk>()
        .start()
        .await
        .unwrap();
    // Not started from afar: that would be one of the processes that a peer may have.
    let desk = cluster.spawn::<Desk>(()).await.unwrap();
    cluster.global().register("desk", &desk).unwrap();
    // Whoever started it is gone.
    let _ = actix_rt::task::spawn_blocking(|| std::io::stdin().read(&mut [0])).await;
    cluster.stop().await;
}

async fn churn(many: usize, rounds: u32) -> Res {
    let a = builder(patient("a"))?.behavior::<Mayfly>().behavior::<Desk>().start().await?;
    let _other = Other::start(&a)?;
    within(20, "both are up", a.wait_for_nodes(2)).await?;
    let b = a.nodes()[0].id.clone();
    let mut holder = a.global().watch("desk");
    within(20, "the other one is ready", async { while holder.recv().await.flatten().is_none() {} }).await;
    drop(holder);
    let desk = a.global().lookup::<Desk>("desk")?;

    let (n, half) = (u64::try_from(many)?, u64::try_from(many / 2)?);
    let of_a_round = Done {
        spawns: n,
        spawned: n,
        spawns_failed: 0,
        watches: n + half,
        given_up: half,
        downs_heard: n,
        downs_told: n,
        watches_of_others: n + half,
        given_up_by_others: half,
        removed: 2 * (n + half),
    };
    let mut done = [figures(&a).done, desk.figures().await?.done];
    let mut first: Option<[Figures; 2]> = None;
    for number in 0..=rounds {
        let began = Instant::now();
        round(&a, &b, many).await?;
        let failed = desk.round(id(&a), many).timeout(Duration::from_secs(300)).await?;
        assert_eq!(failed, None);
        done = done.map(|done| done.plus(of_a_round));
        // What is given up and who has ended is known there a moment later.
        let deadline = Instant::now() + Duration::from_secs(20);
        let now = loop {
            let now = [figures(&a), desk.figures().await?];
            // A call is under way while it is asked.
            let open = [now[0].held.open, now[1].held.open];
            let quiet = open == [[0; 6]; 2] && [now[0].held.processes, now[1].held.processes] == [0, 1];
            let kept = first.is_none_or(|first| {
                now.iter().zip(first).all(|(now, first)| {
                    now.held.descriptors <= first.held.descriptors && now.held.threads <= first.held.threads
                })
            });
            if quiet && kept && now.map(|now| now.done) == done {
                break now;
            }
            assert!(
                Instant::now() < deadline,
                "{now:?}\ninstead of {done:?}, nothing open, and as {first:?}"
            );
            actix_rt::time::sleep(Duration::from_millis(10)).await;
        };
        println!("round {number}: {:?}, {} and {} bytes in use", began.elapsed(), now[0].bytes, now[1].bytes);
        let first = *first.get_or_insert(now);
        // Buffers keep some of their size: up to three quarters more were seen, and no growth in fifty rounds. A hundred bytes
        // lost of every process would be more than that after two.
        let grown = now.iter().zip(first).any(|(now, first)| now.bytes > first.bytes * 2);
        assert!(!grown, "after {number} rounds: {now:?} and not {first:?}");
    }
    desk.stop(ExitReason::Normal).await?;
    until(20, "the other node has no process", || a.nodes()[0].process_count == 0).await;
    stop_all(&[&a]).await;
    Ok(())
}

#[actix_rt::test]
async fn ten_thousand_spawns_and_watches_between_two_programs_leave_exact_figures_and_nothing_else() -> Res {
    churn(MANY, 2).await
}

/// Counts the links that broke.
struct Tied(Vec<ExitReason>);

#[behavior(name = "tied")]
impl Tied {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Self(Vec::new()))
    }
    #[call]
    fn broken(&self) -> Vec<ExitReason> {
        self.0.clone()
    }
    #[info]
    fn info(&mut self, info: Info) {
        if let Info::Exit(exit) = info {
            self.0.push(exit.reason);
        }
    }
}

#[actix_rt::test]
async fn ten_thousand_watches_and_links_each_tell_once_of_a_program_that_is_killed() -> Res {
    let a = builder(patient("a"))?.behavior::<Mayfly>().behavior::<Desk>().behavior::<Tied>().start().await?;
    let mut other = Other::start(&a)?;
    within(20, "both are up", a.wait_for_nodes(2)).await?;
    let b = a.nodes()[0].id.clone();
    let spawns = stream::iter(0..MANY).map(|_| async { a.spawn_on::<Mayfly>(&b, ()).await });
    let processes: Vec<Ref<Mayfly>> =
        within(120, "all are started", spawns.buffered(AT_ONCE).try_collect()).await?;
    let tied = a.spawn::<Tied>(()).options(SpawnOptions::new().trap_exit()).await?;
    let watches: Vec<_> = processes.iter().map(Ref::monitor).collect();
    processes.iter().for_each(|process| drop(tied.link(process)));
    // Behind them all, for whichever process it is.
    for process in &processes[MANY - 10..] {
        assert!(process.is_alive().await?);
    }
    let many = u64::try_from(MANY)?;
    let stats = a.stats();
    assert_eq!((stats.monitors.active_outgoing_count, stats.links.active_link_count), (many, many));
    other.0.kill()?;
    other.0.wait()?;
    let downs = within(60, "every watch tells", join_all(watches)).await;
    for (down, process) in downs.iter().zip(&processes) {
        assert_eq!((&down.pid, &down.reason), (process.pid(), &ExitReason::NoConnection));
    }
    until(60, "every link broke", || a.process(tied.pid()).is_some_and(|info| info.message_count >= many))
        .await;
    assert!(tied.broken().await? == vec![ExitReason::NoConnection; MANY], "once each, and as that");
    assert_eq!(figures(&a).held.open, [0; 6]);
    assert_eq!(a.process(tied.pid()).map(|info| info.links), Some(0));
    stop_all(&[&a]).await;
    Ok(())
}

#[actix_rt::test]
#[ignore = "soak: cargo test -p noex-net --test churn_processes -- --ignored --nocapture"]
async fn soak_of_a_million_spawns_and_watches_between_two_programs() -> Res {
    churn(MANY, 50).await
}
