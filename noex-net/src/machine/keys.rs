//! The key ring: which keys there are, which one signs, and whether a session may stand on the key that it has.
//!
//! | Command | Effect | Refused |
//! |---|---|---|
//! | add | the key is accepted; in an empty ring it signs, too | its id is taken, or none; the key is empty; the ring is full |
//! | activate | the key signs | no such id |
//! | retire | the key is not accepted any more | it signs; no such id |
//! | replace | the ring is another one | – |
//!
//! Invariants: 1. ids are unique, and every key has at least one byte; 2. the ring is empty, or its first key signs; 3. as
//! many keys as a hello may list, with ids as long as it may hold: whatever is accepted is also offered.
//!
//! A key that is in the ring before and after a change is the same key, with the same mark. The same id with other
//! bytes is another key.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use zeroize::Zeroizing;

use crate::wire::handshake::{MAX_LIST, MAX_WORD};

/// Below this many bytes a secret can be guessed; the node warns.
pub(crate) const SHORT_SECRET: usize = 16;

/// Why a ring of secrets cannot be changed that way. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// No key of the ring has this id.
    #[error("no key with the id \"{0}\"")]
    Unknown(String),
    /// A key of the ring has this id already. Give another key another id.
    #[error("there is a key with the id \"{0}\" already")]
    Duplicate(String),
    /// The key signs: activate another one first.
    #[error("the key \"{0}\" signs; activate another one first")]
    RetireActive(String),
    /// A secret without a byte is none.
    #[error("a secret must not be empty")]
    Empty,
    /// The id is not one. It is not shown: it might be a secret in the wrong place.
    #[error("an id has 1 to 64 letters, digits, dots, dashes or underscores")]
    InvalidId,
    /// The ring holds 16 keys. Retire one first.
    #[error("at most 16 keys at a time; retire one first")]
    Full,
}

/// The bytes of one secret, wiped when the last clone is dropped.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key(Arc<Zeroizing<Vec<u8>>>);

/// Keys with their ids: the first signs, all are accepted.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Keys(Vec<(String, Key)>);

/// Which key it was, without holding its bytes. What is added later is never the same, whatever its id.
#[derive(Clone)]
pub(crate) struct KeyMark {
    id: Arc<str>,
    key: Weak<Zeroizing<Vec<u8>>>,
}

impl Keys {
    /// Keys in this order; the first signs.
    pub(crate) fn new(keys: impl IntoIterator<Item = (String, Key)>) -> Result<Self, SecretError> {
        let mut ring = Self::default();
        for (id, key) in keys {
            ring.add(id, key)?;
        }
        Ok(ring)
    }

    pub(crate) fn add(&mut self, id: String, key: Key) -> Result<(), SecretError> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if id.is_empty() || id.len() > MAX_WORD || !id.bytes().all(good) {
            return Err(SecretError::InvalidId);
        }
        if key.bytes().is_empty() {
            return Err(SecretError::Empty);
        }
        if self.get(&id).is_some() {
            return Err(SecretError::Duplicate(id));
        }
        if self.0.len() >= MAX_LIST {
            return Err(SecretError::Full);
        }
        self.0.push((id, key));
        Ok(())
    }

    pub(crate) fn activate(&mut self, id: &str) -> Result<(), SecretError> {
        let at = self.position(id)?;
        if let Some(newly_first) = self.0.get_mut(..=at) {
            newly_first.rotate_right(1);
        }
        Ok(())
    }

    pub(crate) fn retire(&mut self, id: &str) -> Result<(), SecretError> {
        match self.position(id)? {
            0 => Err(SecretError::RetireActive(id.to_owned())),
            at => {
                self.0.remove(at);
                Ok(())
            }
        }
    }

    /// Takes the keys of another ring. Those that were here already stay the same keys.
    pub(crate) fn replace(&mut self, with: Self) {
        let same = |id: &str, key: &Key| self.get(id).filter(|own| *own == key).cloned();
        let keys = with.0.into_iter().map(|(id, key)| {
            let key = same(&id, &key).unwrap_or(key);
            (id, key)
        });
        *self = Self(keys.collect());
    }

    fn position(&self, id: &str) -> Result<usize, SecretError> {
        let at = self.0.iter().position(|(known, _)| known == id);
        at.ok_or_else(|| SecretError::Unknown(id.to_owned()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The signing one first.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(id, _)| id.as_str())
    }

    /// Ids of the keys that could be guessed.
    pub(crate) fn short(&self) -> impl Iterator<Item = &str> {
        let short = self.0.iter().filter(|(_, key)| key.bytes().len() < SHORT_SECRET);
        short.map(|(id, _)| id.as_str())
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Key> {
        self.0.iter().find(|(known, _)| known == id).map(|(_, key)| key)
    }

    pub(crate) fn mark(&self, id: &str) -> Option<KeyMark> {
        let key = self.get(id)?;
        Some(KeyMark { id: id.into(), key: Arc::downgrade(&key.0) })
    }

    /// Whether a new session may stand on that key; without one, only where there are none.
    pub(crate) fn admits(&self, mark: Option<&KeyMark>) -> bool {
        match mark {
            None => self.is_empty(),
            Some(mark) => self.mark(mark.id()).is_some_and(|own| own == *mark),
        }
    }
}

impl Key {
    pub(crate) fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Arc::new(Zeroizing::new(bytes.into())))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl KeyMark {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}

impl PartialEq for KeyMark {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.key.ptr_eq(&other.key)
    }
}

impl Eq for KeyMark {}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(id, key)| (id, key))).finish()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Debug for KeyMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> Key {
        Key::new(format!("the secret number {n}"))
    }

    fn ring(ids: &[&str]) -> Keys {
        Keys::new(ids.iter().enumerate().map(|(n, id)| ((*id).to_owned(), key(n)))).unwrap()
    }

    fn ids(keys: &Keys) -> Vec<&str> {
        keys.ids().collect()
    }

    #[test]
    fn a_key_is_added_behind_activated_to_the_front_and_retired() {
        let mut keys = Keys::default();
        assert!(keys.is_empty());
        keys.add("a".into(), key(0)).unwrap();
        assert_eq!(ids(&keys), ["a"], "the first one signs");
        keys.add("b".into(), key(1)).unwrap();
        keys.add("c".into(), key(2)).unwrap();
        assert_eq!(ids(&keys), ["a", "b", "c"]);
        keys.activate("c").unwrap();
        assert_eq!(ids(&keys), ["c", "a", "b"], "the others keep their order");
        keys.activate("c").unwrap();
        assert_eq!(ids(&keys), ["c", "a", "b"]);
        keys.retire("a").unwrap();
        assert_eq!((ids(&keys), keys.get("a"), keys.get("b")), (vec!["c", "b"], None, Some(&key(1))));
    }

    #[test]
    fn what_would_break_the_ring_is_refused_and_changes_nothing() {
        let mut keys = ring(&["a", "b"]);
        let before = keys.clone();
        let long = "x".repeat(65);
        for (id, key, error) in [
            ("b", key(9), SecretError::Duplicate("b".into())),
            ("c", Key::new(""), SecretError::Empty),
            ("", key(9), SecretError::InvalidId),
            ("a b", key(9), SecretError::InvalidId),
            ("ä", key(9), SecretError::InvalidId),
            (&long, key(9), SecretError::InvalidId),
        ] {
            assert_eq!(keys.add(id.into(), key), Err(error));
        }
        assert_eq!(keys.retire("a"), Err(SecretError::RetireActive("a".into())));
        assert_eq!(keys.retire("x"), Err(SecretError::Unknown("x".into())));
        assert_eq!(keys.activate("x"), Err(SecretError::Unknown("x".into())));
        assert_eq!(keys, before);
        keys.retire("b").unwrap();
        assert_eq!(keys.retire("a"), Err(SecretError::RetireActive("a".into())), "the last one, too");
    }

    #[test]
    fn a_ring_holds_as_many_keys_as_a_hello_can_list() {
        let ids: Vec<String> = (0..MAX_LIST).map(|n| format!("k{n}")).collect();
        let mut keys = ring(&ids.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(keys.add("one-more".into(), key(99)), Err(SecretError::Full));
        keys.retire("k3").unwrap();
        assert_eq!(keys.add("x".repeat(MAX_WORD), key(99)), Ok(()));
    }

    #[test]
    fn what_stays_over_a_replacement_is_the_same_key_and_nothing_else_is() {
        let mut keys = ring(&["a", "b", "c"]);
        let marks = [keys.mark("a"), keys.mark("b"), keys.mark("c")];
        let with = [("b".to_owned(), key(1)), ("a".to_owned(), key(7)), ("d".to_owned(), key(2))];
        keys.replace(Keys::new(with).unwrap());
        assert_eq!(ids(&keys), ["b", "a", "d"]);
        let admitted = marks.each_ref().map(|mark| keys.admits(mark.as_ref()));
        assert_eq!(admitted, [false, true, false], "other bytes under an old id are another key");
        assert!(!keys.admits(None), "there are keys");
        keys.replace(Keys::default());
        assert!(keys.admits(None) && marks.iter().all(|mark| !keys.admits(mark.as_ref())));
    }

    #[test]
    fn a_key_that_comes_back_is_not_the_one_that_was_retired() {
        let mut keys = ring(&["a", "b"]);
        let mark = keys.mark("b");
        assert!(mark.is_some() && keys.admits(mark.as_ref()));
        keys.activate("b").unwrap();
        assert!(keys.admits(mark.as_ref()));
        keys.activate("a").unwrap();
        keys.retire("b").unwrap();
        assert!(!keys.admits(mark.as_ref()));
        keys.add("b".into(), key(1)).unwrap();
        assert!(!keys.admits(mark.as_ref()));
        assert_eq!(keys.mark("x"), None);
    }

    #[test]
    fn keys_that_can_be_guessed_are_known_by_their_ids() {
        let mut keys = ring(&["long"]);
        keys.add("short".into(), Key::new("fifteen bytes..")).unwrap();
        keys.add("enough".into(), Key::new("sixteen bytes ..")).unwrap();
        assert_eq!(keys.short().collect::<Vec<_>>(), ["short"]);
        assert_eq!(format!("{keys:?}"), r#"{"long": ***, "short": ***, "enough": ***}"#);
        assert_eq!(format!("{:?}", keys.mark("short")), r#"Some("short")"#);
    }
}
