//! Why a call failed, as it crosses the wire.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{CallError, DecodeError, Delivery, EncodeError, ExitReason, Overload, Pid, WrongBehavior};

/// Why a call failed, in the form that crosses the wire: without the addresses that the caller knows.
#[doc(hidden)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CallFailure {
    /// No such process.
    NoProc,
    /// It ended first.
    Exited(ExitReason, Delivery),
    /// Its `Caller` was dropped.
    NoReply,
    /// Its mailbox is full.
    Overloaded(Overload),
    /// It is of another behavior: its name.
    WrongBehavior(String),
    /// The call could not be decoded there.
    Decode(String),
    /// The reply could not be encoded there.
    Encode(String),
    /// The reply is longer than allowed: its length and the maximum.
    TooLarge(u64, u64),
    /// The session ended.
    ConnectionLost,
    /// The message never left.
    NotSent,
    /// The deadline passed.
    Timeout(Delivery),
    /// From a newer version.
    Other(u16, String),
    /// The reply came, but could not be decoded here. Never crosses the wire.
    #[serde(skip)]
    Undecodable(DecodeError),
}

/// Who was called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Called<'a> {
    pub(crate) pid: &'a Pid,
    /// By a name on another node, which decides who that is.
    pub(crate) name: Option<&'a str>,
    /// The behavior that is expected of it.
    pub(crate) expected: &'static str,
}

impl CallFailure {
    /// The error that the caller of `pid` sees, or of whoever has the name.
    #[must_use]
    pub(crate) fn into_error(self, called: Called<'_>, after: Duration) -> CallError {
        let Called { pid, name, expected } = called;
        match (self, name) {
            (Self::NoProc, Some(name)) => CallError::NoName(name.to_owned()),
            (failure, _) => failure.of_process(pid, expected, after),
        }
    }

    fn of_process(self, pid: &Pid, expected: &str, after: Duration) -> CallError {
        match self {
            Self::NoProc => CallError::NoProc(pid.clone()),
            Self::Exited(reason, delivery) => CallError::Exited { pid: pid.clone(), reason, delivery },
            Self::NoReply => CallError::NoReply(pid.clone()),
            Self::Overloaded(what) => CallError::Overloaded(what),
            Self::WrongBehavior(found) => CallError::WrongBehavior(WrongBehavior::new(expected, found)),
            Self::Decode(text) => CallError::Decode(DecodeError::of_call(text)),
            Self::Undecodable(error) => CallError::Decode(error),
            Self::Encode(text) => CallError::ReplyEncode(EncodeError(text)),
            Self::TooLarge(len, max) => CallError::ReplyTooLarge {
                len: usize::try_from(len).unwrap_or(usize::MAX),
                max: usize::try_from(max).unwrap_or(usize::MAX),
            },
            Self::ConnectionLost => CallError::ConnectionLost(pid.node_id().clone()),
            Self::NotSent => CallError::NoConnection(pid.node_id().clone()),
            Self::Timeout(delivery) => CallError::Timeout { pid: pid.clone(), after, delivery },
            Self::Other(code, text) => CallError::Other { code, text },
        }
    }
}
