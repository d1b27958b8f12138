//! kameo, with its default features.

use std::sync::atomic::Ordering;

use futures_util::future::join_all;
use kameo::{
    Actor,
    actor::{ActorRef, Spawn},
    mailbox,
    message::{Context, Message},
};
use noex_bench::{
    Outcome,
    local::{Subject, TIMEOUT, subject::Handled},
};

/// Which mailbox its actors have.
pub(crate) enum Kameo {
    /// The default: 64 messages, whoever sends waits for room.
    Default,
    Unbounded,
}

#[derive(Actor)]
pub(crate) struct Counter(u64);

pub(crate) struct Add(u64);
pub(crate) struct Put(u64);
pub(crate) struct Mark(Handled);

impl Message<Add> for Counter {
    type Reply = u64;
    async fn handle(&mut self, Add(add): Add, _: &mut Context<Self, u64>) -> u64 {
        self.0 += add;
        self.0
    }
}

impl Message<Put> for Counter {
    type Reply = ();
    async fn handle(&mut self, Put(add): Put, _: &mut Context<Self, ()>) {
        self.0 += add;
    }
}

impl Message<Mark> for Counter {
    type Reply = ();
    async fn handle(&mut self, Mark(handled): Mark, _: &mut Context<Self, ()>) {
        handled.store(true, Ordering::Release);
    }
}

impl Subject for Kameo {
    type Process = ActorRef<Counter>;

    async fn start(&self, how_many: usize) -> Outcome<Vec<Self::Process>> {
        let start = |_| match self {
            Kameo::Default => Counter::spawn(Counter(0)),
            Kameo::Unbounded => Counter::spawn_with_mailbox(Counter(0), mailbox::unbounded()),
        };
        let started: Vec<_> = (0..how_many).map(start).collect();
        join_all(started.iter().map(ActorRef::wait_for_startup)).await;
        Ok(started)
    }

    async fn call(process: &Self::Process, add: u64) -> Outcome<u64> {
        process.ask(Add(add)).await.map_err(|error| error.to_string().into())
    }

    async fn call_timeout(process: &Self::Process, add: u64) -> Outcome<u64> {
        process.ask(Add(add)).reply_timeout(TIMEOUT).await.map_err(|error| error.to_string().into())
    }

    async fn cast(process: &Self::Process, add: u64) -> Outcome<()> {
        process.tell(Put(add)).await.map_err(|error| error.to_string().into())
    }

    async fn mark(process: &Self::Process, handled: Handled) -> Outcome<()> {
        process.tell(Mark(handled)).await.map_err(|error| error.to_string().into())
    }

    async fn end(&self, processes: Vec<Self::Process>) -> Outcome<()> {
        for process in &processes {
            process.stop_gracefully().await.map_err(|error| error.to_string())?;
        }
        join_all(processes.iter().map(ActorRef::wait_for_shutdown)).await;
        Ok(())
    }
}
