//! The end of an instance.

use noex_actors::{ExitReason, Monotonic, NodeId, Pid};

use super::{
    Output, Outputs, Report, Scope, Stray, Supervision,
    child::{State, Why},
};
use crate::machine::{
    intensity::Allowance,
    policy::{Verdict, after_exit, after_node_loss, is_cleared_away, is_superseded},
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
        if let Some(Stray { child, generation, again, .. }) = self.strays.remove(pid) {
            // What was dead already when it was found was no duplicate. Found twice, it was watched anew.
            let was_dead = reason == ExitReason::NoProc && !again;
            if !was_dead && reason != ExitReason::NoConnection {
                let node = pid.node_id().clone();
                out.push_back(Output::Report(Report::DuplicateStopped { child, node, generation }));
            }
            return;
        }
        let Some(child) = self.children.get(id).filter(|child| child.pid() == Some(pid)) else { return };
        let state = child.state.clone();
        if self.settings.scope == Scope::Cluster && is_superseded(&reason) && !child.reached && self.is_open()
        {
            self.doubt(out);
        }
        match state {
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
        child.note_end();
        let leaving = self.draining.contains(&node)
            && reason != ExitReason::Normal
            && after_node_loss(child.rule.restart) == Verdict::Restart;
        if leaving {
            child.excluded.insert(node.clone());
            child.state = State::Pending;
            return self.start_because(id, Why::Leaving { from: node }, None, out);
        }
        // Another supervisor of the name took it for one too many, or it was cut off. It did not fail.
        let cleared_away = self.settings.scope == Scope::Cluster && is_cleared_away(&reason);
        let verdict = match child.rule.restart {
            restart if cleared_away => after_node_loss(restart),
            restart => after_exit(restart, &reason),
        };
        match verdict {
            Verdict::Remove => self.remove(id, Some(reason), out),
            Verdict::Restart if self.superseded => {
                child.why = Why::Exit;
                child.state = State::Pending;
                self.owe(id);
            }
            Verdict::Restart => {
                child.state = State::Pending;
                let allowance = if cleared_away { Allowance::Allowed } else { self.count(now) };
                match allowance {
                    Allowance::Allowed => self.start_with_siblings(id, Why::Exit, out),
                    Allowance::Exceeded => self.remove(id, Some(reason), out),
                }
            }
        }
    }
}
