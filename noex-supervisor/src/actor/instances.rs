//! The living instances that a supervisor process holds: their handles and the monitors on them.
//!
//! While the process serves its mailbox, monitors are its own and their `Down` comes with the messages. Once it
//! terminates, nothing comes from the mailbox any more: then the same monitors are futures, and `next_down` awaits them.

use std::collections::{BTreeMap, btree_map::Entry};

use futures_util::{StreamExt, stream::FuturesUnordered};
use noex_actors::{
    __private::WatchAhead, AnyRef, Behavior, Context, Down, ExitReason, Monitor, MonitorRef, Pid,
};

use crate::machine::policy::Stop;

#[derive(Debug)]
struct Instance {
    child: String,
    any: AnyRef,
    monitor: Option<MonitorRef>,
    /// It was watched with its start: the first watch is there.
    watched: bool,
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Instances {
    by_pid: BTreeMap<Pid, Instance>,
    /// By the number of its watch, what is about to start: its end, if that was heard of before its start.
    ahead: BTreeMap<u64, Option<Down>>,
    /// Present once the process terminates.
    last: Option<FuturesUnordered<Monitor>>,
}

impl Instances {
    /// Keeps a handle, not yet watched.
    pub(crate) fn keep(&mut self, child: &str, any: AnyRef) {
        let fresh = || Instance { child: child.to_owned(), any: any.clone(), monitor: None, watched: false };
        self.by_pid.entry(any.pid().clone()).or_insert_with(fresh);
    }

    /// The watch to begin with the start of an instance.
    pub(crate) fn ahead<B: Behavior>(&mut self, cx: &mut Context<B>) -> WatchAhead {
        let watch = cx.watch_ahead();
        self.ahead.insert(watch.number(), None);
        watch
    }

    /// Keeps the handle of one that has started. Returns its end if that came first: to be told after the start.
    pub(crate) fn started<B: Behavior>(
        &mut self,
        child: &str,
        any: AnyRef,
        watch: &WatchAhead,
        cx: &mut Context<B>,
    ) -> Option<Down> {
        let pid = any.pid().clone();
        self.keep(child, any);
        let (instance, down) = (self.by_pid.get_mut(&pid)?, self.ahead.remove(&watch.number())?);
        if self.last.is_some() {
            // Its end may be in the mailbox, which is not read any more.
            cx.watch_failed(watch);
            return None;
        }
        instance.watched = true;
        if down.is_none() {
            let monitor = cx.watch_began(watch, &pid);
            if let Some(other) = instance.monitor.replace(monitor) {
                cx.demonitor(&other);
            }
        }
        down
    }

    /// Nothing started with that watch.
    pub(crate) fn not_started<B: Behavior>(&mut self, watch: &WatchAhead, cx: &mut Context<B>) {
        self.ahead.remove(&watch.number());
        cx.watch_failed(watch);
    }

    /// Whether the news is to wait for that of the start.
    fn is_early(&mut self, down: &Down) -> bool {
        let Entry::Occupied(mut ahead) = self.ahead.entry(down.monitor.number()) else { return false };
        match self.by_pid.get_mut(&down.pid) {
            None => *ahead.get_mut() = Some(down.clone()),
            // Its node has told of it meanwhile, and it was watched anew: this watch knows more.
            Some(instance) => {
                ahead.remove();
                instance.monitor = Some(down.monitor.clone());
                return false;
            }
        }
        true
    }

    /// Watches a kept instance; an earlier monitor of it is dropped.
    pub(crate) fn watch<B: Behavior>(&mut self, pid: &Pid, cx: &mut Context<B>) {
        let Some(instance) = self.by_pid.get_mut(pid) else { return };
        if std::mem::take(&mut instance.watched) {
            return;
        }
        if let Some(earlier) = instance.monitor.take() {
            cx.demonitor(&earlier);
        }
        match &mut self.last {
            None => instance.monitor = Some(cx.monitor(&instance.any)),
            Some(last) => last.push(instance.any.monitor()),
        }
    }

    pub(crate) fn get(&self, pid: &Pid) -> Option<&AnyRef> {
        self.by_pid.get(pid).map(|instance| &instance.any)
    }

    /// Asks it to stop with that reason, or kills it.
    pub(crate) fn stop(&self, pid: &Pid, how: Stop, reason: ExitReason) {
        let Some(any) = self.get(pid) else { return };
        match how {
            Stop::Ask => drop(any.stop(reason)),
            Stop::Kill => any.kill(),
        }
    }

    /// The child whose instance went down; the handle is forgotten. `None` for a monitor that was replaced.
    pub(crate) fn down(&mut self, down: &Down) -> Option<String> {
        if self.is_early(down) {
            return None;
        }
        let instance = self.by_pid.get(&down.pid)?;
        let current = instance.monitor.as_ref().is_none_or(|monitor| *monitor == down.monitor);
        let instance = current.then(|| self.by_pid.remove(&down.pid)).flatten()?;
        Some(instance.child)
    }

    /// Forgets the watch but not the handle: the process may still be there.
    pub(crate) fn out_of_reach(&mut self, down: &Down) -> Option<String> {
        if self.is_early(down) {
            return None;
        }
        let instance = self.by_pid.get_mut(&down.pid)?;
        if instance.monitor.as_ref().is_some_and(|monitor| *monitor != down.monitor) {
            return None;
        }
        (instance.monitor, instance.watched) = (None, false);
        Some(instance.child.clone())
    }

    /// Forgets the handles of all others.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Pid) -> bool) {
        self.by_pid.retain(|pid, _| keep(pid));
    }

    /// From now on `next_down` tells of all that are left.
    pub(crate) fn begin_last(&mut self) {
        for instance in self.by_pid.values_mut() {
            (instance.monitor, instance.watched) = (None, false);
        }
        self.last = Some(self.by_pid.values().map(|instance| instance.any.monitor()).collect());
    }

    /// The next of the last; pending while nobody is watched.
    pub(crate) async fn next_down(&mut self) -> Down {
        match &mut self.last {
            Some(last) if !last.is_empty() => match last.next().await {
                Some(down) => down,
                None => std::future::pending().await,
            },
            _ => std::future::pending().await,
        }
    }

    /// Kills everything at once.
    pub(crate) fn kill_all(&mut self) {
        for instance in std::mem::take(&mut self.by_pid).into_values() {
            instance.any.kill();
        }
    }
}
