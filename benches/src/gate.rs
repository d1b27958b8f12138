//! `--gate`: what must hold, what was reached.
//!
//! Pinned means both processes on one CPU: the stable regime, in which throughput is processor time per message. Apart means a CPU
//! each. Every ratio is the median of the ratios within a round. A line whose rows or phases were not measured is a miss.

use std::fmt;

use clap::ValueEnum;

use crate::{
    load::Metric,
    report::{self, ratio},
    rounds::Measured,
    rows::Row,
};

/// Bytes of the longest frame of noex.
const CHUNK: f64 = 65_535.0;
/// Casts of a flood.
const FLOOD: f64 = 1e6;

/// Which side of the required value is the good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    AtLeast,
    AtMost,
    Above,
}

/// A figure that must hold.
#[derive(Debug)]
pub(crate) struct Line {
    what: String,
    bound: Bound,
    required: f64,
    /// `None`: it was not measured.
    reached: Option<f64>,
}

impl Line {
    pub(crate) fn holds(&self) -> bool {
        self.reached.is_some_and(|reached| match self.bound {
            Bound::AtLeast => reached >= self.required,
            Bound::AtMost => reached <= self.required,
            Bound::Above => reached > self.required,
        })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = match self.bound {
            Bound::AtLeast => ">=",
            Bound::AtMost => "<=",
            Bound::Above => ">",
        };
        let verdict = if self.holds() { "PASS" } else { "MISS" };
        let reached = self.reached.map_or_else(|| "none".to_owned(), |reached| format!("{reached:.3}"));
        write!(f, "{:<58} {bound:>2} {:>9.3} {reached:>10}  {verdict}", self.what, self.required)
    }
}

/// The ratio of two rows: both regimes, or only one of them.
struct Ratio(Regime, Row, Metric, Row, Bound, f64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Regime {
    Pinned,
    Apart,
    Both,
}

use self::{
    Bound::{AtLeast, AtMost},
    Regime::{Apart, Both, Pinned},
};

const RATIOS: [Ratio; 22] = [
    Ratio(Pinned, Row::Noex, Metric::RttP50Us, Row::Bare, AtMost, 1.2),
    Ratio(Pinned, Row::Noex, Metric::Calls64PerS, Row::MuxMp, AtLeast, 1.2),
    Ratio(Pinned, Row::Noex, Metric::Calls512PerS, Row::MuxMp, AtLeast, 1.4),
    Ratio(Pinned, Row::Noex, Metric::CastsPerS, Row::MuxMp, AtLeast, 1.1),
    Ratio(Pinned, Row::Noex, Metric::CpuUsPerCall512, Row::MuxMp, AtMost, 0.7),
    Ratio(Apart, Row::Noex, Metric::Calls64PerS, Row::MuxMp, AtLeast, 1.0),
    Ratio(Apart, Row::Noex, Metric::Calls512PerS, Row::MuxMp, AtLeast, 0.75),
    Ratio(Apart, Row::Noex, Metric::CastsPerS, Row::MuxMp, AtLeast, 1.0),
    Ratio(Apart, Row::NoexCross, Metric::RttP50Us, Row::Bare, AtMost, 2.5),
    Ratio(Apart, Row::NoexCross, Metric::Calls64PerS, Row::Noex, AtLeast, 0.6),
    Ratio(Apart, Row::NoexCross, Metric::Calls512PerS, Row::Noex, AtLeast, 0.6),
    Ratio(Apart, Row::NoexTwo, Metric::Calls64PerS, Row::NoexOne, AtLeast, 1.2),
    Ratio(Apart, Row::NoexTwo, Metric::Calls512PerS, Row::NoexOne, AtLeast, 1.2),
    Ratio(Both, Row::Noex, Metric::RttP50Us, Row::NoexOpen, AtMost, 1.15),
    Ratio(Both, Row::Noex, Metric::Calls64PerS, Row::NoexOpen, AtLeast, 0.85),
    Ratio(Both, Row::Noex, Metric::Calls512PerS, Row::NoexOpen, AtLeast, 0.85),
    Ratio(Both, Row::Noex, Metric::CastsPerS, Row::NoexOpen, AtLeast, 0.85),
    Ratio(Both, Row::NoexOpen, Metric::Mib1MbPerS, Row::Bare, AtLeast, 0.75),
    Ratio(Both, Row::Noex, Metric::Mib1MbPerS, Row::Bare, AtLeast, 0.5),
    Ratio(Both, Row::NoexBlake3, Metric::Mib1MbPerS, Row::Bare, AtLeast, 0.5),
    Ratio(Both, Row::NoexHmac, Metric::Mib1MbPerS, Row::Sha256, AtLeast, 1.0),
    Ratio(Both, Row::NoexHmac, Metric::Mib1MbPerS, Row::Bare, AtLeast, 0.22),
];

/// In which a peer must be behind, and whether less is better.
const AHEAD: [(Row, Metric, bool); 6] = [
    (Row::Noex, Metric::RttP50Us, true),
    (Row::Noex, Metric::Calls64PerS, false),
    (Row::Noex, Metric::Calls512PerS, false),
    (Row::Noex, Metric::CastsPerS, false),
    (Row::Noex, Metric::CpuUsPerCall512, true),
    (Row::NoexOpen, Metric::Mib1MbPerS, false),
];

/// All lines of a run.
pub(crate) fn lines(measured: &[Measured], pinned: bool) -> Vec<Line> {
    let find = |row: Row| measured.iter().find(|measured| measured.row == row);
    let mut lines = Vec::new();
    for Ratio(regime, row, metric, base, bound, required) in RATIOS {
        if regime == Both || (regime == Pinned) == pinned {
            let reached = find(row).zip(find(base)).and_then(|(row, base)| ratio(row, base, metric));
            lines.push(Line { what: format!("{row}: {metric:?} x {base}"), bound, required, reached });
        }
    }
    lines.extend(absolute(find(Row::Noex)));
    let peers: Vec<&Measured> = measured.iter().filter(|measured| measured.row.is_peer()).collect();
    let all = Row::value_variants().iter().filter(|row| row.is_peer()).count();
    let count = |peers| f64::from(u32::try_from(peers).unwrap_or(u32::MAX));
    let what = "peers in the run".to_owned();
    lines.push(Line { what, bound: AtLeast, required: count(all), reached: Some(count(peers.len())) });
    for (row, metric, less) in AHEAD {
        let ahead = |peer: &&Measured| {
            let own = find(row)?;
            let ratio = if less { ratio(peer, own, metric) } else { ratio(own, peer, metric) };
            Some((peer.row, ratio?))
        };
        let closest = peers.iter().filter_map(ahead).min_by(|one, other| one.1.total_cmp(&other.1));
        let name = closest.map(|(peer, _)| format!(" ({peer})")).unwrap_or_default();
        let what = format!("{row}: ahead of the closest peer{name} in {metric:?}");
        let bound = if row == Row::NoexOpen { AtLeast } else { Bound::Above };
        lines.push(Line { what, bound, required: 1.0, reached: closest.map(|(_, ratio)| ratio) });
    }
    lines
}

/// What needs no other row.
fn absolute(noex: Option<&Measured>) -> [Line; 3] {
    let median = |metric| noex.and_then(|noex| report::median_of(noex, metric));
    let at_most =
        |what: &str, required, reached| Line { what: what.to_owned(), bound: AtMost, required, reached };
    // Bytes over megabytes per second are microseconds.
    let eight_chunks = median(Metric::PingBulkMbPerS).map(|rate| 8.0 * CHUNK / rate);
    let patience = median(Metric::PingQuietP99Us).zip(eight_chunks).map(|(quiet, chunks)| quiet + chunks);
    let flood = median(Metric::CastsArrived).is_some_and(|casts| casts >= FLOOD);
    let growths = [Metric::CastGrowthClientMib, Metric::CastGrowthServerMib];
    let grown = growths.into_iter().filter_map(median).max_by(f64::total_cmp).filter(|_| flood);
    [
        at_most("noex: system calls per call at 512, both sides", 0.05, median(Metric::SyscallsPerCall512)),
        at_most(
            "noex: ping p99 beside calls of 8 MiB, us",
            patience.unwrap_or(0.0),
            patience.and_then(|_| median(Metric::PingBulkP99Us)),
        ),
        at_most("noex: MiB that a flood of a million casts grows a side", 64.0, grown),
    ]
}

/// The lines as text.
pub(crate) fn text(lines: &[Line]) -> String {
    let mut text = format!("\n{:<58} {:>12} {:>10}\n", "must hold", "required", "reached");
    for line in lines {
        text.push_str(&format!("{line}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn row(row: Row, figures: &[(Metric, f64)]) -> Measured {
        let values = figures.iter().map(|(metric, value)| (*metric, vec![*value])).collect();
        Measured { row, values, rss_peaks: [0; 2] }
    }

    /// What was measured of these rows.
    fn reached(measured: &[Measured], pinned: bool) -> BTreeMap<String, bool> {
        let lines = lines(measured, pinned).into_iter().filter(|line| line.what != "peers in the run");
        lines.filter(|line| line.reached.is_some()).map(|line| (line.what.clone(), line.holds())).collect()
    }

    #[test]
    fn the_regime_chooses_the_lines() {
        let rows = [
            row(Row::MuxMp, &[(Metric::Calls512PerS, 100.0)]),
            row(Row::Noex, &[(Metric::Calls512PerS, 80.0)]),
        ];
        let line = "noex: Calls512PerS x mux-mp".to_owned();
        assert_eq!(reached(&rows, true), BTreeMap::from([(line.clone(), false)]));
        assert_eq!(reached(&rows, false), BTreeMap::from([(line, true)]));
    }

    #[test]
    fn a_peer_that_is_as_fast_is_a_miss_and_the_closest_is_named() {
        let figures = |us| [(Metric::RttP50Us, us)];
        let rows = [
            row(Row::Noex, &figures(20.0)),
            row(Row::Elfo, &figures(20.0)),
            row(Row::Erlang, &figures(50.0)),
        ];
        let line = "noex: ahead of the closest peer (elfo) in RttP50Us".to_owned();
        assert_eq!(reached(&rows, true), BTreeMap::from([(line, false)]));
    }

    #[test]
    fn pings_may_wait_for_eight_chunks_at_the_rate_of_the_run() {
        let figures = |beside| {
            [
                (Metric::PingQuietP99Us, 50.0),
                (Metric::PingBulkP99Us, beside),
                (Metric::PingBulkMbPerS, 524.28),
            ]
        };
        let holds = |beside| reached(&[row(Row::Noex, &figures(beside))], false).into_values().all(|it| it);
        assert!(holds(1_049.0));
        assert!(!holds(1_051.0));
    }

    #[test]
    fn a_flood_counts_when_a_million_arrived() {
        let figures = |casts| [(Metric::CastsArrived, casts), (Metric::CastGrowthServerMib, 65.0)];
        assert!(reached(&[row(Row::Noex, &figures(9e5))], true).is_empty());
        let line = "noex: MiB that a flood of a million casts grows a side".to_owned();
        assert_eq!(reached(&[row(Row::Noex, &figures(1e6))], true), BTreeMap::from([(line, false)]));
    }

    #[test]
    fn what_was_not_measured_does_not_hold() {
        let lines = lines(&[row(Row::Noex, &[]), row(Row::Bare, &[])], true);
        assert_eq!(lines.len(), 14 + 3 + 1 + 6);
        assert!(lines.iter().all(|line| !line.holds()));
        assert!(text(&lines).contains("none  MISS"));
    }
}
