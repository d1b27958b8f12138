//! A node as a process on a host.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    http::{self, Answer},
    lab::{Host, Lab},
    wait,
};

pub(crate) const SECRET: &str = "a secret of the network tests";
pub(crate) const PORT: u16 = 4369;
const HEALTH: u16 = 8080;
/// Time between heartbeats, and how many may be missed, unless a test says otherwise.
pub(crate) const INTERVAL: Duration = Duration::from_millis(300);
pub(crate) const THRESHOLD: u32 = 3;
/// By when a silent peer is lost: the threshold and one interval are promised; the rest is for a busy machine, whose
/// stalls grant every peer an interval, and for asking over HTTP.
pub(crate) const DETECTION: Duration = Duration::from_millis(300 * 4 + 1500);
/// For whatever has no limit of its own.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// How a node is started on a host.
#[derive(Clone)]
pub(crate) struct Setup {
    name: String,
    advertised: String,
    vars: BTreeMap<String, String>,
    log: PathBuf,
}

impl Setup {
    pub(crate) fn new(lab: &Lab, host: &Host) -> Self {
        let ip = host.ip.to_string();
        let vars = [
            ("NODE_NAME", host.name.as_str()),
            ("HOST", "0.0.0.0"),
            ("ADVERTISE_HOST", &ip),
            ("CLUSTER_PORT", &PORT.to_string()),
            ("HEALTH_PORT", &HEALTH.to_string()),
            ("CLUSTER_SECRET", SECRET),
            ("HEARTBEAT_INTERVAL_MS", &INTERVAL.as_millis().to_string()),
            ("HEARTBEAT_MISS_THRESHOLD", &THRESHOLD.to_string()),
            ("RECONNECT_BASE_DELAY_MS", "100"),
            ("RECONNECT_MAX_DELAY_MS", "1000"),
            ("RUST_LOG", "info,noex_net=debug"),
        ];
        let vars = vars.map(|(var, value)| (var.to_owned(), value.to_owned())).into();
        Self {
            name: host.name.clone(),
            advertised: ip,
            vars,
            log: lab.dir.join(format!("{}.log", host.name)),
        }
    }

    pub(crate) fn var(mut self, var: &str, value: impl ToString) -> Self {
        self.vars.insert(var.to_owned(), value.to_string());
        self
    }

    /// The name under which others dial it.
    pub(crate) fn advertise(mut self, host: &str) -> Self {
        host.clone_into(&mut self.advertised);
        self.var("ADVERTISE_HOST", host)
    }

    pub(crate) fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self.var("NODE_NAME", name)
    }

    pub(crate) fn seed(self, seed: &str) -> Self {
        self.var("CLUSTER_SEEDS", seed)
    }

    pub(crate) fn id(&self) -> String {
        format!("{}@{}:{PORT}", self.name, self.advertised)
    }

    /// Starts it and waits until it runs.
    #[track_caller]
    pub(crate) fn start<'a>(&self, host: &'a Host) -> Node<'a> {
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = host.command(&binary());
        // `ip` itself is found by the path; it becomes the node.
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path).envs(&self.vars).stdin(Stdio::null());
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let node = Node { id: self.id(), host, child, log: self.log.clone(), ended: false };
        wait::until(SOON, "the node runs", || match node.get("/health") {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        });
        node
    }
}

/// The program: beside this test's own.
fn binary() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let binary = tests.parent().and_then(Path::parent).unwrap().join("examples").join("node");
    assert!(
        binary.exists(),
        "{} is missing: build it with `cargo build --example node --features web`",
        binary.display()
    );
    binary
}

/// A running node. Dropped, it is killed.
pub(crate) struct Node<'a> {
    pub(crate) id: String,
    host: &'a Host,
    child: Child,
    log: PathBuf,
    ended: bool,
}

impl Node<'_> {
    pub(crate) fn get(&self, path: &str) -> std::io::Result<Answer> {
        self.host.within(|| http::ask(HEALTH, "GET", path))
    }

    #[track_caller]
    pub(crate) fn view(&self) -> Value {
        self.get("/noex/api/cluster").unwrap().json()
    }

    /// What its supervisor told of so far, of this kind.
    pub(crate) fn events(&self, kind: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let told = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let of_kind = told.filter(|line| line["message"] == kind);
        of_kind.filter_map(|line| serde_json::from_str(line["event"].as_str()?).ok()).collect()
    }

    /// On which node a counter lives, as this node sees it.
    pub(crate) fn finds(&self, counter: &str) -> Result<String, String> {
        let path = format!("/noex/api/call/{counter}/get");
        let answer = self.get(&path).map_err(|error| error.to_string())?;
        if answer.status == 200 {
            Ok(answer.json()["node"].as_str().unwrap().to_owned())
        } else {
            Err(format!("{}: {}", answer.status, answer.body))
        }
    }

    /// Every global name and which process has it, as this node sees it.
    pub(crate) fn names(&self) -> Result<BTreeMap<String, String>, String> {
        let answer = self.get("/noex/api/names").map_err(|error| error.to_string())?;
        if answer.status != 200 {
            return Err(format!("{}: {}", answer.status, answer.body));
        }
        serde_json::from_str(&answer.body).map_err(|error| error.to_string())
    }

    /// Of the operating system.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ids of the others that it is connected to, in order.
    #[track_caller]
    pub(crate) fn connected(&self) -> Vec<String> {
        let view = self.view();
        let nodes = view["nodes"].as_array().unwrap().iter().filter(|node| node["status"] == "connected");
        let mut ids: Vec<String> = nodes.map(|node| node["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    }

    fn samples(&self, name: &str) -> Vec<(String, u64)> {
        let page = self.get("/metrics").unwrap().body;
        let samples = page.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once(' '));
        samples.map(|(labels, value)| (labels.to_owned(), value.parse().unwrap())).collect()
    }

    pub(crate) fn ups(&self) -> u64 {
        self.samples("noex_node_up_total").iter().map(|(_, n)| n).sum()
    }

    pub(crate) fn downs(&self) -> u64 {
        self.samples("noex_node_down_total").iter().map(|(_, n)| n).sum()
    }

    pub(crate) fn downs_by(&self, reason: &str) -> u64 {
        let label = format!("{{reason=\"{reason}\"}}");
        let samples = self.samples("noex_node_down_total");
        samples.iter().filter(|(labels, _)| *labels == label).map(|(_, n)| n).sum()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id().try_into().unwrap()).unwrap(), signal).unwrap();
    }

    /// SIGKILL, and its end.
    pub(crate) fn kill(mut self) {
        self.end(Signal::KILL);
    }

    /// SIGTERM, and its end.
    pub(crate) fn stop(mut self) {
        self.end(Signal::TERM);
    }

    fn end(&mut self, signal: Signal) {
        self.signal(signal);
        let _ = self.child.wait();
        self.ended = true;
    }
}

impl Drop for Node<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if thread::panicking() {
            let text = fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            println!("--- {}, last lines:\n{}", self.id, lines[lines.len().saturating_sub(60)..].join("\n"));
        }
    }
}

/// Waits until each is connected to exactly the others.
#[track_caller]
pub(crate) fn all_agree(nodes: &[&Node<'_>]) {
    for node in nodes {
        let mut others: Vec<String> =
            nodes.iter().map(|other| other.id.clone()).filter(|id| *id != node.id).collect();
        others.sort();
        wait::until(SOON, &format!("{} is connected to all others", node.id), || match node.connected() {
            seen if seen == others => Ok(()),
            seen => Err(format!("{seen:?}, not {others:?}")),
        });
    }
}

/// Waits until each of these has told so many ups and downs, and no more. What is told too much fails at once.
#[track_caller]
pub(crate) fn told(within: Duration, what: &str, nodes: &[(&Node<'_>, u64, u64)]) {
    wait::until(within, what, || {
        let seen: Vec<_> = nodes.iter().map(|(node, ..)| (node.ups(), node.downs())).collect();
        for ((node, ups, downs), seen) in nodes.iter().zip(&seen) {
            assert!(seen.0 <= *ups && seen.1 <= *downs, "{what}: {} told too much: {seen:?}", node.id);
        }
        let wanted: Vec<_> = nodes.iter().map(|(_, ups, downs)| (*ups, *downs)).collect();
        if seen == wanted { Ok(()) } else { Err(format!("{seen:?}, not {wanted:?}")) }
    });
}
