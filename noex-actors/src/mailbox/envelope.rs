//! What waits in a mailbox.

use std::any::Any;

use super::MIN_WIRE_BYTES;
use crate::{Behavior, Caller, ExitReason, Info, trace::TraceContext};

pub(crate) enum Envelope<B: Behavior> {
    Call(B::Call, Caller<B::Reply>),
    Cast(B::Cast),
    /// From another node; with the length of its encoded form.
    RemoteCast(B::Cast, u32),
    /// What the process tells itself.
    User(B::Info),
    /// What others tell it: seldom, and large.
    Info(Box<Info<B::Info>>),
    Stop(ExitReason),
    /// A call or a cast that belongs to a trace.
    Traced(Box<Traced<B>>),
    /// Is dropped in its turn, and nothing else.
    Marker {
        _drops: Box<dyn Any + Send>,
    },
}

impl<B: Behavior> Envelope<B> {
    /// Bytes that it had on the wire, if it came from there.
    pub(super) fn wire_bytes(&self) -> u64 {
        match self {
            Self::Call(_, from) => u64::from(from.wire_bytes()),
            Self::RemoteCast(_, bytes) => u64::from(*bytes),
            // Nothing bounds the signals of peers but what they are told by this.
            Self::Info(info) => match &**info {
                Info::Exit(exit) => signal_bytes(&exit.reason),
                _ => 0,
            },
            Self::Stop(reason) => signal_bytes(reason),
            // Casts of this node are not counted, whatever comes with them.
            Self::Traced(traced) => match traced.envelope.wire_bytes() {
                0 => 0,
                bytes => bytes + traced.extra(),
            },
            Self::Cast(_) | Self::User(_) | Self::Marker { .. } => 0,
        }
    }

    /// Whether the bound applies to it.
    pub(super) fn is_bounded(&self) -> bool {
        match self {
            Self::Call(..) | Self::Cast(_) | Self::RemoteCast(..) | Self::Traced(_) => true,
            Self::User(_) | Self::Info(_) | Self::Stop(_) | Self::Marker { .. } => false,
        }
    }

    pub(super) fn is_call(&self) -> bool {
        match self {
            Self::Call(..) => true,
            Self::Traced(traced) => matches!(traced.envelope, Self::Call(..)),
            _ => false,
        }
    }

    /// The same as part of a trace, if there is one.
    #[inline]
    pub(crate) fn traced(self, context: Option<TraceContext>) -> Self {
        match context {
            None => self,
            Some(context) => Self::Traced(Box::new(Traced { context, envelope: self })),
        }
    }

    /// What was sent.
    #[inline]
    pub(crate) fn untraced(self) -> Self {
        match self {
            Self::Traced(traced) => traced.envelope,
            plain => plain,
        }
    }
}

/// A call or a cast, and the trace that it belongs to.
pub(crate) struct Traced<B: Behavior> {
    pub(super) context: TraceContext,
    pub(super) envelope: Envelope<B>,
}

impl<B: Behavior> Traced<B> {
    /// What it takes beside the message.
    fn extra(&self) -> u64 {
        let bytes = size_of::<Self>() + self.context.state().len();
        u64::try_from(bytes).unwrap_or(0)
    }
}

fn signal_bytes(reason: &ExitReason) -> u64 {
    let text = match reason {
        ExitReason::Panic(text) | ExitReason::Error(text) => text.len(),
        ExitReason::Normal
        | ExitReason::Shutdown
        | ExitReason::Killed
        | ExitReason::NoProc
        | ExitReason::NoConnection => 0,
    };
    u64::from(MIN_WIRE_BYTES) + u64::try_from(text).unwrap_or(0)
}
