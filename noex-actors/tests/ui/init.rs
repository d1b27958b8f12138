//! There is one function that makes the state; it has no state yet and may fail.
use noex_actors::{ExitReason, behavior};

struct Missing;

#[behavior]
impl Missing {
    #[call]
    fn get(&self) -> u8 {
        0
    }
}

struct Twice;

#[behavior]
impl Twice {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Twice)
    }
    #[init]
    fn other() -> Result<Self, ExitReason> {
        Ok(Twice)
    }
}

struct WithSelf;

#[behavior]
impl WithSelf {
    #[init]
    fn new(&self) -> Result<Self, ExitReason> {
        Ok(WithSelf)
    }
}

struct Infallible;

#[behavior]
impl Infallible {
    #[init]
    fn new() -> Self {
        Infallible
    }
}

struct Unit;

#[behavior]
impl Unit {
    #[init]
    fn new() {}
}

struct Foreign;

#[behavior]
impl Foreign {
    #[init]
    fn new() -> Result<u8, ExitReason> {
        Ok(0)
    }
}

fn main() {}
