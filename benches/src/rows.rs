//! The rows of the table: what each runs in its two processes.

use std::fmt;

use clap::ValueEnum;

use crate::{
    Outcome,
    baseline::{self, Body},
    noex_row::{self, Auth},
};

/// One implementation under load. The order is that of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Row {
    /// One task echoes frames: the limit.
    Bare,
    /// The same with MessagePack on both sides.
    BareMp,
    /// How a careful user would write it with tokio.
    MuxMp,
    /// noex in its default configuration, with a secret.
    Noex,
    /// noex without a secret.
    NoexOpen,
    /// noex over TLS, with a secret.
    NoexTls,
}

impl Row {
    /// The name on the command line and in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Row::Bare => "bare",
            Row::BareMp => "bare-mp",
            Row::MuxMp => "mux-mp",
            Row::Noex => "noex",
            Row::NoexOpen => "noex-open",
            Row::NoexTls => "noex-tls",
        }
    }

    /// The server process: prints its port, serves until its standard input closes.
    pub(crate) fn serve(self) -> Outcome<()> {
        match self {
            Row::Bare => baseline::serve_bare(Body::Raw),
            Row::BareMp => baseline::serve_bare(Body::Msgpack),
            Row::MuxMp => baseline::serve_mux(),
            Row::Noex => noex_row::serve(Auth::Secret),
            Row::NoexOpen => noex_row::serve(Auth::Open),
            Row::NoexTls => noex_row::serve(Auth::Tls),
        }
    }

    /// The client process: connects to `port`, then answers orders until its standard input closes.
    pub(crate) fn drive(self, port: u16, server_pid: u32) -> Outcome<()> {
        match self {
            Row::Bare => baseline::drive_bare(Body::Raw, port, server_pid),
            Row::BareMp => baseline::drive_bare(Body::Msgpack, port, server_pid),
            Row::MuxMp => baseline::drive_mux(port, server_pid),
            Row::Noex => noex_row::drive(Auth::Secret, port, server_pid),
            Row::NoexOpen => noex_row::drive(Auth::Open, port, server_pid),
            Row::NoexTls => noex_row::drive(Auth::Tls, port, server_pid),
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
}
