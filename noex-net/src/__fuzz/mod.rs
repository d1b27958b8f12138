//! What decoders, handshakes and sessions must hold for whatever bytes come. For `fuzz/` and `tests/corpus.rs`; no part of the
//! interface, and only there with the feature `__fuzz`.
//!
//! A target takes any bytes and panics when an invariant is broken, never otherwise.

mod handshake;
mod input;
mod seeds;
mod session;
mod stream;
mod text;
mod wire;

pub use self::{
    handshake::{acceptor, initiator},
    seeds::seeds,
    session::Session,
    stream::{sealed, stream},
    text::{environment, exit_reason, node_id, secrets, seed},
    wire::{batches, control, failure, frames, handshake_message, payload},
};

/// A target without a state.
pub type Target = fn(&[u8]);

/// All of them but [`Session`], which has a node.
pub const TARGETS: [(&str, Target); 13] = [
    ("frames", frames),
    ("control", control),
    ("failure", failure),
    ("payload", payload),
    ("handshake_message", handshake_message),
    ("batches", batches),
    ("acceptor", acceptor),
    ("initiator", initiator),
    ("node_id", node_id),
    ("seed", seed),
    ("secrets", secrets),
    ("environment", environment),
    ("exit_reason", exit_reason),
];
