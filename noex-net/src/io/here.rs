//! Which thread this is.

use std::thread::{self, ThreadId};

/// This thread.
#[inline]
pub(crate) fn here() -> ThreadId {
    // `thread::current` clones a handle, for each message of a user.
    thread_local!(static HERE: ThreadId = thread::current().id());
    HERE.with(|here| *here)
}
