//! Watches over one connection: ours on the peer's processes, the peer's on ours.
//!
//! Invariants: 1. every watcher of ours hears exactly once: `Down` of the peer, or `NoConnection` at the end of the
//! session; 2. at the end of the session nothing of the peer stays on our processes.

use std::collections::BTreeMap;

use noex_actors::{ExitReason, Pid, route::Watcher};
use parking_lot::Mutex;

#[derive(Debug, Default)]
pub(crate) struct Watches(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    /// Ours, by their number: whom, and who hears.
    outgoing: BTreeMap<u64, (Pid, Watcher)>,
    /// The peer's, by its number: number of the process, and of the watch on it.
    incoming: BTreeMap<u64, (u64, u64)>,
    closed: bool,
}

impl Watches {
    /// Notes a watch of ours; gives the watcher back if the session is over.
    pub(crate) fn add(&self, id: u64, pid: &Pid, watcher: Watcher) -> Result<(), Watcher> {
        let mut table = self.0.lock();
        if table.closed {
            return Err(watcher);
        }
        table.outgoing.insert(id, (pid.clone(), watcher));
        Ok(())
    }

    pub(crate) fn remove(&self, id: u64) -> bool {
        let removed = self.0.lock().outgoing.remove(&id);
        removed.is_some()
    }

    /// The peer says that a process ended.
    pub(crate) fn fire(&self, id: u64, reason: ExitReason) -> bool {
        let fired = self.0.lock().outgoing.remove(&id);
        match fired {
            Some((pid, watcher)) => {
                watcher.tell_of(id, pid, reason);
                true
            }
            None => false,
        }
    }

    /// Notes a watch of the peer; false if the session is over, or the number is taken.
    pub(crate) fn add_incoming(&self, id: u64, process: u64, watch: u64) -> bool {
        let mut table = self.0.lock();
        if table.closed || table.incoming.contains_key(&id) {
            return false;
        }
        table.incoming.insert(id, (process, watch));
        true
    }

    pub(crate) fn remove_incoming(&self, id: u64) -> Option<(u64, u64)> {
        self.0.lock().incoming.remove(&id)
    }

    /// The session is over. Returns the peer's watches, to be taken off.
    pub(crate) fn close(&self) -> Vec<(u64, u64)> {
        let (outgoing, incoming) = {
            let mut table = self.0.lock();
            table.closed = true;
            (std::mem::take(&mut table.outgoing), std::mem::take(&mut table.incoming))
        };
        for (id, (pid, watcher)) in outgoing {
            watcher.tell_of(id, pid, ExitReason::NoConnection);
        }
        incoming.into_values().collect()
    }

    /// Ours, and the peer's.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let table = self.0.lock();
        (table.outgoing.len(), table.incoming.len())
    }
}
