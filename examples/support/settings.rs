//! The settings of the node, from the environment. Everything is checked before anything is opened.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use noex::{
    ClusterConfig, InvalidClusterConfig, NodeSelector, OrphanPolicy, PartitionDecision, PartitionPolicy,
    RestartIntensity, Strategy, env, logging::LogFormat,
};

/// The most children of one supervisor here.
const MAX_WORKERS: u32 = 100_000;

/// What the environment says.
pub(crate) struct Settings {
    pub(crate) cluster: ClusterConfig,
    pub(crate) health_port: u16,
    pub(crate) log_format: LogFormat,
    pub(crate) witness_dir: Option<PathBuf>,
    /// The supervisor that this node starts.
    pub(crate) workers: Option<Workers>,
}

/// A supervisor over `counter-1` … `counter-n`.
#[derive(Clone, Debug)]
pub(crate) struct Workers {
    pub(crate) count: u32,
    pub(crate) min_nodes: usize,
    pub(crate) strategy: Strategy,
    pub(crate) selector: NodeSelector,
    pub(crate) partition_policy: PartitionPolicy,
    /// Of every second child, beginning with the first; `None`: what the partition policy says, as for the others.
    pub(crate) orphan: Option<OrphanPolicy>,
    pub(crate) intensity: RestartIntensity,
}

impl Settings {
    pub(crate) fn from_env() -> Result<Self, InvalidClusterConfig> {
        let cluster = ClusterConfig::from_env()?;
        let health_port = env::parse_in("HEALTH_PORT", 8080, 1..=u16::MAX)?;
        let log_format = match env::text("LOG_FORMAT")? {
            Some(text) => {
                text.parse().map_err(|_word| env::invalid("LOG_FORMAT", &text, "must be json or pretty"))?
            }
            None => LogFormat::default(),
        };
        let count = env::parse_in("WORKERS", 0, 0..=MAX_WORKERS)?;
        let default = RestartIntensity::default();
        let workers = Workers {
            count,
            min_nodes: usize::from(env::parse_in("MIN_NODES", 1, 1..=u16::MAX)?),
            strategy: strategy()?,
            selector: selector()?,
            partition_policy: partition_policy()?,
            orphan: orphan_policy()?,
            intensity: RestartIntensity {
                max_restarts: env::parse_in("MAX_RESTARTS", default.max_restarts, 0..=1_000_000)?,
                within: Duration::from_millis(env::parse_in(
                    "WITHIN_MS",
                    millis(default.within),
                    1..=86_400_000,
                )?),
            },
        };
        let witness_dir = env::text("WITNESS_DIR")?.map(|dir| directory("WITNESS_DIR", &dir)).transpose()?;
        Ok(Self { cluster, health_port, log_format, witness_dir, workers: (count > 0).then_some(workers) })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn partition_policy() -> Result<PartitionPolicy, InvalidClusterConfig> {
    let Some(text) = env::text("PARTITION_POLICY")? else { return Ok(PartitionPolicy::default()) };
    match text.as_str() {
        "wait" => Ok(PartitionPolicy::custom(|_view| PartitionDecision::Wait)),
        // Who has no more in reach than it lost, stops.
        "stop_smaller" => Ok(PartitionPolicy::custom(|view| match view.reachable.len() > view.lost.len() {
            true => PartitionDecision::Failover,
            false => PartitionDecision::StopChildren,
        })),
        word => word.parse().map_err(|_word| {
            env::invalid("PARTITION_POLICY", &text, "must be one of failover, majority, wait, stop_smaller")
        }),
    }
}

fn orphan_policy() -> Result<Option<OrphanPolicy>, InvalidClusterConfig> {
    let Some(text) = env::text("ORPHAN_POLICY")? else { return Ok(None) };
    let rule = "must be run_on or stop_after:<milliseconds>";
    text.parse().map(Some).map_err(|_word| env::invalid("ORPHAN_POLICY", &text, rule))
}

/// Of children that have names of their own.
fn strategy() -> Result<Strategy, InvalidClusterConfig> {
    let of_named = |strategy: &&Strategy| **strategy != Strategy::SimpleOneForOne;
    let words: Vec<&str> = Strategy::ALL.iter().filter(of_named).map(|strategy| strategy.as_str()).collect();
    let Some(text) = env::text("STRATEGY")? else { return Ok(Strategy::default()) };
    let known = words.contains(&text.as_str()).then(|| text.parse().ok()).flatten();
    known.ok_or_else(|| env::invalid("STRATEGY", &text, &format!("must be one of {}", words.join(", "))))
}

fn selector() -> Result<NodeSelector, InvalidClusterConfig> {
    let words = ["local_first", "round_robin", "least_loaded", "random"];
    let Some(text) = env::text("NODE_SELECTOR")? else { return Ok(NodeSelector::RoundRobin) };
    let known = words.contains(&text.as_str()).then(|| text.parse().ok()).flatten();
    known.ok_or_else(|| env::invalid("NODE_SELECTOR", &text, &format!("must be one of {}", words.join(", "))))
}

/// A directory in which files can be made; it is made if it is not there.
fn directory(var: &str, text: &str) -> Result<PathBuf, InvalidClusterConfig> {
    let dir = Path::new(text);
    let usable = std::fs::create_dir_all(dir).and_then(|()| {
        let probe = dir.join(format!(".probe.{}", std::process::id()));
        std::fs::write(&probe, "").and_then(|()| std::fs::remove_file(&probe))
    });
    match usable {
        Ok(()) => Ok(dir.to_owned()),
        Err(error) => Err(env::invalid(var, text, &format!("must be a directory to write to: {error}"))),
    }
}
