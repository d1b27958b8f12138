use super::*;

const PATIENCE: Duration = Duration::from_secs(15);

fn id(name: &str) -> NodeId {
    NodeId::parse(&format!("{name}@h:1")).unwrap()
}

fn pid(name: &str, life: u64) -> Pid {
    Pid::new(id(name), Incarnation(life), 7)
}

fn at(seconds: u64) -> Monotonic {
    Monotonic::from_millis(seconds * 1000)
}

/// A claim of a process of "me", and what its view has.
struct Bench {
    claim: Claim,
    seen: Option<Pid>,
    now: Monotonic,
}

impl Bench {
    fn new() -> Self {
        Self { claim: Claim::new(pid("me", 5), PATIENCE), seen: None, now: at(0) }
    }

    fn answered(&mut self, by: &[(&str, u64)], named: &[(&str, &Pid)]) -> Step {
        self.answered_beside(by, named, &[])
    }

    fn answered_beside(&mut self, by: &[(&str, u64)], named: &[(&str, &Pid)], beside: &[&str]) -> Step {
        let by = by.iter().map(|(name, life)| (id(name), Incarnation(*life))).collect();
        let named: Vec<_> = named.iter().map(|(by, pid)| (id(by), (*pid).clone())).collect();
        let beside = beside.iter().map(|name| id(name)).collect();
        let answers = Answers { by: &by, named: &named, beside: &beside, seen: self.seen.as_ref() };
        self.claim.answered(&answers, self.now, 0)
    }

    fn register(&mut self) -> Step {
        self.seen = Some(pid("me", 5));
        self.claim.registered(Ok(()))
    }
}

#[test]
fn it_asks_registers_and_asks_again() {
    let mut bench = Bench::new();
    assert_eq!(bench.answered(&[("a", 1)], &[]), Step::Register);
    assert_eq!(bench.register(), Step::Ask);
    assert_eq!(bench.answered(&[("a", 1)], &[]), Step::Granted);
}

#[test]
fn with_nobody_to_ask_it_is_granted() {
    let mut bench = Bench::new();
    assert_eq!(bench.answered(&[], &[]), Step::Register);
    assert_eq!(bench.register(), Step::Ask);
    assert_eq!(bench.answered(&[], &[]), Step::Granted);
}

#[test]
fn a_holder_that_others_know_is_waited_for_until_it_comes_into_view() {
    let (mut bench, holder) = (Bench::new(), pid("c", 1));
    assert_eq!(bench.answered(&[("a", 1)], &[("a", &holder)]), Step::Wait(FIRST_PAUSE / 2));
    assert_eq!(bench.answered(&[("a", 1)], &[("a", &holder)]), Step::Wait(FIRST_PAUSE));
    bench.seen = Some(holder.clone());
    assert_eq!(bench.answered(&[("a", 1), ("c", 1)], &[("c", &holder)]), Step::Refused(holder));
}

#[test]
fn one_that_does_not_come_is_in_the_way_for_so_long_as_others_know_it() {
    let (mut bench, holder) = (Bench::new(), pid("c", 1));
    assert!(matches!(bench.answered(&[("a", 1)], &[("a", &holder)]), Step::Wait(_)));
    bench.now = at(14);
    assert!(matches!(bench.answered(&[("a", 1)], &[("a", &holder)]), Step::Wait(_)));
    // They found that it is gone.
    assert_eq!(bench.answered(&[("a", 1)], &[]), Step::Register);
}

#[test]
fn one_that_does_not_come_in_time_refuses_the_claim() {
    let (mut bench, holder) = (Bench::new(), pid("c", 1));
    assert!(matches!(bench.answered(&[("a", 1)], &[("a", &holder)]), Step::Wait(_)));
    bench.now = at(15);
    assert_eq!(bench.answered(&[("a", 1)], &[("a", &holder)]), Step::Refused(holder));
}

#[test]
fn a_second_claimant_gives_way_though_it_has_registered() {
    let (mut bench, other) = (Bench::new(), pid("c", 1));
    assert_eq!(bench.answered(&[("a", 1)], &[]), Step::Register);
    bench.register();
    assert!(matches!(bench.answered(&[("a", 1)], &[("a", &other)]), Step::Wait(_)));
    bench.seen = None;
    // It registers anew before it is granted.
    assert_eq!(bench.answered(&[("a", 1)], &[]), Step::Register);
    bench.register();
    assert_eq!(bench.answered(&[("a", 1)], &[]), Step::Granted);
}

#[test]
fn one_that_lost_the_name_meanwhile_is_refused() {
    let (mut bench, other) = (Bench::new(), pid("c", 1));
    bench.answered(&[], &[]);
    bench.register();
    bench.seen = Some(other.clone());
    assert_eq!(bench.answered(&[], &[]), Step::Refused(other));
}

#[test]
fn one_whose_name_was_taken_away_meanwhile_begins_anew() {
    let mut bench = Bench::new();
    bench.answered(&[], &[]);
    bench.register();
    bench.seen = None;
    assert_eq!(bench.answered(&[], &[]), Step::Register);
}

#[test]
fn a_node_speaks_for_itself() {
    let mut bench = Bench::new();
    let (old, now, next) = (pid("c", 1), pid("c", 2), pid("c", 3));
    // Others are late.
    assert_eq!(bench.answered(&[("a", 1), ("c", 2)], &[("a", &old)]), Step::Register);
    assert_eq!(bench.answered(&[("a", 1), ("c", 2)], &[("a", &now)]), Step::Register);
    // Its own word, of what is on its way, counts; and so does what others know of a later life of it.
    assert!(matches!(bench.answered(&[("a", 1), ("c", 2)], &[("c", &now)]), Step::Wait(_)));
    assert!(matches!(bench.answered(&[("a", 1), ("c", 2)], &[("a", &next)]), Step::Wait(_)));
    // It did not answer.
    assert!(matches!(bench.answered(&[("a", 1)], &[("a", &now)]), Step::Wait(_)));
}

#[test]
fn an_earlier_life_of_the_own_node_is_nobody() {
    let (mut bench, before) = (Bench::new(), pid("me", 4));
    assert_eq!(bench.answered(&[("a", 1)], &[("a", &before)]), Step::Register);
}

#[test]
fn whom_the_others_are_connected_to_is_asked_as_well() {
    let mut bench = Bench::new();
    let all = ["me", "a", "c"];
    assert_eq!(bench.answered_beside(&[("a", 1)], &[], &all), Step::Wait(FIRST_PAUSE));
    assert_eq!(bench.answered_beside(&[("a", 1)], &[], &all), Step::Wait(FIRST_PAUSE));
    assert_eq!(bench.answered_beside(&[("a", 1), ("c", 1)], &[], &all), Step::Register);
    bench.register();
    // Who comes only now is not waited for: it will ask as well.
    assert_eq!(bench.answered_beside(&[("a", 1)], &[], &["e"]), Step::Granted);
}

#[test]
fn who_is_not_met_in_time_is_waited_for_no_longer() {
    let mut bench = Bench::new();
    assert_eq!(bench.answered_beside(&[("a", 1)], &[], &["c"]), Step::Wait(FIRST_PAUSE));
    bench.now = at(14);
    assert_eq!(bench.answered_beside(&[("a", 1)], &[], &["c", "e"]), Step::Wait(FIRST_PAUSE));
    bench.now = at(15);
    assert_eq!(bench.answered_beside(&[("a", 1)], &[], &["c", "e"]), Step::Register);
}
