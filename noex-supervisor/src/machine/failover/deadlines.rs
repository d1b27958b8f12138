//! What happens by itself: verdicts on nodes that had their time, questions that are asked again, and the sweep.

use noex_actors::{Monotonic, NodeId};

use super::{Failover, Link, Output, Outputs, Purpose};
use crate::machine::supervision::Loss;

impl Failover {
    /// What has had its time is decided; who is to be asked is asked.
    pub(super) fn deadline_reached(&mut self, now: Monotonic, out: &mut Outputs) {
        if self.deadline().is_some_and(|due| now.since(due) > self.grace) {
            self.stalled(now);
        }
        self.resume(now, out);
        self.settled_at = self.settled_at.filter(|at| *at > now);
        if self.next_sweep.is_some_and(|at| at <= now) {
            self.next_sweep = Some(now.plus(self.patience));
            self.ask_all(false, now, out);
        }
        let nodes: Vec<NodeId> = self.peers.keys().cloned().collect();
        for node in nodes {
            let Some(peer) = self.peers.get(&node).copied() else { continue };
            match peer.link {
                Link::Suspect { until, .. } if until <= now => self.miss(&node, now, out),
                Link::Held { due } if due <= now && !self.paused => self.lose(&node, Loss::Crash, out),
                Link::Up(Some(mut question)) => {
                    let fenced = !self.hold.is_zero() || self.paused;
                    if question.until.is_some_and(|until| until <= now)
                        && question.purpose == Purpose::Readopt
                        && fenced
                    {
                        // It is connected, so that its instances do not stop themselves: it is asked until it answers.
                        question.until = Some(now.plus(self.grace));
                    }
                    if question.until.is_some_and(|until| until <= now) {
                        question.until = None;
                        if question.purpose == Purpose::Readopt {
                            // It is there, but what it has is unknown: its children are given up, and
                            // it is asked on, so that none of them stays.
                            question.purpose = Purpose::Reconcile;
                            out.push_back(Output::Lost { node: node.clone(), loss: Loss::Crash });
                        }
                        out.push_back(Output::Available);
                    }
                    if question.ask_again.is_some_and(|at| at <= now) {
                        self.ask(&node, &mut question, now, out);
                    }
                    if let Some(peer) = self.peers.get_mut(&node) {
                        peer.link = Link::Up(Some(question));
                    }
                }
                Link::Suspect { .. } | Link::Held { .. } | Link::Up(None) => {}
            }
        }
    }

    /// The supervisor itself stood still for more than an interval: news that came meanwhile were not heard yet. Everybody
    /// who is waited for gets a fresh interval.
    fn stalled(&mut self, now: Monotonic) {
        let fresh = now.plus(self.grace);
        for peer in self.peers.values_mut() {
            match &mut peer.link {
                Link::Suspect { since, until, .. } => (*since, *until) = (now, fresh.max(*until)),
                Link::Held { due } => *due = fresh.max(*due),
                Link::Up(Some(question)) => {
                    question.since = now;
                    question.until = question.until.map(|until| until.max(fresh));
                }
                Link::Up(None) => {}
            }
        }
    }
}
