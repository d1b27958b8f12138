//! The table of a registry: who is registered under which key, and what goes when a process goes.
//!
//! A process that has entries is watched, once, however many it has; the watch goes with its last entry. Starting a
//! watch cannot be done under the lock of the table (a process that ended tells so at once), so it takes two steps:
//!
//! ```text
//!   register ──► a watch number ──► (the watch begins) ──► watching(number, monitor) ──► true: keep it
//!                                          └► ended(number)                          └─► false: give it up
//! ```
//! Invariants: 1. `holders` has exactly the processes that have an entry, with exactly their keys; 2. no key is there
//! without an entry; 3. a monitor that was reported with `watching` comes back once: with the removal that took the last
//! entry, or as the answer false.

use std::{collections::BTreeMap, sync::Arc};

use crate::{Pid, machine::few::Few};

/// How many processes a key may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    Unique,
    Duplicate,
}

#[derive(Debug)]
pub(crate) struct Table<V> {
    keys: Keys,
    entries: BTreeMap<Arc<str>, Few<Pid, V>>,
    holders: BTreeMap<Pid, Holder>,
    next_watch: u64,
}

#[derive(Debug)]
struct Holder {
    watch: u64,
    monitor: Option<u64>,
    keys: Few<Arc<str>, ()>,
}

/// Who has the entry, or the key, that was asked for; and the value, unused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken<V> {
    pub(crate) holder: Pid,
    pub(crate) value: V,
}

/// An entry that was taken out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Removed<V> {
    pub(crate) value: V,
    /// Its process has no entry any more: the monitor to give up.
    pub(crate) monitor: Option<u64>,
}

impl<V> Table<V> {
    pub(crate) fn new(keys: Keys) -> Self {
        Self { keys, entries: BTreeMap::new(), holders: BTreeMap::new(), next_watch: 1 }
    }

    /// Adds an entry. Answers with the number of the watch to begin, if the process had no entry before.
    pub(crate) fn register(&mut self, key: &str, pid: &Pid, value: V) -> Result<Option<u64>, Taken<V>> {
        if let Some(held) = self.entries.get(key) {
            let holder = match self.keys {
                Keys::Unique => held.iter().next().map(|(holder, _)| holder),
                Keys::Duplicate => held.get(pid).map(|_| pid),
            };
            if let Some(holder) = holder {
                return Err(Taken { holder: holder.clone(), value });
            }
        }
        let key: Arc<str> = match self.entries.get_key_value(key) {
            Some((key, _)) => Arc::clone(key),
            None => key.into(),
        };
        self.entries.entry(Arc::clone(&key)).or_insert_with(Few::new).insert(pid.clone(), value);
        if let Some(holder) = self.holders.get_mut(pid) {
            holder.keys.insert(key, ());
            return Ok(None);
        }
        let watch = self.next_watch;
        self.next_watch += 1;
        self.holders.insert(pid.clone(), Holder { watch, monitor: None, keys: Few::One(key, ()) });
        Ok(Some(watch))
    }

    /// The watch began as `monitor`. False if it is not wanted any more.
    pub(crate) fn watching(&mut self, pid: &Pid, watch: u64, monitor: u64) -> bool {
        match self.holders.get_mut(pid) {
            Some(holder) if holder.watch == watch => {
                holder.monitor = Some(monitor);
                true
            }
            Some(_) | None => false,
        }
    }

    /// The process ended: what was registered of it. `watch` says which watch told it, so that an old one, told late, does
    /// not take what was registered since (a process behind a connection that was lost and made again).
    pub(crate) fn ended(&mut self, pid: &Pid, watch: Option<u64>) -> Vec<V> {
        let told = |holder: &Holder| watch.is_none_or(|watch| watch == holder.watch);
        if !self.holders.get(pid).is_some_and(told) {
            return Vec::new();
        }
        let Some(holder) = self.holders.remove(pid) else { return Vec::new() };
        let keys = holder.keys.into_entries();
        keys.filter_map(|(key, ())| self.take(&key, pid)).collect()
    }

    /// Takes one entry out.
    pub(crate) fn unregister(&mut self, key: &str, pid: &Pid) -> Option<Removed<V>> {
        let (key, _) = self.entries.get_key_value(key)?;
        let key = Arc::clone(key);
        let value = self.take(&key, pid)?;
        Some(Removed { value, monitor: self.let_go(&key, pid) })
    }

    /// Takes all entries of a key out.
    pub(crate) fn unregister_key(&mut self, key: &str) -> Vec<Removed<V>> {
        let Some((key, entries)) = self.entries.remove_entry(key) else { return Vec::new() };
        let entries = entries.into_entries();
        entries.map(|(pid, value)| Removed { value, monitor: self.let_go(&key, &pid) }).collect()
    }

    /// The values under a key, by the address of their processes.
    pub(crate) fn under(&self, key: &str) -> impl Iterator<Item = &V> {
        self.entries.get(key).into_iter().flat_map(Few::iter).map(|(_, value)| value)
    }

    /// The value of one entry.
    pub(crate) fn entry_mut(&mut self, key: &str, pid: &Pid) -> Option<&mut V> {
        self.entries.get_mut(key)?.get_mut(pid)
    }

    /// All entries, by key and then by the address of their processes.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Arc<str>, &V)> {
        self.entries.iter().flat_map(|(key, few)| few.iter().map(move |(_, value)| (key, value)))
    }

    /// All processes that are watched, each with a value of it and its monitor.
    pub(crate) fn monitors(&self) -> impl Iterator<Item = (&V, u64)> {
        self.holders.iter().filter_map(|(pid, holder)| {
            let (key, ()) = holder.keys.iter().next()?;
            Some((self.entries.get(key)?.get(pid)?, holder.monitor?))
        })
    }

    fn take(&mut self, key: &Arc<str>, pid: &Pid) -> Option<V> {
        let few = self.entries.get_mut(key)?;
        let value = few.remove(pid)?;
        if few.is_empty() {
            self.entries.remove(key);
        }
        Some(value)
    }

    /// The process does not have the key any more; if it has none at all, its monitor to give up.
    fn let_go(&mut self, key: &Arc<str>, pid: &Pid) -> Option<u64> {
        let holder = self.holders.get_mut(pid)?;
        holder.keys.remove(key);
        if !holder.keys.is_empty() {
            return None;
        }
        self.holders.remove(pid).and_then(|holder| holder.monitor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::{Incarnation, NodeId};

    fn pid(number: u8) -> Pid {
        Pid::new(NodeId::nonode(), Incarnation(1), u64::from(number))
    }

    #[test]
    fn a_unique_key_has_one_process_and_says_which() {
        let mut table = Table::new(Keys::Unique);
        assert_eq!(table.register("a", &pid(1), 'x'), Ok(Some(1)));
        assert_eq!(table.register("a", &pid(2), 'y'), Err(Taken { holder: pid(1), value: 'y' }));
        assert_eq!(table.register("a", &pid(1), 'z'), Err(Taken { holder: pid(1), value: 'z' }));
        assert_eq!(table.register("b", &pid(1), 'z'), Ok(None), "watched already");
        assert_eq!(table.under("a").collect::<Vec<_>>(), [&'x']);
    }

    #[test]
    fn a_duplicate_key_has_each_process_once() {
        let mut table = Table::new(Keys::Duplicate);
        assert_eq!(table.register("a", &pid(2), 'y'), Ok(Some(1)));
        assert_eq!(table.register("a", &pid(1), 'x'), Ok(Some(2)));
        assert_eq!(table.register("a", &pid(1), 'z'), Err(Taken { holder: pid(1), value: 'z' }));
        assert_eq!(table.under("a").collect::<Vec<_>>(), [&'x', &'y'], "by their addresses");
        assert_eq!(table.unregister_key("a").len(), 2);
        assert_eq!(table.all().count(), 0);
    }

    #[test]
    fn a_watch_is_given_up_with_the_last_entry() {
        let mut table = Table::new(Keys::Duplicate);
        assert_eq!(table.register("a", &pid(1), 'x'), Ok(Some(1)));
        assert!(table.watching(&pid(1), 1, 77));
        assert_eq!(table.register("b", &pid(1), 'y'), Ok(None));
        assert_eq!(table.unregister("a", &pid(1)), Some(Removed { value: 'x', monitor: None }));
        assert_eq!(table.unregister("b", &pid(1)), Some(Removed { value: 'y', monitor: Some(77) }));
        assert_eq!(table.unregister("b", &pid(1)), None);
    }

    #[test]
    fn a_watch_that_begins_too_late_is_not_wanted() {
        let mut table = Table::new(Keys::Unique);
        assert_eq!(table.register("a", &pid(1), 'x'), Ok(Some(1)));
        assert_eq!(table.unregister("a", &pid(1)), Some(Removed { value: 'x', monitor: None }));
        assert_eq!(table.register("a", &pid(1), 'y'), Ok(Some(2)), "a watch of its own");
        assert!(!table.watching(&pid(1), 1, 77));
        assert!(table.watching(&pid(1), 2, 78));
    }

    #[test]
    fn an_old_watch_told_late_takes_nothing_of_what_came_since() {
        let mut table = Table::new(Keys::Unique);
        assert_eq!(table.register("a", &pid(1), 'x'), Ok(Some(1)));
        assert_eq!(table.unregister_key("a").len(), 1);
        assert_eq!(table.register("a", &pid(1), 'y'), Ok(Some(2)));
        assert_eq!(table.ended(&pid(1), Some(1)), []);
        assert_eq!(table.ended(&pid(1), Some(2)), ['y']);
        assert_eq!(table.ended(&pid(1), None), []);
    }

    /// Entries as a list, watches as a set: slow, and plainly right.
    #[derive(Default)]
    struct Naive {
        entries: Vec<(String, Pid, u16)>,
        /// Monitors that somebody must give up or that will tell an end.
        open: BTreeSet<u64>,
    }

    impl Naive {
        fn has(&self, pid: &Pid) -> bool {
            self.entries.iter().any(|(_, holder, _)| holder == pid)
        }
        fn remove(&mut self, of: impl Fn(&(String, Pid, u16)) -> bool) -> BTreeSet<u16> {
            self.entries.extract_if(.., |entry| of(entry)).map(|(_, _, value)| value).collect()
        }
    }

    fn check(table: &mut Table<u16>, naive: &mut Naive, unique: bool, step: (u8, u8, u8, u16)) {
        let (what, key, number, value) = step;
        let (key, pid) = (format!("k{key}"), pid(number));
        match what {
            0..=3 => {
                let holder = naive.entries.iter().find(|(k, p, _)| *k == key && (unique || *p == pid));
                match (table.register(&key, &pid, value), holder) {
                    (Err(taken), Some((_, holder, _))) => {
                        assert_eq!((&taken.holder, taken.value), (holder, value));
                    }
                    (Ok(watch), None) => {
                        assert_eq!(watch.is_some(), !naive.has(&pid));
                        naive.entries.push((key, pid.clone(), value));
                        if let Some(watch) = watch {
                            // Monitors are numbered as watches are, so that the two can be compared.
                            assert!(table.watching(&pid, watch, watch));
                            assert!(naive.open.insert(watch));
                        }
                    }
                    (answer, holder) => panic!("{answer:?}, but {holder:?} holds it"),
                }
            }
            4 => {
                let gone = naive.remove(|(k, p, _)| *k == key && *p == pid);
                let removed = table.unregister(&key, &pid);
                assert_eq!(gone, removed.iter().map(|removed| removed.value).collect());
                let monitor = removed.and_then(|removed| removed.monitor);
                assert_eq!(monitor.is_some(), !gone.is_empty() && !naive.has(&pid));
                assert!(monitor.is_none_or(|monitor| naive.open.remove(&monitor)));
            }
            5 => {
                let gone = naive.remove(|(k, _, _)| *k == key);
                let removed = table.unregister_key(&key);
                assert_eq!(gone, removed.iter().map(|removed| removed.value).collect());
                for monitor in removed.iter().filter_map(|removed| removed.monitor) {
                    assert!(naive.open.remove(&monitor));
                }
            }
            _ => {
                let watch = table.holders.get(&pid).map(|holder| holder.watch);
                let gone = naive.remove(|(_, p, _)| *p == pid);
                assert_eq!(gone, table.ended(&pid, watch).into_iter().collect());
                assert!(watch.is_none_or(|watch| naive.open.remove(&watch)));
            }
        }
    }

    proptest! {
        #[test]
        fn it_does_what_a_list_would_do(
            unique in any::<bool>(),
            steps in prop::collection::vec((0..7_u8, 0..3_u8, 0..4_u8, any::<u16>()), 0..120),
        ) {
            let mut table = Table::new(if unique { Keys::Unique } else { Keys::Duplicate });
            let mut naive = Naive::default();
            for (at, step) in steps.into_iter().enumerate() {
                // Values are told apart by their place.
                check(&mut table, &mut naive, unique, (step.0, step.1, step.2, u16::try_from(at).unwrap()));
                naive.entries.sort();
                let listed: Vec<_> = naive.entries.iter().map(|(key, _, value)| (key.as_str(), *value)).collect();
                let here: Vec<_> = table.all().map(|(key, value)| (&**key, *value)).collect();
                prop_assert_eq!(here, listed);
                let open: BTreeSet<u64> = table.monitors().map(|(_, monitor)| monitor).collect();
                prop_assert_eq!(&open, &naive.open);
                let holders: BTreeSet<&Pid> = naive.entries.iter().map(|(_, pid, _)| pid).collect();
                prop_assert!(table.holders.keys().eq(holders));
            }
        }
    }
}
