//! Decisions: facts and `now` in, commands out. No clock, no I/O, no randomness of their own.
//!
//! | Machine | Decides |
//! |---|---|
//! | [`keys`] | what a ring of secrets may hold, and which of them signs |
//! | [`handshake`] | whether the other end of a fresh connection belongs to this cluster |
//! | [`sessions`] | which connection to a peer is the session with it |
//! | [`membership`] | which nodes are known, in which status, and who is told of whom |
//! | [`dialer`] | when to dial whom; part of `membership` |
//! | [`arrivals`] | how long a peer may be silent, by phi accrual; part of `detector` |
//! | [`admission`] | how many connections may wait to be authenticated |
//! | [`backoff`] | how long to wait between attempts |
//! | [`credits`] | how much may be sent to a process of a peer that has not handled what was sent before |
//! | [`detector`] | when a silent connection is dead |
//! | [`links`] | whether two processes of two nodes are linked |
//! | [`names`] | who holds a global name |
//! | [`claim`] | whether a name may be registered that only one process is to have |
//! | [`groups`] | which processes are members of a group |
//! | [`quorum`] | whether this side of a cluster is the one that goes on |
//! | [`terms`] | what is remembered of the terms of supervisors |

pub(crate) mod admission;
pub(crate) mod arrivals;
pub(crate) mod backoff;
pub(crate) mod claim;
pub(crate) mod credits;
pub(crate) mod detector;
pub(crate) mod dialer;
pub(crate) mod groups;
pub(crate) mod handshake;
pub(crate) mod keys;
pub(crate) mod links;
pub(crate) mod membership;
pub(crate) mod names;
pub(crate) mod quorum;
pub(crate) mod sessions;
pub(crate) mod terms;
