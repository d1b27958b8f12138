//! A name that only one process of the cluster is to have: whether it may be registered, and whether that holds.
//!
//! A view has the names of those nodes that this node is connected to. So before and after it registers the name the claimant
//! asks each of them who has it *beside the claimant*: somebody it is not connected to yet may. While anybody says so it waits; once
//! the holder comes into its own view, or does not go in time, the claim is refused.
//!
//! - Asked *behind* the registration, of two claimants with a common neighbour the second is told of the first. Told of each
//!   other they both give way, and try again at different times.
//! - A node that was asked itself speaks for itself: what others say of it is late. So a node that is gone is waited for no longer
//!   than until all have noticed.
//! - Those who answer also tell whom they are connected to. One that has just come waits until it has asked those as well, as what
//!   runs there would be unknown to whoever has the name: for as long as a silent node is waited for.
//! - An answer only ever delays or refuses. Whoever has a name is found out by [`names`](super::names) alone.
//!
//! Not promised: one holder among claimants without a way of at most one neighbour between them, as in a partition.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use noex_actors::{Incarnation, Monotonic, NodeId, Pid};

use super::backoff::Backoff;

/// The waits between two rounds of questions.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask all that are connected: [`Claim::answered`].
    Ask,
    /// Register the name: [`Claim::registered`].
    Register,
    /// Give the name up if the claimant has it, wait that long, or until the own view of the name changes, and ask.
    Wait(Duration),
    /// The claimant has the name.
    Granted,
    /// Somebody else has it.
    Refused(Pid),
}

/// What a round of questions came to.
#[derive(Debug)]
pub(crate) struct Answers<'a> {
    /// Who was asked and has answered.
    pub(crate) by: &'a BTreeMap<NodeId, Incarnation>,
    /// Who named whom.
    pub(crate) named: &'a [(NodeId, Pid)],
    /// Whom those who answered are connected to.
    pub(crate) beside: &'a BTreeSet<NodeId>,
    /// Who has the name in the own view, now.
    pub(crate) seen: Option<&'a Pid>,
}

/// One claim.
#[derive(Debug)]
pub(crate) struct Claim {
    pid: Pid,
    /// The questions go behind the registration.
    registered: bool,
    /// How long those are waited for of whom others speak.
    patience: Duration,
    until: Option<Monotonic>,
    /// How long those are waited for whom others are connected to.
    meeting_until: Option<Monotonic>,
    backoff: Backoff,
    waits: u32,
}

impl Claim {
    /// A claim of a process. It begins with [`Step::Ask`].
    pub(crate) fn new(pid: Pid, patience: Duration) -> Self {
        let backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        Self { pid, registered: false, patience, until: None, meeting_until: None, backoff, waits: 0 }
    }

    /// Everybody answered, or will not.
    pub(crate) fn answered(&mut self, answers: &Answers<'_>, now: Monotonic, entropy: u64) -> Step {
        match answers.seen {
            Some(seen) if *seen != self.pid => return Step::Refused(seen.clone()),
            // Somebody made it give the name up meanwhile.
            None => self.registered = false,
            Some(_mine) => {}
        }
        let Some(other) = beside(self.pid.node_id(), answers.by, answers.named) else {
            if self.registered {
                return Step::Granted;
            }
            let unmet = |node: &NodeId| node != self.pid.node_id() && !answers.by.contains_key(node);
            let meets = answers.beside.iter().any(unmet)
                && now < *self.meeting_until.get_or_insert_with(|| now.plus(self.patience));
            return if meets { Step::Wait(FIRST_PAUSE) } else { Step::Register };
        };
        if *self.until.get_or_insert_with(|| now.plus(self.patience)) <= now {
            return Step::Refused(other.clone());
        }
        self.registered = false;
        self.waits += 1;
        Step::Wait(self.backoff.delay(self.waits, entropy))
    }

    /// It was registered, or somebody else has the name.
    pub(crate) fn registered(&mut self, registered: Result<(), Pid>) -> Step {
        match registered {
            Ok(()) => {
                self.registered = true;
                Step::Ask
            }
            Err(holder) => Step::Refused(holder),
        }
    }
}

/// The first holder on another node that somebody named, if that is no old news.
pub(crate) fn beside<'a>(
    own: &NodeId,
    asked: &BTreeMap<NodeId, Incarnation>,
    named: &'a [(NodeId, Pid)],
) -> Option<&'a Pid> {
    let counts = |(by, pid): &&(NodeId, Pid)| {
        let node = pid.node_id();
        // A node that answered names its own holder itself.
        node != own && (by == node || asked.get(node).is_none_or(|life| *life < pid.incarnation()))
    };
    named.iter().find(counts).map(|(_, pid)| pid)
}

#[cfg(test)]
mod tests;
