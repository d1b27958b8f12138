//! What a supervisor tells of itself and its children.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use noex_actors::{Clock, ExitReason, Generation, NodeId, Pid};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    machine::supervision::{Child, State, Why},
    options::{Restart, Shutdown, Strategy},
};

/// Where a child stands. In JSON: `"running"`, or `{"restarting":{"attempt":2}}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChildState {
    /// It is started for the first time, or by hand.
    Starting,
    /// It lives.
    Running,
    /// It is started again, or waits to be.
    Restarting {
        /// Which attempt is next or in flight, from 1.
        attempt: u32,
    },
    /// It waits for a node.
    Pending,
    /// It is being stopped.
    Stopping,
}

impl fmt::Display for ChildState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::Running => f.write_str("running"),
            Self::Restarting { attempt } => write!(f, "restarting (attempt {attempt})"),
            Self::Pending => f.write_str("pending"),
            Self::Stopping => f.write_str("stopping"),
        }
    }
}

impl ChildState {
    pub(crate) fn of(child: &Child) -> Self {
        let first = matches!(child.why, Why::Initial | Why::Added | Why::Manual) && child.attempt == 1;
        match child.state {
            State::Fresh => Self::Starting,
            State::Starting | State::Waiting { .. } | State::Queued if first => Self::Starting,
            State::Starting | State::Waiting { .. } | State::Queued => {
                Self::Restarting { attempt: child.attempt }
            }
            State::Running { .. } => Self::Running,
            State::Pending => Self::Pending,
            State::Stopping { .. } => Self::Stopping,
        }
    }
}

/// A child as its supervisor sees it. In JSON the times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ChildInfo {
    /// Its id.
    pub id: String,
    /// The living instance, if there is one.
    pub pid: Option<Pid>,
    /// Name of its behavior.
    pub behavior: String,
    /// Where the instance lives.
    pub node_id: Option<NodeId>,
    /// Of the instance, or of the last start.
    pub generation: Generation,
    /// Where it stands.
    pub state: ChildState,
    /// How often another instance took its place; restarts because of a sibling are not counted.
    pub restart_count: u32,
    /// When the instance was started, or taken over.
    #[serde(rename = "startedAt", with = "unix_millis")]
    pub started_at: Option<SystemTime>,
    /// When it is restarted.
    pub restart: Restart,
    /// How it is stopped.
    pub shutdown: Shutdown,
    /// Whether its removal may end the supervisor.
    #[serde(default)]
    pub significant: bool,
}

impl ChildInfo {
    pub(crate) fn of(child: &Child, behavior: &str, clock: &Clock) -> Self {
        Self {
            id: child.rule.id.clone(),
            pid: child.pid().cloned(),
            behavior: behavior.to_owned(),
            node_id: child.pid().map(|pid| pid.node_id().clone()),
            generation: child.generation,
            state: ChildState::of(child),
            restart_count: child.restarts,
            started_at: child.started_at.map(|at| clock.wall(at)),
            restart: child.rule.restart,
            shutdown: child.rule.shutdown,
            significant: child.rule.significant,
        }
    }
}

/// Figures of a local supervisor.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SupervisorStats {
    /// Its id.
    pub id: String,
    /// Its name, if it was given one.
    pub name: Option<String>,
    /// Its strategy.
    pub strategy: Strategy,
    /// Children it has.
    pub child_count: usize,
    /// Instances started in place of an earlier one; restarts because of a sibling are not counted.
    pub total_restarts: u64,
    /// When it started.
    #[serde(with = "unix_millis_always")]
    pub started_at: SystemTime,
    /// How long ago that was.
    #[serde(rename = "uptimeMs", serialize_with = "millis")]
    pub uptime: Duration,
}

/// How a supervisor ended. In text and JSON: the exit reason, `max_restarts_exceeded`, `auto_shutdown` or `start_failed`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SupervisorExit {
    /// It was stopped, or killed.
    Stopped(ExitReason),
    /// Its children ended more often than allowed. Its process exits with `error: max_restarts_exceeded`.
    /// OTP: `shutdown`.
    MaxRestartsExceeded {
        /// That many were allowed.
        max_restarts: u32,
        /// In any window of this length.
        within: Duration,
    },
    /// A significant child was removed. Its process exits with `shutdown`: a parent restarts it if it is permanent.
    AutoShutdown {
        /// The child whose removal it was.
        child_id: String,
    },
    /// A child did not start when the supervisor did.
    StartFailed(ExitReason),
}

/// What a supervisor over its limit exits with.
pub(crate) const MAX_RESTARTS_EXCEEDED: &str = "max_restarts_exceeded";

impl SupervisorExit {
    /// What the process of the supervisor exits with.
    pub(crate) fn reason(&self) -> ExitReason {
        match self {
            Self::Stopped(reason) | Self::StartFailed(reason) => reason.clone(),
            Self::MaxRestartsExceeded { .. } => ExitReason::Error(MAX_RESTARTS_EXCEEDED.to_owned()),
            Self::AutoShutdown { .. } => ExitReason::Shutdown,
        }
    }
}

impl fmt::Display for SupervisorExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped(reason) => reason.fmt(f),
            Self::MaxRestartsExceeded { .. } => f.write_str(MAX_RESTARTS_EXCEEDED),
            Self::AutoShutdown { .. } => f.write_str("auto_shutdown"),
            Self::StartFailed(_) => f.write_str("start_failed"),
        }
    }
}

impl Serialize for SupervisorExit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn to_millis(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn from_millis(millis: u64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}

/// A duration as milliseconds.
pub(crate) fn millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

pub(crate) mod unix_millis {
    use super::{Deserialize, Deserializer, Serialize, Serializer, SystemTime, from_millis, to_millis};

    pub(crate) fn serialize<S: Serializer>(
        at: &Option<SystemTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        at.map(to_millis).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SystemTime>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.and_then(from_millis))
    }
}

pub(crate) mod unix_millis_always {
    use super::{Deserialize, Deserializer, Serializer, SystemTime, from_millis, to_millis};

    pub(crate) fn serialize<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(to_millis(*at))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        let millis = u64::deserialize(deserializer)?;
        from_millis(millis).ok_or_else(|| serde::de::Error::custom("a time beyond the calendar"))
    }
}
