//! Registries: processes of one behavior under keys, with what is worth knowing of each. Elixir: `Registry`.
//!
//! | | Processes per key | For |
//! |---|---|---|
//! | [`UniqueRegistry`] | one | finding the process of a user, a room, an order |
//! | [`DuplicateRegistry`] | any number | subscribers of a topic, workers of a kind |
//!
//! | Promise | |
//! |---|---|
//! | an entry ends with its process | who knows of the end (a `Down`, a `Stop`) does not find it any more, and the key is free |
//! | also when it ends while it is registered | `register` answers `NoProc`, or the entry goes at once |
//! | a key has 1 to 255 bytes and no control characters | as names of processes |
//! | lists are sorted | by key, then by the address of the process: the oldest of a node first |
//!
//! A registry is a value: as many of them as you like, each on its own. Dropping the last handle forgets the entries
//! and touches no process. Processes of other nodes can be registered too; of those an entry ends when the end of the
//! process, or of the connection to its node, is known here.
//!
//! `Node::register` gives processes of any behavior a name; a registry is for many of one kind.
//!
//! # Patterns
//! `matching` takes a glob: `*` is any characters but `/`, `**` any at all, `?` one character but `/`. Everything else
//! stands for itself, `[`, `{`, `!` and `\` among it: there are no sets, no alternatives and no escapes. Keys with a star
//! are found with `select`. A look takes as long as there are entries.

mod duplicate;
mod shared;

use std::{fmt, sync::Arc};

pub use self::duplicate::DuplicateRegistry;
use self::shared::Shared;
use crate::{Behavior, NameError, Node, Pid, Ref, Via, machine::registry::Keys};

/// One entry of a registry, as it was when it was asked for.
#[non_exhaustive]
pub struct RegistryEntry<B: Behavior, M = ()> {
    /// Its key.
    pub key: Arc<str>,
    /// The process.
    pub process: Ref<B>,
    /// What was registered with it, or put there with `update` since.
    pub meta: Arc<M>,
}

impl<B: Behavior, M> Clone for RegistryEntry<B, M> {
    fn clone(&self) -> Self {
        let (key, process, meta) = (Arc::clone(&self.key), self.process.clone(), Arc::clone(&self.meta));
        Self { key, process, meta }
    }
}

impl<B: Behavior, M: fmt::Debug> fmt::Debug for RegistryEntry<B, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryEntry")
            .field("key", &self.key)
            .field("process", &self.process)
            .field("meta", &self.meta)
            .finish()
    }
}

/// One process of a behavior per key, with metadata. See the [module](self) for what it promises.
///
/// Cheap to clone; all clones are the same registry.
///
/// ```
/// # use noex_actors::{ExitReason, Node, behavior};
/// use noex_actors::UniqueRegistry;
/// # struct Room(u32);
/// # #[behavior]
/// # impl Room {
/// #     #[init] fn new() -> Result<Self, ExitReason> { Ok(Room(0)) }
/// #     #[call] fn enter(&mut self) -> u32 { self.0 += 1; self.0 }
/// # }
/// # #[actix_rt::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let node = Node::start().await?;
/// let rooms = UniqueRegistry::<Room, &str>::new(&node);
/// let room = node.spawn::<Room>(()).await?;
/// rooms.register("lobby", &room, "ground floor")?;
///
/// assert_eq!(rooms.via("lobby").enter().await?, 1);      // found anew at every call
/// assert_eq!(rooms.matching("l*").len(), 1);
/// assert_eq!(rooms.metadata("lobby").as_deref(), Some(&"ground floor"));
///
/// room.stop(ExitReason::Normal).await?;
/// assert!(rooms.whereis("lobby").is_none());
/// # node.stop().await;
/// # Ok(())
/// # }
/// ```
///
/// OTP: gproc and Elixir's `Registry` register the calling process; here whoever holds a `Ref` registers it.
pub struct UniqueRegistry<B: Behavior, M: Send + Sync + 'static = ()>(Arc<Shared<B, M>>);

impl<B: Behavior, M: Send + Sync + 'static> UniqueRegistry<B, M> {
    /// An empty registry on this node.
    #[must_use]
    pub fn new(node: &Node) -> Self {
        Self(Shared::new(node, Keys::Unique))
    }

    /// Puts a process under a key, until it ends or is unregistered. It may have other keys too.
    ///
    /// # Errors
    /// | Error | When |
    /// |---|---|
    /// | [`NameError::Taken`] | the key has a process, be it the same one: [`update`](Self::update) changes metadata |
    /// | [`NameError::NoProc`] | the process ended |
    /// | [`NameError::Invalid`] | it is not a key: 1 to 255 bytes, no control characters |
    pub fn register(&self, key: &str, process: &Ref<B>, meta: M) -> Result<(), NameError> {
        self.0.register(key, process, meta)
    }

    /// The process under a key.
    ///
    /// # Errors
    /// [`NameError::NotFound`].
    pub fn lookup(&self, key: &str) -> Result<Ref<B>, NameError> {
        self.whereis(key).ok_or_else(|| NameError::NotFound(key.to_owned()))
    }

    /// The process under a key, if there is one.
    #[must_use]
    pub fn whereis(&self, key: &str) -> Option<Ref<B>> {
        self.0.first(key, |process, _| process.clone())
    }

    /// A handle of the key: whoever is registered under it at the moment of each call or cast gets it. A key without a
    /// process is `CallError::NoName`. OTP: `{via, Registry, …}`.
    #[must_use]
    pub fn via(&self, key: &str) -> Via<B> {
        let (registry, name) = (self.clone(), key.to_owned());
        Via::new(key, self.0.node(), move || registry.whereis(&name))
    }

    /// Frees a key. True if there was a process.
    pub fn unregister(&self, key: &str) -> bool {
        self.0.unregister_key(key) > 0
    }

    /// Frees a key if it is this process that has it: what a process does with its own key, which may be another's by now.
    pub fn unregister_match(&self, key: &str, process: &impl AsRef<Pid>) -> bool {
        self.0.unregister(key, process.as_ref())
    }

    /// Puts other metadata in the place of what is there, and gives that back.
    ///
    /// # Errors
    /// [`NameError::NotFound`].
    pub fn update(&self, key: &str, meta: M) -> Result<Arc<M>, NameError> {
        let holder = self.0.first(key, |process, _| process.pid().clone());
        let old = holder.and_then(|holder| self.0.update(key, &holder, meta));
        old.ok_or_else(|| NameError::NotFound(key.to_owned()))
    }

    /// The metadata of a key.
    #[must_use]
    pub fn metadata(&self, key: &str) -> Option<Arc<M>> {
        self.0.first(key, |_, meta| Arc::clone(meta))
    }

    /// The entries for which `f` says true. It sees a copy, and may use the registry.
    pub fn select(&self, f: impl FnMut(&str, &Ref<B>, &M) -> bool) -> Vec<RegistryEntry<B, M>> {
        self.0.select(f)
    }

    /// The entries whose key the [pattern](self#patterns) means.
    #[must_use]
    pub fn matching(&self, glob: &str) -> Vec<RegistryEntry<B, M>> {
        self.0.matching(glob)
    }

    /// All keys, sorted.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.0.keys()
    }

    /// How many entries there are. Looks at each.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<B: Behavior, M: Send + Sync + 'static> Clone for UniqueRegistry<B, M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: Behavior, M: Send + Sync + 'static> fmt::Debug for UniqueRegistry<B, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug("UniqueRegistry", f)
    }
}
