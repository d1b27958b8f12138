//! Moves bytes: an outbox that its users encode into, and a reader that verifies whole batches.

pub(crate) mod handshake;
pub(crate) mod incoming;
pub(crate) mod outbox;
pub(crate) mod reader;
