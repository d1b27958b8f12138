//! What the tests over real processes share.

#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "tests; each uses its part")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use noex_actors::{Context, Events, ExitReason, Node, ProcessEvent, behavior};
use noex_supervisor::{ChildSpec, Supervisor, SupervisorEvent};

/// What happened, in order.
pub(crate) type Log = Arc<parking_lot::Mutex<Vec<String>>>;

/// A child that writes its start and its stop down, fails to start on demand, and ends as it is told.
pub(crate) struct Worker {
    name: String,
    log: Log,
}

/// How the starts of a worker go.
#[derive(Clone, Default)]
pub(crate) struct Mood {
    /// That many starts fail.
    pub(crate) failures: Arc<AtomicUsize>,
    /// Starts wait until this is false.
    pub(crate) held: Arc<AtomicBool>,
}

#[behavior]
impl Worker {
    #[init]
    pub(crate) async fn new(name: String, log: Log, mood: Mood) -> Result<Self, ExitReason> {
        while mood.held.load(Ordering::SeqCst) {
            actix_rt::task::yield_now().await;
        }
        let fails =
            mood.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if fails.is_ok() {
            log.lock().push(format!("x{name}"));
            return Err(ExitReason::Error("not now".into()));
        }
        log.lock().push(format!("+{name}"));
        Ok(Worker { name, log })
    }
    #[cast]
    pub(crate) fn explode(&mut self) {
        panic!("boom");
    }
    #[cast]
    pub(crate) fn leave(&mut self, reason: ExitReason, cx: &mut Context<Self>) {
        cx.stop(reason);
    }
    #[call]
    pub(crate) fn hello(&self) -> String {
        self.name.clone()
    }
    #[terminate]
    pub(crate) fn bye(&mut self, _reason: &ExitReason) {
        self.log.lock().push(format!("-{}", self.name));
    }
}

pub(crate) fn moody(id: &str, log: &Log, mood: &Mood) -> ChildSpec {
    ChildSpec::new::<Worker>(id, (id.to_owned(), Arc::clone(log), mood.clone()))
}

pub(crate) fn worker(id: &str, log: &Log) -> ChildSpec {
    moody(id, log, &Mood::default())
}

pub(crate) async fn node() -> Node {
    Node::builder().arbiters(2).start().await.unwrap()
}

pub(crate) fn taken(log: &Log) -> String {
    std::mem::take(&mut *log.lock()).join(" ")
}

/// Everything that comes within the deadline of every wait.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    actix_rt::time::timeout(Duration::from_secs(20), what).await.expect("it happens in time")
}

/// Waits for an event of this kind.
pub(crate) async fn event(events: &mut Events<SupervisorEvent>, kind: &str) -> SupervisorEvent {
    soon(async {
        loop {
            match events.recv().await {
                Some(event) if event.kind() == kind => return event,
                Some(_) => {}
                None => panic!("no {kind}"),
            }
        }
    })
    .await
}

/// Waits until so many restarts were told.
pub(crate) async fn restarts(events: &mut Events<SupervisorEvent>, count: usize) {
    for _ in 0..count {
        event(events, "child_restarted").await;
    }
}

/// Waits until so many processes are there.
pub(crate) async fn processes(node: &Node, count: usize) {
    let mut events: Events<ProcessEvent> = node.process_events();
    soon(async {
        while node.process_count() != count {
            let _ = events.recv().await;
        }
    })
    .await;
}

/// Ends the instance of now of a child.
pub(crate) async fn crash(sup: &Supervisor, id: &str) {
    sup.child::<Worker>(id).await.unwrap().explode().unwrap();
}
