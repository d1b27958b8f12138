//! A process of any behavior: what its node, its connections and other processes do with it.

use std::{any::Any, fmt, sync::Arc};

use super::ProcessCore;
use crate::{
    Down, Exit, ExitReason, Monotonic, NodeDownReason, NodeId, Pid,
    failure::CallFailure,
    route::{BehaviorId, Session},
    trace::TraceContext,
};

/// A process of any behavior.
#[doc(hidden)]
pub trait Process: Send + Sync + fmt::Debug + 'static {
    /// What every process has.
    fn core(&self) -> &ProcessCore;
    /// Whether it can be reached from other nodes: its behavior is registered.
    fn is_remote(&self) -> bool;
    /// Whether it has not ended.
    fn is_alive(&self) -> bool {
        self.core().is_alive()
    }
    /// Asks it to stop, behind what is queued.
    fn stop(&self, reason: ExitReason);
    /// Name of its behavior on the wire, or of its type.
    fn behavior(&self) -> &'static str;
    /// Makes it look at what interrupts it.
    fn wake(&self);
    /// Ends it at its next wait; nothing of it runs after that.
    fn kill(&self) {
        self.core().note_kill();
        self.wake();
    }
    /// News of a process that it watches. Never refused.
    fn down(&self, down: Down);
    /// An exit signal that it traps. Never refused.
    fn exit(&self, exit: Exit);
    /// A node came up, or went down for that reason. Never refused.
    fn node_event(&self, node: &NodeId, down: Option<NodeDownReason>);
    /// It lost a global name. Never refused.
    fn name_lost(&self, name: &str, winner: &Pid);
    /// Where a session puts what it brings for the process.
    fn intake(self: Arc<Self>, session: Arc<dyn Session>) -> Box<dyn Intake>;
    /// Nobody waits for that call of a session any more: if it is queued, it will not run.
    fn remote_cancel(&self, session: &Arc<dyn Session>, id: u64);
    /// Drops this when everything that is queued now was taken out, or given back because the process ended. Never refused.
    fn mark(&self, marker: Box<dyn Any + Send>);
    /// Ends the calls whose deadline has come; tells when to look next.
    fn expire(&self, now: Monotonic) -> Option<Monotonic>;
    /// It ended: fails the calls that still wait, wherever their `Caller`s are.
    fn fail_calls(&self, reason: &ExitReason);
    /// Messages queued now, most ever, handled so far.
    fn mailbox(&self) -> MailboxStats;
    /// The mailbox, for who knows its type.
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// What one session brings for one process: decoded as it comes, queued by [`deliver`](Self::deliver), or earlier where it is much.
#[doc(hidden)]
pub trait Intake: Send + fmt::Debug {
    /// The process.
    fn process(&self) -> &dyn Process;
    /// The call or cast that is taken next belongs to that trace.
    fn trace(&mut self, context: Box<TraceContext>);
    /// Takes a call. What cannot be taken fails it.
    fn call(&mut self, asked: Asked, body: &[u8]);
    /// Takes a cast.
    ///
    /// # Errors
    /// It is none of that behavior.
    fn cast(&mut self, behavior: BehaviorId, body: &[u8]) -> Result<(), CallFailure>;
    /// Queues what was taken.
    fn deliver(&mut self) -> Delivered;
}

/// How a call came.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Its number in the session.
    pub id: u64,
    /// What its sender takes the process for.
    pub behavior: BehaviorId,
    /// Until then its caller waits.
    pub deadline: Monotonic,
    /// The reply may go by number: the caller has the variants of replies in the same places.
    pub numbered: bool,
}

/// What came of it.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Casts for which the mailbox had no room.
    pub refused: u64,
    /// The process is gone.
    pub is_closed: bool,
}

/// Figures of a mailbox.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct MailboxStats {
    /// Messages queued now.
    pub len: usize,
    /// Most messages queued at once.
    pub high_water: usize,
    /// Messages refused because it was full.
    pub dropped: u64,
    /// Messages handled.
    pub handled: u64,
    /// Bytes from other nodes that wait in it; signals count here too, from wherever they are.
    pub wire_bytes: u64,
}
