//! Nodes as processes. A lab has a directory, a secret, and the machine for itself; its nodes end with it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    http::{self, Answer},
    place::place,
    ports::free_port,
    wait,
    witness::{self, Alive},
};

pub(crate) const SECRET: &str = "a secret of the black box tests";
/// Time between heartbeats of lab nodes.
pub(crate) const INTERVAL: Duration = Duration::from_millis(200);
/// After that much silence a node is lost: three intervals.
pub(crate) const DETECTION: Duration = Duration::from_millis(600);
/// For whatever has no limit of its own. Generous: the machine may be busy.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A place for one test. Tests with a lab run one after the other: they measure time.
pub(crate) struct Lab {
    pub(crate) dir: PathBuf,
    _machine: File,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let (dir, machine) = place("blackbox");
        Self { dir, _machine: machine }
    }

    /// A node that is not started yet, on free ports.
    pub(crate) fn node(&self, name: &str) -> Setup {
        let (cluster, health) = (free_port(), free_port());
        let mut vars = BTreeMap::new();
        for (var, value) in [
            ("NODE_NAME", name),
            ("HOST", "127.0.0.1"),
            ("CLUSTER_PORT", &cluster.to_string()),
            ("HEALTH_PORT", &health.to_string()),
            ("CLUSTER_SECRET", SECRET),
            ("HEARTBEAT_INTERVAL_MS", &INTERVAL.as_millis().to_string()),
            ("HEARTBEAT_MISS_THRESHOLD", "3"),
            ("RECONNECT_BASE_DELAY_MS", "100"),
            ("RECONNECT_MAX_DELAY_MS", "1000"),
            ("WITNESS_DIR", self.dir.to_str().unwrap()),
            ("RUST_LOG", "info,noex_net=debug,noex_supervisor=debug"),
        ] {
            vars.insert(var.to_owned(), value.to_owned());
        }
        Setup { name: name.to_owned(), cluster, health, vars }
    }

    pub(crate) fn alive(&self) -> Alive {
        witness::alive(&self.dir)
    }

    /// Waits until each of n children lives exactly once, on one of these nodes.
    #[track_caller]
    pub(crate) fn each_once(&self, within: Duration, n: usize, on: &[&Node]) -> Alive {
        let pids: Vec<u32> = on.iter().map(|node| node.pid()).collect();
        wait::until(within, "each child lives exactly once", || {
            let alive = self.alive();
            witness::exactly_once(&alive, n, &pids).map(|()| alive)
        })
    }

    /// The node whose supervisor has the name, as another node hears from it.
    #[track_caller]
    pub(crate) fn owner(&self, asked: &Node) -> String {
        wait::until(SOON, "there is a supervisor that answers", || {
            let view = asked.view();
            let supervisor = &view["supervisors"][0];
            let owner = supervisor["owner"].as_str().filter(|_| supervisor["stale"].is_null());
            owner.map(str::to_owned).ok_or_else(|| view.to_string())
        })
    }

    /// Waits until each of n children lives exactly once on these nodes, and its supervisor knows it.
    #[track_caller]
    pub(crate) fn placed(&self, n: usize, on: &[&Node]) -> Alive {
        wait::until(SOON, "every child runs", || {
            let view = on[0].view();
            let supervisor = &view["supervisors"][0];
            let children = supervisor["children"].as_array().filter(|_| supervisor["stale"].is_null());
            let running = children.into_iter().flatten().filter(|child| child["state"] == "running");
            if running.count() == n { Ok(()) } else { Err(view.to_string()) }
        });
        self.each_once(SOON, n, on)
    }

    /// Three nodes in one cluster; the first supervises n children, placed over all of them in turn.
    #[track_caller]
    pub(crate) fn three(&self, n: usize) -> [Node; 3] {
        self.three_of(self.node("a"), n)
    }

    /// The same, with this one as the first.
    #[track_caller]
    pub(crate) fn three_of(&self, a: Setup, n: usize) -> [Node; 3] {
        let a = a.var("WORKERS", n).var("MIN_NODES", 3).start();
        let b = self.node("b").seed(&a.id).start();
        let c = self.node("c").seed(&a.id).start();
        for node in [&a, &b, &c] {
            node.sees(2);
        }
        self.placed(n, &[&a, &b, &c]);
        [a, b, c]
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// How a node is started. The same setup can be started again: the same id, another life.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) name: String,
    pub(crate) cluster: u16,
    pub(crate) health: u16,
    vars: BTreeMap<String, String>,
}

impl Setup {
    pub(crate) fn var(mut self, var: &str, value: impl ToString) -> Self {
        self.vars.insert(var.to_owned(), value.to_string());
        self
    }

    pub(crate) fn without(mut self, var: &str) -> Self {
        self.vars.remove(var);
        self
    }

    pub(crate) fn seed(self, seed: &str) -> Self {
        self.var("CLUSTER_SEEDS", seed)
    }

    pub(crate) fn id(&self) -> String {
        format!("{}@127.0.0.1:{}", self.name, self.cluster)
    }

    /// Starts it, without waiting for anything.
    pub(crate) fn spawn(&self) -> Node {
        let mut node = self.spawn_unread();
        node.out = node.child.stdout.take().map(Lines::of).unwrap();
        node
    }

    /// The same, with a standard output that nobody reads.
    pub(crate) fn spawn_unread(&self) -> Node {
        let mut command = Command::new(binary());
        command
            .env_clear()
            .envs(&self.vars)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let err = child.stderr.take().map(Lines::of).unwrap();
        let out = Lines::default();
        Node { id: self.id(), health: self.health, cluster: self.cluster, child, exit: None, out, err }
    }

    /// Starts it and waits until it runs.
    #[track_caller]
    pub(crate) fn start(&self) -> Node {
        let mut node = self.spawn();
        wait::until(SOON, "the node runs", || {
            if let Some(exit) = node.exited() {
                panic!("{} ended with {exit}: {}", node.id, node.err.text());
            }
            match node.get("/health") {
                Ok(answer) if answer.status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        node
    }
}

/// The program: beside this test's own.
fn binary() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let profile = tests.parent().and_then(Path::parent).unwrap();
    let binary = profile.join("examples").join("node");
    let profile = if profile.ends_with("release") { " --release" } else { "" };
    assert!(
        binary.exists(),
        "{} is missing: build it with `cargo build{profile} --example node --features web`",
        binary.display()
    );
    binary
}

/// A running node. Dropped, it is killed.
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) health: u16,
    pub(crate) cluster: u16,
    child: Child,
    exit: Option<ExitStatus>,
    pub(crate) out: Lines,
    pub(crate) err: Lines,
}

impl Node {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// SIGSTOP, until every thread of it stands still.
    #[track_caller]
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
        let state = |task: PathBuf| {
            let stat = fs::read_to_string(task.join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").map_or(' ', |(_, rest)| rest.chars().next().unwrap_or(' '))
        };
        wait::until(SOON, "it stands still", || {
            let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
            let states: String = tasks.map(|task| state(task.unwrap().path())).collect();
            if states.chars().all(|state| state == 'T') { Ok(()) } else { Err(states) }
        });
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGKILL, and its end.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        let exit = self.child.wait().unwrap();
        self.ended(exit);
    }

    fn ended(&mut self, exit: ExitStatus) {
        self.exit = Some(exit);
        self.out.finish();
        self.err.finish();
    }

    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        if self.exit.is_none()
            && let Some(exit) = self.child.try_wait().unwrap()
        {
            self.ended(exit);
        }
        self.exit
    }

    /// Its exit code; none after a signal.
    #[track_caller]
    pub(crate) fn exit_code(&mut self, within: Duration) -> Option<i32> {
        let what = format!("{} ends", self.id);
        wait::until(within, &what, || self.exited().ok_or_else(|| "it runs".to_owned())).code()
    }

    pub(crate) fn get(&self, path: &str) -> std::io::Result<Answer> {
        http::ask(self.health, "GET", path)
    }

    #[track_caller]
    pub(crate) fn view(&self) -> Value {
        self.get("/noex/api/cluster").unwrap().json()
    }

    /// What its supervisor told of so far, of this kind.
    pub(crate) fn events(&self, kind: &str) -> Vec<Value> {
        let text = self.out.text();
        let told = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let of_kind = told.filter(|line| line["message"] == kind);
        of_kind.filter_map(|line| serde_json::from_str(line["event"].as_str()?).ok()).collect()
    }

    /// One sample of `/metrics`: its name, with labels if it has any.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let page = self.get("/metrics").unwrap().body;
        let sample = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        sample.unwrap_or_else(|| panic!("no {name} in {page}")).parse().unwrap()
    }

    /// The sum over all labels.
    #[track_caller]
    pub(crate) fn metric_sum(&self, name: &str) -> u64 {
        let page = self.get("/metrics").unwrap().body;
        let samples = page.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
        samples.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
    }

    /// Waits until it is connected to that many others.
    #[track_caller]
    pub(crate) fn sees(&self, others: u64) {
        let what = format!("{} is connected to {others}", self.id);
        wait::until(SOON, &what, || match self.metric("noex_connected_nodes") {
            n if n == others => Ok(()),
            n => Err(format!("{n}")),
        });
    }

    /// Calls every counter once through this node; all must answer.
    #[track_caller]
    pub(crate) fn calls_all(&self, n: usize) {
        for i in 1..=n {
            let what = format!("counter-{i} answers");
            wait::until(SOON, &what, || {
                let path = format!("/noex/api/call/counter-{i}/add?n=1");
                match http::ask(self.health, "POST", &path) {
                    Ok(answer) if answer.status == 200 => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            });
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.exited().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if thread::panicking() {
            let text = self.out.text();
            let lines: Vec<&str> = text.lines().collect();
            let last = lines[lines.len().saturating_sub(150)..].join("\n");
            println!("--- {} (pid {}), last lines:\n{last}\n{}", self.id, self.pid(), self.err.text());
        }
    }
}

/// What a process wrote so far.
#[derive(Default)]
pub(crate) struct Lines {
    text: Arc<Mutex<String>>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Lines {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::<Mutex<String>>::default();
        let written = Arc::clone(&text);
        let reader = thread::spawn(move || {
            for line in BufReader::new(pipe).lines() {
                let Ok(line) = line else { return };
                let mut text = written.lock().unwrap();
                text.push_str(&line);
                text.push('\n');
            }
        });
        Self { text, reader: Some(reader) }
    }

    pub(crate) fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    /// Waits for the last of it, which comes when the process has ended.
    fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }
}
