//! OTP for actix: GenServer-style processes, supervision trees and clusters.
//!
//! This crate is the facade: everything of [`noex_actors`] (processes on one node), [`noex_net`] (nodes) and
//! [`noex_supervisor`] (trees) under one name, and what a program needs around them.
//!
//! | Room | What it does |
//! |---|---|
//! | [`prelude`] | the names that most programs use |
//! | [`env`](mod@env) | settings from the environment, with errors that name the variable |
//! | [`logging`] | JSON lines on standard output |
//! | [`exit_code`] | the result of `main` as the exit code that deployments rely on |
//! | `opentelemetry` | feature `opentelemetry`: one trace of OpenTelemetry through processes and nodes |
//! | `testkit` | feature `testkit`: nodes of a test on one thread, in virtual time |
//! | `web` | feature `web`: `/health`, `/ready`, `/metrics`, `/noex/api/cluster` for actix-web |

pub mod env;
mod exit_code;
pub mod logging;
#[cfg(feature = "opentelemetry")]
pub mod opentelemetry;
pub mod prelude;
#[cfg(feature = "web")]
pub mod web;

pub use exit_code::exit_code;
pub use noex_actors::*;
pub use noex_net::*;
pub use noex_supervisor::*;
