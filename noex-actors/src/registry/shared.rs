//! What both registries are: a table under a lock, and one watch per registered process.
//!
//! No code of users runs under the lock, nor is anything of theirs dropped there: predicates and `dispatch_with` see a copy
//! of what was there, and what is taken out is dropped afterwards.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use parking_lot::RwLock;

use super::RegistryEntry;
use crate::{
    Behavior, NameError, Node, Pid, Ref,
    machine::{
        glob::Glob,
        registry::{Keys, Removed, Table, Taken},
    },
    names::check_process_name,
    panics::panic_text,
    process::Process,
    refs::Way,
    route::Watcher,
};

pub(super) struct Shared<B: Behavior, M: Send + Sync + 'static> {
    node: Node,
    table: RwLock<Table<Value<B, M>>>,
}

pub(super) struct Value<B: Behavior, M> {
    process: Ref<B>,
    meta: Arc<M>,
}

impl<B: Behavior, M> Value<B, M> {
    /// A process that is known to have ended is not registered any more, even if the table was not told yet.
    fn is_there(&self) -> bool {
        !has_ended(&self.process)
    }

    fn entry(&self, key: &Arc<str>) -> RegistryEntry<B, M> {
        RegistryEntry { key: Arc::clone(key), process: self.process.clone(), meta: Arc::clone(&self.meta) }
    }
}

/// Whether a process is known here to have ended. Of one on another node, its watch tells.
fn has_ended<B: Behavior>(process: &Ref<B>) -> bool {
    match &process.raw().0 {
        Way::Local(mailbox) => !mailbox.is_alive(),
        Way::Broken(_) => true,
        Way::Remote(_) | Way::Named(_) => false,
    }
}

impl<B: Behavior, M: Send + Sync + 'static> Shared<B, M> {
    pub(super) fn new(node: &Node, keys: Keys) -> Arc<Self> {
        Arc::new(Self { node: node.clone(), table: RwLock::new(Table::new(keys)) })
    }

    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    pub(super) fn register(self: &Arc<Self>, key: &str, process: &Ref<B>, meta: M) -> Result<(), NameError> {
        check_process_name(key)?;
        let pid = process.pid();
        let gone = || Err(NameError::NoProc(pid.clone()));
        if has_ended(process) {
            return gone();
        }
        let watch = self
            .enter(key, Value { process: process.clone(), meta: Arc::new(meta) })
            .map_err(|taken| NameError::Taken { name: key.to_owned(), holder: taken.holder })?;
        if let Some(watch) = watch {
            self.watch(process, watch);
        }
        if has_ended(process) {
            // It may have ended before the watch began, or between the end and the word of it: either way, out with it.
            drop(self.ended(pid, None));
            return gone();
        }
        Ok(())
    }

    fn enter(&self, key: &str, value: Value<B, M>) -> Result<Option<u64>, Taken<Value<B, M>>> {
        let pid = value.process.pid().clone();
        let mut freed = Vec::new();
        let mut table = self.table.write();
        let entered = table.register(key, &pid, value).or_else(|taken| {
            if table.under(key).all(Value::is_there) {
                return Err(taken);
            }
            // The holder ended, and the word of it is on its way.
            freed = table.ended(&taken.holder, None);
            table.register(key, &pid, taken.value)
        });
        drop(table);
        drop(freed);
        entered
    }

    /// Begins watch number `watch`, outside of the lock: a process that ended tells so at once.
    fn watch(self: &Arc<Self>, process: &Ref<B>, watch: u64) {
        let registry = Arc::downgrade(self);
        let watcher = Watcher::Callback(Box::new(move |down| {
            let Some(registry) = registry.upgrade() else { return };
            let gone = registry.ended(&down.pid, Some(watch));
            // This runs where the process ended, or where a connection did: metadata that panics must do no harm there.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop((gone, registry)))) {
                let panic = panic_text(panic.as_ref());
                tracing::error!(pid = %down.pid, panic, "metadata of a registry panicked while it was dropped");
            }
        }));
        let monitor = match process.raw().process() {
            Some(local) => {
                let monitor = local.core().node.fresh_monitor();
                local.core().watch(monitor, watcher);
                monitor
            }
            None => self.node.monitor(process.pid(), watcher, |_monitor| {}),
        };
        let wanted = self.table.write().watching(process.pid(), watch, monitor);
        if !wanted {
            self.give_up(process, monitor);
        }
    }

    fn give_up(&self, process: &Ref<B>, monitor: u64) {
        match process.raw().process() {
            Some(local) => local.core().unwatch(monitor),
            None => self.node.demonitor(process.pid(), monitor),
        };
    }

    fn ended(&self, pid: &Pid, watch: Option<u64>) -> Vec<Value<B, M>> {
        self.table.write().ended(pid, watch)
    }

    pub(super) fn unregister(&self, key: &str, pid: &Pid) -> bool {
        let removed = self.table.write().unregister(key, pid);
        removed.is_some_and(|removed| self.let_go(removed))
    }

    /// How many entries there were.
    pub(super) fn unregister_key(&self, key: &str) -> usize {
        let removed = self.table.write().unregister_key(key);
        removed.into_iter().map(|removed| usize::from(self.let_go(removed))).sum()
    }

    /// Whether what was removed was there for anybody to see.
    fn let_go(&self, removed: Removed<Value<B, M>>) -> bool {
        if let Some(monitor) = removed.monitor {
            self.give_up(&removed.value.process, monitor);
        }
        removed.value.is_there()
    }

    pub(super) fn update(&self, key: &str, pid: &Pid, meta: M) -> Option<Arc<M>> {
        let meta = Arc::new(meta);
        let mut table = self.table.write();
        let value = table.entry_mut(key, pid).filter(|value| value.is_there())?;
        Some(std::mem::replace(&mut value.meta, meta))
    }

    /// The first of a key, as `f` sees it.
    pub(super) fn first<T>(&self, key: &str, f: impl Fn(&Ref<B>, &Arc<M>) -> T) -> Option<T> {
        let table = self.table.read();
        table.under(key).find(|value| value.is_there()).map(|value| f(&value.process, &value.meta))
    }

    /// All entries of a key.
    pub(super) fn under(&self, key: &str) -> Vec<RegistryEntry<B, M>> {
        let name: Arc<str> = key.into();
        let table = self.table.read();
        table.under(key).filter(|value| value.is_there()).map(|value| value.entry(&name)).collect()
    }

    pub(super) fn all(&self) -> Vec<RegistryEntry<B, M>> {
        let table = self.table.read();
        table.all().filter(|(_, value)| value.is_there()).map(|(key, value)| value.entry(key)).collect()
    }

    pub(super) fn select(&self, mut f: impl FnMut(&str, &Ref<B>, &M) -> bool) -> Vec<RegistryEntry<B, M>> {
        let mut all = self.all();
        all.retain(|entry| f(&entry.key, &entry.process, &entry.meta));
        all
    }

    pub(super) fn matching(&self, glob: &str) -> Vec<RegistryEntry<B, M>> {
        let glob = Glob::new(glob);
        let table = self.table.read();
        let found = table.all().filter(|(key, value)| glob.means(key) && value.is_there());
        found.map(|(key, value)| value.entry(key)).collect()
    }

    pub(super) fn keys(&self) -> Vec<String> {
        let table = self.table.read();
        let mut keys: Vec<String> =
            table.all().filter(|(_, value)| value.is_there()).map(|(key, _)| key.to_string()).collect();
        keys.dedup();
        keys
    }

    pub(super) fn len(&self) -> usize {
        self.table.read().all().filter(|(_, value)| value.is_there()).count()
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.table.read().all().any(|(_, value)| value.is_there())
    }

    pub(super) fn debug(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name).field("node", self.node.id()).field("len", &self.len()).finish()
    }
}

impl<B: Behavior, M: Send + Sync + 'static> Drop for Shared<B, M> {
    fn drop(&mut self) {
        let monitors: Vec<_> = {
            let table = self.table.get_mut();
            table.monitors().map(|(value, monitor)| (value.process.clone(), monitor)).collect()
        };
        for (process, monitor) in monitors {
            self.give_up(&process, monitor);
        }
    }
}
