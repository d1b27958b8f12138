//! A pool of workers over three OS processes that does one job after the other, whichever of the processes you kill.
//!
//! ```text
//! cargo run --example job_pool                # kills two nodes itself, the second one that with the supervisor
//! cargo run --example job_pool -- --by-hand   # says whom to kill in another terminal, until Ctrl-C
//!
//!   desk: jobs, one after the other ──▶ worker-1 … worker-6, by their names, wherever they are
//!     ├── n1
//!     ├── n2    one of them has the supervisor; when it dies, another takes over what still runs
//!     └── n3
//! ```
//! The program starts itself again for each node, and another one for each that dies. A job is to count the primes in a
//! block of numbers. One that its worker took to the grave is given to somebody else: it may have run, so jobs must be
//! such that doing them twice harms nobody. The answer comes to whoever waits for it, and is counted once.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, RandomState},
    io,
    os::unix::process::CommandExt,
    process::{Child, Command, ExitCode, Stdio},
    rc::Rc,
    time::{Duration, Instant},
};

use actix::clock::{sleep, timeout};
use noex::{ClusterConfigBuilder, prelude::*};
use tokio::task::spawn_blocking;

const POOL: &str = "pool";
const WORKERS: usize = 6;
const NODES: [&str; 3] = ["n1", "n2", "n3"];
/// Numbers in a block.
const BLOCK: u32 = 1_000;
/// How long a caller waits for a worker that says nothing, for instance on a node that is stopped with `kill -STOP`.
const PATIENCE: Duration = Duration::from_secs(2);

fn primes_in(block: u32) -> u32 {
    let is_prime = |n: u32| n > 1 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d));
    (block * BLOCK..(block + 1) * BLOCK).map(|n| u32::from(is_prime(n))).sum()
}

struct Worker;

#[behavior(name = "worker")]
impl Worker {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Worker)
    }
    #[call]
    async fn primes(&mut self, block: u32) -> u32 {
        sleep(Duration::from_millis(40)).await; // as if it were hard
        primes_in(block)
    }
}

fn worker(n: usize) -> String {
    format!("worker-{n}")
}

#[actix::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    noex::exit_code(match args.as_slice() {
        [] => desk(false).await,
        ["--by-hand"] => desk(true).await,
        ["node", name, seed] => node(name, seed).await,
        _ => Err("usage: job_pool [--by-hand]".into()),
    })
}

fn config(name: &str, secret: String) -> ClusterConfigBuilder {
    let config = ClusterConfig::builder(name).host("127.0.0.1").port(0).secret(secret);
    config.heartbeat_interval(Duration::from_millis(200)).reconnect_max_delay(Duration::from_secs(1))
}

/// One node of the pool: workers may run here, and it has the supervisor as soon as nobody else has.
async fn node(name: &str, seed: &str) -> Result<(), noex::BoxError> {
    let config = config(name, std::env::var("CLUSTER_SECRET")?).seed(seed);
    let cluster = Cluster::builder(config.build()?).behavior::<Worker>().start().await?;
    cluster.wait_for_nodes(2).await?; // alone it could not know whether somebody has it
    let standby = DistributedSupervisor::builder()
        .name(POOL)
        .node_selector(NodeSelector::RoundRobin)
        .restart_intensity(20, Duration::from_secs(5)) // the loss of a node is one restart
        .children((1..=WORKERS).map(|n| DistributedChildSpec::new::<Worker>(worker(n), ())))
        .standby(&cluster)?;
    // The desk closes, or is gone: its end of the pipe is closed.
    spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await??;
    standby.stop().await;
    cluster.stop().await;
    Ok(())
}

/// Hands out the jobs and keeps the nodes running. It is a node as well, but knows no behavior: no worker is placed here.
struct Desk {
    cluster: Cluster,
    secret: String,
    began: Instant,
    nodes: RefCell<BTreeMap<String, Child>>,
    /// Jobs that were lost, and the next new one.
    lost: RefCell<Vec<u32>>,
    next: Cell<u32>,
    results: RefCell<BTreeMap<u32, u32>>,
    given_again: Cell<u32>,
    closing: Cell<bool>,
}

async fn desk(by_hand: bool) -> Result<(), noex::BoxError> {
    let secret = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
    let cluster = Cluster::builder(config("desk", secret.clone()).build()?).start().await?;
    let desk = Rc::new(Desk {
        cluster,
        secret,
        began: Instant::now(),
        nodes: RefCell::default(),
        lost: RefCell::default(),
        next: Cell::default(),
        results: RefCell::default(),
        given_again: Cell::default(),
        closing: Cell::default(),
    });
    actix::spawn(Rc::clone(&desk).keep_nodes());
    NODES.iter().try_for_each(|name| desk.start(name))?;
    (1..=WORKERS).for_each(|n| drop(actix::spawn(Rc::clone(&desk).watch(worker(n)))));
    desk.works(0).await?;
    let feeders: Vec<_> = (1..=WORKERS).map(|n| actix::spawn(Rc::clone(&desk).feed(worker(n)))).collect();
    actix::spawn(Rc::clone(&desk).report());
    if by_hand {
        println!("Kill any of the nodes in another terminal, as often as you like; Ctrl-C here ends it.");
        shutdown_signal().await;
    } else {
        desk.kill_two().await?;
    }
    desk.closing.set(true);
    for feeder in feeders {
        feeder.await?;
    }
    desk.close().await
}

impl Desk {
    fn say(&self, text: impl std::fmt::Display) {
        println!("{:>8.3} s  {text}", self.began.elapsed().as_secs_f64());
    }

    fn start(&self, name: &str) -> io::Result<()> {
        let child = Command::new(std::env::current_exe()?)
            .args(["node", name, &self.cluster.local_node_id().to_string()])
            .env("CLUSTER_SECRET", &self.secret)
            .stdin(Stdio::piped())
            .process_group(0) // Ctrl-C is for the desk
            .spawn()?;
        self.nodes.borrow_mut().insert(name.to_owned(), child);
        Ok(())
    }

    fn kill(&self, name: &str) {
        if let Some(mut child) = self.nodes.borrow_mut().remove(name) {
            let _ = child.kill().and_then(|()| child.wait());
        }
    }

    /// Starts a node in place of each that is lost.
    async fn keep_nodes(self: Rc<Self>) {
        let mut events = self.cluster.events();
        while let Some(event) = events.recv().await {
            match event {
                ClusterEvent::NodeUp(node) => {
                    self.say(format_args!("+ {} is here", node.id.name()));
                }
                ClusterEvent::NodeDown { node, reason, .. } if !self.closing.get() => {
                    self.say(format_args!("- {} is gone: {reason}", node.name()));
                    self.kill(node.name()); // if it only stood still
                    sleep(Duration::from_secs(1)).await;
                    if let Err(error) = self.start(node.name()) {
                        self.say(format_args!("{} does not start: {error}", node.name()));
                    }
                }
                _ => {}
            }
        }
    }

    /// Tells where a worker is.
    async fn watch(self: Rc<Self>, worker: String) {
        let mut holder = self.cluster.global().watch(&worker);
        holder.recv().await; // nobody has started it yet
        while let Some(now) = holder.recv().await
            && !self.closing.get()
        {
            let place = now.as_ref().map_or("no node", |pid| pid.node_id().name());
            self.say(format_args!("  {worker} is on {place}"));
        }
    }

    fn next_job(&self) -> Option<u32> {
        let new = || (!self.closing.get()).then(|| self.next.replace(self.next.get() + 1));
        self.lost.borrow_mut().pop().or_else(new)
    }

    /// Gives a worker one job after the other.
    async fn feed(self: Rc<Self>, name: String) {
        let worker = self.cluster.global().via::<Worker>(&name);
        while let Some(job) = self.next_job() {
            match worker.primes(job).timeout(PATIENCE).await {
                Ok(primes) => {
                    let before = self.results.borrow_mut().insert(job, primes);
                    assert_eq!(before, None, "job {job} was counted before");
                }
                Err(error) => {
                    if error.delivery() != Delivery::Never {
                        self.say(format_args!("  job {job} was with {name} and goes to another: {error}"));
                        self.given_again.set(self.given_again.get() + 1);
                    }
                    self.lost.borrow_mut().push(job);
                    sleep(Duration::from_millis(50)).await; // the others take it meanwhile
                }
            }
        }
    }

    fn supervisor(&self) -> Option<DistributedSupervisor> {
        DistributedSupervisor::whereis(&self.cluster, POOL)
    }

    /// Tells how far it is and whom to kill, and lets newcomers have their share of the workers.
    async fn report(self: Rc<Self>) {
        while !self.closing.get() {
            let pool = self.supervisor();
            let owner = pool.as_ref().map_or("", |pool| pool.pid().node_id().name());
            let nodes = self.nodes.borrow().iter().fold(String::new(), |all, (name, child)| {
                let star = if name == owner { "*" } else { "" };
                format!("{all} {name}{star}: {}", child.id())
            });
            let (done, again) = (self.results.borrow().len(), self.given_again.get());
            self.say(format_args!(
                "{done} jobs done, {again} given again; pids (* has the supervisor):{nodes}"
            ));
            if let Some(pool) = pool {
                let _ = pool.rebalance().await; // 0 if the shares are even
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// Waits until so many jobs are done, all nodes are here, and each has some of the workers.
    async fn works(&self, jobs: usize) -> Result<(), noex::BoxError> {
        let so = || {
            let nodes: BTreeSet<_> = self.cluster.connected_nodes().into_iter().map(|node| node.id).collect();
            let pids = (1..=WORKERS).map(|n| self.cluster.global().pid(&worker(n)));
            let places: Option<BTreeSet<_>> = pids.map(|pid| Some(pid?.node_id().clone())).collect();
            self.results.borrow().len() >= jobs && nodes.len() == NODES.len() && places == Some(nodes)
        };
        let wait = async {
            while !so() {
                if let Some(pool) = self.supervisor() {
                    let _ = pool.rebalance().await;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        Ok(timeout(Duration::from_secs(30), wait).await?)
    }

    /// Kills a node, and then another one that has the supervisor, while the pool works.
    async fn kill_two(&self) -> Result<(), noex::BoxError> {
        for (has_it, done) in [(false, 100), (true, 200)] {
            self.works(done).await?;
            let pool = self.supervisor().ok_or("there is a supervisor")?;
            let owner = pool.pid().node_id().clone();
            let nodes = self.cluster.connected_nodes();
            let victim = nodes.iter().find(|node| (node.id == owner) == has_it).ok_or("there is a node")?;
            self.say(format_args!("SIGKILL to {}", victim.id.name()));
            self.kill(victim.id.name());
            while self.cluster.is_node_connected(&victim.id) {
                sleep(Duration::from_millis(5)).await;
            }
        }
        self.works(300).await?;
        if self.given_again.get() == 0 { Err("they had jobs in hand".into()) } else { Ok(()) }
    }

    async fn close(&self) -> Result<(), noex::BoxError> {
        let (results, jobs) = (self.results.take(), self.next.get());
        let (primes, again) = (results.values().sum::<u32>(), self.given_again.get());
        self.say(format_args!("{primes} primes below {}; {jobs} jobs, {again} given again", jobs * BLOCK));
        let mut nodes: Vec<Child> = self.nodes.take().into_values().collect();
        nodes.iter_mut().for_each(|child| drop(child.stdin.take()));
        nodes.iter_mut().try_for_each(|child| child.wait().map(drop))?;
        self.cluster.stop().await;
        let right = results == (0..jobs).map(|job| (job, primes_in(job))).collect();
        if right { Ok(()) } else { Err("a job is missing, or its result is wrong".into()) }
    }
}
