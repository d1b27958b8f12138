//! What is said of a name: on the wire, to the shell, and between two entries.

use noex_actors::{FencingToken, Generation, NodeId, Pid};
use serde::{Deserialize, Serialize};

/// Who holds a name, as its owner says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    /// The process; its node is the owner.
    pub(crate) pid: Pid,
    /// Which supervised instance it is, if it is one.
    pub(crate) token: Option<FencingToken>,
}

/// What an owner says of one of its names. `held: None` is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Update {
    pub(crate) name: String,
    pub(crate) version: u64,
    pub(crate) held: Option<Held>,
}

/// Why a name was not registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RegisterError {
    /// Another process holds it.
    Taken(Pid),
    /// Empty, or longer than [`MAX_NAME`](super::MAX_NAME).
    InvalidName,
    /// Only the node of a process registers it.
    NotLocal,
    /// This node has [`MAX_ENTRIES`](super::MAX_ENTRIES).
    TooMany,
}

/// Commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Send to every connected peer.
    Broadcast(Update),
    /// Ask the owner of `pid` to give the name up.
    RequestUnregister { to: NodeId, name: String, pid: Pid },
    /// Tell a process of this node that it holds the name no more.
    Lost { name: String, winner: Pid, loser: Pid },
    /// Tell who watches the name.
    Changed { name: String, now: Option<Pid> },
    /// Tell the program: two entries met.
    ConflictResolved { name: String, winner: Pid, loser: Pid },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) version: u64,
    pub(super) held: Held,
}

impl Entry {
    pub(super) fn generation(&self) -> Generation {
        self.held.token.as_ref().map_or(Generation(0), |token| token.generation)
    }

    pub(super) fn beats(&self, other: &Self) -> bool {
        let rank = |entry: &Self| (entry.version, entry.generation());
        // The smaller pid wins: ids first, then lives, then numbers.
        rank(self).cmp(&rank(other)).then_with(|| other.held.pid.cmp(&self.held.pid)).is_gt()
    }

    /// Whether `token` is a later instance of the same supervised child.
    pub(super) fn superseded_by(&self, token: Option<&FencingToken>) -> bool {
        match (&self.held.token, token) {
            (Some(old), Some(new)) => {
                (&old.supervisor, &old.child) == (&new.supervisor, &new.child)
                    && old.generation < new.generation
            }
            (None, _) | (_, None) => false,
        }
    }
}
