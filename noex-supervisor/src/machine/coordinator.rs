//! Supervision, failover and doubt as one machine: what a distributed supervisor runs on.
//!
//! It decides nothing of its own. Facts about nodes go through the failover, whose verdicts become facts for the
//! supervision; a start that succeeded on a node which is no longer there is a start that failed. While the supervision doubts that
//! the name is its own there is a [`Doubt`]; once that is settled the failover asks all nodes what they have.

use std::{collections::VecDeque, time::Duration};

use noex_actors::{Monotonic, NodeId, Pid};

use super::{
    doubt::{DOUBT_FOR, Doubt, Step},
    failover::{self, Failover},
    supervision::{self, Supervision},
};

/// Facts.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    Child(supervision::Input),
    Node(failover::Input),
    /// A node said that it is about to leave.
    Draining(NodeId),
    /// For longer than a node is waited for, its process took no fact and saw no deadline.
    StoodStill,
    /// What the question came to who has the name: in the own view, if it is another supervisor, and whether anybody knows of one.
    Owners {
        seen: Option<Pid>,
        named: bool,
    },
    DeadlineReached,
}

/// Commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Child(supervision::Output),
    /// Ask the node for the instances of this supervisor.
    Query {
        node: NodeId,
        query: u64,
        timeout: Duration,
    },
    /// Look who has the name, and ask all connected nodes; comes back as `Owners`.
    AskOwners {
        timeout: Duration,
    },
    /// Another one has the name. It is superseded, and hands over.
    Yield {
        to: Pid,
    },
}

/// The machine.
#[derive(Debug)]
pub(crate) struct Coordinator {
    supervision: Supervision,
    failover: Failover,
    doubt: Option<Doubt>,
    /// Another supervisor was waited for that others know of, and no node has come since.
    in_vain: bool,
}

impl Coordinator {
    pub(crate) fn new(mut supervision: Supervision, failover: Failover) -> Self {
        supervision.set_hold(failover.hold());
        Self { supervision, failover, doubt: None, in_vain: false }
    }

    /// Takes a fact.
    pub(crate) fn handle(&mut self, input: Input, now: Monotonic, entropy: u64, out: &mut VecDeque<Output>) {
        match input {
            Input::Child(supervision::Input::StartSucceeded { child, generation, pid }) => {
                let (node, incarnation) = (pid.node_id().clone(), pid.incarnation());
                let fact = if self.failover.is_present(&node, incarnation) {
                    supervision::Input::StartSucceeded { child, generation, pid }
                } else {
                    Supervision::late_start(child, generation, &pid)
                };
                self.supervise(fact, now, entropy, out);
                if self.failover.is_suspect(&node) {
                    self.supervise(supervision::Input::NodeSuspected { node }, now, entropy, out);
                }
            }
            Input::Child(input) => {
                let decided = matches!(
                    input,
                    supervision::Input::Superseded
                        | supervision::Input::HandedOver { .. }
                        | supervision::Input::StopRequested { .. }
                );
                self.doubt = self.doubt.take().filter(|_| !decided);
                self.supervise(input, now, entropy, out);
            }
            Input::Node(input) => {
                self.in_vain &= !matches!(input, failover::Input::NodeUp { .. });
                self.judge(input, now, entropy, out);
            }
            Input::Draining(node) => {
                self.supervise(supervision::Input::NodeDraining { node }, now, entropy, out);
            }
            Input::StoodStill => self.supervise(supervision::Input::StoodStill, now, entropy, out),
            Input::Owners { seen, named } => {
                match self.doubt.as_mut().map(|doubt| doubt.answered(seen, named, now)) {
                    None | Some(Step::Wait) => {}
                    Some(Step::Yield { to }) => {
                        self.doubt = None;
                        out.push_back(Output::Yield { to });
                    }
                    Some(Step::Settled { in_vain }) => {
                        (self.doubt, self.in_vain) = (None, in_vain);
                        self.judge(failover::Input::DoubtSettled, now, entropy, out);
                    }
                }
            }
            Input::DeadlineReached => {
                self.ask_owners(now, out);
                self.judge(failover::Input::DeadlineReached, now, entropy, out);
                self.supervise(supervision::Input::DeadlineReached, now, entropy, out);
            }
        }
    }

    /// When [`Input::DeadlineReached`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Monotonic> {
        let doubt = self.doubt.as_ref().and_then(Doubt::deadline);
        self.supervision.deadline().into_iter().chain(self.failover.deadline()).chain(doubt).min()
    }

    /// The children and totals.
    pub(crate) fn supervision(&self) -> &Supervision {
        &self.supervision
    }

    /// There is a child that may be alive for so long after it was cut off.
    pub(crate) fn extend_grace(&mut self, grace: Option<Duration>) {
        self.failover.extend_grace(grace);
        self.supervision.set_hold(self.failover.hold());
    }

    /// How long a node that fell silent is waited for.
    pub(crate) fn patience(&self) -> Duration {
        self.failover.patience()
    }

    /// Whether children can be started on the node.
    pub(crate) fn is_up(&self, node: &NodeId) -> bool {
        self.failover.is_up(node)
    }

    fn supervise(
        &mut self,
        input: supervision::Input,
        now: Monotonic,
        entropy: u64,
        out: &mut VecDeque<Output>,
    ) {
        let mut commands = VecDeque::new();
        self.supervision.handle(input, now, entropy, &mut commands);
        for command in commands {
            if command == supervision::Output::DoubtName {
                let patience = if self.in_vain { DOUBT_FOR } else { self.failover.patience() };
                self.doubt.get_or_insert_with(|| Doubt::new(patience, now)).again(now);
                self.ask_owners(now, out);
            } else {
                out.push_back(Output::Child(command));
            }
        }
    }

    fn ask_owners(&mut self, now: Monotonic, out: &mut VecDeque<Output>) {
        if let Some(timeout) = self.doubt.as_mut().and_then(|doubt| doubt.ask(now)) {
            out.push_back(Output::AskOwners { timeout });
        }
    }

    fn judge(&mut self, input: failover::Input, now: Monotonic, entropy: u64, out: &mut VecDeque<Output>) {
        let mut verdicts = VecDeque::new();
        self.failover.handle(input, now, &mut verdicts);
        for verdict in verdicts {
            let fact = match verdict {
                failover::Output::Query { node, query, timeout } => {
                    out.push_back(Output::Query { node, query, timeout });
                    continue;
                }
                failover::Output::Adopt { found } => supervision::Input::Begun { found },
                failover::Output::Suspect { node } => supervision::Input::NodeSuspected { node },
                failover::Output::Lost { node, loss } => supervision::Input::NodeLost { node, loss },
                failover::Output::Told { node, purpose, found } => {
                    supervision::Input::InstancesTold { node, purpose, found }
                }
                failover::Output::Standing { decision, view } => {
                    supervision::Input::Standing { decision, view }
                }
                failover::Output::Available => supervision::Input::NodeAvailable,
            };
            self.supervise(fact, now, entropy, out);
        }
    }
}

#[cfg(test)]
mod sim;
