//! A watch that is asked for together with a process, by somebody who starts it for another.

use std::{fmt, sync::Weak};

use super::SpawnAny;
use crate::{
    AnyRef,
    process::Process,
    route::{Tie, Watcher},
};

/// A watch of a process that is about to start: its end is told with its reason, however soon it comes.
#[derive(Clone)]
pub struct WatchAhead {
    id: u64,
    watcher: Weak<dyn Process>,
}

impl WatchAhead {
    pub(crate) fn new(id: u64, watcher: Weak<dyn Process>) -> Self {
        Self { id, watcher }
    }

    /// The number of the watch, as [`MonitorRef::number`](crate::MonitorRef::number) tells it.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.id
    }

    fn tie(&self) -> Tie {
        Tie::Watch(self.id, Watcher::Process(Weak::clone(&self.watcher)))
    }
}

impl fmt::Debug for WatchAhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WatchAhead").field(&self.id).finish()
    }
}

impl SpawnAny<'_> {
    /// Begins that watch with the process. Of several that are tried with one watch, one may start.
    #[doc(hidden)]
    pub fn watched(self, ahead: &WatchAhead) -> Self {
        self.tied(ahead.tie())
    }
}

impl AnyRef {
    /// Begins that watch of a process of this node: should it have ended, it is told by what.
    #[doc(hidden)]
    pub fn watch_from_start(&self, ahead: &WatchAhead) {
        self.tie_here(ahead.tie());
    }
}
