//! Figures of a cluster node: the getters of [`Cluster`] that count.

use std::collections::BTreeMap;

use noex_actors::{NodeDownReason, NodeId};

use crate::{
    Cluster, ClusterStats, PeerStats, RefusedReason, RemoteCallStats, RemoteLinkStats, RemoteMonitorStats,
    RemoteSpawnStats,
};

impl Cluster {
    /// The session with one node, if there is one.
    #[must_use]
    pub fn peer_stats(&self, id: &NodeId) -> Option<PeerStats> {
        let dials = self.net.dials(id);
        self.net.link(id).map(|link| link.stats(dials))
    }

    /// Calls and casts to other nodes.
    #[must_use]
    pub fn remote_call_stats(&self) -> RemoteCallStats {
        let (counters, links) = (&self.net.counters, self.net.links.lock());
        let mut stats = RemoteCallStats {
            pending_calls: 0,
            total_calls: counters.calls_total.get(),
            total_resolved: counters.calls_resolved.get(),
            total_rejected: counters.calls_rejected.get(),
            total_timed_out: counters.calls_timed_out.get(),
            total_cancelled: counters.calls_cancelled.get(),
            total_not_started: counters.calls_not_started.get(),
            total_casts: counters.casts.get(),
        };
        // What ended is in the counters; what is open counts for itself.
        for link in links.values().filter(|link| !link.is_over()) {
            let totals = link.calls.totals();
            stats.pending_calls += u64::try_from(link.calls.len()).unwrap_or(0);
            stats.total_calls += totals.sent;
            stats.total_resolved += totals.resolved;
            stats.total_rejected += totals.rejected;
            stats.total_timed_out += totals.timed_out;
            stats.total_cancelled += totals.cancelled;
            stats.total_casts += link.casts_sent();
        }
        stats
    }

    /// Processes started on other nodes.
    #[must_use]
    pub fn remote_spawn_stats(&self) -> RemoteSpawnStats {
        let counters = &self.net.counters;
        let (initiated, resolved) = (counters.spawns_initiated.get(), counters.spawns_resolved.get());
        let (rejected, timed_out) = (counters.spawns_rejected.get(), counters.spawns_timed_out.get());
        RemoteSpawnStats {
            pending_count: initiated.saturating_sub(resolved + rejected + timed_out),
            total_initiated: initiated,
            total_resolved: resolved,
            total_rejected: rejected,
            total_timed_out: timed_out,
        }
    }

    /// Watches across nodes.
    #[must_use]
    pub fn remote_monitor_stats(&self) -> RemoteMonitorStats {
        let counters = &self.net.counters;
        let active = self.net.up.read().values().map(|link| link.watches.counts()).collect::<Vec<_>>();
        let count = |n: usize| u64::try_from(n).unwrap_or(0);
        let (established, accepted) = (counters.monitors_established.get(), counters.monitors_accepted.get());
        let (downs_received, downs_sent) = (counters.downs_received.get(), counters.downs_sent.get());
        let (demonitored, disconnected) =
            (counters.monitors_demonitored.get(), counters.monitors_disconnected.get());
        RemoteMonitorStats {
            pending_count: 0,
            active_outgoing_count: active.iter().map(|(outgoing, _)| count(*outgoing)).sum(),
            active_incoming_count: active.iter().map(|(_, incoming)| count(*incoming)).sum(),
            total_initiated: counters.monitors_initiated.get(),
            total_established: established,
            total_timed_out: 0,
            total_demonitored: demonitored,
            total_process_down_received: downs_received,
            total_process_down_sent: downs_sent,
            total_monitor_requests: counters.monitor_requests.get(),
            successful_monitors: accepted,
            noproc_responses: counters.noproc_responses.get(),
            total_demonitor_requests: counters.demonitor_requests.get(),
            total_added: established + accepted,
            total_removed: demonitored
                + counters.demonitors_accepted.get()
                + disconnected
                + downs_received
                + downs_sent,
            node_disconnect_removals: disconnected,
            process_termination_removals: downs_received + downs_sent,
        }
    }

    /// Links across nodes.
    #[must_use]
    pub fn remote_link_stats(&self) -> RemoteLinkStats {
        let counters = &self.net.counters;
        let active: usize = self.net.up.read().values().map(|link| link.ties.len()).sum();
        RemoteLinkStats {
            pending_count: 0,
            active_link_count: u64::try_from(active).unwrap_or(0),
            total_initiated: counters.links_initiated.get(),
            total_established: counters.links_established.get(),
            total_timed_out: 0,
            total_unlinked: counters.links_unlinked.get(),
            total_exit_signals_received: counters.exits_received.get(),
            total_exit_signals_sent: counters.exits_sent.get(),
        }
    }

    /// Figures of the cluster, as this node sees it.
    #[must_use]
    pub fn stats(&self) -> ClusterStats {
        let counters = &self.net.counters;
        let mut node_down_total: BTreeMap<_, _> =
            NodeDownReason::ALL.iter().map(|reason| (*reason, 0)).collect();
        node_down_total.extend(counters.node_downs.lock().iter());
        let mut refused_total: BTreeMap<_, _> =
            RefusedReason::ALL.iter().map(|reason| (*reason, 0)).collect();
        refused_total.extend(counters.refused.lock().iter());
        // In a statement of its own: the figures below lock it again.
        let connections = self.net.links.lock().len();
        ClusterStats {
            node_up_total: counters.node_ups.get(),
            node_down_total,
            refused_total,
            protocol_errors_total: counters.protocol_errors.counts(),
            casts_refused_total: counters.casts_refused.get(),
            incompatible_total: counters.incompatible.get(),
            connections,
            calls: self.remote_call_stats(),
            spawns: self.remote_spawn_stats(),
            monitors: self.remote_monitor_stats(),
            links: self.remote_link_stats(),
        }
    }
}
