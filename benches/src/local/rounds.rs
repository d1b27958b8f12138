//! The order of measuring: for each round, for each phase, each row in turn; then memory likewise.
//!
//! The row that goes first changes from round to round.

use std::{collections::BTreeMap, time::Duration};

use super::{Idle, Load, Metric, Order, Phase, Sample};
use crate::{Outcome, system::Cpus, worker::Worker};

/// How long a child may take to start its idle processes.
const PATIENCE: Duration = Duration::from_secs(300);

/// What to measure.
#[derive(Debug)]
pub struct Plan {
    /// Names of rows, which the hidden subcommand `local-row` of this program knows.
    pub rows: Vec<String>,
    /// In this order.
    pub phases: Vec<Phase>,
    /// How many times.
    pub rounds: u32,
    /// For how long.
    pub load: Load,
    /// Idle processes over which memory is measured; 0 leaves it out.
    pub idle: usize,
    /// Where the children run: the thread that is measured on the first half, any other on the second.
    pub cpus: Cpus,
}

/// The figures of one row.
#[derive(Debug)]
pub struct Measured {
    /// The row.
    pub name: String,
    /// One value per round.
    pub values: BTreeMap<Metric, Vec<f64>>,
}

/// Measures all rows in turn. The children end with this call.
///
/// # Errors
/// A child could not start, failed, or hangs: there is no report then.
pub fn run(plan: &Plan) -> Outcome<Vec<Measured>> {
    let start = |row: &String| child(row, &[], &plan.cpus);
    let mut children = plan.rows.iter().map(start).collect::<Outcome<Vec<Worker>>>()?;
    let mut measured: Vec<Measured> =
        plan.rows.iter().map(|name| Measured { name: name.clone(), values: BTreeMap::new() }).collect();
    for round in 0..plan.rounds {
        for phase in &plan.phases {
            for row in turns(round, plan.rows.len()) {
                let order = Order { phase: *phase, load: plan.load.clone() };
                let sample: Sample = children[row]
                    .ask(&order)
                    .map_err(|failure| format!("{phase:?} of {}: {failure}", plan.rows[row]))?;
                note(plan, round, &mut measured[row], sample);
            }
        }
    }
    // The others do not run while memory is measured; they would only hold theirs.
    drop(children);
    if plan.idle > 0 {
        for round in 0..plan.rounds {
            for row in turns(round, plan.rows.len()) {
                let taken = idle(&plan.rows[row], plan.idle, &plan.cpus)?;
                let sample = Sample::from([
                    (Metric::BytesPerProcess, taken.bytes_per_process),
                    (Metric::SpawnNs, taken.nanos_per_start),
                ]);
                note(plan, round, &mut measured[row], sample);
            }
        }
    }
    Ok(measured)
}

/// Starts idle processes in a child of their own, which ends with this call.
///
/// # Errors
/// The child failed or hangs.
pub fn idle(row: &str, count: usize, cpus: &Cpus) -> Outcome<Idle> {
    let line = child(row, &["--idle", &count.to_string()], cpus)?.next_line_within(PATIENCE)?;
    Ok(serde_json::from_str(&line)?)
}

fn child(row: &str, more: &[&str], cpus: &Cpus) -> Outcome<Worker> {
    let apart: Vec<String> = cpus.server.iter().map(usize::to_string).collect();
    let apart = apart.join(",");
    let args = ["local-row", row, "--apart", &apart].into_iter().chain(more.iter().copied());
    Worker::start(&args.map(str::to_owned).collect::<Vec<String>>(), &cpus.client)
}

#[allow(clippy::print_stderr, reason = "progress goes beside the report")]
fn note(plan: &Plan, round: u32, measured: &mut Measured, sample: Sample) {
    eprintln!("round {}/{}, {}: {sample:.1?}", round + 1, plan.rounds, measured.name);
    for (metric, value) in sample {
        measured.values.entry(metric).or_default().push(value);
    }
}

fn turns(round: u32, rows: usize) -> impl Iterator<Item = usize> {
    (0..rows).map(move |turn| (turn + round as usize) % rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_that_goes_first_changes_from_round_to_round() {
        let rounds: Vec<Vec<usize>> = (0..3).map(|round| turns(round, 3).collect()).collect();
        assert_eq!(rounds, [[0, 1, 2], [1, 2, 0], [2, 0, 1]]);
        assert_eq!(turns(5, 0).count(), 0);
    }
}
