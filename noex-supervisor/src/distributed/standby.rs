//! Waiting to be the owner of a supervisor, for as long as another node is.
//!
//! ```text
//!             has the name            its end, or out of reach for a moment
//! start ──► waiting ────────────────────────────────┐
//!   ▲ │ started            ended, name lost         │
//!   │ └────► owner ─────────────────────────────────┤
//!   └───────────────────────────────────────────────┘
//! ```
//! It is over when it is stopped, when the node stops, when the supervisor, wherever it was, ended because there is nothing left to
//! do (`AutoShutdown`), and when that of this node ended because there is no sense in going on (`MaxRestartsExceeded`).

// OTP: a distributed application has a list of nodes, of which the first that lives runs it, and takes it back when it returns.
// Here whoever comes first keeps it: to take it back would stop what runs.

use std::time::Duration;

use actix_rt::time::sleep;
use noex_actors::{ExitReason, NodeId};
use noex_net::{Cluster, ClusterStatus};
use tokio::sync::watch;

use super::{builder::DistributedSupervisorBuilder, handle::DistributedSupervisor};
use crate::{error::StartSupervisorError, info::SupervisorExit};

/// How long to wait after a failed start; twice as long after the next one, up to the other.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Where a [`Standby`] stands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StandbyState {
    /// It looks for the supervisor, or tries to start it.
    Starting,
    /// The supervisor runs on another node.
    Waiting(NodeId),
    /// The supervisor runs on this node.
    Owner(DistributedSupervisor),
    /// Nothing is waited for any more; how the last supervisor of this node ended, if there was one.
    Ended(Option<SupervisorExit>),
}

/// A node that starts a supervisor as soon as no other node runs it: made by
/// [`standby`](DistributedSupervisorBuilder::standby). Dropped, it waits no longer; a supervisor that runs by then runs on.
#[derive(Debug)]
#[must_use = "dropped, it waits no longer"]
pub struct Standby {
    state: watch::Receiver<StandbyState>,
    stop: watch::Sender<bool>,
}

impl Standby {
    pub(super) fn begin(builder: DistributedSupervisorBuilder, cluster: &Cluster) -> Self {
        let (tell, state) = watch::channel(StandbyState::Starting);
        let (stop, stopped) = watch::channel(false);
        let watcher = Watcher { builder, cluster: cluster.clone(), tell, stopped, last: None };
        cluster.next_arbiter().spawn(cluster.vital("a standby", watcher.run()));
        Self { state, stop }
    }

    /// Where it stands now.
    #[must_use]
    pub fn state(&self) -> StandbyState {
        self.state.borrow().clone()
    }

    /// Waits until the supervisor runs on this node, and gives it; `None` once that will not be any more.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn owned(&self) -> Option<DistributedSupervisor> {
        let state =
            self.reached(|state| matches!(state, StandbyState::Owner(_) | StandbyState::Ended(_))).await;
        if let StandbyState::Owner(supervisor) = state { Some(supervisor) } else { None }
    }

    /// Waits until it stands elsewhere than when it was last told so by this, and tells where: [`StandbyState::Ended`] again and again once
    /// it is over.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn changed(&mut self) -> StandbyState {
        let over = self.state.changed().await.is_err();
        let state = self.state.borrow_and_update().clone();
        if over && !matches!(state, StandbyState::Ended(_)) { StandbyState::Ended(None) } else { state }
    }

    /// Waits until it is over; how the last supervisor of this node ended, if there was one.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn wait(&self) -> Option<SupervisorExit> {
        let state = self.reached(|state| matches!(state, StandbyState::Ended(_))).await;
        if let StandbyState::Ended(exit) = state { exit } else { None }
    }

    /// Waits no longer to be the owner, and stops the supervisor with its children if this node is. Other nodes that wait
    /// take it over then: to stop it for good, stop them first.
    ///
    /// # Cancel safety
    /// Dropped before it ends, it stops all the same.
    pub async fn stop(&self) -> Option<SupervisorExit> {
        self.stop.send_replace(true);
        self.wait().await
    }

    async fn reached(&self, so: impl Fn(&StandbyState) -> bool) -> StandbyState {
        let mut state = self.state.clone();
        match state.wait_for(so).await {
            Ok(state) => state.clone(),
            // Its arbiter is gone, and the node with it.
            Err(_closed) => StandbyState::Ended(None),
        }
    }
}

/// The task behind it.
struct Watcher {
    builder: DistributedSupervisorBuilder,
    cluster: Cluster,
    tell: watch::Sender<StandbyState>,
    /// True: stop. Closed: the handle is gone.
    stopped: watch::Receiver<bool>,
    last: Option<SupervisorExit>,
}

impl Watcher {
    async fn run(mut self) {
        self.supervise().await;
        let owned = match &*self.tell.borrow() {
            StandbyState::Owner(supervisor) => Some(supervisor.clone()),
            _ => None,
        };
        let stop = *self.stopped.borrow();
        if let Some(supervisor) = owned.filter(|_| stop) {
            if let Err(error) = supervisor.stop().await {
                tracing::warn!(supervisor = supervisor.id(), %error, "the supervisor of a standby did not stop");
            }
            self.last = Some(supervisor.wait().await);
        }
        self.tell.send_replace(StandbyState::Ended(self.last.take()));
    }

    /// Returns when there is nothing left to wait for. A start is never given up in the middle: nobody would have what comes of it.
    async fn supervise(&mut self) {
        let mut pause = FIRST_PAUSE;
        while self.cluster.status() == ClusterStatus::Running && self.unless_stopped(async {}).await.is_some()
        {
            match self.builder.clone().start(&self.cluster).await {
                Ok(supervisor) => {
                    pause = FIRST_PAUSE;
                    tracing::info!(supervisor = supervisor.id(), "this node owns the supervisor");
                    self.tell.send_replace(StandbyState::Owner(supervisor.clone()));
                    let Some(exit) = self.unless_stopped(supervisor.wait()).await else { return };
                    self.last = Some(exit.clone());
                    self.tell.send_replace(StandbyState::Starting);
                    let ends = matches!(
                        exit,
                        SupervisorExit::MaxRestartsExceeded { .. } | SupervisorExit::AutoShutdown { .. }
                    );
                    if ends {
                        return;
                    }
                }
                Err(StartSupervisorError::AlreadyRunning(holder)) => {
                    let owner = holder.pid().node_id().clone();
                    tracing::info!(supervisor = holder.id(), %owner, "the name is held; waiting");
                    self.tell.send_replace(StandbyState::Waiting(owner));
                    match self.unless_stopped(holder.wait()).await {
                        // There is nothing to do any more.
                        None | Some(SupervisorExit::AutoShutdown { .. }) => return,
                        // The loss of a connection is not yet the loss of the supervisor: it is back in a moment, unless its
                        // node is gone.
                        Some(SupervisorExit::Stopped(ExitReason::NoConnection)) => {
                            let _stopped = self.unless_stopped(sleep(self.grace())).await;
                        }
                        Some(_) => {}
                    }
                }
                Err(error) => {
                    // A node was lost in the middle of it, or another supervisor of the name came first.
                    tracing::warn!(%error, "the supervisor of a standby did not start; trying again");
                    self.tell.send_replace(StandbyState::Starting);
                    let _stopped = self.unless_stopped(sleep(pause)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// `None` if it is stopped, or its handle is dropped, before that future ends.
    async fn unless_stopped<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut stopped = self.stopped.clone();
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => None,
            value = future => Some(value),
        }
    }

    /// How long a supervisor behind a lost connection may take to be back.
    fn grace(&self) -> Duration {
        self.cluster.config().heartbeat_interval().min(Duration::from_secs(1))
    }
}
