//! The end of an adoption: what is adopted, and when.

use noex_actors::Monotonic;

use super::{Failover, Link, Output, Outputs, Peer, Question};

impl Failover {
    /// Ends the adoption once nobody is waited for.
    pub(super) fn finish_adoption(&mut self, now: Monotonic, out: &mut Outputs) {
        let waits = |peer: &Peer| match peer.link {
            Link::Suspect { .. } | Link::Held { .. } => true,
            Link::Up(question) => question.is_some_and(|Question { until, .. }| until.is_some()),
        };
        if self.paused || self.settled_at.is_some_and(|at| at > now) {
            return;
        }
        if self.adopting.is_some() && !self.peers.values().any(waits) {
            let mut found = self.adopting.take().unwrap_or_default();
            // What was found on a node that is gone meanwhile is gone with it.
            found.retain(|found| {
                let peer = self.peers.get(found.pid.node_id());
                peer.is_some_and(|peer| peer.incarnation == found.pid.incarnation())
            });
            self.begun = true;
            out.push_back(Output::Adopt { found });
        }
    }
}
