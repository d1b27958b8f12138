//! Process groups: the handle of users, and the shell around the groups machine.

mod broadcast;
mod shell;

use std::{fmt, sync::Arc};

use noex_actors::{CastError, Events, NameError, Pid, Ref, RemoteBehavior};

pub(crate) use self::shell::Groups;
use crate::net::Net;

/// Something happened to a process group, as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupEvent {
    /// A process is a member; once, however often it joins.
    Joined(Pid),
    /// A process is no member any more: it left as often as it had joined, ended, or its node is out of reach.
    Left(Pid),
}

/// How a broadcast went, process by process.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Broadcast {
    /// To how many processes it was sent: as for a cast, that does not say that it ran.
    pub sent: usize,
    /// To which it was not, and why.
    pub failed: Vec<(Pid, CastError)>,
}

/// Figures of the process groups of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessGroupsStats {
    /// Groups with members.
    pub total_groups: usize,
    /// Memberships; a process that joined twice counts twice.
    pub total_memberships: usize,
    /// Those of processes of this node.
    pub local_memberships: usize,
    /// Broadcasts of this node.
    pub broadcasts_sent: u64,
    /// Broadcasts of other nodes, handed to members on this one.
    pub broadcasts_received: u64,
    /// What other nodes said of memberships and was not taken: more than 100 000 of one node, or names that are none.
    pub updates_refused: u64,
}

/// Groups of processes, known in the whole cluster. OTP: `pg`.
///
/// Processes join groups on their own node; every connected node sees the members. Reads are local and immediate, writes
/// never block. A group begins with its first member and ends with its last. A process that ends is a member of nothing; the
/// members on a node that is out of reach are none, until it is connected again.
///
/// A group should hold processes of one behavior. Nobody checks that: a reference of another behavior fails at its first use
/// with `WrongBehavior`, and a broadcast is not delivered there.
///
/// A node has 100 000 memberships at most, each under a name of 1 to 255 bytes.
#[derive(Clone)]
pub struct ProcessGroups {
    net: Arc<Net>,
}

impl fmt::Debug for ProcessGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProcessGroups({} groups)", self.groups().len())
    }
}

impl ProcessGroups {
    pub(crate) fn new(net: Arc<Net>) -> Self {
        Self { net }
    }

    /// Makes a process of this node a member. It may join several times, and then must leave as often.
    ///
    /// # Errors
    /// [`NameError::Invalid`]; [`NameError::NoProc`] for a process that is not on this node;
    /// [`NameError::TooMany`] if this node has 100 000 memberships.
    pub fn join<B: RemoteBehavior>(&self, group: &str, process: &Ref<B>) -> Result<(), NameError> {
        self.net.groups.join(&self.net, group, process.pid())
    }

    /// Takes one membership of a process of this node away. False if it has none in that group.
    pub fn leave<B: RemoteBehavior>(&self, group: &str, process: &Ref<B>) -> bool {
        self.net.groups.leave(&self.net, group, process.pid())
    }

    /// The members, of all connected nodes; each as often as it joined. In the order of their addresses.
    #[must_use]
    pub fn members<B: RemoteBehavior>(&self, group: &str) -> Vec<Ref<B>> {
        let members = self.net.groups.members(group);
        members.iter().map(|pid| self.net.node.resolve(pid)).collect()
    }

    /// The members on this node; each as often as it joined.
    #[must_use]
    pub fn local_members<B: RemoteBehavior>(&self, group: &str) -> Vec<Ref<B>> {
        let own = self.net.node.id();
        let members = self.net.groups.members(group);
        members.iter().filter(|pid| pid.node_id() == own).map(|pid| self.net.node.resolve(pid)).collect()
    }

    /// All groups that have members, sorted.
    #[must_use]
    pub fn groups(&self) -> Vec<String> {
        self.net.groups.names()
    }

    /// Who joins the group and who leaves it, from now on. For a view that misses nothing: watch first, then read
    /// [`members`](Self::members), and again when [`Events::missed`] has grown: 1024 events are kept for a reader, and the loss
    /// of a node may be more at once.
    #[must_use]
    pub fn watch(&self, group: &str) -> Events<GroupEvent> {
        self.net.groups.watch(group)
    }

    /// Sends a cast to every member, once each, however often it joined.
    ///
    /// It is encoded once, and sent once to each node with members, where it goes to those that are members when it arrives. It
    /// keeps its place among the other messages of its sender. Never blocks; on the sender's thread it takes as long as
    /// there are members on this node.
    pub fn broadcast<B: RemoteBehavior>(&self, group: &str, cast: B::Cast) -> Broadcast {
        broadcast::broadcast::<B>(&self.net, group, cast)
    }

    /// Figures.
    #[must_use]
    pub fn stats(&self) -> ProcessGroupsStats {
        self.net.groups.stats()
    }
}
