//! The rows of the peers: their processes are other programs, which this one becomes.
//!
//! | Peer | Program |
//! |---|---|
//! | ractor_cluster, kameo, elfo, actix-telepathy | `noex-bench-remote-peers`, of the workspace `benches/peers` |
//! | Erlang | two `erl` with the module `peers/erlang/noex_bench_erl.erl`, which is compiled at the start |
//!
//! So they run on the CPUs of every other row, talk over the same pipes, and are measured by the same parent.

use std::{
    env,
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::Outcome;

const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");
const PROGRAM: &str = "noex-bench-remote-peers";
/// Where the program is, if not where cargo puts it.
const PROGRAM_VARIABLE: &str = "NOEX_BENCH_PEERS";
const MODULE: &str = "noex_bench_erl";

/// A peer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Peer {
    /// A row of the program of the workspace `benches/peers`.
    Rust(&'static str),
    Erlang,
}

impl Peer {
    /// # Errors
    /// Its program is not there.
    pub(crate) fn check(self) -> Outcome<()> {
        match self {
            Peer::Rust(_) => program().map(drop),
            Peer::Erlang => {
                let erl =
                    Command::new("erl").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
                match erl {
                    Ok(status) if status.success() => Ok(()),
                    _ => Err("there is no `erl`: install Erlang (Debian: erlang-base)".into()),
                }
            }
        }
    }
}

fn program() -> Outcome<PathBuf> {
    let program = env::var_os(PROGRAM_VARIABLE)
        .map_or_else(|| Path::new(PEERS).join("target/release").join(PROGRAM), PathBuf::from);
    if program.exists() {
        return Ok(program);
    }
    Err(format!(
        "{} is not there: build it with `cargo build --release --manifest-path benches/peers/Cargo.toml -p {PROGRAM}`, \
         or say where it is in {PROGRAM_VARIABLE}",
        program.display()
    )
    .into())
}

/// Becomes the server of the peer.
///
/// # Errors
/// Its program does not start.
pub(crate) fn serve(peer: Peer) -> Outcome<()> {
    Err(match peer {
        Peer::Rust(row) => Command::new(program()?).args(["serve", row]).exec().into(),
        Peer::Erlang => {
            let port = free_port()?;
            erl(port, "serve", "server").args(["-extra", &port.to_string()]).exec().into()
        }
    })
}

/// Becomes the client of the peer.
///
/// # Errors
/// Its program does not start.
pub(crate) fn drive(peer: Peer, port: u16, server: u32) -> Outcome<()> {
    let (port_word, server) = (port.to_string(), server.to_string());
    Err(match peer {
        Peer::Rust(row) => Command::new(program()?).args(["drive", row, &port_word, &server]).exec().into(),
        Peer::Erlang => {
            let mut erl = erl(port, "drive", "client");
            erl.args(["-dist_listen", "false", "-extra", &server]).exec().into()
        }
    })
}

/// Erlang as it comes, without `epmd`: the port of the server is known.
fn erl(port: u16, function: &str, name: &str) -> Command {
    let source = format!("{PEERS}/erlang/{MODULE}.erl");
    let load = format!(
        "{{ok, Module, Beam}} = compile:file({source:?}, [binary]), {{module, _}} = code:load_binary(Module, \"\", Beam), \
         Module:{function}()."
    );
    let mut erl = Command::new("erl");
    erl.args(["-noshell", "-start_epmd", "false", "-erl_epmd_port", &port.to_string()]);
    erl.args(["-setcookie", "noex-bench", "-sname", &format!("{name}@localhost"), "-eval", &load]);
    erl
}

fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
