//! Stubs are methods that a `Ref` does not have itself; variants have one method each.
use noex_actors::{ExitReason, behavior};

struct Counter;

#[behavior]
impl Counter {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Counter)
    }
    #[call]
    fn get_value(&self) -> u8 {
        0
    }
    #[call]
    fn get__value(&self) -> u8 {
        0
    }
    #[cast]
    fn stop(&mut self) {}
    #[call]
    fn is_alive(&self) -> bool {
        true
    }
    #[call]
    fn max(&self) -> u8 {
        9
    }
    #[cast]
    fn _1(&mut self) {}
}

struct Allowed;

#[behavior]
impl Allowed {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Allowed)
    }
    #[call]
    fn value(&self) -> u8 {
        0
    }
    #[cast]
    fn _value(&mut self) {}
    #[terminate]
    fn kill(&mut self, reason: &ExitReason) {
        let _ = reason;
    }
    fn clone(&self) -> Self {
        Allowed
    }
}

fn main() {}
