//! A pool of workers that wear out: they count the primes below 200 000, and not one is lost or counted twice.
//!
//! ```text
//! cargo run --example worker_pool
//! ```
//! The workers are the children of a `simple_one_for_one` supervisor, spread over the processors. Each puts itself into a
//! registry when it starts, and is gone from there when it ends: whoever hands out work finds those that live. Every worker
//! breaks down at its seventh block. What it had in hand and what waited in its mailbox fails at once, with an error that says
//! which of the two it was, and goes to somebody else; meanwhile the supervisor puts another in its place.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::{
    cell::{Cell, RefCell},
    process::ExitCode,
    rc::Rc,
    time::Duration,
};

use noex::prelude::*;

const WORKERS: usize = 4;
/// How many blocks are under way at once.
const LANES: usize = 10;
const BLOCKS: u32 = 50;
/// Numbers in a block.
const BLOCK: u32 = 4_000;
/// What everybody knows: there are so many primes below 200 000.
const PRIMES: u32 = 17_984;

type Pool = DuplicateRegistry<Worker, String>;

struct Worker {
    /// Blocks until it breaks down.
    strength: u32,
}

#[behavior(clone)] // its casts can be cloned, and so be sent to many
impl Worker {
    /// The supervisor keeps the arguments: whoever takes this worker's place gets them too.
    #[init]
    fn new(pool: Pool, name: String, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        pool.register("hired", cx.me(), name)?;
        Ok(Worker { strength: 6 })
    }
    /// How many primes there are from `from` to below `to`.
    #[call]
    fn primes(&mut self, from: u32, to: u32) -> u32 {
        assert!(self.strength > 0, "worn out");
        self.strength -= 1;
        let is_prime = |n: u32| n > 1 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d));
        (from..to).map(|n| u32::from(is_prime(n))).sum()
    }
    #[cast]
    fn go_home(&mut self, cx: &mut Context<Self>) {
        cx.stop(ExitReason::Normal);
    }
}

#[derive(Default)]
struct Tally {
    blocks: u32,
    primes: u32,
    /// Blocks that a worker had in hand when it broke down.
    broken: u64,
    /// Blocks that waited for a worker that broke down.
    waited: u64,
}

/// What is to be done, and what came of it.
struct Work {
    pool: Pool,
    left: RefCell<Vec<u32>>,
    turn: Cell<usize>,
    tally: RefCell<Tally>,
}

impl Work {
    fn next_block(&self) -> Option<u32> {
        self.left.borrow_mut().pop()
    }

    /// Those who are hired, in turn. None while all of them are being replaced.
    fn next_worker(&self) -> Option<(Ref<Worker>, String)> {
        self.turn.set(self.turn.get() + 1);
        self.pool.dispatch_with("hired", |entries| {
            let entry = entries.get(self.turn.get() % entries.len().max(1))?;
            Some((entry.process.clone(), entry.meta.to_string()))
        })
    }

    /// Has one block after the other counted.
    async fn lane(self: Rc<Self>) {
        while let Some(block) = self.next_block() {
            match self.next_worker() {
                Some((worker, name)) => match worker.primes(block * BLOCK, (block + 1) * BLOCK).await {
                    Ok(primes) => self.counted(primes),
                    Err(error) => self.lost(block, &name, &error).await,
                },
                None => self.put_back(block).await,
            }
        }
    }

    async fn put_back(&self, block: u32) {
        self.left.borrow_mut().push(block);
        tokio::task::yield_now().await;
    }

    fn counted(&self, primes: u32) {
        let mut tally = self.tally.borrow_mut();
        tally.blocks += 1;
        tally.primes += primes;
        if tally.blocks.is_multiple_of(10) {
            let bar = "█".repeat(tally.blocks as usize / 2);
            println!("    {bar:░<25} {} of {BLOCKS} blocks, {} primes", tally.blocks, tally.primes);
        }
    }

    async fn lost(&self, block: u32, name: &str, error: &CallError) {
        match error {
            CallError::Exited { delivery: Delivery::Never, .. } => self.tally.borrow_mut().waited += 1,
            CallError::Exited { reason, .. } => {
                println!("    ✗ {name} over block {block}: {reason}");
                self.tally.borrow_mut().broken += 1;
            }
            _ => {} // it ended between the look into the registry and the call
        }
        self.put_back(block).await;
    }
}

#[actix::main]
async fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|_| ())); // what breaks is told above
    noex::exit_code(count().await)
}

async fn count() -> Result<(), noex::BoxError> {
    let node = Node::start().await?;
    let pool = Pool::new(&node);
    let spread = SpawnOptions::new().placement(Placement::RoundRobin);
    let supervisor = Supervisor::builder()
        .strategy(Strategy::SimpleOneForOne)
        .child_template(ChildTemplate::new::<Worker>().options(spread).restart(Restart::Transient))
        .restart_intensity(100, Duration::from_secs(5))
        .start(&node)
        .await?;
    let mut events = supervisor.events();
    for n in 1..=WORKERS {
        supervisor.start_instance::<Worker>((pool.clone(), format!("worker {n}"))).await?;
    }
    println!("  {WORKERS} workers look for the primes below {}", BLOCKS * BLOCK);

    let left = RefCell::new((0..BLOCKS).rev().collect());
    let work = Rc::new(Work { pool: pool.clone(), left, turn: Cell::new(0), tally: RefCell::default() });
    let lanes: Vec<_> = (0..LANES).map(|_| actix::spawn(Rc::clone(&work).lane())).collect();
    for lane in lanes {
        lane.await?;
    }

    // Everybody who broke down is replaced; then all are told at once, and leave for good: they are transient.
    let Tally { primes, broken, waited, .. } = work.tally.take();
    let (mut replaced, mut told, mut left) = (0, 0, 0);
    while left < WORKERS {
        if replaced == broken && told == 0 {
            told = pool.dispatch("hired", WorkerCast::GoHome);
        }
        match events.recv().await.ok_or("the supervisor is gone")? {
            SupervisorEvent::ChildRestarted { .. } => replaced += 1,
            SupervisorEvent::ChildStopped { .. } => left += 1,
            _ => {}
        }
    }
    println!("  {broken} blocks were in the hands of a worker that broke down, and {waited} waited for one:");
    println!("  all were given to others, and {replaced} workers were replaced");
    println!("  {primes} primes; {told} workers went home");
    if (primes, told, pool.len()) != (PRIMES, WORKERS, 0) || broken == 0 {
        return Err(format!("there are {PRIMES} primes, and {WORKERS} workers").into());
    }
    node.stop().await;
    Ok(())
}
