//! The alarms of a node: when a process must look at the deadlines of the calls that wait for it.
//!
//! One task keeps them, on the control arbiter: an arbiter without timers of its own asks for the time less often, and a
//! timer per call costs more than the call. A process has one alarm at most for each deadline that was the earliest when it
//! came, so a busy process asks for one about as often as its calls time out, not as often as it is called.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{Clock, Monotonic, process::Process};

type Alarms = BTreeMap<(Monotonic, u64), Weak<dyn Process>>;

#[derive(Default)]
pub(crate) struct Deadlines {
    alarms: Mutex<(Alarms, u64)>,
    changed: Notify,
}

impl fmt::Debug for Deadlines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadlines").field("alarms", &self.alarms.lock().0.len()).finish()
    }
}

impl Deadlines {
    /// The process wants to look at that time.
    pub(crate) fn set(&self, at: Monotonic, process: Weak<dyn Process>) {
        let mut alarms = self.alarms.lock();
        let (alarms, next) = &mut *alarms;
        *next += 1;
        let first = alarms.first_key_value().is_none_or(|((first, _), _)| at < *first);
        alarms.insert((at, *next), process);
        if first {
            self.changed.notify_one();
        }
    }

    fn first(&self) -> Option<Monotonic> {
        self.alarms.lock().0.first_key_value().map(|((at, _), _)| *at)
    }

    fn due(&self, now: Monotonic) -> Option<Weak<dyn Process>> {
        let mut alarms = self.alarms.lock();
        let entry = alarms.0.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }

    /// Keeps the alarms, until its arbiter stops.
    pub(crate) async fn keep(self: Arc<Self>, clock: Clock) {
        loop {
            let changed = self.changed.notified();
            match self.first() {
                None => changed.await,
                Some(at) => {
                    tokio::select! {
                        () = actix_rt::time::sleep_until(clock.instant(at)) => self.ring(&clock),
                        () = changed => {}
                    }
                }
            }
        }
    }

    fn ring(&self, clock: &Clock) {
        let now = clock.now();
        while let Some(process) = self.due(now) {
            if let Some(process) = process.upgrade()
                && let Some(next) = process.expire(now)
            {
                self.set(next, Arc::downgrade(&process));
            }
        }
    }
}
