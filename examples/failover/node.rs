//! One node of the cluster, in a process of its own.

use std::{
    error::Error,
    io::{self, BufRead, Write},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use noex::{
    Cluster, ClusterConfig, Context, DistributedChildSpec, DistributedSupervisor,
    DistributedSupervisorBuilder, DistributedSupervisorEvent, ExitReason, NodeSelector, Standby, Strategy,
    behavior,
};

use crate::{
    load::Load,
    protocol::{Event, Instance, Order, Request, Stamped, child_name, now},
};

type Res<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// The supervised child.
pub(crate) struct Counter {
    value: u64,
}

#[behavior(name = "counter")]
impl Counter {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Self { value: 0 })
    }

    #[call]
    fn add(&mut self, n: u64) -> u64 {
        self.value = self.value.wrapping_add(n);
        self.value
    }

    /// Where it lives, and in which generation.
    #[call]
    fn place(&self, cx: &mut Context<Self>) -> (String, u64) {
        let generation = cx.fencing_token().map_or(0, |token| token.generation.0);
        (cx.node().id().to_string(), generation)
    }
}

/// Tells the program that started this one. If it is not there any more, the end of stdin ends this process.
pub(crate) fn tell(event: Event) {
    let line = Stamped { at: now(), event };
    if let Ok(mut line) = serde_json::to_vec(&line) {
        line.push(b'\n');
        let mut out = io::stdout().lock();
        let _ = out.write_all(&line).and_then(|()| out.flush());
    }
}

/// Runs a node until the lines on stdin end.
pub(crate) fn main() -> ExitCode {
    let mut first = String::new();
    let order = match io::stdin().lock().read_line(&mut first) {
        Ok(_) => serde_json::from_str::<Order>(&first),
        Err(error) => Err(serde_json::Error::io(error)),
    };
    match order {
        Ok(order) => live(order),
        Err(error) => {
            let _ = writeln!(io::stderr(), "failover: --role=node is for the program itself: {error}");
            ExitCode::from(2)
        }
    }
}

#[actix::main]
async fn live(order: Order) -> ExitCode {
    let node = match Member::start(order).await {
        Ok(node) => Arc::new(node),
        Err(error) => {
            tell(Event::Failed { what: format!("the node did not start: {error}") });
            return ExitCode::FAILURE;
        }
    };
    tell(Event::Started { id: node.cluster.local_node_id().to_string() });
    let arbiter = actix::Arbiter::current();
    // A thread of its own: a node whose arbiters are all stuck must not outlive its parent either.
    thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(request) =
                line.map_err(serde_json::Error::io).and_then(|line| serde_json::from_str(&line))
            else {
                break;
            };
            let node = Arc::clone(&node);
            arbiter.spawn(async move {
                if let Err(error) = node.answer(&request).await {
                    tell(Event::Failed { what: format!("{request:?}: {error}") });
                }
            });
        }
        std::process::exit(0);
    });
    std::future::pending().await
}

struct Member {
    cluster: Cluster,
    supervisor: Mutex<Option<DistributedSupervisor>>,
    standby: Mutex<Option<Arc<Standby>>>,
    load: Mutex<Option<Load>>,
}

impl Member {
    async fn start(order: Order) -> Res<Self> {
        let config = ClusterConfig::builder(order.name)
            .host("127.0.0.1")
            .port(0)
            .seeds(order.seed)
            .secret(order.secret)
            .heartbeat_interval(Duration::from_millis(200))
            .heartbeat_miss_threshold(3)
            .reconnect_base_delay(Duration::from_millis(100))
            .reconnect_max_delay(Duration::from_secs(1))
            .build()?;
        let cluster = Cluster::builder(config)
            .behavior::<Counter>()
            .on_node_up(|node| tell(Event::PeerUp { peer: node.id.to_string() }))
            .on_node_down(|node, reason| {
                tell(Event::PeerDown { peer: node.to_string(), reason: reason.to_string() });
            })
            .start()
            .await?;
        let (supervisor, standby, load) = (Mutex::new(None), Mutex::new(None), Mutex::new(None));
        Ok(Self { cluster, supervisor, standby, load })
    }

    async fn answer(&self, request: &Request) -> Res {
        match *request {
            Request::Supervise { children } => self.supervise(children).await?,
            Request::StandBy { children } => self.stand_by(children)?,
            Request::Drive { children } => {
                let load = Load::start(&self.cluster, children);
                *self.load.lock().unwrap_or_else(PoisonError::into_inner) = Some(load);
            }
            Request::Mark => {
                if let Some(load) = self.load.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
                    load.mark();
                }
            }
            Request::Count { sample } => tell(Event::Counted { sample, instances: self.count() }),
            Request::Account => {
                let load = self.load.lock().unwrap_or_else(PoisonError::into_inner).take();
                let load = load.ok_or("there is no load")?;
                tell(Event::Account { rows: load.finish().await });
            }
            Request::Leave => {
                let supervisor = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(supervisor) = supervisor {
                    supervisor.stop().await?;
                }
                self.cluster.stop().await;
                tell(Event::Left);
            }
        }
        Ok(())
    }

    async fn supervise(&self, children: usize) -> Res {
        let supervisor = supervisor_of(children).start(&self.cluster).await?;
        supervises(&supervisor).await?;
        *self.supervisor.lock().unwrap_or_else(PoisonError::into_inner) = Some(supervisor);
        Ok(())
    }

    /// Has the supervisor, now or when whoever has it is gone.
    fn stand_by(&self, children: usize) -> Res {
        let standby = Arc::new(supervisor_of(children).standby(&self.cluster)?);
        let waiting = Arc::clone(&standby);
        actix::spawn(async move {
            while let Some(supervisor) = waiting.owned().await {
                if let Err(error) = supervises(&supervisor).await {
                    tell(Event::Note { text: error.to_string() });
                }
                tell(Event::Note { text: supervisor.wait().await.to_string() });
            }
        });
        *self.standby.lock().unwrap_or_else(PoisonError::into_inner) = Some(standby);
        Ok(())
    }

    /// From the process table of this node.
    fn count(&self) -> Vec<Instance> {
        let node = self.cluster.local_node_id().to_string();
        let supervised = self.cluster.supervised().into_iter();
        supervised
            .map(|process| Instance {
                child: process.token.child,
                node: node.clone(),
                generation: process.token.generation.0,
            })
            .collect()
    }
}

fn supervisor_of(children: usize) -> DistributedSupervisorBuilder {
    let spec = |number| DistributedChildSpec::new::<Counter>(child_name(number), ());
    DistributedSupervisor::builder()
        .name("counters")
        .strategy(Strategy::OneForOne)
        .node_selector(NodeSelector::RoundRobin)
        .children((1..=children).map(spec))
}

/// Says that this node has the supervisor, and whatever that says from now on.
async fn supervises(supervisor: &DistributedSupervisor) -> Res {
    supervisor.on_event(report).detach();
    let children = supervisor.children().await?.into_iter().filter_map(|child| {
        let node = child.node_id?.to_string();
        Some(Instance { child: child.id, node, generation: child.generation.0 })
    });
    tell(Event::Supervising { children: children.collect() });
    Ok(())
}

/// Passes on what the supervisor says, but for the starts and stops that are expected.
fn report(event: &DistributedSupervisorEvent) {
    use DistributedSupervisorEvent as E;
    match event {
        E::NodeFailureDetected { node_id, affected_children, .. } => {
            tell(Event::NodeFailure { node: node_id.to_string(), children: affected_children.len() });
        }
        E::ChildMigrated { child_id, from_node, to_node, generation, .. } => tell(Event::Migrated {
            child: child_id.clone(),
            from: from_node.to_string(),
            to: to_node.to_string(),
            generation: generation.0,
        }),
        E::SupervisorStarted { .. }
        | E::SupervisorStopped { .. }
        | E::ChildStarted { .. }
        | E::ChildStopped { .. } => {}
        other => match serde_json::to_string(other) {
            Ok(text) => tell(Event::Note { text }),
            Err(_) => tell(Event::Note { text: other.kind().to_owned() }),
        },
    }
}
