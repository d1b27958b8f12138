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

use noex_actors::Bytes;
use tokio::task::JoinHandle;

use super::load::{self, BIG_WARM_CALLS, LARGEST, Load, Order, Phase, Sample};
use crate::{Failure, Outcome, system::CpuMeter};

/// Runs phases for one row.
pub trait Workload: Send + 'static {
    /// # Errors
    /// The connection failed: the run is void.
    fn run(&mut self, order: &Order, cpu: &CpuMeter) -> impl Future<Output = Outcome<Sample>> + Send;
}

/// The client's end of one connection to one target.
pub trait Driver: Send + Sync + 'static {
    /// Bytes of a small payload; with the row's own header about 64 on the wire.
    const PAYLOAD: usize;
    /// Bytes of the largest payload that it takes; phases beyond are left out.
    const MOST: usize = LARGEST;
    /// Whether it has [`Driver::ping`]; `ping` is left out without.
    const PINGS: bool = false;

    /// One echo; gives the length of the payload that came back.
    fn call(&self, payload: Vec<u8>) -> impl Future<Output = Outcome<usize>> + Send;

    /// One cast. Waits where there is no room, and only then.
    fn cast(&self, payload: Vec<u8>) -> impl Future<Output = Outcome<()>> + Send;

    /// How many casts the target has handled since it started.
    fn count(&self) -> impl Future<Output = Outcome<u64>> + Send;

    /// A large call; gives the length the target saw.
    fn big(&self, payload: Vec<u8>) -> impl Future<Output = Outcome<usize>> + Send;

    /// The same with bytes that are sent again and again: who can share them need not copy them for each call.
    fn big_shared(&self, payload: &Bytes) -> impl Future<Output = Outcome<usize>> + Send {
        self.big(payload.to_vec())
    }

    /// As [`Driver::call`], to a target which is not that of large calls.
    fn ping(&self, payload: Vec<u8>) -> impl Future<Output = Outcome<usize>> + Send {
        self.call(payload)
    }

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
pub struct Callers<D> {
    driver: Arc<D>,
}

impl<D: Driver> Callers<D> {
    /// Phases of this driver.
    pub fn new(driver: D) -> Self {
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

    async fn big(&self, phase: Phase, len: usize, load: &Load, cpu: &CpuMeter) -> Outcome<Sample> {
        let payload = Bytes::from(vec![9; len]);
        for _ in 0..BIG_WARM_CALLS {
            self.driver.big_shared(&payload).await?;
        }
        let used = cpu.read()?;
        let start = Instant::now();
        let mut calls = 0;
        while start.elapsed() < load.big_for() {
            same_length(self.driver.big_shared(&payload).await?, len)?;
            calls += 1;
        }
        let elapsed = start.elapsed();
        Ok(load::big_sample(phase, calls, elapsed, cpu.since(&used)?))
    }

    async fn ping(&self, load: &Load) -> Outcome<Sample> {
        self.driver.big(vec![9; LARGEST]).await?;
        self.pings(Instant::now() + load.ping_for() / 4).await?;
        let quiet = self.pings(Instant::now() + load.ping_for()).await?;
        let start = Instant::now();
        let end = start + load.ping_for();
        let driver = Arc::clone(&self.driver);
        let bulk = self.driver.spawn(async move {
            let (payload, mut calls) = (Bytes::from(vec![9; LARGEST]), 0);
            while Instant::now() < end {
                same_length(driver.big_shared(&payload).await?, LARGEST)?;
                calls += 1;
            }
            Outcome::<_>::Ok((calls, start.elapsed()))
        });
        let beside = self.pings(end).await?;
        let (calls, elapsed) = bulk.await??;
        Ok(load::ping_sample(quiet, beside, calls, elapsed))
    }

    async fn pings(&self, end: Instant) -> Outcome<Vec<u64>> {
        let (payload, mut latencies) = (vec![7; D::PAYLOAD], Vec::new());
        while Instant::now() < end {
            let sent = Instant::now();
            same_length(self.driver.ping(payload.clone()).await?, D::PAYLOAD)?;
            latencies.push(sent.elapsed().as_nanos() as u64);
        }
        Ok(latencies)
    }
}

impl<D: Driver> Workload for Callers<D> {
    async fn run(&mut self, order: &Order, cpu: &CpuMeter) -> Outcome<Sample> {
        let Order { phase, load } = order;
        if phase.large().is_some_and(|len| len > D::MOST) || (*phase == Phase::Ping && !D::PINGS) {
            return Ok(Sample::new());
        }
        match *phase {
            Phase::Seq => self.seq(load, cpu).await,
            Phase::P8 | Phase::P64 | Phase::P512 => self.window(*phase, load, cpu).await,
            Phase::Cast => self.casts(load, cpu).await,
            Phase::Ping => self.ping(load).await,
            Phase::Kib4 | Phase::Kib64 | Phase::Big | Phase::Mib8 => {
                let len = phase.large().unwrap_or_default();
                self.big(*phase, len, load, cpu).await
            }
        }
    }
}

/// # Errors
/// The target answered something else than what was sent.
#[inline]
pub fn same_length(got: usize, sent: usize) -> Outcome<()> {
    if got == sent { Ok(()) } else { Err(wrong_length(got, sent)) }
}

#[cold]
fn wrong_length(got: usize, sent: usize) -> Failure {
    format!("{got} bytes came back instead of {sent}").into()
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
