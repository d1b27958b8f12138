//! Processes within one program: calls, casts, starts and memory, and what a flood does to a neighbour.
//!
//! ```text
//! noex-bench local ──► noex-bench local-row ROW             answers orders, one phase of one round each
//!                 └──► noex-bench local-row ROW --idle N    starts N idle processes, tells its memory, ends
//! ```
//!
//! One child per row lives through the whole run, and the rows are measured in turn ([`rounds`]). Memory is
//! that of a fresh child per row and round. What is measured is written once, for all rows ([`subject`]):
//!
//! | Phase | What is timed | Figures |
//! |---|---|---|
//! | `call` | calls one after the other, from a task on the target's arbiter | `callNs` |
//! | `timeout` | the same with a deadline of 5 s armed, also where there is none by default | `callTimeoutNs` |
//! | `cast` | bursts of [`BURST`] casts, each closed by a call that tells how many arrived | `castNs` |
//! | `flow` | the same with bursts of [`LARGE_BURST`] | `largeBurstCastNs` |
//! | `spawn` | starts of [`STARTS`] at a time, until the last of them runs, in memory that is there | `warmSpawnNs` |
//! | `cross` | calls and casts to a target on another thread | `crossCallNs`, `crossCastNs` |
//! | `flood` | single calls to a process, before and while its neighbour has a long queue | `quietCallNs`, `floodCallNs`, `floodRatio` |
//! | (memory) | resident memory over [`IDLE`] idle processes; their starts, [`STARTS`] at a time | `bytesPerProcess`, `spawnNs` |
//!
//! A process holds a `u64`. Starts are throughput: many are under way together, and the clock stops when the last
//! process has run what it runs first. A figure of a round is the median over chunks of about 0.1 ms (of bursts
//! and starts: as long as one of theirs), so that what other programs take of the processor falls out. The
//! children have a second thread from the beginning, as every program with more than one arbiter has: a process
//! with one thread gets its memory more cheaply.

use std::{collections::BTreeMap, time::Duration};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

mod actix_row;
mod noex_row;
pub mod report;
pub mod rounds;
mod rows;
pub mod subject;
mod tokio_row;

pub use self::{
    report::Report,
    rounds::{Measured, Plan},
    rows::Row,
    subject::{Idle, Job, Subject},
};

/// Casts of a burst in `cast`.
pub const BURST: u64 = 1_000;
/// Casts of a burst in `flow` and `flood`: half of what a mailbox of noex takes by default.
pub const LARGE_BURST: u64 = 32_768;
/// Processes that are started together. Fewer than what a task of tokio may receive in one turn (128), else whoever
/// joins them is turned away and comes again, and the harness is measured.
pub const STARTS: usize = 100;
/// Idle processes over which memory is measured.
pub const IDLE: usize = 100_000;
/// The deadline that noex arms by default.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// One kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Phase {
    /// One call after the other.
    Call,
    /// The same with a deadline.
    Timeout,
    /// Bursts of casts.
    Cast,
    /// Large bursts of casts.
    Flow,
    /// Starts.
    Spawn,
    /// Calls and casts to another thread.
    Cross,
    /// Calls to the neighbour of a process with a long queue.
    Flood,
}

/// Length of every phase in one round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Before the clock starts, in milliseconds.
    pub warm_ms: u64,
    /// With the clock running, in milliseconds. A phase with two figures takes twice as long.
    pub measure_ms: u64,
    /// Processes to start in `spawn`.
    pub starts: usize,
}

impl Load {
    /// For figures to be believed.
    #[must_use]
    pub fn full() -> Self {
        Load { warm_ms: 20, measure_ms: 300, starts: 50_000 }
    }

    /// Five rounds of three rows take less than 20 s.
    #[must_use]
    pub fn quick() -> Self {
        Load { warm_ms: 5, measure_ms: 70, starts: 10_000 }
    }

    fn warm(&self) -> Duration {
        Duration::from_millis(self.warm_ms)
    }

    fn measure(&self) -> Duration {
        Duration::from_millis(self.measure_ms)
    }
}

/// One line from the parent to a child.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// What to do.
    pub phase: Phase,
    /// For how long.
    pub load: Load,
}

/// A figure. Times are nanoseconds each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Metric {
    /// A call.
    CallNs,
    /// A call with a deadline.
    CallTimeoutNs,
    /// A cast of a burst.
    CastNs,
    /// A cast of a large burst.
    LargeBurstCastNs,
    /// A start that takes its memory from the system.
    SpawnNs,
    /// A start in the memory of processes that ended.
    WarmSpawnNs,
    /// Memory of an idle process.
    BytesPerProcess,
    /// A call to another thread.
    CrossCallNs,
    /// A cast to another thread.
    CrossCastNs,
    /// A single call, timed by itself: the median.
    QuietCallNs,
    /// The same while the neighbour has a long queue.
    FloodCallNs,
    /// Their ratio.
    FloodRatio,
}

/// One line from a child to the parent: the figures of one phase in one round.
pub type Sample = BTreeMap<Metric, f64>;
