//! What nodes do: they start instances, notice their ends, and tell what they have.

use super::*;

impl World {
    /// What a node had heard of before somebody with this term asked it.
    pub(super) fn exchange_term(&mut self, node: &NodeId, term: u64) -> u64 {
        let noted = &mut self.nodes.get_mut(node).unwrap().term;
        let before = *noted;
        *noted = before.max(term);
        before
    }

    /// What a node that is asked in this session tells.
    pub(super) fn instances(&self, node: &NodeId, session: u64) -> Option<Vec<Found>> {
        let target = &self.nodes[node];
        let tell = |(pid, p): (&Pid, &Process)| Found {
            child: p.child.clone(),
            generation: p.generation,
            owner: Some(owner(p.era)),
            pid: pid.clone(),
        };
        let reachable = target.connected && target.session == session;
        reachable.then(|| target.processes.iter().map(tell).collect())
    }

    pub(super) fn spawn(
        &mut self,
        node: NodeId,
        session: u64,
        (child, generation): (String, Generation),
        era: u64,
    ) {
        let ours = era == self.era;
        let the_losers = self.loser.is_some() && era + 1 == self.era;
        let target = self.nodes.get_mut(&node).unwrap();
        let failure = if !target.connected || target.session != session {
            Some(Failure::NodeGone)
        } else if target.is_silent() {
            return self.later(50, Event::Spawn { node, session, child, generation, era });
        } else if self.unlucky && !self.starting && self.dice.roll(20) == 0 {
            Some(Failure::Refused("unlucky".into()))
        } else {
            None
        };
        if let Some(failure) = failure {
            let node = Some(node);
            if ours {
                self.child(supervision::Input::StartFailed { child, generation, node, failure });
            } else if the_losers {
                let fact = supervision::Input::StartFailed { child, generation, node, failure };
                self.soon(Event::Old(Box::new(Event::Fact(Input::Child(fact)))));
            }
            return;
        }
        self.forbid_two(&child);
        let target = self.nodes.get_mut(&node).unwrap();
        self.numbers += 1;
        let pid = Pid::new(node.clone(), Incarnation(target.incarnation), self.numbers);
        let before = self.ever.insert((child.clone(), generation, era), pid.clone());
        assert!(before.is_none(), "two instances of {child} in generation {generation}");
        let process = Process { child: child.clone(), generation, era, watched: ours };
        target.processes.insert(pid.clone(), process);
        self.born.insert(pid.clone(), (self.now, era));
        if ours {
            self.unheard.insert(pid.clone(), None);
            self.soon(Event::Spawned { session, child, generation, pid });
        } else if the_losers {
            self.soon(Event::Old(Box::new(Event::Spawned { session, child, generation, pid })));
        }
    }

    pub(super) fn die(&mut self, pid: &Pid, reason: ExitReason) {
        let target = self.nodes.get_mut(pid.node_id()).unwrap();
        let Some(process) = target.processes.remove(pid) else { return };
        if process.watched && target.connected {
            let (child, pid) = (process.child, pid.clone());
            let fact = Event::Fact(Input::Child(supervision::Input::ChildExited { child, pid, reason }));
            if target.cut.is_some() {
                return target.unsent.push(fact);
            }
            // In order with the end of the session, as the real one.
            self.later(0, fact);
        }
    }

    pub(super) fn disconnect(&mut self, node: &NodeId, reason: NodeDownReason) {
        let target = self.nodes.get_mut(node).unwrap();
        if !std::mem::replace(&mut target.connected, false) {
            return;
        }
        let incarnation = Incarnation(target.incarnation);
        target.unsent.clear();
        let mut exits = Vec::new();
        for (pid, process) in &mut target.processes {
            if std::mem::replace(&mut process.watched, false) {
                exits.push((process.child.clone(), pid.clone()));
            }
        }
        for (child, pid) in exits {
            let reason = ExitReason::NoConnection;
            self.later(0, Event::Fact(Input::Child(supervision::Input::ChildExited { child, pid, reason })));
        }
        let node = node.clone();
        self.later(0, Event::Fact(Input::Node(failover::Input::NodeDown { node, incarnation, reason })));
    }
}
