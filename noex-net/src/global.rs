//! Names of the whole cluster: the handle of users, and the shell around the names machine.
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
    AnyRef, Events, ExitReason, Monotonic, NameError, Node, NodeId, Pid, Ref, RemoteBehavior, Subscription,
    Via, WrongBehavior,
    route::Watcher,
};
use parking_lot::Mutex;

use crate::{
    link::Link,
    machine::names::{self, Held, Output, RegisterError, Update},
    net::Net,
    wire::control::Control,
};

/// What becomes of a process that loses a name to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnConflict {
    /// It hears of it: `Info::NameLost`.
    #[default]
    NotifyLoser,
    /// It hears of it, and is stopped with reason `Shutdown`.
    StopLoser,
}

/// Something happened to a global name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GlobalEvent {
    /// A name has a holder, as this node sees it.
    Registered {
        /// The name.
        name: String,
        /// Who holds it.
        pid: Pid,
    },
    /// A name has no holder any more.
    Unregistered {
        /// The name.
        name: String,
        /// Who held it.
        pid: Pid,
    },
    /// Two processes had the name; one order decided.
    ConflictResolved {
        /// The name.
        name: String,
        /// Who has it.
        winner: Pid,
        /// Who had it, too.
        loser: Pid,
    },
    /// A node told of all its names.
    Synced {
        /// The node.
        node: NodeId,
        /// How many.
        count: usize,
    },
}

/// Figures of the global names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GlobalRegistryStats {
    /// Names with a holder.
    pub total_registrations: usize,
    /// Names held by processes of this node.
    pub local_registrations: usize,
    /// Names held by processes of other nodes.
    pub remote_registrations: usize,
    /// Full syncs received.
    pub sync_operations: u64,
    /// Conflicts resolved.
    pub conflicts_resolved: u64,
}

struct Table {
    machine: names::Names,
    policies: BTreeMap<String, OnConflict>,
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
        Self { node: node.clone(), table: Mutex::new(table), events: Hub::new(node.control().clone()) }
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
            })?;
            table.policies.insert(name.to_owned(), on_conflict);
            self.perform(net, &mut table, &mut out);
        }
        // The name ends with its process. One that ended meanwhile tells at once.
        let net = Arc::downgrade(net);
        let ended = move |down: noex_actors::Down| {
            if let Some(net) = net.upgrade() {
                net.names.process_ended(&net, &down.pid);
            }
        };
        self.node.monitor(&pid, Watcher::Callback(Box::new(ended)), |_| {});
        Ok(())
    }

    fn unregister(&self, net: &Arc<Net>, name: &str) -> bool {
        self.change(net, |machine, now, out| machine.unregister(name, now, out))
    }

    fn process_ended(&self, net: &Arc<Net>, pid: &Pid) {
        self.change(net, |machine, now, out| machine.process_ended(pid, now, out));
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
        if !taken {
            tracing::warn!(peer = %link.peer, "the peer speaks for names that are not its own; ignored");
        }
    }

    /// A peer told of all its names.
    pub(crate) fn full_sync(&self, link: &Link, updates: Vec<Update>) {
        let count = updates.len();
        let refused = self.change(&link.net, |machine, now, out| {
            machine.full_sync(&link.peer, link.incarnation, updates, now, out)
        });
        if refused > 0 {
            tracing::warn!(peer = %link.peer, refused, "the peer speaks for names that are not its own; ignored");
        }
        self.table.lock().syncs += 1;
        self.events.emit(GlobalEvent::Synced { node: link.peer.clone(), count: count - refused.min(count) });
    }

    /// A session is up: the peer hears of all names of this node, and from now on of changes.
    pub(crate) fn session_up(&self, link: &Arc<Link>) {
        let table = self.table.lock();
        link.control(&Control::Names(table.machine.state()));
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
        let policy = table.policies.remove(name).unwrap_or_default();
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

/// Names of the whole cluster, as this node sees them.
///
/// Reads are local and immediate; writes never block. A name ends with its process. Two nodes may register one name
/// at the same moment, or on both sides of a partition: when they see each other one order decides on every node, and
/// the loser is told.
#[derive(Clone)]
pub struct GlobalRegistry {
    net: Arc<Net>,
}

impl fmt::Debug for GlobalRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GlobalRegistry({} names)", self.count())
    }
}

impl GlobalRegistry {
    pub(crate) fn new(net: Arc<Net>) -> Self {
        Self { net }
    }

    fn read<T>(&self, f: impl FnOnce(&names::Names) -> T) -> T {
        f(&self.net.names.table.lock().machine)
    }

    /// Registers a process of this node. The same holder again is fine. Answers at once, and provisionally.
    ///
    /// # Errors
    /// [`NameError::Taken`], [`NameError::Invalid`], or [`NameError::NoProc`] for a process that is not on this node.
    pub fn register(&self, name: &str, process: &impl AsRef<Pid>) -> Result<(), NameError> {
        self.register_with(name, process, OnConflict::default())
    }

    /// Registers a process of this node, and says what becomes of it should it lose the name.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn register_with(
        &self,
        name: &str,
        process: &impl AsRef<Pid>,
        on_conflict: OnConflict,
    ) -> Result<(), NameError> {
        let process = self.net.node.resolve_any(process.as_ref(), None);
        self.net.names.register(&self.net, name, &process, on_conflict)
    }

    /// Frees a name, whoever has it; its owner tells everybody. False if nobody has it.
    ///
    /// # Errors
    /// [`NameError::Invalid`].
    pub fn unregister(&self, name: &str) -> Result<bool, NameError> {
        check_process_name(name)?;
        Ok(self.net.names.unregister(&self.net, name))
    }

    /// Who has the name.
    #[must_use]
    pub fn whereis<B: RemoteBehavior>(&self, name: &str) -> Option<Ref<B>> {
        self.pid(name).map(|pid| self.net.node.resolve(&pid))
    }

    /// Who has the name.
    ///
    /// # Errors
    /// [`NameError::NotFound`]; [`NameError::WrongBehavior`] for a process of this node that is of another behavior.
    /// Of one on another node, its first use tells.
    pub fn lookup<B: RemoteBehavior>(&self, name: &str) -> Result<Ref<B>, NameError> {
        let pid = self.pid(name).ok_or_else(|| NameError::NotFound(name.to_owned()))?;
        let found = self.net.node.process(&pid).map(|process| process.behavior);
        match found {
            Some(found) if found != B::NAME => {
                Err(NameError::WrongBehavior(WrongBehavior::new(B::NAME, found)))
            }
            _ => Ok(self.net.node.resolve(&pid)),
        }
    }

    /// A handle of the name: follows it from process to process.
    #[must_use]
    pub fn via<B: RemoteBehavior>(&self, name: &str) -> Via<B> {
        let (registry, name) = (self.clone(), name.to_owned());
        let resolved = name.clone();
        Via::new(&name, &self.net.node, move || registry.whereis(&resolved))
    }

    /// The address of whoever has the name.
    #[must_use]
    pub fn pid(&self, name: &str) -> Option<Pid> {
        self.read(|names| names.lookup(name).cloned())
    }

    /// Whether anybody has the name.
    #[must_use]
    pub fn is_registered(&self, name: &str) -> bool {
        self.pid(name).is_some()
    }

    /// All names, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.read(|names| names.entries().map(|(name, _)| name.to_owned()).collect())
    }

    /// How many names there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.read(|names| names.entries().count())
    }

    /// The names of processes on one node, sorted.
    #[must_use]
    pub fn entries_for_node(&self, id: &NodeId) -> Vec<(String, Pid)> {
        self.read(|names| {
            let of_node = names.entries().filter(|(_, pid)| pid.node_id() == id);
            of_node.map(|(name, pid)| (name.to_owned(), pid.clone())).collect()
        })
    }

    /// Figures.
    #[must_use]
    pub fn stats(&self) -> GlobalRegistryStats {
        let table = self.net.names.table.lock();
        let own = self.net.node.id();
        let total = table.machine.entries().count();
        let local = table.machine.entries().filter(|(_, pid)| pid.node_id() == own).count();
        GlobalRegistryStats {
            total_registrations: total,
            local_registrations: local,
            remote_registrations: total - local,
            sync_operations: table.syncs,
            conflicts_resolved: table.conflicts,
        }
    }

    /// Who has the name: now, and at every change.
    #[must_use]
    pub fn watch(&self, name: &str) -> Events<Option<Pid>> {
        let mut table = self.net.names.table.lock();
        let hub = Hub::new(self.net.node.control().clone());
        let events = hub.events();
        hub.emit(table.machine.lookup(name).cloned());
        table.watches.push((name.to_owned(), hub));
        events
    }

    /// Calls `f` at every change of any name.
    pub fn on_event(&self, f: impl FnMut(&GlobalEvent) + Send + 'static) -> Subscription {
        self.net.names.events.on(f)
    }
}
