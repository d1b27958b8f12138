//! Shared secrets: what proves that two nodes belong to one cluster.
//!
//! A secret is kept in memory that is wiped when it is dropped, never printed and never serialised. Several of them are
//! ordered: the first signs, all are accepted. `machine/keys.rs` decides what such a ring may hold.
//!
//! | Text | Is |
//! |---|---|
//! | of one secret | taken literally, id `default`; empty is none |
//! | a list | `id:secret,…`; white space around an entry is not part of it, and a secret holds no comma |
//! | a file | `id:secret` in each line; empty lines and those that begin with `#` are left out |

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::Path,
};

use zeroize::Zeroizing;

use crate::machine::keys::{Key, Keys, SecretError};

/// Id of the key of a secret that was given without one.
pub(crate) const DEFAULT_KEY_ID: &str = "default";
/// The most bytes of a file of secrets: what is longer is another file.
const MAX_FILE: u64 = 64 << 10;

/// The shared secrets of a configuration; empty means none.
///
/// Made from a text, taken literally, its id is `default`; an empty text is no secret. Several are made by
/// [`several`](Self::several), [`from_list`](Self::from_list) and [`from_file`](Self::from_file): the first signs,
/// all are accepted. `Debug` shows ids only.
///
/// ```
/// use noex_net::Secrets;
///
/// let one = Secrets::from("correct horse battery staple");
/// assert_eq!(one.ids(), ["default"]);
/// let ring = Secrets::from_list("2026-02:a new secret of our own,2026-01:the secret of before")?;
/// assert_eq!(ring.ids(), ["2026-02", "2026-01"]);
/// # Ok::<(), noex_net::InvalidSecrets>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(Keys);

/// Why a text is not a list of secrets. Nothing of it but ids is shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSecrets {
    /// There is no secret in it.
    #[error("must hold at least one id:secret")]
    None,
    /// A part has no colon between an id and a secret.
    #[error("must hold id:secret, and {place} does not")]
    NotAPair {
        /// Which part: `entry 2`, `line 2`.
        place: String,
    },
    /// A secret begins with white space. Whether that is meant cannot be seen, and would be missed.
    #[error("must not have white space behind the colon, as in {place}")]
    Space {
        /// Which part.
        place: String,
    },
    /// A part is no key, or not one that can stand beside those before it.
    #[error("{source} ({place})")]
    Secret {
        /// Which part.
        place: String,
        /// The rule.
        source: SecretError,
    },
    /// The file cannot be read, is longer than 64 KiB, or is not UTF-8.
    #[error("must name a file that can be read: {0}")]
    Unreadable(#[from] io::Error),
}

impl Secrets {
    /// No secret.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Several secrets with their ids; the first signs.
    ///
    /// # Errors
    /// [`SecretError`]: an id twice or not an id (1 to 64 letters, digits, dots, dashes and underscores), an empty secret, or
    /// more than 16 of them.
    pub fn several<I, K>(secrets: impl IntoIterator<Item = (I, K)>) -> Result<Self, SecretError>
    where
        I: Into<String>,
        K: Into<Vec<u8>>,
    {
        Keys::new(secrets.into_iter().map(|(id, key)| (id.into(), Key::new(key)))).map(Self)
    }

    /// Reads `id:secret,…`; the first signs. White space around an entry is not part of it.
    ///
    /// # Errors
    /// [`InvalidSecrets`] names the first entry that is wrong, without its secret.
    pub fn from_list(text: &str) -> Result<Self, InvalidSecrets> {
        parse(text.split(',').enumerate().map(|(at, entry)| (format!("entry {}", at + 1), entry.trim())))
    }

    /// Reads a file with `id:secret` in each line; the first signs. White space around a line, empty lines and lines that
    /// begin with `#` are left out. Blocks while it reads, 64 KiB at most.
    ///
    /// # Errors
    /// [`InvalidSecrets`] names the first line that is wrong, without its secret; [`InvalidSecrets::None`] if there is none:
    /// a file that is being written must not take the secrets away.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, InvalidSecrets> {
        Self::read(File::open(path)?)
    }

    pub(crate) fn read(file: impl Read) -> Result<Self, InvalidSecrets> {
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
        if u64::try_from(bytes.len()).is_ok_and(|len| len > MAX_FILE) {
            return Err(io::Error::other("it has more than 65536 bytes").into());
        }
        // The error of the decoding is left out: it says where, and no more.
        let text = std::str::from_utf8(&bytes).map_err(|_where| io::Error::other("it is not UTF-8"))?;
        let lines = text.lines().map(str::trim).enumerate();
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        parse(lines.map(|(at, line)| (format!("line {}", at + 1), line)))
    }

    /// Whether there is no secret.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any secret has fewer than 16 bytes and could be guessed.
    #[must_use]
    pub fn has_short(&self) -> bool {
        self.0.short().next().is_some()
    }

    /// Ids of the keys, the signing one first.
    #[must_use]
    pub fn ids(&self) -> Vec<&str> {
        self.0.ids().collect()
    }

    /// The keys themselves, for the ring.
    pub(crate) fn keys(&self) -> &Keys {
        &self.0
    }

    pub(crate) fn into_keys(self) -> Keys {
        self.0
    }
}

/// Reads `id:secret` parts, each with the words for its place.
fn parse<'a>(parts: impl Iterator<Item = (String, &'a str)>) -> Result<Secrets, InvalidSecrets> {
    let mut keys = Keys::default();
    for (place, part) in parts {
        let Some((id, secret)) = part.split_once(':') else { return Err(InvalidSecrets::NotAPair { place }) };
        if secret.starts_with(char::is_whitespace) {
            return Err(InvalidSecrets::Space { place });
        }
        keys.add(id.to_owned(), Key::new(secret))
            .map_err(|source| InvalidSecrets::Secret { place, source })?;
    }
    if keys.is_empty() { Err(InvalidSecrets::None) } else { Ok(Secrets(keys)) }
}

impl From<String> for Secrets {
    fn from(text: String) -> Self {
        // What cannot be added is the empty text.
        Self::several([(DEFAULT_KEY_ID, text)]).unwrap_or_default()
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
    fn several_secrets_come_as_pairs_a_list_or_a_file_and_the_first_signs() {
        let pairs = Secrets::several([("b", "the second: one"), ("a", "first")]).unwrap();
        assert_eq!(pairs.ids(), ["b", "a"]);
        assert_eq!(Secrets::from_list("b:the second: one,a:first").unwrap(), pairs);
        assert_eq!(Secrets::from_list(" b:the second: one ,\n a:first\t").unwrap(), pairs);
        assert_eq!(file("# ours\nb:the second: one\r\n\n  a:first \n# end").unwrap(), pairs);
        assert_eq!(Secrets::from_list("default:x").unwrap(), Secrets::from("x"));
        let comma = file("a:one, two").unwrap();
        assert_eq!(comma, Secrets::several([("a", "one, two")]).unwrap(), "lines may hold commas");
        assert!(matches!(Secrets::several([("a", "")]), Err(SecretError::Empty)));
    }

    /// Secrets from a file with this text.
    fn file(text: &(impl AsRef<[u8]> + ?Sized)) -> Result<Secrets, InvalidSecrets> {
        Secrets::read(text.as_ref())
    }

    #[test]
    fn a_wrong_list_is_refused_by_the_place_and_the_rule_without_its_secret() {
        for (text, place, rule) in [
            ("", "entry 1", "must hold id:secret"),
            ("hush", "entry 1", "must hold id:secret"),
            ("a:hush,", "entry 2", "must hold id:secret"),
            ("a:hush,hush", "entry 2", "must hold id:secret"),
            (":hush", "entry 1", "an id has 1 to 64"),
            ("hush hush:x", "entry 1", "an id has 1 to 64"),
            ("a:", "entry 1", "must not be empty"),
            ("a:hush,b:", "entry 2", "must not be empty"),
            ("a: hush", "entry 1", "white space"),
            ("a:hush,b:x,a:hush2", "entry 3", "\"a\" already"),
        ] {
            let error = Secrets::from_list(text).unwrap_err();
            let shown = error.to_string();
            assert!(shown.contains(place) && shown.contains(rule), "{text}: {shown}");
            assert!(!shown.contains("hush") && !format!("{error:?}").contains("hush"), "{shown}");
        }
        let many: Vec<String> = (0..17).map(|n| format!("k{n}:hush")).collect();
        let shown = Secrets::from_list(&many.join(",")).unwrap_err().to_string();
        assert!(shown.contains("at most 16") && shown.contains("entry 17"), "{shown}");
    }

    #[test]
    fn a_wrong_file_is_refused_by_its_line_and_an_empty_one_is_not_no_secret() {
        for (text, what) in [
            ("".as_bytes(), "at least one"),
            (b"\n# nothing\n", "at least one"),
            (b"# ours\n\na:hush\nhush\n", "line 4"),
            (b"a:hush\na:hush", "line 2"),
            (b"a:\xFFhush", "not UTF-8"),
            (&[b'#'; 65_537], "more than 65536 bytes"),
        ] {
            let error = file(text).unwrap_err();
            let shown = error.to_string();
            assert!(shown.contains(what), "{shown}");
            assert!(!shown.contains("hush") && !format!("{error:?}").contains("hush"), "{shown}");
        }
        let missing = Secrets::from_file("/no/such/file").unwrap_err().to_string();
        assert!(missing.starts_with("must name a file that can be read: "), "{missing}");
        assert!(Secrets::from_file("/").is_err(), "a directory");
    }
}
