//! The commands `local` and `idle`.

use std::io;

use clap::Args;
use noex_bench::local::{self, IDLE, Idle, Job, Load, Phase, Plan, Report, Row, report, rounds};
use serde::Serialize;

use crate::{Outcome, chosen, system::Cpus, warn_of_debug};

#[derive(Debug, Args)]
pub(crate) struct Local {
    /// Short phases: the whole run ends within 25 s.
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
    /// Only these rows.
    #[arg(long, value_enum, value_delimiter = ',')]
    rows: Vec<Row>,
    /// Only these phases.
    #[arg(long, value_enum, value_delimiter = ',')]
    phases: Vec<Phase>,
    /// Over how many idle processes memory is measured; 0 leaves it out.
    #[arg(long, value_name = "N", default_value_t = IDLE)]
    processes: usize,
}

#[derive(Debug, Args)]
pub(crate) struct IdleArgs {
    /// How many.
    #[arg(default_value_t = 1_000_000)]
    processes: usize,
    /// One JSON object on standard output instead of a sentence.
    #[arg(long)]
    json: bool,
    /// All threads on this one CPU.
    #[arg(long, value_name = "CPU")]
    pin: Option<usize>,
    /// Of this row.
    #[arg(long, value_enum, default_value_t = Row::Noex)]
    row: Row,
}

#[derive(Debug, Args)]
pub(crate) struct LocalRow {
    row: Row,
    #[arg(long)]
    idle: Option<usize>,
    #[arg(long, value_delimiter = ',', required = true)]
    cpus: Vec<usize>,
    #[arg(long, value_delimiter = ',', required = true)]
    apart: Vec<usize>,
}

impl LocalRow {
    pub(crate) fn run(self) -> Outcome<()> {
        let cpus = Cpus { client: self.cpus, server: self.apart };
        self.row.run(self.idle.map_or(Job::Orders, Job::Idle), &cpus)
    }
}

fn cpus(pin: Option<usize>) -> Outcome<Cpus> {
    pin.map_or_else(Cpus::apart, Cpus::shared)
}

pub(crate) fn run(local: &Local) -> Outcome<()> {
    warn_of_debug();
    let plan = Plan {
        rows: chosen(&local.rows).into_iter().map(|row: Row| row.to_string()).collect(),
        phases: chosen(&local.phases),
        rounds: local.rounds,
        load: if local.quick { Load::quick() } else { Load::full() },
        idle: local.processes,
        cpus: cpus(local.pin)?,
    };
    let measured = rounds::run(&plan)?;
    if local.json {
        print_json(&Report::new("local", &measured, local.pin.is_some()))
    } else {
        print!("{}", report::tables(&measured, Row::Actix.name()));
        Ok(())
    }
}

#[derive(Debug, Serialize)]
struct IdleReport {
    kind: &'static str,
    #[serde(flatten)]
    idle: Idle,
}

pub(crate) fn run_idle(args: &IdleArgs) -> Outcome<()> {
    warn_of_debug();
    let idle = local::rounds::idle(args.row.name(), args.processes.max(1), &cpus(args.pin)?)?;
    if args.json {
        return print_json(&IdleReport { kind: "idle", idle });
    }
    println!(
        "{} idle processes of {}: started within {:.2} s, {:.0} ns each (the median), {:.0} bytes each, {:.0} MiB in all; each answered a call",
        idle.processes,
        args.row,
        idle.seconds,
        idle.nanos_per_start,
        idle.bytes_per_process,
        idle.rss_bytes as f64 / f64::from(1 << 20),
    );
    Ok(())
}

fn print_json(report: &impl Serialize) -> Outcome<()> {
    serde_json::to_writer(io::stdout().lock(), report)?;
    println!();
    Ok(())
}
