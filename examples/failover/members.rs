//! The node processes: started from this very program, asked over stdin, heard over stdout, never left behind.

use std::{
    fmt, fs,
    io::{self, BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use crate::protocol::{Order, Request, Stamped};

/// What came from the process at this place in the list.
pub(crate) enum Heard {
    Event(usize, Stamped),
    /// Its stdout ended: it is gone, or says nothing any more.
    Ended(usize),
    Garbled(usize, String),
    /// A line of whoever watches; `None`: there are no more.
    Typed(Option<String>),
}

/// All node processes.
pub(crate) struct Members {
    list: Vec<Member>,
    secret: String,
    heard: Sender<Heard>,
}

pub(crate) struct Member {
    pub(crate) name: String,
    process: Child,
    /// Its end ends the process.
    stdin: Option<ChildStdin>,
    /// It was killed on purpose.
    pub(crate) killed: bool,
}

impl Members {
    /// None yet, with a fresh shared secret.
    pub(crate) fn new() -> io::Result<(Self, Receiver<Heard>)> {
        let mut bytes = [0; 32];
        fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        let secret = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let (heard, receiver) = channel();
        Ok((Self { list: Vec::new(), secret, heard }, receiver))
    }

    /// Starts the next node.
    pub(crate) fn start(&mut self, seed: Option<&str>) -> io::Result<()> {
        let at = self.list.len();
        let name = format!("n{}", at + 1);
        let mut process = Command::new(std::env::current_exe()?)
            .arg("--role=node")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (stdin, stdout) = (process.stdin.take(), process.stdout.take());
        let mut member = Member { name: name.clone(), process, stdin, killed: false };
        let order = Order { name, seed: seed.map(str::to_owned), secret: self.secret.clone() };
        member.send(&order)?;
        self.list.push(member);
        let heard = self.heard.clone();
        let Some(stdout) = stdout else { return Err(io::Error::other("the process has no stdout")) };
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { break };
                let said = match serde_json::from_str(&line) {
                    Ok(event) => Heard::Event(at, event),
                    Err(error) => Heard::Garbled(at, format!("{error}: {line}")),
                };
                if heard.send(said).is_err() {
                    return;
                }
            }
            let _ = heard.send(Heard::Ended(at));
        });
        Ok(())
    }

    /// From now on hears what is typed.
    pub(crate) fn listen_to_stdin(&self) {
        let heard = self.heard.clone();
        thread::spawn(move || {
            let lines = io::stdin().lines().map_while(Result::ok).map(Some);
            for line in lines.chain([None]) {
                if heard.send(Heard::Typed(line)).is_err() {
                    return;
                }
            }
        });
    }

    /// It ended by itself, or somebody else ended it.
    pub(crate) fn gone(&mut self, at: usize) {
        if let Some(member) = self.list.get_mut(at) {
            member.killed = true;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn get(&self, at: usize) -> Option<&Member> {
        self.list.get(at)
    }

    /// Places of those that were not killed.
    pub(crate) fn living(&self) -> impl Iterator<Item = usize> + use<> {
        let living: Vec<usize> =
            self.list.iter().enumerate().filter(|(_, m)| !m.killed).map(|(at, _)| at).collect();
        living.into_iter()
    }

    /// Sends a request to a node.
    pub(crate) fn ask(&mut self, at: usize, request: &Request) -> io::Result<()> {
        match self.list.get_mut(at) {
            Some(member) => member.send(request),
            None => Err(io::Error::other("no such node")),
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, at: usize) -> io::Result<()> {
        match self.list.get_mut(at) {
            Some(member) => {
                member.killed = true;
                member.process.kill()
            }
            None => Err(io::Error::other("no such node")),
        }
    }

    /// Whether the process has ended, and how. Only for a node whose end was heard.
    pub(crate) fn status(&mut self, at: usize) -> String {
        match self.list.get_mut(at).map(|member| member.process.try_wait()) {
            Some(Ok(Some(status))) => status.to_string(),
            Some(Ok(None)) => "still running".to_owned(),
            Some(Err(error)) => error.to_string(),
            None => "never started".to_owned(),
        }
    }

    /// Ends every process: the lines to it end; what is not gone after `limit` is killed. Names of those.
    pub(crate) fn end(&mut self, limit: Duration) -> Vec<String> {
        for member in &mut self.list {
            member.stdin = None;
        }
        let deadline = Instant::now() + limit;
        let mut late = Vec::new();
        for member in &mut self.list {
            while let Ok(None) = member.process.try_wait() {
                if Instant::now() >= deadline {
                    late.push(member.name.clone());
                    let _ = member.process.kill();
                    let _ = member.process.wait();
                    break;
                }
                thread::park_timeout(Duration::from_millis(10));
            }
        }
        late
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        for member in &mut self.list {
            let _ = member.process.kill();
            let _ = member.process.wait();
        }
    }
}

impl Member {
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    fn send(&mut self, message: &impl serde::Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let Some(stdin) = &mut self.stdin else { return Err(io::ErrorKind::BrokenPipe.into()) };
        stdin.write_all(&line).and_then(|()| stdin.flush())
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid())
    }
}
