//! Moves of children from one node to another while all is well: the old instance is stopped before the new one is started.
//!
//! At most [`AT_ONCE`] are on their way; the next one begins when one runs again or is given up. A move is no restart, and
//! concerns no sibling. Whoever does not run any more where it was when its turn comes is left alone, and so are all if the
//! supervisor must wait, or is not sure of its name.

use noex_actors::Monotonic;

use super::{
    Outputs, Phase, Supervision,
    child::{Child, State, Then},
};
use crate::machine::{
    policy::{Verdict, after_node_loss},
    rebalance::Move,
};

/// How many children are out of service at once because they move.
const AT_ONCE: usize = 8;

impl Child {
    /// Whether it may be moved.
    pub(crate) fn is_movable(&self) -> bool {
        matches!(self.state, State::Running { .. }) && self.confirmed && self.may_live_elsewhere()
    }

    /// Whether it goes on elsewhere when its node leaves.
    pub(crate) fn may_live_elsewhere(&self) -> bool {
        !self.rule.pinned && after_node_loss(self.rule.restart) == Verdict::Restart
    }
}

impl Supervision {
    /// Whether anybody may be moved now.
    pub(crate) fn may_move(&self) -> bool {
        self.phase == Phase::Running && self.is_in_charge() && !self.paused
    }

    /// These are moved; what was to be moved before is not, unless it is on its way.
    pub(super) fn rebalance(&mut self, moves: Vec<Move>) {
        self.moves = moves.into();
    }

    /// Lets the next ones leave.
    pub(super) fn advance_moves(&mut self, now: Monotonic, out: &mut Outputs) {
        if self.moves.is_empty() {
            return;
        }
        if !self.may_move() {
            return self.moves.clear();
        }
        let children = &self.children;
        self.moving.retain(|id| {
            children.get(id).is_some_and(|child| match &child.state {
                State::Stopping { then: Then::Migrate { .. }, .. } => true,
                State::Starting | State::Waiting { .. } => child.target.is_some(),
                State::Stopping { .. }
                | State::Fresh
                | State::Running { .. }
                | State::Pending
                | State::Queued => false,
            })
        });
        while self.moving.len() < AT_ONCE {
            let Some(Move { child: id, from, to }) = self.moves.pop_front() else { return };
            let is_there =
                |child: &Child| child.is_movable() && child.pid().is_some_and(|pid| *pid.node_id() == from);
            if !self.children.get(&id).is_some_and(is_there) || self.is_to_stop(&id) {
                continue;
            }
            if let Some(child) = self.children.get_mut(&id) {
                child.target = Some(to);
            }
            self.stop_child(&id, Then::Migrate { from }, now, out);
            self.moving.insert(id);
        }
    }
}
