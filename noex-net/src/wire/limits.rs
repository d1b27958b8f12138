//! Every bound of the wire, with its reason.

/// Length prefix of a batch: u32, little endian.
pub(crate) const LEN: usize = 4;
/// A tag: the first half of an HMAC-SHA256.
pub(crate) const TAG: usize = 16;
/// Longest batch, in bytes after its length prefix: what a reader must be ready to hold before it can verify anything.
pub(crate) const MAX_BATCH: usize = 256 * 1024;
/// A batch is closed when it has this much: one tag then delays its first frame by some 40 µs at most.
pub(crate) const BATCH: usize = 64 * 1024;
/// Longest frame on the wire after its length, which is an u16; longer ones are cut into chunks.
pub(crate) const CHUNK: usize = 64 * 1024 - 1;
/// What is longer than this has a lane of its own: a small message waits for one of them at most that was sealed before.
pub(crate) const LONG: usize = 16 * 1024;
/// Bytes of a content in one chunk after the first: with everything before them they are 64 KiB under one tag at most.
pub(crate) const PIECE: usize = 64 * 1024 - 32;
/// Bytes of a content in its first chunk, which tells the receiver how much is to come.
pub(crate) const FIRST_PIECE: usize = 1024;
/// Messages in chunks that one connection may have begun and not finished.
pub(crate) const MAX_STREAMS: usize = 16;
/// Those that this node begins at a time.
pub(crate) const BEGUN_STREAMS: usize = 8;
/// Announced bytes of messages in chunks that may have begun beside the longest one.
pub(crate) const BESIDE: usize = 4 * 1024 * 1024;
/// Most hints of one peer that are read at once.
pub(crate) const MAX_HINTS: usize = 1024;
/// Most nodes that somebody who is asked for the holder of a name tells of.
pub(crate) const MAX_BESIDE: usize = 1024;
/// Most hints of one message that are read at all; with more of them it cannot be read.
pub(crate) const MAX_HINTS_READ: usize = 16 * MAX_HINTS;
/// Most names of behaviors in one message.
pub(crate) const MAX_BEHAVIORS: usize = 10_000;
/// Longest name of a behavior that is kept of a peer, in bytes.
pub(crate) const MAX_BEHAVIOR_NAME: usize = 255;
/// Bytes of all schemas in one message, and of those that are kept of a peer.
pub(crate) const MAX_SCHEMAS: usize = 1024 * 1024;
/// Most global names in one message: what a turn may take.
pub(crate) const MAX_NAMES: usize = 250;
/// Most memberships of process groups in one message: what a turn may take.
pub(crate) const MAX_MEMBERS: usize = 1000;
/// Most supervised instances in one response.
pub(crate) const MAX_INSTANCES: usize = 100_000;
/// Bytes read from a socket before other tasks of the arbiter get their turn.
pub(crate) const READ_BUDGET: usize = 1024 * 1024;
/// Room of a read buffer while no longer batch is on its way.
pub(crate) const READ_BUFFER: usize = 64 * 1024;
