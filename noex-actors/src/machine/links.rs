//! The links of one process.
//!
//! A link stands in the tables of both its ends. Whoever takes an entry out of a table owns what follows for that end: a
//! signal or, after `unlink`, nothing. So each link breaks exactly once at each end, whatever happens at the same time.
//!
//! OTP: one link per pair, however often it is made; a link to oneself is none.

use std::collections::BTreeSet;

use crate::Pid;

/// What came of making a link at one of its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Linked {
    New,
    /// It was there already.
    Known,
    /// This end is gone.
    Gone,
}

/// One end's table. Nothing is allocated for a process without links.
#[derive(Debug, Default)]
pub(crate) struct Links(BTreeSet<Pid>);

impl Links {
    pub(crate) fn add(&mut self, other: &Pid) -> Linked {
        if self.0.insert(other.clone()) { Linked::New } else { Linked::Known }
    }

    /// True if it was there: whoever is told so does what follows.
    pub(crate) fn remove(&mut self, other: &Pid) -> bool {
        self.0.remove(other)
    }

    /// This end is gone: the other ends that must hear of it.
    pub(crate) fn take(&mut self) -> BTreeSet<Pid> {
        std::mem::take(&mut self.0)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
