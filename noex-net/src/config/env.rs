//! Settings from the environment.
//!
//! An unset variable is its default; an empty one is an error, except that no seeds and no secret may be written
//! as an empty text. Secrets come from one of three variables, and are never shown.

use std::{ops::RangeInclusive, time::Duration};

use super::{
    ClusterConfig, InvalidClusterConfig,
    raw::{RawClusterConfig, Spelling},
};
use crate::{secret::Secrets, tls::TlsConfig, wire::tag::TagAlgorithm};

impl ClusterConfig {
    /// Reads the environment of the process: `NODE_NAME`, `HOST`, `ADVERTISE_HOST`, `CLUSTER_PORT`,
    /// `CLUSTER_SEEDS`, `CLUSTER_SECRET`, `CLUSTER_SECRETS`, `CLUSTER_SECRET_FILE`, `CLUSTER_INSECURE_PEERS`,
    /// `CLUSTER_TAGS`, `CLUSTER_COMPRESSION`, `CLUSTER_TLS_CA`, `CLUSTER_TLS_CERT`, `CLUSTER_TLS_KEY`, `HEARTBEAT_INTERVAL_MS`,
    /// `HEARTBEAT_MISS_THRESHOLD`, `RECONNECT_BASE_DELAY_MS`, `RECONNECT_MAX_DELAY_MS`.
    ///
    /// At most one of the three for secrets may be set: one secret, taken literally; `id:secret,…` as of
    /// [`Secrets::from_list`]; the path of a file as of [`Secrets::from_file`], which is read here, once.
    ///
    /// The three of TLS are paths of PEM files, which are read here, once: the CA's certificates, the node's certificate, and
    /// its private key. All three or none; they need the feature `tls`.
    ///
    /// # Errors
    /// [`InvalidClusterConfig`] with the variable in `field`.
    pub fn from_env() -> Result<Self, InvalidClusterConfig> {
        read(&env_var)
    }

    /// The same from any source of variables, such as a map.
    ///
    /// # Errors
    /// [`InvalidClusterConfig`] with the variable in `field`.
    pub fn from_vars(vars: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidClusterConfig> {
        read(&|variable| Ok(vars(variable)))
    }
}

/// One variable of the process.
pub(crate) fn env_var(variable: &str) -> Result<Option<String>, InvalidClusterConfig> {
    match std::env::var(variable) {
        Ok(value) => Ok(Some(value)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(InvalidClusterConfig::new(variable, "***", "must be valid UTF-8"))
        }
    }
}

type Vars<'a> = &'a dyn Fn(&str) -> Result<Option<String>, InvalidClusterConfig>;

fn read(vars: Vars<'_>) -> Result<ClusterConfig, InvalidClusterConfig> {
    let mut raw = RawClusterConfig {
        node_name: vars("NODE_NAME")?.unwrap_or_else(|| format!("worker-{}", std::process::id())),
        advertise_host: vars("ADVERTISE_HOST")?,
        secrets: secrets(vars)?,
        tls: TlsConfig::from_vars(vars)?,
        ..RawClusterConfig::default()
    };
    if let Some(host) = vars("HOST")? {
        raw.host = host;
    }
    if let Some(port) = number(vars, "CLUSTER_PORT", 1..=u64::from(u16::MAX))? {
        raw.port = u16::try_from(port).unwrap_or_default(); // in range; 0 would be refused
    }
    if let Some(list) = vars("CLUSTER_SEEDS")? {
        raw.seeds =
            list.split(',').map(str::trim).filter(|seed| !seed.is_empty()).map(str::to_owned).collect();
    }
    if let Some(list) = vars("CLUSTER_TAGS")? {
        let all: Vec<_> = TagAlgorithm::ALL.iter().map(TagAlgorithm::to_string).collect();
        let rule = format!("must be a list of some of {}, separated by commas", all.join(", "));
        let words = list.split(',').map(|word| word.trim().parse());
        raw.tags = words
            .collect::<Result<_, _>>()
            .map_err(|_word| InvalidClusterConfig::new("CLUSTER_TAGS", &list, rule))?;
    }
    if let Some(text) = vars("CLUSTER_COMPRESSION")? {
        let rule = "must be off or lz4";
        raw.compression =
            text.parse().map_err(|_word| InvalidClusterConfig::new("CLUSTER_COMPRESSION", &text, rule))?;
    }
    if let Some(text) = vars("CLUSTER_INSECURE_PEERS")? {
        let rule = "must be loopback or any";
        raw.insecure_peers =
            text.parse().map_err(|_word| InvalidClusterConfig::new("CLUSTER_INSECURE_PEERS", &text, rule))?;
    }
    let set = |value: &mut Duration, variable, range| -> Result<(), InvalidClusterConfig> {
        if let Some(millis) = number(vars, variable, range)? {
            *value = Duration::from_millis(millis);
        }
        Ok(())
    };
    set(&mut raw.heartbeat_interval, "HEARTBEAT_INTERVAL_MS", 100..=600_000)?;
    set(&mut raw.reconnect_base_delay, "RECONNECT_BASE_DELAY_MS", 10..=3_600_000)?;
    set(&mut raw.reconnect_max_delay, "RECONNECT_MAX_DELAY_MS", 10..=3_600_000)?;
    if let Some(threshold) = number(vars, "HEARTBEAT_MISS_THRESHOLD", 1..=100)? {
        raw.heartbeat_miss_threshold = u32::try_from(threshold).unwrap_or_default();
    }
    raw.check(Spelling::Env)
}

/// From the one variable that is set. The path of a file is not shown either: it might be a secret in the wrong place.
fn secrets(vars: Vars<'_>) -> Result<Secrets, InvalidClusterConfig> {
    let mut found: Option<(&str, String)> = None;
    for variable in ["CLUSTER_SECRET", "CLUSTER_SECRETS", "CLUSTER_SECRET_FILE"] {
        let Some(text) = vars(variable)?.filter(|text| !text.is_empty()) else { continue };
        if let Some((first, _)) = found {
            let rule = format!("must not be set together with {first}");
            return Err(InvalidClusterConfig::new(variable, "***", rule));
        }
        found = Some((variable, text));
    }
    let Some((variable, text)) = found else { return Ok(Secrets::none()) };
    let secrets = match variable {
        "CLUSTER_SECRET" => Ok(Secrets::from(text)),
        "CLUSTER_SECRETS" => Secrets::from_list(&text),
        _ => Secrets::from_file(text),
    };
    secrets.map_err(|error| InvalidClusterConfig::new(variable, "***", error.to_string()))
}

/// A decimal number in a range; only digits, so that `1e3`, `+5` and ` 5` are no surprise later.
fn number(
    vars: Vars<'_>,
    variable: &str,
    range: RangeInclusive<u64>,
) -> Result<Option<u64>, InvalidClusterConfig> {
    let Some(text) = vars(variable)? else { return Ok(None) };
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u64>() {
        Ok(value) if digits && range.contains(&value) => Ok(Some(value)),
        Ok(_) | Err(_) => {
            let mut rule = format!("must be a whole number from {} to {}", range.start(), range.end());
            if text.is_empty() {
                rule.push_str("; leave it unset for the default");
            }
            Err(InvalidClusterConfig::new(variable, &text, rule))
        }
    }
}
