//! Numbers of calls: short on the wire, and never twice while a reply may still come.
//!
//! A place is in one of a few tables, which is told by its lowest bits.
//!
//! A number is the place of the call in the table, and the generation of that place. A place has a new generation with each
//! call: a *turn*, of 128, which come round again. That may be, as there is nothing to come of a call that was answered; the
//! turns are there for a peer that answers twice. A call that was given up unanswered (timed out, dropped) moves its place on
//! to the next *era*, of 2^28, so that its late reply finds nothing.
//!
//! Place and generation take turns by groups of 7 bits, lowest first, so that a varint of both is short while both are small:
//!
//! ```text
//! place < 128, era 0          2 bytes
//! place < 16 384, era 0       3 bytes
//! place < 16 384, era < 128   4 bytes
//! ```

/// Bits of the number of a place: more calls than that cannot wait on one connection.
pub(super) const KEY_BITS: u32 = 28;
/// Bits of it that tell the table.
const TABLE_BITS: u32 = 3;
/// Tables of a connection, each with places of its own.
pub(super) const TABLES: usize = 1 << TABLE_BITS;
/// Bits of a turn.
const TURN_BITS: u32 = 7;
/// Bits of a generation: its turn, then its era.
const GENERATION_BITS: u32 = 35;
const TURNS: u64 = 1 << TURN_BITS;

/// Which call of a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Generation(u64);

impl Generation {
    /// That of the next call, after one that was answered.
    pub(super) fn next(self) -> Self {
        Self((self.0 & !(TURNS - 1)) | ((self.0 + 1) & (TURNS - 1)))
    }

    /// That from which the next one goes on, after a call that may be answered yet.
    pub(super) fn given_up(self) -> Self {
        Self((self.0 + TURNS) & ((1 << GENERATION_BITS) - 1))
    }
}

/// The number of a call, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CallId {
    key: usize,
    pub(super) generation: Generation,
}

const LOW: u64 = 0x7F;

/// The four lowest groups of 7 bits, each 7 bits apart.
fn spread(number: u64) -> u64 {
    (number & LOW) | (number & LOW << 7) << 7 | (number & LOW << 14) << 14 | (number & LOW << 21) << 21
}

/// The reverse.
fn gather(number: u64) -> u64 {
    (number & LOW) | (number >> 7 & LOW << 7) | (number >> 14 & LOW << 14) | (number >> 21 & LOW << 21)
}

impl CallId {
    /// Of no call.
    pub(super) const NONE: u64 = u64::MAX;

    /// The call at that place of a table. `None`: there are no more numbers.
    pub(super) fn at(table: usize, place: usize, generation: Generation) -> Option<Self> {
        let fits = place >> (KEY_BITS - TABLE_BITS) == 0;
        fits.then_some(Self { key: place << TABLE_BITS | table, generation })
    }

    pub(super) fn table(self) -> usize {
        self.key & (TABLES - 1)
    }

    pub(super) fn place(self) -> usize {
        self.key >> TABLE_BITS
    }

    /// As it travels.
    pub(super) fn number(self) -> u64 {
        let key = u64::try_from(self.key).unwrap_or(u64::MAX);
        let generation = self.generation.0;
        spread(key) | spread(generation) << 7 | generation >> KEY_BITS << (2 * KEY_BITS)
    }

    /// Of a number that came.
    pub(super) fn of(number: u64) -> Self {
        let generation = gather(number >> 7) | number >> (2 * KEY_BITS) << KEY_BITS;
        Self {
            key: usize::try_from(gather(number)).unwrap_or(usize::MAX),
            generation: Generation(generation),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(key: usize, generation: u64) -> usize {
        let number = CallId { key, generation: Generation(generation) }.number();
        unsigned_varint::encode::u64(number, &mut unsigned_varint::encode::u64_buffer()).len()
    }

    #[test]
    fn small_ones_are_short() {
        assert_eq!(bytes(127, 127), 2);
        assert_eq!(bytes(128, 127), 3);
        assert_eq!(bytes(16_383, 127), 3);
        assert_eq!(bytes(16_383, 127 * TURNS + 127), 4);
        assert_eq!(bytes((1 << KEY_BITS) - 1, (1 << GENERATION_BITS) - 1), 9);
    }

    #[test]
    fn each_table_has_places_of_its_own() {
        let at = |table, place| CallId::at(table, place, Generation::default());
        let ids = [at(0, 0), at(7, 0), at(0, 1), at(7, 1)].map(Option::unwrap);
        assert_eq!(ids.map(|id| (id.table(), id.place())), [(0, 0), (7, 0), (0, 1), (7, 1)]);
        assert_eq!(at(0, 1 << (KEY_BITS - TABLE_BITS)), None, "there are no more numbers");
    }

    #[test]
    fn turns_come_round_and_eras_do_not() {
        let mut generation = Generation::default();
        for _ in 0..TURNS {
            generation = generation.next();
        }
        assert_eq!(generation, Generation::default());
        let mut last = generation;
        for _ in 0..10 * TURNS {
            generation = generation.given_up().next();
            assert!(generation.0 >> TURN_BITS == (last.0 >> TURN_BITS) + 1, "{generation:?}");
            last = generation;
        }
    }

    proptest! {
        #[test]
        fn a_number_is_taken_apart_as_it_was_put_together(key in 0_usize..1 << KEY_BITS, generation in 0_u64..1 << GENERATION_BITS) {
            let id = CallId { key, generation: Generation(generation) };
            prop_assert!(id.number() < 1 << 63);
            prop_assert_eq!(CallId::of(id.number()), id);
        }

        #[test]
        fn no_two_numbers_are_one_call(one: u64, bit in 0..64) {
            prop_assert_ne!(CallId::of(one), CallId::of(one ^ 1_u64 << bit));
        }
    }
}
