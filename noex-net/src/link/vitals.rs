//! Signs of life of one connection, and its figures.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use noex_actors::Monotonic;
use parking_lot::Mutex;

use super::Link;
use crate::{
    machine::{detector::Reading, membership::Load},
    stats::{Counter, PeerStats},
    wire::control::{Control, Heartbeat},
};

/// The nonce of a ping that only measures: the sessions count theirs from zero.
pub(crate) const PROBE: u64 = u64::MAX;

/// When what came last, and how often.
#[derive(Debug)]
pub(crate) struct Vitals {
    connected_at: Monotonic,
    last_received: AtomicU64,
    last_heartbeat: AtomicU64,
    reader_tick: AtomicU64,
    pub(crate) messages_received: Counter,
    pub(crate) casts_refused: Counter,
    pub(super) cancels_received: Counter,
    pub(super) calls_not_started: Counter,
    pub(super) credits_sent: Counter,
    pub(super) credits_received: Counter,
    batches_received: Counter,
    bytes_received: Counter,
    probe: Mutex<Probe>,
    sent: Mutex<Sent>,
}

#[derive(Debug, Default)]
struct Probe {
    sent: Option<Monotonic>,
    rtt: Option<Duration>,
}

/// How much had been sent when that was looked at last, and when it had become more.
#[derive(Debug, Default)]
struct Sent {
    bytes: u64,
    at: Option<Monotonic>,
}

impl Vitals {
    pub(super) fn new(now: Monotonic) -> Self {
        let at = || AtomicU64::new(now.as_nanos());
        Self {
            connected_at: now,
            last_received: at(),
            last_heartbeat: at(),
            reader_tick: at(),
            messages_received: Counter::default(),
            casts_refused: Counter::default(),
            cancels_received: Counter::default(),
            calls_not_started: Counter::default(),
            credits_sent: Counter::default(),
            credits_received: Counter::default(),
            batches_received: Counter::default(),
            bytes_received: Counter::default(),
            probe: Mutex::default(),
            sent: Mutex::default(),
        }
    }
}

impl Link {
    /// A verified batch came.
    pub(crate) fn received(&self, bytes: usize, now: Monotonic) {
        let (vitals, now) = (&self.vitals, now.as_nanos());
        vitals.last_received.store(now, Ordering::Relaxed);
        vitals.reader_tick.store(now, Ordering::Relaxed);
        vitals.batches_received.one();
        vitals.bytes_received.add(u64::try_from(bytes).unwrap_or(0));
    }

    /// A heartbeat was in the batch that came last.
    pub(super) fn heartbeat_received(&self) -> Monotonic {
        let at = self.vitals.last_received.load(Ordering::Relaxed);
        self.vitals.last_heartbeat.store(at, Ordering::Relaxed);
        Monotonic::from_nanos(at)
    }

    /// Notes when the arbiter of the reader has its next turn.
    pub(crate) fn ask_for_turn(self: &Arc<Self>) {
        let link = Arc::clone(self);
        self.home.spawn(async move {
            link.vitals.reader_tick.store(link.net.node.now().as_nanos(), Ordering::Relaxed);
        });
    }

    /// For the failure detector.
    pub(crate) fn reading(&self) -> Reading {
        let at = |moment: &AtomicU64| Monotonic::from_nanos(moment.load(Ordering::Relaxed));
        Reading {
            last_received: at(&self.vitals.last_received),
            reader_tick: at(&self.vitals.reader_tick),
            last_heartbeat: at(&self.vitals.last_heartbeat),
        }
    }

    /// Sends a ping that measures the round trip, unless one is under way.
    pub(crate) fn measure(&self) {
        let mut probe = self.vitals.probe.lock();
        if probe.sent.is_none() {
            probe.sent = Some(self.net.node.now());
            drop(probe);
            self.control(&Control::Ping { nonce: PROBE });
        }
    }

    /// Its answer came.
    pub(super) fn measured(&self) {
        let mut probe = self.vitals.probe.lock();
        if let Some(sent) = probe.sent.take() {
            probe.rtt = Some(self.net.node.now().since(sent));
        }
    }

    /// Looks whether anything was sent since the last look.
    pub(crate) fn look_at_sent(&self, now: Monotonic) {
        let (written, mut sent) = (self.outbox.written(), self.vitals.sent.lock());
        if sent.bytes != written {
            *sent = Sent { bytes: written, at: Some(now) };
        }
    }

    /// The figures. `dials`: how often the peer was dialled since it is known.
    pub(crate) fn stats(&self, dials: u32) -> PeerStats {
        let (clock, vitals) = (self.net.node.clock(), &self.vitals);
        self.look_at_sent(self.net.node.now());
        let credits = self.outbox.credits();
        let (bytes_before_compression, bytes_after_compression) = self.outbox.compressed();
        let received = vitals.last_received.load(Ordering::Relaxed);
        PeerStats {
            node_id: self.peer.clone(),
            incarnation: self.incarnation,
            key_id: self.key.as_ref().map(|key| key.id().to_owned()),
            tag: self.tag,
            compression: self.compression,
            bytes_before_compression,
            bytes_after_compression,
            messages_sent: self.outbox.messages(),
            messages_received: vitals.messages_received.get(),
            bytes_sent: self.outbox.written(),
            bytes_received: vitals.bytes_received.get(),
            batches_sent: self.outbox.batches_sent(),
            batches_received: vitals.batches_received.get(),
            casts_refused: vitals.casts_refused.get(),
            cancels_sent: self.calls.totals().given_up(),
            cancels_received: vitals.cancels_received.get(),
            calls_not_started: vitals.calls_not_started.get(),
            credit_targets: credits.targets,
            credit_used: credits.unreturned,
            credit_refused: credits.refused,
            marks_sent: credits.marks,
            credits_received: vitals.credits_received.get(),
            credits_sent: vitals.credits_sent.get(),
            last_sent_at: vitals.sent.lock().at.map(|at| clock.wall(at)),
            last_received_at: Some(clock.wall(Monotonic::from_nanos(received))),
            connected_at: clock.wall(vitals.connected_at),
            reconnect_attempts: u64::from(dials),
            rtt: vitals.probe.lock().rtt,
            outbox_bytes: self.outbox.queued(),
            outbox_high_water: self.outbox.high_water(),
        }
    }
}

/// The load that a heartbeat tells of. A share that is none counts as 0.
pub(crate) fn load(heartbeat: &Heartbeat, received: Monotonic) -> Load {
    let cpu = if heartbeat.cpu.is_nan() { 0.0 } else { heartbeat.cpu.clamp(0.0, 1.0) };
    Load { process_count: heartbeat.processes, mailbox_len: heartbeat.mailbox_len, cpu, received }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_processors_is_one_whatever_a_peer_says() {
        let shares = [(0.5, 0.5), (-1.0, 0.0), (7.0, 1.0), (f32::INFINITY, 1.0), (f32::NAN, 0.0)];
        for (cpu, expected) in shares {
            let found = load(&Heartbeat { cpu, ..Heartbeat::default() }, Monotonic::ZERO).cpu;
            assert!((found - expected).abs() < f32::EPSILON, "{cpu}: {found}");
        }
    }
}
