//! One counter for a whole cluster, under a global name.
//!
//! Three nodes count together through a handle of the name (`global().via`). The node of the counter leaves; the counter is
//! started on another node, under its name, with what was counted last; and the same handles find it there.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::process::ExitCode;

use noex::{Registration, prelude::*};

const NAME: &str = "visits";

struct Counter(u64);

#[behavior(name = "counter")]
impl Counter {
    #[init]
    fn new(start: u64) -> Result<Self, ExitReason> {
        Ok(Counter(start))
    }
    #[call]
    fn increment(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

#[actix::main]
async fn main() -> ExitCode {
    noex::exit_code(run().await)
}

async fn node(name: &str, seed: Option<&Cluster>) -> Result<Cluster, noex::BoxError> {
    let config = ClusterConfig::builder(name).host("127.0.0.1").port(0).secret("a secret of these nodes");
    let config = config.seeds(seed.map(|seed| seed.local_node_id().to_string()));
    Ok(Cluster::builder(config.build()?).behavior::<Counter>().start().await?)
}

/// Waits until a node sees the name on that node: a watch tells how it is now, and every change.
async fn found_on(at: &Cluster, node: &Cluster) -> Result<(), noex::BoxError> {
    let mut holder = at.global().watch(NAME);
    while holder.recv().await.ok_or("the node lives")?.is_none_or(|pid| pid.node_id() != node.local_node_id())
    {
    }
    Ok(())
}

async fn run() -> Result<(), noex::BoxError> {
    let one = node("one", None).await?;
    let two = node("two", Some(&one)).await?;
    let three = node("three", Some(&one)).await?;
    for node in [&one, &two, &three] {
        node.wait_for_nodes(3).await?;
    }

    // On another node, under its name before anybody can call it.
    let on_three = three.local_node_id();
    let counter = one.spawn_on::<Counter>(on_three, 0).name(NAME).register(Registration::Global).await?;
    println!("  {NAME} is {}", counter.pid());
    let mut last = 0;
    for node in [&one, &two, &three, &one, &two] {
        found_on(node, &three).await?;
        last = node.global().via::<Counter>(NAME).increment().await?;
        println!("  {} counts: {last}", node.local_node_id().name());
    }

    // Both keep their handles of the name.
    let handles = [one.global().via::<Counter>(NAME), two.global().via::<Counter>(NAME)];
    three.stop().await;
    let mut holder = one.global().watch(NAME);
    while holder.recv().await.ok_or("the node lives")?.is_some() {}
    let nobody = handles[0].increment().await;
    if !matches!(nobody, Err(CallError::NoName(_))) {
        return Err(format!("nobody has the name, but: {nobody:?}").into());
    }
    println!("  three left: {NAME} is nobody");

    let counter =
        one.spawn_on::<Counter>(two.local_node_id(), last).name(NAME).register(Registration::Global).await?;
    println!("  {NAME} is {}", counter.pid());
    found_on(&one, &two).await?;
    for handle in &handles {
        last = handle.increment().await?;
    }
    println!("  the same handles count on: {last}");
    two.stop().await;
    one.stop().await;
    if last == 7 { Ok(()) } else { Err(format!("{last} instead of 7").into()) }
}
