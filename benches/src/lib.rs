//! What the benchmarks of noex share with the package that measures its peers (`benches/peers`).
//!
//! | Room | What it does |
//! |---|---|
//! | [`local`] | processes within one program: the seam of a row, its phases, three rows, the report |
//! | [`remote`] | two processes and one connection: the seam of a row, its phases and figures |
//! | [`worker`], [`pipe`] | both ends of the pipe between the parent and the children that it measures |
//! | [`stats`], [`system`], [`table`] | medians; what the operating system knows; tables for people |

pub mod local;
pub mod pipe;
pub mod remote;
pub mod stats;
pub mod system;
pub mod table;
pub mod worker;

/// What ends a run: the cause as text, for a person at a terminal.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
/// The outcome of anything in a run.
pub type Outcome<T> = Result<T, Failure>;
