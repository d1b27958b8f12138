//! Requests to a local supervisor and their answers.

use noex_actors::{
    AnyRef, CallError, Caller, Context, Delivery, ExitReason, Generation, SpawnError, StartError,
};

use super::{Reply, Request, SupervisorProcess};
use crate::{
    child_spec::{ChildSpec, FROM_TEMPLATE, NO_TEMPLATE, Recipe},
    error::{ChildError, SpecError},
    info::{ChildInfo, ChildState, SupervisorStats},
    machine::supervision::{Answer, Child, Failure, Input},
    supervisor::Supervisor,
};

impl SupervisorProcess {
    pub(super) fn add(&mut self, spec: ChildSpec, caller: Caller<Reply>, cx: &mut Context<Self>) {
        if self.template.is_some() {
            let error = SpecError::InvalidSimpleOneForOne { reason: FROM_TEMPLATE };
            return caller.reply(Reply::Instance(Err(error.into())));
        }
        if let Err(error) = spec.check() {
            return caller.reply(Reply::Instance(Err(error.into())));
        }
        if self.machine.child(&spec.id).is_some() {
            return caller.reply(Reply::Instance(Err(SpecError::DuplicateChild(spec.id).into())));
        }
        self.begin_child(spec, caller, cx);
    }

    pub(super) fn add_instance(&mut self, spec: ChildSpec, caller: Caller<Reply>, cx: &mut Context<Self>) {
        let Some(template) = &self.template else {
            let error = SpecError::InvalidSimpleOneForOne { reason: NO_TEMPLATE };
            return caller.reply(Reply::Instance(Err(error.into())));
        };
        match template.instance(format!("child_{}", self.made + 1), spec) {
            Ok(spec) => {
                self.made += 1;
                self.begin_child(spec, caller, cx);
            }
            Err(wrong) => caller.reply(Reply::Instance(Err(wrong.into()))),
        }
    }

    fn begin_child(&mut self, spec: ChildSpec, caller: Caller<Reply>, cx: &mut Context<Self>) {
        let (child, rule) = (spec.id.clone(), spec.rule());
        self.recipes.insert(child.clone(), spec.into_recipe());
        let request = self.request(Request::Start { caller, child });
        self.step(Input::AddRequested { request, rule }, cx);
    }

    pub(super) fn request(&mut self, request: Request) -> u64 {
        let number = self.next_request;
        self.next_request += 1;
        self.requests.insert(number, request);
        number
    }

    pub(super) fn answer(&mut self, request: u64, answer: Answer, cx: &Context<Self>) {
        match self.requests.remove(&request) {
            Some(Request::Start { caller, child }) => {
                let outcome = match answer {
                    Answer::Started { pid } => match self.instances.get(&pid) {
                        Some(any) => Ok(any.clone()),
                        None => Err(ChildError::Unreachable(CallError::NoProc(pid))),
                    },
                    Answer::Failed { generation, failure } => Err(self.why(&child, generation, failure, cx)),
                    Answer::Duplicate => Err(SpecError::DuplicateChild(child).into()),
                    Answer::NotFound | Answer::Removed => Err(ChildError::NotFound(child)),
                };
                caller.reply(Reply::Instance(outcome));
            }
            Some(Request::Terminate { caller, child }) => {
                let outcome = match answer {
                    Answer::NotFound => Err(ChildError::NotFound(child)),
                    Answer::Removed | Answer::Started { .. } | Answer::Failed { .. } | Answer::Duplicate => {
                        Ok(())
                    }
                };
                caller.reply(Reply::Removed(outcome));
            }
            None => {}
        }
    }

    pub(super) fn why(
        &mut self,
        child: &str,
        generation: Generation,
        failure: Failure,
        cx: &Context<Self>,
    ) -> ChildError {
        let child_id = child.to_owned();
        match (failure, self.failures.remove(child)) {
            (Failure::GivenUp, _) => ChildError::Unreachable(CallError::Exited {
                pid: cx.pid().clone(),
                reason: ExitReason::Shutdown,
                delivery: Delivery::Unknown,
            }),
            (_, Some((failed, error))) if failed == generation => {
                ChildError::Spawn { child_id, source: SpawnError::Start(error) }
            }
            (failure, _) => {
                let text = match failure {
                    Failure::Refused(text) => text,
                    Failure::NoNode | Failure::NodeGone | Failure::GivenUp => "no node".to_owned(),
                };
                ChildError::Spawn { child_id, source: StartError::Init(ExitReason::Error(text)).into() }
            }
        }
    }

    pub(super) fn instance(&self, id: &str) -> Result<AnyRef, ChildError> {
        let child = self.machine.child(id).ok_or_else(|| ChildError::NotFound(id.to_owned()))?;
        let any = child.pid().and_then(|pid| self.instances.get(pid));
        let state = ChildState::of(child);
        any.cloned().ok_or_else(|| ChildError::NotRunning { child_id: id.to_owned(), state })
    }

    /// A child that is a supervisor, as such.
    pub(super) fn supervisor(&self, id: &str) -> Result<Supervisor, ChildError> {
        let process = self.instance(id)?.typed_local::<Self>()?;
        let running = self.known.supervisor(process);
        running.ok_or_else(|| ChildError::NotRunning { child_id: id.to_owned(), state: ChildState::Stopping })
    }

    pub(super) fn child(&self, id: &str, cx: &Context<Self>) -> Result<Box<ChildInfo>, ChildError> {
        let child = self.machine.child(id).ok_or_else(|| ChildError::NotFound(id.to_owned()))?;
        Ok(Box::new(self.info(child, cx)))
    }

    pub(super) fn children(&self, cx: &Context<Self>) -> Vec<ChildInfo> {
        self.machine.children().map(|child| self.info(child, cx)).collect()
    }

    fn info(&self, child: &Child, cx: &Context<Self>) -> ChildInfo {
        let behavior = self.recipes.get(&child.rule.id).map_or("", Recipe::behavior);
        ChildInfo::of(child, behavior, cx.node().clock())
    }

    pub(super) fn stats(&self, cx: &Context<Self>) -> SupervisorStats {
        let (shared, clock) = (&self.shared, cx.node().clock());
        SupervisorStats {
            id: shared.id.clone(),
            name: shared.name.clone(),
            strategy: shared.strategy,
            child_count: self.machine.child_count(),
            total_restarts: self.machine.totals().restarts,
            started_at: clock.wall(shared.started),
            uptime: clock.now().since(shared.started),
        }
    }
}
