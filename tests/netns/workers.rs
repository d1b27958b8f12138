//! Supervised children while two parts of the cluster do not reach each other, counted by their locked files.

use std::{path::PathBuf, time::Duration};

use crate::{
    lab::{Host, Lab},
    node::{DETECTION, INTERVAL, Node, SOON, Setup, THRESHOLD, all_agree},
    wait,
    witness::{self, Alive},
};

const CHILDREN: usize = 20;

/// Five nodes, each of which would be the supervisor; the first one is. Two on one side, three on the other.
struct Parts<'a> {
    lab: &'a Lab,
    hosts: &'a [Host; 5],
    nodes: Vec<Node<'a>>,
    witness: PathBuf,
}

impl<'a> Parts<'a> {
    #[track_caller]
    fn start(lab: &'a Lab, hosts: &'a [Host; 5], policy: &str) -> Self {
        let witness = lab.dir.join("witness");
        let mut nodes: Vec<Node<'_>> = Vec::new();
        for host in hosts {
            let mut setup = Setup::new(lab, host)
                .var("WORKERS", CHILDREN)
                .var("MIN_NODES", 5)
                .var("PARTITION_POLICY", policy)
                .var("WITNESS_DIR", witness.display());
            if let Some(first) = nodes.first() {
                setup = setup.seed(&first.id);
            }
            nodes.push(setup.start(host));
        }
        all_agree(&nodes.iter().collect::<Vec<_>>());
        let parts = Self { lab, hosts, nodes, witness };
        parts.once_each("at the start");
        parts
    }

    fn pids(&self, of: std::ops::Range<usize>) -> Vec<u32> {
        self.nodes[of].iter().map(Node::pid).collect()
    }

    fn alive(&self) -> Alive {
        witness::alive(&self.witness)
    }

    /// How many instances run on the side of two, and on that of three.
    fn on_each_side(&self) -> (usize, usize) {
        let (two, alive) = (self.pids(0..2), self.alive());
        let all: Vec<u32> = alive.values().flatten().map(|instance| instance.pid).collect();
        let here = all.iter().filter(|pid| two.contains(pid)).count();
        (here, all.len() - here)
    }

    #[track_caller]
    fn once_each(&self, what: &str) {
        let all = self.pids(0..5);
        wait::until(SOON, what, || witness::exactly_once(&self.alive(), CHILDREN, &all));
    }

    fn part(&self) {
        let [a, b, c, d, e] = self.hosts;
        self.lab.partition(&[a, b], &[c, d, e]);
    }

    /// Which of these instances live still.
    fn kept(&self, before: &Alive) -> usize {
        let now = self.alive();
        let lives = |child: &String, instance| now.get(child).is_some_and(|all| all.contains(instance));
        before.iter().flat_map(|(child, all)| all.iter().filter(move |one| lives(child, one))).count()
    }
}

fn hosts(lab: &Lab) -> [Host; 5] {
    [lab.host("a", 1), lab.host("b", 2), lab.host("c", 3), lab.host("d", 4), lab.host("e", 5)]
}

/// By when each side has what it is to have: found out, waited for those that stop, and started.
const SETTLED: Duration = Duration::from_secs(15);

#[test]
fn under_failover_each_side_runs_all_and_one_of_each_remains() {
    let Some(lab) = Lab::new() else { return };
    let hosts = hosts(&lab);
    let parts = Parts::start(&lab, &hosts, "failover");
    let before = parts.alive();
    parts.part();
    wait::until(SETTLED, "each side has all", || match parts.on_each_side() {
        (CHILDREN, CHILDREN) => Ok(()),
        sides => Err(format!("{sides:?}")),
    });
    assert_eq!(parts.kept(&before), CHILDREN, "what was alive and in reach of someone was not restarted");
    parts.lab.heal();
    parts.once_each("one of each after it");
}

#[test]
fn under_majority_the_smaller_side_runs_nothing_and_the_larger_one_all() {
    let Some(lab) = Lab::new() else { return };
    let hosts = hosts(&lab);
    let parts = Parts::start(&lab, &hosts, "majority");
    let before = parts.alive();
    let (_, there) = parts.on_each_side();
    parts.part();
    // At no time do two live.
    let never_two = || match parts.alive().into_iter().find(|(_, all)| all.len() > 1) {
        Some(two) => panic!("{two:?}"),
        None => parts.on_each_side(),
    };
    wait::until(SETTLED, "the larger side has all", || match never_two() {
        (0, CHILDREN) => Ok(()),
        sides => Err(format!("{sides:?}")),
    });
    assert_eq!(parts.kept(&before), there, "what lived on the larger side was not restarted");
    let during = parts.alive();
    wait::throughout(INTERVAL * THRESHOLD, "it stays so", || match never_two() {
        (0, CHILDREN) => Ok(()),
        sides => Err(format!("{sides:?}")),
    });
    parts.lab.heal();
    all_agree(&parts.nodes.iter().collect::<Vec<_>>());
    wait::throughout(DETECTION, "one of each, and nobody moves", || {
        never_two();
        if parts.alive() == during { Ok(()) } else { Err("something was restarted".to_owned()) }
    });
}
