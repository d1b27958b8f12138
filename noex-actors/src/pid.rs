//! The address of a process, as plain data.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{NodeId, node_id::Incarnation};

/// Address of one process in one life of one node.
///
/// Plain data: compare it, print it, store it. It cannot send by itself; `Node::resolve` makes a handle of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pid {
    node: NodeId,
    incarnation: Incarnation,
    number: u64,
}

impl Pid {
    /// Puts an address together. For transports; programs get theirs from references.
    #[doc(hidden)]
    #[must_use]
    pub fn new(node: NodeId, incarnation: Incarnation, number: u64) -> Self {
        Self { node, incarnation, number }
    }

    /// The node on which the process lives.
    #[must_use]
    pub fn node_id(&self) -> &NodeId {
        &self.node
    }

    /// The life of that node.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The number of the process within that life; never used twice.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl AsRef<Pid> for Pid {
    fn as_ref(&self) -> &Pid {
        self
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}/{:x}/{}>", self.node, self.incarnation.0, self.number)
    }
}

impl fmt::Debug for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
