//! What is known from the events of the nodes.

use std::collections::{BTreeMap, BTreeSet};

use crate::protocol::{Event, Instance, Progress, Row, short};

/// Everything heard so far. Nodes are named by their places in the list of processes.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Ids of the nodes that listen.
    pub(crate) ids: BTreeMap<usize, String>,
    /// Who sees whom.
    pub(crate) sees: BTreeMap<usize, BTreeSet<String>>,
    /// Where the children were first, as the supervisor says.
    pub(crate) placed: Vec<Instance>,
    pub(crate) supervising: bool,
    /// Who has the supervisor, as was told last.
    pub(crate) owner: Option<usize>,
    pub(crate) load: Progress,
    /// Children that the supervisor moved, each with its time.
    pub(crate) migrated: BTreeMap<String, u64>,
    /// When the supervisor's node saw which node go.
    pub(crate) downs: Vec<(u64, String)>,
    /// Answers to each count, by node.
    counts: BTreeMap<u64, BTreeMap<usize, Vec<Instance>>>,
    pub(crate) account: Option<Vec<Row>>,
    pub(crate) left: BTreeSet<usize>,
    /// Nodes whose process ended.
    pub(crate) ended: BTreeSet<usize>,
}

impl Facts {
    /// Takes note of an event.
    pub(crate) fn note(&mut self, from: usize, at: u64, event: &Event) {
        match event {
            Event::Started { id } => drop(self.ids.insert(from, id.clone())),
            Event::PeerUp { peer } => drop(self.sees.entry(from).or_default().insert(peer.clone())),
            Event::PeerDown { peer, .. } => {
                self.sees.entry(from).or_default().remove(peer);
                if from == 0 {
                    self.downs.push((at, peer.clone()));
                }
            }
            Event::Supervising { children } => {
                self.placed.clone_from(children);
                self.supervising = true;
                self.owner = Some(from);
            }
            Event::Migrated { child, .. } => drop(self.migrated.insert(child.clone(), at)),
            Event::Progress(progress) => self.load = progress.clone(),
            Event::Counted { sample, instances } => {
                self.counts.entry(*sample).or_default().insert(from, instances.clone());
            }
            Event::Account { rows } => self.account = Some(rows.clone()),
            Event::Left => drop(self.left.insert(from)),
            Event::NodeFailure { .. }
            | Event::Note { .. }
            | Event::Recovered { .. }
            | Event::Failed { .. } => {}
        }
    }

    /// Whether each of these nodes sees all others of them.
    pub(crate) fn is_meshed(&self, nodes: usize) -> bool {
        self.ids.len() == nodes
            && (0..nodes).all(|at| self.sees.get(&at).is_some_and(|seen| seen.len() == nodes - 1))
    }

    /// Children by the node on which the supervisor first placed them.
    pub(crate) fn placement(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut placement: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for instance in &self.placed {
            placement.entry(short(&instance.node)).or_default().push(&instance.child);
        }
        placement
    }

    /// The instances of a count that every one of these nodes has answered.
    pub(crate) fn counted(&self, sample: u64, living: &[usize]) -> Option<Vec<Instance>> {
        let answers = self.counts.get(&sample)?;
        let all = living.iter().map(|at| answers.get(at)).collect::<Option<Vec<_>>>()?;
        Some(all.into_iter().flatten().cloned().collect())
    }

    /// Ends the keeping of a count that was looked at.
    pub(crate) fn forget_count(&mut self, sample: u64) {
        self.counts.remove(&sample);
    }
}
