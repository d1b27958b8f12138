//! What is asked of a client: which phase, for how long, and the figures that come back.

use std::{collections::BTreeMap, time::Duration};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::stats;

/// One kind of load. The order is that of measuring: small messages first, then what moves the memory peak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
pub enum Phase {
    /// One call after the other.
    Seq,
    /// 8 callers, each awaiting its call.
    P8,
    /// 64 callers, each awaiting its call.
    P64,
    /// 512 callers, each awaiting its call.
    P512,
    /// One task casts; what arrived is counted at the server.
    Cast,
    /// Calls of 4 KiB with a small reply, one after the other.
    Kib4,
    /// The same of 64 KiB.
    Kib64,
    /// The same of 1 MiB.
    Big,
    /// The same of 8 MiB.
    Mib8,
    /// Small calls one after the other to a process of their own, alone and then beside calls of 8 MiB.
    Ping,
}

impl Phase {
    /// What is measured when nothing else is asked for.
    pub const USUAL: [Phase; 5] = [Phase::Seq, Phase::P64, Phase::P512, Phase::Cast, Phase::Big];

    /// Outstanding calls of the pipelined phases.
    #[must_use]
    pub fn window(self) -> usize {
        match self {
            Phase::P8 => 8,
            Phase::P64 => 64,
            Phase::P512 => 512,
            Phase::Seq
            | Phase::Cast
            | Phase::Kib4
            | Phase::Kib64
            | Phase::Big
            | Phase::Mib8
            | Phase::Ping => 1,
        }
    }

    /// Bytes of a payload that is answered with its length.
    #[must_use]
    pub fn large(self) -> Option<usize> {
        match self {
            Phase::Kib4 => Some(4 << 10),
            Phase::Kib64 => Some(64 << 10),
            Phase::Big => Some(1 << 20),
            Phase::Mib8 | Phase::Ping => Some(LARGEST),
            Phase::Seq | Phase::P8 | Phase::P64 | Phase::P512 | Phase::Cast => None,
        }
    }
}

/// Length of every phase. Times are milliseconds; a phase ends at its count or at its time, whichever is first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named like the phases")]
pub struct Load {
    /// Calls before the clock starts, in `seq`.
    pub warm_calls: u32,
    pub seq_calls: u32,
    pub seq_ms: u64,
    pub window_ms: u64,
    /// Casts of a client with tasks; a client which writes frames by itself sends three times as many.
    pub casts: u64,
    pub cast_ms: u64,
    pub big_ms: u64,
    /// Of each half of `ping`.
    pub ping_ms: u64,
}

impl Load {
    /// Phases of a second or so.
    #[must_use]
    pub fn full() -> Self {
        Load {
            warm_calls: 2_000,
            seq_calls: 20_000,
            seq_ms: 1_500,
            window_ms: 1_500,
            casts: 1_000_000,
            cast_ms: 5_000,
            big_ms: 1_000,
            ping_ms: 1_500,
        }
    }

    /// Phases of a third of a second, and casts until a million were sent.
    #[must_use]
    pub fn medium() -> Self {
        Load {
            warm_calls: 500,
            seq_calls: 20_000,
            seq_ms: 300,
            window_ms: 350,
            casts: 1_000_000,
            cast_ms: 900,
            big_ms: 150,
            ping_ms: 400,
        }
    }

    /// Five rounds of five rows take about 18 s.
    #[must_use]
    pub fn quick() -> Self {
        Load {
            warm_calls: 300,
            seq_calls: 20_000,
            seq_ms: 120,
            window_ms: 200,
            casts: 400_000,
            cast_ms: 180,
            big_ms: 80,
            ping_ms: 250,
        }
    }

    /// How long `seq` may take, and as much before it.
    #[must_use]
    pub fn seq_for(&self) -> Duration {
        Duration::from_millis(self.seq_ms)
    }

    /// How long a pipelined phase takes.
    #[must_use]
    pub fn window_for(&self) -> Duration {
        Duration::from_millis(self.window_ms)
    }

    /// How long casts are sent.
    #[must_use]
    pub fn cast_for(&self) -> Duration {
        Duration::from_millis(self.cast_ms)
    }

    /// How long large calls are made.
    #[must_use]
    pub fn big_for(&self) -> Duration {
        Duration::from_millis(self.big_ms)
    }

    /// How long each half of `ping` takes.
    #[must_use]
    pub fn ping_for(&self) -> Duration {
        Duration::from_millis(self.ping_ms)
    }
}

/// Bytes of the largest call.
pub const LARGEST: usize = 8 << 20;

/// Large calls before the clock starts: they grow the buffers.
pub const BIG_WARM_CALLS: u32 = 3;

/// One line from the parent to a client.
#[derive(Debug, Serialize, Deserialize)]
#[allow(missing_docs, reason = "both have their own")]
pub struct Order {
    pub phase: Phase,
    pub load: Load,
}

/// A figure. Processor times and system calls are those of both processes together, per call or cast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named by what they count")]
pub enum Metric {
    RttP50Us,
    RttP99Us,
    CpuUsPerRtt,
    Calls8PerS,
    CpuUsPerCall8,
    Calls64PerS,
    CpuUsPerCall64,
    Calls512PerS,
    CpuUsPerCall512,
    CastsPerS,
    CpuUsPerCast,
    CastsLost,
    CastsArrived,
    Kib4MbPerS,
    Kib64MbPerS,
    Mib1MbPerS,
    Mib8MbPerS,
    CpuUsPerMib1,
    PingQuietP99Us,
    PingBulkP99Us,
    PingBulkMbPerS,
    /// The parent counts them, while the client runs the phase once more.
    SyscallsPerCall512,
    SyscallsPerCast,
    /// How far the memory peak of a process was above what it held before the casts, in MiB. The parent looks.
    CastGrowthClientMib,
    CastGrowthServerMib,
    /// Calls or casts of the phase: what the parent divides by.
    Messages,
}

/// One line from a client to the parent: the figures of one phase in one round. Nothing where a row lacks the phase.
pub type Sample = BTreeMap<Metric, f64>;

/// The figures of `seq`. `latencies` are nanoseconds, in any order.
#[must_use]
pub fn rtt_sample(mut latencies: Vec<u64>, cpu: Duration) -> Sample {
    latencies.sort_unstable();
    let micros = |percent| stats::percentile(&latencies, percent) as f64 / 1e3;
    Sample::from([
        (Metric::RttP50Us, micros(50)),
        (Metric::RttP99Us, micros(99)),
        (Metric::CpuUsPerRtt, micros_each(cpu, latencies.len() as u64)),
    ])
}

/// The figures of a pipelined phase.
#[must_use]
pub fn window_sample(phase: Phase, calls: u64, elapsed: Duration, cpu: Duration) -> Sample {
    let (rate, each) = match phase.window() {
        512 => (Metric::Calls512PerS, Metric::CpuUsPerCall512),
        8 => (Metric::Calls8PerS, Metric::CpuUsPerCall8),
        _ => (Metric::Calls64PerS, Metric::CpuUsPerCall64),
    };
    Sample::from([
        (rate, per_second(calls, elapsed)),
        (each, micros_each(cpu, calls)),
        (Metric::Messages, calls as f64),
    ])
}

/// The figures of `cast`: `arrived` of `sent` were counted at the server.
#[must_use]
pub fn cast_sample(sent: u64, arrived: u64, elapsed: Duration, cpu: Duration) -> Sample {
    Sample::from([
        (Metric::CastsPerS, per_second(arrived, elapsed)),
        (Metric::CpuUsPerCast, micros_each(cpu, arrived)),
        (Metric::CastsLost, sent.saturating_sub(arrived) as f64),
        (Metric::CastsArrived, arrived as f64),
        (Metric::Messages, arrived as f64),
    ])
}

/// The figures of large calls, in megabytes of 10^6 bytes.
#[must_use]
pub fn big_sample(phase: Phase, calls: u64, elapsed: Duration, cpu: Duration) -> Sample {
    let Some(len) = phase.large() else { return Sample::new() };
    let rate = per_second(calls * len as u64, elapsed) / 1e6;
    match phase {
        Phase::Kib4 => Sample::from([(Metric::Kib4MbPerS, rate)]),
        Phase::Kib64 => Sample::from([(Metric::Kib64MbPerS, rate)]),
        Phase::Mib8 => Sample::from([(Metric::Mib8MbPerS, rate)]),
        _ => Sample::from([(Metric::Mib1MbPerS, rate), (Metric::CpuUsPerMib1, micros_each(cpu, calls))]),
    }
}

/// The figures of `ping`: nanoseconds of the pings alone, and of those beside `bulk` calls of 8 MiB.
#[must_use]
pub fn ping_sample(mut quiet: Vec<u64>, mut beside: Vec<u64>, bulk: u64, elapsed: Duration) -> Sample {
    quiet.sort_unstable();
    beside.sort_unstable();
    let p99 = |sorted: &[u64]| stats::percentile(sorted, 99) as f64 / 1e3;
    Sample::from([
        (Metric::PingQuietP99Us, p99(&quiet)),
        (Metric::PingBulkP99Us, p99(&beside)),
        (Metric::PingBulkMbPerS, per_second(bulk * LARGEST as u64, elapsed) / 1e6),
    ])
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
        let messages = (Metric::Messages, 1_000_000.0);
        let p64 = window_sample(Phase::P64, 1_000_000, second, cpu);
        assert_eq!(
            p64,
            Sample::from([(Metric::Calls64PerS, 500_000.0), (Metric::CpuUsPerCall64, 1.0), messages])
        );
        let p512 = window_sample(Phase::P512, 1_000_000, second, cpu);
        assert_eq!(
            p512,
            Sample::from([(Metric::Calls512PerS, 500_000.0), (Metric::CpuUsPerCall512, 1.0), messages])
        );
    }

    #[test]
    fn casts_count_what_arrived() {
        let sample = cast_sample(1_000, 900, Duration::from_secs(1), Duration::from_micros(900));
        assert_eq!(
            sample,
            Sample::from([
                (Metric::CastsPerS, 900.0),
                (Metric::CpuUsPerCast, 1.0),
                (Metric::CastsLost, 100.0),
                (Metric::CastsArrived, 900.0),
                (Metric::Messages, 900.0)
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
        let sample = big_sample(Phase::Big, 1_000, Duration::from_secs(1), Duration::from_secs(1));
        assert_eq!(sample, Sample::from([(Metric::Mib1MbPerS, 1_048.576), (Metric::CpuUsPerMib1, 1_000.0)]));
        let sample = big_sample(Phase::Mib8, 1_000, Duration::from_secs(8), Duration::ZERO);
        assert_eq!(sample, Sample::from([(Metric::Mib8MbPerS, 1_048.576)]));
    }

    #[test]
    fn a_sample_survives_the_pipe() {
        let sample = cast_sample(10, 10, Duration::from_secs(1), Duration::from_secs(1));
        let line = serde_json::to_string(&sample).unwrap();
        assert_eq!(serde_json::from_str::<Sample>(&line).unwrap(), sample);
    }

    #[test]
    fn pings_are_told_apart_from_those_beside_bulk() {
        let sample = ping_sample(vec![1_000; 10], vec![9_000, 5_000], 1_000, Duration::from_secs(8));
        assert_eq!(
            sample,
            Sample::from([
                (Metric::PingQuietP99Us, 1.0),
                (Metric::PingBulkP99Us, 9.0),
                (Metric::PingBulkMbPerS, 1_048.576)
            ])
        );
    }
}
