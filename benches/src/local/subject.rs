//! The seam between phases and rows, and the phases.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{BURST, LARGE_BURST, Load, Metric, Order, Phase, STARTS, Sample};
use crate::{
    Outcome,
    pipe::{self, Orders},
    stats, system,
};

/// Tells that every cast before it was handled.
pub type Handled = Arc<AtomicBool>;

/// One way to run processes. A process holds a `u64`, its count.
///
/// The futures are `Send`, so that a row on a runtime with many threads can be measured by the same code.
pub trait Subject: Send + Sync + Sized + 'static {
    /// A handle of one process.
    type Process: Send + Sync + 'static;

    /// Starts this many together, where the caller runs, with a count of 0. Returns when each of them runs.
    fn start(&self, count: usize) -> impl Future<Output = Outcome<Vec<Self::Process>>> + Send;

    /// Starts one on another thread.
    fn start_apart(&self) -> impl Future<Output = Outcome<Self::Process>> + Send {
        async { Err("this row has no place apart".into()) }
    }

    /// Adds to the count and returns it.
    fn call(process: &Self::Process, add: u64) -> impl Future<Output = Outcome<u64>> + Send;

    /// The same with a deadline of [`TIMEOUT`](super::TIMEOUT) armed.
    fn call_timeout(process: &Self::Process, add: u64) -> impl Future<Output = Outcome<u64>> + Send;

    /// Adds to the count. Refusing a cast is an error: a burst arrives as a whole.
    fn cast(process: &Self::Process, add: u64) -> impl Future<Output = Outcome<()>> + Send;

    /// A cast that sets the flag.
    fn mark(process: &Self::Process, handled: Handled) -> impl Future<Output = Outcome<()>> + Send;

    /// Ends them. Returns when they are gone.
    fn end(&self, processes: Vec<Self::Process>) -> impl Future<Output = Outcome<()>> + Send;
}

/// What a child is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// Answers the parent's orders until the pipe closes.
    Orders,
    /// Starts this many idle processes, answers an [`Idle`], and ends.
    Idle(usize),
}

/// What idle processes take.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Idle {
    /// How many.
    pub processes: usize,
    /// From the first start until the last runs.
    pub seconds: f64,
    /// Of one start: the median over thousands.
    pub nanos_per_start: f64,
    /// Resident memory of the program.
    pub rss_bytes: u64,
    /// Of one process, with the handle that keeps it.
    pub bytes_per_process: f64,
}

impl Job {
    /// Does it. To be awaited by a task, not by the root of a runtime, which is polled on every wake.
    ///
    /// # Errors
    /// Whatever goes wrong: the run is void.
    pub async fn perform<S: Subject>(self, subject: S) -> Outcome<()> {
        match self {
            Job::Orders => {
                let (session, mut orders) = (Session::start(subject).await?, Orders::open()?);
                while let Some(order) = orders.next::<Order>().await? {
                    pipe::answer(&session.run(&order).await?)?;
                }
                Ok(())
            }
            Job::Idle(count) => pipe::answer(&idle(&subject, count).await?),
        }
    }
}

/// Calls between two looks at the clock.
const CALLS: u64 = 256;

/// A row under orders, and the process that it calls.
struct Session<S: Subject> {
    subject: S,
    target: S::Process,
}

impl<S: Subject> Session<S> {
    async fn start(subject: S) -> Outcome<Self> {
        let target = one(subject.start(1).await?)?;
        Ok(Session { subject, target })
    }

    async fn run(&self, order: &Order) -> Outcome<Sample> {
        let (load, target) = (&order.load, &self.target);
        Ok(match order.phase {
            Phase::Call => Sample::from([(Metric::CallNs, calls::<S>(target, load).await?)]),
            Phase::Timeout => {
                Sample::from([(Metric::CallTimeoutNs, calls_with_timeout::<S>(target, load).await?)])
            }
            Phase::Cast => Sample::from([(Metric::CastNs, casts::<S>(target, load, BURST).await?)]),
            Phase::Flow => {
                Sample::from([(Metric::LargeBurstCastNs, casts::<S>(target, load, LARGE_BURST).await?)])
            }
            Phase::Spawn => Sample::from([(Metric::WarmSpawnNs, self.spawns(load).await?)]),
            Phase::Cross => {
                let apart = self.subject.start_apart().await?;
                let call = calls::<S>(&apart, load).await?;
                let cast = casts::<S>(&apart, load, BURST).await?;
                self.subject.end(vec![apart]).await?;
                Sample::from([(Metric::CrossCallNs, call), (Metric::CrossCastNs, cast)])
            }
            Phase::Flood => self.flood(load).await?,
        })
    }

    async fn spawns(&self, load: &Load) -> Outcome<f64> {
        let (mut started, mut each) = (Vec::with_capacity(load.starts + STARTS), Vec::new());
        while started.len() < load.starts {
            let begun = Instant::now();
            let some = self.subject.start(STARTS).await?;
            each.push(begun.elapsed().as_nanos() as f64 / STARTS as f64);
            started.extend(some);
        }
        while !started.is_empty() {
            let rest = started.len().saturating_sub(STARTS);
            self.subject.end(started.split_off(rest)).await?;
        }
        stats::median(&each).ok_or_else(|| "nothing was started".into())
    }

    /// The queue is filled by the caller itself, at one go, and calls count while it is not empty: a flood that
    /// lasts, whatever runs on other threads.
    async fn flood(&self, load: &Load) -> Outcome<Sample> {
        let flooded = one(self.subject.start(1).await?)?;
        let mut quiet = Vec::new();
        let start = Instant::now();
        while start.elapsed() < load.measure() {
            quiet.push(timed_call::<S>(&self.target).await?);
        }
        let mut during = Vec::new();
        let start = Instant::now();
        while start.elapsed() < load.measure() {
            let handled = Handled::default();
            for _ in 1..LARGE_BURST {
                S::cast(&flooded, 1).await?;
            }
            S::mark(&flooded, Arc::clone(&handled)).await?;
            // The call that sees the end of the queue counts too, so that there is always one.
            while !handled.load(Ordering::Acquire) {
                during.push(timed_call::<S>(&self.target).await?);
            }
        }
        self.subject.end(vec![flooded]).await?;
        let [quiet, during] = [quiet, during].map(|mut nanos: Vec<u64>| {
            nanos.sort_unstable();
            stats::percentile(&nanos, 50) as f64
        });
        Ok(Sample::from([
            (Metric::QuietCallNs, quiet),
            (Metric::FloodCallNs, during),
            (Metric::FloodRatio, during / quiet),
        ]))
    }
}

/// Repeats `chunk`, which tells how much it did, until the time is up; the median over the chunks of the time each
/// took, in nanoseconds per unit. So what another program takes of the processor falls out.
async fn paced<F>(limit: Duration, mut chunk: impl FnMut() -> F + Send) -> Outcome<f64>
where
    F: Future<Output = Outcome<u64>> + Send,
{
    let (start, mut each) = (Instant::now(), Vec::new());
    while start.elapsed() < limit {
        let begun = Instant::now();
        let units = chunk().await?;
        each.push(begun.elapsed().as_nanos() as f64 / units as f64);
    }
    stats::median(&each).ok_or_else(|| "no time to measure".into())
}

async fn calls<S: Subject>(target: &S::Process, load: &Load) -> Outcome<f64> {
    let chunk = || async {
        for _ in 0..CALLS {
            S::call(target, 1).await?;
        }
        Ok(CALLS)
    };
    paced(load.warm(), chunk).await?;
    paced(load.measure(), chunk).await
}

async fn calls_with_timeout<S: Subject>(target: &S::Process, load: &Load) -> Outcome<f64> {
    let chunk = || async {
        for _ in 0..CALLS {
            S::call_timeout(target, 1).await?;
        }
        Ok(CALLS)
    };
    paced(load.warm(), chunk).await?;
    paced(load.measure(), chunk).await
}

/// Casts in bursts; the call that ends each sees that all of it arrived.
async fn casts<S: Subject>(target: &S::Process, load: &Load, burst: u64) -> Outcome<f64> {
    let chunk = || async {
        let before = S::call(target, 0).await?;
        for _ in 0..burst {
            S::cast(target, 1).await?;
        }
        let arrived = S::call(target, 0).await? - before;
        if arrived == burst { Ok(burst) } else { Err(format!("{arrived} of {burst} casts arrived").into()) }
    };
    paced(load.warm(), chunk).await?;
    paced(load.measure(), chunk).await
}

async fn timed_call<S: Subject>(target: &S::Process) -> Outcome<u64> {
    let sent = Instant::now();
    S::call(target, 1).await?;
    Ok(sent.elapsed().as_nanos() as u64)
}

async fn idle<S: Subject>(subject: &S, count: usize) -> Outcome<Idle> {
    let own = std::process::id();
    subject.end(subject.start(STARTS.min(count)).await?).await?;
    let (mut processes, mut each) = (Vec::with_capacity(count), Vec::with_capacity(count / STARTS + 1));
    let before = system::rss(own)?;
    let start = Instant::now();
    while processes.len() < count {
        let (some, begun) = (STARTS.min(count - processes.len()), Instant::now());
        processes.extend(subject.start(some).await?);
        each.push(begun.elapsed().as_nanos() as f64 / some as f64);
    }
    let seconds = start.elapsed().as_secs_f64();
    let rss_bytes = system::rss(own)?;
    // They are there: each answers.
    for process in &processes {
        if S::call(process, 1).await? != 1 {
            return Err("a process is not as it was started".into());
        }
    }
    let bytes_per_process = rss_bytes.saturating_sub(before) as f64 / count as f64;
    let nanos_per_start = stats::median(&each).ok_or("nothing was started")?;
    Ok(Idle { processes: count, seconds, nanos_per_start, rss_bytes, bytes_per_process })
}

fn one<P>(mut started: Vec<P>) -> Outcome<P> {
    started.pop().ok_or_else(|| "nothing was started".into())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, AtomicUsize};

    use super::*;

    type Counter = Arc<AtomicU64>;

    /// Counts at once, and how many processes it runs.
    #[derive(Default)]
    struct Fake {
        running: AtomicUsize,
    }

    /// Loses one cast, if it is told to.
    #[derive(Default)]
    struct Process {
        count: Counter,
        lose_at: Option<u64>,
        casts: AtomicU64,
    }

    impl Subject for Fake {
        type Process = Arc<Process>;

        async fn start(&self, count: usize) -> Outcome<Vec<Self::Process>> {
            self.running.fetch_add(count, Ordering::Relaxed);
            Ok((0..count).map(|_| Arc::default()).collect())
        }

        async fn start_apart(&self) -> Outcome<Self::Process> {
            one(self.start(1).await?)
        }

        async fn call(process: &Self::Process, add: u64) -> Outcome<u64> {
            Ok(process.count.fetch_add(add, Ordering::Relaxed) + add)
        }

        async fn call_timeout(process: &Self::Process, add: u64) -> Outcome<u64> {
            Self::call(process, add).await
        }

        async fn cast(process: &Self::Process, add: u64) -> Outcome<()> {
            let cast = process.casts.fetch_add(1, Ordering::Relaxed);
            if process.lose_at != Some(cast) {
                process.count.fetch_add(add, Ordering::Relaxed);
            }
            Ok(())
        }

        async fn mark(_: &Self::Process, handled: Handled) -> Outcome<()> {
            handled.store(true, Ordering::Release);
            Ok(())
        }

        async fn end(&self, processes: Vec<Self::Process>) -> Outcome<()> {
            self.running.fetch_sub(processes.len(), Ordering::Relaxed);
            Ok(())
        }
    }

    fn short() -> Load {
        Load { warm_ms: 1, measure_ms: 2, starts: 2 * STARTS }
    }

    #[tokio::test]
    async fn every_phase_gives_its_metrics_and_leaves_nothing_running() {
        let session = Session::start(Fake::default()).await.unwrap();
        let mut metrics = Vec::new();
        for phase in [Phase::Call, Phase::Timeout, Phase::Cast, Phase::Flow, Phase::Spawn, Phase::Cross] {
            let sample = session.run(&Order { phase, load: short() }).await.unwrap();
            assert!(sample.values().all(|value| *value > 0.0), "{sample:?}");
            metrics.extend(sample.into_keys());
            assert_eq!(session.subject.running.load(Ordering::Relaxed), 1);
        }
        assert_eq!(
            metrics,
            [
                Metric::CallNs,
                Metric::CallTimeoutNs,
                Metric::CastNs,
                Metric::LargeBurstCastNs,
                Metric::WarmSpawnNs,
                Metric::CrossCallNs,
                Metric::CrossCastNs,
            ]
        );
    }

    #[tokio::test]
    async fn a_cast_that_does_not_arrive_ends_the_run() {
        let process = Arc::new(Process { lose_at: Some(700), ..Process::default() });
        let failure = casts::<Fake>(&process, &short(), BURST).await.unwrap_err();
        assert_eq!(failure.to_string(), "999 of 1000 casts arrived");
        assert!(casts::<Fake>(&Arc::default(), &short(), BURST).await.is_ok());
    }

    #[tokio::test]
    async fn idle_processes_are_all_started() {
        let fake = Fake::default();
        let idle = idle(&fake, STARTS + 1).await.unwrap();
        assert_eq!((idle.processes, fake.running.load(Ordering::Relaxed)), (STARTS + 1, STARTS + 1));
    }

    #[tokio::test]
    async fn one_slow_chunk_does_not_move_the_figure() {
        let mut chunks = 0;
        let chunk = || {
            chunks += 1;
            let slow = chunks == 2;
            async move {
                if slow {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Ok(1)
            }
        };
        assert!(paced(Duration::from_millis(40), chunk).await.unwrap() < 1e7);
    }
}
