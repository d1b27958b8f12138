//! `--plot`: the medians as bars, one panel per figure, on a logarithmic scale. SVG, written by hand.

use crate::{load::Metric, report::Column, rounds::Measured};

const PANELS: [Column; 6] = [
    Column("round trip, p50 in µs (less is better)", Metric::RttP50Us, 1.0),
    Column("calls, 64 outstanding, 1000/s", Metric::Calls64PerS, 1e3),
    Column("calls, 512 outstanding, 1000/s", Metric::Calls512PerS, 1e3),
    Column("casts, 1000/s", Metric::CastsPerS, 1e3),
    Column("processor time per call at 512 in µs (less is better)", Metric::CpuUsPerCall512, 1.0),
    Column("calls of 1 MiB, MB/s", Metric::Mib1MbPerS, 1.0),
];

const WIDTH: usize = 460;
const NAMES: usize = 90;
const VALUES: usize = 60;
const BAR: usize = 16;
const TITLE: usize = 34;

/// The plot of a run. A row without a figure is left out of its panel.
pub(crate) fn svg(measured: &[Measured]) -> String {
    let height = TITLE + measured.len() * BAR + 10;
    let (total_width, total_height) = (2 * WIDTH, PANELS.len().div_ceil(2) * height);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{total_width}\" height=\"{total_height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (at, panel) in PANELS.iter().enumerate() {
        let (left, top) = ((at % 2) * WIDTH, (at / 2) * height);
        let bars: Vec<(&Measured, f64)> = measured
            .iter()
            .filter_map(|row| Some((row, panel.shown(row)?)))
            .filter(|(_, value)| *value > 0.0)
            .collect();
        svg.push_str(&format!(
            "<text x=\"{}\" y=\"{}\" font-weight=\"bold\">{}</text>\n",
            left + 10,
            top + 20,
            panel.0
        ));
        for (line, (row, value)) in bars.iter().enumerate() {
            svg.push_str(&bar(left, top + TITLE + line * BAR, row, *value, &bars));
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn bar(left: usize, top: usize, row: &Measured, value: f64, all: &[(&Measured, f64)]) -> String {
    let least = all.iter().map(|(_, value)| *value).fold(f64::INFINITY, f64::min) / 2.0;
    let most = all.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let part = (value / least).ln() / (most / least).ln();
    let width = part * (WIDTH - NAMES - VALUES - 20) as f64;
    let name = row.row.name();
    let color = match name {
        name if name.starts_with("noex") => "#2a6fdb",
        _ if row.row.is_peer() => "#c9772b",
        _ => "#9a9a9a",
    };
    let (from, base) = (left + NAMES, top + 11);
    let shown = if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") };
    format!(
        "<text x=\"{}\" y=\"{base}\" text-anchor=\"end\">{name}</text>\
         <rect x=\"{from}\" y=\"{}\" width=\"{width:.1}\" height=\"{}\" fill=\"{color}\"/>\
         <text x=\"{:.1}\" y=\"{base}\">{shown}</text>\n",
        from - 5,
        top + 2,
        BAR - 4,
        from as f64 + width + 4.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Row;

    fn row(row: Row, us: f64) -> Measured {
        Measured { row, values: [(Metric::RttP50Us, vec![us])].into(), rss_peaks: [0; 2] }
    }

    #[test]
    fn a_longer_bar_is_a_larger_figure_and_every_figure_is_written() {
        let svg = svg(&[row(Row::Bare, 10.0), row(Row::Noex, 20.0), row(Row::Elfo, 40.0)]);
        let widths: Vec<f64> = svg
            .lines()
            .filter_map(|line| {
                line.split_once("<rect x=")?.1.split("width=\"").nth(1)?.split('"').next()?.parse().ok()
            })
            .collect();
        assert_eq!(widths.len(), 3, "{svg}");
        assert!(widths[0] > 0.0 && widths[0] < widths[1] && widths[1] < widths[2], "{widths:?}");
        assert!([">10.00<", ">20.00<", ">40.00<", ">elfo<"].iter().all(|text| svg.contains(text)), "{svg}");
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    }
}
