//! The rows of the table.

use std::fmt;

use clap::ValueEnum;

use super::{Job, actix_row, noex_row, tokio_row};
use crate::{Outcome, system::Cpus};

/// One implementation under load. The order is that of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[non_exhaustive]
pub enum Row {
    /// A task behind a channel.
    Tokio,
    /// A plain actor.
    Actix,
    /// A process of noex.
    Noex,
}

impl Row {
    /// The name on the command line and in the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Row::Tokio => "tokio",
            Row::Actix => "actix",
            Row::Noex => "noex",
        }
    }

    /// Runs a child of this row: on the first half of the CPUs, its other threads on the second.
    ///
    /// # Errors
    /// Whatever goes wrong: the run is void.
    pub fn run(self, job: Job, cpus: &Cpus) -> Outcome<()> {
        match self {
            Row::Tokio => tokio_row::run(job, cpus),
            Row::Actix => actix_row::run(job, cpus),
            Row::Noex => noex_row::run(job, cpus),
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
