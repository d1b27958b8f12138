//! Everything that reaches `handle_info`.

use std::{convert::Infallible, fmt};

use serde::{Deserialize, Serialize};

use crate::{ExitReason, NodeDownReason, NodeId, Pid};

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

    /// Its number on this node.
    #[doc(hidden)]
    #[must_use]
    pub fn number(&self) -> u64 {
        self.id
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

/// One link between two processes. OTP has no such reference: there is one link per pair of processes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkRef {
    ends: [Pid; 2],
}

impl LinkRef {
    pub(crate) fn new(one: &Pid, other: &Pid) -> Self {
        Self { ends: [one.clone(), other.clone()] }
    }

    /// The two processes, in the order in which they were given.
    #[must_use]
    pub fn ends(&self) -> (&Pid, &Pid) {
        let [one, other] = &self.ends;
        (one, other)
    }
}

/// An exit signal, as whoever traps exits sees it. OTP: `{'EXIT', From, Reason}`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exit {
    /// The process at the other end of the link, or who sent the signal.
    pub from: Pid,
    /// Why.
    pub reason: ExitReason,
}

impl Exit {
    pub(crate) fn new(from: Pid, reason: ExitReason) -> Self {
        Self { from, reason }
    }
}

/// A message that is neither a call nor a cast. `U` is [`Behavior::Info`](crate::Behavior::Info).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Info<U = Infallible> {
    /// A monitored process ended.
    Down(Down),
    /// A linked process ended, or an exit signal came. Only to whoever traps exits. OTP: `'EXIT'`.
    Exit(Exit),
    /// No message came for the idle timeout. OTP: `timeout`.
    Timeout,
    /// A node came up, after [`Context::monitor_nodes`](crate::Context::monitor_nodes).
    NodeUp(NodeId),
    /// A node went down.
    NodeDown {
        /// Which.
        node: NodeId,
        /// Why, as seen from here.
        reason: NodeDownReason,
    },
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
            Self::Exit(_) => "exit",
            Self::Timeout => "timeout",
            Self::NodeUp(_) => "node_up",
            Self::NodeDown { .. } => "node_down",
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
    /// In the global registry, by its node, once its `init` has come to its end. If the node knows that somebody has the name,
    /// `init` does not run.
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
