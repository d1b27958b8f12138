//! Starts processes on one arbiter: what waits is started in one turn of one task there.
//!
//! An arbiter can be asked to run a closure, but makes a task of each; and what is asked of one that stops is lost without
//! a word. Here it is dropped, and whoever waits for it hears of that.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use actix_rt::ArbiterHandle;
use parking_lot::Mutex;

use crate::{
    thread_mark::ThreadMark,
    vital::{Failsafe, Vital},
};

/// What is run there.
pub(crate) trait Job: Send {
    fn run(self: Box<Self>, thread: ThreadMark);
    /// It will not be run: the arbiter stopped. Must not panic: others are told after it.
    fn lost(self: Box<Self>);
}

#[derive(Default)]
struct State {
    jobs: Vec<Box<dyn Job>>,
    waker: Option<Waker>,
    closed: bool,
}

/// The way to one arbiter.
#[derive(Clone, Default)]
pub(crate) struct Launcher(Arc<Mutex<State>>);

impl Launcher {
    /// A launcher whose task runs on that arbiter.
    pub(crate) fn on(arbiter: &ArbiterHandle, failsafe: &Failsafe) -> Self {
        let (launcher, running) = Self::unplaced(failsafe);
        arbiter.spawn(running);
        launcher
    }

    /// A launcher and its task, for an arbiter that is yet to come. Where the task is dropped, as by an arbiter that is gone, the
    /// launcher is closed.
    pub(crate) fn unplaced(failsafe: &Failsafe) -> (Self, Vital<Running>) {
        let launcher = Self::default();
        let running = failsafe.vital("a launcher", Running(launcher.clone(), None));
        (launcher, running)
    }

    /// Nobody starts anything by it any more: its task ends, on whosever arbiter it is.
    pub(crate) fn close(&self) {
        let waker = {
            let mut state = self.0.lock();
            state.closed = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Runs `job` there, soon; it is lost if the arbiter stopped.
    pub(crate) fn launch(&self, job: Box<dyn Job>) {
        let mut state = self.0.lock();
        if state.closed {
            drop(state);
            return job.lost();
        }
        state.jobs.push(job);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.lock().closed
    }
}

impl fmt::Debug for Launcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Launcher").field("closed", &self.is_closed()).finish()
    }
}

/// The task of a launcher.
pub(crate) struct Running(Launcher, Option<ThreadMark>);

impl Future for Running {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let thread = *self.1.get_or_insert_with(ThreadMark::current);
        loop {
            let jobs = {
                let mut state = self.0.0.lock();
                if state.closed {
                    return Poll::Ready(());
                }
                if state.jobs.is_empty() {
                    state.waker = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                std::mem::take(&mut state.jobs)
            };
            for job in jobs {
                job.run(thread);
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let jobs = {
            let mut state = self.0.0.lock();
            state.closed = true;
            std::mem::take(&mut state.jobs)
        };
        for job in jobs {
            job.lost();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn the_task_of_a_closed_launcher_ends_though_its_arbiter_lives_on() {
        let launcher = Launcher::on(&actix_rt::Arbiter::current(), &Failsafe::default());
        tokio::task::yield_now().await;
        let state = Arc::downgrade(&launcher.0);
        launcher.close();
        drop(launcher);
        while state.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    }
}
