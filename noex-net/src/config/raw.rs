//! Raw settings: their defaults, the spellings of each field, and the one check.

use std::time::Duration;

use noex_actors::node_id::{canonical_host, check_name};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    ClusterConfig, Detector, InsecurePeers, InvalidClusterConfig, Seed, is_wildcard, seed::without_brackets,
};
use crate::{
    secret::Secrets,
    tls::TlsConfig,
    wire::{compression::Compression, tag::TagAlgorithm},
};

const KIB_64: usize = 64 << 10;
const MIB: usize = 1 << 20;

/// The values as they were given; also the form in serde.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawClusterConfig {
    pub(super) node_name: String,
    pub(super) host: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) advertise_host: Option<String>,
    pub(super) port: u16,
    pub(super) seeds: Vec<String>,
    // SECURITY: read, never written.
    #[serde(rename = "clusterSecret", skip_serializing, deserialize_with = "secret")]
    pub(super) secrets: Secrets,
    // SECURITY: neither read nor written: it holds a private key.
    #[serde(skip)]
    pub(super) tls: Option<TlsConfig>,
    pub(super) tags: Vec<TagAlgorithm>,
    pub(super) compression: Compression,
    pub(super) insecure_peers: InsecurePeers,
    #[serde(rename = "heartbeatIntervalMs", with = "millis")]
    pub(super) heartbeat_interval: Duration,
    pub(super) heartbeat_miss_threshold: u32,
    #[serde(rename = "reconnectBaseDelayMs", with = "millis")]
    pub(super) reconnect_base_delay: Duration,
    #[serde(rename = "reconnectMaxDelayMs", with = "millis")]
    pub(super) reconnect_max_delay: Duration,
    #[serde(rename = "connectTimeoutMs", with = "millis")]
    pub(super) connect_timeout: Duration,
    #[serde(rename = "handshakeTimeoutMs", with = "millis")]
    pub(super) handshake_timeout: Duration,
    #[serde(rename = "forgetAfterMs", with = "millis")]
    pub(super) forget_after: Duration,
    pub(super) outbox_bytes: usize,
    pub(super) credit_bytes: usize,
    pub(super) max_message_bytes: usize,
    pub(super) max_unauthenticated: usize,
    pub(super) max_spawned_per_peer: usize,
    pub(super) failure_detector: Detector,
}

impl Default for RawClusterConfig {
    fn default() -> Self {
        Self {
            node_name: String::new(),
            host: "0.0.0.0".to_owned(),
            advertise_host: None,
            port: 4369,
            seeds: Vec::new(),
            secrets: Secrets::none(),
            tls: None,
            tags: TagAlgorithm::by_speed(),
            compression: Compression::Off,
            insecure_peers: InsecurePeers::Loopback,
            heartbeat_interval: Duration::from_secs(5),
            heartbeat_miss_threshold: 3,
            reconnect_base_delay: Duration::from_secs(1),
            reconnect_max_delay: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(5),
            forget_after: Duration::from_secs(600),
            outbox_bytes: 16 * MIB,
            credit_bytes: 16 * MIB,
            max_message_bytes: 16 * MIB,
            max_unauthenticated: 256,
            max_spawned_per_peer: 10_000,
            failure_detector: Detector::Deadline,
        }
    }
}

/// Where settings came from, and so what their fields are called in an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    Rust,
    Json,
    Env,
}

/// Rust name, JSON name and, where there is one, the environment variable.
const NAMES: [(&str, &str, &str); 23] = [
    ("node_name", "nodeName", "NODE_NAME"),
    ("host", "host", "HOST"),
    ("advertise_host", "advertiseHost", "ADVERTISE_HOST"),
    ("port", "port", "CLUSTER_PORT"),
    ("seeds", "seeds", "CLUSTER_SEEDS"),
    ("secret", "clusterSecret", "CLUSTER_SECRET"),
    ("tls", "tls", "CLUSTER_TLS_CERT"),
    ("tags", "tags", "CLUSTER_TAGS"),
    ("compression", "compression", "CLUSTER_COMPRESSION"),
    ("insecure_peers", "insecurePeers", "CLUSTER_INSECURE_PEERS"),
    ("heartbeat_interval", "heartbeatIntervalMs", "HEARTBEAT_INTERVAL_MS"),
    ("heartbeat_miss_threshold", "heartbeatMissThreshold", "HEARTBEAT_MISS_THRESHOLD"),
    ("reconnect_base_delay", "reconnectBaseDelayMs", "RECONNECT_BASE_DELAY_MS"),
    ("reconnect_max_delay", "reconnectMaxDelayMs", "RECONNECT_MAX_DELAY_MS"),
    ("connect_timeout", "connectTimeoutMs", ""),
    ("handshake_timeout", "handshakeTimeoutMs", ""),
    ("forget_after", "forgetAfterMs", ""),
    ("outbox_bytes", "outboxBytes", ""),
    ("credit_bytes", "creditBytes", ""),
    ("max_message_bytes", "maxMessageBytes", ""),
    ("max_unauthenticated", "maxUnauthenticated", ""),
    ("failure_detector", "failureDetector", ""),
    ("max_spawned_per_peer", "maxSpawnedPerPeer", ""),
];

impl Spelling {
    fn of(self, field: &'static str) -> &'static str {
        let names = NAMES.iter().find(|names| names.0 == field);
        match (self, names) {
            (Self::Json, Some((_, json, _))) => json,
            (Self::Env, Some((_, _, env))) if !env.is_empty() => env,
            (Self::Rust | Self::Json | Self::Env, _) => field,
        }
    }
}

impl RawClusterConfig {
    /// The one check: makes values canonical, or names the first field that breaks its rule.
    pub(super) fn check(mut self, spelling: Spelling) -> Result<ClusterConfig, InvalidClusterConfig> {
        let fail = |field, value: &str, rule: &str| {
            let rule = if value.is_empty() {
                format!("{rule}; leave it unset for the default")
            } else {
                rule.into()
            };
            InvalidClusterConfig::new(spelling.of(field), value, rule)
        };
        check_name(&self.node_name).map_err(|rule| fail("node_name", &self.node_name, rule))?;
        self.host = host(&self.host).map_err(|rule| fail("host", &self.host, rule))?;
        if let Some(advertised) = &self.advertise_host {
            let canonical = host(advertised).map_err(|rule| fail("advertise_host", advertised, rule))?;
            if is_wildcard(&canonical) {
                let rule = "must be an address where peers can dial this node, not a wildcard";
                return Err(fail("advertise_host", advertised, rule));
            }
            self.advertise_host = Some(canonical);
        }
        if self.port == 0 && spelling != Spelling::Rust {
            return Err(fail("port", "0", "must be a port from 1 to 65535"));
        }
        let mut seeds: Vec<Seed> = Vec::new();
        for text in &self.seeds {
            let seed = text.parse().map_err(|error: super::InvalidSeed| {
                fail("seeds", text, &format!("{}; write name@host:port or host:port", error.reason))
            })?;
            if !seeds.contains(&seed) {
                seeds.push(seed);
            }
        }
        if let Some(tls) = &self.tls {
            let names = tls.names().join(", ");
            tls.check_name(&self.node_name).map_err(|rule| fail("tls", &names, &rule))?;
        }
        let twice = |tag: &&TagAlgorithm| self.tags.iter().filter(|other| other == tag).count() > 1;
        if self.tags.is_empty() || self.tags.iter().any(|tag| twice(&tag)) {
            let tags = self.tags.iter().map(TagAlgorithm::to_string).collect::<Vec<_>>().join(",");
            return Err(fail("tags", &tags, "must name at least one algorithm, and none twice"));
        }
        self.numbers(&fail)?;
        Ok(ClusterConfig { raw: self, seeds })
    }

    fn numbers<F>(&self, fail: &F) -> Result<(), InvalidClusterConfig>
    where
        F: Fn(&'static str, &str, &str) -> InvalidClusterConfig,
    {
        let time = |value: Duration| format!("{} ms", value.as_secs_f64() * 1000.0);
        let at_least = |good: bool, field, value: String, rule| {
            if good { Ok(()) } else { Err(fail(field, &value, rule)) }
        };
        let interval = self.heartbeat_interval;
        at_least(
            interval >= Duration::from_millis(100),
            "heartbeat_interval",
            time(interval),
            "must be at least 100 ms",
        )?;
        let detector = self.failure_detector;
        let rule = "must have a threshold from 1 to 100; 8 is usual";
        at_least(detector.is_valid(), "failure_detector", detector.to_string(), rule)?;
        let threshold = self.heartbeat_miss_threshold;
        at_least(threshold >= 1, "heartbeat_miss_threshold", threshold.to_string(), "must be at least 1")?;
        for (field, value) in [
            ("reconnect_base_delay", self.reconnect_base_delay),
            ("reconnect_max_delay", self.reconnect_max_delay),
            ("connect_timeout", self.connect_timeout),
            ("handshake_timeout", self.handshake_timeout),
            ("forget_after", self.forget_after),
        ] {
            at_least(value > Duration::ZERO, field, time(value), "must be more than 0 ms")?;
        }
        if self.reconnect_base_delay > self.reconnect_max_delay {
            let rule =
                format!("must be at most the longest delay, which is {}", time(self.reconnect_max_delay));
            return Err(fail("reconnect_base_delay", &time(self.reconnect_base_delay), &rule));
        }
        for (field, value) in [
            ("outbox_bytes", self.outbox_bytes),
            ("credit_bytes", self.credit_bytes),
            ("max_message_bytes", self.max_message_bytes),
        ] {
            at_least(value >= KIB_64, field, value.to_string(), "must be at least 65536 bytes")?;
        }
        at_least(self.max_unauthenticated > 0, "max_unauthenticated", "0".to_owned(), "must be at least 1")
    }
}

/// A host in its canonical form, IPv6 without brackets.
fn host(text: &str) -> Result<String, &'static str> {
    canonical_host(text).map(|host| without_brackets(&host).to_owned())
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secrets, D::Error> {
    Option::<String>::deserialize(deserializer).map(Secrets::from)
}

/// A duration as whole milliseconds.
mod millis {
    use super::{Deserialize, Deserializer, Duration, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}
