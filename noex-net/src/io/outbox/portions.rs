//! Sending before the tick ends.
//!
//! Two ends that answer each other group by group take turns: while one works, the other waits, on a processor of its own. So a
//! group goes in portions, and the other end works on one while the next is encoded. Not where both ends have the same
//! processor: nothing is gained there, and each portion costs a system call at both.

/// Frames of a portion, at most.
pub(crate) const USUAL: u32 = 256;
/// Portions of a group of calls: as few as let both ends work at the same time.
const PARTS: usize = 2;
/// A portion is worth a system call.
const LEAST: u32 = 16;
/// All at the end of the tick.
pub(super) const WHOLE: u32 = u32::MAX;

/// How the groups of calls of a connection go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Groups {
    InPortions,
    Whole,
}

impl Groups {
    /// For a program that may use so many processors.
    pub(crate) fn between(processors: usize, peer_has_this_processor: bool) -> Self {
        if processors == 1 && peer_has_this_processor { Self::Whole } else { Self::InPortions }
    }

    /// Frames after which calls do not wait for the end of the tick, of which so many wait for a reply: they come as one group, again
    /// and again.
    pub(crate) fn calls(self, waiting: usize) -> u32 {
        match self {
            Self::InPortions => u32::try_from(waiting / PARTS).unwrap_or(USUAL).clamp(LEAST, USUAL),
            Self::Whole => WHOLE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_of_calls_goes_in_halves_that_are_worth_it() {
        let groups = Groups::between(2, true);
        assert_eq!([0, 8, 64, 512, 100_000].map(|waiting| groups.calls(waiting)), [16, 16, 32, 256, 256]);
    }

    #[test]
    fn it_goes_whole_only_where_both_ends_share_their_one_processor() {
        assert_eq!(Groups::between(1, true).calls(512), WHOLE);
        assert_eq!(Groups::between(1, false), Groups::InPortions, "a peer elsewhere has its own");
    }
}
