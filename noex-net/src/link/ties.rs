//! Links between processes of this node and of the peer, as one connection performs them.
//!
//! The ends stand in the tables of their processes; here stands what must break when the session ends. Invariants: 1. an end in
//! the table of a process, the pair here, and what the peer is told of both change in one step, under one lock, but for the
//! end of a process and of the session, which take every end away first; 2. at the end
//! of the session every near end of a pair that stands here is broken, once, with `NoConnection`.

use std::sync::Arc;

use noex_actors::{ExitReason, Pid, process::Process};
use parking_lot::Mutex;

use super::{
    Link,
    broken::{Broken, room_for_signals},
};
use crate::{
    machine::links::{Links, Pair, Wish},
    wire::{control::Control, order::Place},
};

/// Most links between two nodes.
const MAX_LINKS: usize = 1_000_000;

#[derive(Debug)]
pub(crate) struct Ties(Mutex<Links>);

impl Ties {
    /// `numbered`: the peer answers `Unlink`s.
    pub(super) fn new(numbered: bool) -> Self {
        Self(Mutex::new(Links::new(numbered, MAX_LINKS)))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// The session is over: what must break.
    pub(super) fn close(&self) -> Vec<Pair> {
        self.0.lock().close()
    }
}

/// What processes of this node do.
impl Link {
    /// True: it is new; the peer is told. `None` if the session is over, or there are too many.
    pub(crate) fn link_to_peer(&self, process: &Arc<dyn Process>, far: &Pid) -> Option<bool> {
        let pair = (process.core().pid().number(), far.number());
        let mut links = self.ties.0.lock();
        if !links.has_room(pair) {
            return None;
        }
        if !self.net.node.add_link_end(process, far) {
            // It is gone: the other end hears of that.
            let (from, to) = pair;
            self.control(&Control::Exit { from, to, reason: ExitReason::NoProc });
            return Some(false);
        }
        let fresh = links.link(pair);
        if fresh {
            self.net.counters.links_established.one();
            self.control(&Control::Link { from: pair.0, to: pair.1 });
        }
        Some(fresh)
    }

    pub(crate) fn unlink_from_here(&self, process: &Arc<dyn Process>, far: &Pid) {
        let pair = (process.core().pid().number(), far.number());
        let mut links = self.ties.0.lock();
        // A process whose end is not there has ended, and says so.
        if self.net.node.remove_link_end(process, far)
            && let Some(number) = links.unlink(pair)
        {
            self.net.counters.links_unlinked.one();
            self.control(&Control::Unlink { from: pair.0, to: pair.1, number });
        }
    }

    pub(crate) fn break_to_peer(&self, near: u64, far: u64, reason: &ExitReason) {
        let mut links = self.ties.0.lock();
        if links.broken((near, far)) {
            self.net.counters.exits_sent.one();
            self.control(&Control::Broken { from: near, to: far, reason: reason.clone() });
        }
    }
}

/// What the peer says of links.
impl Link {
    /// A process of the peer links itself to one of this node.
    pub(super) fn link_from_peer(&self, far: u64, near: u64) -> Result<(), Broken> {
        let held = self.requests.held(near);
        let process = self.addressable(near).or_else(|| held.clone());
        // Its end will be a signal.
        process.as_ref().map_or(Ok(()), |process| room_for_signals(&**process))?;
        let mut links = self.ties.0.lock();
        let reason = match links.wish((near, far)) {
            Wish::Settled => return Ok(()),
            Wish::Refused => ExitReason::NoConnection,
            Wish::Fresh => {
                if process.is_some_and(|process| self.net.node.add_link_end(&process, &self.far(far))) {
                    links.link((near, far));
                    self.net.counters.links_established.one();
                    return Ok(());
                }
                held.as_ref().and_then(|process| process.core().over()).unwrap_or(ExitReason::NoProc)
            }
        };
        self.net.counters.exits_sent.one();
        // Of one that ended, behind its last words. One that lives may link itself next: that must not pass this.
        let place = if held.is_some() { Place::Last } else { Place::Target(far) };
        self.control_at(place, &Control::Broken { from: near, to: far, reason });
        Ok(())
    }

    /// A process of the peer takes its link away. 0: it waits for no answer.
    pub(super) fn unlink_from_peer(&self, far: u64, near: u64, number: u64) {
        let mut links = self.ties.0.lock();
        if links.broken((near, far))
            && let Some(process) = self.net.node.process_by_number(near)
        {
            self.net.node.remove_link_end(&process, &self.far(far));
        }
        if number != 0 {
            self.control(&Control::Unlinked { from: near, to: far, number });
        }
    }

    /// A process of the peer knows that one of this node took its link away.
    pub(super) fn unlinked_by_peer(&self, far: u64, near: u64, number: u64) {
        self.ties.0.lock().unlinked((near, far), number);
    }

    /// A process of the peer that was linked to one of this node is gone.
    pub(super) fn broken_by_peer(&self, far: u64, near: u64, reason: &ExitReason) -> Result<(), Broken> {
        let (node, far_end) = (&self.net.node, self.far(far));
        let mut links = self.ties.0.lock();
        if !links.broken((near, far)) {
            return Ok(());
        }
        self.net.counters.exits_received.one();
        let process = node.process_by_number(near).filter(|process| node.remove_link_end(process, &far_end));
        drop(links);
        let Some(process) = process else { return Ok(()) };
        node.end_of_link(&process, &far_end, reason);
        // Told all the same: it was linked.
        room_for_signals(&*process)
    }
}
