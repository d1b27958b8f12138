//! What is decided about processes, without clock, I/O or randomness.
//!
//! | Room | Decides |
//! |---|---|
//! | `links` | which links a process has, and which of them an end must still break |
//! | `signals` | what an exit signal does: to whoever traps exits, and to whoever does not |

pub(crate) mod links;
pub(crate) mod signals;
