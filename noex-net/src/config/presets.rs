//! Starting points for three kinds of networks. Each is a builder: every value can be set otherwise.

use std::time::Duration;

use super::{ClusterConfig, ClusterConfigBuilder};

impl ClusterConfig {
    /// Nodes in one data centre: the defaults. A silent node is lost after 15 s.
    pub fn lan(node_name: impl Into<String>) -> ClusterConfigBuilder {
        Self::builder(node_name)
    }

    /// Nodes far apart, or on machines that pause: a silent node is lost after 45 s, connections and handshakes
    /// get three times as long, and attempts to reconnect go up to a minute apart.
    pub fn wan(node_name: impl Into<String>) -> ClusterConfigBuilder {
        Self::builder(node_name)
            .heartbeat_interval(Duration::from_secs(15))
            .heartbeat_miss_threshold(3)
            .connect_timeout(Duration::from_secs(30))
            .handshake_timeout(Duration::from_secs(15))
            .reconnect_max_delay(Duration::from_secs(60))
    }

    /// Nodes on one machine, on ports that the system chooses. A silent node is lost after 600 ms.
    pub fn test(node_name: impl Into<String>) -> ClusterConfigBuilder {
        Self::builder(node_name)
            .host("127.0.0.1")
            .port(0)
            .heartbeat_interval(Duration::from_millis(200))
            .heartbeat_miss_threshold(3)
            .reconnect_base_delay(Duration::from_millis(50))
            .reconnect_max_delay(Duration::from_millis(500))
            .connect_timeout(Duration::from_secs(2))
            .handshake_timeout(Duration::from_secs(2))
    }
}
