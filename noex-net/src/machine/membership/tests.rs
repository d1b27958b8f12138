use super::{
    gossip::MAX_TOLD,
    hints::{HINTS_PER_INTERVAL, MAX_WAITING_HINTS},
    *,
};
use crate::config::Seed;

struct Bench {
    membership: Membership,
    now: Monotonic,
}

fn id(n: u64) -> NodeId {
    NodeId::parse(&format!("n{n}@h:{}", n + 1)).unwrap()
}

fn life(n: u64) -> Incarnation {
    Incarnation(n)
}

/// What a node says that is connected to others.
fn view(n: u64, others: impl IntoIterator<Item = u64>) -> View {
    let mut gossip = Gossip::new(fingerprint(&id(n), life(7)), Duration::ZERO, Entropy::new(0));
    others.into_iter().for_each(|other| gossip.up(&id(other), fingerprint(&id(other), life(7))));
    gossip.view()
}

fn node(n: u64) -> Output {
    Output::Dial { target: Target::Node(id(n)) }
}

impl Bench {
    fn new() -> Self {
        let config = ClusterConfig::test("n0").build().unwrap(); // interval 200 ms, base 50 ms, forgets after 10 min
        let membership = Membership::new(id(0), life(7), &config, 1);
        Self { membership, now: Monotonic::from_millis(1) }
    }

    fn give(&mut self, input: Input) -> Vec<Output> {
        let mut out = VecDeque::new();
        self.membership.handle(input, self.now, &mut out);
        out.into()
    }

    /// A node that is connected to nobody else comes up.
    fn up(&mut self, n: u64) -> Vec<Output> {
        self.up_with(n, [])
    }

    /// A node comes up that is connected to others.
    fn up_with(&mut self, n: u64, others: impl IntoIterator<Item = u64>) -> Vec<Output> {
        self.give(Input::SessionUp { peer: id(n), incarnation: life(7), view: view(n, others) })
    }

    fn heartbeat(&mut self, n: u64, others: impl IntoIterator<Item = u64>) -> Vec<Output> {
        let view = view(n, others);
        self.give(Input::HeartbeatReceived { peer: id(n), load: Load::default(), view })
    }

    fn down(&mut self, n: u64, reason: NodeDownReason) -> Vec<Output> {
        self.give(Input::SessionDown { peer: id(n), incarnation: life(7), reason })
    }

    fn hint(&mut self, from: u64, nodes: impl IntoIterator<Item = (u64, u64)>) -> Vec<Output> {
        let nodes = nodes.into_iter().map(|(n, incarnation)| (id(n), life(incarnation))).collect();
        self.give(Input::HintReceived { from: id(from), nodes })
    }

    fn pass(&mut self, ms: u64) -> Vec<Output> {
        self.now = self.now.plus(Duration::from_millis(ms));
        self.give(Input::DeadlineReached)
    }

    fn status(&self, n: u64) -> Option<NodeStatus> {
        self.membership.members().get(&id(n)).map(|member| member.status)
    }
}

#[test]
fn a_node_comes_up_and_the_others_are_told() {
    let mut bench = Bench::new();
    assert_eq!(bench.up(1), [Output::NodeUp { node: id(1), incarnation: life(7) }]);
    bench.up(2);
    let hint = |to, nodes: &[u64]| {
        let nodes = nodes.iter().map(|n| (id(*n), life(7))).collect();
        Output::SendHint { to: id(to), nodes }
    };
    let up = Output::NodeUp { node: id(3), incarnation: life(7) };
    let mut told = bench.up(3);
    told.sort_by_key(|output| format!("{output:?}"));
    let (one, two) = (hint(3, &[1, 2]), hint(3, &[2, 1]));
    assert!(told.contains(&one) || told.contains(&two), "{told:?}");
    told.retain(|output| *output != one && *output != two);
    assert_eq!(told, [up, hint(1, &[3]), hint(2, &[3])]);
}

fn hints(outputs: &[Output]) -> Vec<(&NodeId, usize)> {
    let sent = outputs.iter().filter_map(|output| match output {
        Output::SendHint { to, nodes } => Some((to, nodes.len())),
        _ => None,
    });
    sent.collect()
}

#[test]
fn in_a_large_cluster_a_newcomer_hears_of_64_and_eight_hear_of_it() {
    let mut bench = Bench::new();
    for n in 1..=300 {
        bench.up_with(n, (1..n).chain([0]));
    }
    let outputs = bench.up(301);
    let sent = hints(&outputs);
    assert_eq!(sent.len(), FANOUT + 1);
    assert_eq!(sent.last(), Some(&(&id(301), MAX_TOLD)));
    let outputs = bench.up_with(302, 1..=301);
    assert!(hints(&outputs).iter().all(|(to, _)| **to != id(302)), "it knows the same others");
}

#[test]
fn a_node_that_comes_back_in_the_same_life_is_no_news() {
    let mut bench = Bench::new();
    bench.up(1);
    bench.up_with(2, [1]);
    bench.down(2, NodeDownReason::ConnectionClosed);
    assert_eq!(bench.up_with(2, [1]), [Output::NodeUp { node: id(2), incarnation: life(7) }]);
    bench.down(2, NodeDownReason::ConnectionClosed);
    assert_eq!(bench.hint(1, [(2, 8)]).len(), 0, "it is being dialled already");
    bench.give(Input::DialEnded { target: Target::Node(id(2)), outcome: DialOutcome::Failed });
    let view = view(2, [1]);
    let outputs = bench.give(Input::SessionUp { peer: id(2), incarnation: life(8), view });
    assert_eq!(hints(&outputs)[0], (&id(1), 1));
}

#[test]
fn a_peer_that_stays_different_is_asked_and_the_answer_leads_to_dials() {
    let mut bench = Bench::new();
    bench.up(1);
    bench.up_with(2, [1]);
    assert_eq!(bench.heartbeat(1, [0, 2]), [], "the same view");
    assert_eq!(bench.heartbeat(1, [0, 2, 3]), [], "a hint is on its way, mostly");
    bench.now = bench.now.plus(Duration::from_millis(200));
    let known = vec![fingerprint(&id(1), life(7)), fingerprint(&id(2), life(7))];
    assert_eq!(bench.heartbeat(1, [0, 2, 3]), [Output::Ask { peer: id(1), known }]);
    assert_eq!(bench.hint(1, [(3, 7)]), [node(3)]);
}

#[test]
fn who_asks_hears_of_those_that_it_does_not_know_and_a_stranger_nothing() {
    let mut bench = Bench::new();
    for n in 1..=4 {
        bench.up_with(n, (0..n).chain([0]));
    }
    let known = vec![fingerprint(&id(1), life(7)), fingerprint(&id(2), life(6))];
    let mut answer = bench.give(Input::Asked { by: id(4), known: known.clone() });
    let Some(Output::SendHint { to, mut nodes }) = answer.pop() else { panic!("{answer:?}") };
    nodes.sort();
    assert_eq!((to, nodes), (id(4), vec![(id(2), life(7)), (id(3), life(7))]));
    assert_eq!(bench.give(Input::Asked { by: id(9), known }), []);
}

#[test]
fn the_greater_of_two_that_hear_of_each_other_waits_a_little_before_it_dials() {
    let config = ClusterConfig::test("n5").build().unwrap();
    let membership = Membership::new(id(5), life(7), &config, 1);
    let mut bench = Bench { membership, now: Monotonic::from_millis(1) };
    bench.up(1);
    assert_eq!(bench.hint(1, [(7, 7), (2, 7), (3, 7)]), [node(7)]);
    bench.up_with(2, [1]);
    assert_eq!(bench.pass(99), []);
    assert_eq!(bench.pass(1), [node(3)], "half an interval; the other has been quicker");
}

#[test]
fn only_what_changed_is_told_of() {
    let mut bench = Bench::new();
    bench.up(1);
    bench.up(2);
    assert_eq!(bench.membership.drain_changed(), BTreeSet::from([id(1), id(2)]));
    bench.heartbeat(1, [0, 2]);
    assert_eq!(bench.membership.drain_changed(), BTreeSet::from([id(1)]));
    bench.down(2, NodeDownReason::GracefulShutdown);
    bench.membership.drain_changed();
    bench.pass(600_000);
    assert_eq!(bench.membership.drain_changed(), BTreeSet::from([id(2)]));
    assert!(!bench.membership.members().contains_key(&id(2)));
}

#[test]
fn a_lost_node_is_down_once_and_dialled_at_once() {
    let mut bench = Bench::new();
    bench.up(1);
    bench.now = bench.now.plus(Duration::from_secs(60));
    let reason = NodeDownReason::HeartbeatTimeout;
    assert_eq!(
        bench.down(1, reason),
        [Output::NodeDown { node: id(1), incarnation: life(7), reason }, node(1)]
    );
    assert_eq!(bench.down(1, reason), []);
    assert_eq!(bench.status(1), Some(NodeStatus::Disconnected));
    bench.up(1);
    assert_eq!(bench.status(1), Some(NodeStatus::Connected));
    assert_eq!(bench.pass(600_000), []);
}

#[test]
fn a_lost_node_that_somebody_is_connected_to_is_dialled_at_once() {
    let mut bench = Bench::new();
    for n in 1..=3 {
        bench.up_with(n, 0..n);
    }
    bench.down(3, NodeDownReason::HeartbeatTimeout);
    for _ in 0..8 {
        bench.give(Input::DialEnded { target: Target::Node(id(3)), outcome: DialOutcome::Failed });
        bench.pass(750);
    }
    bench.give(Input::DialEnded { target: Target::Node(id(3)), outcome: DialOutcome::Failed });
    assert_eq!(bench.heartbeat(1, [0, 2, 3]), []);
    bench.now = bench.now.plus(Duration::from_millis(100));
    let known = vec![fingerprint(&id(1), life(7)), fingerprint(&id(2), life(7))];
    assert_eq!(bench.heartbeat(1, [0, 2, 3]), [Output::Ask { peer: id(1), known }], "not the lost one");
    assert_eq!(bench.hint(1, [(3, 7)]), [node(3)]);
}

#[test]
fn a_node_that_left_is_dialled_only_for_a_new_life() {
    let mut bench = Bench::new();
    bench.up(1);
    bench.up(2);
    let reason = NodeDownReason::GracefulShutdown;
    assert_eq!(bench.down(1, reason), [Output::NodeDown { node: id(1), incarnation: life(7), reason }]);
    assert_eq!(bench.hint(2, [(1, 7)]), []);
    assert_eq!(bench.hint(2, [(1, 8)]), [node(1)]);
}

#[test]
fn hints_are_taken_64_at_a_time() {
    let mut bench = Bench::new();
    bench.up(1);
    let known = |bench: &Bench| bench.membership.members().len() - 1;
    assert_eq!(bench.hint(1, (2..202).map(|n| (n, 7))).len(), HINTS_PER_INTERVAL);
    assert_eq!(bench.hint(1, (2..10).map(|n| (n, 7))).len(), 0);
    assert!(bench.membership.deadline().unwrap() <= bench.now.plus(Duration::from_millis(200)));
    for taken in [2 * HINTS_PER_INTERVAL, 3 * HINTS_PER_INTERVAL, 200] {
        bench.pass(200);
        assert_eq!(known(&bench), taken);
    }
    assert_eq!(bench.membership.hints.waiting(&id(1)), 0);
}

#[test]
fn strangers_and_the_own_id_are_no_hints() {
    let mut bench = Bench::new();
    assert_eq!(bench.hint(1, [(2, 7)]), []);
    bench.up(1);
    assert_eq!(bench.hint(1, [(0, 9), (1, 9)]), [], "neither this node nor a connected one");
    assert_eq!(bench.status(0), None);
    bench.down(1, NodeDownReason::ConnectionClosed);
    assert_eq!(bench.hint(1, [(2, 7)]), []);
}

#[test]
fn no_flood_of_hints_grows_the_node() {
    let mut bench = Bench::new();
    bench.up(1);
    for round in 0..100 {
        bench.hint(1, (0..2000).map(|n| (2 + round * 200 + n, 7)));
        bench.pass(200);
        assert!(bench.membership.hints.waiting(&id(1)) <= MAX_WAITING_HINTS);
    }
    assert!(bench.membership.members().len() <= MAX_KNOWN);
}

#[test]
fn a_node_that_left_is_forgotten_and_stays_so_for_as_long() {
    let mut bench = Bench::new();
    bench.up(1);
    bench.up(2);
    bench.down(1, NodeDownReason::GracefulShutdown);
    assert_eq!(bench.pass(600_000)[0], Output::Forgotten { node: id(1) });
    assert_eq!(bench.status(1), None);
    assert_eq!(bench.hint(2, [(1, 7), (1, 6)]), [], "the same life is not dialled again");
    assert_eq!(bench.pass(600_000), []);
    assert_eq!(bench.hint(2, [(1, 7)]), [node(1)]);
}

#[test]
fn a_node_that_was_lost_and_forgotten_is_dialled_when_a_partition_heals() {
    let mut bench = Bench::new();
    bench.up(1);
    bench.up(2);
    bench.down(1, NodeDownReason::HeartbeatTimeout);
    bench.give(Input::DialEnded { target: Target::Node(id(1)), outcome: DialOutcome::Failed });
    assert_eq!(bench.pass(600_000)[0], Output::Forgotten { node: id(1) });
    assert_eq!(bench.hint(2, [(1, 6)]), [], "an earlier life is over");
    assert_eq!(bench.hint(2, [(1, 7)]), [node(1)]);
}

#[test]
fn what_is_known_of_one_life_is_not_said_of_the_next() {
    let mut bench = Bench::new();
    bench.up(1);
    bench.up(2);
    let load = Load { process_count: 3, mailbox_len: 4, cpu: 0.5, received: Monotonic::from_millis(7) };
    bench.give(Input::HeartbeatReceived { peer: id(1), load, view: view(1, [0, 2]) });
    bench.down(1, NodeDownReason::GracefulShutdown);
    assert_eq!(bench.membership.members()[&id(1)].load, load);
    bench.hint(2, [(1, 8)]);
    let member = &bench.membership.members()[&id(1)];
    assert_eq!((member.status, member.incarnation), (NodeStatus::Connecting, life(8)));
    assert_eq!((member.load, member.last_heartbeat), (Load::default(), None));
    assert_eq!(member.dials, 1);
}

#[test]
fn a_life_that_somebody_made_up_does_not_stand_in_the_way_of_the_true_one() {
    let mut bench = Bench::new();
    bench.up(1);
    bench.up(2);
    assert_eq!(bench.hint(1, [(3, u64::MAX)]), [node(3)]);
    bench.give(Input::DialEnded { target: Target::Node(id(3)), outcome: DialOutcome::Failed });
    bench.now = bench.now.plus(Duration::from_secs(600));
    assert!(bench.give(Input::DeadlineReached).contains(&Output::Forgotten { node: id(3) }));
    assert_eq!(bench.hint(1, [(3, u64::MAX)]), [], "that life is not dialled again");
    assert_eq!(bench.hint(2, [(3, 7)]), [node(3)]);
}

#[test]
fn the_uptime_of_a_session_that_is_over_does_not_grow() {
    let mut bench = Bench::new();
    bench.up(1);
    bench.now = bench.now.plus(Duration::from_secs(60));
    bench.down(1, NodeDownReason::HeartbeatTimeout);
    let uptime = |bench: &Bench| bench.membership.members()[&id(1)].uptime(bench.now);
    assert_eq!(uptime(&bench), Duration::from_secs(60));
    bench.now = bench.now.plus(Duration::from_secs(60));
    assert_eq!(uptime(&bench), Duration::from_secs(60));
    bench.up(1);
    bench.now = bench.now.plus(Duration::from_secs(1));
    assert_eq!(uptime(&bench), Duration::from_secs(1));
}

#[test]
fn a_hinted_node_that_never_answers_is_forgotten() {
    let mut bench = Bench::new();
    bench.up(1);
    assert_eq!(bench.hint(1, [(2, 7)]), [node(2)]);
    assert_eq!(bench.status(2), Some(NodeStatus::Connecting));
    bench.give(Input::DialEnded { target: Target::Node(id(2)), outcome: DialOutcome::Failed });
    let mut dials = 0;
    while bench.status(2).is_some() {
        bench.now = bench.membership.deadline().unwrap();
        for output in bench.give(Input::DeadlineReached) {
            if output == node(2) {
                dials += 1;
                bench.give(Input::DialEnded { target: Target::Node(id(2)), outcome: DialOutcome::Failed });
            }
        }
    }
    assert!(dials > 500, "about two per second for ten minutes, not {dials}");
    assert_eq!(bench.membership.deadline(), None);
}

#[test]
fn load_comes_with_heartbeats_of_connected_nodes() {
    let mut bench = Bench::new();
    let load = Load { process_count: 3, mailbox_len: 4, cpu: 0.5, received: Monotonic::from_millis(7) };
    bench.give(Input::HeartbeatReceived { peer: id(1), load, view: view(1, [0]) });
    assert_eq!(bench.status(1), None);
    bench.up(1);
    bench.now = bench.now.plus(Duration::from_millis(5));
    bench.give(Input::HeartbeatReceived { peer: id(1), load, view: view(1, [0]) });
    let member = &bench.membership.members()[&id(1)];
    assert_eq!((member.load, member.last_heartbeat), (load, Some(bench.now)));
}

#[test]
fn seeds_are_dialled_when_they_are_known() {
    let mut bench = Bench::new();
    let seed: Seed = "s@h:9".parse().unwrap();
    let own: Seed = id(0).as_str().parse().unwrap();
    let outputs = bench.give(Input::SeedsKnown { seeds: vec![seed.clone(), own] });
    assert_eq!(outputs, [Output::Dial { target: Target::Seed(seed) }]);
    assert_eq!(bench.membership.configured_seeds(), 1);
}
