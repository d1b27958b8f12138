//! The load: one caller per child, each calling again as soon as it has its answer.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use actix::clock::sleep;
use noex::{CallError, Cluster, Via};

use crate::{
    node::{Counter, tell},
    protocol::{Event, Failures, Instance, Progress, Row, child_name},
};

/// How long one call may take.
const CALL: Duration = Duration::from_secs(1);
/// Before a call that follows a failed one: most failures come at once, and asking in a tight loop helps nobody.
const AFTER_A_FAILURE: Duration = Duration::from_millis(5);
/// Between two reports of progress.
const REPORT: Duration = Duration::from_millis(250);
/// How long the last call to each child may take.
const LAST_CALL: Duration = Duration::from_secs(2);

/// The callers of one node.
pub(crate) struct Load {
    callers: Vec<Caller>,
    over: Arc<AtomicBool>,
}

struct Caller {
    child: String,
    via: Via<Counter>,
    tally: Arc<Mutex<Tally>>,
}

/// What became of the calls to one child.
#[derive(Default)]
struct Tally {
    ok: u64,
    failed: Failures,
    last_answer: Option<Instant>,
    longest_gap: Duration,
    /// Failures since the last answer.
    missing: Failures,
}

fn locked(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Load {
    /// Starts calling.
    pub(crate) fn start(cluster: &Cluster, children: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let callers: Vec<Caller> = (1..=children)
            .map(|number| {
                let child = child_name(number);
                let via = cluster.global().via::<Counter>(&child);
                Caller { child, via, tally: Arc::default() }
            })
            .collect();
        for caller in &callers {
            let (via, tally) = (caller.via.clone(), Arc::clone(&caller.tally));
            actix::spawn(call(caller.child.clone(), via, tally, Arc::clone(&over)));
        }
        let tallies = callers.iter().map(|caller| Arc::clone(&caller.tally)).collect();
        actix::spawn(report(tallies, Arc::clone(&over)));
        Self { callers, over }
    }

    /// From now on, notes the longest time without an answer.
    pub(crate) fn mark(&self) {
        for caller in &self.callers {
            locked(&caller.tally).longest_gap = Duration::ZERO;
        }
    }

    /// Ends the calls, makes a last one to each child, and sums up.
    pub(crate) async fn finish(self) -> Vec<Row> {
        self.over.store(true, Ordering::Relaxed);
        let mut rows = Vec::new();
        for row in self.callers.into_iter().map(|caller| actix::spawn(caller.finish())).collect::<Vec<_>>() {
            rows.extend(row.await);
        }
        rows
    }
}

impl Caller {
    async fn finish(self) -> Row {
        let Self { child, via, tally } = self;
        let last = match via.place().timeout(LAST_CALL).await {
            Ok((node, generation)) => Ok(Instance { child: child.clone(), node, generation }),
            Err(error) => Err(error.to_string()),
        };
        let tally = locked(&tally);
        let open = tally.last_answer.filter(|_| !tally.missing.is_empty() || last.is_err());
        let gap = tally.longest_gap.max(open.map_or(Duration::ZERO, |at| at.elapsed()));
        Row { child, ok: tally.ok, failed: tally.failed.clone(), gap_us: micros(gap), last }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

async fn call(child: String, via: Via<Counter>, tally: Arc<Mutex<Tally>>, over: Arc<AtomicBool>) {
    while !over.load(Ordering::Relaxed) {
        match via.add(1).timeout(CALL).await {
            Ok(_) => {
                if let Some(recovered) = locked(&tally).answered(&child, Instant::now()) {
                    tell(recovered);
                }
            }
            Err(error) => {
                locked(&tally).failed(kind(&error));
                sleep(AFTER_A_FAILURE).await;
            }
        }
    }
}

impl Tally {
    /// Notes an answer; tells of it if calls had failed before.
    fn answered(&mut self, child: &str, now: Instant) -> Option<Event> {
        self.ok += 1;
        let gap = self.last_answer.replace(now).map_or(Duration::ZERO, |last| now - last);
        self.longest_gap = self.longest_gap.max(gap);
        if self.missing.is_empty() {
            return None;
        }
        let failed = std::mem::take(&mut self.missing);
        Some(Event::Recovered { child: child.to_owned(), gap_us: micros(gap), failed })
    }

    fn failed(&mut self, kind: &str) {
        for failures in [&mut self.failed, &mut self.missing] {
            *failures.entry(kind.to_owned()).or_default() += 1;
        }
    }
}

async fn report(tallies: Vec<Arc<Mutex<Tally>>>, over: Arc<AtomicBool>) {
    while !over.load(Ordering::Relaxed) {
        sleep(REPORT).await;
        let mut sum = Progress::default();
        for tally in &tallies {
            let tally = locked(tally);
            sum.ok += tally.ok;
            sum.answered += usize::from(tally.ok > 0);
            merge(&mut sum.failed, &tally.failed);
        }
        tell(Event::Progress(sum));
    }
}

/// Adds failures to a sum.
fn merge(sum: &mut Failures, more: &BTreeMap<String, u64>) {
    for (kind, count) in more {
        *sum.entry(kind.clone()).or_default() += count;
    }
}

/// The kind of an error, as a word.
fn kind(error: &CallError) -> &'static str {
    match error {
        CallError::NoProc(_) => "no_proc",
        CallError::NoName(_) => "no_name",
        CallError::Exited { .. } => "exited",
        CallError::Timeout { .. } => "timeout",
        CallError::NoReply(_) => "no_reply",
        CallError::Overloaded(_) => "overloaded",
        CallError::NoConnection(_) => "no_connection",
        CallError::ConnectionLost(_) => "connection_lost",
        CallError::NotRunning => "not_running",
        _ => "other",
    }
}
