//! The shell around the names machine.
//!
//! The machine stands behind a lock, as reads are immediate and `register` answers at once. What it wants done is
//! done under that lock, so that peers hear of changes in the order in which they happened.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Weak},
};

use noex_actors::{
    __private::{Hub, check_process_name},
    AnyRef, Events, ExitReason, Monotonic, NameError, Node, NodeId, Pid,
    route::Watcher,
};
use parking_lot::Mutex;

use super::{GlobalEvent, GlobalRegistryStats, OnConflict};
use crate::{
    link::Link,
    machine::names::{self, Held, MAX_ENTRIES, Output, RegisterError, Update},
    net::Net,
    stats::Counter,
    wire::{control::Control, limits::MAX_NAMES},
};

struct Table {
    machine: names::Names,
    /// By the number of the process.
    policies: BTreeMap<u64, BTreeMap<String, OnConflict>>,
    held: BTreeMap<String, Pid>,
    watches: Vec<(String, Hub<Option<Pid>>)>,
    syncs: u64,
    conflicts: u64,
}

/// The shell around the names machine.
pub(crate) struct Names {
    node: Node,
    table: Mutex<Table>,
    events: Hub<GlobalEvent>,
    updates_refused: Counter,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

impl Names {
    pub(crate) fn new(node: &Node) -> Self {
        let table = Table {
            machine: names::Names::new(node.id().clone(), node.incarnation()),
            policies: BTreeMap::new(),
            held: BTreeMap::new(),
            watches: Vec::new(),
            syncs: 0,
            conflicts: 0,
        };
        Self {
            node: node.clone(),
            table: Mutex::new(table),
            events: Hub::new(node.next_arbiter()),
            updates_refused: Counter::default(),
        }
    }

    /// Whether anybody has the name.
    pub(crate) fn is_held(&self, name: &str) -> bool {
        self.table.lock().machine.lookup(name).is_some()
    }

    pub(crate) fn register(
        &self,
        net: &Arc<Net>,
        name: &str,
        process: &AnyRef,
        on_conflict: OnConflict,
    ) -> Result<(), NameError> {
        check_process_name(name)?;
        let pid = process.pid().clone();
        let no_process = || NameError::NoProc(pid.clone());
        let local = self.node.process(&pid).ok_or_else(no_process)?;
        let held = Held { pid: pid.clone(), token: local.supervised };
        let first;
        {
            let mut table = self.table.lock();
            let mut out = VecDeque::new();
            let now = self.node.now();
            table.machine.register(name, held, now, &mut out).map_err(|error| match error {
                RegisterError::Taken(holder) => NameError::Taken { name: name.to_owned(), holder },
                RegisterError::InvalidName => {
                    NameError::Invalid { name: name.to_owned(), reason: "it must have 1 to 255 bytes" }
                }
                RegisterError::NotLocal => NameError::NoProc(pid.clone()),
                RegisterError::TooMany => NameError::TooMany { max: MAX_ENTRIES },
            })?;
            first = !table.policies.contains_key(&pid.number());
            table.policies.entry(pid.number()).or_default().insert(name.to_owned(), on_conflict);
            self.perform(net, &mut table, &mut out);
        }
        if !first {
            return Ok(());
        }
        // One watch for all its names, to its end. One that ended meanwhile tells at once.
        let net = Arc::downgrade(net);
        let ended = move |down: noex_actors::Down| {
            if let Some(net) = net.upgrade() {
                net.names.process_ended(&net, &down.pid);
            }
        };
        self.node.monitor(&pid, Watcher::Callback(Box::new(ended)), |_| {});
        Ok(())
    }

    pub(super) fn unregister(&self, net: &Arc<Net>, name: &str) -> bool {
        self.change(net, |machine, now, out| machine.unregister(name, now, out))
    }

    fn process_ended(&self, net: &Arc<Net>, pid: &Pid) {
        let mut table = self.table.lock();
        // Together: whoever finds no policies of a process watches it.
        table.policies.remove(&pid.number());
        let mut out = VecDeque::new();
        table.machine.process_ended(pid, self.node.now(), &mut out);
        self.perform(net, &mut table, &mut out);
    }

    /// A peer asks to give up a name.
    pub(crate) fn unregister_requested(&self, name: &str, number: u64) {
        let pid = Pid::new(self.node.id().clone(), self.node.incarnation(), number);
        let Some(net) = self.node.extension::<Weak<Net>>().and_then(|net| net.upgrade()) else { return };
        self.change(&net, |machine, now, out| machine.unregister_requested(name, &pid, now, out));
    }

    /// A peer changed one of its names.
    pub(crate) fn merge(&self, link: &Link, update: Update) {
        let taken = self.change(&link.net, |machine, now, out| {
            machine.merge(&link.peer, link.incarnation, update, now, out)
        });
        self.refused(link, usize::from(!taken));
    }

    /// Counts updates of a peer that were not taken.
    fn refused(&self, link: &Link, count: usize) {
        if let Some(refused) = self.updates_refused.add_and_note(count) {
            tracing::warn!(peer = %link.peer, refused, "names of a peer are refused: too many, too long, or no names");
        }
    }

    /// A peer told of all its names.
    pub(crate) fn full_sync(&self, link: &Link, updates: Vec<Update>) {
        let count = updates.len();
        let refused = self.change(&link.net, |machine, now, out| {
            machine.full_sync(&link.peer, link.incarnation, updates, now, out)
        });
        self.refused(link, refused);
        self.table.lock().syncs += 1;
        self.events.emit(GlobalEvent::Synced { node: link.peer.clone(), count: count - refused.min(count) });
    }

    /// A session is up: the peer hears of all names of this node, and from now on of changes.
    pub(crate) fn session_up(&self, link: &Arc<Link>) {
        let table = self.table.lock();
        // In parts: all of it might be longer than a message may be. The first replaces, the others add.
        let mut state = table.machine.state();
        let rest = state.split_off(state.len().min(MAX_NAMES));
        link.control(&Control::Names(state));
        rest.into_iter().for_each(|update| link.control(&Control::Name(update)));
        link.net.up.write().insert(link.peer.clone(), Arc::clone(link));
    }

    /// The session is over.
    pub(crate) fn node_down(&self, net: &Arc<Net>, id: &NodeId) {
        let removed = net.up.write().remove(id);
        drop(removed);
        self.change(net, |machine, now, out| machine.node_down(id, now, out));
    }

    /// When tombstones are to be forgotten.
    pub(crate) fn deadline(&self) -> Option<Monotonic> {
        self.table.lock().machine.deadline()
    }

    pub(crate) fn deadline_reached(&self) {
        let now = self.node.now();
        self.table.lock().machine.deadline_reached(now);
    }

    pub(crate) async fn close(&self) {
        self.events.close().await;
        self.table.lock().watches.clear();
    }

    /// How many names a node holds.
    #[cfg(feature = "__fuzz")]
    pub(crate) fn count_of(&self, id: &NodeId) -> usize {
        self.read(|machine| machine.entries().filter(|(_, pid)| pid.node_id() == id).count())
    }

    pub(super) fn read<T>(&self, f: impl FnOnce(&names::Names) -> T) -> T {
        f(&self.table.lock().machine)
    }

    pub(super) fn events(&self) -> &Hub<GlobalEvent> {
        &self.events
    }

    pub(super) fn stats(&self) -> GlobalRegistryStats {
        let table = self.table.lock();
        let own = self.node.id();
        let total = table.machine.entries().count();
        let local = table.machine.entries().filter(|(_, pid)| pid.node_id() == own).count();
        GlobalRegistryStats {
            total_registrations: total,
            local_registrations: local,
            remote_registrations: total - local,
            sync_operations: table.syncs,
            updates_refused: self.updates_refused.get(),
            conflicts_resolved: table.conflicts,
        }
    }

    pub(super) fn watch(&self, name: &str) -> Events<Option<Pid>> {
        let mut table = self.table.lock();
        let hub = Hub::new(self.node.next_arbiter());
        let events = hub.events();
        hub.emit(table.machine.lookup(name).cloned());
        table.watches.push((name.to_owned(), hub));
        events
    }

    fn change<T>(
        &self,
        net: &Arc<Net>,
        f: impl FnOnce(&mut names::Names, Monotonic, &mut VecDeque<Output>) -> T,
    ) -> T {
        let mut table = self.table.lock();
        let mut out = VecDeque::new();
        let result = f(&mut table.machine, self.node.now(), &mut out);
        self.perform(net, &mut table, &mut out);
        result
    }

    fn perform(&self, net: &Net, table: &mut Table, out: &mut VecDeque<Output>) {
        while let Some(output) = out.pop_front() {
            match output {
                Output::Broadcast(update) => {
                    let message = Control::Name(update);
                    net.up.read().values().for_each(|link| link.control(&message));
                }
                Output::RequestUnregister { to, name, pid } => {
                    if let Some(link) = net.link(&to) {
                        link.control(&Control::Unregister { name, number: pid.number() });
                    }
                }
                Output::Lost { name, winner, loser } => self.lost(table, &name, &winner, &loser),
                Output::Changed { name, now } => self.changed(table, name, now),
                Output::ConflictResolved { name, winner, loser } => {
                    table.conflicts += 1;
                    tracing::warn!(name, %winner, %loser, "two processes had one global name");
                    self.events.emit(GlobalEvent::ConflictResolved { name, winner, loser });
                }
            }
        }
    }

    fn lost(&self, table: &mut Table, name: &str, winner: &Pid, loser: &Pid) {
        let of_process = table.policies.get_mut(&loser.number());
        let policy = of_process.and_then(|names| names.remove(name)).unwrap_or_default();
        if let Some(process) = self.node.process_by_number(loser.number()) {
            process.name_lost(name, winner);
            if policy == OnConflict::StopLoser {
                process.stop(ExitReason::Shutdown);
            }
        }
    }

    fn changed(&self, table: &mut Table, name: String, now: Option<Pid>) {
        table.watches.retain(|(watched, hub)| {
            if *watched == name {
                hub.emit(now.clone());
            }
            hub.is_heard()
        });
        let before = match &now {
            Some(pid) => table.held.insert(name.clone(), pid.clone()),
            None => table.held.remove(&name),
        };
        match (before, now) {
            (_, Some(pid)) => self.events.emit(GlobalEvent::Registered { name, pid }),
            (Some(pid), None) => self.events.emit(GlobalEvent::Unregistered { name, pid }),
            (None, None) => {}
        }
    }
}
