//! The order of measuring, and what was measured.
//!
//! ```text
//! for each round, for each small phase: each row in turn
//! memory peaks
//! for each round, for each large phase: each row in turn
//! for each round, for 512 calls and casts, if asked for: each row in turn, its system calls counted
//! ```
//!
//! The large phases come after all others, as they move the memory peaks, which are those of small
//! messages. The row that goes first changes from round to round.

use std::collections::BTreeMap;

use crate::{
    Outcome,
    load::{Load, Metric, Order, Phase, Sample},
    pair::Pair,
    rows::Row,
    system::Cpus,
};

/// What to measure.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) rows: Vec<Row>,
    pub(crate) phases: Vec<Phase>,
    pub(crate) rounds: u32,
    pub(crate) load: Load,
    pub(crate) cpus: Cpus,
    /// Whether to count system calls, too.
    pub(crate) syscalls: bool,
}

/// The figures of one row.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) row: Row,
    /// One value per round.
    pub(crate) values: BTreeMap<Metric, Vec<f64>>,
    /// Bytes, client first; before the large phase.
    pub(crate) rss_peaks: [u64; 2],
}

/// Starts every pair and measures them in turn. The pairs end with this call.
///
/// # Errors
/// A child could not start, failed, or hangs: there is no report then.
pub(crate) fn run(plan: &Plan) -> Outcome<Vec<Measured>> {
    let mut pairs = Vec::with_capacity(plan.rows.len());
    for row in &plan.rows {
        row.check()?;
    }
    for row in &plan.rows {
        pairs.push(Pair::start(*row, &plan.cpus)?);
    }
    let mut measured: Vec<Measured> = plan
        .rows
        .iter()
        .map(|row| Measured { row: *row, values: BTreeMap::new(), rss_peaks: [0; 2] })
        .collect();
    let (large, small): (Vec<Phase>, Vec<Phase>) =
        plan.phases.iter().partition(|phase| phase.large().is_some());
    measure(plan, &small, &mut pairs, &mut measured, Pair::run)?;
    for (pair, row) in pairs.iter().zip(&mut measured) {
        row.rss_peaks = pair.rss_peaks()?;
    }
    measure(plan, &large, &mut pairs, &mut measured, Pair::run)?;
    if plan.syscalls {
        let counted: Vec<Phase> =
            small.iter().copied().filter(|phase| matches!(phase, Phase::P512 | Phase::Cast)).collect();
        measure(plan, &counted, &mut pairs, &mut measured, Pair::count_syscalls)?;
    }
    Ok(measured)
}

fn measure(
    plan: &Plan,
    phases: &[Phase],
    pairs: &mut [Pair],
    measured: &mut [Measured],
    run: fn(&mut Pair, &Order) -> Outcome<Sample>,
) -> Outcome<()> {
    for Slot { round, phase, row } in slots(plan.rounds, phases, pairs.len()) {
        let (pair, measured) = (&mut pairs[row], &mut measured[row]);
        let sample = run(pair, &Order { phase, load: plan.load.clone() })
            .map_err(|failure| format!("{phase:?} of {}: {failure}", pair.row))?;
        eprintln!("round {}/{}, {phase:?}, {}: {sample:.2?}", round + 1, plan.rounds, pair.row);
        for (metric, value) in sample {
            measured.values.entry(metric).or_default().push(value);
        }
    }
    Ok(())
}

/// One phase of one row (its index) in one round.
#[derive(Debug, PartialEq, Eq)]
struct Slot {
    round: u32,
    phase: Phase,
    row: usize,
}

fn slots(rounds: u32, phases: &[Phase], rows: usize) -> Vec<Slot> {
    let mut slots = Vec::new();
    for round in 0..rounds {
        for phase in phases {
            slots.extend((0..rows).map(|turn| Slot {
                round,
                phase: *phase,
                row: (turn + round as usize) % rows,
            }));
        }
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_take_turns_within_a_phase_and_the_first_one_changes() {
        let rows: Vec<_> = slots(2, &[Phase::Seq, Phase::Cast], 3)
            .into_iter()
            .map(|slot| (slot.round, slot.phase, slot.row))
            .collect();
        assert_eq!(
            rows,
            [
                (0, Phase::Seq, 0),
                (0, Phase::Seq, 1),
                (0, Phase::Seq, 2),
                (0, Phase::Cast, 0),
                (0, Phase::Cast, 1),
                (0, Phase::Cast, 2),
                (1, Phase::Seq, 1),
                (1, Phase::Seq, 2),
                (1, Phase::Seq, 0),
                (1, Phase::Cast, 1),
                (1, Phase::Cast, 2),
                (1, Phase::Cast, 0),
            ]
        );
    }

    #[test]
    fn nothing_is_planned_for_no_phase_and_no_row() {
        assert_eq!(slots(3, &[], 2), []);
        assert_eq!(slots(3, &[Phase::Big], 0), []);
    }
}
