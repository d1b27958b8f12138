//! What a behavior says of its processes holds for children of a distributed supervisor, wherever they are started.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod cluster;

use cluster::{nodes_as, stop_all, within};
use noex_actors::{Context, ExitReason, Info, MailboxPolicy, Ref, SpawnOptions, behavior};
use noex_net::Cluster;
use noex_supervisor::{
    DistributedChildSpec, DistributedChildTemplate, DistributedSupervisor, Shutdown, Strategy,
};

const ROOM: usize = 2;

/// Hears of exit signals, and drops what is too much.
struct Keeper {
    exits: usize,
}

#[behavior(name = "keeper")]
impl Keeper {
    #[init]
    fn new(_cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Keeper { exits: 0 })
    }
    #[options]
    fn options() -> SpawnOptions {
        SpawnOptions::new().mailbox(MailboxPolicy::DropNewest, ROOM).trap_exit()
    }
    #[call]
    fn exits(&self) -> usize {
        self.exits
    }
    #[cast]
    async fn be_busy(&mut self) {
        std::future::pending::<()>().await;
    }
    #[info]
    fn info(&mut self, info: Info<()>) {
        self.exits += usize::from(matches!(info, Info::Exit(_)));
    }
}

/// Whether that child, on that node, is as its behavior says.
async fn is_a_keeper(child: &Ref<Keeper>, on: &Cluster) {
    assert_eq!(child.pid().node_id(), on.local_node_id());
    let here = on.resolve::<Keeper>(child.pid());
    on.exit(child, ExitReason::error("a signal"));
    assert_eq!(within("it lives", here.exits()).await, Ok(1));
    for _ in 0..ROOM + 3 {
        here.be_busy().expect("what is too much is dropped");
    }
    let info = on.processes().into_iter().find(|info| info.pid == *child.pid()).unwrap();
    assert!(info.dropped >= 2, "{info:?}");
}

#[actix_rt::test]
async fn a_child_has_the_mailbox_and_the_trap_of_its_behavior_on_every_node_and_from_every_node() {
    let [a, b] = nodes_as(["a", "b"], |builder| builder.behavior::<Keeper>()).await;
    let child = |id: &str, on: &Cluster| {
        let child = DistributedChildSpec::new::<Keeper>(id, ()).shutdown(Shutdown::BrutalKill);
        child.node_selector(on.local_node_id().clone())
    };
    let children = [child("here", &a), child("there", &b)];
    let sup = DistributedSupervisor::builder().name("s").children(children).start(&a).await.unwrap();
    let far = within("its name", async {
        loop {
            match DistributedSupervisor::whereis(&b, "s") {
                Some(sup) => return sup,
                None => actix_rt::task::yield_now().await,
            }
        }
    })
    .await;
    within("start", far.start_child(child("added", &b))).await.unwrap();
    for (id, on) in [("here", &a), ("there", &b), ("added", &b)] {
        is_a_keeper(&sup.child::<Keeper>(id).await.unwrap(), on).await;
    }
    within("stop", sup.stop()).await.unwrap();
    stop_all(&[&b, &a]).await;
}

#[actix_rt::test]
async fn so_has_a_child_of_a_template() {
    let [a, b] = nodes_as(["a", "b"], |builder| builder.behavior::<Keeper>()).await;
    let template = DistributedChildTemplate::new::<Keeper>().shutdown(Shutdown::BrutalKill);
    let pool = DistributedSupervisor::builder()
        .strategy(Strategy::SimpleOneForOne)
        .child_template(template.node_selector(b.local_node_id().clone()))
        .start(&a)
        .await
        .unwrap();
    let child = within("start", pool.start_instance::<Keeper>(())).await.unwrap();
    is_a_keeper(&child, &b).await;
    within("stop", pool.stop()).await.unwrap();
    stop_all(&[&b, &a]).await;
}
