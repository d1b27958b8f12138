//! What a distributed supervisor does: placing and starting, watching, stopping, asking, reporting.

use std::{collections::BTreeSet, time::Duration};

use noex_actors::{
    __private::{LeaseTerms, WatchAhead},
    AnyRef, Context, Down, FencingToken, Generation, NameError, NodeId, Owner, Pid, Registration, SpawnError,
    StartError,
};
use noex_net::{Instance, NodeInfo};

use super::{DistributedProcess, DistributedSupervisorEvent, Fact, Note, entropy};
use crate::{
    child_spec::chain,
    distributed::DistributedChildSpec,
    machine::{
        Found, failover,
        placement::{Candidate, Order},
        supervision::{Child, Failure, Input, Output, Report},
    },
};

/// How long a node may take to say whether the holder of a name is one of our own.
const SIBLINGS_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a node may take to answer a start, beside `init`.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How soon others see what changed.
const PUBLISH_AFTER: Duration = Duration::from_millis(50);

impl DistributedProcess {
    pub(super) fn perform(&mut self, command: Output, cx: &mut Context<Self>) {
        match command {
            Output::Start { child, generation, excluded, target, .. } => {
                self.start(child, generation, (&excluded, target.as_ref()), cx);
            }
            Output::Watch { child, pid, .. } => self.watch(&child, &pid, cx),
            Output::Stop { child, generation, pid, how, cause } => {
                let (supervisor, cause_text) = (&self.identity.id, cause.as_str());
                tracing::debug!(supervisor, child, %generation, %pid, ?how, cause = cause_text, "stopping an instance");
                self.instances.stop(&pid, how, cause.reason());
            }
            Output::Reply { request, answer } => self.answer(request, answer),
            Output::Report(report) => self.report(report, cx),
            // While it starts, both are needed to tell why it did not.
            Output::Forget { child } if self.ready.is_none() => {
                self.specs.remove(&child);
                self.failures.remove(&child);
            }
            Output::Forget { .. } => {}
            // The coordinator looks after that.
            Output::DoubtName => {}
            Output::Ready => {
                let supervisor_id = self.identity.id.clone();
                tracing::info!(supervisor = supervisor_id, "supervisor started");
                let pid = cx.pid().clone();
                self.desk.tell(DistributedSupervisorEvent::SupervisorStarted { supervisor_id, pid });
                self.tell_of_the_owner_before(cx);
                self.publish(cx);
                if let Some(ready) = self.ready.take() {
                    let _ = ready.send(Ok(()));
                }
                self.add_the_early(cx);
            }
            Output::End(ending) => self.end(ending, cx),
        }
    }

    /// Where the last one of the name was: by what it told while it was there, or by the latest of what it left.
    fn tell_of_the_owner_before(&mut self, cx: &Context<Self>) {
        let left = |child: &Child| {
            Some((child.generation, child.owner.clone()?.0)).filter(|(_, owner)| owner != cx.pid())
        };
        let latest =
            self.machine.supervision().children().filter_map(left).max_by_key(|(generation, _)| *generation);
        let before = self.before.take().or_else(|| latest.map(|(_, owner)| owner.node_id().clone()));
        if let Some(before) = before {
            self.owner_changed(&before, cx.node().id());
        }
    }

    /// This node first, then the connected ones by id: up, staying, and knowing the behavior.
    pub(super) fn candidates(&self, behavior: &str, cx: &Context<Self>) -> Vec<NodeInfo> {
        let cluster = &self.cluster;
        let own = cluster.local_node_id();
        let fits = |id: &NodeId| !cluster.is_draining(id) && cluster.peer_has_behavior(id, behavior);
        let here = (!cx.node().is_stopping() && fits(own)).then(|| cluster.local_node_info());
        let mut others = cluster.connected_nodes();
        others.retain(|node| self.machine.is_up(&node.id) && fits(&node.id));
        others.sort_by(|a, b| a.id.cmp(&b.id));
        here.into_iter().chain(others).collect()
    }

    fn start(
        &mut self,
        child: String,
        generation: Generation,
        (excluded, target): (&BTreeSet<NodeId>, Option<&NodeId>),
        cx: &mut Context<Self>,
    ) {
        let inlet = self.inlet.clone();
        let Some(spec) = self.specs.get(&child).cloned() else {
            debug_assert!(false, "every child has a specification");
            return;
        };
        let nodes = self.candidates(&spec.behavior, cx);
        let selector = spec.selector.as_ref().unwrap_or(&self.identity.selector).resolve(&nodes, &child);
        let candidates: Vec<_> = nodes.iter().map(candidate).collect();
        let order = Order { generation, excluded, target };
        let Some(node) = self.placement.choose(&selector, &candidates, order, entropy()) else {
            return inlet.send(Fact::NoNode { child, generation });
        };
        let owner = Owner(cx.pid().clone());
        let token = FencingToken::new(&self.identity.id, &child, generation).owned_by(owner);
        let lease = self.identity.partitions.lease(spec.orphan, &self.identity.id);
        tracing::debug!(supervisor = self.identity.id, child, %generation, %node, "starting a child");
        let (cluster, parent) = (self.cluster.clone(), cx.pid().clone());
        let watch = self.instances.ahead(cx);
        self.starter.run(async move {
            let outcome = spawn(&cluster, &node, &spec, (token, lease), &watch).await;
            if let Ok(any) = &outcome {
                any.set_parent(&parent);
            }
            inlet.send(Fact::Started { child, generation, node, watch, outcome });
        });
    }

    pub(super) fn started(
        &mut self,
        child: String,
        generation: Generation,
        (node, watch): (NodeId, &WatchAhead),
        outcome: Result<AnyRef, SpawnError>,
        cx: &mut Context<Self>,
    ) {
        self.note_answer(&node, generation, outcome.is_ok(), cx);
        match outcome {
            Ok(any) => {
                let pid = any.pid().clone();
                let over = self.instances.started(&child, any, watch, cx);
                self.supervise(Input::StartSucceeded { child, generation, pid }, cx);
                if let Some(down) = over {
                    self.down(&down, cx);
                }
            }
            Err(error) => {
                self.instances.not_started(watch, cx);
                let gone = matches!(error, SpawnError::NoConnection(_) | SpawnError::ConnectionLost(_))
                    || (error == SpawnError::Start(StartError::NotRunning) && node != *cx.node().id());
                tracing::warn!(supervisor = self.identity.id, child, %node, %error, "a child did not start");
                let mine = |spec: &DistributedChildSpec| spec.name.is_none();
                let held = holder(&error).is_some() && self.specs.get(&child).is_some_and(mine);
                let failure = if gone || held { Failure::NodeGone } else { Failure::Refused(chain(&error)) };
                // Held by another instance of this very child: that one is looked for, then this one is tried again.
                let node = (!held).then_some(node);
                self.failures.insert(child.clone(), (generation, error));
                self.supervise(Input::StartFailed { child, generation, node, failure }, cx);
                if held {
                    self.judge(failover::Input::RivalGone, cx);
                }
            }
        }
    }

    /// For the placement: what became of a start.
    fn note_answer(&mut self, node: &NodeId, generation: Generation, runs: bool, cx: &Context<Self>) {
        let now = cx.node().now();
        match self.known(node) {
            Some(on) if runs => self.placement.started(&on, generation, now),
            Some(on) => self.placement.failed(&on, generation, now),
            None => self.placement.forget(node),
        }
    }

    /// For the placement: an instance runs no more.
    pub(super) fn note_end(&mut self, child: &str, down: &Down, cx: &Context<Self>) {
        if let Some(on) = self.known(down.pid.node_id()) {
            self.placement.ended(&on, child, cx.node().now());
        }
    }

    /// The node as placement sees it, candidate or not.
    pub(super) fn known(&self, node: &NodeId) -> Option<Candidate> {
        let own = (node == self.cluster.local_node_id()).then(|| self.cluster.local_node_info());
        own.or_else(|| self.cluster.node(node)).as_ref().map(candidate)
    }

    pub(super) fn ask(&mut self, node: NodeId, query: u64, timeout: Duration, cx: &mut Context<Self>) {
        let (cluster, id, inlet) = (self.cluster.clone(), self.identity.id.clone(), self.inlet.clone());
        let term = self.own_term();
        self.told_term = self.told_term.max(term);
        cx.task(async move {
            let instance =
                |Instance { child, generation, owner, pid, .. }| Found { child, generation, owner, pid };
            let told = match cluster.__reign(&node, (&id, term), timeout).await {
                Ok((found, seen)) => Some((found.into_iter().map(instance).collect(), seen)),
                Err(error) => {
                    tracing::debug!(%node, %error, "a node did not tell its instances");
                    None
                }
            };
            inlet.send(Fact::Told { node, query, told });
            Note::Facts
        });
    }

    /// 0 where nobody needs to know it: nobody will have the id again.
    fn own_term(&self) -> u64 {
        self.identity.name.as_ref().map_or(0, |_| self.machine.supervision().term())
    }

    /// Its term is another one than it was when all nodes were asked: they are told, for those that come after it.
    pub(super) fn tell_term(&mut self, cx: &mut Context<Self>) {
        let term = self.own_term();
        if self.told_term == 0 || term <= self.told_term {
            return;
        }
        self.told_term = term;
        let own = self.cluster.local_node_id().clone();
        let others = self.cluster.connected_nodes().into_iter().map(|node| node.id);
        for node in std::iter::once(own).chain(others) {
            let (cluster, id) = (self.cluster.clone(), self.identity.id.clone());
            cx.task(async move {
                let _ = cluster.__reign(&node, (&id, term), SIBLINGS_TIMEOUT).await;
                Note::Facts
            });
        }
    }

    /// Watches an instance, its own or one that a node told of.
    fn watch(&mut self, child: &str, pid: &Pid, cx: &mut Context<Self>) {
        if self.instances.get(pid).is_none() {
            let behavior = self.specs.get(child).map(|spec| spec.behavior.as_str());
            self.instances.keep(child, cx.node().resolve_any(pid, behavior));
        }
        self.instances.watch(pid, cx);
    }

    fn report(&mut self, report: Report, cx: &mut Context<Self>) {
        let totals = self.machine.supervision().totals();
        let before = std::mem::replace(&mut self.counted, totals);
        self.desk.count(totals.restarts - before.restarts, totals.failovers - before.failovers);
        let selector = |child: &str| {
            let own = self.specs.get(child).and_then(|spec| spec.selector.as_ref());
            own.unwrap_or(&self.identity.selector).to_string()
        };
        let event = DistributedSupervisorEvent::of(&self.identity.id, report, selector);
        tracing::debug!(supervisor = self.identity.id, kind = event.kind(), "supervisor event");
        self.desk.tell(event);
        if !std::mem::replace(&mut self.publishing, true) {
            cx.send_after(PUBLISH_AFTER, Note::Publish);
        }
    }

    /// Lets everybody on this node see the children as they are.
    pub(super) fn publish(&self, cx: &Context<Self>) {
        let view = self.view(cx);
        self.desk.views.lock().insert(view.name.clone(), view);
    }
}

/// A node as placement sees it.
pub(super) fn candidate(node: &NodeInfo) -> Candidate {
    Candidate { id: node.id.clone(), processes: node.process_count, told: node.load_received }
}

/// Starts the instance on the node, under its global name and watched.
async fn spawn(
    cluster: &noex_net::Cluster,
    node: &NodeId,
    spec: &DistributedChildSpec,
    (token, lease): (FencingToken, Option<LeaseTerms>),
    watch: &WatchAhead,
) -> Result<AnyRef, SpawnError> {
    let name = spec.name.as_deref().unwrap_or(&spec.id);
    let supervisor = token.supervisor.clone();
    let mut options = spec.spawn_options().fencing_token(token);
    if let Some(lease) = lease {
        options = options.lease(lease);
    }
    // The node gives `init` its time; the answer has to come back.
    let patience = options.get_init_timeout().saturating_add(ANSWER_TIMEOUT);
    let start = |options| {
        let start = cluster.spawn_named(node, &spec.behavior, spec.payload());
        start.options(options).timeout(patience).watched(watch)
    };
    if !spec.named {
        return start(options).register(Registration::None).await;
    }
    let outcome = start(options.clone().name(name)).register(Registration::Global).await;
    match outcome {
        Err(error) if spec.name.is_none() => {
            let Some(holder) = holder(&error) else { return Err(error) };
            let siblings = cluster.instances(holder.node_id(), &supervisor, SIBLINGS_TIMEOUT).await;
            if siblings.is_ok_and(|siblings| siblings.iter().any(|sibling| sibling.pid == *holder)) {
                return Err(error);
            }
            tracing::warn!(child = spec.id, %holder, "a child has no global name: its id is taken by another process");
            start(options).register(Registration::None).await
        }
        outcome => outcome,
    }
}

/// Who has the global name of a child that did not start.
fn holder(error: &SpawnError) -> Option<&Pid> {
    match error {
        SpawnError::Start(StartError::Name(NameError::Taken { holder, .. }))
        | SpawnError::NameLost(NameError::Taken { holder, .. }) => Some(holder),
        _ => None,
    }
}
