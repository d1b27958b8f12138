//! A chat over a process group: a guest is a process, a room is a group, and a line is a broadcast. No server.
//!
//! In two terminals, and in as many more as you like:
//!
//! ```text
//! cargo run --example chat -- ada 4370
//! cargo run --example chat -- bob 4371 ada@127.0.0.1:4370
//! ```
//! Type a line and everybody has it; `/who` says who is there; the end of the input is a goodbye. Kill one with Ctrl-C, or
//! its terminal: the others hear that it left. Whoever is started again is back as soon as it is connected.
//!
//! Without arguments three nodes in one program talk for a while, and it is checked that everybody heard every line.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::{io::BufRead, process::ExitCode, time::Duration};

use noex::{GroupEvent, prelude::*};

const ROOM: &str = "room";

/// A guest as the others see it: what it hears is printed, or kept.
struct Guest {
    prints: bool,
    heard: Vec<String>,
    /// Who waits until so many lines are heard.
    waiting: Vec<(usize, Caller<Vec<String>>)>,
}

#[behavior(name = "guest")]
impl Guest {
    #[init]
    fn new(prints: bool) -> Result<Self, ExitReason> {
        Ok(Guest { prints, heard: Vec::new(), waiting: Vec::new() })
    }
    #[cast]
    fn say(&mut self, name: String, line: String) {
        if self.prints {
            println!("{name}: {line}");
        } else {
            self.heard.push(format!("{name}: {line}"));
            let heard = &self.heard;
            let ready = self.waiting.extract_if(.., |(lines, _)| *lines <= heard.len());
            ready.for_each(|(_, from)| from.reply(heard.clone()));
        }
    }
    /// What it heard, once that is so many lines.
    #[call]
    fn heard(&mut self, lines: usize, from: Caller<Vec<String>>) {
        if lines <= self.heard.len() {
            from.reply(self.heard.clone());
        } else {
            self.waiting.push((lines, from));
        }
    }
}

#[actix::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    noex::exit_code(match args.as_slice() {
        [] => conversation().await,
        [name, port, seeds @ ..] => guest(name, port, seeds).await,
        [_] => Err("usage: chat [NAME PORT [SEED…]]".into()),
    })
}

fn config(name: &str, port: u16) -> noex::ClusterConfigBuilder {
    ClusterConfig::builder(name).host("127.0.0.1").port(port).secret("a secret of all guests")
}

async fn enter(config: noex::ClusterConfigBuilder, prints: bool) -> Result<Cluster, noex::BoxError> {
    let cluster = Cluster::builder(config.build()?).behavior::<Guest>().start().await?;
    let me = cluster.spawn::<Guest>(prints).await?;
    cluster.groups().join(ROOM, &me)?;
    Ok(cluster)
}

/// One guest, at a terminal.
async fn guest(name: &str, port: &str, seeds: &[String]) -> Result<(), noex::BoxError> {
    let cluster = enter(config(name, port.parse()?).seeds(seeds), true).await?;
    let mut news = cluster.groups().watch(ROOM);
    actix::spawn(async move {
        while let Some(event) = news.recv().await {
            match event {
                GroupEvent::Joined(guest) => println!("* {} came", guest.node_id().name()),
                GroupEvent::Left(guest) => println!("* {} left", guest.node_id().name()),
                _ => {}
            }
        }
    });
    let (typed, mut lines) = tokio::sync::mpsc::unbounded_channel();
    // Reading a terminal blocks: on a thread of its own.
    std::thread::spawn(move || {
        std::io::stdin().lock().lines().map_while(Result::ok).all(|line| typed.send(line).is_ok())
    });
    println!("* {name} is here; others come with: {}", cluster.local_node_id());
    while let Some(line) = tokio::select! {
        line = lines.recv() => line,
        _ = shutdown_signal() => None,
    } {
        if line == "/who" {
            let guests = cluster.groups().members::<Guest>(ROOM);
            let names: Vec<_> = guests.iter().map(|guest| guest.pid().node_id().name().to_owned()).collect();
            println!("* {}", names.join(", "));
        } else {
            let sent =
                cluster.groups().broadcast::<Guest>(ROOM, GuestCast::Say { name: name.to_owned(), line });
            sent.failed.iter().for_each(|(guest, error)| println!("* {}: {error}", guest.node_id().name()));
        }
    }
    cluster.stop().await;
    Ok(())
}

/// Three guests, in one program.
async fn conversation() -> Result<(), noex::BoxError> {
    let script =
        [("ada", "is anybody here?"), ("bob", "I am"), ("eve", "so am I"), ("ada", "good"), ("eve", "bye")];
    let ada = enter(config("ada", 0), false).await?;
    let seed = ada.local_node_id().to_string();
    let bob = enter(config("bob", 0).seed(&seed), false).await?;
    let eve = enter(config("eve", 0).seed(&seed), false).await?;
    let nodes = [&ada, &bob, &eve];
    let mut news = ada.groups().watch(ROOM);
    for node in nodes {
        actix::clock::timeout(Duration::from_secs(10), all_here(node)).await??;
    }
    let guests = ada.groups().members::<Guest>(ROOM);
    for (before, (name, line)) in script.iter().enumerate() {
        let node = nodes.iter().find(|node| node.local_node_id().name() == *name).ok_or("a guest")?;
        let say = GuestCast::Say { name: (*name).to_owned(), line: (*line).to_owned() };
        let sent = node.groups().broadcast::<Guest>(ROOM, say).sent;
        println!("  {name}: {line}   (to {sent})");
        // Lines of different guests have no order among each other: the next one speaks when all have heard.
        for guest in &guests {
            guest.heard(before + 1).await?;
        }
    }
    let lines: Vec<_> = script.iter().map(|(name, line)| format!("{name}: {line}")).collect();
    for guest in &guests {
        let heard = guest.heard(lines.len()).await?;
        if heard != lines {
            return Err(format!("{} heard {heard:?}", guest.pid()).into());
        }
    }
    eve.stop().await;
    while news.recv().await.ok_or("the node lives")? != GroupEvent::Left(guests[2].pid().clone()) {}
    println!("  eve left; {} are here", ada.groups().members::<Guest>(ROOM).len());
    bob.stop().await;
    ada.stop().await;
    Ok(())
}

/// Waits until a node sees all three guests: watch first, then look.
async fn all_here(node: &Cluster) -> Result<(), noex::BoxError> {
    let mut news = node.groups().watch(ROOM);
    while node.groups().members::<Guest>(ROOM).len() < 3 {
        news.recv().await.ok_or("the node lives")?;
    }
    Ok(())
}
