//! The handle of a running application, and where its node keeps it.

use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::Node;

/// Where an application stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ApplicationStatus {
    /// `start` runs.
    Starting,
    /// It started.
    Running,
    /// `prep_stop`, the end of the processes, or `stop` is under way.
    Stopping,
    /// It is over.
    Stopped,
}
crate::__vocabulary!(ApplicationStatus {
    Starting = "starting",
    Running = "running",
    Stopping = "stopping",
    Stopped = "stopped",
});

/// A handle of the application that runs on a node: from anywhere, to look at it or to end it.
///
/// Cheap to clone; dropping it stops nothing.
#[derive(Clone)]
pub struct AppHandle(Arc<Inner>);

struct Inner {
    name: String,
    status: watch::Sender<ApplicationStatus>,
    /// Whether it was asked to stop.
    stop: watch::Sender<bool>,
}

impl AppHandle {
    /// The application of this node; `None` when there is none, or the node has been stopped.
    ///
    /// Inside a process: `AppHandle::of(cx.node())`.
    #[must_use]
    pub fn of(node: &Node) -> Option<Self> {
        node.extension::<Place>()?.taken.lock().clone()
    }

    pub(super) fn new(name: String) -> Self {
        let (status, stop) = (watch::Sender::new(ApplicationStatus::Starting), watch::Sender::new(false));
        Self(Arc::new(Inner { name, status, stop }))
    }

    /// Its name: that of its type, unless the options gave another.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> ApplicationStatus {
        *self.0.status.borrow()
    }

    /// Asks it to stop, as a signal would, and returns at once. Asking again changes nothing.
    pub fn stop(&self) {
        self.0.stop.send_replace(true);
    }

    /// Waits until it has come as far as `status`, and says how far that is: one that does not start never runs, and goes
    /// from starting to stopping.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn reached(&self, status: ApplicationStatus) -> ApplicationStatus {
        let mut changes = self.0.status.subscribe();
        let reached = changes.wait_for(|now| *now >= status).await;
        // The sender lives as long as this handle.
        reached.map_or(ApplicationStatus::Stopped, |now| *now)
    }

    /// Waits until it is over. Not for code in a process of its node: that would wait for its own end.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn stopped(&self) {
        self.reached(ApplicationStatus::Stopped).await;
    }

    pub(super) fn set(&self, status: ApplicationStatus) {
        self.0.status.send_replace(status);
    }

    /// Waits until somebody asks it to stop.
    pub(super) async fn asked(&self) {
        let _ = self.0.stop.subscribe().wait_for(|asked| *asked).await;
    }
}

impl fmt::Debug for AppHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppHandle").field("name", &self.name()).field("status", &self.status()).finish()
    }
}

/// The place for one application on a node. The node drops it when it has stopped.
struct Place {
    taken: Mutex<Option<AppHandle>>,
    open: watch::Sender<()>,
}

/// Holds the place of a node for one application.
pub(super) struct Claim {
    node: Node,
    pub(super) handle: AppHandle,
    open: watch::Receiver<()>,
}

impl Claim {
    /// Takes the place, or says who has it.
    pub(super) fn take(node: &Node, name: String) -> Result<Self, AppHandle> {
        let place =
            node.extension_or_init(|| Place { taken: Mutex::new(None), open: watch::Sender::new(()) });
        let mut taken = place.taken.lock();
        if let Some(holder) = &*taken {
            return Err(holder.clone());
        }
        let handle = AppHandle::new(name);
        *taken = Some(handle.clone());
        Ok(Self { node: node.clone(), handle, open: place.open.subscribe() })
    }

    /// Waits until the node has been stopped, by whomever.
    pub(super) async fn node_stopped(&self) {
        let mut open = self.open.clone();
        while open.changed().await.is_ok() {}
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.handle.set(ApplicationStatus::Stopped);
        if let Some(place) = self.node.extension::<Place>() {
            *place.taken.lock() = None;
        }
    }
}
