use super::*;

/// A smaller id than any other here: as local node, the arbiter of every pair.
const SMALL: &str = "a@h:1";
const LARGE: &str = "z@h:1";
const PEER: &str = "m@h:1";

struct Bench {
    sessions: Sessions,
    now: Monotonic,
}

fn id(text: &str) -> NodeId {
    NodeId::parse(text).unwrap()
}

fn conn(n: u64) -> ConnId {
    ConnId(n)
}

fn up(n: u64, incarnation: u64) -> Output {
    Output::SessionUp { conn: conn(n), peer: id(PEER), incarnation: Incarnation(incarnation) }
}

fn down(n: u64, incarnation: u64, reason: NodeDownReason) -> Output {
    Output::SessionDown { conn: conn(n), peer: id(PEER), incarnation: Incarnation(incarnation), reason }
}

fn close(n: u64, reason: CloseReason) -> Output {
    Output::Close { conn: conn(n), reason }
}

fn welcome(n: u64) -> Output {
    Output::SendWelcome { conn: conn(n) }
}

fn beat(n: u64) -> Output {
    Output::SendHeartbeat { conn: conn(n) }
}

impl Bench {
    fn new(local: &str) -> Self {
        let sessions = Sessions::new(id(local), Duration::from_millis(500), Duration::from_secs(5));
        Self { sessions, now: Monotonic::from_millis(1) }
    }

    fn give(&mut self, input: Input) -> Vec<Output> {
        let mut out = VecDeque::new();
        self.sessions.handle(input, self.now, &mut out);
        out.into()
    }

    fn authenticated(&mut self, n: u64, incarnation: u64) -> Vec<Output> {
        self.give(Input::Authenticated {
            conn: conn(n),
            peer: id(PEER),
            incarnation: Incarnation(incarnation),
        })
    }

    fn closed(&mut self, n: u64) -> Vec<Output> {
        self.give(Input::Closed { conn: conn(n), told: None })
    }

    fn beat(&mut self, n: u64) -> Vec<Output> {
        self.give(Input::FirstHeartbeat { conn: conn(n) })
    }

    fn welcomed(&mut self, n: u64) -> Vec<Output> {
        self.give(Input::WelcomeReceived { conn: conn(n) })
    }

    fn at_deadline(&mut self) -> Vec<Output> {
        self.now = self.sessions.deadline().unwrap();
        self.give(Input::DeadlineReached)
    }

    fn with_session(local: &str, incarnation: u64) -> Self {
        let mut bench = Self::new(local);
        bench.authenticated(1, incarnation);
        bench.welcomed(1);
        assert_eq!(bench.beat(1).last(), Some(&up(1, incarnation)));
        assert_eq!(bench.sessions.session(&id(PEER)), Some(conn(1)));
        assert_eq!(bench.sessions.deadline(), None);
        bench
    }

    /// The nonce of one ping to each of these connections, and nothing else.
    #[track_caller]
    fn pinged<const N: usize>(outputs: &[Output], conns: [u64; N]) -> u64 {
        let Some(Output::SendPing { nonce, .. }) = outputs.first() else { panic!("no ping: {outputs:?}") };
        assert_eq!(outputs, conns.map(|n| Output::SendPing { conn: conn(n), nonce: *nonce }));
        *nonce
    }

    fn pong(&mut self, n: u64, nonce: u64) -> Vec<Output> {
        self.give(Input::PongReceived { conn: conn(n), nonce })
    }
}

#[test]
fn the_arbiter_welcomes_the_first_and_is_up_with_its_heartbeat() {
    let mut bench = Bench::new(SMALL);
    assert_eq!(bench.authenticated(1, 7), [welcome(1), beat(1)]);
    assert!(bench.sessions.has_connection(&id(PEER)) && bench.sessions.session(&id(PEER)).is_none());
    assert_eq!(bench.beat(1), [up(1, 7)]);
    assert_eq!(bench.beat(1), [], "up once");
    assert_eq!(bench.closed(1), [down(1, 7, NodeDownReason::ConnectionClosed)]);
    assert_eq!(bench.closed(1), []);
    assert!(!bench.sessions.has_connection(&id(PEER)));
}

#[test]
fn the_other_end_waits_for_the_welcome() {
    let mut bench = Bench::new(LARGE);
    assert_eq!(bench.authenticated(1, 7), []);
    assert_eq!(bench.authenticated(2, 7), []);
    assert_eq!(bench.welcomed(2), [beat(2)]);
    assert_eq!(bench.beat(2), [up(2, 7)]);
    assert_eq!(bench.closed(1), [], "a duplicate goes in silence");
}

#[test]
fn a_duplicate_is_closed_once_the_session_answers() {
    let mut bench = Bench::with_session(SMALL, 7);
    let nonce = Bench::pinged(&bench.authenticated(2, 7), [1, 2]);
    assert_eq!(bench.pong(1, nonce + 1), [], "nobody was asked that");
    assert_eq!(bench.pong(2, nonce), [], "that it is alive does not make it the better one");
    assert_eq!(bench.pong(1, nonce), [close(2, CloseReason::Duplicate)]);
    assert_eq!(bench.closed(2), []);
    assert_eq!((bench.sessions.session(&id(PEER)), bench.sessions.deadline()), (Some(conn(1)), None));
}

#[test]
fn a_session_that_does_not_answer_gives_way_to_a_newcomer_that_does() {
    let mut bench = Bench::with_session(SMALL, 7);
    let before = bench.now;
    let nonce = Bench::pinged(&bench.authenticated(2, 7), [1, 2]);
    assert_eq!(bench.pong(2, nonce), []);
    assert_eq!(bench.at_deadline(), [close(1, CloseReason::Replaced)]);
    assert_eq!(bench.now.since(before), Duration::from_millis(500));
    assert_eq!(bench.authenticated(3, 7), [], "while the old one drains, everybody waits");
    let after = bench.closed(1);
    let started = [down(1, 7, NodeDownReason::ConnectionClosed), welcome(2), beat(2)];
    assert_eq!(after[..3], started, "the one that has answered, though another came after it");
    Bench::pinged(&after[3..], [2, 3]);
    assert_eq!(bench.beat(2), [up(2, 7)]);
}

#[test]
fn a_newcomer_is_asked_at_once_even_while_others_are() {
    let mut bench = Bench::with_session(SMALL, 7);
    let nonce = Bench::pinged(&bench.authenticated(2, 7), [1, 2]);
    assert_eq!(Bench::pinged(&bench.authenticated(3, 7), [3]), nonce);
    assert_eq!(bench.pong(3, nonce), []);
    assert_eq!(bench.at_deadline(), [close(1, CloseReason::Replaced)]);
}

#[test]
fn of_a_cut_that_silences_all_connections_the_session_is_judged_by_its_heartbeats_alone() {
    let mut bench = Bench::with_session(SMALL, 7);
    Bench::pinged(&bench.authenticated(2, 7), [1, 2]);
    Bench::pinged(&bench.at_deadline(), [1, 2]);
    Bench::pinged(&bench.at_deadline(), [1, 2]);
    let silence = Input::TimedOut { conn: conn(1) };
    assert_eq!(bench.give(silence), [close(1, CloseReason::HeartbeatTimeout)]);
    let after = bench.closed(1);
    assert_eq!(after, [down(1, 7, NodeDownReason::HeartbeatTimeout), welcome(2), beat(2)]);
}

#[test]
fn a_late_answer_is_an_answer() {
    let mut bench = Bench::with_session(SMALL, 7);
    let nonce = Bench::pinged(&bench.authenticated(2, 7), [1, 2]);
    Bench::pinged(&bench.at_deadline(), [1, 2]);
    assert_eq!(bench.pong(1, nonce), [close(2, CloseReason::Duplicate)]);
}

#[test]
fn an_answer_from_before_a_newcomer_came_does_not_judge_it() {
    let mut bench = Bench::with_session(SMALL, 7);
    let nonce = Bench::pinged(&bench.authenticated(2, 7), [1, 2]);
    bench.authenticated(3, 7);
    let outputs = bench.pong(1, nonce);
    assert_eq!(outputs[0], close(2, CloseReason::Duplicate));
    let nonce = Bench::pinged(&outputs[1..], [1, 3]);
    assert_eq!(bench.pong(1, nonce), [close(3, CloseReason::Duplicate)]);
}

#[test]
fn a_later_life_replaces_an_earlier_one_down_before_up() {
    let mut bench = Bench::with_session(SMALL, 7);
    assert_eq!(bench.authenticated(2, 8), [close(1, CloseReason::Replaced)]);
    assert_eq!(bench.closed(1), [down(1, 7, NodeDownReason::ConnectionClosed), welcome(2), beat(2)]);
    assert_eq!(bench.beat(2), [up(2, 8)]);
}

#[test]
fn the_other_end_ends_the_old_session_before_it_takes_the_new_one() {
    for incarnation in [7, 8] {
        let mut bench = Bench::with_session(LARGE, 7);
        assert_eq!(bench.authenticated(2, incarnation), []);
        assert_eq!(bench.welcomed(2), [close(1, CloseReason::Replaced)]);
        assert_eq!(bench.beat(2), [], "not up before the old one is drained");
        let reason = NodeDownReason::ConnectionClosed;
        assert_eq!(bench.closed(1), [down(1, 7, reason), beat(2), up(2, incarnation)]);
    }
}

#[test]
fn an_earlier_life_is_superseded_while_a_later_one_answers() {
    for local in [SMALL, LARGE] {
        let mut bench = Bench::with_session(local, 7);
        let nonce = Bench::pinged(&bench.authenticated(2, 6), [1, 2]);
        assert_eq!(bench.welcomed(2), []);
        assert_eq!(bench.pong(1, nonce), [close(2, CloseReason::Superseded)]);
        assert_eq!(bench.sessions.session(&id(PEER)), Some(conn(1)));

        let mut bench = Bench::with_session(local, 7);
        let nonce = Bench::pinged(&bench.authenticated(2, 6), [1, 2]);
        bench.welcomed(2);
        bench.pong(2, nonce);
        assert_eq!(bench.at_deadline(), [close(1, CloseReason::Replaced)]);
        bench.closed(1);
        assert_eq!(bench.beat(2), [up(2, 6)], "no live connection: any life is accepted");
    }
}

#[test]
fn a_superseded_node_learns_it() {
    let mut bench = Bench::new(LARGE);
    bench.authenticated(1, 7);
    let outputs = bench.give(Input::Closed { conn: conn(1), told: Some(CloseReason::Superseded) });
    assert_eq!(outputs, [Output::SupersededByOther { by: id(PEER) }]);
}

#[test]
fn the_reason_of_the_end_is_the_first_that_was_known() {
    let mut bench = Bench::with_session(SMALL, 7);
    assert_eq!(bench.give(Input::TimedOut { conn: conn(1) }), [close(1, CloseReason::HeartbeatTimeout)]);
    assert_eq!(bench.give(Input::GoodbyeReceived { conn: conn(1) }), []);
    assert_eq!(bench.closed(1), [down(1, 7, NodeDownReason::HeartbeatTimeout)]);

    let mut bench = Bench::with_session(SMALL, 7);
    bench.give(Input::GoodbyeReceived { conn: conn(1) });
    assert_eq!(bench.closed(1), [down(1, 7, NodeDownReason::GracefulShutdown)]);
}

#[test]
fn after_a_goodbye_no_other_connection_of_that_life_comes_up() {
    let mut bench = Bench::with_session(SMALL, 7);
    bench.authenticated(2, 7);
    assert_eq!(bench.give(Input::GoodbyeReceived { conn: conn(1) }), [close(2, CloseReason::Duplicate)]);
    assert_eq!(bench.closed(1), [down(1, 7, NodeDownReason::GracefulShutdown)]);
    assert_eq!(bench.authenticated(3, 7), [close(3, CloseReason::Duplicate)]);
    assert_eq!((bench.closed(2), bench.closed(3)), (vec![], vec![]));
    assert_eq!(
        bench.authenticated(4, 6),
        [welcome(4), beat(4)],
        "another life is welcome, whatever its number"
    );

    let mut bench = Bench::with_session(LARGE, 7);
    bench.authenticated(2, 7);
    bench.give(Input::GoodbyeReceived { conn: conn(1) });
    assert_eq!(bench.welcomed(2), [], "not even where the other end welcomes");
    assert_eq!(bench.closed(1), [down(1, 7, NodeDownReason::GracefulShutdown)]);
}

#[test]
fn nobody_waits_for_ever() {
    let mut bench = Bench::new(LARGE);
    bench.authenticated(1, 7);
    assert_eq!(bench.at_deadline(), [close(1, CloseReason::NoWelcome)]);
    assert_eq!(bench.sessions.deadline(), None);
    let mut bench = Bench::new(SMALL);
    bench.authenticated(1, 7);
    assert_eq!(bench.at_deadline(), [close(1, CloseReason::NoWelcome)], "a welcome without a heartbeat");
    assert_eq!(bench.closed(1), [], "no down without an up");
}

#[test]
fn one_peer_cannot_pile_up_connections() {
    let mut bench = Bench::with_session(SMALL, 7);
    for n in 2..100 {
        bench.authenticated(n, 7);
    }
    let open =
        bench.sessions.conns.values().filter(|conn| !matches!(conn.state, State::Closing { .. })).count();
    assert_eq!(open, 1 + MAX_WAITING);
}

#[test]
fn a_welcome_to_the_arbiter_is_nothing() {
    let mut bench = Bench::with_session(SMALL, 7);
    Bench::pinged(&bench.authenticated(2, 7), [1, 2]);
    assert_eq!(bench.welcomed(2), []);
}

#[test]
fn a_retired_key_ends_its_connections_wherever_they_stand_and_no_others() {
    for local in [SMALL, LARGE] {
        let mut bench = Bench::with_session(local, 7);
        bench.authenticated(2, 7);
        let retired = |n| Input::KeyRetired { conn: conn(n) };
        assert_eq!(bench.give(retired(2)), [close(2, CloseReason::KeyRetired)], "one that waits");
        assert_eq!(bench.give(retired(2)), [], "once");
        assert_eq!(bench.give(retired(9)), [], "one that is gone");
        assert_eq!(bench.sessions.session(&id(PEER)), Some(conn(1)), "the session has another key");
        assert_eq!(bench.closed(2), []);
        assert_eq!(bench.give(retired(1)), [close(1, CloseReason::KeyRetired)]);
        assert_eq!(bench.authenticated(3, 7), [], "not before the old one is drained");
        let down = down(1, 7, NodeDownReason::ConnectionClosed);
        let outputs = bench.closed(1);
        assert_eq!(outputs.first(), Some(&down));
        assert_eq!(outputs.contains(&welcome(3)), local == SMALL, "the new one takes its place");
    }
}

#[test]
fn every_reason_to_close_reads_as_it_is_written() {
    for reason in CloseReason::ALL {
        assert_eq!(reason.to_string().parse(), Ok(*reason));
    }
}
