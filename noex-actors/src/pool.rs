//! The arbiters of a node: one for control, which never runs user code, and a pool for processes.
//!
//! Where no actix `System` is current (under `#[tokio::main]`), the node starts one on a thread of its own.

use std::{
    fmt, io,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use actix_rt::{Arbiter, ArbiterHandle, System};
use parking_lot::Mutex;
use tokio::sync::oneshot;

pub(crate) struct Pool {
    control: ArbiterHandle,
    arbiters: Vec<ArbiterHandle>,
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
            arbiters: vec![Arbiter::current()],
            next: AtomicUsize::new(0),
            loads: vec![AtomicUsize::new(0)],
            dedicated: Mutex::new(Vec::new()),
            borrowed: true,
            own_system: Mutex::new(None),
        }
    }

    pub(crate) fn control(&self) -> &ArbiterHandle {
        &self.control
    }

    pub(crate) fn len(&self) -> usize {
        self.arbiters.len()
    }

    pub(crate) fn round_robin(&self) -> ArbiterHandle {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % self.arbiters.len();
        self.loads[at].fetch_add(1, Ordering::Relaxed);
        self.arbiters[at].clone()
    }

    pub(crate) fn pinned(&self, at: usize) -> ArbiterHandle {
        let at = at % self.arbiters.len();
        self.loads[at].fetch_add(1, Ordering::Relaxed);
        self.arbiters[at].clone()
    }

    /// The arbiter on which the fewest processes were placed so far.
    pub(crate) fn least_loaded(&self) -> ArbiterHandle {
        let loads = self.loads.iter().map(|load| load.load(Ordering::Relaxed));
        let least = loads.enumerate().min_by_key(|(_, load)| *load).map_or(0, |(at, _)| at);
        self.pinned(least)
    }

    pub(crate) fn dedicated(&self) -> ArbiterHandle {
        // A new arbiter needs a System on its thread: ask one that has it.
        let arbiter = System::try_current().filter(|_| !self.borrowed).map(|_| Arbiter::new().handle());
        match arbiter {
            Some(arbiter) => {
                self.dedicated.lock().push(arbiter.clone());
                arbiter
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
