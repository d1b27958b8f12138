//! A node in a process of its own: the test program, started again as `node_main`.

#![allow(dead_code, reason = "shared by several test programs")]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    process::{Child as OsProcess, ChildStdin, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use noex_actors::{Context, ExitReason, Info, SupervisedProcess, behavior};
use noex_net::{Cluster, ClusterConfig};
use parking_lot::Mutex;

/// One node in a process of its own. Killed when dropped.
pub(crate) struct Node {
    process: OsProcess,
    input: ChildStdin,
    output: mpsc::Receiver<String>,
    beats: Arc<Mutex<Vec<String>>>,
    pub(crate) id: String,
    questions: u32,
}

impl Node {
    /// With `standby`, it starts the supervisor when so many nodes are connected and nobody else has.
    pub(crate) fn start(name: &str, seed: &str, standby: Option<usize>) -> Self {
        Self::start_at(name, 0, seed, standby)
    }

    /// The same on that port: a node that was there before is back under its id.
    pub(crate) fn start_at(name: &str, port: u16, seed: &str, standby: Option<usize>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "node_main", "--nocapture"]).env("TEST_NODE", name).env("TEST_SEED", seed);
        command.env("TEST_PORT", port.to_string());
        if let Some(nodes) = standby {
            command.env("TEST_STANDBY", nodes.to_string());
        }
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (input, stdout) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let (lines, output) = mpsc::channel();
        let beats = Arc::<Mutex<Vec<String>>>::default();
        let heard = Arc::clone(&beats);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(beat) = line.strip_prefix("beat ") {
                    heard.lock().push(beat.to_owned());
                } else if lines.send(line).is_err() {
                    break;
                }
            }
        });
        let mut node = Self { process, input, output, beats, id: String::new(), questions: 0 };
        node.id = node.line("id ", Duration::from_secs(20)).expect("the node starts");
        node
    }

    fn line(&self, prefix: &str, timeout: Duration) -> Option<String> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.output.recv_timeout(left).ok()?;
            if let Some(rest) = line.strip_prefix(prefix) {
                return Some(rest.to_owned());
            }
        }
    }

    /// Instances alive on it, child by child with the generation.
    pub(crate) fn alive(&mut self) -> Vec<(String, u64)> {
        self.questions += 1;
        let number = self.questions;
        writeln!(self.input, "{number}").unwrap();
        let answer = self.line(&format!("alive {number} "), Duration::from_secs(10)).expect("an answer");
        let pairs = answer.split(',').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(id, g)| (id.into(), g.parse().unwrap()))
            .collect()
    }

    /// The instances that wrote a beat since this was last asked, one entry a beat.
    pub(crate) fn beats(&self) -> Vec<String> {
        std::mem::take(&mut *self.beats.lock())
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Stops it where it is, and waits until it stands still, where the system tells.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
        let began = Instant::now();
        let stat = format!("/proc/{}/stat", self.process.id());
        while let Ok(stat) = std::fs::read_to_string(&stat)
            && !stat.contains(") T ")
        {
            assert!(began.elapsed() < Duration::from_secs(5), "it runs on: {stat}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether the instances of this node write that they work, and how often.
pub(crate) static BEATING: AtomicBool = AtomicBool::new(false);
const BEAT: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Beat;

pub(crate) struct Counter(i64);

#[behavior(name = "counter")]
impl Counter {
    #[init]
    fn new(start: i64, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        if BEATING.load(Ordering::Relaxed) {
            cx.send_interval(BEAT, || Beat);
        }
        Ok(Counter(start))
    }
    #[info]
    fn info(&mut self, info: Info<Beat>, cx: &mut Context<Self>) {
        if let (Info::User(Beat), Some(token)) = (info, cx.fencing_token()) {
            println!("\nbeat {}={}", token.child, token.generation);
        }
    }
    #[call]
    pub(crate) fn add(&mut self, n: i64) -> i64 {
        self.0 += n;
        self.0
    }
}

/// With `TEST_LOGS=<directory>` each node writes there what it logs; `RUST_LOG` says what that is.
fn log_to_file(name: &str) {
    let Some(dir) = std::env::var_os("TEST_LOGS") else { return };
    let file = std::fs::File::create(std::path::Path::new(&dir).join(format!("{name}.log"))).unwrap();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| "noex_net=debug,noex_supervisor=debug".into());
    let log = tracing_subscriber::fmt().with_ansi(false).with_env_filter(filter);
    // In one process with several tests, the first one has it.
    let _ = log.with_writer(std::sync::Mutex::new(file)).try_init();
}

/// A node in this process.
pub(crate) async fn start(name: &str, seed: Option<&str>) -> Cluster {
    log_to_file(name);
    let mut config = ClusterConfig::test(name).secret("a secret for the tests");
    if let Some(seed) = seed {
        config = config.seed(seed);
    }
    if let Ok(port) = std::env::var("TEST_PORT") {
        config = config.port(port.parse().unwrap());
    }
    Cluster::builder(config.build().unwrap()).behavior::<Counter>().arbiters(1).start().await.unwrap()
}

/// Says its id, and then, line by line, which instances live on it: the other end of [`Node`].
pub(crate) fn answer_questions(cluster: &Cluster) {
    println!("\nid {}", cluster.local_node_id());
    let asked = cluster.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            let Ok(line) = line else { break };
            let of = |p: &SupervisedProcess| format!("{}={}", p.token.child, p.token.generation);
            let alive: Vec<_> = asked.supervised().iter().map(of).collect();
            println!("\nalive {line} {}", alive.join(","));
        }
        std::process::exit(0);
    });
}

/// Generations of what lives, by child.
pub(crate) type Instances = BTreeMap<String, Vec<u64>>;

/// What lives on this node and those.
pub(crate) fn alive(cluster: &Cluster, nodes: &mut [&mut Node]) -> Instances {
    let mut all = Instances::new();
    for process in cluster.supervised() {
        all.entry(process.token.child).or_default().push(process.token.generation.0);
    }
    for (child, generation) in nodes.iter_mut().flat_map(|node| node.alive()) {
        all.entry(child).or_default().push(generation);
    }
    all
}

/// Waits until each of so many children runs once, as the nodes themselves say.
pub(crate) async fn settle(
    what: &str,
    cluster: &Cluster,
    nodes: &mut [&mut Node],
    children: usize,
) -> Instances {
    let began = Instant::now();
    loop {
        let all = alive(cluster, nodes);
        if all.len() == children && all.values().all(|alive| alive.len() == 1) {
            return all;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{what}: {all:?}");
        actix_rt::time::sleep(Duration::from_millis(20)).await;
    }
}
