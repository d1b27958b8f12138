//! Lists of a bounded length, read without believing what they announce.
//!
//! SECURITY: an element takes a byte on the wire and a hundred in memory: without a bound on their number, one message of
//! the allowed length would be a hundred times as large once it is read.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, SeqAccess, Visitor},
};

struct List<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for List<T, MAX> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MAX}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = seq.next_element()? {
            if list.len() == MAX {
                return Err(A::Error::invalid_length(MAX + 1, &self));
            }
            list.push(item);
        }
        Ok(list)
    }
}

/// Reads a list of at most `MAX`.
pub(crate) fn list<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_seq(List::<T, MAX>(PhantomData))
}

/// The same of a list that may be missing.
pub(crate) fn optional_list<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Bounded<T, const MAX: usize>(Vec<T>);
    impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Bounded<T, MAX> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            list::<D, T, MAX>(deserializer).map(Self)
        }
    }
    Option::<Bounded<T, MAX>>::deserialize(deserializer).map(|found| found.map(|Bounded(list)| list))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, Deserialize)]
    struct Bounded(
        #[serde(deserialize_with = "list::<_, _, 3>")] Vec<u8>,
        #[serde(deserialize_with = "optional_list::<_, _, 3>")] Option<Vec<u8>>,
    );

    fn read(value: &impl serde::Serialize) -> Option<Bounded> {
        rmp_serde::from_slice(&rmp_serde::to_vec(value).unwrap()).ok()
    }

    #[test]
    fn what_is_within_the_bound_is_read_and_nothing_else() {
        for good in [Bounded(vec![], None), Bounded(vec![1, 2, 3], Some(vec![4, 5, 6]))] {
            assert_eq!(read(&good).unwrap(), good);
        }
        assert!(read(&Bounded(vec![0; 4], None)).is_none());
        assert!(read(&Bounded(vec![], Some(vec![0; 4]))).is_none());
        // Announces more than there is.
        assert!(rmp_serde::from_slice::<Bounded>(&[0x92, 0xdd, 0xff, 0xff, 0xff, 0xff]).is_err());
    }
}
