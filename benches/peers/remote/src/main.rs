//! ractor_cluster, kameo, elfo and actix-telepathy as rows of `noex-bench remote`, as published, with plain configuration.
//!
//! `noex-bench` starts this program: `serve ROW` prints its port and ends when its standard input closes, `drive ROW PORT SERVER_PID`
//! takes one order per line on standard input and answers one sample per line. The phases and the meters are those of every other row.
//! The messages hold what those of noex do: two numbers and bytes, which are bytes in the encoding, too, where the peer can.
//!
//! | Row | Runs on | What is not as it comes |
//! |---|---|---|
//! | `ractor` | tokio's multi-thread runtime | nothing |
//! | `kameo` | the same | 1024 requests under way, of up to 16 MiB each; casts are acknowledged, 64 under way: without, it loses its connection |
//! | `elfo` | the same | no dumping and no logs |
//! | `telepathy` | an actix `System` | it has no calls: a request and a reply with an id, and a table at the client |

use std::{future::Future, io, net::TcpListener, process::ExitCode};

use clap::{Parser, ValueEnum};
use noex_bench::{
    Outcome,
    remote::{
        child,
        driver::{Callers, Driver},
    },
};

mod elfo_row;
mod kameo_row;
mod ractor_row;
mod telepathy_row;

/// Bytes of a small payload, as in the rows of `noex-bench`.
const SMALL: usize = 32;
/// What the rows send beside the payload.
const ID: u64 = 1;
/// The same.
const PID: u64 = 42;

#[derive(Debug, Parser)]
#[command(name = "noex-bench-remote-peers", about = "rows of `noex-bench remote`, which starts it")]
enum Cli {
    /// The server of a row.
    Serve { row: Row },
    /// The client of a row.
    Drive { row: Row, port: u16, server_pid: u32 },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Row {
    Ractor,
    Kameo,
    Elfo,
    Telepathy,
}

fn main() -> ExitCode {
    let done = match Cli::parse() {
        Cli::Serve { row } => match row {
            Row::Ractor => ractor_row::serve(),
            Row::Kameo => kameo_row::serve(),
            Row::Elfo => elfo_row::serve(),
            Row::Telepathy => telepathy_row::serve(),
        },
        Cli::Drive { row, port, server_pid } => match row {
            Row::Ractor => ractor_row::drive(port, server_pid),
            Row::Kameo => kameo_row::drive(port, server_pid),
            Row::Elfo => elfo_row::drive(port, server_pid),
            Row::Telepathy => telepathy_row::drive(port, server_pid),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("noex-bench-remote-peers: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Runs this on the runtime of `#[tokio::main]`, in a task.
fn on_tokio<F>(main: F) -> Outcome<()>
where
    F: Future<Output = Outcome<()>> + Send + 'static,
{
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async move { tokio::spawn(main).await? })
}

/// Answers orders until the parent closes the pipe, then ends the process: some peers never do.
async fn answer(driver: impl Driver, server_pid: u32) -> Outcome<()> {
    child::answer(Callers::new(driver), server_pid).await?;
    std::process::exit(0)
}

/// Tells the port, and ends the process with the parent.
async fn announce(port: u16) -> Outcome<()> {
    child::announce(port)?;
    child::stdin_closed().await?;
    std::process::exit(0)
}

/// For peers that cannot be asked which port the system chose.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
