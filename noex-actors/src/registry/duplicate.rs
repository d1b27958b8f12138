//! Any number of processes per key.

use std::{fmt, sync::Arc};

use super::{RegistryEntry, shared::Shared};
use crate::{Behavior, NameError, Node, Pid, Ref, machine::registry::Keys};

/// Any number of processes of a behavior per key, each with metadata: topics and their subscribers. See the
/// [module](crate::registry) for what it promises.
///
/// Cheap to clone; all clones are the same registry.
///
/// ```
/// # use noex_actors::{ExitReason, Node, behavior};
/// use noex_actors::DuplicateRegistry;
/// # struct Screen(Vec<String>);
/// #[behavior(clone)]                                    // one cast for many
/// impl Screen {
/// #   #[init] fn new() -> Result<Self, ExitReason> { Ok(Screen(vec![])) }
///     #[cast] fn show(&mut self, text: String) { self.0.push(text); }
/// #   #[call] fn shown(&self) -> Vec<String> { self.0.clone() }
/// }
/// # #[actix_rt::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let node = Node::start().await?;
/// let screens = DuplicateRegistry::<Screen, u8>::new(&node);
/// let (hall, gate) = (node.spawn::<Screen>(()).await?, node.spawn::<Screen>(()).await?);
/// screens.register("departures", &hall, 1)?;
/// screens.register("departures", &gate, 2)?;
///
/// assert_eq!(screens.dispatch("departures", ScreenCast::Show { text: "LH 1".into() }), 2);
/// screens.dispatch_with("departures", |entries| {
///     entries.iter().filter(|entry| *entry.meta == 2).try_for_each(|entry| entry.process.show("boarding".into()))
/// })?;
/// assert_eq!(hall.shown().await?, ["LH 1"]);
/// assert_eq!(gate.shown().await?, ["LH 1", "boarding"]);
/// # node.stop().await;
/// # Ok(())
/// # }
/// ```
pub struct DuplicateRegistry<B: Behavior, M: Send + Sync + 'static = ()>(Arc<Shared<B, M>>);

impl<B: Behavior, M: Send + Sync + 'static> DuplicateRegistry<B, M> {
    /// An empty registry on this node.
    #[must_use]
    pub fn new(node: &Node) -> Self {
        Self(Shared::new(node, Keys::Duplicate))
    }

    /// Puts a process under a key, beside those that are there, until it ends or is unregistered.
    ///
    /// # Errors
    /// | Error | When |
    /// |---|---|
    /// | [`NameError::Taken`] | this very process is under the key already: [`update`](Self::update) changes metadata |
    /// | [`NameError::NoProc`] | the process ended |
    /// | [`NameError::Invalid`] | it is not a key: 1 to 255 bytes, no control characters |
    ///
    /// OTP: Elixir lets a process register several times under one key.
    pub fn register(&self, key: &str, process: &Ref<B>, meta: M) -> Result<(), NameError> {
        self.0.register(key, process, meta)
    }

    /// The processes under a key: of one node, the oldest first.
    #[must_use]
    pub fn lookup_all(&self, key: &str) -> Vec<Ref<B>> {
        self.0.under(key).into_iter().map(|entry| entry.process).collect()
    }

    /// The first of [`lookup_all`](Self::lookup_all).
    #[must_use]
    pub fn whereis(&self, key: &str) -> Option<Ref<B>> {
        self.0.first(key, |process, _| process.clone())
    }

    /// Takes all processes from under a key. How many there were.
    pub fn unregister(&self, key: &str) -> usize {
        self.0.unregister_key(key)
    }

    /// Takes one process from under a key. True if it was there.
    pub fn unregister_match(&self, key: &str, process: &impl AsRef<Pid>) -> bool {
        self.0.unregister(key, process.as_ref())
    }

    /// Puts other metadata in the place of what a process has under a key, and gives that back.
    ///
    /// # Errors
    /// [`NameError::NotFound`]: the process is not under the key.
    pub fn update(&self, key: &str, process: &impl AsRef<Pid>, meta: M) -> Result<Arc<M>, NameError> {
        let old = self.0.update(key, process.as_ref(), meta);
        old.ok_or_else(|| NameError::NotFound(key.to_owned()))
    }

    /// The metadata of all processes under a key, in the order of [`lookup_all`](Self::lookup_all).
    #[must_use]
    pub fn metadata(&self, key: &str) -> Vec<Arc<M>> {
        self.0.under(key).into_iter().map(|entry| entry.meta).collect()
    }

    /// Sends a cast to every process under a key. How many took it: one that is full or just ended is not counted, and
    /// does not keep the others from it. Nobody waits for room.
    ///
    /// `#[behavior(clone)]` makes the casts of a behavior `Clone`; [`dispatch_with`](Self::dispatch_with) does without.
    pub fn dispatch(&self, key: &str, cast: B::Cast) -> usize
    where
        B::Cast: Clone,
    {
        let mut entries = self.0.under(key);
        let Some(last) = entries.pop() else { return 0 };
        let others = entries.iter().filter(|entry| entry.process.cast(cast.clone()).is_ok()).count();
        others + usize::from(last.process.cast(cast).is_ok())
    }

    /// Hands the entries of a key to `f`, which sends as it likes: to one of them in turn, to those with some metadata.
    /// It sees a copy, and may use the registry. OTP: `Registry.dispatch/3`, but `f` is called for no entries too.
    pub fn dispatch_with<R>(&self, key: &str, f: impl FnOnce(&[RegistryEntry<B, M>]) -> R) -> R {
        f(&self.0.under(key))
    }

    /// The entries for which `f` says true. It sees a copy, and may use the registry.
    pub fn select(&self, f: impl FnMut(&str, &Ref<B>, &M) -> bool) -> Vec<RegistryEntry<B, M>> {
        self.0.select(f)
    }

    /// The entries whose key the [pattern](crate::registry#patterns) means.
    #[must_use]
    pub fn matching(&self, glob: &str) -> Vec<RegistryEntry<B, M>> {
        self.0.matching(glob)
    }

    /// All keys that have a process, sorted, each once.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.0.keys()
    }

    /// How many entries there are, over all keys. Looks at each.
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

impl<B: Behavior, M: Send + Sync + 'static> Clone for DuplicateRegistry<B, M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: Behavior, M: Send + Sync + 'static> fmt::Debug for DuplicateRegistry<B, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug("DuplicateRegistry", f)
    }
}
