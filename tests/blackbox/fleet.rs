//! Many children over five nodes that are killed: one, two together, and one after the other for minutes.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    dice::Dice,
    failover::{on, stays},
    lab::{Lab, Node, SOON, Setup},
    wait,
    witness::{Alive, exactly_once, generations},
};

/// From the detection of a loss until every child runs again.
const BACK: Duration = Duration::from_secs(3);

/// Five nodes, the first with the supervisor.
#[track_caller]
fn five(lab: &Lab, n: usize, settings: impl Fn(Setup) -> Setup) -> [Node; 5] {
    let a = settings(lab.node("a").var("WORKERS", n).var("MIN_NODES", 5)).start();
    let others = ["b", "c", "d", "e"].map(|name| lab.node(name).seed(&a.id).start());
    let [b, c, d, e] = others;
    let all = [a, b, c, d, e];
    for node in &all {
        node.sees(4);
    }
    let placed = Duration::from_secs(60);
    lab.each_once(placed, n, &all.each_ref());
    all
}

/// Kills some of five nodes with so many children together. Each child lives again within three seconds from when the first loss
/// is noticed, at no time twice, and one restart is counted for each node. What was on the other nodes is not touched.
#[track_caller]
fn killed_together(n: usize, kills: [bool; 5]) {
    let lab = Lab::new();
    let lost_nodes = u64::try_from(kills.iter().filter(|killed| **killed).count()).unwrap();
    // One more restart than that would end the supervisor, and with it all children.
    let mut nodes = five(&lab, n, |a| a.var("MAX_RESTARTS", lost_nodes).var("WITHIN_MS", 60_000));
    let before = lab.alive();
    for node in nodes.iter_mut().zip(kills).filter_map(|(node, killed)| killed.then_some(node)) {
        node.kill();
    }
    let living: Vec<&Node> =
        nodes.iter().zip(kills).filter_map(|(node, killed)| (!killed).then_some(node)).collect();
    let [a, others @ ..] = living.as_slice() else { panic!("the first node has the supervisor") };
    let (pids, untouched) = (living.iter().map(|node| node.pid()).collect::<Vec<_>>(), on(&before, &living));
    wait::until(SOON, "the first loss is noticed", || match a.metric_sum("noex_node_down_total") {
        0 => Err("none".to_owned()),
        _ => Ok(()),
    });
    let began = Instant::now();
    let after = wait::until(BACK, "each child lives exactly once", || {
        let alive = lab.alive();
        // Nobody has cleared away the files of the killed nodes, but nobody holds them any more either.
        let twice = alive.iter().find(|(_, instances)| instances.len() > 1);
        assert_eq!(twice, None);
        exactly_once(&alive, n, &pids).map(|()| alive)
    });
    let lost = n - untouched.len();
    println!("{lost} of {n} children of {lost_nodes} nodes back after {:?}", began.elapsed());
    let now = on(&after, &living);
    let restarted = untouched.iter().filter(|(child, generation)| now[*child] != **generation).count();
    assert_eq!(restarted, 0, "who was on another node was not touched");
    assert_eq!(a.metric("noex_failovers_total"), lost_nodes, "one each");
    assert_eq!(a.metric("noex_supervisor_restarts_total"), u64::try_from(lost).unwrap());
    for other in others {
        other.sees(4 - lost_nodes);
    }
    stays(&lab, &after, Duration::from_secs(1));
}

#[test]
fn of_a_thousand_children_over_five_nodes_those_of_a_killed_one_are_back_in_three_seconds() {
    killed_together(1000, [false, false, true, false, false]);
}

#[test]
fn of_a_thousand_children_over_five_nodes_those_of_two_killed_together_are_back_in_three_seconds() {
    killed_together(1000, [false, true, false, true, false]);
}

/// The supervisor's node and another one, killed together: the next supervisor adopts what lives, and starts the rest once.
#[test]
fn of_a_thousand_children_those_of_the_supervisors_node_and_of_another_are_back_once_and_the_rest_is_adopted()
{
    const N: usize = 1000;
    let lab = Lab::new();
    let worker = |setup: Setup| setup.var("WORKERS", N).var("MIN_NODES", 5).var("MAX_RESTARTS", 2);
    let a = worker(lab.node("a")).start();
    let others = ["b", "c", "d", "e"].map(|name| worker(lab.node(name)).seed(&a.id).start());
    let [b, c, d, e] = others;
    let mut nodes = vec![a, b, c, d, e];
    for node in &nodes {
        node.sees(4);
    }
    let before = lab.each_once(Duration::from_secs(60), N, &nodes.iter().collect::<Vec<_>>());
    let owner = lab.owner(&nodes[0]);
    let at = nodes.iter().position(|node| node.id == owner).unwrap();
    let mut lost = [nodes.remove(at), nodes.remove(0)];
    let living: Vec<&Node> = nodes.iter().collect();
    let untouched = on(&before, &living);
    lost.iter_mut().for_each(Node::kill);
    let (killed, pids) = (Instant::now(), nodes.iter().map(Node::pid).collect::<Vec<_>>());
    let after = wait::until(SOON, "each child lives exactly once", || {
        let alive = lab.alive();
        let twice = alive.iter().find(|(_, instances)| instances.len() > 1);
        assert_eq!(twice, None);
        exactly_once(&alive, N, &pids).map(|()| alive)
    });
    println!("{} of {N} children back {:?} after the kill", N - untouched.len(), killed.elapsed());
    let now = on(&after, &living);
    for (child, generation) in &untouched {
        assert_eq!(now.get(child), Some(generation), "{child} was adopted");
    }
    let new = lab.owner(living[0]);
    assert!(nodes.iter().any(|node| node.id == new), "{new}");
    stays(&lab, &after, Duration::from_secs(1));
}

/// Every `pause` one of five nodes, each of which would be the supervisor, is killed and started again. What lives is looked
/// at all the time: no child lives twice, and before the next kill each lives once.
fn random_kills(strategy: &str, time: Duration, pause: Duration) {
    const N: usize = 30;
    let lab = Lab::new();
    let mut dice = Dice::from_env(20_261_128);
    let mut setups: Vec<Setup> = ["a", "b", "c", "d", "e"].map(|name| lab.node(name)).into();
    let seeds = setups.iter().map(Setup::id).collect::<Vec<_>>().join(",");
    for setup in &mut setups {
        let worker = setup.clone().seed(&seeds).var("WORKERS", N).var("STRATEGY", strategy);
        *setup = worker.var("MIN_NODES", 5).var("MAX_RESTARTS", 1_000_000).var("WITHIN_MS", 1000);
    }
    let mut nodes: Vec<Node> = setups.iter().map(Setup::start).collect();
    lab.each_once(SOON, N, &nodes.iter().collect::<Vec<_>>());
    // Whoever comes back begins as soon as it has met anybody, who knows more than it does itself.
    setups = setups.into_iter().map(|setup| setup.var("MIN_NODES", 2)).collect();
    let (began, mut kills, mut slowest) = (Instant::now(), 0, Duration::ZERO);
    while began.elapsed() < time {
        let at = dice.draw(nodes.len());
        let before = lab.alive();
        let lost = generations(&before, nodes[at].pid());
        nodes[at].kill();
        nodes[at] = setups[at].spawn();
        kills += 1;
        let killed = Instant::now();
        let pids: Vec<u32> = nodes.iter().map(Node::pid).collect();
        let mut back = None;
        while killed.elapsed() < pause || back.is_none() {
            let alive = lab.alive();
            let twice = alive.iter().find(|(_, instances)| instances.len() > 1);
            assert_eq!(twice, None, "{strategy}: after kill {kills}");
            match exactly_once(&alive, N, &pids) {
                Ok(()) => back = back.or_else(|| Some(killed.elapsed())),
                Err(wrong) => assert!(killed.elapsed() < SOON, "{strategy}, after kill {kills}: {wrong}"),
            }
            wait::rest(Duration::from_millis(5));
        }
        slowest = slowest.max(back.unwrap_or_default());
        concerned(strategy, &before, &lost, &lab.alive()).unwrap_or_else(|wrong| {
            panic!("{strategy}, after kill {kills} of {}: {wrong}", nodes[at].id);
        });
    }
    println!("{strategy}: {kills} kills in {:?}, the slowest back after {slowest:?}", began.elapsed());
    lab.each_once(SOON, N, &nodes.iter().collect::<Vec<_>>());
}

/// That those were started anew whom the loss of these children concerns, and nobody else, whoever supervises them now.
fn concerned(
    strategy: &str,
    before: &Alive,
    lost: &BTreeMap<String, u64>,
    after: &Alive,
) -> Result<(), String> {
    let place = |child: &str| child.rsplit('-').next().unwrap().parse::<usize>().unwrap();
    let first = lost.keys().map(|child| place(child)).min();
    let anew = |child: &str| match strategy {
        "one_for_one" => lost.contains_key(child),
        "rest_for_one" => first.is_some_and(|first| place(child) >= first),
        _ => first.is_some(),
    };
    let wrong = before.iter().find(|(child, all)| {
        let (old, now) = (all[0].generation, after[*child][0].generation);
        if anew(child) { now <= old } else { now != old }
    });
    wrong.map_or(Ok(()), |(child, all)| {
        Err(format!("{child}: {all:?}, and now {:?}; lost: {lost:?}", after[child]))
    })
}

const STRATEGIES: [&str; 3] = ["one_for_all", "rest_for_one", "one_for_one"];

#[test]
fn random_kills_under_every_strategy_leave_one_of_each() {
    for strategy in STRATEGIES {
        random_kills(strategy, Duration::from_secs(6), Duration::from_secs(2));
    }
}

#[test]
#[ignore = "soak: cargo test --features web --test blackbox -- --ignored soak_of_kills --nocapture"]
fn soak_of_kills_every_five_seconds_for_two_minutes_under_every_strategy() {
    for strategy in STRATEGIES {
        random_kills(strategy, Duration::from_secs(120), Duration::from_secs(5));
    }
}
