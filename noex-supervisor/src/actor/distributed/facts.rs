//! What the process of a distributed supervisor is told from outside, and the way there.

use noex_actors::{__private::WatchAhead, AnyRef, Generation, NodeId, Notifier, Pid, SpawnError};
use noex_net::ClusterEvent;
use tokio::sync::mpsc;

use super::Note;
use crate::machine::Found;

/// What comes from outside.
#[derive(Debug)]
pub(super) enum Fact {
    Started {
        child: String,
        generation: Generation,
        node: NodeId,
        watch: WatchAhead,
        outcome: Result<AnyRef, SpawnError>,
    },
    NoNode {
        child: String,
        generation: Generation,
    },
    Told {
        node: NodeId,
        query: u64,
        /// Its instances, and the highest term of which it had heard.
        told: Option<(Vec<Found>, u64)>,
    },
    /// Whom another node knows of as the holder of the name.
    Owners(Option<Pid>),
    Cluster(ClusterEvent),
    /// Children of the supervisor that won the name, if it could be asked.
    Winner {
        winner: AnyRef,
        children: Option<Vec<String>>,
    },
}

/// Facts on their way to the process.
#[derive(Clone, Debug)]
pub(super) struct Inlet {
    pub(super) facts: mpsc::UnboundedSender<Fact>,
    pub(super) notifier: Notifier<Note>,
}

impl Inlet {
    pub(super) fn send(&self, fact: Fact) {
        match self.facts.send(fact) {
            Ok(()) => drop(self.notifier.notify(Note::Facts)),
            // The supervisor ended meanwhile: nobody would know of this instance.
            Err(mpsc::error::SendError(Fact::Started { outcome: Ok(any), .. })) => any.kill(),
            Err(_ended) => {}
        }
    }
}
