//! The process of a distributed supervisor: performs what the coordinator commands.
//!
//! Facts from outside (ends of starts, answers of nodes, events of the cluster) go through one queue, which the process
//! reads while it serves its mailbox and goes on reading while it terminates.

mod effects;
mod ending;
mod facts;
#[cfg(test)]
mod golden;
pub(crate) mod messages;
mod nursery;
mod rebalance;
mod requests;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use noex_actors::{
    AnyRef, Behavior, Caller, Context, ExitReason, Generation, Info, Monotonic, NodeId, Owner, Pid, RawRef,
    RemoteBehavior, SpawnError, Subscription,
};
use noex_net::{Cluster, ClusterEvent, DialError, OnConflict};
use tokio::sync::{mpsc, oneshot};

use self::{
    facts::{Fact, Inlet},
    messages::{Call, Cast, ChildFailure, Reply},
    nursery::Nursery,
};
use super::{alarm::Alarm, end_of, entropy, instances::Instances, starter::Starter};
use crate::{
    distributed::{
        DistributedChildSpec, DistributedChildTemplate, DistributedSupervisorEvent,
        DistributedSupervisorStats, NodeSelector, builder::Listeners, desk::Desk, partition::Partitions,
        views::PREFIX,
    },
    error::StartSupervisorError,
    info::SupervisorExit,
    machine::{
        coordinator::{self, Coordinator, Output},
        failover::{self, Failover},
        placement::Placement,
        standing::Standing,
        supervision::{self, Settings, Supervision, Totals},
    },
    options::Strategy,
};

/// What does not change.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) strategy: Strategy,
    pub(crate) selector: NodeSelector,
    pub(crate) settings: Settings,
    pub(crate) partitions: Partitions,
    pub(crate) started: Monotonic,
}

/// What the process is made of.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) identity: Identity,
    pub(crate) children: Vec<DistributedChildSpec>,
    /// What its children are made from, if that is its strategy.
    pub(crate) template: Option<DistributedChildTemplate>,
    pub(crate) listeners: Listeners,
    /// Told when all were started, or why not.
    pub(crate) ready: oneshot::Sender<Result<(), StartSupervisorError>>,
}

/// What the process tells itself.
#[derive(Debug)]
pub(crate) enum Note {
    Begin,
    /// There is something in the queue of facts.
    Facts,
    Alarm,
    /// Time to look at the clock.
    Tick,
    /// Time to let others see the children as they are.
    Publish,
}

enum Request {
    Start { caller: Caller<Reply>, child: String },
    Terminate { caller: Caller<Reply>, child: String },
}

/// The process.
pub(crate) struct DistributedProcess {
    identity: Identity,
    pid: Pid,
    cluster: Cluster,
    desk: Arc<Desk>,
    machine: Coordinator,
    placement: Placement,
    specs: BTreeMap<String, DistributedChildSpec>,
    nursery: Nursery,
    instances: Instances,
    requests: BTreeMap<u64, Request>,
    next_request: u64,
    waiters: Vec<Caller<Reply>>,
    ready: Option<oneshot::Sender<Result<(), StartSupervisorError>>>,
    /// The last failure of each child's start, for whoever asked for it.
    failures: BTreeMap<String, (Generation, SpawnError)>,
    facts: mpsc::UnboundedReceiver<Fact>,
    inlet: Inlet,
    /// The term that other nodes were told.
    told_term: u64,
    starter: Starter,
    /// What happens to the cluster.
    events: Option<Subscription>,
    alarm: Alarm,
    /// When it looked at the clock last; `None` before it begins and when it ends.
    awake: Option<Monotonic>,
    publishing: bool,
    counted: Totals,
    exit: Option<SupervisorExit>,
    stop_tree: bool,
    /// The node of the supervisor that has the name now.
    beaten_by: Option<NodeId>,
    /// Where the last one of the name was, as this node knew it.
    before: Option<NodeId>,
    /// Who is to look after what this one left.
    heir: Option<AnyRef>,
}

impl RemoteBehavior for DistributedProcess {
    const NAME: &'static str = "noex.distributed_supervisor";
}

impl Behavior for DistributedProcess {
    /// Number of what waits for it on its node: it cannot be started from elsewhere.
    type Args = u64;
    type Call = Call;
    type Reply = Reply;
    type Cast = Cast;
    type Info = Note;
    type Client = RawRef<Self>;

    async fn init(ticket: u64, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        let cluster =
            Cluster::of(cx.node()).ok_or_else(|| ExitReason::error("this node is not clustered"))?;
        let desk = Desk::of(cx.node());
        let args = desk.collect(ticket);
        let Args { identity, children, template, listeners, ready } =
            args.ok_or_else(|| ExitReason::error("a supervisor is started with its builder"))?;
        let registered = format!("{PREFIX}{}", identity.id);
        // Nothing is started before it is known that no other one of the name runs somewhere.
        if let Err(error) = cluster.global().claim(&registered, cx.pid(), OnConflict::NotifyLoser).await {
            let text = ExitReason::error(&error);
            let _ = ready.send(Err(StartSupervisorError::Name(error)));
            return Err(text);
        }
        listeners.subscribe(&desk.hub_of(&identity.id));
        let before = desk.views.lock().get(&identity.id).map(|view| view.owner.clone());
        let rules = children.iter().map(|spec| spec.rule(&identity.selector));
        let supervision = Supervision::new(identity.settings, rules).owned_by(Owner(cx.pid().clone()));
        let config = cluster.config();
        let standing = Standing::new(
            identity.partitions.policy.rule(&identity.partitions.voters),
            config.forget_after(),
        );
        let orphans = children.iter().map(|spec| spec.orphan);
        let orphans =
            orphans.chain(template.as_ref().map(DistributedChildTemplate::get_orphan)).chain([None]);
        let grace = orphans.filter_map(|orphan| identity.partitions.grace(orphan)).max();
        let failover = Failover::new(config.heartbeat_interval(), config.heartbeat_miss_threshold())
            .fenced(standing, grace);
        let (sender, facts) = mpsc::unbounded_channel();
        cx.continue_with(Note::Begin);
        Ok(Self {
            identity,
            pid: cx.pid().clone(),
            cluster,
            desk,
            machine: Coordinator::new(supervision, failover),
            placement: Placement::default(),
            nursery: Nursery::new(template),
            specs: children.into_iter().map(|spec| (spec.id.clone(), spec)).collect(),
            instances: Instances::default(),
            requests: BTreeMap::new(),
            next_request: 0,
            waiters: Vec::new(),
            ready: Some(ready),
            failures: BTreeMap::new(),
            facts,
            inlet: Inlet { facts: sender, notifier: cx.notifier() },
            told_term: 0,
            starter: Starter::begin(Note::Facts, cx),
            events: None,
            alarm: Alarm::default(),
            awake: None,
            publishing: false,
            counted: Totals::default(),
            exit: None,
            stop_tree: false,
            beaten_by: None,
            before,
            heir: None,
        })
    }

    async fn handle_call(&mut self, call: Call, from: Caller<Reply>, cx: &mut Context<Self>) {
        self.serve(call, from, cx);
    }

    async fn handle_cast(&mut self, cast: Cast, cx: &mut Context<Self>) {
        match cast {
            Cast::StopTree => self.stop_tree = true,
            Cast::RivalGone => self.judge(failover::Input::RivalGone, cx),
        }
    }

    async fn handle_info(&mut self, info: Info<Note>, cx: &mut Context<Self>) {
        match info {
            Info::Down(down) => self.down(&down, cx),
            Info::NameLost { winner, .. } => self.name_lost(&winner, cx),
            Info::User(Note::Begin) => self.begin(cx),
            Info::User(Note::Facts) => {
                while let Ok(fact) = self.facts.try_recv() {
                    self.fact(fact, cx);
                }
            }
            Info::User(Note::Alarm) => {
                self.alarm.rang();
                self.step(coordinator::Input::DeadlineReached, cx);
            }
            Info::User(Note::Tick) => self.look_at_the_clock(cx),
            Info::User(Note::Publish) => {
                self.publishing = false;
                self.publish(cx);
            }
            other => tracing::debug!(kind = other.kind(), "unexpected info dropped"),
        }
    }

    async fn terminate(&mut self, reason: &ExitReason, cx: &mut Context<Self>) {
        self.last_words(reason, cx).await;
    }
}

impl DistributedProcess {
    /// Listens to the cluster, then asks every node what an earlier supervisor of this name left.
    fn begin(&mut self, cx: &mut Context<Self>) {
        // A closure, not a stream: a stream loses the oldest events when its reader is slow, and a node whose loss was
        // not heard of keeps its children for ever.
        let inlet = self.inlet.clone();
        self.events = Some(self.cluster.on_event(move |event| {
            let concerns = matches!(
                event,
                ClusterEvent::NodeUp(_)
                    | ClusterEvent::NodeDown { .. }
                    | ClusterEvent::NodeDraining(_)
                    | ClusterEvent::DialFailed { node: Some(_), .. }
            );
            if concerns {
                inlet.send(Fact::Cluster(event.clone()));
            }
        }));
        let own = (cx.node().id().clone(), cx.node().incarnation());
        let others = self.cluster.connected_nodes().into_iter().map(|node| (node.id, node.incarnation));
        let nodes = std::iter::once(own).chain(others).collect();
        self.awake = Some(cx.node().now());
        cx.send_interval(self.cluster.config().heartbeat_interval(), || Note::Tick);
        let missing = self.cluster.lost_nodes();
        self.judge(failover::Input::Started { nodes, missing }, cx);
    }

    fn fact(&mut self, fact: Fact, cx: &mut Context<Self>) {
        match fact {
            Fact::Started { child, generation, node, watch, outcome } => {
                self.started(child, generation, (node, &watch), outcome, cx);
            }
            Fact::NoNode { child, generation } => {
                let failure = supervision::Failure::NoNode;
                self.supervise(
                    supervision::Input::StartFailed { child, generation, node: None, failure },
                    cx,
                );
            }
            Fact::Told { node, query, told } => {
                let (found, term) = told.unzip();
                self.nursery.note(found.iter().flatten());
                if let Some(term) = term {
                    self.supervise(supervision::Input::Seen { term }, cx);
                }
                self.judge(failover::Input::Answered { node, query, found }, cx);
            }
            Fact::Owners(named) => self.owners(named, cx),
            Fact::Cluster(event) => self.cluster_event(event, cx),
            Fact::Winner { winner, children } => self.yield_to(winner, children, cx),
        }
    }

    fn cluster_event(&mut self, event: ClusterEvent, cx: &mut Context<Self>) {
        match event {
            ClusterEvent::NodeUp(node) => {
                let (node, incarnation) = (node.id, node.incarnation);
                self.judge(failover::Input::NodeUp { node, incarnation }, cx);
            }
            ClusterEvent::NodeDown { node, incarnation, reason } => {
                self.placement.forget(&node);
                self.judge(failover::Input::NodeDown { node, incarnation, reason }, cx);
            }
            ClusterEvent::NodeDraining(node) => self.step(coordinator::Input::Draining(node), cx),
            ClusterEvent::DialFailed { node: Some(node), reason: DialError::ConnectionRefused, .. } => {
                self.judge(failover::Input::DialRefused { node }, cx);
            }
            _ => return,
        }
        self.forget_the_lost();
    }

    fn down(&mut self, down: &noex_actors::Down, cx: &mut Context<Self>) {
        // Out of reach is not gone: the handle is kept until the failover has decided.
        let child = match down.reason {
            ExitReason::NoConnection => self.instances.out_of_reach(down),
            _ => self.instances.down(down).inspect(|child| self.note_end(child, down, cx)),
        };
        if let Some(child) = child {
            // The announcement of a leaving node comes before the ends of its processes, but by a longer way.
            let node = down.pid.node_id();
            if self.cluster.is_draining(node) {
                self.step(coordinator::Input::Draining(node.clone()), cx);
            }
            let (pid, reason) = (down.pid.clone(), down.reason.clone());
            self.supervise(supervision::Input::ChildExited { child, pid, reason }, cx);
        }
    }

    fn supervise(&mut self, input: supervision::Input, cx: &mut Context<Self>) {
        self.step(coordinator::Input::Child(input), cx);
    }

    fn judge(&mut self, input: failover::Input, cx: &mut Context<Self>) {
        self.step(coordinator::Input::Node(input), cx);
    }

    /// Before anything that happened meanwhile is looked at: others may have taken its node for dead.
    fn look_at_the_clock(&mut self, cx: &mut Context<Self>) {
        let Some(before) = self.awake else { return };
        let now = cx.node().now();
        self.awake = Some(now);
        let slept = now.since(before);
        if slept > self.machine.patience() {
            tracing::warn!(
                supervisor = self.identity.id,
                ?slept,
                "the supervisor stood still: it asks who has its name"
            );
            self.handle(coordinator::Input::StoodStill, cx);
        }
    }

    fn step(&mut self, input: coordinator::Input, cx: &mut Context<Self>) {
        self.look_at_the_clock(cx);
        self.handle(input, cx);
    }

    fn handle(&mut self, input: coordinator::Input, cx: &mut Context<Self>) {
        let mut commands = VecDeque::new();
        self.machine.handle(input, cx.node().now(), entropy(), &mut commands);
        for command in commands {
            match command {
                Output::Child(command) => self.perform(command, cx),
                Output::Query { node, query, timeout } => self.ask(node, query, timeout, cx),
                Output::AskOwners { timeout } => self.ask_owners(timeout, cx),
                Output::Yield { to } => self.name_lost(&to, cx),
            }
        }
        self.tell_term(cx);
        self.alarm.set(self.machine.deadline(), Note::Alarm, cx);
    }

    /// Handles of instances that nothing is decided about any more.
    fn forget_the_lost(&mut self) {
        let known = self.machine.supervision().instances();
        self.instances.retain(|pid| known.contains(pid));
    }
}

impl Drop for DistributedProcess {
    /// Killed, or broken: its children run on and wait for the next supervisor of this name, or stop where there is none.
    fn drop(&mut self) {
        self.finish(SupervisorExit::Stopped(ExitReason::Killed));
    }
}

impl std::fmt::Debug for DistributedProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DistributedProcess").field("id", &self.identity.id).finish_non_exhaustive()
    }
}
