//! Requests to a distributed supervisor and their answers.

use noex_actors::{AnyRef, Caller, Context, Generation, SpawnError, StartError};

use super::{
    Call, ChildFailure, DistributedChildSpec, DistributedProcess, DistributedSupervisorStats, Reply, Request,
};
use crate::{
    distributed::SupervisorView,
    error::SpecError,
    info::{ChildInfo, ChildState},
    machine::supervision::{Answer, Child, Failure, Input},
};

impl DistributedProcess {
    pub(super) fn serve(&mut self, call: Call, from: Caller<Reply>, cx: &mut Context<Self>) {
        let claimed = self.beaten_by.clone().map(ChildFailure::Claimed);
        match (&call, claimed) {
            (Call::StartChild(_) | Call::StartInstance(_) | Call::RestartChild(_), Some(claimed)) => {
                return from.reply(Reply::Instance(Err(claimed)));
            }
            (Call::TerminateChild(_), Some(claimed)) => return from.reply(Reply::Removed(Err(claimed))),
            _ => {}
        }
        match call {
            Call::StartChild(spec) => self.add(*spec, from, cx),
            Call::StartInstance(spec) => self.add_instance(*spec, from, cx),
            Call::TerminateChild(child) => {
                let request = self.request(Request::Terminate { caller: from, child: child.clone() });
                self.supervise(Input::TerminateRequested { request, child }, cx);
            }
            Call::RestartChild(child) => {
                let request = self.request(Request::Start { caller: from, child: child.clone() });
                self.supervise(Input::RestartRequested { request, child }, cx);
            }
            Call::Instance(child) => from.reply(Reply::Instance(self.instance(&child))),
            Call::View => from.reply(Reply::View(self.view(cx))),
            Call::Stats => from.reply(Reply::Stats(Box::new(self.stats(cx)))),
            Call::Rebalance => from.reply(Reply::Rebalanced(self.rebalance(cx))),
            Call::Wait => match &self.exit {
                Some(exit) => from.reply(Reply::Exit(exit.clone().into())),
                None => self.waiters.push(from),
            },
        }
    }

    fn add(&mut self, spec: DistributedChildSpec, caller: Caller<Reply>, cx: &mut Context<Self>) {
        if self.nursery.has_template() {
            return caller.reply(Reply::Instance(Err(ChildFailure::FromTemplate)));
        }
        let child = spec.id.clone();
        if let Err(error) = spec.check() {
            return caller.reply(Reply::Instance(Err(error.into())));
        }
        if self.machine.supervision().child(&child).is_some() {
            return caller.reply(Reply::Instance(Err(SpecError::DuplicateChild(child).into())));
        }
        self.begin_child(spec, caller, cx);
    }

    pub(super) fn begin_child(
        &mut self,
        spec: DistributedChildSpec,
        caller: Caller<Reply>,
        cx: &mut Context<Self>,
    ) {
        let (child, rule) = (spec.id.clone(), spec.rule(&self.identity.selector));
        self.machine.extend_grace(self.identity.partitions.grace(spec.orphan));
        self.specs.insert(child.clone(), spec);
        let request = self.request(Request::Start { caller, child });
        self.supervise(Input::AddRequested { request, rule }, cx);
    }

    fn request(&mut self, request: Request) -> u64 {
        let number = self.next_request;
        self.next_request += 1;
        self.requests.insert(number, request);
        number
    }

    pub(super) fn answer(&mut self, request: u64, answer: Answer) {
        match self.requests.remove(&request) {
            Some(Request::Start { caller, child }) => {
                let outcome = match answer {
                    Answer::Started { pid } => match self.instances.get(&pid) {
                        Some(any) => Ok(any.clone()),
                        None => Err(ChildFailure::NotRunning(child, ChildState::Stopping)),
                    },
                    Answer::Failed { generation, failure } => Err(self.why(&child, generation, failure)),
                    Answer::Duplicate => Err(ChildFailure::Duplicate(child)),
                    Answer::NotFound | Answer::Removed => Err(ChildFailure::NotFound(child)),
                };
                caller.reply(Reply::Instance(outcome));
            }
            Some(Request::Terminate { caller, child }) => {
                let outcome = match answer {
                    Answer::NotFound => Err(ChildFailure::NotFound(child)),
                    Answer::Removed | Answer::Started { .. } | Answer::Failed { .. } | Answer::Duplicate => {
                        Ok(())
                    }
                };
                caller.reply(Reply::Removed(outcome));
            }
            None => {}
        }
    }

    /// Why a start failed, as its caller sees it.
    pub(super) fn why(&mut self, child: &str, generation: Generation, failure: Failure) -> ChildFailure {
        let child_id = child.to_owned();
        match (failure, self.failures.remove(child)) {
            (Failure::GivenUp, _) => {
                self.beaten_by.clone().map_or(ChildFailure::Ended, ChildFailure::Claimed)
            }
            (Failure::NoNode, _) => {
                let own = self.specs.get(child).and_then(|spec| spec.selector.as_ref());
                let selector = own.unwrap_or(&self.identity.selector).to_string();
                ChildFailure::NoAvailableNode(child_id, selector)
            }
            (_, Some((failed, error))) if failed == generation => ChildFailure::Spawn(child_id, error.into()),
            (failure, _) => {
                let text = match failure {
                    Failure::Refused(text) => text,
                    Failure::NoNode | Failure::NodeGone | Failure::GivenUp => "its node went away".to_owned(),
                };
                let reason = noex_actors::ExitReason::Error(text);
                ChildFailure::Spawn(child_id, SpawnError::Start(StartError::Init(reason)).into())
            }
        }
    }

    fn instance(&self, id: &str) -> Result<AnyRef, ChildFailure> {
        let child = self.machine.supervision().child(id);
        let child = child.ok_or_else(|| ChildFailure::NotFound(id.to_owned()))?;
        let any = child.pid().and_then(|pid| self.instances.get(pid));
        any.cloned().ok_or_else(|| ChildFailure::NotRunning(id.to_owned(), ChildState::of(child)))
    }

    pub(super) fn view(&self, cx: &Context<Self>) -> SupervisorView {
        let info = |child: &Child| {
            let behavior = self.specs.get(&child.rule.id).map_or("", |spec| spec.behavior.as_str());
            ChildInfo::of(child, behavior, cx.node().clock())
        };
        let children = self.machine.supervision().children().map(info).collect();
        let (id, strategy) = (self.identity.id.clone(), self.identity.strategy);
        SupervisorView::new(id, strategy, cx.node().id().clone(), children)
    }

    fn stats(&self, cx: &Context<Self>) -> DistributedSupervisorStats {
        let (identity, supervision) = (&self.identity, self.machine.supervision());
        let mut children_by_node = std::collections::BTreeMap::new();
        for pid in supervision.children().filter_map(Child::pid) {
            *children_by_node.entry(pid.node_id().clone()).or_insert(0) += 1;
        }
        let (totals, clock) = (supervision.totals(), cx.node().clock());
        DistributedSupervisorStats {
            id: identity.id.clone(),
            name: identity.name.clone(),
            strategy: identity.strategy,
            child_count: supervision.child_count(),
            pending_count: supervision.pending_count(),
            waits_for_majority: supervision.is_paused(),
            children_by_node,
            total_restarts: totals.restarts,
            node_failure_restarts: totals.node_failure_restarts,
            started_at: clock.wall(identity.started),
            uptime: clock.now().since(identity.started),
        }
    }
}
