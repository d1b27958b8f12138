//! Benchmarks of noex against what a user would write by hand.
//!
//! ```text
//! cargo run --release -p noex-bench -- remote [--quick] [--json] [--pin CPU] [--rounds N] [--rows a,b] [--phases a,b]
//! cargo run --release -p noex-bench -- local  [--quick] [--json] [--pin CPU] [--rounds N] [--rows a,b] [--phases a,b]
//! cargo run --release -p noex-bench -- idle [N] [--json] [--pin CPU]
//! ```
//!
//! `local` is described in [`noex_bench::local`]. Each row of `remote` is a server and a client in OS processes of their own, made by running this program again
//! with a hidden subcommand:
//!
//! ```text
//! noex-bench remote ──► noex-bench serve ROW        prints its port, ends when its stdin closes
//!                  └──► noex-bench drive ROW PORT   takes one order per line on stdin, answers one sample per line
//! ```
//!
//! All pairs stay alive through the whole run and are measured in turn, so that what the machine does
//! meanwhile falls on all of them. Figures are medians over the rounds. `--pin` puts both processes of
//! every row on one CPU; without it each has half of the CPUs to itself (see `system`). Memory peaks are
//! taken after the small messages and before the large calls. Linux only: processor time and memory are
//! read from `/proc`.
#![allow(clippy::print_stdout, reason = "the report is what this program is for")]
#![allow(clippy::print_stderr, reason = "progress goes beside the report")]

use std::{io, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use noex_bench::{Failure, Outcome, pipe, stats, system, table, worker};

use crate::{
    load::{Load, Phase},
    rows::Row,
    system::Cpus,
};

mod baseline;
mod child;
mod driver;
mod frame;
mod load;
mod local_command;
mod noex_row;
mod pair;
mod report;
mod rounds;
mod rows;

#[derive(Debug, Parser)]
#[command(name = "noex-bench", about = "Benchmarks of noex against its baselines")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Two processes per row, one connection over loopback: calls, casts, large calls.
    Remote(Remote),
    /// Processes within one program: calls, casts, starts, memory.
    Local(local_command::Local),
    /// Many idle processes of noex in one program: how long they take to start, and their memory.
    Idle(local_command::IdleArgs),
    /// One row of `local`.
    #[command(hide = true)]
    LocalRow(local_command::LocalRow),
    /// The server of one row.
    #[command(hide = true)]
    Serve {
        row: Row,
        #[arg(long, value_delimiter = ',', required = true)]
        cpus: Vec<usize>,
    },
    /// The client of one row.
    #[command(hide = true)]
    Drive {
        row: Row,
        port: u16,
        #[arg(long)]
        server_pid: u32,
        #[arg(long, value_delimiter = ',', required = true)]
        cpus: Vec<usize>,
    },
}

#[derive(Debug, Args)]
struct Remote {
    /// Short phases: the whole run ends within 25 s.
    #[arg(long)]
    quick: bool,
    /// One JSON object on standard output instead of tables.
    #[arg(long)]
    json: bool,
    /// Both processes of every row on this one CPU. Without it each has half of the CPUs to itself.
    #[arg(long, value_name = "CPU")]
    pin: Option<usize>,
    /// How many times each phase of each row is measured.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Only these rows.
    #[arg(long, value_enum, value_delimiter = ',')]
    rows: Vec<Row>,
    /// Only these phases.
    #[arg(long, value_enum, value_delimiter = ',')]
    phases: Vec<Phase>,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Remote(remote) => run_remote(&remote),
        Command::Local(local) => local_command::run(&local),
        Command::Idle(idle) => local_command::run_idle(&idle),
        Command::LocalRow(row) => row.run(),
        // Before the runtime exists: its threads inherit the mask.
        Command::Serve { row, cpus } => system::confine(&cpus).and_then(|()| row.serve()),
        Command::Drive { row, port, server_pid, cpus } => {
            system::confine(&cpus).and_then(|()| row.drive(port, server_pid))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("noex-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run_remote(remote: &Remote) -> Outcome<()> {
    warn_of_debug();
    let plan = rounds::Plan {
        rows: chosen(&remote.rows),
        phases: chosen(&remote.phases),
        rounds: remote.rounds,
        load: if remote.quick { Load::quick() } else { Load::full() },
        cpus: remote.pin.map_or_else(Cpus::apart, Cpus::shared)?,
    };
    let measured = rounds::run(&plan)?;
    if remote.json {
        let report = report::Report::new(&measured, remote.pin.is_some());
        serde_json::to_writer(io::stdout().lock(), &report)?;
        println!();
    } else {
        print!("{}", report::tables(&measured));
    }
    Ok(())
}

fn warn_of_debug() {
    if cfg!(debug_assertions) {
        eprintln!("noex-bench: built without --release, the figures mean nothing");
    }
}

/// What was asked for, in the order of the enum and once each; everything when nothing was.
fn chosen<T: clap::ValueEnum + Clone + PartialEq>(asked: &[T]) -> Vec<T> {
    let wanted = |value: &&T| asked.is_empty() || asked.contains(value);
    T::value_variants().iter().filter(wanted).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_choice_everything_is_measured_and_a_choice_keeps_the_order() {
        assert_eq!(chosen::<Phase>(&[]), [Phase::Seq, Phase::P64, Phase::P512, Phase::Cast, Phase::Big]);
        assert_eq!(chosen(&[Phase::Cast, Phase::Seq, Phase::Cast]), [Phase::Seq, Phase::Cast]);
    }
}
