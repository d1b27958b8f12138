//! What a panic says.

use std::{
    any::Any,
    mem::ManuallyDrop,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// The text of a panic, as `panic!` gives it.
#[must_use]
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no text)")
}

/// The same of one that was caught. What it carried is dropped, which may panic as well.
pub(crate) fn into_text(panic: Box<dyn Any + Send>) -> String {
    let text = panic_text(panic.as_ref()).to_owned();
    // What that panics with is not dropped: there would be no end of it.
    let _again = catch_unwind(AssertUnwindSafe(|| drop(panic))).map_err(ManuallyDrop::new);
    text
}

/// Runs code of a user that may panic where nobody can be told, and goes on.
pub fn contained(f: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(f)) {
        tracing::error!(panic = into_text(panic), "what was dropped, or woken, at an end panicked");
    }
}
