//! The row `noex`: processes of a node with its defaults, through the typed stubs.

use std::{future::IntoFuture, sync::atomic::Ordering};

use actix_rt::System;
use futures_util::future::{poll_immediate, try_join_all};
use noex_actors::{ExitReason, Node, Placement, Ref, behavior};

use super::{
    TIMEOUT,
    subject::{Handled, Job, Subject},
};
use crate::{
    Outcome,
    system::{self, Cpus},
};

#[derive(Debug)]
pub(crate) struct Counter(u64);

#[behavior]
impl Counter {
    #[init]
    fn new(start: u64) -> Result<Self, ExitReason> {
        Ok(Counter(start))
    }

    #[call]
    fn add(&mut self, add: u64) -> u64 {
        self.0 += add;
        self.0
    }

    #[cast]
    fn put(&mut self, add: u64) {
        self.0 += add;
    }

    #[cast]
    fn mark(&mut self, handled: Handled) {
        handled.store(true, Ordering::Release);
    }
}

struct Noex {
    node: Node,
}

/// Runs a child of this row.
pub(super) fn run(job: Job, cpus: &Cpus) -> Outcome<()> {
    // A thread inherits the mask of the one that makes it.
    system::confine(&cpus.server)?;
    System::new().block_on(async {
        let node = Node::builder().arbiters(1).start().await?;
        system::confine(&cpus.client)?;
        let done = actix_rt::spawn(job.perform(Noex { node: node.clone() })).await?;
        if job == Job::Orders {
            node.stop().await;
        }
        done
    })
}

impl Subject for Noex {
    type Process = Ref<Counter>;

    async fn start(&self, how_many: usize) -> Outcome<Vec<Self::Process>> {
        let mut starting: Vec<_> =
            (0..how_many).map(|_| self.node.spawn::<Counter>(0).into_future()).collect();
        // All begin, then each is waited for, in the order in which they run: what joins futures that wake one another in any
        // order would be measured with the starts, and the other rows have no need of it.
        for start in &mut starting {
            if let Some(refused) = poll_immediate(start).await {
                return Err(refused.err().map_or_else(|| "started before it ran".into(), Into::into));
            }
        }
        let mut started = Vec::with_capacity(how_many);
        for start in starting {
            started.push(start.await?);
        }
        Ok(started)
    }

    async fn start_apart(&self) -> Outcome<Self::Process> {
        Ok(self.node.spawn::<Counter>(0).placement(Placement::Pinned(0)).await?)
    }

    async fn call(process: &Self::Process, add: u64) -> Outcome<u64> {
        Ok(process.add(add).await?)
    }

    async fn call_timeout(process: &Self::Process, add: u64) -> Outcome<u64> {
        Ok(process.add(add).timeout(TIMEOUT).await?)
    }

    async fn cast(process: &Self::Process, add: u64) -> Outcome<()> {
        Ok(process.put(add)?)
    }

    async fn mark(process: &Self::Process, handled: Handled) -> Outcome<()> {
        Ok(process.mark(handled)?)
    }

    async fn end(&self, processes: Vec<Self::Process>) -> Outcome<()> {
        try_join_all(processes.iter().map(|process| process.stop(ExitReason::Normal))).await?;
        Ok(())
    }
}
