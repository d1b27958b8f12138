//! Who waits for a result, and who does not.
use noex_actors::{Caller, ExitReason, Info, SpawnOptions, behavior};

struct Counter;

#[behavior]
impl Counter {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Counter)
    }
    #[call]
    fn deferred(&mut self, from: Caller<u8>) -> u8 {
        drop(from);
        0
    }
    #[cast]
    fn value(&mut self) -> u8 {
        0
    }
    #[cast]
    fn result_of_a_value(&mut self) -> Result<u8, ExitReason> {
        Ok(0)
    }
    #[info]
    fn info(&mut self, info: Info) -> Option<()> {
        drop(info);
        None
    }
    #[terminate]
    fn terminate(&mut self, reason: &ExitReason) -> Result<(), ExitReason> {
        let _ = reason;
        Ok(())
    }
    #[options]
    fn options() {
        let _ = SpawnOptions::new();
    }
}

fn main() {}
