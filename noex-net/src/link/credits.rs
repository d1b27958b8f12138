//! Credits, at the receiving end: what a peer has waiting for the processes of this node, and the marks among it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use super::{Broken, Inbound, Link};
use crate::machine::credits::{Ledger, MAX_MARKS, Mark, most};

/// Ledgers are looked through for those of processes that are gone when there are twice as many as were left the last time, and
/// this many.
const FEW: usize = 1024;

/// What a peer sent to one process.
#[derive(Debug)]
pub(super) struct Account {
    ledger: Ledger,
    handled: Arc<Handled>,
}

/// How far the process has come.
#[derive(Debug, Default)]
struct Handled {
    position: AtomicU64,
    marks: AtomicU32,
}

impl Account {
    /// A message came. False: more than may wait, as far as is known.
    #[inline]
    pub(super) fn receive(&mut self, bytes: usize) -> bool {
        self.ledger.receive(bytes)
    }

    /// Looks how far the process has come, and whether it is too much nevertheless.
    #[cold]
    pub(super) fn look(&mut self, link: &Link, overdrawn: &mut bool) {
        let handled = self.handled.position.load(Ordering::Acquire);
        *overdrawn |= !self.ledger.allow(handled, link.most_waiting());
    }

    fn is_settled(&self) -> bool {
        self.ledger.received() == self.handled.position.load(Ordering::Acquire)
    }
}

/// Accounts of processes to which the peer did not send lately.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    resting: BTreeMap<u64, Account>,
    /// How many were left when they were looked through.
    left: usize,
}

impl Accounts {
    /// That of this process.
    pub(super) fn open(&mut self, number: u64, link: &Link) -> Account {
        self.resting
            .remove(&number)
            .unwrap_or_else(|| Account { ledger: Ledger::new(link.most_waiting()), handled: Arc::default() })
    }

    /// Keeps it, unless nothing of it waits.
    pub(super) fn rest(&mut self, number: u64, account: Account, link: &Link) {
        if account.is_settled() {
            return;
        }
        self.resting.insert(number, account);
        if self.resting.len() > FEW.max(2 * self.left) {
            let node = &link.net.node;
            self.resting
                .retain(|number, account| !account.is_settled() && node.process_by_number(*number).is_some());
            self.left = self.resting.len();
        }
    }
}

/// A mark in a mailbox. It comes back as a credit, whatever becomes of it.
struct Due {
    link: Arc<Link>,
    mark: Mark,
    /// Of a process that lives: what was received before the mark.
    of: Option<(u64, Arc<Handled>)>,
}

impl Drop for Due {
    fn drop(&mut self) {
        if let Some((received, handled)) = &self.of {
            handled.position.fetch_max(*received, Ordering::AcqRel);
            handled.marks.fetch_sub(1, Ordering::AcqRel);
        }
        self.link.give_credit(self.mark);
    }
}

impl Link {
    /// The most that the peer may have waiting for one process.
    fn most_waiting(&self) -> u64 {
        most(self.net.config.credit_bytes(), self.net.config.max_message_bytes())
    }

    fn give_credit(&self, mark: Mark) {
        self.vitals.credits_sent.one();
        self.outbox.append_credit(mark);
        self.must_read();
    }
}

impl Inbound {
    /// A mark of the peer. What came before it is queued.
    pub(super) fn mark(&mut self, mark: Mark) -> Result<(), Broken> {
        let link = Arc::clone(&self.link);
        let Some(known) = self.known(mark.target) else {
            drop(Due { link, mark, of: None });
            return Ok(());
        };
        let Account { ledger, handled } = &known.account;
        if handled.marks.fetch_add(1, Ordering::AcqRel) >= MAX_MARKS {
            return Err(Broken::Marks);
        }
        let of = Some((ledger.received(), Arc::clone(handled)));
        known.intake.process().mark(Box::new(Due { link, mark, of }));
        Ok(())
    }

    /// A credit of the peer.
    pub(super) fn credit(&self, credit: Mark) -> Result<(), Broken> {
        self.link.vitals.credits_received.one();
        self.link.outbox.credit_returned(credit).map_err(|_forged| Broken::ForgedCredit)
    }
}
