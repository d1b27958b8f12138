//! Sending before the tick ends.
//!
//! Two ends that answer each other group by group take turns: while one works, the other waits, on a processor of its own. So a
//! group goes in portions, and the other end works on one while the next is encoded.

/// Frames of a portion, at most.
pub(crate) const USUAL: u32 = 256;
/// Portions of a group of calls: as few as let both ends work at the same time.
const PARTS: usize = 2;
/// A portion is worth a system call.
const LEAST: u32 = 16;
/// All at the end of the tick.
pub(super) const WHOLE: u32 = u32::MAX;

/// Frames after which calls do not wait for the end of the tick, of which so many wait for a reply: they come as one group, again and
/// again.
pub(crate) fn of_calls(waiting: usize) -> u32 {
    u32::try_from(waiting / PARTS).unwrap_or(USUAL).clamp(LEAST, USUAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_of_calls_goes_in_halves_that_are_worth_it() {
        assert_eq!([0, 8, 64, 512, 100_000].map(of_calls), [16, 16, 32, 256, 256]);
    }
}
