//! The report: one JSON object, or tables for people.
//!
//! JSON holds the medians. Ratios in the tables are medians of the ratios within a round, which is
//! steadier than the ratio of two medians.

use std::{collections::BTreeMap, thread};

use serde::Serialize;

use super::{Measured, Metric};
use crate::{stats, table::Table};

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub struct Report {
    kind: &'static str,
    cores: usize,
    pinned: bool,
    rows: Vec<RowReport>,
}

/// One row. A figure that was not measured is `null`.
#[derive(Debug, Serialize)]
struct RowReport {
    name: String,
    #[serde(flatten)]
    figures: BTreeMap<&'static str, Option<f64>>,
}

/// A column: its name in JSON, its heading, its metric.
struct Column(&'static str, &'static str, Metric);

const COLUMNS: [Column; 12] = [
    Column("callNs", "call ns", Metric::CallNs),
    Column("callTimeoutNs", "+5 s", Metric::CallTimeoutNs),
    Column("castNs", "cast ns", Metric::CastNs),
    Column("largeBurstCastNs", "of 32768", Metric::LargeBurstCastNs),
    Column("spawnNs", "spawn ns", Metric::SpawnNs),
    Column("warmSpawnNs", "warm", Metric::WarmSpawnNs),
    Column("bytesPerProcess", "bytes", Metric::BytesPerProcess),
    Column("crossCallNs", "x call ns", Metric::CrossCallNs),
    Column("crossCastNs", "x cast ns", Metric::CrossCastNs),
    Column("quietCallNs", "quiet ns", Metric::QuietCallNs),
    Column("floodCallNs", "flood ns", Metric::FloodCallNs),
    Column("floodRatio", "ratio", Metric::FloodRatio),
];

impl Report {
    /// The medians.
    #[must_use]
    pub fn new(kind: &'static str, measured: &[Measured], pinned: bool) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Report { kind, cores, pinned, rows: measured.iter().map(RowReport::new).collect() }
    }
}

impl RowReport {
    fn new(measured: &Measured) -> Self {
        let rounded = |metric| median_of(measured, metric).map(|value| (value * 1e3).round() / 1e3);
        let figures = COLUMNS.iter().map(|Column(name, _, metric)| (*name, rounded(*metric))).collect();
        RowReport { name: measured.name.clone(), figures }
    }
}

fn values(measured: &Measured, metric: Metric) -> &[f64] {
    measured.values.get(&metric).map_or(&[], Vec::as_slice)
}

fn median_of(measured: &Measured, metric: Metric) -> Option<f64> {
    stats::median(values(measured, metric))
}

const WIDTH: usize = 11;

/// The figures, and the same as ratios to the row `base` where that was measured. A column nobody has is left out.
#[must_use]
pub fn tables(measured: &[Measured], base: &str) -> String {
    let names = measured.iter().map(|row| row.name.len()).max().unwrap_or(0).max(8) + 2;
    let mut table = Table::new(WIDTH).names(names);
    let seen = |metric| measured.iter().any(|row| !values(row, metric).is_empty());
    let columns: Vec<&Column> = COLUMNS.iter().filter(|Column(_, _, metric)| seen(*metric)).collect();
    let headings = || columns.iter().map(|Column(_, heading, _)| *heading);
    table.heading("medians", headings(), "");
    for row in measured {
        table.line(&row.name, columns.iter().map(|Column(_, _, metric)| median_of(row, *metric)), "");
    }
    if let Some(base) = measured.iter().find(|row| row.name == base) {
        table.heading(&format!("\nx {}", base.name), headings(), "");
        for row in measured {
            let ratio = |Column(_, _, metric): &&Column| {
                stats::median_ratio(values(row, *metric), values(base, *metric)).filter(|r| r.is_finite())
            };
            table.line(&row.name, columns.iter().map(ratio), "");
        }
    }
    table.into_text()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(name: &str, values: &[(Metric, f64)]) -> Measured {
        let values = values.iter().map(|(metric, value)| (*metric, vec![3.0 * value, *value, 2.0 * value]));
        Measured { name: name.to_owned(), values: values.collect() }
    }

    #[test]
    fn json_has_the_agreed_names_and_null_where_nothing_was_measured() {
        let measured = [row("noex", &[(Metric::CallNs, 10.0), (Metric::BytesPerProcess, 700.0)])];
        let report = serde_json::to_value(Report::new("local", &measured, true)).unwrap();
        assert_eq!((&report["kind"], &report["pinned"]), (&json!("local"), &json!(true)));
        assert!(report["cores"].as_u64().unwrap() >= 1);
        let noex = &report["rows"][0];
        assert_eq!(noex["name"], "noex");
        assert_eq!((&noex["callNs"], &noex["bytesPerProcess"]), (&json!(20.0), &json!(1400.0)));
        assert_eq!((&noex["castNs"], &noex["spawnNs"]), (&json!(null), &json!(null)));
    }

    #[test]
    fn tables_hold_medians_and_ratios_of_what_was_measured() {
        let text = tables(
            &[row("actix", &[(Metric::CallNs, 100.0)]), row("noex", &[(Metric::CallNs, 130.0)])],
            "actix",
        );
        let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words[0], ["medians", "call", "ns"]);
        assert_eq!(words[1], ["actix", "200"]);
        assert_eq!(words[2], ["noex", "260"]);
        assert_eq!(words[4], ["x", "actix", "call", "ns"]);
        assert_eq!(words[6], ["noex", "1.30"]);
    }
}
