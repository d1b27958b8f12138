//! What wraps the futures of a process. Structs, not async functions: those would keep room for what they wrap twice, and
//! every idle process would pay for it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use actix_rt::time::{Sleep, sleep};
use pin_project_lite::pin_project;

use crate::{
    ExitReason,
    panics::contained,
    process::{ProcessCore, Urgent},
};

pin_project! {
    /// Runs a future unless an exit signal comes: then it is given up, for the reason of the signal.
    pub(crate) struct Interruptible<'a, F> {
        core: &'a ProcessCore,
        #[pin]
        inner: Option<F>,
    }

    impl<F> PinnedDrop for Interruptible<'_, F> {
        /// What is given up may panic, and so may the state that goes after it: together they would end the program.
        fn drop(this: Pin<&mut Self>) {
            let mut inner = this.project().inner;
            contained(|| inner.set(None));
        }
    }
}

impl<'a, F> Interruptible<'a, F> {
    pub(crate) fn new(core: &'a ProcessCore, inner: F) -> Self {
        Self { core, inner: Some(inner) }
    }
}

impl<F: Future> Future for Interruptible<'_, F> {
    type Output = Result<F::Output, ExitReason>;
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if this.core.urgent() == Urgent::Exit {
            let reason = this.core.ending().unwrap_or(ExitReason::Killed);
            // Before its future goes: whoever waits for what goes with it learns why.
            this.core.set_ending(reason.clone());
            return Poll::Ready(Err(reason));
        }
        match this.inner.as_pin_mut() {
            Some(inner) => inner.poll(cx).map(Ok),
            None => Poll::Pending,
        }
    }
}

pin_project! {
    /// Runs a future for so long at most, from its first wait on. What never waits needs no timer.
    pub(crate) struct Within<F> {
        limit: Duration,
        alarm: Option<Pin<Box<Sleep>>>,
        #[pin]
        inner: F,
    }
}

/// The time was over.
#[derive(Debug)]
pub(crate) struct Elapsed;

impl<F> Within<F> {
    pub(crate) fn new(limit: Duration, inner: F) -> Self {
        Self { limit, alarm: None, inner }
    }
}

impl<F: Future> Future for Within<F> {
    type Output = Result<F::Output, Elapsed>;
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.inner.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        let limit = *this.limit;
        let alarm = this.alarm.get_or_insert_with(|| Box::pin(sleep(limit)));
        alarm.as_mut().poll(cx).map(|()| Err(Elapsed))
    }
}
