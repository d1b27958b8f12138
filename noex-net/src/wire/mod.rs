//! Bytes: batches, frames, tags and control messages. Pure: slices in, values out.
//!
//! ```text
//! batch   [len u32 LE][tag 16][frame …]       len counts what follows it; the tag is absent without a secret
//! frame   [len u16 LE][kind u8][fields][body] len counts what follows it
//! ```

pub(crate) mod bounded;
pub(crate) mod compression;
pub(crate) mod control;
pub(crate) mod frame;
#[cfg(test)]
mod golden;
pub(crate) mod handshake;
mod head;
pub(crate) mod limits;
pub(crate) mod order;
pub(crate) mod tag;
pub(crate) mod to_name;
pub(crate) mod trace;
mod varint;
