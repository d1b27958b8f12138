//! Waiting for the signal to stop.

use std::fmt;

use tokio::signal::unix::{SignalKind, signal};

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
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    match (interrupt, terminate) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                _ = interrupt.recv() => Signal::Interrupt,
                _ = terminate.recv() => Signal::Terminate,
            }
        }
        (interrupt, terminate) => {
            if let Some(error) = interrupt.err().or(terminate.err()) {
                tracing::error!(%error, "cannot listen for signals");
            }
            std::future::pending().await
        }
    }
}
