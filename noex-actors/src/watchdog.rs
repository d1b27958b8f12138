//! Reports arbiters on which nothing runs, because a handler blocks its thread. Performs what `machine::watchdog` decides.
//!
//! It runs on the control arbiter, which never runs user code. What it asks for is one more job of the task that starts
//! processes on an arbiter: that one notes the time, and what processes do costs nothing more.
//!
//! Watched are the arbiters of the pool, and others from which processes were started there; a dedicated one may block.

use std::{
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, ThreadId},
    time::Duration,
};

use parking_lot::Mutex;

use crate::{
    Clock, Monotonic, Node, Pid,
    launcher::{Job, Launcher},
    machine::watchdog::{Looks, Verdict, Watched},
    node::NodeInner,
    process::Process,
    thread_mark::ThreadMark,
};

/// For how long an arbiter may be blocked before that is reported, unless the builder says otherwise.
pub(crate) const LIMIT: Duration = Duration::from_secs(1);

/// An arbiter on which nothing runs: somebody blocks its thread.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockedArbiter {
    /// Its number in the pool, as in [`Placement::Pinned`](crate::Placement::Pinned); `None` for one that is not of the pool.
    pub arbiter: Option<usize>,
    /// The name of its thread.
    pub thread: Option<String>,
    /// The process whose code ran there when it was reported; `None` if it was no process: an event closure, a waker.
    pub process: Option<Pid>,
    /// The behavior of that process.
    pub behavior: Option<&'static str>,
    /// For how long it was blocked: so far, or in all when it is over. The beginning is known to half the limit.
    pub blocked_for: Duration,
}

/// What is counted of blocked arbiters, and who hears of them.
#[derive(Default)]
pub(crate) struct Blockages {
    /// Together: whoever sees one that is blocked sees it counted.
    counts: Mutex<Counts>,
    hook: OnceLock<Hook>,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    /// How many arbiters are blocked now.
    pub(crate) now: usize,
    /// How often one was.
    pub(crate) total: u64,
}

/// Called on the control arbiter; `true`: it is blocked, `false`: it is free again.
pub(crate) type Hook = Box<dyn Fn(&BlockedArbiter, bool) + Send + Sync>;

impl Blockages {
    pub(crate) fn counts(&self) -> Counts {
        *self.counts.lock()
    }

    pub(crate) fn set_hook(&self, hook: Hook) {
        let _ = self.hook.set(hook);
    }

    fn begin(&self, blocked: &BlockedArbiter) {
        {
            let mut counts = self.counts.lock();
            counts.now += 1;
            counts.total += 1;
        }
        self.tell(blocked, true, "an arbiter is blocked: nothing else runs on its thread");
    }

    fn end(&self, blocked: &BlockedArbiter) {
        self.counts.lock().now -= 1;
        self.tell(blocked, false, "an arbiter is not blocked any more");
    }

    fn tell(&self, blocked: &BlockedArbiter, is: bool, text: &str) {
        let BlockedArbiter { arbiter, thread, process, behavior, blocked_for } = blocked;
        let process = process.as_ref().map(tracing::field::display);
        tracing::warn!(arbiter, thread, process, behavior, ?blocked_for, "{text}");
        if let Some(hook) = self.hook.get() {
            hook(blocked, is);
        }
    }
}

/// Watches the arbiters of a node, until it is gone or its control arbiter stops.
pub(crate) async fn watch(node: Weak<NodeInner>, limit: Duration) {
    let mut looks = Looks::new(limit);
    let mut watched: Vec<Arbiter> = Vec::new();
    loop {
        {
            let Some(node) = node.upgrade().map(Node) else { return };
            let now = node.now();
            let late = looks.begin(now);
            let others = if watched.is_empty() {
                let own = node.pool().own().iter().enumerate();
                watched.extend(own.map(|(at, launcher)| Arbiter::new(Some(at), launcher, &node, limit)));
                Vec::new()
            } else if watched.iter().all(|arbiter| arbiter.turns.thread.get().is_some()) {
                node.pool().by_thread()
            } else {
                Vec::new() // which of them are those of the pool is not known yet
            };
            for (thread, launcher) in others {
                if !watched.iter().any(|arbiter| arbiter.runs_on(thread)) {
                    watched.push(Arbiter::new(None, &launcher, &node, limit));
                }
            }
            watched.retain_mut(|arbiter| arbiter.look(&node, now, late));
        }
        actix_rt::time::sleep(looks.every()).await;
    }
}

/// A watched arbiter.
struct Arbiter {
    number: Option<usize>,
    launcher: Launcher,
    watched: Watched,
    turns: Arc<Turns>,
    /// As it was reported.
    blocked: Option<BlockedArbiter>,
}

impl Arbiter {
    fn new(number: Option<usize>, launcher: &Launcher, node: &Node, limit: Duration) -> Self {
        let turns = Turns {
            clock: node.0.clock,
            taken: AtomicU64::new(0),
            thread: OnceLock::new(),
            lost: AtomicBool::new(false),
        };
        let (watched, turns) = (Watched::new(limit), Arc::new(turns));
        Self { number, launcher: launcher.clone(), watched, turns, blocked: None }
    }

    fn runs_on(&self, thread: ThreadId) -> bool {
        self.turns.thread.get().is_some_and(|own| own.id == thread)
    }

    /// False when it is gone.
    fn look(&mut self, node: &Node, now: Monotonic, late: bool) -> bool {
        let blockages = &node.0.blockages;
        if self.turns.lost.load(Ordering::Acquire) {
            if let (Some(blocked_for), Some(blocked)) = (self.watched.gone(now), self.blocked.take()) {
                blockages.end(&BlockedArbiter { blocked_for, ..blocked });
            }
            return false;
        }
        let turn = match self.turns.taken.load(Ordering::Acquire) {
            0 => None,
            nanos => Some(Monotonic::from_nanos(nanos)),
        };
        match self.watched.look(now, turn, late) {
            Verdict::Wait => {}
            Verdict::Ask => self.ask(),
            Verdict::Blocked(blocked_for) => {
                let culprit = self.culprit(node);
                let blocked = BlockedArbiter {
                    arbiter: self.number,
                    thread: self.turns.thread.get().and_then(|thread| thread.name.clone()),
                    process: culprit.as_ref().map(|process| process.core().pid.clone()),
                    behavior: culprit.as_ref().map(|process| process.behavior()),
                    blocked_for,
                };
                blockages.begin(&blocked);
                self.blocked = Some(blocked);
            }
            Verdict::Free(blocked_for) => {
                if let Some(blocked) = self.blocked.take() {
                    blockages.end(&BlockedArbiter { blocked_for, ..blocked });
                }
                self.ask();
            }
        }
        true
    }

    fn ask(&self) {
        self.turns.taken.store(0, Ordering::Release);
        self.launcher.launch(Box::new(Turn(Arc::clone(&self.turns))));
    }

    /// The process whose code runs on its thread.
    fn culprit(&self, node: &Node) -> Option<Arc<dyn Process>> {
        let mark = self.turns.thread.get()?.mark.number();
        let runs = |process: &&Arc<dyn Process>| process.core().busy() == mark;
        node.0.processes.read().values().find(runs).cloned()
    }
}

/// What is known of the turns of an arbiter.
struct Turns {
    clock: Clock,
    /// When it took the one that it was asked for last; 0: not yet.
    taken: AtomicU64,
    /// Known from the first one on.
    thread: OnceLock<Thread>,
    /// It is gone.
    lost: AtomicBool,
}

/// The thread of an arbiter.
struct Thread {
    id: ThreadId,
    name: Option<String>,
    mark: ThreadMark,
}

/// One turn that it is asked for.
struct Turn(Arc<Turns>);

impl Job for Turn {
    fn run(self: Box<Self>, mark: ThreadMark) {
        let turns = &self.0;
        turns.thread.get_or_init(|| {
            let thread = thread::current();
            Thread { id: thread.id(), name: thread.name().map(str::to_owned), mark }
        });
        turns.taken.store(turns.clock.now().as_nanos().max(1), Ordering::Release);
    }

    fn lost(self: Box<Self>) {
        self.0.lost.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::{hint, sync::atomic::AtomicUsize};

    use super::*;

    /// Who waits until an arbiter is blocked and then reads how often one was, must not read what was true before.
    #[test]
    fn an_arbiter_that_is_blocked_is_counted() {
        const ROUNDS: usize = 20_000;
        let blocked = BlockedArbiter {
            arbiter: None,
            thread: None,
            process: None,
            behavior: None,
            blocked_for: Duration::ZERO,
        };
        let rounds: Arc<[Blockages]> = (0..ROUNDS).map(|_| Blockages::default()).collect();
        let at = Arc::new(AtomicUsize::new(0));
        let writer = thread::spawn({
            let (rounds, at) = (Arc::clone(&rounds), Arc::clone(&at));
            move || {
                for (number, round) in rounds.iter().enumerate() {
                    while at.load(Ordering::Acquire) < number {
                        thread::yield_now();
                    }
                    round.begin(&blocked);
                }
            }
        });
        for (number, round) in rounds.iter().enumerate() {
            at.store(number, Ordering::Release);
            let counts = loop {
                let counts = round.counts();
                if counts.now > 0 {
                    break counts;
                }
                hint::spin_loop();
            };
            assert_eq!((counts.now, counts.total), (1, 1));
        }
        writer.join().expect("it ends");
    }
}
