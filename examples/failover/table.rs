//! The summary: a row per child.

use std::{collections::BTreeMap, io};

use crate::{
    protocol::{Instance, Row, short},
    timeline::{Timeline, Tone, failures, grouped, span},
};

/// Beyond so many children only the rows that say something are shown.
const ALL_ROWS: usize = 60;
/// How many rows are shown of a longer table.
const SOME_ROWS: usize = 30;

/// Prints the rows of the children, with where they live by the nodes' own count.
pub(crate) fn print(
    timeline: &mut Timeline,
    rows: &[Row],
    counted: &[Instance],
    before: &[Instance],
) -> io::Result<()> {
    let mut lives: BTreeMap<&str, Vec<&Instance>> = BTreeMap::new();
    for instance in counted {
        lives.entry(&instance.child).or_default().push(instance);
    }
    let before: BTreeMap<&str, &str> = before.iter().map(|i| (i.child.as_str(), short(&i.node))).collect();
    let mut shown: Vec<&Row> = rows.iter().collect();
    if rows.len() > ALL_ROWS {
        shown.sort_by_key(|row| {
            (std::cmp::Reverse(row.failed.values().sum::<u64>()), std::cmp::Reverse(row.gap_us))
        });
        shown.truncate(SOME_ROWS);
    }
    timeline.line(
        Tone::Plain,
        format_args!(
            "\n{:<14} {:<10} {:>18} {:>12} {:>8} {:>12}",
            "child", "node", "generation", "calls ok", "failed", "longest gap"
        ),
    )?;
    for row in shown {
        let instances = lives.get(row.child.as_str()).map_or(&[][..], Vec::as_slice);
        let nodes: Vec<&str> = instances.iter().map(|instance| short(&instance.node)).collect();
        let node = match (before.get(row.child.as_str()), nodes.as_slice()) {
            (_, []) => "nowhere".to_owned(),
            (Some(old), [new]) if old != new => format!("{old} → {new}"),
            _ => nodes.join(" "),
        };
        let generations: Vec<String> =
            instances.iter().map(|instance| generation(instance.generation)).collect();
        let failed: u64 = row.failed.values().sum();
        timeline.line(
            if instances.len() == 1 && row.last.is_ok() { Tone::Plain } else { Tone::Bad },
            format_args!(
                "{:<14} {:<10} {:>18} {:>12} {:>8} {:>12}",
                row.child,
                node,
                generations.join(" "),
                grouped(row.ok),
                grouped(failed),
                span(row.gap_us)
            ),
        )?;
    }
    if rows.len() > SOME_ROWS && rows.len() > ALL_ROWS {
        let left = rows.len() - SOME_ROWS;
        timeline
            .line(Tone::Quiet, format_args!("… and {left} children with fewer failures or shorter gaps"))?;
    }
    let ok = rows.iter().map(|row| row.ok).sum();
    let mut all = BTreeMap::new();
    for (kind, count) in rows.iter().flat_map(|row| &row.failed) {
        *all.entry(kind.clone()).or_default() += count;
    }
    timeline.line(
        Tone::Plain,
        format_args!(
            "\n{} calls answered, {}; the longest gap is the longest time without an answer since the kill",
            grouped(ok),
            failures(&all)
        ),
    )
}

/// A generation as term and start, the two numbers that it is made of.
pub(crate) fn generation(generation: u64) -> String {
    let generation = noex::Generation(generation);
    format!("{}.{}", generation.term(), generation.n())
}
