//! What a message costs in allocations, at both ends together: none of its own. A program of its own, as all of it is counted.

#![allow(clippy::panic, clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod support;

use std::{alloc::System, future::IntoFuture};

use futures_util::future::join_all;
use noex_actors::{ExitReason, Ref, behavior};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::{Res, builder, config, id, stop_all, within};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What a message holds is its receiver's, and costs what it costs: here nothing.
struct Sum(u64);

#[behavior(name = "sum")]
impl Sum {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Self(0))
    }
    #[cast]
    fn put(&mut self, n: u64) {
        self.0 += n;
    }
    #[call]
    fn add(&mut self, n: u64) -> u64 {
        self.0 += n;
        self.0
    }
}

const ROUNDS: usize = 50;
/// Casts of a round, or calls that wait at the same time.
const TOGETHER: u64 = 200;

async fn casts(there: &Ref<Sum>) -> Res {
    for _ in 0..TOGETHER {
        there.put(1)?;
    }
    within(10, "all have come", there.add(0)).await?;
    Ok(())
}

async fn calls(there: &Ref<Sum>) -> Res {
    for outcome in join_all((0..TOGETHER).map(|_| there.add(1).into_future())).await {
        outcome?;
    }
    Ok(())
}

async fn one_by_one(there: &Ref<Sum>) -> Res {
    for _ in 0..TOGETHER {
        there.add(1).await?;
    }
    Ok(())
}

/// Allocations for each message of many rounds, after as many that made room for them.
async fn cost(there: &Ref<Sum>, what: &str, round: impl AsyncFn(&Ref<Sum>) -> Res) -> Res<f64> {
    for _ in 0..ROUNDS {
        round(there).await?;
    }
    let region = Region::new(ALLOCATOR);
    for _ in 0..ROUNDS {
        round(there).await?;
    }
    let used = region.change();
    let messages = f64::from(u32::try_from(ROUNDS)? * u32::try_from(TOGETHER)?);
    let each = f64::from(u32::try_from(used.allocations + used.reallocations)?) / messages;
    println!("{what}: {each:.4} allocations each");
    Ok(each)
}

#[actix_rt::test]
async fn neither_a_cast_nor_a_call_allocates() -> Res {
    let a = builder(config("a"))?.behavior::<Sum>().start().await?;
    let b = builder(config("b").seed(id(&a)))?.behavior::<Sum>().start().await?;
    support::connected(&[&a, &b]).await;
    let there = a.spawn_on::<Sum>(&id(&b), ()).await?;
    // What is sent together shares what is allocated for a turn.
    let each = cost(&there, "casts", casts).await?;
    assert!(each < 0.1, "{each}");
    // `join_all` makes a task of each.
    let each = cost(&there, "calls together", calls).await?;
    assert!(each < 1.5, "{each}");
    // Each is a turn of its own: the task by which a thread that is not the connection's flushes.
    let each = cost(&there, "calls one by one", one_by_one).await?;
    assert!(each < 1.5, "{each}");
    stop_all(&[a, b]).await;
    Ok(())
}
