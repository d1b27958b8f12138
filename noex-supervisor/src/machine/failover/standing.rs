//! What follows for the nodes from what may be done at all.

use noex_actors::Monotonic;

use super::{Failover, Link, Output, Outputs};
use crate::options::PartitionDecision;

impl Failover {
    /// Looks whether this side of the cluster may go on.
    pub(super) fn reconsider(&mut self, now: Monotonic, out: &mut Outputs) {
        let before = self.standing.reconsider(now);
        let decision = self.standing.decision();
        if decision == before {
            return;
        }
        if decision != PartitionDecision::Failover {
            (self.paused, self.resume_at) = (true, None);
            return self.say_standing(out);
        }
        self.resume_at = Some(now.plus(self.grace * 2));
    }

    /// It goes on, once those who came back with it can have told what they have.
    pub(super) fn resume(&mut self, now: Monotonic, out: &mut Outputs) {
        if self.resume_at.is_none_or(|at| at > now) {
            return;
        }
        (self.paused, self.resume_at) = (false, None);
        let due = now.plus(self.hold.max(self.grace));
        for peer in self.peers.values_mut() {
            if let Link::Held { due: before } = &mut peer.link {
                *before = due.max(*before);
            }
        }
        self.say_standing(out);
    }

    fn say_standing(&self, out: &mut Outputs) {
        let (decision, view) = (self.standing.decision(), self.standing.view());
        out.push_back(Output::Standing { decision, view });
    }
}
