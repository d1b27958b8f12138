//! Credits: how much may be sent to one process of a peer that has not handled what was sent to it before.
//!
//! ```text
//! sender                                       receiver
//!   | messages, and a mark each half window --->  |  queues the mark behind them
//!   | <---                 credit, so far         |  the process has come to the mark, or is gone
//! ```
//! The sender counts for each target what it sent, and how far credits came back. A receiver needs to know nothing of that to
//! answer: a credit repeats the position of its mark. It counts for itself, only to find out who sends beyond its window.
//!
//! Invariants: 1. beyond the window nothing is sent but two more messages: whoever calls and waits for the reply is never refused;
//! 2. whoever is refused has a mark under way, so the credit comes; 3. of a target whose messages are all handled nothing is
//! kept, once others need the place.

use std::{collections::BTreeMap, ops::Bound};

use slab::Slab;

/// What the shortest message counts as: about what it costs where it waits.
pub(crate) const LEAST: u64 = 512;
/// Targets of which nobody asks whether they are done.
const KEPT: usize = 1024;
/// Places in which the account of a target is looked for first.
const NEAR: usize = 256;
/// Marks of one sender that may wait in one mailbox: each half window, the last two messages, and one for the place.
pub(crate) const MAX_MARKS: u32 = 8;

/// What a message of so many bytes counts as.
#[inline]
pub(crate) fn cost(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX).max(LEAST)
}

/// What is sent behind the messages of a target, as soon as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) target: u64,
    pub(crate) position: u64,
}

/// A credit for what was never marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forged;

/// Of one target. Positions count from the beginning of the session, and never twice.
#[derive(Clone, Copy, Debug)]
struct Account {
    target: u64,
    sent: u64,
    /// The same without the last message.
    before_last: u64,
    marked: u64,
    returned: u64,
    /// Something was refused since the last credit.
    refused: bool,
}

/// The credits of a sender, on one connection.
#[derive(Debug, Default)]
pub(crate) struct Credits {
    /// What the peer grants for each target; 0: it does not count.
    window: u64,
    accounts: Slab<Account>,
    index: BTreeMap<u64, usize>,
    /// Where the account of a number may be.
    near: Vec<usize>,
    /// The target that was asked last whether it is done.
    hand: u64,
    /// Where new accounts begin: beyond all that were closed.
    base: u64,
    /// Messages refused.
    refused: u64,
    marks: u64,
}

impl Credits {
    /// The peer grants so much for each target.
    pub(crate) fn grant(&mut self, window: u64) {
        self.window = window;
        self.near = vec![0; NEAR];
    }

    #[inline]
    fn find(&mut self, target: u64) -> Option<usize> {
        let near = self.near.get_mut(usize::try_from(target).unwrap_or(usize::MAX) % NEAR)?;
        if self.accounts.get(*near).is_none_or(|account| account.target != target) {
            *near = *self.index.get(&target)?;
        }
        Some(*near)
    }

    /// Whether a message to this target may be sent.
    #[inline]
    pub(crate) fn admit(&mut self, target: u64) -> bool {
        let Some(at) = self.find(target) else { return true };
        let account = &self.accounts[at];
        account.before_last - account.returned < self.window
    }

    /// A message was not admitted. True if that is news: there was a credit since the last one.
    pub(crate) fn refuse(&mut self, target: u64) -> bool {
        self.refused += 1;
        let Some(at) = self.find(target) else { return false };
        !std::mem::replace(&mut self.accounts[at].refused, true)
    }

    /// As `admit`, for one who waits otherwise: the next credit is news.
    pub(crate) fn awaits(&mut self, target: u64) -> bool {
        let admitted = self.admit(target);
        if !admitted && let Some(at) = self.find(target) {
            self.accounts[at].refused = true;
        }
        admitted
    }

    /// A message of so many bytes is sent. Calls `mark` for what is to be marked.
    #[inline]
    pub(crate) fn charge(&mut self, target: u64, bytes: usize, mark: &mut dyn FnMut(Mark)) {
        if self.window == 0 {
            return;
        }
        let at = match self.find(target) {
            Some(at) => at,
            None => self.open(target, mark),
        };
        let account = &mut self.accounts[at];
        account.before_last = account.sent;
        account.sent += cost(bytes);
        if account.sent - account.marked >= (self.window / 2).max(1) {
            account.marked = account.sent;
            self.marks += 1;
            mark(Mark { target, position: account.sent });
        }
    }

    /// A new account. Two others are asked for their place: so there are never many more than are in use.
    #[cold]
    fn open(&mut self, target: u64, mark: &mut dyn FnMut(Mark)) -> usize {
        for _ in 0..if self.accounts.len() < KEPT { 0 } else { 2 } {
            let beyond = self.index.range((Bound::Excluded(self.hand), Bound::Unbounded)).next();
            let Some((&next, &at)) = beyond.or_else(|| self.index.first_key_value()) else { break };
            self.hand = next;
            if let Some(account) = self.accounts.get_mut(at)
                && account.marked == account.returned
            {
                account.marked = account.sent;
                self.marks += 1;
                mark(Mark { target: account.target, position: account.sent });
            }
        }
        let base = self.base;
        let account =
            Account { target, sent: base, before_last: base, marked: base, returned: base, refused: false };
        let at = self.accounts.insert(account);
        self.index.insert(target, at);
        at
    }

    /// A credit came. True if somebody may wait for it.
    ///
    /// # Errors
    /// [`Forged`].
    pub(crate) fn returned(&mut self, Mark { target, position }: Mark) -> Result<bool, Forged> {
        let Some(at) = self.find(target) else {
            // Of a process that is gone: its marks may come back in any order.
            return if position <= self.base { Ok(false) } else { Err(Forged) };
        };
        let account = &mut self.accounts[at];
        if position <= account.returned {
            return Ok(false);
        }
        if position > account.marked {
            return Err(Forged);
        }
        account.returned = position;
        account.before_last = account.before_last.max(position);
        let refused = std::mem::take(&mut account.refused);
        if account.returned == account.sent {
            self.base = self.base.max(account.sent);
            self.accounts.remove(at);
            self.index.remove(&target);
        }
        Ok(refused)
    }

    pub(crate) fn figures(&self) -> Figures {
        Figures {
            targets: self.accounts.len(),
            unreturned: self.accounts.iter().map(|(_, account)| account.sent - account.returned).sum(),
            refused: self.refused,
            marks: self.marks,
        }
    }
}

/// How much of the credits of a session is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) targets: usize,
    pub(crate) unreturned: u64,
    pub(crate) refused: u64,
    pub(crate) marks: u64,
}

/// What a receiver counts of one sender for one process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ledger {
    received: u64,
    allowed: u64,
}

impl Ledger {
    /// `most`: what may wait.
    pub(crate) fn new(most: u64) -> Self {
        Self { received: 0, allowed: most }
    }

    /// A message came. False: beyond what was allowed when that was looked at last.
    #[inline]
    pub(crate) fn receive(&mut self, bytes: usize) -> bool {
        self.received += cost(bytes);
        self.received <= self.allowed
    }

    /// So far it was handled. False: it is too much nevertheless.
    pub(crate) fn allow(&mut self, handled: u64, most: u64) -> bool {
        self.allowed = handled.saturating_add(most);
        self.received <= self.allowed
    }

    pub(crate) fn received(&self) -> u64 {
        self.received
    }
}

/// The most that a sender that keeps to its credit may have waiting for one process: the window, and the two messages beyond it.
pub(crate) fn most(window: usize, max_message: usize) -> u64 {
    let sum = window.saturating_add(max_message.saturating_mul(2));
    u64::try_from(sum).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
