//! Rows of two processes and one connection: what a client is asked, the seam of a row, and its phases.
//!
//! | Room | What it does |
//! |---|---|
//! | [`load`] | phases, their length, and the figures that come back |
//! | [`driver`] | what a row implements, and the phases of all that have calls |
//! | [`child`] | the child's end of the pipe to the parent |

pub mod child;
pub mod driver;
pub mod load;
