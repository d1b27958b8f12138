//! What is decided about processes, without clock, I/O or randomness: facts in, results out.
//!
//! | Room | Decides |
//! |---|---|
//! | `links` | which links a process has, and which of them an end must still break |
//! | `signals` | what an exit signal does: to whoever traps exits, and to whoever does not |
//! | `registry` | who is registered under which key, and what goes with a process |
//! | `few` | the map that it is made of: nothing allocated for a single entry |
//! | `glob` | which keys a pattern means |
//! | `watchdog` | when an arbiter counts as blocked |

pub(crate) mod few;
pub(crate) mod glob;
pub(crate) mod links;
pub(crate) mod registry;
pub(crate) mod signals;
pub(crate) mod watchdog;
