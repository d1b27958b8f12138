//! Sessions: decides which of the connections to a peer is the one that counts.
//!
//! The end with the bytewise smaller id is the pair's arbiter. It alone welcomes, and it alone closes duplicates.
//!
//! | Fact, at the arbiter | Effect |
//! |---|---|
//! | authenticated, none there | welcome it |
//! | authenticated, same life there | ping both; the one there answers: the newcomer is a duplicate; only the newcomer does: the old one ends, the newcomer is welcomed; neither: ask again |
//! | authenticated, earlier life there | the old one ends, the newcomer is welcomed |
//! | authenticated, later life there | ping both; the one there answers: the newcomer is superseded; otherwise as above |
//!
//! A silent connection alone proves nothing: of a cut, all connections fall silent, and how long that may last is for
//! the heartbeats to say.
//!
//! The other end waits for a welcome, on whichever connection it comes; if an older session stands, that one ends
//! first. It, too, refuses an earlier life while a later one answers.
//!
//! ```text
//! Waiting ── welcome sent or accepted ──► Current ── first heartbeat ──► Up
//!    └──────────────┬─────────────────────────┴──────────────────────────┘
//!                Closing ── Closed ──► gone (Down if it was up)
//! ```
//!
//! Invariants: 1. per peer at most one connection is current, and the next one becomes it only after the
//! `Closed` of the last (its reader has handed over its last batch); 2. `SessionUp` and `SessionDown` of a peer
//! alternate; 3. every connection that is not up has a deadline, or waits for one that has.
//!
//! The shell answers pings itself, reports `Closed` once for every connection that it reported `Authenticated`,
//! whoever closed it, and nothing about it afterwards.

mod fact;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use noex_actors::{Incarnation, Monotonic, NodeDownReason, NodeId};

pub(crate) use self::fact::{CloseReason, ConnId, Input, Output};

/// How many connections of one peer may wait; a peer that opens more is broken.
const MAX_WAITING: usize = 8;
/// How many goodbyes are remembered.
const MAX_LEFT: usize = 1024;

#[derive(Debug)]
struct Conn {
    peer: NodeId,
    incarnation: Incarnation,
    state: State,
    welcomed: bool,
    heartbeat: bool,
    /// By when it must have come further.
    deadline: Option<Monotonic>,
    /// Only an answer to a ping with at least this nonce says that the current one is alive today.
    judged_from: u64,
    /// As a newcomer it has answered a ping: it is alive, whatever the current one is.
    answered: bool,
    down: Option<NodeDownReason>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Current,
    Up,
    Closing { was_up: bool },
}

#[derive(Debug, Default)]
struct Peer {
    /// Current, up, or closing after it was one of them.
    current: Option<ConnId>,
    /// Newcomers, in order of arrival.
    waiting: Vec<ConnId>,
    ping: Option<Ping>,
}

#[derive(Clone, Copy, Debug)]
struct Ping {
    nonce: u64,
    deadline: Monotonic,
}

/// The sessions of one node with all its peers.
#[derive(Debug)]
pub(crate) struct Sessions {
    local: NodeId,
    ping_wait: Duration,
    welcome_wait: Duration,
    next_nonce: u64,
    peers: BTreeMap<NodeId, Peer>,
    conns: BTreeMap<ConnId, Conn>,
    /// Lives that said goodbye: none of their connections becomes a session any more.
    left: BTreeMap<NodeId, Incarnation>,
}

impl Sessions {
    /// Waits for pongs one heartbeat interval, 1 s at most, and for welcomes as long as for a handshake.
    pub(crate) fn new(local: NodeId, heartbeat_interval: Duration, handshake_timeout: Duration) -> Self {
        let ping_wait = heartbeat_interval.min(Duration::from_secs(1));
        Self {
            local,
            ping_wait,
            // The arbiter may need two pings before it welcomes.
            welcome_wait: handshake_timeout.max(ping_wait.saturating_mul(4)),
            next_nonce: 0,
            peers: BTreeMap::new(),
            conns: BTreeMap::new(),
            left: BTreeMap::new(),
        }
    }

    /// The connection of the session that is up with a peer.
    #[cfg(test)]
    pub(crate) fn session(&self, peer: &NodeId) -> Option<ConnId> {
        let conn = self.peers.get(peer)?.current?;
        self.conns.get(&conn).filter(|found| found.state == State::Up).map(|_| conn)
    }

    /// Whether any connection to the peer exists, up or on its way: then it need not be dialled.
    #[cfg(test)]
    pub(crate) fn has_connection(&self, peer: &NodeId) -> bool {
        self.peers.contains_key(peer)
    }

    /// When [`Input::DeadlineReached`] is due.
    pub(crate) fn deadline(&self) -> Option<Monotonic> {
        let pings = self.peers.values().filter_map(|peer| peer.ping.map(|ping| ping.deadline));
        pings.chain(self.conns.values().filter_map(|conn| conn.deadline)).min()
    }

    /// Takes a fact.
    pub(crate) fn handle(&mut self, input: Input, now: Monotonic, out: &mut VecDeque<Output>) {
        match input {
            Input::Authenticated { conn, peer, incarnation } => {
                self.authenticated(conn, peer, incarnation, now, out);
            }
            Input::WelcomeReceived { conn } => {
                let Some(found) = self.conns.get_mut(&conn) else { return };
                // Only the arbiter welcomes: one that comes to it is nothing.
                if self.local > found.peer && !found.welcomed {
                    found.welcomed = true;
                    let peer = found.peer.clone();
                    self.settle(&peer, now, out);
                }
            }
            Input::FirstHeartbeat { conn } => {
                let Some(found) = self.conns.get_mut(&conn) else { return };
                found.heartbeat = true;
                self.up(conn, out);
            }
            Input::PongReceived { conn, nonce } => self.pong(conn, nonce, now, out),
            Input::GoodbyeReceived { conn } => {
                self.note(conn, NodeDownReason::GracefulShutdown);
                self.goodbye(conn, out);
            }
            Input::TimedOut { conn } => {
                self.note(conn, NodeDownReason::HeartbeatTimeout);
                self.close(conn, CloseReason::HeartbeatTimeout, out);
            }
            Input::KeyRetired { conn } => self.close(conn, CloseReason::KeyRetired, out),
            Input::Closed { conn, told } => self.closed(conn, told, now, out),
            Input::DeadlineReached => self.deadline_reached(now, out),
        }
    }

    fn authenticated(
        &mut self,
        conn: ConnId,
        peer: NodeId,
        incarnation: Incarnation,
        now: Monotonic,
        out: &mut VecDeque<Output>,
    ) {
        let newcomer = Conn {
            peer: peer.clone(),
            incarnation,
            state: State::Waiting,
            welcomed: false,
            heartbeat: false,
            // The arbiter's newcomers wait for an answer or for the end of the current one, which has a deadline of
            // its own: that of its welcome, or its heartbeats'.
            deadline: (self.local > peer).then(|| now.plus(self.welcome_wait)),
            judged_from: self.next_nonce,
            answered: false,
            down: None,
        };
        self.conns.insert(conn, newcomer);
        let entry = self.peers.entry(peer.clone()).or_default();
        entry.waiting.push(conn);
        if let Some(ping) = entry.ping {
            // It need not wait for the next question.
            out.push_back(Output::SendPing { conn, nonce: ping.nonce });
        }
        let crowded = entry.waiting.len() > MAX_WAITING;
        if crowded || self.left.get(&peer) == Some(&incarnation) {
            self.close(conn, CloseReason::Duplicate, out);
        }
        self.settle(&peer, now, out);
    }

    /// Looks at a peer's connections and does what is due: makes one current, or questions the current one.
    fn settle(&mut self, peer: &NodeId, now: Monotonic, out: &mut VecDeque<Output>) {
        if self.peers.get(peer).is_some_and(|entry| entry.current.is_none()) {
            self.promote(peer, now, out);
        }
        let arbiter = self.local < *peer;
        let Some(entry) = self.peers.get(peer) else { return };
        let Some((current, life)) = entry.current.and_then(|id| Some((id, self.conns.get(&id)?))) else {
            return;
        };
        if matches!(life.state, State::Closing { .. }) {
            return;
        }
        let newcomers = entry.waiting.iter().filter_map(|id| self.conns.get(id));
        let (mut replace, mut ask) = (false, false);
        for newcomer in newcomers {
            match newcomer.incarnation.cmp(&life.incarnation) {
                std::cmp::Ordering::Greater => replace |= arbiter || newcomer.welcomed,
                std::cmp::Ordering::Equal if arbiter => ask = true,
                std::cmp::Ordering::Equal => replace |= newcomer.welcomed,
                std::cmp::Ordering::Less => ask = true,
            }
        }
        if replace {
            self.close(current, CloseReason::Replaced, out);
        } else if ask && entry.ping.is_none() {
            let nonce = self.next_nonce;
            self.next_nonce += 1;
            let Some(entry) = self.peers.get_mut(peer) else { return };
            entry.ping = Some(Ping { nonce, deadline: now.plus(self.ping_wait) });
            let asked = std::iter::once(&current).chain(&entry.waiting);
            out.extend(asked.map(|conn| Output::SendPing { conn: *conn, nonce }));
        }
    }

    /// Makes the best newcomer current: of the latest life, and of those one that has answered, and the last to come.
    fn promote(&mut self, peer: &NodeId, now: Monotonic, out: &mut VecDeque<Output>) {
        let arbiter = self.local < *peer;
        let Some(entry) = self.peers.get_mut(peer) else { return };
        let ready = entry.waiting.iter().filter_map(|id| {
            let conn = self.conns.get(id).filter(|conn| arbiter || conn.welcomed)?;
            Some(((conn.incarnation, conn.answered), *id))
        });
        let Some((_, best)) = ready.max_by_key(|(rank, _)| *rank) else { return };
        entry.waiting.retain(|id| *id != best);
        entry.current = Some(best);
        let Some(conn) = self.conns.get_mut(&best) else { return };
        conn.state = State::Current;
        conn.deadline = Some(now.plus(self.welcome_wait));
        if arbiter {
            out.push_back(Output::SendWelcome { conn: best });
        }
        out.push_back(Output::SendHeartbeat { conn: best });
        self.up(best, out);
    }

    fn up(&mut self, conn: ConnId, out: &mut VecDeque<Output>) {
        let Some(found) = self.conns.get_mut(&conn) else { return };
        if found.state == State::Current && found.heartbeat {
            found.state = State::Up;
            found.deadline = None;
            let (peer, incarnation) = (found.peer.clone(), found.incarnation);
            out.push_back(Output::SessionUp { conn, peer, incarnation });
        }
    }

    /// A connection answered. If it is the current one, newcomers that it outlived are closed.
    ///
    /// A late answer is an answer, too: a line may be slower than the wait for it.
    fn pong(&mut self, conn: ConnId, nonce: u64, now: Monotonic, out: &mut VecDeque<Output>) {
        let Some(found) = self.conns.get_mut(&conn) else { return };
        let (peer, life) = (found.peer.clone(), found.incarnation);
        let arbiter = self.local < peer;
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        if entry.ping.is_none() || nonce >= self.next_nonce {
            return;
        }
        if entry.current != Some(conn) {
            found.answered = true;
            return;
        }
        entry.ping = None;
        let judged: Vec<(ConnId, CloseReason)> = entry
            .waiting
            .iter()
            .filter_map(|id| {
                let newcomer = self.conns.get(id).filter(|newcomer| newcomer.judged_from <= nonce)?;
                match newcomer.incarnation.cmp(&life) {
                    std::cmp::Ordering::Less => Some((*id, CloseReason::Superseded)),
                    std::cmp::Ordering::Equal => arbiter.then_some((*id, CloseReason::Duplicate)),
                    std::cmp::Ordering::Greater => None,
                }
            })
            .collect();
        for (newcomer, reason) in judged {
            self.close(newcomer, reason, out);
        }
        self.settle(&peer, now, out);
    }

    fn note(&mut self, conn: ConnId, reason: NodeDownReason) {
        if let Some(found) = self.conns.get_mut(&conn) {
            found.down.get_or_insert(reason);
        }
    }

    /// A life that leaves leaves as a whole: a connection of it that waits, or comes, would be an up without a reason.
    fn goodbye(&mut self, conn: ConnId, out: &mut VecDeque<Output>) {
        let Some(leaving) = self.conns.get(&conn) else { return };
        let (peer, life) = (leaving.peer.clone(), leaving.incarnation);
        let waiting = self.peers.get(&peer).map(|entry| entry.waiting.clone()).unwrap_or_default();
        for id in waiting {
            if self.conns.get(&id).is_some_and(|found| found.incarnation == life) {
                self.close(id, CloseReason::Duplicate, out);
            }
        }
        if self.left.len() >= MAX_LEFT {
            self.left.pop_first();
        }
        self.left.insert(peer, life);
    }

    fn close(&mut self, conn: ConnId, reason: CloseReason, out: &mut VecDeque<Output>) {
        let Some(found) = self.conns.get_mut(&conn) else { return };
        if matches!(found.state, State::Closing { .. }) {
            return;
        }
        found.state = State::Closing { was_up: found.state == State::Up };
        found.deadline = None;
        if let Some(entry) = self.peers.get_mut(&found.peer) {
            entry.waiting.retain(|id| *id != conn);
            if entry.current == Some(conn) {
                entry.ping = None;
            }
        }
        out.push_back(Output::Close { conn, reason });
    }

    fn closed(
        &mut self,
        conn: ConnId,
        told: Option<CloseReason>,
        now: Monotonic,
        out: &mut VecDeque<Output>,
    ) {
        let Some(gone) = self.conns.remove(&conn) else { return };
        let peer = gone.peer;
        if told == Some(CloseReason::Superseded) {
            out.push_back(Output::SupersededByOther { by: peer.clone() });
        }
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.waiting.retain(|id| *id != conn);
            if entry.current == Some(conn) {
                entry.current = None;
                entry.ping = None;
            }
        }
        if matches!(gone.state, State::Up | State::Closing { was_up: true }) {
            let reason = gone.down.unwrap_or(NodeDownReason::ConnectionClosed);
            let incarnation = gone.incarnation;
            out.push_back(Output::SessionDown { conn, peer: peer.clone(), incarnation, reason });
        }
        self.settle(&peer, now, out);
        if !self.conns.values().any(|conn| conn.peer == peer) {
            self.peers.remove(&peer);
        }
    }

    fn deadline_reached(&mut self, now: Monotonic, out: &mut VecDeque<Output>) {
        let due = |at: Monotonic| at <= now;
        let silent = |peer: &Peer| peer.ping.is_some_and(|ping| due(ping.deadline));
        let silent: Vec<NodeId> =
            self.peers.iter().filter(|(_, peer)| silent(peer)).map(|(id, _)| id.clone()).collect();
        for id in silent {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            peer.ping = None;
            let alive = peer.waiting.iter().any(|id| self.conns.get(id).is_some_and(|conn| conn.answered));
            match peer.current {
                Some(current) if alive => self.close(current, CloseReason::Replaced, out),
                _ => self.settle(&id, now, out),
            }
        }
        let late: Vec<ConnId> =
            self.conns.iter().filter(|(_, conn)| conn.deadline.is_some_and(due)).map(|(id, _)| *id).collect();
        for conn in late {
            self.close(conn, CloseReason::NoWelcome, out);
        }
    }
}

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;
