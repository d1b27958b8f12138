//! Standing: decides what a supervisor may do while a part of the cluster is out of reach.
//!
//! | Policy | All of the lost are found again | This side is the one that goes on | It is not |
//! |---|---|---|---|
//! | failover | nothing to decide | it is always the one | - |
//! | majority | the same | starts what was lost, after the grace time of those that are lost | starts nothing |
//! | custom | the function is asked whenever the view changes | | |
//!
//! Source: the design's rules "Orphans" and "Generation".

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use noex_actors::{Monotonic, NodeId};
use noex_net::__quorum::Quorum;

use crate::options::{PartitionDecision, PartitionView};

/// Who decides.
#[derive(Clone, Default)]
pub(crate) enum Policy {
    #[default]
    Failover,
    /// Of these; of all members, if there are none.
    Majority(BTreeSet<NodeId>),
    Custom(Arc<dyn Fn(&PartitionView) -> PartitionDecision + Send + Sync>),
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failover => "failover",
            Self::Majority(_) => "majority",
            Self::Custom(_) => "custom",
        })
    }
}

/// Who is in reach, and what follows.
#[derive(Debug)]
pub(crate) struct Standing {
    policy: Policy,
    quorum: Quorum,
    /// What the custom policy was asked about the last time.
    asked: Option<PartitionView>,
    decision: PartitionDecision,
}

impl Standing {
    pub(crate) fn new(policy: Policy, forget_after: Duration) -> Self {
        let decision = PartitionDecision::Failover;
        Self { policy, quorum: Quorum::new(forget_after), asked: None, decision }
    }

    pub(crate) fn up(&mut self, node: &NodeId) {
        self.quorum.up(node.clone());
    }

    pub(crate) fn lost(&mut self, node: &NodeId, now: Monotonic) {
        self.quorum.lost(node.clone(), now);
    }

    pub(crate) fn left(&mut self, node: &NodeId) {
        self.quorum.left(node);
    }

    /// Looks again, and says what was decided the last time.
    pub(crate) fn reconsider(&mut self, now: Monotonic) -> PartitionDecision {
        let decision = match &self.policy {
            Policy::Failover => PartitionDecision::Failover,
            Policy::Majority(voters) => {
                self.quorum.forget(voters, now);
                match self.quorum.has_majority(voters) {
                    true => PartitionDecision::Failover,
                    false => PartitionDecision::Wait,
                }
            }
            Policy::Custom(judge) => {
                self.quorum.forget(&BTreeSet::new(), now);
                let view = self.view();
                let decision = match &self.asked {
                    _ if view.lost.is_empty() => PartitionDecision::Failover,
                    Some(asked) if *asked == view => self.decision,
                    _ => judge(&view),
                };
                self.asked = Some(view);
                decision
            }
        };
        std::mem::replace(&mut self.decision, decision)
    }

    pub(crate) fn decision(&self) -> PartitionDecision {
        self.decision
    }

    pub(crate) fn view(&self) -> PartitionView {
        PartitionView {
            reachable: self.quorum.reachable(),
            lost: self.quorum.missing(),
            largest: self.quorum.largest(),
        }
    }
}
