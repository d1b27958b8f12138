//! Waiting for the signal to stop.

use std::fmt;

use tokio::signal::unix::{self, SignalKind, signal};

/// A signal that asks a program to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}

/// Waits for SIGINT or SIGTERM.
///
/// # Cancel safety
/// Safe to drop. Once it was polled, the signal no longer ends the program by itself.
pub async fn shutdown_signal() -> Signal {
    Signals::listen().next().await
}

/// Listens for SIGINT and SIGTERM from its making on: none is lost between one `next` and another. Two of a kind that come
/// before anybody looks are one, as signals are.
#[derive(Debug)]
pub(crate) enum Signals {
    On {
        interrupt: unix::Signal,
        terminate: unix::Signal,
    },
    /// Nobody wants to hear of them, or they cannot be listened for.
    Off,
}

impl Signals {
    pub(crate) fn listen() -> Self {
        match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
            (Ok(interrupt), Ok(terminate)) => Self::On { interrupt, terminate },
            (interrupt, terminate) => {
                if let Some(error) = interrupt.err().or(terminate.err()) {
                    tracing::error!(%error, "cannot listen for signals");
                }
                Self::Off
            }
        }
    }

    pub(crate) async fn next(&mut self) -> Signal {
        match self {
            Self::On { interrupt, terminate } => tokio::select! {
                _ = interrupt.recv() => Signal::Interrupt,
                _ = terminate.recv() => Signal::Terminate,
            },
            Self::Off => std::future::pending().await,
        }
    }
}
