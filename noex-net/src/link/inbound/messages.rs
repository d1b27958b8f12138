//! Calls and casts of a peer, on their way into mailboxes.
//!
//! They are decoded as they come and queued once per batch and process, in the order in which they came; before anything else
//! of the peer takes effect, what came before it is queued.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use noex_actors::{
    __private::{CallFailure, panic_text},
    Overload,
    process::{Asked, Delivered, Intake},
    route::{BehaviorId, Session},
    trace::TraceContext,
};

use super::Inbound;
use crate::{
    link::{Link, credits::Account},
    wire::frame::{Frame, Malformed},
};

/// Processes to which a peer has sent lately. One that is not among them costs an allocation.
const MOST: usize = 32;
/// Messages in a mailbox beyond which the reader lets its arbiter run before it reads on.
const CROWDED: usize = 4096;

/// The processes to which a peer sends.
#[derive(Debug, Default)]
pub(in crate::link) struct Intakes {
    known: Vec<Known>,
    /// The one to which the last message went; most messages go where the last one went.
    last: usize,
    /// Whose place the next new one takes.
    oldest: usize,
}

#[derive(Debug)]
pub(in crate::link) struct Known {
    number: u64,
    pub(in crate::link) intake: Box<dyn Intake>,
    /// Messages were taken that may not be queued.
    waits: bool,
    pub(in crate::link) account: Account,
}

impl Known {
    fn deliver(&mut self) -> Delivered {
        self.waits = false;
        self.intake.deliver()
    }
}

impl Intakes {
    /// The place of this number.
    #[inline]
    fn find(&mut self, number: u64) -> Option<&mut Known> {
        if self.known.get(self.last).is_none_or(|known| known.number != number) {
            self.last = self.known.iter().position(|known| known.number == number)?;
        }
        self.known.get_mut(self.last)
    }

    /// A place for this number, and whom it takes it from.
    fn insert(&mut self, number: u64, intake: Box<dyn Intake>, account: Account) -> Option<Known> {
        let known = Known { number, intake, waits: false, account };
        if self.known.len() < MOST {
            self.last = self.known.len();
            self.known.push(known);
            return None;
        }
        self.last = self.oldest;
        self.oldest = (self.oldest + 1) % MOST;
        Some(std::mem::replace(&mut self.known[self.last], known))
    }

    /// Whether the process to which the last messages went has much to do: then it should have its turn first.
    pub(super) fn crowded(&self) -> bool {
        self.known.get(self.last).is_some_and(|known| known.intake.process().mailbox().len > CROWDED)
    }
}

impl Inbound {
    /// The process of this number, which is met if it was not known. `None`: there is no such process.
    #[inline]
    pub(in crate::link) fn known(&mut self, number: u64) -> Option<&mut Known> {
        self.be_known(number)?;
        self.intakes.find(number)
    }

    #[inline]
    fn be_known(&mut self, number: u64) -> Option<()> {
        if self.intakes.find(number).is_some() { Some(()) } else { self.meet(number) }
    }

    /// Where a message of so many bytes for the process of this number goes. `None`: there is no such process.
    #[inline]
    fn intake(&mut self, number: u64, bytes: usize) -> Option<&mut dyn Intake> {
        // Not `known`: what follows needs more of this than the process.
        self.be_known(number)?;
        let known = self.intakes.find(number)?;
        known.waits = true;
        if !known.account.receive(bytes) {
            known.account.look(&self.link, &mut self.overdrawn);
        }
        Some(&mut *known.intake)
    }

    /// The same for what its sender does not count against credits: an account of it would never be settled.
    pub(super) fn uncounted_intake(&mut self, number: u64) -> Option<&mut dyn Intake> {
        let known = self.known(number)?;
        known.waits = true;
        Some(&mut *known.intake)
    }

    #[cold]
    fn meet(&mut self, number: u64) -> Option<()> {
        let process = self.link.net.node.process_by_number(number)?;
        let session: Arc<dyn Session> = Arc::<Link>::clone(&self.link);
        let account = self.accounts.open(number, &self.link);
        if let Some(mut replaced) = self.intakes.insert(number, process.intake(session), account) {
            let delivered = replaced.deliver();
            self.full(replaced.number, delivered.refused);
            self.accounts.rest(replaced.number, replaced.account, &self.link);
        }
        Some(())
    }

    /// How a call of this batch is asked: among others, when its caller gives up.
    pub(super) fn asked(
        &mut self,
        id: u64,
        behavior: BehaviorId,
        budget_ms: u64,
        numbered: bool,
    ) -> Result<Asked, Malformed> {
        if numbered && !self.link.numbers {
            return Err(Malformed);
        }
        let received = *self.received.get_or_insert_with(|| self.link.net.node.now());
        let deadline = received.plus(Duration::from_millis(budget_ms.min(u64::from(u32::MAX))));
        Ok(Asked { id, behavior, deadline, numbered })
    }

    pub(super) fn call(&mut self, number: u64, asked: Asked, body: &[u8]) {
        self.calling = Some(asked.id);
        match self.intake(number, body.len()) {
            Some(intake) => intake.call(asked, body),
            None => self.call_by_name(number, asked, body),
        }
        self.calling = None;
    }

    pub(super) fn cast(&mut self, behavior: BehaviorId, number: u64, body: &[u8]) {
        let Some(intake) = self.intake(number, body.len()) else {
            return self.cast_by_name(behavior, number, body);
        };
        if let Err(failure) = intake.cast(behavior, body) {
            self.refused(number, 1, &failure);
        }
    }

    /// The same of one that its sender does not count against credits.
    pub(super) fn uncounted_cast(&mut self, behavior: BehaviorId, number: u64, body: &[u8]) {
        let Some(intake) = self.uncounted_intake(number) else { return };
        if let Err(failure) = intake.cast(behavior, body) {
            self.refused(number, 1, &failure);
        }
    }

    /// The message that is taken next belongs to that trace.
    #[cold]
    pub(super) fn traced(&mut self, context: Box<TraceContext>, message: &Frame<'_>) {
        let (Frame::Call { target, .. } | Frame::Cast { target, .. }) = message else { return };
        match self.known(*target) {
            Some(known) => known.intake.trace(context),
            None => self.traced_by_name(context),
        }
    }

    /// Queues what was taken.
    pub(super) fn deliver(&mut self) {
        let mut at = 0;
        while let Some(known) = self.intakes.known.get_mut(at) {
            if !known.waits {
                at += 1;
                continue;
            }
            // What a mailbox drops may panic: that is one message, not the session.
            let delivered = catch_unwind(AssertUnwindSafe(|| known.deliver()));
            let number = known.number;
            match delivered {
                Ok(delivered) => {
                    self.full(number, delivered.refused);
                    if delivered.is_closed {
                        self.intakes.known.swap_remove(at);
                        self.intakes.oldest = 0;
                        continue;
                    }
                }
                Err(panic) => self.message_panicked(panic),
            }
            at += 1;
        }
    }

    fn full(&self, number: u64, casts: u64) {
        if casts > 0 {
            self.refused(number, casts, &CallFailure::Overloaded(Overload::Mailbox));
        }
    }

    #[cold]
    fn refused(&self, number: u64, casts: u64, failure: &CallFailure) {
        self.link.net.counters.casts_refused.add(casts);
        self.link.vitals.casts_refused.add(casts);
        if self.is_news() {
            let full = matches!(failure, CallFailure::Overloaded(Overload::Mailbox));
            tracing::warn!(peer = %self.link.peer, number, full, ?failure, "a cast was not delivered");
        }
    }

    /// Once a second at most: whoever sends too much must not fill the log as well.
    fn is_news(&self) -> bool {
        let second = self.link.net.node.now().as_nanos() / 1_000_000_000 + 1;
        self.refused_logged.swap(second, Ordering::Relaxed) != second
    }

    /// Fails the call whose message could not be taken; frames behind it go on. A panic of noex itself does.
    pub(super) fn message_panicked(&mut self, panic: Box<dyn std::any::Any + Send>) {
        if self.own {
            resume_unwind(panic);
        }
        let text = format!("panic: {}", panic_text(panic.as_ref()));
        if self.is_news() {
            tracing::error!(peer = %self.link.peer, panic = text, "a message of a peer panicked while it was taken");
        }
        if let Some(id) = self.calling.take() {
            self.link.fail(id, CallFailure::Decode(text));
        }
    }
}
