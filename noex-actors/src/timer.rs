//! Timers: one task each, ended by their reference or with their process.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_rt::{task::JoinHandle, time};
use tokio::task::AbortHandle;

/// A timer that may be cancelled. Dropping it changes nothing.
#[derive(Clone)]
pub struct TimerRef {
    pending: Arc<AtomicBool>,
    task: Arc<OnceLock<AbortHandle>>,
}

impl TimerRef {
    fn new() -> Self {
        Self { pending: Arc::new(AtomicBool::new(true)), task: Arc::new(OnceLock::new()) }
    }

    /// A timer that a task on that arbiter keeps.
    pub(crate) fn remote(
        after: Duration,
        fire: impl FnOnce() + Send + 'static,
        on: &actix_rt::ArbiterHandle,
    ) -> Self {
        let timer = Self::new();
        let pending = timer.clone();
        on.spawn(async move {
            let task = after_as(&pending, after, fire);
            // Cancelled on its way here: nobody else stops it.
            if !pending.is_pending() {
                task.abort();
            }
        });
        timer
    }

    /// A timer that will not fire.
    pub(crate) fn never() -> Self {
        let timer = Self::new();
        timer.fired();
        timer
    }

    fn fired(&self) -> bool {
        self.pending.swap(false, Ordering::AcqRel)
    }

    /// Cancels the timer. True only if it was still pending: then it does not fire.
    pub fn cancel(&self) -> bool {
        let pending = self.fired();
        if let (true, Some(task)) = (pending, self.task.get()) {
            task.abort();
        }
        pending
    }

    fn is_pending(&self) -> bool {
        self.pending.load(Ordering::Acquire)
    }
}

impl fmt::Debug for TimerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimerRef").field("pending", &self.is_pending()).finish()
    }
}

/// Runs `fire` once, on this arbiter.
pub(crate) fn after(after: Duration, fire: impl FnOnce() + 'static) -> (TimerRef, JoinHandle<()>) {
    let timer = TimerRef::new();
    let task = after_as(&timer, after, fire);
    (timer, task)
}

fn after_as(timer: &TimerRef, after: Duration, fire: impl FnOnce() + 'static) -> JoinHandle<()> {
    let pending = timer.clone();
    let task = actix_rt::spawn(async move {
        time::sleep(after).await;
        if pending.fired() {
            fire();
        }
    });
    let _ = timer.task.set(task.abort_handle());
    task
}

/// Runs `fire` every so often until it returns false.
pub(crate) fn every(every: Duration, fire: impl Fn() -> bool + 'static) -> (TimerRef, JoinHandle<()>) {
    let timer = TimerRef::new();
    let pending = timer.clone();
    let task = actix_rt::spawn(async move {
        // So far that it does not come.
        let Some(first) = time::Instant::now().checked_add(every) else {
            return std::future::pending().await;
        };
        let mut ticks = time::interval_at(first, every.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            if !pending.is_pending() || !fire() {
                return;
            }
        }
    });
    let _ = timer.task.set(task.abort_handle());
    (timer, task)
}
