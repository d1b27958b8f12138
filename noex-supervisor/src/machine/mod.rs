//! The deciding half of supervision: facts and `now` in, commands out. No clock, no I/O.
//!
//! | Room | Decides |
//! |---|---|
//! | `supervision` | the child table: what is started, stopped, restarted, and when all of it ends |
//! | `failover` | whether a lost connection means lost children, and which nodes are asked for their instances |
//! | `doubt` | how long a supervisor that met a sign of another one of its name waits, and for whom |
//! | `coordinator` | nothing of its own: the three above as one machine, for distributed supervisors |
//! | `standing` | what may be done while a part of the cluster is out of reach |
//! | `plan` | whom the end of a child concerns by the strategy, and the order of stops and starts |
//! | `placement` | on which node a child starts |
//! | `rebalance` | which children move where, so that the nodes have the same share |
//! | `intensity`, `policy`, `backoff`, `generation` | one rule each |

pub(crate) mod backoff;
pub(crate) mod coordinator;
pub(crate) mod doubt;
pub(crate) mod failover;
pub(crate) mod generation;
pub(crate) mod intensity;
pub(crate) mod placement;
pub(crate) mod plan;
pub(crate) mod policy;
pub(crate) mod rebalance;
pub(crate) mod standing;
pub(crate) mod supervision;

use noex_actors::{Generation, Owner, Pid};

use self::generation::Rank;

/// A living instance that a node told of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    pub(crate) child: String,
    pub(crate) generation: Generation,
    /// Who started it, if its node knows.
    pub(crate) owner: Option<Owner>,
    pub(crate) pid: Pid,
}

impl Found {
    pub(crate) fn rank(&self) -> Rank {
        Rank { generation: self.generation, owner: self.owner.clone() }
    }
}
