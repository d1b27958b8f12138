//! A process as the rest of its node sees it: not generic, shared, and the place where its end is told.
//!
//! Invariants: 1. the exit reason is set once, after the queue was closed, the state dropped and the names given up;
//! 2. every watcher and every `at_exit` closure runs exactly once, at the end, or at once if the end has been.

use std::{
    any::Any,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    thread::ThreadId,
};

use parking_lot::Mutex;

use crate::{
    Down, ExitReason, FencingToken, Monotonic, Node, Pid,
    failure::CallFailure,
    route::{Session, Watcher},
};

/// Where a process stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ProcessStatus {
    /// `init` runs.
    Initializing,
    /// It takes messages.
    Running,
    /// It is on its way out: `terminate` runs.
    Stopping,
    /// It ended.
    Stopped,
}
crate::__vocabulary!(ProcessStatus {
    Initializing = "initializing",
    Running = "running",
    Stopping = "stopping",
    Stopped = "stopped",
});

type AtExit = Box<dyn FnOnce(&ExitReason) + Send>;

/// What every process has, whatever its behavior.
#[doc(hidden)]
pub struct ProcessCore {
    pub(crate) pid: Pid,
    pub(crate) node: Node,
    pub(crate) behavior: &'static str,
    pub(crate) started_at: Monotonic,
    pub(crate) token: Option<FencingToken>,
    /// Number of the parent process; 0 for a root.
    pub(crate) parent: AtomicU64,
    pub(crate) names: Mutex<Vec<String>>,
    /// The thread of its arbiter, once it runs there.
    home: OnceLock<ThreadId>,
    /// Its future is being polled or dropped.
    busy: AtomicBool,
    status: AtomicU8,
    killed: AtomicBool,
    ending: Mutex<Option<ExitReason>>,
    end: Mutex<End>,
}

struct End {
    reason: Option<ExitReason>,
    watchers: Vec<(u64, Watcher)>,
    at_exit: Vec<AtExit>,
}

impl fmt::Debug for ProcessCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessCore")
            .field("pid", &self.pid)
            .field("behavior", &self.behavior)
            .finish_non_exhaustive()
    }
}

impl ProcessCore {
    pub(crate) fn new(
        pid: Pid,
        node: Node,
        behavior: &'static str,
        token: Option<FencingToken>,
        parent: u64,
    ) -> Self {
        let started_at = node.now();
        Self {
            pid,
            node,
            behavior,
            started_at,
            token,
            parent: AtomicU64::new(parent),
            names: Mutex::new(Vec::new()),
            home: OnceLock::new(),
            busy: AtomicBool::new(false),
            status: AtomicU8::new(0),
            killed: AtomicBool::new(false),
            ending: Mutex::new(None),
            end: Mutex::new(End { reason: None, watchers: Vec::new(), at_exit: Vec::new() }),
        }
    }

    pub(crate) fn status(&self) -> ProcessStatus {
        match self.status.load(Ordering::Acquire) {
            0 => ProcessStatus::Initializing,
            1 => ProcessStatus::Running,
            2 => ProcessStatus::Stopping,
            _ => ProcessStatus::Stopped,
        }
    }

    pub(crate) fn set_running(&self) {
        let _ = self.status.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire);
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.status() != ProcessStatus::Stopped
    }

    /// Whether it is on its way out: what is dropped now is dropped because of that.
    pub(crate) fn is_ending(&self) -> bool {
        self.status.load(Ordering::Acquire) >= 2
    }

    /// The process runs on this thread from now on.
    pub(crate) fn settle(&self) {
        let _ = self.home.set(std::thread::current().id());
    }

    /// Its own code runs, or does not any more.
    pub(crate) fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::Relaxed);
    }

    /// Whether the process itself is being unwound on this thread, and not somebody else.
    pub(crate) fn is_panicking(&self) -> bool {
        std::thread::panicking()
            && self.busy.load(Ordering::Relaxed)
            && self.home.get() == Some(&std::thread::current().id())
    }

    /// Remembers why it is going; the first reason stays.
    pub(crate) fn set_ending(&self, reason: ExitReason) {
        self.ending.lock().get_or_insert(reason);
        self.status.fetch_max(2, Ordering::AcqRel);
    }

    pub(crate) fn ending(&self) -> Option<ExitReason> {
        self.ending.lock().clone()
    }

    pub(crate) fn mark_killed(&self) {
        self.killed.store(true, Ordering::Release);
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    /// Adds a watcher; one that comes too late hears `NoProc` at once.
    pub fn watch(&self, id: u64, watcher: Watcher) {
        let mut end = self.end.lock();
        if end.reason.is_some() {
            drop(end);
            watcher.tell_of(id, self.pid.clone(), ExitReason::NoProc);
        } else {
            end.watchers.push((id, watcher));
        }
    }

    /// Ends a watch; true if it had not fired.
    pub fn unwatch(&self, id: u64) -> bool {
        let mut end = self.end.lock();
        let at = end.watchers.iter().position(|(watch, _)| *watch == id);
        let watcher = at.map(|at| end.watchers.swap_remove(at));
        drop(end);
        watcher.is_some()
    }

    pub(crate) fn watcher_count(&self) -> usize {
        self.end.lock().watchers.len()
    }

    /// Runs `f` with the exit reason: at the end, or now if that has been.
    pub(crate) fn at_exit(&self, f: AtExit) {
        let mut end = self.end.lock();
        match end.reason.clone() {
            Some(reason) => {
                drop(end);
                f(&reason);
            }
            None => end.at_exit.push(f),
        }
    }

    /// Tells the world. Called once, by the host, when nothing of the process is left.
    pub(crate) fn finish(&self, reason: &ExitReason) {
        let (watchers, at_exit) = {
            let mut end = self.end.lock();
            if end.reason.is_some() {
                return;
            }
            end.reason = Some(reason.clone());
            self.status.store(3, Ordering::Release);
            (std::mem::take(&mut end.watchers), std::mem::take(&mut end.at_exit))
        };
        for f in at_exit {
            f(reason);
        }
        for (id, watcher) in watchers {
            watcher.tell(Down::new(id, self.pid.clone(), reason.clone()));
        }
    }
}

/// A process of any behavior.
#[doc(hidden)]
pub trait Process: Send + Sync + fmt::Debug + 'static {
    /// What every process has.
    fn core(&self) -> &ProcessCore;
    /// Whether it can be reached from other nodes: its behavior is registered.
    fn is_remote(&self) -> bool;
    /// Whether it has not ended.
    fn is_alive(&self) -> bool {
        self.core().is_alive()
    }
    /// Asks it to stop, behind what is queued.
    fn stop(&self, reason: ExitReason);
    /// Ends it now.
    fn kill(&self);
    /// News of a process that it watches. Never refused.
    fn down(&self, down: Down);
    /// It lost a global name. Never refused.
    fn name_lost(&self, name: &str, winner: &Pid);
    /// A call from another node. `me` is this very process.
    fn remote_call(&self, me: Arc<dyn Process>, call: RemoteCall<'_>);
    /// A cast from another node.
    ///
    /// # Errors
    /// Why it was not queued.
    fn remote_cast(&self, behavior: u32, body: &[u8]) -> Result<(), CallFailure>;
    /// Messages queued now, most ever, handled so far.
    fn mailbox(&self) -> MailboxStats;
    /// The mailbox, for who knows its type.
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// A call from another node.
#[doc(hidden)]
#[derive(Debug)]
pub struct RemoteCall<'a> {
    /// Who wants the reply.
    pub session: Arc<dyn Session>,
    /// Number of the call in that session.
    pub id: u64,
    /// Number of the behavior that the caller expects.
    pub behavior: u32,
    /// Until when the caller waits.
    pub deadline: actix_rt::time::Instant,
    /// The encoded message.
    pub body: &'a [u8],
}

/// Figures of a mailbox.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct MailboxStats {
    /// Messages queued now.
    pub len: usize,
    /// Most messages queued at once.
    pub high_water: usize,
    /// Messages refused because it was full.
    pub dropped: u64,
    /// Messages handled.
    pub handled: u64,
}
