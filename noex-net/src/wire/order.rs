//! Among which messages a frame keeps its place, where long ones are cut and others pass them.

use noex_actors::route::number_of_name;

use super::{
    control::{Control, Request},
    frame::Head,
};

/// The place of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Among what goes to this process of the peer.
    Target(u64),
    /// Among what the registries of both ends tell each other.
    Registries,
    /// The answer to this call of the peer: no other frame depends on when it comes.
    Reply(u64),
    /// Nobody's: it is free to pass everything that is long.
    Free,
    /// Behind everything that was sent before it. What comes after it may pass it.
    Last,
    /// Behind everything that was sent before it, and before what goes to any process after it.
    Barrier,
}

impl Head {
    /// The place of a user's message.
    pub(crate) fn place(&self) -> Place {
        match *self {
            Self::Call { target, .. }
            | Self::Cast { target, .. }
            | Self::Cancel { target, .. }
            | Self::Mark { target, .. } => Place::Target(target),
            Self::Reply { id } | Self::Failure { id } => Place::Reply(id),
            Self::Control | Self::Credit { .. } => Place::Free,
        }
    }
}

impl Control {
    /// Its place, if it is not urgent.
    ///
    /// A process ends behind its last words, whomever they went to; so do its links. A signal keeps its place among
    /// what goes to its target. A kill waits for nothing. Whoever asks for a watch learns of the end in any case.
    pub(crate) fn place(&self) -> Place {
        match self {
            Self::Stop { number, .. } => Place::Target(*number),
            Self::Link { to, .. }
            | Self::Unlink { to, .. }
            | Self::Unlinked { to, .. }
            | Self::Exit { to, .. } => Place::Target(*to),
            Self::Request { body: Request::IsAlive { number }, .. } => Place::Target(*number),
            // Among what is sent to whoever has it.
            Self::Request { body: Request::WhereIs { name }, .. } => Place::Target(number_of_name(name)),
            Self::Behaviors(_)
            | Self::Names { .. }
            | Self::Unregister { .. }
            | Self::Groups(_)
            // Behind what the asker registered before.
            | Self::Request { body: Request::OwnerOf { .. }, .. } => Place::Registries,
            Self::Down { .. } | Self::Broken { .. } | Self::Goodbye => Place::Last,
            Self::Broadcast { .. } => Place::Barrier,
            Self::Welcome
            | Self::Heartbeat(_)
            | Self::Ping { .. }
            | Self::Pong { .. }
            | Self::Close { .. }
            | Self::Draining
            | Self::Hints(_)
            | Self::Ask { .. }
            | Self::Monitor { .. }
            | Self::Demonitor { .. }
            | Self::Kill { .. }
            | Self::Request { body: Request::Spawn(_) | Request::Instances { .. }, .. }
            | Self::Response { .. }
            | Self::Confirm { .. } => Place::Free,
        }
    }
}
