//! Texts: node ids, seeds, secrets, the environment, exit reasons. Invariants: what is read is written in one way, and that is read
//! as the same; what is refused is not repeated at length, and a secret not at all.

use noex_actors::{ExitReason, NodeId};

use super::input::Input;
use crate::{ClusterConfig, Secrets, Seed};

/// Longer than any id: 64 + 1 + 253 + 1 + 5.
const MAX_ID: usize = 324;

/// [`NodeId::parse`].
pub fn node_id(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match NodeId::parse(text) {
        Ok(id) => {
            assert!(id.as_str().len() <= MAX_ID, "{id}");
            assert_eq!(NodeId::parse(id.as_str()).as_ref(), Ok(&id), "the canonical text is its own");
            assert_eq!(NodeId::new(id.name(), id.host(), id.port()).as_ref(), Ok(&id), "its parts make it");
            assert!(id.port() > 0 && !id.name().is_empty() && !id.host().is_empty());
            assert!(id.as_str().is_ascii() && !id.as_str().contains(char::is_whitespace));
        }
        Err(error) => assert!(error.value.chars().count() <= MAX_ID),
    }
}

/// The text of a [`Seed`].
pub fn seed(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match text.parse::<Seed>() {
        Ok(seed) => {
            assert_eq!(seed.to_string().parse().as_ref(), Ok(&seed));
            assert!(seed.port() > 0 && !seed.host().is_empty() && !seed.host().starts_with('['));
        }
        Err(error) => assert!(error.value.chars().count() <= 400),
    }
}

/// A list, and a file, of secrets.
pub fn secrets(bytes: &[u8]) {
    let file = Secrets::read(bytes);
    let list = std::str::from_utf8(bytes).ok().map(Secrets::from_list);
    for read in std::iter::once(file).chain(list) {
        match read {
            Ok(secrets) => {
                let ids = secrets.ids();
                assert!((1..=16).contains(&ids.len()));
                assert!(ids.iter().enumerate().all(|(at, id)| !ids[..at].contains(id)), "each id once");
                let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
                assert!(ids.iter().all(|id| (1..=64).contains(&id.len()) && id.bytes().all(good)));
                let shown = format!("{secrets:?}").len();
                assert!(shown <= 16 * (64 + 8) + 2, "ids and nothing else");
            }
            // The place and the rule; of the text, an id that is one at most.
            Err(error) => assert!(error.to_string().len() <= 250, "{error}"),
        }
    }
}

/// Settings from the environment: the value of each variable in turn.
pub fn environment(bytes: &[u8]) {
    const VARIABLES: [&str; 12] = [
        "NODE_NAME",
        "HOST",
        "ADVERTISE_HOST",
        "CLUSTER_PORT",
        "CLUSTER_SEEDS",
        "CLUSTER_SECRET",
        "CLUSTER_SECRETS",
        "CLUSTER_INSECURE_PEERS",
        "HEARTBEAT_INTERVAL_MS",
        "HEARTBEAT_MISS_THRESHOLD",
        "RECONNECT_BASE_DELAY_MS",
        "RECONNECT_MAX_DELAY_MS",
    ];
    let mut input = Input(bytes);
    let mut vars = std::collections::BTreeMap::new();
    while !input.is_empty() {
        let variable = VARIABLES[usize::from(input.byte()) % VARIABLES.len()];
        if let Ok(value) = std::str::from_utf8(input.bytes()) {
            vars.insert(variable, value.to_owned());
        }
    }
    match ClusterConfig::from_vars(|variable| vars.get(variable).cloned()) {
        Ok(config) => {
            let node = NodeId::new(config.node_name(), "host", 1);
            assert!(node.is_ok(), "a name that makes no node id");
            assert!(config.port() > 0 && config.heartbeat_miss_threshold() >= 1);
            assert!(config.reconnect_base_delay() <= config.reconnect_max_delay());
            for seed in config.seeds() {
                assert_eq!(seed.to_string().parse().as_ref(), Ok(seed));
            }
        }
        Err(error) => {
            // Long enough to be no word of a rule, and not the value of another variable as well.
            let shown =
                |secret: &&String| vars.values().filter(|value| value.contains(secret.as_str())).count();
            let secret = vars.get("CLUSTER_SECRET").filter(|secret| secret.len() > 40 && shown(secret) == 1);
            if let Some(secret) = secret {
                assert!(!error.to_string().contains(secret.as_str()), "a secret is shown");
            }
        }
    }
}

/// The text of an [`ExitReason`].
pub fn exit_reason(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match text.parse::<ExitReason>() {
        Ok(reason) => assert_eq!(reason.to_string(), text, "one spelling"),
        Err(error) => assert!(error.to_string().len() <= 600),
    }
}
