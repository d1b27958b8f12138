//! The rows of the table: what each runs in its two processes.

use std::fmt;

use clap::ValueEnum;
use noex_net::TagAlgorithm;

use crate::{
    Outcome,
    baseline::{self, Body},
    noex_row::{self, Auth, Callers, Kind},
    peers::{self, Peer},
};

/// One implementation under load. The order is that of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Row {
    /// One task echoes frames: the limit.
    Bare,
    /// The same with MessagePack on both sides.
    BareMp,
    /// `bare` with a SHA-256 behind each large payload.
    Sha256,
    /// How a careful user would write it with tokio.
    MuxMp,
    /// noex in its default configuration, with a secret.
    Noex,
    /// noex without a secret.
    NoexOpen,
    /// noex over TLS, with a secret.
    NoexTls,
    /// noex with a secret and tags by keyed BLAKE3.
    NoexBlake3,
    /// noex with a secret and tags by HMAC-SHA256.
    NoexHmac,
    /// noex, callers and target each on another arbiter than the connection.
    NoexCross,
    /// noex on all CPUs, callers on the connection's arbiter.
    NoexOne,
    /// noex on all CPUs, half of the callers on another arbiter.
    NoexTwo,
    /// ractor_cluster.
    Ractor,
    /// kameo with its feature `remote`.
    Kameo,
    /// elfo with its feature `network`.
    Elfo,
    /// actix-telepathy.
    Telepathy,
    /// Erlang's own distribution.
    Erlang,
}

/// What a row is.
enum What {
    Bare(Body),
    Mux,
    Noex(Kind),
    Peer(Peer),
}

impl Row {
    /// Rows that are measured when nothing else is asked for.
    pub(crate) const USUAL: [Row; 6] =
        [Row::Bare, Row::BareMp, Row::MuxMp, Row::Noex, Row::NoexOpen, Row::NoexTls];

    /// The name on the command line and in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Row::Bare => "bare",
            Row::BareMp => "bare-mp",
            Row::Sha256 => "sha256",
            Row::MuxMp => "mux-mp",
            Row::Noex => "noex",
            Row::NoexOpen => "noex-open",
            Row::NoexTls => "noex-tls",
            Row::NoexBlake3 => "noex-blake3",
            Row::NoexHmac => "noex-hmac",
            Row::NoexCross => "noex-cross",
            Row::NoexOne => "noex-one",
            Row::NoexTwo => "noex-two",
            Row::Ractor => "ractor",
            Row::Kameo => "kameo",
            Row::Elfo => "elfo",
            Row::Telepathy => "telepathy",
            Row::Erlang => "erlang",
        }
    }

    fn what(self) -> What {
        let noex = |auth, callers| What::Noex(Kind { auth, callers });
        match self {
            Row::Bare => What::Bare(Body::Raw),
            Row::BareMp => What::Bare(Body::Msgpack),
            Row::Sha256 => What::Bare(Body::Sha256),
            Row::MuxMp => What::Mux,
            Row::Noex | Row::NoexOne => noex(Auth::Secret(None), Callers::Beside),
            Row::NoexOpen => noex(Auth::Open, Callers::Beside),
            Row::NoexTls => noex(Auth::Tls, Callers::Beside),
            Row::NoexBlake3 => noex(Auth::Secret(Some(TagAlgorithm::Blake3)), Callers::Beside),
            Row::NoexHmac => noex(Auth::Secret(Some(TagAlgorithm::HmacSha256)), Callers::Beside),
            Row::NoexCross => noex(Auth::Secret(None), Callers::Apart),
            Row::NoexTwo => noex(Auth::Secret(None), Callers::Both),
            Row::Ractor => What::Peer(Peer::Rust("ractor")),
            Row::Kameo => What::Peer(Peer::Rust("kameo")),
            Row::Elfo => What::Peer(Peer::Rust("elfo")),
            Row::Telepathy => What::Peer(Peer::Rust("telepathy")),
            Row::Erlang => What::Peer(Peer::Erlang),
        }
    }

    /// Whether it is not of this workspace.
    pub(crate) fn is_peer(self) -> bool {
        matches!(self.what(), What::Peer(_))
    }

    /// Whether both processes may use every CPU, for what needs more than one in a process.
    pub(crate) fn roams(self) -> bool {
        matches!(self, Row::NoexOne | Row::NoexTwo)
    }

    /// # Errors
    /// What it runs is not built or not installed; the text says how.
    pub(crate) fn check(self) -> Outcome<()> {
        match self.what() {
            What::Peer(peer) => peer.check(),
            What::Bare(_) | What::Mux | What::Noex(_) => Ok(()),
        }
    }

    /// The server process: prints its port, serves until its standard input closes.
    pub(crate) fn serve(self) -> Outcome<()> {
        match self.what() {
            What::Bare(body) => baseline::serve_bare(body),
            What::Mux => baseline::serve_mux(),
            What::Noex(kind) => noex_row::serve(kind),
            What::Peer(peer) => peers::serve(peer),
        }
    }

    /// The client process: connects to `port`, then answers orders until its standard input closes.
    pub(crate) fn drive(self, port: u16, server_pid: u32) -> Outcome<()> {
        match self.what() {
            What::Bare(body) => baseline::drive_bare(body, port, server_pid),
            What::Mux => baseline::drive_mux(port, server_pid),
            What::Noex(kind) => noex_row::drive(kind, port, server_pid),
            What::Peer(peer) => peers::drive(peer, port, server_pid),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_command_line() {
        for row in Row::value_variants() {
            assert_eq!(Row::from_str(row.name(), false), Ok(*row));
        }
    }

    #[test]
    fn what_is_measured_unasked_needs_nothing_from_elsewhere() {
        assert!(Row::USUAL.iter().all(|row| !row.is_peer() && row.check().is_ok()));
    }
}
