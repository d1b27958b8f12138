//! Sessions as the simulation models them: dials, ups and downs, heartbeats and silence.

use super::*;
use crate::machine::dialer::MAX_DIALS;

impl World {
    pub(super) fn dial(&mut self, from: usize, target: Target) {
        let to = index(target.node().unwrap());
        let (seed, life) = (self.seed, self.nodes[from].life);
        assert_ne!(from, to, "seed {seed}: a node dials itself");
        assert_eq!(self.end(from, to).session, 0, "seed {seed}: a dial of what is connected");
        assert!(self.nodes[from].dialling.insert(target.clone()), "seed {seed}: two dials of one target");
        assert!(self.nodes[from].dialling.len() <= MAX_DIALS, "seed {seed}: too many dials");
        self.dials += 1;
        self.bytes.dial(from, to);
        let there_and_back = 4 * self.latency();
        let open = self.net.reaches(from, to) && self.net.reaches(to, from);
        let delay = if open { there_and_back } else { self.net.connect_timeout };
        self.after(delay, Event::Dialled { from, life, target, to });
    }

    pub(super) fn dialled(&mut self, from: usize, target: Target, to: usize) {
        self.nodes[from].dialling.remove(&target);
        let open = self.net.reaches(from, to) && self.net.reaches(to, from);
        if !open || !self.nodes[to].alive || self.is_frozen(to) {
            let outcome = DialOutcome::Failed;
            return self.give(from, Input::DialEnded { target, outcome });
        }
        let peer = self.nodes[to].id.clone();
        self.give(from, Input::DialAnswered { target, peer });
        if *self.pair(from, to) != 0 {
            return; // a duplicate
        }
        // What an end has left of an earlier session is replaced.
        for (at, peer) in [(from, to), (to, from)] {
            self.down(at, peer, NodeDownReason::ConnectionClosed);
        }
        let session = self.next_session;
        self.next_session += 1;
        *self.pair(from, to) = session;
        for (at, peer) in [(from, to), (to, from)] {
            let View { count, digest } = self.nodes[peer].membership.view();
            let delay = self.latency();
            self.after(delay, Event::Up { at, peer, session, count, digest });
        }
    }

    pub(super) fn is_frozen(&self, at: usize) -> bool {
        self.nodes[at].frozen_until > self.now
    }

    pub(super) fn up(&mut self, at: usize, peer: usize, session: u32, view: View) {
        if *self.pair(at, peer) != session || !self.nodes[at].alive {
            return;
        }
        let now = u32::try_from(self.now).unwrap();
        let end = self.end_mut(at, peer);
        assert_eq!(end.session, 0, "two sessions of one pair");
        *end = End { session, last_heard: now };
        let (peer, life) = (self.nodes[peer].id.clone(), self.nodes[peer].life);
        self.give(at, Input::SessionUp { peer, incarnation: Incarnation(life), view });
    }

    /// An end gives its session up; false if it has none.
    pub(super) fn down(&mut self, at: usize, peer: usize, reason: NodeDownReason) -> bool {
        if self.end(at, peer).session == 0 {
            return false;
        }
        self.end_mut(at, peer).session = 0;
        let id = self.nodes[peer].id.clone();
        let incarnation = self.nodes[at].membership.members()[&id].incarnation;
        self.give(at, Input::SessionDown { peer: id, incarnation, reason });
        true
    }

    /// An end closes a session: the other one hears of it, if anything gets there.
    pub(super) fn close(&mut self, at: usize, peer: usize, reason: NodeDownReason) {
        let session = std::mem::take(self.pair(at, peer));
        if self.down(at, peer, reason) && self.net.reaches(at, peer) {
            let delay = self.latency();
            self.after(delay, Event::Closed { at: peer, peer: at, session });
        }
    }

    pub(super) fn beat(&mut self, at: usize, life: u64) {
        let interval = self.interval();
        self.after(interval, Event::Beat { at, life });
        if self.is_frozen(at) {
            return;
        }
        let view = self.nodes[at].membership.view();
        let (now, id) = (u32::try_from(self.now).unwrap(), self.nodes[at].id.clone());
        for peer in 0..self.nodes.len() {
            if self.end(at, peer).session == 0 {
                continue;
            }
            self.bytes.heartbeat(at);
            if self.net.reaches(at, peer) && self.nodes[peer].alive && !self.is_frozen(peer) {
                let late = self.net.lateness(&mut self.dice);
                let end = self.end_mut(peer, at);
                if end.session != 0 {
                    end.last_heard = end.last_heard.max(now + late);
                    let (peer_id, load) = (id.clone(), Load::default());
                    self.give(peer, Input::HeartbeatReceived { peer: peer_id, load, view });
                }
            }
            let heard = u64::from(self.end(at, peer).last_heard);
            if self.end(at, peer).session != 0 && self.now.saturating_sub(heard) > self.silence() {
                self.close(at, peer, NodeDownReason::HeartbeatTimeout);
            }
        }
    }
}
