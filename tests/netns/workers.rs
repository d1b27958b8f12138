//! Supervised children while two parts of the cluster do not reach each other, counted by their locked files.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::PathBuf,
    time::Duration,
};

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
    /// Which of them are the side of two.
    two: Range<usize>,
}

/// The side of two has the supervisor.
const WITH_IT: Range<usize> = 0..2;
/// It has not.
const WITHOUT_IT: Range<usize> = 3..5;

impl<'a> Parts<'a> {
    #[track_caller]
    fn start(lab: &'a Lab, hosts: &'a [Host; 5], policy: &str, two: Range<usize>) -> Self {
        Self::start_with(lab, hosts, (policy, "one_for_one"), hosts.len(), two)
    }

    /// The same with a strategy, and with so many that would be the supervisor.
    #[track_caller]
    fn start_with(
        lab: &'a Lab,
        hosts: &'a [Host; 5],
        (policy, strategy): (&str, &str),
        supervisors: usize,
        two: Range<usize>,
    ) -> Self {
        let witness = lab.dir.join("witness");
        let mut nodes: Vec<Node<'_>> = Vec::new();
        for host in hosts {
            let mut setup = Setup::new(lab, host).var("WITNESS_DIR", witness.display());
            if nodes.len() < supervisors {
                let workers = setup.var("WORKERS", CHILDREN).var("MIN_NODES", 5);
                setup = workers.var("PARTITION_POLICY", policy).var("STRATEGY", strategy);
            }
            if let Some(first) = nodes.first() {
                setup = setup.seed(&first.id);
            }
            nodes.push(setup.start(host));
        }
        all_agree(&nodes.iter().collect::<Vec<_>>());
        let parts = Self { lab, hosts, nodes, witness, two };
        parts.once_each("at the start");
        parts
    }

    fn pids(&self, of: Range<usize>) -> Vec<u32> {
        self.nodes[of].iter().map(Node::pid).collect()
    }

    fn three(&self) -> Range<usize> {
        if self.two == WITH_IT { 2..5 } else { 0..3 }
    }

    fn alive(&self) -> Alive {
        witness::alive(&self.witness)
    }

    /// How many instances run on the side of two, and on that of three.
    fn on_each_side(&self) -> (usize, usize) {
        let (two, alive) = (self.pids(self.two.clone()), self.alive());
        let all: Vec<u32> = alive.values().flatten().map(|instance| instance.pid).collect();
        let here = all.iter().filter(|pid| two.contains(pid)).count();
        (here, all.len() - here)
    }

    /// That where as many run as there are children, each runs once.
    fn all_or_some(&self, of: Range<usize>) -> Result<(), String> {
        let (pids, mut here) = (self.pids(of), self.alive());
        here.values_mut().for_each(|all| all.retain(|instance| pids.contains(&instance.pid)));
        here.retain(|_, all| !all.is_empty());
        let run: usize = here.values().map(Vec::len).sum();
        if run == CHILDREN { witness::exactly_once(&here, CHILDREN, &pids) } else { Ok(()) }
    }

    #[track_caller]
    fn once_each(&self, what: &str) {
        let all = self.pids(0..5);
        wait::until(SOON, what, || witness::exactly_once(&self.alive(), CHILDREN, &all));
    }

    /// Every node finds every child at the same place and the same supervisor, and sees the same holders of the same names:
    /// each child, the supervisor, and nobody else.
    #[track_caller]
    fn one_view(&self) {
        wait::until(SOON, "one view on every node", || {
            let view = |node: &Node<'_>| -> Result<_, String> {
                let supervisors = node.view()["supervisors"].take();
                let owner = supervisors[0]["owner"].as_str().filter(|_| supervisors[0]["stale"].is_null());
                let places = (1..=CHILDREN).map(|n| node.finds(&format!("counter-{n}")));
                let places = places.collect::<Result<Vec<_>, _>>()?;
                Ok((owner.ok_or("no supervisor")?.to_owned(), places, node.names()?))
            };
            let views = self.nodes.iter().map(view).collect::<Result<Vec<_>, _>>()?;
            let all = views[0].2.len() == CHILDREN + 1;
            if all && views.iter().all(|view| *view == views[0]) { Ok(()) } else { Err(format!("{views:?}")) }
        });
    }

    /// Each of these instances was stopped as the lower of two and told of, once by whoever stopped it, and no other was.
    #[track_caller]
    fn told_of_each(&self, stopped: &BTreeSet<(String, u64)>) {
        wait::until(SOON, "an event for each duplicate", || {
            let mut all = BTreeSet::new();
            for node in &self.nodes {
                let told = node.events("child_duplicate_stopped").into_iter().map(|event| {
                    (event["childId"].as_str().unwrap().to_owned(), event["generation"].as_u64().unwrap())
                });
                let told: Vec<_> = told.collect();
                let each: BTreeSet<_> = told.iter().cloned().collect();
                assert_eq!(told.len(), each.len(), "once each: {told:?}");
                all.extend(each);
            }
            if all == *stopped { Ok(()) } else { Err(format!("{all:?}, and not {stopped:?}")) }
        });
    }

    /// A supervisor on the smaller side lost sight of the larger one, once, and no other supervisor lost sight of anything.
    #[track_caller]
    fn told_of_the_loss(&self) {
        let ids = |of: Range<usize>| self.nodes[of].iter().map(|node| node.id.as_str()).collect();
        let (here, there): (BTreeSet<&str>, BTreeSet<&str>) = (ids(self.two.clone()), ids(self.three()));
        let told: Vec<_> = self.nodes.iter().map(|node| node.events("majority_lost")).collect();
        // Where there was none, one of those that wait for it may have begun, to wait for the majority.
        let first = self.two.clone().find(|n| !told[*n].is_empty());
        let Some(first) = first.or((self.two == WITH_IT).then_some(0)) else {
            assert!(told.iter().all(Vec::is_empty), "{told:?}");
            return;
        };
        let [event] = told[first].as_slice() else { panic!("not once: {told:?}") };
        let set = |field: &str| -> BTreeSet<&str> {
            event[field].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect()
        };
        assert_eq!((set("reachable"), set("lost")), (here, there));
        let others = told.iter().enumerate().filter(|(n, _)| *n != first);
        assert!(others.into_iter().all(|(_, told)| told.is_empty()), "{told:?}");
    }

    /// The first host's supervisor told of each node that it lost, once and with what was there, and where that went.
    #[track_caller]
    fn told_of_the_lost(&self, before: &Alive, during: &Alive) {
        let (here, there) = if self.two == WITH_IT { (0..2, 2..5) } else { (0..3, 3..5) };
        let (own, text) = (self.pids(here), |value: &serde_json::Value| value.as_str().unwrap().to_owned());
        let mut failures = BTreeMap::new();
        for event in self.nodes[0].events("node_failure_detected") {
            let children: BTreeSet<String> =
                event["affectedChildren"].as_array().unwrap().iter().map(text).collect();
            assert_eq!(failures.insert(text(&event["nodeId"]), children), None, "once each");
        }
        let on = |pid| {
            move |(child, all): (&String, &Vec<witness::Instance>)| {
                all.iter().any(|one: &witness::Instance| one.pid == pid).then(|| child.clone())
            }
        };
        let lost = &self.nodes[there];
        let expected: BTreeMap<String, BTreeSet<String>> = lost
            .iter()
            .map(|node| (node.id.clone(), before.iter().filter_map(on(node.pid())).collect()))
            .collect();
        assert_eq!(failures, expected);
        let migrated = self.nodes[0].events("child_migrated").into_iter();
        let mut migrated: Vec<_> = migrated
            .map(|event| {
                (text(&event["childId"]), text(&event["fromNode"]), event["generation"].as_u64().unwrap())
            })
            .collect();
        migrated.sort();
        let mut moved: Vec<_> = expected
            .iter()
            .flat_map(|(node, children)| children.iter().map(move |child| (child.clone(), node.clone())))
            .map(|(child, node)| {
                let now = during[&child].iter().find(|one| own.contains(&one.pid)).unwrap();
                (child, node, now.generation)
            })
            .collect();
        moved.sort();
        assert_eq!(migrated, moved);
    }

    fn part(&self) {
        let [a, b, c, d, e] = self.hosts;
        if self.two == WITH_IT {
            self.lab.partition(&[a, b], &[c, d, e]);
        } else {
            self.lab.partition(&[d, e], &[a, b, c]);
        }
    }

    /// Waits until so many run on each side, and looks at something else all the while.
    #[track_caller]
    fn becomes(&self, wanted: (usize, usize), look: impl Fn()) {
        wait::until(SETTLED, "each side has what it is to have", || {
            look();
            let sides = self.on_each_side();
            if sides != wanted {
                return Err(format!("{sides:?}"));
            }
            self.all_or_some(self.two.clone())?;
            self.all_or_some(self.three())
        });
    }

    /// These very instances live, and no others, all the time.
    #[track_caller]
    fn stays(&self, time: Duration, alive: &Alive, look: impl Fn()) {
        wait::throughout(time, "these run, and nobody else", || {
            look();
            let now = self.alive();
            if now == *alive { Ok(()) } else { Err(format!("{now:?}, and not {alive:?}")) }
        });
    }

    /// Some of these instances may end, and no others live.
    #[track_caller]
    fn nobody_starts(&self, time: Duration, alive: &Alive) {
        wait::throughout(time, "nobody is started", || {
            let now = self.alive();
            let of = |child: &String| alive.get(child).map(Vec::as_slice).unwrap_or_default();
            let fresh = now.iter().find(|(child, all)| !all.iter().all(|one| of(child).contains(one)));
            fresh.map_or(Ok(()), |fresh| Err(format!("{fresh:?}, and not one of {alive:?}")))
        });
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

/// How long it lasts where that is itself the matter.
const LONG: Duration = Duration::from_secs(30);

/// Cut for that long once each side has what it is to have; then healed.
fn failover(cut: Duration, two: Range<usize>) {
    let Some(lab) = Lab::new() else { return };
    let hosts = hosts(&lab);
    let parts = Parts::start(&lab, &hosts, "failover", two);
    let before = parts.alive();
    parts.part();
    parts.becomes((CHILDREN, CHILDREN), || {});
    assert_eq!(parts.kept(&before), CHILDREN, "what was alive and in reach of someone was not restarted");
    let during = parts.alive();
    parts.stays(cut, &during, || {});
    parts.lab.heal();
    parts.once_each("one of each after it");
    assert_eq!(parts.kept(&during), CHILDREN, "nobody was started for that");
    all_agree(&parts.nodes.iter().collect::<Vec<_>>());
    parts.one_view();
    parts.told_of_each(&ended(&during, &parts.alive()));
    parts.told_of_the_lost(&before, &during);
}

/// Of these instances, those that live no more.
fn ended(before: &Alive, now: &Alive) -> BTreeSet<(String, u64)> {
    let each = |alive: &Alive| -> BTreeSet<(String, u64)> {
        let of = |(child, all): (&String, &Vec<witness::Instance>)| {
            all.iter().map(|one| (child.clone(), one.generation)).collect::<Vec<_>>()
        };
        alive.iter().flat_map(of).collect()
    };
    &each(before) - &each(now)
}

/// The supervisor beside the second host gives way to that of the other side, which the second host does not reach yet.
#[test]
fn where_it_ends_link_by_link_no_third_supervisor_starts() {
    let Some(lab) = Lab::new() else { return };
    let hosts = hosts(&lab);
    let parts = Parts::start(&lab, &hosts, "failover", WITH_IT);
    parts.part();
    parts.becomes((CHILDREN, CHILDREN), || {});
    let during = parts.alive();
    let [_, b, c, d, e] = &hosts;
    lab.heal_but(&[b], &[c, d, e]);
    wait::until(SOON, "the first one is connected to all", || {
        let seen = parts.nodes[0].connected();
        if seen.len() == 4 { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    // Longer than a claim waits.
    parts.nobody_starts(2 * DETECTION, &during);
    lab.heal();
    parts.once_each("one of each after it");
    assert_eq!(parts.kept(&during), CHILDREN, "nobody was started for that");
    all_agree(&parts.nodes.iter().collect::<Vec<_>>());
    parts.one_view();
}

/// The same of policies under which only the larger side runs anything. `at_most_one`: at no time do two live.
fn larger_side_only(policy: &str, cut: Duration, at_most_one: bool, two: Range<usize>) {
    let Some(lab) = Lab::new() else { return };
    let hosts = hosts(&lab);
    let parts = Parts::start(&lab, &hosts, policy, two);
    let before = parts.alive();
    let (_, there) = parts.on_each_side();
    parts.part();
    let never_two = || {
        let two = parts.alive().into_iter().find(|(_, all)| at_most_one && all.len() > 1);
        assert_eq!(two, None);
    };
    parts.becomes((0, CHILDREN), never_two);
    assert_eq!(parts.kept(&before), there, "what lived on the larger side was not restarted");
    parts.told_of_the_loss();
    let during = parts.alive();
    parts.stays(cut, &during, never_two);
    parts.lab.heal();
    all_agree(&parts.nodes.iter().collect::<Vec<_>>());
    parts.one_view();
    parts.stays(DETECTION, &during, never_two);
}

/// Nobody on the larger side would be the supervisor: it waits, and goes on when it is over.
fn cut_off_supervisor(cut: Duration) {
    let Some(lab) = Lab::new() else { return };
    let hosts = hosts(&lab);
    let parts = Parts::start_with(&lab, &hosts, ("majority", "one_for_one"), 1, WITH_IT);
    let before = parts.alive();
    let (here, there) = parts.on_each_side();
    assert!(here > 0 && there > 0, "{here} {there}");
    let never_two = || assert!(parts.alive().values().all(|all| all.len() < 2));
    parts.part();
    parts.becomes((0, there), never_two);
    let during = parts.alive();
    assert_eq!(parts.kept(&before), there, "what lived on the larger side was not restarted");
    parts.told_of_the_loss();
    parts.stays(cut, &during, never_two);
    let regained = || parts.nodes[0].events("majority_regained").len();
    assert_eq!(regained(), 0);
    parts.lab.heal();
    wait::until(SOON, "each lives again", || {
        never_two();
        witness::exactly_once(&parts.alive(), CHILDREN, &parts.pids(0..5))
    });
    assert_eq!(parts.kept(&during), there, "nor was it afterwards");
    all_agree(&parts.nodes.iter().collect::<Vec<_>>());
    parts.one_view();
    assert_eq!(regained(), 1, "once");
    parts.told_of_the_loss();
    let after = parts.alive();
    parts.stays(DETECTION, &after, never_two);
}

/// Nothing is started and nothing stopped: who was there is, all the time.
fn waiting(cut: Duration) {
    let Some(lab) = Lab::new() else { return };
    let hosts = hosts(&lab);
    let parts = Parts::start(&lab, &hosts, "wait", WITH_IT);
    let before = parts.alive();
    parts.part();
    parts.stays(DETECTION + cut, &before, || {});
    parts.lab.heal();
    all_agree(&parts.nodes.iter().collect::<Vec<_>>());
    parts.one_view();
    parts.stays(DETECTION, &before, || {});
}

#[test]
fn under_failover_each_side_runs_all_and_one_of_each_remains() {
    failover(INTERVAL, WITH_IT);
}

#[test]
fn under_failover_the_same_with_the_supervisor_on_the_larger_side() {
    failover(INTERVAL, WITHOUT_IT);
}

#[test]
fn under_majority_the_smaller_side_runs_nothing_and_the_larger_one_all() {
    larger_side_only("majority", INTERVAL * THRESHOLD, true, WITH_IT);
}

#[test]
fn under_majority_the_same_with_the_supervisor_on_the_larger_side() {
    larger_side_only("majority", INTERVAL * THRESHOLD, true, WITHOUT_IT);
}

/// Whom it concerns: everybody.
#[test]
fn under_majority_one_for_all_starts_everybody_anew_on_the_larger_side() {
    for two in [WITH_IT, WITHOUT_IT] {
        let Some(lab) = Lab::new() else { return };
        let hosts = hosts(&lab);
        let parts = Parts::start_with(&lab, &hosts, ("majority", "one_for_all"), hosts.len(), two);
        let before = parts.alive();
        let never_two = || assert!(parts.alive().values().all(|all| all.len() < 2));
        parts.part();
        wait::until(SETTLED, "everybody is started anew on the larger side", || {
            never_two();
            let anew = before.iter().all(|(child, all)| {
                parts.alive().get(child).is_some_and(|now| now[0].generation > all[0].generation)
            });
            if !anew {
                return Err(format!("{:?}, and not above {before:?}", parts.alive()));
            }
            witness::exactly_once(&parts.alive(), CHILDREN, &parts.pids(parts.three()))
        });
        let during = parts.alive();
        parts.stays(INTERVAL * THRESHOLD, &during, never_two);
        lab.heal();
        all_agree(&parts.nodes.iter().collect::<Vec<_>>());
        parts.one_view();
        parts.stays(DETECTION, &during, never_two);
    }
}

#[test]
fn under_majority_a_supervisor_that_is_cut_off_waits_and_goes_on_when_it_is_over() {
    cut_off_supervisor(INTERVAL * THRESHOLD);
}

#[test]
fn a_function_that_stops_the_smaller_side_leaves_all_to_the_larger_one() {
    larger_side_only("stop_smaller", INTERVAL * THRESHOLD, false, WITH_IT);
}

#[test]
fn a_function_that_waits_leaves_everybody_where_he_is() {
    waiting(INTERVAL * THRESHOLD);
}

#[test]
#[ignore = "soak: cargo test --features web --test netns -- --ignored soak_of_parts --test-threads=1"]
fn soak_of_parts_under_failover_for_thirty_seconds() {
    failover(LONG, WITH_IT);
}

#[test]
#[ignore = "soak: cargo test --features web --test netns -- --ignored soak_of_parts --test-threads=1"]
fn soak_of_parts_under_majority_for_thirty_seconds() {
    larger_side_only("majority", LONG, true, WITH_IT);
    cut_off_supervisor(LONG);
}

#[test]
#[ignore = "soak: cargo test --features web --test netns -- --ignored soak_of_parts --test-threads=1"]
fn soak_of_parts_under_functions_for_thirty_seconds() {
    larger_side_only("stop_smaller", LONG, false, WITH_IT);
    waiting(LONG);
}
