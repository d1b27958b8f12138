//! Links between processes of two nodes, as one session knows them.
//!
//! ```text
//! p                                     q
//!   | <---            Link               |   sent before the Unlink came
//!   |       Unlink, with its number ---> |   q forgets the link
//!   | <---  Unlinked, the same number    |
//! ```
//! Each end knows for itself whether the pair is linked, and either may change it at any time. Whoever takes a link away
//! passes over the `Link`s of the other end until that says that it knows: they were sent before. Who links again in the
//! meantime is linked, and passes over that word, which is not for the last of its `Unlink`s.
//!
//! Invariant: once all is heard at both ends, either both ends of a pair are linked or none is. Everything about a pair is
//! heard in the order in which it was said, but for the end of a process: after that, nothing is said. One exception: a link that
//! was one too many, given up and made again while room came.
//!
//! OTP: the link protocol with `UNLINK_ID` and `UNLINK_ID_ACK`.

use std::collections::{BTreeMap, btree_map::Entry};

/// Numbers of the near and the far process.
pub(crate) type Pair = (u64, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Linked,
    /// Taken away at this end under this number, of which the peer has not said that it knows.
    Leaving(u64),
}

/// What a peer's wish for a link comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// They are linked, or it was made before the peer heard that they are not to be.
    Settled,
    /// There are too many, or the session is over.
    Refused,
    /// The near end is to be made.
    Fresh,
}

/// All pairs of one session.
#[derive(Debug)]
pub(crate) struct Links {
    pairs: BTreeMap<Pair, Standing>,
    linked: usize,
    /// The number of the last `Unlink`.
    last: u64,
    /// The peer answers `Unlink`s.
    numbered: bool,
    most: usize,
    closed: bool,
}

impl Links {
    /// `numbered`: the peer answers `Unlink`s. `most`: so many pairs are kept.
    pub(crate) fn new(numbered: bool, most: usize) -> Self {
        Self { pairs: BTreeMap::new(), linked: 0, last: 0, numbered, most, closed: false }
    }

    /// Whether the pair may be linked.
    pub(crate) fn has_room(&self, pair: Pair) -> bool {
        !self.closed && (self.pairs.len() < self.most || self.pairs.contains_key(&pair))
    }

    /// The pair is linked, at this end. True if the peer is to be told.
    pub(crate) fn link(&mut self, pair: Pair) -> bool {
        let fresh = self.pairs.insert(pair, Standing::Linked) != Some(Standing::Linked);
        self.linked += usize::from(fresh);
        fresh
    }

    /// The link is taken away, at this end. The number to tell the peer, if there was one; 0: it knows of none.
    pub(crate) fn unlink(&mut self, pair: Pair) -> Option<u64> {
        if !self.broken(pair) {
            return None;
        }
        if !self.numbered {
            return Some(0);
        }
        self.last += 1;
        self.pairs.insert(pair, Standing::Leaving(self.last));
        Some(self.last)
    }

    /// The peer wants the pair linked. If that is [`Wish::Fresh`], [`link`](Self::link) follows.
    pub(crate) fn wish(&self, pair: Pair) -> Wish {
        match self.pairs.get(&pair) {
            Some(_) => Wish::Settled,
            None if !self.has_room(pair) => Wish::Refused,
            None => Wish::Fresh,
        }
    }

    /// The peer knows that the link was taken away under this number.
    pub(crate) fn unlinked(&mut self, pair: Pair, number: u64) {
        if let Entry::Occupied(entry) = self.pairs.entry(pair)
            && *entry.get() == Standing::Leaving(number)
        {
            entry.remove();
        }
    }

    /// One of the two ended, or the peer took the link away. True if there was one.
    pub(crate) fn broken(&mut self, pair: Pair) -> bool {
        let linked = self.pairs.get(&pair) == Some(&Standing::Linked);
        if linked {
            self.pairs.remove(&pair);
            self.linked -= 1;
        }
        linked
    }

    /// How many pairs are linked.
    pub(crate) fn len(&self) -> usize {
        self.linked
    }

    /// The session is over: the pairs whose near ends break.
    pub(crate) fn close(&mut self) -> Vec<Pair> {
        self.closed = true;
        self.linked = 0;
        let pairs = std::mem::take(&mut self.pairs);
        pairs
            .into_iter()
            .filter_map(|(pair, standing)| (standing == Standing::Linked).then_some(pair))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, VecDeque};

    use proptest::prelude::*;

    use super::*;

    fn links() -> Links {
        Links::new(true, 2)
    }

    #[test]
    fn after_the_end_nothing_is_added_and_all_is_given_once() {
        let mut links = links();
        assert!(links.link((1, 2)) && !links.link((1, 2)) && links.link((1, 3)));
        assert_eq!(links.unlink((1, 3)), Some(1));
        assert_eq!((links.unlink((1, 3)), links.len()), (None, 1));
        assert_eq!(links.close(), [(1, 2)]);
        assert_eq!((links.has_room((1, 2)), links.wish((1, 2)), links.len()), (false, Wish::Refused, 0));
        assert!(links.close().is_empty());
    }

    #[test]
    fn beyond_the_most_only_what_is_there_may_be_linked() {
        let mut links = links();
        assert!(links.link((1, 2)) && links.link((1, 3)));
        assert_eq!((links.has_room((1, 4)), links.wish((1, 4))), (false, Wish::Refused));
        assert_eq!((links.has_room((1, 3)), links.wish((1, 3))), (true, Wish::Settled));
        // One whose end is not known at the other node takes its place as well: or who never answers is kept without bound.
        let number = links.unlink((1, 3)).unwrap();
        assert_eq!((links.wish((1, 4)), links.has_room((1, 3))), (Wish::Refused, true));
        links.unlinked((1, 3), number + 1);
        assert_eq!(links.wish((1, 4)), Wish::Refused);
        links.unlinked((1, 3), number);
        assert_eq!(links.wish((1, 4)), Wish::Fresh);
    }

    #[test]
    fn a_peer_that_does_not_answer_is_not_waited_for() {
        let mut links = Links::new(false, 2);
        assert!(links.link((1, 2)));
        assert_eq!((links.unlink((1, 2)), links.wish((1, 2))), (Some(0), Wish::Fresh));
    }

    #[derive(Clone, Copy, Debug)]
    enum Told {
        Link,
        Unlink(u64),
        Unlinked(u64),
        Broken,
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Link,
        Unlink,
        End,
        /// What was told longest ago is heard.
        Hear,
    }

    /// One node, and what is on its way to it.
    struct Node {
        links: Links,
        /// The table of its process; `None`: that has ended.
        table: Option<BTreeSet<u64>>,
        coming: VecDeque<Told>,
        /// Peers may not address its process.
        refuses: bool,
        /// How often its process heard that a link broke.
        heard: u32,
    }

    /// Two nodes with a process each, as the shell drives them. Each pair is (1, 1).
    struct World([Node; 2]);

    const PAIR: Pair = (1, 1);

    impl World {
        fn new(refuses: [bool; 2]) -> Self {
            Self(refuses.map(|refuses| Node {
                refuses,
                links: Links::new(true, 8),
                table: Some(BTreeSet::new()),
                coming: VecDeque::new(),
                heard: 0,
            }))
        }

        fn step(&mut self, at: usize, step: Step) {
            let node = &mut self.0[at];
            let mut tell = None;
            match step {
                Step::Link => {
                    if let Some(table) = &mut node.table {
                        table.insert(1);
                        tell = node.links.link(PAIR).then_some(Told::Link);
                    }
                }
                Step::Unlink => {
                    if node.table.as_mut().is_some_and(|table| table.remove(&1)) {
                        tell = node.links.unlink(PAIR).map(Told::Unlink);
                    }
                }
                Step::End => {
                    if node.table.take().is_some_and(|table| table.contains(&1)) {
                        tell = node.links.broken(PAIR).then_some(Told::Broken);
                    }
                }
                Step::Hear => match node.coming.pop_front() {
                    None => {}
                    Some(Told::Link) if node.links.wish(PAIR) != Wish::Fresh => {}
                    Some(Told::Link) => match &mut node.table {
                        _ if node.refuses => tell = Some(Told::Broken),
                        Some(table) => {
                            table.insert(1);
                            node.links.link(PAIR);
                        }
                        None => tell = Some(Told::Broken),
                    },
                    Some(Told::Unlink(number)) => {
                        if node.links.broken(PAIR)
                            && let Some(table) = &mut node.table
                        {
                            table.remove(&1);
                        }
                        tell = Some(Told::Unlinked(number));
                    }
                    Some(Told::Unlinked(number)) => node.links.unlinked(PAIR, number),
                    Some(Told::Broken) => {
                        if node.links.broken(PAIR)
                            && let Some(table) = &mut node.table
                            && table.remove(&1)
                        {
                            node.heard += 1;
                        }
                    }
                },
            }
            self.0[1 - at].coming.extend(tell);
        }

        fn settle(&mut self) {
            while let Some(at) = (0..2).find(|at| !self.0[*at].coming.is_empty()) {
                self.step(at, Step::Hear);
            }
        }
    }

    fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
        let step = prop_oneof![
            3 => Just(Step::Link),
            3 => Just(Step::Unlink),
            5 => Just(Step::Hear),
        ];
        prop::collection::vec((0..2_usize, step), 0..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn once_all_is_heard_both_ends_are_linked_or_none_is(
            steps in steps(),
            ends in any::<Option<bool>>(),
            refuses in prop_oneof![4 => Just([false; 2]), 1 => any::<[bool; 2]>()],
        ) {
            let mut world = World::new(refuses);
            for (at, step) in steps {
                world.step(at, step);
            }
            if let Some(second) = ends {
                world.step(usize::from(second), Step::End);
            }
            world.settle();
            let [one, other] = &world.0;
            for node in [one, other] {
                prop_assert_eq!(node.links.pairs.len(), node.links.len(), "nobody waits for an answer");
                let linked = node.table.as_ref().is_some_and(|table| table.contains(&1));
                prop_assert_eq!(node.links.len() == 1, linked, "the table says the same");
                prop_assert!(refuses != [false; 2] || node.heard <= 1);
            }
            prop_assert_eq!(one.links.len(), other.links.len());
            if ends.is_some() {
                prop_assert_eq!(one.links.len(), 0, "no link with what has ended");
            }
        }
    }
}
