//! The local supervisors of a node, by their processes: how a handle is found again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use noex_actors::{Node, Pid, Ref};
use parking_lot::Mutex;

use super::{Shared, SupervisorProcess};
use crate::supervisor::Supervisor;

/// The table. A supervisor is in it while its process has a state.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<BTreeMap<Pid, Weak<Shared>>>);

impl Known {
    /// That of a node.
    pub(crate) fn of(node: &Node) -> Arc<Self> {
        node.extension_or_init(Self::default)
    }

    pub(super) fn insert(&self, pid: &Pid, shared: &Arc<Shared>) {
        self.0.lock().insert(pid.clone(), Arc::downgrade(shared));
    }

    pub(super) fn remove(&self, pid: &Pid) {
        self.0.lock().remove(pid);
    }

    /// The handle of the supervisor with this process, if it runs.
    pub(crate) fn supervisor(&self, process: Ref<SupervisorProcess>) -> Option<Supervisor> {
        let shared = self.0.lock().get(process.pid()).and_then(Weak::upgrade)?;
        Some(Supervisor::new(process, shared))
    }
}
