//! The errors of processes: one enum per operation, each saying whether the message ran.

mod start;

use std::{fmt, time::Duration};

pub use self::start::{SpawnError, StartError};
use crate::{BehaviorIncompatible, Delivery, DuplicateBehavior, ExitReason, NodeId, Pid};

/// A message could not be turned into bytes. It was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot encode: {0}")]
pub struct EncodeError(pub(crate) String);

/// Bytes are not the value that was expected: the two sides run different versions, or the peer is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot decode: {text}")]
pub struct DecodeError {
    pub(crate) text: String,
    /// Whether the call ran whose bytes these are, or those of its reply.
    delivery: Delivery,
}

impl EncodeError {
    /// An error with this text.
    #[doc(hidden)]
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl DecodeError {
    /// An error with this text.
    #[doc(hidden)]
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), delivery: Delivery::Done }
    }

    /// The other end could not read the call: no handler has seen it.
    pub(crate) fn of_call(text: String) -> Self {
        Self { text, delivery: Delivery::Never }
    }
}

/// A process is of another behavior than its reference says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a process of behavior {expected}, found {found}")]
#[non_exhaustive]
pub struct WrongBehavior {
    /// The behavior that the reference names.
    pub expected: String,
    /// The behavior of the process.
    pub found: String,
}

impl WrongBehavior {
    /// Says what was expected and what was found.
    #[doc(hidden)]
    #[must_use]
    pub fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { expected: expected.into(), found: found.into() }
    }
}

/// Which bound was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Overload {
    /// The mailbox of the process is full.
    Mailbox,
    /// The outbox to its node is full: the network, or the node, is slower than its callers.
    Outbox,
    /// The target gave no more credits.
    Credits,
    /// As many processes live there as this node may have started there.
    Quota,
}
crate::__vocabulary!(Overload { Mailbox = "mailbox", Outbox = "outbox", Credits = "credits", Quota = "quota" });

/// Why a call returned no reply. OTP: the exit reasons of `gen_server:call/3`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// No such process. It did not run; look the process up again.
    #[error("no process {0}")]
    NoProc(Pid),
    /// Nobody has that name. It did not run; wait for the name or register it.
    #[error("no process is registered as \"{0}\"")]
    NoName(String),
    /// The process ended before it answered.
    #[error("process {pid} exited: {reason}")]
    Exited {
        /// The process.
        pid: Pid,
        /// Why it ended.
        reason: ExitReason,
        /// Never, if the call was still queued.
        delivery: Delivery,
    },
    /// No reply in time. A call that was still queued does not run any more.
    #[error("no reply from {pid} within {after:?}")]
    Timeout {
        /// The process.
        pid: Pid,
        /// The time that was given.
        after: Duration,
        /// Never, if the call was still queued on this node.
        delivery: Delivery,
    },
    /// It ran, but the process dropped its `Caller` without a reply.
    #[error("process {0} dropped the call without a reply")]
    NoReply(Pid),
    /// A bound was reached. It did not run; send less, or later.
    #[error("overloaded: the {0} is full")]
    Overloaded(Overload),
    /// The node is not connected. It did not run; wait for the node, or ask another.
    #[error("no connection to {0}")]
    NoConnection(NodeId),
    /// The connection was lost while waiting. It may have run: repeat only what may run twice.
    #[error("the connection to {0} was lost")]
    ConnectionLost(NodeId),
    /// The process is of another behavior. It did not run.
    #[error(transparent)]
    WrongBehavior(WrongBehavior),
    /// The messages of its behavior there do not fit those here. It was not sent.
    #[error(transparent)]
    BehaviorIncompatible(BehaviorIncompatible),
    /// The message is longer than the configured maximum. It was not sent.
    #[error("the message has {len} bytes, the maximum is {max}")]
    TooLarge {
        /// Bytes of the message.
        len: usize,
        /// The maximum, in bytes.
        max: usize,
    },
    /// The message could not be encoded. It was not sent.
    #[error(transparent)]
    Encode(EncodeError),
    /// Either the call could not be decoded at the other end (an unknown method, a newer message), and did not run; or it ran, and
    /// its reply could not be decoded here. [`delivery`](Self::delivery) tells which. The nodes run different versions.
    #[error(transparent)]
    Decode(DecodeError),
    /// It ran, but its reply is longer than the configured maximum of its node. Ask for less.
    #[error("the reply has {len} bytes, the maximum is {max}")]
    ReplyTooLarge {
        /// Bytes of the reply.
        len: usize,
        /// The maximum, in bytes.
        max: usize,
    },
    /// It ran, but its reply could not be encoded there.
    #[error("the reply: {0}")]
    ReplyEncode(EncodeError),
    /// This node stopped. It did not run.
    #[error("this node is not running")]
    NotRunning,
    /// An error that this version does not know.
    #[error("error {code}: {text}")]
    Other {
        /// The code on the wire.
        code: u16,
        /// The text that came with it.
        text: String,
    },
}

impl CallError {
    /// Did the call run?
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        match self {
            Self::Exited { delivery, .. } | Self::Timeout { delivery, .. } => *delivery,
            Self::Decode(error) => error.delivery,
            Self::NoReply(_) | Self::ReplyTooLarge { .. } | Self::ReplyEncode(_) => Delivery::Done,
            Self::ConnectionLost(_) | Self::Other { .. } => Delivery::Unknown,
            Self::NoProc(_)
            | Self::NoName(_)
            | Self::Overloaded(_)
            | Self::NoConnection(_)
            | Self::WrongBehavior(_)
            | Self::BehaviorIncompatible(_)
            | Self::TooLarge { .. }
            | Self::Encode(_)
            | Self::NotRunning => Delivery::Never,
        }
    }
}

/// Why a cast was not sent. It did not run.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CastError {
    /// No such process.
    #[error("no process {0}")]
    NoProc(Pid),
    /// Nobody has that name.
    #[error("no process is registered as \"{0}\"")]
    NoName(String),
    /// A bound was reached: send later, or use `cast_wait`.
    #[error("overloaded: the {0} is full")]
    Overloaded(Overload),
    /// The node is not connected.
    #[error("no connection to {0}")]
    NoConnection(NodeId),
    /// The process is of another behavior.
    #[error(transparent)]
    WrongBehavior(WrongBehavior),
    /// The messages of its behavior there do not fit those here.
    #[error(transparent)]
    BehaviorIncompatible(BehaviorIncompatible),
    /// The message is longer than the configured maximum.
    #[error("the message has {len} bytes, the maximum is {max}")]
    TooLarge {
        /// Bytes of the message.
        len: usize,
        /// The maximum, in bytes.
        max: usize,
    },
    /// The message could not be encoded.
    #[error(transparent)]
    Encode(EncodeError),
    /// This node stopped.
    #[error("this node is not running")]
    NotRunning,
}

impl CastError {
    /// Always [`Delivery::Never`].
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        Delivery::Never
    }
}

impl From<CastError> for CallError {
    fn from(error: CastError) -> Self {
        match error {
            CastError::NoProc(pid) => Self::NoProc(pid),
            CastError::NoName(name) => Self::NoName(name),
            CastError::Overloaded(what) => Self::Overloaded(what),
            CastError::NoConnection(node) => Self::NoConnection(node),
            CastError::WrongBehavior(wrong) => Self::WrongBehavior(wrong),
            CastError::BehaviorIncompatible(why) => Self::BehaviorIncompatible(why),
            CastError::TooLarge { len, max } => Self::TooLarge { len, max },
            CastError::Encode(error) => Self::Encode(error),
            CastError::NotRunning => Self::NotRunning,
        }
    }
}

/// A cast that was not sent, with the reason.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Unsent<M> {
    /// The message, as it was given.
    pub message: M,
    /// Why it was not sent.
    pub error: CastError,
}

impl<M> fmt::Display for Unsent<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

/// Why a name was not registered or found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Another process has it.
    #[error("the name \"{name}\" is taken by {holder}")]
    Taken {
        /// The name.
        name: String,
        /// Who has it.
        holder: Pid,
    },
    /// Nobody has it.
    #[error("no process is registered as \"{0}\"")]
    NotFound(String),
    /// The process to be named does not live (here).
    #[error("no process {0} on this node")]
    NoProc(Pid),
    /// It is not a name: 1 to 255 bytes, no control characters.
    #[error("invalid name \"{name}\": {reason}")]
    Invalid {
        /// The name.
        name: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// Whoever has it is of another behavior.
    #[error(transparent)]
    WrongBehavior(WrongBehavior),
    /// The node has as many as it may have.
    #[error("this node has {max} of them already")]
    TooMany {
        /// How many it may have.
        max: usize,
    },
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeStartError {
    /// No thread could be started.
    #[error("cannot start a thread for the node: {0}")]
    Thread(#[source] std::io::Error),
    /// Two behaviors want the same wire name.
    #[error(transparent)]
    Behavior(#[from] DuplicateBehavior),
}
