//! Benchmarks of noex against what a user would write by hand.
//!
//! ```text
//! cargo run --release -p noex-bench -- remote [--quick] [--json] [--pin CPU] [--rounds N] [--rows a,b] [--phases a,b] [--all] [--syscalls] [--gate] [--plot FILE]
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

use std::{fs, io, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use noex_bench::{
    Failure, Outcome,
    remote::{child, driver, load},
    stats, system, table, worker,
};

use crate::{
    load::{Load, Phase},
    rows::Row,
    system::Cpus,
};

mod baseline;
mod frame;
mod gate;
mod local_command;
mod noex_row;
mod pair;
mod peers;
mod plot;
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
    /// Phases of a third of a second, and casts until a million were sent.
    #[arg(long, conflicts_with = "quick")]
    medium: bool,
    /// One JSON object on standard output instead of tables.
    #[arg(long)]
    json: bool,
    /// Prints what must hold beside what was reached, and fails if something does not. As `--all` where no rows or phases are named.
    #[arg(long)]
    gate: bool,
    /// Writes a plot of the medians to this file (SVG).
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Both processes of every row on this one CPU. Without it each has half of the CPUs to itself.
    #[arg(long, value_name = "CPU")]
    pin: Option<usize>,
    /// How many times each phase of each row is measured.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Only these rows. Without it those that need nothing but this program.
    #[arg(long, value_enum, value_delimiter = ',')]
    rows: Vec<Row>,
    /// Every phase of every row, the peers that are there among them, and system calls.
    #[arg(long)]
    all: bool,
    /// Counts system calls, too, with `perf`.
    #[arg(long)]
    syscalls: bool,
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
        rows: remote.chosen_rows(),
        phases: if remote.phases.is_empty() && !remote.everything() {
            Phase::USUAL.to_vec()
        } else {
            chosen(&remote.phases)
        },
        syscalls: remote.everything() || remote.syscalls,
        rounds: remote.rounds,
        load: match (remote.quick, remote.medium) {
            (true, _) => Load::quick(),
            (_, true) => Load::medium(),
            _ => Load::full(),
        },
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
    if let Some(file) = &remote.plot {
        fs::write(file, plot::svg(&measured))?;
    }
    if remote.gate {
        let lines = gate::lines(&measured, remote.pin.is_some());
        if remote.json {
            eprint!("{}", gate::text(&lines));
        } else {
            print!("{}", gate::text(&lines));
        }
        let missed = lines.iter().filter(|line| !line.holds()).count();
        if missed > 0 || lines.is_empty() {
            return Err(format!("{missed} of {} figures do not hold", lines.len()).into());
        }
    }
    Ok(())
}

impl Remote {
    fn everything(&self) -> bool {
        self.all || (self.gate && self.rows.is_empty() && self.phases.is_empty())
    }

    fn chosen_rows(&self) -> Vec<Row> {
        if !self.rows.is_empty() {
            return chosen(&self.rows);
        }
        if !self.everything() {
            return Row::USUAL.to_vec();
        }
        let there = |row: &Row| {
            row.check().inspect_err(|why| eprintln!("noex-bench: left out: {row}: {why}")).is_ok()
        };
        chosen::<Row>(&[]).into_iter().filter(there).collect()
    }
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
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_choice_everything_is_measured_and_a_choice_keeps_the_order() {
        assert_eq!(chosen::<Phase>(&[]), Phase::value_variants());
        assert_eq!(chosen(&[Phase::Cast, Phase::Seq, Phase::Cast]), [Phase::Seq, Phase::Cast]);
    }
}
