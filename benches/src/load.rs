//! What is asked of a client: which phase, for how long, and the figures that come back.

use std::{collections::BTreeMap, time::Duration};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::stats;

/// One kind of load. Interleaved over rows; [`Phase::Big`] comes after all others, as it moves the memory peak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// One call after the other.
    Seq,
    /// 64 callers, each awaiting its call.
    P64,
    /// 512 callers, each awaiting its call.
    P512,
    /// One task casts; what arrived is counted at the server.
    Cast,
    /// Calls of 1 MiB with a small reply, one after the other.
    Big,
}

impl Phase {
    /// Outstanding calls of the pipelined phases.
    pub(crate) fn window(self) -> usize {
        match self {
            Phase::P64 => 64,
            Phase::P512 => 512,
            Phase::Seq | Phase::Cast | Phase::Big => 1,
        }
    }
}

/// Length of every phase. Times are milliseconds; a phase ends at its count or at its time, whichever is first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Load {
    /// Calls before the clock starts, in `seq`.
    pub(crate) warm_calls: u32,
    pub(crate) seq_calls: u32,
    pub(crate) seq_ms: u64,
    pub(crate) window_ms: u64,
    /// Casts of a client with tasks; a client which writes frames by itself sends three times as many.
    pub(crate) casts: u64,
    pub(crate) cast_ms: u64,
    pub(crate) big_ms: u64,
}

impl Load {
    pub(crate) fn full() -> Self {
        Load {
            warm_calls: 2_000,
            seq_calls: 20_000,
            seq_ms: 1_500,
            window_ms: 1_500,
            casts: 1_000_000,
            cast_ms: 5_000,
            big_ms: 1_000,
        }
    }

    /// Five rounds of five rows take about 18 s.
    pub(crate) fn quick() -> Self {
        Load {
            warm_calls: 300,
            seq_calls: 20_000,
            seq_ms: 120,
            window_ms: 200,
            casts: 400_000,
            cast_ms: 180,
            big_ms: 80,
        }
    }

    pub(crate) fn seq_for(&self) -> Duration {
        Duration::from_millis(self.seq_ms)
    }

    pub(crate) fn window_for(&self) -> Duration {
        Duration::from_millis(self.window_ms)
    }

    pub(crate) fn cast_for(&self) -> Duration {
        Duration::from_millis(self.cast_ms)
    }

    pub(crate) fn big_for(&self) -> Duration {
        Duration::from_millis(self.big_ms)
    }
}

/// Bytes of a large call.
pub(crate) const BIG_LEN: usize = 1 << 20;

/// Large calls before the clock starts: they grow the buffers.
pub(crate) const BIG_WARM_CALLS: u32 = 3;

/// One line from the parent to a client.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) phase: Phase,
    pub(crate) load: Load,
}

/// A figure. Processor times are those of both processes together, per call or cast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Metric {
    RttP50Us,
    RttP99Us,
    CpuUsPerRtt,
    Calls64PerS,
    CpuUsPerCall64,
    Calls512PerS,
    CpuUsPerCall512,
    CastsPerS,
    CpuUsPerCast,
    CastsLost,
    Mib1MbPerS,
}

/// One line from a client to the parent: the figures of one phase in one round.
pub(crate) type Sample = BTreeMap<Metric, f64>;

/// The figures of `seq`. `latencies` are nanoseconds, in any order.
pub(crate) fn rtt_sample(mut latencies: Vec<u64>, cpu: Duration) -> Sample {
    latencies.sort_unstable();
    let micros = |percent| stats::percentile(&latencies, percent) as f64 / 1e3;
    Sample::from([
        (Metric::RttP50Us, micros(50)),
        (Metric::RttP99Us, micros(99)),
        (Metric::CpuUsPerRtt, micros_each(cpu, latencies.len() as u64)),
    ])
}

/// The figures of a pipelined phase.
pub(crate) fn window_sample(phase: Phase, calls: u64, elapsed: Duration, cpu: Duration) -> Sample {
    let (rate, each) = match phase {
        Phase::P512 => (Metric::Calls512PerS, Metric::CpuUsPerCall512),
        Phase::P64 | Phase::Seq | Phase::Cast | Phase::Big => (Metric::Calls64PerS, Metric::CpuUsPerCall64),
    };
    Sample::from([(rate, per_second(calls, elapsed)), (each, micros_each(cpu, calls))])
}

/// The figures of `cast`: `arrived` of `sent` were counted at the server.
pub(crate) fn cast_sample(sent: u64, arrived: u64, elapsed: Duration, cpu: Duration) -> Sample {
    Sample::from([
        (Metric::CastsPerS, per_second(arrived, elapsed)),
        (Metric::CpuUsPerCast, micros_each(cpu, arrived)),
        (Metric::CastsLost, sent.saturating_sub(arrived) as f64),
    ])
}

/// The figure of `big`, in megabytes of 10^6 bytes.
pub(crate) fn big_sample(calls: u64, elapsed: Duration) -> Sample {
    Sample::from([(Metric::Mib1MbPerS, per_second(calls * BIG_LEN as u64, elapsed) / 1e6)])
}

fn per_second(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}

fn micros_each(cpu: Duration, count: u64) -> f64 {
    cpu.as_secs_f64() * 1e6 / count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_window_has_its_own_metrics() {
        let (second, cpu) = (Duration::from_secs(2), Duration::from_secs(1));
        let p64 = window_sample(Phase::P64, 1_000_000, second, cpu);
        assert_eq!(p64, Sample::from([(Metric::Calls64PerS, 500_000.0), (Metric::CpuUsPerCall64, 1.0)]));
        let p512 = window_sample(Phase::P512, 1_000_000, second, cpu);
        assert_eq!(p512, Sample::from([(Metric::Calls512PerS, 500_000.0), (Metric::CpuUsPerCall512, 1.0)]));
    }

    #[test]
    fn casts_count_what_arrived() {
        let sample = cast_sample(1_000, 900, Duration::from_secs(1), Duration::from_micros(900));
        assert_eq!(
            sample,
            Sample::from([
                (Metric::CastsPerS, 900.0),
                (Metric::CpuUsPerCast, 1.0),
                (Metric::CastsLost, 100.0)
            ])
        );
    }

    #[test]
    fn round_trips_are_microseconds_whatever_their_order() {
        let sample = rtt_sample(vec![3_000, 1_000, 2_000], Duration::from_micros(30));
        assert_eq!(
            sample,
            Sample::from([(Metric::RttP50Us, 2.0), (Metric::RttP99Us, 3.0), (Metric::CpuUsPerRtt, 10.0)])
        );
    }

    #[test]
    fn large_calls_are_counted_in_decimal_megabytes() {
        let sample = big_sample(1_000, Duration::from_secs(1));
        assert_eq!(sample, Sample::from([(Metric::Mib1MbPerS, 1_048.576)]));
    }

    #[test]
    fn a_sample_survives_the_pipe() {
        let sample = cast_sample(10, 10, Duration::from_secs(1), Duration::from_secs(1));
        let line = serde_json::to_string(&sample).unwrap();
        assert_eq!(serde_json::from_str::<Sample>(&line).unwrap(), sample);
    }
}
