//! Children of a distributed supervisor: which behavior, with which arguments, and where.

use std::{fmt, panic::AssertUnwindSafe, str::FromStr, sync::Arc, time::Duration};

use noex_actors::{EncodeError, MailboxPolicy, NodeId, Payload, RemoteBehavior, SpawnOptions, UnknownWord};
use noex_net::NodeInfo;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{partition::OrphanPolicy, value::Value};
use crate::{
    child_spec::check_id,
    error::SpecError,
    machine::{placement::Selector, supervision::Rule},
    options::{Restart, Shutdown},
};

/// A user's own choice of a node. It gets the candidates, this node first, and the id of the child.
pub type SelectNode = Arc<dyn Fn(&[NodeInfo], &str) -> Option<NodeId> + Send + Sync>;

/// On which node a child starts. Words: `local_first`, `round_robin`, `least_loaded`, `random`, `node:<id>`.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum NodeSelector {
    /// The supervisor's own node, if it is a candidate; else the first other.
    #[default]
    LocalFirst,
    /// The candidates in turn, counted per supervisor.
    RoundRobin,
    /// The one with the fewest processes.
    LeastLoaded,
    /// Any.
    Random,
    /// This one and no other: the child waits for it as pending.
    Node(NodeId),
    /// What the function says. An answer that is not among the candidates, or a panic, is none.
    Custom(SelectNode),
}

impl NodeSelector {
    /// Chooses by a function of the candidates and the child's id.
    pub fn custom(f: impl Fn(&[NodeInfo], &str) -> Option<NodeId> + Send + Sync + 'static) -> Self {
        Self::Custom(Arc::new(f))
    }

    /// The rule for one choice.
    pub(crate) fn resolve(&self, nodes: &[NodeInfo], child: &str) -> Selector {
        match self {
            Self::LocalFirst => Selector::LocalFirst,
            Self::RoundRobin => Selector::RoundRobin,
            Self::LeastLoaded => Selector::LeastLoaded,
            Self::Random => Selector::Random,
            Self::Node(id) => Selector::Node(id.clone()),
            Self::Custom(f) => {
                let chosen = std::panic::catch_unwind(AssertUnwindSafe(|| f(nodes, child)));
                Selector::Chosen(chosen.unwrap_or_else(|_panic| {
                    tracing::error!(child, "a custom node selector panicked");
                    None
                }))
            }
        }
    }
}

impl From<NodeId> for NodeSelector {
    fn from(id: NodeId) -> Self {
        Self::Node(id)
    }
}

impl fmt::Display for NodeSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LocalFirst => f.write_str("local_first"),
            Self::RoundRobin => f.write_str("round_robin"),
            Self::LeastLoaded => f.write_str("least_loaded"),
            Self::Random => f.write_str("random"),
            Self::Node(id) => write!(f, "node:{id}"),
            Self::Custom(_) => f.write_str("custom"),
        }
    }
}

impl fmt::Debug for NodeSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for NodeSelector {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let words = ["local_first", "round_robin", "least_loaded", "random", "node:<id>"];
        Ok(match text {
            "local_first" => Self::LocalFirst,
            "round_robin" => Self::RoundRobin,
            "least_loaded" => Self::LeastLoaded,
            "random" => Self::Random,
            other => match other.strip_prefix("node:").map(NodeId::parse) {
                Some(Ok(id)) => Self::Node(id),
                Some(Err(_)) | None => return Err(UnknownWord::new(other, &words)),
            },
        })
    }
}

impl Serialize for NodeSelector {
    /// A custom selector only exists on the node of the supervisor: it does not travel.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Custom(_) => Err(serde::ser::Error::custom("a custom node selector cannot be sent")),
            other => serializer.collect_str(other),
        }
    }
}

impl<'de> Deserialize<'de> for NodeSelector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A child of a [`DistributedSupervisor`](crate::DistributedSupervisor).
///
/// Its instance is registered in the global registry under its id, or under [`name`](Self::name).
#[derive(Clone, Debug)]
#[must_use]
pub struct DistributedChildSpec {
    pub(crate) id: String,
    pub(crate) behavior: String,
    args: Result<Payload, EncodeError>,
    pub(crate) restart: Restart,
    pub(crate) shutdown: Shutdown,
    pub(crate) selector: Option<NodeSelector>,
    pub(crate) name: Option<String>,
    /// Whether its instance has a global name at all.
    pub(crate) named: bool,
    significant: bool,
    pub(crate) orphan: Option<OrphanPolicy>,
    mailbox: (MailboxPolicy, usize),
    trap_exit: bool,
    init_timeout: Duration,
}

impl DistributedChildSpec {
    /// A process of behavior `B`. The arguments are encoded here; a failure shows at start, as [`SpecError::Args`].
    #[expect(clippy::needless_pass_by_value, reason = "as every spawn takes its arguments")]
    pub fn new<B: RemoteBehavior>(id: impl Into<String>, args: B::Args) -> Self {
        Self::named(id, B::NAME).args(&args).options(B::spawn_options())
    }

    /// A process of the behavior with this wire name, started without arguments.
    pub fn named(id: impl Into<String>, behavior: impl Into<String>) -> Self {
        let options = SpawnOptions::new();
        Self {
            id: id.into(),
            behavior: behavior.into(),
            args: Payload::encode(&()),
            restart: Restart::default(),
            shutdown: Shutdown::default(),
            selector: None,
            name: None,
            named: true,
            significant: false,
            orphan: None,
            mailbox: (options.get_mailbox_policy(), options.get_mailbox_capacity()),
            trap_exit: options.get_trap_exit(),
            init_timeout: options.get_init_timeout(),
        }
    }

    /// What `init` gets, encoded here.
    pub fn args(mut self, args: &impl Serialize) -> Self {
        self.args = Payload::encode(args);
        self
    }

    /// When it is restarted. Default: [`Restart::Permanent`].
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// How it is stopped. Default: asked, and killed after 5 s.
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// Its removal may end the supervisor, as [`AutoShutdown`](crate::AutoShutdown) says.
    pub fn significant(mut self) -> Self {
        self.significant = true;
        self
    }

    /// Mailbox, time for `init`, and whether exits are trapped. A name in the options is that of [`name`](Self::name);
    /// placement is for the other node to decide.
    pub fn options(mut self, options: SpawnOptions) -> Self {
        self.mailbox = (options.get_mailbox_policy(), options.get_mailbox_capacity());
        self.trap_exit = options.get_trap_exit();
        self.init_timeout = options.get_init_timeout();
        if let Some(name) = options.get_name() {
            self.name = Some(name.to_owned());
        }
        self
    }

    /// Where it starts; overrides the supervisor's selector.
    pub fn node_selector(mut self, selector: impl Into<NodeSelector>) -> Self {
        self.selector = Some(selector.into());
        self
    }

    /// Global name of the current instance; moves with it. Default: the id. A name given here must be had for the child
    /// to start; the default is left out if somebody else has it.
    pub fn name(mut self, global: impl Into<String>) -> Self {
        self.name = Some(global.into());
        self
    }

    /// What becomes of it when its supervisor is out of reach. Default: it runs on, if the supervisor has a name and it is not of a
    /// template; under
    /// [`PartitionPolicy::Majority`](crate::PartitionPolicy::Majority) an instance on a node outside the majority stops after
    /// as long as it takes to find a silent node dead.
    ///
    /// A lost node's children are started elsewhere only after the longest of these times, of all children of the
    /// supervisor: then none of them runs twice.
    pub fn orphan(mut self, policy: OrphanPolicy) -> Self {
        self.orphan = Some(policy);
        self
    }

    pub(crate) fn check(&self) -> Result<(), SpecError> {
        check_id(&self.id)?;
        self.check_args()
    }

    pub(crate) fn check_args(&self) -> Result<(), SpecError> {
        match &self.args {
            Ok(_) => Ok(()),
            Err(source) => Err(SpecError::Args { id: self.id.clone(), source: source.clone() }),
        }
    }

    pub(crate) fn rule(&self, default: &NodeSelector) -> Rule {
        let selector = self.selector.as_ref().unwrap_or(default);
        Rule {
            id: self.id.clone(),
            restart: self.restart,
            shutdown: self.shutdown,
            pinned: matches!(selector, NodeSelector::Node(_)),
            significant: self.significant,
        }
    }

    /// The child with this id that has the behavior, the settings and no name like this one, and the arguments of `from`.
    pub(crate) fn instance(&self, id: String, from: Self) -> Self {
        Self { id, args: from.args, name: None, named: false, ..self.clone() }
    }

    pub(crate) fn payload(&self) -> Payload {
        self.args.clone().unwrap_or_default()
    }

    /// The options of every start, without the token.
    pub(crate) fn spawn_options(&self) -> SpawnOptions {
        let (policy, capacity) = self.mailbox;
        let options = SpawnOptions::new().mailbox(policy, capacity).init_timeout(self.init_timeout);
        if self.trap_exit { options.trap_exit() } else { options }
    }
}

/// A specification as it travels.
#[derive(Serialize, Deserialize)]
struct Wire {
    id: String,
    behavior: String,
    args: Result<Value, String>,
    restart: Restart,
    shutdown: Shutdown,
    selector: Option<NodeSelector>,
    name: Option<String>,
    capacity: usize,
    init_timeout: Duration,
    #[serde(default)]
    significant: bool,
    #[serde(default)]
    orphan: Option<OrphanPolicy>,
    /// Policy of the mailbox, and whether exits are trapped. Absent, and not written, where both are as usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    process: Option<(MailboxPolicy, bool)>,
}

impl Serialize for DistributedChildSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let spec = self.clone();
        let wire = Wire {
            id: spec.id,
            behavior: spec.behavior,
            args: spec
                .args
                .map_err(|error| error.to_string())
                .and_then(|args| args.decode::<Value>().map_err(|error| error.to_string())),
            restart: spec.restart,
            shutdown: spec.shutdown,
            selector: spec.selector,
            name: spec.name,
            capacity: spec.mailbox.1,
            init_timeout: spec.init_timeout,
            significant: spec.significant,
            orphan: spec.orphan,
            process: Some((spec.mailbox.0, spec.trap_exit)).filter(|process| *process != Default::default()),
        };
        wire.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for DistributedChildSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let (policy, trap_exit) = wire.process.unwrap_or_default();
        Ok(Self {
            id: wire.id,
            behavior: wire.behavior,
            args: wire.args.map_err(EncodeError::new).and_then(|args| Payload::encode(&args)),
            restart: wire.restart,
            shutdown: wire.shutdown,
            selector: wire.selector,
            name: wire.name,
            mailbox: (policy, wire.capacity),
            trap_exit,
            init_timeout: wire.init_timeout,
            named: true,
            significant: wire.significant,
            orphan: wire.orphan,
        })
    }
}
