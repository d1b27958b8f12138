//! What a node keeps for all distributed supervisors: events, totals, the last known views, starts on their way.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use actix_rt::ArbiterHandle;
use noex_actors::{__private::Hub, Node, Pid};
use parking_lot::Mutex;

use super::{event::DistributedSupervisorEvent, views::SupervisorView};
use crate::{actor::distributed::Args, info::SupervisorExit};

/// Totals of all distributed supervisors that run, or ran, on one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SupervisorTotals {
    /// Instances started in place of an earlier one; restarts because of a sibling are not counted.
    pub restarts: u64,
    /// Nodes lost that had children.
    pub failovers: u64,
}

#[derive(Debug)]
pub(crate) struct Desk {
    /// Events of all.
    pub(crate) hub: Hub<DistributedSupervisorEvent>,
    /// Events of each, by id, until it ends.
    hubs: Mutex<BTreeMap<String, Arc<Hub<DistributedSupervisorEvent>>>>,
    arbiter: ArbiterHandle,
    /// What a process is started with cannot travel in its arguments: closures, channels.
    tickets: Mutex<BTreeMap<u64, Args>>,
    next_ticket: AtomicU64,
    restarts: AtomicU64,
    failovers: AtomicU64,
    /// By name: the last view of each supervisor in the cluster that this node saw.
    pub(crate) views: Mutex<BTreeMap<String, SupervisorView>>,
    /// How supervisors of this node ended. Those that began first are forgotten first.
    exits: Mutex<BTreeMap<Pid, SupervisorExit>>,
}

/// How many ends are remembered.
const REMEMBERED: usize = 1024;

impl Desk {
    /// The desk of a node.
    pub(crate) fn of(node: &Node) -> Arc<Self> {
        node.extension_or_init(|| Self {
            hub: Hub::new(node.control().clone()),
            hubs: Mutex::default(),
            arbiter: node.control().clone(),
            tickets: Mutex::default(),
            next_ticket: AtomicU64::new(1),
            restarts: AtomicU64::new(0),
            failovers: AtomicU64::new(0),
            views: Mutex::default(),
            exits: Mutex::default(),
        })
    }

    /// Where the events of one supervisor come out.
    pub(crate) fn hub_of(&self, id: &str) -> Arc<Hub<DistributedSupervisorEvent>> {
        let mut hubs = self.hubs.lock();
        let hub = hubs.entry(id.to_owned()).or_insert_with(|| Arc::new(Hub::new(self.arbiter.clone())));
        Arc::clone(hub)
    }

    /// Tells everybody. After the end of a supervisor its own streams end.
    pub(crate) fn tell(&self, event: DistributedSupervisorEvent) {
        let own = match &event {
            DistributedSupervisorEvent::SupervisorStopped { supervisor_id, .. } => {
                self.hubs.lock().remove(supervisor_id)
            }
            other => self.hubs.lock().get(other.supervisor_id()).cloned(),
        };
        let over = matches!(event, DistributedSupervisorEvent::SupervisorStopped { .. });
        self.hub.emit(event.clone());
        if let Some(own) = own {
            own.emit(event);
            if over {
                drop(own.close());
            }
        }
    }

    pub(crate) fn deposit(&self, args: Args) -> u64 {
        let ticket = self.next_ticket.fetch_add(1, Ordering::Relaxed);
        self.tickets.lock().insert(ticket, args);
        ticket
    }

    pub(crate) fn collect(&self, ticket: u64) -> Option<Args> {
        self.tickets.lock().remove(&ticket)
    }

    pub(crate) fn count(&self, restarts: u64, failovers: u64) {
        self.restarts.fetch_add(restarts, Ordering::Relaxed);
        self.failovers.fetch_add(failovers, Ordering::Relaxed);
    }

    pub(crate) fn totals(&self) -> SupervisorTotals {
        SupervisorTotals {
            restarts: self.restarts.load(Ordering::Relaxed),
            failovers: self.failovers.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn ended(&self, pid: &Pid, exit: SupervisorExit) {
        let mut exits = self.exits.lock();
        if exits.len() >= REMEMBERED {
            exits.pop_first();
        }
        exits.insert(pid.clone(), exit);
    }

    /// How it ended that ran here, as long as that is remembered.
    pub(crate) fn exit(&self, pid: &Pid) -> Option<SupervisorExit> {
        self.exits.lock().get(pid).cloned()
    }
}
