//! Gossip: what one node tells others of third nodes, and when. Never who is up or down, only whom one may dial.
//!
//! | When | Who is told what |
//! |---|---|
//! | a session comes up and the two ends know different others | the peer: some of those connected here, [`FANOUT`] to [`MAX_TOLD`] |
//! | a life of a node is connected here for the first time | [`FANOUT`] others: that one |
//! | a heartbeat shows another view, and still does half an interval later | nobody: the peer is asked for what is not known here |
//!
//! A view is the set of a node itself and all that it is connected to. Its digest is the xor of the fingerprints of
//! its members, so that a heartbeat has the same size however many there are, and a change costs one operation. In a
//! full mesh all views are equal, and nothing is said.
//!
//! Where they stay different (two nodes cannot reach each other, say), questions to one peer come ever less often, up
//! to [`MAX_PAUSE`] intervals apart, until one of both views changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use noex_actors::{Incarnation, Monotonic, NodeId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{machine::backoff::Entropy, wire::limits::MAX_HINTS};

/// How many others hear of a node that is new here. Each of them tells as many when it is connected, too.
pub(super) const FANOUT: usize = 8;
/// Most nodes that a peer is told of when its session comes up.
pub(super) const MAX_TOLD: usize = 64;
/// Most questions in one interval, to all peers together.
const MAX_QUESTIONS: u32 = 2;
/// Longest time between two questions to one peer while nothing changes, in intervals.
const MAX_PAUSE: u32 = 16;

/// Whom a node is connected to, itself included, in a few bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct View {
    /// How many they are.
    pub(crate) count: u32,
    /// Equal for equal sets, different for different ones.
    pub(crate) digest: u64,
}

/// A life of a node in 8 bytes: the first ones of a SHA-256 over id and incarnation.
pub(crate) fn fingerprint(id: &NodeId, incarnation: Incarnation) -> u64 {
    let mut hash = Sha256::new();
    hash.update(id.as_str());
    hash.update([0]);
    hash.update(incarnation.0.to_le_bytes());
    let hash: [u8; 32] = hash.finalize().into();
    hash.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}

/// A peer whose view is another than ours.
#[derive(Debug)]
struct Standing {
    /// Both digests, when they were compared last.
    views: (u64, u64),
    /// Questions since one of them changed.
    asked: u32,
    due: Monotonic,
}

/// What one node knows for its gossip.
#[derive(Debug)]
pub(super) struct Gossip {
    own: u64,
    interval: Duration,
    entropy: Entropy,
    view: View,
    connected: BTreeSet<(u64, NodeId)>,
    standings: BTreeMap<NodeId, Standing>,
    /// Questions in the interval that began then.
    questions: (Monotonic, u32),
    /// Who has asked, and was answered, when.
    answered: BTreeMap<NodeId, Monotonic>,
}

impl Gossip {
    pub(super) fn new(own: u64, interval: Duration, entropy: Entropy) -> Self {
        Self {
            own,
            interval,
            entropy,
            view: View { count: 1, digest: own },
            connected: BTreeSet::new(),
            standings: BTreeMap::new(),
            questions: (Monotonic::ZERO, 0),
            answered: BTreeMap::new(),
        }
    }

    pub(super) fn view(&self) -> View {
        self.view
    }

    pub(super) fn up(&mut self, id: &NodeId, fingerprint: u64) {
        if self.connected.insert((fingerprint, id.clone())) {
            self.view.digest ^= fingerprint;
            self.count();
        }
    }

    pub(super) fn down(&mut self, id: &NodeId, fingerprint: u64) {
        if self.connected.remove(&(fingerprint, id.clone())) {
            self.view.digest ^= fingerprint;
            self.count();
        }
        self.standings.remove(id);
        self.answered.remove(id);
    }

    fn count(&mut self) {
        self.view.count = u32::try_from(self.connected.len() + 1).unwrap_or(u32::MAX);
    }

    /// How many others a peer is to be told of that has just come up, and is not counted here yet: none if it knows
    /// the same ones, more the less it knows.
    pub(super) fn lacking(&self, peer: u64, theirs: View) -> usize {
        if self.view.digest ^ self.own == theirs.digest ^ peer {
            return 0;
        }
        let fewer = self.view.count.saturating_sub(theirs.count);
        usize::try_from(fewer).unwrap_or(MAX_TOLD).clamp(FANOUT, MAX_TOLD)
    }

    /// Up to `most` connected nodes, chosen at random.
    pub(super) fn some(&mut self, most: usize) -> Vec<NodeId> {
        let from = self.entropy.draw();
        self.all_from(from).take(most).map(|(_, id)| id.clone()).collect()
    }

    /// All connected nodes, beginning somewhere in their circle.
    fn all_from(&self, fingerprint: u64) -> impl Iterator<Item = &(u64, NodeId)> {
        let from = (fingerprint, NodeId::nonode());
        self.connected.range(from.clone()..).chain(self.connected.range(..from))
    }

    /// A heartbeat showed the view of a peer; true if the peer should be asked now.
    pub(super) fn compare(&mut self, peer: &NodeId, theirs: View, now: Monotonic) -> bool {
        let views = (self.view.digest, theirs.digest);
        if views.0 == views.1 {
            self.standings.remove(peer);
            return false;
        }
        let settle = self.interval / 2; // what changed is on its way, mostly
        let fresh = || Standing { views, asked: 0, due: now.plus(settle) };
        let standing = self.standings.entry(peer.clone()).or_insert_with(fresh);
        if standing.views != views {
            let due = if standing.asked == 0 { standing.due } else { now.plus(self.interval) };
            *standing = Standing { views, asked: 0, due: standing.due.min(due) };
        }
        if standing.due > now {
            return false;
        }
        if now.since(self.questions.0) >= self.interval {
            self.questions = (now, 0);
        }
        if self.questions.1 == MAX_QUESTIONS {
            return false;
        }
        self.questions.1 += 1;
        standing.asked = standing.asked.saturating_add(1);
        let pause = 1u32.checked_shl(standing.asked - 1).unwrap_or(MAX_PAUSE).min(MAX_PAUSE);
        standing.due = now.plus(self.interval.saturating_mul(pause));
        true
    }

    /// The nodes connected here that are not among the known ones of a peer that asks. Empty if it asks too often.
    pub(super) fn answer(&mut self, peer: &NodeId, mut known: Vec<u64>, now: Monotonic) -> Vec<NodeId> {
        // Half an interval: two clocks never agree to the moment.
        let early = self.answered.get(peer).is_some_and(|last| now.since(*last) < self.interval / 2);
        if early {
            return Vec::new();
        }
        self.answered.insert(peer.clone(), now);
        known.sort_unstable();
        let unknown = |fingerprint: &u64| known.binary_search(fingerprint).is_err();
        // Not always the same ones, should they be more than an answer holds.
        let from = self.entropy.draw();
        let beyond = self.all_from(from).filter(|(fingerprint, id)| id != peer && unknown(fingerprint));
        beyond.take(MAX_HINTS).map(|(_, id)| id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(200);

    fn id(n: u64) -> NodeId {
        NodeId::parse(&format!("n{n}@h:{}", n + 1)).unwrap()
    }

    fn print(n: u64) -> u64 {
        fingerprint(&id(n), Incarnation(7))
    }

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_millis(ms)
    }

    /// Node `own`, connected to others.
    fn gossip(own: u64, others: impl IntoIterator<Item = u64>) -> Gossip {
        let mut gossip = Gossip::new(print(own), INTERVAL, Entropy::new(own));
        others.into_iter().for_each(|n| gossip.up(&id(n), print(n)));
        gossip
    }

    #[test]
    fn a_fingerprint_is_of_one_life() {
        // WIRE: golden.
        assert_eq!(fingerprint(&id(1), Incarnation(7)), 0xfca8_b83f_5588_b442);
        assert_ne!(fingerprint(&id(1), Incarnation(7)), fingerprint(&id(1), Incarnation(8)));
    }

    #[test]
    fn nodes_of_a_full_mesh_have_one_view_whatever_the_order() {
        let mut a = gossip(0, [1, 2, 3]);
        let b = gossip(1, [3, 0, 2]);
        assert_eq!(a.view(), b.view());
        assert_eq!(a.view().count, 4);
        a.down(&id(3), print(3));
        assert_ne!(a.view(), b.view());
        a.up(&id(3), print(3));
        a.up(&id(3), print(3));
        assert_eq!(a.view(), b.view());
    }

    #[test]
    fn a_peer_that_knows_the_same_is_told_nothing_and_one_that_knows_nobody_all() {
        let mesh = gossip(0, 1..100);
        assert_eq!(mesh.lacking(print(200), gossip(200, 1..100).view()), 0);
        assert_eq!(mesh.lacking(print(200), gossip(200, []).view()), MAX_TOLD);
        assert_eq!(mesh.lacking(print(200), gossip(200, 1..80).view()), 20);
        assert_eq!(mesh.lacking(print(200), gossip(200, 300..500).view()), FANOUT);
    }

    #[test]
    fn some_are_all_if_there_are_few_and_others_each_time_if_there_are_many() {
        let mut gossip = gossip(0, 1..=5);
        assert_eq!(gossip.some(8).len(), 5);
        let mut gossip = self::gossip(0, 1..=1000);
        let mut seen = BTreeSet::new();
        for _ in 0..10_000 {
            let some = gossip.some(8);
            assert_eq!(some.iter().collect::<BTreeSet<_>>().len(), 8);
            seen.extend(some);
        }
        assert_eq!(seen.len(), 1000, "everybody gets a turn");
    }

    #[test]
    fn a_difference_that_stays_is_asked_about_ever_less_often() {
        let mut a = gossip(0, [1]);
        let theirs = gossip(1, [0, 2]).view();
        let mut asked = Vec::new();
        for ms in (0..20_000).step_by(200) {
            if a.compare(&id(1), theirs, at(ms)) {
                asked.push(ms / 200);
            }
        }
        assert_eq!(&asked[..8], [1, 2, 4, 8, 16, 32, 48, 64]);
    }

    #[test]
    fn a_difference_that_goes_away_at_once_is_asked_about_by_nobody() {
        let mut a = gossip(0, [1]);
        assert!(!a.compare(&id(1), gossip(1, [0, 2]).view(), at(0)));
        a.up(&id(2), print(2));
        assert!(!a.compare(&id(1), gossip(1, [0, 2]).view(), at(200)));
    }

    #[test]
    fn a_change_brings_the_next_question_forward_but_not_closer_than_an_interval() {
        let mut a = gossip(0, [1]);
        for ms in (0..40_000).step_by(200) {
            a.compare(&id(1), gossip(1, [0, 2]).view(), at(ms));
        }
        let theirs = gossip(1, [0, 2, 3]).view();
        assert!(!a.compare(&id(1), theirs, at(40_000)));
        assert!(a.compare(&id(1), theirs, at(40_200)));
        // And one that changes at each heartbeat is asked once per interval all the same.
        let asked =
            (1..100).filter(|n| a.compare(&id(1), View { count: 3, digest: *n }, at(40_200 + n * 20)));
        assert_eq!(asked.count(), 9);
    }

    #[test]
    fn of_many_peers_that_differ_two_are_asked_in_an_interval() {
        let mut a = gossip(0, 1..=100);
        let mut ask =
            |ms| (1..=100).filter(|n| a.compare(&id(*n), View { count: 9, digest: *n }, at(ms))).count();
        assert_eq!((ask(0), ask(100), ask(150), ask(300), ask(500)), (0, 2, 0, 2, 2));
    }

    #[test]
    fn an_answer_holds_what_is_not_known_and_comes_once_per_interval() {
        let mut a = gossip(0, 1..=9);
        let known = [5, 2, 9, 1].map(print).to_vec();
        let mut answer = a.answer(&id(3), known.clone(), at(0));
        answer.sort();
        assert_eq!(answer, [4, 6, 7, 8].map(id));
        assert_eq!(a.answer(&id(3), known.clone(), at(50)), []);
        assert_eq!(a.answer(&id(3), known, at(200)).len(), 4);
    }

    #[test]
    fn who_knows_less_than_an_answer_holds_hears_of_everybody_in_time() {
        let mut a = gossip(0, 1..=1200);
        let mut heard = BTreeSet::new();
        for round in 0..20 {
            let answer = a.answer(&id(3), Vec::new(), at(round * 200));
            assert_eq!(answer.len(), MAX_HINTS);
            heard.extend(answer);
        }
        assert_eq!(heard.len(), 1199);
    }
}
