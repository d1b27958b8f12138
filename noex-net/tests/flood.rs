//! A million casts from one OS process to another: what they add to the memory of either.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]
#![cfg(target_os = "linux")]

mod support;

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use noex_actors::{CastError, ExitReason, Overload, Ref, behavior};
use noex_net::Cluster;
use support::{Res, config, id, until, within};

const CASTS: u64 = 1_000_000;
const MOST_KIB: u64 = 64 * 1024;
/// Where the child finds the node of its parent.
const SEED: &str = "NOEX_FLOOD_SEED";

/// Counts, but for as long as it naps.
struct Sink {
    count: u64,
}

#[behavior(name = "sink")]
impl Sink {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Self { count: 0 })
    }
    #[cast]
    fn pour(&mut self, text: String) {
        self.count += u64::from(text.len() == TEXT.len());
    }
    #[cast]
    async fn nap(&mut self, millis: u64) {
        actix_rt::time::sleep(Duration::from_millis(millis)).await;
    }
    #[call]
    fn count(&self) -> u64 {
        self.count
    }
}

const TEXT: &str = "some words that are neither short nor long";

async fn start(name: &str, seed: Option<&str>) -> Res<Cluster> {
    let config = config(name).heartbeat_miss_threshold(100);
    let config = seed.into_iter().fold(config, |config, seed| config.seed(seed));
    Ok(Cluster::builder(config.build()?).behavior::<Sink>().arbiters(1).start().await?)
}

/// The most memory that a process ever had, in KiB.
fn most_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Ends with its test, however that ends.
struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The node of the other OS process. Alone it does nothing.
#[actix_rt::test]
async fn the_other_process() -> Res {
    let Ok(seed) = std::env::var(SEED) else { return Ok(()) };
    let node = start("b", Some(&seed)).await?;
    within(600, "the flood is over", async {
        node.wait_for_nodes(2).await.unwrap();
        let mut ticks = actix_rt::time::interval(Duration::from_millis(50));
        while node.connected_node_count() == 1 {
            ticks.tick().await;
        }
    })
    .await;
    node.stop().await;
    Ok(())
}

async fn pour(sink: &Ref<Sink>, casts: u64) -> Res {
    for _ in 0..casts {
        sink.cast_wait(SinkCast::Pour { text: TEXT.to_owned() }).await?;
    }
    Ok(())
}

#[actix_rt::test]
async fn a_million_casts_add_little_to_the_memory_of_either_process() -> Res {
    let a = start("a", None).await?;
    let mut child = Command::new(std::env::current_exe()?);
    child.args(["--exact", "the_other_process"]).env(SEED, id(&a).to_string()).stdout(Stdio::null());
    let other = Other(child.spawn()?);
    until(20, "both are up", || a.connected_node_count() == 1).await;
    let b = a.nodes().into_iter().map(|node| node.id).find(|node| node.name() == "b").ok_or("it is up")?;
    let (near, far) = (std::process::id(), other.0.id());
    let quick = a.spawn_on::<Sink>(&b, ()).await?;
    pour(&quick, 1000).await?;
    assert_eq!(quick.count().await?, 1000);
    let before = (most_memory(near), most_memory(far));

    // One that does nothing: the flood ends in a word to its sender, and takes no more than its window.
    let slow = a.spawn_on::<Sink>(&b, ()).await?;
    slow.nap(600_000)?;
    let mut taken = 0;
    for n in 0..CASTS {
        match slow.pour(TEXT.to_owned()) {
            Ok(()) => taken += 1,
            Err(CastError::Overloaded(_)) => {}
            Err(error) => return Err(error.into()),
        }
        if n % 1000 == 0 {
            actix_rt::task::yield_now().await;
        }
    }
    let full = slow.pour(TEXT.to_owned()).unwrap_err();
    assert_eq!(full, CastError::Overloaded(Overload::Credits));
    assert_eq!(taken, 32_768, "the window: 16 MiB of 512 bytes, and the one beyond it is the nap");

    // One that works: all of them arrive.
    within(300, "a million casts", pour(&quick, CASTS)).await?;
    assert_eq!(quick.count().timeout(Duration::from_secs(60)).await?, CASTS + 1000);
    assert!(a.peer_stats(&b).ok_or("it is up")?.credit_refused > CASTS - taken);
    let after = (most_memory(near), most_memory(far));
    let grown = (after.0 - before.0, after.1 - before.1);
    assert!(grown.0 <= MOST_KIB && grown.1 <= MOST_KIB, "{grown:?} KiB");
    slow.kill();
    a.stop().await;
    Ok(())
}
