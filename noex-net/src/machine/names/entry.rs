//! What is said of a name: on the wire, to the shell, and between two entries.

use std::sync::Arc;

use noex_actors::{FencingToken, Generation, NodeId, Owner, Pid};
use serde::{Deserialize, Serialize};

/// A name, shared by all that speak of it.
pub(crate) type Name = Arc<str>;

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

/// What an owner says of its names, to one who knows all that changed before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// All changes up to this one are known; 0: what follows is all there is.
    pub(crate) after: u64,
    /// With this, all up to this one are.
    pub(crate) upto: u64,
    /// There is no more.
    pub(crate) done: bool,
    pub(crate) updates: Vec<Update>,
}

/// What became of that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Updates that were not taken.
    pub(crate) refused: usize,
    /// The peer has told all it had as its session began: that many names it has.
    pub(crate) synced: Option<usize>,
}

/// What a peer says of its names does not follow what it said before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap;

/// How far a peer was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Telling {
    pub(super) after: u64,
    /// What was forgotten as it began.
    pub(super) forgotten: u64,
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
    /// Ask the owner of `pid` to give the name up.
    RequestUnregister { to: NodeId, name: String, pid: Pid },
    /// Tell a process of this node that it holds the name no more.
    Lost { name: Name, winner: Pid, loser: Pid },
    /// Tell who watches the name.
    Changed { name: Name, before: Option<Pid>, now: Option<Pid> },
    /// Tell the program: two entries met.
    ConflictResolved { name: Name, winner: Pid, loser: Pid },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) version: u64,
    pub(super) held: Held,
}

impl Entry {
    /// Version first, then generation, of which the owner decides between equal ones.
    fn rank(&self) -> (u64, Option<(Generation, Option<&Owner>)>) {
        let generation = self.held.token.as_ref().map(|token| (token.generation, token.owner.as_ref()));
        (self.version, generation)
    }

    pub(super) fn beats(&self, other: &Self) -> bool {
        // The smaller pid wins: ids first, then lives, then numbers.
        self.rank().cmp(&other.rank()).then_with(|| other.held.pid.cmp(&self.held.pid)).is_gt()
    }

    /// Whether `token` is a later instance of the same supervised child.
    pub(super) fn superseded_by(&self, token: Option<&FencingToken>) -> bool {
        self.held.token.as_ref().zip(token).is_some_and(|(old, new)| new.supersedes(old))
    }
}
