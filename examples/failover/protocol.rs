//! The lines between this program and its nodes: one JSON value each.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// The first line to a node. The secret comes this way, so that no list of processes shows it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) name: String,
    pub(crate) seed: Option<String>,
    pub(crate) secret: String,
}

/// Every further line to a node. The end of the lines ends the node, whatever it does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Start the supervisor over that many counters.
    Supervise { children: usize },
    /// Start it, or wait until whoever has it is gone.
    StandBy { children: usize },
    /// Call that many counters, each without pause.
    Drive { children: usize },
    /// From now on, note the longest time without an answer.
    Mark,
    /// Say which supervised instances are alive here.
    Count { sample: u64 },
    /// End the calls, make a last one to each child, and give an account.
    Account,
    /// Leave the cluster in good order.
    Leave,
}

/// An event with the time at which it happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stamped {
    /// Microseconds since 1970.
    pub(crate) at: u64,
    pub(crate) event: Event,
}

/// What a node tells.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Event {
    /// It listens.
    Started {
        id: String,
    },
    PeerUp {
        peer: String,
    },
    PeerDown {
        peer: String,
        reason: String,
    },
    /// It has the supervisor, and all children were started or taken over.
    Supervising {
        children: Vec<Instance>,
    },
    /// The supervisor counts a node as lost.
    NodeFailure {
        node: String,
        children: usize,
    },
    Migrated {
        child: String,
        from: String,
        to: String,
        generation: u64,
    },
    /// Something else that the supervisor said.
    Note {
        text: String,
    },
    Progress(Progress),
    /// A child answers again after calls to it had failed.
    Recovered {
        child: String,
        gap_us: u64,
        failed: Failures,
    },
    Counted {
        sample: u64,
        instances: Vec<Instance>,
    },
    Account {
        rows: Vec<Row>,
    },
    Left,
    /// The node cannot do what it must.
    Failed {
        what: String,
    },
}

/// One instance of a child.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Instance {
    pub(crate) child: String,
    /// Where it lives.
    pub(crate) node: String,
    pub(crate) generation: u64,
}

/// Calls so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) ok: u64,
    pub(crate) failed: Failures,
    /// Children that answered at least once.
    pub(crate) answered: usize,
}

/// Failed calls by kind of error.
pub(crate) type Failures = BTreeMap<String, u64>;

/// The calls to one child.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) child: String,
    pub(crate) ok: u64,
    pub(crate) failed: Failures,
    /// The longest time without an answer, since the mark.
    pub(crate) gap_us: u64,
    /// What the last call brought.
    pub(crate) last: Result<Instance, String>,
}

/// The present, as in [`Stamped`].
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// How the children are called, and so their names in the global registry.
pub(crate) fn child_name(number: usize) -> String {
    format!("counter-{number}")
}

/// The part of a node's id that a person reads.
pub(crate) fn short(node: &str) -> &str {
    node.split('@').next().unwrap_or(node)
}
