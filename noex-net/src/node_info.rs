//! What is known of a node, and where a cluster node stands.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use noex_actors::{Incarnation, Monotonic, NodeId};
use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::NodeStatus;

/// What is known of one node.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NodeInfo {
    /// Its identity.
    pub id: NodeId,
    /// Where it is dialled.
    pub host: String,
    /// Where it is dialled.
    pub port: u16,
    /// Whether there is a session with it.
    pub status: NodeStatus,
    /// Processes that run there, as its last heartbeat said.
    pub process_count: usize,
    /// When its last heartbeat came.
    pub last_heartbeat_at: Option<SystemTime>,
    /// How long its session is up, or was.
    pub uptime: Duration,
    /// Which of its lives.
    pub incarnation: Incarnation,
    /// Messages that wait there.
    pub mailbox_len: usize,
    /// Processors in use there, as a share of all: 0 to 1.
    pub cpu: f32,
    /// When this node received what it says of processes; none if that is of this moment, as this node knows it of itself.
    #[doc(hidden)]
    pub load_received: Option<Monotonic>,
}

impl Serialize for NodeInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let unix_ms = |at: SystemTime| at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let mut info = serializer.serialize_struct("NodeInfo", 10)?;
        info.serialize_field("id", &self.id)?;
        info.serialize_field("host", &self.host)?;
        info.serialize_field("port", &self.port)?;
        info.serialize_field("status", &self.status)?;
        info.serialize_field("processCount", &self.process_count)?;
        info.serialize_field("lastHeartbeatAt", &self.last_heartbeat_at.map(unix_ms))?;
        info.serialize_field("uptimeMs", &self.uptime.as_millis())?;
        info.serialize_field("incarnation", &self.incarnation)?;
        info.serialize_field("mailboxLen", &self.mailbox_len)?;
        info.serialize_field("cpu", &self.cpu)?;
        info.end()
    }
}

/// Where a cluster node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClusterStatus {
    /// It binds.
    Starting,
    /// It listens and dials.
    Running,
    /// It leaves.
    Stopping,
    /// It left.
    Stopped,
}
noex_actors::__vocabulary!(ClusterStatus {
    Starting = "starting",
    Running = "running",
    Stopping = "stopping",
    Stopped = "stopped",
});
