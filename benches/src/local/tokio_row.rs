//! The row `tokio`: a task behind an unbounded channel, replies by oneshot, all in one `LocalSet`.

use std::{sync::atomic::Ordering, thread};

use tokio::{
    runtime::{Builder, Runtime},
    sync::{mpsc, oneshot},
    task::{LocalSet, spawn_local},
    time::timeout,
};

use super::{
    TIMEOUT,
    subject::{Handled, Job, Subject},
};
use crate::{
    Outcome,
    system::{self, Cpus},
};

enum Message {
    Call(u64, oneshot::Sender<u64>),
    Cast(u64),
    Mark(Handled),
}

struct Tokio {
    apart: Vec<usize>,
}

async fn count(mut messages: mpsc::UnboundedReceiver<Message>) {
    let mut count = 0;
    while let Some(message) = messages.recv().await {
        match message {
            Message::Call(add, reply) => {
                count += add;
                // Whoever asked may have gone.
                let _gone = reply.send(count);
            }
            Message::Cast(add) => count += add,
            Message::Mark(handled) => handled.store(true, Ordering::Release),
        }
    }
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Runs a child of this row.
pub(super) fn run(job: Job, cpus: &Cpus) -> Outcome<()> {
    // A thread inherits the mask of the one that makes it.
    system::confine(&cpus.server)?;
    // The second thread that all rows have.
    let (_stop, stopped) = oneshot::channel::<()>();
    let idle = runtime()?;
    thread::spawn(move || idle.block_on(stopped));
    system::confine(&cpus.client)?;
    let tokio = Tokio { apart: cpus.server.clone() };
    LocalSet::new().block_on(&runtime()?, async move { spawn_local(job.perform(tokio)).await? })
}

impl Subject for Tokio {
    type Process = mpsc::UnboundedSender<Message>;

    async fn start(&self, how_many: usize) -> Outcome<Vec<Self::Process>> {
        let start = |_| {
            let (sender, messages) = mpsc::unbounded_channel();
            spawn_local(count(messages));
            sender
        };
        let started = (0..how_many).map(start).collect();
        // Tasks run in the order in which they were spawned.
        spawn_local(async {}).await?;
        Ok(started)
    }

    async fn start_apart(&self) -> Outcome<Self::Process> {
        let (sender, messages) = mpsc::unbounded_channel();
        let (runtime, cpus) = (runtime()?, self.apart.clone());
        thread::spawn(move || {
            system::confine(&cpus)?;
            LocalSet::new().block_on(&runtime, async { spawn_local(count(messages)).await })?;
            Outcome::Ok(())
        });
        Ok(sender)
    }

    async fn call(process: &Self::Process, add: u64) -> Outcome<u64> {
        let (reply, replied) = oneshot::channel();
        process.send(Message::Call(add, reply))?;
        Ok(replied.await?)
    }

    async fn call_timeout(process: &Self::Process, add: u64) -> Outcome<u64> {
        let (reply, replied) = oneshot::channel();
        process.send(Message::Call(add, reply))?;
        Ok(timeout(TIMEOUT, replied).await??)
    }

    async fn cast(process: &Self::Process, add: u64) -> Outcome<()> {
        Ok(process.send(Message::Cast(add))?)
    }

    async fn mark(process: &Self::Process, handled: Handled) -> Outcome<()> {
        Ok(process.send(Message::Mark(handled))?)
    }

    async fn end(&self, processes: Vec<Self::Process>) -> Outcome<()> {
        drop(processes);
        Ok(spawn_local(async {}).await?)
    }
}
