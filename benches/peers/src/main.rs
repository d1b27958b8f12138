//! noex beside ractor and kameo, as published, with plain configuration.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml -- [--quick] [--json] [--pin CPU] [--rounds N]`
//!
//! The harness is that of `noex-bench local`: one child per row, measured in turn, the same phases. Each peer has
//! a row on a current-thread runtime and one on a multi-thread runtime with its defaults; the better of the two
//! is the one that counts, figure by figure. kameo has two more with its unbounded mailbox, as its default one (64
//! messages) makes whoever casts wait.

use std::{fmt, io, process::ExitCode};

use clap::{Parser, Subcommand, ValueEnum};
use noex_bench::{
    Outcome,
    local::{IDLE, Job, Load, Phase, Plan, Report, Row as Own, report, rounds},
    system::Cpus,
};

mod kameo_row;
mod ractor_row;
mod runtime;

use crate::{kameo_row::Kameo, ractor_row::Ractor, runtime::Flavor};

#[derive(Debug, Parser)]
#[command(name = "noex-bench-peers", about = "noex beside its peers")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Short phases.
    #[arg(long)]
    quick: bool,
    /// One JSON object on standard output instead of tables.
    #[arg(long)]
    json: bool,
    /// All threads of every row on this one CPU.
    #[arg(long, value_name = "CPU")]
    pin: Option<usize>,
    /// How many times each phase of each row is measured.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Over how many idle processes memory and starts are measured; 0 leaves it out.
    #[arg(long, value_name = "N", default_value_t = IDLE)]
    processes: usize,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One row.
    #[command(hide = true)]
    LocalRow {
        row: Row,
        #[arg(long)]
        idle: Option<usize>,
        #[arg(long, value_delimiter = ',', required = true)]
        cpus: Vec<usize>,
        #[arg(long, value_delimiter = ',', required = true)]
        apart: Vec<usize>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Row {
    Noex,
    Actix,
    RactorCt,
    RactorMt,
    KameoCt,
    KameoMt,
    KameoUnboundedCt,
    KameoUnboundedMt,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Row::Noex => "noex",
            Row::Actix => "actix",
            Row::RactorCt => "ractor-ct",
            Row::RactorMt => "ractor-mt",
            Row::KameoCt => "kameo-ct",
            Row::KameoMt => "kameo-mt",
            Row::KameoUnboundedCt => "kameo-unbounded-ct",
            Row::KameoUnboundedMt => "kameo-unbounded-mt",
        })
    }
}

impl Row {
    fn run(self, job: Job, cpus: &Cpus) -> Outcome<()> {
        match self {
            Row::Noex => Own::Noex.run(job, cpus),
            Row::Actix => Own::Actix.run(job, cpus),
            Row::RactorCt => runtime::run(Flavor::CurrentThread, job, cpus, Ractor),
            Row::RactorMt => runtime::run(Flavor::MultiThread, job, cpus, Ractor),
            Row::KameoCt => runtime::run(Flavor::CurrentThread, job, cpus, Kameo::Default),
            Row::KameoMt => runtime::run(Flavor::MultiThread, job, cpus, Kameo::Default),
            Row::KameoUnboundedCt => runtime::run(Flavor::CurrentThread, job, cpus, Kameo::Unbounded),
            Row::KameoUnboundedMt => runtime::run(Flavor::MultiThread, job, cpus, Kameo::Unbounded),
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.command {
        Some(Command::LocalRow { row, idle, cpus, apart }) => {
            let cpus = Cpus { client: cpus.clone(), server: apart.clone() };
            row.run(idle.map_or(Job::Orders, Job::Idle), &cpus)
        }
        None => measure(&cli),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("noex-bench-peers: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn measure(cli: &Cli) -> Outcome<()> {
    if cfg!(debug_assertions) {
        eprintln!("noex-bench-peers: built without --release, the figures mean nothing");
    }
    let plan = Plan {
        rows: Row::value_variants().iter().map(Row::to_string).collect(),
        phases: vec![Phase::Call, Phase::Timeout, Phase::Cast, Phase::Flow, Phase::Spawn],
        rounds: cli.rounds,
        load: if cli.quick { Load::quick() } else { Load::full() },
        idle: cli.processes,
        cpus: cli.pin.map_or_else(Cpus::apart, Cpus::shared)?,
    };
    let measured = rounds::run(&plan)?;
    if cli.json {
        serde_json::to_writer(io::stdout().lock(), &Report::new("peers", &measured, cli.pin.is_some()))?;
        println!();
    } else {
        print!("{}", report::tables(&measured, "noex"));
    }
    Ok(())
}
