//! What a supervised instance carries: who supervises it, as which child, in which generation.

use std::{cmp::Ordering, fmt};

use serde::{Deserialize, Serialize};

use crate::{Pid, lease::Lease};

/// {term, n} of a supervised child as one number: rises with every instance of the child that one supervisor instance starts.
///
/// The upper bits are the term of the supervisor instance, the lower 20 count its starts. Two supervisors of one name that began in
/// the same second without knowing of each other may give one number twice; then the [`Owner`] says which instance is the later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The generation of start `n` in `term`. A count beyond 20 bits runs over into the term, which keeps it rising.
    #[must_use]
    pub const fn new(term: u64, n: u64) -> Self {
        let term = if term > u64::MAX >> 20 { u64::MAX } else { term << 20 };
        Self(term.saturating_add(n))
    }

    /// The term of the supervisor instance that started it.
    #[must_use]
    pub const fn term(self) -> u64 {
        self.0 >> 20
    }

    /// Which start within the term it was.
    #[must_use]
    pub const fn n(self) -> u64 {
        self.0 & 0xF_FFFF
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The supervisor instance that started something. Decides between two of one generation.
///
/// Of two, the one whose process has the smaller pid is the greater: the same that keeps a name of which both are the holders.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Owner(pub Pid);

impl Ord for Owner {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.cmp(&self.0)
    }
}

impl PartialOrd for Owner {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Which supervised instance a process is.
///
/// Store `generation.0` with what you write outside: a store that refuses a lower number than it has seen keeps an
/// instance that was given up, but still runs, from undoing the work of its successor. It does not keep two apart that have the same
/// number, which two sides of a partition may give; of two tokens of one child the greater one is the later.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FencingToken {
    /// Name (or id, if it has no name) of the supervisor.
    pub supervisor: String,
    /// Id of the child.
    pub child: String,
    /// Generation of this instance.
    pub generation: Generation,
    /// The supervisor instance that started it, if that is known. Not written where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
}

impl FencingToken {
    /// Puts a token together. For supervisors.
    #[doc(hidden)]
    #[must_use]
    pub fn new(supervisor: impl Into<String>, child: impl Into<String>, generation: Generation) -> Self {
        Self { supervisor: supervisor.into(), child: child.into(), generation, owner: None }
    }

    /// The same, given by that supervisor instance.
    #[doc(hidden)]
    #[must_use]
    pub fn owned_by(mut self, owner: Owner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Whether it is a later instance of the same child.
    #[must_use]
    pub fn supersedes(&self, other: &Self) -> bool {
        (&self.supervisor, &self.child) == (&other.supervisor, &other.child) && self > other
    }
}

/// What a supervised process carries.
#[derive(Debug)]
pub(crate) struct Supervised {
    pub(crate) token: FencingToken,
    pub(crate) lease: Option<Lease>,
}
