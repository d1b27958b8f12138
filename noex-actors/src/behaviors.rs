//! Which behaviors a node knows by name: what may be started and addressed from elsewhere.
//!
//! Explicit, one registry per node. Only what stands here can be spawned by other nodes, and only processes of such
//! behaviors can be reached by them.

mod admission;
mod codec;

use std::{
    any::{Any, TypeId},
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
};

use futures_util::future::BoxFuture;
use parking_lot::RwLock;
use sha2::{Digest, Sha256};

use self::admission::Admission;
pub use self::admission::{Admitted, BehaviorOptions, NotAdmitted, Peers};
pub(crate) use self::codec::{RemoteCodec, Served};
use crate::{AnyRef, Behavior, Node, RemoteBehavior, SpawnError, SpawnOptions, host, payload::decode};

/// The hash of a behavior on the wire: the first four bytes of the SHA-256 of its name, little endian.
///
/// The same everywhere: with it a process is addressed whose node has not announced the behavior. Two names of one hash cannot
/// be registered on one node.
#[must_use]
pub fn behavior_number(name: &str) -> u32 {
    let hash = Sha256::digest(name.as_bytes());
    hash.iter().take(4).rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

trait Factory: Send + Sync {
    fn spawn(
        &self,
        node: &Node,
        args: &[u8],
        options: SpawnOptions,
    ) -> BoxFuture<'static, Result<AnyRef, SpawnError>>;
    fn codec(&self) -> &dyn Any;
    /// What its messages look like, as other nodes are told.
    fn schema(&self) -> &[u8];
    /// The same behavior under a number.
    fn numbered(&self, number: u32) -> Arc<dyn Factory>;
}

struct FactoryOf<B: RemoteBehavior>(Arc<Served<B>>, OnceLock<Vec<u8>>);

impl<B: RemoteBehavior> Factory for FactoryOf<B> {
    fn spawn(
        &self,
        node: &Node,
        args: &[u8],
        options: SpawnOptions,
    ) -> BoxFuture<'static, Result<AnyRef, SpawnError>> {
        let decoded = node.decoding(|| host::decoded(|| decode::<B::Args>(args)));
        let spawn = match decoded {
            Ok(args) => Ok(node.spawn::<B>(args).options(options).into_future_owned()),
            Err(error) => Err(SpawnError::Incompatible {
                behavior: B::NAME.to_owned(),
                node: node.id().clone(),
                reason: error.text,
            }),
        };
        Box::pin(async move { Ok(spawn?.await?.erase()) })
    }
    fn codec(&self) -> &dyn Any {
        &self.0
    }
    fn schema(&self) -> &[u8] {
        self.1.get_or_init(|| (self.0.schema)().to_bytes())
    }
    fn numbered(&self, number: u32) -> Arc<dyn Factory> {
        Arc::new(Self(Arc::new(self.0.under(number)), self.1.clone()))
    }
}

#[derive(Clone, Default)]
struct Table {
    by_name: BTreeMap<&'static str, (TypeId, Arc<dyn Factory>)>,
    by_type: BTreeMap<TypeId, Arc<dyn Factory>>,
    /// The numbers of all that ever stood here: peers keep them. Another type under a name has another number: its processes do not
    /// take messages that were made for the first one.
    numbers: BTreeMap<(&'static str, TypeId), u32>,
    /// Of those that not everybody may start.
    admissions: BTreeMap<&'static str, Arc<Admission>>,
}

impl Table {
    fn insert(&mut self, name: &'static str, own: TypeId, factory: &dyn Factory) {
        let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX).saturating_add(1);
        let factory = factory.numbered(*self.numbers.entry((name, own)).or_insert(next));
        self.by_type.insert(own, Arc::clone(&factory));
        self.by_name.insert(name, (own, factory));
    }
}

/// What wants to know that the behaviors of a registry changed.
type Watch = Arc<dyn Fn() + Send + Sync>;

/// The behaviors that a node knows by name.
///
/// Build one with [`with`](Self::with) and hand it to a node or cluster; a running node's own is
/// [`Node::behaviors`](crate::Node::behaviors).
#[derive(Default)]
pub struct BehaviorRegistry {
    table: RwLock<Table>,
    watch: RwLock<Option<Watch>>,
    /// The first duplicate of a chain of `with`, reported when the node starts.
    duplicate: Option<DuplicateBehavior>,
}

/// How many behaviors are registered, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BehaviorRegistryStats {
    /// How many.
    pub count: usize,
    /// Their names, sorted.
    pub names: Vec<String>,
}

impl Clone for BehaviorRegistry {
    fn clone(&self) -> Self {
        Self {
            table: RwLock::new(self.table.read().clone()),
            watch: RwLock::default(),
            duplicate: self.duplicate.clone(),
        }
    }
}

impl fmt::Debug for BehaviorRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl BehaviorRegistry {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a behavior. A duplicate name is reported when the node starts.
    #[must_use]
    pub fn with<B: RemoteBehavior>(mut self) -> Self {
        if let Err(duplicate) = self.register::<B>() {
            self.duplicate.get_or_insert(duplicate);
        }
        self
    }

    /// Adds a behavior. The same one again changes nothing.
    ///
    /// # Errors
    /// [`DuplicateBehavior`] when another type has the name.
    pub fn register<B: RemoteBehavior>(&self) -> Result<(), DuplicateBehavior> {
        self.register_as::<B>(None)
    }

    fn register_as<B: RemoteBehavior>(
        &self,
        admission: Option<Arc<Admission>>,
    ) -> Result<(), DuplicateBehavior> {
        let mut table = self.table.write();
        let own = TypeId::of::<B>();
        let number = behavior_number(B::NAME);
        let taken = table.by_name.iter().any(|(name, (type_id, _))| {
            let clash = *name == B::NAME || behavior_number(name) == number;
            clash && *type_id != own
        });
        if taken {
            return Err(DuplicateBehavior::new(B::NAME));
        }
        let news = !table.by_name.contains_key(B::NAME);
        if let Some(admission) = admission {
            table.admissions.insert(B::NAME, admission);
        }
        table.insert(
            B::NAME,
            own,
            &FactoryOf::<B>(Arc::new(Served::new(RemoteCodec::new())), OnceLock::new()),
        );
        drop(table);
        if news {
            self.changed();
        }
        Ok(())
    }

    fn changed(&self) {
        let watch = self.watch.read().clone();
        if let Some(watch) = watch {
            watch();
        }
    }

    /// Has `watch` run after each change. One at a time: for the cluster of the node.
    #[doc(hidden)]
    pub fn on_change(&self, watch: impl Fn() + Send + Sync + 'static) {
        *self.watch.write() = Some(Arc::new(watch));
    }

    /// What is announced to other nodes: names, their numbers, and what their messages look like, which is asked for outside of
    /// the lock, for it runs code of users.
    #[doc(hidden)]
    #[must_use]
    pub fn announced(&self) -> Vec<(u32, &'static str, Vec<u8>)> {
        let table = self.table.read();
        let known = |(name, (own, factory)): (&&'static str, &(TypeId, Arc<dyn Factory>))| {
            Some((*table.numbers.get(&(*name, *own))?, *name, Arc::clone(factory)))
        };
        let all: Vec<_> = table.by_name.iter().filter_map(known).collect();
        drop(table);
        all.into_iter().map(|(number, name, factory)| (number, name, factory.schema().to_vec())).collect()
    }

    /// Whether the name is known.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.table.read().by_name.contains_key(name)
    }

    /// Forgets a behavior: it is not spawned from elsewhere any more. Living processes stay reachable.
    pub fn unregister(&self, name: &str) -> bool {
        let mut table = self.table.write();
        let Some((type_id, _)) = table.by_name.remove(name) else { return false };
        table.by_type.remove(&type_id);
        table.admissions.remove(name);
        drop(table);
        self.changed();
        true
    }

    /// The names, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.table.read().by_name.keys().map(|name| (*name).to_owned()).collect()
    }

    /// How many behaviors are registered, and which.
    #[must_use]
    pub fn stats(&self) -> BehaviorRegistryStats {
        let names = self.names();
        BehaviorRegistryStats { count: names.len(), names }
    }

    pub(crate) fn duplicate(&self) -> Option<DuplicateBehavior> {
        self.duplicate.clone()
    }

    /// Adds all of `other`.
    pub(crate) fn merge(&mut self, other: &Self) {
        let other_table = other.table.read().clone();
        if let Some(duplicate) = other.duplicate.clone() {
            self.duplicate.get_or_insert(duplicate);
        }
        let table = self.table.get_mut();
        table.admissions.extend(other_table.admissions);
        for (name, (type_id, factory)) in other_table.by_name {
            match table.by_name.get(name) {
                Some((held, _)) if *held != type_id => {
                    self.duplicate.get_or_insert(DuplicateBehavior::new(name));
                }
                _ => table.insert(name, type_id, &*factory),
            }
        }
    }

    pub(crate) fn codec<B: Behavior>(&self) -> Option<Arc<Served<B>>> {
        let table = self.table.read();
        let factory = table.by_type.get(&TypeId::of::<B>())?;
        factory.codec().downcast_ref::<Arc<Served<B>>>().cloned()
    }

    pub(crate) fn spawn(
        &self,
        node: &Node,
        name: &str,
        args: &[u8],
        options: SpawnOptions,
    ) -> Option<BoxFuture<'static, Result<AnyRef, SpawnError>>> {
        let factory = self.table.read().by_name.get(name).map(|(_, factory)| Arc::clone(factory))?;
        Some(factory.spawn(node, args, options))
    }
}

/// Two behaviors want the same wire name on one node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a behavior named \"{name}\" is already registered")]
#[non_exhaustive]
pub struct DuplicateBehavior {
    /// The name.
    pub name: String,
}

impl DuplicateBehavior {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_behavior_is_fixed_by_its_name() {
        // echo -n counter | sha256sum: the number is on the wire and must not change.
        assert_eq!(behavior_number("counter"), u32::from_le_bytes([0xef, 0xe8, 0x99, 0xc7]));
    }
}
