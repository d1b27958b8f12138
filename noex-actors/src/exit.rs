//! Why a process ended, why a node went, and whether a message ran.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a process ended.
///
/// In text and JSON: `normal`, `shutdown`, `killed`, `panic: …`, `error: …`, `noproc`, `noconnection`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitReason {
    /// It was done.
    Normal,
    /// It was told to stop in good order, by its supervisor or by its node.
    Shutdown,
    /// It was killed: nothing of it ran after that.
    Killed,
    /// A callback panicked, with this text.
    Panic(String),
    /// A callback gave up, with this text.
    Error(String),
    /// There was no such process.
    NoProc,
    /// The connection to its node was lost; it may live on.
    NoConnection,
}

impl ExitReason {
    /// [`ExitReason::Error`] with the text of `error`.
    pub fn error(error: impl fmt::Display) -> Self {
        Self::Error(error.to_string())
    }

    /// Everything but [`Normal`](Self::Normal) and [`Shutdown`](Self::Shutdown): what restarts a transient child.
    #[must_use]
    pub fn is_abnormal(&self) -> bool {
        !matches!(self, Self::Normal | Self::Shutdown)
    }
}

impl<E: std::error::Error> From<E> for ExitReason {
    fn from(error: E) -> Self {
        Self::Error(error.to_string())
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::Killed => f.write_str("killed"),
            Self::Panic(text) => write!(f, "panic: {text}"),
            Self::Error(text) => write!(f, "error: {text}"),
            Self::NoProc => f.write_str("noproc"),
            Self::NoConnection => f.write_str("noconnection"),
        }
    }
}

/// A word that is not one of a vocabulary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{value}\" is not one of: {expected}")]
#[non_exhaustive]
pub struct UnknownWord {
    /// The word.
    pub value: String,
    /// The words there are.
    pub expected: String,
}

impl UnknownWord {
    /// Says that `value` is none of `expected`.
    #[doc(hidden)]
    #[must_use]
    pub fn new(value: &str, expected: &[&str]) -> Self {
        Self { value: value.chars().take(64).collect(), expected: expected.join(", ") }
    }
}

impl FromStr for ExitReason {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        Ok(match text {
            "normal" => Self::Normal,
            "shutdown" => Self::Shutdown,
            "killed" => Self::Killed,
            "noproc" => Self::NoProc,
            "noconnection" => Self::NoConnection,
            other => match (other.strip_prefix("panic: "), other.strip_prefix("error: ")) {
                (Some(panic), _) => Self::Panic(panic.to_owned()),
                (_, Some(error)) => Self::Error(error.to_owned()),
                _ => {
                    let words =
                        ["normal", "shutdown", "killed", "panic: …", "error: …", "noproc", "noconnection"];
                    return Err(UnknownWord::new(other, &words));
                }
            },
        })
    }
}

impl Serialize for ExitReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ExitReason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Gives an enum without fields one spelling for `Display`, `FromStr` and serde.
#[doc(hidden)]
#[macro_export]
macro_rules! __vocabulary {
    ($type:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $type {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word of this value.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
        impl ::core::fmt::Display for $type {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.pad(self.as_str())
            }
        }
        impl ::core::str::FromStr for $type {
            type Err = $crate::UnknownWord;
            fn from_str(text: &str) -> ::core::result::Result<Self, $crate::UnknownWord> {
                match text { $($word => Ok(Self::$variant),)+ _ => Err($crate::UnknownWord::new(text, &[$($word),+])) }
            }
        }
        impl $crate::__private::serde::Serialize for $type {
            fn serialize<S: $crate::__private::serde::Serializer>(&self, serializer: S) -> ::core::result::Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
        impl<'de> $crate::__private::serde::Deserialize<'de> for $type {
            fn deserialize<D: $crate::__private::serde::Deserializer<'de>>(deserializer: D) -> ::core::result::Result<Self, D::Error> {
                let text = <::std::string::String as $crate::__private::serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err($crate::__private::serde::de::Error::custom)
            }
        }
    };
}

/// Did the message run?
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Delivery {
    /// It did not run and never will: safe to send again.
    Never,
    /// It may have run: send again only what may run twice.
    Unknown,
    /// It ran.
    Done,
}
__vocabulary!(Delivery { Never = "never", Unknown = "unknown", Done = "done" });

/// Why a node went down, as seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeDownReason {
    /// Nothing came from it for interval × threshold.
    HeartbeatTimeout,
    /// Its connection ended.
    ConnectionClosed,
    /// It could not be connected. noex-net never says so: a node-down only follows a node-up, so a node that was never connected
    /// does not go down, and one that was has gone down (`ConnectionClosed`, `HeartbeatTimeout`) before it is dialled again. A dial that
    /// fails is an event of its own, `DialFailed`, with `connection_refused` among its reasons. The word stays: it is one of
    /// those that programs and metrics know, and their `match` names all of them.
    ConnectionRefused,
    /// It said goodbye.
    GracefulShutdown,
}
__vocabulary!(NodeDownReason {
    HeartbeatTimeout = "heartbeat_timeout",
    ConnectionClosed = "connection_closed",
    ConnectionRefused = "connection_refused",
    GracefulShutdown = "graceful_shutdown",
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_one_spelling() {
        for reason in [
            ExitReason::Normal,
            ExitReason::Shutdown,
            ExitReason::Killed,
            ExitReason::Panic("a: b".into()),
            ExitReason::Error(String::new()),
            ExitReason::NoProc,
            ExitReason::NoConnection,
        ] {
            assert_eq!(reason.to_string().parse::<ExitReason>().unwrap(), reason);
            let json = serde_json::to_string(&reason).unwrap();
            assert_eq!(serde_json::from_str::<ExitReason>(&json).unwrap(), reason);
        }
        assert!("gone".parse::<ExitReason>().is_err());
        assert_eq!(NodeDownReason::HeartbeatTimeout.to_string(), "heartbeat_timeout");
        let error = "x".parse::<Delivery>().unwrap_err();
        assert_eq!(error.to_string(), "\"x\" is not one of: never, unknown, done");
    }

    #[test]
    fn only_normal_and_shutdown_are_not_abnormal() {
        assert!(!ExitReason::Normal.is_abnormal() && !ExitReason::Shutdown.is_abnormal());
        assert!(ExitReason::Killed.is_abnormal() && ExitReason::NoConnection.is_abnormal());
    }
}
