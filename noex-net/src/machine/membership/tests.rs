use super::*;

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

fn node(n: u64) -> Output {
    Output::Dial { target: Target::Node(id(n)) }
}

impl Bench {
    fn new() -> Self {
        let config = ClusterConfig::test("n0").build().unwrap(); // interval 200 ms, base 50 ms, forgets after 10 min
        Self { membership: Membership::new(id(0), &config, 1), now: Monotonic::from_millis(1) }
    }

    fn give(&mut self, input: Input) -> Vec<Output> {
        let mut out = VecDeque::new();
        self.membership.handle(input, self.now, &mut out);
        out.into()
    }

    fn up(&mut self, n: u64) -> Vec<Output> {
        self.give(Input::SessionUp { peer: id(n), incarnation: life(7) })
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
    assert_eq!(bench.up(3), [hint(1, &[3]), hint(2, &[3]), hint(3, &[1, 2]), up]);
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
    assert_eq!(bench.hint(1, (2..202).map(|n| (n, 7))).len(), HINTS_PER_INTERVAL);
    assert_eq!(bench.hint(1, (2..10).map(|n| (n, 7))).len(), 0);
    assert!(bench.membership.deadline().unwrap() <= bench.now.plus(Duration::from_millis(200)));
    assert_eq!(bench.pass(200).len(), HINTS_PER_INTERVAL);
    assert_eq!((bench.pass(200).len(), bench.pass(200).len()), (HINTS_PER_INTERVAL, 8));
    assert_eq!(bench.membership.hints[&id(1)].waiting.len(), 0);
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
        assert!(bench.membership.hints[&id(1)].waiting.len() <= MAX_WAITING_HINTS);
    }
    assert!(bench.membership.members().len() <= MAX_KNOWN);
}

#[test]
fn a_dead_node_is_forgotten_and_stays_so_for_as_long() {
    let mut bench = Bench::new();
    bench.up(1);
    bench.up(2);
    bench.down(1, NodeDownReason::ConnectionClosed);
    bench.give(Input::DialEnded { target: Target::Node(id(1)), outcome: DialOutcome::Failed });
    assert_eq!(bench.pass(600_000)[0], Output::Forgotten { node: id(1) });
    assert_eq!(bench.status(1), None);
    assert_eq!(bench.hint(2, [(1, 7), (1, 6)]), [], "the same life is not dialled again");
    assert_eq!(bench.pass(600_000), []);
    assert_eq!(bench.hint(2, [(1, 7)]), [node(1)]);
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
    let load = Load { process_count: 3, mailbox_len: 4, cpu: 0.5 };
    bench.give(Input::HeartbeatReceived { peer: id(1), load });
    assert_eq!(bench.status(1), None);
    bench.up(1);
    bench.now = bench.now.plus(Duration::from_millis(5));
    bench.give(Input::HeartbeatReceived { peer: id(1), load });
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
