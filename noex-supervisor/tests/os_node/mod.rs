//! A node in a process of its own: the test program, started again as `node_main`.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child as OsProcess, ChildStdin, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

/// One node in a process of its own. Killed when dropped.
pub(crate) struct Node {
    process: OsProcess,
    input: ChildStdin,
    output: mpsc::Receiver<String>,
    pub(crate) id: String,
    questions: u32,
}

impl Node {
    /// With `standby`, it starts the supervisor when so many nodes are connected and nobody else has.
    pub(crate) fn start(name: &str, seed: &str, standby: Option<usize>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "node_main", "--nocapture"]).env("TEST_NODE", name).env("TEST_SEED", seed);
        if let Some(nodes) = standby {
            command.env("TEST_STANDBY", nodes.to_string());
        }
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (input, stdout) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let (lines, output) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    break;
                }
            }
        });
        let mut node = Self { process, input, output, id: String::new(), questions: 0 };
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
