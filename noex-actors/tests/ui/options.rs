//! The options of the attribute.
use noex_actors::{ExitReason, behavior};

struct Unknown;

#[behavior(nmae = "counter")]
impl Unknown {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Unknown)
    }
}

struct Spaced;

#[behavior(name = "my counter")]
impl Spaced {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Spaced)
    }
}

struct Empty;

#[behavior(name = "")]
impl Empty {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Empty)
    }
}

struct Twice;

#[behavior(name = "a", name = "b")]
impl Twice {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Twice)
    }
}

struct NoPath;

#[behavior(crate = "not a path")]
impl NoPath {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(NoPath)
    }
}

struct NotClone;

struct Fanned;

#[behavior(clone)]
impl Fanned {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Fanned)
    }
    #[cast]
    fn fan(&mut self, what: NotClone) {
        let _ = what;
    }
}

fn main() {}
