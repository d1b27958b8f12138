//! An ordered map that mostly holds one entry: most keys have one process, most processes one key. A B-tree of one entry
//! would cost as much as eleven.

use std::collections::BTreeMap;

/// An ordered map; nothing is allocated while it holds at most one entry and never held more.
#[derive(Debug)]
pub(crate) enum Few<K, V> {
    None,
    One(K, V),
    Many(BTreeMap<K, V>),
}

impl<K: Ord, V> Few<K, V> {
    pub(crate) fn new() -> Self {
        Self::None
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        match self {
            Self::One(held, value) if held == key => Some(value),
            Self::None | Self::One(..) => None,
            Self::Many(map) => map.get(key),
        }
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        match self {
            Self::One(held, value) if held == key => Some(value),
            Self::None | Self::One(..) => None,
            Self::Many(map) => map.get_mut(key),
        }
    }

    /// Adds an entry, or replaces the value of its key and gives the old one back.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match std::mem::replace(self, Self::None) {
            Self::None => {
                *self = Self::One(key, value);
                None
            }
            Self::One(held, old) if held == key => {
                *self = Self::One(key, value);
                Some(old)
            }
            Self::One(held, old) => {
                *self = Self::Many(BTreeMap::from([(held, old), (key, value)]));
                None
            }
            Self::Many(mut map) => {
                let old = map.insert(key, value);
                *self = Self::Many(map);
                old
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        match self {
            Self::None => None,
            Self::One(held, _) if held != key => None,
            Self::One(..) => match std::mem::replace(self, Self::None) {
                Self::One(_, value) => Some(value),
                Self::None | Self::Many(_) => None,
            },
            Self::Many(map) => map.remove(key),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::None => true,
            Self::One(..) => false,
            Self::Many(map) => map.is_empty(),
        }
    }

    /// All entries, by key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(key, value) => (Some((key, value)), None),
            Self::Many(map) => (None, Some(map)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// All entries, by key.
    pub(crate) fn into_entries(self) -> impl Iterator<Item = (K, V)> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(key, value) => (Some((key, value)), None),
            Self::Many(map) => (None, Some(map)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_map_that_it_stands_for(steps in prop::collection::vec((0..3_u8, 0..4_u8, any::<u16>()), 0..60)) {
            let (mut few, mut map) = (Few::new(), BTreeMap::new());
            for (step, key, value) in steps {
                match step {
                    0 => prop_assert_eq!(few.insert(key, value), map.insert(key, value)),
                    1 => prop_assert_eq!(few.remove(&key), map.remove(&key)),
                    _ => prop_assert_eq!(few.get_mut(&key), map.get_mut(&key)),
                }
                prop_assert_eq!(few.get(&key), map.get(&key));
                prop_assert_eq!(few.is_empty(), map.is_empty());
                prop_assert!(few.iter().eq(map.iter()));
            }
            prop_assert!(few.into_entries().eq(map));
        }
    }
}
