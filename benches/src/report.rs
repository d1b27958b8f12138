//! The report: one JSON object, or tables for people.
//!
//! JSON holds the medians. Ratios in the tables are medians of the ratios within a round, which is
//! steadier than the ratio of two medians.

use std::{collections::BTreeMap, thread};

use serde::Serialize;

use crate::{load::Metric, rounds::Measured, rows::Row, stats, table::Table};

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    kind: &'static str,
    cores: usize,
    pinned: bool,
    rows: Vec<RowReport>,
}

/// One row. A figure that was not measured is `null`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RowReport {
    name: &'static str,
    /// Bytes of a small message: the body in `bare`, about the whole message in the rows with MessagePack.
    payload: u32,
    rtt_p50_us: Option<f64>,
    rtt_p99_us: Option<f64>,
    calls64_per_s: Option<f64>,
    calls512_per_s: Option<f64>,
    casts_per_s: Option<f64>,
    cpu_us_per_call512: Option<f64>,
    mib1_mb_per_s: Option<f64>,
    /// Client, server; before the calls of 1 MiB.
    rss_peak_bytes: [u64; 2],
    /// Every median by the name of its metric.
    figures: BTreeMap<Metric, f64>,
}

const PAYLOAD: u32 = 64;

impl Report {
    pub(crate) fn new(measured: &[Measured], pinned: bool) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Report { kind: "remote", cores, pinned, rows: measured.iter().map(RowReport::new).collect() }
    }
}

impl RowReport {
    fn new(measured: &Measured) -> Self {
        let figure = |metric| median_of(measured, metric).map(|value| (value * 1e3).round() / 1e3);
        RowReport {
            name: measured.row.name(),
            payload: PAYLOAD,
            rtt_p50_us: figure(Metric::RttP50Us),
            rtt_p99_us: figure(Metric::RttP99Us),
            calls64_per_s: figure(Metric::Calls64PerS),
            calls512_per_s: figure(Metric::Calls512PerS),
            casts_per_s: figure(Metric::CastsPerS),
            cpu_us_per_call512: figure(Metric::CpuUsPerCall512),
            mib1_mb_per_s: figure(Metric::Mib1MbPerS),
            rss_peak_bytes: measured.rss_peaks,
            figures: measured.values.keys().filter_map(|metric| Some((*metric, figure(*metric)?))).collect(),
        }
    }
}

fn values(measured: &Measured, metric: Metric) -> &[f64] {
    measured.values.get(&metric).map_or(&[], Vec::as_slice)
}

pub(crate) fn median_of(measured: &Measured, metric: Metric) -> Option<f64> {
    stats::median(values(measured, metric))
}

/// A column, or a panel of the plot: its heading, its metric, and what one unit shown is in the metric's own.
pub(crate) struct Column(pub(crate) &'static str, pub(crate) Metric, pub(crate) f64);

impl Column {
    /// The median of a row, in units shown.
    pub(crate) fn shown(&self, row: &Measured) -> Option<f64> {
        median_of(row, self.1).map(|value| value / self.2)
    }
}

const COLUMNS: [Column; 11] = [
    Column("rtt p50 us", Metric::RttP50Us, 1.0),
    Column("p99 us", Metric::RttP99Us, 1.0),
    Column("cpu us", Metric::CpuUsPerRtt, 1.0),
    Column("64: k/s", Metric::Calls64PerS, 1e3),
    Column("cpu us", Metric::CpuUsPerCall64, 1.0),
    Column("512: k/s", Metric::Calls512PerS, 1e3),
    Column("cpu us", Metric::CpuUsPerCall512, 1.0),
    Column("casts k/s", Metric::CastsPerS, 1e3),
    Column("cpu us", Metric::CpuUsPerCast, 1.0),
    Column("lost", Metric::CastsLost, 1.0),
    Column("1 MiB MB/s", Metric::Mib1MbPerS, 1.0),
];

/// What is not measured in every run: shown if it was.
const MORE: [Column; 13] = [
    Column("8: k/s", Metric::Calls8PerS, 1e3),
    Column("cpu us", Metric::CpuUsPerCall8, 1.0),
    Column("4 KiB MB/s", Metric::Kib4MbPerS, 1.0),
    Column("64 KiB", Metric::Kib64MbPerS, 1.0),
    Column("8 MiB", Metric::Mib8MbPerS, 1.0),
    Column("cpu us/MiB", Metric::CpuUsPerMib1, 1.0),
    Column("ping p99 us", Metric::PingQuietP99Us, 1.0),
    Column("beside", Metric::PingBulkP99Us, 1.0),
    Column("bulk MB/s", Metric::PingBulkMbPerS, 1.0),
    Column("sys/call", Metric::SyscallsPerCall512, 1.0),
    Column("sys/cast", Metric::SyscallsPerCast, 1.0),
    Column("casts +MiB", Metric::CastGrowthClientMib, 1.0),
    Column("server +MiB", Metric::CastGrowthServerMib, 1.0),
];

const WIDTH: usize = 12;

/// The figures, the less usual ones, and the first as ratios to `bare` and to `mux-mp` where those were measured.
pub(crate) fn tables(measured: &[Measured]) -> String {
    let mut table = Table::new(WIDTH);
    let columns = || COLUMNS.iter().map(|Column(name, ..)| *name);
    table.heading("medians", columns(), "rss c/s MiB");
    for row in measured {
        let figures = COLUMNS.iter().map(|column| column.shown(row));
        let [client, server] = row.rss_peaks.map(|bytes| bytes as f64 / f64::from(1 << 20));
        table.line(row.row.name(), figures, &format!("{client:.0}/{server:.0}"));
    }
    let more: Vec<&Column> =
        MORE.iter().filter(|column| measured.iter().any(|row| row.values.contains_key(&column.1))).collect();
    if !more.is_empty() {
        table.heading("\nmore", more.iter().map(|column| column.0), "");
        for row in measured {
            table.line(row.row.name(), more.iter().map(|column| column.shown(row)), "");
        }
    }
    for base in [Row::Bare, Row::MuxMp] {
        let Some(base) = measured.iter().find(|row| row.row == base) else { continue };
        table.heading(&format!("\nx {}", base.row), columns(), "");
        for row in measured {
            let ratios = COLUMNS.iter().map(|Column(_, metric, _)| ratio(row, base, *metric));
            table.line(row.row.name(), ratios, "");
        }
    }
    table.into_text()
}

/// The median of the ratios within a round.
pub(crate) fn ratio(row: &Measured, base: &Measured, metric: Metric) -> Option<f64> {
    stats::median_ratio(values(row, metric), values(base, metric)).filter(|ratio| ratio.is_finite())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(row: Row, factor: f64) -> Measured {
        let metrics = COLUMNS.iter().map(|Column(_, metric, _)| *metric);
        let values = metrics.map(|metric| (metric, vec![3.0 * factor, factor, 2.0 * factor])).collect();
        Measured { row, values, rss_peaks: [1 << 20, 5 << 20] }
    }

    #[test]
    fn json_has_the_agreed_fields_and_no_others() {
        let figures: BTreeMap<Metric, f64> =
            COLUMNS.iter().map(|Column(_, metric, _)| (*metric, 20.0)).collect();
        let report = Report {
            kind: "remote",
            cores: 2,
            pinned: true,
            rows: vec![RowReport::new(&row(Row::BareMp, 10.0))],
        };
        assert_eq!(
            serde_json::to_value(&report).unwrap(),
            json!({
                "kind": "remote", "cores": 2, "pinned": true,
                "rows": [{
                    "name": "bare-mp", "payload": 64, "rttP50Us": 20.0, "rttP99Us": 20.0, "calls64PerS": 20.0,
                    "calls512PerS": 20.0, "castsPerS": 20.0, "cpuUsPerCall512": 20.0, "mib1MbPerS": 20.0,
                    "rssPeakBytes": [1_048_576, 5_242_880], "figures": figures,
                }],
            })
        );
    }

    #[test]
    fn what_was_not_measured_is_null() {
        let nothing = Measured { row: Row::Bare, values: BTreeMap::new(), rss_peaks: [0, 0] };
        let report = serde_json::to_value(Report::new(&[nothing], false)).unwrap();
        assert_eq!(report["rows"][0]["castsPerS"], json!(null));
        assert_eq!(report["pinned"], json!(false));
        assert!(report["cores"].as_u64().unwrap() >= 1);
    }

    #[test]
    fn tables_hold_medians_and_both_ratios() {
        let text = tables(&[row(Row::Bare, 1_000.0), row(Row::MuxMp, 500.0)]);
        let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words[1][..3], ["bare", "2000", "2000"]);
        assert_eq!(words[2][..5], ["mux-mp", "1000", "1000", "1000", "1.00"]);
        assert_eq!(words[2].last(), Some(&"1/5"));
        assert_eq!(words[4][..2], ["x", "bare"]);
        assert_eq!(words[6][..3], ["mux-mp", "0.50", "0.50"]);
        assert_eq!(words[8][..2], ["x", "mux-mp"]);
        assert_eq!(words[9][..3], ["bare", "2.00", "2.00"]);
        assert_eq!(words[10][..3], ["mux-mp", "1.00", "1.00"]);
    }

    #[test]
    fn ratios_are_left_out_without_their_baseline() {
        let text = tables(&[row(Row::BareMp, 1.0)]);
        assert_eq!(text.lines().count(), 2);
    }
}
