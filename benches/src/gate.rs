//! `--gate`: what must hold, what was reached.
//!
//! Pinned means both processes on one CPU: the stable regime, in which throughput is processor time per message. Apart means a CPU
//! each. Every ratio is the median of the ratios within a round. A line whose rows or phases were not measured is left out.

use std::fmt;

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
    reached: f64,
}

impl Line {
    pub(crate) fn holds(&self) -> bool {
        match self.bound {
            Bound::AtLeast => self.reached >= self.required,
            Bound::AtMost => self.reached <= self.required,
            Bound::Above => self.reached > self.required,
        }
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
        write!(f, "{:<58} {bound:>2} {:>9.3} {:>10.3}  {verdict}", self.what, self.required, self.reached)
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
        let applies = regime == Both || (regime == Pinned) == pinned;
        let Some((Some(measured), Some(of))) = applies.then(|| (find(row), find(base))) else { continue };
        let Some(reached) = ratio(measured, of, metric) else { continue };
        lines.push(Line { what: format!("{row}: {metric:?} x {base}"), bound, required, reached });
    }
    if let Some(noex) = find(Row::Noex) {
        lines.extend(absolute(noex));
    }
    for (row, metric, less) in AHEAD {
        let Some(own) = find(row) else { continue };
        let ahead = |peer: &Measured| {
            let ratio = if less { ratio(peer, own, metric) } else { ratio(own, peer, metric) };
            Some((peer.row, ratio?))
        };
        let peers = measured.iter().filter(|peer| peer.row.is_peer()).filter_map(ahead);
        let Some((peer, reached)) = peers.min_by(|one, other| one.1.total_cmp(&other.1)) else { continue };
        let what = format!("{row}: ahead of the closest peer ({peer}) in {metric:?}");
        let bound = if row == Row::NoexOpen { AtLeast } else { Bound::Above };
        lines.push(Line { what, bound, required: 1.0, reached });
    }
    lines
}

/// What needs no other row.
fn absolute(noex: &Measured) -> Vec<Line> {
    let median = |metric| report::median_of(noex, metric);
    let mut lines = Vec::new();
    let mut at_most = |what: &str, required, reached| {
        lines.push(Line { what: what.to_owned(), bound: AtMost, required, reached });
    };
    if let Some(reached) = median(Metric::SyscallsPerCall512) {
        at_most("noex: system calls per call at 512, both sides", 0.05, reached);
    }
    if let (Some(quiet), Some(beside), Some(rate)) =
        (median(Metric::PingQuietP99Us), median(Metric::PingBulkP99Us), median(Metric::PingBulkMbPerS))
    {
        // Bytes over megabytes per second are microseconds.
        at_most("noex: ping p99 beside calls of 8 MiB, us", quiet + 8.0 * CHUNK / rate, beside);
    }
    if median(Metric::CastsArrived).is_some_and(|casts| casts >= FLOOD) {
        let growths = [Metric::CastGrowthClientMib, Metric::CastGrowthServerMib];
        if let Some(grown) = growths.into_iter().filter_map(median).max_by(f64::total_cmp) {
            at_most("noex: MiB that a flood of a million casts grows a side", 64.0, grown);
        }
    }
    lines
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

    fn verdicts(measured: &[Measured], pinned: bool) -> BTreeMap<String, bool> {
        lines(measured, pinned).iter().map(|line| (line.what.clone(), line.holds())).collect()
    }

    #[test]
    fn the_regime_chooses_the_lines() {
        let rows = [
            row(Row::MuxMp, &[(Metric::Calls512PerS, 100.0)]),
            row(Row::Noex, &[(Metric::Calls512PerS, 80.0)]),
        ];
        let line = "noex: Calls512PerS x mux-mp".to_owned();
        assert_eq!(verdicts(&rows, true), BTreeMap::from([(line.clone(), false)]));
        assert_eq!(verdicts(&rows, false), BTreeMap::from([(line, true)]));
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
        assert_eq!(verdicts(&rows, true), BTreeMap::from([(line, false)]));
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
        let holds = |beside| verdicts(&[row(Row::Noex, &figures(beside))], false).into_values().all(|it| it);
        assert!(holds(1_049.0));
        assert!(!holds(1_051.0));
    }

    #[test]
    fn a_flood_counts_when_a_million_arrived() {
        let figures = |casts| [(Metric::CastsArrived, casts), (Metric::CastGrowthServerMib, 65.0)];
        assert!(lines(&[row(Row::Noex, &figures(9e5))], true).is_empty());
        let flood = lines(&[row(Row::Noex, &figures(1e6))], true);
        assert!(flood.len() == 1 && !flood[0].holds());
        assert!(text(&flood).contains("MISS"));
    }

    #[test]
    fn nothing_measured_is_nothing_to_hold() {
        assert!(lines(&[row(Row::Noex, &[]), row(Row::Bare, &[])], true).is_empty());
    }
}
