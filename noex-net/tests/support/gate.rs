//! Processes that are slow: what they wait for, what they did, and nodes with one of them.

use std::sync::Arc;

use noex_actors::{Behavior, Context, ExitReason, Ref, RemoteBehavior};
use noex_net::{Cluster, ClusterConfigBuilder};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{Res, builder, id, within};

/// What the slow processes of a node wait for, and what they did.
pub struct Gate {
    open: Semaphore,
    ran: Mutex<Vec<u64>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { open: Semaphore::new(0), ran: Mutex::default() }
    }
}

impl Gate {
    /// That of a process's node.
    pub fn of<B: Behavior>(cx: &Context<B>) -> Result<Arc<Self>, ExitReason> {
        cx.node().data::<Self>().ok_or_else(|| ExitReason::error("no gate"))
    }

    pub fn open(&self) {
        self.open.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    /// Waits until it is open.
    pub async fn pass(&self) {
        if let Ok(permit) = self.open.acquire().await {
            permit.forget();
        }
    }

    pub fn note(&self, n: u64) {
        self.ran.lock().push(n);
    }

    /// What ran, in order.
    pub fn ran(&self) -> Vec<u64> {
        self.ran.lock().clone()
    }

    /// How much ran.
    pub fn count(&self) -> u64 {
        u64::try_from(self.ran.lock().len()).unwrap()
    }
}

/// A node that knows the slow behavior, and its gate.
pub async fn start<B: RemoteBehavior>(config: ClusterConfigBuilder) -> Res<(Cluster, Arc<Gate>)> {
    let cluster = builder(config)?.behavior::<B>().data(Gate::default()).start().await?;
    let gate = cluster.data::<Gate>().ok_or("it was given")?;
    Ok((cluster, gate))
}

/// Two connected nodes, a slow process on the second as the first knows it, and what it waits for.
pub async fn slow_pair<B: RemoteBehavior<Args = ()>>(
    config: impl Fn(&str) -> ClusterConfigBuilder,
) -> Res<(Cluster, Cluster, Ref<B>, Arc<Gate>)> {
    let (a, _) = start::<B>(config("a")).await?;
    let (b, gate) = start::<B>(config("b").seed(id(&a))).await?;
    within(5, "both are up", async { a.wait_for_nodes(2).await.and(b.wait_for_nodes(2).await) }).await?;
    let there = a.spawn_on::<B>(&id(&b), ()).await?;
    Ok((a, b, there, gate))
}
