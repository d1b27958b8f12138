//! Hosts that vanish without a word, and nodes that come back in their place.

use std::time::Duration;

use rustix::process::Signal;

use crate::{
    lab::Lab,
    node::{DETECTION, SOON, Setup, all_agree, told},
    wait,
};

#[test]
fn a_host_that_vanishes_is_lost_by_silence_and_its_successor_is_let_in() {
    let Some(lab) = Lab::new() else { return };
    let (x, y) = (lab.host("a", 1), lab.host("b", 2));
    let a = Setup::new(&lab, &x).start(&x);
    let setup = Setup::new(&lab, &y).seed(&a.id);
    let b = setup.start(&y);
    all_agree(&[&a, &b]);
    // No FIN and no RST of the dying gets through.
    lab.partition(&[&x], &[&y]);
    b.kill();
    drop(y);
    told(DETECTION, "it is lost", &[(&a, 1, 1)]);
    assert_eq!(a.downs_by("heartbeat_timeout"), 1);
    lab.heal();
    let y = lab.host("b", 2);
    let b = setup.start(&y);
    all_agree(&[&a, &b]);
    told(SOON, "one down, two ups", &[(&a, 2, 1), (&b, 1, 0)]);
}

/// The survivor still believes in the old connection, and will for a minute: the new life itself must end it.
#[track_caller]
fn comes_back(survivor: &str, vanishing: &str) {
    let Some(lab) = Lab::new() else { return };
    let (x, y) = (lab.host("x", 1), lab.host("y", 2));
    let patient = |host, name: &str| Setup::new(&lab, host).name(name).var("HEARTBEAT_INTERVAL_MS", 20_000);
    let stays = patient(&x, survivor).start(&x);
    let setup = patient(&y, vanishing).seed(&stays.id);
    let old = setup.start(&y);
    all_agree(&[&stays, &old]);
    let incarnation = |node: &crate::node::Node<'_>| node.view()["incarnation"].as_u64().unwrap();
    let first_life = incarnation(&old);
    lab.partition(&[&x], &[&y]);
    old.kill();
    drop(y);
    lab.heal();
    let y = lab.host("y", 2);
    let new = setup.start(&y);
    assert!(incarnation(&new) > first_life);
    told(SOON, "the old life is down and the new one up", &[(&stays, 2, 1), (&new, 1, 0)]);
    assert_eq!(stays.downs_by("heartbeat_timeout"), 0, "not by silence");
    all_agree(&[&stays, &new]);
}

#[test]
fn a_new_life_under_the_same_address_is_accepted_at_once_by_the_arbiter_of_the_pair() {
    comes_back("a", "z");
}

#[test]
fn a_new_life_under_the_same_address_is_accepted_at_once_by_the_other_end_too() {
    comes_back("z", "a");
}

#[test]
fn a_node_that_stands_still_for_less_than_the_silence_that_kills_stays() {
    let Some(lab) = Lab::new() else { return };
    let (x, y) = (lab.host("a", 1), lab.host("b", 2));
    // Lost after 3 s of silence.
    let patient = |host| Setup::new(&lab, host).var("HEARTBEAT_MISS_THRESHOLD", 10);
    let a = patient(&x).start(&x);
    let b = patient(&y).seed(&a.id).start(&y);
    all_agree(&[&a, &b]);
    for frozen in [&a, &b, &a] {
        frozen.signal(Signal::STOP);
        wait::rest(Duration::from_millis(1500));
        frozen.signal(Signal::CONT);
        wait::rest(Duration::from_millis(600));
    }
    told(SOON, "no node down", &[(&a, 1, 0), (&b, 1, 0)]);
    all_agree(&[&a, &b]);
}
