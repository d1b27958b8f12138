//! The ends of links in the tables of processes.

use parking_lot::MutexGuard;

use super::{Fate, ProcessCore};
use crate::Pid;

/// An end of a link to be made that is gone, and of which the other end has not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    One,
    Other,
}

impl ProcessCore {
    /// Its end of a link with a process of another node; false if it is gone.
    pub(crate) fn add_link(&self, other: &Pid) -> bool {
        let mut fate = self.fate.lock();
        if !fate.ended {
            fate.ties().links.add(other);
        }
        !fate.ended
    }

    pub(crate) fn has_link(&self, other: &Pid) -> bool {
        self.fate.lock().has_link(other)
    }

    /// Takes its end of a link away; true if it was there.
    pub(crate) fn remove_link(&self, other: &Pid) -> bool {
        self.fate.lock().remove_link(other)
    }

    /// Links two processes of one node.
    ///
    /// # Errors
    /// [`Gone`], unless the other one had a link already: then it hears of that end in any case.
    pub(crate) fn link(&self, other: &Self) -> Result<(), Gone> {
        let (mut near, mut far) = self.lock_both(other);
        match (near.ended, far.ended) {
            (false, false) => {
                near.ties().links.add(&other.pid);
                far.ties().links.add(&self.pid);
                Ok(())
            }
            (true, false) if !far.has_link(&self.pid) => Err(Gone::One),
            (false, true) if !near.has_link(&other.pid) => Err(Gone::Other),
            _ => Ok(()),
        }
    }

    /// Takes the link of two processes of one node away, at both ends.
    pub(crate) fn unlink(&self, other: &Self) {
        let (mut near, mut far) = self.lock_both(other);
        near.remove_link(&other.pid);
        far.remove_link(&self.pid);
    }

    /// Of two processes. In the order of their numbers, so that nobody waits in a circle.
    fn lock_both<'a>(&'a self, other: &'a Self) -> (MutexGuard<'a, Fate>, MutexGuard<'a, Fate>) {
        debug_assert_ne!(self.pid, other.pid, "one lock");
        if self.pid.number() < other.pid.number() {
            let near = self.fate.lock();
            (near, other.fate.lock())
        } else {
            let far = other.fate.lock();
            (self.fate.lock(), far)
        }
    }
}

impl Fate {
    fn has_link(&self, other: &Pid) -> bool {
        self.ties.as_ref().is_some_and(|ties| ties.links.has(other))
    }

    fn remove_link(&mut self, other: &Pid) -> bool {
        self.ties.as_mut().is_some_and(|ties| ties.links.remove(other))
    }
}
