//! The links of one process.
//!
//! A link stands in the tables of both its ends. Whoever takes an entry out of a table owns what follows for that end: a
//! signal or, after `unlink`, nothing. So each link breaks exactly once at each end, whatever happens at the same time.
//! Ends of one node are changed together, under the locks of both; those of two nodes by what the nodes tell each other.
//!
//! OTP: one link per pair, however often it is made; a link to oneself is none.

use std::collections::BTreeSet;

use crate::Pid;

/// One end's table. Nothing is allocated for a process without links.
#[derive(Debug, Default)]
pub(crate) struct Links(BTreeSet<Pid>);

impl Links {
    pub(crate) fn add(&mut self, other: &Pid) {
        self.0.insert(other.clone());
    }

    pub(crate) fn has(&self, other: &Pid) -> bool {
        self.0.contains(other)
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
