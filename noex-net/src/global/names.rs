//! The shell around the names machine.
//!
//! The machine stands behind a lock, as reads are immediate and `register` answers at once. What it wants done is
//! done under that lock, so that peers hear of changes in the order in which they happened.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::{Arc, Weak},
};

use noex_actors::{
    __private::{Hub, check_process_name},
    AnyRef, Events, Monotonic, NameError, Node, NodeId, Pid,
    route::Watcher,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{GlobalEvent, GlobalRegistryStats, OnConflict};
use crate::{
    link::Link,
    machine::names::{self, Held, MAX_ENTRIES, Name, Output, RegisterError},
    net::Net,
    stats::Counter,
    wire::{control::Control, limits::MAX_NAMES},
};

/// Watched names from which on those that nobody hears of any more are looked for again.
const MANY_WATCHES: usize = 100;

pub(super) struct Table {
    pub(super) machine: names::Names,
    /// Peers that know all that was told: they are told of changes. Weak, as a link keeps the node, and the node this table: of a
    /// node that stops, nobody may be left who hears that the session is over.
    pub(super) listeners: BTreeMap<NodeId, Weak<Link>>,
    /// Processes of this node, by number, whose end is awaited.
    monitored: BTreeSet<u64>,
    /// Of these processes, for some of their names; the others have the default.
    policies: BTreeMap<u64, BTreeMap<String, OnConflict>>,
    watches: BTreeMap<String, Vec<Hub<Option<Pid>>>>,
    sweep_at: usize,
    pub(super) syncs: u64,
    conflicts: u64,
    largest_turn: usize,
}

impl Table {
    fn policy_of(&mut self, process: u64, name: &str) -> OnConflict {
        let policy = self.policies.get_mut(&process).and_then(|names| names.remove(name));
        policy.unwrap_or_default()
    }

    /// Returns the former one: it may be of a user, and is not dropped under the lock.
    fn set_policy(&mut self, process: u64, name: &str, policy: OnConflict) -> Option<OnConflict> {
        if matches!(policy, OnConflict::NotifyLoser) {
            self.policies.get_mut(&process)?.remove(name)
        } else {
            self.policies.entry(process).or_default().insert(name.to_owned(), policy)
        }
    }
}

/// The shell around the names machine.
pub(crate) struct Names {
    pub(super) node: Node,
    pub(super) table: Mutex<Table>,
    pub(super) events: Hub<GlobalEvent>,
    pub(super) updates_received: Counter,
    pub(super) updates_refused: Counter,
    /// There is work for another turn.
    more: Notify,
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
            listeners: BTreeMap::new(),
            monitored: BTreeSet::new(),
            policies: BTreeMap::new(),
            watches: BTreeMap::new(),
            sweep_at: MANY_WATCHES,
            syncs: 0,
            conflicts: 0,
            largest_turn: 0,
        };
        Self {
            node: node.clone(),
            table: Mutex::new(table),
            events: Hub::new(node.next_arbiter()),
            updates_received: Counter::default(),
            updates_refused: Counter::default(),
            more: Notify::new(),
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
        let mut replaced = None;
        {
            let mut table = self.table.lock();
            let mut out = VecDeque::new();
            let registered = table.machine.register(name, held, self.node.now(), &mut out);
            first = registered.is_ok() && table.monitored.insert(pid.number());
            if registered.is_ok() {
                replaced = table.set_policy(pid.number(), name, on_conflict);
            }
            self.finish(net, &mut table, 1, out);
            registered.map_err(|error| match error {
                RegisterError::Taken(holder) => NameError::Taken { name: name.to_owned(), holder },
                RegisterError::InvalidName => {
                    NameError::Invalid { name: name.to_owned(), reason: "it must have 1 to 255 bytes" }
                }
                RegisterError::NotLocal => NameError::NoProc(pid.clone()),
                RegisterError::TooMany => NameError::TooMany { max: MAX_ENTRIES },
            })?;
        }
        drop(replaced);
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
        self.let_go(net, name, |machine, now, out| machine.unregister(name, now, out))
    }

    /// Gives a name up, and with it what its holder wanted for a conflict.
    pub(super) fn let_go<T>(
        &self,
        net: &Arc<Net>,
        name: &str,
        f: impl FnOnce(&mut names::Names, Monotonic, &mut VecDeque<Output>) -> T,
    ) -> T {
        let mut table = self.table.lock();
        let before = table.machine.lookup(name).filter(|pid| pid.node_id() == self.node.id()).cloned();
        let mut out = VecDeque::new();
        let result = f(&mut table.machine, self.node.now(), &mut out);
        let gone = before.filter(|pid| table.machine.lookup(name) != Some(pid));
        let policy = gone.map(|pid| table.policy_of(pid.number(), name));
        self.finish(net, &mut table, 1, out);
        drop(table);
        // It may be of a user.
        drop(policy);
        result
    }

    fn process_ended(&self, net: &Arc<Net>, pid: &Pid) {
        let mut table = self.table.lock();
        // Together: whoever finds that its end is not awaited awaits it.
        table.monitored.remove(&pid.number());
        let policies = table.policies.remove(&pid.number());
        table.machine.process_ended(pid);
        self.finish(net, &mut table, 0, VecDeque::new());
        drop(table);
        drop(policies);
    }

    /// A peer asks to give up a name.
    pub(crate) fn unregister_requested(&self, name: &str, number: u64) {
        let pid = Pid::new(self.node.id().clone(), self.node.incarnation(), number);
        let Some(net) = self.node.extension::<Weak<Net>>().and_then(|net| net.upgrade()) else { return };
        self.let_go(&net, name, |machine, now, out| machine.unregister_requested(name, &pid, now, out));
    }

    /// Now and then: something may be due to be forgotten.
    pub(crate) fn look(&self) {
        self.more.notify_one();
    }

    /// Does what is work for each of many names, a turn at a time, for ever.
    pub(crate) async fn work(&self, net: &Arc<Net>) {
        loop {
            self.more.notified().await;
            while self.turn(net) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// True if there is more.
    fn turn(&self, net: &Arc<Net>) -> bool {
        let mut table = self.table.lock();
        let now = self.node.now();
        table.machine.deadline_reached(MAX_NAMES, now);
        self.finish(net, &mut table, 0, VecDeque::new());
        table.machine.has_work() || table.machine.deadline().is_some_and(|at| at <= now)
    }

    pub(crate) async fn close(&self) {
        self.events.close().await;
        self.table.lock().watches.clear();
    }

    /// How many names a node holds.
    #[cfg(feature = "__fuzz")]
    pub(crate) fn count_of(&self, id: &NodeId) -> usize {
        self.read(|machine| machine.entries_of(id).len())
    }

    pub(crate) fn read<T>(&self, f: impl FnOnce(&names::Names) -> T) -> T {
        f(&self.table.lock().machine)
    }

    pub(super) fn stats(&self) -> GlobalRegistryStats {
        let table = self.table.lock();
        let (total, local) = table.machine.totals();
        GlobalRegistryStats {
            total_registrations: total,
            local_registrations: local,
            remote_registrations: total.saturating_sub(local),
            sync_operations: table.syncs,
            conflicts_resolved: table.conflicts,
            updates_received: self.updates_received.get(),
            updates_refused: self.updates_refused.get(),
            largest_turn: table.largest_turn,
        }
    }

    pub(super) fn watch(&self, name: &str) -> Events<Option<Pid>> {
        let hub = Hub::new(self.node.next_arbiter());
        let events = hub.events();
        let mut table = self.table.lock();
        if table.watches.len() >= table.sweep_at {
            table.watches.retain(|_, hubs| hubs.iter().any(Hub::is_heard));
            table.sweep_at = MANY_WATCHES.max(2 * table.watches.len());
        }
        hub.emit(table.machine.last_told(name).cloned());
        let hubs = table.watches.entry(name.to_owned()).or_default();
        hubs.retain(Hub::is_heard);
        hubs.push(hub);
        events
    }

    /// The end of a turn that took so many names: works on others as long as there is room, does what is to be done, and
    /// tells those who know all else.
    pub(super) fn finish(&self, net: &Net, table: &mut Table, taken: usize, mut out: VecDeque<Output>) {
        let room = MAX_NAMES.saturating_sub(taken);
        let worked = table.machine.work(room, self.node.now(), &mut out);
        table.largest_turn = table.largest_turn.max(taken + worked);
        out.into_iter().for_each(|output| self.perform(net, table, output));
        while let Some(told) = table.machine.news(MAX_NAMES) {
            let message = told.into();
            table.listeners.values().filter_map(Weak::upgrade).for_each(|link| link.control(&message));
        }
        if table.machine.has_work() {
            self.more.notify_one();
        }
    }

    fn perform(&self, net: &Net, table: &mut Table, output: Output) {
        match output {
            Output::RequestUnregister { to, name, pid } => {
                if let Some(link) = net.link(&to) {
                    link.control(&Control::Unregister { name, number: pid.number() });
                }
            }
            Output::Lost { name, winner, loser } => {
                table.policy_of(loser.number(), &name).apply(&self.node, &name, &winner, &loser);
            }
            Output::Changed { name, before, now } => self.changed(table, &name, before, now),
            Output::ConflictResolved { name, winner, loser } => {
                table.conflicts += 1;
                tracing::warn!(%name, %winner, %loser, "two processes had one global name");
                let name = name.to_string();
                self.events.emit_with(|| GlobalEvent::ConflictResolved { name, winner, loser });
            }
        }
    }

    fn changed(&self, table: &mut Table, name: &Name, before: Option<Pid>, now: Option<Pid>) {
        if let Some(hubs) = table.watches.get_mut(&**name) {
            hubs.iter().for_each(|hub| hub.emit(now.clone()));
            hubs.retain(Hub::is_heard);
            if hubs.is_empty() {
                table.watches.remove(&**name);
            }
        }
        let name = || name.to_string();
        match (before, now) {
            (_, Some(pid)) => self.events.emit_with(|| GlobalEvent::Registered { name: name(), pid }),
            (Some(pid), None) => self.events.emit_with(|| GlobalEvent::Unregistered { name: name(), pid }),
            (None, None) => {}
        }
    }
}
