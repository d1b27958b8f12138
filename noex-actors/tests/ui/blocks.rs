//! The attribute stands on the `impl` block of a type with a name.
use noex_actors::{ExitReason, behavior};

#[behavior]
struct Counter;

trait Start: Sized {
    fn new() -> Result<Self, ExitReason>;
}

#[behavior]
impl Start for Counter {
    fn new() -> Result<Self, ExitReason> {
        Ok(Counter)
    }
}

trait Empty {}

#[behavior]
impl dyn Empty {
    #[init]
    fn new() {}
}

fn main() {
    let _ = Counter::new();
}
