//! Arguments become named fields: plain names, no conditions; the context is borrowed, once.
use noex_actors::{Caller, Context, ExitReason, behavior};

struct Other;

#[behavior]
impl Other {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Other)
    }
}

struct Counter;

#[behavior]
impl Counter {
    #[init]
    fn new((a, b): (u8, u8)) -> Result<Self, ExitReason> {
        let _ = (a, b);
        Ok(Counter)
    }
    #[call]
    fn pair(&self, (a, b): (u8, u8)) -> u8 {
        a + b
    }
    #[cast]
    fn nameless(&mut self, _: u8) {}
    #[cast]
    fn bound(&mut self, whole @ 0..: u8) {
        let _ = whole;
    }
    #[cast]
    fn conditional(&mut self, #[cfg(all())] value: u8) {
        let _ = value;
    }
    #[call]
    fn owned_context(&self, cx: Context<Self>) {
        let _ = cx;
    }
    #[call]
    fn two_contexts(&self, a: &mut Context<Self>, b: &Context<Self>) {
        let _ = (a, b);
    }
    #[call]
    fn foreign_context(&self, cx: &mut Context<Other>) {
        let _ = cx;
    }
    #[call]
    fn two_callers(&self, a: Caller<u8>, b: Caller<u8>) {
        drop((a, b));
    }
}

fn main() {}
