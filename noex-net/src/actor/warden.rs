//! Renews the leases of supervised instances here, and stops those whose lease is over. Runs on the control arbiter.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use actix::{Actor, AsyncContext, Context};
use noex_actors::{
    __private::{Lease, LeaseTerms},
    NodeId,
};

use crate::{NodeStatus, machine::quorum::Quorum, net::Net};

/// How often it looks, at most: a fraction of the interval between heartbeats.
const SELDOM: Duration = Duration::from_millis(100);

/// The actor.
pub(crate) struct Warden {
    net: Arc<Net>,
    quorum: Quorum,
    every: Duration,
}

impl Warden {
    pub(crate) fn new(net: Arc<Net>) -> Self {
        let every = (net.config.heartbeat_interval() / 4).min(SELDOM).max(Duration::from_millis(5));
        let mut quorum = Quorum::new(net.config.forget_after());
        quorum.up(net.node.id().clone());
        Self { net, quorum, every }
    }

    /// Takes note of who is in reach.
    fn look_around(&mut self) {
        let now = self.net.node.now();
        self.net.for_each_member(|id, member| match member.status {
            NodeStatus::Connected => self.quorum.up(id.clone()),
            NodeStatus::Disconnected if member.left => self.quorum.left(id),
            NodeStatus::Disconnected => self.quorum.lost(id.clone(), now),
            NodeStatus::Connecting => {}
        });
        self.quorum.forget(&BTreeSet::new(), now);
    }

    fn look(&mut self) {
        self.look_around();
        let mut supervisors: BTreeMap<String, bool> = BTreeMap::new();
        let mut majorities: BTreeMap<Vec<NodeId>, bool> = BTreeMap::new();
        let (net, quorum) = (&self.net, &self.quorum);
        let mut holds = |terms: &LeaseTerms| {
            let supervised = terms.supervisor.as_ref().is_none_or(|name| {
                *supervisors.entry(name.clone()).or_insert_with(|| net.names.is_held(name))
            });
            let of_all = !terms.majority
                || *majorities.entry(terms.voters.clone()).or_insert_with(|| {
                    let voters: BTreeSet<NodeId> = terms.voters.iter().cloned().collect();
                    quorum.has_majority(&voters)
                });
            supervised && of_all
        };
        let (least, patience) = (self.every * 4, self.net.config.heartbeat_interval() / 2);
        net.node.for_each_lease(|any, token, lease| match lease.over() {
            // Also if they are in reach again: it was replaced, for all that is known.
            Some(over) if over >= patience => any.kill(),
            Some(_) => {
                tracing::warn!(pid = %any.pid(), supervisor = token.supervisor, child = token.child, "an orphan is stopped");
                any.stop(Lease::reason());
            }
            None if holds(lease.terms()) => lease.renew(least),
            None => {}
        });
    }
}

impl Actor for Warden {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(self.every, |this, _| this.look());
    }
}
