//! Calls and casts as parts of traces.

use std::{task::Waker, time::Duration};

use noex_actors::{
    EncodeError,
    route::{BehaviorId, Encode},
    trace::TraceContext,
};

use super::Link;
use crate::{
    io::outbox::{Refusal, portions},
    wire::{frame::Head, trace},
};

/// Where a call goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallHead {
    pub(crate) number: u64,
    pub(crate) behavior: BehaviorId,
    pub(crate) budget: Duration,
    /// Its reply may go by number.
    pub(crate) numbered: bool,
}

impl Link {
    /// Sends a call; returns its number.
    pub(crate) fn call(&self, head: CallHead, waker: &Waker, encode: Encode<'_>) -> Result<u64, Refusal> {
        match self.trace() {
            None => self.append_call(head, false, waker, encode),
            Some(context) => self.append_call(head, true, waker, &mut with_trace(&context, encode)),
        }
    }

    /// Sends a cast.
    pub(crate) fn cast(&self, target: u64, behavior: BehaviorId, encode: Encode<'_>) -> Result<(), Refusal> {
        let append = |traced, encode: Encode<'_>| {
            let head = Head::Cast { behavior, target, traced };
            self.outbox.append((target, portions::USUAL), |_| head, encode, &mut || {})
        };
        match self.trace() {
            None => append(false, encode),
            Some(context) => append(true, &mut with_trace(&context, encode)),
        }
    }

    /// The trace that what is sent now belongs to, as far as the other end wants to know.
    #[inline]
    fn trace(&self) -> Option<TraceContext> {
        if self.traces { self.net.node.current_trace() } else { None }
    }
}

/// Writes the trace before the message.
fn with_trace(
    context: &TraceContext,
    encode: Encode<'_>,
) -> impl FnMut(&mut Vec<u8>) -> Result<(), EncodeError> {
    |out| {
        trace::put(context, out);
        encode(out)
    }
}
