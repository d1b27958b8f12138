//! What a peer says of its names and of the members of its groups, and its broadcasts.
//!
//! One frame of these may be the work of a thousand: after so many the reader lets its arbiter run before it goes on.

use std::sync::Arc;

use noex_actors::{Pid, route::BehaviorId};

use super::{Broken, Inbound, Step};
use crate::{
    machine::names::{Told, Update},
    wire::control::Control,
};

/// Memberships and deliveries after which others have their turn.
const TURN: usize = 1000;
/// What a name counts: it may be in the way of others, and be watched.
const OF_A_NAME: usize = 4;

impl Inbound {
    pub(super) fn registries(&mut self, control: Control) -> Result<Step, Broken> {
        let link = Arc::clone(&self.link);
        let work = match control {
            Control::Names { after, upto, done, updates } => {
                updates.iter().try_for_each(|update| self.own(update))?;
                let work = updates.len() * OF_A_NAME;
                link.net.names.told(&link, Told { after, upto, done, updates })?;
                work
            }
            Control::Unregister { name, number } => {
                link.net.names.unregister_requested(&name, number);
                1
            }
            Control::Groups(said) => {
                link.net.groups.merge(&link, &said);
                said.len()
            }
            Control::Broadcast { group, behavior, body } => {
                let members = link.net.groups.local_targets(&group);
                members
                    .iter()
                    .for_each(|number| self.uncounted_cast(BehaviorId::Hash(behavior), *number, &body));
                members.len()
            }
            _ => 0,
        };
        self.work += work + 1;
        if self.work < TURN {
            return Ok(Step::Done);
        }
        self.work = 0;
        Ok(Step::Turn)
    }

    /// Nobody speaks for the names of another node.
    fn own(&self, update: &Update) -> Result<(), Broken> {
        let own = |pid: &Pid| *pid.node_id() == self.link.peer && pid.incarnation() == self.link.incarnation;
        match &update.held {
            Some(held) if !own(&held.pid) => Err(Broken::NotItsOwn),
            Some(_) | None => Ok(()),
        }
    }
}
