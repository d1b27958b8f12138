//! One role per method, and only methods have roles.
use noex_actors::{ExitReason, behavior};

struct Counter;

#[behavior]
impl Counter {
    #[call]
    const LIMIT: u8 = 3;
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Counter)
    }
    #[call]
    #[cast]
    fn both(&mut self) {}
    #[call(timeout = 3)]
    fn with_arguments(&mut self) {}
    #[terminate]
    fn first(&mut self, reason: &ExitReason) {
        let _ = reason;
    }
    #[terminate]
    fn second(&mut self, reason: &ExitReason) {
        let _ = reason;
    }
}

fn main() {}
