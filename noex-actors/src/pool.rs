//! The arbiters of a node: one for control, which never runs user code, and a pool for processes.
//!
//! Where no actix `System` is current (under `#[tokio::main]`), the node starts one on a thread of its own.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, ThreadId},
};

use actix_rt::{Arbiter, ArbiterHandle, System};
use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;

use crate::{launcher::Launcher, vital::Failsafe};

pub(crate) struct Pool {
    control: ArbiterHandle,
    arbiters: Vec<ArbiterHandle>,
    launchers: Vec<Launcher>,
    /// Those of threads from which processes were started, whosever they are.
    by_thread: RwLock<Vec<(ThreadId, Launcher)>>,
    next: AtomicUsize,
    loads: Vec<AtomicUsize>,
    dedicated: Arc<Mutex<Dedicated>>,
    /// Whether the arbiters belong to somebody else: nothing is started, and nothing stopped.
    borrowed: bool,
    own_system: Mutex<Option<oneshot::Sender<()>>>,
    failsafe: Failsafe,
}

/// Arbiters that were started for one process each.
#[derive(Default)]
struct Dedicated {
    all: Vec<ArbiterHandle>,
    /// The ways to those whose process ended.
    idle: Vec<Launcher>,
    stopped: bool,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("arbiters", &self.arbiters.len()).finish_non_exhaustive()
    }
}

impl Pool {
    pub(crate) async fn start(size: usize, failsafe: &Failsafe) -> io::Result<Self> {
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
                    let (control, arbiters) = make();
                    let _ = report.send((control.clone(), arbiters.clone()));
                    let _ = stopped.await;
                    // Also if nobody took them: an arbiter does not end by itself.
                    for arbiter in arbiters.iter().chain([&control]) {
                        arbiter.stop();
                    }
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
            launchers: arbiters.iter().map(|arbiter| Launcher::on(arbiter, failsafe)).collect(),
            by_thread: RwLock::default(),
            arbiters,
            dedicated: Arc::default(),
            borrowed: false,
            own_system: Mutex::new(own_system),
            failsafe: failsafe.clone(),
        })
    }

    /// Everything on the arbiter of this thread.
    #[cfg(feature = "testkit")]
    pub(crate) fn on_this_thread(failsafe: &Failsafe) -> Self {
        Self {
            control: Arbiter::current(),
            launchers: vec![Launcher::on(&Arbiter::current(), failsafe)],
            by_thread: RwLock::default(),
            arbiters: vec![Arbiter::current()],
            next: AtomicUsize::new(0),
            loads: vec![AtomicUsize::new(0)],
            dedicated: Arc::default(),
            borrowed: true,
            own_system: Mutex::new(None),
            failsafe: failsafe.clone(),
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
        let thread = thread::current().id();
        // An open launcher of this thread stands for a living arbiter: nothing more is asked of that one, which is dear.
        if let Some((_, launcher)) = self.by_thread.read().iter().find(|(id, _)| *id == thread)
            && !launcher.is_closed()
        {
            return Some(launcher.clone());
        }
        let arbiter = Arbiter::try_current()?;
        let mut launchers = self.by_thread.write();
        launchers.retain(|(_, launcher)| !launcher.is_closed());
        let launcher = Launcher::on(&arbiter, &self.failsafe);
        // The arbiter of a System that ended stays behind on its thread: that is none.
        if launcher.is_closed() {
            return None;
        }
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

    /// The ways to the arbiters of the pool, in their order.
    pub(crate) fn own(&self) -> &[Launcher] {
        &self.launchers
    }

    /// The ways to the arbiters of threads from which processes were started, whosever they are: those of the pool once more.
    pub(crate) fn by_thread(&self) -> Vec<(ThreadId, Launcher)> {
        self.by_thread.read().clone()
    }

    /// An arbiter for one process, until it is [given back](Self::give_back): a new one, or that of one that ended. None where
    /// nothing is started.
    pub(crate) fn dedicated(&self) -> Option<Launcher> {
        if self.borrowed {
            return None;
        }
        {
            let mut dedicated = self.dedicated.lock();
            while let Some(launcher) = dedicated.idle.pop() {
                if !launcher.is_closed() {
                    return Some(launcher);
                }
            }
        }
        let (launcher, running) = Launcher::unplaced(&self.failsafe);
        let dedicated = Arc::clone(&self.dedicated);
        // A new arbiter needs a System on the thread that starts it: this one has it, whoever asks.
        self.control.spawn_fn(move || {
            let arbiter = Arbiter::new().handle();
            let mut dedicated = dedicated.lock();
            if dedicated.stopped {
                drop(dedicated);
                arbiter.stop();
                return;
            }
            dedicated.all.push(arbiter.clone());
            drop(dedicated);
            arbiter.spawn(running);
        });
        Some(launcher)
    }

    /// The process of a dedicated arbiter ended.
    pub(crate) fn give_back(&self, launcher: Launcher) {
        self.dedicated.lock().idle.push(launcher);
    }

    pub(crate) fn stop(&self) {
        // Their tasks are on arbiters that live on.
        let others = std::mem::take(&mut *self.by_thread.write());
        others.iter().for_each(|(_, launcher)| launcher.close());
        if self.borrowed {
            return self.launchers.iter().for_each(Launcher::close);
        }
        let dedicated = {
            let mut dedicated = self.dedicated.lock();
            dedicated.stopped = true;
            std::mem::take(&mut dedicated.all)
        };
        for arbiter in self.arbiters.iter().chain(&dedicated) {
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
