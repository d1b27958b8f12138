//! Long bytes in messages are not copied when they are decoded. Alone in its program: it counts every allocation.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use noex_actors::{Bytes, ExitReason, Ref, behavior};
use noex_net::{Cluster, ClusterConfigBuilder};
use peak_alloc::PeakAlloc;
use serde_bytes::ByteBuf;
use support::{Res, config, id, stop_all, within};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

const LEN: usize = 4 << 20;

/// Keeps what it is given.
struct Shelf {
    kept: Bytes,
}

#[behavior(name = "shelf")]
impl Shelf {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Shelf { kept: Bytes::default() })
    }
    #[call]
    fn keep(&mut self, sum: u64, bytes: Bytes) -> bool {
        self.kept = bytes;
        self.kept.iter().map(|byte| u64::from(*byte)).sum::<u64>() == sum
    }
    #[call]
    fn kept(&self) -> Bytes {
        self.kept.clone()
    }
    #[call]
    fn copied(&mut self, bytes: ByteBuf) -> usize {
        bytes.len()
    }
}

async fn start(config: ClusterConfigBuilder) -> Res<Cluster> {
    Ok(Cluster::builder(config.build()?).behavior::<Shelf>().arbiters(1).start().await?)
}

/// The most that was allocated meanwhile, in lengths of the message.
async fn most<T>(what: &str, call: impl Future<Output = T>) -> (T, f64) {
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let done = within(20, what, call).await;
    let more = u32::try_from(ALLOCATED.peak_usage().saturating_sub(before)).unwrap();
    (done, f64::from(more) / f64::from(u32::try_from(LEN).unwrap()))
}

#[actix_rt::test]
async fn long_bytes_are_there_once_at_each_end() -> Res {
    let patient = |name| config(name).heartbeat_miss_threshold(100);
    let a = start(patient("a")).await?;
    let b = start(patient("b").seed(id(&a))).await?;
    within(5, "both are up", async { a.wait_for_nodes(2).await.and(b.wait_for_nodes(2).await) }).await?;
    let shelf: Ref<Shelf> = a.spawn_on(&id(&b), ()).await?;
    let bytes = Bytes::from((0..LEN).map(|n| n.to_le_bytes()[0]).collect::<Vec<u8>>());
    let sum: u64 = bytes.iter().map(|byte| u64::from(*byte)).sum();
    // What is encoded, and what comes: both are there at the same moment at most. The reader may have it all.
    let (kept, lengths) = most("a call", shelf.keep(sum, bytes.clone())).await;
    assert!(kept?, "it is as it was");
    assert!(lengths < 2.3, "{lengths} lengths of a call");
    let (back, lengths) = most("a reply", shelf.kept()).await;
    assert!(back? == bytes, "it is as it was");
    assert!(lengths < 2.3, "{lengths} lengths of a reply");
    // What is no `Bytes` is copied once more.
    let (copied, _) = most("a call with a copy", shelf.copied(ByteBuf::from(vec![1; LEN]))).await;
    assert_eq!(copied?, LEN);
    stop_all(&[a, b]).await;
    Ok(())
}
