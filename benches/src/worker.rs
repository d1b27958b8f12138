//! The parent's end of one child process.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use crate::Outcome;

/// No phase takes this long: the child hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// One child, killed on drop.
#[derive(Debug)]
pub struct Worker {
    name: String,
    process: Child,
    orders: ChildStdin,
    lines: mpsc::Receiver<String>,
}

impl Worker {
    /// Runs this program again, with these arguments and `--cpus`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(args: &[String], cpus: &[usize]) -> Outcome<Self> {
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

    /// The number of the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Gives an order and waits for its answer, 60 s at most.
    ///
    /// # Errors
    /// The child ended, hangs, or answers something else.
    pub fn ask<A: DeserializeOwned>(&mut self, order: &impl Serialize) -> Outcome<A> {
        writeln!(self.orders, "{}", serde_json::to_string(order)?)?;
        Ok(serde_json::from_str(&self.next_line()?)?)
    }

    /// What the child says next, within 60 s.
    ///
    /// # Errors
    /// It ended, or says nothing.
    pub fn next_line(&self) -> Outcome<String> {
        self.next_line_within(PATIENCE)
    }

    /// The same with a limit of one's own.
    ///
    /// # Errors
    /// It ended, or says nothing.
    pub fn next_line_within(&self, patience: Duration) -> Outcome<String> {
        self.lines.recv_timeout(patience).map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => {
                format!("`{}` said nothing for {patience:?}", self.name).into()
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
