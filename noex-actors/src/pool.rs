//! The arbiters of a node: one for control, which never runs user code, and a pool for processes.
//!
//! Where no actix `System` is current (under `#[tokio::main]`), the node starts one on a thread of its own.

use std::{
    fmt, io,
    sync::atomic::{AtomicUsize, Ordering},
    thread::{self, ThreadId},
};

use actix_rt::{Arbiter, ArbiterHandle, System};
use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;

use crate::launcher::Launcher;

pub(crate) struct Pool {
    control: ArbiterHandle,
    arbiters: Vec<ArbiterHandle>,
    launchers: Vec<Launcher>,
    /// Those of threads from which processes were started, whosever they are.
    by_thread: RwLock<Vec<(ThreadId, Launcher)>>,
    next: AtomicUsize,
    loads: Vec<AtomicUsize>,
    /// Arbiters that were started for one process each.
    dedicated: Mutex<Vec<ArbiterHandle>>,
    /// Whether the arbiters belong to somebody else: nothing is started, and nothing stopped.
    borrowed: bool,
    own_system: Mutex<Option<oneshot::Sender<()>>>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("arbiters", &self.arbiters.len()).finish_non_exhaustive()
    }
}

impl Pool {
    pub(crate) async fn start(size: usize) -> io::Result<Self> {
        let size = size.max(1);
        let make = move || -> (ArbiterHandle, Vec<ArbiterHandle>) {
            let arbiters = (0..size).map(|_| Arbiter::new().handle()).collect();
            (Arbiter::new().handle(), arbiters)
        };
        let (control, arbiters, own_system) = if System::try_current().is_some() {
            let (control, arbiters) = make();
            (control, arbiters, None)
        } else {
            let (report, started) = oneshot::channel();
            let (stop, stopped) = oneshot::channel::<()>();
            thread::Builder::new().name("noex-system".to_owned()).spawn(move || {
                let system = System::new();
                system.block_on(async move {
                    let _ = report.send(make());
                    let _ = stopped.await;
                });
            })?;
            let (control, arbiters) = started
                .await
                .map_err(|_why| io::Error::other("the thread of the node's own System ended"))?;
            (control, arbiters, Some(stop))
        };
        Ok(Self {
            control,
            next: AtomicUsize::new(0),
            loads: arbiters.iter().map(|_| AtomicUsize::new(0)).collect(),
            launchers: arbiters.iter().map(Launcher::on).collect(),
            by_thread: RwLock::default(),
            arbiters,
            dedicated: Mutex::new(Vec::new()),
            borrowed: false,
            own_system: Mutex::new(own_system),
        })
    }

    /// Everything on the arbiter of this thread.
    #[cfg(feature = "testkit")]
    pub(crate) fn on_this_thread() -> Self {
        Self {
            control: Arbiter::current(),
            launchers: vec![Launcher::on(&Arbiter::current())],
            by_thread: RwLock::default(),
            arbiters: vec![Arbiter::current()],
            next: AtomicUsize::new(0),
            loads: vec![AtomicUsize::new(0)],
            dedicated: Mutex::new(Vec::new()),
            borrowed: true,
            own_system: Mutex::new(None),
        }
    }

    /// Whether it is the thread of a test, in virtual time.
    pub(crate) fn is_borrowed(&self) -> bool {
        self.borrowed
    }

    pub(crate) fn control(&self) -> &ArbiterHandle {
        &self.control
    }

    pub(crate) fn len(&self) -> usize {
        self.arbiters.len()
    }

    /// An arbiter, in turn.
    pub(crate) fn next(&self) -> ArbiterHandle {
        self.arbiters[self.turn()].clone()
    }

    fn turn(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed) % self.arbiters.len()
    }

    /// The arbiter of the current thread, if it has one.
    pub(crate) fn here(&self) -> Option<Launcher> {
        let arbiter = Arbiter::try_current()?;
        let thread = thread::current().id();
        let known = |launchers: &[(ThreadId, Launcher)]| {
            launchers.iter().find(|(id, _)| *id == thread).map(|(_, launcher)| launcher.clone())
        };
        if let Some(launcher) = known(&self.by_thread.read()).filter(|launcher| !launcher.is_closed()) {
            return Some(launcher);
        }
        let mut launchers = self.by_thread.write();
        launchers.retain(|(_, launcher)| !launcher.is_closed());
        let launcher = Launcher::on(&arbiter);
        launchers.push((thread, launcher.clone()));
        Some(launcher)
    }

    pub(crate) fn round_robin(&self) -> Launcher {
        self.pinned(self.turn())
    }

    pub(crate) fn pinned(&self, at: usize) -> Launcher {
        let at = at % self.arbiters.len();
        self.loads[at].fetch_add(1, Ordering::Relaxed);
        self.launchers[at].clone()
    }

    /// The arbiter on which the fewest processes were placed so far.
    pub(crate) fn least_loaded(&self) -> Launcher {
        let loads = self.loads.iter().map(|load| load.load(Ordering::Relaxed));
        let least = loads.enumerate().min_by_key(|(_, load)| *load).map_or(0, |(at, _)| at);
        self.pinned(least)
    }

    pub(crate) fn dedicated(&self) -> Launcher {
        // A new arbiter needs a System on its thread: ask one that has it.
        let arbiter = System::try_current().filter(|_| !self.borrowed).map(|_| Arbiter::new().handle());
        match arbiter {
            Some(arbiter) => {
                let launcher = Launcher::on(&arbiter);
                self.dedicated.lock().push(arbiter);
                launcher
            }
            None => self.least_loaded(),
        }
    }

    pub(crate) fn stop(&self) {
        if self.borrowed {
            return;
        }
        for arbiter in self.arbiters.iter().chain(self.dedicated.lock().iter()) {
            arbiter.stop();
        }
        self.control.stop();
        drop(self.own_system.lock().take());
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.stop();
    }
}
