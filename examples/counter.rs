//! The first five minutes: a counter that is a process.
//!
//! ```text
//! cargo run --example counter
//! ```
//! `#[behavior]` turns an `impl` block into a process: `#[init]` makes its state, `#[call]`s are answered, `#[cast]`s are
//! not. Whoever starts it gets a `Ref` with the same methods. One message at a time reaches the state, so it needs no lock,
//! and a panic ends this process and no other.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::process::ExitCode;

use noex::prelude::*;

struct Counter {
    value: i64,
    /// Who waits for the counter to come so far.
    waiting: Vec<(i64, Caller<i64>)>,
}

#[behavior]
impl Counter {
    /// What `node.spawn::<Counter>(start)` runs first.
    #[init]
    fn new(start: i64) -> Result<Self, ExitReason> {
        Ok(Counter { value: start, waiting: Vec::new() })
    }

    /// Adds, and answers with the sum.
    #[call]
    fn add(&mut self, n: i64) -> i64 {
        self.count(n);
        self.value
    }

    /// Adds; nobody waits for it.
    #[cast]
    fn bump(&mut self, n: i64) {
        self.count(n);
    }

    /// Answers once the counter has come as far as `goal`. It keeps the `Caller` until then and counts on meanwhile.
    #[call]
    fn reaches(&mut self, goal: i64, from: Caller<i64>) {
        self.waiting.push((goal, from));
        self.count(0);
    }

    /// Panics for 0.
    #[call]
    fn divide(&mut self, by: i64) -> i64 {
        self.value /= by;
        self.value
    }
}

/// What is not a message is a method like any other.
impl Counter {
    fn count(&mut self, n: i64) {
        self.value += n;
        for (_, from) in self.waiting.extract_if(.., |(goal, _)| *goal <= self.value) {
            from.reply(self.value);
        }
    }
}

#[actix::main]
async fn main() -> ExitCode {
    // A panic is told by the process that it ends; the usual text beside it would only be in the way here.
    std::panic::set_hook(Box::new(|_| ()));
    noex::exit_code(five_minutes().await)
}

async fn five_minutes() -> Result<(), noex::BoxError> {
    let node = Node::start().await?;
    let counter = node.spawn::<Counter>(40).await?;
    println!("  a counter starts at 40; its address is {}", counter.pid());

    println!("\n  a call is answered");
    println!("    add(2)       {}", counter.add(2).await?);

    println!("\n  a cast is not, and the order of one sender holds for both");
    for _ in 0..5 {
        counter.bump(10)?;
    }
    let sum = counter.add(0).await?;
    println!("    bump(10) × 5, then add(0)       {sum}");
    check(sum == 92, "what was sent before ran before")?;

    println!("\n  a reply may come later: nobody else waits for it");
    let (reached, meanwhile) = tokio::join!(counter.reaches(100), async {
        println!("    reaches(100) … waits, and add(7) is answered       {}", counter.add(7).await?);
        counter.bump(7)?;
        Ok::<_, noex::BoxError>(())
    });
    meanwhile?;
    let reached = reached?;
    println!("    reaches(100) after bump(7)       {reached}");
    check(reached == 106, "the reply came when the goal was reached")?;

    println!("\n  a panic is the end of this process, and an error to whoever waits for it");
    let end = counter.monitor();
    let failed = counter.divide(0).await;
    let down = end.await;
    let error = failed.err().ok_or("it panics")?;
    println!("    divide(0)    {error}");
    println!("    its monitor  down: {}", down.reason);
    println!("    delivery     {}: it may have run, so think before you send it again", error.delivery());
    check(matches!(down.reason, ExitReason::Panic(_)), "the monitor knows of the panic")?;
    check(error.delivery() == Delivery::Unknown, "the call was in its hands")?;

    let gone = counter.add(1).await.err().ok_or("nobody is there")?;
    println!("    add(1)       {gone}");
    println!("    delivery     {}: it did not run, and never will", gone.delivery());
    check(gone.delivery() == Delivery::Never, "nobody was there to run it")?;

    println!("\n  another one begins afresh (a supervisor would have started it: see supervision_tree)");
    let counter = node.spawn::<Counter>(40).name("counter").await?;
    println!("    whereis(\"counter\")       {:?}", node.whereis::<Counter>("counter"));
    println!("    add(2)       {}", counter.add(2).await?);
    counter.stop(ExitReason::Normal).await?;
    check(node.process_count() == 0, "nothing is left")?;
    node.stop().await;
    Ok(())
}

/// An example that does not show what it says is a failure.
fn check(holds: bool, what: &str) -> Result<(), noex::BoxError> {
    if holds { Ok(()) } else { Err(format!("this should hold: {what}").into()) }
}
