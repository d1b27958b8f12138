//! Links and exit signals between processes.

use std::sync::Arc;

use crate::{
    Exit, ExitReason, LinkRef, Node, Pid,
    machine::{
        links::Linked,
        signals::{Effect, Signal, decide},
    },
    process::Process,
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
        for (end, far) in [(one, other), (other, one)] {
            if let Some(process) = self.process_of(end)
                && process.core().remove_link(far)
                && let Some(route) = self.route_to(far)
            {
                route.unlink(end, far);
            }
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
            (Some(near), None) if !self.is_own(other) => return self.link_away(&near, one, other),
            (None, Some(near)) if !self.is_own(one) => return self.link_away(&near, other, one),
            (Some(end), None) => return self.refuse_link(&end, one, other),
            (None, Some(end)) => return self.refuse_link(&end, other, one),
            (None, None) => return,
        };
        let known = match near.core().add_link(other) {
            Linked::New => false,
            // At this end: an unlink that came between may have left the other one without it.
            Linked::Known => true,
            Linked::Gone => return self.signal(&far, Signal::Link, one, &ExitReason::NoProc),
        };
        if far.core().add_link(one) == Linked::Gone {
            let ended = if known { far.core().ending() } else { None };
            return self.break_link(one, other, &ended.unwrap_or(ExitReason::NoProc));
        }
        // It may have ended between the two, and found nobody to tell at the far end.
        if !near.core().is_alive() {
            let reason = near.core().ending().unwrap_or(ExitReason::NoProc);
            self.break_link(other, one, &reason);
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
            Tie::Link(to) => match (core.over(), self.process_of(&to)) {
                (Some(reason), Some(end)) => self.signal(&end, Signal::Link, &core.pid, &reason),
                _ => self.make_link(&to, &core.pid),
            },
        }
    }

    fn refuse_link(&self, end: &Arc<dyn Process>, pid: &Pid, other: &Pid) {
        debug_assert_eq!(&end.core().pid, pid);
        self.signal(end, Signal::Link, other, &ExitReason::NoProc);
    }

    /// Links a process of this node and one of another.
    fn link_away(&self, near: &Arc<dyn Process>, pid: &Pid, far: &Pid) {
        let Some(route) = self.route_to(far) else {
            return self.signal(near, Signal::Link, far, &ExitReason::NoConnection);
        };
        if near.core().add_link(far) != Linked::New {
            return;
        }
        route.link(pid, far);
        // It may have ended between the two: then what it told the other node went before the link.
        if !near.core().is_alive() {
            let reason = near.core().ending().unwrap_or(ExitReason::NoProc);
            route.break_link(pid, far, &reason);
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

    /// A process of another node linked itself to one of this; false if that is not there. For transports.
    #[doc(hidden)]
    pub fn accept_link(&self, near: &Arc<dyn Process>, far: &Pid) -> bool {
        near.core().add_link(far) != Linked::Gone
    }

    /// A process of another node takes its link away. For transports.
    #[doc(hidden)]
    pub fn accept_unlink(&self, near: &Arc<dyn Process>, far: &Pid) {
        near.core().remove_link(far);
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

#[cfg(test)]
mod tests {
    use crate::{
        machine::links::Linked,
        testkit::{self, Recorder},
    };

    #[test]
    fn a_link_of_which_a_race_left_one_end_is_made_whole_again() {
        testkit::run(1, |sim| async move {
            let node = sim.node().await;
            let (one, other) =
                (node.spawn::<Recorder>(()).await.unwrap(), node.spawn::<Recorder>(()).await.unwrap());
            // As link and unlink on two threads can leave it: added here, taken away at both ends, added there.
            let half = node.process_of(one.pid()).unwrap();
            assert_eq!(half.core().add_link(other.pid()), Linked::New);
            node.link(&one, &other);
            for process in [&one, &other] {
                assert_eq!(node.process(process.pid()).unwrap().links, 1);
            }
        });
    }
}
