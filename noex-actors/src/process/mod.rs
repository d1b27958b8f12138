//! A process as the rest of its node sees it: not generic, shared, and the place where its end is told.
//!
//! Invariants: 1. the exit reason is set once, after the queue was closed, the state dropped and the names given up;
//! 2. every watcher and every `at_exit` closure runs exactly once, at the end, or at once if the end has been; 3. what a
//! process does not use (names, watchers, links) is not allocated.

mod any;
mod links;

use std::{
    collections::BTreeMap,
    fmt,
    sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    task::{Poll, Waker},
};

use parking_lot::Mutex;

pub use self::any::{Asked, Delivered, Intake, MailboxStats, Process};
pub(crate) use self::links::Gone;
use crate::{
    Down, ExitReason, FencingToken, Monotonic, Node, Pid, StartError,
    lease::Lease,
    machine::{links::Links, signals::Trap},
    panics::contained,
    route::Watcher,
    supervision::Supervised,
    thread_mark::ThreadMark,
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

/// Told why the process ended, or nothing: it lives on after a panic that it caught itself.
type AtExit = Box<dyn FnOnce(Option<&ExitReason>) + Send>;

/// What every process has, whatever its behavior.
#[doc(hidden)]
pub struct ProcessCore {
    pub(crate) pid: Pid,
    pub(crate) node: Node,
    pub(crate) started_at: Monotonic,
    supervised: Option<Box<Supervised>>,
    /// It is a part of noex: a panic of it stops the node.
    pub(crate) vital: bool,
    /// Number of the parent process; 0 for a root.
    pub(crate) parent: AtomicU64,
    /// The mark of the thread on which its future is being polled; 0 while it is not.
    busy: AtomicU32,
    status: AtomicU8,
    /// What must interrupt it: see [`Urgent`].
    urgent: AtomicU8,
    traps: AtomicBool,
    /// A panic of its own is under way, by which something waits for its end that must not if it goes on.
    unwinding: AtomicBool,
    fate: Mutex<Fate>,
}

/// What interrupts a process at its next wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgent {
    Nothing,
    /// An exit signal: its handler is given up, then `terminate` runs.
    Exit,
    /// Nothing of it runs any more.
    Kill,
}

struct Fate {
    /// `init` succeeded.
    began: bool,
    ended: bool,
    /// Who waits for `init`.
    starter: Option<Waker>,
    /// What most processes do not have.
    ties: Option<Box<Ties>>,
}

#[derive(Default)]
struct Ties {
    /// Why it is going, or went.
    ending: Option<ExitReason>,
    /// Why it did not start.
    failure: Option<StartError>,
    names: Vec<String>,
    watchers: BTreeMap<u64, Watcher>,
    at_exit: Vec<AtExit>,
    /// The same, of what a panic dropped that may yet be caught.
    by_panic: Vec<AtExit>,
    links: Links,
}

impl Fate {
    fn ties(&mut self) -> &mut Ties {
        self.ties.get_or_insert_default()
    }
}

impl fmt::Debug for ProcessCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessCore").field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl ProcessCore {
    pub(crate) fn new(
        pid: Pid,
        node: Node,
        (supervised, trap): (Option<Box<Supervised>>, Trap),
        parent: u64,
        vital: bool,
    ) -> Self {
        let started_at = node.about_now();
        Self {
            pid,
            node,
            started_at,
            supervised,
            vital,
            parent: AtomicU64::new(parent),
            busy: AtomicU32::new(0),
            status: AtomicU8::new(0),
            urgent: AtomicU8::new(0),
            traps: AtomicBool::new(trap == Trap::On),
            unwinding: AtomicBool::new(false),
            fate: Mutex::new(Fate { began: false, ended: false, starter: None, ties: None }),
        }
    }

    /// Which supervised instance it is.
    pub(crate) fn token(&self) -> Option<&FencingToken> {
        self.supervised.as_ref().map(|supervised| &supervised.token)
    }

    /// Its lease, if it has one.
    pub(crate) fn lease(&self) -> Option<&Lease> {
        self.supervised.as_ref()?.lease.as_ref()
    }

    pub(crate) fn status(&self) -> ProcessStatus {
        match self.status.load(Ordering::Acquire) {
            0 => ProcessStatus::Initializing,
            1 => ProcessStatus::Running,
            2 => ProcessStatus::Stopping,
            _ => ProcessStatus::Stopped,
        }
    }

    /// `init` succeeded.
    pub(crate) fn set_running(&self) {
        let _ = self.status.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire);
        let starter = {
            let mut fate = self.fate.lock();
            fate.began = true;
            fate.starter.take()
        };
        if let Some(starter) = starter {
            starter.wake();
        }
    }

    /// `init` did not succeed. Told at the end, so that whoever sees it finds nothing left of the process.
    pub(crate) fn set_failed(&self, error: StartError) {
        self.fate.lock().ties().failure = Some(error);
    }

    /// How `init` went, once that is known.
    pub(crate) fn poll_started(&self, waker: &Waker) -> Poll<Result<(), StartError>> {
        let mut fate = self.fate.lock();
        if fate.began {
            return Poll::Ready(Ok(()));
        }
        if !fate.ended {
            let known = fate.starter.as_ref().is_some_and(|known| known.will_wake(waker));
            let replaced = if known { None } else { fate.starter.replace(waker.clone()) };
            // Without the lock: what goes with a waker may look at this process.
            drop(fate);
            drop(replaced);
            return Poll::Pending;
        }
        let ties = fate.ties();
        let reason = ties.ending.clone().unwrap_or(ExitReason::Killed);
        Poll::Ready(Err(ties.failure.take().unwrap_or(StartError::Init(reason))))
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.status() != ProcessStatus::Stopped
    }

    /// Whether it is on its way out: what is dropped now is dropped because of that.
    pub(crate) fn is_ending(&self) -> bool {
        self.status.load(Ordering::Acquire) >= 2
    }

    /// Its own code runs on the thread of that mark, or does not any more (0).
    pub(crate) fn set_busy(&self, mark: u32) {
        self.busy.store(mark, Ordering::Relaxed);
    }

    /// The mark of the thread on which its own code runs; 0 if it does not.
    pub(crate) fn busy(&self) -> u32 {
        self.busy.load(Ordering::Relaxed)
    }

    /// Whether the process itself is being unwound on this thread, and not somebody else.
    pub(crate) fn is_panicking(&self) -> bool {
        std::thread::panicking() && self.busy() == ThreadMark::current().number()
    }

    pub(crate) fn trap(&self) -> Trap {
        if self.traps.load(Ordering::Acquire) { Trap::On } else { Trap::Off }
    }

    pub(crate) fn set_trap(&self, trap: Trap) {
        self.traps.store(trap == Trap::On, Ordering::Release);
    }

    /// Remembers why it is going; the first reason stays.
    pub(crate) fn set_ending(&self, reason: ExitReason) {
        self.fate.lock().ties().ending.get_or_insert(reason);
        self.status.fetch_max(2, Ordering::AcqRel);
    }

    pub(crate) fn ending(&self) -> Option<ExitReason> {
        self.fate.lock().ties.as_ref().and_then(|ties| ties.ending.clone())
    }

    pub(crate) fn urgent(&self) -> Urgent {
        match self.urgent.load(Ordering::Acquire) {
            0 => Urgent::Nothing,
            1 => Urgent::Exit,
            _ => Urgent::Kill,
        }
    }

    /// Notes that it must end by an exit signal that it does not trap.
    pub(crate) fn note_exit(&self, reason: &ExitReason) {
        self.fate.lock().ties().ending.get_or_insert_with(|| reason.clone());
        self.urgent.fetch_max(1, Ordering::AcqRel);
    }

    /// Notes that it is killed.
    pub(crate) fn note_kill(&self) {
        self.urgent.fetch_max(2, Ordering::AcqRel);
    }

    /// Adds a watcher; one that comes too late hears `NoProc` at once.
    pub fn watch(&self, id: u64, watcher: Watcher) {
        let mut fate = self.fate.lock();
        if fate.ended {
            drop(fate);
            watcher.tell_of(id, self.pid.clone(), ExitReason::NoProc);
        } else {
            fate.ties().watchers.insert(id, watcher);
        }
    }

    /// The same, of whoever has waited for the process since it began: should it have ended, it is told by what.
    pub fn watch_from_start(&self, id: u64, watcher: Watcher) {
        match self.over() {
            Some(reason) => watcher.tell_of(id, self.pid.clone(), reason),
            None => self.watch(id, watcher),
        }
    }

    #[must_use]
    pub fn pid(&self) -> &Pid {
        &self.pid
    }

    /// By what it has ended, if it has.
    pub fn over(&self) -> Option<ExitReason> {
        let mut fate = self.fate.lock();
        fate.ended.then(|| fate.ties().ending.clone().unwrap_or(ExitReason::Killed))
    }

    /// Ends a watch; true if it had not fired.
    pub fn unwatch(&self, id: u64) -> bool {
        let watcher = self.fate.lock().ties.as_mut().and_then(|ties| ties.watchers.remove(&id));
        watcher.is_some()
    }

    /// How many watch it, and how many are linked to it.
    pub(crate) fn tie_counts(&self) -> (usize, usize) {
        let fate = self.fate.lock();
        fate.ties.as_ref().map_or((0, 0), |ties| (ties.watchers.len(), ties.links.len()))
    }

    /// Runs `f` with the exit reason: at the end, or now if that has been.
    pub(crate) fn at_exit(&self, f: AtExit) {
        let mut fate = self.fate.lock();
        if !fate.ended {
            return fate.ties().at_exit.push(f);
        }
        let reason = fate.ties().ending.clone().unwrap_or(ExitReason::Killed);
        drop(fate);
        f(Some(&reason));
    }

    /// The same for what a panic of the process itself drops: if it goes on, that was caught, and is told at its next wait.
    pub(crate) fn at_exit_by_panic(&self, f: AtExit) {
        self.fate.lock().ties().by_panic.push(f);
        self.unwinding.store(true, Ordering::Relaxed);
    }

    /// It waits, so it goes on.
    #[inline]
    pub(crate) fn goes_on(&self) {
        if self.unwinding.load(Ordering::Relaxed) {
            self.survived();
        }
    }

    #[cold]
    fn survived(&self) {
        self.unwinding.store(false, Ordering::Relaxed);
        if self.is_ending() {
            return;
        }
        let dropped = self.fate.lock().ties.as_mut().map(|ties| std::mem::take(&mut ties.by_panic));
        dropped.into_iter().flatten().for_each(|f| contained(|| f(None)));
    }

    pub(crate) fn add_name(&self, name: &str) {
        self.fate.lock().ties().names.push(name.to_owned());
    }

    pub(crate) fn remove_name(&self, name: &str) {
        if let Some(ties) = &mut self.fate.lock().ties {
            ties.names.retain(|held| held != name);
        }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.fate.lock().ties.as_ref().map(|ties| ties.names.clone()).unwrap_or_default()
    }

    /// It is gone, though nobody has heard of it yet: it takes no name any more.
    pub(crate) fn set_stopped(&self) {
        self.status.store(3, Ordering::Release);
    }

    /// Tells the world. Called once, by the host, when nothing of the process is left.
    pub(crate) fn finish(&self, reason: &ExitReason) {
        let (ties, starter) = {
            let mut fate = self.fate.lock();
            if fate.ended {
                return;
            }
            fate.ended = true;
            let ties = fate.ties.take().map_or_else(Ties::default, |ties| *ties);
            let Ties { failure, watchers, mut at_exit, by_panic, links, .. } = ties;
            at_exit.extend(by_panic);
            let ending = Some(reason.clone());
            fate.ties = Some(Box::new(Ties { ending, failure, ..Ties::default() }));
            ((watchers, at_exit, links), fate.starter.take())
        };
        let (watchers, at_exit, mut links) = ties;
        // None of those who are told must keep the others from it.
        if let Some(starter) = starter {
            contained(|| starter.wake());
        }
        for f in at_exit {
            contained(|| f(Some(reason)));
        }
        // Links first: whoever sees a `Down` finds what the end takes along on its way.
        for other in links.take() {
            self.node.break_link(&other, &self.pid, reason);
        }
        for (id, watcher) in watchers {
            contained(|| watcher.tell(Down::new(id, self.pid.clone(), reason.clone())));
        }
    }
}
