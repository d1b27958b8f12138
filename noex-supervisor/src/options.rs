//! The words of supervision: strategy, restart type, shutdown, intensity, backoff.
//!
//! Every word has one spelling, shared by `Display`, `FromStr` and serde.

use std::{fmt, str::FromStr, time::Duration};

use noex_actors::{NodeId, UnknownWord};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Which children are restarted when one of them ends and is restarted.
///
/// | | Stopped, last one first | Started, first one first |
/// |---|---|---|
/// | `OneForOne` | nobody | that child |
/// | `OneForAll` | all others | all |
/// | `RestForOne` | those behind it | that child and those behind it |
/// | `SimpleOneForOne` | nobody | that child, with the arguments it had |
///
/// Temporary children that are stopped because of a sibling are removed. A start that fails in a round is as if that child
/// had ended: who it concerns is stopped again, and after a backoff all are started.
///
/// Under a distributed supervisor all of this goes across nodes: siblings are stopped wherever they are, and started where
/// the selector says. The loss of a node is the end of all that ran there, at once. A move away from a leaving node is no
/// end, and concerns no siblings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strategy {
    /// Only that child.
    #[default]
    OneForOne,
    /// All children.
    OneForAll,
    /// That child and those started after it.
    RestForOne,
    /// Only that child; all children are made from one template, and are stopped at once when the supervisor stops.
    SimpleOneForOne,
}
noex_actors::__vocabulary!(Strategy {
    OneForOne = "one_for_one",
    OneForAll = "one_for_all",
    RestForOne = "rest_for_one",
    SimpleOneForOne = "simple_one_for_one",
});

/// Whether a supervisor ends when children that it cannot do without are gone.
///
/// A child is gone when it is removed: it ended and is not restarted, it was terminated by hand, or it is temporary and
/// was stopped because of a sibling. The supervisor then stops its other children and exits with reason `shutdown`.
///
/// OTP: only the end of a significant child by itself counts, and permanent children cannot be significant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AutoShutdown {
    /// It does not.
    #[default]
    Never,
    /// It ends with the first significant child that is removed.
    AnySignificant,
    /// It ends with the last significant child that is removed.
    AllSignificant,
}
noex_actors::__vocabulary!(AutoShutdown {
    Never = "never",
    AnySignificant = "any_significant",
    AllSignificant = "all_significant",
});

/// When a child is restarted after it ended.
///
/// | | `normal`, `shutdown` | any other reason | loss of its node |
/// |---|---|---|---|
/// | `Permanent` | restarted | restarted | restarted |
/// | `Transient` | removed | restarted | restarted |
/// | `Temporary` | removed | removed | removed |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Restart {
    /// Always.
    #[default]
    Permanent,
    /// After an abnormal end.
    Transient,
    /// Never.
    Temporary,
}
noex_actors::__vocabulary!(Restart {
    Permanent = "permanent",
    Transient = "transient",
    Temporary = "temporary",
});

/// How a child is stopped by its supervisor.
///
/// In text and JSON: `brutal_kill`, `timeout:5000` (milliseconds), `infinity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shutdown {
    /// It is killed at once; its `terminate` does not run.
    BrutalKill,
    /// It is asked to stop, and killed if it has not stopped after this long.
    Timeout(Duration),
    /// It is asked to stop and waited for. For supervisors.
    Infinity,
}

impl Default for Shutdown {
    /// Five seconds. OTP: the same for workers.
    fn default() -> Self {
        Self::Timeout(Duration::from_secs(5))
    }
}

impl fmt::Display for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BrutalKill => f.write_str("brutal_kill"),
            Self::Timeout(after) => write!(f, "timeout:{}", after.as_millis()),
            Self::Infinity => f.write_str("infinity"),
        }
    }
}

impl FromStr for Shutdown {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "brutal_kill" => Ok(Self::BrutalKill),
            "infinity" => Ok(Self::Infinity),
            other => other
                .strip_prefix("timeout:")
                .and_then(|millis| millis.parse().ok())
                .map(|millis| Self::Timeout(Duration::from_millis(millis)))
                .ok_or_else(|| UnknownWord::new(other, &["brutal_kill", "timeout:<ms>", "infinity"])),
        }
    }
}

impl Serialize for Shutdown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Shutdown {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// How many restarts in how long end the supervisor: the one after `max_restarts` within any `within` does.
///
/// Rounds are counted, one per cause: the end of a child however many siblings are restarted with it, the loss of a node
/// however many children it had, and each wave of retries of starts that failed. Restarts by hand, migrations and waiting for a node count nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestartIntensity {
    /// That many restarts are allowed. Default: 3. OTP: 1.
    pub max_restarts: u32,
    /// In any window of this length. Default: 5 s. As in OTP.
    pub within: Duration,
}

impl Default for RestartIntensity {
    fn default() -> Self {
        Self { max_restarts: 3, within: Duration::from_secs(5) }
    }
}

/// How long a supervisor waits before it tries a failed start again: `initial`, then twice as long each time up to
/// `max`, each shortened by up to a half at random, so that those who failed together do not try again together.
///
/// OTP: none; a failed restart is tried again at once, until the intensity ends the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backoff {
    /// Before the first retry. Default: 100 ms.
    pub initial: Duration,
    /// At most. Default: 30 s.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial: Duration::from_millis(100), max: Duration::from_secs(30) }
    }
}

/// What is in reach of a supervisor, and what is not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionView {
    /// Members in reach, its own node included, by id.
    pub reachable: Vec<NodeId>,
    /// Members that were lost and did not say goodbye, by id. After ten minutes they are forgotten.
    pub lost: Vec<NodeId>,
    /// How many members there were at most.
    pub largest: usize,
}

/// What a supervisor does about those that are out of reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartitionDecision {
    /// What was lost is started again.
    Failover,
    /// Nothing is started until it decides otherwise; what runs, runs on.
    Wait,
    /// The same, and the children in reach are stopped. They are started again when it decides otherwise.
    StopChildren,
}
noex_actors::__vocabulary!(PartitionDecision {
    Failover = "failover",
    Wait = "wait",
    StopChildren = "stop_children",
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_one_spelling() {
        for strategy in Strategy::ALL {
            assert_eq!(strategy.to_string().parse::<Strategy>().unwrap(), *strategy);
        }
        for word in AutoShutdown::ALL {
            assert_eq!(word.to_string().parse::<AutoShutdown>().unwrap(), *word);
        }
        for shutdown in
            [Shutdown::BrutalKill, Shutdown::Timeout(Duration::from_millis(1500)), Shutdown::Infinity]
        {
            let json = serde_json::to_string(&shutdown).unwrap();
            assert_eq!(json, format!("\"{shutdown}\""));
            assert_eq!(serde_json::from_str::<Shutdown>(&json).unwrap(), shutdown);
        }
        assert!("timeout:-1".parse::<Shutdown>().is_err());
        assert!("one-for-one".parse::<Strategy>().is_err());
    }
}
