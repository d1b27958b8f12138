//! The network of the simulation: who reaches whom, how long it takes, what is lost; and what was sent.

use std::{collections::BTreeSet, sync::OnceLock};

use noex_actors::{Incarnation, NodeId};

use super::{Entropy, Ms, World};
use crate::wire::{
    control::{Control, Heartbeat, Hint},
    frame::HEADER,
    limits::{LEN, TAG},
};

pub(super) struct Network {
    /// Side of a partition, by node.
    side: Vec<u8>,
    /// One-way cuts.
    cuts: BTreeSet<(usize, usize)>,
    /// The longest latency of one message.
    pub(super) latency: Ms,
    pub(super) connect_timeout: Ms,
    /// Of hints, questions and heartbeats: how many of 1000 are lost.
    pub(super) loss: u64,
    /// Of hints and questions: how many of 1000 come twice, or late.
    pub(super) mess: u64,
}

impl Network {
    pub(super) fn new(n: usize) -> Self {
        Self {
            side: vec![0; n],
            cuts: BTreeSet::new(),
            latency: 20,
            connect_timeout: 10_000,
            loss: 0,
            mess: 0,
        }
    }

    pub(super) fn reaches(&self, from: usize, to: usize) -> bool {
        self.side[from] == self.side[to] && !self.cuts.contains(&(from, to))
    }

    pub(super) fn part(&mut self, node: usize, side: u8) {
        self.side[node] = side;
    }

    pub(super) fn cut(&mut self, from: usize, to: usize) {
        self.cuts.insert((from, to));
    }

    pub(super) fn heal(&mut self) {
        self.side.fill(0);
        self.cuts.clear();
    }

    /// How much later than otherwise a heartbeat comes: TCP sends a lost one again after 200 ms, 400 ms, …
    pub(super) fn lateness(&self, dice: &mut Entropy) -> u32 {
        let (mut late, mut wait) = (0, 200);
        while self.loss > 0 && dice.draw() % 1000 < self.loss {
            late += wait;
            wait *= 2;
        }
        late
    }
}

impl World {
    /// After how long a message from one to the other arrives: never, once, or twice.
    pub(super) fn carried(&mut self, from: usize, to: usize) -> Vec<Ms> {
        let mut arrivals = Vec::new();
        if !self.net.reaches(from, to) || self.roll(1000) < self.net.loss {
            return arrivals;
        }
        arrivals.push(self.latency());
        if self.net.mess > 0 && self.roll(1000) < self.net.mess {
            arrivals.push(self.roll(3_000));
        }
        if self.net.mess > 0 && self.roll(1000) < self.net.mess {
            arrivals[0] += self.roll(3_000);
        }
        arrivals
    }
}

/// Bytes that nodes have sent for membership, on the wire, without those of TCP and IP.
pub(super) struct Bytes {
    by_node: Vec<u64>,
}

/// A batch with one control message in it.
fn batch(message: &Control) -> u64 {
    let body = rmp_serde::to_vec(message).unwrap().len();
    (LEN + TAG + HEADER + 1 + body) as u64
}

impl Bytes {
    pub(super) fn new(n: usize) -> Self {
        Self { by_node: vec![0; n] }
    }

    pub(super) fn heartbeat(&mut self, at: usize) {
        static SIZE: OnceLock<u64> = OnceLock::new();
        let view = super::View { count: 5000, digest: u64::MAX };
        let beat = || Heartbeat { processes: 100_000, uptime_ms: 1 << 40, view, ..Heartbeat::default() };
        self.by_node[at] += SIZE.get_or_init(|| batch(&Control::Heartbeat(beat())));
    }

    pub(super) fn hints(&mut self, at: usize, nodes: &[(NodeId, Incarnation)]) {
        let real = |life: Incarnation| Incarnation(life.0 + (1 << 52));
        let hint = |(id, life): &(NodeId, Incarnation)| Hint { id: id.clone(), incarnation: real(*life) };
        self.by_node[at] += batch(&Control::Hints(nodes.iter().map(hint).collect()));
    }

    pub(super) fn question(&mut self, at: usize, known: &[u64]) {
        self.by_node[at] += batch(&Control::Ask { known: vec![0; known.len() * 8] });
    }

    /// A handshake: some 200 bytes in each direction twice.
    pub(super) fn dial(&mut self, from: usize, to: usize) {
        self.by_node[from] += 200;
        self.by_node[to] += 200;
    }

    pub(super) fn take(&mut self) -> u64 {
        self.by_node.iter_mut().map(std::mem::take).sum()
    }
}
