//! Calls that are cancelled, at both ends of a connection.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use noex_actors::{Monotonic, process::Process, route::Session};

use super::{Link, calls::GivenUp};

impl Link {
    /// Nobody waits for the reply any more: if the call is still queued over there, it need not run.
    pub(super) fn cancel(&self, GivenUp { id, target }: GivenUp) {
        self.outbox.cancel(id, target);
    }

    /// Ends the calls whose deadline has come.
    pub(crate) fn expire(&self, now: Monotonic) {
        self.calls.expire(now).into_iter().for_each(|given_up| self.cancel(given_up));
    }

    /// A caller of the peer gave up.
    pub(super) fn cancelled_by_peer(self: &Arc<Self>, id: u64, process: Option<&dyn Process>) {
        self.vitals.cancels_received.one();
        self.outbox.withdraw_reply(id);
        self.given_up.lock().add(id);
        if let Some(process) = process {
            let session: Arc<dyn Session> = Arc::<Self>::clone(self);
            process.remote_cancel(&session, id);
        }
    }
}

/// So many numbers are remembered. Forgotten ones count as if somebody waited: that was believed before, too.
const MAX_RECENT: usize = 1024;

/// The numbers of calls whose callers gave up last, for handlers that ask.
#[derive(Debug, Default)]
pub(super) struct Recent {
    numbers: BTreeSet<u64>,
    order: VecDeque<u64>,
}

impl Recent {
    fn add(&mut self, number: u64) {
        if !self.numbers.insert(number) {
            return;
        }
        self.order.push_back(number);
        if self.order.len() > MAX_RECENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.numbers.remove(&oldest);
        }
    }

    pub(super) fn has(&self, number: u64) -> bool {
        self.numbers.contains(&number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_thousand_are_remembered_however_often_they_come() {
        let mut recent = Recent::default();
        for number in 0..5000 {
            recent.add(number);
            recent.add(number);
        }
        assert!(recent.has(4999) && recent.has(4999 - 1023) && !recent.has(4999 - 1024));
        assert_eq!((recent.numbers.len(), recent.order.len()), (MAX_RECENT, MAX_RECENT));
    }
}
