//! Long bytes in messages are not copied when they are decoded. Alone in its program: it counts every allocation.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use noex_actors::{Bytes, ExitReason, Ref, behavior};
use noex_net::{Cluster, ClusterConfigBuilder, Compression, TagAlgorithm};
use peak_alloc::PeakAlloc;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use support::{Res, config, id, stop_all, within};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

const LEN: usize = 4 << 20;

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Pile(String, Bytes, u64, Bytes, String);

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
    fn keep(&mut self, bytes: Bytes, sum: u64) -> bool {
        self.kept = bytes;
        self.kept.iter().map(|byte| u64::from(*byte)).sum::<u64>() == sum
    }
    #[call]
    fn kept(&self) -> Bytes {
        self.kept.clone()
    }
    #[call]
    fn turned(&mut self, pile: Pile) -> Pile {
        let Pile(before, first, seven, second, behind) = pile;
        Pile(behind, second, seven, first, before)
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

/// Both nodes, with the shelf on the second as the first knows it.
async fn pair(
    settings: impl Fn(ClusterConfigBuilder) -> ClusterConfigBuilder,
) -> Res<(Cluster, Cluster, Ref<Shelf>)> {
    let patient = |name| settings(config(name).heartbeat_miss_threshold(100));
    let a = start(patient("a")).await?;
    let b = start(patient("b").seed(id(&a))).await?;
    within(5, "both are up", async { a.wait_for_nodes(2).await.and(b.wait_for_nodes(2).await) }).await?;
    let shelf = a.spawn_on(&id(&b), ()).await?;
    Ok((a, b, shelf))
}

fn bytes(len: usize) -> Bytes {
    // Not a period of what anything is cut into.
    (0..len).map(|n| (n % 251).to_le_bytes()[0]).collect::<Vec<u8>>().into()
}

/// One test: everything that runs beside it would be counted.
#[actix_rt::test]
async fn long_bytes_are_neither_copied_to_be_sent_nor_to_be_read() -> Res {
    let (a, b, shelf) = pair(|config| config).await?;
    let bytes = bytes(LEN);
    let sum: u64 = bytes.iter().map(|byte| u64::from(*byte)).sum();
    // Once it is put together at the receiver; the sender has it already.
    let (kept, lengths) = most("a call", shelf.keep(bytes.clone(), sum)).await;
    assert!(kept?, "it is as it was");
    assert!(lengths < 1.3, "{lengths} lengths of a call");
    let (back, lengths) = most("a reply", shelf.kept()).await;
    assert!(back? == bytes, "it is as it was");
    assert!(lengths < 1.3, "{lengths} lengths of a reply");
    // What is no `Bytes` is copied once more.
    let (copied, _) = most("a call with a copy", shelf.copied(ByteBuf::from(vec![1; LEN]))).await;
    assert_eq!(copied?, LEN);
    stop_all(&[a, b]).await;

    for (what, settings) in modes() {
        let (a, b, shelf) = pair(settings).await?;
        for len in [65_535, 65_536, 65_537, 131_000, 1_000_003] {
            for other in [0, 70_000] {
                let (first, second) = (self::bytes(len), self::bytes(other));
                let pile = Pile("before".repeat(other % 400), first, 7, second, "behind".to_owned());
                // By turns with each other, in both directions.
                let calls = (0..5).map(|_| shelf.turned(pile.clone()));
                for turned in within(20, what, futures_util::future::join_all(calls)).await {
                    let Pile(behind, second, seven, first, before) = turned?;
                    let back = Pile(before, first, seven, second, behind);
                    assert!(back == pile, "{what}: {len} and {other} bytes are as they were");
                }
            }
        }
        stop_all(&[a, b]).await;
    }
    Ok(())
}

type Settings = fn(ClusterConfigBuilder) -> ClusterConfigBuilder;

fn modes() -> Vec<(&'static str, Settings)> {
    vec![
        ("with the usual tag", |config| config),
        ("with another tag", |config| config.tags([TagAlgorithm::Blake3])),
        ("with a tag that is put behind what is lent", |config| config.tags([TagAlgorithm::HmacSha256])),
        ("without a secret", |config| config.secret(None)),
        ("compressed", |config| config.compression(Compression::Lz4)),
        ("compressed, without a secret", |config| config.compression(Compression::Lz4).secret(None)),
    ]
}
