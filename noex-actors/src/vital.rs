//! What a node cannot live without: the tasks and actors of noex itself.
//!
//! A panic of user code is the end of one process, or contained where that code is called. A panic that comes here is one of noex
//! itself: a part of the node is gone, and nobody would start it again. The node does not go on half alive, it stops
//! ([`Node::abort`]).

use std::{
    any::Any,
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, OnceLock, Weak},
    task::{Context, Poll},
};

use crate::{
    Behavior, ExitReason, Node,
    mailbox::Mailbox,
    node::NodeInner,
    panics::{contained, into_text},
    process::Process,
};

/// noex itself panicked, and the node stopped because of that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("noex itself panicked, in {part}: {panic}")]
#[non_exhaustive]
pub struct NodeFailure {
    /// The part of noex.
    pub part: &'static str,
    /// The text of the panic.
    pub panic: String,
}

/// Where the parts of a node tell that they failed. It is there before the node is.
#[derive(Clone, Default)]
pub(crate) struct Failsafe(Arc<Inner>);

#[derive(Default)]
struct Inner {
    node: OnceLock<Weak<NodeInner>>,
    failure: OnceLock<NodeFailure>,
    #[cfg(feature = "__fuzz")]
    sabotaged: parking_lot::Mutex<Option<&'static str>>,
}

impl fmt::Debug for Failsafe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Failsafe").field(&self.failure()).finish()
    }
}

impl Failsafe {
    /// Whom it is to stop.
    pub(crate) fn attach(&self, node: &Arc<NodeInner>) {
        let _ = self.0.node.set(Arc::downgrade(node));
        if self.failure().is_some() {
            self.abort();
        }
    }

    pub(crate) fn failure(&self) -> Option<&NodeFailure> {
        self.0.failure.get()
    }

    /// A task of noex itself.
    pub(crate) fn vital<F: Future<Output = ()>>(&self, part: &'static str, task: F) -> Vital<F> {
        Vital { failsafe: self.clone(), part, task: Some(task) }
    }

    /// A part of noex panicked: the node stops. The first failure is the one that is told.
    pub(crate) fn failed(&self, part: &'static str, panic: String) {
        let failure = NodeFailure { part, panic };
        tracing::error!(part, panic = failure.panic, "noex itself panicked: the node stops");
        if self.0.failure.set(failure).is_ok() {
            self.abort();
        }
    }

    fn abort(&self) {
        if let Some(node) = self.0.node.get().and_then(Weak::upgrade) {
            Node(node).abort();
        }
    }

    /// From now on that part panics.
    #[cfg(feature = "__fuzz")]
    pub(crate) fn sabotage(&self, part: &'static str) {
        *self.0.sabotaged.lock() = Some(part);
    }

    #[cfg(feature = "__fuzz")]
    #[expect(clippy::panic, reason = "that is what it is for")]
    pub(crate) fn fail_if_sabotaged(&self, part: &'static str) {
        let sabotaged = *self.0.sabotaged.lock() == Some(part);
        if sabotaged {
            panic!("sabotage");
        }
    }
}

pin_project_lite::pin_project! {
    /// A task whose panic stops its node.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Vital<F> {
        failsafe: Failsafe,
        part: &'static str,
        #[pin]
        task: Option<F>,
    }
}

impl<F: Future<Output = ()>> Future for Vital<F> {
    type Output = ();
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let Some(task) = this.task.as_mut().as_pin_mut() else { return Poll::Ready(()) };
        let polled = catch_unwind(AssertUnwindSafe(|| {
            #[cfg(feature = "__fuzz")]
            this.failsafe.fail_if_sabotaged(this.part);
            task.poll(cx)
        }));
        polled.unwrap_or_else(|panic| {
            this.failsafe.failed(this.part, into_text(panic));
            // What is left of it may panic once more: actix runs an actor again while it drops it.
            contained(|| this.task.set(None));
            Poll::Ready(())
        })
    }
}

impl<B: Behavior> Mailbox<B> {
    /// With what a process ends that panicked. One that is a part of noex takes the node along.
    pub(crate) fn panicked(&self, panic: Box<dyn Any + Send>) -> ExitReason {
        let text = into_text(panic);
        if self.core.vital {
            self.core.node.0.failsafe.failed(self.behavior(), text.clone());
        }
        ExitReason::Panic(text)
    }
}
