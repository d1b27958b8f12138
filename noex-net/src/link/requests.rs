//! Requests of this node that wait for their response on one connection, and processes of this node that wait to be
//! confirmed by the peer that asked for them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use noex_actors::{__private::contained, AnyRef, CallError, Delivery, NodeId, Pid, process::Process};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::wire::control::Response;

/// Most processes of one peer that wait to be confirmed.
const MAX_UNCONFIRMED: usize = 10_000;

/// Why a request has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestError {
    NotSent,
    ConnectionLost,
    Timeout,
}

impl RequestError {
    /// Of a question to a node about a process, which was waited for `after`.
    pub(crate) fn into_call_error(self, node: NodeId, pid: Pid, after: Duration) -> CallError {
        match self {
            Self::NotSent => CallError::NoConnection(node),
            Self::ConnectionLost => CallError::ConnectionLost(node),
            Self::Timeout => CallError::Timeout { pid, after, delivery: Delivery::Unknown },
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Requests(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    next: u64,
    waiting: BTreeMap<u64, oneshot::Sender<Response>>,
    /// With the look at which each is given up.
    unconfirmed: BTreeMap<u64, (AnyRef, u64)>,
    /// By the number of the process.
    held: BTreeMap<u64, u64>,
    /// How often was looked for those that nobody confirmed.
    looks: u64,
    /// Somebody comes back for them.
    swept: bool,
    closed: bool,
}

impl Requests {
    /// A number for a request; `None` when the session is over.
    pub(crate) fn open(&self) -> Option<(u64, oneshot::Receiver<Response>)> {
        let mut table = self.0.lock();
        if table.closed {
            return None;
        }
        let id = table.next;
        table.next += 1;
        let (answer, response) = oneshot::channel();
        table.waiting.insert(id, answer);
        Some((id, response))
    }

    /// The response came. False if nobody waits for it.
    pub(crate) fn answer(&self, id: u64, response: Response) -> bool {
        let waiting = self.0.lock().waiting.remove(&id);
        // Whom it wakes may be code of a user.
        let mut taken = false;
        contained(|| taken = waiting.is_some_and(|answer| answer.send(response).is_ok()));
        taken
    }

    pub(crate) fn give_up(&self, id: u64) {
        let waiting = self.0.lock().waiting.remove(&id);
        drop(waiting);
    }

    /// A process that the peer asked for, which may wait at so many looks after the next; gives it back if the session is
    /// over, or too many wait. True: somebody must call [`Requests::overdue`] from now on.
    pub(crate) fn hold(&self, id: u64, process: AnyRef, looks: u64) -> Result<bool, AnyRef> {
        let mut table = self.0.lock();
        if table.closed || table.unconfirmed.len() >= MAX_UNCONFIRMED {
            return Err(process);
        }
        table.held.insert(process.pid().number(), id);
        let until = table.looks + 1 + looks;
        let repeated = table.unconfirmed.insert(id, (process, until));
        if let Some((before, _)) = &repeated {
            table.held.remove(&before.pid().number());
        }
        let first = !std::mem::replace(&mut table.swept, true);
        drop(table);
        // A number that is used twice: the one before goes.
        if let Some((before, _)) = repeated {
            before.kill();
        }
        Ok(first)
    }

    /// Looks for those that nobody confirmed in time; false if none is left to come back for.
    pub(crate) fn overdue(&self) -> (Vec<AnyRef>, bool) {
        let mut table = self.0.lock();
        table.looks += 1;
        let look = table.looks;
        let all = std::mem::take(&mut table.unconfirmed);
        let (late, waiting): (BTreeMap<_, _>, _) =
            all.into_iter().partition(|(_, (_, until))| *until <= look);
        table.unconfirmed = waiting;
        for (process, _) in late.values() {
            table.held.remove(&process.pid().number());
        }
        table.swept = !table.unconfirmed.is_empty();
        (late.into_values().map(|(process, _)| process).collect(), table.swept)
    }

    /// Takes a process that was not confirmed yet.
    pub(crate) fn take(&self, id: u64) -> Option<AnyRef> {
        let mut table = self.0.lock();
        let (process, _) = table.unconfirmed.remove(&id)?;
        table.held.remove(&process.pid().number());
        Some(process)
    }

    /// The process of that number, if it was not confirmed yet; it may have ended.
    pub(crate) fn held(&self, number: u64) -> Option<Arc<dyn Process>> {
        let table = self.0.lock();
        let (process, _) = table.unconfirmed.get(table.held.get(&number)?)?;
        process.process().cloned()
    }

    /// The session is over: nobody waits any more. Returns the processes that nobody confirmed.
    pub(crate) fn close(&self) -> Vec<AnyRef> {
        let (waiting, unconfirmed) = {
            let mut table = self.0.lock();
            table.closed = true;
            table.held.clear();
            (std::mem::take(&mut table.waiting), std::mem::take(&mut table.unconfirmed))
        };
        contained(|| drop(waiting));
        unconfirmed.into_values().map(|(process, _)| process).collect()
    }
}
