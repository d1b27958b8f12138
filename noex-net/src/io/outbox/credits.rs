//! Credits in the outbox: what goes to a process is counted under the lock that its appending holds anyway.

use std::sync::Arc;

use noex_actors::Overload;

use super::{
    Outbox, Refusal,
    batch::{Frame, Open, Terms},
};
use crate::{
    machine::credits::{Figures, Forged, Mark},
    wire::frame::Head,
};

impl Outbox {
    /// A message of so many bytes was appended for this process. What is to be marked is, behind it.
    #[inline]
    pub(super) fn charge(&self, open: &mut Open, target: u64, len: usize) {
        let mut marks = Vec::new();
        open.credits.charge(target, len, &mut |mark| marks.push(mark));
        if !marks.is_empty() {
            self.put_marks(open, &marks);
        }
    }

    #[cold]
    fn put_marks(&self, open: &mut Open, marks: &[Mark]) {
        for Mark { target, position } in marks.iter().copied() {
            let frame = Frame { place: None, encode: &mut |_| Ok(()), laned: &mut || {} };
            // It has no body that could fail.
            let _ = self.put_frame(open, |_| Head::Mark { target, position }, frame);
        }
    }

    #[cold]
    pub(super) fn no_credit(&self, open: &mut Open, target: u64) -> Refusal {
        if open.credits.refuse(target) {
            tracing::debug!(target, "a process of the peer has had all that there is credit for");
        }
        Refusal::Overloaded(Overload::Credits)
    }

    /// Appends a credit for the peer; the limit does not apply.
    pub(crate) fn append_credit(self: &Arc<Self>, Mark { target, position }: Mark) {
        let frame = Frame { place: None, encode: &mut |_| Ok(()), laned: &mut || {} };
        let _ = self.put(|_| Head::Credit { target, position }, frame, Terms::OF_CONTROL);
    }

    /// The peer takes so much for each of its processes.
    pub(crate) fn grant(&self, window: u64) {
        self.open.lock().credits.grant(window);
    }

    /// A credit of the peer came.
    pub(crate) fn credit_returned(&self, credit: Mark) -> Result<(), Forged> {
        let awaited = self.open.lock().credits.returned(credit)?;
        if awaited {
            self.room_is_there();
        }
        Ok(())
    }

    /// How much of the peer's credits is used.
    pub(crate) fn credits(&self) -> Figures {
        self.open.lock().credits.figures()
    }

    /// Waits until half of the outbox is free and there is credit for the target, if there is one; or until it is closed.
    pub(crate) async fn ready(&self, target: Option<u64>) {
        loop {
            let room = self.room.notified();
            let has_credit = |open: &mut Open| target.is_none_or(|target| open.credits.awaits(target));
            let ready = {
                let mut open = self.open.lock();
                open.closed || (self.queued() <= self.limit / 2 && has_credit(&mut open))
            };
            if ready {
                return;
            }
            room.await;
        }
    }
}
