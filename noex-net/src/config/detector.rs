//! How silence becomes a verdict.

use std::{cmp::Ordering, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The threshold of phi where none is given.
const USUAL: f64 = 8.0;

/// How silence becomes a verdict. As a text: `deadline`, `phi`, which is `phi:8`, or `phi:<threshold>`.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub enum Detector {
    /// A node is lost after silence of interval × threshold. The default.
    #[default]
    Deadline,
    /// A node is lost when its silence is improbable, given how regularly its heartbeats came so far (phi accrual). On a
    /// quiet network that is sooner than by the deadline (2.3 intervals), on one that stutters later (up to 15 intervals).
    Phi {
        /// How improbable: 10 to the power of minus this. From 1 to 100. Lower finds dead nodes sooner and living ones
        /// dead more often; 8 is usual, 12 for machines that pause.
        threshold: f64,
    },
}

impl Detector {
    /// Whether its threshold is in its range.
    pub(super) fn is_valid(self) -> bool {
        match self {
            Self::Deadline => true,
            Self::Phi { threshold } => (1.0..=100.0).contains(&threshold),
        }
    }
}

impl PartialEq for Detector {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Deadline, Self::Deadline) => true,
            (Self::Phi { threshold: a }, Self::Phi { threshold: b }) => a.total_cmp(b) == Ordering::Equal,
            (Self::Deadline | Self::Phi { .. }, _) => false,
        }
    }
}

impl Eq for Detector {}

impl fmt::Display for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadline => f.pad("deadline"),
            Self::Phi { threshold } => write!(f, "phi:{threshold}"),
        }
    }
}

impl FromStr for Detector {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("unknown detector \"{text}\": write deadline, phi, or phi:<threshold>");
        match text {
            "deadline" => Ok(Self::Deadline),
            "phi" => Ok(Self::Phi { threshold: USUAL }),
            _ => {
                let threshold = text.strip_prefix("phi:").ok_or_else(wrong)?;
                threshold.parse().map(|threshold| Self::Phi { threshold }).map_err(|_why| wrong())
            }
        }
    }
}

impl Serialize for Detector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Detector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ClusterConfig;

    #[test]
    fn a_detector_has_one_text() {
        for text in ["deadline", "phi:8", "phi:12.5"] {
            let detector: Detector = text.parse().unwrap();
            assert_eq!(detector.to_string(), text);
            assert_eq!(serde_json::to_string(&detector).unwrap(), format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<Detector>(&format!("\"{text}\"")).unwrap(), detector);
        }
        assert_eq!("phi".parse(), Ok(Detector::Phi { threshold: 8.0 }));
        for wrong in ["", "Phi", "phi:", "phi:x", "deadline:3"] {
            assert!(wrong.parse::<Detector>().unwrap_err().contains("write deadline"));
        }
    }

    #[test]
    fn a_threshold_out_of_its_range_is_refused() {
        let build =
            |threshold| ClusterConfig::builder("a").failure_detector(Detector::Phi { threshold }).build();
        assert_eq!(build(8.0).unwrap().failure_detector(), Detector::Phi { threshold: 8.0 });
        for threshold in [0.9, 100.1, -1.0, f64::NAN, f64::INFINITY] {
            let error = build(threshold).unwrap_err();
            assert_eq!((error.field.as_str(), error.value), ("failure_detector", format!("phi:{threshold}")));
        }
    }
}
