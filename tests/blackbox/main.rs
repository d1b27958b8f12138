//! The black box: `examples/node.rs` as operating system processes, seen only from outside.
//!
//! What lives is counted by locked files that the kernel vouches for, never by what noex says of itself.
//!
//! | Room | What it holds |
//! |---|---|
//! | `lab` | nodes as processes: started, signalled, killed at the end |
//! | `place` | a directory for one test, and the machine for itself |
//! | `noise` | choices that are the same every time |
//! | `dice` | choices that are drawn from one number |
//! | `http` | an HTTP client of a few lines |
//! | `witness` | which instances live, by their locks |
//! | `wait` | waiting for a condition, with a deadline |
//! | `proxy` | a TCP proxy that records, flips bits and resets |
//!
//! The nodes are those of the last `cargo build --example node --features web`; `cargo test --features web` builds them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it saw"
)]

mod dice;
mod http;
mod lab;
#[path = "../../noex-net/tests/support/noise.rs"]
mod noise;
mod place;
#[path = "../../noex-net/tests/support/ports.rs"]
mod ports;
mod proxy;
mod wait;
mod witness;

mod churn;
mod configuration;
mod endpoints;
mod failover;
mod fleet;
mod hostile;
mod keys;
mod leaving;
mod membership;
mod security;
mod strategies;
#[cfg(feature = "tls")]
mod tls;
