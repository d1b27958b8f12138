//! What a node tells of its processes and of itself.

use std::time::{Duration, SystemTime};

use crate::{AnyRef, ExitReason, FencingToken, Pid, ProcessStatus};

/// What is known of one process.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProcessInfo {
    /// Its address.
    pub pid: Pid,
    /// Wire name of its behavior, or the name of its type.
    pub behavior: &'static str,
    /// Its names on this node.
    pub names: Vec<String>,
    /// Where it stands in its life.
    pub status: ProcessStatus,
    /// Messages waiting.
    pub mailbox_len: usize,
    /// Most messages that ever waited at once.
    pub mailbox_high_water: usize,
    /// Encoded bytes of calls, casts and signals from other nodes that wait; a message counts as 64 bytes at least.
    pub mailbox_bytes: u64,
    /// Messages refused because the mailbox was full.
    pub dropped: u64,
    /// Messages handled.
    pub message_count: u64,
    /// When it started.
    pub started_at: SystemTime,
    /// How long ago that was.
    pub uptime: Duration,
    /// Processes linked to it.
    pub links: usize,
    /// Watches on it.
    pub monitors: usize,
    /// Which supervised instance it is, in a child of a `DistributedSupervisor`.
    pub supervised: Option<FencingToken>,
}

/// The life of processes, as it happens.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ProcessEvent {
    /// One was started; its `init` runs.
    Started {
        /// Its address.
        pid: Pid,
        /// Its behavior.
        behavior: &'static str,
    },
    /// One took the place of another that its supervisor restarted. Told after its `Started`.
    Restarted {
        /// Its address.
        pid: Pid,
        /// How many restarts of that child there were, this one included.
        attempt: u32,
    },
    /// One ended.
    Exited {
        /// Its address.
        pid: Pid,
        /// Why.
        reason: ExitReason,
    },
}

/// Figures of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuntimeStats {
    /// Processes alive.
    pub processes: usize,
    /// Processes ever started.
    pub spawned: u64,
    /// Messages waiting in all mailboxes.
    pub mailbox_len: usize,
    /// Arbiters for processes.
    pub arbiters: usize,
    /// Arbiters whose thread is blocked by somebody's code, for longer than
    /// [`watchdog`](crate::NodeBuilder::watchdog) allows.
    pub blocked_arbiters: usize,
    /// How often an arbiter was found blocked.
    pub blockages: u64,
}

/// A supervised instance alive on this node.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SupervisedProcess {
    /// Which instance it is.
    pub token: FencingToken,
    /// The process.
    pub any: AnyRef,
    /// Wire name of its behavior.
    pub behavior: String,
}
