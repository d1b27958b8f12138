//! What the `Serialize` of one message does to others on the same connection: nothing, whether it fails, panics or takes its time.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use noex_actors::{Bytes, CallError, CastError, ExitReason, Ref, behavior};
use noex_net::{Cluster, ClusterConfigBuilder};
use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeTuple};
use support::{Res, builder, config, id, stop_all, until, within};

/// What happens when all of a message is written.
#[derive(Clone, Debug, Default)]
enum How {
    #[default]
    Well,
    Fails,
    Panics,
    Waits(Arc<Door>),
}

/// Where a `Serialize` waits.
#[derive(Debug, Default)]
struct Door {
    /// Whether somebody waits, and whether it is open.
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Door {
    fn pass(&self) {
        let mut state = self.state.lock();
        state.0 = true;
        self.changed.wait_while(&mut state, |(_, open)| !*open);
    }

    fn open(&self) {
        self.state.lock().1 = true;
        self.changed.notify_all();
    }

    fn is_waited_at(&self) -> bool {
        self.state.lock().0
    }
}

#[derive(Clone, Debug)]
struct Piece {
    n: u64,
    body: Bytes,
    how: How,
}

impl Piece {
    fn new(n: u64, len: usize, how: How) -> Self {
        Self { n, body: vec![7; len].into(), how }
    }
}

impl Serialize for Piece {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(2)?;
        tuple.serialize_element(&self.n)?;
        tuple.serialize_element(&self.body)?;
        match &self.how {
            How::Well => {}
            How::Fails => return Err(serde::ser::Error::custom("it cannot be sent")),
            How::Panics => panic!("encoding panics"),
            How::Waits(door) => door.pass(),
        }
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Piece {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (n, body) = Deserialize::deserialize(deserializer)?;
        Ok(Self { n, body, how: How::Well })
    }
}

#[derive(Default)]
struct Taker {
    seen: Vec<(u64, usize)>,
}

#[behavior(name = "taker")]
impl Taker {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Self::default())
    }
    #[cast]
    fn take(&mut self, piece: Piece) {
        self.seen.push((piece.n, piece.body.len()));
    }
    #[call]
    fn count(&mut self, piece: Piece) -> u64 {
        self.seen.push((piece.n, piece.body.len()));
        piece.n
    }
    /// A piece of that length. Every third number cannot be sent.
    #[call]
    fn give(&self, n: u64, len: usize) -> Piece {
        Piece::new(n, len, if n % 3 == 2 { How::Fails } else { How::Well })
    }
    #[call]
    fn seen(&self) -> Vec<(u64, usize)> {
        self.seen.clone()
    }
}

async fn takers() -> Res<([Cluster; 2], Ref<Taker>)> {
    takers_of(config).await
}

async fn takers_of(config: impl Fn(&str) -> ClusterConfigBuilder) -> Res<([Cluster; 2], Ref<Taker>)> {
    let a = builder(config("a"))?.behavior::<Taker>().start().await?;
    let b = builder(config("b").seed(id(&a)))?.behavior::<Taker>().start().await?;
    support::connected(&[&a, &b]).await;
    let there = a.spawn_on::<Taker>(&id(&b), ()).await?;
    Ok(([a, b], there))
}

fn sent(near: &Cluster, far: &Cluster) -> u64 {
    near.peer_stats(&id(far)).unwrap().messages_sent
}

/// One that is short, one that is a frame of its own, one that is cut.
const LENGTHS: [usize; 3] = [10, 20_000, 200_000];

/// Nothing is awaited in between: all of it is in the outbox together.
#[actix_rt::test]
async fn what_fails_or_panics_leaves_what_was_sent_before_it_and_after() -> Res {
    let ([a, b], there) = takers().await?;
    let before = sent(&a, &b);
    let mut expected = Vec::new();
    // What is long makes whatever follows it wait in a lane; without it, short messages share a batch.
    for long_before in [None, Some(3_000_000)] {
        for bad in LENGTHS {
            // Again, as one that follows a long one is encoded elsewhere.
            for good in [10, bad, bad] {
                let mut put = |len| {
                    let n = u64::try_from(expected.len()).unwrap();
                    expected.push((n, len));
                    Piece::new(n, len, How::Well)
                };
                if let Some(len) = long_before {
                    there.take(put(len))?;
                }
                there.take(put(good))?;
                let failed = there.take(Piece::new(999, bad, How::Fails));
                assert!(matches!(failed, Err(CastError::Encode(_))), "{failed:?}");
                there.take(put(good))?;
                let panics = || there.take(Piece::new(999, bad, How::Panics));
                assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
                let call = put(good);
                let (n, mut call) = (call.n, pin!(there.count(call).into_future()));
                assert!((&mut call).now_or_never().is_none());
                let failed = there.count(Piece::new(999, bad, How::Fails)).into_future().now_or_never();
                assert!(matches!(&failed, Some(Err(CallError::Encode(_)))), "{failed:?}");
                there.take(put(10))?;
                assert_eq!(within(10, "the call", call).await?, n);
            }
        }
    }
    assert_eq!(within(10, "all of it", there.seen()).await?, expected);
    // And the question for it.
    assert_eq!(sent(&a, &b) - before, u64::try_from(expected.len())? + 1);
    let stats = a.remote_call_stats();
    assert_eq!((stats.pending_calls, stats.total_rejected, stats.total_timed_out), (0, 0, 0), "{stats:?}");
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn replies_that_cannot_be_encoded_leave_the_others_of_their_batch() -> Res {
    let (nodes, there) = takers().await?;
    for len in LENGTHS {
        let calls = (0..30).map(|n| there.give(n, len).into_future());
        for (n, outcome) in futures_util::future::join_all(calls).await.into_iter().enumerate() {
            match outcome {
                Ok(piece) => assert_eq!((usize::try_from(piece.n)?, piece.body.len()), (n, len)),
                Err(error) => {
                    assert_eq!(n % 3, 2, "{error:?}");
                    assert!(matches!(error, CallError::ReplyEncode(_)), "{error:?}");
                }
            }
        }
    }
    stop_all(&nodes).await;
    Ok(())
}

/// A thread of its own stands in a `Serialize`, of a message as long as the one before it.
#[actix_rt::test]
async fn nobody_waits_for_the_serialize_of_a_long_message() -> Res {
    let ([a, b], there) = takers().await?;
    there.take(Piece::new(0, 100_000, How::Well))?;
    let door = Arc::new(Door::default());
    let (slow, waits) = (there.clone(), How::Waits(Arc::clone(&door)));
    let slow = std::thread::spawn(move || slow.take(Piece::new(1, 100_000, waits)));
    until(10, "it is being encoded", || door.is_waited_at()).await;
    for n in 2..100 {
        assert_eq!(within(10, "a call", there.count(Piece::new(n, 10, How::Well))).await?, n);
    }
    assert_eq!(there.seen().await?.len(), 99, "it is not there yet");
    door.open();
    slow.join().unwrap()?;
    assert_eq!(there.seen().await?.last(), Some(&(1, 100_000)));
    stop_all(&[a, b]).await;
    Ok(())
}

/// The first long message to a process is encoded while the outbox is locked, as nobody knows yet that it is long.
#[actix_rt::test]
async fn a_sign_of_life_does_not_wait_for_a_serialize() -> Res {
    const BEATS: u64 = 20;
    let often = |name: &str| config(name).heartbeat_interval(Duration::from_millis(100));
    let ([a, b], there) = takers_of(often).await?;
    let door = Arc::new(Door::default());
    let (slow, waits) = (there.clone(), How::Waits(Arc::clone(&door)));
    let slow = std::thread::spawn(move || slow.take(Piece::new(1, 10, waits)));
    until(10, "it is being encoded", || door.is_waited_at()).await;
    let heard = || b.peer_stats(&id(&a)).map_or(0, |stats| stats.batches_received);
    let before = heard();
    // Five times as many as may be missed.
    until(20, "signs of life", || heard() >= before + BEATS).await;
    door.open();
    slow.join().unwrap()?;
    assert_eq!(within(10, "what was encoded", there.seen()).await?, [(1, 10)]);
    assert_eq!((a.stats().node_up_total, b.stats().node_up_total), (1, 1), "nobody was thought to be gone");
    stop_all(&[a, b]).await;
    Ok(())
}
