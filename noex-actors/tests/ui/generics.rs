//! A behavior has one type for its messages: neither it nor its methods are generic.
use noex_actors::{ExitReason, behavior};

struct Wide<T>(T);

#[behavior]
impl<T: Send + 'static> Wide<T> {
    #[init]
    fn new(value: u8) -> Result<Self, ExitReason> {
        let _ = value;
        Err(ExitReason::Normal)
    }
}

struct Applied<T>(T);

#[behavior]
impl Applied<u8> {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Applied(0))
    }
}

struct Methods;

#[behavior]
impl Methods {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Methods)
    }
    #[call]
    fn generic<T>(&self, value: u8) -> u8
    where
        T: Send,
    {
        value
    }
    #[cast]
    fn borrowed<'a>(&'a mut self) {}
    fn free<T>(&self, value: T) -> T {
        value
    }
}

fn main() {}
