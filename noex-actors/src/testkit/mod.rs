//! Tests without waiting: nodes on one thread, in virtual time (feature `testkit`).
//!
//! | Item | Is |
//! |---|---|
//! | [`run`], [`Sim`] | one thread, one paused clock, as many nodes as a test wants |
//! | [`Probe`] | a process that records what reaches it, with expectations that have deadlines |
//! | [`Recorder`] | a process to send to: echoes calls, keeps casts, crashes on demand |
//!
//! The clock stands still while anything can run, and jumps to the next timer when nothing can: an hour of timeouts takes
//! no time, and every deadline is exact. Deadlines of expectations are in virtual time, too: they are cheap, so give
//! them generously.
//!
//! What runs on threads of its own, [`Context::blocking`](crate::Context::blocking) above all, runs in real time; the
//! clock waits for it.
//!
//! ```
//! use std::time::Duration;
//! use noex_actors::{ExitReason, testkit::{self, Probe, Recorder}};
//!
//! testkit::run(1, |sim| async move {
//!     let node = sim.node().await;
//!     let recorder = node.spawn::<Recorder>(()).await.unwrap();
//!     let mut probe = Probe::start(&node).await;
//!     probe.monitor(&recorder);
//!     recorder.keep("a".to_owned()).unwrap();
//!     assert_eq!(recorder.seen().await.unwrap(), ["a"]);
//!     recorder.crash("boom".to_owned()).unwrap();
//!     let down = probe.expect_down(&recorder, Duration::from_secs(1)).await;
//!     assert_eq!(down.reason, ExitReason::Panic("boom".to_owned()));
//!     sim.advance(Duration::from_secs(3600)).await;
//!     probe.expect_nothing(Duration::from_secs(3600)).await;
//! });
//! ```

mod probe;
mod recorder;

use std::{future::Future, sync::atomic::Ordering, time::Duration};

pub use self::{
    probe::Probe,
    recorder::{Recorder, RecorderCall, RecorderCast, RecorderClient, RecorderReply},
};
use crate::{Node, NodeBuilder};

/// Runs a test on this thread, in virtual time. A panic of the test names the seed.
///
/// The seed decides whatever a test draws from it ([`Sim::seed`]); the environment variable `NOEX_SEED` takes its place.
///
/// # Panics
/// With the test's panic; or when no runtime can be started; or when `NOEX_SEED` is no number.
pub fn run<F: Future>(seed: u64, test: impl FnOnce(Sim) -> F) -> F::Output {
    let seed = match std::env::var("NOEX_SEED") {
        Ok(text) => text.parse().expect("NOEX_SEED is a number"),
        Err(_unset) => seed,
    };
    let _told = TellSeed(seed);
    let system = actix_rt::System::with_tokio_rt(|| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build().expect("a runtime of one thread starts")
    });
    system.block_on(test(Sim { seed }))
}

/// Says which seed failed.
struct TellSeed(u64);

impl Drop for TellSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(seed = self.0, "the test failed");
            #[expect(clippy::print_stderr, reason = "a failed test is read by a person")]
            {
                eprintln!("the test failed with seed {0}; NOEX_SEED={0} runs it again", self.0);
            }
        }
    }
}

/// The one thread of a test, and its clock.
#[derive(Clone, Debug)]
pub struct Sim {
    seed: u64,
}

impl Sim {
    /// What the test should draw its random numbers from.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A node on this thread. It knows the behavior of [`Recorder`] by name.
    ///
    /// # Panics
    /// When it cannot start.
    pub async fn node(&self) -> Node {
        self.start(Node::builder().behavior::<Recorder>()).await
    }

    /// A node as configured, on this thread: all its arbiters are this one.
    ///
    /// # Panics
    /// When it cannot start: two behaviors have one name.
    pub async fn start(&self, builder: NodeBuilder) -> Node {
        builder.on_this_thread().start().await.expect("the node of a test starts")
    }

    /// Lets this much time pass: timers fire one after the other, each at its time, and what they set off runs before the
    /// next. Milliseconds are the smallest unit.
    pub async fn advance(&self, by: Duration) {
        actix_rt::time::sleep(by).await;
    }

    /// Waits until nothing can run before the next timer. One millisecond passes by it.
    pub async fn settle(&self) {
        actix_rt::time::sleep(Duration::from_millis(1)).await;
    }

    /// From now on, what is sent to new processes of this node is encoded and decoded as if they were on another: what does
    /// not survive the wire fails here. Only for behaviors that the node knows by name.
    pub fn encode_local_messages(&self, node: &Node) {
        node.0.encodes.store(true, Ordering::Relaxed);
    }
}
