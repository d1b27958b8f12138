//! Handlers borrow the state.
use noex_actors::{ExitReason, behavior};

struct Counter;

#[behavior]
impl Counter {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Counter)
    }
    #[call]
    fn missing(value: u8) -> u8 {
        value
    }
    #[call]
    fn owned(self) {}
    #[cast]
    fn boxed(self: Box<Self>) {}
    #[cast]
    fn fine(self: &mut Self) {}
    #[cast]
    fn shared(&self) {}
    #[call]
    unsafe fn dangerous(&self) {}
}

fn main() {}
