//! Waiting for room in a full mailbox.

use std::{
    sync::atomic::Ordering,
    task::{Context, Poll, Waker},
};

use super::{Mailbox, Queue, line::Ticket};
use crate::{Behavior, process::Urgent};

impl<B: Behavior> Mailbox<B> {
    /// Waits until there is room, or the process is gone.
    pub(crate) fn poll_room(&self, ticket: &mut Ticket, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut queue = self.queue.lock();
        let ready =
            !queue.open || queue.pushed - self.handled.load(Ordering::Acquire) < u64::from(self.capacity);
        let leftover = if ready {
            queue.line.as_mut().and_then(|line| line.give_up(ticket).1)
        } else {
            // The consumer may miss this for the messages that it took out already; it looks again, under the lock, before
            // it takes out more.
            self.alert.store(true, Ordering::Release);
            queue.line.get_or_insert_default().wait(ticket, waker)
        };
        drop(queue);
        drop(leftover);
        if ready { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Found room, with its turn or without.
    pub(crate) fn use_room(&self, ticket: &mut Ticket) {
        let _leftover = self.queue.lock().line.as_mut().map(|line| line.give_up(ticket));
    }

    /// Does not wait any more; a turn that was given and is not used goes to the next.
    pub(crate) fn leave_room(&self, ticket: &mut Ticket) {
        let (next, _leftover) = {
            let mut queue = self.queue.lock();
            let Some(line) = &mut queue.line else { return };
            let (waited, leftover) = line.give_up(ticket);
            (if waited { None } else { line.first() }, leftover)
        };
        if let Some(next) = next {
            next.wake();
        }
    }

    /// A message was taken out while somebody waits for room.
    #[cold]
    pub(super) fn made_room(&self) {
        let woken = self.roomy(&mut self.queue.lock());
        woken.into_iter().for_each(Waker::wake);
    }

    /// Those who wait and for whom there is room.
    pub(super) fn roomy(&self, queue: &mut Queue<B>) -> Vec<Waker> {
        let len = queue.pushed - self.handled.load(Ordering::Acquire);
        let Some(line) = &mut queue.line else { return Vec::new() };
        let mut woken = Vec::new();
        while len + u64::try_from(woken.len()).unwrap_or(u64::MAX) < u64::from(self.capacity)
            && let Some(waker) = line.first()
        {
            woken.push(waker);
        }
        // Under the lock, under which it is set by whoever interrupts the process.
        if line.is_empty() && self.core.urgent() == Urgent::Nothing {
            self.alert.store(false, Ordering::Release);
        }
        woken
    }
}
