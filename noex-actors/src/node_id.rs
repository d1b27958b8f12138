//! The name of a node: `name@host:port`, checked strictly and kept canonical.
//!
//! | Part | Rule |
//! |---|---|
//! | name | a letter, then letters, digits, `_` or `-`; 1 to 64 characters |
//! | host | an IPv4 address, an IPv6 address in brackets, or an RFC 1123 host name; kept in lower case |
//! | port | 1 to 65535, decimal digits without sign or leading zero |
//!
//! Two ids are equal when their canonical texts are: `A@HOST:1` is `A@host:1`.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest node name, in characters.
pub const MAX_NAME: usize = 64;
/// The longest node id, in bytes: name, host name and port.
pub const MAX_NODE_ID: usize = MAX_NAME + 1 + 253 + 1 + 5;

/// Identity of a node: `name@host:port`. Cheap to clone; ordered bytewise by its text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(Arc<str>);

/// Why a text is not a [`NodeId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid node id \"{value}\": {reason}")]
#[non_exhaustive]
pub struct InvalidNodeId {
    /// The text that was refused, cut to a printable length.
    pub value: String,
    /// The rule that it broke.
    pub reason: &'static str,
}

impl InvalidNodeId {
    fn new(value: &str, reason: &'static str) -> Self {
        Self { value: value.chars().take(MAX_NODE_ID).collect(), reason }
    }
}

impl NodeId {
    /// Builds an id from its parts.
    ///
    /// # Errors
    /// [`InvalidNodeId`] when a part breaks its rule.
    pub fn new(name: &str, host: &str, port: u16) -> Result<Self, InvalidNodeId> {
        let host =
            if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
        Self::parse(&format!("{name}@{host}:{port}"))
    }

    /// Parses `name@host:port`.
    ///
    /// # Errors
    /// [`InvalidNodeId`] names the rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, InvalidNodeId> {
        let fail = |reason| InvalidNodeId::new(text, reason);
        let (name, address) = text.split_once('@').ok_or_else(|| fail("must contain '@': name@host:port"))?;
        check_name(name).map_err(fail)?;
        let (host, port) =
            address.rsplit_once(':').ok_or_else(|| fail("must contain ':' before the port"))?;
        let host = canonical_host(host).map_err(fail)?;
        let port = parse_port(port).map_err(fail)?;
        Ok(Self(format!("{name}@{host}:{port}").into()))
    }

    /// Whether the text is a valid id.
    #[must_use]
    pub fn is_valid(text: &str) -> bool {
        Self::parse(text).is_ok()
    }

    /// The name before the `@`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split_once('@').map_or("", |(name, _)| name)
    }

    /// The host; an IPv6 address comes without its brackets, ready to be dialled.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = self.address().rsplit_once(':').map_or("", |(host, _)| host);
        host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host)
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address().rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(0)
    }

    /// `host:port`, as it is dialled.
    #[must_use]
    pub fn address(&self) -> &str {
        self.0.split_once('@').map_or("", |(_, address)| address)
    }

    /// The whole text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Id of a node that is not clustered. OTP: `nonode@nohost`.
    #[must_use]
    pub fn nonode() -> Self {
        Self("nonode@nohost:1".into())
    }
}

/// Checks a node name alone.
///
/// # Errors
/// The rule that it breaks.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    let mut chars = name.chars();
    match chars.next() {
        None => return Err("the name must not be empty"),
        Some(c) if !c.is_ascii_alphabetic() => return Err("the name must start with a letter"),
        Some(_) => {}
    }
    if name.len() > MAX_NAME {
        return Err("the name must have at most 64 characters");
    }
    if chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
        Ok(())
    } else {
        Err("the name must consist of letters, digits, '_' and '-'")
    }
}

/// Checks a host and returns it as ids write it: lower case, IPv6 in brackets and shortest form.
///
/// # Errors
/// The rule that it breaks.
pub fn canonical_host(host: &str) -> Result<String, &'static str> {
    if host.is_empty() {
        return Err("the host must not be empty");
    }
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or("an IPv6 host must end with ']'")?;
        return inner
            .parse::<Ipv6Addr>()
            .map(|ip| format!("[{ip}]"))
            .map_err(|_why| "the host is not an IPv6 address");
    }
    if host.contains(':') {
        return host
            .parse::<Ipv6Addr>()
            .map(|ip| format!("[{ip}]"))
            .map_err(|_why| "the host must be a name, an IPv4 address or an IPv6 address in brackets");
    }
    if host.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return host
            .parse::<Ipv4Addr>()
            .map(|ip| ip.to_string())
            .map_err(|_why| "the host is not an IPv4 address");
    }
    if host.len() > 253 {
        return Err("the host must have at most 253 characters");
    }
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    if host.split('.').all(label) {
        Ok(host.to_ascii_lowercase())
    } else {
        Err("the host is not a host name (labels of letters, digits and '-', 1 to 63 each)")
    }
}

/// Parses a port of an id.
///
/// # Errors
/// The rule that it breaks.
pub fn parse_port(text: &str) -> Result<u16, &'static str> {
    if text.is_empty() || text.len() > 5 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err("the port must be a number from 1 to 65535");
    }
    if text.starts_with('0') {
        return Err("the port must be from 1 to 65535, without leading zeros");
    }
    text.parse().map_err(|_why| "the port must be a number from 1 to 65535")
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({})", self.0)
    }
}

impl FromStr for NodeId {
    type Err = InvalidNodeId;
    fn from_str(text: &str) -> Result<Self, InvalidNodeId> {
        Self::parse(text)
    }
}

impl TryFrom<String> for NodeId {
    type Error = InvalidNodeId;
    fn try_from(text: String) -> Result<Self, InvalidNodeId> {
        Self::parse(&text)
    }
}

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = NodeId;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a node id: name@host:port")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<NodeId, E> {
                NodeId::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// One life of a node: fresh at every start. OTP: creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

impl Incarnation {
    /// Unix seconds × 2^20 plus the microseconds of that second: below 2^53, and rising from start to start, also when a
    /// node is started again within a second.
    #[must_use]
    pub fn fresh() -> Self {
        let since = crate::Clock::since_epoch();
        Self((since.as_secs() << 20 | u64::from(since.subsec_micros())) & ((1 << 53) - 1))
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_ids_are_kept_canonical() {
        for (text, canonical) in [
            ("app1@localhost:4369", "app1@localhost:4369"),
            ("a@HOST.Example:1", "a@host.example:1"),
            ("a@[::1]:65535", "a@[::1]:65535"),
            ("a@::1:5", "a@[::1]:5"),
            ("a@[0:0:0::1]:5", "a@[::1]:5"),
            ("w-1_x@192.168.1.10:4369", "w-1_x@192.168.1.10:4369"),
        ] {
            let id = NodeId::parse(text).unwrap();
            assert_eq!(id.as_str(), canonical);
            assert_eq!(NodeId::parse(canonical).unwrap(), id);
            assert_eq!(NodeId::new(id.name(), id.host(), id.port()).unwrap(), id);
        }
        assert_eq!(NodeId::parse("a@[::1]:5").unwrap().host(), "::1");
    }

    #[test]
    fn what_the_original_let_through_is_refused() {
        for text in [
            "",
            "a",
            "a@",
            "@h:1",
            "a@h",
            "a@:1",
            "1invalid@host:4369",
            "app@host",
            "a b@h:1",
            "a@h:0",
            "a@h:65536",
            "a@h:80abc",
            "a@h:+80",
            "a@h: 80",
            "a@h:4369.9",
            "a@h:1e3",
            "a@h:00080",
            "a@:::::1:5",
            "a@h_x:1",
            "a@fe80::1%eth0:1",
            "a@256.1.1.1:1",
            "a@1.2.3:1",
            "a@-h:1",
            "a@h-:1",
            "a@h.:1",
            "a@[::1:5",
            "ä@h:1",
        ] {
            assert!(!NodeId::is_valid(text), "{text} was accepted");
        }
        assert!(!NodeId::is_valid(&format!("a@{}:1", "x".repeat(64))));
        assert!(!NodeId::is_valid(&format!("{}@h:1", "x".repeat(65))));
        assert!(NodeId::is_valid(&format!("{}@h:1", "x".repeat(64))));
    }

    #[test]
    fn incarnations_fit_in_53_bits_and_rise() {
        let now = Incarnation::fresh();
        assert!(now.0 < 1 << 53 && now.0 > 1_700_000_000 << 20);
        assert!((0..1000).all(|_| Incarnation::fresh() >= now), "a restart is never an earlier life");
    }
}
