//! The shell around the groups machine.
//!
//! As that of the names, it stands behind a lock, and what it wants said is said under that lock: peers hear of changes in
//! the order in which they happened.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use noex_actors::{
    __private::{Hub, check_process_name},
    Events, Incarnation, NameError, Node, NodeId, Pid,
    route::Watcher,
};
use parking_lot::Mutex;

use super::{GroupEvent, ProcessGroupsStats};
use crate::{
    link::Link,
    machine::groups::{self, JoinError, MAX_MEMBERSHIPS, Membership, Output},
    net::Net,
    stats::Counter,
    wire::{control::Control, limits::MAX_MEMBERS},
};

/// How long a piece for a fresh session waits for room in the outbox. Then it goes out all the same: a peer that is always
/// busy must hear of the members, too.
const ROOM: Duration = Duration::from_secs(1);
/// Watched groups from which on those that nobody hears of any more are looked for again.
const MANY_WATCHES: usize = 100;

struct Table {
    machine: groups::Groups,
    watches: BTreeMap<String, Hub<GroupEvent>>,
    sweep_at: usize,
    /// Processes of this node whose end is awaited.
    watched: BTreeSet<u64>,
}

/// The shell around the groups machine.
pub(crate) struct Groups {
    node: Node,
    table: Mutex<Table>,
    pub(super) broadcasts_sent: Counter,
    broadcasts_received: Counter,
    updates_refused: Counter,
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Groups")
    }
}

impl Groups {
    pub(crate) fn new(node: &Node) -> Self {
        let table = Table {
            machine: groups::Groups::new(node.id().clone(), node.incarnation()),
            watches: BTreeMap::new(),
            sweep_at: MANY_WATCHES,
            watched: BTreeSet::new(),
        };
        let counter = Counter::default;
        Self {
            node: node.clone(),
            table: Mutex::new(table),
            broadcasts_sent: counter(),
            broadcasts_received: counter(),
            updates_refused: counter(),
        }
    }

    pub(super) fn join(&self, net: &Arc<Net>, group: &str, pid: &Pid) -> Result<(), NameError> {
        check_process_name(group)?;
        let here = self.is_own(pid) && self.node.process_by_number(pid.number()).is_some();
        if !here {
            return Err(NameError::NoProc(pid.clone()));
        }
        let number = pid.number();
        let first = {
            let mut table = self.table.lock();
            let mut out = VecDeque::new();
            table.machine.join(group, number, &mut out).map_err(|error| match error {
                JoinError::TooMany => NameError::TooMany { max: MAX_MEMBERSHIPS },
                JoinError::InvalidName => NameError::Invalid { name: group.to_owned(), reason: "no name" },
            })?;
            let first = table.watched.insert(number);
            Self::perform(net, &mut table, out);
            first
        };
        if first {
            // One watch for all its memberships, to its end. One that ended meanwhile tells at once.
            let net = Arc::downgrade(net);
            let ended = move |_| {
                if let Some(net) = net.upgrade() {
                    net.groups.process_ended(&net, number);
                }
            };
            self.node.monitor(pid, Watcher::Callback(Box::new(ended)), |_| {});
        }
        Ok(())
    }

    pub(super) fn leave(&self, net: &Net, group: &str, pid: &Pid) -> bool {
        self.is_own(pid) && self.change(net, |machine, out| machine.leave(group, pid.number(), out))
    }

    fn is_own(&self, pid: &Pid) -> bool {
        pid.node_id() == self.node.id() && pid.incarnation() == self.node.incarnation()
    }

    fn process_ended(&self, net: &Net, number: u64) {
        self.table.lock().watched.remove(&number);
        self.change(net, |machine, out| machine.process_ended(number, out));
    }

    fn change<T>(&self, net: &Net, f: impl FnOnce(&mut groups::Groups, &mut VecDeque<Output>) -> T) -> T {
        let mut table = self.table.lock();
        let mut out = VecDeque::new();
        let result = f(&mut table.machine, &mut out);
        Self::perform(net, &mut table, out);
        result
    }

    fn perform(net: &Net, table: &mut Table, out: VecDeque<Output>) {
        let mut said = Vec::new();
        for output in out {
            match output {
                Output::Tell(membership) => said.push(membership),
                Output::Joined { group, pid } => Self::tell(table, &group, || GroupEvent::Joined(pid)),
                Output::Left { group, pid } => Self::tell(table, &group, || GroupEvent::Left(pid)),
            }
        }
        if said.is_empty() {
            return;
        }
        let up = net.up.read();
        for piece in said.chunks(MAX_MEMBERS) {
            let message = Control::Groups(piece.to_vec());
            up.values().for_each(|link| link.control(&message));
        }
    }

    fn tell(table: &mut Table, group: &str, event: impl FnOnce() -> GroupEvent) {
        let Some(hub) = table.watches.get(group) else { return };
        hub.emit(event());
        if !hub.is_heard() {
            table.watches.remove(group);
        }
    }

    /// A peer says something of its members.
    pub(crate) fn merge(&self, link: &Link, said: &[Membership]) {
        let refused = self.change(&link.net, |machine, out| {
            let taken = |said: &&Membership| !machine.merge(&link.peer, link.incarnation, said, out);
            said.iter().filter(taken).count()
        });
        if let Some(refused) = self.updates_refused.add_and_note(refused) {
            tracing::warn!(peer = %link.peer, refused, "memberships of a peer are refused: too many, or no names");
        }
    }

    /// A session is up, and the peer hears of changes already: it hears of all there is, a piece a turn.
    pub(crate) fn session_up(link: &Arc<Link>) {
        link.spawn_at_home(tell_all(Arc::downgrade(link)));
    }

    /// The next piece for a fresh session. `None` when all is told.
    fn tell_piece(&self, link: &Link, last: Option<&Membership>) -> Option<Membership> {
        let table = self.table.lock();
        let piece = table.machine.piece(last, MAX_MEMBERS);
        let last = piece.last().cloned()?;
        link.control(&Control::Groups(piece));
        Some(last)
    }

    /// The session is over.
    pub(crate) fn node_down(&self, net: &Net, id: &NodeId) {
        let left = {
            let mut table = self.table.lock();
            let Table { machine, watches, .. } = &mut *table;
            let mut out = VecDeque::new();
            let left = machine.node_down(id, |group| watches.contains_key(group), &mut out);
            Self::perform(net, &mut table, out);
            left
        };
        // A hundred thousand memberships take a while.
        drop(left);
    }

    /// The numbers of the members on this node.
    pub(crate) fn local_targets(&self, group: &str) -> Vec<u64> {
        self.broadcasts_received.one();
        self.table.lock().machine.local_members(group).map(|(number, _)| number).collect()
    }

    pub(super) fn targets(&self, group: &str) -> Vec<(NodeId, Incarnation, Vec<u64>)> {
        let table = self.table.lock();
        let targets = table.machine.targets(group);
        targets.map(|(node, life, members)| (node.clone(), life, members.keys().copied().collect())).collect()
    }

    pub(super) fn members(&self, group: &str) -> Vec<Pid> {
        let table = self.table.lock();
        let members = table.machine.members(group);
        members.flat_map(|(pid, count)| (0..count).map(move |_| pid.clone())).collect()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.table.lock().machine.groups().into_iter().map(str::to_owned).collect()
    }

    pub(super) fn watch(&self, group: &str) -> Events<GroupEvent> {
        let mut table = self.table.lock();
        if table.watches.len() >= table.sweep_at {
            table.watches.retain(|_, hub| hub.is_heard());
            table.sweep_at = MANY_WATCHES.max(2 * table.watches.len());
        }
        let hub = table.watches.entry(group.to_owned()).or_insert_with(|| Hub::new(self.node.next_arbiter()));
        hub.events()
    }

    pub(super) fn stats(&self) -> ProcessGroupsStats {
        let table = self.table.lock();
        let (local, total) = table.machine.totals();
        ProcessGroupsStats {
            total_groups: table.machine.groups().len(),
            total_memberships: total,
            local_memberships: local,
            broadcasts_sent: self.broadcasts_sent.get(),
            broadcasts_received: self.broadcasts_received.get(),
            updates_refused: self.updates_refused.get(),
        }
    }

    /// The node stops: streams of events end.
    pub(crate) fn close(&self) {
        self.table.lock().watches.clear();
    }

    /// How many memberships other nodes have.
    #[cfg(feature = "__fuzz")]
    pub(crate) fn remote_total(&self) -> usize {
        let (local, total) = self.table.lock().machine.totals();
        total - local
    }
}

async fn tell_all(link: Weak<Link>) {
    let mut last = None;
    while let Some(link) = link.upgrade() {
        let _ = actix_rt::time::timeout(ROOM, link.outbox.ready(None)).await;
        last = link.net.groups.tell_piece(&link, last.as_ref());
        if last.is_none() || link.is_over() {
            return;
        }
        drop(link);
        tokio::task::yield_now().await;
    }
}
