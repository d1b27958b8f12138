//! Leases: a supervised instance that stops itself when those whom it depends on are out of reach.
//!
//! The node that it runs on renews the lease for as long as they are in reach. When it is over, the process takes no further
//! message, and goes on with nothing of its own: it looks before each, by a clock that goes on while everything else stands
//! still. A node that was frozen, and replaced meanwhile, thus does nothing more with its instances when it thaws.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{ExitReason, NodeId, clock};

/// What an instance exits with whose lease is over.
const ORPHANED: &str = "noex: orphaned";

/// Whom a supervised instance depends on, and how long it may outlive them.
#[doc(hidden)]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseTerms {
    /// How long it may run on, in milliseconds.
    pub grace_ms: u64,
    /// The global name of its supervisor, if it depends on that.
    pub supervisor: Option<String>,
    /// It depends on a majority of the cluster.
    pub majority: bool,
    /// Of these nodes; empty: of the members that did not leave.
    pub voters: Vec<NodeId>,
}

/// The lease of one instance.
#[doc(hidden)]
#[derive(Debug)]
pub struct Lease {
    terms: LeaseTerms,
    /// Milliseconds since boot.
    until: AtomicU64,
}

impl Lease {
    pub(crate) fn begin(terms: LeaseTerms) -> Self {
        let lease = Self { terms, until: AtomicU64::new(0) };
        lease.renew(Duration::ZERO);
        lease
    }

    /// Whom it depends on.
    #[must_use]
    pub fn terms(&self) -> &LeaseTerms {
        &self.terms
    }

    /// They are in reach. The grace time is `least` at least: whoever renews comes no more often.
    pub fn renew(&self, least: Duration) {
        let grace = self.terms.grace_ms.max(millis(least));
        self.until.store(millis(clock::boot()).saturating_add(grace), Ordering::Release);
    }

    /// For how long it has been over, if it is.
    #[must_use]
    pub fn over(&self) -> Option<Duration> {
        let over = millis(clock::boot()).checked_sub(self.until.load(Ordering::Acquire))?;
        Some(Duration::from_millis(over))
    }

    /// What its instance exits with.
    #[must_use]
    pub fn reason() -> ExitReason {
        ExitReason::error(ORPHANED)
    }

    /// Whether it is that reason.
    #[must_use]
    pub fn is_reason(reason: &ExitReason) -> bool {
        matches!(reason, ExitReason::Error(text) if text == ORPHANED)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
