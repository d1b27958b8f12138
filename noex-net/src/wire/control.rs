//! Control messages: everything between nodes that is not a user's message.
//!
//! MessagePack, variants by name, fields by position. Compatibility: a variant that a peer does not know ends the
//! session, so a new one is sent only to peers whose capabilities name it; a new field goes to the end, with a default.

use noex_actors::{
    __private::LeaseTerms, ExitReason, FencingToken, Incarnation, MailboxPolicy, NodeId, Owner, Pid,
    Registration,
};
use serde::{Deserialize, Serialize};

use super::{
    bounded::{list, optional_list},
    limits::{MAX_BEHAVIORS, MAX_BESIDE, MAX_HINTS_READ, MAX_INSTANCES, MAX_MEMBERS, MAX_NAMES},
};
use crate::machine::{
    groups::Membership,
    membership::View,
    names::{Told, Update},
};

/// The capability of a node that answers an `Unlink` with its number.
pub(crate) const NUMBERED_UNLINKS: u64 = 1 << 3;

/// What one node tells another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Control {
    /// The pair's arbiter takes this connection.
    Welcome,
    /// Life and load. The first after `Welcome` makes the node up.
    Heartbeat(Heartbeat),
    /// Are you there?
    Ping { nonce: u64 },
    /// Yes.
    Pong { nonce: u64 },
    /// This connection ends, and why.
    Close { reason: String },
    /// The node leaves: place nothing on it; what ends there migrates.
    Draining,
    /// The node left.
    Goodbye,
    /// Nodes to which the sender is connected.
    Hints(#[serde(deserialize_with = "list::<_, _, MAX_HINTS_READ>")] Vec<Hint>),
    /// Which nodes are you connected to beyond these? Fingerprints of 8 bytes each, little endian.
    Ask {
        #[serde(with = "serde_bytes")]
        known: Vec<u8>,
    },
    /// All behaviors of the sender, when they change.
    Behaviors(#[serde(deserialize_with = "list::<_, _, MAX_BEHAVIORS>")] Vec<Behavior>),
    /// What changed of the names of the sender, after one change and up to another.
    Names {
        /// 0: these are all its names.
        after: u64,
        upto: u64,
        /// There is no more.
        done: bool,
        #[serde(deserialize_with = "list::<_, _, MAX_NAMES>")]
        updates: Vec<Update>,
    },
    /// Give up a name of yours, if this process has it.
    Unregister { name: String, number: u64 },
    /// Watch a process.
    Monitor { id: u64, number: u64 },
    /// Do not watch it any more.
    Demonitor { id: u64 },
    /// A watched process ended.
    Down { id: u64, reason: ExitReason },
    /// A process of the sender links itself to one of yours.
    Link { from: u64, to: u64 },
    /// It takes the link away, and wants to know when that is known; 0: it does not.
    Unlink {
        from: u64,
        to: u64,
        #[serde(default)]
        number: u64,
    },
    /// A process of the sender knows that yours took the link away.
    Unlinked { from: u64, to: u64, number: u64 },
    /// A process of the sender ended, or was never there: its link breaks.
    Broken { from: u64, to: u64, reason: ExitReason },
    /// An exit signal of a process of the sender (0: of nobody).
    Exit { from: u64, to: u64, reason: ExitReason },
    /// Stop a process, behind what was sent to it before.
    Stop { number: u64, reason: ExitReason },
    /// Kill a process.
    Kill { number: u64 },
    /// Do something and say how it went.
    Request { id: u64, body: Request },
    /// How it went.
    Response { id: u64, body: Response },
    /// The process started for that request is wanted.
    Confirm { id: u64 },
    /// How often processes of the sender are members of groups.
    Groups(#[serde(deserialize_with = "list::<_, _, MAX_MEMBERS>")] Vec<Membership>),
    /// A cast for the members of a group on your node. The behavior is named by its hash, which is the same for all nodes:
    /// so these bytes are.
    Broadcast {
        group: String,
        behavior: u32,
        #[serde(with = "serde_bytes")]
        body: Vec<u8>,
    },
}

impl Control {
    /// Whether it goes before everything else. The others keep their place among users' messages: a stop stays behind
    /// the casts before it, a `Down` behind the last words of its process.
    pub(crate) fn is_urgent(&self) -> bool {
        matches!(
            self,
            Self::Welcome
                | Self::Heartbeat(_)
                | Self::Ping { .. }
                | Self::Pong { .. }
                | Self::Close { .. }
                | Self::Draining
        )
    }
}

impl From<Told> for Control {
    fn from(told: Told) -> Self {
        let Told { after, upto, done, updates } = told;
        Self::Names { after, upto, done, updates }
    }
}

/// Life and load of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Heartbeat {
    pub(crate) processes: u64,
    pub(crate) mailbox_len: u64,
    pub(crate) cpu: f32,
    pub(crate) uptime_ms: u64,
    pub(crate) draining: bool,
    /// In the first heartbeat of a session: what can be started there.
    #[serde(deserialize_with = "optional_list::<_, _, MAX_BEHAVIORS>")]
    pub(crate) behaviors: Option<Vec<Behavior>>,
    /// Whom the sender is connected to.
    #[serde(default)]
    pub(crate) view: View,
    /// In the first heartbeat of a session: how much may be sent to one process there that it has not handled; 0: the sender gives no
    /// credits.
    #[serde(default)]
    pub(crate) window: u64,
    /// In the first heartbeat of a session: up to which of its changes the names of the receiver are known.
    #[serde(default)]
    pub(crate) names: u64,
}

/// A behavior of the sender.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Behavior {
    /// Its number in frames to the sender: from 1 on, and the same for the whole life of the node.
    pub(crate) number: u32,
    pub(crate) name: String,
    /// What its messages look like: a `Schema` of noex-actors; empty if that is not told.
    #[serde(default, with = "serde_bytes")]
    pub(crate) schema: Vec<u8>,
}

/// A node to which the sender is connected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hint {
    pub(crate) id: NodeId,
    pub(crate) incarnation: Incarnation,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Start a process.
    Spawn(Box<SpawnOrder>),
    /// Which instances of this supervisor's children live there?
    Instances {
        supervisor: String,
        /// That of the one that asks, which wants to know of others. Absent, and not written: it does not.
        #[serde(default, skip_serializing_if = "is_zero")]
        term: u64,
    },
    /// Does this process live?
    IsAlive { number: u64 },
    /// Who has this name on the node itself?
    WhereIs { name: String },
    /// Who has this global name, in the view of the node, beside processes of the one that asks?
    OwnerOf { name: String },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// A process to be started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SpawnOrder {
    pub(crate) behavior: String,
    #[serde(with = "serde_bytes")]
    pub(crate) args: Vec<u8>,
    pub(crate) name: Option<String>,
    pub(crate) registration: Registration,
    pub(crate) init_timeout_ms: u64,
    pub(crate) mailbox_capacity: u64,
    pub(crate) token: Option<FencingToken>,
    #[serde(default)]
    pub(crate) mailbox_policy: MailboxPolicy,
    #[serde(default)]
    pub(crate) trap_exit: bool,
    /// Absent, and not written, where it depends on nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lease: Option<LeaseTerms>,
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Response {
    /// Number of the process, or why there is none.
    Spawned(Result<u64, SpawnFailure>),
    /// The instances.
    Instances(#[serde(deserialize_with = "list::<_, _, MAX_INSTANCES>")] Vec<InstanceEntry>),
    /// The instances, for one that told its term; and the highest term of which the node had heard before.
    Reign {
        term: u64,
        #[serde(deserialize_with = "list::<_, _, MAX_INSTANCES>")]
        instances: Vec<InstanceEntry>,
    },
    /// Whether it lives.
    Alive(bool),
    /// Who has the name.
    Holder(Option<Holder>),
    /// Who has the global name, and whom else the node that answers is connected to, at most [`MAX_BESIDE`] of them.
    Owner {
        owner: Option<Pid>,
        #[serde(deserialize_with = "list::<_, _, MAX_BESIDE>")]
        beside: Vec<NodeId>,
    },
}

/// A supervised instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct InstanceEntry {
    pub(crate) child: String,
    pub(crate) generation: u64,
    pub(crate) number: u64,
    pub(crate) behavior: String,
    /// The supervisor that started it. Absent, and not written, where that is not known.
    // Boxed: a hostile list without owners is not to take more memory than its bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<Box<Owner>>,
}

/// A process that has a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Holder {
    pub(crate) number: u64,
    pub(crate) behavior: String,
}

/// Why no process was started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum SpawnFailure {
    NotRunning,
    Init(ExitReason),
    InitTimeout {
        millis: u64,
    },
    NameTaken {
        name: String,
        node: NodeId,
        incarnation: Incarnation,
        number: u64,
        /// Once `init` had run.
        #[serde(default, skip_serializing_if = "is_false")]
        ran: bool,
    },
    NameInvalid {
        name: String,
    },
    BehaviorNotFound,
    TooMany,
    Incompatible {
        reason: String,
    },
    Forbidden,
    Full {
        max: u64,
    },
    /// The node has as many global names as it may have.
    TooManyNames {
        max: u64,
        /// Once `init` had run.
        #[serde(default, skip_serializing_if = "is_false")]
        ran: bool,
    },
}

#[cfg(test)]
mod tests;
