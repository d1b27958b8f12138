//! Figures, and the counters behind them.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use noex_actors::{Incarnation, NodeDownReason, NodeId};
use parking_lot::Mutex;

use crate::{
    link::Totals,
    machine::handshake::RefusedReason,
    protocol_error::{ProtocolError, ProtocolErrors},
    wire::{compression::Compression, tag::TagAlgorithm},
};

/// A number that only rises.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
    pub(crate) fn one(&self) {
        self.add(1);
    }
    /// Adds; gives the sum when it has grown by a binary digit: for a log that a peer must not be able to fill.
    pub(crate) fn add_and_note(&self, n: usize) -> Option<u64> {
        let n = u64::try_from(n).unwrap_or(u64::MAX);
        let before = self.0.fetch_add(n, Ordering::Relaxed);
        let sum = before.wrapping_add(n);
        (sum.checked_ilog2() != before.checked_ilog2()).then_some(sum)
    }
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a node counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) calls_total: Counter,
    pub(crate) calls_resolved: Counter,
    pub(crate) calls_rejected: Counter,
    pub(crate) calls_timed_out: Counter,
    pub(crate) calls_cancelled: Counter,
    /// Calls of other nodes that were cancelled before they began.
    pub(crate) calls_not_started: Counter,
    pub(crate) casts: Counter,
    pub(crate) casts_refused: Counter,
    /// Messages and spawns that were not sent, because their behavior there does not fit that here.
    pub(crate) incompatible: Counter,
    pub(crate) spawns_initiated: Counter,
    pub(crate) spawns_resolved: Counter,
    pub(crate) spawns_rejected: Counter,
    pub(crate) spawns_timed_out: Counter,
    pub(crate) monitors_initiated: Counter,
    /// Of those, the ones that were sent.
    pub(crate) monitors_established: Counter,
    pub(crate) monitors_demonitored: Counter,
    /// Watches of this node that ended with their session.
    pub(crate) monitors_disconnected: Counter,
    pub(crate) monitor_requests: Counter,
    /// Of those, the ones on a process that was there.
    pub(crate) monitors_accepted: Counter,
    pub(crate) noproc_responses: Counter,
    pub(crate) demonitor_requests: Counter,
    /// Of those, the ones that came before the end of the process.
    pub(crate) demonitors_accepted: Counter,
    pub(crate) downs_received: Counter,
    pub(crate) downs_sent: Counter,
    pub(crate) links_initiated: Counter,
    pub(crate) links_established: Counter,
    pub(crate) links_unlinked: Counter,
    pub(crate) exits_received: Counter,
    pub(crate) exits_sent: Counter,
    pub(crate) node_ups: Counter,
    pub(crate) node_downs: Mutex<BTreeMap<NodeDownReason, u64>>,
    pub(crate) refused: Mutex<BTreeMap<RefusedReason, u64>>,
    pub(crate) protocol_errors: ProtocolErrors,
}

impl Counters {
    pub(crate) fn node_down(&self, reason: NodeDownReason) {
        *self.node_downs.lock().entry(reason).or_insert(0) += 1;
    }
    /// What a session counted by itself is kept.
    pub(crate) fn session_over(&self, calls: Totals, casts: u64) {
        self.calls_total.add(calls.sent);
        self.calls_resolved.add(calls.resolved);
        self.calls_rejected.add(calls.rejected);
        self.calls_timed_out.add(calls.timed_out);
        self.calls_cancelled.add(calls.cancelled);
        self.casts.add(casts);
    }
    pub(crate) fn refused(&self, reason: RefusedReason) {
        *self.refused.lock().entry(reason).or_insert(0) += 1;
    }
}

/// Calls and casts to other nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteCallStats {
    /// Calls that wait for a reply.
    pub pending_calls: u64,
    /// Calls ever sent.
    pub total_calls: u64,
    /// Calls that were answered.
    pub total_resolved: u64,
    /// Calls that failed otherwise than by their deadline.
    pub total_rejected: u64,
    /// Calls whose deadline passed.
    pub total_timed_out: u64,
    /// Calls whose future was dropped before their outcome came.
    pub total_cancelled: u64,
    /// Calls of other nodes that were cancelled while they were queued here, or whose time was over, and did not run.
    pub total_not_started: u64,
    /// Casts ever sent.
    pub total_casts: u64,
}

/// Processes started on other nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteSpawnStats {
    /// Requests without an answer yet.
    pub pending_count: u64,
    /// Requests ever sent.
    pub total_initiated: u64,
    /// Processes that started.
    pub total_resolved: u64,
    /// Requests that failed otherwise than by their deadline.
    pub total_rejected: u64,
    /// Requests whose deadline passed.
    pub total_timed_out: u64,
}

/// Watches across nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteMonitorStats {
    /// Watches that are being set up. Always 0: a watch is active once it is sent.
    pub pending_count: u64,
    /// Watches of this node on processes of others.
    pub active_outgoing_count: u64,
    /// Watches of others on processes of this node.
    pub active_incoming_count: u64,
    /// Watches on processes of other nodes ever asked for here.
    pub total_initiated: u64,
    /// Of those, the ones that were sent. The others had no session to go to and fired at once.
    pub total_established: u64,
    /// Always 0: a watch is not answered, so it has no time limit.
    pub total_timed_out: u64,
    /// Watches given up here, also by the end of the process that watched.
    pub total_demonitored: u64,
    /// Ends of processes heard of from other nodes; that there was none is one.
    pub total_process_down_received: u64,
    /// Ends of processes told to other nodes, without `noproc_responses`.
    pub total_process_down_sent: u64,
    /// Watches that other nodes asked for.
    pub total_monitor_requests: u64,
    /// Of those, the ones on a process that was there.
    pub successful_monitors: u64,
    /// Of those, the ones that were answered with `noproc`.
    pub noproc_responses: u64,
    /// Watches that other nodes gave up, also such as had fired meanwhile.
    pub total_demonitor_requests: u64,
    /// Watches ever noted, those of this node and those of others.
    pub total_added: u64,
    /// Of those, the ones that are over. The rest is active.
    pub total_removed: u64,
    /// Of those, the ones that ended with their session.
    pub node_disconnect_removals: u64,
    /// Of those, the ones that ended with the process that was watched. The rest was given up.
    pub process_termination_removals: u64,
}

/// Links across nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteLinkStats {
    /// Links that are being set up. Always 0: a link is active once it is sent.
    pub pending_count: u64,
    /// Links that are active.
    pub active_link_count: u64,
    /// Links ever asked for by processes of this node.
    pub total_initiated: u64,
    /// Links that became active, whichever side asked.
    pub total_established: u64,
    /// Always 0: a link has no time limit.
    pub total_timed_out: u64,
    /// Links taken away by processes of this node.
    pub total_unlinked: u64,
    /// Exit signals that came from other nodes, of links and by hand; also that a process ended normally, or was not there.
    pub total_exit_signals_received: u64,
    /// Exit signals sent to other nodes.
    pub total_exit_signals_sent: u64,
}

/// The session with one node.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerStats {
    /// The node.
    pub node_id: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Id of the secret that it was authenticated with; `None` without one.
    pub key_id: Option<String>,
    /// How its batches are authenticated; `None` without a secret.
    pub tag: Option<TagAlgorithm>,
    /// How batches are compressed, as was agreed.
    pub compression: Compression,
    /// Bytes of the batches that were sent compressed, before that.
    pub bytes_before_compression: u64,
    /// And after it.
    pub bytes_after_compression: u64,
    /// Calls and casts sent.
    pub messages_sent: u64,
    /// Frames received, of all kinds.
    pub messages_received: u64,
    /// Bytes handed to the kernel.
    pub bytes_sent: u64,
    /// Verified bytes received.
    pub bytes_received: u64,
    /// Batches sent.
    pub batches_sent: u64,
    /// Batches received.
    pub batches_received: u64,
    /// Casts from there that could not be delivered.
    pub casts_refused: u64,
    /// Calls sent whose end there was told that nobody waits any more: dropped, or past their deadline.
    pub cancels_sent: u64,
    /// The same from there.
    pub cancels_received: u64,
    /// Calls from there that were cancelled while they were queued, or whose time was over, and did not run.
    pub calls_not_started: u64,
    /// Processes there of which it is not known that they handled everything that was sent to them.
    pub credit_targets: usize,
    /// Bytes sent to processes there for which no credit has come back: what they have not handled, and up to half a window each that
    /// they may have. A message counts as 512 bytes at least.
    pub credit_used: u64,
    /// Calls and casts refused with `Overloaded(Credits)`.
    pub credit_refused: u64,
    /// Marks sent: each asks for a credit.
    pub marks_sent: u64,
    /// Credits that came.
    pub credits_received: u64,
    /// Credits given to the peer.
    pub credits_sent: u64,
    /// When anything was sent last, a heartbeat included; up to a quarter of a heartbeat interval late.
    pub last_sent_at: Option<SystemTime>,
    /// When anything was received last.
    pub last_received_at: Option<SystemTime>,
    /// When the connection was authenticated.
    pub connected_at: SystemTime,
    /// How often this node dialled that one since it knows it, whatever came of it.
    pub reconnect_attempts: u64,
    /// The last round trip; measured with each heartbeat.
    pub rtt: Option<Duration>,
    /// Bytes that wait to be sent.
    pub outbox_bytes: usize,
    /// Most bytes that ever waited.
    pub outbox_high_water: usize,
}

/// Figures of the cluster as this node sees it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ClusterStats {
    /// How often a node came up.
    pub node_up_total: u64,
    /// How often a node went down, by reason; every reason is there.
    pub node_down_total: BTreeMap<NodeDownReason, u64>,
    /// Connections refused before they were sessions, by reason; every reason is there.
    pub refused_total: BTreeMap<RefusedReason, u64>,
    /// Connections ended because an authenticated peer broke the protocol, by how; every one is there.
    pub protocol_errors_total: BTreeMap<ProtocolError, u64>,
    /// Casts of other nodes that could not be delivered.
    pub casts_refused_total: u64,
    /// Messages and spawns that were not sent, because their behavior on the other node does not fit that of this one.
    pub incompatible_total: u64,
    /// Connections that are authenticated now.
    pub connections: usize,
    /// Calls and casts.
    pub calls: RemoteCallStats,
    /// Spawns.
    pub spawns: RemoteSpawnStats,
    /// Watches.
    pub monitors: RemoteMonitorStats,
    /// Links.
    pub links: RemoteLinkStats,
}
