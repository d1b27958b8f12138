//! Who waits for room in a full mailbox, in the order in which they came.
//!
//! Invariants: 1. each place that becomes free wakes one who waits; 2. whoever is woken and goes away without using the
//! place passes the word on (the mailbox does, in `leave_room`).

use std::{collections::BTreeMap, task::Waker};

/// Those who wait. Nothing is allocated where nobody does. It lives under the lock of its mailbox: wakers, which may run code
/// of a user, are handed out, to be woken or dropped without the lock.
#[derive(Debug, Default)]
pub(crate) struct Line {
    waiting: BTreeMap<u64, Waker>,
    next: u64,
}

/// The turn of one who waits.
#[derive(Debug, Default)]
pub(crate) struct Ticket(Option<u64>);

impl Line {
    /// Waits on: a ticket keeps its place, a new one goes to the end. Gives the waker that it had before.
    pub(crate) fn wait(&mut self, ticket: &mut Ticket, waker: Waker) -> Option<Waker> {
        let number = *ticket.0.get_or_insert(self.next);
        self.next = self.next.max(number + 1);
        self.waiting.insert(number, waker)
    }

    /// Whoever waits longest, to be woken.
    pub(crate) fn first(&mut self) -> Option<Waker> {
        self.waiting.pop_first().map(|(_, waker)| waker)
    }

    /// True if the ticket was still waiting, or never did: then nobody was woken for it. With the waker that it had.
    pub(crate) fn give_up(&mut self, ticket: &mut Ticket) -> (bool, Option<Waker>) {
        let Some(number) = ticket.0.take() else { return (true, None) };
        let waker = self.waiting.remove(&number);
        (waker.is_some(), waker)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn take(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.waiting).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_taken_in_order_and_kept_while_waiting() {
        let (mut line, mut one, mut two) = (Line::default(), Ticket::default(), Ticket::default());
        let noop = || Waker::noop().clone();
        assert!(line.wait(&mut one, noop()).is_none() && line.wait(&mut two, noop()).is_none());
        assert!(line.wait(&mut one, noop()).is_some(), "its place has one waker");
        assert!(line.first().is_some());
        assert!(!line.give_up(&mut one).0, "the first was woken");
        assert!(line.give_up(&mut two).0 && line.is_empty() && line.first().is_none());
    }

    #[test]
    fn whoever_never_waited_gives_up_nothing() {
        assert!(Line::default().give_up(&mut Ticket::default()).0);
    }
}
