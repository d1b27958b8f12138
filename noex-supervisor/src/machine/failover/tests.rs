use noex_actors::{Generation, Pid};

use super::*;

const GRACE: Duration = Duration::from_millis(200);

fn node() -> NodeId {
    NodeId::new("b", "127.0.0.1", 4369).unwrap()
}

struct Bench {
    machine: Failover,
    now: Monotonic,
}

impl Bench {
    /// The node is up and has answered.
    fn up() -> Self {
        Self::of(Failover::new(GRACE, 3))
    }

    fn of(machine: Failover) -> Self {
        let mut bench = Self { machine, now: Monotonic::from_millis(1) };
        let query = bench.asked(Input::NodeUp { node: node(), incarnation: Incarnation(1) });
        bench.answer(query, Some(Vec::new()));
        bench
    }

    fn fact(&mut self, input: Input) -> Vec<Output> {
        let mut out = Outputs::new();
        self.machine.handle(input, self.now, &mut out);
        out.into()
    }

    fn asked(&mut self, input: Input) -> u64 {
        let out = self.fact(input);
        let query = out.iter().find_map(|output| match output {
            Output::Query { query, .. } => Some(*query),
            _ => None,
        });
        query.expect("a question")
    }

    fn answer(&mut self, query: u64, found: Option<Vec<Found>>) -> Vec<Output> {
        self.fact(Input::Answered { node: node(), query, found })
    }

    fn down(&mut self, reason: NodeDownReason) -> Vec<Output> {
        self.fact(Input::NodeDown { node: node(), incarnation: Incarnation(1), reason })
    }

    fn after(&mut self, by: Duration) -> Vec<Output> {
        self.now = self.now.plus(by);
        self.fact(Input::DeadlineReached)
    }
}

fn lost(loss: Loss) -> Output {
    Output::Lost { node: node(), loss }
}

#[test]
fn silence_and_goodbye_are_losses_at_once() {
    assert_eq!(Bench::up().down(NodeDownReason::HeartbeatTimeout), [lost(Loss::Crash)]);
    assert_eq!(Bench::up().down(NodeDownReason::GracefulShutdown), [lost(Loss::Goodbye)]);
}

#[test]
fn a_closed_connection_waits_for_news() {
    let mut bench = Bench::up();
    assert_eq!(bench.down(NodeDownReason::ConnectionClosed), [Output::Suspect { node: node() }]);
    assert!(!bench.machine.is_up(&node()));
    assert_eq!(bench.after(Duration::from_millis(199)), []);
    assert_eq!(bench.after(Duration::from_millis(1)), [lost(Loss::Crash)]);
    assert_eq!(bench.machine.deadline(), None);
}

#[test]
fn a_refused_redial_is_a_loss() {
    let mut bench = Bench::up();
    bench.down(NodeDownReason::ConnectionClosed);
    assert_eq!(bench.fact(Input::DialRefused { node: node() }), [lost(Loss::Crash)]);
    assert_eq!(bench.fact(Input::DialRefused { node: node() }), [], "once");
}

#[test]
fn another_incarnation_is_a_loss_and_is_asked() {
    let mut bench = Bench::up();
    bench.down(NodeDownReason::ConnectionClosed);
    let out = bench.fact(Input::NodeUp { node: node(), incarnation: Incarnation(2) });
    assert!(matches!(&out[..], [Output::Lost { .. }, Output::Query { .. }]));
    assert!(!bench.machine.is_present(&node(), Incarnation(1)));
}

#[test]
fn the_same_incarnation_is_asked_and_its_answer_is_taken() {
    let mut bench = Bench::up();
    bench.down(NodeDownReason::ConnectionClosed);
    let query = bench.asked(Input::NodeUp { node: node(), incarnation: Incarnation(1) });
    assert!(!bench.machine.is_up(&node()), "nothing starts there before it answered");
    let found = vec![Found {
        child: "x".into(),
        generation: Generation(7),
        owner: None,
        pid: Pid::new(node(), Incarnation(1), 1),
    }];
    let out = bench.answer(query, Some(found.clone()));
    let told = Output::Told { node: node(), purpose: Purpose::Readopt, found };
    assert_eq!(out, [told, Output::Available]);
    assert!(matches!(bench.after(GRACE)[..], [Output::Query { .. }]), "and once more a little later");
}

#[test]
fn no_answer_in_one_interval_is_a_loss_and_it_is_asked_on() {
    let mut bench = Bench::up();
    bench.down(NodeDownReason::ConnectionClosed);
    let query = bench.asked(Input::NodeUp { node: node(), incarnation: Incarnation(1) });
    assert_eq!(bench.answer(query, None), []);
    let again = bench.after(Duration::from_millis(100));
    let [Output::Query { query, .. }] = again[..] else { panic!("{again:?}") };
    assert_eq!(bench.after(Duration::from_millis(100)), [lost(Loss::Crash), Output::Available]);
    let out = bench.answer(query, Some(Vec::new()));
    assert!(matches!(&out[..], [Output::Told { purpose: Purpose::Reconcile, .. }, Output::Available]));
}

#[test]
fn a_flapping_connection_is_given_up_after_two_intervals() {
    let mut bench = Bench::up();
    let mut lost_after = 0;
    bench.down(NodeDownReason::ConnectionClosed);
    for step in 1..20 {
        let mut out = bench.after(Duration::from_millis(50));
        out.extend(bench.fact(Input::NodeUp { node: node(), incarnation: Incarnation(1) }));
        out.extend(bench.down(NodeDownReason::ConnectionClosed));
        if out.contains(&lost(Loss::Crash)) {
            lost_after = step * 50;
            break;
        }
    }
    assert_eq!(lost_after, 400);
}

#[test]
fn news_of_an_older_life_change_nothing() {
    let mut bench = Bench::up();
    let old = Input::NodeDown {
        node: node(),
        incarnation: Incarnation(0),
        reason: NodeDownReason::HeartbeatTimeout,
    };
    assert_eq!(bench.fact(old), []);
    assert!(bench.machine.is_up(&node()));
}

#[test]
fn a_start_adopts_when_all_have_answered_or_had_their_time() {
    let mut bench = Bench { machine: Failover::new(GRACE, 3), now: Monotonic::ZERO };
    let other = NodeId::new("c", "127.0.0.1", 4369).unwrap();
    let nodes = vec![(node(), Incarnation(1)), (other, Incarnation(1))];
    let query = bench.asked(Input::Started { nodes, missing: Vec::new() });
    assert!(!bench.answer(query, Some(Vec::new())).iter().any(|out| matches!(out, Output::Adopt { .. })));
    assert!(bench.after(GRACE * 3).contains(&Output::Adopt { found: Vec::new() }));
    let mut alone = Bench { machine: Failover::new(GRACE, 3), now: Monotonic::ZERO };
    assert_eq!(
        alone.fact(Input::Started { nodes: Vec::new(), missing: Vec::new() }),
        [Output::Adopt { found: Vec::new() }]
    );
}

#[test]
fn an_adoption_waits_for_a_connected_node_that_is_slow_to_answer() {
    let adopts = |out: &[Output]| out.iter().any(|out| matches!(out, Output::Adopt { .. }));
    let mut bench = Bench { machine: Failover::new(GRACE, 3), now: Monotonic::ZERO };
    let query = bench.asked(Input::Started { nodes: vec![(node(), Incarnation(1))], missing: Vec::new() });
    assert!(!adopts(&bench.after(GRACE)), "what lives there must not be started a second time");
    assert!(!adopts(&bench.after(GRACE)));
    let out = bench.answer(query, Some(vec![instance()]));
    assert!(out.contains(&Output::Adopt { found: vec![instance()] }), "{out:?}");
}

#[test]
fn the_question_of_an_adoption_may_take_as_long_as_it_waits() {
    let mut bench = Bench { machine: Failover::new(GRACE, 3), now: Monotonic::ZERO };
    let timeout = |out: &[Output]| match out {
        [Output::Query { timeout, .. }] => *timeout,
        _ => panic!("{out:?}"),
    };
    let asked = bench.fact(Input::Started { nodes: vec![(node(), Incarnation(1))], missing: Vec::new() });
    assert_eq!(timeout(&asked), GRACE * 3);
    let [Output::Query { query, .. }] = asked[..] else { panic!("{asked:?}") };
    assert_eq!(bench.answer(query, None), [], "it could not be asked");
    let again = bench.after(Duration::from_millis(100));
    assert_eq!(timeout(&again), Duration::from_millis(500), "what is left");
}

#[test]
fn when_it_is_settled_who_has_the_name_a_slow_node_is_waited_for_too() {
    let adopts = |out: &[Output]| out.iter().any(|out| matches!(out, Output::Adopt { .. }));
    let mut bench = Bench::up();
    let query = bench.asked(Input::DoubtSettled);
    assert!(!adopts(&bench.after(GRACE * 2)));
    assert!(adopts(&bench.answer(query, Some(Vec::new()))));
}

#[test]
fn its_own_stall_is_nobodys_loss() {
    let mut bench = Bench::up();
    bench.down(NodeDownReason::ConnectionClosed);
    assert_eq!(bench.after(GRACE * 10), [], "what happened meanwhile was not heard");
    assert_eq!(bench.after(GRACE), [lost(Loss::Crash)]);
    let mut bench = Bench::up();
    bench.down(NodeDownReason::ConnectionClosed);
    let query = bench.asked(Input::NodeUp { node: node(), incarnation: Incarnation(1) });
    let out = bench.after(GRACE * 10);
    assert!(!out.contains(&lost(Loss::Crash)), "{out:?}");
    let out = bench.answer(query, Some(vec![instance()]));
    assert!(matches!(&out[..], [Output::Told { purpose: Purpose::Readopt, .. }, Output::Available]));
}

#[test]
fn everybody_is_asked_now_and_then() {
    let mut bench = Bench { machine: Failover::new(GRACE, 3), now: Monotonic::ZERO };
    let query = bench.asked(Input::Started { nodes: vec![(node(), Incarnation(1))], missing: Vec::new() });
    bench.answer(query, Some(Vec::new()));
    assert_eq!(bench.after(Duration::from_millis(599)), []);
    let asked = bench.after(Duration::from_millis(1));
    let [Output::Query { query, .. }] = asked[..] else { panic!("{asked:?}") };
    let told = bench.answer(query, Some(Vec::new()));
    assert!(matches!(&told[..], [Output::Told { purpose: Purpose::Reconcile, .. }, Output::Available]));
}

fn instance() -> Found {
    Found {
        child: "c".to_owned(),
        generation: Generation::new(1, 1),
        owner: None,
        pid: Pid::new(node(), Incarnation(1), 7),
    }
}

#[test]
fn what_was_found_on_a_node_that_is_lost_during_the_adoption_is_not_adopted() {
    let mut bench = Bench { machine: Failover::new(GRACE, 3), now: Monotonic::ZERO };
    let other = NodeId::new("c", "127.0.0.1", 4369).unwrap();
    let nodes = vec![(node(), Incarnation(1)), (other, Incarnation(1))];
    let query = bench.asked(Input::Started { nodes, missing: Vec::new() });
    bench.answer(query, Some(vec![instance()]));
    bench.down(NodeDownReason::HeartbeatTimeout);
    assert!(bench.after(GRACE * 3).contains(&Output::Adopt { found: Vec::new() }));
}

#[test]
fn an_adoption_waits_for_a_node_whose_connection_was_reset() {
    let mut bench = Bench { machine: Failover::new(GRACE, 3), now: Monotonic::ZERO };
    let query = bench.asked(Input::Started { nodes: vec![(node(), Incarnation(1))], missing: Vec::new() });
    let adopts = |out: &[Output]| out.iter().any(|out| matches!(out, Output::Adopt { .. }));
    assert!(!adopts(&bench.down(NodeDownReason::ConnectionClosed)));
    let again = bench.asked(Input::NodeUp { node: node(), incarnation: Incarnation(1) });
    assert_ne!(query, again);
    let out = bench.answer(again, Some(vec![instance()]));
    assert!(out.contains(&Output::Adopt { found: vec![instance()] }), "{out:?}");
}

#[test]
fn the_other_end_may_notice_a_closed_connection_only_by_silence() {
    let grace = Duration::from_millis(100);
    let standing = Standing::new(Policy::Failover, Duration::MAX);
    let mut bench = Bench::of(Failover::new(GRACE, 3).fenced(standing, Some(grace)));
    bench.down(NodeDownReason::ConnectionClosed);
    bench.fact(Input::DialRefused { node: node() });
    // Three intervals of silence, its time, and one and a half interval for the stop.
    let due = GRACE * 3 + grace + GRACE + GRACE / 2;
    assert_eq!(bench.after(due - Duration::from_millis(1)), [], "something answers for it, and it may live");
    assert_eq!(bench.after(Duration::from_millis(1)), [lost(Loss::Crash)]);
}

#[test]
fn a_silent_node_has_noticed_as_well() {
    let grace = Duration::from_millis(100);
    let standing = Standing::new(Policy::Failover, Duration::MAX);
    let mut bench = Bench::of(Failover::new(GRACE, 3).fenced(standing, Some(grace)));
    bench.down(NodeDownReason::HeartbeatTimeout);
    let due = grace + GRACE + GRACE / 2;
    assert_eq!(bench.after(due - Duration::from_millis(1)), []);
    assert_eq!(bench.after(Duration::from_millis(1)), [lost(Loss::Crash)]);
}
