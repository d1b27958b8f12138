//! Links and exit signals between processes.

use std::sync::Arc;

use crate::{
    Exit, ExitReason, LinkRef, Node, Pid,
    machine::signals::{Effect, Signal, decide},
    process::{Gone, Process},
    route::{Route, Tie},
};

impl Node {
    /// Links two processes: when one ends abnormally, so does the other, unless it traps exits.
    ///
    /// One link per pair, however often it is made; a process linked to itself is not linked. One of them may be on another
    /// node; at least one must be on this. A process that is not there breaks the link at once, with `NoProc`, a node that is
    /// out of reach, or its loss, with `NoConnection`. OTP: `link/1`, which only links the caller.
    pub fn link(&self, one: &impl AsRef<Pid>, other: &impl AsRef<Pid>) -> LinkRef {
        let (one, other) = (one.as_ref(), other.as_ref());
        if one != other {
            self.make_link(one, other);
        }
        LinkRef::new(one, other)
    }

    /// Takes a link away. Neither end hears of the other any more; an `Exit` that is queued already stays.
    /// OTP: `unlink/1`.
    pub fn unlink(&self, one: &impl AsRef<Pid>, other: &impl AsRef<Pid>) {
        let (one, other) = (one.as_ref(), other.as_ref());
        if one == other {
            return;
        }
        match (self.process_of(one), self.process_of(other)) {
            (Some(near), Some(far)) => near.core().unlink(far.core()),
            (Some(end), None) => self.unlink_end(&end, other),
            (None, Some(end)) => self.unlink_end(&end, one),
            (None, None) => {}
        }
    }

    /// Takes a link away from a process of this node and one that is not on it, or gone.
    fn unlink_end(&self, end: &Arc<dyn Process>, far: &Pid) {
        match self.route_to(far) {
            Some(route) => route.unlink(end, far),
            None => drop(end.core().remove_link(far)),
        }
    }

    /// Sends an exit signal, from nobody: see [`Context::exit`](crate::Context::exit).
    pub fn exit(&self, target: &impl AsRef<Pid>, reason: ExitReason) {
        let nobody = Pid::new(self.id().clone(), self.incarnation(), 0);
        self.exit_from(&nobody, target.as_ref(), reason);
    }

    pub(crate) fn exit_from(&self, from: &Pid, target: &Pid, reason: ExitReason) {
        if let Some(process) = self.process_of(target) {
            let signal = if from == target { Signal::OwnExit } else { Signal::Exit };
            return self.signal(&process, signal, from, &reason);
        }
        if let Some(route) = self.route_to(target) {
            route.exit(from, target, reason);
        }
    }

    /// The way to the node of a process, if that is another.
    fn route_to(&self, pid: &Pid) -> Option<Arc<dyn Route>> {
        let router = self.router().filter(|_| !self.is_own(pid))?;
        Some(router.route(self, pid.node_id()))
    }

    fn make_link(&self, one: &Pid, other: &Pid) {
        let (near, far) = match (self.process_of(one), self.process_of(other)) {
            (Some(near), Some(far)) => (near, far),
            (Some(near), None) if !self.is_own(other) => return self.link_away(&near, other),
            (None, Some(near)) if !self.is_own(one) => return self.link_away(&near, one),
            (Some(end), None) => return self.refuse_link(&end, other),
            (None, Some(end)) => return self.refuse_link(&end, one),
            // The one of this node is gone.
            (None, None) => {
                let (gone, far) = if self.is_own(one) { (one, other) } else { (other, one) };
                if let Some(route) = self.route_to(far).filter(|_| self.is_own(gone)) {
                    route.exit(gone, far, ExitReason::NoProc);
                }
                return;
            }
        };
        self.link_here(&near, &far, || ExitReason::NoProc);
    }

    /// Links two processes of this node; `ended`: what `near` hears if `far` is gone.
    fn link_here(&self, near: &Arc<dyn Process>, far: &Arc<dyn Process>, ended: impl FnOnce() -> ExitReason) {
        match near.core().link(far.core()) {
            Ok(()) => {}
            Err(Gone::One) => self.signal(far, Signal::Link, &near.core().pid, &ExitReason::NoProc),
            Err(Gone::Other) => self.signal(near, Signal::Link, &far.core().pid, &ended()),
        }
    }

    /// Ties something to a process that has started, wherever it is. For transports.
    #[doc(hidden)]
    pub fn tie(&self, pid: &Pid, tie: Tie) {
        match tie {
            Tie::Watch(id, watcher) => self.watch_as(id, pid, watcher),
            Tie::Link(to) => self.make_link(&to, pid),
        }
    }

    /// The same of a process of this node, which is told of as it ended, should it have.
    pub(crate) fn tie_here(&self, process: &Arc<dyn Process>, tie: Tie) {
        let core = process.core();
        match tie {
            Tie::Watch(id, watcher) => core.watch_from_start(id, watcher),
            Tie::Link(to) => match self.process_of(&to) {
                Some(end) => self.link_here(&end, process, || core.over().unwrap_or(ExitReason::NoProc)),
                None => self.make_link(&to, &core.pid),
            },
        }
    }

    /// `other` is gone. Where there is a link, its end is about to be told.
    fn refuse_link(&self, end: &Arc<dyn Process>, other: &Pid) {
        if !end.core().has_link(other) {
            self.signal(end, Signal::Link, other, &ExitReason::NoProc);
        }
    }

    /// Links a process of this node and one of another.
    fn link_away(&self, near: &Arc<dyn Process>, far: &Pid) {
        let made = self.route_to(far).map_or(Err(ExitReason::NoConnection), |route| route.link(near, far));
        if let Err(reason) = made
            && !near.core().has_link(far)
        {
            self.signal(near, Signal::Link, far, &reason);
        }
    }

    /// The process at the other end is gone: `end` hears of it, if the link is still there.
    pub(crate) fn break_link(&self, end: &Pid, gone: &Pid, reason: &ExitReason) {
        if let Some(route) = self.route_to(end) {
            return route.break_link(gone, end, reason);
        }
        self.link_broke(end, gone, reason);
    }

    /// The same for transports: only an end on this node hears of it.
    #[doc(hidden)]
    pub fn link_broke(&self, end: &Pid, gone: &Pid, reason: &ExitReason) {
        if let Some(process) = self.process_of(end)
            && process.core().remove_link(gone)
        {
            self.signal(&process, Signal::Link, gone, reason);
        }
    }

    /// The near end of a link with a process of another node; false if the near one is gone. For transports.
    #[doc(hidden)]
    pub fn add_link_end(&self, near: &Arc<dyn Process>, far: &Pid) -> bool {
        near.core().add_link(far)
    }

    /// Takes the near end of such a link away; true if it was there. For transports.
    #[doc(hidden)]
    pub fn remove_link_end(&self, near: &Arc<dyn Process>, far: &Pid) -> bool {
        near.core().remove_link(far)
    }

    /// The process at the far end of such a link is gone, and the near end is taken away. For transports.
    #[doc(hidden)]
    pub fn end_of_link(&self, near: &Arc<dyn Process>, far: &Pid, reason: &ExitReason) {
        self.signal(near, Signal::Link, far, reason);
    }

    /// An exit signal of a process of another node. For transports.
    #[doc(hidden)]
    pub fn accept_exit(&self, process: &Arc<dyn Process>, from: &Pid, reason: &ExitReason) {
        self.signal(process, Signal::Exit, from, reason);
    }

    fn signal(&self, process: &Arc<dyn Process>, signal: Signal, from: &Pid, reason: &ExitReason) {
        let core = process.core();
        match decide(signal, reason, core.trap()) {
            Effect::Ignore => {}
            Effect::Message => process.exit(Exit::new(from.clone(), reason.clone())),
            Effect::End => {
                core.note_exit(reason);
                process.wake();
            }
            Effect::Kill => process.kill(),
        }
    }
}
