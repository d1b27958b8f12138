//! Nodes on hosts of their own: network namespaces on a bridge, with real faults of the links between them.
//!
//! | Room | What it holds |
//! |---|---|
//! | `lab` | the bridge, its hosts, and what goes wrong on it: cuts, loss, bandwidth |
//! | `node` | `examples/node.rs` as a process on a host |
//! | `place`, `http`, `wait`, `witness` | those of the black box |
//!
//! A test that may not make network namespaces (it takes root, `ip` of iproute2 and `nft` of nftables) says so and
//! passes; with `NOEX_REQUIRE_NETNS=1` it fails instead. Tests run one after the other: they measure time.
//!
//! The nodes are those of the last `cargo build --example node --features web`; `cargo test --features web` builds them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it saw"
)]
#![cfg(target_os = "linux")]

#[path = "../blackbox/http.rs"]
#[allow(dead_code, reason = "the black box reads more of an answer")]
mod http;
mod lab;
mod node;
#[path = "../blackbox/place.rs"]
mod place;
#[path = "../blackbox/wait.rs"]
mod wait;
#[path = "../blackbox/witness.rs"]
#[allow(dead_code, reason = "the black box asks more of it")]
mod witness;

mod address;
mod loss;
mod partition;
mod saturation;
mod vanish;
mod workers;
