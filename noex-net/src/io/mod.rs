//! Moves bytes: an outbox that its users encode into, a reader that verifies whole batches, and what both run over.

pub(crate) mod handshake;
pub(crate) mod here;
pub(crate) mod incoming;
pub(crate) mod outbox;
pub(crate) mod reader;
pub(crate) mod socket;
