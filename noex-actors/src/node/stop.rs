//! Stopping a node: its root processes, then its events and threads.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use crate::{AnyRef, ExitReason, Node, NodeFailure, panics::contained, process::Process};

/// How long `stop` waits for processes before it kills them.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// How long it waits for what it killed.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);

impl Node {
    /// What stopped this node, if it was a panic in noex itself and not [`stop`](Self::stop). It is stopped, or about to be: processes are
    /// killed, and in a cluster peers see `connection_closed`.
    #[must_use]
    pub fn failure(&self) -> Option<&NodeFailure> {
        self.0.failsafe.failure()
    }

    /// A part of noex failed. What can be ended is ended now, whatever still works: connections, then processes. The rest follows on a
    /// thread of its own, as no arbiter is to be relied on.
    pub(crate) fn abort(&self) {
        self.refuse_processes();
        if let (Some(hook), Some(failure)) = (self.0.on_failure.get(), self.failure()) {
            contained(|| hook(failure));
        }
        let left: Vec<_> = self.0.processes.read().values().cloned().collect();
        left.iter().for_each(|process| contained(|| process.kill()));
        let node = self.clone();
        let stopping = std::thread::Builder::new().name("noex-failed".to_owned()).spawn(move || {
            match actix_rt::Runtime::new() {
                Ok(runtime) => runtime.block_on(node.stop()),
                Err(_) => node.0.pool.stop(),
            }
        });
        if stopping.is_err() {
            self.0.pool.stop();
        }
    }

    /// Nobody starts here any more.
    fn refuse_processes(&self) {
        // Under the lock of the table: whoever is put there later sees it.
        let _table = self.0.processes.write();
        self.0.stopping.store(true, Ordering::Release);
    }

    /// Stops the root processes, newest first, with reason `Shutdown`; what is left after 30 s is killed. Idempotent.
    /// The node of a cluster leaves the cluster by it.
    ///
    /// # Cancel safety
    /// Dropped before it ends, the node stays half stopped; calling it again goes on.
    pub async fn stop(&self) {
        match self.0.stopper.get() {
            Some(stopper) => stopper().await,
            None => {
                self.stop_processes().await;
                self.stop_runtime().await;
            }
        }
    }

    /// The first half of `stop`: processes.
    #[doc(hidden)]
    pub async fn stop_processes(&self) {
        self.refuse_processes();
        // After a failure they are killed already: what is still there then is not waited for.
        let patience = if self.failure().is_some() { KILL_TIMEOUT } else { STOP_TIMEOUT };
        let all_stopped = async {
            loop {
                let root = {
                    let processes = self.0.processes.read();
                    let is_root = |process: &&Arc<dyn Process>| {
                        let parent = process.core().parent.load(Ordering::Acquire);
                        parent == 0 || processes.get(parent).is_none()
                    };
                    processes.values().rev().find(is_root).cloned()
                };
                let Some(root) = root else { return };
                let root = AnyRef::local(root);
                let _ = root.stop(ExitReason::Shutdown).timeout(STOP_TIMEOUT).await;
            }
        };
        if actix_rt::time::timeout(patience, all_stopped).await.is_err() {
            let left: Vec<_> = self.0.processes.read().values().cloned().collect();
            tracing::warn!(left = left.len(), "processes did not stop in time and are killed");
            let ends: Vec<_> =
                left.iter().map(|process| AnyRef::local(Arc::clone(process)).monitor()).collect();
            left.iter().for_each(|process| process.kill());
            let _ = actix_rt::time::timeout(KILL_TIMEOUT, futures_util::future::join_all(ends)).await;
        }
    }

    /// The second half of `stop`: events and threads.
    #[doc(hidden)]
    pub async fn stop_runtime(&self) {
        let mut stopped = self.0.stop_once.lock().await;
        if !*stopped {
            self.0.events.close().await;
            self.0.extensions.lock().clear();
            self.0.pool.stop();
            *stopped = true;
        }
    }
}
