//! Between two nodes: what a peer is told of the names of this node as its session begins, and what it says of its own.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    time::Duration,
};

use noex_actors::NodeId;

use super::{
    GlobalEvent,
    names::{Names, Table},
};
use crate::{
    link::{Broken, Link},
    machine::names::{Gap, Taken, Telling, Told},
    net::Net,
    wire::limits::MAX_NAMES,
};

/// How long a piece for a fresh session waits for room in the outbox. Then it goes out all the same: a peer that is always
/// busy must hear of the names, too.
const ROOM: Duration = Duration::from_secs(1);

impl Names {
    /// A peer says what changed of its names.
    pub(crate) fn told(&self, link: &Link, told: Told) -> Result<(), Broken> {
        let count = told.updates.len();
        self.updates_received.add(u64::try_from(count).unwrap_or(u64::MAX));
        let mut table = self.table.lock();
        let mut out = VecDeque::new();
        let taken = table.machine.told(&link.peer, link.incarnation, told, self.node.now(), &mut out);
        let Taken { refused, synced } = taken.map_err(|Gap| Broken::NamesGap)?;
        table.syncs += u64::from(synced.is_some());
        self.finish(&link.net, &mut table, count, out);
        if let Some(count) = synced {
            self.events.emit(GlobalEvent::Synced { node: link.peer.clone(), count });
        }
        drop(table);
        if let Some(refused) = self.updates_refused.add_and_note(refused) {
            tracing::warn!(peer = %link.peer, refused, "names of a peer are refused: too many, too long, or no names");
        }
        Ok(())
    }

    /// Up to which change the names of a peer are known.
    pub(crate) fn known(&self, link: &Link) -> u64 {
        self.table.lock().machine.known(&link.peer, link.incarnation)
    }

    /// A session is up, with a peer that says up to which change it knows the names of this node: it hears of those after
    /// it, a piece a turn, and from then on of changes.
    pub(crate) fn session_up(&self, link: &Arc<Link>, known: u64) {
        let mut table = self.table.lock();
        table.machine.session_up(&link.peer, link.incarnation);
        let mut telling = table.machine.tell_from(known);
        let done = self.tell(&mut table, link, &mut telling);
        link.net.up.write().insert(link.peer.clone(), Arc::clone(link));
        drop(table);
        if !done {
            link.spawn_at_home(tell_all(Arc::downgrade(link), telling));
        }
    }

    /// Tells the next piece. True if that was the last.
    fn tell(&self, table: &mut Table, link: &Arc<Link>, telling: &mut Telling) -> bool {
        let Some(told) = table.machine.piece(telling, MAX_NAMES) else {
            tracing::warn!(peer = %link.peer, "it hears of names too slowly; the connection ends");
            link.shut_down();
            return true;
        };
        let done = told.done;
        let count = told.updates.len();
        link.control(&told.into());
        if done {
            table.listeners.insert(link.peer.clone(), Arc::downgrade(link));
        }
        self.finish(&link.net, table, count, VecDeque::new());
        done
    }

    /// Tells the next piece, if the session is not over. True if there is no more.
    fn tell_more(&self, link: &Arc<Link>, telling: &mut Telling) -> bool {
        let mut table = self.table.lock();
        let is_up = link.net.up.read().get(&link.peer).is_some_and(|up| Arc::ptr_eq(up, link));
        !is_up || self.tell(&mut table, link, telling)
    }

    /// The session is over.
    pub(crate) fn node_down(&self, net: &Arc<Net>, id: &NodeId) {
        let removed = net.up.write().remove(id);
        drop(removed);
        let mut table = self.table.lock();
        table.listeners.remove(id);
        table.machine.node_down(id);
        self.finish(net, &mut table, 0, VecDeque::new());
    }
}

/// Tells a fresh session the rest, when there is room for it.
async fn tell_all(link: Weak<Link>, mut telling: Telling) {
    while let Some(link) = link.upgrade() {
        let _ = actix_rt::time::timeout(ROOM, link.outbox.ready(None)).await;
        if link.is_over() || link.net.names.tell_more(&link, &mut telling) {
            return;
        }
        drop(link);
        tokio::task::yield_now().await;
    }
}
