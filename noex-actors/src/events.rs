//! Subscriptions: closures, called in order, one at a time and off the caller's stack; and bounded streams.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use actix_rt::ArbiterHandle;
use futures_util::{Stream, future::BoxFuture};
use parking_lot::Mutex;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::panics::{contained, panic_text};

/// How many events a stream keeps for a slow reader, before the oldest are lost.
const BUFFERED: usize = 1024;

/// How long a closure may take for what it was told before the end.
const CLOSING: Duration = Duration::from_secs(1);

/// Keeps a closure subscribed. Dropping it unsubscribes.
#[must_use = "dropping a Subscription unsubscribes; detach it to keep it"]
pub struct Subscription(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Subscription {
    /// Keeps the closure for the life of what it listens to.
    pub fn detach(mut self) {
        self.0 = None;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(unsubscribe) = self.0.take() {
            unsubscribe();
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subscription")
    }
}

struct Listener<E> {
    id: u64,
    events: mpsc::UnboundedSender<E>,
    done: Option<oneshot::Receiver<()>>,
}

struct Listeners<E> {
    next: u64,
    open: Vec<Listener<E>>,
    closed: bool,
}

/// Where events of one kind come out. For those who have events to tell.
#[doc(hidden)]
pub struct Hub<E> {
    listeners: Arc<Mutex<Listeners<E>>>,
    stream: Mutex<Option<broadcast::Sender<E>>>,
    /// Somebody has listened, at some time.
    used: AtomicBool,
    arbiter: ArbiterHandle,
}

impl<E: Clone + Send + 'static> Hub<E> {
    /// A hub whose closures run on `arbiter`.
    #[must_use]
    pub fn new(arbiter: ArbiterHandle) -> Self {
        let listeners = Listeners { next: 0, open: Vec::new(), closed: false };
        let stream = Mutex::new(Some(broadcast::Sender::new(BUFFERED)));
        Self { listeners: Arc::new(Mutex::new(listeners)), stream, used: AtomicBool::new(false), arbiter }
    }

    /// Tells everybody, if there is anybody.
    pub fn emit_with(&self, event: impl FnOnce() -> E) {
        if self.used.load(Ordering::Acquire) {
            self.emit(event());
        }
    }

    /// Tells everybody.
    pub fn emit(&self, event: E) {
        for listener in &self.listeners.lock().open {
            let _ = listener.events.send(event.clone());
        }
        if let Some(stream) = &*self.stream.lock() {
            // Wakes whoever reads: that may be code of a user.
            contained(|| drop(stream.send(event)));
        }
    }

    /// Subscribes a closure. A panic of it is logged and ends its subscription.
    pub fn on(&self, mut f: impl FnMut(&E) + Send + 'static) -> Subscription {
        self.used.store(true, Ordering::Release);
        let (events, mut queue) = mpsc::unbounded_channel::<E>();
        let (finished, done) = oneshot::channel::<()>();
        let mut listeners = self.listeners.lock();
        if listeners.closed {
            return Subscription(None);
        }
        let id = listeners.next;
        listeners.next += 1;
        listeners.open.push(Listener { id, events, done: Some(done) });
        drop(listeners);
        self.arbiter.spawn(async move {
            while let Some(event) = queue.recv().await {
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| f(&event))) {
                    let text = panic_text(panic.as_ref());
                    tracing::error!(panic = text, "an event closure panicked and is not called any more");
                    return;
                }
            }
            drop(finished);
        });
        let from = Arc::clone(&self.listeners);
        Subscription(Some(Box::new(move || from.lock().open.retain(|listener| listener.id != id))))
    }

    /// Whether anybody listens.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        let streams = self.stream.lock().as_ref().map_or(0, broadcast::Sender::receiver_count);
        streams > 0 || !self.listeners.lock().open.is_empty()
    }

    /// A stream of all events from now on.
    #[must_use]
    pub fn events(&self) -> Events<E> {
        self.used.store(true, Ordering::Release);
        match &*self.stream.lock() {
            Some(stream) => Events::new(stream.subscribe()),
            None => Events::new(broadcast::Sender::new(1).subscribe()),
        }
    }

    /// Ends all streams, lets closures finish what was told, and waits for them.
    pub fn close(&self) -> BoxFuture<'static, ()> {
        *self.stream.lock() = None;
        let mut listeners = self.listeners.lock();
        listeners.closed = true;
        let open = std::mem::take(&mut listeners.open);
        drop(listeners);
        Box::pin(async move {
            for listener in open {
                let Listener { events, done, .. } = listener;
                drop(events);
                if let Some(done) = done {
                    // A closure that blocks for ever must not keep its node from stopping.
                    let _ = actix_rt::time::timeout(CLOSING, done).await;
                }
            }
        })
    }
}

impl<E> fmt::Debug for Hub<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hub")
    }
}

/// A stream of events: 1024 are kept for a slow reader, then the oldest are lost and counted.
pub struct Events<E> {
    receive: Receive<E>,
    missed: u64,
}

type Received<E> = (Option<E>, u64, broadcast::Receiver<E>);

enum Receive<E> {
    Idle(broadcast::Receiver<E>),
    Waiting(BoxFuture<'static, Received<E>>),
    Over,
}

async fn receive<E: Clone>(mut from: broadcast::Receiver<E>) -> Received<E> {
    let mut missed = 0;
    loop {
        match from.recv().await {
            Ok(event) => return (Some(event), missed, from),
            Err(broadcast::error::RecvError::Lagged(lost)) => missed += lost,
            Err(broadcast::error::RecvError::Closed) => return (None, missed, from),
        }
    }
}

impl<E: Clone + Send + 'static> Events<E> {
    fn new(from: broadcast::Receiver<E>) -> Self {
        Self { receive: Receive::Idle(from), missed: 0 }
    }

    /// The next event; `None` when there will be no more.
    ///
    /// # Cancel safety
    /// Safe to drop: no event is lost by it.
    pub async fn recv(&mut self) -> Option<E> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// How many events were lost because this reader was slow.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<E>> {
        loop {
            match std::mem::replace(&mut self.receive, Receive::Over) {
                Receive::Idle(from) => self.receive = Receive::Waiting(Box::pin(receive(from))),
                Receive::Waiting(mut waiting) => match waiting.as_mut().poll(cx) {
                    Poll::Pending => {
                        self.receive = Receive::Waiting(waiting);
                        return Poll::Pending;
                    }
                    Poll::Ready((event, missed, from)) => {
                        self.missed += missed;
                        if event.is_some() {
                            self.receive = Receive::Idle(from);
                        }
                        return Poll::Ready(event);
                    }
                },
                Receive::Over => return Poll::Ready(None),
            }
        }
    }
}

impl<E: Clone + Send + 'static> Stream for Events<E> {
    type Item = E;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<E>> {
        self.poll(cx)
    }
}

impl<E> Unpin for Events<E> {}

impl<E> fmt::Debug for Events<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("missed", &self.missed).finish_non_exhaustive()
    }
}
