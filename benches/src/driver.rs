//! The seam between phases and rows, and the phases of every row that has tasks and calls.
//!
//! | Row | implements | because |
//! |---|---|---|
//! | `bare`, `bare-mp` | [`Workload`] | one task writes frames by itself: it has no calls |
//! | all others | [`Driver`], run by [`Callers`] | N outstanding is N caller tasks, each awaiting its own call |

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

use crate::{
    Failure, Outcome,
    load::{self, BIG_LEN, BIG_WARM_CALLS, Load, Order, Phase, Sample},
    system::CpuMeter,
};

/// Runs phases for one row.
pub(crate) trait Workload: Send + 'static {
    /// # Errors
    /// The connection failed: the run is void.
    fn run(&mut self, order: &Order, cpu: &CpuMeter) -> impl Future<Output = Outcome<Sample>> + Send;
}

/// The client's end of one connection to one target.
pub(crate) trait Driver: Send + Sync + 'static {
    /// Bytes of a small payload; with the row's own header about 64 on the wire.
    const PAYLOAD: usize;

    /// One echo; gives the length of the payload that came back.
    fn call(&self, payload: Vec<u8>) -> impl Future<Output = Outcome<usize>> + Send;

    /// One cast. Waits where there is no room, and only then.
    fn cast(&self, payload: Vec<u8>) -> impl Future<Output = Outcome<()>> + Send;

    /// How many casts the target has handled since it started.
    fn count(&self) -> impl Future<Output = Outcome<u64>> + Send;

    /// A large call; gives the length the target saw.
    fn big(&self, payload: Vec<u8>) -> impl Future<Output = Outcome<usize>> + Send;

    /// Where a caller task runs. The default is the current runtime.
    fn spawn<F>(&self, caller: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        tokio::spawn(caller)
    }
}

/// Casts between two yields of the casting task.
const YIELD_EVERY: u64 = 64;
/// Casts between two looks at the clock.
const CLOCK_EVERY: u64 = 1024;
/// How long casts may take to arrive after the last was sent.
const ARRIVAL: Duration = Duration::from_secs(10);

/// Turns a [`Driver`] into a [`Workload`].
#[derive(Debug)]
pub(crate) struct Callers<D> {
    driver: Arc<D>,
}

impl<D: Driver> Callers<D> {
    pub(crate) fn new(driver: D) -> Self {
        Callers { driver: Arc::new(driver) }
    }

    async fn seq(&self, load: &Load, cpu: &CpuMeter) -> Outcome<Sample> {
        let payload = vec![7; D::PAYLOAD];
        let start = Instant::now();
        for _ in 0..load.warm_calls {
            self.driver.call(payload.clone()).await?;
            if start.elapsed() > load.seq_for() {
                break;
            }
        }
        let mut latencies = Vec::with_capacity(load.seq_calls as usize);
        let used = cpu.read()?;
        let start = Instant::now();
        for _ in 0..load.seq_calls {
            let sent = Instant::now();
            let echoed = self.driver.call(payload.clone()).await?;
            latencies.push(sent.elapsed().as_nanos() as u64);
            same_length(echoed, D::PAYLOAD)?;
            if start.elapsed() > load.seq_for() {
                break;
            }
        }
        Ok(load::rtt_sample(latencies, cpu.since(&used)?))
    }

    async fn window(&self, phase: Phase, load: &Load, cpu: &CpuMeter) -> Outcome<Sample> {
        let used = cpu.read()?;
        let start = Instant::now();
        let end = start + load.window_for();
        let caller = || {
            let (driver, payload) = (Arc::clone(&self.driver), vec![7; D::PAYLOAD]);
            self.driver.spawn(async move {
                let mut calls = 0;
                while Instant::now() < end {
                    same_length(driver.call(payload.clone()).await?, D::PAYLOAD)?;
                    calls += 1;
                }
                Outcome::<u64>::Ok(calls)
            })
        };
        let callers: Vec<_> = (0..phase.window()).map(|_| caller()).collect();
        let mut calls = 0;
        for caller in callers {
            calls += caller.await??;
        }
        let elapsed = start.elapsed();
        Ok(load::window_sample(phase, calls, elapsed, cpu.since(&used)?))
    }

    async fn casts(&self, load: &Load, cpu: &CpuMeter) -> Outcome<Sample> {
        let payload = vec![7; D::PAYLOAD];
        let before = self.driver.count().await?;
        let used = cpu.read()?;
        let start = Instant::now();
        let mut sent = 0;
        while sent < load.casts {
            self.driver.cast(payload.clone()).await?;
            sent += 1;
            if sent.is_multiple_of(YIELD_EVERY) {
                tokio::task::yield_now().await;
            }
            if sent.is_multiple_of(CLOCK_EVERY) && start.elapsed() > load.cast_for() {
                break;
            }
        }
        let latest = Instant::now() + ARRIVAL;
        let arrived = loop {
            let arrived = self.driver.count().await? - before;
            if arrived >= sent || Instant::now() > latest {
                break arrived;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        let elapsed = start.elapsed();
        Ok(load::cast_sample(sent, arrived, elapsed, cpu.since(&used)?))
    }

    async fn big(&self, load: &Load) -> Outcome<Sample> {
        let payload = vec![9; BIG_LEN];
        for _ in 0..BIG_WARM_CALLS {
            self.driver.big(payload.clone()).await?;
        }
        let start = Instant::now();
        let mut calls = 0;
        while start.elapsed() < load.big_for() {
            same_length(self.driver.big(payload.clone()).await?, BIG_LEN)?;
            calls += 1;
        }
        Ok(load::big_sample(calls, start.elapsed()))
    }
}

impl<D: Driver> Workload for Callers<D> {
    async fn run(&mut self, order: &Order, cpu: &CpuMeter) -> Outcome<Sample> {
        match order.phase {
            Phase::Seq => self.seq(&order.load, cpu).await,
            Phase::P64 | Phase::P512 => self.window(order.phase, &order.load, cpu).await,
            Phase::Cast => self.casts(&order.load, cpu).await,
            Phase::Big => self.big(&order.load).await,
        }
    }
}

/// # Errors
/// The target answered something else than what was sent.
#[inline]
pub(crate) fn same_length(got: usize, sent: usize) -> Outcome<()> {
    if got == sent { Ok(()) } else { Err(wrong_length(got, sent)) }
}

#[cold]
fn wrong_length(got: usize, sent: usize) -> Failure {
    format!("{got} bytes came back instead of {sent}").into()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    use super::*;
    use crate::load::Metric;

    /// Answers at once, remembers how many calls were open together, and loses every `lose`-th cast.
    #[derive(Default)]
    struct Fake {
        open: AtomicUsize,
        most_open: AtomicUsize,
        casts: AtomicU64,
        echo_short: bool,
    }

    impl Driver for Fake {
        const PAYLOAD: usize = 8;

        async fn call(&self, payload: Vec<u8>) -> Outcome<usize> {
            let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
            self.most_open.fetch_max(open, Ordering::Relaxed);
            tokio::task::yield_now().await;
            self.open.fetch_sub(1, Ordering::Relaxed);
            Ok(payload.len() - usize::from(self.echo_short))
        }

        async fn cast(&self, _: Vec<u8>) -> Outcome<()> {
            self.casts.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }

        async fn count(&self) -> Outcome<u64> {
            Ok(self.casts.load(Ordering::Relaxed))
        }

        async fn big(&self, payload: Vec<u8>) -> Outcome<usize> {
            Ok(payload.len())
        }
    }

    fn short() -> Load {
        Load {
            warm_calls: 3,
            seq_calls: 50,
            seq_ms: 1_000,
            window_ms: 10,
            casts: 5_000,
            cast_ms: 1_000,
            big_ms: 5,
        }
    }

    async fn run(callers: &mut Callers<Fake>, phase: Phase) -> Outcome<Sample> {
        callers.run(&Order { phase, load: short() }, &CpuMeter::new(std::process::id())).await
    }

    #[tokio::test]
    async fn every_phase_gives_its_metrics() {
        let mut callers = Callers::new(Fake::default());
        let mut metrics = Vec::new();
        for phase in [Phase::Seq, Phase::P64, Phase::P512, Phase::Cast, Phase::Big] {
            metrics.extend(run(&mut callers, phase).await.unwrap().into_keys());
        }
        assert_eq!(
            metrics,
            [
                Metric::RttP50Us,
                Metric::RttP99Us,
                Metric::CpuUsPerRtt,
                Metric::Calls64PerS,
                Metric::CpuUsPerCall64,
                Metric::Calls512PerS,
                Metric::CpuUsPerCall512,
                Metric::CastsPerS,
                Metric::CpuUsPerCast,
                Metric::CastsLost,
                Metric::Mib1MbPerS,
            ]
        );
    }

    #[tokio::test]
    async fn a_window_of_n_is_n_callers_with_one_call_each() {
        for (phase, outstanding) in [(Phase::Seq, 1), (Phase::P64, 64), (Phase::P512, 512)] {
            let mut callers = Callers::new(Fake::default());
            run(&mut callers, phase).await.unwrap();
            assert_eq!(callers.driver.most_open.load(Ordering::Relaxed), outstanding);
        }
    }

    #[tokio::test]
    async fn casts_of_an_earlier_round_are_not_counted_again() {
        let mut callers = Callers::new(Fake::default());
        for _ in 0..2 {
            let sample = run(&mut callers, Phase::Cast).await.unwrap();
            assert_eq!(sample[&Metric::CastsLost], 0.0);
        }
        assert_eq!(callers.driver.casts.load(Ordering::Relaxed), 10_000);
    }

    #[tokio::test]
    async fn a_wrong_echo_ends_the_run() {
        let mut callers = Callers::new(Fake { echo_short: true, ..Fake::default() });
        assert!(run(&mut callers, Phase::Seq).await.is_err());
        assert!(run(&mut callers, Phase::P64).await.is_err());
    }
}
