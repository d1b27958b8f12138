//! The parent's end of a remote row: its two processes.

use crate::{
    Outcome,
    load::{Order, Sample},
    rows::Row,
    system::{self, Cpus},
    worker::Worker,
};

/// The two processes of one row. They live until this is dropped, and do nothing between orders.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) row: Row,
    // The client goes first, so that it does not see its server die.
    client: Worker,
    server: Worker,
}

impl Pair {
    pub(crate) fn start(row: Row, cpus: &Cpus) -> Outcome<Self> {
        let server = Worker::start(&["serve".into(), row.to_string()], &cpus.server)?;
        let port = server.next_line()?;
        let pid = server.id().to_string();
        let client = Worker::start(
            &["drive".into(), row.to_string(), port, "--server-pid".into(), pid],
            &cpus.client,
        )?;
        Ok(Pair { row, client, server })
    }

    /// Blocks until the phase is over.
    pub(crate) fn run(&mut self, order: &Order) -> Outcome<Sample> {
        self.client.ask(order)
    }

    /// Memory peaks so far in bytes, client first.
    pub(crate) fn rss_peaks(&self) -> Outcome<[u64; 2]> {
        Ok([system::rss_peak(self.client.id())?, system::rss_peak(self.server.id())?])
    }
}
