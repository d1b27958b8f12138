//! What the operating system knows of a process: its processor time, its memory peak, its CPUs.
//!
//! Two processes on two cores have two stable states: each on a core of its own, or both on one, where
//! the scheduler leaves them for seconds, as neither ever waits long for it. A call takes ten times as
//! long in the first, and each row falls into the second as often as it likes. So nothing is left to
//! chance: [`Cpus::shared`] is the second, [`Cpus::apart`] the first.

use std::{collections::BTreeMap, fs, time::Duration};

use rustix::{
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
    time::{ClockId, clock_gettime},
};

use crate::Outcome;

/// Where the two processes of every row run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cpus {
    /// The CPUs of the client.
    pub client: Vec<usize>,
    /// The CPUs of the server.
    pub server: Vec<usize>,
}

impl Cpus {
    /// Both on this one.
    ///
    /// # Errors
    /// There is no such CPU, or this process may not use it.
    pub fn shared(cpu: usize) -> Outcome<Self> {
        let only = one_cpu(cpu)?;
        Ok(Cpus { client: only.clone(), server: only })
    }

    /// Each has half of what this process may use; both the same one where there is no other.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn apart() -> Outcome<Self> {
        Ok(Self::halves(&allowed_cpus()?))
    }

    fn halves(all: &[usize]) -> Self {
        let (client, server) = all.split_at(all.len() / 2);
        let client = if client.is_empty() { server } else { client };
        Cpus { client: client.to_vec(), server: server.to_vec() }
    }
}

/// This CPU alone.
///
/// # Errors
/// There is no such CPU, or this process may not use it.
pub fn one_cpu(cpu: usize) -> Outcome<Vec<usize>> {
    if allowed_cpus()?.contains(&cpu) {
        Ok(vec![cpu])
    } else {
        Err(format!("CPU {cpu} is not there, or not for this process").into())
    }
}

/// What this process may use.
///
/// # Errors
/// The system does not tell.
pub fn allowed_cpus() -> Outcome<Vec<usize>> {
    let allowed = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect())
}

/// Keeps this thread, and every thread it makes from now on, on these CPUs.
///
/// # Errors
/// This process may use none of them.
pub fn confine(cpus: &[usize]) -> Outcome<()> {
    let mut set = CpuSet::new();
    cpus.iter().filter(|cpu| **cpu < CpuSet::MAX_CPU).for_each(|cpu| set.set(*cpu));
    sched_setaffinity(None, &set).map_err(|error| format!("cannot run on CPUs {cpus:?}: {error}").into())
}

/// Reads the processor time of this process and of the server together.
#[derive(Debug, Clone, Copy)]
pub struct CpuMeter {
    server: u32,
}

/// A reading of a [`CpuMeter`].
#[derive(Debug)]
pub struct CpuReading {
    own: Duration,
    /// Nanoseconds by thread. Per thread, so that one which ends in between takes nothing back.
    server: BTreeMap<i32, u64>,
}

impl CpuMeter {
    /// A meter of this process and the one with this number.
    #[must_use]
    pub fn new(server: u32) -> Self {
        CpuMeter { server }
    }

    /// The server's part is exact when it is idle, else up to one tick old.
    ///
    /// # Errors
    /// The server is gone.
    pub fn read(&self) -> Outcome<CpuReading> {
        Ok(CpuReading { own: own_cpu(), server: cpu_by_thread(self.server)? })
    }

    /// Processor time of both since `start`.
    ///
    /// # Errors
    /// The server is gone.
    pub fn since(&self, start: &CpuReading) -> Outcome<Duration> {
        let now = self.read()?;
        let server = now
            .server
            .iter()
            .map(|(thread, at)| at.saturating_sub(start.server.get(thread).copied().unwrap_or(0)))
            .sum();
        Ok(now.own.saturating_sub(start.own) + Duration::from_nanos(server))
    }
}

fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

fn cpu_by_thread(process: u32) -> Outcome<BTreeMap<i32, u64>> {
    let mut times = BTreeMap::new();
    for thread in threads(process)? {
        // A thread may end between the two reads.
        let Ok(text) = fs::read_to_string(format!("/proc/{process}/task/{thread}/schedstat")) else {
            continue;
        };
        if let Some(nanos) = text.split_whitespace().next().and_then(|word| word.parse().ok()) {
            times.insert(thread, nanos);
        }
    }
    if times.is_empty() {
        return Err(format!("no processor times of process {process} in /proc").into());
    }
    Ok(times)
}

fn threads(process: u32) -> Outcome<Vec<i32>> {
    let entries = fs::read_dir(format!("/proc/{process}/task"))?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

/// The most memory the process ever held, in bytes (`VmHWM`).
///
/// # Errors
/// There is no such process.
pub fn rss_peak(process: u32) -> Outcome<u64> {
    memory(process, "VmHWM:")
}

/// The memory that the process holds now, in bytes (`VmRSS`).
///
/// # Errors
/// There is no such process.
pub fn rss(process: u32) -> Outcome<u64> {
    memory(process, "VmRSS:")
}

fn memory(process: u32, field: &str) -> Outcome<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    parse_memory(&status, field).ok_or_else(|| format!("no {field} of process {process} in /proc").into())
}

fn parse_memory(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\tx\nVmPeak:\t 9 kB\nVmHWM:\t   12 kB\nVmRSS:\t 8 kB\n";
        assert_eq!(parse_memory(status, "VmHWM:"), Some(12 * 1024));
        assert_eq!(parse_memory(status, "VmRSS:"), Some(8 * 1024));
        assert_eq!(parse_memory("Name:\tx\n", "VmHWM:"), None);
        let own = std::process::id();
        assert!(rss(own).unwrap() > 0 && rss(own).unwrap() <= rss_peak(own).unwrap());
    }

    #[test]
    fn processor_time_of_both_processes_is_counted() {
        // This process plays both parts, so its work is counted twice.
        let meter = CpuMeter::new(std::process::id());
        let start = meter.read().unwrap();
        let own = own_cpu();
        while own_cpu() - own < Duration::from_millis(60) {
            std::hint::spin_loop();
        }
        let both = meter.since(&start).unwrap();
        assert!(both > Duration::from_millis(90), "{both:?}");
    }

    #[test]
    fn without_a_choice_each_process_has_its_own_half() {
        let cpus =
            |client: &[usize], server: &[usize]| Cpus { client: client.to_vec(), server: server.to_vec() };
        assert_eq!(Cpus::halves(&[0, 1]), cpus(&[0], &[1]));
        assert_eq!(Cpus::halves(&[2, 3, 5, 7, 8]), cpus(&[2, 3], &[5, 7, 8]));
        assert_eq!(Cpus::halves(&[4]), cpus(&[4], &[4]));
    }

    #[test]
    fn a_cpu_that_is_not_there_is_refused() {
        assert!(Cpus::shared(usize::MAX).is_err());
        assert!(confine(&[usize::MAX]).is_err());
    }

    #[test]
    fn confining_a_thread_is_seen_by_the_threads_it_makes() {
        let cpu = *allowed_cpus().unwrap().last().unwrap();
        let seen = std::thread::spawn(move || {
            confine(&[cpu]).unwrap();
            std::thread::spawn(|| allowed_cpus().unwrap()).join().unwrap()
        });
        assert_eq!(seen.join().unwrap(), [cpu]);
    }
}
