//! Processes that block their thread, as no process should.

use std::{
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use noex_actors::{ExitReason, behavior};

/// Closed until a test opens it; a minute at most.
#[derive(Default)]
pub struct Barred {
    entered: Mutex<bool>,
    open: Mutex<bool>,
    opened: Condvar,
}

impl Barred {
    pub fn wait(&self) {
        *self.entered.lock().unwrap() = true;
        let open = self.open.lock().unwrap();
        let _ = self.opened.wait_timeout_while(open, Duration::from_secs(60), |open| !*open).unwrap();
    }
    pub fn entered(&self) -> bool {
        *self.entered.lock().unwrap()
    }
    pub fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

pub struct Blocker;

#[behavior(name = "blocker")]
impl Blocker {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Blocker)
    }
    /// Blocks the thread, as no handler should.
    #[cast]
    fn block(&mut self, cx: &mut noex_actors::Context<Self>) {
        if let Some(barred) = cx.node().data::<Arc<Barred>>() {
            barred.wait();
        }
    }
    #[call]
    fn awake(&self) -> bool {
        true
    }
}
