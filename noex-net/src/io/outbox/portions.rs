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
/// One of another thread than that of the connection is worth two switches between threads as well.
const LEAST_AWAY: u32 = 128;
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
    /// and again. `at_home`: on the thread of the connection.
    pub(crate) fn calls(self, waiting: usize, at_home: bool) -> u32 {
        let least = if at_home { LEAST } else { LEAST_AWAY };
        match self {
            Self::InPortions => u32::try_from(waiting / PARTS).unwrap_or(USUAL).clamp(least, USUAL),
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
        let portions = |at_home| [0, 8, 64, 512, 100_000].map(|waiting| groups.calls(waiting, at_home));
        assert_eq!(portions(true), [16, 16, 32, 256, 256]);
        assert_eq!(portions(false), [128, 128, 128, 256, 256], "and where threads must take turns");
    }

    #[test]
    fn it_goes_whole_only_where_both_ends_share_their_one_processor() {
        assert_eq!(Groups::between(1, true).calls(512, true), WHOLE);
        assert_eq!(Groups::between(1, false), Groups::InPortions, "a peer elsewhere has its own");
    }
}
