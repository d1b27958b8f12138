//! ractor, with its default features.

use std::sync::atomic::Ordering;

use futures_util::future::try_join_all;
use noex_bench::{
    Outcome,
    local::{Subject, TIMEOUT, subject::Handled},
};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, call, call_t};

pub(crate) struct Ractor;

struct Counter;

pub(crate) enum Message {
    Add(u64, RpcReplyPort<u64>),
    Put(u64),
    Mark(Handled),
}

impl Actor for Counter {
    type Msg = Message;
    type State = u64;
    type Arguments = u64;

    async fn pre_start(&self, _: ActorRef<Message>, start: u64) -> Result<u64, ActorProcessingErr> {
        Ok(start)
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        count: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Add(add, reply) => {
                *count += add;
                reply.send(*count)?;
            }
            Message::Put(add) => *count += add,
            Message::Mark(handled) => handled.store(true, Ordering::Release),
        }
        Ok(())
    }
}

impl Subject for Ractor {
    type Process = ActorRef<Message>;

    async fn start(&self, how_many: usize) -> Outcome<Vec<Self::Process>> {
        let started = try_join_all((0..how_many).map(|_| Actor::spawn(None, Counter, 0))).await?;
        Ok(started.into_iter().map(|(process, _)| process).collect())
    }

    async fn call(process: &Self::Process, add: u64) -> Outcome<u64> {
        Ok(call!(process, Message::Add, add)?)
    }

    async fn call_timeout(process: &Self::Process, add: u64) -> Outcome<u64> {
        Ok(call_t!(process, Message::Add, TIMEOUT.as_millis() as u64, add)?)
    }

    async fn cast(process: &Self::Process, add: u64) -> Outcome<()> {
        process.send_message(Message::Put(add)).map_err(|error| error.to_string().into())
    }

    async fn mark(process: &Self::Process, handled: Handled) -> Outcome<()> {
        process.send_message(Message::Mark(handled)).map_err(|error| error.to_string().into())
    }

    async fn end(&self, processes: Vec<Self::Process>) -> Outcome<()> {
        try_join_all(processes.iter().map(|process| process.stop_and_wait(None, None))).await?;
        Ok(())
    }
}
