//! The parent's end of a remote row: its two processes.

use std::{
    fs,
    io::Read,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::{
    Outcome,
    load::{Metric, Order, Phase, Sample},
    rows::Row,
    system::{self, Cpus},
    worker::Worker,
};

/// How long `perf` may take until it counts.
const ATTACHING: Duration = Duration::from_millis(200);
const MIB: f64 = (1 << 20) as f64;

/// The two processes of one row. They live until this is dropped, and do nothing between orders.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) row: Row,
    // The client goes first, so that it does not see its server die.
    client: Worker,
    server: Worker,
    /// Bytes, before the system was told to forget them.
    peaks: [u64; 2],
}

impl Pair {
    pub(crate) fn start(row: Row, cpus: &Cpus) -> Outcome<Self> {
        let roaming;
        let cpus = if row.roams() && cpus.client != cpus.server {
            let all = [&cpus.client[..], &cpus.server].concat();
            roaming = Cpus { client: all.clone(), server: all };
            &roaming
        } else {
            cpus
        };
        let server = Worker::start(&["serve".into(), row.to_string()], &cpus.server)?;
        let port = server.next_line()?;
        let pid = server.id().to_string();
        let client = Worker::start(
            &["drive".into(), row.to_string(), port, "--server-pid".into(), pid],
            &cpus.client,
        )?;
        Ok(Pair { row, client, server, peaks: [0; 2] })
    }

    fn ids(&self) -> [u32; 2] {
        [self.client.id(), self.server.id()]
    }

    /// Blocks until the phase is over.
    pub(crate) fn run(&mut self, order: &Order) -> Outcome<Sample> {
        if order.phase != Phase::Cast {
            return self.client.ask(order);
        }
        let before = self.forget_peaks()?;
        let mut sample: Sample = self.client.ask(order)?;
        let grown = |at: usize| -> Outcome<f64> {
            Ok(system::rss_peak(self.ids()[at])?.saturating_sub(before[at]) as f64 / MIB)
        };
        if !sample.is_empty() {
            sample.insert(Metric::CastGrowthClientMib, grown(0)?);
            sample.insert(Metric::CastGrowthServerMib, grown(1)?);
        }
        Ok(sample)
    }

    /// What both hold now, in bytes. From here on the system's peaks begin there.
    fn forget_peaks(&mut self) -> Outcome<[u64; 2]> {
        self.peaks = self.rss_peaks()?;
        let mut now = [0; 2];
        for (id, now) in self.ids().into_iter().zip(&mut now) {
            fs::write(format!("/proc/{id}/clear_refs"), "5")?;
            *now = system::rss(id)?;
        }
        Ok(now)
    }

    /// Memory peaks so far in bytes, client first.
    pub(crate) fn rss_peaks(&self) -> Outcome<[u64; 2]> {
        let [client, server] = self.ids();
        Ok([self.peaks[0].max(system::rss_peak(client)?), self.peaks[1].max(system::rss_peak(server)?)])
    }

    /// Runs the phase once more while `perf` counts the system calls of both processes. Its times are not used: being counted costs time.
    pub(crate) fn count_syscalls(&mut self, order: &Order) -> Outcome<Sample> {
        let metric = match order.phase {
            Phase::P512 => Metric::SyscallsPerCall512,
            Phase::Cast => Metric::SyscallsPerCast,
            _ => return Ok(Sample::new()),
        };
        let [client, server] = self.ids();
        let mut perf = Command::new("perf")
            .args(["stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", &format!("{client},{server}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        #[allow(
            clippy::disallowed_methods,
            reason = "the parent has no arbiter, and perf does not say when it begins"
        )]
        thread::sleep(ATTACHING);
        let sample: Outcome<Sample> = self.client.ask(order);
        // It tells what it counted when it is interrupted.
        let pid = i32::try_from(perf.id()).ok().and_then(rustix::process::Pid::from_raw).ok_or("no pid")?;
        rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
        let mut told = String::new();
        if let Some(mut pipe) = perf.stderr.take() {
            pipe.read_to_string(&mut told)?;
        }
        perf.wait()?;
        let Some(messages) = sample?.get(&Metric::Messages).copied() else { return Ok(Sample::new()) };
        let count = parse_perf(&told).ok_or_else(|| format!("perf counted nothing: {told}"))?;
        Ok(Sample::from([(metric, count / messages)]))
    }
}

/// The first number of the line of the event.
fn parse_perf(told: &str) -> Option<f64> {
    let line = told.lines().find(|line| line.contains("sys_enter"))?;
    line.split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_perf_tells_is_read_and_its_excuses_are_not() {
        assert_eq!(parse_perf("x\n15992,,raw_syscalls:sys_enter,100,100.00,,\n"), Some(15_992.0));
        assert_eq!(parse_perf("<not counted>,,raw_syscalls:sys_enter,0,100.00,,\n"), None);
        assert_eq!(parse_perf(""), None);
    }
}
