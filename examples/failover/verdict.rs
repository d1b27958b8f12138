//! Whether it went as it must.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    protocol::{Instance, Row, child_name, short},
    table::generation,
};

/// What the verdict is made from.
pub(crate) struct Evidence<'a> {
    pub(crate) children: usize,
    /// Short name of the node that was killed.
    pub(crate) victim: &'a str,
    /// Where the children were before the kill.
    pub(crate) before: &'a [Instance],
    /// The last count of the living nodes.
    pub(crate) counted: &'a [Instance],
    /// Children of which any count found two at a time.
    pub(crate) doubled: &'a BTreeSet<String>,
    pub(crate) rows: &'a [Row],
}

/// Everything that is wrong; empty if nothing is.
pub(crate) fn problems(evidence: &Evidence<'_>) -> Vec<String> {
    let mut problems = exactly_once(evidence.children, evidence.counted);
    for child in evidence.doubled {
        problems.push(format!("{child} was seen to run twice at a time"));
    }
    let old: BTreeMap<&str, &Instance> = evidence.before.iter().map(|i| (i.child.as_str(), i)).collect();
    for new in evidence.counted {
        let Some(old) = old.get(new.child.as_str()) else { continue };
        let (from, to) = (generation(old.generation), generation(new.generation));
        if short(&old.node) == evidence.victim {
            if new.generation <= old.generation {
                problems
                    .push(format!("{} came back in generation {to}, which is not above {from}", new.child));
            }
        } else if new.generation != old.generation {
            problems.push(format!(
                "{} was alive on {} and was restarted all the same",
                new.child,
                short(&old.node)
            ));
        }
    }
    let answers: BTreeMap<&str, &Row> = evidence.rows.iter().map(|row| (row.child.as_str(), row)).collect();
    for child in (1..=evidence.children).map(child_name) {
        match answers.get(child.as_str()).map(|row| &row.last) {
            Some(Ok(answer)) => {
                let runs =
                    evidence.counted.iter().any(|i| i.child == child && i.generation == answer.generation);
                if !runs {
                    let generation = generation(answer.generation);
                    problems.push(format!(
                        "{child} answered from generation {generation}, which was not counted"
                    ));
                }
            }
            Some(Err(error)) => problems.push(format!("{child} does not answer: {error}")),
            None => problems.push(format!("{child} was never called")),
        }
    }
    problems
}

/// What is wrong with a count: every child once, and nothing else.
pub(crate) fn exactly_once(children: usize, counted: &[Instance]) -> Vec<String> {
    let mut nodes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for instance in counted {
        nodes.entry(&instance.child).or_default().push(short(&instance.node));
    }
    let expected: Vec<String> = (1..=children).map(child_name).collect();
    let mut problems = Vec::new();
    for child in &expected {
        match nodes.remove(child.as_str()).as_deref() {
            Some([_]) => {}
            Some(many) => {
                problems.push(format!("{child} runs {} times, on {}", many.len(), many.join(" and ")));
            }
            None => problems.push(format!("{child} runs nowhere")),
        }
    }
    problems
        .extend(nodes.into_keys().map(|child| format!("{child} runs, but is no child of this supervisor")));
    problems
}

/// Children of which a count holds more than one instance.
pub(crate) fn doubled(counted: &[Instance]) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    counted.iter().filter(|i| !seen.insert(i.child.as_str())).map(|i| i.child.clone()).collect()
}
