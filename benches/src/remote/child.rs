//! The child's end of a remote row: what it tells the parent, and how it answers orders.

use super::{driver::Workload, load::Order};
pub use crate::pipe::stdin_closed;
use crate::{
    Outcome,
    pipe::{self, Orders},
    system::CpuMeter,
};

/// Tells the parent where the server listens.
///
/// # Errors
/// The parent is gone.
pub fn announce(port: u16) -> Outcome<()> {
    pipe::line(&port.to_string())
}

/// Runs the parent's orders one after the other against the process `server`, and answers each with its
/// sample, until the pipe closes. Needs a runtime.
///
/// # Errors
/// The connection failed, or an order is none.
pub async fn answer<W: Workload>(mut workload: W, server: u32) -> Outcome<()> {
    let (cpu, mut orders) = (CpuMeter::new(server), Orders::open()?);
    while let Some(order) = orders.next::<Order>().await? {
        pipe::answer(&workload.run(&order, &cpu).await?)?;
    }
    Ok(())
}
