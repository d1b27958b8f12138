//! The end of an instance.

use noex_actors::{ExitReason, Generation, Monotonic, NodeId, Pid};

use super::{
    Found, Output, Outputs, Report, Scope, Stray, Supervision,
    child::{State, Why},
};
use crate::machine::{
    intensity::Allowance,
    policy::{Verdict, after_exit, after_node_loss},
};

impl Supervision {
    pub(super) fn exited(
        &mut self,
        id: &str,
        pid: &Pid,
        reason: ExitReason,
        now: Monotonic,
        out: &mut Outputs,
    ) {
        let out_of_reach = self.settings.scope == Scope::Cluster && reason == ExitReason::NoConnection;
        if out_of_reach && self.is_open() {
            return;
        }
        if let Some(Stray { child, generation, .. }) = self.strays.remove(pid) {
            // What was dead already when it was found was no duplicate.
            if !matches!(reason, ExitReason::NoConnection | ExitReason::NoProc) {
                let node = pid.node_id().clone();
                out.push_back(Output::Report(Report::DuplicateStopped { child, node, generation }));
            }
            return;
        }
        let Some(child) = self.children.get(id).filter(|child| child.pid() == Some(pid)) else { return };
        match &child.state {
            State::Running { .. } => self.ended(id, pid.node_id().clone(), reason, now, out),
            State::Stopping { .. } => self.stopped(id, reason, out),
            State::Fresh | State::Starting | State::Waiting { .. } | State::Pending | State::Queued => {}
        }
    }

    /// A running instance ended by itself, or with its leaving node.
    fn ended(&mut self, id: &str, node: NodeId, reason: ExitReason, now: Monotonic, out: &mut Outputs) {
        if !self.is_open() {
            return self.remove(id, Some(reason), out);
        }
        if self.is_to_stop(id) {
            return self.made_way(id, reason, out);
        }
        let Some(child) = self.children.get_mut(id) else { return };
        child.may_live = Generation(child.generation.0 + 1);
        let leaving = self.draining.contains(&node)
            && reason != ExitReason::Normal
            && after_node_loss(child.rule.restart) == Verdict::Restart;
        if leaving {
            child.excluded.insert(node.clone());
            child.state = State::Pending;
            return self.start_because(id, Why::Leaving { from: node }, None, out);
        }
        match after_exit(child.rule.restart, &reason) {
            Verdict::Remove => self.remove(id, Some(reason), out),
            Verdict::Restart if self.superseded => {
                child.why = Why::Exit;
                child.state = State::Pending;
            }
            Verdict::Restart => {
                child.state = State::Pending;
                match self.count(now) {
                    Allowance::Allowed => self.start_with_siblings(id, Why::Exit, out),
                    Allowance::Exceeded => self.remove(id, Some(reason), out),
                }
            }
        }
    }

    /// Weighs an instance that a node told of against the table: the higher generation stays.
    pub(super) fn meet(&mut self, found: Found, now: Monotonic, out: &mut Outputs) {
        let open = self.is_open();
        if open && found.generation.term() > self.generations.term() {
            // Started by a supervisor that came after this one. Whoever has the name now decides about it.
            self.generations.doubt(found.generation);
            self.superseded = true;
            return out.push_back(Output::DoubtName);
        }
        let Some(child) = self.children.get_mut(&found.child) else {
            return self.stop_stray(found, now, out);
        };
        let current = child.generation;
        match child.state.clone() {
            State::Running { pid } if found.pid == pid => {
                if std::mem::replace(&mut child.confirmed, true) {
                    return;
                }
                // The connection was lost, and the watch with it.
                out.push_back(Output::Watch { child: found.child, generation: current, pid });
            }
            State::Stopping { pid: Some(pid), how, .. } if found.pid == pid => {
                if std::mem::replace(&mut child.confirmed, true) {
                    return;
                }
                let id = found.child;
                out.push_back(Output::Watch { child: id.clone(), generation: current, pid: pid.clone() });
                out.push_back(Output::Stop { child: id, generation: current, pid, how });
            }
            // Its success is on the way.
            State::Starting | State::Stopping { pid: None, .. } if found.generation == current => {}
            State::Fresh | State::Waiting { .. } | State::Pending | State::Queued
                if open && found.generation >= child.may_live =>
            {
                self.adopt(found, now, out);
            }
            // Not ours, and higher: it wins.
            State::Running { pid } if open && found.generation > current => {
                let old = Found { child: found.child.clone(), generation: current, pid };
                self.stop_stray(old, now, out);
                self.adopt(found, now, out);
            }
            State::Starting if open && found.generation > current => self.adopt(found, now, out),
            State::Fresh
            | State::Starting
            | State::Running { .. }
            | State::Waiting { .. }
            | State::Pending
            | State::Queued
            | State::Stopping { .. } => self.stop_stray(found, now, out),
        }
    }

    /// It has the name after all: goes beyond every term, so that what is higher is its own to adopt.
    pub(super) fn reinstate(&mut self, found: Vec<Found>, now: Monotonic, out: &mut Outputs) {
        if !self.superseded {
            return;
        }
        self.superseded = false;
        for instance in &found {
            self.generations.doubt(instance.generation);
        }
        self.generations.outlive();
        for instance in found {
            self.meet(instance, now, out);
        }
        self.node_available(now, out);
    }

    /// Takes a living instance as the child's own.
    fn adopt(&mut self, found: Found, now: Monotonic, out: &mut Outputs) {
        self.generations.observe(found.generation);
        self.leave_round(&found.child);
        let Some(child) = self.children.get_mut(&found.child) else { return };
        child.generation = found.generation;
        (child.state, child.confirmed) = (State::Running { pid: found.pid.clone() }, true);
        child.started_at = child.started_at.or(Some(now));
        child.attempt = 1;
        child.excluded.clear();
        child.pending_reported = false;
        for request in child.start_waiters.drain(..) {
            let answer = super::Answer::Started { pid: found.pid.clone() };
            out.push_back(Output::Reply { request, answer });
        }
        let Found { child, generation, pid } = found;
        out.push_back(Output::Watch { child, generation, pid });
    }
}
