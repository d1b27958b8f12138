//! Runs an application: performs the steps in their order, each within its time.

use std::{
    any::type_name,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use actix_rt::time::timeout;
use futures_util::FutureExt;

use super::{
    Application, ApplicationError, ApplicationOptions,
    handle::{ApplicationStatus, Claim},
};
use crate::{ExitReason, Node, panics::panic_text, signal::Signals};

/// How long what was killed may take to be gone.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// Why an application is stopped.
enum Cause {
    Signal(crate::Signal),
    Asked,
    NodeStopped,
}

impl Cause {
    fn text(&self) -> &'static str {
        match self {
            Self::Signal(crate::Signal::Interrupt) => "SIGINT",
            Self::Signal(crate::Signal::Terminate) => "SIGTERM",
            Self::Asked => "asked to",
            Self::NodeStopped => "the node stopped",
        }
    }
}

/// Runs an application on this node until SIGINT, SIGTERM, [`AppHandle::stop`](super::AppHandle::stop) or `Node::stop`, and
/// stops it and the node. With the default [`ApplicationOptions`].
///
/// From its first poll on, the two signals do not end the program by themselves any more, also when it returned: it is
/// meant to be the last thing that `main` does.
///
/// # Errors
/// [`ApplicationError`]; see the [module](super) for what is left then.
///
/// # Cancel safety
/// Dropped before it ends, the application is dropped where it stands, without `prep_stop` or `stop`, and the node goes on.
pub async fn run<A: Application>(config: A::Config, node: &Node) -> Result<(), ApplicationError> {
    run_with::<A>(config, node, ApplicationOptions::new()).await
}

/// As [`run`], with options.
///
/// # Errors
/// As [`run`].
///
/// # Cancel safety
/// As [`run`].
pub async fn run_with<A: Application>(
    config: A::Config,
    node: &Node,
    options: ApplicationOptions,
) -> Result<(), ApplicationError> {
    let name = options.name.clone().unwrap_or_else(|| short_name(type_name::<A>()).to_owned());
    let claim = Claim::take(node, name)
        .map_err(|holder| ApplicationError::AlreadyRunning(holder.name().to_owned()))?;
    let signals = if options.signals { Signals::listen() } else { Signals::Off };
    let app = claim.handle.name().to_owned();
    let result = Run { node, claim, signals, options }.whole::<A>(config).await;
    let result = match node.failure() {
        Some(failure) => Err(ApplicationError::Node(failure.clone())),
        None => result,
    };
    match &result {
        Ok(()) => tracing::info!(app, "application stopped"),
        Err(error) => tracing::error!(app, %error, "application ended"),
    }
    result
}

/// `shop::Shop<shop::Live>` is `Shop`.
fn short_name(path: &str) -> &str {
    let path = path.split('<').next().unwrap_or(path);
    path.rsplit("::").next().unwrap_or(path)
}

struct Run<'a> {
    node: &'a Node,
    claim: Claim,
    signals: Signals,
    options: ApplicationOptions,
}

/// How a start ended.
enum Started<A> {
    App(A),
    Failed(ApplicationError),
    /// There is nothing to start any more.
    Overtaken(Cause),
}

impl Run<'_> {
    async fn whole<A: Application>(mut self, config: A::Config) -> Result<(), ApplicationError> {
        match self.start::<A>(config).await {
            Started::App(app) => {
                self.claim.handle.set(ApplicationStatus::Running);
                tracing::info!(app = self.claim.handle.name(), "application started");
                let cause = self.cause().await;
                self.stop(Some(app), Some(&cause)).await
            }
            Started::Overtaken(cause) => self.stop::<A>(None, Some(&cause)).await,
            Started::Failed(error) => match self.stop::<A>(None, None).await {
                Err(at_once @ ApplicationError::SecondSignal(_)) => Err(at_once),
                // Whatever came of the stop: why it did not start is what counts.
                Ok(()) | Err(_) => Err(error),
            },
        }
    }

    async fn start<A: Application>(&mut self, config: A::Config) -> Started<A> {
        let (node, within) = (self.node, self.options.start_timeout);
        let mut start = Box::pin(timeout(within, contained(async { A::start(config, node).await })));
        let started = tokio::select! {
            started = &mut start => match started {
                Ok(Ok(Ok(app))) => Started::App(app),
                Ok(Ok(Err(reason)) | Err(reason)) => Started::Failed(ApplicationError::Start(reason)),
                Err(_elapsed) => Started::Failed(ApplicationError::StartTimeout(within)),
            },
            cause = self.cause() => Started::Overtaken(cause),
        };
        discard(start);
        started
    }

    /// Waits for a reason to stop.
    async fn cause(&mut self) -> Cause {
        tokio::select! {
            signal = self.signals.next() => Cause::Signal(signal),
            () = self.claim.handle.asked() => Cause::Asked,
            () = self.claim.node_stopped() => Cause::NodeStopped,
        }
    }

    /// Stops what there is. A signal that did not cause this only asks for what is under way already; one more ends it.
    async fn stop<A: Application>(
        &mut self,
        app: Option<A>,
        cause: Option<&Cause>,
    ) -> Result<(), ApplicationError> {
        self.claim.handle.set(ApplicationStatus::Stopping);
        let why = cause.map_or("it did not start", Cause::text);
        tracing::info!(app = self.claim.handle.name(), why, "application stops");
        let (node, within, signals) = (self.node, self.options.stop_timeout, &mut self.signals);
        let mut steps = Box::pin(timeout(within, steps(app, node)));
        let second = async {
            if !matches!(cause, Some(Cause::Signal(_))) {
                signals.next().await;
            }
            signals.next().await
        };
        let ended = tokio::select! {
            done = &mut steps => match done {
                Ok(None) => Ok(()),
                Ok(Some(panic)) => Err(ApplicationError::Stop(panic)),
                Err(_elapsed) => Err(ApplicationError::StopTimeout(within)),
            },
            signal = second => Err(ApplicationError::SecondSignal(signal)),
        };
        discard(steps);
        if let Err(ApplicationError::StopTimeout(_)) = ended {
            kill_all(node).await;
        }
        ended
    }
}

/// The steps of a stop, all of them; the first panic, if there was one.
async fn steps<A: Application>(app: Option<A>, node: &Node) -> Option<ExitReason> {
    let Some(mut app) = app else {
        node.stop().await;
        return None;
    };
    let prepared = contained(async { app.prep_stop().await }).await;
    node.stop().await;
    let stopped = contained(async { app.stop().await }).await;
    prepared.err().or(stopped.err())
}

async fn kill_all(node: &Node) {
    let left = node.processes();
    tracing::warn!(left = left.len(), "processes did not stop in time and are killed");
    left.iter().for_each(|process| node.exit(&process.pid, ExitReason::Killed));
    let _ = timeout(KILL_TIMEOUT, node.stop()).await;
}

/// Runs code of a user; a panic is its outcome.
async fn contained<T>(code: impl Future<Output = T>) -> Result<T, ExitReason> {
    AssertUnwindSafe(code).catch_unwind().await.map_err(|panic| {
        let text = panic_text(panic.as_ref()).to_owned();
        tracing::error!(panic = text, "the application panicked");
        ExitReason::Panic(text)
    })
}

/// Drops code of a user that is over, or given up.
fn discard<F>(code: F) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(code))) {
        tracing::error!(panic = panic_text(panic.as_ref()), "the application panicked while it was dropped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_is_called_as_its_type_is() {
        assert_eq!(short_name("shop::live::Shop"), "Shop");
        assert_eq!(short_name("shop::Shop<shop::Live, u8>"), "Shop");
        assert_eq!(short_name("Shop"), "Shop");
    }
}
