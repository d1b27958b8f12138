//! What decides, and does nothing else: facts in, results out. No clock, no I/O, no runtime, ordered collections.
//!
//! | Room | Decides |
//! |---|---|
//! | [`registry`] | who is registered under which key, and what goes with a process |
//! | [`few`] | the map that it is made of: nothing allocated for a single entry |
//! | [`glob`] | which keys a pattern means |

pub(crate) mod few;
pub(crate) mod glob;
pub(crate) mod registry;
