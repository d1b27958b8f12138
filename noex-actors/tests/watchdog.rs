//! The watchdog of a node: which arbiters it looks at, and how often it reports one.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    time::{Duration, Instant},
};

use noex_actors::{Context, ExitReason, Node, NodeBuilder, Placement, Ref, RuntimeStats, behavior};

const LIMIT: Duration = Duration::from_millis(500);

/// Blocks its thread.
struct Blocker(Receiver<()>, Arc<Sender<()>>);

#[behavior]
impl Blocker {
    #[init]
    fn new(until: Receiver<()>, entered: Arc<Sender<()>>) -> Result<Self, ExitReason> {
        Ok(Blocker(until, entered))
    }
    #[cast]
    fn block(&mut self) {
        let _ = self.1.send(());
        let _ = self.0.recv();
    }
    /// A process on the thread of this one.
    #[call]
    async fn sibling(&mut self, cx: &mut Context<Self>) -> bool {
        let (_, until) = channel();
        cx.spawn::<Blocker>((until, Arc::clone(&self.1))).await.is_ok()
    }
}

fn builder() -> NodeBuilder {
    Node::builder().arbiters(2).watchdog(LIMIT)
}

/// Looks at the figures until they are as wanted, from a thread of its own.
fn watch(node: &Node, wanted: impl Fn(&RuntimeStats) -> bool) -> RuntimeStats {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let stats = node.runtime_stats();
        if wanted(&stats) {
            return stats;
        }
        assert!(Instant::now() < deadline, "{stats:?}");
        std::thread::yield_now();
    }
}

/// Blocks a process, watches, lets it go on; returns how many blockages were counted while it was blocked.
async fn blocked(node: &Node, placement: Placement) -> u64 {
    let ((open, until), (entered, enters)) = (channel(), channel());
    let args = (until, Arc::new(entered));
    let blocker: Ref<Blocker> = node.spawn::<Blocker>(args).placement(placement).await.expect("it starts");
    assert!(blocker.sibling().await.expect("it answers"));
    let (node, before) = (node.clone(), node.runtime_stats().blockages);
    let watching = std::thread::spawn(move || {
        enters.recv().expect("it blocks");
        let during = watch(&node, |stats| stats.blocked_arbiters > 0);
        open.send(()).expect("it waits");
        let after = watch(&node, |stats| stats.blocked_arbiters == 0);
        assert_eq!((during.blocked_arbiters, after.blockages), (1, during.blockages));
        during.blockages - before
    });
    blocker.block().expect("it is told");
    let joined = actix_rt::task::spawn_blocking(move || watching.join()).await;
    joined.expect("it ends").expect("no assertion failed")
}

#[actix_rt::test]
async fn a_thread_of_the_pool_is_watched_once_also_when_processes_were_started_from_it() {
    let node = builder().start().await.expect("a node");
    assert_eq!(blocked(&node, Placement::Pinned(1)).await, 1);
    node.stop().await;
}

#[actix_rt::test]
async fn a_thread_of_somebody_else_is_watched_once_a_process_was_started_from_it() {
    let node = builder().start().await.expect("a node");
    assert_eq!(blocked(&node, Placement::Parent).await, 1);
    node.stop().await;
}

#[actix_rt::test]
async fn nobody_is_watched_without_a_watchdog_nor_on_a_dedicated_arbiter() {
    for (builder, placement) in
        [(builder().watchdog(None), Placement::Pinned(0)), (builder(), Placement::Dedicated)]
    {
        let node = builder.start().await.expect("a node");
        let watched = self::builder().start().await.expect("a node");
        let ((open, until), (entered, enters)) = (channel(), channel());
        let args = (until, Arc::new(entered));
        let blocker = node.spawn::<Blocker>(args).placement(placement).await.expect("it starts");
        blocker.block().expect("it is told");
        let entered = actix_rt::task::spawn_blocking(move || enters.recv()).await;
        entered.expect("it ends").expect("it blocks");
        // By when another node has reported one that began later.
        assert_eq!(blocked(&watched, Placement::Pinned(0)).await, 1);
        assert_eq!(node.runtime_stats().blockages, 0);
        open.send(()).expect("it waits");
        node.stop().await;
        watched.stop().await;
    }
}
