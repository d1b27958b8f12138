//! Nodes that come back under another address.

use crate::{
    lab::Lab,
    node::{PORT, SOON, Setup, all_agree, told},
    wait,
};

#[test]
fn a_node_under_another_address_is_another_node_and_the_old_one_is_down() {
    let Some(lab) = Lab::new() else { return };
    let (x, y, elsewhere) = (lab.host("a", 1), lab.host("b", 2), lab.host("b2", 3));
    let a = Setup::new(&lab, &x).start(&x);
    let b = Setup::new(&lab, &y).seed(&a.id).start(&y);
    all_agree(&[&a, &b]);
    let old = b.id.clone();
    b.stop();
    told(SOON, "it left", &[(&a, 1, 1)]);
    assert_eq!(a.downs_by("graceful_shutdown"), 1);
    let b = Setup::new(&lab, &elsewhere).name("b").seed(&a.id).start(&elsewhere);
    assert_ne!(b.id, old, "an id holds the address");
    all_agree(&[&a, &b]);
    told(SOON, "one down, two ups", &[(&a, 2, 1), (&b, 1, 0)]);
    let view = a.view();
    let known = view["nodes"].as_array().unwrap().iter().find(|node| node["id"] == old.as_str());
    assert!(known.is_none_or(|node| node["status"] == "disconnected"), "{view}");
}

#[test]
fn a_seed_that_is_a_host_name_is_resolved_anew_when_its_address_changed() {
    let Some(lab) = Lab::new() else { return };
    let (x, y, elsewhere) = (lab.host("a", 1), lab.host("b", 2), lab.host("a2", 3));
    // The name is the identity, too: the node advertises it and stays the same node wherever it runs.
    let name = "a.cluster.test";
    for host in [&x, &y, &elsewhere] {
        host.hosts(&[(name, x.ip)]);
    }
    let a = Setup::new(&lab, &x).advertise(name).start(&x);
    let b = Setup::new(&lab, &y).seed(&format!("{name}:{PORT}")).start(&y);
    all_agree(&[&a, &b]);
    let id = a.id.clone();
    a.kill();
    told(SOON, "it is down", &[(&b, 1, 1)]);
    // It has no seeds: it is b that must find it.
    let a = Setup::new(&lab, &elsewhere).name("a").advertise(name).start(&elsewhere);
    assert_eq!(a.id, id);
    wait::throughout(crate::node::INTERVAL * 3, "nobody knows where it is", || match b.connected() {
        seen if seen.is_empty() => Ok(()),
        seen => Err(format!("{seen:?}")),
    });
    y.hosts(&[(name, elsewhere.ip)]);
    all_agree(&[&a, &b]);
    told(SOON, "one down, two ups", &[(&b, 2, 1), (&a, 1, 0)]);
}
