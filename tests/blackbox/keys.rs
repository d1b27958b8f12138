//! Secrets that change while the nodes run: by list, by file and by SIGHUP.

use std::{fs, path::PathBuf};

use rustix::process::Signal;

use crate::{
    http,
    lab::{Lab, Node, SOON, Setup},
    wait,
};

const OLD: &str = "old:the secret of before";
const NEW: &str = "new:a new secret of our own";

fn refused(node: &Node, reason: &str) -> u64 {
    node.metric(&format!("noex_refused_total{{reason=\"{reason}\"}}"))
}

/// A node with a list of secrets.
fn listed(lab: &Lab, name: &str, secrets: &[&str]) -> Setup {
    lab.node(name).without("CLUSTER_SECRET").var("CLUSTER_SECRETS", secrets.join(","))
}

/// A node whose secrets are in a file, and the file.
fn filed(lab: &Lab, name: &str, secrets: &[&str]) -> (Setup, PathBuf) {
    // Beside the directory of the witnesses, which tests count.
    let path = lab.dir.with_extension(format!("{name}.secrets"));
    fs::write(&path, secrets.join("\n")).unwrap();
    (lab.node(name).without("CLUSTER_SECRET").var("CLUSTER_SECRET_FILE", path.display()), path)
}

/// Writes the file anew, as one step, and tells the node.
fn rewrite(node: &Node, path: &PathBuf, secrets: &[&str]) {
    let next = path.with_extension("next");
    fs::write(&next, secrets.join("\n")).unwrap();
    fs::rename(next, path).unwrap();
    node.signal(Signal::HUP);
}

#[track_caller]
fn keys(node: &Node, expected: &[&str]) {
    wait::until(SOON, "the ring is the new one", || match &node.view()["keys"] {
        ids if *ids == serde_json::json!(expected) => Ok(()),
        ids => Err(ids.to_string()),
    });
}

/// The keys of its sessions.
fn sessions(node: &Node) -> Vec<String> {
    let view = node.view();
    let nodes = view["nodes"].as_array().unwrap();
    let keys = nodes.iter().filter(|node| node["status"] == "connected").map(|node| &node["keyId"]);
    keys.map(|key| key.as_str().unwrap_or("none").to_owned()).collect()
}

#[test]
fn nodes_with_several_secrets_meet_on_one_that_they_share() {
    let lab = Lab::new();
    let a = listed(&lab, "a", &[NEW, OLD]).start();
    let b = listed(&lab, "b", &[OLD]).seed(&a.id).start();
    b.sees(1);
    assert_eq!((sessions(&a), sessions(&b)), (vec!["old".to_owned()], vec!["old".to_owned()]));
    let c = listed(&lab, "c", &["third:a secret of somebody else"]).seed(&a.id).start();
    for node in [&a, &c] {
        wait::until(SOON, "it is refused and counted", || match refused(node, "no_common_key") {
            0 => Err("not yet".to_owned()),
            _ => Ok(()),
        });
    }
    // One secret without an id is the key `default`.
    let d = listed(&lab, "d", &["default:the secret of before"]).start();
    let e = lab.node("e").var("CLUSTER_SECRET", "the secret of before").seed(&d.id).start();
    e.sees(1);
    assert_eq!(sessions(&d), ["default"]);
    for node in [&a, &b, &c, &d, &e] {
        let text = node.out.text() + &node.err.text();
        assert!(!text.contains("the secret of before") && !text.contains("somebody else"), "{text}");
    }
}

#[test]
fn the_secret_changes_by_file_and_sighup_without_a_node_down_or_a_lost_call() {
    let lab = Lab::new();
    let (a, a_file) = filed(&lab, "a", &[OLD]);
    let a = a.var("WORKERS", 3).var("MIN_NODES", 3).start();
    let (b, b_file) = filed(&lab, "b", &[OLD]);
    let (c, c_file) = filed(&lab, "c", &[OLD]);
    let (b, c) = (b.seed(&a.id).start(), c.seed(&a.id).start());
    let nodes = [(&a, &a_file), (&b, &b_file), (&c, &c_file)];
    let alive = lab.placed(3, &[&a, &b, &c]);
    let calls = || {
        for (node, _) in nodes {
            for n in 1..=3 {
                let path = format!("/noex/api/call/counter-{n}/add?n=1");
                assert_eq!(http::ask(node.health, "POST", &path).unwrap().status, 200);
            }
        }
    };
    calls();
    for step in [&[OLD, NEW][..], &[NEW, OLD], &[NEW]] {
        for (node, file) in nodes {
            rewrite(node, file, step);
            let ids: Vec<&str> = step.iter().filter_map(|secret| secret.split(':').next()).collect();
            keys(node, &ids);
            calls();
        }
    }
    for (node, _) in nodes {
        assert_eq!((node.metric("noex_connected_nodes"), node.metric_sum("noex_node_down_total")), (2, 0));
        assert_eq!(sessions(node), ["old", "old"], "the sessions are those of before");
    }
    assert_eq!(lab.alive(), alive);
    let out = listed(&lab, "out", &[OLD]).seed(&a.id).start();
    wait::until(SOON, "the old one is refused at both ends", || {
        match (refused(&a, "no_common_key"), refused(&out, "no_common_key")) {
            (1.., 1..) => Ok(()),
            counts => Err(format!("{counts:?}")),
        }
    });
    let inside = listed(&lab, "in", &[NEW]).seed(&b.id).start();
    inside.sees(3);
    assert_eq!(sessions(&inside), ["new", "new", "new"]);
    assert_eq!(out.metric("noex_connected_nodes"), 0);
    for (node, file) in nodes {
        let text = node.out.text();
        assert!(!text.contains("the secret of before") && !text.contains("a new secret"), "{text}");
        fs::remove_file(file).unwrap();
    }
}

#[test]
fn a_file_that_is_wrong_or_gone_on_sighup_changes_nothing() {
    let lab = Lab::new();
    let (setup, file) = filed(&lab, "a", &[OLD, NEW]);
    let mut a = setup.start();
    let complaints = |a: &Node| a.out.text().matches("the secrets stay as they are").count();
    for (n, wrong) in [&[][..], &["not a pair"], &[OLD, OLD], &["old:"]].into_iter().enumerate() {
        rewrite(&a, &file, wrong);
        wait::until(SOON, "it says so", || match complaints(&a) {
            seen if seen > n => Ok(()),
            seen => Err(seen.to_string()),
        });
    }
    fs::remove_file(&file).unwrap();
    a.signal(Signal::HUP);
    wait::until(SOON, "it says so", || if complaints(&a) == 5 { Ok(()) } else { Err(a.out.text()) });
    assert_eq!(a.view()["keys"], serde_json::json!(["old", "new"]));
    let b = listed(&lab, "b", &[NEW]).seed(&a.id).start();
    b.sees(1);
    assert!(a.exited().is_none());
}

#[test]
fn a_secret_that_can_be_guessed_is_warned_of_once() {
    let lab = Lab::new();
    let (setup, file) = filed(&lab, "a", &["weak:guess me"]);
    let a = setup.start();
    let warnings = |a: &Node| a.out.text().matches("shorter than 16 bytes").count();
    wait::until(SOON, "it is warned of", || if warnings(&a) == 1 { Ok(()) } else { Err(a.out.text()) });
    for (n, secrets) in [&["weak:guess me", NEW][..], &[NEW, "weak:guess me"]].into_iter().enumerate() {
        rewrite(&a, &file, secrets);
        wait::until(SOON, "it is taken", || {
            match a.out.text().matches("the secrets were replaced").count() {
                seen if seen > n => Ok(()),
                seen => Err(seen.to_string()),
            }
        });
    }
    assert_eq!(warnings(&a), 1, "{}", a.out.text());
    assert!(!a.out.text().contains("guess me"));
    fs::remove_file(file).unwrap();
}
