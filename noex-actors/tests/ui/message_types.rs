//! What a message carries is owned and spelled out.
use std::{borrow::Cow, future::Future};

use noex_actors::{Caller, ExitReason, behavior};

struct Counter;

#[behavior]
impl Counter {
    #[init]
    fn new(name: &str) -> Result<Self, ExitReason> {
        let _ = name;
        Ok(Counter)
    }
    #[call]
    fn itself(&self, other: Self) -> Option<Self> {
        Some(other)
    }
    #[call]
    fn borrow(&self, text: &str) -> &str {
        let _ = text;
        "no"
    }
    #[call]
    fn hidden_lifetime(&self, text: Cow<'_, str>) -> Vec<u8> {
        text.as_bytes().to_vec()
    }
    #[call]
    fn future(&self) -> impl Future<Output = u8> {
        async { 1 }
    }
    #[call]
    fn later(&mut self, from: Caller<Vec<&'static str>>) {
        drop(from);
    }
    #[cast]
    fn opaque(&mut self, value: impl Send) {
        drop(value);
    }
    #[cast]
    fn owned(&mut self, function: fn(&str) -> &str, shared: Cow<'static, str>) {
        let _ = (function, shared);
    }
}

fn main() {}
