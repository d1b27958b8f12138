use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::*;
use crate::remote::load::Metric;

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
    const MOST: usize = 1 << 20;
    const PINGS: bool = true;

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
        ping_ms: 5,
    }
}

async fn run(callers: &mut Callers<Fake>, phase: Phase) -> Outcome<Sample> {
    callers.run(&Order { phase, load: short() }, &CpuMeter::new(std::process::id())).await
}

#[tokio::test]
async fn every_phase_gives_its_metrics() {
    let mut callers = Callers::new(Fake::default());
    let mut metrics = Vec::new();
    for phase in Phase::USUAL {
        let mut sample = run(&mut callers, phase).await.unwrap();
        sample.remove(&Metric::Messages);
        metrics.extend(sample.into_keys());
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
            Metric::CastsArrived,
            Metric::Mib1MbPerS,
            Metric::CpuUsPerMib1,
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

#[tokio::test]
async fn phases_beyond_what_a_driver_takes_are_left_out() {
    let mut callers = Callers::new(Fake::default());
    assert_eq!(run(&mut callers, Phase::Mib8).await.unwrap(), Sample::new());
    assert_eq!(run(&mut callers, Phase::Ping).await.unwrap(), Sample::new());
    assert_eq!(run(&mut callers, Phase::Kib64).await.unwrap().len(), 1);
}
