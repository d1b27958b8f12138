//! Shared secrets: what proves that two nodes belong to one cluster.
//!
//! A secret is kept in memory that is wiped when it is dropped, never printed and never serialised. A list of
//! them is ordered: the first signs, all are accepted.

use std::fmt;

use zeroize::Zeroizing;

/// Id of the key of a secret that was given without one.
pub(crate) const DEFAULT_KEY_ID: &str = "default";
/// Below this many bytes a secret can be guessed; the node warns.
pub(crate) const SHORT_SECRET: usize = 16;

/// The shared secrets of a configuration; empty means none.
///
/// Made from a text, taken literally; an empty text is no secret. `Debug` shows ids only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(Keys);

/// Keys with their ids: the first signs, all are accepted. Ids are unique.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Keys(Vec<(String, Key)>);

/// The bytes of one secret; wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key(Zeroizing<Vec<u8>>);

impl Secrets {
    /// No secret.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether there is no secret.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any secret has fewer than 16 bytes and could be guessed.
    #[must_use]
    pub fn has_short(&self) -> bool {
        self.0.0.iter().any(|(_, key)| key.bytes().len() < SHORT_SECRET)
    }

    /// Ids of the keys, the signing one first.
    #[must_use]
    pub fn ids(&self) -> Vec<&str> {
        self.0.ids().collect()
    }

    /// The keys themselves, for the handshake.
    pub(crate) fn keys(&self) -> &Keys {
        &self.0
    }
}

impl Keys {
    /// Keys in this order. An id that comes twice keeps its first key.
    pub(crate) fn new(keys: impl IntoIterator<Item = (String, Key)>) -> Self {
        let mut unique: Vec<(String, Key)> = Vec::new();
        for (id, key) in keys {
            if !unique.iter().any(|(known, _)| *known == id) {
                unique.push((id, key));
            }
        }
        Self(unique)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(id, _)| id.as_str())
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Key> {
        self.0.iter().find(|(known, _)| known == id).map(|(_, key)| key)
    }
}

impl Key {
    pub(crate) fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<String> for Secrets {
    fn from(text: String) -> Self {
        if text.is_empty() {
            return Self::none();
        }
        Self(Keys::new([(DEFAULT_KEY_ID.to_owned(), Key::new(text))]))
    }
}

impl From<&str> for Secrets {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl From<Option<String>> for Secrets {
    fn from(text: Option<String>) -> Self {
        text.map_or_else(Self::none, Self::from)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let secrets = Secrets::from("correct horse battery staple");
        assert_eq!(format!("{secrets:?}"), r#"{"default": ***}"#);
        assert!(!secrets.is_empty() && !secrets.has_short());
        assert!(Secrets::from("short").has_short());
    }

    #[test]
    fn an_empty_secret_is_none() {
        assert!(Secrets::from("").is_empty());
        assert!(Secrets::from(Some(String::new())).is_empty());
        assert!(Secrets::from(None).is_empty());
        assert_eq!(Secrets::from(Some("a".to_owned())), Secrets::from("a"));
        assert!(Secrets::from(" ").ids() == ["default"], "taken literally");
    }

    #[test]
    fn an_id_keeps_its_first_key() {
        let keys = Keys::new([
            ("a".into(), Key::new("1")),
            ("a".into(), Key::new("2")),
            ("b".into(), Key::new("3")),
        ]);
        assert_eq!(keys.ids().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(keys.get("a").map(Key::bytes), Some(b"1".as_slice()));
    }
}
