//! The parent's end: a child process, and the pair of them that is a row.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::{
    Outcome,
    load::{Order, Sample},
    rows::Row,
    system::{self, Cpus},
};

/// No phase takes this long: the child hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// One child, killed on drop.
#[derive(Debug)]
struct Worker {
    name: String,
    process: Child,
    orders: ChildStdin,
    lines: mpsc::Receiver<String>,
}

impl Worker {
    fn start(args: &[String], cpus: &[usize]) -> Outcome<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let cpus: Vec<String> = cpus.iter().map(usize::to_string).collect();
        command.arg("--cpus").arg(cpus.join(","));
        let mut process = command.spawn()?;
        let orders = process.stdin.take().ok_or("no pipe to the child")?;
        let answers = process.stdout.take().ok_or("no pipe from the child")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(answers).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Worker { name: args.join(" "), process, orders, lines })
    }

    fn next_line(&self) -> Outcome<String> {
        self.lines.recv_timeout(PATIENCE).map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => {
                format!("`{}` said nothing for {PATIENCE:?}", self.name).into()
            }
            mpsc::RecvTimeoutError::Disconnected => format!("`{}` ended", self.name).into(),
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both fail only for a child that has ended already.
        let _killed = self.process.kill();
        let _ended = self.process.wait();
    }
}

/// The two processes of one row. They live until this is dropped, and do nothing between orders.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) row: Row,
    // The client goes first, so that it does not see its server die.
    client: Worker,
    server: Worker,
}

impl Pair {
    pub(crate) fn start(row: Row, cpus: &Cpus) -> Outcome<Self> {
        let server = Worker::start(&["serve".into(), row.to_string()], &cpus.server)?;
        let port = server.next_line()?;
        let pid = server.process.id().to_string();
        let client = Worker::start(
            &["drive".into(), row.to_string(), port, "--server-pid".into(), pid],
            &cpus.client,
        )?;
        Ok(Pair { row, client, server })
    }

    /// Blocks until the phase is over.
    pub(crate) fn run(&mut self, order: &Order) -> Outcome<Sample> {
        writeln!(self.client.orders, "{}", serde_json::to_string(order)?)?;
        Ok(serde_json::from_str(&self.client.next_line()?)?)
    }

    /// Memory peaks so far in bytes, client first.
    pub(crate) fn rss_peaks(&self) -> Outcome<[u64; 2]> {
        Ok([system::rss_peak(self.client.process.id())?, system::rss_peak(self.server.process.id())?])
    }
}
