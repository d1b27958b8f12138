//! Cuts between hosts that live on.

use std::time::Duration;

use crate::{
    lab::{Host, Lab},
    node::{DETECTION, INTERVAL, Node, SOON, Setup, all_agree, told},
    wait,
};

/// Three hosts with a node each, which are all connected.
fn hosts(lab: &Lab) -> [Host; 3] {
    [lab.host("a", 1), lab.host("b", 2), lab.host("c", 3)]
}

#[track_caller]
fn three<'a>(lab: &Lab, hosts: &'a [Host; 3]) -> [Node<'a>; 3] {
    let [a, b, c] = hosts;
    let first = Setup::new(lab, a).start(a);
    let second = Setup::new(lab, b).seed(&first.id).start(b);
    let third = Setup::new(lab, c).seed(&first.id).start(c);
    all_agree(&[&first, &second, &third]);
    [first, second, third]
}

/// That long nothing new is told: longer than it takes to lose a node, or to dial again.
const QUIET: Duration = Duration::from_secs(2);

#[track_caller]
fn nothing_more(what: &str, nodes: &[(&Node<'_>, u64, u64)]) {
    wait::throughout(QUIET, what, || {
        let seen: Vec<_> = nodes.iter().map(|(node, ..)| (node.ups(), node.downs())).collect();
        let wanted: Vec<_> = nodes.iter().map(|(_, ups, downs)| (*ups, *downs)).collect();
        wait::rest(INTERVAL / 2);
        if seen == wanted { Ok(()) } else { Err(format!("{seen:?}, not {wanted:?}")) }
    });
}

#[test]
fn a_partition_is_one_down_and_one_up_of_each_pair_and_all_views_agree_after_it() {
    let Some(lab) = Lab::new() else { return };
    let hosts = hosts(&lab);
    let [a, b, c] = three(&lab, &hosts);
    for cut in 1..=2 {
        let ups = 2 * cut;
        lab.partition(&[&hosts[0]], &[&hosts[1], &hosts[2]]);
        // Alone, a loses both others; they lose a alone.
        let lost = [(&a, ups, 2 * cut), (&b, 1 + cut, cut), (&c, 1 + cut, cut)];
        told(DETECTION, "the partition is known", &lost);
        for node in [&a, &b, &c] {
            assert_eq!(node.downs_by("heartbeat_timeout"), node.downs(), "by silence alone: {}", node.id);
        }
        nothing_more("while it lasts", &lost);
        assert!(lab.dropped() > 0);
        lab.heal();
        all_agree(&[&a, &b, &c]);
        let healed = [(&a, ups + 2, 2 * cut), (&b, 2 + cut, cut), (&c, 2 + cut, cut)];
        told(SOON, "it is over", &healed);
    }
    nothing_more("and it stays so", &[(&a, 6, 4), (&b, 4, 2), (&c, 4, 2)]);
}

#[test]
fn a_cut_of_one_way_is_a_loss_at_both_ends_and_nobody_flaps() {
    let Some(lab) = Lab::new() else { return };
    let hosts = hosts(&lab);
    let [a, b, c] = three(&lab, &hosts);
    // What a sends to b is lost, acknowledgements among it: b's side of TCP goes quiet before long, too. So a knows by
    // silence, or because b, which knows by silence, closes the connection.
    lab.cut(&[&hosts[0]], &[&hosts[1]]);
    let lost = [(&a, 2, 1), (&b, 2, 1), (&c, 2, 0)];
    told(DETECTION, "both ends know", &lost);
    assert_eq!(b.downs_by("heartbeat_timeout"), 1, "b hears nothing");
    nothing_more("while it lasts", &lost);
    lab.heal();
    all_agree(&[&a, &b, &c]);
    told(SOON, "it is over", &[(&a, 3, 1), (&b, 3, 1), (&c, 2, 0)]);
    nothing_more("and it stays so", &[(&a, 3, 1), (&b, 3, 1), (&c, 2, 0)]);
}

#[test]
fn a_cut_shorter_than_the_silence_that_kills_is_survived() {
    let Some(lab) = Lab::new() else { return };
    let (x, y) = (lab.host("a", 1), lab.host("b", 2));
    let long = |host| Setup::new(&lab, host).var("HEARTBEAT_MISS_THRESHOLD", 20);
    let a = long(&x).start(&x);
    let b = long(&y).seed(&a.id).start(&y);
    all_agree(&[&a, &b]);
    for _ in 0..3 {
        lab.partition(&[&x], &[&y]);
        wait::rest(Duration::from_millis(700));
        lab.heal();
        wait::rest(Duration::from_millis(700));
    }
    // What waited for the link arrives: a heartbeat later than the last cut.
    let heard = || a.view()["nodes"][0]["lastHeartbeatAt"].as_u64().unwrap();
    let before = heard();
    wait::until(SOON, "b is heard again", || if heard() > before { Ok(()) } else { Err("not yet".into()) });
    told(SOON, "no node down", &[(&a, 1, 0), (&b, 1, 0)]);
}
