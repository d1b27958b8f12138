//! Threads that a node leaves behind: none. Alone in its program, for it counts them.

use std::{
    future::{Future, IntoFuture},
    pin::pin,
    task::{Context, Waker},
    time::{Duration, Instant},
};

use noex_actors::{ExitReason, Node, Placement, behavior};

struct Idle;

#[behavior]
impl Idle {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Idle)
    }
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

fn back_to(before: usize) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while threads() > before {
        assert!(Instant::now() < deadline, "{} threads, {before} before", threads());
        std::thread::yield_now();
    }
}

#[test]
fn nodes_that_are_stopped_dropped_or_never_were_leave_no_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let before = threads();
    runtime.block_on(async {
        // Given up at the first wait, and at any time after it.
        for round in 0..20_u32 {
            let mut start = pin!(Node::builder().arbiters(3).start());
            // It may be there at once; mostly its threads are still to come.
            let _node = start.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            (0..round * 10_000).for_each(|_| std::hint::spin_loop());
        }
        for stopped in [true, false] {
            let node = Node::builder().arbiters(3).start().await.expect("a node");
            for placement in [Placement::Dedicated, Placement::RoundRobin, Placement::Dedicated] {
                let idle =
                    node.spawn::<Idle>(()).placement(placement).into_future().await.expect("a process");
                idle.stop(ExitReason::Normal).await.expect("it stops");
            }
            if stopped {
                node.stop().await;
            }
        }
    });
    back_to(before);
}
