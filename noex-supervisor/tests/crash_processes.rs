//! Children on several processes of the operating system that crash again and again, seen from outside: by a journal that all
//! of them write, by files that are locked while an instance lives, and by a node that only looks.
//!
//! ```text
//!   a   this program: looks, runs nothing        c   w2, w4
//!   b   the supervisor; w1                       d   w3
//! ```
//! The test program starts itself again as a node: `node_main` is that node's main function.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod os_node;

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use noex_actors::{Context, ExitReason, NodeId, behavior};
use noex_net::{Cluster, ClusterConfig};
use noex_supervisor::{
    ChildInfo, ChildState, DistributedChildSpec, DistributedChildTemplate, DistributedSupervisor,
    NodeSelector, Strategy, SupervisorExit,
};
use serde::{Deserialize, Serialize};

use self::os_node::{Node, answer_questions};

const TREE: &str = "tree";
/// How many restarts are allowed, in a time longer than the test.
const LIMIT: u32 = 4;
const WITHIN: Duration = Duration::from_secs(600);
const SOON: Duration = Duration::from_secs(20);

/// What a child is started with, every time.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Arg {
    dir: PathBuf,
    text: String,
    /// It crashes as soon as it runs.
    crashes: bool,
}

impl Arg {
    /// One line that all processes write in turn: the file is opened to append.
    fn tell(&self, line: &str) {
        let mut journal = File::options().append(true).create(true).open(self.dir.join("journal")).unwrap();
        journal.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

/// Tells of its starts and stops, and holds `<child>.<generation>.<pid>` locked while it lives.
struct Worker {
    name: String,
    arg: Arg,
    _locked: File,
}

#[behavior(name = "worker")]
impl Worker {
    #[init]
    fn new(arg: Arg, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        let token = cx.fencing_token().ok_or_else(|| ExitReason::error("not supervised"))?;
        let (child, pid) = (token.child.clone(), std::process::id());
        let locked = File::create(arg.dir.join(format!("{child}.{}.{pid}", token.generation.0)))?;
        locked.lock()?;
        let name = format!("{child}@{}", cx.node().id().name());
        arg.tell(&format!("+{name} {}", arg.text));
        if arg.crashes {
            cx.me().explode().map_err(|error| ExitReason::error(error.to_string()))?;
        }
        Ok(Self { name, arg, _locked: locked })
    }
    #[cast]
    fn explode(&mut self) {
        panic!("boom");
    }
    #[terminate]
    fn bye(&mut self, _reason: &ExitReason) {
        self.arg.tell(&format!("-{}", self.name));
    }
}

/// Starts the supervisor on its own node.
struct Starter;

#[behavior(name = "starter")]
impl Starter {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Self)
    }
    #[call]
    async fn supervise(&mut self, strategy: Strategy, children: Vec<(NodeId, Arg)>, cx: &mut Context<Self>) {
        let cluster = Cluster::of(cx.node()).unwrap();
        cluster.wait_for_nodes(4).await.unwrap();
        let children = children.into_iter().zip(1..);
        let spec =
            |((on, arg), n)| DistributedChildSpec::new::<Worker>(format!("w{n}"), arg).node_selector(on);
        let builder = DistributedSupervisor::builder().name(TREE).strategy(strategy);
        let builder = builder.restart_intensity(LIMIT, WITHIN).children(children.map(spec));
        builder.start(&cluster).await.unwrap();
    }
}

async fn start(name: &str, seed: Option<&str>) -> Cluster {
    let config = ClusterConfig::test(name).secret("a secret for the tests");
    let config = config.seeds(seed.map(str::to_owned)).build().unwrap();
    let cluster = Cluster::builder(config).behavior::<Worker>().behavior::<Starter>();
    cluster.arbiters(1).start().await.unwrap()
}

/// The main function of a node; nothing when the tests are run.
#[test]
fn node_main() {
    let Ok(name) = std::env::var("TEST_NODE") else { return };
    let seed = std::env::var("TEST_SEED").ok();
    actix_rt::System::new().block_on(async move {
        let cluster = start(&name, seed.as_deref()).await;
        answer_questions(&cluster);
        std::future::pending::<()>().await;
    });
}

/// Looks until there is something to see.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match look().await {
            Ok(seen) => return seen,
            Err(last) => assert!(began.elapsed() < SOON, "not in time: {what}; last seen: {last}"),
        }
        actix_rt::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Generation and process of what lives, by child.
type Alive = BTreeMap<String, Vec<(u64, u32)>>;

fn alive(dir: &Path) -> Alive {
    let mut alive = Alive::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let mut parts = path.file_name().unwrap().to_str().unwrap().rsplitn(3, '.');
        let (Some(pid), Some(generation), Some(child)) = (parts.next(), parts.next(), parts.next()) else {
            continue; // the journal
        };
        if let Err(TryLockError::WouldBlock) = File::open(&path).unwrap().try_lock_shared() {
            let instance = (generation.parse().unwrap(), pid.parse().unwrap());
            alive.entry(child.to_owned()).or_default().push(instance);
        }
    }
    alive
}

/// Four nodes, three of them in processes of their own.
struct Lab {
    a: Cluster,
    others: [Node; 3],
    dir: PathBuf,
}

impl Lab {
    async fn new(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let a = start("a", None).await;
        let others = ["b", "c", "d"].map(|name| Node::start(name, a.local_node_id().as_str(), None));
        a.wait_for_nodes(4).await.unwrap();
        Self { a, others, dir }
    }

    /// The lines of the journal, with the nodes left out if they are those that were asked for.
    fn journal(&self) -> String {
        let text = fs::read_to_string(self.dir.join("journal")).unwrap_or_default();
        let mut short = Vec::new();
        for line in text.lines() {
            let (id, rest) = line.split_at(3);
            let home = match &id[1..] {
                "w1" => "@b",
                "w3" => "@d",
                _ => "@c",
            };
            let start = format!("{home} for {}", &id[1..]);
            let expected = if id.starts_with('+') { start.as_str() } else { home };
            short.push(if rest == expected { id } else { line });
        }
        short.join(" ")
    }

    async fn tells(&self, what: &str, lines: &str) {
        until(what, async || {
            let journal = self.journal();
            if journal == *lines { Ok(()) } else { Err(format!("{journal}\ninstead of {lines}")) }
        })
        .await;
    }

    /// The supervisor on `b` over all four, of which this one crashes by itself.
    async fn supervise(&self, strategy: Strategy, crashes: Option<usize>) {
        let _ = fs::remove_file(self.dir.join("journal"));
        let [b, c, d] = self.others.each_ref().map(|node| node.id.parse::<NodeId>().unwrap());
        let on = [b.clone(), c.clone(), d, c];
        let arg = |n| Arg { dir: self.dir.clone(), text: format!("for w{n}"), crashes: crashes == Some(n) };
        let children = on.into_iter().zip(1..).map(|(on, n)| (on, arg(n))).collect();
        let starter = self.a.spawn_on::<Starter>(&b, ()).await.unwrap();
        starter.supervise(strategy, children).timeout(SOON).await.unwrap();
        starter.stop(ExitReason::Normal).await.unwrap();
    }

    async fn supervisor(&self) -> DistributedSupervisor {
        until("the supervisor is seen", async || {
            DistributedSupervisor::lookup(&self.a, TREE).map_err(|error| error.to_string())
        })
        .await
    }

    /// Waits until the supervisor says that all run, so many restarts were counted, and each lives once: the one it says.
    async fn runs(&self, sup: &DistributedSupervisor, restarts: u32) -> Alive {
        until("each runs, and once", async || {
            let children = sup.children().await.map_err(|error| error.to_string())?;
            let alive = alive(&self.dir);
            let runs = |child: &ChildInfo| {
                let instances = alive.get(&child.id).map(Vec::as_slice).unwrap_or_default();
                child.state == ChildState::Running
                    && matches!(instances, [(generation, _)] if *generation == child.generation.0)
            };
            let stats = sup.stats().await.map_err(|error| error.to_string())?;
            let counted = stats.total_restarts == u64::from(restarts);
            if children.len() == 4 && alive.len() == 4 && children.iter().all(runs) && counted {
                Ok(alive)
            } else {
                Err(format!("{children:?} {alive:?} {stats:?}"))
            }
        })
        .await
    }

    /// Nothing lives, no node has a process, and nobody has a name, as the looking node sees it too.
    async fn nothing_is_left(&mut self) {
        until("nothing lives", async || {
            let (here, there) = (alive(&self.dir), self.others.each_mut().map(Node::alive));
            let nothing = here.is_empty() && there.iter().all(Vec::is_empty);
            if nothing { Ok(()) } else { Err(format!("{here:?} {there:?}")) }
        })
        .await;
        until("nobody sees anything", async || {
            let processes: Vec<usize> = self.a.nodes().iter().map(|node| node.process_count).collect();
            let names = self.a.global().names();
            let views = DistributedSupervisor::views(&self.a, Duration::from_secs(1)).await;
            let nothing = processes.iter().all(|count| *count == 0) && names.is_empty() && views.is_empty();
            if nothing { Ok(()) } else { Err(format!("{processes:?} {names:?} {views:?}")) }
        })
        .await;
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Who crashes, and what the strategy makes of it: on the node of the supervisor and on another one.
const CASES: [(Strategy, &str, &str); 6] = [
    (Strategy::OneForOne, "w1", "+w1"),
    (Strategy::OneForOne, "w2", "+w2"),
    (Strategy::OneForAll, "w1", "-w4 -w3 -w2 +w1 +w2 +w3 +w4"),
    (Strategy::OneForAll, "w2", "-w4 -w3 -w1 +w1 +w2 +w3 +w4"),
    (Strategy::RestForOne, "w1", "-w4 -w3 -w2 +w1 +w2 +w3 +w4"),
    (Strategy::RestForOne, "w2", "-w4 -w3 +w2 +w3 +w4"),
];

#[actix_rt::test]
async fn crash_loops_over_processes_stop_and_start_whom_they_should_in_order_and_end_with_nothing_left() {
    let mut lab = Lab::new("crash-loops").await;
    for (strategy, victim, round) in CASES {
        for over_the_limit in [true, false] {
            let what = format!("{strategy}: {victim}");
            lab.supervise(strategy, None).await;
            let sup = lab.supervisor().await;
            let mut lines = "+w1 +w2 +w3 +w4".to_owned();
            lab.tells(&what, &lines).await;
            let mut before = lab.runs(&sup, 0).await;
            for n in 1..=LIMIT {
                sup.child::<Worker>(victim).await.unwrap().explode().unwrap();
                lines = format!("{lines} {round}");
                lab.tells(&what, &lines).await;
                let now = lab.runs(&sup, n).await;
                for (child, was) in &before {
                    let (is, was) = (now[child][0], was[0]);
                    assert_eq!(is.1, was.1, "{what}: {child} stays on its node");
                    if round.contains(&format!("+{child}")) {
                        assert!(is.0 > was.0, "{what}: {child} is another instance");
                    } else {
                        assert_eq!(is.0, was.0, "{what}: {child} is not concerned");
                    }
                }
                before = now;
            }
            if over_the_limit {
                sup.child::<Worker>(victim).await.unwrap().explode().unwrap();
                let over = SupervisorExit::MaxRestartsExceeded { max_restarts: LIMIT, within: WITHIN };
                let end = actix_rt::time::timeout(SOON, sup.wait()).await;
                assert_eq!(end.expect("it ends"), over, "{what}");
            } else {
                sup.stop().await.unwrap();
            }
            let others = ["w4", "w3", "w2", "w1"].iter().filter(|id| !over_the_limit || **id != victim);
            let ends = others.fold(lines, |lines, id| format!("{lines} -{id}"));
            lab.tells(&what, &ends).await;
            lab.nothing_is_left().await;
        }
    }
    lab.a.stop().await;
}

#[actix_rt::test]
async fn a_child_on_another_process_that_crashes_by_itself_is_started_as_often_as_allowed() {
    let mut lab = Lab::new("crash-by-itself").await;
    for (strategy, round) in [
        (Strategy::OneForOne, " +w4"),
        (Strategy::OneForAll, " -w3 -w2 -w1 +w1 +w2 +w3 +w4"),
        (Strategy::RestForOne, " +w4"),
    ] {
        lab.supervise(strategy, Some(4)).await;
        let rounds = round.repeat(usize::try_from(LIMIT).unwrap());
        lab.tells(strategy.as_str(), &format!("+w1 +w2 +w3 +w4{rounds} -w3 -w2 -w1")).await;
        lab.nothing_is_left().await;
    }
    lab.a.stop().await;
}

/// Children of a template: each is on its own, with its own argument, whichever way it ends.
#[actix_rt::test]
async fn a_pool_over_processes_starts_each_again_as_often_as_allowed_and_ends_with_nothing_left() {
    let mut lab = Lab::new("crash-pool").await;
    for over_the_limit in [true, false] {
        let pool = DistributedSupervisor::builder().name(TREE).strategy(Strategy::SimpleOneForOne);
        let template = DistributedChildTemplate::new::<Worker>().node_selector(NodeSelector::RoundRobin);
        let sup = pool.child_template(template).restart_intensity(LIMIT, WITHIN).start(&lab.a).await.unwrap();
        let mut texts = BTreeMap::new();
        for n in 1..=4 {
            let arg = Arg { dir: lab.dir.clone(), text: format!("for job {n}"), crashes: false };
            let worker = sup.start_instance::<Worker>(arg).await.unwrap();
            texts.insert(worker.pid().node_id().clone(), n);
        }
        assert_eq!(texts.len(), 4, "one on each node");
        let mut before = lab.runs(&sup, 0).await;
        let crash = async |n: u32| {
            let child = sup.child::<Worker>("child_2").await.unwrap();
            match n % 3 {
                0 => child.explode().unwrap(),
                1 => child.kill(),
                _ => drop(child.stop(ExitReason::error("by hand")).await),
            }
        };
        for n in 1..=LIMIT {
            let _ = fs::remove_file(lab.dir.join("journal"));
            crash(n).await;
            let now = lab.runs(&sup, n).await;
            let changed: Vec<_> = before.keys().filter(|child| before[*child] != now[*child]).collect();
            assert_eq!(changed, ["child_2"], "{before:?} {now:?}");
            assert!(now["child_2"][0].0 > before["child_2"][0].0);
            let journal = fs::read_to_string(lab.dir.join("journal")).unwrap();
            let starts: Vec<_> = journal.lines().filter(|line| line.starts_with('+')).collect();
            assert!(
                matches!(starts[..], [one] if one.ends_with(" for job 2")),
                "with its argument: {journal}"
            );
            before = now;
        }
        if over_the_limit {
            crash(0).await;
            let over = SupervisorExit::MaxRestartsExceeded { max_restarts: LIMIT, within: WITHIN };
            assert_eq!(actix_rt::time::timeout(SOON, sup.wait()).await.expect("it ends"), over);
        } else {
            sup.stop().await.unwrap();
        }
        lab.nothing_is_left().await;
    }
    lab.a.stop().await;
}
