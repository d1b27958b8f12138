//! Calls and casts for whoever has a name here: who that is, is decided when each arrives.
//!
//! Their bodies begin with the name. They are not counted against credits, as their sender does not know to whom they go; what
//! waits of them is bounded by the mailbox.

use std::{collections::VecDeque, sync::Arc};

use noex_actors::{
    __private::CallFailure,
    process::{Asked, Process},
    route::{BY_NAME, BehaviorId, Session},
    trace::TraceContext,
};

use super::Inbound;
use crate::wire::to_name;

/// So many calls are remembered, with the process to which each went: those before cannot be cancelled any more, and run in vain.
const MAX_RECENT: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct ByName {
    /// Which process was called, by the number of the call.
    recent: VecDeque<(u64, u64)>,
    /// What the next message belongs to.
    trace: Option<Box<TraceContext>>,
}

impl Inbound {
    /// Who has the name with which the body begins, and the message behind it.
    fn holder<'a>(&self, target: u64, body: &'a [u8]) -> Option<(u64, &'a [u8])> {
        if target & BY_NAME == 0 {
            return None;
        }
        let (name, message) = to_name::take(body)?;
        let holder = self.link.net.node.any_by_name(name)?;
        Some((holder.pid().number(), message))
    }

    #[cold]
    pub(super) fn call_by_name(&mut self, target: u64, asked: Asked, body: &[u8]) {
        let id = asked.id;
        let trace = self.by_name.trace.take();
        let found = self.holder(target, body);
        let intake = found.and_then(|(number, message)| Some((self.uncounted_intake(number)?, message)));
        let Some((intake, message)) = intake else { return self.link.fail(id, CallFailure::NoProc) };
        trace.into_iter().for_each(|trace| intake.trace(trace));
        intake.call(asked, message);
        if let Some((number, _)) = found {
            let recent = &mut self.by_name.recent;
            recent.truncate(MAX_RECENT - 1);
            recent.push_front((id, number));
        }
    }

    #[cold]
    pub(super) fn cast_by_name(&mut self, behavior: BehaviorId, target: u64, body: &[u8]) {
        let trace = self.by_name.trace.take();
        let Some((number, message)) = self.holder(target, body) else { return };
        if let (Some(trace), Some(intake)) = (trace, self.uncounted_intake(number)) {
            intake.trace(trace);
        }
        self.uncounted_cast(behavior, number, message);
    }

    /// The message that is taken next belongs to that trace, and goes to nobody whose number is known.
    pub(super) fn traced_by_name(&mut self, context: Box<TraceContext>) {
        self.by_name.trace = Some(context);
    }

    /// To which process a call went.
    pub(super) fn called(&self, id: u64, target: u64) -> Option<Arc<dyn Process>> {
        let by_name = || self.by_name.recent.iter().find(|(call, _)| *call == id).map(|(_, number)| *number);
        let number = if target & BY_NAME == 0 { Some(target) } else { by_name() };
        self.link.net.node.process_by_number(number?)
    }
}
