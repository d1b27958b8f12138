//! What one peer can make a node hold, as a sum of settings.

use noex_actors::MAX_WIRE_BYTES;

use super::ClusterConfig;
use crate::{
    machine::credits::most,
    wire::{
        compression::Compression,
        limits::{BATCH, BESIDE, CHUNK, LEN, MAX_BATCH, READ_BUFFER},
    },
};

/// Bytes that one peer can make a node hold, from [`ClusterConfig::memory_per_peer`]. They are counted as they are on the wire; what a
/// decoded message takes is the business of its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerMemory {
    /// Calls and casts of this node that wait to be sent to the peer.
    pub outbox: usize,
    /// Everything that waits to be sent, to a peer that asks and does not read; beyond it the session ends.
    pub outbox_most: usize,
    /// What was read and is not a whole batch; with compression the batch that was decompressed last, and with TLS what is not
    /// decrypted yet.
    pub reading: usize,
    /// Messages of which not all chunks have come.
    pub chunks: usize,
    /// Empty buffers that are kept for what comes next, and what is encrypted ahead of the kernel.
    pub spare: usize,
    /// Calls and casts of the peer that wait for one process of this node.
    pub per_process: usize,
    /// The reply to one call of this node, until its caller takes it. How many calls wait is the business of this program: a reply
    /// that nobody waits for is dropped.
    pub per_call: usize,
}

impl PeerMemory {
    /// All of it but for replies, if the peer floods so many processes that do nothing, and means harm.
    #[must_use]
    pub fn total(&self, processes: usize) -> usize {
        let processes = self.per_process.saturating_mul(processes);
        [self.outbox_most, self.reading, self.chunks, self.spare]
            .into_iter()
            .fold(processes, usize::saturating_add)
    }
}

/// Empty batches that an outbox keeps, each of four times the usual size at most; and twice as much that is urgent, and
/// encrypted.
const SPARE: usize = 4 * 4 * BATCH + 2 * BATCH + CHUNK;
/// A batch with a frame behind it that is being compressed, at its longest, and the table for that.
const COMPRESSING: usize = 3 * BATCH;
/// What was read and is not decrypted; and what rustls has of it: a message of its own at its longest, or a record, and two records
/// that are decrypted.
const DECRYPTING: usize = READ_BUFFER + 64 * 1024 + 2 * 16 * 1024;

impl ClusterConfig {
    /// The most that one peer can make this node hold.
    #[must_use]
    pub fn memory_per_peer(&self) -> PeerMemory {
        let (outbox, message) = (self.outbox_bytes(), self.max_message_bytes());
        let waiting = most(self.credit_bytes(), message).min(MAX_WIRE_BYTES);
        let (plain, compressing) = match self.compression() {
            Compression::Off => (0, 0),
            Compression::Lz4 => (MAX_BATCH, COMPRESSING),
        };
        let decrypting = if self.tls().is_some() { DECRYPTING } else { 0 };
        PeerMemory {
            outbox: outbox.saturating_add(message).saturating_add(CHUNK),
            outbox_most: outbox.saturating_mul(4).saturating_add(message).saturating_add(CHUNK),
            reading: LEN + MAX_BATCH + READ_BUFFER + plain + decrypting,
            chunks: message.saturating_add(CHUNK).saturating_add(BESIDE),
            spare: SPARE + compressing,
            per_process: usize::try_from(waiting).unwrap_or(usize::MAX),
            per_call: message.saturating_add(CHUNK),
        }
    }
}
