//! How many processes a node has, as one supervisor can know it.
//!
//! ```text
//! load = told + ordered + started - ended - leaving
//! ```
//!
//! | Part | Begins | Ends |
//! |---|---|---|
//! | told | a heartbeat | the next one |
//! | ordered: starts without an answer | the order | the answer, or it explains why more were told |
//! | started: not surely in what was told | the answer | a heartbeat that came after it, or it explains why more were told |
//! | ended: perhaps still in what was told | the end is known | a heartbeat that came after it, or it explains why fewer were told |
//! | leaving: children that are moved | the order | the end is known |
//!
//! An answer and a heartbeat come over one connection, in order: a heartbeat that came after an answer counts what was answered.
//! One that came before may count it as well: then the node tells more than can be explained otherwise, and that many of
//! those that wait are taken to be in it, whichever they are. It is the same with ends and fewer; those that are not known yet are
//! then not counted again.
//!
//! INVARIANT: all parts but what was told are empty as soon as everything is answered and a heartbeat came after that: whatever
//! others start and stop there meanwhile can mislead the sum until then, and no longer.

use std::collections::{BTreeSet, VecDeque};

use noex_actors::{Generation, Monotonic};

/// One node.
#[derive(Debug, Default)]
pub(super) struct Account {
    processes: usize,
    /// When that was told; `None` before anything was, and for a node that always tells the present.
    told: Option<Monotonic>,
    known: bool,
    /// Starts without an answer.
    ordered: BTreeSet<Generation>,
    /// As many of them are taken to be in what was told.
    counted: usize,
    /// When those were answered that are not surely in what was told.
    started: VecDeque<Monotonic>,
    /// When the ends became known of those that are perhaps still in what was told.
    ended: VecDeque<Monotonic>,
    /// As many ends explain why so few were told, and are not known yet.
    early: usize,
    leaving: BTreeSet<String>,
}

impl Account {
    /// What the node tells, `at` that time; at this moment if `None`. The same again changes nothing.
    pub(super) fn told(&mut self, processes: usize, at: Option<Monotonic>) {
        let before = std::mem::replace(&mut self.processes, processes);
        let same = at.is_some() && self.told == at;
        self.told = at;
        if !std::mem::replace(&mut self.known, true) || same {
            return;
        }
        let (started, ended) = (drop_before(&mut self.started, at), drop_before(&mut self.ended, at));
        let expected = before.saturating_add(started).saturating_sub(ended);
        let more = drop_up_to(&mut self.started, processes.saturating_sub(expected));
        self.counted = self.counted.saturating_add(more).min(self.ordered.len());
        let fewer = drop_up_to(&mut self.ended, expected.saturating_sub(processes));
        if at.is_none() {
            return; // who runs no more is not in it
        }
        // One that was counted may have failed before anybody heard of it: then it was not another that is to come.
        self.early = fewer.saturating_sub(self.counted);
        self.counted = self.counted.saturating_sub(fewer);
    }

    pub(super) fn ordered(&mut self, generation: Generation) {
        self.ordered.insert(generation);
    }

    pub(super) fn started(&mut self, generation: Generation, now: Monotonic) {
        if !self.ordered.remove(&generation) {
        } else if self.counted > 0 {
            self.counted -= 1;
        } else if self.told.is_some() {
            self.started.push_back(now);
        }
    }

    pub(super) fn failed(&mut self, generation: Generation, now: Monotonic) {
        self.ordered.remove(&generation);
        if self.counted > self.ordered.len() {
            self.counted = self.ordered.len();
            self.gone(now);
        }
    }

    pub(super) fn leaves(&mut self, child: &str) {
        self.leaving.insert(child.to_owned());
    }

    pub(super) fn ended(&mut self, child: &str, now: Monotonic) {
        self.leaving.remove(child);
        self.gone(now);
    }

    /// What was told counts one that is no more, unless it told fewer already.
    fn gone(&mut self, now: Monotonic) {
        if self.early > 0 {
            self.early -= 1;
        } else if self.told.is_some() {
            self.ended.push_back(now);
        }
    }

    pub(super) fn load(&self) -> usize {
        let more = self.ordered.len() - self.counted + self.started.len();
        self.processes.saturating_add(more).saturating_sub(self.ended.len() + self.leaving.len())
    }
}

/// Drops what is before that time, everything if there is none; how many those are.
fn drop_before(moments: &mut VecDeque<Monotonic>, at: Option<Monotonic>) -> usize {
    let count = at.map_or(moments.len(), |at| moments.partition_point(|moment| *moment < at));
    moments.drain(..count).count()
}

/// Drops the first `count`; how many are missing to that.
fn drop_up_to(moments: &mut VecDeque<Monotonic>, count: usize) -> usize {
    count - moments.drain(..count.min(moments.len())).count()
}
