//! The two runtimes on which a peer is measured.

use noex_bench::{
    Outcome,
    local::{Job, Subject},
    system::{self, Cpus},
};
use tokio::runtime::Builder;

/// A runtime of tokio.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Flavor {
    /// All on the thread that measures.
    CurrentThread,
    /// As `#[tokio::main]` makes it: a worker per CPU.
    MultiThread,
}

/// Runs a child of a peer's row.
pub(crate) fn run<S: Subject>(flavor: Flavor, job: Job, cpus: &Cpus, subject: S) -> Outcome<()> {
    let runtime = match flavor {
        Flavor::CurrentThread => {
            // The second thread that all rows have.
            std::thread::spawn(|| {
                Builder::new_current_thread().build()?.block_on(std::future::pending::<Outcome<()>>())
            });
            system::confine(&cpus.client)?;
            Builder::new_current_thread().enable_all().build()?
        }
        Flavor::MultiThread => {
            // All that there are.
            system::confine(&[cpus.client.as_slice(), &cpus.server].concat())?;
            Builder::new_multi_thread().enable_all().build()?
        }
    };
    runtime.block_on(async { tokio::spawn(job.perform(subject)).await? })
}
