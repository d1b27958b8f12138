//! Starts of children: all in one task of the supervisor, however many there are at once.

use std::future::Future;

use futures_util::{FutureExt, StreamExt, future::LocalBoxFuture, stream::FuturesUnordered};
use noex_actors::{Behavior, Context};
use tokio::sync::mpsc;

/// Where starts are handed in. They end with the process, unfinished ones too.
#[derive(Debug)]
pub(crate) struct Starter(mpsc::UnboundedSender<LocalBoxFuture<'static, ()>>);

impl Starter {
    /// The starter of a process; `over` is what the process is told if it drops the starter.
    pub(crate) fn begin<B: Behavior>(over: B::Info, cx: &mut Context<B>) -> Self {
        let (hand_in, mut handed_in) = mpsc::unbounded_channel();
        cx.task(async move {
            let mut running = FuturesUnordered::new();
            loop {
                tokio::select! {
                    next = handed_in.recv() => match next {
                        Some(start) => running.push(start),
                        None => break,
                    },
                    Some(()) = running.next() => {}
                }
            }
            while running.next().await.is_some() {}
            over
        });
        Self(hand_in)
    }

    /// Runs a start, which tells its outcome itself and must not panic.
    pub(crate) fn run(&self, start: impl Future<Output = ()> + 'static) {
        // Refused only once the process is over, and nobody waits for the outcome.
        let _ = self.0.send(start.boxed_local());
    }
}
