//! The row `actix`: a plain actor, `Addr::send` to a synchronous handler, `Addr::do_send`.

use std::sync::atomic::Ordering;

use actix::prelude::{Actor, Addr, Context, Handler, Message};
use actix_rt::{Arbiter, System};

use super::{
    TIMEOUT,
    subject::{Handled, Job, Subject},
};
use crate::{
    Outcome,
    system::{self, Cpus},
};

struct Counter(u64);

impl Actor for Counter {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "u64")]
struct Add(u64);

#[derive(Message)]
#[rtype(result = "()")]
struct Put(u64);

#[derive(Message)]
#[rtype(result = "()")]
struct Mark(Handled);

impl Handler<Add> for Counter {
    type Result = u64;
    fn handle(&mut self, Add(add): Add, _: &mut Context<Self>) -> u64 {
        self.0 += add;
        self.0
    }
}

impl Handler<Put> for Counter {
    type Result = ();
    fn handle(&mut self, Put(add): Put, _: &mut Context<Self>) {
        self.0 += add;
    }
}

impl Handler<Mark> for Counter {
    type Result = ();
    fn handle(&mut self, Mark(handled): Mark, _: &mut Context<Self>) {
        handled.store(true, Ordering::Release);
    }
}

struct Actix {
    apart: Arbiter,
}

/// Runs a child of this row.
pub(super) fn run(job: Job, cpus: &Cpus) -> Outcome<()> {
    // A thread inherits the mask of the one that makes it.
    system::confine(&cpus.server)?;
    System::new().block_on(async {
        let apart = Arbiter::new();
        system::confine(&cpus.client)?;
        actix_rt::spawn(job.perform(Actix { apart })).await?
    })
}

impl Subject for Actix {
    type Process = Addr<Counter>;

    async fn start(&self, how_many: usize) -> Outcome<Vec<Self::Process>> {
        let started = (0..how_many).map(|_| Counter(0).start()).collect();
        // Actors run in the order in which they were started.
        actix_rt::spawn(async {}).await?;
        Ok(started)
    }

    async fn start_apart(&self) -> Outcome<Self::Process> {
        Ok(Counter::start_in_arbiter(&self.apart.handle(), |_| Counter(0)))
    }

    async fn call(process: &Self::Process, add: u64) -> Outcome<u64> {
        Ok(process.send(Add(add)).await?)
    }

    async fn call_timeout(process: &Self::Process, add: u64) -> Outcome<u64> {
        Ok(process.send(Add(add)).timeout(TIMEOUT).await?)
    }

    #[expect(clippy::disallowed_methods, reason = "what plain actix offers; its bound is no bound")]
    async fn cast(process: &Self::Process, add: u64) -> Outcome<()> {
        process.do_send(Put(add));
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "behind the casts")]
    async fn mark(process: &Self::Process, handled: Handled) -> Outcome<()> {
        process.do_send(Mark(handled));
        Ok(())
    }

    async fn end(&self, processes: Vec<Self::Process>) -> Outcome<()> {
        drop(processes);
        Ok(actix_rt::spawn(async {}).await?)
    }
}
