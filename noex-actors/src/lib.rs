//! Processes of noex: GenServer-style actors hosted by actix, on one node. No network.
//!
//! | Room | What it does |
//! |---|---|
//! | [`behavior`], [`Behavior`] | what a user writes: messages, state, handlers. The attribute writes the trait |
//! | [`Ref`], [`AnyRef`], [`Via`] | handles of a process or a name: call, cast, stop, kill, monitor, link |
//! | [`Call`], [`Caller`], [`Delivery`] | a call at its two ends, and whether it ran |
//! | [`Context`] | what a process can do from inside: timers, tasks, children, links, monitors |
//! | [`Info`], [`Down`], [`Exit`] | what reaches a process beside calls and casts |
//! | [`Node`], [`NodeBuilder`] | owns processes, names, behaviors and arbiters; [`ProcessInfo`] and [`ProcessEvent`] tell of them |
//! | [`SpawnOptions`], [`Placement`], [`MailboxPolicy`] | where a process lives, how much may wait for it, and what happens beyond |
//! | [`trace`] | W3C Trace Context, which calls and casts carry |
//! | [`registry`] | processes of one behavior under keys: [`UniqueRegistry`], [`DuplicateRegistry`] |
//! | [`application`] | a program that is one tree: [`Application`], [`run`], [`AppHandle`] |
//! | [`ExitReason`], [`CallError`], [`CastError`], [`StartError`], [`NameError`] | how things end, and what to do about it |
//! | `testkit` | feature `testkit`: tests in virtual time, with a `Probe` that expects and a `Recorder` that records |
//! | [`route`] | the seam that a transport implements |
//!
//! What is promised stands in docs/semantics.md, what Erlang and Elixir call it in docs/otp-map.md.
//!
//! ```
//! use noex_actors::{ExitReason, Node, behavior};
//!
//! struct Counter(i64);
//!
//! #[behavior]
//! impl Counter {
//!     #[init]
//!     fn new(start: i64) -> Result<Self, ExitReason> {
//!         Ok(Counter(start))
//!     }
//!     #[call]
//!     fn add(&mut self, n: i64) -> i64 {
//!         self.0 += n;
//!         self.0
//!     }
//! }
//!
//! # #[actix_rt::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let node = Node::start().await?;
//! let counter = node.spawn::<Counter>(40).await?;
//! assert_eq!(counter.add(2).await?, 42);
//! # node.stop().await;
//! # Ok(())
//! # }
//! ```

#[cfg(panic = "abort")]
compile_error!("noex turns panics of processes into exits: it needs panic = \"unwind\"");

// `#[behavior]` names this crate from the outside; the test kit uses it from the inside.
#[cfg(feature = "testkit")]
extern crate self as noex_actors;

pub mod application;
mod behavior;
mod behaviors;
mod call;
mod caller;
mod clock;
mod context;
mod deadlines;
mod decoding;
mod depth;
mod error;
mod events;
mod exit;
mod failure;
mod glance;
mod host;
mod info;
mod launcher;
mod lease;
mod lenient;
mod machine;
mod mailbox;
mod names;
mod node;
mod node_builder;
pub mod node_id;
mod numbered;
mod panics;
mod payload;
mod pid;
mod pool;
#[doc(hidden)]
pub mod process;
mod refs;
pub mod registry;
mod replies;
#[doc(hidden)]
pub mod route;
#[doc(hidden)]
pub mod schema;
mod shared_bytes;
mod signal;
mod spawn;
mod supervision;
mod table;
#[cfg(feature = "testkit")]
pub mod testkit;
mod thread_mark;
mod time;
mod timer;
pub mod trace;
mod vital;
mod watchdog;
mod wrap;

pub use application::{
    AppHandle, Application, ApplicationError, ApplicationOptions, ApplicationStatus, run, run_with,
};
pub use behavior::{Behavior, Client, RemoteBehavior, Wire};
pub use behaviors::{
    BehaviorOptions, BehaviorRegistry, BehaviorRegistryStats, DuplicateBehavior, Peers, behavior_number,
};
pub use call::{Call, DEFAULT_TIMEOUT, Monitor, Stop};
pub use caller::Caller;
pub use clock::{COARSE, Clock};
pub use context::{Context, Gone, Notifier, TaskRef};
pub use error::{
    CallError, CastError, DecodeError, EncodeError, NameError, NodeStartError, Overload, SpawnError,
    StartError, Unsent, WrongBehavior,
};
pub use events::{Events, Subscription};
pub use exit::{Delivery, ExitReason, NodeDownReason, UnknownWord};
pub use info::{Down, Exit, Info, LinkRef, MonitorRef, Registration};
pub use mailbox::{MAX_WIRE_BYTES, MailboxPolicy};
pub use node::{Node, NodeBuilder, ProcessEvent, ProcessInfo, RuntimeStats, SupervisedProcess};
pub use node_id::{Incarnation, InvalidNodeId, NodeId};
pub use noex_macros::behavior;
pub use payload::{MAX_DEPTH, Payload};
pub use pid::Pid;
pub use process::ProcessStatus;
pub use refs::{AnyRef, RawRef, Ref, Via};
pub use registry::{DuplicateRegistry, RegistryEntry, UniqueRegistry};
pub use schema::BehaviorIncompatible;
pub use shared_bytes::Bytes;
pub use signal::{Signal, shutdown_signal};
pub use spawn::{Placement, Spawn, SpawnAny, SpawnMonitorOn, SpawnOn, SpawnOptions, Starting};
pub use supervision::{FencingToken, Generation, Owner};
pub use time::Monotonic;
pub use timer::TimerRef;
pub use vital::NodeFailure;
pub use watchdog::BlockedArbiter;

/// What generated code and the other crates of noex need.
#[doc(hidden)]
pub mod __private {
    pub use crate::{
        behaviors::{Admitted, NotAdmitted},
        decoding::{lending, sharing},
        events::Hub,
        failure::CallFailure,
        lease::{Lease, LeaseTerms},
        names::check_process_name,
        numbered::Methods,
        panics::{contained, panic_text},
        payload::{decode, encode_into},
        spawn::WatchAhead,
        vital::Vital,
    };
    pub use serde;
}
