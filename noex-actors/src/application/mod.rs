//! A program that is one tree: started, watched over, and stopped in good order. OTP: `application`.
//!
//! ```text
//!   starting ──start──► running ──a signal, AppHandle::stop, Node::stop──► stopping ──► stopped
//!                                                          prep_stop, Node::stop, stop
//! ```
//! | Step | Time | If it takes longer | If it panics |
//! |---|---|---|---|
//! | `start` | 30 s | it is dropped: [`ApplicationError::StartTimeout`] | [`ApplicationError::Start`] |
//! | `prep_stop`, the processes of the node, `stop` | 30 s together | it is dropped: [`ApplicationError::StopTimeout`] | the next step runs all the same; [`ApplicationError::Stop`] |
//!
//! Whatever comes of it, nothing is left when [`run`] returns: the node has been stopped, and what did not stop in time was
//! killed. [`ApplicationError::AlreadyRunning`] alone leaves the node as it was. A stop that is asked for during `start`
//! drops it, and is a graceful one: `prep_stop` and `stop` have nothing to stop then.
//!
//! A second signal ends at once: [`run`] returns [`ApplicationError::SecondSignal`] without waiting for anything, and `main`
//! returns it. Code that blocks its thread keeps `run` from seeing it.
//!
//! // OTP: a node runs one application, for the end of one is the end of its node; several are children of one tree.

mod handle;
mod run;

use std::{future::Future, time::Duration};

pub use self::{
    handle::{AppHandle, ApplicationStatus},
    run::{run, run_with},
};
use crate::{ExitReason, Node, NodeFailure, Signal};

/// How long `start` may take, and how long everything that stops may take together.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A program: what it starts, and what it does around the end of its processes.
///
/// Implement with plain `async fn`s. See the [module](self) for the order and the limits.
///
/// ```
/// use noex_actors::{AppHandle, Application, ApplicationError, Context, ExitReason, Node, behavior, run};
///
/// struct Countdown(u32);
///
/// #[behavior]
/// impl Countdown {
///     #[init]
///     fn new(from: u32, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
///         cx.continue_with(());
///         Ok(Countdown(from))
///     }
///     #[continued]
///     fn tick(&mut self, (): (), cx: &mut Context<Self>) {
///         match self.0.checked_sub(1) {
///             Some(left) => {
///                 self.0 = left;
///                 cx.continue_with(());
///             }
///             // Code in a process ends the program like this.
///             None => _ = AppHandle::of(cx.node()).map(|app| app.stop()),
///         }
///     }
/// }
///
/// struct Rocket;
///
/// impl Application for Rocket {
///     type Config = u32;
///     async fn start(from: u32, node: &Node) -> Result<Self, ExitReason> {
///         node.spawn::<Countdown>(from).await?;
///         Ok(Rocket)
///     }
///     async fn stop(self) {
///         println!("lift-off");
///     }
/// }
///
/// #[actix_rt::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let node = Node::start().await?;
///     Ok(run::<Rocket>(10, &node).await?)
/// }
/// ```
pub trait Application: Sized + 'static {
    /// What it is started with.
    type Config: 'static;

    /// Starts what the program consists of: most often one supervisor.
    ///
    /// An `Err` is [`ApplicationError::Start`]. May be dropped at any `await`: by its time limit, by a stop.
    fn start(config: Self::Config, node: &Node) -> impl Future<Output = Result<Self, ExitReason>>;

    /// Runs before the processes are stopped: turn work away, finish what is under way.
    fn prep_stop(&mut self) -> impl Future<Output = ()> {
        async {}
    }

    /// Runs when no process is left: close what they used.
    fn stop(self) -> impl Future<Output = ()> {
        async {}
    }
}

/// How an application is run.
#[derive(Clone, Debug)]
#[must_use]
pub struct ApplicationOptions {
    name: Option<String>,
    start_timeout: Duration,
    stop_timeout: Duration,
    signals: bool,
}

impl ApplicationOptions {
    /// The defaults: 30 s to start, 30 s to stop, SIGINT and SIGTERM stop it, named as its type is.
    pub fn new() -> Self {
        Self { name: None, start_timeout: TIMEOUT, stop_timeout: TIMEOUT, signals: true }
    }

    /// What logs and [`ApplicationError::AlreadyRunning`] call it.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How long `start` may take. Default: 30 s.
    pub fn start_timeout(mut self, within: Duration) -> Self {
        self.start_timeout = within;
        self
    }

    /// How long `prep_stop`, the processes and `stop` may take together. Default: 30 s. More than that is of no use for
    /// processes: `Node::stop` kills what did not stop after 30 s.
    pub fn stop_timeout(mut self, within: Duration) -> Self {
        self.stop_timeout = within;
        self
    }

    /// Leaves SIGINT and SIGTERM to the program: only [`AppHandle::stop`] and `Node::stop` end it.
    pub fn without_signals(mut self) -> Self {
        self.signals = false;
        self
    }
}

impl Default for ApplicationOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Why an application did not start, or did not stop in good order.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplicationError {
    /// `start` failed or panicked. What it had started was stopped with the node.
    #[error("the application did not start: {0}")]
    Start(ExitReason),
    /// `start` took too long and was dropped. What it had started was stopped with the node.
    #[error("the application did not start within {0:?}")]
    StartTimeout(Duration),
    /// `prep_stop` or `stop` panicked; the first panic, if both did. Everything else ran, and all processes were stopped.
    #[error("the application stopped, but not well: {0}")]
    Stop(ExitReason),
    /// Stopping took too long. Processes that were left were killed.
    #[error("the application did not stop within {0:?}")]
    StopTimeout(Duration),
    /// A second signal came while it was stopping. Nothing was waited for: end the program.
    #[error("ended by a second signal, {0}")]
    SecondSignal(Signal),
    /// noex itself panicked, and stopped the node. The application was stopped as well as it went.
    #[error("the node stopped: {0}")]
    Node(NodeFailure),
    /// The node runs an application, with this name. Nothing was started, nothing was stopped.
    #[error("the application \"{0}\" is running on this node")]
    AlreadyRunning(String),
}
