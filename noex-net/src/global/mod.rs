//! Names of the whole cluster: the handle of users, and the shell around the names machine.
//!
//! The machine stands behind a lock, as reads are immediate and `register` answers at once. What it wants done is
//! done under that lock, so that peers hear of changes in the order in which they happened.

mod claim;
mod conflict;
mod names;
mod sync;

use std::{fmt, sync::Arc, time::Duration};

use noex_actors::{
    __private::check_process_name, Events, NameError, NodeId, Pid, Ref, RemoteBehavior, Subscription, Via,
    WrongBehavior,
};

pub use self::conflict::{ConflictHandler, NameConflict, OnConflict};
pub(crate) use self::names::Names;
use crate::{machine, net::Net};

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
    /// A node told, as it came, of all its names that were not known.
    Synced {
        /// The node.
        node: NodeId,
        /// How many names it has.
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
    /// How often a node that came has told of its names.
    pub sync_operations: u64,
    /// Conflicts resolved.
    pub conflicts_resolved: u64,
    /// How many times another node has told of one of its names. Of a node that comes back, only what changed is told.
    pub updates_received: u64,
    /// Names of other nodes that were not taken: more than 100 000 of one node, too long, or no names.
    pub updates_refused: u64,
    /// The most names that were told, heard of or taken away at once. Then all others have their turn.
    pub largest_turn: usize,
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

    fn read<T>(&self, f: impl FnOnce(&machine::names::Names) -> T) -> T {
        self.net.names.read(f)
    }

    /// Registers a process of this node. The same holder again is fine. Answers at once, and provisionally.
    ///
    /// # Errors
    /// [`NameError::Taken`], [`NameError::Invalid`], [`NameError::NoProc`] for a process that is not on this node, or
    /// [`NameError::TooMany`]: a node has 100 000 names at most.
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

    /// Registers a process of this node under a name that only one process of the cluster is to have. Every connected
    /// node is asked before and after: one of them may be connected to a holder that this node does not know of yet, as on a
    /// node that was just started, or at the end of a partition. While there is one this waits, for the time in which a silent
    /// node is found dead ([`ClusterConfig::detection_time`](crate::ClusterConfig::detection_time)) at most. In a quiet
    /// cluster it takes two round trips.
    ///
    /// It says nothing of nodes that are out of reach of all that were asked: there somebody may have the name, and one of the two
    /// loses it when they meet.
    ///
    /// # Errors
    /// As [`register`](Self::register); [`NameError::Taken`] may name a holder that this node is not connected to. The name is
    /// not the process's then.
    ///
    /// # Cancel safety
    /// Dropped before it ends, the process may have the name.
    pub async fn claim(
        &self,
        name: &str,
        process: &impl AsRef<Pid>,
        on_conflict: OnConflict,
    ) -> Result<(), NameError> {
        let process = self.net.node.resolve_any(process.as_ref(), None);
        claim::claim(&self.net, name, &process, on_conflict).await
    }

    /// Who has the name on another node, as the connected ones say. One of them may be connected to a holder that this node does
    /// not know of yet. Who does not answer in that time says nothing.
    #[doc(hidden)]
    pub async fn heard_of(&self, name: &str, timeout: Duration) -> Option<Pid> {
        claim::heard_of(&self.net, name, timeout).await
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
        let names: Vec<_> = self.read(|names| names.entries().map(|(name, _)| Arc::clone(name)).collect());
        names.iter().map(ToString::to_string).collect()
    }

    /// How many names there are. Those of a lost node are taken away portion by portion: [`names`](Self::names) leaves them out
    /// at once, and this counts them until it is their turn.
    #[must_use]
    pub fn count(&self) -> usize {
        self.read(|names| names.totals().0)
    }

    /// The names of processes on one node, sorted.
    #[must_use]
    pub fn entries_for_node(&self, id: &NodeId) -> Vec<(String, Pid)> {
        let entries = self.read(|names| names.entries_of(id));
        entries.into_iter().map(|(name, pid)| (name.to_string(), pid)).collect()
    }

    /// Figures.
    #[must_use]
    pub fn stats(&self) -> GlobalRegistryStats {
        self.net.names.stats()
    }

    /// Who has the name: now, and at every change.
    #[must_use]
    pub fn watch(&self, name: &str) -> Events<Option<Pid>> {
        self.net.names.watch(name)
    }

    /// Calls `f` at every change of any name.
    pub fn on_event(&self, f: impl FnMut(&GlobalEvent) + Send + 'static) -> Subscription {
        self.net.names.events.on(f)
    }
}
