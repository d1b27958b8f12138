//! Where to look for the cluster: the texts of seeds.

use std::{fmt, str::FromStr};

use noex_actors::{
    NodeId,
    node_id::{canonical_host, parse_port},
};

/// A place to dial at start, and again for ever: a node, or whoever answers at an address.
///
/// Its text is `name@host:port` or `host:port`; an IPv6 host stands in brackets. A host name stands for every
/// address that it resolves to, resolved anew at each round.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Seed {
    /// A node: the name must match who answers, the host may be spelled otherwise.
    Node(NodeId),
    /// An address: whoever answers there.
    Address {
        /// Host name or address; IPv6 without brackets.
        host: String,
        /// Port, never 0.
        port: u16,
    },
}

/// Why a text is not a [`Seed`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid seed \"{value}\": {reason}; write name@host:port or host:port")]
#[non_exhaustive]
pub struct InvalidSeed {
    /// The text that was refused.
    pub value: String,
    /// The rule that it broke.
    pub reason: &'static str,
}

impl Seed {
    /// The host to resolve and dial; IPv6 without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        match self {
            Self::Node(id) => id.host(),
            Self::Address { host, .. } => host,
        }
    }

    /// The port to dial.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Self::Node(id) => id.port(),
            Self::Address { port, .. } => *port,
        }
    }
}

impl FromStr for Seed {
    type Err = InvalidSeed;
    fn from_str(text: &str) -> Result<Self, InvalidSeed> {
        let fail = |reason| InvalidSeed { value: text.chars().take(400).collect(), reason };
        if text.contains('@') {
            return NodeId::parse(text).map(Self::Node).map_err(|error| fail(error.reason));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(|| fail("the port is missing"))?;
        let host = canonical_host(host).map_err(fail)?;
        let port = parse_port(port).map_err(fail)?;
        Ok(Self::Address { host: without_brackets(&host).to_owned(), port })
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(id) => id.fmt(f),
            Self::Address { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Address { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// A host as it is dialled and bound: IPv6 without its brackets.
pub(super) fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_nodes_or_addresses() {
        for (text, shown, host, port) in [
            ("a@10.0.0.1:4369", "a@10.0.0.1:4369", "10.0.0.1", 4369),
            ("Seed.Example:80", "seed.example:80", "seed.example", 80),
            ("[::1]:5", "[::1]:5", "::1", 5),
            ("::1:5", "[::1]:5", "::1", 5),
            ("a@[0::1]:5", "a@[::1]:5", "::1", 5),
        ] {
            let seed: Seed = text.parse().unwrap();
            assert_eq!((seed.to_string().as_str(), seed.host(), seed.port()), (shown, host, port));
            assert_eq!(shown.parse(), Ok(seed));
        }
    }

    #[test]
    fn what_cannot_be_dialled_is_no_seed() {
        for text in [
            "",
            "a",
            "host",
            "host:",
            "host:0",
            "host:65536",
            ":1",
            "1a@h:1",
            "a@h",
            "h:+1",
            "h h:1",
            "[::1]",
        ] {
            let error = text.parse::<Seed>().unwrap_err();
            assert_eq!(error.value, text);
            assert!(error.to_string().contains("name@host:port or host:port"));
        }
    }
}
