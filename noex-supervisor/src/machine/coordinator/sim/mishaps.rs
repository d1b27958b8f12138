//! What goes wrong, and what is asked of the supervisor meanwhile.

use super::*;

impl World {
    /// Something goes wrong.
    pub(super) fn mishap(&mut self) {
        if self.terms.is_restless() && self.dice.roll(4) == 0 {
            return self.trouble_at_home();
        }
        let others: Vec<&NodeId> = self.nodes.keys().filter(|id| **id != self.home).collect();
        let victim = others[usize::try_from(self.dice.roll(others.len() as u64)).unwrap()].clone();
        let kinds = self.terms.mishaps();
        match self.dice.roll(kinds) {
            0 => {
                let target = self.nodes.get_mut(&victim).unwrap();
                if target.alive && !target.frozen {
                    target.alive = false;
                    self.disconnect(&victim, NodeDownReason::ConnectionClosed);
                    self.nodes.get_mut(&victim).unwrap().processes.clear();
                    if self.dice.roll(2) == 0 {
                        let node = victim.clone();
                        self.soon(Event::Fact(Input::Node(failover::Input::DialRefused { node })));
                    }
                    let down = self.dice.roll(1500);
                    self.later(down, Event::Restart { node: victim });
                }
            }
            1 => {
                self.disconnect(&victim, NodeDownReason::ConnectionClosed);
                let back = self.dice.roll(600);
                self.later(back, Event::Reconnect { node: victim });
            }
            2 => {
                let target = self.nodes.get_mut(&victim).unwrap();
                if target.alive && !target.frozen {
                    target.frozen = true;
                    let (session, frozen) = (target.session, self.dice.roll(2000));
                    self.later(600, Event::Silence { node: victim.clone(), session, cut: None });
                    self.later(frozen, Event::Thaw { node: victim });
                }
            }
            3 => {
                let target = &self.nodes[&victim];
                if target.alive && target.connected && !target.is_silent() {
                    self.step(Input::Draining(victim.clone()));
                    let leaving: Vec<Pid> = self.nodes[&victim].processes.keys().cloned().collect();
                    for pid in leaving {
                        self.die(&pid, ExitReason::Shutdown);
                    }
                    self.disconnect(&victim, NodeDownReason::GracefulShutdown);
                    self.nodes.get_mut(&victim).unwrap().alive = false;
                    self.nodes.get_mut(&victim).unwrap().processes.clear();
                    self.later(500, Event::Restart { node: victim });
                }
            }
            4 => {
                let pids: Vec<Pid> = self.nodes[&victim].processes.keys().cloned().collect();
                if let (false, Some(pid)) = (self.nodes[&victim].frozen, pids.first()) {
                    self.die(pid, ExitReason::Panic("boom".into()));
                }
            }
            5 => {
                let ids: Vec<String> =
                    self.machine.supervision().children().map(|child| child.rule.id.clone()).collect();
                if !ids.is_empty() {
                    let child = ids[usize::try_from(self.dice.roll(ids.len() as u64)).unwrap()].clone();
                    self.step(Input::Child(supervision::Input::RestartRequested { request: 0, child }));
                }
            }
            6 | 7 if self.terms.is_parted() => self.part(),
            6 => self.replace(),
            7 if self.terms.is_haunted() => {
                // Another supervisor stops one, and is gone again some time later.
                let pids: Vec<Pid> = self.nodes[&victim].processes.keys().cloned().collect();
                if let (false, Some(pid)) = (self.nodes[&victim].frozen, pids.first()) {
                    self.rumour = self.now.plus(Duration::from_millis(self.dice.roll(2000)));
                    self.die(pid, superseded());
                }
            }
            _ => {
                self.rebalance();
            }
        }
    }

    /// Where each child is, or is to be.
    pub(super) fn places(&self) -> BTreeMap<NodeId, usize> {
        let up = self.nodes.iter().filter(|(id, node)| node.connected && self.machine.is_up(id));
        let mut places: BTreeMap<NodeId, usize> = up.map(|(id, _)| (id.clone(), 0)).collect();
        for child in self.machine.supervision().children() {
            if let Some(node) = child.target.as_ref().or_else(|| child.pid().map(Pid::node_id)) {
                *places.entry(node.clone()).or_insert(0) += 1;
            }
        }
        places
    }

    /// Gives every node its share; how many are moved.
    pub(super) fn rebalance(&mut self) -> usize {
        let load = self.places();
        let up: BTreeSet<NodeId> = load.keys().filter(|id| self.machine.is_up(id)).cloned().collect();
        let children = self.machine.supervision().children();
        let movable = children.filter(|child| child.is_movable() && child.target.is_none()).map(|child| {
            let on = child.pid().map(|pid| pid.node_id().clone()).expect("it runs");
            Movable { child: child.rule.id.clone(), on, candidates: up.clone() }
        });
        let moves = moves(load, movable.collect());
        let count = moves.len();
        self.step(Input::Child(supervision::Input::RebalanceRequested { moves }));
        count
    }
}
