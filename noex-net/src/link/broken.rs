//! What a peer does that ends its session.

use noex_actors::{MAX_WIRE_BYTES, process::Process};

use crate::{
    io::reader::BatchError,
    protocol_error::ProtocolError,
    wire::{frame::Malformed, limits::MAX_STREAMS},
};

/// Most characters of what a decoder says that are kept: it may quote the peer.
const MAX_DETAIL: usize = 200;
/// Bytes of exit signals and stops of peers that may wait in a mailbox, beyond what may wait there of calls and casts. They
/// are never refused, so whoever sends more than that loses its session.
const MAX_SIGNAL_BYTES: u64 = 16 * 1024 * 1024;

/// The peer broke the protocol: the session ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error(transparent)]
    Frame(#[from] Malformed),
    #[error("a control message cannot be read: {0}")]
    Control(String),
    #[error("a name of a process that is not the peer's")]
    NotItsOwn,
    #[error("names that do not follow those told before")]
    NamesGap,
    #[error("a message in chunks is longer than {0} bytes")]
    TooLong(usize),
    #[error("more messages in chunks at once than {MAX_STREAMS}, or than there is room for")]
    Streams,
    #[error("more facts than one peer may tell in a second")]
    Facts,
    #[error("more signals than may wait for one process")]
    Signals,
    #[error("more for one process than there was credit for")]
    Overdrawn,
    #[error("more marks than may wait for one process")]
    Marks,
    #[error("a credit for what was not sent")]
    ForgedCredit,
}

impl Broken {
    /// A control message that does not decode, with what the decoder says of it.
    pub(super) fn control(said: &str) -> Self {
        Self::Control(said.chars().take(MAX_DETAIL).collect())
    }

    /// Under which word it is counted.
    pub(crate) fn error(&self) -> ProtocolError {
        match self {
            Self::Batch(BatchError::Length(_)) => ProtocolError::Length,
            Self::Batch(BatchError::Forged) => ProtocolError::Forged,
            Self::Batch(BatchError::Compression) | Self::Frame(_) => ProtocolError::Frame,
            Self::Control(_) | Self::NotItsOwn | Self::NamesGap => ProtocolError::Control,
            Self::TooLong(_) | Self::Streams | Self::Facts | Self::Signals => ProtocolError::Limit,
            Self::Overdrawn | Self::Marks | Self::ForgedCredit => ProtocolError::Credit,
        }
    }
}

/// Signals are exempt from the bound of a mailbox; this is the bound on those of peers.
pub(super) fn room_for_signals(process: &dyn Process) -> Result<(), Broken> {
    let waiting = process.mailbox().wire_bytes;
    if waiting > MAX_WIRE_BYTES + MAX_SIGNAL_BYTES { Err(Broken::Signals) } else { Ok(()) }
}
