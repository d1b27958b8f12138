//! What happens at once when noex itself failed: peers see the end, the port is free, and users hear why.
//!
//! No actor is relied on: any of them may be the one that failed. The rest of the stop follows, as that of a node that was told to.

use std::sync::atomic::Ordering;

use noex_actors::{__private::contained, NodeFailure};

use crate::{
    ClusterStatus,
    actor::messages::{Fact, StopListening},
    event::ClusterEvent,
    net::Net,
};

impl Net {
    /// Ends what others see of this node.
    #[expect(
        clippy::disallowed_methods,
        reason = "whether the listener lives is not known, and nobody waits for it"
    )]
    pub(crate) fn abort(&self, failure: &NodeFailure) {
        self.leaving.store(true, Ordering::Release);
        let links: Vec<_> = {
            let links = self.links.lock();
            self.closing.store(true, Ordering::Release);
            links.values().cloned().collect()
        };
        // The sockets first: that peers see them end needs nothing else of this node.
        links.iter().for_each(|link| link.shut_down());
        if let Some(listener) = self.listener() {
            listener.do_send(StopListening);
        }
        self.tell(Fact::Leaving);
        self.events.emit(ClusterEvent::Failed(failure.clone()));
        self.set_status(ClusterStatus::Stopped);
        links.iter().for_each(|link| contained(|| link.end()));
    }
}
