//! Everything that reaches `handle_info`.

use std::{convert::Infallible, fmt};

use serde::{Deserialize, Serialize};

use crate::{ExitReason, Pid};

/// One watch of one process. Fires exactly once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonitorRef {
    pub(crate) id: u64,
    pub(crate) pid: Pid,
}

impl MonitorRef {
    /// The process that is watched.
    #[must_use]
    pub fn pid(&self) -> &Pid {
        &self.pid
    }
}

/// A watched process ended, or was never there, or its node is out of reach. OTP: `'DOWN'`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Down {
    /// Which watch this answers.
    pub monitor: MonitorRef,
    /// The process.
    pub pid: Pid,
    /// Why.
    pub reason: ExitReason,
}

impl Down {
    pub(crate) fn new(id: u64, pid: Pid, reason: ExitReason) -> Self {
        Self { monitor: MonitorRef { id, pid: pid.clone() }, pid, reason }
    }
}

/// A message that is neither a call nor a cast. `U` is [`Behavior::Info`](crate::Behavior::Info).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Info<U = Infallible> {
    /// A monitored process ended.
    Down(Down),
    /// No message came for the idle timeout. OTP: `timeout`.
    Timeout,
    /// This process lost a conflict over a global name.
    NameLost {
        /// The name.
        name: String,
        /// Who has it now.
        winner: Pid,
    },
    /// Its own timers, notifier and tasks.
    User(U),
}

impl<U> Info<U> {
    /// The kind, as a word for logs.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Down(_) => "down",
            Self::Timeout => "timeout",
            Self::NameLost { .. } => "name_lost",
            Self::User(_) => "user",
        }
    }
}

/// Where a new process is registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Registration {
    /// In the names of its node, if it has a name.
    #[default]
    Local,
    /// In the global registry, by its node.
    Global,
    /// Nowhere; the name is only for people.
    None,
}

impl fmt::Display for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Global => "global",
            Self::None => "none",
        })
    }
}
