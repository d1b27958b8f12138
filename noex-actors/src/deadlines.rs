//! The alarms of a node: when a process must look at the deadlines of the calls that wait for it.
//!
//! One task keeps them, on the control arbiter: an arbiter without timers of its own asks for the time less often, and a
//! timer per call costs more than the call. A process has one alarm, moved when an earlier deadline comes, so a busy process
//! asks for one about as often as its calls time out, not as often as it is called.
//!
//! Two threads may set alarms of one process in the other order: then it has one too many, or one for a time at which nothing is
//! due any more. INVARIANT: whoever rings looks again and sets the next; a process whose calls wait is never without one.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{Clock, Monotonic, process::Process};

/// By time and number of the process.
type Alarms = BTreeMap<(Monotonic, u64), Weak<dyn Process>>;

#[derive(Default)]
pub(crate) struct Deadlines {
    alarms: Mutex<Alarms>,
    changed: Notify,
}

impl fmt::Debug for Deadlines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadlines").field("alarms", &self.alarms.lock().len()).finish()
    }
}

impl Deadlines {
    /// The process wants to look at that time, and not at the one that it named before.
    pub(crate) fn set(&self, at: Monotonic, replaced: Option<Monotonic>, process: &Arc<dyn Process>) {
        let number = process.core().pid.number();
        let mut alarms = self.alarms.lock();
        let first = alarms.first_key_value().is_none_or(|((first, _), _)| at < *first);
        if let Some(replaced) = replaced {
            alarms.remove(&(replaced, number));
        }
        alarms.insert((at, number), Arc::downgrade(process));
        if first {
            self.changed.notify_one();
        }
    }

    /// The process does not want to look any more.
    pub(crate) fn clear(&self, at: Monotonic, number: u64) {
        self.alarms.lock().remove(&(at, number));
    }

    /// How many are set.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.alarms.lock().len()
    }

    fn first(&self) -> Option<Monotonic> {
        self.alarms.lock().first_key_value().map(|((at, _), _)| *at)
    }

    fn due(&self, now: Monotonic) -> Option<Weak<dyn Process>> {
        let mut alarms = self.alarms.lock();
        let entry = alarms.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }

    /// Keeps the alarms, until its arbiter stops.
    pub(crate) async fn keep(self: Arc<Self>, clock: Clock) {
        loop {
            let changed = self.changed.notified();
            match self.first() {
                None => changed.await,
                Some(at) => {
                    tokio::select! {
                        () = actix_rt::time::sleep_until(clock.instant(at)) => self.ring(&clock),
                        () = changed => {}
                    }
                }
            }
        }
    }

    fn ring(&self, clock: &Clock) {
        let now = clock.now();
        while let Some(process) = self.due(now) {
            if let Some(process) = process.upgrade()
                && let Some(next) = process.expire(now)
            {
                self.set(next, None, &process);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{
        ExitReason,
        testkit::{self, Recorder},
    };

    #[test]
    fn a_process_keeps_one_alarm_however_many_deadlines_come_and_go() {
        testkit::run(1, |sim| async move {
            let node = sim.node().await;
            let recorder = node.spawn::<Recorder>(()).await.unwrap();
            let far = |n: u64| Duration::from_secs(100_000 + n);
            // Deadlines that are earlier than all others when they come, again and again.
            recorder.echo("a".to_owned()).timeout(Duration::MAX).await.unwrap();
            for n in 0..200 {
                recorder.echo("c".to_owned()).timeout(far(n)).await.unwrap();
                recorder.echo("b".to_owned()).timeout(Duration::from_millis(2)).await.unwrap();
                sim.advance(Duration::from_millis(5)).await;
            }
            assert!(node.deadlines().len() <= 1, "{:?}", node.deadlines());
            recorder.echo("d".to_owned()).timeout(Duration::MAX).await.unwrap();
            recorder.stop(ExitReason::Normal).await.unwrap();
            assert_eq!(node.deadlines().len(), 0, "the end takes it away");
        });
    }
}
