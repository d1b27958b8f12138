//! What goes between a process and those who see its mailbox from outside.

use std::sync::Arc;

use crate::{Monotonic, route::Session};

/// A call from another node.
#[doc(hidden)]
#[derive(Debug)]
pub struct RemoteCall<'a> {
    /// Who wants the reply.
    pub session: Arc<dyn Session>,
    /// Number of the call in that session.
    pub id: u64,
    /// Number of the behavior that the caller expects.
    pub behavior: u32,
    /// Until when the caller waits.
    pub deadline: Monotonic,
    /// The encoded message.
    pub body: &'a [u8],
}

/// Figures of a mailbox.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct MailboxStats {
    /// Messages queued now.
    pub len: usize,
    /// Most messages queued at once.
    pub high_water: usize,
    /// Messages refused because it was full.
    pub dropped: u64,
    /// Messages handled.
    pub handled: u64,
}
