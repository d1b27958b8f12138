//! Children on other nodes that make trouble while they start: each is noticed, and none costs the supervisor.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

mod cluster;

use cluster::{LONG, nodes_as, stop_all, within};
use noex_actors::{Context, Events, ExitReason, NodeId, behavior};
use noex_net::{Cluster, ClusterBuilder};
use noex_supervisor::{
    Backoff, DistributedChildSpec as Child, DistributedSupervisor, DistributedSupervisorEvent as Event,
    NodeSelector,
};

/// How many instances are still to go wrong, on all nodes.
#[derive(Clone, Default)]
struct Trouble(Arc<AtomicI64>);

impl Trouble {
    fn set(&self, times: i64) {
        self.0.store(times, Ordering::SeqCst);
    }
    fn is_now(&self) -> bool {
        self.0.fetch_sub(1, Ordering::SeqCst) > 0
    }
}

#[derive(Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Way {
    /// `init` fails.
    Fails,
    /// It ends as soon as it runs.
    Ends,
}

/// Starts, or does not.
struct Brief(String);

#[behavior(name = "brief")]
impl Brief {
    #[init]
    fn new(args: (Way, String), cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        let (way, word) = args;
        let trouble = cx.node().data::<Trouble>().ok_or_else(|| ExitReason::error("no data"))?;
        if trouble.is_now() {
            match way {
                Way::Fails => return Err(ExitReason::error("not yet")),
                Way::Ends => cx.stop(ExitReason::error("brief")),
            }
        }
        Ok(Brief(word))
    }
    #[call]
    fn word(&self) -> String {
        self.0.clone()
    }
}

/// Fully connected nodes of these names.
async fn nodes<const N: usize>(names: [&str; N]) -> ([Cluster; N], Trouble) {
    let trouble = Trouble::default();
    let knowing = |builder: ClusterBuilder| builder.behavior::<Brief>().data(trouble.clone());
    (nodes_as(names, knowing).await, trouble)
}

fn child(id: &str, way: Way) -> Child {
    Child::new::<Brief>(id, (way, format!("of {id}")))
}

/// Instances on a node.
fn instances(node: &Cluster) -> usize {
    node.supervised().len()
}

async fn restarts(events: &mut Events<Event>, count: u64) {
    let counted = async {
        let mut seen = 0;
        while seen < count {
            let event = events.recv().await.unwrap_or_else(|| panic!("the supervisor ended after {seen}"));
            seen += u64::from(matches!(event, Event::ChildRestarted { .. }));
        }
    };
    within("restarts", counted).await;
}

#[actix_rt::test]
async fn d9_a_child_that_ends_over_there_as_soon_as_it_runs_is_noticed_each_time() {
    let ([a, b], trouble) = nodes(["a", "b"]).await;
    let on_b = |way| child("x", way).node_selector(b.local_node_id().clone());
    let sup = DistributedSupervisor::builder()
        .name("s")
        .child(on_b(Way::Ends))
        .restart_intensity(20, LONG)
        .start(&a)
        .await
        .unwrap();
    let mut events = sup.events();
    trouble.set(10);
    sup.restart_child("x").await.unwrap();
    // The one that was restarted by hand, and nine more, end at once; the one after them stays.
    restarts(&mut events, 10).await;
    let word = async {
        loop {
            if let Ok(x) = sup.child::<Brief>("x").await
                && let Ok(word) = x.word().await
            {
                return word;
            }
        }
    };
    assert_eq!(within("it stays", word).await, "of x", "with its arguments");
    assert_eq!((instances(&a), instances(&b)), (0, 1));
    let stats = sup.stats().await.unwrap();
    assert_eq!((stats.child_count, stats.node_failure_restarts), (1, 0));
    within("stop", sup.stop()).await.unwrap();
    assert_eq!(instances(&b), 0);
    stop_all(&[&b, &a]).await;
}

#[actix_rt::test]
async fn d10_the_least_loaded_node_is_chosen_by_what_runs_there_also_within_one_burst() {
    let ([a, b, c], _) = nodes(["a", "b", "c"]).await;
    for _ in 0..20 {
        a.spawn::<Brief>((Way::Ends, String::new())).await.unwrap();
    }
    let start = |n: usize, name: &str| {
        DistributedSupervisor::builder()
            .name(name)
            .node_selector(NodeSelector::LeastLoaded)
            .children((0..n).map(|n| child(&n.to_string(), Way::Ends)))
            .start(&a)
    };
    let first = within("start", start(12, "first")).await.unwrap();
    assert_eq!([&a, &b, &c].map(instances), [0, 6, 6], "not where twenty others run");
    // Twenty and two supervisors there; six and six: all are equal with 22 more, whoever gets the rest.
    let second = within("start", start(33, "second")).await.unwrap();
    let [on_a, on_b, on_c] = [&a, &b, &c].map(instances);
    assert_eq!(on_a + on_b + on_c, 45);
    assert!(on_b.abs_diff(on_c) <= 1 && on_b.abs_diff(on_a + 22) <= 2, "{on_a} {on_b} {on_c}");
    for sup in [first, second] {
        within("stop", sup.stop()).await.unwrap();
    }
    stop_all(&[&c, &b, &a]).await;
}

#[actix_rt::test]
async fn d17_a_start_that_fails_over_there_during_a_restart_is_tried_again() {
    let ([a, b], trouble) = nodes(["a", "b"]).await;
    let there: NodeId = b.local_node_id().clone();
    let sup = DistributedSupervisor::builder()
        .name("s")
        .child(child("x", Way::Fails).node_selector(there.clone()))
        .restart_intensity(5, LONG)
        .backoff(Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(1) })
        .start(&a)
        .await
        .unwrap();
    let x = sup.child::<Brief>("x").await.unwrap();
    let mut events = sup.events();
    trouble.set(3);
    let began = Instant::now();
    x.stop(ExitReason::error("by hand")).await.unwrap();
    let mut failed = Vec::new();
    within("it is started again", async {
        loop {
            match events.recv().await.unwrap() {
                Event::ChildStartFailed { child_id, node_id, attempt, .. } => {
                    failed.push((child_id, node_id, attempt));
                }
                Event::ChildRestarted { .. } => break,
                _ => {}
            }
        }
    })
    .await;
    let told: Vec<_> =
        failed.iter().map(|(child, node, attempt)| (child.as_str(), node.clone(), *attempt)).collect();
    assert_eq!(told, [1, 2, 3].map(|attempt| ("x", Some(there.clone()), attempt)));
    // Half of 100, 200 and 400 ms at least.
    assert!(began.elapsed() >= Duration::from_millis(350), "each waits longer than the one before");
    let again = sup.child::<Brief>("x").await.unwrap();
    assert_eq!((again.word().await.unwrap().as_str(), again.pid().node_id()), ("of x", &there));
    assert_eq!((instances(&a), instances(&b)), (0, 1));
    within("stop", sup.stop()).await.unwrap();
    stop_all(&[&b, &a]).await;
}
