//! What a supervised instance carries: who supervises it, as which child, in which generation.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::lease::Lease;

/// {term, n} of a supervised child as one number: rises with every instance of the child.
///
/// The upper bits are the term of the supervisor instance, the lower 20 count its starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The generation of start `n` in `term`. A count beyond 20 bits runs over into the term, which keeps it rising.
    #[must_use]
    pub const fn new(term: u64, n: u64) -> Self {
        Self((term << 20).saturating_add(n))
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

/// Which supervised instance a process is.
///
/// Store `generation.0` with what you write outside: a store that refuses a lower number than it has seen keeps an
/// instance that was given up, but still runs, from undoing the work of its successor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FencingToken {
    /// Name (or id, if it has no name) of the supervisor.
    pub supervisor: String,
    /// Id of the child.
    pub child: String,
    /// Generation of this instance.
    pub generation: Generation,
}

impl FencingToken {
    /// Puts a token together. For supervisors.
    #[doc(hidden)]
    #[must_use]
    pub fn new(supervisor: impl Into<String>, child: impl Into<String>, generation: Generation) -> Self {
        Self { supervisor: supervisor.into(), child: child.into(), generation }
    }
}

/// What a supervised process carries.
#[derive(Debug)]
pub(crate) struct Supervised {
    pub(crate) token: FencingToken,
    pub(crate) lease: Option<Lease>,
}
