//! Links and exit signals between processes.

use std::sync::Arc;

use crate::{
    AnyRef, Exit, ExitReason, LinkRef, Node, Pid,
    machine::{
        links::Linked,
        signals::{Effect, Signal, decide},
    },
    process::Process,
};

impl Node {
    /// Links two processes: when one ends abnormally, so does the other, unless it traps exits.
    ///
    /// One link per pair, however often it is made; a process linked to itself is not linked. A process that is not there
    /// breaks the link at once, with `NoProc`. Links to other nodes are not built yet: they break at once, with
    /// `NoConnection`. OTP: `link/1`, which only links the caller.
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
            if let Some(process) = self.process_of(end) {
                process.core().remove_link(far);
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
        // On another node it takes its turn behind what was sent before.
        let target = AnyRef::resolve(self, target, None);
        match reason {
            ExitReason::Killed => target.kill(),
            reason => drop(target.stop(reason)),
        }
    }

    fn make_link(&self, one: &Pid, other: &Pid) {
        let (near, far) = match (self.process_of(one), self.process_of(other)) {
            (Some(near), Some(far)) => (near, far),
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

    fn refuse_link(&self, end: &Arc<dyn Process>, pid: &Pid, other: &Pid) {
        debug_assert_eq!(&end.core().pid, pid);
        let reason = if self.is_own(other) { ExitReason::NoProc } else { ExitReason::NoConnection };
        self.signal(end, Signal::Link, other, &reason);
    }

    /// The process at the other end is gone: `end` hears of it, if the link is still there.
    pub(crate) fn break_link(&self, end: &Pid, gone: &Pid, reason: &ExitReason) {
        if let Some(process) = self.process_of(end)
            && process.core().remove_link(gone)
        {
            self.signal(&process, Signal::Link, gone, reason);
        }
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
