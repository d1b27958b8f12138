//! Which context is current on a thread: that of the innermost scope that is entered.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use super::TraceContext;

thread_local! {
    /// One is current. By itself: a look at it costs nothing.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    static CURRENT: RefCell<Option<TraceContext>> = const { RefCell::new(None) };
}

#[inline]
pub(super) fn is_inside() -> bool {
    INSIDE.get()
}

pub(super) fn current() -> Option<TraceContext> {
    CURRENT.with_borrow(Clone::clone)
}

/// Makes a context the current one, and keeps the one before it in its place.
fn swap(context: &mut Option<TraceContext>) {
    CURRENT.with_borrow_mut(|current| std::mem::swap(current, context));
    INSIDE.set(CURRENT.with_borrow(Option::is_some));
}

/// A scope that is entered. Left when it is dropped, by a panic as well.
struct Entered<'a>(&'a mut Option<TraceContext>);

impl<'a> Entered<'a> {
    fn new(context: &'a mut Option<TraceContext>) -> Self {
        swap(context);
        Self(context)
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        swap(self.0);
    }
}

impl TraceContext {
    /// Runs a future with this context: what it sends belongs to the trace. In it, [`current`](super::current) is this one,
    /// unless a [`Tracer`](super::Tracer) says otherwise.
    ///
    /// Tasks that the future spawns are not in the scope.
    pub fn scope<F: Future>(self, inner: F) -> Scoped<F> {
        Scoped { context: Some(self), inner }
    }

    /// The same for a closure.
    pub fn in_scope<T>(self, f: impl FnOnce() -> T) -> T {
        let mut context = Some(self);
        let _inside = Entered::new(&mut context);
        f()
    }
}

pin_project_lite::pin_project! {
    /// A future that runs with a trace context: [`TraceContext::scope`].
    ///
    /// # Cancel safety
    /// That of the future.
    #[must_use = "futures do nothing unless polled"]
    pub struct Scoped<F> {
        context: Option<TraceContext>,
        #[pin]
        inner: F,
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _inside = Entered::new(this.context);
        this.inner.poll(cx)
    }
}

impl<F> fmt::Debug for Scoped<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scoped").field("context", &self.context).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        pin::pin,
        task::Waker,
    };

    use super::*;
    use crate::trace::current;

    fn context(span: u64) -> TraceContext {
        TraceContext::new(7, span, 1).unwrap()
    }

    fn span() -> Option<u64> {
        current().map(|context| context.span_id())
    }

    #[test]
    fn a_context_is_current_inside_its_scope_and_nowhere_else() {
        let mut polled = 0;
        let mut future = pin!(context(1).scope(std::future::poll_fn(move |_| {
            polled += 1;
            assert_eq!(span(), Some(1));
            context(2).in_scope(|| assert_eq!(span(), Some(2)));
            assert_eq!(span(), Some(1), "the outer one again");
            if polled == 2 { Poll::Ready(()) } else { Poll::Pending }
        })));
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(future.as_mut().poll(cx).is_pending());
        assert_eq!(span(), None, "between two polls others run");
        context(3).in_scope(|| assert!(future.as_mut().poll(cx).is_ready()));
        assert_eq!(span(), None);
    }

    #[test]
    fn a_panic_leaves_the_scope() {
        let thrown =
            catch_unwind(AssertUnwindSafe(|| context(1).in_scope(|| std::panic::resume_unwind(Box::new(1)))));
        assert!(thrown.is_err());
        assert_eq!(span(), None);
    }
}
