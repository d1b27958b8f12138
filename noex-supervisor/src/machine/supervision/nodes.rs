//! What becomes of children whose node is suspected, lost, back, or leaving.

use std::{collections::BTreeSet, ops::Bound};

use noex_actors::{ExitReason, Monotonic, NodeId, Pid};

use super::{
    Found, Loss, Output, Outputs, Purpose, Report, Stray, Supervision,
    child::{Child, State, Then, Why},
};
use crate::{
    machine::{
        intensity::Allowance,
        plan::concerned,
        policy::{Verdict, after_node_loss},
    },
    options::{PartitionDecision, PartitionView, Restart},
};

impl Supervision {
    pub(super) fn suspect(&mut self, node: &NodeId) {
        for id in self.children.on_node(node) {
            if let Some(child) = self.children.get_mut(&id) {
                child.confirmed = false;
            }
        }
    }

    /// The node is lost with all that ran there.
    pub(super) fn node_lost(&mut self, node: &NodeId, loss: Loss, now: Monotonic, out: &mut Outputs) {
        self.draining.remove(node);
        self.strays.retain(|pid, _| pid.node_id() != node);
        let lost = self.children.on_node(node);
        self.lose(node, &lost, loss, now, out);
    }

    /// These children of that node are lost: one round, whatever their number.
    fn lose(&mut self, node: &NodeId, lost: &[String], loss: Loss, now: Monotonic, out: &mut Outputs) {
        let mut affected = Vec::new();
        for id in lost {
            match self.children.get(id).map(|child| &child.state) {
                Some(State::Stopping { .. }) => self.stopped(id, ExitReason::NoConnection, out),
                Some(State::Running { .. }) if self.is_to_stop(id) => {
                    self.made_way(id, ExitReason::NoConnection, out);
                }
                Some(State::Running { .. }) => affected.push(id.clone()),
                Some(
                    State::Fresh | State::Starting | State::Waiting { .. } | State::Pending | State::Queued,
                )
                | None => {}
            }
        }
        if affected.is_empty() {
            return;
        }
        if loss == Loss::Crash {
            self.totals.failovers += 1;
            let (node, affected) = (node.clone(), affected.clone());
            out.push_back(Output::Report(Report::NodeFailure { node, affected }));
        }
        let mut to_restart = Vec::new();
        for id in affected {
            let Some(child) = self.children.get_mut(&id) else { continue };
            let verdict = after_node_loss(child.rule.restart);
            child.state = State::Pending;
            child.may_live = Bound::Included(child.rank());
            if verdict == Verdict::Restart {
                to_restart.push(id);
            } else {
                self.remove(&id, Some(ExitReason::NoConnection), out);
            }
        }
        let why = match loss {
            Loss::Crash => Why::NodeLoss { from: node.clone() },
            Loss::Goodbye => Why::Leaving { from: node.clone() },
        };
        // Also for whoever is not in charge now: it may be again, and must know then why it starts them.
        for id in &to_restart {
            if let Some(child) = self.children.get_mut(id) {
                child.excluded.insert(node.clone());
            }
            self.plan(id, why.clone(), None);
        }
        let Some(first) = to_restart.first() else { return };
        if !self.is_in_charge() {
            if loss == Loss::Crash {
                self.owe(first);
            }
            return;
        }
        if loss == Loss::Crash && self.count(now) == Allowance::Exceeded {
            for id in to_restart.iter().rev() {
                self.remove(id, Some(ExitReason::NoConnection), out);
            }
            return;
        }
        // Who left with its node moves. That is no failure, and concerns no siblings.
        let first = self.children.key(first).filter(|_| loss == Loss::Crash);
        if let Some(range) = first.and_then(|key| concerned(self.settings.strategy, key)) {
            return self.join(range);
        }
        let round = (loss == Loss::Crash).then(|| self.new_round());
        for id in to_restart {
            self.plan(&id, why.clone(), round);
            self.start_in_turn(&id, now, out);
        }
    }

    /// Starts it in its turn: one per pace.
    fn start_in_turn(&mut self, id: &str, now: Monotonic, out: &mut Outputs) {
        let slot = self.next_slot.max(now);
        self.next_slot = slot.plus(self.settings.pace);
        if slot <= now {
            self.start(id, out);
        } else if let Some(child) = self.children.get_mut(id) {
            child.state = State::Waiting { until: slot };
        }
    }

    /// What may be done while a part of the cluster is out of reach.
    pub(super) fn stand(
        &mut self,
        decision: PartitionDecision,
        view: PartitionView,
        now: Monotonic,
        out: &mut Outputs,
    ) {
        let was_paused = std::mem::replace(&mut self.paused, decision != PartitionDecision::Failover);
        match (was_paused, self.paused) {
            (false, true) => out.push_back(Output::Report(Report::MajorityLost { view: view.clone() })),
            (true, false) => out.push_back(Output::Report(Report::MajorityRegained)),
            (true, true) | (false, false) => {}
        }
        if decision == PartitionDecision::StopChildren && self.is_in_charge() {
            let in_reach = |child: &Child| match &child.state {
                State::Running { pid } => view.reachable.contains(pid.node_id()),
                State::Starting => true,
                State::Fresh
                | State::Waiting { .. }
                | State::Pending
                | State::Queued
                | State::Stopping { .. } => false,
            };
            let here = self.children.iter().filter(|child| in_reach(child));
            let here: Vec<String> = here.map(|child| child.rule.id.clone()).collect();
            for id in here.iter().rev() {
                // What the plan stops is started again anyway.
                if self.is_to_stop(id) {
                    continue;
                }
                let temporary =
                    self.children.get(id).is_some_and(|child| child.rule.restart == Restart::Temporary);
                let then = if temporary { Then::Remove } else { Then::Restart };
                self.stop_child(id, then, now, out);
            }
        }
        if was_paused && !self.paused {
            self.node_available(now, out);
        }
    }

    /// A node came, or came to have more behaviors: whoever waits for one tries again.
    pub(super) fn node_available(&mut self, now: Monotonic, out: &mut Outputs) {
        self.arrivals += 1;
        if !self.is_in_charge() || self.paused {
            return;
        }
        for id in self.children.pending() {
            self.start_in_turn(&id, now, out);
        }
    }

    /// The node is leaving: what runs there moves, the old instance stopped before the new one is started.
    pub(super) fn drain(&mut self, node: NodeId, now: Monotonic, out: &mut Outputs) {
        self.draining.insert(node.clone());
        if !self.is_in_charge() || self.paused {
            return;
        }
        let moves = |child: &Child| {
            matches!(child.state, State::Running { .. })
                && !child.rule.pinned
                && after_node_loss(child.rule.restart) == Verdict::Restart
        };
        for id in self.children.on_node(&node) {
            // What the plan stops is started elsewhere anyway.
            if !self.children.get(&id).is_some_and(moves) || self.is_to_stop(&id) {
                continue;
            }
            self.stop_child(&id, Then::Migrate { from: node.clone() }, now, out);
        }
    }

    /// A node told which instances of this supervisor are alive on it.
    pub(super) fn told(
        &mut self,
        node: &NodeId,
        purpose: Purpose,
        mut found: Vec<Found>,
        now: Monotonic,
        out: &mut Outputs,
    ) {
        // The highest first: whether another supervisor may have the name is known before anything is stopped.
        found.sort_by_key(|instance| std::cmp::Reverse(instance.rank()));
        let alive: BTreeSet<Pid> = found.iter().map(|instance| instance.pid.clone()).collect();
        for instance in found {
            self.meet(instance, now, out);
        }
        if purpose == Purpose::Reconcile {
            return;
        }
        let gone = |pid: &Pid| pid.node_id() == node && !alive.contains(pid);
        let stopped: Vec<Pid> = self.strays.keys().filter(|pid| gone(pid)).cloned().collect();
        for pid in stopped {
            if let Some(Stray { child, generation, .. }) = self.strays.remove(&pid) {
                let node = node.clone();
                out.push_back(Output::Report(Report::DuplicateStopped { child, node, generation }));
            }
        }
        let is_missing = |child: &Child| !child.confirmed && child.pid().is_some_and(gone);
        let mut missing = self.children.on_node(node);
        missing.retain(|id| self.children.get(id).is_some_and(is_missing));
        self.lose(node, &missing, Loss::Crash, now, out);
    }
}
