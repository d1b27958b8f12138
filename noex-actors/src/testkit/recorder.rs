//! A process to send to.

use crate::{ExitReason, behavior};

/// Keeps what is cast to it, echoes what it is called with, and crashes when it is told to.
#[derive(Debug, Default)]
pub struct Recorder {
    seen: Vec<String>,
}

#[behavior(name = "recorder")]
impl Recorder {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Self::default())
    }

    /// Answers with what came.
    #[call]
    fn echo(&self, text: String) -> String {
        text
    }

    /// Keeps it.
    #[cast]
    fn keep(&mut self, text: String) {
        self.seen.push(text);
    }

    /// What was kept, in order.
    #[call]
    fn seen(&self) -> Vec<String> {
        self.seen.clone()
    }

    /// Panics with this text.
    #[cast]
    #[expect(clippy::panic, reason = "that is what it is for")]
    fn crash(&mut self, text: String) {
        panic!("{text}");
    }
}
