//! Who may have a behavior started from outside, and how often.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::BehaviorRegistry;
use crate::{DuplicateBehavior, NodeId, RemoteBehavior, machine::glob::Glob};

/// Some of the other nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Peers {
    /// Every node of the cluster.
    #[default]
    All,
    /// No other node.
    None,
    /// Nodes whose name (the part of the id before `@`) one of these patterns means: `*` and `?` stand for what they do in
    /// [`UniqueRegistry`](crate::UniqueRegistry). Who holds the secret may take any free name: this keeps mistakes out, not enemies.
    Names(Vec<String>),
}

/// How other nodes may start a behavior. What runs on this node, or was started by it, is not concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BehaviorOptions {
    spawn_from: Peers,
    max_instances: Option<usize>,
}

impl BehaviorOptions {
    /// Every node may, as often as it likes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Which nodes may start it; the others get [`SpawnError::Forbidden`](crate::SpawnError::Forbidden). Default: all.
    #[must_use]
    pub fn spawn_from(mut self, peers: Peers) -> Self {
        self.spawn_from = peers;
        self
    }

    /// How many that other nodes started may live at the same time on this node; what is beyond fails with
    /// [`SpawnError::Quota`](crate::SpawnError::Quota). Default: no limit but that of each peer, `max_spawned_per_peer`.
    #[must_use]
    pub fn max_instances(mut self, instances: usize) -> Self {
        self.max_instances = Some(instances);
        self
    }
}

/// Why a peer may not start a behavior.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdmitted {
    /// It is not one of those that may.
    Forbidden,
    /// So many are alive already.
    Full(usize),
}

/// The options of one behavior, and what lives by them.
pub(super) struct Admission {
    globs: Option<Vec<Glob>>,
    max: usize,
    alive: AtomicUsize,
}

impl Admission {
    fn new(options: BehaviorOptions) -> Self {
        let globs = match options.spawn_from {
            Peers::All => None,
            Peers::None => Some(Vec::new()),
            Peers::Names(patterns) => Some(patterns.iter().map(|pattern| Glob::new(pattern)).collect()),
        };
        Self { globs, max: options.max_instances.unwrap_or(usize::MAX), alive: AtomicUsize::new(0) }
    }

    fn admit(self: &Arc<Self>, peer: &NodeId) -> Result<Admitted, NotAdmitted> {
        let may = |globs: &Vec<Glob>| globs.iter().any(|glob| glob.means(peer.name()));
        if !self.globs.as_ref().is_none_or(may) {
            return Err(NotAdmitted::Forbidden);
        }
        let room = |alive: usize| (alive < self.max).then(|| alive + 1);
        match self.alive.fetch_update(Ordering::AcqRel, Ordering::Acquire, room) {
            Ok(_) => Ok(Admitted(Some(Arc::clone(self)))),
            Err(_full) => Err(NotAdmitted::Full(self.max)),
        }
    }
}

/// A process that a peer may start, or started. Keep it as long as the process lives.
#[doc(hidden)]
#[derive(Default)]
pub struct Admitted(Option<Arc<Admission>>);

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some(admission) = &self.0 {
            admission.alive.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl fmt::Debug for Admitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admitted")
    }
}

impl BehaviorRegistry {
    /// Adds a behavior that other nodes may start as `options` say. The same one again takes the new options; what lives by the
    /// old ones is not counted any more.
    ///
    /// # Errors
    /// [`DuplicateBehavior`] when another type has the name.
    pub fn register_with<B: RemoteBehavior>(
        &self,
        options: BehaviorOptions,
    ) -> Result<(), DuplicateBehavior> {
        // First: nobody finds it without them.
        let admission = Arc::new(Admission::new(options));
        self.register_as::<B>(Some(admission))
    }

    /// Whether a peer may have that behavior started. Of one that is not registered nothing is said.
    ///
    /// # Errors
    /// [`NotAdmitted`].
    #[doc(hidden)]
    pub fn admit(&self, behavior: &str, peer: &NodeId) -> Result<Admitted, NotAdmitted> {
        let admission = self.table.read().admissions.get(behavior).cloned();
        admission.map_or_else(|| Ok(Admitted::default()), |admission| admission.admit(peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(options: BehaviorOptions) -> Arc<Admission> {
        Arc::new(Admission::new(options))
    }

    #[test]
    fn names_decide_who_may_start_it() {
        let [web, db] = ["web-1@h:1", "db@h:1"].map(|id| NodeId::parse(id).unwrap());
        for (peers, may) in [
            (Peers::All, [true, true]),
            (Peers::None, [false, false]),
            (Peers::Names(vec!["web-*".to_owned(), "x".to_owned()]), [true, false]),
        ] {
            let admission = admission(BehaviorOptions::new().spawn_from(peers));
            assert_eq!([&web, &db].map(|peer| admission.admit(peer).is_ok()), may);
        }
    }

    #[test]
    fn a_place_comes_back_with_the_end_of_its_process() {
        let peer = NodeId::parse("a@h:1").unwrap();
        let admission = admission(BehaviorOptions::new().max_instances(2));
        let first = admission.admit(&peer).unwrap();
        let _second = admission.admit(&peer).unwrap();
        assert!(matches!(admission.admit(&peer), Err(NotAdmitted::Full(2))));
        drop(first);
        assert!(admission.admit(&peer).is_ok());
    }
}
