//! The child's end of the pipes to the parent.
//!
//! Standard input is read by the runtime, not by a thread: the allocator takes a faster way in a process
//! which never had a second thread, and that is worth a sixth of a call to `mux-mp`. When it closes the
//! child ends: children never outlive the parent.

use std::{
    io::{self, Write},
    os::fd::AsFd,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    net::unix::pipe,
};

use crate::{Outcome, driver::Workload, load::Order, system::CpuMeter};

/// Tells the parent where the server listens.
pub(crate) fn announce(port: u16) -> Outcome<()> {
    line(&port.to_string())
}

/// Completes when the parent closes the pipe or is gone. Needs a runtime.
pub(crate) async fn stdin_closed() -> Outcome<()> {
    let mut lines = stdin()?;
    while lines.next_line().await?.is_some() {}
    Ok(())
}

/// Runs the parent's orders one after the other against the process `server`, and answers each with its
/// sample, until the pipe closes. Needs a runtime.
pub(crate) async fn answer<W: Workload>(mut workload: W, server: u32) -> Outcome<()> {
    let (cpu, mut orders) = (CpuMeter::new(server), stdin()?);
    while let Some(order) = orders.next_line().await? {
        let order: Order = serde_json::from_str(&order)?;
        let sample = workload.run(&order, &cpu).await?;
        line(&serde_json::to_string(&sample)?)?;
    }
    Ok(())
}

/// Standard input, which has to be a pipe, as lines.
fn stdin() -> io::Result<Lines<BufReader<pipe::Receiver>>> {
    let pipe = io::stdin().as_fd().try_clone_to_owned()?;
    Ok(BufReader::new(pipe::Receiver::from_owned_fd(pipe)?).lines())
}

fn line(text: &str) -> Outcome<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}
