//! Settings of a cluster node: by builder, serde or environment, through one check.
//!
//! | Room | Holds |
//! |---|---|
//! | `mod` | [`ClusterConfig`], checked; its builder, raw |
//! | `raw` | raw values, their defaults, the spelling of each field, the check |
//! | `detector` | how silence becomes a verdict |
//! | `env` | the environment variables |
//! | `memory` | what one peer can make a node hold |
//! | `presets` | `lan`, `wan`, `test` |
//! | `seed` | the text of a seed |

mod detector;
mod env;
mod memory;
mod presets;
mod raw;
mod seed;

use std::{net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};

#[cfg(feature = "tls")]
pub(crate) use self::env::env_var;
use self::raw::{RawClusterConfig, Spelling};
pub use self::{
    detector::Detector,
    memory::PeerMemory,
    seed::{InvalidSeed, Seed},
};
use crate::{
    secret::Secrets,
    tls::TlsConfig,
    wire::{compression::Compression, tag::TagAlgorithm},
};

/// Settings of one cluster node, checked. None of them changes while the node runs; secrets can be changed by its
/// [`SecretRing`](crate::SecretRing).
///
/// Made by [`ClusterConfig::builder`], [`from_env`](ClusterConfig::from_env) or serde (camelCase, unknown fields
/// refused). Serialised without its secrets and certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawClusterConfig", into = "RawClusterConfig")]
pub struct ClusterConfig {
    raw: RawClusterConfig,
    seeds: Vec<Seed>,
}

/// A setting that breaks its rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is \"{value}\": {rule}")]
#[non_exhaustive]
pub struct InvalidClusterConfig {
    /// The field, as it was spelled where it came from: builder method, JSON field or environment variable.
    pub field: String,
    /// Its value, on one line; a secret is `***`.
    pub value: String,
    /// The rule, and what to do.
    pub rule: String,
}

impl InvalidClusterConfig {
    /// Says which value breaks which rule. For the readers of other settings.
    #[doc(hidden)]
    #[must_use]
    pub fn new(field: &str, value: &str, rule: impl Into<String>) -> Self {
        let value = value.chars().take(400).flat_map(char::escape_debug).collect();
        Self { field: field.to_owned(), value, rule: rule.into() }
    }
}

/// From where peers are accepted when there is no secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum InsecurePeers {
    /// From this machine only (protected mode). The default.
    #[default]
    Loopback,
    /// From anywhere: whoever reaches the port is in the cluster.
    Any,
}

noex_actors::__vocabulary!(InsecurePeers { Loopback = "loopback", Any = "any" });

impl ClusterConfig {
    /// Begins with the defaults.
    pub fn builder(node_name: impl Into<String>) -> ClusterConfigBuilder {
        ClusterConfigBuilder(RawClusterConfig { node_name: node_name.into(), ..RawClusterConfig::default() })
    }

    /// The name in this node's id.
    #[must_use]
    pub fn node_name(&self) -> &str {
        &self.raw.node_name
    }

    /// Where the listener binds: an address (IPv6 without brackets) or a host name. Default 0.0.0.0.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.raw.host
    }

    /// The host in this node's id, where peers dial it (IPv6 without brackets). Default: the bind host, or a
    /// routable address of this machine if that is a wildcard.
    #[must_use]
    pub fn advertise_host(&self) -> Option<&str> {
        self.raw.advertise_host.as_deref()
    }

    /// Whether the listener binds every address, so that the bind host cannot stand in the id.
    #[must_use]
    pub fn binds_wildcard(&self) -> bool {
        is_wildcard(self.host())
    }

    /// The port of the listener; 0 lets the system choose. Default 4369.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.raw.port
    }

    /// Where to look for the cluster. Default: nowhere.
    #[must_use]
    pub fn seeds(&self) -> &[Seed] {
        &self.seeds
    }

    /// The certificates of the start; none by default: connections without TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(&self) -> Option<&TlsConfig> {
        self.raw.tls.as_ref()
    }

    #[cfg(not(feature = "tls"))]
    pub(crate) fn tls(&self) -> Option<&TlsConfig> {
        self.raw.tls.as_ref()
    }

    /// Replaces the certificates, if the node's one holds the name of the node.
    #[cfg(feature = "tls")]
    pub(crate) fn set_tls(&mut self, tls: TlsConfig) -> Result<(), InvalidClusterConfig> {
        let names = tls.names().join(", ");
        tls.check_name(self.node_name()).map_err(|rule| InvalidClusterConfig::new("tls", &names, rule))?;
        self.raw.tls = Some(tls);
        Ok(())
    }

    /// The shared secrets of the start; none by default.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.raw.secrets
    }

    /// How batches may be authenticated where there is a secret, the preferred algorithm first; at least one. Between two
    /// nodes it is the first of the node that was dialled that the other one has, too; without one in common they refuse each
    /// other with `version`. Default: all there are, the fastest on this processor first: [`TagAlgorithm::Aes256Gcm`] if it has
    /// instructions for that, else [`TagAlgorithm::Blake3`].
    #[must_use]
    pub fn tags(&self) -> &[TagAlgorithm] {
        &self.raw.tags
    }

    /// How batches are compressed, between nodes that both want it. It takes processor time at both ends, and pays where the
    /// network is slow and messages repeat themselves. What is encrypted as well shows its length, and so a little of what
    /// it holds to whoever can choose a part of it. Default: not at all.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.raw.compression
    }

    /// From where peers are accepted when there is no secret. Default: loopback.
    #[must_use]
    pub fn insecure_peers(&self) -> InsecurePeers {
        self.raw.insecure_peers
    }

    /// Time between two heartbeats to each peer; at least 100 ms. Default 5 s.
    #[must_use]
    pub fn heartbeat_interval(&self) -> Duration {
        self.raw.heartbeat_interval
    }

    /// How many intervals of silence make a node unreachable; at least 1. Default 3.
    #[must_use]
    pub fn heartbeat_miss_threshold(&self) -> u32 {
        self.raw.heartbeat_miss_threshold
    }

    /// Interval × threshold: the silence after which a node counts as lost.
    #[must_use]
    pub fn detection_time(&self) -> Duration {
        self.heartbeat_interval().saturating_mul(self.heartbeat_miss_threshold())
    }

    /// Wait before the second attempt to dial; doubles with each further one. Default 1 s.
    #[must_use]
    pub fn reconnect_base_delay(&self) -> Duration {
        self.raw.reconnect_base_delay
    }

    /// The longest wait between two attempts, before jitter. Default 30 s.
    #[must_use]
    pub fn reconnect_max_delay(&self) -> Duration {
        self.raw.reconnect_max_delay
    }

    /// Time for a TCP connection to come up. Default 10 s.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        self.raw.connect_timeout
    }

    /// Time for a handshake. Default 5 s.
    #[must_use]
    pub fn handshake_timeout(&self) -> Duration {
        self.raw.handshake_timeout
    }

    /// How long a node that went down is remembered and dialled. Default 10 min.
    #[must_use]
    pub fn forget_after(&self) -> Duration {
        self.raw.forget_after
    }

    /// Bytes that may wait to be sent to one peer; at least 64 KiB. Default 16 MiB.
    #[must_use]
    pub fn outbox_bytes(&self) -> usize {
        self.raw.outbox_bytes
    }

    /// Bytes that one peer may have waiting for one process of this node, in the outbox there or the mailbox here; at least 64 KiB.
    /// A message counts as 512 bytes at least. Beyond it the peer's senders are told `Overloaded(Credits)`. Default 16 MiB.
    #[must_use]
    pub fn credit_bytes(&self) -> usize {
        self.raw.credit_bytes
    }

    /// The largest message, sent or received; at least 64 KiB. Default 16 MiB.
    #[must_use]
    pub fn max_message_bytes(&self) -> usize {
        self.raw.max_message_bytes
    }

    /// How many connections may be unauthenticated at a time; at least 1. Default 256.
    #[must_use]
    pub fn max_unauthenticated(&self) -> usize {
        self.raw.max_unauthenticated
    }

    /// How many processes of this node may live that one peer had started here, over all its sessions; 0 for none. Default
    /// 10 000. The peer is told `Overloaded(Quota)`.
    #[must_use]
    pub fn max_spawned_per_peer(&self) -> usize {
        self.raw.max_spawned_per_peer
    }

    /// How silence becomes a verdict. Default: [`Detector::Deadline`], interval × threshold.
    #[must_use]
    pub fn failure_detector(&self) -> Detector {
        self.raw.failure_detector
    }
}

impl TryFrom<RawClusterConfig> for ClusterConfig {
    type Error = InvalidClusterConfig;
    fn try_from(raw: RawClusterConfig) -> Result<Self, InvalidClusterConfig> {
        raw.check(Spelling::Json)
    }
}

impl From<ClusterConfig> for RawClusterConfig {
    fn from(config: ClusterConfig) -> Self {
        config.raw
    }
}

/// Raw settings; [`build`](ClusterConfigBuilder::build) checks them. The methods are the fields of
/// [`ClusterConfig`], which says what each means.
#[derive(Clone, Debug)]
#[must_use = "settings do nothing before `build`"]
pub struct ClusterConfigBuilder(RawClusterConfig);

/// A builder method per field.
macro_rules! setters {
    ($($field:ident: $type:ty),+ $(,)?) => { $(
        #[doc = concat!("Sets [`ClusterConfig::", stringify!($field), "`].")]
        pub fn $field(mut self, $field: $type) -> Self {
            self.0.$field = $field;
            self
        }
    )+ };
}

impl ClusterConfigBuilder {
    setters! {
        port: u16,
        insecure_peers: InsecurePeers,
        heartbeat_interval: Duration,
        heartbeat_miss_threshold: u32,
        reconnect_base_delay: Duration,
        reconnect_max_delay: Duration,
        connect_timeout: Duration,
        handshake_timeout: Duration,
        forget_after: Duration,
        outbox_bytes: usize,
        credit_bytes: usize,
        max_message_bytes: usize,
        max_unauthenticated: usize,
        max_spawned_per_peer: usize,
        failure_detector: Detector,
    }

    /// Sets [`ClusterConfig::host`].
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.0.host = host.into();
        self
    }

    /// Sets [`ClusterConfig::advertise_host`].
    pub fn advertise_host(mut self, host: impl Into<String>) -> Self {
        self.0.advertise_host = Some(host.into());
        self
    }

    /// Adds a seed: a [`Seed`], a [`NodeId`](noex_actors::NodeId) or a text.
    pub fn seed(mut self, seed: impl ToString) -> Self {
        self.0.seeds.push(seed.to_string());
        self
    }

    /// Adds seeds.
    pub fn seeds<S: ToString>(mut self, seeds: impl IntoIterator<Item = S>) -> Self {
        self.0.seeds.extend(seeds.into_iter().map(|seed| seed.to_string()));
        self
    }

    /// Sets the shared secret, or a ring of several; an empty one is none.
    pub fn secret(mut self, secret: impl Into<Secrets>) -> Self {
        self.0.secrets = secret.into();
        self
    }

    /// Sets [`ClusterConfig::tags`].
    pub fn tags(mut self, tags: impl IntoIterator<Item = TagAlgorithm>) -> Self {
        self.0.tags = tags.into_iter().collect();
        self
    }

    /// Sets [`ClusterConfig::compression`].
    pub fn compression(mut self, compression: Compression) -> Self {
        self.0.compression = compression;
        self
    }

    /// Makes all connections TLS, with these certificates. What the node's certificate must hold: [`TlsConfig`].
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: TlsConfig) -> Self {
        self.0.tls = Some(tls);
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`InvalidClusterConfig`] names the first field that breaks its rule.
    pub fn build(self) -> Result<ClusterConfig, InvalidClusterConfig> {
        self.0.check(Spelling::Rust)
    }
}

/// Whether a host stands for every address of the machine.
pub(crate) fn is_wildcard(host: &str) -> bool {
    seed::without_brackets(host).parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_unspecified())
}

#[cfg(test)]
mod tests;
