//! What becomes of children while a part of the cluster is out of reach: see [docs/partitions.md].
//!
//! [docs/partitions.md]: https://github.com/noex-rs/noex/blob/main/docs/partitions.md

use std::{collections::BTreeSet, fmt, panic::AssertUnwindSafe, str::FromStr, sync::Arc, time::Duration};

use noex_actors::{__private::LeaseTerms, NodeId, UnknownWord};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::views::PREFIX;
use crate::{
    machine::standing::Policy,
    options::{PartitionDecision, PartitionView},
};

/// What becomes of a child whose supervisor is out of reach. Words: `run_on`, `stop_after:<milliseconds>`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OrphanPolicy {
    /// It runs on; the next supervisor of that name adopts it. Not the default where there is none: without a name, and for
    /// children of a template, that is `StopAfter` the time in which a silent node is found dead.
    #[default]
    RunOn,
    /// It stops after that time, with `error: noex: orphaned`: it takes no further message, and is killed if it does not go.
    /// A node that was frozen for so long stops it before its next message.
    StopAfter(Duration),
}

impl fmt::Display for OrphanPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RunOn => f.write_str("run_on"),
            Self::StopAfter(after) => write!(f, "stop_after:{}", after.as_millis()),
        }
    }
}

impl FromStr for OrphanPolicy {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let unknown = || UnknownWord::new(text, &["run_on", "stop_after:<milliseconds>"]);
        if text == "run_on" {
            return Ok(Self::RunOn);
        }
        let millis = text.strip_prefix("stop_after:").and_then(|millis| millis.parse().ok());
        millis.map(|millis| Self::StopAfter(Duration::from_millis(millis))).ok_or_else(unknown)
    }
}

impl Serialize for OrphanPolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OrphanPolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A user's own decision about what is out of reach.
pub type JudgePartition = Arc<dyn Fn(&PartitionView) -> PartitionDecision + Send + Sync>;

/// What a supervisor does while a part of the cluster is out of reach. Words: `failover`, `majority`.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum PartitionPolicy {
    /// It starts what it lost again. Two sides may each run an instance until they meet; then the higher generation
    /// stays.
    #[default]
    Failover,
    /// Only the side with more than half of the voters, or of the members if no
    /// [voters](crate::DistributedSupervisorBuilder::voters) are named, runs children: of two halves the one with the
    /// smallest id. On the other side instances stop themselves first.
    Majority,
    /// What the function says, whenever others are lost or found. A panic in it is [`PartitionDecision::Wait`].
    Custom(JudgePartition),
}

impl PartitionPolicy {
    /// Decides by a function of what is in reach and what is not.
    pub fn custom(f: impl Fn(&PartitionView) -> PartitionDecision + Send + Sync + 'static) -> Self {
        Self::Custom(Arc::new(f))
    }

    /// The rule of the machine.
    pub(crate) fn rule(&self, voters: &BTreeSet<NodeId>) -> Policy {
        match self {
            Self::Failover => Policy::Failover,
            Self::Majority => Policy::Majority(voters.clone()),
            Self::Custom(judge) => {
                let judge = Arc::clone(judge);
                Policy::Custom(Arc::new(move |view| {
                    let decided = std::panic::catch_unwind(AssertUnwindSafe(|| judge(view)));
                    decided.unwrap_or_else(|_panic| {
                        tracing::error!("a custom partition policy panicked");
                        PartitionDecision::Wait
                    })
                }))
            }
        }
    }

    fn is_majority(&self) -> bool {
        matches!(self, Self::Majority)
    }
}

impl fmt::Display for PartitionPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failover => "failover",
            Self::Majority => "majority",
            Self::Custom(_) => "custom",
        })
    }
}

impl fmt::Debug for PartitionPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PartitionPolicy {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "failover" => Ok(Self::Failover),
            "majority" => Ok(Self::Majority),
            other => Err(UnknownWord::new(other, &["failover", "majority"])),
        }
    }
}

/// The policy of one supervisor, with what it needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Partitions {
    pub(crate) policy: PartitionPolicy,
    pub(crate) voters: BTreeSet<NodeId>,
    /// How long it takes to find a silent node dead.
    pub(crate) detection: Duration,
    /// Nobody takes over what this supervisor leaves: it has no name, or its children are of a template.
    pub(crate) alone: bool,
}

impl Partitions {
    /// How long an instance with that policy runs on when it is cut off, if its supervisor counts on it that it stops.
    pub(crate) fn grace(&self, orphan: Option<OrphanPolicy>) -> Option<Duration> {
        match orphan {
            Some(OrphanPolicy::StopAfter(after)) => Some(after),
            Some(OrphanPolicy::RunOn) => None,
            None => self.policy.is_majority().then_some(self.detection),
        }
    }

    /// The lease of an instance of that supervisor.
    pub(crate) fn lease(&self, orphan: Option<OrphanPolicy>, supervisor: &str) -> Option<LeaseTerms> {
        // Nobody waits for that end: it is to leave nothing behind, and not to be sure that there is one at most.
        let orphan = orphan.or(self.alone.then_some(OrphanPolicy::StopAfter(self.detection)));
        let grace = self.grace(orphan)?;
        Some(LeaseTerms {
            grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX),
            supervisor: orphan.map(|_| format!("{PREFIX}{supervisor}")),
            majority: self.policy.is_majority(),
            voters: self.voters.iter().cloned().collect(),
        })
    }
}
