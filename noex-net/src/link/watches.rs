//! Watches over one connection: ours on the peer's processes, the peer's on ours.
//!
//! Invariants: 1. every watcher of ours hears exactly once: `Down` of the peer, or `NoConnection` at the end of the
//! session; 2. at the end of the session nothing of the peer stays on our processes.

use std::{collections::BTreeMap, sync::Arc};

use noex_actors::{__private::contained, Down, ExitReason, Pid, route::Watcher};
use parking_lot::Mutex;

use super::Link;
use crate::{protocol_error::ProtocolError, wire::control::Control};

/// Most watches of one peer on processes of this node.
const MAX_INCOMING: usize = 1_000_000;

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
                contained(|| watcher.tell_of(id, pid, reason));
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

    /// The session is over. Returns the peer's watches, to be taken off, and how many there were with ours.
    pub(crate) fn close(&self) -> (Vec<(u64, u64)>, usize) {
        let (outgoing, incoming) = {
            let mut table = self.0.lock();
            table.closed = true;
            (std::mem::take(&mut table.outgoing), std::mem::take(&mut table.incoming))
        };
        let all = outgoing.len() + incoming.len();
        for (id, (pid, watcher)) in outgoing {
            contained(|| watcher.tell_of(id, pid, ExitReason::NoConnection));
        }
        (incoming.into_values().collect(), all)
    }

    /// Ours, and the peer's.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let table = self.0.lock();
        (table.outgoing.len(), table.incoming.len())
    }
}

/// What the peer asks for.
impl Link {
    /// Ends a watch of the peer.
    pub(super) fn unwatch_for_peer(&self, id: u64) {
        self.net.counters.demonitor_requests.one();
        let Some((number, watch)) = self.watches.remove_incoming(id) else { return };
        self.net.counters.demonitors_accepted.one();
        if let Some(process) = self.net.node.process_by_number(number) {
            process.core().unwatch(watch);
        }
    }

    /// Watches a process of this node for the peer.
    pub(super) fn watch_for_peer(self: &Arc<Self>, id: u64, number: u64) {
        let counters = &self.net.counters;
        counters.monitor_requests.one();
        let Some(process) = self.addressable(number).or_else(|| self.requests.held(number)) else {
            counters.noproc_responses.one();
            return self.control(&Control::Down { id, reason: ExitReason::NoProc });
        };
        let watch = self.net.node.fresh_monitor();
        if self.watches.counts().1 >= MAX_INCOMING {
            return self.break_off(ProtocolError::Limit, "it watches too many processes");
        }
        if self.watches.add_incoming(id, number, watch) {
            counters.monitors_accepted.one();
            let link = Arc::downgrade(self);
            let tell = move |down: Down| {
                let Some(link) = link.upgrade() else { return };
                if link.watches.remove_incoming(id).is_some() {
                    link.net.counters.downs_sent.one();
                    link.control(&Control::Down { id, reason: down.reason });
                }
            };
            let watcher = Watcher::Callback(Box::new(tell));
            match self.requests.held(number) {
                Some(fresh) => fresh.core().watch_from_start(watch, watcher),
                None => process.core().watch(watch, watcher),
            }
        }
    }
}
