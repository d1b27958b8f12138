//! Children of a local supervisor: how each is started, restarted and stopped.

use std::{any::TypeId, fmt, panic::AssertUnwindSafe, sync::Arc};

use futures_util::future::{FutureExt, LocalBoxFuture};
use noex_actors::{
    __private::panic_text, AnyRef, Behavior, ExitReason, NameError, Node, SpawnOptions, StartError,
    WrongBehavior,
};
use noex_net::Cluster;

use crate::{
    builder::SupervisorBuilder,
    distributed::DistributedSupervisorBuilder,
    error::{SpecError, StartSupervisorError},
    machine::supervision::Rule,
    options::{Restart, Shutdown, Strategy},
};

type Start =
    Arc<dyn Fn(Node, SpawnOptions) -> LocalBoxFuture<'static, Result<AnyRef, StartError>> + Send + Sync>;

/// What instances of a child, or of all children of a template, have in common.
#[derive(Clone, Debug)]
struct Common {
    behavior: String,
    options: SpawnOptions,
}

/// How an instance is made: all that is kept for a child beside its rule.
#[derive(Clone)]
pub(crate) struct Recipe {
    common: Arc<Common>,
    start: Start,
}

impl Recipe {
    pub(crate) fn behavior(&self) -> &str {
        &self.common.behavior
    }

    /// Starts an instance. A panic of the start is a start that failed.
    pub(crate) fn begin(&self, node: Node) -> LocalBoxFuture<'static, Result<AnyRef, StartError>> {
        let (start, options) = (Arc::clone(&self.start), self.common.options.clone());
        let start = async move { start(node, options).await };
        let contained = AssertUnwindSafe(start).catch_unwind().map(|outcome| {
            outcome.unwrap_or_else(|panic| {
                Err(StartError::Init(ExitReason::Panic(panic_text(panic.as_ref()).to_owned())))
            })
        });
        contained.boxed_local()
    }
}

impl fmt::Debug for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recipe").field("behavior", &self.common.behavior).finish_non_exhaustive()
    }
}

/// A child of a [`Supervisor`](crate::Supervisor). Clones share the way it is started.
#[derive(Clone)]
#[must_use]
pub struct ChildSpec {
    pub(crate) id: String,
    /// The type of the behavior, if it is one.
    kind: Option<TypeId>,
    restart: Restart,
    shutdown: Shutdown,
    significant: bool,
    recipe: Recipe,
}

/// The name of a behavior without its path.
fn behavior_name<B: Behavior>() -> &'static str {
    let name = std::any::type_name::<B>();
    name.rsplit("::").next().unwrap_or(name)
}

impl ChildSpec {
    /// A process of behavior `B`; every instance gets a clone of `args`.
    pub fn new<B: Behavior>(id: impl Into<String>, args: B::Args) -> Self
    where
        B::Args: Clone + Sync,
    {
        let start: Start = Arc::new(move |node: Node, options| {
            let args = args.clone();
            async move { Ok(node.spawn::<B>(args).options(options).await?.erase()) }.boxed_local()
        });
        let common = Common { behavior: behavior_name::<B>().to_owned(), options: B::spawn_options() };
        Self { kind: Some(TypeId::of::<B>()), ..Self::of(id, common, start) }
    }

    /// A supervisor of its own: a tree. Shutdown: [`Shutdown::Infinity`].
    pub fn supervisor(id: impl Into<String>, sub: SupervisorBuilder) -> Self {
        let start: Start = Arc::new(move |node, _| {
            let sub = sub.clone();
            async move {
                match sub.start(&node).await {
                    Ok(supervisor) => Ok(supervisor.erase()),
                    Err(StartSupervisorError::NotRunning) => Err(StartError::NotRunning),
                    Err(StartSupervisorError::Name(error)) => Err(StartError::Name(error)),
                    Err(error) => Err(StartError::Init(ExitReason::error(chain(&error)))),
                }
            }
            .boxed_local()
        });
        let common = Common { behavior: "supervisor".to_owned(), options: SpawnOptions::new() };
        Self { shutdown: Shutdown::Infinity, ..Self::of(id, common, start) }
    }

    /// A distributed supervisor, on the node of this one, which has to be clustered. Shutdown: [`Shutdown::Infinity`]: it stops its
    /// children wherever they are. One that ended because its children end too often is this supervisor's to start again.
    ///
    /// Where another node runs the supervisor of that name, this is a start that failed; for nodes that wait for each other there is
    /// [`DistributedSupervisorBuilder::standby`].
    pub fn distributed_supervisor(id: impl Into<String>, sub: DistributedSupervisorBuilder) -> Self {
        let start: Start = Arc::new(move |node, _| {
            let sub = sub.clone();
            async move {
                let cluster = Cluster::of(&node);
                let cluster = cluster.ok_or_else(|| {
                    StartError::Init(ExitReason::error("a distributed supervisor needs a node of a cluster"))
                })?;
                match sub.start(&cluster).await {
                    Ok(supervisor) => Ok(supervisor.erase()),
                    Err(StartSupervisorError::NotRunning) => Err(StartError::NotRunning),
                    Err(error) => Err(StartError::Init(ExitReason::error(chain(&error)))),
                }
            }
            .boxed_local()
        });
        let common = Common { behavior: "distributed_supervisor".to_owned(), options: SpawnOptions::new() };
        Self { shutdown: Shutdown::Infinity, ..Self::of(id, common, start) }
    }

    /// Anything else: `start` is called for every instance, on the supervisor's arbiter.
    ///
    /// The process must be a new one each time; the supervisor stops it, and stops what it started if the supervisor is
    /// stopped meanwhile. A panic of `start` is a start that failed. [`options`](Self::options) have no effect on it.
    pub fn with<F, Fut>(id: impl Into<String>, start: F) -> Self
    where
        F: Fn(Node) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<AnyRef, StartError>> + 'static,
    {
        let common = Common { behavior: String::new(), options: SpawnOptions::new() };
        Self::of(id, common, Arc::new(move |node, _| start(node).boxed_local()))
    }

    fn of(id: impl Into<String>, common: Common, start: Start) -> Self {
        Self {
            id: id.into(),
            kind: None,
            restart: Restart::default(),
            shutdown: Shutdown::default(),
            significant: false,
            recipe: Recipe { common: Arc::new(common), start },
        }
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

    /// How it is spawned: name, placement, mailbox, time for `init`.
    pub fn options(mut self, options: SpawnOptions) -> Self {
        Arc::make_mut(&mut self.recipe.common).options = options;
        self
    }

    pub(crate) fn check(&self) -> Result<(), SpecError> {
        check_id(&self.id)
    }

    pub(crate) fn rule(&self) -> Rule {
        Rule {
            id: self.id.clone(),
            restart: self.restart,
            shutdown: self.shutdown,
            pinned: false,
            significant: self.significant,
        }
    }

    /// What is kept of it.
    pub(crate) fn into_recipe(self) -> Recipe {
        self.recipe
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec")
            .field("id", &self.id)
            .field("behavior", &self.recipe.behavior())
            .field("restart", &self.restart)
            .field("shutdown", &self.shutdown)
            .finish_non_exhaustive()
    }
}

/// What the children of a [`Strategy::SimpleOneForOne`](crate::Strategy::SimpleOneForOne) supervisor have in common. Their
/// arguments come with [`start_instance`](crate::Supervisor::start_instance), are kept, and used again at a restart.
#[derive(Clone, Debug)]
#[must_use]
pub struct ChildTemplate {
    kind: TypeId,
    restart: Restart,
    shutdown: Shutdown,
    significant: bool,
    common: Arc<Common>,
}

impl ChildTemplate {
    /// Processes of behavior `B`.
    pub fn new<B: Behavior>() -> Self {
        let common = Common { behavior: behavior_name::<B>().to_owned(), options: B::spawn_options() };
        Self {
            kind: TypeId::of::<B>(),
            restart: Restart::default(),
            shutdown: Shutdown::default(),
            significant: false,
            common: Arc::new(common),
        }
    }

    /// When they are restarted. Default: [`Restart::Permanent`].
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// How they are stopped. Default: asked, and killed after 5 s.
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// The removal of one may end the supervisor, as [`AutoShutdown`](crate::AutoShutdown) says.
    pub fn significant(mut self) -> Self {
        self.significant = true;
        self
    }

    /// How they are spawned: placement, mailbox, time for `init`. A name can only be had by one of them.
    pub fn options(mut self, options: SpawnOptions) -> Self {
        Arc::make_mut(&mut self.common).options = options;
        self
    }

    /// A child with this id, of which `spec` gives behavior and arguments.
    pub(crate) fn instance(&self, id: String, spec: ChildSpec) -> Result<ChildSpec, WrongBehavior> {
        if spec.kind != Some(self.kind) {
            return Err(WrongBehavior::new(spec.recipe.behavior(), &self.common.behavior));
        }
        let Self { kind: _, restart, shutdown, significant, common } = self.clone();
        let recipe = Recipe { common, ..spec.recipe };
        Ok(ChildSpec { id, restart, shutdown, significant, recipe, ..spec })
    }
}

/// Ids are names: a distributed child is registered under its id.
pub(crate) fn check_id(id: &str) -> Result<(), SpecError> {
    match noex_actors::__private::check_process_name(id) {
        Err(NameError::Invalid { name, reason }) => Err(SpecError::InvalidId { id: name, reason }),
        _ => Ok(()),
    }
}

/// Ids are valid and each is there once.
pub(crate) fn check_ids<'a>(ids: impl IntoIterator<Item = &'a str>) -> Result<(), SpecError> {
    let mut seen = std::collections::BTreeSet::new();
    for id in ids {
        check_id(id)?;
        if !seen.insert(id) {
            return Err(SpecError::DuplicateChild(id.to_owned()));
        }
    }
    Ok(())
}

/// There is a template if, and only if, the strategy makes children from one, and then there are no others.
pub(crate) fn check_template(strategy: Strategy, template: bool, no_children: bool) -> Result<(), SpecError> {
    let reason = match (strategy == Strategy::SimpleOneForOne, template) {
        (true, false) => return Err(SpecError::MissingChildTemplate),
        (false, true) => "a child template is for simple_one_for_one",
        (true, true) if !no_children => "simple_one_for_one has no children but those made from its template",
        (true, true) | (false, false) => return Ok(()),
    };
    Err(SpecError::InvalidSimpleOneForOne { reason })
}

/// What `start_child` of a supervisor with a template is told.
pub(crate) const FROM_TEMPLATE: &str =
    "children of simple_one_for_one are made from its template: use start_instance";

/// What `start_instance` of a supervisor without one is told.
pub(crate) const NO_TEMPLATE: &str =
    "only children of simple_one_for_one are made from a template: use start_child";

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
